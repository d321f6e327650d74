"""Every PostgreSQL type, at its ends: what comes is what the server itself says."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import psycopg
import pytest
from psycopg import sql

from nectar.batch import mark_of
from tests.bees.postgresql_source import Database, fly, source_database  # noqa: F401 - the fixture `db`

AS_IS: dict[str, list[tuple[str, Any]]] = {
    "bool": [("t", True), ("f", False)],
    "int2": [("-32768", -32768), ("32767", 32767)],
    "int4": [("-2147483648", -(2**31))],
    "int8": [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)],
    "float4": [("NaN", math.nan), ("-Infinity", -math.inf), ("1e-45", 2**-149), ("0.5", 0.5)],
    "float8": [("NaN", math.nan), ("Infinity", math.inf), ("5e-324", 5e-324), ("0.1", 0.1), ("-0", -0.0)],
    "text": [("", ""), ("é€😀\n\t'\"\\", "é€😀\n\t'\"\\"), (" x ", " x ")],
    "varchar(5)": [("", ""), ("ab  ", "ab  ")],
    "char(4)": [("ab", "ab  "), ("", "    ")],
    "bytea": [("\\x", b""), ("\\x00ff00", b"\x00\xff\x00"), ("\\x5c78", b"\\x")],
    "positive": [("7", 7)],
    "padded": [("a", "a ")],
}
AS_TEXT: dict[str, list[str]] = {
    "numeric": ["NaN", "Infinity", "-Infinity", "0.00", "1e-16383", "-" + "9" * 131072 + "." + "1" * 16383, "1.10"],
    "numeric(10,2)": ["12345678.90", "NaN"],
    "price": ["1.50"],
    "json": ['{"a":  1, "a": 2}', '"\\u0000"', "null", '"\\ud83d\\ude00"'],
    "jsonb": ['{"b": 1.10, "a": [null, "\\u00e9\\n"]}', "null", "1e400"],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "inet": ["192.168.0.1/24", "::1"],
    "cidr": ["10.0.0.0/8", "2001:db8::/32"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "int4range": ["empty", "[1,5)", "(,)"],
    "numrange": ["(1.10,2]", "[NaN,]"],
    "tstzrange": ['["2024-01-01 00:00:00.000001+00",infinity)', "(,)"],
    "daterange": ["[2024-01-01,)", "empty"],
    "int4multirange": ["{[1,2),[4,5)}", "{}"],
    "point": ["(1.5,-2)", "(NaN,Infinity)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(1,2),(3,4)]"],
    "box": ["(3,4),(1,2)"],
    "path": ["[(1,2),(3,4)]"],
    "polygon": ["((1,2),(3,4),(5,6))"],
    "circle": ["<(1,2),3>"],
    "interval": ["P1Y2M3DT4H5M6.000007S", "P-1Y", "PT0S", "P178000000Y"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timetz": ["24:00:00-15:59", "12:00:00+05:30"],
    "bit(3)": ["101"],
    "varbit": ["", "0101"],
    "money": ["-92233720368547758.08"],
    "xml": ["<a>é</a>", "text &amp; <b/>"],
    "mood": ["glad", 'it\'s "ok"'],
    "hstore": ['"a"=>NULL, "b"=>"c"'],
    "citext": ["MiXed"],
    "tsvector": ["'a':1A 'b''c'"],
    "tsquery": ["'a' & !'b'"],
    "oid": ["4294967295"],
    "name": ["pg"],
    '"char"': ["x", ""],
    "pg_lsn": ["16/B374D848"],
    "oidvector": ["1 2 3"],
    "regclass": ["pg_class"],
}
MOMENTS: dict[str, list[tuple[str, str]]] = {
    "date": [
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("4714-11-24 BC", "4714-11-24 BC"),
        ("5874897-12-31", "5874897-12-31"),
        ("2024-02-29", "2024-02-29"),
    ],
    "timestamp": [
        ("infinity", "infinity"),
        ("0044-03-15 12:00 BC", "0044-03-15T12:00:00 BC"),
        ("294276-12-31 23:59:59.999999", "294276-12-31T23:59:59.999999"),
        ("2024-01-01", "2024-01-01T00:00:00"),
    ],
    "timestamptz": [
        ("-infinity", "-infinity"),
        ("0044-03-15 12:00+00 BC", "0044-03-15T12:00:00+00:00 BC"),
        ("294276-12-31 23:59:59.999999+00", "294276-12-31T23:59:59.999999+00:00"),
        ("2024-01-01 00:00+14", "2023-12-31T10:00:00+00:00"),
        ("1800-01-01 00:00:00.1+00", "1800-01-01T00:00:00.1+00:00"),
    ],
    "due": [("2024-01-01 00:00+00", "2024-01-01T00:00:00+00:00")],
}
DOCUMENTS: dict[str, list[tuple[str, Any]]] = {
    "int4[]": [
        ("{{1,2},{3,NULL}}", [[1, 2], [3, None]]),
        ("{}", []),
        ("[5:6]={1,2}", "[5:6]={1,2}"),
        ("[1:1]={3}", [3]),
    ],
    "int8[]": [("[1:2][0:1]={{1,2},{3,4}}", "[1:2][0:1]={{1,2},{3,4}}"), ("[-1:0]={1,NULL}", "[-1:0]={1,NULL}")],
    "text[]": [
        ("[0:0]={[2:3]=}", "[0:0]={[2:3]=}"),
        ('{"[0:1]={1,2}"}', ["[0:1]={1,2}"]),
        ('{"",NULL,"NULL","a\\"b\\\\"}', ["", None, "NULL", 'a"b\\']),
    ],
    "float8[]": [("{NaN,Infinity,0.1}", ["NaN", "Infinity", 0.1])],
    "numeric[]": [("{NaN,1.10}", ["NaN", 1.1])],
    "timestamptz[]": [("{infinity,2024-01-01 00:00+00}", ["infinity", "2024-01-01T00:00:00+00:00"])],
    "bytea[]": [('{"\\\\x00ff"}', ["\\x00ff"])],
    "mood[]": [("{glad,NULL}", ["glad", None])],
    "pair": [('(1,"a ""b""")', {"n": 1, "t": 'a "b"'}), ("(,)", {"n": None, "t": None})],
    "pair[]": [('{"(1,x)",NULL}', [{"n": 1, "t": "x"}, None])],
    "numbers": [("{1,2}", [1, 2]), ("[0:1]={1,2}", "[0:1]={1,2}")],
}
TYPES = (
    "CREATE EXTENSION hstore",
    "CREATE EXTENSION citext",
    "CREATE TYPE mood AS ENUM ('glad', 'it''s \"ok\"')",
    "CREATE TYPE pair AS (n int, t text)",
    "CREATE DOMAIN positive AS int4 CHECK (value > 0)",
    "CREATE DOMAIN first AS numeric",
    "CREATE DOMAIN price AS first",
    "CREATE DOMAIN due AS timestamptz",
    "CREATE DOMAIN padded AS char(2)",
    "CREATE DOMAIN numbers AS int4[]",
)


class TestTypes:
    """Every type, at its ends: what comes is what the server itself says."""

    @pytest.fixture
    def read(self, db: Database) -> Any:
        """Read literals of many types, one column a type; nulls where a type has fewer."""

        def read(literals: dict[str, list[str]]) -> tuple[Any, dict[str, list[Any]]]:
            db.run(*TYPES)
            columns = sql.SQL(", ").join(
                [sql.SQL("{} {}").format(sql.Identifier(kind), sql.SQL(kind)) for kind in literals]  # type: ignore[arg-type]
            )
            db.run(sql.SQL("CREATE TABLE t (id int PRIMARY KEY, {})").format(columns))
            for number, row in enumerate(itertools.zip_longest(*literals.values())):
                values = sql.SQL(", ").join([sql.Literal(v) if v is not None else sql.SQL("NULL") for v in row])
                db.run(sql.SQL("INSERT INTO t VALUES ({}, {})").format(sql.Literal(number), values))
            with db.bee(batch_rows=1000) as bee:
                (batch,) = bee.collect_nectar("t", None)
            table = batch.table
            found = {kind: table.column(kind).to_pylist() for kind in literals}
            for kind, given in literals.items():
                assert found[kind][len(given) :] == [None] * (table.num_rows - len(given)), kind
            return table, {kind: values[: len(literals[kind])] for kind, values in found.items()}

        return read

    def test_what_arrow_holds_stays_typed(self, read: Any) -> None:
        table, found = read({kind: [text for text, _ in pairs] for kind, pairs in AS_IS.items()})

        for kind, pairs in AS_IS.items():
            assert repr(found[kind]) == repr([value for _, value in pairs]), kind
            assert mark_of(table.schema.field(kind)) is None

    def test_the_rest_is_the_servers_own_text(self, db: Database, read: Any) -> None:
        known = dict(AS_TEXT)
        try:
            db.run("SELECT xml '<a/>'")
        except psycopg.errors.FeatureNotSupported:
            del known["xml"]  # the embedded server is built without it
        table, found = read(known)
        db.run("SET IntervalStyle = iso_8601", "SET xmloption = content")

        for kind, given in known.items():
            own = [
                text for (text,) in db.rows(f'SELECT "{kind.replace(chr(34), chr(34) * 2)}"::text FROM t ORDER BY id')
            ]
            assert found[kind] == own[: len(given)], kind
            number = kind.startswith(("numeric", "price"))
            assert mark_of(table.schema.field(kind)) == (
                "number" if number else kind[:4] if "json" in kind else None
            ), kind
        assert found["numeric"] == [*AS_TEXT["numeric"][:4], "0." + "0" * 16382 + "1", *AS_TEXT["numeric"][5:]]
        assert found["interval"] == AS_TEXT["interval"]

    def test_moments_are_iso_8601_in_utc_whatever_the_year(self, db: Database, read: Any) -> None:
        _, found = read({kind: [text for text, _ in pairs] for kind, pairs in MOMENTS.items()})

        for kind, pairs in MOMENTS.items():
            assert found[kind] == [text for _, text in pairs], kind
            for given, text in pairs:
                same = db.owner.execute(f"SELECT %s::text::{kind} = %s::text::{kind}", (given, text)).fetchone()
                assert same == (True,), (kind, given)

    def test_arrays_and_composites_are_json(self, read: Any) -> None:
        table, found = read({kind: [text for text, _ in pairs] for kind, pairs in DOCUMENTS.items()})

        for kind, pairs in DOCUMENTS.items():
            assert [json.loads(text) for text in found[kind]] == [value for _, value in pairs], kind
            assert mark_of(table.schema.field(kind)) == "json"

    def test_a_query_travels_like_a_table(self, db: Database) -> None:
        query = (
            "SELECT 1 AS id, NULL AS nothing, 'x' AS word, row(1, 'a') AS pair, 1.50 AS n,"
            " ARRAY[1, 2] AS list, now() > '-infinity' AS b"
        )
        records, _ = fly(db.bee(streams={"q": {"query": query, "key": "id"}}), "q")

        assert records == [
            {
                "id": 1,
                "nothing": None,
                "word": "x",
                "pair": '{"f1":1,"f2":"a"}',
                "n": "1.50",
                "list": "[1,2]",
                "b": True,
            }
        ]
