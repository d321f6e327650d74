"""Records of a jar as PostgreSQL takes them by COPY in its binary format, without a Python object for each.

The format: https://www.postgresql.org/docs/18/sql-copy.html (Binary Format). Each field is its length (int32, big
endian; -1 for null) and its bytes, as the type's receive function reads them: numbers big endian, an instant in
microseconds since 2000, jsonb as a version byte and JSON text.
"""

from __future__ import annotations

import binascii
import datetime as dt
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hive.ledger.packed import ByteArrays, byte_arrays
from nectar import identity
from nectar.batch import FEW

if TYPE_CHECKING:
    from hive.jars.land import Place

COLUMNS = (
    "part", "jar", "bee", "stream", "epoch", "seq", "written_seq", "scrub_version", "collected_at", "flight",
    "key_hash", "content_hash", "row", "record_key", "data", "marks",
)  # fmt: skip
"""Of the rows that `rows` gives, in this order."""
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_END = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_JSONB = 1
"""Version of jsonb's format."""
_HASH = identity.BITS // 8
_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_AT_ONCE = 5_000
"""Rows that are handed over together: some megabytes."""
_WIDE = pa.large_binary()

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
"""Two dimensions: as many bytes for each of the rows."""


def rows(place: Place, frame: pl.DataFrame) -> Iterator[bytes | memoryview]:
    """What to write into `COPY ... (COLUMNS) FROM STDIN (FORMAT binary)`, in pieces.

    `frame` has the columns of `land.COLUMNS` but `deleted`: hashes as hex text; nulls only in `data` and `marks`.
    """
    yield _HEADER
    alike = _alike(place)
    for part in frame.iter_slices(_AT_ONCE):
        yield _lines(alike, part)
    yield _END


def _alike(place: Place) -> bytes:
    """How each row begins: the number of fields, and those that are the same for all."""
    instant = (dt.datetime.fromisoformat(place.collected_at) - _EPOCH) // dt.timedelta(microseconds=1)
    four = (place.part, place.jar, place.bee, place.stream, place.epoch)
    eight = (place.seq, place.seq, place.scrub_version, instant)
    fields = [struct.pack(">ii", 4, n) for n in four] + [struct.pack(">iq", 8, n) for n in eight]
    return struct.pack(">h", len(COLUMNS)) + b"".join(fields) + struct.pack(">i", 16) + place.flight.bytes


def _lines(alike: bytes, part: pl.DataFrame) -> memoryview:
    key, data, marks = (_text(part[name]) for name in ("record_key", "data", "marks"))
    hash_size, four = np.int32(_HASH), np.int32(4)
    fixed = _beside(
        len(part),
        hash_size, _hashes(part["key_hash"]), hash_size, _hashes(part["content_hash"]),
        four, part["row"].to_numpy(), _sizes(key),
    )  # fmt: skip
    joined = pc.binary_join_element_wise(
        pa.scalar(alike, _WIDE), fixed, key, *_json(data), *_json(marks), pa.scalar(b"", _WIDE)
    )
    return content(joined)


def hashes(column: pl.Series) -> ByteArrays:
    """Hashes that are written as hex text, none of them null: a list of Python's takes the server and us far longer."""
    if len(column) <= FEW:
        head = struct.pack(">i", _HASH)
        return byte_arrays(len(column), b"".join([head + bytes.fromhex(text) for text in column.to_list()]))
    size = np.broadcast_to(_big_endian(np.int32(_HASH)), (len(column), 4))
    return byte_arrays(len(column), np.concatenate([size, _hashes(column)], axis=1).tobytes())


def content(texts: pa.LargeBinaryArray | pa.LargeStringArray) -> memoryview:
    """The bytes of all of them, one behind the other, as they lie in memory."""
    offsets = np.frombuffer(texts.buffers()[1], np.int64)
    return memoryview(texts.buffers()[2])[offsets[texts.offset] : offsets[texts.offset + len(texts)]]


def _json(texts: pa.LargeBinaryArray) -> tuple[Any, ...]:
    """A field of jsonb, in pieces that stand one behind the other."""
    if texts.null_count == len(texts):
        return (pa.scalar(_NULL, _WIDE),)
    heads = _beside(len(texts), _sizes(texts) + 1, np.full((len(texts), 1), _JSONB, np.uint8))
    if texts.null_count:
        there = pc.is_valid(texts)
        heads = pc.if_else(there, heads, pa.scalar(_NULL, _WIDE))
        texts = pc.fill_null(texts, b"")
    return heads, texts


def _text(column: pl.Series) -> pa.LargeBinaryArray:
    return column.to_arrow().cast(pa.large_string()).cast(_WIDE)


def _sizes(texts: pa.LargeBinaryArray) -> Any:
    """Bytes of each (int32); of a null none."""
    return pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False).astype(np.int32)


def _hashes(column: pl.Series) -> Bytes:
    """Bytes of hashes that are written as hex text of one length."""
    text = _text(column)
    return np.frombuffer(binascii.unhexlify(content(text)), np.uint8).reshape(len(text), _HASH)


def _beside(count: int, *parts: Any) -> pa.LargeBinaryArray:
    """Fixed bytes of each row, one part behind the other: int32 values, one or for each row, or bytes."""
    pieces = [part if part.dtype == np.uint8 else _big_endian(part) for part in parts]
    joined = np.concatenate([np.broadcast_to(piece, (count, piece.shape[1])) for piece in pieces], axis=1)
    offsets = np.arange(count + 1, dtype=np.int64) * joined.shape[1]
    return pa.LargeBinaryArray.from_buffers(_WIDE, count, [None, pa.py_buffer(offsets), pa.py_buffer(joined)])


def _big_endian(numbers: Any) -> Bytes:
    return np.atleast_1d(numbers).astype(">i4").view(np.uint8).reshape(-1, 4)
