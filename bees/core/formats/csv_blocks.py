"""CSV by blocks: Arrow reads those in which nothing is doubtful, the strict reader of single rows the others.

A block is not doubtful where Arrow and Python's strict `csv` must agree: every quote opens at the beginning of a field
and closes at its end or doubles, every carriage return stands before a newline, the bytes are the encoding's. What is
wrong is thus told row by row, and what is right is read a hundred times quicker.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from bees.core.formats.part import Part, Place, Reading
from bees.core.tabular import BLANKS, MAX_RAW, PLACE, CsvRows, Lines, text_table
from bees.core.tabular import Place as At
from nectar.batch import Reject

BLOCK = 4 << 20
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'
_MARKED = b"\n" + codecs.BOM_UTF8
_FEW = 1 << 14
"""Bytes up to which rows one by one take no longer than a block."""
_SINGLE = {
    "ascii", "iso8859-1", "iso8859-15", "iso8859-2", "iso8859-5", "koi8-r", "mac-roman", "cp850", "cp866", "cp874",
    *(f"cp{number}" for number in range(1250, 1258)),
}  # fmt: skip
"""Encodings of one byte a character, in which quotes, delimiters and line ends are those of ASCII."""


@dataclass(frozen=True)
class _Cut:
    """Whole rows at the beginning of a block: where each ends (its newline's end) and on which line it begins."""

    ends: np.ndarray
    lines: np.ndarray
    next_line: int
    wraps: bool
    """Whether a value holds a line end."""


class CsvParts:
    """The parts of one CSV file, from a place on."""

    def __init__(self, file: BinaryIO, name: str, reading: Reading, *, offset: str = "offset") -> None:
        """`offset`: what a byte's number is called in places."""
        self._file = file
        self._name = name
        self._reading = reading
        self._offset = offset
        lines = Lines(file, reading.encoding)
        self._codec = codecs.lookup(lines.encoding).name
        rows = CsvRows(lines, name, reading.key, header=reading.header, delimiter=reading.delimiter)
        self._rows = rows
        self._placed = not reading.key
        self._delimiter = rows.delimiter.encode()
        known = self._codec == "utf-8" or self._codec in _SINGLE
        self._fast = known and len(self._delimiter) == 1 and bool(rows.columns) and not rows.skips_blanks

    def parts(self, place: Place | None) -> Iterator[Part]:
        rows = self._rows
        if rows.refusal or not rows.columns:
            rejects = (rows.refusal,) if rows.refusal else ()
            yield Part(pa.table({}), self._place(rows.place), rejects, whole=not rejects)
            return
        at = At(place[self._offset], place["line"]) if place else rows.place
        while True:
            self._file.seek(at.offset)
            block = self._file.read(BLOCK)
            if not block:
                return
            made = self._quick(block, at) if self._fast and len(block) > _FEW else None
            if made is None:
                made = self._slow(at, at.offset + len(block))
            begun = at
            for part, after in made:
                yield part
                at = after
            if at == begun:
                return

    def _place(self, at: At) -> Place:
        return {self._offset: at.offset, "line": at.line}

    def _slow(self, at: At, end: int) -> Iterator[tuple[Part, At]]:
        """Row by row, until a row ends at or after `end`."""
        reader = self._rows
        reader.go_to(at)
        rows: list[list[object]] = []
        rejects: list[Reject] = []
        begun = at
        for item in reader.rows():
            if isinstance(item, Reject):
                rejects.append(item)
            else:
                rows.append(item)
            done = reader.place.offset >= end
            size = reader.place.offset - begun.offset
            if done or len(rows) + len(rejects) >= self._reading.batch_rows or size >= self._reading.batch_bytes:
                yield self._slow_part(rows, rejects, begun, reader.place), reader.place
                rows, rejects, begun = [], [], reader.place
            if done:
                return
        if reader.place != begun:
            yield self._slow_part(rows, rejects, begun, reader.place), reader.place

    def _slow_part(self, rows: list[list[object]], rejects: list[Reject], begun: At, at: At) -> Part:
        table = text_table(self._rows.columns, rows)
        return Part(table, self._place(at), tuple(rejects), at.offset - begun.offset)

    def _quick(self, block: bytes, at: At) -> Iterator[tuple[Part, At]] | None:
        cut = _cut(block, self._delimiter[0], at.line)
        marked = self._codec == "utf-8" and (block.startswith(codecs.BOM_UTF8) or _MARKED in block)
        if cut is None or marked:
            return None
        whole = memoryview(block)[: int(cut.ends[-1])]
        ragged: list[tuple[int, int]] = []
        try:
            text = str(whole, self._codec)
            read = self._read(whole if self._codec == "utf-8" else text.encode(), cut, ragged)
        except (pa.ArrowInvalid, UnicodeError):
            return None
        data = np.frombuffer(block, np.uint8)
        starts = np.concatenate(([0], cut.ends[:-1]))
        lengths = cut.ends - starts
        empty = (lengths == 1) & (data[starts] == _NEWLINE) | (lengths == 2) & (data[starts] == _RETURN)
        held = np.flatnonzero(~empty)
        if read.num_rows + len(ragged) != len(held) or any(not 0 < number <= len(held) for number, _ in ragged):
            return None
        bad = held[[number - 1 for number, _ in ragged]] if ragged else np.empty(0, int)
        rejects = [
            (int(row), self._ragged(block[starts[row] : cut.ends[row]], int(cut.lines[row]), width))
            for row, (_, width) in zip(bad, ragged, strict=True)
        ]
        good = np.setdiff1d(held, bad, assume_unique=True) if ragged else held
        if (blank := self._blank(read, self._rows.key_at)).any():
            told = good[blank & ~self._blank(read, range(read.num_columns))]
            rejects += [
                (int(row), self._keyless(block[starts[row] : cut.ends[row]], int(cut.lines[row]))) for row in told
            ]
            rejects.sort(key=lambda item: item[0])
            read, good = read.filter(~blank), good[~blank]
        return self._pieces(read, cut, good, rejects, at)

    @staticmethod
    def _blank(read: pa.Table, columns: Sequence[int]) -> np.ndarray:
        """In which rows all of these columns are blank; in none where there are no such columns."""
        found = np.full(read.num_rows, bool(columns))
        for column in columns:
            found &= pc.equal(pc.utf8_trim(read.column(column), BLANKS), "").to_numpy()
        return found

    def _keyless(self, raw: bytes, line: int) -> Reject:
        return Reject(f"{self._name}:{line}", "no_key", self._rows.keyless, raw[:MAX_RAW])

    def _read(self, data: memoryview | bytes, cut: _Cut, ragged: list[tuple[int, int]]) -> pa.Table:
        """The rows as text. Into `ragged` go those of another width: their number among the rows, and their width."""
        width = len(self._rows.columns) - (len(PLACE) if self._placed else 0)
        names = [str(n) for n in range(width)]

        def aside(row: pv.InvalidRow) -> str:
            ragged.append((row.number or 0, row.actual_columns))
            return "skip"

        return pv.read_csv(
            pa.BufferReader(pa.py_buffer(data)),
            read_options=pv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 64),
            parse_options=pv.ParseOptions(
                delimiter=self._delimiter.decode("latin-1"), newlines_in_values=cut.wraps, invalid_row_handler=aside
            ),
            convert_options=pv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )

    def _ragged(self, raw: bytes, line: int, width: int) -> Reject:
        expected = len(self._rows.columns) - (len(PLACE) if self._placed else 0)
        reason = f"the row has {width} fields, the first one {expected}"
        return Reject(f"{self._name}:{line}", "ragged_row", reason, raw[:MAX_RAW])

    def _pieces(
        self, read: pa.Table, cut: _Cut, good: np.ndarray, rejects: list[tuple[int, Reject]], at: At
    ) -> Iterator[tuple[Part, At]]:
        """The rows in parts of the wanted size, each with the place behind it."""
        columns = list(read.columns)
        if self._placed:
            file = pa.DictionaryArray.from_arrays(np.zeros(len(good), np.int8), [self._name]).cast(pa.string())
            columns += [file, pa.array(cut.lines[good], pa.int64())]
        table = pa.Table.from_arrays(columns, names=list(self._rows.columns))
        average = max(1, int(cut.ends[-1]) // max(len(cut.ends), 1))
        step = max(1, min(self._reading.batch_rows, self._reading.batch_bytes // average))
        before, taken, waiting = 0, 0, rejects
        for first in range(0, len(cut.ends), step):
            after = min(first + step, len(cut.ends))
            end = int(cut.ends[after - 1])
            upto = int(np.searchsorted(good, after))
            here = tuple(reject for row, reject in waiting if row < after)
            waiting = [item for item in waiting if item[0] >= after]
            line = int(cut.lines[after]) if after < len(cut.lines) else cut.next_line
            place = At(at.offset + end, line)
            yield Part(table.slice(taken, upto - taken), self._place(place), here, end - before), place
            before, taken = end, upto


def _cut(block: bytes, delimiter: int, line: int) -> _Cut | None:
    """The whole rows of a block, or None where there is none or where two readers might not agree."""
    data = np.frombuffer(block, np.uint8)
    newlines = np.flatnonzero(data == _NEWLINE)
    if not len(newlines):
        return None
    ends, outside = newlines, None
    if b'"' in block:
        quotes = np.flatnonzero(data == _QUOTE)
        inside = np.searchsorted(quotes, newlines) & 1
        if inside.any():
            outside = np.flatnonzero(inside == 0)
            ends = newlines[outside]
            if not len(ends):
                return None
        if not _regular(data, quotes[: np.searchsorted(quotes, ends[-1])], delimiter):
            return None
    if b"\r" in block:
        returns = np.flatnonzero(data[: ends[-1]] == _RETURN)
        if (data[returns + 1] != _NEWLINE).any():
            return None
    after = np.arange(1, len(ends) + 1) if outside is None else outside + 1
    numbers = line + np.concatenate((np.zeros(1, np.int64), after))
    return _Cut(ends + 1, numbers[:-1], int(numbers[-1]), outside is not None)


def _regular(data: np.ndarray, quotes: np.ndarray, delimiter: int) -> bool:
    """Whether every quote opens at the beginning of a field, closes at its end, or is doubled inside of one."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = data[np.maximum(opening, 1) - 1]
    opens = (before == delimiter) | (before == _NEWLINE) | (before == _QUOTE) | (opening == 0)
    after = data[closing + 1]  # there is one: a newline ends the last row
    closes = (after == delimiter) | (after == _NEWLINE) | (after == _RETURN) | (after == _QUOTE)
    return bool(opens.all() and closes.all())
