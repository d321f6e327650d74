"""The MySQL bee: what it offers, what may be chosen, what is said of a wrong choice, and rows that are held back."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from bees.core.errors import GiveUp
from bees.mysql import MySQLWorkerBee
from tests.bees.contract import rows
from tests.bees.mysql_source import Database, fly, ids, source_database  # noqa: F401 - the fixture `db`

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = {"host": "h", "database": "d", "user": "u"}
EU = {"row_filters": {"orders": "region = 'EU'", "regions": True}}


@contextmanager
def other_database(db: Database) -> Iterator[None]:
    """One with a dot in its name, and a table with one."""
    name = f"`{db.name}.x`"
    db.run(f"CREATE DATABASE {name}", f"CREATE TABLE {name}.`a.B` (id int PRIMARY KEY)")
    db.run(f"INSERT INTO {name}.`a.B` VALUES (1)", f"GRANT SELECT ON {name}.* TO '{db.user}'@'%'")
    try:
        yield
    finally:
        db.run(f"DROP DATABASE {name}")


@pytest.mark.servers
class TestNames:
    def test_mixed_case_and_odd_names_are_read_as_they_are(self, db: Database) -> None:
        db.run(
            'CREATE TABLE `Order.Items` (`Order Id` int PRIMARY KEY, `sélect` text, `a``b%s{}"` int)',
            "INSERT INTO `Order.Items` VALUES (1, 'x', 2)",
        )
        expected = [{"Order Id": 1, "sélect": "x", 'a`b%s{}"': 2}]

        assert fly(db.bee(), "Order.Items")[0] == expected
        named = {"items": {"table": f"`{db.name}`.`Order.Items`"}}
        assert fly(db.bee(streams=named), "items")[0] == expected

    @pytest.mark.parametrize("name", ["`{0}.x`.`a.B`", "{0}.x.a.B", "`{0}.x`.a.B"])
    def test_a_name_with_dots_blanks_and_capitals_is_found_however_it_is_quoted(self, db: Database, name: str) -> None:
        with other_database(db):
            name = name.format(db.name)
            assert fly(db.bee(streams={name: {}}), name)[0] == [{"id": 1}]

    @pytest.mark.parametrize("name", ["`{0}.x`.`a.b`", "{0}.x.a.b"])
    def test_the_name_that_was_probably_meant_is_told_as_it_is_to_be_written(self, db: Database, name: str) -> None:
        with other_database(db):
            with db.bee(streams={"t": {"table": name.format(db.name)}}) as bee, pytest.raises(GiveUp) as error:
                list(bee.collect_nectar("t", None))
            found = re.search("did you mean '(.*)'", str(error.value))
            assert found
            assert fly(db.bee(streams={"t": {"table": found[1]}}), "t")[0] == [{"id": 1}]

    @pytest.mark.parametrize("stream", [{"table": "t"}, {"query": "SELECT * FROM t", "key": "_id"}])
    def test_what_a_row_calls_by_a_reserved_name_is_data(self, db: Database, stream: dict[str, str]) -> None:
        """A column `_op` of the source deletes nothing, and `_id` is not lost."""
        db.run(
            "CREATE TABLE t (_id int PRIMARY KEY, _op text, underscore_x int)",
            "INSERT INTO t VALUES (1, 'delete', 1), (2, 'truncate', 2)",
        )
        with db.bee(streams={"t": stream}) as bee:
            assert bee.get_pollen_schema()[0].key == ("underscore_id",)

        assert fly(db.bee(streams={"t": stream}), "t")[0] == [
            {"underscore_id": 1, "underscore_op": "delete", "underscoreunderscore_x": 1},
            {"underscore_id": 2, "underscore_op": "truncate", "underscoreunderscore_x": 2},
        ]

    def test_the_schema_tells_what_the_catalog_knows(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamp NOT NULL DEFAULT NOW(), n decimal(10,2) COMMENT 'price',"
            " doc json, seen date) COMMENT 'things'",
            "CREATE TABLE keyless (a int)",
            "INSERT INTO t (id) VALUES (1)",
            "ANALYZE TABLE t",
        )
        with db.bee() as bee:
            (stream,) = bee.get_pollen_schema()

        assert (stream.name, stream.key, stream.cursors) == ("t", ("id",), ("id", "at", "seen"))
        assert (stream.comment, stream.labels) == ("things", {"estimated_rows": "1"})
        told = [(c.name, c.kind, c.source_type, c.nullable, c.comment) for c in stream.columns]
        assert told[2:4] == [("n", "number", "decimal(10,2)", True, "price"), ("doc", "json", "longtext", True, "")]

    def test_a_table_without_a_key_is_offered_and_says_what_to_set(self, db: Database) -> None:
        db.run("CREATE TABLE t (a int, b int)", "INSERT INTO t VALUES (1, 2)")
        with db.bee(streams={"t": None}) as bee:
            assert bee.get_pollen_schema()[0].key == ()
            with pytest.raises(GiveUp, match=r"streams\.t\.key") as error:
                list(bee.collect_nectar("t", None))
        assert error.value.code == "no_key"
        assert fly(db.bee(streams={"t": {"key": "a"}}), "t")[0] == [{"a": 1, "b": 2}]

    def test_a_unique_index_without_nulls_serves_as_key(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (a int, b varchar(9) NOT NULL, c int NOT NULL,"
            " UNIQUE KEY (a), UNIQUE KEY (b(3)), UNIQUE KEY (c))"
        )
        with db.bee(streams={"t": {}}) as bee:
            assert bee.get_pollen_schema()[0].key == ("c",)

    @pytest.mark.parametrize(
        ("stream", "code", "meant"),
        [
            ({"table": "order"}, "no_table", "orders"),
            ({"table": "Orders"}, "no_table", "orders"),
            ({"key": "idd"}, "no_column", "'id'"),
            ({"cursor": "chnged"}, "no_column", "changed"),
            ({"columns": ["id", "Changed"]}, "no_column", "changed"),
            ({"cursor": "doc"}, "not_sortable", "plain types"),
            ({"key": "spot"}, "not_sortable", "plain types"),
            ({"cursor": "id", "lookback": "5m"}, "wrong_lookback", "number"),
            ({"lookback": 5}, "wrong_lookback", "cursor"),
            ({"query": "SELECT id, id FROM orders", "key": "id"}, "ambiguous", "AS"),
            ({"query": "SELECT idd AS id FROM orders", "key": "id"}, "no_column", "query"),
            ({"query": "SELECT id FROM order_s", "key": "id"}, "no_table", "query"),
        ],
    )
    def test_what_cannot_be_read_is_named_before_the_flight(
        self, db: Database, stream: dict[str, Any], code: str, meant: str
    ) -> None:
        db.run("CREATE TABLE orders (id int PRIMARY KEY, changed timestamp NULL, doc json, spot point)")
        with db.bee(streams={"orders": stream}) as bee, pytest.raises(GiveUp, match=meant) as error:
            bee.validate_flight_path()
        assert error.value.code == code

    def test_key_and_cursor_are_read_whatever_the_columns(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, at date, a int, b int)",
            "INSERT INTO t VALUES (1, '2024-03-01', 2, 3)",
        )
        records, _ = fly(db.bee(streams={"t": {"columns": "b", "cursor": "at"}}), "t")

        assert records == [{"b": 3, "id": 1, "at": "2024-03-01"}]

    def test_a_limit_bounds_the_reading_and_nothing_is_called_complete(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_10")
        with db.bee() as bee:
            batches = list(bee.collect_nectar("t", None, query={"limit": 4}))
            with pytest.raises(GiveUp) as error:
                list(bee.collect_nectar("t", None, query={"limit": "1; DROP TABLE t"}))

        assert ids(rows(batches)) == [1, 2, 3, 4]
        assert not any(b.complete or b.cursor["done"] for b in batches)
        assert error.value.code == "wrong_query"


@pytest.mark.servers
class TestRowFilters:
    @pytest.fixture
    def orders(self, db: Database) -> Database:
        db.run(
            "CREATE TABLE orders (id int PRIMARY KEY, region varchar(9), total int)",
            "INSERT INTO orders SELECT seq, IF(seq % 2 = 0, 'EU', 'US'), seq FROM seq_1_to_12",
            "CREATE TABLE regions (code varchar(9) PRIMARY KEY)",
            "INSERT INTO regions VALUES ('EU'), ('US')",
            "CREATE TABLE secrets (id int PRIMARY KEY)",
        )
        return db

    def test_a_table_and_a_query_give_only_the_rows_of_the_filter(self, orders: Database) -> None:
        query = "SELECT o.id FROM orders o JOIN regions r ON r.code = o.region WHERE o.id > 4 OR true"
        bee = orders.bee(streams={"orders": {}, "q": {"query": query, "key": ["id"]}}, **EU)

        assert ids(fly(bee, "orders")[0]) == [2, 4, 6, 8, 10, 12]
        assert ids(fly(bee, "q")[0]) == [2, 4, 6, 8, 10, 12]

    def test_the_key_and_the_cursor_of_a_filtered_table_stay(self, orders: Database) -> None:
        bee = orders.bee(streams={"orders": {"cursor": "total", "lookback": 0}}, **EU)
        first, cursor = fly(bee, "orders")
        orders.run("INSERT INTO orders VALUES (13, 'US', 13), (14, 'EU', 14)")

        assert ids(first) == [2, 4, 6, 8, 10, 12]
        assert ids(fly(bee, "orders", cursor)[0]) == [12, 14]

    def test_without_streams_the_filtered_tables_are_offered(self, orders: Database) -> None:
        with orders.bee(**EU) as bee:
            bee.validate_flight_path()
            assert [stream.name for stream in bee.get_pollen_schema()] == ["orders", "regions"]

    @pytest.mark.parametrize(
        ("stream", "code"),
        [
            ({"table": "secrets"}, "unknown_table"),
            ({"query": "SELECT id FROM secrets", "key": ["id"]}, "unknown_table"),
            ({"query": "SELECT id FROM orders FOR UPDATE", "key": ["id"]}, "locking"),
            ({"query": "SELECT table_name AS id FROM information_schema.tables", "key": ["id"]}, "catalog"),
        ],
    )
    def test_what_no_filter_holds_is_not_read(self, orders: Database, stream: dict[str, Any], code: str) -> None:
        with orders.bee(streams={"s": stream}, **EU) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert error.value.code == code

    def test_row_level_security_needs_filters(self, orders: Database) -> None:
        held = {"row_level_security": True, "streams": {"orders": {}}}
        with orders.bee(**held) as bee, pytest.raises(GiveUp, match="row_filters") as error:
            bee.validate_flight_path()

        assert error.value.code == "no_row_filter"
        assert ids(fly(orders.bee(**held, **EU), "orders")[0]) == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(
    "stream",
    [
        {"query": "SELECT 1", "table": "t"},
        {"query": "SELECT 1\x00"},
        {"lookback": "soon"},
        {"lookback": -1},
        {"where": "1"},
        {"cursor": "a\0"},
        {"columns": ["a", "a"]},
    ],
)
def test_options_that_make_no_sense_are_refused(stream: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        MySQLWorkerBee.from_options({**LOGIN, "streams": {"t": stream}})


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ({"streams": {"t": {"table": "u"}}}, True),
        ({"streams": {"t": {"query": "SELECT 1 AS id"}}}, True),
        ({"row_filters": {"t": "a = 1"}}, True),
        ({"cdc": {}}, True),
        ({"password": "another"}, False),
        ({"batch_rows": 7}, False),
    ],
)
def test_a_stream_is_known_by_what_it_reads(changed: dict[str, Any], other: bool) -> None:
    first = MySQLWorkerBee.from_options({**LOGIN, "password": "one"}).stream_identity("t")
    second = MySQLWorkerBee.from_options({**LOGIN, "password": "one", **changed}).stream_identity("t")

    assert (first != second) is other
    assert "another" not in second
