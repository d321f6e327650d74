"""Documents that all have the same fields in the same order, straight from BSON into Arrow: no Python object for each.

Every document is walked at once, a field at a time. Whatever does not fit (a field that is missing somewhere, nested
documents, two types in one field, far dates) gives None, and `values` reads the documents one by one; both make the
same columns of the same documents. BSON: https://bsonspec.org/spec.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bees.core.mongo.values import ID, ID_COLUMN, moment_text
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Places = NDArray[np.int64]

_DOUBLE, _STRING, _OBJECT_ID, _BOOL, _DATE, _NULL, _INT32, _INT64 = 0x01, 0x02, 0x07, 0x08, 0x09, 0x0A, 0x10, 0x12
_WIDTH = {_DOUBLE: 8, _OBJECT_ID: 12, _BOOL: 1, _DATE: 8, _INT32: 4, _INT64: 8}
_INTEGERS = {_INT32, _INT64}
_HEX = np.array([[*f"{n:02x}".encode()] for n in range(256)], np.uint8)
_FIRST_DAY, _LAST_DAY = -62_135_596_800_000, 253_402_300_799_999
"""Milliseconds of the years 1 to 9999."""
_FEW = 64
"""Documents below which this is not worth its while."""


def table(raw: bytes, *, plain_text_ids: bool = False) -> tuple[pa.Table, bytes] | None:
    """The documents in `raw` as a table, and the last one's bytes; None where they are not all alike."""
    starts = starts_of(raw)
    if len(starts) < _FEW:
        return None
    # Places are read past the end of a document that lies: the padding keeps them inside.
    data = np.frombuffer(raw + bytes(64), np.uint8)
    ids = _INTEGERS if plain_text_ids else {*_INTEGERS, _OBJECT_ID}  # others have forms of their own: see `values`
    ends = np.append(starts[1:], len(raw)) - 1
    at, columns = starts + 4, {}
    for name in _names(raw, int(starts[0])):
        header = np.frombuffer(name + b"\0", np.uint8)
        if int(at.max()) + 1 + len(header) > len(raw) or not _alike(data, at + 1, header):
            return None
        kinds = data[at]
        at = at + 1 + len(header)
        found = _column(data, kinds, at, len(raw))
        plain = name.decode("utf-8", "replace")
        if (
            found is None
            or plain in columns
            or "\ufffd" in plain
            or (name == b"_id" and not np.isin(kinds, list(ids)).all())
        ):
            return None
        columns[plain], at = found
    if not columns or not np.array_equal(at, ends) or data[at].any():
        return None
    named = {ID_COLUMN if name == ID else escape(name): array for name, array in columns.items()}
    return pa.table(named), raw[int(starts[-1]) :]


def starts_of(raw: bytes) -> Places:
    starts, at = [], 0
    while at < len(raw):
        starts.append(at)
        at += max(5, int.from_bytes(raw[at : at + 4], "little"))
    return np.array(starts, np.int64)


def _names(raw: bytes, start: int) -> Iterator[bytes]:
    """Names of the first document's fields, as long as their types are simple."""
    at = start + 4
    while at < len(raw) and raw[at]:
        end = raw.index(0, at + 1)
        yield raw[at + 1 : end]
        kind, at = raw[at], end + 1
        if kind == _STRING:
            at += 4 + int.from_bytes(raw[at : at + 4], "little")
        elif kind in _WIDTH:
            at += _WIDTH[kind]
        elif kind != _NULL:
            return


def values(data: Bytes, kind: int, at: Places, size: int) -> pa.Array | None:
    """Values of one simple type that begin at these places; None for what this does not know."""
    none = np.zeros(len(at), np.bool_)
    if kind == _STRING:
        found = _strings(data, none, at, size)
        return None if found is None else found[0]
    width = _WIDTH.get(kind)
    if width is None or int(at.max()) + width > size:
        return None
    return _fixed(kind, data[at[:, None] + np.arange(width)], none)


def _alike(data: Bytes, at: Places, wanted: Bytes) -> bool:
    return bool((data[at[:, None] + np.arange(len(wanted))] == wanted).all())


def _column(data: Bytes, kinds: Bytes, at: Places, size: int) -> tuple[pa.Array, Places] | None:
    """The field's values and the places behind them; None for what is not simple, or of several types."""
    null = kinds == _NULL
    real = np.unique(kinds[~null])
    if len(real) == 0:
        return pa.nulls(len(kinds), pa.string()), at
    if len(real) > 1 or (kind := int(real[0])) not in (*_WIDTH, _STRING):
        return None
    if kind == _STRING:
        return _strings(data, null, at, size)
    width = _WIDTH[kind]
    behind = at + np.where(null, 0, width)
    if int(behind.max()) > size:
        return None
    cells = data[at[:, None] + np.arange(width)]
    array = _fixed(kind, cells, null)
    return None if array is None else (array, behind)


def _fixed(kind: int, cells: Bytes, null: NDArray[np.bool_]) -> pa.Array | None:
    """Values of one width, a row of bytes each."""
    mask = null if null.any() else None
    if kind == _OBJECT_ID:
        if mask is not None:
            return None
        text = _HEX[cells].reshape(-1)
        offsets = np.arange(0, len(text) + 1, 24, dtype=np.int32)
        return pa.StringArray.from_buffers(len(cells), pa.py_buffer(offsets), pa.py_buffer(text))
    if kind == _BOOL:
        return None if cells[:, 0][~null].max() > 1 else pa.array(cells[:, 0] != 0, mask=mask)
    if kind == _DOUBLE:
        return pa.array(cells.view("<f8")[:, 0], mask=mask, from_pandas=False)
    if kind == _INT32:
        return pa.array(cells.view("<i4")[:, 0].astype(np.int64), mask=mask)
    whole = cells.view("<i8")[:, 0]
    if kind == _INT64:
        return pa.array(whole, mask=mask)
    days = np.where(null, 0, whole)
    if days.min() < _FIRST_DAY or days.max() > _LAST_DAY:
        return None
    return moment_text(pa.array(days.astype("datetime64[ms]"), mask=mask))


def _strings(data: Bytes, null: NDArray[np.bool_], at: Places, size: int) -> tuple[pa.Array, Places] | None:
    told = data[at[:, None] + np.arange(4)].view("<i4")[:, 0].astype(np.int64)
    lengths = np.where(null, 1, told) - 1  # the length counts the NUL behind the text
    behind = at + np.where(null, 0, 4 + told)
    if lengths.min() < 0 or int(behind.max()) > size or data[behind - 1][~null].any():
        return None
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    places = np.repeat(at + 4 - offsets[:-1], lengths)
    places += np.arange(len(places))
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data[places])]
    array = pa.Array.from_buffers(pa.string(), len(at), buffers)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return None  # a text that is no UTF-8: its document is set aside
    return (pc.if_else(pa.array(~null), array, None) if null.any() else array), behind
