"""A large table is read by several workers at once, and lands as if one had read it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hive.nest import make_nest, nest
from tests.hive.shop import ShopTable, maker

__all__ = ["make_nest", "nest"]


class Table(ShopTable):
    """400 rows, which a bee reads in four parts in each flight."""

    def __init__(self, nest, url, **source):
        super().__init__(nest, url)
        self.source.execute("INSERT INTO shop.people SELECT n, 'one ' || n FROM generate_series(1, 400) n")
        self.options |= {"slices": 4, "slice_rows": 100, **source}
        self.register()

    def register(self, **changed):
        super().register(source={**self.options, **changed})

    def run(self, statement):
        self.source.execute(statement)

    def jar(self):
        return {int(key): data["name"] for key, data in self.nest.jar().items()}

    def there(self):
        return dict(self.source.execute("SELECT id, name FROM shop.people").fetchall())


make_table = maker(Table, batch_rows=20)


@pytest.fixture
def table(make_table):
    return make_table()


def parts(nest):
    return nest.rows(
        "SELECT c.slice, c.ended, c.sealed_seq = c.landed_seq FROM hive.checkpoint c JOIN hive.checkpoint p"
        " ON p.stream = c.stream AND p.slice = '' AND p.slices > 0 AND p.round = c.round"
        " WHERE c.slice <> '' ORDER BY c.slice"
    )


def test_every_row_lands_once_and_the_next_flight_finds_it_unchanged(table):
    first = table.nest.land()
    tasks = table.nest.rows("SELECT count(*) FROM hive.task WHERE kind = 'collect'")
    second = table.nest.land()

    assert (first.state, first.records_read, first.records_landed) == ("complete", 400, 400)
    assert tasks == [(4,)]
    assert parts(table.nest) == [(str(n), True, True) for n in range(1, 5)]
    assert (second.records_landed, second.records_unchanged) == (0, 400)
    assert table.jar() == table.there()


def test_parts_are_read_and_land_in_any_order(table):
    flight = table.nest.fly()
    table.nest.drain(lambda tasks: tasks[::-1])
    assert table.nest.hive.flight(flight).records_landed == 400
    assert table.jar() == table.there()


def test_workers_side_by_side_read_each_part_once(table):
    """Four workers take whatever task is due, for three flights of which two overlap."""
    nest = table.nest
    workers = [nest.runtime(f"worker:{n}:1") for n in range(4)]
    first, second = nest.fly(), nest.fly()

    def busy(rt):
        until = time.monotonic() + 60
        while time.monotonic() < until and nest.rows("SELECT 1 FROM hive.flight WHERE state IN ('queued', 'running')"):
            for task in nest.due():
                nest.work(task, rt)
            time.sleep(0.05)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(busy, workers))
    table.run("DELETE FROM shop.people WHERE id % 10 = 0; UPDATE shop.people SET name = 'new' WHERE id % 10 = 1")
    third = nest.land()

    told = [nest.hive.flight(flight) for flight in (first, second)]
    assert [one.state for one in told] == ["complete", "complete"]
    assert sum(one.records_landed for one in told) == 400
    assert (third.records_landed, third.records_deleted, third.records_unchanged) == (40, 40, 320)
    assert table.jar() == table.there()


def test_what_changed_and_what_is_gone_is_known_over_all_parts(table):
    table.nest.land()
    table.run("UPDATE shop.people SET name = 'other' WHERE id IN (5, 205, 399)")
    table.run("DELETE FROM shop.people WHERE id IN (1, 100, 250, 400)")
    table.run("INSERT INTO shop.people VALUES (0, 'first'), (1000, 'last')")
    second = table.nest.land()

    assert (second.records_landed, second.records_deleted, second.records_unchanged) == (5, 4, 393)
    assert table.jar() == table.there()
    assert table.nest.rows("SELECT count(*) FROM hive.seen") == [(0,)]


def test_a_row_that_another_part_holds_in_the_next_reading_is_newer_there(table):
    table.nest.land()
    table.run("DELETE FROM shop.people WHERE id > 120; UPDATE shop.people SET name = 'moved'")  # the bounds move down
    table.run("INSERT INTO shop.people SELECT n, 'new' FROM generate_series(-300, 0) n")
    table.nest.land()
    assert table.jar() | dict.fromkeys(range(-300, 1), "new") == table.jar()
    assert {table.jar()[n] for n in range(1, 121)} == {"moved"}


def test_a_crash_in_one_part_repeats_only_that_part(table):
    flight = table.nest.fly()
    table.nest.drain(kinds=["plan"])
    waiting = table.nest.due("collect")
    table.nest.crash(waiting[0])
    table.nest.drain()
    told = table.nest.hive.flight(flight)

    assert (told.state, told.records_read, told.records_landed) == ("complete", 400, 400)
    assert table.jar() == table.there()


def test_a_flight_that_finds_parts_unread_goes_on_with_those(table):
    flight = table.nest.fly()
    table.nest.drain(kinds=["plan"])
    table.nest.work(table.nest.due("collect")[0])
    table.nest.hive.cancel(flight)
    table.nest.drain()
    read = table.nest.hive.flight(flight).records_read
    table.run("DELETE FROM shop.people WHERE id IN (150, 350)")
    second = table.nest.land()
    third = table.nest.land()

    assert 0 < read < 400
    assert read + second.records_read in (398, 399, 400)
    assert second.state == third.state == "complete"
    assert third.records_read == 398
    assert table.jar() == table.there()


def test_a_table_that_became_small_is_read_whole_again(table):
    table.nest.land()
    table.register(slices=1)
    table.run("UPDATE shop.people SET name = 'whole' WHERE id = 7")
    table.run("DELETE FROM shop.people WHERE id = 8")
    second = table.nest.land()
    table.register()
    table.run("UPDATE shop.people SET name = 'cut' WHERE id = 7")
    third = table.nest.land()

    assert (second.records_landed, second.records_deleted) == (1, 1)
    assert (third.records_landed, third.records_unchanged) == (1, 398)
    assert table.jar() == table.there()


def test_parts_wait_until_what_was_read_before_has_landed(table):
    first = table.nest.fly()
    table.nest.drain(kinds=["plan", "collect"])
    second = table.nest.fly()
    table.nest.work(table.nest.due("plan")[0])
    assert table.nest.hive.flight(second).records_read == 0
    table.nest.drain()
    table.nest.hurry()
    table.nest.drain()

    assert table.nest.hive.flight(first).records_landed == 400
    assert table.nest.hive.flight(second).records_unchanged == 400


def test_a_full_refresh_begins_all_parts_anew(table):
    table.nest.land()
    again = table.nest.land(full_refresh=True)
    assert (again.state, again.records_read) == ("complete", 400)
    assert table.nest.rows("SELECT DISTINCT epoch FROM hive.checkpoint WHERE slice <> ''") == [(2,)]


def test_a_snapshot_is_read_in_parts_too(table):
    told = table.nest.land(mode="snapshot")
    assert (told.state, told.records_landed) == ("complete", 400)


def test_the_ledger_keeps_no_bound_in_clear(make_table):
    table = make_table()
    table.run("ALTER TABLE shop.people DROP CONSTRAINT people_pkey, DROP COLUMN id, ADD PRIMARY KEY (name)")
    table.run("UPDATE shop.people SET name = 'secretive-' || name")
    table.nest.land()
    told = table.nest.rows("SELECT c::text FROM hive.checkpoint c")
    assert len(told) == 5
    assert "secretive" not in str(told)
