"""The promises of the ledger, one by one, and for each guard what happens without it.

A mutation test takes a guard away and asserts the damage: it shows that the tests above it would notice.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import psycopg
import pytest

import hive.flight.process
from hive.errors import StaleFence
from hive.flight import close
from hive.flight import work as working
from hive.flight.create import Wanted, create_flights
from hive.flight.process import process
from hive.flight.task import Task
from hive.flight.work import run
from hive.janitor import Janitor, expire
from hive.jars import land
from hive.ledger import db
from hive.ledger.hints import choose
from tests.hive.nest import Nest, make_nest, nest, rows_of, write
from tests.hive.shop import ShopTable

__all__ = ["make_nest", "nest"]

LANDED = "SELECT record_key, data ->> 'name' FROM hive.honey ORDER BY 1"


def people(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"person {n}"} for n in range(first, last)]


def backwards(tasks: list[Any]) -> list[Any]:
    return tasks[::-1]


def sealed(nest: Nest, rows: list[dict[str, Any]]) -> str:
    """A flight whose batches are sealed and wait to land; gives its id."""
    write(nest.register() / "a.jsonl", rows)
    flight = nest.fly()
    nest.drain(kinds=("plan", "collect"))
    return flight


class TestOrder:
    """Two batches hold the same key: the one that was read later must stand in the jar, whichever lands later."""

    @staticmethod
    def land_backwards(make_nest) -> Nest:
        nest = make_nest(batch_rows=2)
        sealed(nest, [{"id": 1, "name": "old"}, *people(2, 7), {"id": 1, "name": "new"}])
        nest.drain(backwards)
        return nest

    def test_the_newest_stays_when_batches_land_in_reverse(self, make_nest):
        nest = self.land_backwards(make_nest)

        assert nest.jar() == rows_of(nest.folder / "people" / "a.jsonl")
        assert nest.jar()["1"]["name"] == "new"
        assert nest.rows("SELECT state, records_landed, records_superseded FROM hive.flight") == [("complete", 6, 1)]

    def test_without_the_pos_rule_the_older_one_wins(self, make_nest, monkeypatch):
        rule = '     WHERE (h.epoch, h.seq, h."row") < (excluded.epoch, excluded.seq, excluded."row")\n'
        assert rule in land._UPSERT
        monkeypatch.setattr(land, "_UPSERT", land._UPSERT.replace(rule, ""))

        nest = self.land_backwards(make_nest)

        assert nest.jar()["1"]["name"] == "old"

    def test_within_one_batch_the_last_row_of_a_key_wins(self, nest):
        sealed(nest, [{"id": 1, "name": name} for name in ("a", "b", "c")])
        nest.drain()

        assert nest.rows(LANDED) == [("1", "c")]
        assert nest.rows("SELECT records_landed, records_superseded FROM hive.flight") == [(1, 2)]

    def test_a_value_that_comes_back_is_not_taken_for_unchanged(self, make_nest):
        nest = make_nest(batch_rows=1)
        sealed(nest, [{"id": 1, "name": "a"}])
        nest.drain()
        file = nest.folder / "people" / "a.jsonl"
        write(file, [{"id": 1, "name": "b"}, {"id": 1, "name": "a"}])

        nest.fly()
        nest.drain(kinds=("plan", "collect"))
        nest.drain(backwards)

        assert nest.rows(LANDED) == [("1", "a")]
        assert nest.hive.flights()[0].state == "complete"


class TestTwice:
    def test_each_message_worked_ten_times_changes_nothing(self, make_nest):
        nest = make_nest(batch_rows=10)
        sealed(nest, people(0, 45))
        nest.drain()
        before = nest.everything()

        tasks = nest.rows("SELECT day, id, kind FROM hive.task")
        worked = [nest.work(task) for task in tasks for _ in range(10)]

        assert len(tasks) == 6
        assert not any(worked)
        assert nest.everything() == before

    def test_a_message_that_comes_ten_times_while_tasks_are_open_is_worked_once(self, make_nest):
        nest = make_nest(batch_rows=10)
        write(nest.register() / "a.jsonl", people(0, 45))
        nest.fly()

        worked = 0
        while tasks := nest.due():
            worked += sum(nest.work(task) for task in tasks for _ in range(10))

        assert worked == 6
        assert nest.jar() == rows_of(nest.folder / "people" / "a.jsonl")
        assert nest.rows("SELECT records_read, records_landed FROM hive.flight") == [(45, 45)]

    def test_a_claimed_task_cannot_be_claimed_again(self, nest):
        sealed(nest, people(0, 3))
        task = nest.due()[0]
        nest.claim(task)

        assert nest.work(task) is False


class TestReceipt:
    """The receipt's key is the second line: it holds even where a task would land its batch again."""

    @staticmethod
    def land_again(nest: Nest) -> None:
        """A task runs again although its batch has landed, as if the ledger had forgotten that it is done."""
        sealed(nest, people(0, 3))
        task = nest.due()[0]
        nest.run("CREATE TABLE kept AS SELECT * FROM hive.payload")
        first = nest.claim(task)
        process(first, nest.rt)
        nest.run("INSERT INTO hive.payload SELECT * FROM kept")
        nest.run("UPDATE hive.task SET state = 'running' WHERE id = %s", task[1])
        process(first, nest.rt)

    def test_a_second_landing_of_the_same_range_is_refused(self, nest):
        with pytest.raises(psycopg.errors.UniqueViolation):
            self.land_again(nest)

        assert nest.one("SELECT open_parts FROM hive.batch") == 0
        assert nest.rows("SELECT landed, unchanged FROM hive.receipt") == [(3, 0)]

    def test_without_its_key_the_records_are_counted_twice(self, nest):
        nest.run("ALTER TABLE hive.receipt DROP CONSTRAINT receipt_pkey")

        self.land_again(nest)
        close.close_if_done(nest.rt.db, nest.one("SELECT id FROM hive.flight"), nest.one("SELECT day FROM hive.flight"))

        assert nest.one("SELECT open_parts FROM hive.batch") == -1
        assert nest.rows("SELECT state, error ->> 'code' FROM hive.flight") == [("failed", "unbalanced")]

    def test_without_the_receipt_nobody_knows_what_landed(self, nest, monkeypatch):
        text = db.statements()["complete_part"]
        without = re.sub(r"receipt AS \(\n.*?\n\), part AS", "part AS", text, flags=re.DOTALL)
        assert "receipt" in text
        assert "receipt" not in without
        monkeypatch.setitem(db.statements(), "complete_part", without)

        sealed(nest, people(0, 3))
        nest.drain()

        assert nest.rows("SELECT state, error ->> 'code' FROM hive.flight") == [("failed", "unbalanced")]


class TestFence:
    """A worker is taken for dead, another one does its task, and then the first one wakes up."""

    @staticmethod
    def overtaken(nest: Nest) -> Task:
        """The first worker's claim, after the janitor took the task back. It is queued again."""
        sealed(nest, people(0, 20))
        sleeper = nest.runtime("sleeper:1:1")
        task = nest.claim(nest.due()[0], sleeper)
        nest.bury("sleeper:1:1")
        assert expire(nest.rt) == 1
        return task

    def test_the_janitor_gives_the_task_back(self, nest):
        self.overtaken(nest)

        task = "SELECT state, owner, crashes, attempt, last_error ->> 'code' FROM hive.task WHERE kind = 'process'"
        assert nest.rows(task) == [("queued", None, 1, 1, "worker_lost")]

    def test_a_worker_that_lives_keeps_its_task(self, nest):
        sealed(nest, people(0, 20))
        nest.claim(nest.due()[0])

        assert expire(nest.rt) == 0

    @pytest.mark.parametrize("moment", ["queued again", "claimed by another", "done"])
    def test_the_late_worker_is_refused_and_changes_nothing(self, nest, moment):
        late = self.overtaken(nest)
        if moment == "claimed by another":
            nest.claim(nest.due()[0])
        elif moment == "done":
            nest.run("CREATE TABLE kept AS SELECT * FROM hive.payload")
            nest.drain()
            nest.run("INSERT INTO hive.payload SELECT * FROM kept")
        before = nest.everything()

        with pytest.raises(StaleFence):
            process(late, nest.rt)
        run(late, nest.rt)

        assert nest.everything() == before

    def test_another_worker_ends_what_the_late_one_began(self, nest):
        self.overtaken(nest)

        nest.drain()

        assert nest.rows("SELECT state, records_landed FROM hive.flight") == [("complete", 20)]
        assert nest.jar() == rows_of(nest.folder / "people" / "a.jsonl")

    def test_without_the_fence_the_late_worker_lands_beside_the_other(self, nest, monkeypatch):
        monkeypatch.setattr(hive.flight.process, "hold_landing", lambda tx, task, limit: None)
        late = self.overtaken(nest)
        before = nest.everything()
        nest.claim(nest.due()[0])

        process(late, nest.rt)

        assert nest.everything() != before
        assert len(nest.jar()) == 20
        # The other worker still has it, and can never end it.
        assert nest.one("SELECT state FROM hive.task WHERE kind = 'process'") == "done"

    def test_a_reader_that_was_overtaken_seals_nothing(self, make_nest):
        nest = make_nest(batch_rows=5)
        write(nest.register() / "a.jsonl", people(0, 20))
        nest.fly()
        sleeper = nest.runtime("sleeper:1:1")
        late = nest.claim(nest.due()[0], sleeper)
        nest.bury("sleeper:1:1")
        assert expire(nest.rt) == 1
        nest.drain()
        before = nest.everything()

        run(late, sleeper)

        assert nest.everything() == before
        assert nest.jar() == rows_of(nest.folder / "people" / "a.jsonl")


class TestStream:
    """One reader a stream."""

    def test_a_second_flight_waits_for_the_first_reader(self, make_nest):
        nest = make_nest(batch_rows=10, leg=0.0)
        file = write(nest.register() / "a.jsonl", people(0, 40))
        first = nest.fly()
        nest.work(nest.due()[0])
        leg = nest.claim(nest.due("collect")[0])

        second = nest.fly()
        nest.drain()

        assert nest.hive.flight(second).state == "running"
        waits = "SELECT last_error ->> 'code', attempt FROM hive.task WHERE flight = %s::uuid"
        assert nest.rows(waits, second) == [("lease_held", 0)]
        run(leg, nest.rt)
        for _ in range(12):
            nest.drain()
            nest.hurry()
        assert [nest.hive.flight(flight).state for flight in (first, second)] == ["complete", "complete"]
        assert nest.jar() == rows_of(file)

    def test_a_leg_that_is_over_with_the_last_row_of_a_cursor_ends_the_flight(self, make_nest, database_url):
        table = ShopTable(make_nest(batch_rows=5, leg=0.0), database_url)
        with table.source:
            table.source.execute("INSERT INTO shop.people SELECT n, n::text FROM generate_series(1, 30) n")
            table.register(
                source={**table.options, "batch_rows": 5},
                streams={"people": {"table": "shop.people", "cursor": "id"}},
            )
            flight = table.nest.fly()
            for _ in range(12):
                table.nest.drain()

        told = table.nest.hive.flight(flight)
        assert (told.state, told.records_read, told.records_landed) == ("complete", 30, 30)

    def test_a_full_refresh_beside_an_open_leg_leaves_none_of_them_stuck(self, make_nest):
        nest = make_nest(batch_rows=10, leg=0.0)
        file = write(nest.register() / "a.jsonl", people(0, 40))
        first = nest.fly()
        nest.work(nest.due()[0])  # one leg; the next one is queued
        leg = nest.claim(nest.due("collect")[0])

        second = nest.fly(full_refresh=True)
        nest.work(nest.due("plan")[0])  # begins a new epoch under the open leg
        run(leg, nest.rt)
        for _ in range(12):
            nest.drain()
            nest.hurry()

        assert [nest.hive.flight(flight).state for flight in (first, second)] == ["complete", "complete"]
        assert nest.jar() == rows_of(file)

    def test_a_lease_that_was_released_by_hand_does_not_strand_its_task(self, nest):
        file = write(nest.register() / "a.jsonl", people(0, 5))
        flight = nest.fly()
        nest.run("CREATE FUNCTION release() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.fence := NEW.fence + 1;"
                 " RETURN NEW; END $$")  # fmt: skip
        nest.run("CREATE TRIGGER release BEFORE UPDATE ON hive.lease FOR EACH ROW EXECUTE FUNCTION release()")
        nest.drain()
        nest.run("DROP TRIGGER release ON hive.lease")
        assert nest.hive.flight(flight).state == "running"

        nest.hurry()
        nest.drain()

        assert nest.hive.flight(flight).state == "complete"
        assert nest.jar() == rows_of(file)


class TestPoison:
    """A record that kills whoever works on it."""

    def test_it_is_found_by_halves_and_all_others_land(self, nest):
        flight = sealed(nest, people(0, 20))
        poison = 13

        while tasks := nest.due("process"):
            low, high = nest.rows("SELECT row_from, row_to FROM hive.task WHERE id = %s", tasks[0][1])[0]
            if low <= poison < high:
                nest.crash(tasks[0])
            else:
                nest.work(tasks[0])
        close.close_if_done(nest.rt.db, nest.one("SELECT id FROM hive.flight"), nest.one("SELECT day FROM hive.flight"))

        result = nest.hive.flight(flight)
        assert (result.state, result.records_landed, result.records_quarantined) == ("complete", 19, 1)
        assert nest.jar() == {str(n): {"id": n, "name": f"person {n}"} for n in range(20) if n != poison}
        assert nest.rows('SELECT code, records, "row" FROM hive.quarantine') == [("killed_worker", 1, poison)]
        assert nest.rows("SELECT state, open_parts FROM hive.batch") == [("landed", 0)]
        assert nest.one("SELECT sealed_seq - landed_seq FROM hive.checkpoint") == 0
        assert nest.one("SELECT count(*) FROM hive.payload") == 0

    def test_one_crash_splits_nothing(self, nest):
        sealed(nest, people(0, 20))
        nest.crash(nest.due("process")[0])

        nest.drain()

        assert nest.one("SELECT count(*) FROM hive.task WHERE kind = 'process'") == 1
        assert nest.rows("SELECT state, records_landed FROM hive.flight") == [("complete", 20)]

    def test_a_record_that_fails_at_every_try_stands_alone_too_but_fails_its_flight(self, nest, monkeypatch):
        refine = hive.flight.process.refine

        def stumble(table, *rest, **more):
            if 3 in table["id"].to_pylist():
                raise ValueError("canary-8f2b1c")
            return refine(table, *rest, **more)

        monkeypatch.setattr(hive.flight.process, "refine", stumble)
        flight = sealed(nest, people(0, 8))
        poisoned = "SELECT day, id, kind FROM hive.task WHERE state = 'queued' AND row_from <= 3 AND row_to > 3"
        while tasks := nest.rows(poisoned):
            nest.hurry()
            nest.work(tasks[0])
        nest.drain()

        result = nest.hive.flight(flight)
        assert (result.state, result.records_landed, result.records_quarantined) == ("failed", 7, 1)
        assert nest.rows('SELECT code, "row" FROM hive.quarantine') == [("dead_batch", 3)]
        assert nest.rows("SELECT state, open_parts FROM hive.batch") == [("dead", 0)]
        assert "canary" not in str(nest.everything()) + str(result.error)

    def test_a_batch_that_does_not_open_goes_whole_to_quarantine_and_fails_its_flight(self, make_nest):
        nest = make_nest(batch_rows=10)
        flight = sealed(nest, people(0, 30))
        spoiled = nest.due("process")[1]
        batch = nest.one("SELECT batch FROM hive.task WHERE id = %s", spoiled[1])
        nest.run("UPDATE hive.payload SET body = '\\x00'::bytea || body WHERE batch = %s", batch)

        nest.drain()

        result = nest.hive.flight(flight)
        assert (result.state, result.error["code"]) == ("failed", "unreadable_batch")
        assert result.error["advice"]
        assert (result.records_landed, result.records_quarantined) == (20, 10)
        assert nest.rows("SELECT code, records FROM hive.quarantine") == [("dead_batch", 10)]
        assert nest.rows("SELECT sealed_seq, landed_seq FROM hive.checkpoint") == [(3, 3)]


class TestWatermark:
    def test_it_holds_at_a_gap_and_jumps_when_the_gap_is_filled(self, make_nest):
        nest = make_nest(batch_rows=10)
        sealed(nest, people(0, 40))
        first, second, *others = nest.due("process")
        marks = []
        for task in (first, *others, second):
            nest.work(task)
            marks.append(nest.one("SELECT landed_seq FROM hive.checkpoint"))

        assert marks == [1, 1, 1, 4]

    def test_a_part_that_is_still_open_holds_it(self, nest):
        sealed(nest, people(0, 8))
        task = nest.due("process")[0]
        nest.crash(task)
        nest.crash(task)
        halves = nest.due("process")
        nest.work(halves[1])

        assert len(halves) == 2
        assert nest.one("SELECT landed_seq FROM hive.checkpoint") == 0

        nest.work(halves[0])

        assert nest.one("SELECT landed_seq FROM hive.checkpoint") == 1


class TestClose:
    def test_the_last_landing_closes_and_nobody_else(self, make_nest, monkeypatch):
        nest = make_nest(batch_rows=10)
        sealed(nest, people(0, 40))
        closed = []
        monkeypatch.setattr(close, "_balance", closed.append)

        nest.drain()
        tasks = nest.rows("SELECT day, id, kind FROM hive.task")
        for task in tasks:
            nest.work(task)
            close.close_if_done(nest.rt.db, nest.one("SELECT id FROM hive.flight"), task[0])

        assert len(closed) == 1

    def test_what_a_worker_left_unclosed_the_janitor_closes(self, nest):
        flight = sealed(nest, people(0, 4))
        process(nest.claim(nest.due()[0]), nest.rt)
        assert nest.hive.flight(flight).state == "running"

        Janitor(nest.rt).tick()

        assert nest.hive.flight(flight).state == "complete"


class TestHints:
    def test_one_bee_has_no_more_than_a_quarter_of_the_room(self, make_nest):
        nest = make_nest(batch_rows=1, hints_per_queue=12)
        sealed(nest, people(0, 12))
        hinted = "SELECT count(*) FROM hive.task WHERE queue = 'nectar' AND state = 'queued' AND hinted_at IS NOT NULL"
        assert nest.one(hinted) == 3
        told = "SELECT day, id, kind FROM hive.task WHERE state = 'queued' AND hinted_at IS NOT NULL ORDER BY id"
        most = 0
        while tasks := nest.rows(told):
            most = max(most, nest.one(hinted))
            nest.work(tasks[0])

        assert most == 3
        assert nest.rows("SELECT state, records_landed FROM hive.flight") == [("complete", 12)]
        assert len(nest.sent) == len({hint.id for hint in nest.sent}) == 13

    def test_no_more_than_the_limit_are_outstanding(self, make_nest):
        nest = make_nest(batch_rows=1, hints_per_queue=6)
        for name in "abcde":
            write(nest.register(name) / "a.jsonl", people(0, 6))
            nest.fly(name)
            nest.drain(kinds=("plan", "collect"))

        hinted = "SELECT bee, count(*) FROM hive.task WHERE state = 'queued' AND hinted_at IS NOT NULL GROUP BY bee"
        assert sorted(count for _, count in nest.rows(hinted)) == [2, 2, 2]
        with nest.rt.db.transaction() as tx:
            assert choose(tx, "nectar", 6) == []

    def test_hints_of_schedules_take_no_room_of_what_people_ask_for(self, make_nest):
        nest = make_nest(hints_per_queue=4)
        for name in "abcde":
            nest.register(name)
        with nest.rt.db.transaction() as tx:
            wanted = [Wanted(nest.hive._bee(name), f"lost@{n}") for name in "abcde" for n in range(2)]
            made = create_flights(tx, nest.rt, wanted)
        assert sum(len(one.hints) for one in made) == 4  # and nobody sends them

        nest.fly("a")

        assert [(hint.kind, hint.goes_first) for hint in nest.sent] == [("plan", True)]
        nest.run("UPDATE hive.task SET hinted_at = NULL WHERE priority = 0")
        with nest.rt.db.transaction() as tx:
            assert [hint.id for hint in choose(tx, "bees.file", 4)] == [nest.sent[0].id]

    def test_very_many_flights_share_the_room_and_are_made_once(self, make_nest):
        nest = make_nest(hints_per_queue=4)
        nest.register()
        [(name,)] = nest.rows("SELECT name FROM hive.bee")
        wanted = [Wanted(nest.hive._bee(name), f"slot@{n}") for n in range(1_100)]
        with nest.rt.db.transaction() as tx:
            made = create_flights(tx, nest.rt, wanted)
            again = create_flights(tx, nest.rt, wanted)

        assert again == [None] * 1_100
        assert [bool(one.hints) for one in made] == [True] * 4 + [False] * 1_096
        assert nest.one("SELECT count(*) FROM hive.flight") == 1_100

    def test_who_comes_late_waits_behind_few_tasks_of_a_large_flight(self, make_nest):
        nest = make_nest(batch_rows=1, hints_per_queue=8)
        write(nest.register("large") / "a.jsonl", people(0, 30))
        write(nest.register("small") / "a.jsonl", people(0, 1))
        nest.fly("large")
        nest.drain(kinds=("plan", "collect"))
        nest.fly("small")
        nest.drain(kinds=("plan", "collect"))

        hinted = "SELECT b.name FROM hive.task t JOIN hive.bee b ON b.id = t.bee WHERE t.state = 'queued'"
        names = [name for (name,) in nest.rows(f"{hinted} AND t.hinted_at IS NOT NULL ORDER BY t.hinted_at, t.id")]
        assert names == ["large", "large", "small"]

    def test_two_bees_take_turns(self, make_nest):
        nest = make_nest(batch_rows=1, hints_per_queue=1)
        for name in ("large", "small"):
            write(nest.register(name) / "a.jsonl", people(0, 6))
            nest.fly(name)
        nest.drain(kinds=("plan", "collect"))
        nest.run("UPDATE hive.task SET priority = 1, hinted_at = NULL WHERE state = 'queued'")

        turns = []
        for _ in range(12):
            with nest.rt.db.transaction() as tx:
                (hint,) = choose(tx, "nectar", 1)
            turns.append(nest.one("SELECT bee FROM hive.task WHERE id = %s", hint.id))
            nest.run("UPDATE hive.task SET state = 'done' WHERE id = %s", hint.id)

        assert turns == turns[:2] * 6
        assert turns[0] != turns[1]

    def test_people_go_before_schedules(self, make_nest):
        nest = make_nest(batch_rows=1)
        sealed(nest, people(0, 6))
        nest.run("UPDATE hive.task SET priority = 1, hinted_at = NULL WHERE state = 'queued'")
        last = nest.due("process")[-1]
        nest.run("UPDATE hive.task SET priority = 0 WHERE id = %s", last[1])

        with nest.rt.db.transaction() as tx:
            hints = choose(tx, "nectar", 8)

        assert [hint.id for hint in hints] == [last[1], nest.due("process")[0][1]]

    def test_a_hint_says_nothing_but_which_task(self, nest):
        sealed(nest, people(0, 3))

        for hint in nest.sent:
            assert json.dumps([hint.ref]) == f'["{dt.datetime.now(dt.UTC):%Y%m%d}.{hint.id}"]'


@pytest.mark.parametrize("little", [0, 64 << 10])
def test_a_batch_of_few_bytes_comes_with_the_claim_of_its_task(nest, monkeypatch, little):
    monkeypatch.setattr(working, "LITTLE", little)
    sealed(nest, people(0, 3))
    claimed = nest.claim(nest.due("process")[0], nest.runtime("other:1:1"))

    assert (claimed.sealed is not None) == (little > 0)
    assert "sealed" not in repr(claimed)

    process(claimed, nest.rt)
    assert nest.rows("SELECT state FROM hive.batch") == [("landed",)]
    assert len(nest.jar()) == 3
