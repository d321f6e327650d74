"""A process dies before each statement that it would send, one after the other: nobody had to name the steps.

What it had committed stays and the rest never was, as after a `kill -9`. Others go on, and at the end every jar holds
what its source holds, every flight is balanced and nothing is left open.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hive import events
from hive.flight.cancel import FlightClosed
from hive.flight.retry import NotRetriable, retry
from hive.inbox import Received, seal_message
from hive.janitor import Janitor
from hive.jars import own
from hive.jars.index import catch_up
from nectar.transform import records
from tests.hive.nest import Nest, make_nest, write
from tests.hive.shop import ShopTable, maker

__all__ = ["make_nest", "make_table"]

pytestmark = pytest.mark.servers

STEP = int(os.environ.get("FAULTS_STEP", "25"))
"""Statements between two deaths that are tried; 1 tries all of them, which takes minutes."""
MOST = 1000


class Killed(BaseException):
    """The process is gone. No handler of the code may see it."""


class Doom:
    """Lets this thread send so many statements, and none after them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        thread = threading.get_ident()

        def before(as_it_is: Callable[..., Any]) -> Callable[..., Any]:
            def send(*args: Any, **named: Any) -> Any:
                if self.left is not None and threading.get_ident() == thread:
                    self.left -= 1
                    if self.left < 0:
                        raise Killed
                return as_it_is(*args, **named)

            return send

        for name in ("execute", "executemany", "copy"):
            monkeypatch.setattr(psycopg.Cursor, name, before(getattr(psycopg.Cursor, name)))

    @contextmanager
    def after(self, statements: int) -> Iterator[list[bool]]:
        """Whether it died stands in the list afterwards."""
        self.left, died = statements, list[bool]()
        try:
            yield died
        except Killed:
            died.append(True)
        finally:
            self.left = None


@pytest.fixture
def doom(monkeypatch) -> Doom:
    return Doom(monkeypatch)


def people(first: int, count: int, word: str = "one") -> list[dict[str, Any]]:
    return [{"id": number, "name": f"{word} {number}"} for number in range(first, first + count)]


def work_all(nest: Nest, owner: str) -> None:
    """One worker takes whatever is due until nothing is. Its connections end with it."""
    rt = nest.runtime(owner)
    try:
        while due := nest.due():
            nest.work(due[0], rt)
    finally:
        rt.close()


def recover(nest: Nest, owner: str) -> None:
    """The others find out that it is dead, and do what is left."""
    nest.bury(owner)
    keeper = Janitor(nest.rt)
    for _ in range(3):
        keeper.tick()
        nest.hurry()
        nest.drain()
    keeper.tick()


WRONG = {
    "open tasks": "SELECT kind, state, last_error FROM hive.task WHERE state <> 'done'",
    "open flights": "SELECT state, error FROM hive.flight WHERE state NOT IN ('complete', 'cancelled')",
    "leases of nobody": "SELECT checkpoint FROM hive.lease WHERE task IS NOT NULL",
    "watermarks that stay behind": "SELECT sealed_seq, landed_seq FROM hive.checkpoint WHERE sealed_seq <> landed_seq",
    "parts without a receipt": """SELECT b.seq, b.rows FROM hive.batch b
        WHERE b.rows <> (SELECT coalesce(sum(row_to - row_from), 0) FROM hive.receipt r
                          WHERE r.checkpoint = b.checkpoint AND r.seq = b.seq)""",
    "bodies that nobody needs": "SELECT batch FROM hive.payload",
}


def sound(nest: Nest) -> None:
    assert {what: found for what, query in WRONG.items() if (found := nest.rows(query))} == {}


def each(
    doom: Doom, prepare: Callable[[str], Any], do: Callable[[str, Any], Any], check: Callable[[str, Any], None]
) -> int:
    """Do it for ever more statements before the death, until it does not die any more. Gives how many it sends."""
    for number in range(0, MOST, STEP):
        name = f"bee-{number}"
        given = prepare(name)
        with doom.after(number) as died:
            do(name, given)
        check(name, given)
        if not died:
            return number
    raise AssertionError("it never came to its end")


def held(nest: Nest, name: str) -> dict[int, str]:
    return {int(key): row["name"] for key, row in nest.jar(name).items()}


class TestFlights:
    def test_a_read_of_everything_lands_and_retires_what_is_gone(self, make_nest, doom):
        nest = make_nest(batch_rows=3)

        def prepare(name: str) -> str:
            folder = nest.register(name)
            write(folder / "a.jsonl", people(0, 5))
            assert nest.land(name).records_landed == 5
            write(folder / "a.jsonl", [*people(0, 2), *people(2, 1, "two"), *people(7, 1)])
            return nest.fly(name)

        def check(name: str, flight: str) -> None:
            recover(nest, f"doomed-{name}:1:1")
            sound(nest)
            assert held(nest, name) == {0: "one 0", 1: "one 1", 2: "two 2", 7: "one 7"}
            told = nest.hive.flight(flight)
            assert (told.state, told.records_landed, told.records_unchanged, told.records_deleted) == (
                "complete",
                2,
                2,
                2,
            )

        assert each(doom, prepare, lambda name, _: work_all(nest, f"doomed-{name}:1:1"), check) > 20

    def test_a_snapshot_replaces_the_one_before_it_at_once(self, make_nest, doom):
        nest = make_nest(batch_rows=3)

        def prepare(name: str) -> str:
            folder = nest.register(name)
            write(folder / "a.jsonl", people(0, 5))
            write(folder / "a.jsonl", people(3, 5, "two"))
            return nest.fly(name, mode="snapshot")

        def check(name: str, flight: str) -> None:
            jar = nest.hive.flight(flight).jar
            whole = {n: f"two {n}" for n in range(3, 8)}
            assert held(nest, jar) in ({}, whole)
            recover(nest, f"doomed-{name}:1:1")
            sound(nest)
            assert held(nest, jar) == whole
            assert nest.hive.flight(flight).state == "complete"

        assert each(doom, prepare, lambda name, _: work_all(nest, f"doomed-{name}:1:1"), check) > 20

    def test_a_flight_that_is_cancelled_goes_on_where_it_ended(self, make_nest, doom):
        nest = make_nest(batch_rows=3, leg=0)

        def prepare(name: str) -> str:
            write(nest.register(name) / "a.jsonl", people(0, 9))
            flight = nest.fly(name)
            nest.work(nest.due()[0])
            return flight

        def check(name: str, flight: str) -> None:
            with suppress(FlightClosed):
                nest.hive.cancel(flight)
            recover(nest, f"doomed-{name}:1:1")
            sound(nest)
            assert nest.hive.flight(flight).state == "cancelled"
            assert nest.land(name).state == "complete"
            assert held(nest, name) == {n: f"one {n}" for n in range(9)}

        assert each(doom, prepare, lambda _, flight: nest.hive.cancel(flight), check) > 3


class TestSources:
    def test_a_table_in_four_parts_is_read_once(self, make_table, doom):
        table = make_table()
        nest = table.nest
        table.source.execute("INSERT INTO shop.people SELECT n, 'one ' || n FROM generate_series(1, 8) n")
        options = {**table.options, "slices": 4, "slice_rows": 2}

        def prepare(name: str) -> str:
            table.register(name=name, source=options)
            return nest.fly(name)

        def check(name: str, flight: str) -> None:
            recover(nest, f"doomed-{name}:1:1")
            sound(nest)
            assert held(nest, name) == {n: f"one {n}" for n in range(1, 9)}
            told = nest.hive.flight(flight)
            assert (told.state, told.records_landed, told.records_deleted) == ("complete", 8, 0)

        assert each(doom, prepare, lambda name, _: work_all(nest, f"doomed-{name}:1:1"), check) > 20

    def test_messages_are_taken_once(self, make_nest, doom):
        nest = make_nest(batch_rows=3)

        def prepare(name: str) -> int:
            nest.hive.register_worker("webhook", {"name": name})
            bee = int(nest.one("SELECT id FROM hive.bee WHERE name = %s", name))
            for number in range(7):
                message = Received(f"delivery:{name}-{number}", b'{"n": %d}' % number)
                with nest.rt.db.single() as tx:
                    sealed = seal_message(nest.rt.key, bee, message)
                    tx.run("receive", bee=bee, event_id=message.event_id, body=sealed, window=None)
            return bee

        def do(name: str, _: int) -> None:
            events.tick(nest.rt)
            work_all(nest, f"doomed-{name}:1:1")

        def check(name: str, bee: int) -> None:
            for _ in range(2):
                recover(nest, f"doomed-{name}:1:1")
                events.tick(nest.rt)
            sound(nest)
            assert sorted(row["n"] for row in nest.jar(name).values()) == list(range(7))
            assert (
                nest.one(
                    "SELECT sum(rows)::int FROM hive.batch JOIN hive.flight f ON f.id = flight AND f.bee = %s", bee
                )
                == 7
            )
            assert nest.rows("SELECT number FROM hive.inbox WHERE bee = %s AND octet_length(body) > 0", bee) == []

        assert each(doom, prepare, do, check) > 20


make_table = maker(ShopTable, batch_rows=2)


class TestJars:
    def test_one_that_moves_into_a_table_of_its_own_is_whole_at_every_moment(self, make_nest, doom):
        nest = make_nest(batch_rows=3)

        def prepare(name: str) -> int:
            folder = nest.register(name)
            write(folder / "a.jsonl", people(0, 5))
            assert nest.land(name).records_landed == 5
            catch_up(nest.rt.db)
            return int(nest.one("SELECT id FROM hive.jar WHERE name = %s", name))

        def check(name: str, _: int) -> None:
            assert held(nest, name) == {n: f"one {n}" for n in range(5)}
            write(nest.folder / name / "b.jsonl", people(3, 3, "two"))
            assert nest.land(name).state == "complete"
            assert held(nest, name) == {n: f"{'one' if n < 3 else 'two'} {n}" for n in range(6)}
            sound(nest)

        assert each(doom, prepare, lambda _, jar: own.move(nest.rt.db, jar), check) > 5


class TestConfigurations:
    def test_one_that_is_taken_into_use_is_so_whole(self, make_nest, doom, tmp_path):
        nest = make_nest(batch_rows=3)
        stands = "SELECT name, origin, enabled, config ->> 'every' FROM hive.bee WHERE name LIKE %s ORDER BY 1"

        def block(name: str, every: str) -> dict[str, Any]:
            source = {"path": str(nest.folder / name)}
            return {
                "type": "local",
                "source": source,
                "streams": {"r": {"patterns": "*.jsonl", "key": "id"}},
                "every": every,
            }

        def written(bees: dict[str, Any]) -> Path:
            path = tmp_path / "bees.yaml"
            path.write_text(json.dumps({"bees": bees}))
            return path

        def prepare(name: str) -> tuple[Path, Any]:
            for part in "abc":
                (nest.folder / f"{name}-{part}").mkdir()
            nest.hive.reload(written({f"{name}-{part}": block(f"{name}-{part}", "60s") for part in "ab"}))
            before = nest.rows(stands, f"{name}-%")
            return written({f"{name}-{part}": block(f"{name}-{part}", "90s") for part in "bc"}), before

        def check(name: str, given: tuple[Path, Any]) -> None:
            path, before = given
            seen = nest.rows(stands, f"{name}-%")
            nest.hive.reload(path)
            after = nest.rows(stands, f"{name}-%")
            assert seen in (before, after)
            assert len(after) == 3

        assert each(doom, prepare, lambda _, given: nest.hive.reload(given[0]), check) > 5


class TestQuarantine:
    def test_a_record_that_is_tried_again_lands_once(self, make_nest, doom):
        nest = make_nest(batch_rows=3)
        entry = "SELECT q.id, q.state FROM hive.quarantine q JOIN hive.bee b ON b.id = q.bee WHERE b.name = %s"

        def prepare(name: str) -> int:
            folder = nest.register(name, transform=["tests.model.test_every_statement:picky"])
            write(folder / "a.jsonl", people(0, 3))
            PICKY.add(1)
            assert nest.land(name).records_quarantined == 1
            PICKY.clear()
            ((number, _),) = nest.rows(entry, name)
            return number

        def check(name: str, number: int) -> None:
            try:
                retry(nest.rt, number)
            except NotRetriable:
                assert nest.rows(entry, name) == [(number, "retried")]
            sound(nest)
            assert held(nest, name) == {n: f"one {n}" for n in range(3)}
            assert nest.rows(entry, name) == [(number, "retried")]

        assert each(doom, prepare, lambda _, number: retry(nest.rt, number), check) > 5


PICKY: set[int] = set()


@records
def picky(record: dict[str, Any]) -> dict[str, Any]:
    """A step that refuses some records."""
    if record["id"] in PICKY:
        raise ValueError("not this one")
    return record


class TestEvents:
    def test_who_waits_for_a_bee_flies_once_for_its_flight(self, make_nest, doom):
        nest = make_nest(batch_rows=3)

        def prepare(name: str) -> None:
            write(nest.register(name) / "a.jsonl", people(0, 2))
            write(nest.register(f"after-{name}", after=name) / "a.jsonl", people(0, 2))
            nest.fly(name)

        def do(name: str, _: None) -> None:
            work_all(nest, f"doomed-{name}:1:1")
            events.tick(nest.rt)

        def check(name: str, _: None) -> None:
            recover(nest, f"doomed-{name}:1:1")
            events.tick(nest.rt)
            recover(nest, f"doomed-{name}:1:1")
            events.tick(nest.rt)
            sound(nest)
            flights = "SELECT count(*)::int FROM hive.flight f JOIN hive.bee b ON b.id = f.bee WHERE b.name = %s"
            assert (nest.one(flights, name), nest.one(flights, f"after-{name}")) == (1, 1)

        assert each(doom, prepare, do, check) > 20
