"""The PostgreSQL bee where only some rows may be read: by filters of its own, or by the source's policies."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from bees.core.errors import GiveUp
from tests.bees.postgresql_source import Database, fly, ids, source_database  # noqa: F401 - the fixture `db`

EU = {"row_filters": {"orders": "region = 'EU'", "regions": True}}


@pytest.fixture
def orders(db: Database) -> Database:
    db.run(
        "CREATE TABLE orders (id int PRIMARY KEY, region text, total int)",
        "INSERT INTO orders SELECT i, CASE WHEN i % 2 = 0 THEN 'EU' ELSE 'US' END, i FROM generate_series(1, 12) i",
        "CREATE TABLE regions (code text PRIMARY KEY)",
        "INSERT INTO regions VALUES ('EU'), ('US')",
        "CREATE TABLE secrets (id int PRIMARY KEY)",
    )
    return db


def refusal(bee: Any) -> GiveUp:
    with bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    return error.value


def test_a_table_and_a_query_give_only_the_rows_of_the_filter(orders: Database) -> None:
    query = "SELECT o.id FROM orders o JOIN regions r ON r.code = o.region WHERE o.id > 4 OR true"
    bee = orders.bee(streams={"orders": {}, "q": {"query": query, "key": ["id"]}}, **EU)

    assert ids(fly(bee, "orders")[0]) == [2, 4, 6, 8, 10, 12]
    assert ids(fly(bee, "q")[0]) == [2, 4, 6, 8, 10, 12]


def test_the_key_and_the_cursor_of_a_filtered_table_stay(orders: Database) -> None:
    bee = orders.bee(streams={"orders": {"cursor": "total", "lookback": 0}}, **EU)
    first, cursor = fly(bee, "orders")[:2]
    orders.run("INSERT INTO orders VALUES (13, 'US', 13), (14, 'EU', 14)")

    assert ids(first) == [2, 4, 6, 8, 10, 12]
    assert 14 in ids(fly(bee, "orders", cursor)[0])
    assert 13 not in ids(fly(bee, "orders", cursor)[0])


def test_without_streams_the_filtered_tables_are_offered(orders: Database) -> None:
    with orders.bee(**EU) as bee:
        bee.validate_flight_path()
        assert [stream.name for stream in bee.get_pollen_schema()] == ["orders", "regions"]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ({"table": "secrets"}, "unknown_table"),
        ({"query": "SELECT id FROM secrets", "key": ["id"]}, "unknown_table"),
        ({"query": "SELECT id FROM orders FOR UPDATE", "key": ["id"]}, "locking"),
        ({"query": "SELECT relname AS id FROM pg_class", "key": ["id"]}, "catalog"),
    ],
)
def test_what_no_filter_holds_is_not_read(orders: Database, stream: dict[str, Any], code: str) -> None:
    assert refusal(orders.bee(streams={"s": stream}, **EU)).code == code


def test_other_filters_make_another_stream(orders: Database) -> None:
    """Its mark says nothing about the rows that were hidden until now."""
    seen = {
        orders.bee(streams={"orders": {}}, **options).stream_identity("orders")
        for options in ({}, EU, {"row_filters": {"orders": "true"}})
    }
    assert len(seen) == 3


def test_row_level_security_is_kept_by_the_policies_of_the_source(orders: Database) -> None:
    held = {"row_level_security": True, "streams": {"orders": {}}}
    assert refusal(orders.bee(**held)).code == "no_row_filter"

    orders.run(
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
        sql.SQL("CREATE POLICY eu ON orders TO {} USING (region = 'EU')").format(sql.Identifier(orders.role)),
    )
    assert ids(fly(orders.bee(**held), "orders")[0]) == [2, 4, 6, 8, 10, 12]


def test_row_level_security_of_a_query_needs_filters(orders: Database) -> None:
    held = {"row_level_security": True, "streams": {"q": {"query": "SELECT id FROM orders", "key": ["id"]}}}

    assert refusal(orders.bee(**held)).code == "no_row_filter"
    assert ids(fly(orders.bee(**held, **EU), "q")[0]) == [2, 4, 6, 8, 10, 12]


def test_a_failing_query_tells_nothing_of_a_value(orders: Database) -> None:
    orders.run("INSERT INTO orders VALUES (20, 'US secret', 0), (22, 'EU', 5)")
    query = {"query": "SELECT id, (region || id)::int AS n FROM orders", "key": ["id"]}
    with pytest.raises(GiveUp) as error:
        fly(orders.bee(streams={"q": query}, **EU), "q")

    assert "EU" not in str(error.value)
    harmless = {"query": "SELECT id, 1 / total AS n FROM orders", "key": ["id"]}  # 0 stands in a hidden row only
    assert 22 in ids(fly(orders.bee(streams={"q": harmless}, **EU), "q")[0])
