"""A large page of JSON in pieces: its records a few at a time, and what stands around them.

A page of 16 MiB makes some 200 MiB of Python's objects, which is more than a worker may take. So its bytes are scanned
for where one record ends and the next begins, each piece is tried, and then they are read one after another. What
cannot be cut in this way, and what is no JSON, is left to be read as a whole, which also tells what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bees.core import exact_json
from nectar.errors import SkipRecord

LARGE = 2 << 20
"""Bytes from which a page is read in pieces."""
_PIECE = 256 << 10
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_TEXT + rb'|["\[\]{}]', re.DOTALL)
"""A text, or a bracket; a quotation mark alone begins a text that does not end."""
_NAME = re.compile(rb"[\s,]*(" + _TEXT + rb")\s*:\s*", re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\[\]{}]+")
_COMMA = re.compile(rb"\s*(?:,\s*(?=[^\s\]])|(?=\]))")


@dataclass(frozen=True)
class Pieces(Sequence[Any]):
    """The records of a page, still in bytes, as a sequence of which the length and the last one are known.

    around   the page's body, with a 0 where the records stand: a list of errors must not look like an empty one
    bounds   first and last byte, and number of records, of each piece
    """

    around: Any
    last: Any
    raw: bytes
    bounds: list[tuple[int, int, int]]

    def __len__(self) -> int:
        return sum(count for _, _, count in self.bounds)

    def __getitem__(self, place: Any) -> Any:
        if place == -1 and self.bounds:
            return self.last
        raise IndexError(place)

    def __iter__(self) -> Iterator[Any]:
        for _, records in self.after(0):
            yield from records

    def after(self, taken: int) -> Iterator[tuple[int, list[Any]]]:
        """Behind the first `taken` records: the number of the first one of each piece, from 1, and its records."""
        number = 1
        for start, end, count in self.bounds:
            if number + count - 1 > taken:
                records = _list(self.raw[start:end])
                left = max(0, taken - number + 1)
                yield number + left, records[left:]
            number += count


def cut(raw: bytes, path: str | None) -> Pieces | None:
    """The pieces of a page whose list stands at a dotted path; None for the body or its first list.

    Gives None for what has to be read as a whole.
    """
    start = _find(raw, path.split(".") if path else None)
    if start is None:
        return None
    bounds: list[tuple[int, int, int]] = []
    last: Any = None
    try:
        for first, end in _ranges(raw, start + 1):
            found = _list(raw[first:end])
            if found:
                bounds.append((first, end, len(found)))
                last = found[-1]
            after = end
        around = exact_json.read(raw[:start] + (b"[0]" if bounds else b"[]") + raw[after + 1 :])
    except (SkipRecord, _NoListError):
        return None
    return Pieces(around, last, raw, bounds)


class _NoListError(Exception):
    """What was taken for a list is none that ends."""


def _list(raw: bytes) -> list[Any]:
    found = exact_json.read(b"[" + raw + b"]")
    assert isinstance(found, list)
    return found


def _find(raw: bytes, names: list[str] | None) -> int | None:
    """Where the list begins; None where that cannot be told at a glance."""
    at = _space(raw, 3 if raw[:3] == b"\xef\xbb\xbf" else 0)
    if names is None and raw[at : at + 1] == b"{":
        return _member(raw, at + 1, None)
    for name in names or ():
        found = _member(raw, at + 1, name) if raw[at : at + 1] == b"{" else None
        if found is None:
            return None
        at = found
    return at if raw[at : at + 1] == b"[" else None


def _member(raw: bytes, at: int, name: str | None) -> int | None:
    """Where the value of that name begins, in the object whose members begin here; without a name, the first list."""
    while told := _NAME.match(raw, at):
        at = told.end()
        if name is None and raw[at : at + 1] == b"[":
            return at
        try:
            found = exact_json.read(b"[" + told[1] + b"]")[0]
        except SkipRecord:
            return None
        if found == name:
            return at
        if "." in found or (at := _past(raw, at)) < 0:
            return None  # a path may mean a name with a dot in it
    return None


def _past(raw: bytes, at: int) -> int:
    """The end of the value that begins here; -1: it has none."""
    if raw[at : at + 1] not in (b"{", b"[", b'"'):
        scalar = _SCALAR.match(raw, at)
        return scalar.end() if scalar else -1
    depth = 0
    for token in _TOKEN.finditer(raw, at):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        if token[0] == b'"':
            return -1
        if not depth:
            return token.end()
    return -1


def _ranges(raw: bytes, at: int) -> Iterator[tuple[int, int]]:
    """First byte and end of each piece of the list whose first record begins here; the last end is the bracket's."""
    depth = 0
    for token in _TOKEN.finditer(raw, at):
        kind = token[0]
        if kind in (b"{", b"["):
            depth += 1
        elif kind in (b"}", b"]"):
            depth -= 1
            if depth < 0:
                if kind == b"}":
                    break
                yield at, token.start()
                return
            if not depth and token.end() - at >= _PIECE:
                yield at, token.end()
                comma = _COMMA.match(raw, token.end())
                if comma is None:
                    break
                at = comma.end()
        elif kind == b'"':
            break
    raise _NoListError


def _space(raw: bytes, at: int) -> int:
    while raw[at : at + 1].isspace():
        at += 1
    return at
