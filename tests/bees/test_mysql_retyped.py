"""Tables of MariaDB that change in the middle of a reading, or behind a mark: nothing is left out, nothing fails."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

import bees.mysql
from tests.bees.contract import rows
from tests.bees.mysql_source import Database, source_database  # noqa: F401 - the fixture `db`
from tests.bees.retyped import BY_ID, Retyped, begun, flown, rest, without

pytestmark = pytest.mark.servers


def made(db: Database) -> str:
    return str(db.rows("SELECT CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()")[0][0])


def later(db: Database, deed: str) -> None:
    """Do it, again if need be, until the table is of another second than it was."""
    before = made(db)
    while made(db) == before:
        db.run("DO SLEEP(0.2)", deed)


class TestMySQL(Retyped):
    numbers = "INSERT INTO t SELECT seq FROM seq_{}_to_{}"
    retype = "ALTER TABLE t MODIFY {} {}"
    analyze = "ANALYZE TABLE t PERSISTENT FOR ALL"
    other_orders: ClassVar = [
        ("int", "varchar(20)"),
        ("varchar(20)", "int"),
        ("varchar(20) COLLATE utf8mb4_general_ci", "varchar(20) COLLATE utf8mb4_bin"),
        ("decimal(9,2)", "bigint"),
    ]
    same_orders: ClassVar = [
        ("int", "bigint unsigned"),
        ("bigint", "tinyint"),
        ("varchar(9)", "varchar(99)"),
        ("int", "int, ADD COLUMN w int, ALGORITHM=COPY"),
    ]
    other_cursors: ClassVar = [
        ("int", "varchar(20)", "'100'"),
        ("decimal(9,2)", "bigint", "100"),
        ("varchar(9) COLLATE utf8mb4_bin", "varchar(9) COLLATE utf8mb4_general_ci", "'100'"),
        ("varchar(9)", "varbinary(9)", "'100'"),
    ]

    def anew(self, db: Database, high: int) -> None:
        """The server tells tables apart by the second."""
        later(db, "CREATE OR REPLACE TABLE t (id int PRIMARY KEY)")
        db.run(self.numbers.format(1, high))


def test_what_changes_rows_alone_or_stops_the_server_leaves_the_mark_and_alter_begins_anew(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_9")
    _, cursor = flown(db, **BY_ID)
    db.run("DO SLEEP(1.1)", "INSERT INTO t VALUES (10)", "UPDATE t SET id = 0 WHERE id = 1", "ANALYZE TABLE t")
    found, cursor = flown(db, cursor, **BY_ID)
    assert found == [9, 10]
    later(db, "ALTER TABLE t ADD COLUMN IF NOT EXISTS w int DEFAULT 5, COMMENT = 'more'")
    with capture_logs() as logs:
        batches = rest(db, cursor, **BY_ID)
    assert [(row["id"], row["w"]) for row in rows(batches)] == [(n, 5) for n in (0, *range(2, 11))]
    assert [entry["event"] for entry in logs if "beginning" in str(entry.get("result"))] == ["cursor_of_another_order"]


def test_another_server_has_times_of_its_own(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_9")
    _, cursor = flown(db, **BY_ID)
    of_another = cursor | {"table": "2020-02-02 02:02:02@elsewhere:3306/7"}
    assert flown(db, of_another, **BY_ID) == ([9], cursor)
    server = cursor["table"].partition("@")[2]
    assert len(flown(db, cursor | {"table": f"2020-02-02 02:02:02@{server}"}, **BY_ID)[0]) == 9


@pytest.mark.parametrize("kind", ["enum", "set"])
@pytest.mark.parametrize("streams", [{}, {"t": {"cursor": "n", "key": "id"}}])
def test_an_older_place_among_words_is_void_because_they_were_sorted_by_number(
    db: Database, kind: str, streams: dict[str, Any]
) -> None:
    db.run(f"CREATE TABLE t (n {kind}('z', 'm', 'a') NOT NULL, id int, PRIMARY KEY (n, id))")
    db.run("INSERT INTO t VALUES ('z', 1), ('z', 2), ('m', 3), ('a', 4), ('a', 5)")
    midway = begun(db, streams=streams, batch_rows=3)
    older = without(midway, "types", "table") | {"after": ["z", "2"]}
    assert flown(db, older, streams=streams)[0] == [4, 5, 3, 1, 2]
    assert flown(db, midway, streams=streams)[0] == [1, 2], "one that tells its types goes on"


@pytest.mark.parametrize(
    ("deed", "found"),
    [
        (["ALTER TABLE t DROP COLUMN v"], [{"id": 1, "n": 1}]),
        (["ALTER TABLE t RENAME COLUMN id TO k"], [{"k": 1, "v": "a", "n": 1}]),
        (["DROP TABLE t", "CREATE TABLE t (k int PRIMARY KEY)", "INSERT INTO t VALUES (5)"], [{"k": 5}]),
    ],
)
def test_a_bee_that_lives_on_sees_at_once_what_became_of_a_table(
    db: Database, deed: list[str], found: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bees.mysql, "_SETTLED", 600.0)  # however slow the server is with its tables
    db.run("CREATE TABLE t (id int PRIMARY KEY, v text, n int NOT NULL)", "INSERT INTO t VALUES (1, 'a', 1)")
    with db.bee() as bee:
        cursor = list(bee.collect_nectar("t", None))[-1].cursor
        db.run(*deed)
        assert rows(list(bee.collect_nectar("t", cursor))) == found


def test_a_key_retyped_while_the_rows_of_a_followed_table_are_read_begins_them_anew(db: Database) -> None:
    db.run(f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{db.user}'@'%'")
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_30")
    cursor = begun(db, cdc={}, batch_rows=9)
    db.run("ALTER TABLE t MODIFY id varchar(20)")
    assert {r["id"] for r in rows(rest(db, cursor, cdc={}))} == {str(n) for n in range(1, 31)}
