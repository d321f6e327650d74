"""Files of rows in every format: exact, resumed anywhere, and what is broken set aside with its place."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import json
import lzma
import random
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import brotli
import fastavro
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

from bees.core.formats import (
    Part,
    Reading,
    TableBuffer,
    csv_blocks,
    format_of,
    json_blocks,
    read_rows,
    rows_by_name,
    tables,
)
from bees.core.formats.window import Window
from bees.core.tabular import CsvRows, JsonRows, Lines
from nectar.batch import Reject
from nectar.canonical import records
from nectar.encode import encode
from nectar.jsonrows import table


def parts(data: bytes, name: str, place: Any = None, **how: Any) -> list[Part]:
    return list(read_rows(io.BytesIO(data), name, Reading(**how), place))


def rows(found: list[Part]) -> list[dict[str, Any]]:
    return [row for part in found for row in part.table.to_pylist()]


def held(found: list[Part]) -> list[dict[str, Any]]:
    """The rows without nulls: a field that a part does not have is null in no row of it."""
    return [{name: value for name, value in row.items() if value is not None} for row in rows(found)]


def rejects(found: list[Part]) -> list[tuple[str, str]]:
    return [(reject.position, reject.code) for part in found for reject in part.rejects]


def encoded(found: list[Part]) -> list[dict[str, Any]]:
    return [json.loads(text, parse_float=Decimal) for p in found if p.table.num_rows for text in encode(p.table)[0]]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, size in ((csv_blocks, 64), (json_blocks, 200)):
        monkeypatch.setattr(module, "BLOCK", size)
        monkeypatch.setattr(module, "_FEW", 0)
    monkeypatch.setattr(json_blocks, "_SAMPLE", 2)


def _csv_file(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        pieces = ["a", '"', '""', ",", "\n", "\r\n", '"x"', '"p,q"', '"l\nm"', "é", "\0", " ", '5" p', "\r"]
        body = "".join(rng.choice(pieces) for _ in range(rng.randrange(50)))
    else:
        values = ["a", '"x"', '"p,q"', '"l\nm"', "é", "", '"a""b"', '""', " ", "\xa0" if rng.random() < 0.1 else ""]
        lines = [
            ",".join(rng.choice(values) for _ in range(rng.choice([3, 3, 3, 2, 4]))) for _ in range(rng.randrange(12))
        ]
        body = "".join(line + rng.choice(["\n", "\r\n", "\n\n"]) for line in lines)
    raw = f"h1,h2,h3\n{body}".encode()
    raw += rng.choice([b"", b"", b"\x1a"])
    return raw.replace("é".encode(), b"\xe9") if rng.random() < 0.1 and b"\0" not in raw else raw


def test_blocks_of_csv_give_what_the_strict_reader_gives(small_blocks: None) -> None:
    rng = random.Random(11)
    for _ in range(600):
        raw = _csv_file(rng)
        key = rng.choice([(), ("h1",), ("h3", "h2")])
        strict = CsvRows(Lines(io.BytesIO(raw)), "f.csv", key)
        expected = [strict.refusal] if strict.refusal else list(strict.rows())
        found = parts(raw, "f.csv", key=key, batch_rows=rng.choice([1, 2, 5000]))

        assert [tuple(r.values()) for r in rows(found)] == [tuple(r) for r in expected if isinstance(r, list)], raw
        assert sorted(rejects(found)) == sorted((r.position, r.code) for r in expected if isinstance(r, Reject)), raw


@pytest.mark.parametrize(
    ("name", "data", "position", "reason"),
    [
        (
            "f.csv", b"id,name\n1,Jane\n", "f.csv",
            "the file has no column _no and part of the stream's key: correct `key`, or the first line of the file",
        ),
        ("f.csv", b"part,_no\n,\n", "", ""),
        ("f.jsonl", b'{"part": 1}\n', "f.jsonl:1", "the row has no key: _no is missing"),
        ("f.jsonl", b'{"id": 1, "part": null}\n', "f.jsonl:1", "the row has no key: _no and part are missing"),
        ("f.json", b'[{"_no": 7, "name": "Jane"}]', "f.json, item 1", "the row has no key: part is missing"),
    ],
)  # fmt: skip
def test_the_fields_of_the_key_that_are_missing_are_named(name: str, data: bytes, position: str, reason: str) -> None:
    found = parts(data, name, key=("_no", "part"), format="json" if name.endswith(".json") else "auto")

    told = [(r.position, r.code, r.reason) for part in found for r in part.rejects]
    assert told == ([(position, "no_key", reason)] if reason else [])


@pytest.mark.parametrize("blocks", ["small", "large"])
def test_a_row_of_csv_whose_key_is_blank_is_no_record(blocks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if blocks == "small":
        monkeypatch.setattr(csv_blocks, "_FEW", 0)
    data = b"id,part,name\n1,,one\n,,none\n, \t,none too\n,2,half\n,,\n \xc2\xa0,, \n3,4,end\n"

    found = parts(data, "f.csv", key=("id", "part"))

    assert [row["name"] for row in rows(found)] == ["one", "half", "end"]
    assert rejects(found) == [("f.csv:3", "no_key"), ("f.csv:4", "no_key")]
    assert {r.reason for part in found for r in part.rejects} == {"the row has no key: id and part are blank"}
    assert [r.raw for part in found for r in part.rejects] == [b",,none\n", b", \t,none too\n"]
    assert len(rows(parts(data, "f.csv"))) == 7


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp850"])
@pytest.mark.parametrize("last", ["", "\n", "\r\n"])
@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz", "f.jsonl"])
def test_the_mark_with_which_dos_ends_a_text_is_no_row(name: str, last: str, encoding: str) -> None:
    text = '{"a":1}\n{"a":2}' if name == "f.jsonl" else "a,b\n1,x\n2,y"
    data = f"{text}{last}\x1a\x1a".encode(encoding)
    packed = gzip.compress(data) if name.endswith("gz") else data

    found = parts(packed, name, encoding="" if encoding == "utf-16" else encoding)

    assert [str(row["a"]) for row in rows(found)] == ["1", "2"]
    assert {row.get("b", "y") for row in rows(found)} <= {"x", "y"}
    assert rejects(found) == []
    for part in found:
        assert rows(parts(packed, name, part.place, encoding="" if encoding == "utf-16" else encoding)) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("marks", [1, 2, 3])
@pytest.mark.parametrize("name", ["f.csv", "f.jsonl", "f.csv.gz"])
def test_a_byte_order_mark_that_comes_again_is_part_of_no_name(name: str, marks: int, encoding: str) -> None:
    data = ("\ufeff" * marks + ('{"a":"x"}\n' if name == "f.jsonl" else '"a","b"\nx,y\n')).encode(encoding)

    found = parts(gzip.compress(data) if name.endswith("gz") else data, name, encoding="")

    assert [row["a"] for row in rows(found)] == ["x"]
    assert rejects(found) == []
    assert list(read_rows(io.BytesIO(b"\xef\xbb\xbf" * marks), "f.csv", Reading()))[1:] == []


@pytest.mark.parametrize("many", [2, 40_000], ids=["few", "many"])
@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_a_byte_order_mark_between_joined_files_belongs_to_no_value(name: str, many: int) -> None:
    """As `cat` leaves it. In a value it would make another record of the same key."""
    line = '{{"id":"{n}","v":"\ufeffx"}}\n' if name == "f.jsonl" else "{n},\ufeffx\n"
    piece = "".join(line.format(n=n) for n in range(many))
    head = "" if name == "f.jsonl" else "id,v\n"

    found = parts(f"\ufeff{head}{piece}\ufeff{piece}\ufeff\n".encode(), name, key=("id",))

    assert rejects(found) == []
    assert [row["id"] for row in rows(found)] == [str(n) for n in range(many)] * 2
    assert {row["v"] for row in rows(found)} == {"\ufeffx"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("many", [2, 40_000], ids=["few", "many"])
@pytest.mark.parametrize("key", [(), ("id",)])
def test_the_header_of_a_file_that_was_joined_to_another_is_no_row(
    many: int, key: tuple[str, ...], encoding: str
) -> None:
    """Only behind the mark with which a file begins, and only if it is the first one's to the letter."""
    piece = "".join(f"{n},x\n" for n in range(many))
    joined = f'\ufeffid,v\n{piece}\ufeffid,v\n{piece}id,v\n\ufeffid,V\n\ufeff"id",v\n'.encode(encoding)

    found = parts(joined, "t.csv", key=key)

    assert rejects(found) == []
    assert [row["id"] for row in rows(found)] == [str(n) for n in range(many)] * 2 + ["id", "id"]
    assert [row["v"] for row in rows(found)][-2:] == ["v", "V"]
    if not key:
        assert rows(found)[-1]["source_row"] == 2 * many + 4


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('id, "name", note\n1, "x, y", a\n2, "", "b""c"\n', [("1", "x, y", "a"), ("2", "", 'b"c')]),
        ('id;  "name";note\n1;   "x; y";a\n', [("1", "x; y", "a")]),
        ("id,name,note\n1, plain,a\n2,b, c\n", [("1", " plain", "a"), ("2", "b", " c")]),
        ('id;name;note\n1;he said; "x" and more\n', [("1", "he said", ' "x" and more')]),
    ],
)
def test_a_blank_before_a_quote_is_no_part_of_a_value(text: str, values: list[tuple[str, ...]]) -> None:
    """As some statistics programs write. Elsewhere blanks are part of a value, and what stands behind a quote too."""
    found = parts(text.encode(), "t.csv", key=("id",))

    assert [tuple(row.values()) for row in rows(found)] == values
    assert rejects(found) == []


def test_reading_goes_on_after_any_part(small_blocks: None) -> None:
    raw = b"a,b\n" + b"".join(b'%d,"x\n%d"\n' % (n, n) for n in range(60)) + b"bad\n7,y\n"
    lines = b"".join(b'{"a":%d,"b":"x%d"}\n' % (n, n) for n in range(60)) + b'[]\n{"a":1}\n'
    for data, name in (
        (raw, "f.csv"),
        (lines, "f.jsonl"),
        (gzip.compress(raw), "f.csv.gz"),
        (bz2.compress(lines), "f.jsonl.bz2"),
    ):
        whole = parts(data, name, batch_rows=7)
        assert len(whole) > 5
        for stop, part in enumerate(whole):
            rest = parts(data, name, json.loads(json.dumps(part.place)), batch_rows=7)
            assert held(whole[: stop + 1]) + held(rest) == held(whole)
            assert rejects(whole[: stop + 1]) + rejects(rest) == rejects(whole)


_VALUES = {
    "n": ["1", "-5", "99999999999999999999", "1.0", '"1"', "null"],
    "f": ["1.5", "2.25", "1.0", "5", "1e3", "0.1000000000000000055", "47.260999999999996", "null", "-0.0"],
    "s": ['"a"', '"2024-01-01"', '"\\u0041"', '"x\\u0000"', '"é"', "null"],
    "o": ['{"x":1,"y":"q"}', '{"x":2,"y":"z"}', '{"x":1}', "null", '{"x":1,"y":null}'],
    "l": ["[1,2]", "[]", "null", '["a"]'],
    "_id": ['"u"'],
}
_WILD = ["", "[1]", "{", '{"a":1} {"a":2}', "  ", '{"zz":1}', '{"n":NaN}', '{"s":"\\ud800"}', '{"n":1,"n":2}', "{}"]


def _json_file(rng: random.Random) -> bytes:
    wild = rng.random() < 0.5
    names = rng.sample(list(_VALUES), rng.randrange(1, 5))
    lines = []
    for _ in range(rng.randrange(1, 25)):
        shown = [n for n in names if not (wild and rng.random() < 0.05)]
        fields = [f'"{n}":{rng.choice(_VALUES[n] if rng.random() < 0.2 else _VALUES[n][:2])}' for n in shown]
        lines.append(rng.choice(_WILD) if wild and rng.random() < 0.05 else "{" + ",".join(fields) + "}")
    return ("\n".join(lines) + rng.choice(["", "\n"])).encode()


def test_blocks_of_json_lines_give_what_the_exact_reader_gives(small_blocks: None) -> None:
    rng = random.Random(12)
    for _ in range(400):
        raw = _json_file(rng)
        exact = list(JsonRows(Lines(io.BytesIO(raw)), "f.jsonl").rows())
        found = parts(raw, "f.jsonl", batch_rows=rng.choice([1, 3, 5000]))
        texts = [text for part in found if part.table.num_rows for text in records(part.table)]

        assert texts == [records(table([row]))[0] for row in exact if not isinstance(row, Reject)], raw
        assert rejects(found) == [(r.position, r.code) for r in exact if isinstance(r, Reject)], raw


def test_large_files_are_read_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: list[int] = []
    for kind in (csv_blocks.CsvParts, json_blocks.JsonParts):
        before = kind._slow_part
        monkeypatch.setattr(
            kind, "_slow_part", lambda self, rows, *a, _b=before: (slow.append(len(rows)), _b(self, rows, *a))[1]
        )
    raw = b"id,name\n" + b"".join(b'%d,"name, %d"\n' % (n, n) for n in range(200_000))
    lines = b"".join(b'{"id":%d,"price":%d.5,"q":{"x":[1]},"n":null}\n' % (n, n % 90) for n in range(100_000))

    assert sum(p.table.num_rows for p in parts(raw, "f.csv", batch_rows=50_000)) == 200_000
    assert sum(p.table.num_rows for p in parts(lines, "f.jsonl", batch_rows=50_000)) == 100_000
    assert sum(slow) < 3000


def test_single_byte_encodings_are_read_by_blocks_and_found_out_when_asked() -> None:
    raw = b"name;city\n" + "Grüße;Köln\n".encode("cp1252") * 5000

    assert {r["city"] for r in rows(parts(raw, "f.csv", encoding="cp1252"))} == {"Köln"}
    assert {r["city"] for r in rows(parts(raw, "f.csv", encoding="auto"))} == {"Köln"}
    assert not rows(parts(raw, "f.csv"))
    assert {code for _, code in rejects(parts(raw, "f.csv"))} == {"not_utf8"}


def test_bad_lines_of_a_large_csv_are_told_and_the_others_come() -> None:
    lines = [b"%d,x%d" % (n, n) for n in range(50_000)]
    lines[40] = b"40,caf\xe9"
    lines[41] = b"41"
    lines[42] = b'42,"a"b'
    lines[43] = b"43,\0nul"
    found = parts(b"id,v\n" + b"\n".join(lines) + b"\n", "f.csv")

    assert sorted(rejects(found)) == [("f.csv:42", "not_utf8"), ("f.csv:43", "ragged_row"), ("f.csv:44", "broken_row")]
    assert len(rows(found)) == 49_997
    assert rows(found)[40]["v"] == "\0nul"


def _everything() -> pa.Table:
    day = dt.datetime(2024, 1, 31, 12, 30, 0, 250_000)  # noqa: DTZ001 - as it stands in a file without zones
    return pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int32()),
            "_hidden": [1, None, 3],
            "amount": pa.array([Decimal("1.10"), None, Decimal("99999999999999999.99")], pa.decimal128(30, 2)),
            "big": pa.array([2**64 - 1, None, 0], pa.uint64()),
            "naive": pa.array([day, None, None], pa.timestamp("ns")),
            "zoned": pa.array([day, None, None], pa.timestamp("ms", "Europe/Berlin")),
            "far": pa.array([1, None, 2**62], pa.timestamp("ns")),
            "day": pa.array([day.date(), None, None]),
            "time": pa.array([day.time(), None, None]),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "text": pa.array(["a", None, "Grüße"], pa.large_string()),
            "raw": pa.array([b"\0\1", None, b""], pa.large_binary()),
            "list": pa.array([[1], None, []], pa.list_(pa.int64())),
            "object": pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": None}]),
            "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "money": pa.array([[Decimal("1.50")], None, []], pa.list_(pa.decimal128(9, 2))),
            "ratio": pa.array([0.1, None, float("nan")], pa.float64()),
        }
    )  # fmt: skip


def _arrow(data: pa.Table, make: Callable[..., Any] = pa.ipc.new_file) -> bytes:
    sink = io.BytesIO()
    with make(sink, data.schema) as writer:
        writer.write_table(data, max_chunksize=1)
    return sink.getvalue()


def _parquet(data: pa.Table, **how: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(data, sink, **how)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [(_parquet(_everything()), "a.parquet"), (_arrow(_everything()), "a.arrow"),
     (_arrow(_everything(), pa.ipc.new_stream), "a.arrows"), (gzip.compress(_parquet(_everything())), "a.parquet.gz")],
    ids=["parquet", "file", "stream", "packed"],
)  # fmt: skip
def test_typed_tables_come_exactly(data: bytes, name: str) -> None:
    found = parts(data, name)
    first, second, third = encoded(found)

    assert not rejects(found)
    assert {name: value for name, value in first.items() if name not in {"naive", "zoned", "far"}} == {
        "source_file": name, "source_row": 1, "id": 1, "underscore_hidden": 1, "amount": Decimal("1.10"),
        "big": 2**64 - 1, "day": "2024-01-31", "time": "12:30:00.250000", "kind": "x", "text": "a", "raw": "AAE=",
        "list": [1], "object": {"a": 1, "b": "x"}, "map": [["k", 1]], "money": [Decimal("1.50")],
        "ratio": Decimal("0.1"),
    }  # fmt: skip
    assert first["naive"].replace("T", " ").startswith("2024-01-31 12:30:00.25")
    assert first["zoned"].startswith("2024-01-31T12:30:00.25")
    assert first["zoned"].endswith(("Z", "+00:00"))
    assert third["amount"] == Decimal("99999999999999999.99")
    assert third["ratio"] == "NaN"
    assert set(second.values()) == {None, 2, "y", name}


_NS = 1_704_164_645_123_456_789
_MOMENTS = [
    (pa.time64("ns"), 1_234_567_891, "00:00:01.234567891"),
    (pa.time64("ns"), 1_000_000_000, "00:00:01"),
    (pa.duration("ns"), 5, "0:00:00.000000005"),
    (pa.duration("ns"), -86_400 * 10**9 - 1, "-2 days, 23:59:59.999999999"),
    (pa.duration("s"), 10**15, "1000000000000000 s"),
    (pa.list_(pa.timestamp("ns")), [_NS, None], ["2024-01-02T03:04:05.123456789", None]),
    (pa.large_list(pa.timestamp("ms", "Europe/Berlin")), [0], ["1970-01-01T00:00:00+00:00"]),
    (pa.list_(pa.date32()), [10**7, 0], ["29349-01-26", "1970-01-01"]),
    (pa.struct([("a", pa.duration("ns")), ("b", pa.int64())]), {"a": 1, "b": 2}, {"a": "0:00:00.000000001", "b": 2}),
    (pa.map_(pa.string(), pa.time64("ns")), [("k", 0), ("k", None)], [["k", "00:00:00"], ["k", None]]),
]
"""What pandas writes for spans, and what others do: kind, value, what comes."""


@pytest.mark.parametrize(("kind", "value", "comes"), _MOMENTS)
@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_times_that_python_has_no_word_for_cost_no_file(name: str, kind: pa.DataType, value: Any, comes: Any) -> None:
    data = pa.table({"id": ["1", "2"], "at": pa.array([value, None], kind)})
    written = _parquet(data) if name.endswith("parquet") else _arrow(data)

    found = encoded(parts(written, name, key=("id",)))

    assert found == [{"id": "1", "at": comes}, {"id": "2", "at": None}]


def test_parquet_goes_on_in_the_middle_of_a_row_group() -> None:
    data = _parquet(pa.table({"n": range(1000)}), row_group_size=300)
    whole = parts(data, "a.parquet", batch_rows=70)

    assert [r["n"] for r in rows(whole)] == list(range(1000))
    for stop in (0, 4, 5, len(whole) - 1):
        rest = parts(data, "a.parquet", whole[stop].place, batch_rows=70)
        assert rows(whole[: stop + 1]) + rows(rest) == rows(whole)


def test_parts_of_many_megabytes_come_whole() -> None:
    data = _parquet(pa.table({"n": range(300), "s": [f"{n:0100000d}" for n in range(300)]}))

    assert [r["n"] for r in rows(parts(data, "a.parquet", batch_bytes=64 << 20))] == list(range(300))


def test_broken_tables_are_rejects_and_what_stood_before_comes() -> None:
    good = _parquet(pa.table({"n": range(1000), "s": ["x" * 50] * 1000}), row_group_size=500, compression="none")
    hurt = bytearray(good)
    hurt[4:60] = b"\xff" * 56
    stream = _arrow(pa.table({"n": range(4)}), pa.ipc.new_stream)

    assert rejects(parts(good[:-9], "a.parquet")) == [("a.parquet", "broken_footer")]
    assert rejects(parts(b"PAR1" + bytes(50), "a.parquet")) == [("a.parquet", "broken_footer")]
    found = parts(bytes(hurt), "a.parquet")
    assert rejects(found) == [("a.parquet, row group 1", "broken_group")]
    assert [r["n"] for r in rows(found)] == list(range(500, 1000))
    assert rejects(parts(b"ARROW1\0\0" + bytes(90), "a.arrow")) == [("a.arrow", "broken_file")]
    found = parts(stream[: len(stream) * 3 // 4], "a.arrows")
    assert len(rows(found)) in (1, 2, 3)
    assert [code for _, code in rejects(found)] == ["broken_batch"]


def test_avro_comes_with_its_logical_types_and_resumes() -> None:
    schema = {
        "type": "record", "name": "R",
        "fields": [
            {"name": "a", "type": "int"}, {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "m", "type": {"type": "map", "values": "string"}}, {"name": "u", "type": ["null", "string"]},
            {"name": "b", "type": "bytes"},
        ],
    }  # fmt: skip
    at = dt.datetime(2024, 1, 31, tzinfo=dt.UTC)
    written = [{"a": n, "t": at, "d": Decimal("1.50"), "m": {"k": "v"}, "u": None, "b": b"\1"} for n in range(500)]
    held = io.BytesIO()
    fastavro.writer(held, schema, written, codec="deflate", sync_interval=500)
    whole = parts(held.getvalue(), "a.avro", batch_rows=90)

    assert [r["a"] for r in rows(whole)] == list(range(500))
    first = encoded(whole)[0]
    assert first.pop("t").startswith("2024-01-31T00:00:00")
    assert first == {
        "source_file": "a.avro", "source_row": 1, "a": 0, "d": Decimal("1.5"), "m": {"k": "v"}, "u": None, "b": "AQ==",
    }  # fmt: skip
    assert rows(whole)[0]["t"] == at
    assert rows(whole[:2]) + rows(parts(held.getvalue(), "a.avro", whole[1].place, batch_rows=90)) == rows(whole)
    found = parts(held.getvalue()[:-40], "a.avro", batch_rows=90)
    assert len(rows(found)) > 100
    assert [code for _, code in rejects(found)] == ["broken_block"]


def long(number: int) -> bytes:
    """As Avro writes it."""
    number, made = number << 1, b""
    while number > 0x7F:
        made, number = made + bytes([number & 0x7F | 0x80]), number >> 7
    return made + bytes([number])


def with_snappy(schema: dict[str, Any], written: list[Any]) -> bytes:
    """An Avro file of one block, as Spark writes it."""
    held = io.BytesIO()
    fastavro.writer(held, schema, written, codec="null")
    plain = held.getvalue().replace(b"avro.codec\x08null", b"avro.codec\x0csnappy")
    sync = plain[-16:]
    begins = plain.index(sync) + 16
    block = io.BytesIO()
    for record in written:
        fastavro.schemaless_writer(block, schema, record)
    data = block.getvalue()
    packed = pa.compress(data, codec="snappy", asbytes=True) + zlib.crc32(data).to_bytes(4, "big")
    return plain[:begins] + long(len(written)) + long(len(packed)) + packed + sync


def test_avro_packed_as_spark_packs_it_is_read_and_another_packing_is_named() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "s", "type": "string"}]}
    whole = with_snappy(schema, [{"a": n, "s": "x" * 50} for n in range(300)])
    hurt = whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:]

    assert [r["a"] for r in rows(parts(whole, "a.avro"))] == list(range(300))
    assert rejects(parts(hurt, "a.avro")) == [("a.avro, row 1", "broken_block")]
    other = whole.replace(b"avro.codec\x0csnappy", b"avro.codec\x06lz4")
    assert rejects(parts(other, "a.avro")) == [("a.avro", "unknown_compression")]


def test_avro_keeps_times_that_python_has_no_word_for() -> None:
    kinds = {"t": ("long", "timestamp-micros"), "l": ("long", "local-timestamp-millis"), "d": ("int", "date")}
    fields = [{"name": n, "type": {"type": kind, "logicalType": told}} for n, (kind, told) in kinds.items()]
    later = {"t": 253402300800000000, "l": 253402300800000, "d": 2932897}
    written = [{"t": 0, "l": 0, "d": 0}, later, {"t": 2**62, "l": 0, "d": 2**30}]
    held = io.BytesIO()
    fastavro.writer(held, {"type": "record", "name": "R", "fields": fields}, written)

    found = parts(held.getvalue(), "a.avro")

    assert rejects(found) == []
    assert [r["t"][:10] for r in encoded(found)[:2]] == ["1970-01-01", "10000-01-0"]
    assert encoded(found)[1]["l"].startswith("10000-01-01 00:00")
    assert [str(r["d"]) for r in encoded(found)] == ["1970-01-01", "10000-01-01", str(2**30)]
    assert str(encoded(found)[2]["t"]) == str(2**62)


def test_sheets_give_their_rows_and_stored_values() -> None:
    at = dt.datetime(2024, 1, 31, 10)  # noqa: DTZ001 - a spreadsheet knows no zones
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["id", "name", "when", "price", "sum"],
        [1, "x", at, 1.5, "=1+1"],
        [],
        [2, None, None, 2, None],
    ):
        sheet.append(row)
    more = book.create_sheet("More")
    more.append(["k"])
    more.append(["v"])
    held = io.BytesIO()
    book.save(held)
    found = parts(held.getvalue(), "b.xlsx")

    assert encoded(found)[2] == {"source_file": "b.xlsx#More", "source_row": 2, "k": "v"}
    assert [(r["source_row"], r["id"], r["name"], r["price"]) for r in rows(found[:1])] == [
        (2, 1, "x", "1.5"),
        (4, 2, None, "2"),
    ]
    assert rows(found[:1])[0]["when"] == at
    assert rows(found[:1])[0]["sum"] is None  # openpyxl stores no value with a formula, and none is computed
    assert rows(found[:1]) + rows(parts(held.getvalue(), "b.xlsx", found[0].place)) == rows(found)
    assert rejects(parts(held.getvalue()[:900], "b.xlsx")) == [("b.xlsx", "broken_file")]


def sheet_of(*rows: list[Any], far: str = "", epoch: Any = None) -> bytes:
    book, held = openpyxl.Workbook(), io.BytesIO()
    book.epoch = epoch or book.epoch
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    if far:
        sheet[far] = "far"
    book.save(held)
    return held.getvalue()


def test_a_sheet_with_a_cell_in_its_last_corner_is_read_cell_by_cell() -> None:
    data = sheet_of(["id", "n"], ["w", 2.5], [], ["x", None], far="XFD1048576")
    found = parts(data, "b.xlsx")

    assert rejects(found) == []
    assert [(r["source_row"], r["id"], r["n"], r["column_16384"]) for r in rows(found)] == [
        (2, "w", 2.5, None), (4, "x", None, None), (1048576, None, None, "far")
    ]  # fmt: skip
    assert [r["source_row"] for r in rows(parts(data, "b.xlsx", found[0].place))] == []
    assert rows(parts(sheet_of(far="XFD1048576"), "b.xlsx", header=False))[0]["column_16384"] == "far"


def edited(data: bytes, old: bytes, new: bytes) -> bytes:
    """A workbook whose first sheet says something else."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            if name.endswith("sheet1.xml"):
                assert old in part
                part = part.replace(old, new)
            target.writestr(name, part)
    return made.getvalue()


@pytest.mark.parametrize("told", [b"", b'<dimension ref="A1"/>'])
def test_a_sheet_that_does_not_tell_how_far_it_goes_is_measured(told: bytes) -> None:
    whole = sheet_of(["id", "v"], [1, 5], far="XFD1048576")

    found = parts(edited(whole, b'<dimension ref="A1:XFD1048576"/>', told), "t.xlsx", key=("id",))

    assert rejects(found) == []
    assert held(found) == [{"id": 1, "v": 5}, {"column_16384": "far"}]


def test_one_odd_cell_costs_no_sheet_and_a_damaged_sheet_is_told() -> None:
    whole = sheet_of(["id", "v"], [1, "#N/A"], [2, 5])

    odd = parts(edited(whole, b"#N/A", b"#SPILL!"), "t.xlsx", key=("id",))
    cut = parts(edited(whole, b"</sheetData>", b"</sheet"), "t.xlsx", key=("id",))

    assert rows(odd) == [{"id": 1, "v": None}, {"id": 2, "v": 5}]
    assert rejects(odd) == []
    assert [code for _, code in rejects(cut)] == ["broken_sheet"]


@pytest.mark.parametrize("epoch", [CALENDAR_WINDOWS_1900, CALENDAR_MAC_1904])
def test_cell_by_cell_a_sheet_gives_what_it_gives_at_once(monkeypatch: pytest.MonkeyPatch, epoch: Any) -> None:
    moments = (
        dt.datetime(2024, 2, 29, 10, 30, 15), dt.date(1999, 12, 31), dt.time(23, 59), dt.timedelta(hours=30),  # noqa: DTZ001
    )  # fmt: skip
    values = (*moments, 7, -1.5, 1e300, True, "text & <more>", "\u00fc", None, "=1/0", 123456789012345678)
    data = sheet_of(["a", "b"], *([n, value] for n, value in enumerate(values)), epoch=epoch)
    asked = asdict(Reading()) | {"format": "excel", "name": "b.xlsx", "place": None}

    def read() -> list[dict[str, Any]]:
        return rows(list(tables.rows_of(io.BytesIO(data), asked)))

    at_once = read()
    monkeypatch.setattr("bees.core.formats.sparse_sheets.DENSE", 0)

    assert len(at_once) == len(values)
    assert read() == at_once


def test_json_arrays_of_any_size_are_streamed() -> None:
    data = b"[" + b",".join(b'{"a":%d,"p":1.5}' % n for n in range(20_000)) + b"]"
    whole = parts(data, "a.json", format="json")

    assert [r["a"] for r in rows(whole)] == list(range(20_000))
    assert rows(whole[:2]) + rows(parts(data, "a.json", whole[1].place, format="json")) == rows(whole)
    assert [r["a"] for r in rows(parts(b'{"a":1}\n{"a":2}', "a.json", format="json"))] == [1, 2]
    found = parts(b'[{"a":1},5,{"a":2},{"a":', "a.json", format="json")
    assert [r["a"] for r in rows(found)] == [1, 2]
    assert rejects(found) == [("a.json, item 2", "not_object"), ("a.json, item 4", "not_json")]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress, "br": brotli.compress,
}  # fmt: skip


@pytest.mark.parametrize(
    "bad", ["NaN", '"a\nb"', '"\\x"', "01", "", "{'a': 1}", '{"a": 1 "b": 2}', "[1}{2]", '{"a": [}, {"]: 3}'],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 3, 19_999])
def test_an_item_that_is_no_json_costs_no_other(bad: str, at: int) -> None:
    """Unless its brackets do not match: nobody knows then where it ends."""
    items = [json.dumps({"a": n, "s": '[{,\\" \u00e9'}, ensure_ascii=False) for n in range(20_000)]
    items[at] = f'{{"a": {bad}}}'
    found = parts(f"[{','.join(items)}]".encode(), "a.json", format="json")

    told = [(f"a.json, item {at + 1}", "not_json")]
    alone = bad not in ("[1}{2]", '{"a": [}, {"]: 3}')
    assert [r["a"] for r in rows(found)] == [n for n in range(20_000) if n != at and (alone or n < at)]
    assert rejects(found) == told
    assert rows(parts("\n".join(items[:3]).encode(), "a.json", format="json")) == rows(
        parts(f"[{','.join(items[:3])}]".encode(), "a.json", format="json")
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "iso-8859-1"])
def test_json_in_another_encoding_is_read_and_broken_bytes_are_told(encoding: str) -> None:
    said = "" if encoding in ("utf-16", "utf-32", "utf-8-sig") else encoding
    data = json.dumps([{"a": n, "s": "Gr\u00fc\u00dfe"} for n in range(20_000)], ensure_ascii=False).encode(encoding)

    found = parts(data, "a.json", format="json", encoding=said)
    cut = parts(data[: len(data) // 2 + 1], "a.json", format="json", encoding=said)

    assert [(r["a"], r["s"]) for r in rows(found)] == [(n, "Gr\u00fc\u00dfe") for n in range(20_000)]
    assert rows(found)[: len(rows(cut))] == rows(cut)
    assert len(rows(cut)) > 9_000
    assert [code for _, code in rejects(cut)] == ["not_json"]


def test_a_text_without_end_in_a_json_array_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    from bees.core.formats import json_array

    monkeypatch.setattr(json_array, "_MOST_AHEAD", 1 << 20)
    data = b'[{"a": 1}, {"a": 2}, {"a": "' + b"x" * (3 << 20) + b'"}, {"a": 4}]'

    parts = list(read_rows(io.BytesIO(data), "a.json", Reading(format="json")))

    assert [row["a"] for part in parts for row in part.table.to_pylist()] == [1, 2]
    assert [(r.position, r.code) for part in parts for r in part.rejects] == [("a.json, item 3", "row_too_long")]


def test_an_array_is_read_alike_quickly_and_with_care() -> None:
    from bees.core.formats.json_array import JsonDocumentParts

    rng = random.Random(1)
    whole = json.dumps([{"a": n, "b": [1.5, {"c": None}], "d": "x\u0000\u00e9"} for n in range(6)]).encode()
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(rng.randrange(3)):
            data[rng.randrange(len(data))] = rng.choice(b'[]{},:"0x \\')
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        read = JsonDocumentParts(io.BytesIO(bytes(data)), "a.json", Reading())
        assert repr([item[:2] for item in read._items()]) == repr([item[:2] for item in read._careful()]), data


def with_odd_texts() -> pa.Table:
    """Rows of which the second and the fourth hold a text that is not UTF-8."""
    raw = pa.array([b"one", b"caf\xe9", b"three", b"four"])
    odd = pa.StringArray.from_buffers(4, *raw.buffers()[1:])
    fourth = odd.take(pa.array([0, 0, 0, 1]))
    columns = {
        "id": range(4),
        "s": odd,
        "d": odd.dictionary_encode(),
        "in": pa.StructArray.from_arrays([fourth], ["t"]),
    }
    columns |= {"l": pa.ListArray.from_arrays(range(5), fourth), "large": pa.array(raw.cast(pa.large_binary()))}
    columns["large"] = columns["large"].view(pa.large_string())
    return pa.table({name: pa.array(values) for name, values in columns.items()})


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.arrows"])
@pytest.mark.parametrize("key", [(), ("id",)])
def test_a_typed_row_with_a_text_that_is_none_is_set_aside(name: str, key: tuple[str, ...]) -> None:
    """Hive and Impala write whatever bytes they were given. Whoever reads such a value later falls over it."""
    held = io.BytesIO()
    if name == "t.parquet":
        pq.write_table(with_odd_texts(), held)
    else:
        schema = with_odd_texts().schema
        with pa.ipc.new_file(held, schema) if name == "t.arrow" else pa.ipc.new_stream(held, schema) as writer:
            writer.write_table(with_odd_texts())
            writer.write_table(with_odd_texts().take([0, 2]))

    found = parts(held.getvalue(), name, key=key)

    wanted = [(0, "one", "one", "one"), (2, "three", "three", "three")] * (1 if name == "t.parquet" else 2)
    assert [(row["id"], row["s"], row["d"], row["large"]) for row in rows(found)] == wanted
    assert rejects(found) == [(f"{name}:2", "not_utf8"), (f"{name}:4", "not_utf8")]
    if not key:
        assert [row["source_row"] for row in rows(found)] == [1, 3, 5, 6][: len(wanted)]


def test_pages_of_parquet_are_held_against_their_sums() -> None:
    """As Spark writes them: what a disk or a transfer made of a value is no value."""
    table, held = pa.table({"id": range(5000), "v": [f"value {n:06}" for n in range(5000)]}), io.BytesIO()
    how = {"compression": "none", "use_dictionary": False, "row_group_size": 2500}
    pq.write_table(table, held, write_page_checksum=True, **how)
    data = held.getvalue().replace(b"value 000042", b"value 900042")

    found = parts(data, "t.parquet")

    assert rejects(found) == [("t.parquet, row group 1", "broken_group")]
    assert [row["id"] for row in rows(found)] == list(range(2500, 5000))
    assert len(rows(parts(held.getvalue(), "t.parquet"))) == 5000


@pytest.mark.parametrize("name", ["t.arrow", "t.arrows"])
def test_a_batch_of_arrow_that_is_damaged_beside_its_texts_is_told(name: str) -> None:
    """An offset that leads out of the batch is no matter of an encoding, and nobody may read what it leads to."""
    raw = pa.array([b"one", b"caf\xe9", b"three", b"four"])
    offsets = pa.array([0, 3, 1 << 20, 12, 16], pa.int32()).buffers()[1]
    odd = pa.StringArray.from_buffers(4, offsets, raw.buffers()[2])
    table, held = pa.table({"s": odd}), io.BytesIO()
    with (pa.ipc.new_file if name == "t.arrow" else pa.ipc.new_stream)(held, table.schema) as writer:
        writer.write_table(table)

    assert (rows(parts(held.getvalue(), name)), rejects(parts(held.getvalue(), name))) == (
        [], [(f"{name}, batch 1", "broken_batch")],
    )  # fmt: skip


def respelled(book: bytes, part: str, old: str, new: str) -> bytes:
    """The spreadsheet with something else in one of its parts."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as before, zipfile.ZipFile(held, "w") as after:
        for name in before.namelist():
            text = before.read(name)
            assert name != part or old.encode() in text
            after.writestr(name, text.replace(old.encode(), new.encode()) if name == part else text)
    return held.getvalue()


@pytest.mark.parametrize("entity", ['SYSTEM "file:///etc/passwd"', '"aaaaaaaaaa"'])
def test_a_spreadsheet_that_declares_entities_is_told(entity: str) -> None:
    """The quick reader leaves out what they stand for: a cell would be empty, and its row perhaps gone."""
    book, held = openpyxl.Workbook(), io.BytesIO()
    for value in ("id", 7, 8):
        book.active.append([value])
    book.save(held)
    sheet, name = "xl/worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"
    declared = respelled(held.getvalue(), name, "<worksheet ", f"<!DOCTYPE x [<!ENTITY e {entity}>]><worksheet ")
    named = respelled(
        held.getvalue(), sheet, "<worksheet ", '<!DOCTYPE x PUBLIC "-//X//DTD X 1.0//EN" "x.dtd"><worksheet '
    )

    assert rejects(parts(respelled(declared, sheet, "<v>7</v>", "<v>&e;</v>"), "t.xlsx")) == [
        ("t.xlsx", "xml_entities")
    ]
    assert [row["id"] for row in rows(parts(named, "t.xlsx"))] == [7, 8]


def test_a_picture_that_declares_entities_is_no_part_that_is_read() -> None:
    """Illustrator declares namespaces so in each SVG, and spreadsheets hold pictures as they were."""
    book, held = openpyxl.Workbook(), io.BytesIO()
    for value in ("id", 7, 8):
        book.active.append([value])
    book.save(held)
    with zipfile.ZipFile(held, "a") as parts_of_it:
        declared = '<!DOCTYPE svg [<!ENTITY ns_svg "http://www.w3.org/2000/svg">]>'
        parts_of_it.writestr("xl/media/image1.svg", f'<?xml version="1.0"?>{declared}<svg xmlns="&ns_svg;"/>')

    found = parts(held.getvalue(), "t.xlsx")

    assert (rejects(found), [row["id"] for row in rows(found)]) == ([], [7, 8])


@pytest.mark.parametrize("at", [700, (1 << 20) - 7])
def test_a_spreadsheet_that_is_locked_and_damaged_is_told_as_locked(at: int) -> None:
    data = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(at, b"\0") + "EncryptedPackage".encode("utf-16-le").ljust(
        600, b"\0"
    )

    assert rejects(parts(data, "t.xlsx")) == [("t.xlsx", "password_protected")]
    assert rejects(parts(data[:at], "t.xlsx")) == [("t.xlsx", "broken_file")]


def test_a_spreadsheet_that_names_no_sheet_is_damaged() -> None:
    """The quick reader leaves out what it does not find: an empty table, which would delete what is known of it."""
    held, whole = io.BytesIO(), io.BytesIO()
    book = openpyxl.Workbook()
    book.active.append(["id"])
    book.save(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(held, "w") as new:
        for name in old.namelist():
            new.writestr(name.replace("workbook.xml", "lost.xml") if "_rels" not in name else name, old.read(name))

    assert rejects(parts(held.getvalue(), "t.xlsx")) == [("t.xlsx", "broken_file")]


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed_rows_come_and_a_broken_end_loses_only_itself(kind: str) -> None:
    rng = random.Random(1)
    raw = b"id,v\n" + b"".join(b"%d,%d\n" % (n, rng.getrandbits(60)) for n in range(60_000))
    packed = PACKERS[kind](raw)
    cut = parts(packed[: len(packed) * 2 // 3], f"f.csv.{kind}")

    assert len(rows(parts(packed, f"f.csv.{kind}"))) == 60_000
    assert rejects(cut) == [(f"f.csv.{kind}", "truncated")]
    assert rows(cut) == rows(parts(packed, f"f.csv.{kind}"))[: len(rows(cut))]


@pytest.mark.parametrize("kind", sorted({*PACKERS} - {"br"}))
def test_what_stands_behind_the_compressed_data_costs_none_of_it(kind: str) -> None:
    """Some tapes, mail systems and signing programs leave such bytes; gzip itself ignores them with a warning."""
    first, second = PACKERS[kind](b"id\n1\n"), PACKERS[kind](b"2")
    joined, name = first + bytes(300_000) + second + bytes(8), f"t.csv.{kind}"

    for data, told in ((joined, []), (joined + b"signature", [(name, "trailing_data")])):
        found = parts(data, name, key=("id",))
        assert (rows(found), rejects(found)) == ([{"id": "1"}, {"id": "2"}], told)


def test_zstandard_may_begin_with_a_frame_that_is_skipped() -> None:
    packed = [zstandard.compress(text) for text in (b"id\n1\n", b"2\n")]
    frame = b"\x5e\x2a\x4d\x18\x04\0\0\0seek"

    found = parts(frame + packed[0] + frame + packed[1] + frame, "t.csv.zst", key=("id",))

    assert (rows(found), rejects(found)) == ([{"id": "1"}, {"id": "2"}], [])


def test_bombs_and_nests_end_soon_with_little_memory() -> None:
    held = io.BytesIO()
    with gzip.GzipFile(fileobj=held, mode="w", compresslevel=9) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    nest = gzip.compress(gzip.compress(gzip.compress(b"a\n1\n")))

    assert rejects(parts(held.getvalue(), "bomb.csv.gz"))[-1] == ("bomb.csv.gz", "too_much_inside")
    assert rejects(parts(nest, "n.csv.gz.gz.gz")) == [("n.csv.gz.gz.gz", "nested_too_deep")]
    assert len(rows(parts(gzip.compress(b"a\n1\n") + gzip.compress(b"2\n") + bytes(100), "two.csv.gz"))) == 2


def test_files_without_rows_are_told() -> None:
    assert rejects(parts(b"\x89PNG" + bytes(90), "f.csv")) == [("f.csv", "not_text")]
    assert rejects(parts(b"hello", "f.bin")) == [("f.bin", "unknown_format")]
    assert parts(b"", "f.csv") == []


MAIL = b"Subject: Offer\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nTo: jane@example.com\r\n\r\nDear Jane\r\n"
FOLDED = b"Received: from a.example (a.example [192.0.2.1])\r\n\tby b.example; Mon, 1 Jan 2024\r\n"


@pytest.mark.parametrize("name", ["f.csv", "f.tsv", "f.jsonl", "f.csv.gz"])
@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
        b"\n%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        b"{\\rtf1\\ansi Dear Jane, thank you\\par}\n",
        b"From: jane@example.com\r\n" + MAIL,
        b"MIME-Version: 1.0\n" + MAIL.replace(b"\r", b""),
        FOLDED + MAIL,
    ],
)
def test_a_document_that_is_called_a_table_is_no_rows(data: bytes, name: str) -> None:
    found = parts(gzip.compress(data) if name.endswith(".gz") else data, name)

    assert (rows(found), rejects(found)) == ([], [(name, "not_text")])


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"From: ,To: ,Date: \na: 1,b: 2,c: 3\nd: 1,e: 2,f: 3\n", 2),
        (b"From: ;To: \nCc: a;b\nTo: c;d\n", 2),
        (b"From: \nSubject: a\nno field\nTo: c\n", 3),
        (b"From: \nSubject: a\n\nTo: c\n", 2),
        (b"Subject: \nFrom: a\nTo: b\n", 2),
        (b"text\n%PDF-1.4\n{\\rtf\n", 2),
    ],
)
def test_a_table_that_looks_like_a_message_is_one(data: bytes, number: int) -> None:
    found = parts(data, "f.csv")

    assert (len(rows(found)), rejects(found)) == (number, [])


def test_formats_are_known_by_content_and_then_by_name() -> None:
    assert format_of(b"PAR1....", "a.csv") == "parquet"
    assert format_of(b"Obj\x01", "a") == "avro"
    assert format_of(b"a,b", "a.csv.gz") == "csv"
    assert format_of(b"%PDF", "a.pdf") is None
    assert [rows_by_name(n) for n in ("a.CSV", "a.jsonl.gz", "a.json", "a.pdf", "a.xlsx")] == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_a_window_steps_back_as_far_as_it_promises() -> None:
    data = b"".join(b"line %d\n" % n for n in range(50_000))
    window = Window(io.BytesIO(data), kept=1000)
    plain = io.BytesIO(data)
    rng = random.Random(3)
    for _ in range(2000):
        size = rng.randrange(1, 300)
        assert window.readline(size) == plain.readline(size)
        assert window.read(size) == plain.read(size)
        assert window.tell() == plain.tell()
        back = max(0, window.tell() - rng.randrange(200))
        assert window.seek(back) == plain.seek(back)
    with pytest.raises(io.UnsupportedOperation):
        window.seek(0)
    assert window.seek(0, io.SEEK_END) == len(data)


def test_a_buffer_joins_parts_with_the_same_columns_only() -> None:
    buffer = TableBuffer(rows=3, size=1 << 20)
    one, other = Part(pa.table({"a": [1]}), {}), Part(pa.table({"b": [1]}), {}, (Reject("p", "c", "r"),))

    buffer.add(one)
    assert buffer.fits(one)
    assert not buffer.fits(other)
    buffer.add(one)
    assert not buffer.full()
    buffer.add(Part(pa.table({}), {}, (Reject("p", "c", "r"),)))
    assert buffer.full()
    assert (buffer.table().to_pylist(), len(buffer.rejects)) == ([{"a": 1}, {"a": 1}], 1)
    buffer.clear()
    assert (buffer.table().num_rows, buffer.rejects, buffer.full()) == (0, [], False)


def test_the_dialects_of_spreadsheets_and_old_macs_are_read() -> None:
    told = parts(b'"sep=|"\r\nid|a;b\r\n1|2,5;x\r\n', "f.csv")
    old = b"id,name\r" + b"".join(b'%d,"a ""b"" %d"\r' % (n, n) for n in range(5000))
    first = parts(old, "f.csv", batch_rows=2000)

    assert rows(told) == [{"id": "1", "a;b": "2,5;x", "source_file": "f.csv", "source_row": 3}]
    assert [int(r["id"]) for r in rows(first)] == list(range(5000))
    assert rows(first)[-1]["name"] == 'a "b" 4999'
    assert rows(parts(old, "f.csv", place=first[0].place))[0]["id"] == "2000"


def test_what_a_table_is_called_is_believed_less_than_what_it_holds() -> None:
    book = io.BytesIO()
    workbook = openpyxl.Workbook()
    workbook.active.append(["id"])
    workbook.active.append([7])
    workbook.save(book)

    for data, name in [
        (book.getvalue(), "f.csv"), (b"id,b\n7,8\n", "f.xlsx"), (b"id;b\n7;8\n", "f.parquet"),
        (b"id\tb\n7\t8\n", "f.xls"), (gzip.compress(b"id\n7\n"), "f.csv"),
        (b'{"id": 7}\n{"id": 7}\n', "f.csv"), (b'[\n{"id": 7},\n{"id": 7}]', "f.jsonl"),
    ]:  # fmt: skip
        assert {str(row["id"]) for row in rows(parts(data, name))} == {"7"}, name
    assert rejects(parts(b"no table at all", "f.parquet")) == [("f.parquet", "unknown_format")]
    assert rejects(parts(b'{"a":' + b"[" * 50_000 + b"\n", "f.csv")) == []


def test_tables_that_give_far_more_than_they_hold_are_told_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "SURE", 1 << 20)
    bomb, many = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/sheet1.xml", bytes(8 << 20))
    pq.write_table(pa.table({"a": [0] * 3_000_000}), many, data_page_size=1 << 30, max_rows_per_page=1 << 30)

    for file, kind in ((bomb, "excel"), (many, "parquet")):
        asked = asdict(Reading()) | {"name": "f", "format": kind, "place": None}
        (part,) = tables.rows_of(file, asked)
        assert [(reject.position, reject.code) for reject in part.rejects] == [("f", "too_much_inside")], kind
