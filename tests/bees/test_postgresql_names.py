"""The PostgreSQL bee: what it offers, what may be chosen, and what is said of a wrong choice."""

from __future__ import annotations

import re
from typing import Any

import pydantic
import pytest
from psycopg import sql

from bees.core.errors import GiveUp
from bees.postgresql import PostgreSQLWorkerBee
from tests.bees.contract import rows
from tests.bees.postgresql_source import Database, fly, ids, source_database  # noqa: F401 - the fixture `db`

LOGIN = {"host": "h", "database": "d", "user": "u"}


def odd_schema(db: Database) -> None:
    made = sql.SQL('GRANT USAGE ON SCHEMA "S p" TO {}').format(sql.Identifier(db.role))
    db.run('CREATE SCHEMA "S p"', made, 'CREATE TABLE "S p"."a.B" (id int PRIMARY KEY)')
    db.run('INSERT INTO "S p"."a.B" VALUES (1)')


class TestNames:
    def test_mixed_case_and_odd_names_are_read_as_they_are(self, db: Database) -> None:
        db.run(
            'CREATE SCHEMA "Sales Dept"',
            sql.SQL('GRANT USAGE ON SCHEMA "Sales Dept" TO {}').format(sql.Identifier(db.role)),
            'CREATE TABLE "Sales Dept"."Order.Items" ("Order Id" int PRIMARY KEY, "sélect" text, "a""b%s{}" int)',
            """INSERT INTO "Sales Dept"."Order.Items" VALUES (1, 'x', 2)""",
        )
        expected = [{"Order Id": 1, "sélect": "x", 'a"b%s{}': 2}]

        assert fly(db.bee(schema="Sales Dept"), "Order.Items")[0] == expected
        named = {"items": {"table": '"Sales Dept"."Order.Items"'}}
        assert fly(db.bee(streams=named), "items")[0] == expected

    @pytest.mark.parametrize("name", ['"S p"."a.B"', 'S p."a.B"', "S p.a.B", '"S p".a.B'])
    def test_a_name_with_dots_blanks_and_capitals_is_found_however_it_is_quoted(self, db: Database, name: str) -> None:
        odd_schema(db)
        assert fly(db.bee(streams={name: {}}), name)[0] == [{"id": 1}]
        assert fly(db.bee(streams={"t": {"table": name}}), "t")[0] == [{"id": 1}]

    @pytest.mark.parametrize("name", ['"S p"."a.b"', "S p.a.b", "S.p.a.B", '"s p"."a.B"'])
    def test_the_name_that_was_probably_meant_is_told_as_it_is_to_be_written(self, db: Database, name: str) -> None:
        odd_schema(db)
        with db.bee(streams={"t": {"table": name}}) as bee, pytest.raises(GiveUp) as error:
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
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL, n numeric(10,2), doc jsonb, seen date)",
            "COMMENT ON TABLE t IS 'things'",
            "COMMENT ON COLUMN t.n IS 'price'",
            "CREATE TABLE keyless (a int)",
        )
        with db.bee() as bee:
            (stream,) = bee.get_pollen_schema()

        assert (stream.name, stream.key, stream.cursors, stream.comment) == (
            "t",
            ("id",),
            ("id", "at", "seen"),
            "things",
        )
        told = [(c.name, c.kind, c.source_type, c.nullable, c.comment) for c in stream.columns]
        assert told[2:4] == [("n", "number", "numeric(10,2)", True, "price"), ("doc", "json", "jsonb", True, "")]

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
            "CREATE TABLE t (a int, b int NOT NULL, c int NOT NULL)",
            "CREATE UNIQUE INDEX ON t (a)",
            "CREATE UNIQUE INDEX ON t (b) WHERE c > 0",
            "CREATE UNIQUE INDEX ON t (c) INCLUDE (a)",
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
            ({"key": "doc"}, "not_sortable", "plain types"),
            ({"key": "spot"}, "not_sortable", "plain types"),
            ({"cursor": "id", "lookback": "5m"}, "wrong_lookback", "number"),
            ({"lookback": 5}, "wrong_lookback", "cursor"),
        ],
    )
    def test_what_cannot_be_read_is_named_before_the_flight(
        self, db: Database, stream: dict[str, Any], code: str, meant: str
    ) -> None:
        db.run("CREATE TABLE orders (id int PRIMARY KEY, changed timestamptz, doc json, spot point)")
        with db.bee(streams={"orders": stream}) as bee, pytest.raises(GiveUp, match=meant) as error:
            bee.validate_flight_path()
        assert error.value.code == code

    def test_key_and_cursor_are_read_whatever_the_columns(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, at date, a int, b int)", "INSERT INTO t VALUES (1, '2024-03-01', 2, 3)"
        )
        records, _ = fly(db.bee(streams={"t": {"columns": "b", "cursor": "at"}}), "t")

        assert records == [{"b": 3, "id": 1, "at": "2024-03-01"}]

    @pytest.mark.parametrize(
        "stream",
        [
            {"query": "SELECT 1", "table": "t"},
            {"query": "SELECT 1\x00"},
            {"query": " "},
            {"lookback": "soon"},
            {"lookback": float("inf")},
            {"lookback": float("nan")},
            {"lookback": -1},
            {"where": "1"},
            {"table": ""},
            {"cursor": ""},
            {"cursor": "a\0"},
            {"columns": [""]},
            {"columns": ["a", "a"]},
            {"key": ["", "id", "id"]},
            {"key": " "},
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, stream: dict[str, Any]) -> None:
        with pytest.raises(pydantic.ValidationError):
            PostgreSQLWorkerBee.from_options({**LOGIN, "streams": {"t": stream}})

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"host": "a b"}, "without white space"),
            ({"host": ""}, "missing"),
            ({"host": "/run/\0"}, "NUL"),
            ({"schema": " "}, "missing"),
            ({"statement_timeout": float("inf")}, "finite|less than"),
            ({"streams": {"": {}}}, "missing"),
            ({"streams": {"a\nb": {}}}, "without control characters"),
            ({"streams": {"a": {"key": ["id", "id"]}}}, "more than once: id"),
        ],
    )
    def test_a_refusal_says_what_is_wanted(self, wrong: dict[str, Any], said: str) -> None:
        with pytest.raises(pydantic.ValidationError, match=said):
            PostgreSQLWorkerBee.from_options({**LOGIN, **wrong})

    @pytest.mark.parametrize("host", ["db.internal", "10.0.0.1", "::1", "a,b", "/var/run/my postgres"])
    def test_hosts_of_all_kinds_are_taken(self, host: str) -> None:
        assert PostgreSQLWorkerBee.from_options({**LOGIN, "host": host}).options.host == host


class TestQueryArgument:
    def test_a_limit_bounds_the_reading_and_nothing_is_called_complete(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")
        with db.bee() as bee:
            batches = list(bee.collect_nectar("t", None, query={"limit": 4}))

        assert ids(rows(batches)) == [1, 2, 3, 4]
        assert not any(b.complete or b.cursor["done"] for b in batches)

    @pytest.mark.parametrize("query", [{"where": "true"}, {"limit": "1; DROP TABLE t"}, {"limit": -1}, {"limit": True}])
    def test_anything_else_is_refused(self, db: Database, query: dict[str, Any]) -> None:
        with db.bee() as bee, pytest.raises(GiveUp) as error:
            list(bee.collect_nectar("t", None, query=query))
        assert error.value.code == "wrong_query"


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ({"schema": "b"}, True),
        ({"streams": {"t": {"table": "u"}}}, True),
        ({"streams": {"t": {"query": "SELECT 1 AS id"}}}, True),
        ({"password": "another"}, False),
        ({"batch_rows": 7}, False),
    ],
)
def test_a_stream_is_known_by_what_it_reads(changed: dict[str, Any], other: bool) -> None:
    good = {"host": "h", "database": "d", "user": "u", "password": "one", "schema": "a"}

    first = PostgreSQLWorkerBee.from_options(good).stream_identity("t")
    second = PostgreSQLWorkerBee.from_options({**good, **changed}).stream_identity("t")

    assert (first != second) is other
    assert "another" not in second
