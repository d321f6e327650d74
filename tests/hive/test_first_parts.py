"""A large table with a cursor is read by several workers at once the first time, and by one from there on."""

from __future__ import annotations

import pytest

from tests.hive.nest import make_nest, nest
from tests.hive.shop import maker
from tests.hive.test_slices import Table, parts

__all__ = ["make_nest", "nest"]


class Followed(Table):
    """The same rows with the time of their last change, which is the stream's cursor."""

    def register(self, **changed):
        self.run("ALTER TABLE shop.people ADD COLUMN IF NOT EXISTS at timestamp DEFAULT '2026-01-01'")
        self.run("ANALYZE shop.people")
        streams = {"people": {"table": "shop.people", "cursor": "at", "lookback": 0}}
        self.nest.hive.register_worker(
            "postgresql", {"name": "people", "source": {**self.options, **changed}, "streams": streams}
        )


make_table = maker(Followed, batch_rows=20)


@pytest.fixture
def table(make_table):
    return make_table()


def test_it_is_read_in_parts_and_the_next_flight_goes_on_behind_what_was_there(table):
    first = table.nest.fly()
    table.nest.drain(kinds=["plan"])
    table.nest.work(table.nest.due("collect")[0])
    table.run("UPDATE shop.people SET name = 'meanwhile', at = '2026-02-01' WHERE id IN (3, 397)")
    table.nest.drain()
    told = table.nest.hive.flight(first)
    tasks = table.nest.rows("SELECT count(*) FROM hive.task WHERE kind = 'collect'")
    table.run("INSERT INTO shop.people VALUES (0, 'new', '2026-03-01')")
    second, third = table.nest.land(), table.nest.land()

    assert (told.state, told.records_read, told.records_landed, tasks) == ("complete", 400, 400, [(4,)])
    # Without a look-back the rows at the mark come again, and what changed behind it.
    assert (second.state, second.records_read, second.records_landed) == ("complete", 401, 2)
    assert (third.records_read, third.records_landed) == (1, 0)
    assert table.jar() == table.there()


def test_a_flight_that_finds_parts_unread_goes_on_with_those(table):
    flight = table.nest.fly()
    table.nest.drain(kinds=["plan"])
    table.nest.work(table.nest.due("collect")[0])
    table.nest.hive.cancel(flight)
    table.nest.drain()
    read = table.nest.hive.flight(flight).records_read
    second = table.nest.land()
    table.run("UPDATE shop.people SET at = '2026-02-01' WHERE id = 1")
    third = table.nest.land()

    assert 0 < read < 400
    assert read + second.records_read == 400
    assert (third.state, third.records_landed) == ("complete", 1)
    assert table.jar() == table.there()


def test_a_full_refresh_falls_into_parts_again(table):
    table.nest.land()
    table.nest.land()
    again, then = table.nest.land(full_refresh=True), table.nest.land()
    assert (again.state, again.records_read) == ("complete", 400)
    assert len(parts(table.nest)) == 0  # the whole goes on again
    assert then.state == "complete"


def test_one_that_began_as_a_whole_goes_on_as_a_whole(table):
    table.register(slices=1)
    table.nest.land()
    table.register()
    table.nest.land()
    assert table.nest.rows("SELECT slice FROM hive.checkpoint") == [("",)]
    assert table.jar() == table.there()


def test_two_streams_of_which_one_was_read(table):
    table.run("CREATE TABLE shop.more (id int PRIMARY KEY, at timestamp, name text)")
    table.nest.land()
    table.run("INSERT INTO shop.more SELECT n, '2026-01-01', 'more' FROM generate_series(1, 400) n")
    table.run("ANALYZE shop.more")
    streams = {name: {"table": f"shop.{name}", "cursor": "at", "lookback": 0} for name in ("people", "more")}
    table.nest.hive.register_worker("postgresql", {"name": "people", "source": table.options, "streams": streams})
    both = table.nest.land()
    last = table.nest.land()
    cut = table.nest.rows(
        "SELECT s.name, max(c.slice) FROM hive.checkpoint c JOIN hive.stream s ON s.id = c.stream GROUP BY 1 ORDER BY 1"
    )

    assert both.state == last.state == "complete"
    assert cut == [("more", "4"), ("people", "4")]
    assert last.records_landed == 0
