"""Bad luck at moments that are hard to hit: each was seen to lose, to double or to stick before it was mended."""

from __future__ import annotations

import datetime as dt
import time
import uuid

import psycopg
import pytest
from structlog.testing import capture_logs

import hive.flight.aside
from bees.core.errors import GiveUp, RetryLater
from hive import worker
from hive.errors import StaleFence
from hive.flight import process
from hive.flight.collect import collect
from hive.flight.plan import plan
from hive.flight.retry import retry
from hive.flight.verdict import Verdict, judge
from hive.flight.work import bee_of, put_back, settle, work
from hive.janitor import Janitor, expire
from hive.jars.index import catch_up
from hive.ledger.db import DatabaseAway, is_away
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]


def people(*rows: tuple[int, str]) -> list[dict[str, object]]:
    return [{"id": number, "name": name} for number, name in rows]


def held(nest, name: str = "people") -> dict[str, str]:
    return {key: row["name"] for key, row in nest.jar(name).items()}


class TestClaims:
    def test_a_claim_whose_answer_got_lost_is_given_back_by_the_heartbeat(self, make_nest):
        nest = make_nest(lease=0.2, heartbeat=0.1)
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        flight = nest.fly()
        nest.claim(nest.due()[0])  # as far as this process knows, it never happened
        beat = worker.Heartbeat(nest.settings, nest.rt.owner, [], nest.rt.working)
        time.sleep(0.3)
        beat.start()
        beat.stop()

        assert nest.rows("SELECT state, attempt FROM hive.task") == [("queued", 0)]
        nest.drain()
        assert nest.hive.flight(flight).state == "complete"

    def test_a_task_in_hand_is_no_stray(self, make_nest):
        nest = make_nest(lease=0.2, heartbeat=0.1)
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        nest.fly()
        task = nest.claim(nest.due()[0])
        nest.rt.working.add(task.id)
        beat = worker.Heartbeat(nest.settings, nest.rt.owner, [], nest.rt.working)
        time.sleep(0.3)
        beat.start()

        assert nest.one("SELECT state FROM hive.task") == "running"
        beat.stop()

    def test_a_hint_of_a_day_that_was_forgotten_is_nothing(self, nest):
        assert not work(dt.date(2001, 1, 1), 7, "process", nest.rt)


class TestVerdicts:
    def test_one_that_cannot_be_carried_out_leaves_no_task_running(self, nest, monkeypatch):
        def stumble(*_, **__):
            raise ValueError("canary-1c9e")

        monkeypatch.setattr(hive.flight.aside, "quarantine", stumble)
        monkeypatch.setattr(process, "refine", stumble)
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        nest.fly()
        with capture_logs() as logs:
            nest.drain(rounds=30)
            for _ in range(5):
                nest.hurry()
                nest.drain()

        assert nest.one("SELECT count(*) FROM hive.task WHERE state = 'running'") == 0
        assert nest.one("SELECT last_error ->> 'class' FROM hive.task WHERE kind = 'process'") == "ValueError"
        assert "task.unsettled" in [line["event"] for line in logs]
        assert "canary" not in str(logs) + str(nest.everything())

    def test_a_task_that_the_janitor_cannot_settle_holds_up_no_other(self, make_nest, monkeypatch):
        nest = make_nest(batch_rows=1)
        write(nest.register() / "a.jsonl", people((1, "Ada"), (2, "Bob")))
        nest.fly()
        nest.drain(kinds=["plan", "collect"])
        doomed = nest.runtime("doomed:1:1")
        claimed = [nest.claim(task, doomed) for task in nest.due("process")]
        nest.bury("doomed:1:1")
        real = put_back

        def stumble(tx, task, rt, verdict: Verdict, *, crashed):
            if task.id == claimed[0].id and not verdict.bare:
                raise ValueError("canary-55aa")
            return real(tx, task, rt, verdict, crashed=crashed)

        monkeypatch.setattr("hive.janitor.put_back", stumble)

        assert expire(nest.rt) == 2
        assert nest.rows("SELECT DISTINCT state FROM hive.task WHERE kind = 'process'") == [("queued",)]

    def test_errors_and_crashes_of_a_reader_are_five_runs_together(self, nest):
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        nest.fly()
        runs = 0
        while nest.one("SELECT state FROM hive.task") != "dead":
            runs += 1
            nest.run("UPDATE hive.task SET available_at = clock_timestamp()")
            owner = f"reader:{runs}:1"
            rt = nest.runtime(owner)
            task = nest.claim(nest.due()[0], rt)
            if runs % 2:
                nest.bury(owner)
                assert expire(nest.rt) == 1
            else:
                settle(task, rt, judge(ValueError("made up"), attempt=task.attempt, max_attempts=5))

        assert runs == 5

    def test_a_janitor_whose_one_step_fails_does_the_others(self, nest, monkeypatch):
        def stumble(_):
            raise ValueError

        monkeypatch.setattr("hive.worker.bury_the_dead", stumble)
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        nest.fly()
        nest.run("UPDATE hive.task SET hinted_at = NULL")
        nest.sent.clear()

        Janitor(nest.rt).tick()

        assert len(nest.sent) == 1

    def test_a_source_that_says_come_back_at_once_is_given_a_moment(self):
        verdict = judge(RetryLater("too many", after=0.0), attempt=1, max_attempts=5)

        assert (verdict.retry, verdict.counts, verdict.source) == (True, False, True)
        assert verdict.after >= 1.0

    def test_a_rate_limit_is_written_on_the_bee_and_its_other_flights_wait(self, nest, monkeypatch):
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        nest.fly()

        def limited(*_):
            raise RetryLater("too many requests", after=30.0, code="rate_limited")

        monkeypatch.setattr("hive.flight.work.plan", limited)
        nest.drain()
        nest.fly()

        assert nest.one("SELECT retry_at > clock_timestamp() + interval '20 seconds' FROM hive.bee")
        assert not nest.work(nest.due()[0])

    @pytest.mark.parametrize(("policy", "state"), [({}, "dead"), ({"attempts": 9}, "queued")])
    def test_a_first_crash_after_as_many_errors_as_there_may_be_is_the_last_run(self, nest, policy, state):
        write(nest.register(retry=policy) / "a.jsonl", people((1, "Ada")))
        nest.fly()
        nest.run("UPDATE hive.task SET attempt = 4")
        nest.crash(nest.due()[0])

        assert nest.rows("SELECT state, attempt FROM hive.task") == [(state, 5)]

    def test_a_batch_that_fails_in_every_part_is_not_cut_to_pieces(self, make_nest, monkeypatch):
        nest = make_nest(max_attempts=2)

        def stumble(*_, **__):
            raise GiveUp("nothing lands")

        monkeypatch.setattr(process, "refine", stumble)
        write(nest.register() / "a.jsonl", people(*[(n, "Ada") for n in range(3000)]))
        flight = nest.land().flight

        result = nest.hive.flight(flight)
        assert (result.state, result.records_quarantined) == ("failed", 3000)
        assert nest.one("SELECT count(*) FROM hive.task") < 1000


class TestDatabaseErrors:
    @pytest.mark.parametrize("code", [None, "08006", "57P01", "53300", "53100"])
    def test_it_is_away_when_the_connection_says_so(self, code):
        error = psycopg.OperationalError("gone")
        error.sqlstate = code

        assert is_away(error)

    @pytest.mark.parametrize("kind", ["TooManyColumns", "StatementTooComplex", "OutOfMemory", "ProgramLimitExceeded"])
    def test_it_is_not_away_when_data_is_too_much_for_it(self, kind):
        assert not is_away(getattr(psycopg.errors, kind)("too much"))

    def test_a_broken_connection_is_told_as_such_and_the_next_one_works(self, nest):
        with pytest.raises(DatabaseAway), nest.rt.db.transaction() as tx:
            tx.psycopg.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        assert nest.one("SELECT 1") == 1

    def test_after_one_broken_connection_the_idle_ones_are_not_tried(self, nest):
        with nest.rt.db.transaction() as one, nest.rt.db.transaction() as two:
            pids = [tx.psycopg.info.backend_pid for tx in (one, two)]
        with psycopg.connect(nest.rt.settings.database(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(p) FROM unnest(%s::int[]) p", [pids])

        with pytest.raises(DatabaseAway), nest.rt.db.transaction() as tx:
            tx.psycopg.execute("SELECT 1")

        assert nest.one("SELECT 1") == 1

    def test_a_session_that_idles_in_a_transaction_does_not_hold_its_locks_for_ever(self, nest):
        with nest.rt.db.transaction() as tx:
            ((limit,),) = tx.psycopg.execute("SHOW idle_in_transaction_session_timeout").fetchall()

        assert limit == "1min"

    def test_the_dead_are_buried_past_a_session_that_still_holds_their_row(self, nest):
        """A process that vanished in the middle of its heartbeat: whoever buries it does not wait."""
        nest.rt.db.engine.dispose()
        with psycopg.connect(nest.rt.settings.database()) as held, nest.rt.db.transaction() as tx:
            held.execute(
                "INSERT INTO hive.worker (id, host, pid, alive_until) VALUES ('gone', 'h', 1, now() + interval '1 h')"
            )
            held.commit()
            held.execute("SELECT FROM hive.worker WHERE id = 'gone' FOR UPDATE")
            tx.psycopg.execute("SET LOCAL lock_timeout = '2s'")

            tx.run("bury", id="gone")
            tx.run("grant_grace", lease=10.0, away=20.0)
            tx.run("forget_workers")

            held.rollback()
            tx.run("bury", id="gone")
            ((dead,),) = tx.psycopg.execute("SELECT alive_until < now() FROM hive.worker WHERE id = 'gone'").fetchall()
        assert dead


class TestLandings:
    def test_one_that_takes_too_long_counts_and_is_no_database_out_of_reach(self, make_nest):
        nest = make_nest(landing_limit=1.0)
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        flight = nest.fly()
        nest.drain(kinds=["plan", "collect"])
        loaded = process.load(nest.claim(nest.due("process")[0]), nest.rt)
        process.prepare(loaded, set())
        with nest.rt.db.engine.begin() as other:
            other.exec_driver_sql("LOCK TABLE hive.honey IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(process.LandingTooLong) as told:
                process._land(loaded)

        assert judge(told.value, attempt=1, max_attempts=5).counts
        nest.run("UPDATE hive.task SET state = 'queued', owner = NULL WHERE kind = 'process'")
        nest.drain()
        assert nest.hive.flight(flight).records_landed == 1


class TestInterrupts:
    @pytest.mark.parametrize("way", ["single", "transaction"])
    def test_ctrl_c_in_the_middle_of_a_query_stays_what_it_is(self, nest, way):
        """The connection is lost to it, the interrupt is not."""

        def interrupted(tx) -> None:
            tx.psycopg.pgconn.send_query(b"SELECT pg_sleep(30)")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), getattr(nest.rt.db, way)() as tx:
            interrupted(tx)

        assert nest.one("SELECT 1") == 1


class TestReadingAnew:
    def test_a_leg_of_before_cannot_set_the_cursor_of_what_is_read_anew(self, nest):
        folder = nest.register()
        write(folder / "a.jsonl", people((1, "Ada"), (2, "Bob")))
        nest.land()
        write(folder / "a.jsonl", people((1, "Ada"), (2, "Bea")))
        nest.fly()
        task = nest.claim(nest.due()[0])
        bee = bee_of(task, nest.rt)
        reading, point = plan(task, bee, nest.rt)
        nest.run("UPDATE hive.checkpoint SET epoch = epoch + 1, sealed_cursor = NULL")

        with pytest.raises(StaleFence, match="read anew"):
            collect(reading, bee, nest.rt, point)

        assert nest.one("SELECT sealed_cursor FROM hive.checkpoint") is None
        assert nest.one("SELECT count(*) FROM hive.batch") == 1


class TestOlderVersions:
    def test_a_dead_batch_that_is_retried_does_not_overwrite_what_came_after_it(self, nest):
        # Deletions followed, the file that was read anew would end what quarantine holds of it.
        source = {"path": str(nest.folder / "people"), "mode": "pattern_match"}
        file = nest.register(source=source) / "a.jsonl"
        write(file, people((1, "A"), (2, "A")))
        nest.land()
        write(file, people((1, "B"), (2, "A")))
        nest.fly()
        nest.drain(kinds=["plan", "collect"])
        task = nest.claim(nest.due("process")[0])
        with nest.rt.db.transaction() as tx:
            error = {"class": "X", "code": "unreadable_batch", "message": "", "place": "", "advice": ""}
            put_back(tx, task.hold(tx), nest.rt, Verdict(retry=False, after=0, counts=True, error=error), crashed=False)
        write(file, people((1, "A"), (2, "A"), (3, "A")))
        nest.land()

        told = retry(nest.rt, nest.one("SELECT id FROM hive.quarantine WHERE state = 'open'"))

        assert told.landed == 0
        assert held(nest) == {"1": "A", "2": "A", "3": "A"}

    def test_two_versions_of_a_new_record_that_land_at_once_leave_one_text(self, nest):
        file = nest.register() / "a.jsonl"
        works = []
        for name in ("older words", "newer words"):
            write(file, people((1, name)))
            nest.fly()
            nest.drain(kinds=["plan", "collect"])
        for task in nest.due("process"):
            claimed = nest.claim(task)
            loaded = process.load(claimed, nest.rt)
            process.prepare(loaded, set())
            works.append(loaded)
        for loaded in works:
            process._land(loaded)

        assert held(nest) == {"1": "newer words"}
        catch_up(nest.rt.db)
        assert nest.rows("SELECT text FROM hive.chunk") == [("newer words",)]


class TestProcesses:
    def test_a_process_keeps_its_name_when_the_clock_is_set(self, monkeypatch):
        import os

        import psutil

        before = worker.name_of(os.getpid())
        monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: 1.0)

        assert worker.name_of(os.getpid()) == before

    def test_a_worker_of_another_place_is_not_buried_by_sight(self, nest):
        import socket

        elsewhere = f"{socket.gethostname()}:999999:0badb007.4026531836.77"
        here = worker.name_of(1).replace(":1:", ":999999:")
        for name in (elsewhere, here):
            nest.run(
                "INSERT INTO hive.worker (id, host, pid, alive_until) VALUES (%s, %s, 999999, 'infinity')",
                name, socket.gethostname(),
            )  # fmt: skip

        assert worker.bury_the_dead(nest.rt.db) == 1
        assert nest.one("SELECT alive_until = 'infinity' FROM hive.worker WHERE id = %s", elsewhere)

    def test_a_queue_to_which_nobody_listens_does_not_fill_with_hints(self, nest):
        write(nest.register() / "a.jsonl", people((1, "Ada")))
        nest.fly()
        nest.run("UPDATE hive.task SET hinted_at = clock_timestamp() - interval '10 minutes'")
        nest.sent.clear()
        full, empty = Janitor(nest.rt, lambda: {"bees.file": 1}), Janitor(nest.rt, dict)

        full.tick()
        assert nest.sent == []
        empty.tick()
        assert len(nest.sent) == 1


def test_an_old_day_with_a_batch_that_has_no_receipt_is_kept(nest):
    from hive.ledger import partitions

    day = nest.one("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
    nest.run(
        "INSERT INTO hive.batch (day, flight, checkpoint, epoch, seq, rows, bytes) VALUES (%s, %s, 1, 1, 1, 1, 1)",
        day, uuid.uuid4(),
    )  # fmt: skip
    with nest.rt.db.engine.begin() as connection:
        assert not [n for n in partitions.drop_before(connection, day + dt.timedelta(days=1)) if f"{day:%Y%m%d}" in n]


class TestConfigurationsThatChange:
    def test_a_stricter_profile_reaches_the_rows_that_landed_before_it(self, nest):
        folder = nest.register()
        write(folder / "a.jsonl", people((1, "Ada"), (2, "Bob")))
        nest.land()

        nest.register(scrubbing={"custom_rules": [{"field": "name", "action": "replace"}]})
        result = nest.land()

        assert result.records_landed == 2
        assert held(nest) == {"1": "<REDACTED>", "2": "<REDACTED>"}

    def test_a_flight_that_is_under_way_scrubs_by_the_newest_profile(self, nest):
        folder = nest.register()
        write(
            folder / "a.jsonl",
            people(
                (1, "Ada"),
            ),
        )
        nest.fly()
        nest.drain(kinds=["plan", "collect"])

        nest.register(scrubbing={"custom_rules": [{"field": "name", "action": "replace"}]})
        nest.drain()

        assert held(nest) == {"1": "<REDACTED>"}
