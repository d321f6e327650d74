"""A reading that meets no key twice: its batches land in any order, and what is unchanged is not touched."""

from __future__ import annotations

import pyarrow as pa
import pytest

from bees.postgresql import PostgreSQLWorkerBee
from hive.flight import close as closing
from hive.flight import process
from hive.flight import work as working
from hive.flight.gather import gather
from nectar.batch import Batch
from tests.hive.nest import make_nest, nest
from tests.hive.shop import ShopTable, maker

__all__ = ["make_nest", "nest"]

LANDED = "SELECT ctid::text, seq, data ->> 'name' FROM hive.honey ORDER BY record_key::int"


class Table(ShopTable):
    def __init__(self, nest, url):
        super().__init__(nest, url)
        self.source.execute("INSERT INTO shop.people SELECT n, 'one ' || n FROM generate_series(1, 90) n")
        self.register(source={**self.options, "batch_rows": 10})

    def rename(self, name, which):
        self.source.execute("UPDATE shop.people SET name = %s WHERE id = %s", [name, which])

    def sealed(self):
        """A flight whose batches wait to be landed."""
        self.nest.fly()
        self.nest.drain(kinds=("plan", "collect"))

    def runs(self, **stream):
        """Of each batch, whether it is of such a run, and the cursor behind it."""
        streams = {"people": {"table": "shop.people", **stream}}
        with PostgreSQLWorkerBee.from_options({**self.options, "batch_rows": 40, "streams": streams}) as bee:
            return [(batch.distinct, batch.cursor) for batch in bee.collect_nectar("people", None)]

    def runs_behind(self, cursor):
        streams = {"people": {"table": "shop.people"}}
        with PostgreSQLWorkerBee.from_options({**self.options, "batch_rows": 40, "streams": streams}) as bee:
            return [batch.distinct for batch in bee.collect_nectar("people", cursor)]


make_table = maker(Table, batch_rows=10)


@pytest.fixture
def table(make_table):
    return make_table()


def backwards(tasks):
    return tasks[::-1]


def test_what_is_unchanged_is_not_written_in_whatever_order_it_lands(table):
    table.nest.land()
    before = table.nest.rows(LANDED)
    table.sealed()
    table.nest.drain(backwards)

    assert table.nest.rows(LANDED) == before
    assert table.nest.hive.flights()[0].records_unchanged == 90


def test_nor_where_each_batch_is_read_by_a_leg_of_its_own(make_nest, database_url):
    nest = make_nest(batch_rows=10, leg=0.0)
    table = Table(nest, database_url)
    with table.source:
        nest.land()
        before = nest.rows(LANDED)
        table.sealed()
    assert nest.one("SELECT count(*) FROM hive.task WHERE kind = 'collect'") > 10
    nest.drain(backwards)

    assert nest.rows(LANDED) == before


def come_back(table):
    """One record changes and changes back, and the reading that saw it changed lands last."""
    table.nest.land()
    table.rename("two", 45)
    table.sealed()
    table.rename("one 45", 45)
    table.sealed()
    table.nest.drain(backwards)
    return table.nest.jar()["45"]["name"]


def test_a_value_that_comes_back_is_not_taken_for_unchanged_while_another_reading_is_open(table):
    assert come_back(table) == "one 45"


def test_without_that_rule_the_older_value_stays(table, monkeypatch):
    loaded = process.load

    def load(task, rt, **how):
        work = loaded(task, rt, **how)
        work.in_order = True
        return work

    monkeypatch.setattr(process, "load", load)

    assert come_back(table) == "two"


def gone_and_back(table, monkeypatch, newer):
    """A record is deleted and comes back: the reading that missed it is compared after the next one met it."""
    nest = table.nest
    nest.land()
    table.source.execute("DELETE FROM shop.people WHERE id = 45")
    table.sealed()
    missed = nest.due("process")
    table.source.execute("INSERT INTO shop.people VALUES (45, 'one 45')")
    nest.fly()
    while len(met := [task for task in nest.due("process") if task not in missed]) < 5:
        nest.work(next(task for task in nest.due() if task[2] != "process"))
    with monkeypatch.context() as asleep:
        asleep.setattr(working, "close_if_done", lambda *_: None)
        for task in [*missed, *newer(met)]:
            nest.work(task)
    closing.close_if_done(nest.rt.db, *nest.rows("SELECT id, day FROM hive.flight ORDER BY created_at")[1])
    nest.drain()
    return [flight.state for flight in nest.hive.flights()], nest.jar().get("45")


@pytest.mark.parametrize("newer", [list, lambda met: met[4:]], ids=["in order", "the fifth first"])
def test_what_an_earlier_reading_missed_is_not_deleted_once_it_is_back(make_nest, database_url, monkeypatch, newer):
    table = Table(make_nest(batch_rows=10, leg=0.0), database_url)
    with table.source:
        states, there = gone_and_back(table, monkeypatch, newer)

    assert states == ["complete"] * 3
    assert there == {"id": 45, "name": "one 45"}


def test_a_table_read_by_its_primary_key_is_such_a_run(table):
    found = table.runs()

    assert [run for run, _ in found] == ["first", "more", "more"]
    assert table.runs_behind(found[0][1]) == ["more", "more"]
    assert table.runs_behind(found[-1][1]) == ["first", "more", "more"]


def test_one_with_a_cursor_or_a_key_that_nothing_proves_is_not(table):
    table.source.execute("ALTER TABLE shop.people ADD COLUMN at timestamptz NOT NULL DEFAULT now()")

    assert {run for run, _ in table.runs(cursor="at")} == {""}
    assert {run for run, _ in table.runs(key="name")} == {""}
    table.source.execute("CREATE UNIQUE INDEX ON shop.people (name)")
    assert {run for run, _ in table.runs(key="name")} == {""}
    table.source.execute("ALTER TABLE shop.people ALTER COLUMN name SET NOT NULL")
    assert {run for run, _ in table.runs(key="name")} == {"first", "more"}


@pytest.mark.parametrize(
    ("runs", "joined"),
    [(("first", "more"), "first"), (("more", "more"), "more"), (("more", "first"), ""), (("first", ""), "")],
)
def test_of_batches_that_are_joined_the_run_is_the_same_or_none(runs, joined):
    batches = [Batch("rows", pa.table({"id": [n]}), {"at": n}, distinct=run) for n, run in enumerate(runs)]

    ((batch, _),) = gather(iter(batches), most_bytes=1 << 20, most_rows=10, wait=10.0)

    assert batch.distinct == joined
