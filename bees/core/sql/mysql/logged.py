"""Values of rows in the binlog, as the text that the server would write of them: what is read in either way is equal.

Layouts are those of the storage engines' interface: numbers little-endian, moments and decimals big-endian with the
sign turned over, texts with their length before them. A value that cannot be told is marked `Undecoded`, never guessed.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.sql.mysql.decimals import decimal_reader
from bees.core.sql.mysql.jsonb import json_text
from bees.core.sql.mysql.wkb import wkt

if TYPE_CHECKING:
    from bees.core.sql.mysql.binlog import Rows, Table

Read = Callable[[bytes, int], tuple[bytes, int]]
"""From bytes and a place: the value's text, and the place behind it."""

_WORDS = re.compile(r"'((?:[^']|'')*)'")
_ESCAPED = re.compile(r"\\([\\nr0])|''")
_MEANT = {"n": "\n", "r": "\r", "0": "\0"}
_CODECS = {
    "ucs2": "utf_16_be", "utf16": "utf_16_be", "utf32": "utf_32_be", "utf16le": "utf_16_le", "euckr": "cp949",
}  # fmt: skip
_OTHERWISE = {
    "cp866": {0x2116: 0x207F, 0xA4: 0xB2}, "koi8u": {0x2219: 0x2022}, "hebrew": {0xAF: 0x203E},
    "greek": {0x2018: 0x2BD, 0x2019: 0x2BC}, "sjis": {0xFF3C: 0x5C}, "ujis": {0xFF3C: 0x5C},
}  # fmt: skip
"""Characters that Python's codec gives where the server's character set has other ones."""
_INTEGERS = {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}
_ENUM, _SET, _STRING = 247, 248, 254


class Unreadable(Exception):
    """A column whose values cannot be told from the log; the message says why."""


class Undecoded(bytes):
    """The bytes of a value as they stand in the log, where they stand for nothing in its type or character set."""


@dataclass(frozen=True)
class Column:
    """What the catalog says of a column: DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, and whether it is checked JSON."""

    name: str
    word: str
    type_name: str
    charset: str | None = None
    document: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The words of an enum or a set."""
        if self.word not in ("enum", "set"):
            return ()
        return tuple(_ESCAPED.sub(_meant, word) for word in _WORDS.findall(self.type_name))

    @property
    def length(self) -> int:
        """The bytes of a binary that is always as long; the log leaves out zeros at its end."""
        if self.word == "binary":
            return int(self.type_name.partition("(")[2].rstrip(")") or 1)
        return {"uuid": 16, "inet6": 16, "inet4": 4}.get(self.word, 0)


def _meant(escaped: re.Match[str]) -> str:
    """What the catalog wrote with a backslash, or as two quotes; every other character stands for itself there."""
    return _MEANT.get(escaped[1], escaped[1]) if escaped[1] else "'"


def readers(table: Table, columns: Sequence[Column]) -> list[Read]:
    """How each column of the table is read. Raises Unreadable, with the column's name."""
    return [_reader(kind, meta, c) for kind, meta, c in zip(table.types, table.meta, columns, strict=True)]


def images(body: bytes, rows: Rows, reads: Sequence[Read]) -> list[list[bytes | None]]:
    """The rows of an event, each a list of texts; of an update the row before and after, by turns."""
    found = []
    place, size = rows.start, (rows.width + 7) // 8
    end = len(body)
    while place < end:
        nulls = int.from_bytes(body[place : place + size], "little")
        place += size
        row: list[bytes | None] = []
        for number, read in enumerate(reads):
            if nulls >> number & 1:
                row.append(None)
            else:
                value, place = read(body, place)
                row.append(value)
        found.append(row)
    return found


def _reader(kind: int, meta: int, column: Column) -> Read:
    if kind == _STRING:
        kind, meta = _fixed(meta)
    if kind in _INTEGERS:
        return _integer(_INTEGERS[kind], signed=" unsigned" not in column.type_name.lower())
    if kind in (4, 5):
        return _floating("<f" if kind == 4 else "<d")
    if kind == 246:
        return decimal_reader(meta >> 8, meta & 0xFF)
    if kind in (10, 14):
        return _date
    if kind in (17, 18, 19):
        return {17: _timestamp, 18: _datetime, 19: _time}[kind](meta)
    if kind in (7, 11, 12) and "(" not in column.type_name:
        return {7: _old_timestamp, 11: _old_time, 12: _old_datetime}[kind]
    if kind == 13:
        return lambda raw, at: (b"%d" % (raw[at] + 1900 if raw[at] else 0), at + 1)
    if kind == 16:
        size = (meta >> 8) + (1 if meta & 0xFF else 0)
        return lambda raw, at: (b"%d" % int.from_bytes(raw[at : at + size], "big"), at + size)
    if kind in (_ENUM, _SET):
        return _chosen(meta, column, several=kind == _SET)
    if kind == 245:
        return _with(_counted(meta), lambda raw: json_text(raw).encode())
    if kind == 255:
        return _with(_counted(meta), lambda raw: wkt(raw).encode())
    if kind in (15, 253, _STRING):
        return _of_text(_counted(2 if meta > 255 else 1), column)
    if kind in (242, 249, 250, 251, 252):
        return _of_text(_counted(meta), column)
    raise Unreadable(f"the column {column.name!r} of the type {column.type_name} is not told by the binlog")


def _fixed(meta: int) -> tuple[int, int]:
    """(type, length) of what the log calls a fixed string: two bits of a length of up to 1023 hide in the type."""
    first, second = meta >> 8, meta & 0xFF
    if first & 0x30 != 0x30:
        return first | 0x30, second | ((first & 0x30) ^ 0x30) << 4
    return first, second


def _of_text(read: Read, column: Column) -> Read:
    turn = _text(column)
    return read if turn is None else _with(read, turn)


def _with(read: Read, turn: Callable[[bytes], bytes]) -> Read:
    def turned(raw: bytes, at: int) -> tuple[bytes, int]:
        value, end = read(raw, at)
        try:
            return turn(value), end
        except (ValueError, LookupError, struct.error):
            return Undecoded(value), end

    return turned


def _counted(size: int) -> Read:
    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        start = at + size
        end = start + int.from_bytes(raw[at:start], "little")
        return raw[start:end], end

    return read


def _integer(size: int, *, signed: bool) -> Read:
    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        return b"%d" % int.from_bytes(raw[at:end], "little", signed=signed), end

    return read


def _floating(layout: str) -> Read:
    one = struct.Struct(layout)
    # A full read tells zero without a sign, as MariaDB itself does.
    return lambda raw, at: (repr(one.unpack_from(raw, at)[0] + 0.0).encode(), at + one.size)


def _date(raw: bytes, at: int) -> tuple[bytes, int]:
    value = int.from_bytes(raw[at : at + 3], "little")
    return b"%04d-%02d-%02d" % (value >> 9, value >> 5 & 15, value & 31), at + 3


def _parts(digits: int) -> tuple[int, Callable[[int], bytes]]:
    """(bytes of a fraction of a second, its text)."""
    size = (digits + 1) // 2
    return size, lambda value: (b"." + b"%0*d" % (2 * size, value))[: digits + 1] if digits else b""


def _timestamp(digits: int) -> Read:
    import datetime as dt

    size, fraction = _parts(digits)
    start = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - told in UTC

    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        seconds = int.from_bytes(raw[at : at + 4], "big")
        end = at + 4 + size
        part = fraction(int.from_bytes(raw[at + 4 : end], "big"))
        if not seconds:
            return b"0000-00-00 00:00:00" + part, end
        moment = start + dt.timedelta(seconds=seconds)
        return moment.isoformat(" ").encode() + part, end

    return read


def _datetime(digits: int) -> Read:
    size, fraction = _parts(digits)

    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        value = int.from_bytes(raw[at : at + 5], "big") - (1 << 39)
        end = at + 5 + size
        month = value >> 22
        told = (month // 13, month % 13, value >> 17 & 31, value >> 12 & 31, value >> 6 & 63, value & 63)
        return b"%04d-%02d-%02d %02d:%02d:%02d" % told + fraction(int.from_bytes(raw[at + 5 : end], "big")), end

    return read


def _time(digits: int) -> Read:
    size, fraction = _parts(digits)
    middle = 1 << (8 * (3 + size) - 1)

    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        end = at + 3 + size
        value = int.from_bytes(raw[at:end], "big") - middle
        sign, value = (b"-", -value) if value < 0 else (b"", value)
        whole, part = value >> 8 * size, value & (1 << 8 * size) - 1
        told = (whole >> 12 & 1023, whole >> 6 & 63, whole & 63)
        return sign + b"%02d:%02d:%02d" % told + fraction(part), end

    return read


def _old_timestamp(raw: bytes, at: int) -> tuple[bytes, int]:
    return _timestamp(0)(raw[at : at + 4][::-1], 0)[0], at + 4


def _old_time(raw: bytes, at: int) -> tuple[bytes, int]:
    value = int.from_bytes(raw[at : at + 3], "little", signed=True)
    sign, value = (b"-", -value) if value < 0 else (b"", value)
    return sign + b"%02d:%02d:%02d" % (value // 10000, value // 100 % 100, value % 100), at + 3


def _old_datetime(raw: bytes, at: int) -> tuple[bytes, int]:
    told = f"{int.from_bytes(raw[at : at + 8], 'little'):014d}"
    return f"{told[:4]}-{told[4:6]}-{told[6:8]} {told[8:10]}:{told[10:12]}:{told[12:]}".encode(), at + 8


def _chosen(size: int, column: Column, *, several: bool) -> Read:
    words = column.words
    if not words:
        raise Unreadable(f"the words of the column {column.name!r} are not known")

    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        stored = raw[at : at + size]
        value = int.from_bytes(stored, "little")
        if value >> len(words) if several else value > len(words):
            return Undecoded(stored), at + size
        if several:
            told = ",".join(word for place, word in enumerate(words) if value >> place & 1)
        else:
            told = words[value - 1] if value else ""
        return told.encode(), at + size

    return read


def _text(column: Column) -> Callable[[bytes], bytes] | None:
    """From the column's own character set to UTF-8; None: it is that.

    Bytes in UTF-8 stay as they are: `reading.table_of` sets those aside that are no text.
    """
    if column.word in ("inet6", "inet4"):
        return lambda raw: _address(raw.ljust(column.length, b"\0"))
    if column.word == "uuid":
        return _uuid
    if column.length:
        return lambda raw: raw.ljust(column.length, b"\0")
    if column.charset in (None, "binary", "utf8", "utf8mb3", "utf8mb4", "ascii"):
        return None
    from pymysql.charset import charset_by_name

    charset = column.charset or ""
    codec = _CODECS.get(charset)
    if codec is None:
        known = charset_by_name(charset)
        codec = known.encoding if known else None
    try:
        "".encode(codec or "none")
    except LookupError:
        raise Unreadable(f"the column {column.name!r} has the character set {charset}, not known here") from None
    return lambda raw: _decoded(raw, codec or "", charset).encode()


def _decoded(raw: bytes, codec: str, charset: str) -> str:
    """A text of the server's. Raises ValueError: its character set has no character for some of the bytes."""
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        if codec == "cp1252":
            # MySQL's latin1 gives a character to each byte, also to the five that Windows leaves out.
            return "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in raw)
        if codec == "big5":
            return _eten(raw)
        raise
    return text.translate(_OTHERWISE[charset]) if charset in _OTHERWISE else text


def _eten(raw: bytes) -> str:
    """A text in Big5 with some of the seven characters that the server has and Python's codec has not."""
    parts, place = [], 0
    while place < len(raw):
        part = raw[place : place + (1 if raw[place] < 0x80 else 2)]
        parts.append(part.decode("cp950" if b"\xf9\xd6" <= part <= b"\xf9\xdc" else "big5"))
        place += len(part)
    return "".join(parts)


def _address(raw: bytes) -> bytes:
    """As the server writes it: a single zero is left out too, and what may be an address of IPv4 ends like one."""
    if len(raw) == 4:
        return str(ipaddress.IPv4Address(raw)).encode()
    words = struct.unpack(">8H", raw)
    start, size = _gap(words)
    if start == 0 and (size == 6 or (size == 5 and words[5] == 0xFFFF)):
        return f"::{'ffff:' if size == 5 else ''}{ipaddress.IPv4Address(raw[12:])}".encode()
    told = [f"{word:x}" for word in words]
    if not size:
        return ":".join(told).encode()
    return f"{':'.join(told[:start])}::{':'.join(told[start + size :])}".encode()


def _gap(words: Sequence[int]) -> tuple[int, int]:
    """(start, length) of the longest run of zeros, of several the first; of length 0: there is none."""
    found, start = (0, 0), 0
    for place, word in enumerate(words):
        if word:
            start = place + 1
        elif place + 1 - start > found[1]:
            found = start, place + 1 - start
    return found


def _uuid(raw: bytes) -> bytes:
    told = raw.ljust(16, b"\0").hex()
    return "-".join((told[:8], told[8:12], told[12:16], told[16:20], told[20:])).encode()
