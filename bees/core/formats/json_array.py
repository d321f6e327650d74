"""JSON documents of any size: an array gives its items, anything else itself, one object after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import ijson
import pyarrow as pa

from bees.core.formats.part import Part, Place, Reading
from bees.core.tabular import MAX_ROW, PLACE, unique
from nectar.batch import Reject
from nectar.extract.text import encoding_of
from nectar.jsonrows import sift, table

_MOST_EVENTS = 2_000_000
"""Values and brackets of one row; more are set aside without being built."""


class JsonDocumentParts:
    """The parts of one JSON file. A file that breaks gives what stood before."""

    def __init__(self, file: BinaryIO, name: str, reading: Reading) -> None:
        self._file, self._name, self._reading = file, name, reading

    def parts(self, place: Place | None) -> Iterator[Part]:
        start = int(place["number"]) if place else 0
        rows: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        number = start
        held = size = 0
        for number, item, took in self._items():
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
            own = {PLACE[0]: self._name, PLACE[1]: number}
            rows.append(own | dict(zip(unique(list(row), PLACE), row.values(), strict=True)))
        elif any(row.get(field) is None for field in key):
            rejects.append(Reject(f"{self._name}, item {number}", "no_key", "a field of the stream's key is missing"))
        else:
            rows.append(row)

    def _items(self) -> Iterator[tuple[int, Any, int]]:
        """(number, value or why there is none, bytes about)."""
        self._file.seek(encoding_of(self._start()).bom)
        number, at = 0, self._file.tell()
        builder: Any = None
        depth = events = 0
        array = False
        try:
            for event, value in ijson.basic_parse(self._file, multiple_values=True):
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
                    before, at = at, self._file.tell()
                    yield number, builder.value if events <= _MOST_EVENTS else self._long(number), at - before
                    builder = None
        except ijson.JSONError:
            reason = "the file is no JSON from here on: the rest was left out"
            yield number + 1, Reject(f"{self._name}, item {number + 1}", "not_json", reason), 0
        except (UnicodeError, ArithmeticError, RecursionError, ValueError):
            reason = "the item holds a number or text that JSON does not have: the rest was left out"
            yield number + 1, Reject(f"{self._name}, item {number + 1}", "not_json", reason), 0

    def _start(self) -> bytes:
        self._file.seek(0)
        return self._file.read(4)

    def _long(self, number: int) -> Reject:
        return Reject(f"{self._name}, item {number}", "row_too_long", f"the item is larger than {MAX_ROW} bytes")
