"""Changes followed in a real MariaDB's binlog: none lost, none doubled in the end, each value as a full read has it."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from bees.core.errors import GiveUp
from bees.core.sql.mysql import follow
from bees.mysql import MySQLWorkerBee
from tests.bees.contract import BeeContract, Source, rows
from tests.bees.mysql_source import Database, fly
from tests.bees.test_mysql_types import NUMBERS, TYPED
from tests.servers.mariadb import PASSWORD, MariaDB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers
CDC: dict[str, Any] = {"cdc": {}, "streams": {"t": {}}}


@pytest.fixture
def db(mariadb: MariaDB) -> Iterator[Database]:
    database = Database(mariadb)
    database.run(f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{database.user}'@'%'")
    yield database
    database.close()


@pytest.fixture
def table(db: Database) -> Database:
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(20))",
        "INSERT INTO t SELECT seq, CONCAT('n', seq) FROM seq_1_to_5",
    )
    return db


class TestContract(BeeContract):
    connector = "mysql"

    @pytest.fixture
    def source(self, db: Database) -> Source:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO t SELECT seq, CONCAT('row ', seq) FROM seq_1_to_20",
        )
        return Source(
            options=db.options(**CDC),
            stream="t",
            keys=set(range(1, 21)),
            key_of=lambda row: row["id"],
            unreachable=db.options(port=1, **CDC),
            denied=db.options(password="wrong-" + PASSWORD, **CDC),
            secrets=(PASSWORD,),
            fingerprint=lambda: db.rows("CHECKSUM TABLE t"),
        )


def landed(jar: dict[Any, Any], records: list[dict[str, Any]], key: str = "id") -> dict[Any, Any]:
    """What a jar holds once the records came, in their order."""
    for record in records:
        op = record.get("_op") or "upsert"
        if op == "truncate":
            jar.clear()
        elif op == "delete":
            jar.pop(record[key], None)
        else:
            jar[record[key]] = {k: v for k, v in record.items() if k != "_op"}
    return jar


def whole(db: Database, **options: Any) -> dict[Any, Any]:
    """The table as a full read gives it."""
    return landed({}, fly(db.bee(streams={"t": {}}, batch_rows=10_000, **options), "t")[0])


@pytest.mark.parametrize("position", ["auto", "file"])
def test_rows_that_are_there_come_first_then_every_change(table: Database, position: str) -> None:
    options = {"cdc": {"position": position}, "streams": {"t": {}}}
    first, cursor = fly(table.bee(**options), "t")
    table.run("INSERT INTO t VALUES (6, 'six')", "UPDATE t SET name = 'one' WHERE id = 1", "DELETE FROM t WHERE id = 2")
    table.run("CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1)")
    second, cursor = fly(table.bee(**options), "t", cursor)
    third, _ = fly(table.bee(**options), "t", cursor)

    assert [r["id"] for r in first] == [1, 2, 3, 4, 5]
    assert [(r["_op"], r["id"], r["name"]) for r in second] == [
        ("upsert", 6, "six"), ("upsert", 1, "one"), ("delete", 2, "n2"),
    ]  # fmt: skip
    assert third == []


def test_a_column_of_the_name_of_ours_is_data(table: Database) -> None:
    table.run("ALTER TABLE t ADD _op varchar(20) DEFAULT 'truncate'")
    found, cursor = fly(table.bee(**CDC), "t")
    assert {row["underscore_op"] for row in found} == {"truncate"}
    assert {row.get("_op", "upsert") for row in found} == {"upsert"}
    table.run("DELETE FROM t WHERE id = 1", "UPDATE t SET _op = 'delete' WHERE id = 2")

    changes = [(row["id"], row["_op"], row["underscore_op"]) for row in fly(table.bee(**CDC), "t", cursor)[0]]
    assert [change[:2] for change in changes] == [(1, "delete"), (2, "upsert")]
    assert changes[1][2] == "delete"


def test_a_changed_key_is_a_delete_and_an_upsert(table: Database) -> None:
    _, cursor = fly(table.bee(**CDC), "t")
    table.run("UPDATE t SET id = 50 WHERE id = 5")
    found, _ = fly(table.bee(**CDC), "t", cursor)

    assert [(r["_op"], r["id"]) for r in found] == [("delete", 5), ("upsert", 50)]


def test_what_was_rolled_back_does_not_come(table: Database) -> None:
    _, cursor = fly(table.bee(**CDC), "t")
    table.run("BEGIN", "INSERT INTO t VALUES (7, 'never')", "ROLLBACK")
    table.run("BEGIN", "INSERT INTO t VALUES (8, 'a')", "SAVEPOINT s", "INSERT INTO t VALUES (9, 'never')")
    table.run("ROLLBACK TO s", "COMMIT")

    assert [r["id"] for r in fly(table.bee(**CDC), "t", cursor)[0]] == [8]


def test_changes_made_while_the_rows_are_read_are_not_lost(table: Database) -> None:
    jar: dict[Any, Any] = {}
    with table.bee(batch_rows=2, **CDC) as bee:
        for number, batch in enumerate(bee.collect_nectar("t", None)):
            landed(jar, rows([batch]))
            if number == 0:
                table.run("UPDATE t SET name = 'late' WHERE id IN (1, 5)", "DELETE FROM t WHERE id IN (2, 4)")
                table.run("INSERT INTO t VALUES (0, 'before'), (9, 'behind')")

    assert jar == whole(table)


@pytest.mark.parametrize("position", ["auto", "file"])
def test_stopping_after_any_batch_loses_and_doubles_nothing(table: Database, position: str) -> None:
    """Also in the middle of a transaction that is larger than a batch."""
    options = {"cdc": {"position": position}, "streams": {"t": {}}, "batch_rows": 7}
    first, cursor = fly(table.bee(**options), "t")
    table.run(
        "BEGIN",
        "INSERT INTO t SELECT seq, 'big' FROM seq_100_to_140",
        "UPDATE t SET name = 'x' WHERE id > 130",
        "COMMIT",
    )
    table.run("DELETE FROM t WHERE id BETWEEN 110 AND 115", "INSERT INTO t VALUES (110, 'again')")
    expected, _ = fly(table.bee(**options), "t", cursor)

    seen, place = [], cursor
    while True:
        with table.bee(**options) as bee, closing(bee.collect_nectar("t", place)) as batches:  # type: ignore[type-var]
            batch = next(batches)
        place = json.loads(json.dumps(batch.cursor))
        if not batch.table.num_rows:
            break
        seen += batch.table.to_pylist()

    assert seen == expected
    assert len(expected) == 41 + 10 + 6 + 1
    assert landed(landed({}, first), seen) == whole(table)


def test_values_of_all_types_are_those_of_a_full_read(db: Database) -> None:
    """Of rows that are inserted, changed and deleted: the binlog has its own form of every type."""
    literals = {
        **{k: [text for text, _ in v] for k, v in TYPED.items()},
        **{k: [text for text, _ in v] for k, v in NUMBERS.items()},
    }
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(literals))
    db.run("SET sql_mode = ''", "SET time_zone = '+00:00'")
    db.run(
        f"CREATE TABLE t (id int PRIMARY KEY, doc json, v int AS (id + 1) VIRTUAL, s int AS (id + 2) STORED, {columns})"
    )
    _, cursor = fly(db.bee(**CDC), "t")
    names = ", ".join(f"c{number}" for number in range(len(literals)))
    for number, row in enumerate(itertools.zip_longest(*literals.values())):
        values = ", ".join("NULL" if v is None else v for v in row)
        db.run(f"""INSERT INTO t (id, doc, {names}) VALUES ({number}, '{{"a": [1.50, null]}}', {values})""")
    found, cursor = fly(db.bee(batch_rows=1000, **CDC), "t", cursor)
    jar, expected = landed({}, found), whole(db)
    for number, kind in enumerate(literals):
        name = f"c{number}"
        assert [r[name] for r in jar.values()] == [r[name] for r in expected.values()], kind
    assert jar == expected

    db.run("UPDATE t SET doc = NULL")
    found, cursor = fly(db.bee(batch_rows=1000, **CDC), "t", cursor)
    assert landed(jar, found) == whole(db)
    db.run("DELETE FROM t")
    found, _ = fly(db.bee(batch_rows=1000, **CDC), "t", cursor)
    assert {r["_op"] for r in found} == {"delete"}
    assert landed(jar, found) == {}


def test_the_schema_of_changes_is_that_of_the_rows(table: Database) -> None:
    with table.bee(**CDC) as bee:
        first = list(bee.collect_nectar("t", None))
    table.run("INSERT INTO t VALUES (6, NULL)")
    with table.bee(**CDC) as bee:
        (later,) = bee.collect_nectar("t", first[-1].cursor)

    assert later.table.drop_columns(["_op"]).schema == first[0].table.schema


class TestShapes:
    def test_columns_that_come_and_go_between_flights(self, table: Database) -> None:
        first, cursor = fly(table.bee(**CDC), "t")
        table.run(
            "INSERT INTO t VALUES (6, 'old shape')",
            "ALTER TABLE t ADD at datetime FIRST, DROP name",
            "INSERT INTO t VALUES ('2024-01-01', 7)",
        )
        found, cursor = _flights(table, cursor)

        assert [r["id"] for r in first] == [1, 2, 3, 4, 5]
        assert found == [
            {"id": 6, "name": "old shape", "_op": "upsert"},
            {"at": "2024-01-01T00:00:00", "id": 7, "_op": "upsert"},
        ]
        table.run("INSERT INTO t VALUES (NULL, 8)")
        assert fly(table.bee(**CDC), "t", cursor)[0] == [{"at": None, "id": 8, "_op": "upsert"}]

    def test_a_table_that_was_emptied_says_so(self, table: Database) -> None:
        _, cursor = fly(table.bee(**CDC), "t")
        table.run("CREATE TABLE tt (id int PRIMARY KEY)", "TRUNCATE TABLE tt")
        table.run("INSERT INTO t VALUES (6, 'gone')", "TRUNCATE TABLE t", "INSERT INTO t VALUES (7, 'there')")
        found, _ = fly(table.bee(**CDC), "t", cursor)

        assert [(r["_op"], r["id"]) for r in found] == [("upsert", 6), ("truncate", None), ("upsert", 7)]

    def test_a_table_that_was_dropped_is_named(self, table: Database) -> None:
        _, cursor = fly(table.bee(**CDC), "t")
        table.run("DROP TABLE t")
        with pytest.raises(GiveUp, match="'t'") as error:
            fly(table.bee(**CDC), "t", cursor)
        assert error.value.code == "no_table"

    @pytest.mark.parametrize(
        "deeds",
        [
            ["DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY, name varchar(20))"],
            ["CREATE OR REPLACE TABLE t (id int PRIMARY KEY, name varchar(20))"],
            ["CREATE TABLE n LIKE t", "INSERT INTO n VALUES (9, 'x')", "RENAME TABLE t TO o, n TO t"],
            ["CREATE TABLE n LIKE t", "ALTER TABLE t RENAME TO o", "ALTER TABLE n RENAME t"],
        ],
    )
    def test_another_table_of_the_same_name_needs_a_full_read(self, table: Database, deeds: list[str]) -> None:
        _, cursor = fly(table.bee(**CDC), "t")
        table.run(
            "CREATE TABLE tt (id int PRIMARY KEY)", "DROP TABLE tt", "ALTER TABLE t ADD at int",
            "ALTER TABLE t RENAME COLUMN at TO later", "ALTER TABLE t DROP later",
        )  # fmt: skip
        _, cursor = fly(table.bee(**CDC), "t", cursor)
        table.run(*deeds)
        with pytest.raises(GiveUp, match="'t' was dropped or renamed") as error:
            fly(table.bee(**CDC), "t", cursor)
        assert (error.value.code, error.value.where) == ("table_replaced", "streams.t")
        assert "--full-refresh" in error.value.advice

    def test_changes_between_two_shapes_that_are_both_gone_are_refused(self, table: Database) -> None:
        _, cursor = fly(table.bee(**CDC), "t")
        table.run("ALTER TABLE t ADD a int", "INSERT INTO t VALUES (6, 'x', 1)", "ALTER TABLE t ADD b int")
        with pytest.raises(GiveUp, match="other columns") as error:
            fly(table.bee(**CDC), "t", cursor)
        assert error.value.code == "schema_changed"

    def test_only_the_chosen_columns_come(self, table: Database) -> None:
        options = {"cdc": {}, "streams": {"t": {"columns": ["id"]}}}
        _, cursor = fly(table.bee(**options), "t")
        table.run("INSERT INTO t VALUES (6, 'hidden')")

        assert fly(table.bee(**options), "t", cursor)[0] == [{"id": 6, "_op": "upsert"}]


def _flights(db: Database, cursor: Any) -> tuple[list[dict[str, Any]], Any]:
    with db.bee(batch_rows=100, **CDC) as bee:
        batches = list(bee.collect_nectar("t", cursor))
    return rows(batches), batches[-1].cursor


class TestTheLog:
    @pytest.fixture
    def own(self, tmp_path: Path) -> Iterator[MariaDB]:
        server = MariaDB(tmp_path, "--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1")
        server.start()
        yield server
        server.stop(hard=True)

    @pytest.fixture
    def alone(self, own: MariaDB) -> Database:
        db = Database(own)
        db.run(
            f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{db.user}'@'%'",
            "CREATE TABLE t (id int PRIMARY KEY, name varchar(20))",
        )
        return db

    @pytest.mark.parametrize("position", ["gtid", "file"])
    def test_a_purged_log_is_named_and_says_what_to_do(self, alone: Database, position: str) -> None:
        options = {"cdc": {"position": position}, "streams": {"t": {}}}
        _, cursor = fly(alone.bee(**options), "t")
        alone.run(
            "INSERT INTO t VALUES (1, 'x')", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2, 'y')", "FLUSH BINARY LOGS"
        )
        last = alone.rows("SHOW BINARY LOGS")[-1][0]
        alone.run(f"PURGE BINARY LOGS TO '{last}'")
        with pytest.raises(GiveUp, match="--full-refresh") as error:
            fly(alone.bee(**options), "t", cursor)
        assert (error.value.code, error.value.where) == ("log_purged", "streams.t")

    @pytest.mark.parametrize("position", ["gtid", "file"])
    def test_new_log_files_a_killed_server_and_packed_events_are_followed(self, alone: Database, position: str) -> None:
        options = {"cdc": {"position": position}, "streams": {"t": {}}}
        _, cursor = fly(alone.bee(**options), "t")
        alone.run("INSERT INTO t VALUES (1, 'a')", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2, 'b')")
        first, cursor = fly(alone.bee(**options), "t", cursor)
        alone.server.stop(hard=True)
        alone.server.start()
        alone.owner = alone.server.root(alone.name)
        alone.run("SET GLOBAL log_bin_compress = 1", "SET GLOBAL log_bin_compress_min_len = 10", "FLUSH BINARY LOGS")
        alone.owner = alone.server.root(alone.name)
        alone.run(
            "INSERT INTO t SELECT seq, REPEAT('x', 20) FROM seq_10_to_200", "UPDATE t SET name = 'y' WHERE id = 10"
        )
        second, _ = fly(alone.bee(**options), "t", cursor)

        assert [r["id"] for r in first] == [1, 2]
        assert [r["id"] for r in second] == [*range(10, 201), 10]
        assert landed(landed({}, first), second) == whole(alone)

    def test_a_log_of_statements_is_refused(self, alone: Database) -> None:
        alone.run("SET GLOBAL binlog_format = STATEMENT")
        with alone.bee(**CDC) as bee, pytest.raises(GiveUp, match="binlog_format = ROW") as error:
            bee.validate_flight_path()
        assert error.value.code == "no_row_log"

    def test_a_statement_in_a_log_of_rows_is_refused_where_it_means_the_table(self, alone: Database) -> None:
        _, cursor = fly(alone.bee(**CDC), "t")
        alone.run("SET SESSION binlog_format = STATEMENT", "INSERT INTO t VALUES (1, 'x')")
        with pytest.raises(GiveUp, match="binlog_format") as error:
            fly(alone.bee(**CDC), "t", cursor)
        assert error.value.code == "no_row_log"


@pytest.mark.parametrize("right", ["REPLICATION SLAVE", "BINLOG MONITOR"])
def test_a_user_without_the_right_is_told_which(table: Database, right: str) -> None:
    table.run(f"REVOKE {right} ON *.* FROM '{table.user}'@'%'")
    with table.bee(**CDC) as bee, pytest.raises(GiveUp, match="GRANT REPLICATION SLAVE") as error:
        bee.validate_flight_path()
    assert error.value.code == "no_permission"


def test_a_view_cannot_be_followed(table: Database) -> None:
    table.run("CREATE VIEW v AS SELECT * FROM t")
    with table.bee(cdc={}, streams={"v": {"key": "id"}}) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    assert error.value.code == "not_a_table"


def test_waiting_for_changes_hands_them_on_as_they_come(table: Database) -> None:
    options = {"cdc": {"wait": 5}, "streams": {"t": {}}}
    _, cursor = fly(table.bee(**CDC), "t")
    with table.bee(**options) as bee, closing(bee.collect_nectar("t", cursor)) as batches:  # type: ignore[type-var]
        for number in (6, 7):
            table.run(f"INSERT INTO t VALUES ({number}, 'x')")
            batch = next(b for b in batches if b.table.num_rows)
            assert [r["id"] for r in batch.table.to_pylist()] == [number]


def test_the_place_is_told_while_only_others_change(table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a long log of other tables would be read from its start again by each leg."""
    monkeypatch.setattr(follow, "_SILENCE", 0.0)
    _, cursor = fly(table.bee(**CDC), "t")
    table.run(
        "CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1)", "INSERT INTO t VALUES (6, 'x')"
    )
    with table.bee(**CDC) as bee:
        batches = list(bee.collect_nectar("t", cursor))

    assert [b.table.num_rows for b in batches if b.table.num_rows] == [1]
    places = [b.cursor["log"]["gtid"] for b in batches]
    assert len(set(places)) == 4, "before, and behind each of the three"
    assert places[-1] == table.rows("SELECT @@gtid_binlog_pos")[0][0]


def test_filters_and_changes_do_not_go_together() -> None:
    login = {"host": "h", "database": "d", "user": "u", "cdc": {}}
    with pytest.raises(pydantic.ValidationError, match="every row"):
        MySQLWorkerBee.from_options({**login, "row_filters": {"t": True}})


def test_streams_with_a_cursor_or_a_query_are_read_as_without_cdc(table: Database) -> None:
    bee = table.bee(cdc={}, streams={"q": {"query": "SELECT id FROM t", "key": "id"}, "t": {"cursor": "id"}})

    assert [r["id"] for r in fly(bee, "q")[0]] == [1, 2, 3, 4, 5]
    assert fly(bee, "t")[1]["high"] == "5"
