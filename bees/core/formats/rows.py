"""One file of rows, whatever its format, as parts."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, BinaryIO

import pyarrow as pa

from bees.core.files import shown
from bees.core.formats.archives import Inside, inside, kind_of, told
from bees.core.formats.names import (
    ARCHIVE_ENDINGS,
    ROW_ENDINGS,
    endings_of,
    format_by_name,
    format_of,
    is_companion,
    is_lock,
    is_page,
    is_text_document,
    is_workbook,
)
from bees.core.formats.packed import ENDINGS, TROUBLES, Unpacking, WholeLines, inner_name, packing
from bees.core.formats.part import Part, Place, Reading
from bees.core.formats.window import windowed, with_newlines
from bees.core.sandbox import Limits, Sandbox, SandboxError
from nectar.batch import Reject
from nectar.extract.guess import likely_encoding
from nectar.extract.text import HEAD, decodes, encoding_of, looks_textual

LIMITS = Limits(memory=2 << 30, seconds=120.0, output=1 << 42)
"""Of the child that reads binary tables: time for one part, and no bound on all of them together."""
_PLACES = 16
"""Places of a large table of this machine that are looked at for its encoding."""
_DEEPEST = 2
"""Compressions within one another."""
_NO_ROWS = "the file holds no rows of text: leave it out by `patterns`"
_A_PAGE = "the file is called a table and is a page of HTML or XML, as a server's error: put the table in its place"
_WALLED = ("parquet", "arrow", "avro", "excel", "xml")
_FAILURES = {
    "timeout": ("reading_timeout", "reading the file took too long"),
    "memory": ("reading_memory", "reading the file took too much memory"),
    "crashed": ("reading_crashed", "the reader of the file broke off: the file is damaged, or too much for it"),
    "output": ("too_much_inside", "the file gives more than can be carried"),
}
_sandbox: tuple[int, Sandbox] | None = None


def read_rows(file: BinaryIO, name: str, reading: Reading, place: Place | None = None) -> Iterator[Part]:
    """The rows of a file from a place on. What cannot be read is a reject of a part, never an error.

    `file` can be read and sought; `name` is shown in rejects and in the rows' own place.
    Raises what `file` raises, and GiveUp where a library is not installed.
    """
    yield from _read(file, name, name, reading, place, 0)


def _read(file: BinaryIO, name: str, path: str, reading: Reading, place: Place | None, depth: int) -> Iterator[Part]:
    """`path`: the name without the endings of compressions that were undone."""
    file.seek(0)
    head = file.read(HEAD)
    if not head:
        if not depth and _is_never_empty(path, reading.format):
            yield _rejected(name, "empty_file", "the file is empty, as no whole one of its kind is", place)
        return
    if is_companion(head):
        return
    kind = packing(head, path)
    if not depth and inner_name(path).lower().endswith(".tar"):
        yield from _archived(file, name, reading, place)
        return
    if kind:
        yield from _unpacked(file, name, path, kind, reading, place, depth)
        return
    if not depth and _holds_files(file, head, path, reading.format):
        yield from _archived(file, name, reading, place)
        return
    chosen = reading.format if reading.format != "auto" else format_of(head, path)
    if chosen in _WALLED:
        yield from _walled(file, name, str(chosen), reading, place)
    elif chosen is None:
        if reading.rows_apart and path.lower().endswith(ARCHIVE_ENDINGS):
            yield _left_out(place)  # what is called an archive and is none is the other stream's to take or to tell
        elif looks_textual(head, encoding_of(head[:4])):
            yield _rejected(name, "unknown_format", "no format of rows is known by these bytes or this name", place)
        else:
            yield _rejected(name, "not_text", _NO_ROWS, place)
    else:
        yield from _textual(file, name, path, head, str(chosen), reading, place, "unpacked" if depth else "offset")


def _textual(
    file: BinaryIO, name: str, path: str, head: bytes, chosen: str, reading: Reading, place: Place | None, offset: str
) -> Iterator[Part]:
    from bees.core.formats.csv_blocks import CsvParts
    from bees.core.formats.json_array import JsonDocumentParts
    from bees.core.formats.json_blocks import JsonParts

    if reading.encoding == "auto":
        reading = replace(reading, encoding=found_encoding(_further(file, head) if head.isascii() else head))
    encoding = encoding_of(head[:4], reading.encoding)
    binary = not looks_textual(head, encoding) and not decodes(head, encoding.name, whole=False)
    if binary or is_text_document(head, reading.delimiter):
        yield _rejected(name, "not_text", _NO_ROWS, place)
        return
    if offset == "offset" and not head.strip(b"\0"):  # as after a crash of the machine that wrote it
        yield _rejected(name, "not_text", "the file is filled with NUL bytes: write it anew", place)
        return
    if is_page(head):
        yield _rejected(name, "not_a_table", _A_PAGE, place)
        return
    if chosen == "csv":
        if not reading.delimiter and path.lower().endswith((".tsv", ".tab")):
            reading = replace(reading, delimiter="\t")
        if b"\r" in head and b"\n" not in head and "16" not in encoding.name and "32" not in encoding.name:
            file = with_newlines(file)
        yield from CsvParts(file, name, reading, offset=offset).parts(place)
    elif chosen == "json":
        yield from JsonDocumentParts(file, name, reading).parts(place)
    else:
        yield from JsonParts(file, name, reading, offset=offset).parts(place)


def _unpacked(
    file: BinaryIO, name: str, path: str, kind: str, reading: Reading, place: Place | None, depth: int
) -> Iterator[Part]:
    if depth >= _DEEPEST:
        yield _rejected(name, "nested_too_deep", f"the file is compressed more than {_DEEPEST} times over", place)
        return
    inner = inner_name(path)
    source = Unpacking(file, kind)
    window = windowed(WholeLines(source))
    chosen = reading.format if reading.format != "auto" else format_of(window.read(HEAD), inner)
    if chosen in _WALLED:
        source = Unpacking(file, kind)
        window = windowed(source)
    last: Place = place or {}
    try:
        for part in _read(window, name, inner, reading, place, depth + 1):
            last = part.place
            yield part
    except io.UnsupportedOperation:
        if not source.trouble:
            reject = Reject(name, "row_too_long", "a row is too long to be read from a stream")
            yield Part(pa.table({}), last, (reject,))
    if source.trouble:
        yield Part(pa.table({}), last, (Reject(name, source.trouble, TROUBLES[source.trouble]),))


def _archived(file: BinaryIO, name: str, reading: Reading, place: Place | None) -> Iterator[Part]:
    """The tables within an archive. A place is the member's number, its path, and the place within it."""
    at: Mapping[str, Any] = place or {}
    begun = place
    endings = ROW_ENDINGS if reading.format == "auto" else endings_of(reading.format)

    def wanted(path: str) -> bool:  # the documents within are another stream's
        # Reading may have stopped in a file that is left out now: what follows it is found by it.
        meant = not is_lock(path) or path == at.get("path")
        return meant and path.lower().endswith((*endings, *ARCHIVE_ENDINGS))

    for found in inside(file, name, at.get("member", 0), wanted):
        item = _as_text(found)
        if isinstance(item, Reject):
            if reading.rows_apart and not item.position.lower().endswith(endings):
                yield _left_out(at)  # the stream of documents tells what is wrong with the archive
                continue
            yield Part(pa.table({}), at, (item,))
            continue
        if not item.path.lower().endswith(endings):
            if item.path.lower().endswith(ARCHIVE_ENDINGS):  # nobody could open it, and what is within is not known
                item.stream.peek(1)
                code = item.stream.trouble or "broken_archive"
                yield _left_out(at) if reading.rows_apart else Part(pa.table({}), at, (told(item.path, code),))
            continue
        within = None
        if begun and item.top == begun["member"]:
            if item.path != begun["path"]:
                continue  # of an archive within, and read before
            within = begun["in"]
        begun = None
        for part in _member(item, reading, within):
            at = {"member": item.top, "path": item.path, "in": part.place}
            yield replace(part, place=at)


def _as_text(item: Inside | Reject) -> Inside | Reject:
    """The item under a name that may land: one in another encoding than UTF-8 holds halves of surrogate pairs."""
    path = item.position if isinstance(item, Reject) else item.path
    try:
        path.encode()
    except UnicodeEncodeError:
        return replace(item, position=shown(path)) if isinstance(item, Reject) else replace(item, path=shown(path))
    return item


def _member(item: Inside, reading: Reading, place: Place | None) -> Iterator[Part]:
    head = item.stream.peek(HEAD)
    chosen = reading.format if reading.format != "auto" else format_of(head, item.path)
    plain = chosen not in _WALLED and not packing(head, item.path)
    window = windowed(WholeLines(item.stream) if plain else item.stream)
    last: Place = place or {}
    try:
        for part in _read(window, item.path, item.path, reading, place, 0):
            last = part.place
            yield part
    except io.UnsupportedOperation:
        yield Part(pa.table({}), last, (Reject(item.path, "row_too_long", "a row is too long to be read on"),))
    if item.stream.trouble and item.stream.trouble != "too_much_inside":  # the archive tells that of all of it
        yield Part(pa.table({}), last, (told(item.path, item.stream.trouble),))


def _is_never_empty(path: str, asked: str) -> bool:
    """Whether a whole file of this name has bytes, even without a row in it: one without any is not there yet."""
    lower = path.lower()
    chosen = format_by_name(path) if asked == "auto" else asked
    return chosen in _WALLED or lower.endswith((*ARCHIVE_ENDINGS, *ENDINGS))


def _holds_files(file: BinaryIO, head: bytes, path: str, asked: str) -> bool:
    """Whether a file that begins as an archive is one, and no spreadsheet, which is a zip file of parts."""
    if kind_of(head) != "zip" or path.lower().endswith(".zip"):
        return bool(kind_of(head))
    named = format_by_name(path)
    if asked == "excel" or named == "excel" or is_workbook(head):
        return False
    return named is None or zipfile.is_zipfile(file)


def _walled(file: BinaryIO, name: str, chosen: str, reading: Reading, place: Place | None) -> Iterator[Part]:
    from bees.core.formats.tables import parts_of

    asked = asdict(reading) | {"do": "rows", "format": chosen, "name": name, "place": dict(place) if place else None}
    last: Place = place or {}
    try:
        with contextlib.closing(sandbox().ask(asked, file)) as frames:
            for part in parts_of(frames):
                last = part.place
                yield part
    except SandboxError as error:
        code, reason = _FAILURES.get(error.code, _FAILURES["crashed"])
        yield Part(pa.table({}), last, (Reject(name, code, reason),))


def sandbox() -> Sandbox:
    """The process's own child for binary tables; a fork makes its own."""
    global _sandbox  # noqa: PLW0603 - one per process is the point
    if _sandbox is None or _sandbox[0] != os.getpid():
        _sandbox = (os.getpid(), Sandbox(LIMITS))
        atexit.register(_sandbox[1].close)
    return _sandbox[1]


def _further(file: BinaryIO, head: bytes) -> bytes:
    """Whole lines from further places of a file that begins in ASCII, where reading them is free: on this machine."""
    if b"\0" in head or len(head) < HEAD:
        return head
    try:
        size = os.fstat(file.fileno()).st_size
    except (AttributeError, OSError):
        return head
    made = [head]
    for part in range(1, _PLACES + 1):
        file.seek(max(len(head), size * part // _PLACES - HEAD))
        piece = file.read(HEAD)
        made.append(piece[piece.find(b"\n") + 1 : piece.rfind(b"\n") + 1])
    return b"".join(made)


def found_encoding(head: bytes) -> str:
    """The encoding of a text without a mark, by its beginning; none for UTF-8, and where nothing is likely enough."""
    if encoding_of(head[:4]).bom or (b"\0" not in head and decodes(head, whole=False)):
        return ""
    likely = likely_encoding(head)
    return "" if likely == "utf-8" else likely


def _left_out(place: Place | None) -> Part:
    """Something of the file is missing, and another stream says what."""
    return Part(pa.table({}), place or {}, whole=False)


def _rejected(name: str, code: str, reason: str, place: Place | None) -> Part:
    return Part(pa.table({}), place or {}, (Reject(name, code, reason),))
