"""Words, texts and addresses of MySQL and MariaDB: in the log as in a full read, each row once, none lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import GiveUp
from bees.core.sql.mysql import binlog
from bees.core.sql.mysql.logged import Column, Undecoded, readers
from tests.bees.mysql_source import Database, fly, ids, legs
from tests.bees.test_mysql_cdc import CDC, landed, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.mariadb import MariaDB

pytestmark = pytest.mark.servers
WORDS = ["a\\b", "c'd", "x,y", "n\nl", "r\rr", "z\0z", "t\tt", "\\n", "\\", "'", "é", ""]


@pytest.fixture
def db(mariadb: MariaDB) -> Iterator[Database]:
    database = Database(mariadb)
    database.run(f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{database.user}'@'%'", "SET sql_mode = ''")
    yield database
    database.close()


def listed(db: Database, words: list[str]) -> str:
    return ", ".join(db.owner.escape(word) for word in words)


def followed(db: Database, kind: str, values: list[str], *, more: str = "") -> tuple[list[dict[str, Any]], Any]:
    """What the log tells of values of one type, by the number of each, and the cursor behind them."""
    db.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id int PRIMARY KEY, v {kind}{more})")
    _, cursor = fly(db.bee(**CDC), "t")
    db.run(f"INSERT INTO t (id, v) VALUES {', '.join(f'({number}, {v})' for number, v in enumerate(values))}")
    return fly(db.bee(batch_rows=1000, **CDC), "t", cursor)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("enum('a', 'A', 'b', 'B', 'ä') COLLATE utf8mb4_bin", ["a", "A", "b", "B", "ä"]),
        ("set('a', 'A', 'b') COLLATE utf8mb4_bin", ["", "a", "A", "b", "a,b", "A,b"]),
        ("enum('é', 'e', 'E') CHARACTER SET latin1 COLLATE latin1_bin", ["é", "e", "E"]),
    ],
)
def test_keys_that_only_a_binary_collation_tells_apart_all_come(db: Database, kind: str, values: list[str]) -> None:
    db.run(f"CREATE TABLE t (e {kind} PRIMARY KEY)")
    db.many("INSERT INTO t VALUES (%s)", [(value,) for value in values])

    assert sorted(row["e"] for row in legs(db, "t", batch_rows=1)) == sorted(values)
    marked = db.bee(batch_rows=1, streams={"t": {"cursor": "e"}})
    assert sorted(row["e"] for row in fly(marked, "t")[0]) == sorted(values)


def test_words_of_every_character_are_told_by_the_log(db: Database) -> None:
    plain = [word for word in WORDS if "," not in word and word]
    kind = f"enum({listed(db, WORDS)}), s set({listed(db, plain)})"
    found, cursor = followed(db, kind, [str(number + 1) for number in range(len(WORDS))])
    assert [row["v"] for row in found] == WORDS
    db.run("UPDATE t SET s = id + 1 WHERE id < 10")
    found, _ = fly(db.bee(batch_rows=1000, **CDC), "t", cursor)

    assert found[0]["s"] == plain[0]
    assert landed({}, found) == {key: row for key, row in whole(db).items() if key < 10}


def test_a_deleted_word_is_the_key_that_was_read(db: Database) -> None:
    db.run(f"CREATE TABLE t (id enum({listed(db, WORDS)}) PRIMARY KEY)", "INSERT INTO t VALUES (1), (4), (6)")
    first, cursor = fly(db.bee(**CDC), "t")
    db.run("DELETE FROM t")
    found, _ = fly(db.bee(**CDC), "t", cursor)

    assert {row["id"] for row in found} == {row["id"] for row in first} == {"a\\b", "n\nl", "z\0z"}
    assert {row["_op"] for row in found} == {"delete"}


def test_a_backslash_before_a_quote_ends_no_word() -> None:
    assert Column("e", "enum", r"enum('a\\','\\''','''','\\\\n','\n')").words == ("a\\", "\\'", "'", "\\\\n", "\n")


def test_addresses_are_written_as_the_server_writes_them(db: Database) -> None:
    values = [
        "::1.2.3.4", "::0.1.0.0", "::1", "::", "::ffff:1.2.3.4", "::ffff:0:0", "1:0:2:3:4:5:6:7", "0:1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:0", "1:0:0:2:0:0:0:3", "1:0:0:2:0:0:3:4", "1:2:3:4:5:6:7:8", "1::ffff:1:2", "64:ff9b::1.2.3.4",
    ]  # fmt: skip
    found, cursor = followed(db, "inet6", [f"'{value}'" for value in values], more=", UNIQUE (v)")

    assert [row["v"] for row in found[:3]] == ["::1.2.3.4", "::0.1.0.0", "::1"]
    assert landed({}, found) == whole(db)
    db.run("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (v)")
    read, cursor = fly(db.bee(batch_rows=1000, **CDC), "t")
    db.run("DELETE FROM t")
    gone, _ = fly(db.bee(batch_rows=1000, **CDC), "t", cursor)
    assert sorted(row["v"] for row in gone) == sorted(row["v"] for row in read)


@pytest.mark.parametrize(
    ("charset", "codes", "text"),
    [
        ("cp866", "41FCFDAF", "Aⁿ²п"),
        ("koi8u", "9541", "•A"),
        ("hebrew", "AFE0", "‾א"),
        ("greek", "A1A2E2", "\u02bd\u02bcβ"),
        ("sjis", "815F5C8341", "\\\\ア"),
        ("ujis", "A1C0A5A2", "\\ア"),
        ("euckr", "8141B0A1", "갂가"),
        ("big5", "F9D641A440F9DC", "碁A一嫺"),
    ],
)
def test_characters_are_those_of_the_servers_set(db: Database, charset: str, codes: str, text: str) -> None:
    found, _ = followed(db, f"varchar(9) CHARACTER SET {charset}", [f"_{charset} X'{codes}'"])

    assert [row["v"] for row in found] == [text]
    assert landed({}, found) == whole(db)


def test_a_text_that_its_set_does_not_know_is_set_aside_and_the_stream_goes_on(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(9) CHARACTER SET cp1251, w varchar(9))")
    _, cursor = fly(db.bee(**CDC), "t")
    db.run("INSERT INTO t VALUES (1, _cp1251 X'D098', 'é'), (2, 'ok', ''), (3, 'ok', '')")
    db.run("UPDATE t SET v = _cp1251 X'4198' WHERE id = 2")
    with db.bee(batch_rows=1000, **CDC) as bee:
        batches = list(bee.collect_nectar("t", cursor))
    found = [(row["id"], row["v"]) for batch in batches for row in batch.table.to_pylist()]
    rejects = [reject for batch in batches for reject in batch.rejects]

    assert found == [(2, "ok"), (3, "ok")]
    assert [(r.code, json.loads(r.raw)) for r in rejects] == [
        ("unreadable_value", {"id": "1", "v": "\\xd0\\x98", "w": "é"}),
        ("unreadable_value", {"id": "2", "v": "A\\x98", "w": ""}),
    ]
    assert "'v'" in rejects[0].reason
    db.run("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (4, 'later', '')")
    later, _ = fly(db.bee(**CDC), "t", json.loads(json.dumps(batches[-1].cursor)))
    assert [(row["id"], row["_op"]) for row in later] == [(2, "delete"), (4, "upsert")]


@pytest.mark.parametrize(
    ("kind", "meta", "column", "raw", "value"),
    [
        (247, 1, Column("v", "enum", "enum('a','b')"), b"\3", b"\3"),
        (248, 1, Column("v", "set", "set('a','b')"), b"\5", b"\5"),
        (245, 1, Column("v", "json", "json"), b"\2\x63\x63", b"\x63\x63"),
        (255, 1, Column("v", "geometry", "geometry"), b"\5\0\0\0\0\1", b"\0\0\0\0\1"),
        (15, 9, Column("v", "varchar", "varchar(9)", "cp1251"), b"\2\xd0\x98", b"\xd0\x98"),
    ],
)
def test_bytes_that_stand_for_nothing_are_no_value(
    kind: int, meta: int, column: Column, raw: bytes, value: bytes
) -> None:
    """The reader goes on behind them, so that the row's other values are read."""
    table = binlog.Table(1, "s", "t", bytes([kind, 1]), (meta, 0), ())
    first, second = readers(table, [column, Column("n", "tinyint", "tinyint(4)")])
    found, end = first(raw + b"\7", 0)

    assert (type(found), found) == (Undecoded, value)
    assert second(raw + b"\7", end) == (b"7", len(raw) + 1)


def test_a_column_that_is_not_asked_for_sets_nothing_aside(db: Database) -> None:
    options = {"cdc": {}, "streams": {"t": {"columns": ["id"]}}}
    db.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(9) CHARACTER SET cp1251)")
    _, cursor = fly(db.bee(**options), "t")
    db.run("INSERT INTO t VALUES (1, _cp1251 X'98')")

    assert ids(fly(db.bee(**options), "t", cursor)[0]) == [1]


def test_a_key_that_its_set_does_not_know_is_set_aside(db: Database) -> None:
    db.run("CREATE TABLE t (id varchar(9) CHARACTER SET cp1251 PRIMARY KEY)")
    _, cursor = fly(db.bee(**CDC), "t")
    db.run("INSERT INTO t VALUES (_cp1251 X'98'), ('ok')", "DELETE FROM t WHERE id <> 'ok'")
    with db.bee(batch_rows=1000, **CDC) as bee:
        batches = list(bee.collect_nectar("t", cursor))

    assert [row["id"] for batch in batches for row in batch.table.to_pylist()] == ["ok"]
    assert [json.loads(r.raw) for batch in batches for r in batch.rejects] == [{"id": "\\x98"}] * 2


def test_zero_has_no_sign_in_the_log_either(db: Database) -> None:
    """Too small a number is stored as a zero with a sign, which the server does not show."""
    found, _ = followed(db, "float", ["-1e-60", "0", "-1.5"])

    assert [repr(row["v"]) for row in found] == ["0.0", "0.0", "-1.5"]
    assert repr(landed({}, found)) == repr(whole(db))


def test_a_view_whose_table_is_gone_is_named(db: Database) -> None:
    db.run("CREATE TABLE b (id int PRIMARY KEY)", "CREATE VIEW v AS SELECT id FROM b", "DROP TABLE b")
    with pytest.raises(GiveUp, match="view") as error:
        fly(db.bee(streams={"v": {"key": "id"}}), "v")

    assert error.value.code == "broken_view"
