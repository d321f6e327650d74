"""Changes out of the server's log: all of them, once, in order, whatever happens; and the log is let go."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import pq, sql
from pydantic import ValidationError

from bees.core.errors import GiveUp, RetryLater
from bees.core.pool import shared
from bees.core.sql.postgres import slots
from tests.bees.contract import BeeContract, Source, rows
from tests.bees.postgresql_source import PASSWORD, Database
from tests.servers.logical import logical_postgres  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bees.postgresql import PostgreSQLWorkerBee
    from hive.embedded import EmbeddedPostgres
    from nectar.batch import Batch

pytestmark = pytest.mark.servers
CDC = {"slot": "bee", "publication": "told", "create_slot": True}
_numbers = itertools.count(1)


@pytest.fixture(name="db")
def followed_database(logical_postgres: EmbeddedPostgres) -> Iterator[Database]:  # noqa: F811
    name = f"followed_{next(_numbers)}"
    database = Database(logical_postgres.create_database(name))
    database.run(sql.SQL("ALTER ROLE {} REPLICATION").format(sql.Identifier(database.role)))
    database.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE PUBLICATION told FOR TABLE t")
    yield database
    if database.owner.closed or database.owner.broken:
        database.owner = psycopg.connect(logical_postgres.url(), dbname=name, autocommit=True)
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
    end = (
        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
        " WHERE database = current_database() AND active"
    )
    database.run(end, drop)
    database.close()
    logical_postgres.drop_database(name)


def bee(db: Database, **changed: Any) -> PostgreSQLWorkerBee:
    return db.bee(**{"cdc": CDC, "streams": {"t": {}}} | changed)


def fly(db: Database, cursor: Any = None, **changed: Any) -> tuple[list[dict[str, Any]], Any]:
    """One flight, each batch sealed as it comes; what came, and the last cursor, through JSON."""
    found: list[Batch] = []
    with bee(db, **changed) as one:
        for batch in one.collect_nectar("t", cursor):
            one.sealed(batch.cursor)
            found.append(batch)
    last = found[-1].cursor if found else cursor
    return rows(found), json.loads(json.dumps(last))


def anew(db: Database, cursor: Any = None) -> tuple[list[dict[str, Any]], bool, Any]:
    """As `fly`, and whether the table was read anew; what came before that counts no more."""
    found: list[Batch] = []
    begun = False
    with bee(db) as one:
        for batch in one.collect_nectar("t", cursor):
            one.sealed(batch.cursor)
            found, begun = [*([] if batch.begins else found), batch], begun or batch.begins
    return rows(found), begun, json.loads(json.dumps(found[-1].cursor))


def await_setting(db: Database, standby: str) -> None:
    """Until the server's sessions take the names of its standbys to be that."""
    until = time.monotonic() + 20
    while db.rows("SHOW synchronous_standby_names") != [(standby,)]:
        assert time.monotonic() < until
        time.sleep(0.01)


def told(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """(op, id, v) of each change."""
    return [(r.get("_op") or "upsert", r["id"], r.get("v")) for r in records]


def applied(jar: dict[Any, Any], records: list[dict[str, Any]]) -> dict[Any, Any]:
    for record in records:
        op = record.get("_op") or "upsert"
        if op == "truncate":
            jar.clear()
        elif op == "delete":
            jar.pop(record["id"], None)
        else:
            jar[record["id"]] = record["v"]
    return jar


class TestTheContract(BeeContract):
    connector = "postgresql"

    @pytest.fixture
    def source(self, db: Database) -> Source:
        db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) AS i")
        options = db.options(cdc=CDC, streams={"t": {}})
        return Source(
            options=options,
            stream="t",
            keys=set(range(1, 11)),
            key_of=lambda row: row["id"],
            unreachable=options | {"port": 1},
            denied=options | {"password": "not this one"},
            secrets=(PASSWORD,),
            fingerprint=lambda: db.rows("SELECT id, v FROM t ORDER BY id"),
        )


class TestChanges:
    def test_first_the_rows_and_then_each_change_in_order(self, db: Database) -> None:
        db.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        first, cursor = fly(db)
        db.run("INSERT INTO t VALUES (4, 'd')", "UPDATE t SET v = 'e' WHERE id = 1", "DELETE FROM t WHERE id = 2")
        db.run("UPDATE t SET id = 30 WHERE id = 3")
        second, cursor = fly(db, cursor)
        third, _ = fly(db, cursor)

        assert told(first) == [("upsert", 1, "a"), ("upsert", 2, "b"), ("upsert", 3, "c")]
        assert told(second) == [
            ("upsert", 4, "d"), ("upsert", 1, "e"), ("delete", 2, None), ("delete", 3, None), ("upsert", 30, "c"),
        ]  # fmt: skip
        assert third == []

    def test_changes_while_the_table_is_read_are_not_lost(self, db: Database) -> None:
        db.run("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20) AS i")
        jar: dict[Any, Any] = {}
        cursor: Any = None
        with bee(db, batch_rows=5) as one, closing(one.collect_nectar("t", None)) as batches:  # type: ignore[type-var]
            for batch in itertools.islice(batches, 2):
                jar, cursor = applied(jar, batch.table.to_pylist()), batch.cursor
        db.run("DELETE FROM t WHERE id IN (1, 11)", "UPDATE t SET v = 'new' WHERE id IN (2, 12)")
        db.run("INSERT INTO t VALUES (0, 'new'), (21, 'new')")
        records, _ = fly(db, cursor)

        assert applied(jar, records) == dict(db.rows("SELECT id, v FROM t"))

    def test_a_column_of_the_name_of_ours_is_data(self, db: Database) -> None:
        db.run("ALTER TABLE t ADD _op text DEFAULT 'truncate'", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        found, cursor = fly(db)
        assert [row["underscore_op"] for row in found] == ["truncate", "truncate"]
        assert all(row.get("_op", "upsert") == "upsert" for row in found)
        db.run("DELETE FROM t WHERE id = 1", "UPDATE t SET _op = 'delete' WHERE id = 2")

        changes = [(row["id"], row["_op"], row["underscore_op"]) for row in fly(db, cursor)[0]]
        assert changes == [(1, "delete", None), (2, "upsert", "delete")]

    def test_a_truncate_is_told(self, db: Database) -> None:
        db.run("INSERT INTO t VALUES (1, 'a')")
        _, cursor = fly(db)
        db.run("TRUNCATE t", "INSERT INTO t VALUES (2, 'b')")
        records, _ = fly(db, cursor)
        assert told(records) == [("truncate", None, None), ("upsert", 2, "b")]

    def test_what_was_rolled_back_never_comes(self, db: Database) -> None:
        _, cursor = fly(db)
        with db.owner.transaction(force_rollback=True):
            db.run("INSERT INTO t VALUES (1, 'a')")
        db.run("INSERT INTO t VALUES (2, 'b')")
        assert told(fly(db, cursor)[0]) == [("upsert", 2, "b")]

    def test_transactions_come_in_the_order_of_their_commits(self, db: Database) -> None:
        db.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        _, cursor = fly(db)
        with psycopg.connect(db.owner.info.dsn, password=db.login["password"]) as other:  # type: ignore[arg-type]
            other.execute("UPDATE t SET v = 'late' WHERE id = 1")
            db.run("UPDATE t SET v = 'early' WHERE id = 2")
        assert told(fly(db, cursor)[0]) == [("upsert", 2, "early"), ("upsert", 1, "late")]

    def test_one_transaction_larger_than_a_batch_goes_on_in_its_middle(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) AS i", "DELETE FROM t WHERE id = 1")
        seen: list[Any] = []
        while len(seen) < 101:  # one batch a session, as if each died right after it
            with bee(db, batch_rows=7) as one, closing(one.collect_nectar("t", cursor)) as batches:  # type: ignore[type-var]
                batch = next(batches)
                one.sealed(batch.cursor)
            seen, cursor = seen + told(batch.table.to_pylist()), json.loads(json.dumps(batch.cursor))
        assert seen == [("upsert", i, "x") for i in range(1, 101)] + [("delete", 1, None)]

    def test_other_tables_move_the_place_and_give_nothing(self, db: Database) -> None:
        db.run("CREATE TABLE other (id int PRIMARY KEY)", "ALTER PUBLICATION told ADD TABLE other")
        _, cursor = fly(db)
        db.run("INSERT INTO other SELECT generate_series(1, 1000)")
        records, after = fly(db, cursor)
        assert records == []
        assert after["lsn"] != cursor["lsn"]


class TestValues:
    def test_a_change_looks_as_a_full_read_does(self, db: Database) -> None:
        db.run(
            "CREATE TYPE mood AS ENUM ('glad', 'sad')",
            "CREATE TYPE pair AS (a int, b text)",
            "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
            "CREATE TABLE w (id int PRIMARY KEY, a bool, b int2, c int8, d float4, e float8, f numeric, g text,"
            " h bytea, i date, j timestamp, k timestamptz, l time, m interval, n jsonb, o json, p uuid, q inet,"
            " r int[], s text[][],"
            " t int4range, u mood, v pair, w positive, x char(5), y int4multirange, z bit(3), aa macaddr, bb timetz,"
            " cc numeric[], dd tsvector, ee point, gg varchar(9), hh pair[])",
            "ALTER PUBLICATION told ADD TABLE w",
        )
        values = (
            "true, -5, 9007199254740993, 0.1, 1e-300, 'NaN', E'\"ä\\n', '\\x00ff', 'infinity', '0044-03-15 00:00 BC',"
            " '294276-12-31 23:59:59.999999+02', '12:34:56.7', '1 year -3 days 04:05', '{\"a\": [1, null]}',"
            " '{\"b\":1.0}',"
            " '12345678-1234-1234-1234-123456789abc', '10.0.0.1', '{1,null,3}', '{{a,\"b c\"},{d,e}}', '[1,5)', 'sad',"
            " '(1,\"x y\")', 7, 'ab', '{[1,3),[5,9)}', B'101', '08:00:2b:01:02:03', '12:00+05:30', '{1.50,NaN}',"
            " 'a:1 b:2', '(1,2)', 'nine', '{\"(1,a)\",\"(2,)\"}'"
        )
        with bee(db, streams={"w": {}}) as one:
            cursor = [batch.cursor for batch in one.collect_nectar("w", None)][-1]
            db.run(f"INSERT INTO w VALUES (1, {values})", "INSERT INTO w (id) VALUES (2)")
            changes = list(one.collect_nectar("w", cursor))
        with db.bee(streams={"w": {}}, allow_writable_role=True) as plain:
            full = list(plain.collect_nectar("w", None))

        assert rows(changes) == rows(full)
        assert len(rows(full)) == 2
        assert [f.type for f in changes[0].table.schema] == [f.type for f in full[0].table.schema]

    @pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
    def test_a_large_value_that_stayed_is_there(self, db: Database, identity: str) -> None:
        db.run(
            "ALTER TABLE t ADD COLUMN wide text",
            "ALTER TABLE t ALTER COLUMN wide SET STORAGE EXTERNAL",
            f"ALTER TABLE t REPLICA IDENTITY {identity}",
            "INSERT INTO t VALUES (1, 'a', repeat('x', 10000)), (2, 'b', NULL)",
        )
        _, cursor = fly(db)
        db.run("UPDATE t SET v = 'c'")
        records, _ = fly(db, cursor)
        assert [(r["id"], r["v"], r["wide"]) for r in records] == [(1, "c", "x" * 10000), (2, "c", None)]

    def test_where_the_row_is_gone_by_now_the_column_is_absent_and_not_null(self, db: Database) -> None:
        db.run(
            "ALTER TABLE t ADD COLUMN wide text",
            "ALTER TABLE t ALTER COLUMN wide SET STORAGE EXTERNAL",
            "INSERT INTO t VALUES (1, 'a', repeat('x', 10000)), (2, 'a', repeat('y', 10000))",
        )
        _, cursor = fly(db)
        db.run("UPDATE t SET v = 'c'", "DELETE FROM t WHERE id = 1")
        records, _ = fly(db, cursor, batch_rows=50)
        assert [{k: r[k] for k in r if k != "_op"} for r in records[:2]] == [
            {"id": 1, "v": "c"}, {"id": 2, "v": "c", "wide": "y" * 10000},
        ]  # fmt: skip
        assert told(records)[2:] == [("delete", 1, None)]


class TestTheTableChanges:
    def test_a_column_that_is_added(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run(
            "INSERT INTO t VALUES (1, 'a')",
            "ALTER TABLE t ADD COLUMN n int DEFAULT 5",
            "INSERT INTO t VALUES (2, 'b', 6)",
        )
        records, _ = fly(db, cursor)
        assert records == [{"id": 1, "v": "a", "n": 5}, {"id": 2, "v": "b", "n": 6}]

    def test_a_column_that_is_added_while_changes_come(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')")
        with bee(db, cdc=CDC | {"wait": 10}) as one, closing(one.collect_nectar("t", cursor)) as batches:  # type: ignore[type-var]
            first = next(batches).table.to_pylist()
            db.run("ALTER TABLE t ADD COLUMN n int", "INSERT INTO t VALUES (2, 'b', 6)")
            second = next(found for b in batches if (found := b.table.to_pylist()))
        assert (first, second) == ([{"id": 1, "v": "a"}], [{"id": 2, "v": "b", "n": 6}])

    def test_a_column_that_is_dropped(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t DROP COLUMN v", "INSERT INTO t VALUES (2)")
        records, _ = fly(db, cursor)
        assert records == [{"id": 1}, {"id": 2}]

    def test_a_column_that_is_renamed(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t RENAME COLUMN v TO w", "INSERT INTO t VALUES (2, 'b')")
        records, _ = fly(db, cursor)
        assert records == [{"id": 1, "w": "a"}, {"id": 2, "w": "b"}]

    def test_a_column_that_is_retyped(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run(
            "INSERT INTO t VALUES (1, 'one')",
            "ALTER TABLE t ALTER COLUMN v TYPE int USING length(v)",
            "INSERT INTO t VALUES (2, 22)",
        )
        records, _ = fly(db, cursor)
        assert [(r["id"], r["v"]) for r in records if r["id"] == 2] == [(2, 22)]
        assert {r["v"] for r in records if r["id"] == 1} == {3}

    def test_a_key_that_is_renamed_needs_a_full_read(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t RENAME COLUMN id TO number")
        with bee(db) as one, pytest.raises(GiveUp, match="--full-refresh") as error:
            list(one.collect_nectar("t", cursor))
        assert error.value.code == "no_column"

    @pytest.mark.parametrize("deed", ["DROP TABLE t", "ALTER TABLE t RENAME TO before"])
    def test_another_table_of_the_same_name_needs_a_full_read(self, db: Database, deed: str) -> None:
        """Its rows are none of the old one's, and what the log tells of that one is none of its own."""
        db.run("INSERT INTO t VALUES (1, 'a')")
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (2, 'b')", "CREATE TABLE n (id int PRIMARY KEY, v text)")
        db.run("INSERT INTO n VALUES (3, 'c')", deed, "ALTER TABLE n RENAME TO t", "ALTER PUBLICATION told ADD TABLE t")
        with bee(db) as one, pytest.raises(GiveUp, match="'t' was dropped or renamed") as error:
            list(one.collect_nectar("t", cursor))
        assert (error.value.code, error.value.where) == ("table_replaced", "streams.t")
        again, cursor = fly(db)
        db.run("INSERT INTO t VALUES (4, 'd')")
        assert told(again) == [("upsert", 3, "c")]
        assert told(fly(db, cursor)[0]) == [("upsert", 4, "d")]

    def test_a_table_that_is_gone(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("DROP TABLE t")
        with bee(db) as one, pytest.raises(GiveUp) as error:
            list(one.collect_nectar("t", cursor))
        assert error.value.code == "no_table"


def whole(db: Database) -> dict[Any, Any]:
    return dict(db.rows("SELECT id, v FROM t"))


class TestWhatTheLogTellsOfAnotherTime:
    """Changes that were made while the table was another one than it is when they are read."""

    @pytest.mark.parametrize(
        ("away", "back", "name"),
        [
            ("ALTER TABLE t RENAME TO gone", "ALTER TABLE gone RENAME TO t", "gone"),
            ("ALTER TABLE t SET SCHEMA other", "ALTER TABLE other.t SET SCHEMA public", "other.t"),
        ],
    )
    def test_changes_under_another_name_are_its_own(self, db: Database, away: str, back: str, name: str) -> None:
        db.run("CREATE SCHEMA other", "INSERT INTO t VALUES (1, 'a')")
        _, cursor = fly(db)
        db.run(away, f"INSERT INTO {name} VALUES (2, 'b')", f"DELETE FROM {name} WHERE id = 1", back)
        db.run("INSERT INTO t VALUES (3, 'c')")
        records, _ = fly(db, cursor)
        assert told(records) == [("upsert", 2, "b"), ("delete", 1, None), ("upsert", 3, "c")]

    @pytest.mark.parametrize(
        "deed",
        [
            "DELETE FROM t WHERE id = 1",
            "UPDATE t SET code = 'bb' WHERE id = 1",
            "UPDATE t SET id = 10 WHERE id = 1",
        ],
    )
    def test_changes_told_by_another_key_are_read_out_of_the_table(self, db: Database, deed: str) -> None:
        db.run("ALTER TABLE t ADD COLUMN code text NOT NULL DEFAULT '-'", "CREATE UNIQUE INDEX coded ON t (code)")
        db.run("INSERT INTO t VALUES (1, 'a', 'a'), (2, 'b', 'b'), (3, 'c', 'c')")
        _, cursor = fly(db)
        db.run("ALTER TABLE t REPLICA IDENTITY USING INDEX coded", deed, "ALTER TABLE t REPLICA IDENTITY DEFAULT")
        db.run("DELETE FROM t WHERE id = 2")
        records, begun, after = anew(db, cursor)
        db.run("DELETE FROM t WHERE id = 3", "INSERT INTO t VALUES (4, 'd', 'd')")

        assert begun
        assert None not in [r["id"] for r in records]
        assert told(fly(db, after)[0]) == [("delete", 3, None), ("upsert", 4, "d")]
        assert applied({}, records) | {4: "d"} == whole(db) | {3: "c"}

    def test_rows_added_meanwhile_come_out_of_the_log(self, db: Database) -> None:
        db.run("ALTER TABLE t ADD COLUMN code text NOT NULL DEFAULT '-'", "CREATE UNIQUE INDEX coded ON t (code)")
        db.run("INSERT INTO t VALUES (1, 'a', 'a')")
        _, cursor = fly(db)
        db.run("ALTER TABLE t REPLICA IDENTITY USING INDEX coded", "INSERT INTO t VALUES (2, 'b', 'b')")
        db.run("ALTER TABLE t REPLICA IDENTITY DEFAULT")
        assert told(fly(db, cursor)[0]) == [("upsert", 2, "b")]

    @pytest.mark.parametrize(
        ("made", "deed"),
        [
            ("int", "ALTER TABLE t ALTER COLUMN id TYPE text USING 'n' || id"),
            ("mood", "ALTER TYPE mood RENAME VALUE '1' TO 'one'"),
        ],
    )
    def test_a_key_of_another_type_is_read_out_of_the_table(self, db: Database, made: str, deed: str) -> None:
        db.run("DROP TABLE t", "CREATE TYPE mood AS ENUM ('1', '2')", f"CREATE TABLE t (id {made} PRIMARY KEY, v text)")
        db.run("ALTER PUBLICATION told ADD TABLE t", "INSERT INTO t VALUES ('1', 'a')")
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES ('2', 'b')", "UPDATE t SET v = 'c' WHERE id = '1'", deed)
        records, begun, after = anew(db, cursor)

        assert begun
        assert applied({}, records) == whole(db)
        db.run("UPDATE t SET v = 'd'")
        assert sorted(r["v"] for r in fly(db, after)[0]) == ["d", "d"]

    def test_a_table_that_gets_another_key_while_it_is_read_is_begun_anew(self, db: Database) -> None:
        """Only a reading that says where it begins tells what is gone."""
        db.run("INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20) AS i")
        with bee(db) as one, closing(one.collect_nectar("t", None)) as batches:  # type: ignore[type-var]
            cursor = [batch.cursor for batch in itertools.islice(batches, 3)][-1]
        db.run(
            "DELETE FROM t WHERE id < 3", "ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (v)"
        )
        records, begun, _ = anew(db, json.loads(json.dumps(cursor)))
        assert begun
        assert applied({}, records) == whole(db)

    def test_a_key_that_became_wider_is_still_the_same(self, db: Database) -> None:
        db.run("INSERT INTO t VALUES (1, 'a')")
        _, cursor = fly(db)
        db.run(
            "INSERT INTO t VALUES (2, 'b')", "DELETE FROM t WHERE id = 1", "ALTER TABLE t ALTER COLUMN id TYPE bigint"
        )
        records, begun, _ = anew(db, cursor)
        assert not begun
        assert told(records) == [("upsert", 2, "b"), ("delete", 1, None)]

    @pytest.mark.parametrize(
        ("before", "value", "after", "found"),
        [
            ("int", "5", "bool USING w < 9", True),
            ("text", "'abcd'", "bytea USING convert_to(w, 'UTF8')", b"abcd"),
            ("int", "5", "interval USING w * interval '1 hour'", "PT5H"),
            ("text", "'1'", "jsonb USING to_jsonb(w)", '"1"'),
            ("int", "5", "smallint USING w + 1", 6),
            ("varchar(9)", "'x'", "text", "x"),
        ],
    )
    def test_a_value_of_another_type_is_not_made_up(
        self, db: Database, before: str, value: str, after: str, found: Any
    ) -> None:
        """The row is asked for it; of one that is gone the column is absent."""
        db.run(f"ALTER TABLE t ADD COLUMN w {before}")
        _, cursor = fly(db)
        db.run(f"INSERT INTO t VALUES (1, 'a', {value}), (2, 'b', {value})", "DELETE FROM t WHERE id = 2")
        db.run(f"ALTER TABLE t ALTER COLUMN w TYPE {after}")
        records, _ = fly(db, cursor, batch_rows=50)
        assert [r["w"] for r in records if r["id"] == 1] == [found]
        gone = [r.get("w", "absent") for r in records if r["id"] == 2 and (r.get("_op") or "upsert") == "upsert"]
        assert gone == ["x" if after == "text" else "absent"]

    def test_a_full_read_begins_behind_a_key_of_another_name(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "ALTER TABLE t RENAME COLUMN id TO number")
        with bee(db) as one, pytest.raises(GiveUp, match="--full-refresh"):
            list(one.collect_nectar("t", cursor))
        records, begun, cursor = anew(db, None)
        db.run("DELETE FROM t WHERE number = 1")
        after, _ = fly(db, cursor)

        assert begun
        assert [(r["number"], r["v"]) for r in records] == [(1, "a"), (2, "b")]
        assert [(r["_op"], r["number"]) for r in after] == [("delete", 1)]

    def test_until_the_full_read_is_sealed_the_log_is_kept(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')")
        with bee(db) as one:
            records = rows(list(one.collect_nectar("t", None)))
        assert told(records) == [("upsert", 1, "a")]
        assert told(fly(db, cursor)[0]) == [("upsert", 1, "a")]

    def test_what_is_written_while_a_full_read_begins_is_not_lost(
        self, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transaction that began before it and ends behind it: its rows are in no reading of the table."""
        monkeypatch.setattr("bees.core.sql.postgres.following._WRITING", 0.2)
        fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')")
        with psycopg.connect(db.owner.info.dsn, password=db.login["password"]) as other:  # type: ignore[arg-type]
            other.execute("INSERT INTO t VALUES (2, 'b')")
            with bee(db) as one, closing(one.collect_nectar("t", None)) as batches:  # type: ignore[type-var]
                first = next(batches).table.to_pylist()
                other.commit()
                rest = [r for batch in batches for r in batch.table.to_pylist()]
        assert applied({}, first + rest) == {1: "a", 2: "b"}

    def test_a_commit_that_is_in_the_log_and_not_seen_yet_is_awaited(self, db: Database) -> None:
        """It waits for a standby that never answers: until then a full read must not begin behind it."""
        fly(db)
        [(table,)] = db.rows("SELECT 't'::regclass::oid::bigint")
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()"
        with psycopg.connect(db.owner.info.dsn, password=db.login["password"]) as other:  # type: ignore[arg-type]
            other.execute("SET synchronous_commit = on")
            other.execute("INSERT INTO t VALUES (1, 'a')")
            commit = threading.Thread(target=other.commit)
            db.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
            try:
                await_setting(db, "nobody")
                commit.start()
                until = time.monotonic() + 20
                while db.rows(asked) == [(0,)]:
                    assert time.monotonic() < until
                    time.sleep(0.01)
                assert slots.seen_up_to(db.owner, table, 0.2) is None
            finally:
                db.run("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
                await_setting(db, "")
                commit.join(30)
        assert slots.seen_up_to(db.owner, table, 0.2) is not None
        assert told(anew(db)[0]) == [("upsert", 1, "a")]

    def test_a_generated_key_is_refused(self, db: Database) -> None:
        db.run("CREATE TABLE g (a int NOT NULL, id int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)")
        db.run("ALTER PUBLICATION told ADD TABLE g")
        with (
            bee(db, streams={"g": {}}) as one,
            pytest.raises(GiveUp, match="'id' of the key is a generated one") as error,
        ):
            one.validate_flight_path()
        assert (error.value.code, error.value.where) == ("generated_key", "streams.g")

    def test_a_generated_key_that_the_publication_sends(self, db: Database) -> None:
        db.run("CREATE TABLE g (a int NOT NULL, id int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)")
        db.run("ALTER PUBLICATION told ADD TABLE g")
        db.run("ALTER PUBLICATION told SET (publish_generated_columns = stored)", "INSERT INTO g VALUES (1)")
        with bee(db, streams={"g": {}}) as one:
            one.validate_flight_path()
            cursor = [batch.cursor for batch in one.collect_nectar("g", None)][-1]
            db.run("UPDATE g SET a = 2")
            changes = rows(list(one.collect_nectar("g", cursor)))
        assert told(changes) == [("delete", 2, None), ("upsert", 4, None)]


def test_a_session_that_falls_silent_is_for_later(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process hangs at the server: the connection stays open, and nobody would ever say so."""
    monkeypatch.setattr("bees.core.sql.postgres.feed.MORE", 0.5)
    _, cursor = fly(db)
    db.run("INSERT INTO t VALUES (1, 'a')")
    with bee(db, cdc=CDC | {"wait": 60}, statement_timeout=3) as one:
        batches = one.collect_nectar("t", cursor)
        cursor = next(batch.cursor for batch in batches if batch.table.num_rows)
        [(pid,)] = db.rows("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'bee_t'")
        os.kill(pid, signal.SIGSTOP)
        try:
            db.run("INSERT INTO t VALUES (2, 'b')")
            with pytest.raises(RetryLater) as error:
                list(batches)
        finally:
            os.kill(pid, signal.SIGCONT)

    assert error.value.code == "unreachable"
    assert told(fly(db, cursor)[0]) == [("upsert", 2, "b")]


class TestTheSlot:
    def test_it_is_acknowledged_only_in_sealed(self, db: Database) -> None:
        confirmed = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'bee_t'"
        _, cursor = fly(db)
        db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 9) AS i")
        before = db.rows(confirmed)
        with bee(db) as one:
            batches = list(one.collect_nectar("t", cursor))
            one.close()
            assert db.rows(confirmed) == before
        with bee(db) as one:
            for batch in one.collect_nectar("t", cursor):
                one.sealed(batch.cursor)
        assert len(rows(batches)) == 9
        assert db.rows(confirmed) != before

    def test_the_last_batch_is_acknowledged_though_its_session_is_over(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')")
        with bee(db) as one:
            last = list(one.collect_nectar("t", cursor))[-1]
            deadline = time.monotonic() + 5
            while db.rows("SELECT active FROM pg_replication_slots WHERE slot_name = 'bee_t'") == [(True,)]:
                assert time.monotonic() < deadline
            one.sealed(last.cursor)
            lag = one.lag("t", last.cursor)
        assert lag is not None
        assert (lag.bytes, lag.seconds, lag.status, lag.active) == (0, 0.0, "reserved", False)

    def test_the_lag_is_told_in_bytes_and_seconds(self, db: Database) -> None:
        db.run("INSERT INTO t VALUES (0, 'a')")
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')")
        _, cursor = fly(db, cursor)
        time.sleep(0.2)
        db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(2, 1000) AS i")
        with bee(db) as one:
            lag = one.lag("t", cursor)
        assert lag is not None
        assert lag.bytes > 50_000
        assert lag.retained >= lag.bytes
        assert lag.seconds is not None
        assert lag.seconds >= 0.2

    def test_it_is_made_only_where_that_is_allowed(self, db: Database) -> None:
        with bee(db, cdc=CDC | {"create_slot": False}) as one:
            for deed in (one.validate_flight_path, lambda: list(one.collect_nectar("t", None))):
                with pytest.raises(GiveUp, match="create_slot") as error:
                    deed()
                assert error.value.code == "no_slot"
        assert db.rows("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [(0,)]
        db.run("SELECT pg_create_logical_replication_slot('bee_t', 'pgoutput')", "INSERT INTO t VALUES (1, 'a')")
        assert told(fly(db, cdc=CDC | {"create_slot": False})[0])[0] == ("upsert", 1, "a")

    def test_it_is_dropped_on_command_alone(self, db: Database) -> None:
        fly(db)
        slots = "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()"
        assert db.rows(slots) == [("bee_t",)]
        with bee(db) as one:
            assert (one.drop_slot("t"), one.drop_slot("t")) == (True, False)
        assert db.rows(slots) == []

    def test_one_that_is_gone_needs_a_full_read(self, db: Database) -> None:
        _, cursor = fly(db)
        with bee(db) as one:
            one.drop_slot("t")
            with pytest.raises(GiveUp, match="--full-refresh") as error:
                list(one.collect_nectar("t", cursor))
        assert error.value.code == "slot_lost"

    def test_one_that_somebody_else_read_needs_a_full_read(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t VALUES (1, 'a')")
        db.run("SELECT pg_replication_slot_advance('bee_t', pg_current_wal_lsn())")
        with bee(db) as one, pytest.raises(GiveUp, match="somebody else") as error:
            list(one.collect_nectar("t", cursor))
        assert error.value.code == "slot_ahead"

    def test_a_server_without_a_replication_session_left_is_for_later(self, db: Database) -> None:
        db.run("INSERT INTO t VALUES (1, 'a')")
        _, cursor = fly(db)
        shared().close()
        with ExitStack() as taken:
            login = psycopg.conninfo.make_conninfo(**db.login, replication="database")
            while (one := pq.PGconn.connect(login.encode())).status == pq.ConnStatus.OK:
                taken.callback(one.finish)
            assert b"max_wal_senders" in one.error_message
            with bee(db) as waiting, pytest.raises(RetryLater) as error:
                list(waiting.collect_nectar("t", cursor))
            assert error.value.code == "overloaded"
            assert "max_wal_senders" in str(error.value)
        db.run("INSERT INTO t VALUES (2, 'b')")
        assert told(fly(db, cursor)[0]) == [("upsert", 2, "b")]

    def test_one_that_is_read_just_now_is_for_later(self, db: Database) -> None:
        _, cursor = fly(db)
        db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 9) AS i")
        with bee(db) as one, closing(one.collect_nectar("t", cursor)) as batches:  # type: ignore[type-var]
            next(batches)
            with bee(db) as two, pytest.raises(RetryLater) as error:
                list(two.collect_nectar("t", cursor))
        assert error.value.code == "slot_busy"


class TestWhatStandsInTheWay:
    @pytest.mark.parametrize(
        ("deed", "code"),
        [
            ("DROP PUBLICATION told", "no_publication"),
            ("ALTER PUBLICATION told DROP TABLE t", "no_publication"),
            ("ALTER PUBLICATION told SET (publish = 'insert')", "no_publication"),
            ("ALTER TABLE t REPLICA IDENTITY NOTHING", "no_replica_identity"),
        ],
    )
    def test_it_is_named_with_the_statement_that_mends_it(self, db: Database, deed: str, code: str) -> None:
        db.run(deed)
        with bee(db) as one, pytest.raises(GiveUp) as error:
            one.validate_flight_path()
        assert error.value.code == code
        assert any(word in error.value.advice for word in ("CREATE PUBLICATION", "ALTER PUBLICATION", "ALTER TABLE"))

    def test_a_key_that_may_repeat_for_a_moment(self, db: Database) -> None:
        """Rows that swap keys would end as one: the log tells them one after the other."""
        db.run("ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t DROP CONSTRAINT t_pkey")
        db.run("ALTER TABLE t ADD CONSTRAINT later PRIMARY KEY (id) DEFERRABLE")
        with bee(db) as one, pytest.raises(GiveUp, match="deferrable") as error:
            one.validate_flight_path()
        assert (error.value.code, error.value.where) == ("deferrable_key", "streams.t")
        db.run("CREATE UNIQUE INDEX ON t (id)")
        with bee(db) as one:
            one.validate_flight_path()

    def test_a_role_that_may_not(self, db: Database) -> None:
        db.run(sql.SQL("ALTER ROLE {} NOREPLICATION").format(sql.Identifier(db.role)))
        with bee(db) as one, pytest.raises(GiveUp, match="REPLICATION") as error:
            one.validate_flight_path()
        assert error.value.code == "no_permission"

    def test_a_partitioned_table_is_told_by_its_root(self, db: Database) -> None:
        db.run(
            "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
            "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)",
            "ALTER PUBLICATION told ADD TABLE p",
        )
        with bee(db, streams={"p": {}}) as one:
            with pytest.raises(GiveUp, match="publish_via_partition_root"):
                one.validate_flight_path()
            db.run("ALTER PUBLICATION told SET (publish_via_partition_root = true)")
            cursor = [b.cursor for b in one.collect_nectar("p", None)][-1:] or [None]
            db.run("INSERT INTO p VALUES (1, 'a')")
            assert told(rows(list(one.collect_nectar("p", cursor[0])))) == [("upsert", 1, "a")]

    @pytest.mark.parametrize(
        "more", [{"row_filters": {"t": True}}, {"row_level_security": True}, {"transaction_pooling": True}]
    )
    def test_what_goes_without_it(self, db: Database, more: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="goes without"):
            bee(db, **more)

    def test_streams_with_a_cursor_or_a_query_are_read_as_ever(self, db: Database) -> None:
        db.run("INSERT INTO t VALUES (1, 'a')")
        with bee(db, streams={"t": {"cursor": "id"}, "q": {"query": "SELECT 1 AS id", "key": "id"}}) as one:
            assert len(rows(list(one.collect_nectar("t", None)) + list(one.collect_nectar("q", None)))) == 2
        assert db.rows("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [(0,)]


_READER = """
import json, sqlite3, sys
from bees.postgresql import PostgreSQLWorkerBee
jar = sqlite3.connect(sys.argv[1])
options = json.loads(sys.argv[2])
(told,) = jar.execute("SELECT cursor FROM stand").fetchone()
with PostgreSQLWorkerBee.from_options(options) as bee:
    for batch in bee.collect_nectar("t", json.loads(told)):
        with jar:
            for row in batch.table.to_pylist():
                jar.execute("INSERT INTO change (op, id, v) VALUES (?, ?, ?)",
                            (row.get("_op") or "upsert", row["id"], row.get("v")))
            jar.execute("UPDATE stand SET cursor = ?", (json.dumps(batch.cursor),))
        bee.sealed(batch.cursor)
"""


class TestKilled:
    def test_killed_at_any_time_nothing_is_lost_doubled_or_out_of_order(self, db: Database, tmp_path: Path) -> None:
        """A reader that seals batch and cursor in one transaction, as the hive does, and is killed again and again."""
        place = tmp_path / "jar.sqlite"
        with closing(sqlite3.connect(place)) as jar, jar:
            jar.execute("CREATE TABLE change (n INTEGER PRIMARY KEY, op TEXT, id INTEGER, v TEXT)")
            jar.execute("CREATE TABLE stand (cursor TEXT)")
            jar.execute("INSERT INTO stand VALUES ('null')")
        _, cursor = fly(db)
        with closing(sqlite3.connect(place)) as jar, jar:
            jar.execute("UPDATE stand SET cursor = ?", (json.dumps(cursor),))
        options = db.options(cdc=CDC | {"wait": 60}, streams={"t": {}}, batch_rows=37, ssl_mode="disable")
        stop = threading.Event()
        written = self._write(db, stop)
        for life in (1.3, 0.9, 1.7):
            reader = self._reader(place, options)
            time.sleep(life)
            os.kill(reader.pid, signal.SIGKILL)
            reader.wait()
        stop.set()
        changes = written.result()
        reader = self._reader(place, options | {"cdc": CDC})
        for _ in range(3):
            if reader.wait(60) == 0:
                break
            reader = self._reader(place, options | {"cdc": CDC})  # the killed one's session may not be over yet
        assert reader.returncode == 0
        with closing(sqlite3.connect(place)) as jar:
            found = jar.execute("SELECT op, id, v FROM change ORDER BY n").fetchall()
        assert len(changes) > 300
        assert found == changes

    @staticmethod
    def _reader(place: Path, options: dict[str, Any]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _READER, str(place), json.dumps(options)]
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)

    @staticmethod
    def _write(db: Database, stop: threading.Event) -> Any:
        """Change rows until told to stop, some in large transactions; gives the changes in the order of commits."""
        from concurrent.futures import ThreadPoolExecutor

        def write() -> list[tuple[str, int, str | None]]:
            made: list[tuple[str, int, str | None]] = []
            with psycopg.connect(**db.login, autocommit=True) as own:  # type: ignore[arg-type]
                for turn in itertools.count(1):
                    if stop.is_set():
                        return made
                    size = 100 if turn % 10 == 0 else 3
                    with own.transaction():
                        for n in range(turn * 1000, turn * 1000 + size):
                            own.execute("INSERT INTO t VALUES (%s, %s)", (n, f"v{turn}"))
                            made.append(("upsert", n, f"v{turn}"))
                        own.execute("DELETE FROM t WHERE id = %s", (turn * 1000,))
                        made.append(("delete", turn * 1000, None))
                    time.sleep(0.01)
            return made

        return ThreadPoolExecutor(1).submit(write)
