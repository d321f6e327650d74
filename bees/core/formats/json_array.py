"""JSON documents of any size: an array gives its items, anything else itself, one object after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import ijson
import pyarrow as pa

from bees.core.formats.json_items import CutOffError, Recoded, TooLongError, cut
from bees.core.formats.part import Part, Place, Reading
from bees.core.tabular import MAX_RAW, MAX_ROW, no_key, placed
from nectar.batch import Reject
from nectar.errors import SkipRecord
from nectar.extract.text import encoding_of
from nectar.jsonrows import parse, sift, table

_MOST_EVENTS = 2_000_000
"""Values and brackets of one row; more are set aside without being built."""


_MOST_AHEAD = MAX_ROW + (1 << 18)


class _TooLongError(ValueError):
    """An item, or a text in it, goes on for too long."""


class _Bounded:
    """A file that is read no further than to `most`: what is built of one item stays bounded."""

    def __init__(self, file: BinaryIO, at: int) -> None:
        file.seek(at)
        self._file = file
        self.read_in_all = 0
        self.most = _MOST_AHEAD

    def read(self, size: int = -1, /) -> bytes:
        if self.read_in_all > self.most:
            raise _TooLongError
        data = self._file.read(size)
        self.read_in_all += len(data)
        return data


class JsonDocumentParts:
    """The parts of one JSON file. An item that is no JSON is set aside; a file that breaks gives what stood before."""

    def __init__(self, file: BinaryIO, name: str, reading: Reading) -> None:
        self._name, self._reading = name, reading
        file.seek(0)
        encoding = encoding_of(file.read(4), reading.encoding)
        plain = encoding.name in {"utf-8", "ascii"}
        self._file = file if plain else cast("BinaryIO", Recoded(file, encoding))
        self._whole = -1

    def parts(self, place: Place | None) -> Iterator[Part]:
        start = int(place["number"]) if place else 0
        rows: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        number = start
        held = size = 0
        for number, item, took in self._all():
            if number <= start:
                continue
            if isinstance(item, Reject):
                rejects.append(item)
            else:
                good, bad = sift([item], self._name, number)
                rejects.extend(bad)
                for row in good:
                    self._take(row, number, rows, rejects)
            held, size = held + 1, size + took
            if held >= self._reading.batch_rows or size >= self._reading.batch_bytes:
                yield Part(table(rows), {"number": number}, tuple(rejects), size)
                rows, rejects, held, size = [], [], 0, 0
        if rows or rejects:
            yield Part(table(rows) if rows else pa.table({}), {"number": number}, tuple(rejects), size)

    def _take(self, row: dict[str, Any], number: int, rows: list[dict[str, Any]], rejects: list[Reject]) -> None:
        key = self._reading.key
        if not key:
            rows.append(placed(row, self._name, number))
        elif missing := [field for field in key if row.get(field) is None]:
            rejects.append(Reject(f"{self._name}, item {number}", "no_key", no_key(missing)))
        else:
            rows.append(row)

    def _all(self) -> Iterator[tuple[int, Any, int]]:
        """The items, and behind one that is no JSON those that follow it."""
        for number, item, size in self._items():
            if isinstance(item, Reject) and item.code == "not_json":
                yield from self._behind(number)
                return
            yield number, item, size

    def _behind(self, first: int) -> Iterator[tuple[int, Any, int]]:
        """The items from a doubtful one on, each looked at for itself."""
        number = 0
        try:
            for number, raw in enumerate(cut(self._file, encoding_of(self._start()).bom, _MOST_AHEAD), 1):
                if number >= first:
                    yield number, self._parsed(raw, number), len(raw)
        except CutOffError:
            number = max(first, number + 1)
            reason = "the file is no JSON from here on: the rest was left out"
            yield number, Reject(f"{self._name}, item {number}", "not_json", reason), 0
        except TooLongError:
            number = max(first, number + 1)
            yield number, self._long(number, ": the rest was left out"), 0

    def _parsed(self, raw: bytes, number: int) -> Any:
        try:
            return parse(raw)
        except SkipRecord as error:
            return Reject(f"{self._name}, item {number}", error.code, str(error), raw.strip()[:MAX_RAW])

    def _items(self) -> Iterator[tuple[int, Any, int]]:
        """(number, value or why there is none, bytes about): quick, and with care from where that meets a doubt."""
        done = 0
        for done, value, size in self._quick():
            yield done, value, size
        if done != self._whole:
            for number, value, size in self._careful():
                if number > done:
                    yield number, value, size

    def _quick(self) -> Iterator[tuple[int, Any, int]]:
        """The items of an array, for as long as nothing is wrong. `_whole` is their number once all have come."""
        self._whole, number = -1, 0
        self._file.seek(encoding_of(self._start()).bom)
        if not self._file.read(64).lstrip().startswith(b"["):
            return
        source = _Bounded(self._file, encoding_of(self._start()).bom)
        at = 0
        try:
            for value in ijson.items(source, "item"):
                number += 1
                before, at = at, source.read_in_all
                source.most = at + _MOST_AHEAD
                yield number, value, at - before
        except (ijson.JSONError, UnicodeError, ArithmeticError, RecursionError, ValueError):
            return
        self._whole = number

    def _careful(self) -> Iterator[tuple[int, Any, int]]:
        source = _Bounded(self._file, encoding_of(self._start()).bom)
        number = at = 0
        builder: Any = None
        depth = events = 0
        array = False
        try:
            for event, value in ijson.basic_parse(source, multiple_values=True):
                source.most = source.read_in_all + _MOST_AHEAD  # of one text or number
                if depth == 0 and not array and event == "start_array":
                    array = True
                    continue
                if array and depth == 0 and event == "end_array":
                    array = False
                    continue
                if builder is None:
                    builder, events = ijson.ObjectBuilder(), 0
                events += 1
                if events <= _MOST_EVENTS:
                    builder.event(event, value)
                depth += (event in {"start_map", "start_array"}) - (event in {"end_map", "end_array"})
                if depth == 0:
                    number += 1
                    before, at = at, source.read_in_all
                    yield number, builder.value if events <= _MOST_EVENTS else self._long(number), at - before
                    builder = None
        except ijson.JSONError:
            reason = "the file is no JSON from here on: the rest was left out"
            yield number + 1, Reject(f"{self._name}, item {number + 1}", "not_json", reason), 0
        except _TooLongError:
            yield number + 1, self._long(number + 1, ": the rest was left out"), 0
        except (UnicodeError, ArithmeticError, RecursionError, ValueError):
            reason = "the item holds a number or text that JSON does not have: the rest was left out"
            yield number + 1, Reject(f"{self._name}, item {number + 1}", "not_json", reason), 0

    def _start(self) -> bytes:
        self._file.seek(0)
        return self._file.read(4)

    def _long(self, number: int, rest: str = "") -> Reject:
        reason = f"the item is larger than {MAX_ROW} bytes{rest}"
        return Reject(f"{self._name}, item {number}", "row_too_long", reason)
