"""A large page in pieces: its records a few at a time, and what stands around them.

A page of 16 MiB makes some 200 MiB of Python's objects, which is more than a worker may take. So each of its pieces is
tried, and then they are read one after another. JSON is scanned for where one record ends and the next begins. What
cannot be cut in this way, and what is no JSON, is left to be read as a whole, which also tells what is wrong with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Any

from bees.core import exact_json
from bees.core.rest.formats import Format, lines, rows
from bees.core.rest.xml_elements import Tree
from nectar.batch import Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import parse

LARGE = 2 << 20
"""Bytes from which a page is read in pieces."""
_PIECE = 256 << 10
_ROWS = 2_000
"""Of CSV, in one piece."""
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_TEXT + rb'|["\[\]{}]', re.DOTALL)
"""A text, or a bracket; a quotation mark alone begins a text that does not end."""
_NAME = re.compile(rb"[\s,]*(" + _TEXT + rb")\s*:\s*", re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\[\]{}]+")
_COMMA = re.compile(rb"\s*(?:,\s*(?=[^\s\]])|(?=\]))")
_COPIES = 4
"""Of a text, on its way from JSON into a batch."""
_VALUE = 400
"""Bytes of memory that a value takes on the same way, however few it has in JSON."""
_FEW = 1_000
"""Values that always fit."""
_BETWEEN = re.compile(_TEXT + rb'|[",]', re.DOTALL)

BODY = "$"
"""The path of a body that is itself the list."""
_PLAIN_PATH = re.compile(r"\$((?:\.[A-Za-z_][A-Za-z0-9_-]*)*)(?:\[\*\])?")
WHOLE = 48 << 20
"""Bytes of memory that a large page may take, about, that has to be read as a whole."""

Part = tuple[list[Any], list[Reject]]
"""Records, and what stands between them and is none."""


@dataclass(frozen=True)
class Pieces(Sequence[Any]):
    """The records of a page, still in bytes, as a sequence of which the length and the last one are known.

    around   the page's body, with a 0 where the records stand: a list of errors must not look like an empty one
    parts    reads them, from the first one on
    mark     JSON: a hash of the records alone. What stands around them may differ from one answer to the next
    """

    around: Any
    last: Any
    size: int
    parts: Callable[[], Iterator[Part]]
    mark: str = ""

    @classmethod
    def of(cls, parts: Callable[[], Iterator[Part]], around: Any = None, mark: str = "") -> Pieces:
        """Tried: every part is read once."""
        count, last = 0, None
        for records, _ in parts():
            count, last = count + len(records), records[-1] if records else last
        return cls(around, last, count, parts, mark)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: Any) -> Any:
        if place == -1 and self.size:
            return self.last
        raise IndexError(place)

    def __iter__(self) -> Iterator[Any]:
        for records, _ in self.parts():
            yield from records

    def after(self, taken: int) -> Iterator[tuple[int, list[Any], list[Reject]]]:
        """Behind the first `taken` records: the number of the first one of each part, from 1, and the part."""
        number = 1
        for records, rejects in self.parts():
            left = max(0, taken - number + 1)
            if left < len(records) or not left:
                yield number + left, records[left:], rejects
            number += len(records)


def dotted(path: str | None) -> str | None:
    """A JSONPath that leads to the one list at names, such as $.data[*], as dotted names; others stay as they are."""
    plain = _PLAIN_PATH.fullmatch(path or "")
    return (plain[1].lstrip(".") or BODY) if plain else path


def pieces_of(
    raw: bytes, form: Format, path: str | None, where: str, delimiter: str = ",", *, decimals: bool = False
) -> Pieces | None:
    """The pieces of a page. Gives None for what has to be read as a whole. Raises GiveUp (`not_csv`, `not_xml`).

    `decimals`: every fraction of JSON comes as Decimal.
    """
    if form == "json":
        return cut(raw, path, exactly=parse if decimals else exact_json.read)
    if form == "xml":
        return elements(raw, path, where) if path else None
    if form == "csv":
        return Pieces.of(lambda: _of_rows(rows(raw, delimiter, where)))
    if form == "jsonl":
        found = Pieces.of(lambda: _of_lines(raw, where, parse if decimals else exact_json.read))
        return found if len(found) else None
    return None


def cut(
    raw: bytes, path: str | None, room: int | None = None, exactly: Callable[[bytes], Any] = exact_json.read
) -> Pieces | None:
    """The pieces of a document whose list stands at a dotted path; None for the body or its only list.

    room   bytes of memory that one piece, or what stands around the list, may take: what takes more is not cut
    """
    start = _find(raw, [] if path == BODY else path.split(".") if path else None)
    if start is None:
        return None
    view = memoryview(raw)  # a slice of it is no copy
    try:
        bounds = list(_ranges(raw, start + 1))
        end = bounds[-1][1]
        if room is not None and any(takes_more(raw, room, *bound) for bound in [(0, start), *bounds, (end, len(raw))]):
            return None
        made = Pieces.of(lambda: ((_list(view[first:last], exactly), []) for first, last in bounds))
        around = exact_json.read(b"".join((view[:start], b"[0]" if len(made) else b"[]", view[end + 1 :])))
    except (SkipRecord, _NoListError):
        return None
    return replace(made, around=around, mark=hashlib.sha256(view[start:end]).hexdigest())


def takes_more(raw: bytes, room: int, first: int = 0, end: int | None = None) -> bool:
    """Whether a part of JSON takes more bytes of memory than that on its way into a batch, about.

    By its own bytes, and by its values: these are counted by the commas that stand in no text. What comes behind a text
    that does not end is read by nobody.
    """
    last = len(raw) if end is None else end
    most = max(_FEW, (room - _COPIES * (last - first)) // _VALUE)
    if raw.count(b",", first, last) <= most:
        return False
    tokens = takewhile(lambda token: token[0] != b'"', _BETWEEN.finditer(raw, first, last))
    return sum(token[0] == b"," for token in tokens) > most


def elements(raw: bytes, path: str, where: str) -> Pieces:
    """The elements of XML at a dotted path from the root down. Raises GiveUp (`not_xml`)."""
    tree = Tree(where, path)
    tried = Pieces.of(lambda: ((found, []) for found in tree.read(raw)))
    return replace(tried, around=tree.root, parts=lambda: ((found, []) for found in Tree(where, path).read(raw)))


def _of_lines(raw: bytes, where: str, exactly: Callable[[bytes], Any]) -> Iterator[Part]:
    at, number = 0, 1
    while at < len(raw):
        end = raw.find(b"\n", at + _PIECE)
        piece = raw[at : len(raw) if end < 0 else end]
        yield lines(piece, where, exactly, number)
        at, number = at + len(piece) + 1, number + piece.count(b"\n") + 1


def _of_rows(found: Iterator[dict[str, str] | Reject]) -> Iterator[Part]:
    while several := list(islice(found, _ROWS)):
        yield [one for one in several if isinstance(one, dict)], [one for one in several if isinstance(one, Reject)]


class _NoListError(Exception):
    """What was taken for a list is none that ends."""


def _list(raw: memoryview, exactly: Callable[[bytes], Any]) -> list[Any]:
    found = exactly(b"".join((b"[", raw, b"]")))
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
