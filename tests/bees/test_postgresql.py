"""The PostgreSQL bee on a real server: every row comes, in order, and comes again where it must."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.bees.contract import BeeContract, Source, rows
from tests.bees.postgresql_source import PASSWORD, Database, fly, ids, source_database  # noqa: F401 - the fixture `db`


class PostgreSQLContract(BeeContract):
    connector = "postgresql"
    stream: dict[str, Any]

    @pytest.fixture
    def source(self, db: Database) -> Source:
        db.run(
            "CREATE TABLE orders (id int PRIMARY KEY, name text NOT NULL, changed timestamptz)",
            "INSERT INTO orders SELECT i, 'order ' || i, timestamptz '2024-03-01' + i / 4 * interval '1 s'"
            " FROM generate_series(1, 20) AS i",
            "UPDATE orders SET changed = NULL WHERE id IN (2, 5, 11, 12)",
        )
        return Source(
            options=db.options(streams={"orders": self.stream}),
            stream="orders",
            keys=set(range(1, 21)),
            key_of=lambda row: row["id"],
            unreachable=db.options(port=1, streams={"orders": self.stream}),
            denied=db.options(password="wrong-" + PASSWORD, streams={"orders": self.stream}),
            secrets=(PASSWORD,),
            fingerprint=lambda: db.rows("SELECT md5(string_agg(o::text, '|' ORDER BY id)) FROM orders AS o"),
        )


class TestFullReading(PostgreSQLContract):
    stream: dict[str, Any] = {}  # noqa: RUF012


class TestIncrementalReading(PostgreSQLContract):
    stream: dict[str, Any] = {"cursor": "changed"}  # noqa: RUF012


class TestQuery(PostgreSQLContract):
    stream: dict[str, Any] = {  # noqa: RUF012
        "query": "WITH o AS (SELECT * FROM orders) SELECT id, upper(name) AS loud, changed FROM o -- all of them;",
        "key": "id",
        "cursor": "changed",
    }


class TestOrder:
    def test_a_full_read_comes_in_the_order_of_the_key_and_says_when_it_is_complete(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(10, 1, -1)")
        with db.bee() as bee:
            batches = list(bee.collect_nectar("t", None))

        assert ids(rows(batches)) == list(range(1, 11))
        assert [b.complete for b in batches] == [False, False, False, True]
        assert all(b.table.num_rows <= 3 for b in batches)

    def test_an_empty_table_is_complete_at_once_and_shows_its_columns(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, n numeric)")
        with db.bee() as bee:
            (batch,) = bee.collect_nectar("t", None)

        assert (batch.complete, batch.table.num_rows, batch.table.column_names) == (True, 0, ["id", "n"])

    def test_rows_of_the_same_instant_are_all_read_across_batches(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL)",
            "INSERT INTO t SELECT i, '2024-03-01 12:00:00.123456+00' FROM generate_series(1, 10) AS i",
        )
        options = {"streams": {"t": {"cursor": "at", "lookback": 0}}}
        seen, cursor = [], None
        for _ in range(4):
            with db.bee(**options) as bee, closing(bee.collect_nectar("t", cursor)) as batches:  # type: ignore[type-var]
                batch = next(batches)
            seen += ids(batch.table.to_pylist())
            cursor = batch.cursor

        assert seen == list(range(1, 11))
        assert cursor["done"]
        assert ids(fly(db.bee(**options), "t", cursor)[0]) == list(range(1, 11))

    def test_rows_without_a_cursor_value_come_first_and_each_time(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamptz)",
            "INSERT INTO t SELECT i, CASE WHEN i % 2 = 0 THEN timestamptz '2024-03-01' END"
            " FROM generate_series(1, 9) AS i",
        )
        options = {"streams": {"t": {"cursor": "at"}}}
        first, cursor = fly(db.bee(**options), "t")
        db.run("INSERT INTO t VALUES (0, NULL)")
        second, _ = fly(db.bee(**options), "t", cursor)

        assert ids(first) == [1, 3, 5, 7, 9, 2, 4, 6, 8]
        assert ids(second) == [0, 1, 3, 5, 7, 9, 2, 4, 6, 8]

    def test_composite_keys_of_any_type_resume_in_the_servers_own_order(self, db: Database) -> None:
        db.run(
            "CREATE DOMAIN code AS text COLLATE \"C\" CHECK (value <> '')",
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad')",
            'CREATE TABLE t (a code, b mood, c numeric, d uuid, e bytea, f "char", g char(3), h float4, i timestamp,'
            " PRIMARY KEY (a, b, c, d, e, f, g, h, i))",
            "INSERT INTO t SELECT (ARRAY['b', 'B', 'é', '\\', ''''])[1 + i % 5],"
            " (ARRAY['sad', 'ok', 'glad'])[1 + i % 3]::mood,"
            " (ARRAY['NaN', '1.10', '-Infinity', '12345678901234567890.5'])[1 + i % 4]::numeric,"
            " md5(i::text)::uuid, sha256(i::text::bytea), 'x', 'ab', 0.1 + i,"
            " (ARRAY['infinity', '0044-03-15 BC', '2024-01-01 00:00:00.000001', '294276-12-31'])[1 + i % 4]::timestamp"
            " FROM generate_series(1, 40) AS i",
        )
        whole, _ = fly(db.bee(batch_rows=1000), "t")
        seen, cursor = [], None
        while not (cursor and cursor["done"]):
            with db.bee(batch_rows=7) as bee, closing(bee.collect_nectar("t", cursor)) as batches:  # type: ignore[type-var]
                batch = next(batches)
            cursor = json.loads(json.dumps(batch.cursor))
            seen += batch.table.to_pylist()

        assert len(whole) == 40
        assert repr(seen) == repr(whole)

    def test_a_text_key_is_followed_in_its_own_collation(self, db: Database) -> None:
        db.run(
            'CREATE TABLE t (id text COLLATE "C.UTF-8" PRIMARY KEY)'
            if db.rows("SELECT 1 FROM pg_collation WHERE collname = 'C.UTF-8'")
            else "CREATE TABLE t (id text PRIMARY KEY)",
            "INSERT INTO t VALUES ('a'), ('B'), ('ä'), (''), (' '), ('b')",
            "INSERT INTO t VALUES ('''; DROP TABLE t; --'), ('\\x'), ('E''\\n')",
        )
        seen, cursor = [], None
        while not (cursor and cursor["done"]):
            with db.bee(batch_rows=1) as bee, closing(bee.collect_nectar("t", cursor)) as batches:  # type: ignore[type-var]
                batch = next(batches)
            cursor = batch.cursor
            seen += ids(batch.table.to_pylist())

        assert seen == [key for (key,) in db.rows("SELECT id FROM t ORDER BY id")]

    def test_the_cursor_may_be_the_key(self, db: Database) -> None:
        db.run("CREATE TABLE t (id bigint PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")
        options = {"streams": {"t": {"cursor": "id", "lookback": 2}}}
        _, cursor = fly(db.bee(**options), "t")
        db.run("INSERT INTO t VALUES (9223372036854775807)")

        assert ids(fly(db.bee(**options), "t", cursor)[0]) == [8, 9, 10, 9223372036854775807]

    @pytest.mark.parametrize("cursor", [None, "b", "at"])
    @pytest.mark.parametrize("query", [False, True])
    def test_rows_with_a_null_in_their_key_come_with_the_others(
        self, db: Database, cursor: str | None, query: bool
    ) -> None:
        db.run(
            "CREATE TABLE t (n int, a int, b int, at timestamptz, doc json, spot point)",
            "INSERT INTO t SELECT i, nullif(i % 5, 0), nullif(i % 7, 0), nullif(i % 4, 0) * interval '1 h' +"
            """ timestamptz '2024-03-01', '{"x": 1}', '(1,2)' FROM generate_series(1, 35) AS i""",
        )
        stream = {"key": ["a", "b"], "cursor": cursor, "query": "SELECT * FROM t" if query else None}
        options = {"batch_rows": 1, "streams": {"t": stream}}
        seen, place = [], None
        while not (place and place["done"]):
            with db.bee(**options) as bee, closing(bee.collect_nectar("t", place)) as batches:  # type: ignore[type-var]
                batch = next(batches)
            place = json.loads(json.dumps(batch.cursor))
            seen += [row["n"] for row in batch.table.to_pylist()]

        assert sorted(seen) == list(range(1, 36))

    def test_later_flights_read_rows_with_a_null_in_their_key_from_the_mark_on(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int, at timestamptz)",
            "INSERT INTO t VALUES (NULL, '2024-03-01'), (NULL, '2024-03-03'), (NULL, NULL), (1, '2024-03-02')",
        )
        options = {"streams": {"t": {"key": "id", "cursor": "at"}}}
        first, cursor = fly(db.bee(**options), "t")
        second, _ = fly(db.bee(**options), "t", cursor)

        assert len(first) == 4
        assert cursor["high"].startswith("2024-03-02"), "a row without a key moves no mark"
        assert sorted((row["id"] or 0, (row["at"] or "")[:10]) for row in second) == [
            (0, ""), (0, "2024-03-03"), (1, "2024-03-02"),
        ]  # fmt: skip

    def test_a_leg_goes_on_where_the_key_has_become_certain_meanwhile(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int)", "INSERT INTO t VALUES (NULL), (1), (2)")
        options = {"batch_rows": 1, "streams": {"t": {"key": "id"}}}
        with db.bee(**options) as bee, closing(bee.collect_nectar("t", None)) as batches:  # type: ignore[type-var]
            place = next(batches).cursor
        db.run("DELETE FROM t WHERE id IS NULL", "ALTER TABLE t ALTER id SET NOT NULL")

        assert ids(fly(db.bee(**options), "t", place)[0]) == [1, 2]

    def test_a_full_read_with_null_keys_is_complete(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int)", "INSERT INTO t VALUES (NULL), (NULL), (1)")
        with db.bee(streams={"t": {"key": "id"}}) as bee:
            batches = list(bee.collect_nectar("t", None))

        assert ids(rows(batches)) == [None, None, 1]
        assert batches[-1].complete


class TestMark:
    @pytest.fixture
    def table(self, db: Database) -> Database:
        db.run("CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL)", "CREATE INDEX ON t (at, id)")
        return db

    OPTIONS: dict[str, Any] = {"streams": {"t": {"cursor": "at", "lookback": "5m"}}}  # noqa: RUF012

    def test_a_row_that_commits_late_is_read_by_the_next_flight(self, table: Database) -> None:
        table.run("INSERT INTO t VALUES (1, '2024-03-01 10:00'), (2, '2024-03-01 12:00')")
        _, cursor = fly(table.bee(**self.OPTIONS), "t")
        table.run("INSERT INTO t VALUES (3, '2024-03-01 11:56'), (4, '2024-03-01 12:01'), (5, '2024-03-01 11:54')")
        again, _ = fly(table.bee(**self.OPTIONS), "t", cursor)

        assert ids(again) == [3, 2, 4]

    @pytest.mark.parametrize(("lookback", "again"), [({}, [1, 2, 3, 5]), ({"lookback": 0}, [5])])
    @pytest.mark.parametrize("kind", ["int", "bigint", "numeric"])
    def test_a_number_that_commits_late_is_read_unless_told_otherwise(
        self, db: Database, kind: str, lookback: dict[str, Any], again: list[int]
    ) -> None:
        db.run(f"CREATE TABLE n (id {kind} PRIMARY KEY)", "INSERT INTO n VALUES (1), (2), (5)")
        options = {"streams": {"n": {"cursor": "id", **lookback}}}
        _, cursor = fly(db.bee(**options), "n")
        db.run("INSERT INTO n VALUES (3)")

        assert [int(key) for key in ids(fly(db.bee(**options), "n", cursor)[0])] == again

    def test_a_source_that_fell_behind_the_mark_is_read_anew(self, table: Database) -> None:
        """It may have been restored: what came to it since stands below the mark."""
        table.run("INSERT INTO t VALUES (1, '2024-03-01 12:00'), (2, '2024-03-02')")
        _, cursor = fly(table.bee(**self.OPTIONS), "t")
        table.run("DELETE FROM t WHERE id = 2")
        table.run("INSERT INTO t VALUES (3, '2024-03-01 13:00'), (4, '2024-03-01 14:00')")
        older, behind = fly(table.bee(**self.OPTIONS), "t", cursor)
        table.run("INSERT INTO t VALUES (5, '2024-03-01 14:01')")
        newer, last = fly(table.bee(**self.OPTIONS), "t", behind)

        assert ids(older) == [1, 3, 4]
        assert ids(newer) == [4, 5]
        assert behind["high"] < last["high"] < cursor["high"]

    def test_the_future_does_not_move_the_mark(self, table: Database) -> None:
        table.run("INSERT INTO t VALUES (1, '2024-03-01'), (2, 'infinity'), (3, '9999-12-31'), (4, '-infinity')")
        first, cursor = fly(table.bee(**self.OPTIONS), "t")
        table.run("INSERT INTO t VALUES (5, '2024-03-02')")
        second, _ = fly(table.bee(**self.OPTIONS), "t", cursor)

        assert ids(first) == [4, 1, 3, 2]
        assert ids(second) == [1, 5, 3, 2]

    def test_an_emptied_source_still_works(self, table: Database) -> None:
        table.run("INSERT INTO t VALUES (1, '2024-03-01')")
        _, cursor = fly(table.bee(**self.OPTIONS), "t")
        table.run("TRUNCATE t")
        with capture_logs() as logs:
            none, after = fly(table.bee(**self.OPTIONS), "t", cursor)

        assert none == []
        assert [line["event"] for line in logs] == ["source_behind_its_mark"]
        assert "2024" not in str(logs)
        assert "high" not in after

    @pytest.mark.parametrize(
        ("kind", "first", "second"),
        [
            ("date", "2024-03-01", "2024-03-02"),
            ("timestamp", "2024-03-01 12:00", "2024-03-01 12:01"),
            ("numeric", "1.5", "2"),
        ],
    )
    def test_other_kinds_of_cursors(self, db: Database, kind: str, first: str, second: str) -> None:
        db.run(f"CREATE TABLE t (id int PRIMARY KEY, at {kind})", f"INSERT INTO t VALUES (1, '{first}')")
        options = {"streams": {"t": {"cursor": "at", "lookback": 1}}}
        _, cursor = fly(db.bee(**options), "t")
        db.run(f"INSERT INTO t VALUES (2, '{second}')")

        assert ids(fly(db.bee(**options), "t", cursor)[0]) == [1, 2]

    def test_a_cursor_of_another_order_begins_anew(self, table: Database) -> None:
        table.run("INSERT INTO t VALUES (1, '2024-03-01')")
        _, cursor = fly(table.bee(), "t")

        assert ids(fly(table.bee(**self.OPTIONS), "t", cursor)[0]) == [1]


def test_a_key_that_rows_of_heirs_may_repeat_is_said_so(db: Database) -> None:
    """The index of a primary key knows no row of the tables that inherit from its own."""
    db.run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE heir () INHERITS (p)",
        "CREATE TABLE q (id int PRIMARY KEY)",
    )
    db.run("INSERT INTO p VALUES (1), (2)", "INSERT INTO heir VALUES (1)")
    with db.bee(streams={"p": {}, "q": {}}) as bee, capture_logs() as logs:
        assert ids(rows(list(bee.collect_nectar("p", None)))) == [1, 1, 2]
        list(bee.collect_nectar("q", None))
    [told] = [line for line in logs if line["event"] == "key_may_repeat"]
    assert (told["stream"], told["key"]) == ("p", ("id",))
