"""The MySQL bee on a real MariaDB: every row comes, in order, and comes again where it must."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.bees.contract import BeeContract, Source, rows
from tests.bees.mysql_source import Database, fly, ids, legs, source_database  # noqa: F401 - the fixture `db`
from tests.servers.mariadb import PASSWORD

pytestmark = pytest.mark.servers


class MySQLContract(BeeContract):
    connector = "mysql"
    stream: dict[str, Any]

    @pytest.fixture
    def source(self, db: Database) -> Source:
        db.run(
            "CREATE TABLE orders (id int PRIMARY KEY, name text NOT NULL, changed timestamp NULL)",
            "INSERT INTO orders SELECT seq, CONCAT('order ', seq), TIMESTAMP'2024-03-01 00:00:00'"
            " + INTERVAL seq DIV 4 SECOND FROM seq_1_to_20",
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
            fingerprint=lambda: db.rows("CHECKSUM TABLE orders"),
        )


class TestFullReading(MySQLContract):
    stream: dict[str, Any] = {}  # noqa: RUF012


class TestIncrementalReading(MySQLContract):
    stream: dict[str, Any] = {"cursor": "changed"}  # noqa: RUF012


class TestQuery(MySQLContract):
    stream: dict[str, Any] = {  # noqa: RUF012
        "query": "WITH o AS (SELECT * FROM orders) SELECT id, upper(name) AS loud, changed FROM o -- all of them;",
        "key": "id",
        "cursor": "changed",
    }


class TestOrder:
    def test_a_full_read_comes_in_the_order_of_the_key_and_says_when_it_is_complete(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT 11 - seq FROM seq_1_to_10")
        with db.bee() as bee:
            batches = list(bee.collect_nectar("t", None))

        assert ids(rows(batches)) == list(range(1, 11))
        assert [b.complete for b in batches] == [False, False, False, True]
        assert all(b.table.num_rows <= 3 for b in batches)

    def test_an_empty_table_is_complete_at_once_and_shows_its_columns(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, n decimal(5,2))")
        with db.bee() as bee:
            (batch,) = bee.collect_nectar("t", None)

        assert (batch.complete, batch.table.num_rows, batch.table.column_names) == (True, 0, ["id", "n"])

    def test_rows_of_the_same_instant_are_all_read_across_batches(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, at timestamp(6) NOT NULL)",
            "INSERT INTO t SELECT seq, '2024-03-01 12:00:00.123456' FROM seq_1_to_10",
        )
        options = {"streams": {"t": {"cursor": "at", "lookback": 0}}}

        assert ids(legs(db, "t", **options)) == list(range(1, 11))
        _, cursor = fly(db.bee(**options), "t")
        assert ids(fly(db.bee(**options), "t", cursor)[0]) == list(range(1, 11))

    def test_rows_without_a_cursor_value_come_first_and_each_time(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, at datetime)",
            "INSERT INTO t SELECT seq, IF(seq % 2 = 0, '2024-03-01', NULL) FROM seq_1_to_9",
        )
        options = {"streams": {"t": {"cursor": "at"}}}
        first, cursor = fly(db.bee(**options), "t")
        db.run("INSERT INTO t VALUES (0, NULL)")
        second, _ = fly(db.bee(**options), "t", cursor)

        assert ids(first) == [1, 3, 5, 7, 9, 2, 4, 6, 8]
        assert ids(second) == [0, 1, 3, 5, 7, 9, 2, 4, 6, 8]

    def test_composite_keys_of_any_type_resume_in_the_servers_own_order(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (a varchar(9) CHARACTER SET latin1, b enum('sad', 'ok', 'glad'), c decimal(30,5), d uuid,"
            " e varbinary(32), f bit(9), g char(3), h float, i datetime(6), j time(3), k bigint unsigned, l year,"
            " m set('x', 'y'), n double, o date, p inet6,"
            " PRIMARY KEY (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p))",
            "INSERT INTO t SELECT ELT(1 + seq % 5, 'b', 'B1', 'é', '\\\\', ''''),"
            " ELT(1 + seq % 3, 'sad', 'ok', 'glad'),"
            " ELT(1 + seq % 4, '0', '1.10', '-1234567890123456789012345.5', '12345678901234567890.5'),"
            " CONCAT('00000000-0000-4000-8000-', LPAD(HEX(seq * 7919), 12, '0')),"
            " UNHEX(SHA2(seq, 256)), seq, 'ab', 0.1 + seq,"
            " ELT(1 + seq % 4, '9999-12-31 23:59:59.999999', '0000-00-00', '2024-01-01 00:00:00.000001', '1000-01-01'),"
            " ELT(1 + seq % 3, '-838:59:59', '838:59:59', '00:00:00.001'), 18446744073709551615 - seq % 2, 2000 + seq,"
            " ELT(1 + seq % 3, 'x', 'x,y', ''), seq / 3, ELT(1 + seq % 2, '0000-00-00', '2024-02-29'), '::1'"
            " FROM seq_1_to_40",
        )
        whole, _ = fly(db.bee(batch_rows=1000), "t")
        seen = legs(db, "t", batch_rows=7)

        assert len(whole) == 40
        assert repr(seen) == repr(whole)

    @pytest.mark.parametrize(
        "collation", ["utf8mb4_general_ci", "utf8mb4_bin", "latin1_swedish_ci", "utf8mb4_unicode_520_nopad_ci"]
    )
    def test_a_text_key_is_followed_in_its_own_collation(self, db: Database, collation: str) -> None:
        charset = collation.partition("_")[0]
        db.run(
            f"CREATE TABLE t (id varchar(40) CHARACTER SET {charset} COLLATE {collation} PRIMARY KEY)",
            "INSERT IGNORE INTO t VALUES ('a'), ('B'), ('ä'), (''), (' '), ('b'), ('''; DROP TABLE t; --'), ('\\\\x'),"
            " ('E''\\n'), ('\"'), ('%s'), ('€')",
        )
        own = [key for (key,) in db.rows("SELECT id FROM t ORDER BY id")]

        assert len(own) > 8
        assert ids(legs(db, "t", batch_rows=1)) == own

    def test_the_cursor_may_be_the_key(self, db: Database) -> None:
        db.run("CREATE TABLE t (id bigint unsigned PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_10")
        options = {"streams": {"t": {"cursor": "id", "lookback": 2}}}
        _, cursor = fly(db.bee(**options), "t")
        db.run("INSERT INTO t VALUES (18446744073709551615)")

        assert ids(fly(db.bee(**options), "t", cursor)[0]) == [8, 9, 10, 18446744073709551615]

    @pytest.mark.parametrize("cursor", [None, "b", "at"])
    @pytest.mark.parametrize("query", [False, True])
    def test_rows_with_a_null_in_their_key_come_with_the_others(
        self, db: Database, cursor: str | None, query: bool
    ) -> None:
        db.run(
            "CREATE TABLE t (n int, a int, b int, at timestamp NULL, doc json, spot point, raw varbinary(4))",
            "INSERT INTO t SELECT seq, NULLIF(seq % 5, 0), NULLIF(seq % 7, 0), TIMESTAMP'2024-03-01 00:00:00' +"
            """ INTERVAL NULLIF(seq % 4, 0) HOUR, '{"x": 1}', POINT(1, 2), X'FF00' FROM seq_1_to_35""",
        )
        stream = {"key": ["a", "b"], "cursor": cursor, "query": "SELECT * FROM t" if query else None}
        seen = [row["n"] for row in legs(db, "t", batch_rows=4, streams={"t": stream})]

        assert sorted(seen) == list(range(1, 36))

    def test_later_flights_read_rows_with_a_null_in_their_key_from_the_mark_on(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int, at timestamp NULL)",
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
        db.run("DELETE FROM t WHERE id IS NULL", "ALTER TABLE t MODIFY id int NOT NULL")

        assert ids(fly(db.bee(**options), "t", place)[0]) == [1, 2]

    def test_a_full_read_with_null_keys_is_complete(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int)", "INSERT INTO t VALUES (NULL), (NULL), (1)")
        with db.bee(streams={"t": {"key": "id"}}) as bee:
            batches = list(bee.collect_nectar("t", None))

        assert ids(rows(batches)) == [None, None, 1]
        assert batches[-1].complete

    def test_a_view_is_read_by_the_key_it_is_given(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, n int)",
            "INSERT INTO t SELECT seq, seq * 2 FROM seq_1_to_7",
            "CREATE VIEW v AS SELECT id, n FROM t WHERE id > 2",
        )
        assert ids(legs(db, "v", batch_rows=2, streams={"v": {"key": "id"}})) == [3, 4, 5, 6, 7]


class TestMark:
    @pytest.fixture
    def table(self, db: Database) -> Database:
        db.run("CREATE TABLE t (id int PRIMARY KEY, at datetime NOT NULL, KEY (at, id))")
        return db

    OPTIONS: dict[str, Any] = {"streams": {"t": {"cursor": "at", "lookback": "5m"}}}  # noqa: RUF012

    def test_a_row_that_commits_late_is_read_by_the_next_flight(self, table: Database) -> None:
        table.run("INSERT INTO t VALUES (1, '2024-03-01 10:00'), (2, '2024-03-01 12:00')")
        _, cursor = fly(table.bee(**self.OPTIONS), "t")
        table.run("INSERT INTO t VALUES (3, '2024-03-01 11:56'), (4, '2024-03-01 12:01'), (5, '2024-03-01 11:54')")
        again, _ = fly(table.bee(**self.OPTIONS), "t", cursor)

        assert ids(again) == [3, 2, 4]

    @pytest.mark.parametrize(("lookback", "again"), [({}, [1, 2, 3, 5]), ({"lookback": 0}, [5])])
    @pytest.mark.parametrize("kind", ["int", "bigint unsigned", "decimal(9,2)"])
    def test_a_number_that_commits_late_is_read_unless_told_otherwise(
        self, db: Database, kind: str, lookback: dict[str, Any], again: list[int]
    ) -> None:
        db.run(f"CREATE TABLE n (id {kind} PRIMARY KEY)", "INSERT INTO n VALUES (1), (2), (5)")
        options = {"streams": {"n": {"cursor": "id", **lookback}}}
        _, cursor = fly(db.bee(**options), "n")
        db.run("INSERT INTO n VALUES (3)")

        assert [int(float(key)) for key in ids(fly(db.bee(**options), "n", cursor)[0])] == again

    def test_a_source_that_fell_behind_the_mark_is_read_anew(self, table: Database) -> None:
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
        table.run("INSERT INTO t VALUES (1, '2024-03-01'), (2, '9999-12-31'), (4, '0000-00-00')")
        first, cursor = fly(table.bee(**self.OPTIONS), "t")
        table.run("INSERT INTO t VALUES (5, '2024-03-02')")
        second, _ = fly(table.bee(**self.OPTIONS), "t", cursor)

        assert ids(first) == [4, 1, 2]
        assert ids(second) == [1, 5, 2]

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
            ("datetime(3)", "2024-03-01 12:00:00.5", "2024-03-01 12:00:01"),
            ("timestamp", "2024-03-01 12:00", "2024-03-01 12:00:01"),
            ("decimal(5,2)", "1.5", "2"),
            ("year", "2024", "2025"),
        ],
    )
    def test_other_kinds_of_cursors(self, db: Database, kind: str, first: str, second: str) -> None:
        db.run(f"CREATE TABLE t (id int PRIMARY KEY, at {kind})", f"INSERT INTO t VALUES (1, '{first}')")
        options = {"streams": {"t": {"cursor": "at", "lookback": 1}}}
        _, cursor = fly(db.bee(**options), "t")
        db.run(f"INSERT INTO t VALUES (2, '{second}')")

        assert ids(fly(db.bee(**options), "t", cursor)[0]) == [1, 2]

    def test_a_cursor_of_bytes(self, db: Database) -> None:
        """Such as ids that begin with their time; bytes are no text, and some are none in any character set."""
        db.run("CREATE TABLE t (id int PRIMARY KEY, at binary(4))", "INSERT INTO t VALUES (1, X'00FF8027')")
        options = {"streams": {"t": {"cursor": "at"}}}
        _, cursor = fly(db.bee(**options), "t")
        db.run("INSERT INTO t VALUES (2, X'00FF8100'), (3, X'00000000')")

        found, cursor = fly(db.bee(**options), "t", cursor)
        assert (ids(found), cursor["high"]) == ([1, 2], "00ff8100")

    def test_a_cursor_of_another_order_begins_anew(self, table: Database) -> None:
        table.run("INSERT INTO t VALUES (1, '2024-03-01')")
        _, cursor = fly(table.bee(), "t")

        assert ids(fly(table.bee(**self.OPTIONS), "t", cursor)[0]) == [1]

    def test_a_cursor_without_an_index_is_told(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, at datetime)")
        with capture_logs() as logs, db.bee(**self.OPTIONS) as bee:
            bee.validate_flight_path()

        assert ("cursor_without_index", "t", "at") in [(x["event"], x.get("stream"), x.get("column")) for x in logs]


def test_max_rows_bounds_a_flight_and_the_next_goes_on(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_10")
    first, cursor = fly(db.bee(max_rows=4), "t")
    second, cursor = fly(db.bee(max_rows=4), "t", cursor)
    third, cursor = fly(db.bee(max_rows=4), "t", cursor)

    assert [ids(first), ids(second), ids(third)] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert json.loads(json.dumps(cursor))["done"]
