"""BSON documents with differing fields as Arrow, a field at a time for all of them at once.

Every document stands at its own next field. Those whose field has one name and one type take their step together: where
its value begins, and where the next field does. So a column is made of few pieces, and documents become Python objects
only for values that Arrow has no type for. What this does not know is left to the thorough way (values.py), whose
tables it gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bson
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bees.core.mongo import quick
from bees.core.mongo.values import CODEC, ID, ID_COLUMN, column, id_column
from nectar.jsonrows import escape

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

_FEWEST = 32
"""Documents from which on this is quicker."""
_MOST_CELLS = 4_000_000
_LONGEST = 64
"""Bytes of a field's name; a longer one is left to the thorough way."""
_SORTS = 64
"""Sorts of fields that documents stand at together."""
_STEPS = 256
"""Fields of a document."""
_DOUBLE, _STRING, _DOCUMENT, _ARRAY, _BINARY, _OBJECT_ID, _BOOL, _DATE, _NULL = 1, 2, 3, 4, 5, 7, 8, 9, 10
_INT32, _TIMESTAMP, _INT64, _DECIMAL = 16, 17, 18, 19
_FIXED = {
    _DOUBLE: 8, _OBJECT_ID: 12, _BOOL: 1, _DATE: 8, _NULL: 0, _INT32: 4, _TIMESTAMP: 8, _INT64: 8, _DECIMAL: 16
}  # fmt: skip
_MORE = {_STRING: 4, _DOCUMENT: 0, _ARRAY: 0, _BINARY: 5}
"""Types that begin with a length, and how much is to be added to it."""


class _Unknown(Exception):
    """Something that is left to the thorough way."""


@dataclass
class _Piece:
    """Values of one type: of which documents, where each begins, and how long it is."""

    kind: int
    documents: Places
    at: Places
    width: Places


@dataclass
class _Column:
    first: tuple[int, int]
    """The first document that has it, and its place there."""
    pieces: list[_Piece] = field(default_factory=list)


def table(raw: bytes, *, plain_text_ids: bool) -> tuple[pa.Table, bytes] | None:
    """(table, the last document's bytes), or None where the thorough way must be taken."""
    starts = quick.starts_of(raw)
    if len(starts) < _FEWEST:
        return None
    data = np.frombuffer(raw + bytes(_LONGEST + 8), np.uint8)
    try:
        columns = _walk(raw, data, starts)
        if len(columns) * len(starts) > _MOST_CELLS or b"_id" not in columns:
            return None
        fields, arrays = [], []
        for name, told in sorted(columns.items(), key=lambda one: one[1].first):
            made, array = _made(name.decode(), told, data, len(starts), len(raw), plain_text_ids=plain_text_ids)
            fields.append(made)
            arrays.append(array)
    except (_Unknown, UnicodeDecodeError, bson.errors.InvalidBSON):
        return None
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields)), raw[int(starts[-1]) :]


def _walk(raw: bytes, data: Bytes, starts: Places) -> dict[bytes, _Column]:
    """Each field by its name."""
    found: dict[bytes, _Column] = {}
    documents, at = np.arange(len(starts)), starts + 4
    ends = np.append(starts[1:], len(raw)) - 1
    for step in range(_STEPS):
        goes_on = data[at] != 0
        if not goes_on.all():
            if (at[~goes_on] != ends[documents[~goes_on]]).any():
                raise _Unknown
            documents, at = documents[goes_on], at[goes_on]
        if not len(documents):
            return found
        behind = np.empty_like(at)
        for kind, name, members in _alike(raw, data, at):
            values = at[members] + len(name) + 2
            width = _width(data, kind, values)
            behind[members] = values + width
            of = documents[members]
            known = found.setdefault(name, _Column((int(of[0]), step)))
            known.first = min(known.first, (int(of[0]), step))
            known.pieces.append(_Piece(kind, of, values, width))
        if (behind > ends[documents]).any():
            raise _Unknown
        at = behind
    raise _Unknown


def _alike(raw: bytes, data: Bytes, at: Places) -> Iterator[tuple[int, bytes, Places]]:
    """(type, name, which of `at`) for each sort of field that documents stand at, in the order of `at`."""
    heads = data[at[:, None] + np.arange(4)]  # the type and the beginning of the name
    heads[heads[:, 1] == 0, 2:] = 0
    heads[heads[:, 2] == 0, 3] = 0
    likely = heads.view(np.uint32)[:, 0]
    left = np.arange(len(at))
    for _ in range(_SORTS):
        first = int(at[left[0]])
        behind = raw.find(0, first + 1, first + _LONGEST)
        if behind < 0:
            raise _Unknown
        wanted = data[first : behind + 1]
        may = left[likely[left] == likely[left[0]]]
        is_one = (data[at[may][:, None] + np.arange(len(wanted))] == wanted).all(axis=1)
        yield int(wanted[0]), raw[first + 1 : behind], may[is_one]
        waits = np.ones(len(at), np.bool_)
        waits[may[is_one]] = False
        left = left[waits[left]]
        if not len(left):
            return
    raise _Unknown


def _width(data: Bytes, kind: int, at: Places) -> Places:
    if kind in _FIXED:
        return np.full(len(at), _FIXED[kind], np.int64)
    if kind not in _MORE:
        raise _Unknown
    if len(at) and int(at.max()) + 4 > len(data):
        raise _Unknown
    told = data[at[:, None] + np.arange(4)].view("<i4")[:, 0].astype(np.int64)
    if (told < 0).any():
        raise _Unknown
    width: Places = told + _MORE[kind]
    return width


def _made(
    name: str, told: _Column, data: Bytes, documents: int, size: int, *, plain_text_ids: bool
) -> tuple[pa.Field, pa.Array]:
    pieces = [piece for piece in told.pieces if piece.kind != _NULL]
    every = np.concatenate([piece.documents for piece in told.pieces])
    if int(np.bincount(every).max()) > 1:
        raise _Unknown  # a name twice in one document
    kinds = {piece.kind for piece in pieces}
    if name == ID:
        if len(every) < documents:
            raise _Unknown
        if kinds != {_OBJECT_ID} or plain_text_ids or len(told.pieces) > len(pieces):
            return id_column(_values(pieces, data, documents), plain_text_ids)
    shown = ID_COLUMN if name == ID else escape(name)
    array = _typed(pieces, kinds, data, documents, size)
    if array is not None:
        return pa.field(shown, array.type), array
    return column(shown, _values(pieces, data, documents))


def _typed(pieces: list[_Piece], kinds: set[int], data: Bytes, documents: int, size: int) -> pa.Array | None:
    """Values that Arrow has a type for; None for others."""
    if not kinds:
        return pa.nulls(documents, pa.string())
    plain = kinds <= {_INT32, _INT64} or (len(kinds) == 1 and kinds <= {_DOUBLE, _STRING, _OBJECT_ID, _BOOL, _DATE})
    if not plain:
        return None
    arrays = []
    for piece in pieces:
        array = quick.values(data, piece.kind, piece.at, size)
        if array is None:
            if piece.kind == _DATE:
                return None  # a date that Python does not have
            raise _Unknown
        arrays.append(array)
    whole = pa.concat_arrays(arrays) if len(arrays) > 1 else arrays[0]
    of = np.concatenate([piece.documents for piece in pieces])
    if len(of) == documents and (of[:-1] < of[1:]).all():
        return whole
    index = np.full(documents, -1, np.int64)
    index[of] = np.arange(len(of))
    return whole.take(pa.array(index, mask=index < 0))


def _values(pieces: list[_Piece], data: Bytes, documents: int) -> list[Any]:
    """The values as the driver decodes them; None where a document has none."""
    found: list[Any] = [None] * documents
    raw = data.tobytes()
    for piece in pieces:
        head = bytes((piece.kind,)) + b"v\0"
        for document, at, width in zip(piece.documents.tolist(), piece.at.tolist(), piece.width.tolist(), strict=True):
            size = (width + 8).to_bytes(4, "little")
            found[document] = bson.decode(size + head + raw[at : at + width] + b"\0", CODEC)["v"]
    return found
