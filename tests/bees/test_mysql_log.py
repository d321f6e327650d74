"""What the MySQL bee reads from bytes, without a server: rows on the wire, and what only MySQL 8 writes in its binlog.

MySQL's binary JSON, GTID sets and packed transactions are written here by the rules of its documentation: there is no
MySQL 8 beside the tests that could write them.
"""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.sql.mysql import binlog
from bees.core.sql.mysql.decimals import decimal_reader
from bees.core.sql.mysql.dump import Stand
from bees.core.sql.mysql.jsonb import json_text
from bees.core.sql.mysql.logged import Column, Unreadable, readers
from bees.core.sql.mysql.wire import _Packets

ONE, TWO = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "00000000-0000-0000-0000-0000000000ff"


# Rows on the wire


def lenenc(value: bytes | None) -> bytes:
    if value is None:
        return b"\xfb"
    size = len(value)
    if size < 0xFB:
        return bytes([size]) + value
    if size < 1 << 16:
        return b"\xfc" + struct.pack("<H", size) + value
    return b"\xfd" + struct.pack("<I", size)[:3] + value


class Trickle(io.BytesIO):
    """Gives what it holds in bites of one size."""

    def __init__(self, data: bytes, bite: int) -> None:
        super().__init__(data)
        self.bite = bite

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(self.bite if size is None or size < 0 else min(self.bite, size))


CELL = st.none() | st.binary(max_size=9) | st.sampled_from([b"\xfb" * 250, b"\xfe" * 251, b"x" * 70_000, b"\xff", b""])


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=20),
    bite=st.integers(1, 200_000),
    most_bytes=st.integers(16, 100_000),
    most_rows=st.integers(1, 20),
)
def test_rows_come_whole_however_their_bytes_arrive(
    rows: list[list[bytes | None]], bite: int, most_bytes: int, most_rows: int
) -> None:
    packets = [b"".join(lenenc(cell) for cell in row) for row in rows] + [b"\xfe\0\0\2\0"]
    sent = b"".join(struct.pack("<I", len(p))[:3] + bytes([n % 256]) + p for n, p in enumerate(packets))
    source = _Packets(Trickle(sent, max(bite, len(sent) // 500 + 1)), 1 << 18)
    found: list[Any] = []
    while not source.ended:
        piece = source.next_piece(3, most_bytes, most_rows)
        assert len(piece) <= most_rows
        if len(piece):
            found += zip(*(column.to_pylist() for column in piece.columns()), strict=True)

    assert [list(row) for row in found] == rows


def test_a_server_that_breaks_off_is_not_the_end_of_the_rows() -> None:
    source = _Packets(Trickle(b"\5\0\0\1\4abc", 3), 100)
    with pytest.raises(ConnectionError):
        source.next_piece(1, 1000, 1000)


def test_columns_of_no_rows_and_of_nulls_alone() -> None:
    source = _Packets(Trickle(b"\2\0\0\1\xfb\xfb\5\0\0\2\xfe\0\0\2\0", 100), 100)
    assert [c.to_pylist() for c in source.next_piece(2, 1000, 1000).columns()] == [[None], [None]]
    assert [c.type for c in source.next_piece(2, 1000, 1000).columns()] == [pa.binary(), pa.binary()]


# MySQL's binary JSON


def packed(value: Any, *, large: bool) -> tuple[int, bytes]:
    """(type, bytes) by https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html"""
    if isinstance(value, dict | list):
        return (0 if isinstance(value, dict) else 2) + large, container(value, large=large)
    if value is None or isinstance(value, bool):
        return 4, bytes([{None: 0, True: 1, False: 2}[value]])
    if isinstance(value, str):
        raw = value.encode()
        size, groups = len(raw), []
        while True:
            groups.append(size & 0x7F | (0x80 if size > 0x7F else 0))
            size >>= 7
            if not size:
                return 12, bytes(groups) + raw
    if isinstance(value, float):
        return 11, struct.pack("<d", value)
    for kind, layout, low, high in (
        (5, "<h", -(2**15), 2**15), (6, "<H", 0, 2**16), (7, "<i", -(2**31), 2**31), (8, "<I", 0, 2**32),
        (9, "<q", -(2**63), 2**63), (10, "<Q", 0, 2**64),
    ):  # fmt: skip
        if low <= value < high:
            return kind, struct.pack(layout, value)
    raise AssertionError


def container(value: Any, *, large: bool) -> bytes:
    number = "<I" if large else "<H"
    width = struct.calcsize(number)
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    names = [name.encode() for name, _ in items] if isinstance(value, dict) else []
    head = 2 * width + len(names) * (width + 2) + len(items) * (1 + width)
    keys, at = b"", head
    for name in names:
        keys += struct.pack(number, at) + struct.pack("<H", len(name))
        at += len(name)
    entries, body = b"", b"".join(names)
    for _, item in items:
        kind, raw = packed(item, large=large)
        if kind in (4, 5, 6) or (large and kind in (7, 8)):
            entries += bytes([kind]) + raw.ljust(width, b"\0")
        else:
            entries += bytes([kind]) + struct.pack(number, at)
            body += raw
            at += len(raw)
    return struct.pack(number, len(items)) + struct.pack(number, head + len(body)) + keys + entries + body


PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=200)
)  # fmt: skip
DOCUMENT = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@given(value=DOCUMENT, large=st.booleans())
def test_binary_json_is_the_document(value: Any, large: bool) -> None:
    kind, raw = packed(value, large=large)
    assert json.loads(json_text(bytes([kind]) + raw)) == value


@pytest.mark.parametrize(
    ("field", "raw", "text"),
    [
        (246, bytes([4, 2]) + bytes([0x80 | 12, 34]), "12.34"),
        (10, struct.pack("<q", ((2024 * 13 + 2) << 22 | 29 << 17) << 24), '"2024-02-29"'),
        (12, struct.pack("<q", ((2024 * 13 + 2) << 22 | 29 << 17 | 23 << 12 | 59 << 6 | 58) << 24 | 7),
         '"2024-02-29 23:59:58.000007"'),
        (11, struct.pack("<q", -((1 << 12 | 2 << 6 | 3) << 24)), '"-01:02:03.000000"'),
        (253, b"\0\xff", '"base64:type253:AP8="'),
    ],
)  # fmt: skip
def test_what_is_opaque_in_json_is_written_as_mysql_shows_it(field: int, raw: bytes, text: str) -> None:
    assert json_text(bytes([15, field, len(raw)]) + raw) == text


# GTID sets, and transactions that are packed


def test_a_gtid_set_is_merged_as_transactions_are_read() -> None:
    text = f"{ONE}:1-3:5,\n{TWO}:7"
    assert binlog.gtid_added(text, [(ONE, 4), (ONE, 6), (TWO, 9)]) == f"{TWO}:7:9,{ONE}:1-6"
    assert binlog.gtid_added("", [(ONE, 1), (ONE, 2)]) == f"{ONE}:1-2"
    stand = Stand("mysql", text, "binlog.1", 4).behind([(ONE, 4)], "binlog.2", 77)
    assert Stand.of(json.loads(json.dumps(stand.told()))) == stand
    assert (stand.gtid, stand.file, stand.at) == (f"{TWO}:7,{ONE}:1-5", "binlog.2", 77)


def test_a_gtid_set_is_asked_for_with_open_ends() -> None:
    raw = binlog.gtid_bytes(f"{ONE}:1-3:5")
    assert raw == struct.pack("<Q", 1) + bytes.fromhex(ONE.replace("-", "")) + struct.pack("<QQQQQ", 2, 1, 4, 5, 6)


def test_domains_of_mariadb_stand_side_by_side() -> None:
    stand = Stand("mariadb", "0-1-5,10-2-7", "f", 4).behind([(10, 3, 8), (2, 1, 1), (2, 1, 2)], "f", 9)
    assert stand.gtid == "0-1-5,2-1-2,10-3-8"


def event(kind: int, body: bytes, end: int = 100) -> bytes:
    return struct.pack("<IBIIIH", 0, kind, 1, 19 + len(body), end, 0) + body


@pytest.mark.parametrize("spare", [0x00, 0xF8])
@pytest.mark.parametrize(
    ("kind", "told", "whole"),
    [
        (30, [0b111], True),
        (32, [0b111], True),
        (31, [0b111, 0b111], True),
        (30, [0b101], False),
        (31, [7, 0b110], False),
    ],
)
def test_rows_are_whole_whatever_stands_in_the_spare_bits(
    kind: int, told: list[int], spare: int, *, whole: bool
) -> None:
    """Of the bits that say which of three columns are told MySQL sets the other five, MariaDB does not."""
    head = b"\x07" + bytes(5) + b"\1\0" + b"\2\0" + b"\3"
    row = bytes([spare]) + struct.pack("<iii", 1, 2, 3)
    rows = binlog.rows_of(binlog.event_of(b"\0" + event(kind, head + bytes(bits | spare for bits in told) + row)))
    assert (rows.width, rows.whole, rows.twice, rows.deleted) == (3, whole, kind == 31, kind == 32)
    assert rows.start == len(head) + len(told)


@pytest.mark.parametrize("method", [0, 255])
def test_a_packed_transaction_is_its_events(method: int) -> None:
    inner = event(binlog.QUERY, b"x" * 13 + b"\0BEGIN") + event(binlog.XID, b"12345678")
    body = zstandard.ZstdCompressor().compress(inner) if method == 0 else inner
    kinds = bytes([2, 1]) + (bytes([method]) if method < 251 else b"\xfc\xff\0")
    if method >= 251:
        kinds = bytes([2, 3, 0xFC, 0xFF, 0])
    payload = kinds + bytes([1, 1, len(body)]) + bytes([3, 1, len(inner)]) + b"\0" + body

    assert [e.kind for e in binlog.unpacked(payload)] == [binlog.QUERY, binlog.XID]


def test_the_gtid_of_a_transaction_is_read() -> None:
    assert binlog.mysql_gtid(b"\1" + bytes.fromhex(ONE.replace("-", "")) + struct.pack("<q", 42)) == (ONE, 42)


# Values


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=7, min_value=-(10**11), max_value=10**11))
def test_decimals_are_read_as_they_were_stored(value: Any) -> None:
    """decimal(20,7): 13 digits before the point in 2 + 4 bytes (4 and 9 digits), 7 behind it in 4."""
    whole, _, part = f"{abs(value):021.7f}".partition(".")
    raw = b"".join(int(text).to_bytes(size, "big") for text, size in ((whole[:4], 2), (whole[4:], 4), (part, 4)))
    if value < 0:
        raw = bytes(b ^ 0xFF for b in raw)
    raw = bytes([raw[0] ^ 0x80]) + raw[1:]
    read = decimal_reader(20, 7)(raw, 0)[0].decode()

    assert (float(read), len(read.partition(".")[2])) == (float(value), 7)


def test_a_column_that_the_log_does_not_tell_is_named() -> None:
    table = binlog.Table(1, "s", "t", bytes([140]), (1,), ())
    with pytest.raises(Unreadable, match="'packed'"):
        readers(table, [Column("packed", "text", "text /*!100301 COMPRESSED*/", "utf8mb4")])


@pytest.mark.parametrize("charset", ["swe7", "geostd8"])
def test_a_character_set_without_a_codec_is_named(charset: str) -> None:
    table = binlog.Table(1, "s", "t", bytes([15]), (20,), ())
    with pytest.raises(Unreadable, match=charset):
        readers(table, [Column("c", "varchar", "varchar(20)", charset)])
