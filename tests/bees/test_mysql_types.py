"""Every type of MySQL and MariaDB, at its ends: what comes is what the server itself says."""

from __future__ import annotations

import itertools
import json
import shutil
from typing import Any

import pyarrow as pa
import pytest

from bees.core.errors import GiveUp
from nectar.batch import mark_of
from tests.bees.contract import rows
from tests.bees.mysql_source import Database, fly, source_database  # noqa: F401 - the fixture `db`

pytestmark = pytest.mark.servers

TYPED: dict[str, list[tuple[str, Any]]] = {
    "tinyint": [("-128", -128), ("127", 127)],
    "tinyint unsigned": [("255", 255)],
    "smallint": [("-32768", -32768)],
    "mediumint": [("-8388608", -8388608)],
    "mediumint unsigned": [("16777215", 16777215)],
    "int": [("-2147483648", -(2**31))],
    "int(7) unsigned zerofill": [("42", 42)],
    "bigint": [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)],
    "bigint unsigned": [("18446744073709551615", 2**64 - 1), ("0", 0)],
    "boolean": [("true", 1), ("false", 0)],
    "bit(1)": [("b'1'", 1), ("b'0'", 0)],
    "bit(64)": [("18446744073709551615", 2**64 - 1)],
    "year": [("'0000'", 0), ("1901", 1901), ("2155", 2155)],
    "float": [("3.4028234e38", 3.4028234663852886e38), ("0.1", 0.10000000149011612), ("1.17549435e-38", 2.0**-126)],
    "double": [("1.7976931348623157e308", 1.7976931348623157e308), ("0.1", 0.1), ("5e-324", 5e-324), ("1/3e0", 1 / 3)],
    "double(10,3)": [("1.2345", 1.234)],
    "binary(4)": [("X'00FF'", b"\x00\xff\x00\x00")],
    "varbinary(9)": [("''", b""), ("X'5C27FF00'", b"\\'\xff\x00")],
    "longblob": [("REPEAT(X'FB', 300)", b"\xfb" * 300), ("''", b"")],
    "varchar(9)": [("''", ""), ("'é€😀\\t\\n'", "é€😀\t\n"), ("' x '", " x "), ("'\\0'", "\0")],
    "char(5)": [("'ab  '", "ab")],
    "varchar(9) character set latin1": [("'é€'", "é€")],
    "varchar(9) character set sjis": [("'ソ表'", "ソ表")],
    "text character set ucs2": [("'é€'", "é€")],
    "longtext": [("REPEAT('é', 40000)", "é" * 40000)],
    "enum('a', 'it''s', '')": [("'it''s'", "it's"), ("''", "")],
    "set('a', 'b', 'c')": [("'c,a'", "a,c"), ("''", "")],
    "date": [("'0000-00-00'", "0000-00-00"), ("'2024-02-00'", "2024-02-00"), ("'9999-12-31'", "9999-12-31")],
    "datetime": [("'0000-00-00'", "0000-00-00T00:00:00"), ("'1000-01-01'", "1000-01-01T00:00:00")],
    "datetime(6)": [("'9999-12-31 23:59:59.999999'", "9999-12-31T23:59:59.999999")],
    "datetime(3)": [("'2024-01-01 00:00:00.1'", "2024-01-01T00:00:00.100")],
    "timestamp null": [("'2024-03-10 02:30:00'", "2024-03-10T02:30:00+00:00"), ("0", "0000-00-00T00:00:00+00:00")],
    "timestamp(6) null": [("'2038-01-19 03:14:07.999999'", "2038-01-19T03:14:07.999999+00:00")],
    "time": [("'-838:59:59'", "-838:59:59"), ("'838:59:59'", "838:59:59"), ("'-00:00:01'", "-00:00:01")],
    "time(6)": [("'24:00:00.000001'", "24:00:00.000001")],
    "inet6": [("'2001:db8::1'", "2001:db8::1")],
    "uuid": [
        (f"'{text}'", text)
        for text in (
            "00112233-4455-4677-8899-aabbccddeeff", "00112233-4455-1677-8899-aabbccddeeff",
            "01937f3a-aaaa-7bbb-8ccc-dddddddddddd", "00112233-4455-1677-0899-aabbccddee00",
            "00000000-0000-0000-0000-000000000000",
        )
    ],
    "point": [("POINT(0.1, -2)", "POINT(0.1 -2)"), ("ST_GeomFromText('POINT(1 2)', 4326)", "SRID=4326;POINT(1 2)")],
    "geometry": [
        ("ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')", "POLYGON((0 0,1 0,1 1,0 0))"),
        ("ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1e-20 3.3333333333333335))')",
         "GEOMETRYCOLLECTION(POINT(1e-20 3.3333333333333335))"),
    ],
}  # fmt: skip
NUMBERS: dict[str, list[tuple[str, str]]] = {
    "decimal(65,30)": [("-" + "9" * 35 + "." + "9" * 30, "-" + "9" * 35 + "." + "9" * 30), ("0", "0." + "0" * 30)],
    "decimal(5,2)": [("1.1", "1.10")],
    "decimal(8,2) zerofill": [("12.3", "12.30")],
    "decimal(20,0) unsigned": [("18446744073709551616", "18446744073709551616")],
}


@pytest.fixture
def read(db: Database) -> Any:
    """Read literals of many types, one column a type; nulls where a type has fewer."""

    def read(literals: dict[str, list[str]]) -> tuple[pa.Table, dict[str, list[Any]]]:
        columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(literals))
        db.run("SET sql_mode = ''", "SET time_zone = '+00:00'", f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
        for number, row in enumerate(itertools.zip_longest(*literals.values())):
            values = ", ".join("NULL" if v is None else v for v in row)
            db.run(f"INSERT INTO t VALUES ({number}, {values})")
        with db.bee(batch_rows=1000) as bee:
            (batch,) = bee.collect_nectar("t", None)
        assert batch.rejects == ()
        table = batch.table
        found = {kind: table.column(f"c{number}").to_pylist() for number, kind in enumerate(literals)}
        for kind, given in literals.items():
            assert found[kind][len(given) :] == [None] * (table.num_rows - len(given)), kind
        return table, {kind: values[: len(literals[kind])] for kind, values in found.items()}

    return read


def test_values_of_all_types_arrive_as_they_are(read: Any) -> None:
    table, found = read({kind: [text for text, _ in pairs] for kind, pairs in TYPED.items()})

    for number, (kind, pairs) in enumerate(TYPED.items()):
        assert repr(found[kind]) == repr([value for _, value in pairs]), kind
        assert mark_of(table.schema.field(f"c{number}")) is None


def test_whole_numbers_beyond_64_bits_with_a_sign_are_told_as_numbers(db: Database) -> None:
    wide, plain = ("bigint unsigned", "bigint(5) unsigned zerofill", "bit(64)"), ("bigint", "int unsigned", "bit(63)")
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate((*wide, *plain)))
    db.run(f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
    with db.bee() as bee:
        (stream,) = bee.get_pollen_schema()
    assert [column.kind for column in stream.columns] == ["integer", *["number"] * 3, *["integer"] * 3]


def test_decimals_are_exact_numbers(read: Any) -> None:
    table, found = read({kind: [text for text, _ in pairs] for kind, pairs in NUMBERS.items()})

    for number, (kind, pairs) in enumerate(NUMBERS.items()):
        assert found[kind] == [text for _, text in pairs], kind
        assert mark_of(table.schema.field(f"c{number}")) == "number"


def test_json_is_json_where_the_server_checks_it(db: Database) -> None:
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, doc json, `od``d` json, plain longtext)",
        """INSERT INTO t VALUES (1, '{"b": 1.10, "a": [null, "\\\\u00e9"]}', 'null', '{')""",
    )
    with db.bee() as bee:
        (stream,) = bee.get_pollen_schema()
        (batch,) = bee.collect_nectar("t", None)

    assert [c.kind for c in stream.columns] == ["integer", "json", "json", "text"]
    assert [mark_of(f) for f in batch.table.schema] == [None, "json", "json", None]
    assert json.loads(batch.table["doc"][0].as_py()) == {"b": 1.1, "a": [None, "é"]}


def test_generated_and_invisible_columns_come(db: Database) -> None:
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int AS (a * 2) VIRTUAL, c int AS (a * 3) STORED,"
        " d int INVISIBLE DEFAULT 9)",
        "INSERT INTO t (id, a) VALUES (1, 5)",
    )
    assert fly(db.bee(), "t")[0] == [{"id": 1, "a": 5, "b": 10, "c": 15, "d": 9}]


def test_bytes_that_are_no_text_are_set_aside_and_the_other_rows_come(db: Database) -> None:
    """The server takes no such bytes today: they are put where an older one, or a copied file, left them."""
    for name, kind in (("good", "varbinary(20)"), ("t", "varchar(5) CHARACTER SET utf8mb4")):
        db.run(f"CREATE TABLE {name} (id int PRIMARY KEY, name {kind}) ENGINE=MyISAM")
    db.run("INSERT INTO good VALUES (1, 'whole'), (2, X'636166E9'), (3, X'C3A9'), (4, X'FF')", "FLUSH TABLES")
    (folder,) = db.server.folder.glob(f"data/{db.name.replace(' ', '@0020')}")
    for suffix in ("MYD", "MYI"):
        shutil.copyfile(folder / f"good.{suffix}", folder / f"t.{suffix}")
    db.run("FLUSH TABLES")
    with db.bee(batch_rows=100) as bee:
        (batch,) = bee.collect_nectar("t", None)

    assert rows([batch]) == [{"id": 1, "name": "whole"}, {"id": 3, "name": "é"}]
    assert [(r.code, json.loads(r.raw)) for r in batch.rejects] == [
        ("encoding", {"id": "2", "name": "caf\\xe9"}),
        ("encoding", {"id": "4", "name": "\\xff"}),
    ]
    assert "'name'" in batch.rejects[0].reason
    with db.bee(batch_rows=1, streams={"t": {"key": "name"}}) as bee, pytest.raises(GiveUp) as error:
        list(bee.collect_nectar("t", None))
    assert error.value.code == "encoding"


def test_bytes_that_their_character_set_does_not_have_are_set_aside_as_they_are(db: Database) -> None:
    """The server itself would write a question mark."""
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(9) CHARACTER SET cp1251, w text CHARACTER SET cp932,"
        " x varchar(9) CHARACTER SET utf16)",
        "INSERT INTO t VALUES (1, 'Ж?', '日本?', '?é'), (2, _cp1251 X'3F98', 'a', 'b'), (3, NULL, NULL, NULL),"
        " (4, _cp1251 X'D098', 'a', ''), (5, '??', _cp932 X'879A3F', '')",
    )
    with db.bee(batch_rows=100) as bee:
        (batch,) = bee.collect_nectar("t", None)

    assert rows([batch]) == [
        {"id": 1, "v": "Ж?", "w": "日本?", "x": "?é"},
        {"id": 3, "v": None, "w": None, "x": None},
        {"id": 5, "v": "??", "w": "∵?", "x": ""},
    ]
    assert [(r.code, json.loads(r.raw)) for r in batch.rejects] == [
        ("unreadable_value", {"id": "2", "v": "?\\x98", "w": "a", "x": "b"}),
        ("unreadable_value", {"id": "4", "v": "\\xd0\\x98", "w": "a", "x": ""}),
    ]
    assert "'v'" in batch.rejects[0].reason
    by_text = {"streams": {"t": {"key": "v"}}}
    with db.bee(batch_rows=1, **by_text) as bee, pytest.raises(GiveUp) as error:
        list(bee.collect_nectar("t", None))
    assert error.value.code == "encoding"
    db.run("DELETE FROM t WHERE v IS NULL")
    with db.bee(batch_rows=100, **by_text) as bee:
        (batch,) = bee.collect_nectar("t", None)
    assert (sorted(row["id"] for row in rows([batch])), len(batch.rejects)) == ([1, 5], 2)


def test_bytes_that_the_server_writes_as_the_replacement_character_are_set_aside(db: Database) -> None:
    """It is a text of its own where a set has it."""
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(9) CHARACTER SET tis620, w varchar(9) CHARACTER SET utf16)",
        "INSERT INTO t VALUES (1, 'ก?', '\ufffd'), (2, _tis620 X'A1A0', '😀'), (3, 'ข', '😀')",
    )
    with db.bee(batch_rows=100) as bee:
        (batch,) = bee.collect_nectar("t", None)

    assert rows([batch]) == [{"id": 1, "v": "ก?", "w": "\ufffd"}, {"id": 3, "v": "ข", "w": "😀"}]
    assert [json.loads(r.raw) for r in batch.rejects] == [{"id": "2", "v": "\\xa1\\xa0", "w": "😀"}]


def test_characters_of_other_sets_arrive_in_utf8(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(20) CHARACTER SET latin1)")
    db.run("INSERT INTO t VALUES (1, X'636166E9'), (2, X'80'), (3, X'81')")

    assert [row["name"] for row in fly(db.bee(batch_rows=9), "t")[0]] == ["café", "€", "\x81"]


def test_a_query_travels_like_a_table(db: Database) -> None:
    query = (
        "SELECT 1 AS id, NULL AS nothing, 'x' AS word, X'FF' AS raw, 1.50 AS n, 0.1e0 AS f, DATE'2024-01-01' AS d,"
        " TIMESTAMP'2024-01-01 00:00:00' AS at, 18446744073709551615 AS big, CAST('-25:00:00' AS TIME) AS t"
    )
    records, _ = fly(db.bee(streams={"q": {"query": query, "key": "id"}}), "q")

    assert records == [
        {"id": 1, "nothing": None, "word": "x", "raw": b"\xff", "n": "1.50", "f": 0.1, "d": "2024-01-01",
         "at": "2024-01-01T00:00:00", "big": 2**64 - 1, "t": "-25:00:00"}
    ]  # fmt: skip


def test_rows_of_more_than_a_packet_come_whole(db: Database) -> None:
    """A packet holds 16 MiB: longer rows come in several, those of exactly that length with an empty one behind."""
    exact = 0xFFFFFF - 2 - 4  # the lengths of both values stand before them
    sizes = [5, exact - 1, exact, exact + 1, 40_000_000, 7]
    db.run("CREATE TABLE t (id int PRIMARY KEY, body longblob)")
    for number, size in enumerate(sizes):
        db.run(f"INSERT INTO t VALUES ({number}, REPEAT('{chr(97 + number)}', {size}))")
    with db.bee(batch_rows=2) as bee:
        found = [row["body"] for batch in bee.collect_nectar("t", None) for row in batch.table.to_pylist()]

    assert [len(body) for body in found] == sizes
    assert all(set(body) == {97 + number} for number, body in enumerate(found))
