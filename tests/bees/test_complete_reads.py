"""When a table was read completely, some rows a flight or from its first row on with a cursor: only that deletes."""

from __future__ import annotations

import time

import pytest

from bees.core.pool import shared
from tests.bees.mysql_source import Database
from tests.hive.nest import make_nest, nest
from tests.hive.shop import ShopTable

__all__ = ["make_nest", "nest"]


class PostgresTable:
    def __init__(self, nest, url):
        self.shop = ShopTable(nest, url)
        self.connector, self.options, self.stream = "postgresql", self.shop.options, {"table": "shop.people"}

    def run(self, statement):
        self.shop.source.execute(statement.replace("people", "shop.people"))

    def close(self):
        self.shop.source.close()


class MariaTable:
    def __init__(self, server):
        self.database = Database(server)
        self.connector, self.stream = "mysql", {"table": "people"}
        self.options = {k: v for k, v in self.database.options().items() if k != "batch_rows"}
        self.run = self.database.run
        self.run("CREATE TABLE people (id int PRIMARY KEY, name text)")

    def close(self):
        self.database.close()


@pytest.fixture(params=["postgresql", "mysql"])
def table(request, nest):
    if request.param == "postgresql":
        made = PostgresTable(nest, request.getfixturevalue("database_url"))
    else:
        made = MariaTable(request.getfixturevalue("mariadb"))
    yield made
    shared().close()
    made.close()


def fill(table, rows):
    for n in range(1, rows + 1):
        table.run(f"INSERT INTO people VALUES ({n}, 'Ada')")


def register(nest, table, max_rows=None, *, stream=None, **source):
    nest.hive.register_worker(
        table.connector,
        {
            "name": "people", "source": {**table.options, "max_rows": max_rows, **source},
            "streams": {"people": {**table.stream, **(stream or {})}}, "limits": {"max_deleted": 1.0},
        },
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "max_rows", "batch_rows"), [(6, 3, 20_000), (30, 7, 20_000), (12, 4, 2), (10, 4, 4)])
def test_what_earlier_flights_of_the_same_reading_met_stays(nest, table, rows, max_rows, batch_rows):
    fill(table, rows)
    register(nest, table, max_rows, batch_rows=batch_rows)
    seen = []
    for _ in range(2 * (rows // max_rows + 1) + 1):
        result = nest.land()
        assert (result.state, result.records_deleted) == ("complete", 0)
        seen.append(len(nest.jar()))

    assert seen == [min(rows, max_rows * n) for n in range(1, len(seen) + 1)]


def test_what_is_gone_leaves_the_jar_with_the_end_of_the_reading_that_did_not_meet_it(nest, table):
    fill(table, 20)
    register(nest, table, 8)
    for _ in range(3):
        nest.land()
    assert len(nest.jar()) == 20
    table.run("DELETE FROM people WHERE id IN (3, 18)")

    deleted = [nest.land().records_deleted for _ in range(3)]

    assert deleted == [0, 0, 2]
    assert sorted(map(int, nest.jar())) == [n for n in range(1, 21) if n not in (3, 18)]


def test_one_moment_and_a_part_of_the_rows_exclude_each_other(nest, table):
    with pytest.raises(Exception, match="`max_rows` goes without `consistent`"):
        register(nest, table, 8, consistent=True)


def ids(nest):
    return sorted(map(int, nest.jar()))


def test_a_full_refresh_of_a_stream_with_a_cursor_deletes_what_is_gone(nest, table):
    fill(table, 10)
    register(nest, table, stream={"cursor": "id"})
    nest.land()
    table.run("DELETE FROM people WHERE id IN (2, 10)")
    table.run("INSERT INTO people VALUES (11, 'Eve')")

    result = nest.land()
    assert (result.records_landed, result.records_deleted) == (1, 0)  # what is followed tells of no deletes
    assert ids(nest) == [*range(1, 12)]

    result = nest.land(full_refresh=True)
    assert (result.state, result.records_deleted) == ("complete", 2)
    assert ids(nest) == [1, *range(3, 10), 11]

    table.run("INSERT INTO people VALUES (12, 'Ada')")
    assert nest.land().records_deleted == 0
    assert ids(nest) == [1, *range(3, 10), 11, 12]


def test_a_table_with_a_cursor_that_was_made_anew_leaves_none_of_the_old_one(nest, table):
    fill(table, 12)
    register(nest, table, stream={"cursor": "id"})
    nest.land()
    time.sleep(1.1)  # MariaDB tells when a table was made to the second
    table.run("DROP TABLE people")
    table.run("CREATE TABLE people (id int PRIMARY KEY, name text)")
    for n in range(9, 20):
        table.run(f"INSERT INTO people VALUES ({n}, 'Eve')")

    nest.land()

    assert ids(nest) == [*range(9, 20)]


def test_a_reading_of_everything_with_a_cursor_may_take_many_legs_and_flights(nest, table, monkeypatch):
    fill(table, 20)
    register(nest, table, 6, stream={"cursor": "id"}, batch_rows=2)
    monkeypatch.setattr("hive.flight.collect.Leg._is_over", lambda *_: True)
    for _ in range(4):
        nest.land()
    assert ids(nest) == [*range(1, 21)]
    table.run("DELETE FROM people WHERE id IN (1, 19)")

    deleted = [nest.land(full_refresh=not n).records_deleted for n in range(4)]

    assert sum(deleted) == 2
    assert ids(nest) == [*range(2, 19), 20]


@pytest.mark.parametrize("legs", [False, True])
def test_a_full_refresh_in_parts_of_a_stream_with_a_cursor_deletes_what_is_gone(nest, table, monkeypatch, legs):
    if legs:
        monkeypatch.setattr("hive.flight.collect.Leg._is_over", lambda *_: True)
    fill(table, 60)
    table.run("ANALYZE people" if table.connector == "postgresql" else "ANALYZE TABLE people PERSISTENT FOR ALL")
    register(nest, table, stream={"cursor": "id"}, slices=3, slice_rows=10, batch_rows=7)
    for _ in range(2):
        assert nest.land().records_deleted == 0
    assert ids(nest) == [*range(1, 61)]
    table.run("DELETE FROM people WHERE id IN (1, 30, 60)")
    table.run("INSERT INTO people VALUES (61, 'Eve')")

    result = nest.land(full_refresh=True)

    assert parts_of(nest) == 3
    assert (result.state, result.records_deleted) == ("complete", 3)
    table.run("INSERT INTO people VALUES (62, 'Ada')")
    assert nest.land().records_deleted == 0
    assert ids(nest) == [*range(2, 30), *range(31, 60), 61, 62]


def test_a_key_whose_letters_change_case_is_another_record_and_the_next_complete_reading_deletes_the_old_one(
    nest, table
):
    """The server holds both equal; a record is known by the key as it is written."""
    table.run("DROP TABLE people")
    if table.connector == "postgresql":
        table.shop.source.execute("CREATE EXTENSION citext SCHEMA public")
        table.run("CREATE TABLE people (id citext PRIMARY KEY, name text)")
    else:
        table.run("CREATE TABLE people (id varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, name text)")
    table.run("INSERT INTO people VALUES ('ada', 'Ada'), ('eve', 'Eve')")
    register(nest, table)
    nest.land()
    table.run("UPDATE people SET id = 'ADA' WHERE id = 'Ada'")

    assert nest.land().records_deleted == 1
    assert sorted(nest.jar()) == ["ADA", "eve"]


def parts_of(nest):
    """How many parts the last flight in parts read."""
    with nest.rt.db.single() as tx:
        return tx.psycopg.execute("SELECT count(*) FROM hive.checkpoint WHERE slice <> '' AND ended").fetchone()[0]


def test_a_process_that_ends_before_the_comparison_leaves_no_ghosts(nest, table, monkeypatch):
    """All parts of a reading have landed, and the next flight begins before anybody compared what they met."""
    fill(table, 60)
    table.run("ANALYZE people" if table.connector == "postgresql" else "ANALYZE TABLE people PERSISTENT FOR ALL")
    register(nest, table, stream={"cursor": "id"}, slices=3, slice_rows=10, batch_rows=7)
    nest.land()
    table.run("DELETE FROM people WHERE id IN (1, 30, 60)")
    with monkeypatch.context() as ended:
        ended.setattr("hive.flight.work.close_if_done", lambda *_: None)
        nest.fly(full_refresh=True)
        nest.drain()
    assert parts_of(nest) == 3
    assert len(nest.jar()) == 60

    table.run("INSERT INTO people VALUES (61, 'Eve')")
    nest.land()

    assert ids(nest) == [*range(2, 30), *range(31, 60), 61]
