"""JSON Lines by blocks: Arrow reads those whose values it gives exactly as they were written, the others go by rows.

The columns are learned from rows that were read exactly; then Arrow is told them, so that it guesses nothing. A block
goes by rows where Arrow might give something else than the source's own value: a line that is no single object, a field
that is new or changes its kind, a number of more than 15 digits or an integer among fractions, a missing member.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import re2

from bees.core.formats.part import Part, Place, Reading, sliced
from bees.core.tabular import PLACE, JsonRows, Lines
from bees.core.tabular import Place as At
from nectar.batch import Reject, mark_of, marked
from nectar.jsonrows import escape, table

BLOCK = 4 << 20
_FEW = 1 << 16
"""Bytes up to which rows one by one take no longer than a block."""
_SAMPLE = 500
_RESPELLED = rb"\\u00(?:3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9Aa])"
"""A letter or digit written as an escape, which nobody needs: a field's name may hide in it."""


@dataclass(frozen=True)
class _Learned:
    """What Arrow is told.

    doubtful  finds numbers of the fractional fields that are not told here how to handle: exponents, hidden names
    long      finds those of more than 15 digits, which a double may not hold
    integers  finds those without a fraction, by column; None where a member inside of an object has fractions
    """

    schema: pa.Schema
    doubtful: Any = None
    long: Any = None
    integers: Mapping[str, Any] = field(default_factory=dict)


class JsonParts:
    """The parts of one JSON Lines file, from a place on."""

    def __init__(self, file: BinaryIO, name: str, reading: Reading, *, offset: str = "offset") -> None:
        """`offset`: what a byte's number is called in places."""
        self._file = file
        self._name = name
        self._reading = reading
        self._offset = offset
        lines = Lines(file, reading.encoding)
        self._quick_encoding = lines.encoding == "utf-8"
        self._rows = JsonRows(lines, name, reading.key)
        self._learned: _Learned | None = None

    def parts(self, place: Place | None) -> Iterator[Part]:
        at = At(place[self._offset], place["line"]) if place else self._rows.place
        while True:
            self._file.seek(at.offset)
            block = self._file.read(BLOCK)
            if not block:
                return
            made = None
            if self._quick_encoding and len(block) > _FEW:
                if self._learned is None:
                    at, learning = yield from self._learn(at)
                    if learning:
                        continue
                    return
                made = self._quick(block, at)
            begun = at
            for part, after in made or self._slow(at, at.offset + len(block)):
                yield part
                at = after
            if at == begun:
                return

    def _learn(self, at: At) -> Generator[Part, None, tuple[At, bool]]:
        """A few rows, read exactly. Gives the place behind them, and whether there was anything."""
        last = at
        for part, after in self._slow(at, at.offset + _FEW, _SAMPLE):
            yield part
            last = after
        if self._learned is None:
            self._learned = _Learned(pa.schema([]))
        return last, last != at

    def _slow(self, at: At, end: int, most: int = 0) -> Iterator[tuple[Part, At]]:
        """Row by row, until a row ends at or after `end`, or `most` rows were read."""
        reader, limit = self._rows, self._reading.batch_rows
        reader.go_to(at)
        rows: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        begun = at
        for count, item in enumerate(reader.rows(), 1):
            if isinstance(item, Reject):
                rejects.append(item)
            else:
                rows.append(item)
            done = reader.place.offset >= end or count == most
            size = reader.place.offset - begun.offset
            if done or len(rows) + len(rejects) >= limit or size >= self._reading.batch_bytes:
                yield self._slow_part(rows, rejects, begun, reader.place), reader.place
                rows, rejects, begun = [], [], reader.place
            if done:
                return
        if reader.place != begun:
            yield self._slow_part(rows, rejects, begun, reader.place), reader.place

    def _slow_part(self, rows: list[dict[str, Any]], rejects: Sequence[Reject], begun: At, at: At) -> Part:
        made = table(rows)
        if rows:
            self._learned = _learned(rows, made, [] if self._reading.key else list(PLACE))
        return Part(made, self._place(at), tuple(rejects), at.offset - begun.offset)

    def _place(self, at: At) -> Place:
        return {self._offset: at.offset, "line": at.line}

    def _quick(self, block: bytes, at: At) -> Iterator[tuple[Part, At]] | None:
        learned = self._learned
        end = block.rfind(b"\n") + 1
        if not end or learned is None or not len(learned.schema):
            return None
        whole = block[:end]
        try:
            whole.decode()
            if learned.doubtful is not None and not _exact(whole, learned):
                return None
            read = _read(whole, learned.schema)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        if not _one_object_a_line(whole, read.num_rows) or not _certain(read):
            return None
        for name, finder in learned.integers.items():
            respelled = _with_integers(read[name], len(finder.findall(whole)))
            if respelled is None:
                return None
            if pa.types.is_string(respelled.type):
                at_column = read.column_names.index(name)
                read = read.set_column(at_column, marked(name, pa.string(), "number"), respelled)
        return self._pieces(read, whole, at)

    def _pieces(self, read: pa.Table, whole: bytes, at: At) -> Iterator[tuple[Part, At]] | None:
        kept = [name for name in read.column_names if read[name].null_count < len(read) or _names(name, whole)]
        made = read.select(kept).rename_columns([escape(name) for name in kept])
        key = [escape(name) for name in self._reading.key]
        if any(name not in made.column_names or made[name].null_count for name in key):
            return None
        if not key:
            numbers = pa.array(np.arange(at.line, at.line + read.num_rows), pa.int64())
            file = pa.DictionaryArray.from_arrays(np.zeros(read.num_rows, np.int8), [self._name]).cast(pa.string())
            made = made.add_column(0, PLACE[1], numbers).add_column(0, PLACE[0], file)
        return self._sized(made, whole, at)

    def _sized(self, made: pa.Table, whole: bytes, at: At) -> Iterator[tuple[Part, At]]:
        ends = np.flatnonzero(np.frombuffer(whole, np.uint8) == 10) + 1
        average = max(1, len(whole) // len(ends))
        step = max(1, min(self._reading.batch_rows, self._reading.batch_bytes // average))
        before, row = 0, 0
        for piece in sliced(made, step):
            row += piece.num_rows
            end = int(ends[row - 1])
            place = At(at.offset + end, at.line + row)
            yield Part(piece, self._place(place), (), end - before), place
            before = end


def _names(name: str, block: bytes) -> bool:
    """Whether a block has a field of this name, as far as a look at its bytes can tell."""
    return any(spelling in block for spelling in (f'"{name}"'.encode(), json.dumps(name).encode()))


def _read(data: bytes, schema: pa.Schema) -> pa.Table:
    return pj.read_json(
        pa.BufferReader(pa.py_buffer(data)),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 64),
        parse_options=pj.ParseOptions(
            explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior="error"
        ),
    )


def _one_object_a_line(data: bytes, rows: int) -> bool:
    """Whether so many objects, read from these lines, stood one on each: `}` newline `{` parts nothing but objects."""
    between = data.count(b"}\n{") + data.count(b"}\r\n{")
    whole = data.startswith(b"{") and data.rstrip(b"\r\n").endswith(b"}")
    return whole and data.count(b"\n") == rows == between + 1


def _certain(read: pa.Table) -> bool:
    """Whether nothing in what was read may have been something else in the source."""
    if not any(column.null_count < len(read) for column in read.columns):
        return False
    if read.num_rows and all(column.null_count for column in read.columns):
        held = [pc.is_valid(column) for column in read.columns]
        some = held[0]
        for more in held[1:]:
            some = pc.or_(some, more)
        if not pc.all(some).as_py():  # an object without fields is no row
            return False
    return all(_whole(chunk) for column in read.columns for chunk in column.chunks)


def _whole(array: pa.Array) -> bool:
    """Fractions are finite, and no member of an object is null: one that was missing would look the same."""
    if pa.types.is_floating(array.type):
        return bool(pc.all(pc.is_finite(array)).as_py() in (True, None))
    if pa.types.is_struct(array.type):
        members = array.flatten()
        nulls = array.null_count
        return all(m.null_count == nulls and _whole(m) for m in members)
    if pa.types.is_list(array.type):
        return _whole(array.flatten())
    return True


def _exact(data: bytes, learned: _Learned) -> bool:
    """Whether each fraction is what its double says."""
    if learned.doubtful.search(data):
        return False
    return all(
        repr(float(number)) == number or Decimal(repr(float(number))) == Decimal(number)
        for number in map(bytes.decode, learned.long.findall(data))
    )


def _with_integers(column: pa.ChunkedArray, integers: int) -> pa.ChunkedArray | None:
    """The column as it is without integers, as text in which they are written so; None where both were written `5`
    and `5.0`, so that nobody can tell which is which.
    """
    if not integers:
        return column
    whole = pc.equal(column, pc.floor(column))
    if pc.sum(whole).as_py() != integers or pc.max(pc.abs(column)).as_py() >= 2**53:
        return None
    plain = pc.cast(pc.cast(pc.if_else(whole, column, None), pa.int64()), pa.string())
    return pc.if_else(whole, plain, pc.cast(column, pa.string()))


def _learned(rows: Sequence[dict[str, Any]], made: pa.Table, own: list[str]) -> _Learned:
    """What Arrow can be told after these rows, under the names that the file uses; nothing where that is not enough."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    nothing = _Learned(pa.schema([]))
    if len(names) != len(made.schema) or names[: len(own)] != own or len(set(names)) != len(names):
        return nothing
    told: list[pa.Field] = []
    fractions: list[str] = []
    for name, column in list(zip(names, made.schema, strict=True))[len(own) :]:
        mark = mark_of(column)
        kind = pa.float64() if mark == "number" else column.type
        if mark == "json" or not _tellable(name, kind, fractions):
            return nothing
        told.append(pa.field(name, kind))
    if not fractions:
        return _Learned(pa.schema(told))
    outer = [column.name for column in told if pa.types.is_floating(column.type)]
    inner = sorted(set(fractions) - set(outer)) + sorted(name for name in outer if fractions.count(name) > 1)
    return _Learned(pa.schema(told), *_finders(fractions, inner), {name: _integers([name]) for name in outer})


def _tellable(name: str, kind: pa.DataType, fractions: list[str]) -> bool:
    """Whether Arrow can be told the type; names of fields with fractions are added to the list."""
    if pa.types.is_floating(kind):
        fractions.append(name)
        return True
    if pa.types.is_struct(kind):
        return all(_tellable(member.name, member.type, fractions) for member in kind)
    if pa.types.is_list(kind):
        return not _holds_fractions(kind) and _tellable(name, kind.value_type, fractions)
    return bool(pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind))


def _holds_fractions(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _holds_fractions(kind.value_type)
    return bool(pa.types.is_floating(kind))


def _finders(names: Sequence[str], inner: Sequence[str]) -> tuple[Any, Any]:
    """Finders of doubtful and of long numbers in fields with fractions. Integers of `inner` ones are doubtful too."""
    value = rb"(-?[0-9.]{17,})"
    doubtful = _value_of(names) + rb"-?[0-9.]+[eE]|" + _RESPELLED
    if inner:
        doubtful += rb"|" + _value_of(inner) + rb"-?[0-9]+[ \t]*[,}]"
    return _compiled(doubtful), _compiled(_value_of(names) + value)


def _integers(names: Sequence[str]) -> Any:
    return _compiled(_value_of(names) + rb"-?[0-9]+[ \t]*[,}]")


def _value_of(names: Sequence[str]) -> bytes:
    """The pattern of everything between a field's name and its value."""
    spelled = {re2.escape(spelling).encode() for name in names for spelling in (name, json.dumps(name)[1:-1])}
    return rb'"(?:' + rb"|".join(sorted(spelled)) + rb')"[ \t]*:[ \t]*'


def _compiled(pattern: bytes) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern, options=options)
