"""Files of one folder: texts as documents, CSV and JSON Lines as rows.

What was read is known by version (size, times, inode) and by content, so a file comes again when its bytes differ,
whatever its times say, and a file that was only touched does not. A changed CSV or JSON Lines file comes whole; the
hive drops the rows that it has. Files that are deleted are not reported.

That memory travels in each cursor and takes 27 bytes a file: 10,000 files make cursors of 270 KB, one with every batch.
A folder with more than `max_files` is refused: part it between bees by `patterns` or by `path`.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, ClassVar, Literal, TypedDict

import structlog
from pydantic import AfterValidator, AliasChoices, Field, field_validator

from bees.core.bee import BeeOptions, BeeType, KeyColumns, Name, StreamName, Words, WorkerBee
from bees.core.errors import GiveUp
from bees.core.files import (
    DOCUMENT_COLUMNS,
    Folder,
    Found,
    Seen,
    checked_patterns,
    digest,
    document,
    document_table,
    matcher,
    shown,
    tail,
    trouble,
)
from bees.core.tabular import MAX_RAW, PLACE, CsvRows, JsonRows, Lines, Place, RowBuffer
from nectar import jsonrows
from nectar.batch import Batch, Cursor, Reject
from nectar.extract.text import HEAD, decodes, encoding_of, looks_textual
from nectar.pollen import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_CSV = (".csv", ".tsv")
_JSONL = (".jsonl", ".ndjson")
_log = structlog.get_logger()


Patterns = Annotated[Words, Field(min_length=1), AfterValidator(checked_patterns)]


class FileStream(BeeOptions):
    """Some of the folder's files, read in one way."""

    patterns: Patterns = Field((), description="globs of this stream's files; unset: those of the bee")
    format: Literal["auto", "document", "csv", "jsonl"] = Field(
        "auto", description="auto: rows if every pattern ends in .csv, .tsv, .jsonl or .ndjson, else documents"
    )
    key: KeyColumns = Field((), description="fields that identify a row; unset: its file and line")
    header: bool = Field(True, description="the first row of a CSV file names its columns; else column_1, ...")
    delimiter: str = Field("", pattern=r'^[^"\r\n]?$', description="of CSV; unset: of , ; tab | the one that fits")


class LocalOptions(BeeOptions):
    path: Name = Field(
        validation_alias=AliasChoices("path", "source_path"),
        description="the folder; nothing outside it is read",
    )
    patterns: Patterns = Field(("*",), description="globs: by name at any depth, or by path when they hold a slash")
    recursive: bool = Field(True, description="read folders inside the folder too")
    encoding: str = Field("", description="of files without a byte order mark; unset: UTF-8")
    max_file_bytes: int = Field(64 << 20, gt=0, description="a larger document is set aside; rows have no such limit")
    max_files: int = Field(100_000, gt=0, description="files of one stream; each takes 27 bytes in every cursor")
    batch_rows: int = Field(5000, gt=0, description="a batch is closed at this number of records")
    batch_bytes: int = Field(8 << 20, gt=0, description="a batch is closed at this size")
    streams: dict[StreamName, FileStream] = Field(
        {}, description="unset: `records`, the rows of CSV and JSON Lines, and `documents`, every other text"
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            plain = not value or "\n".encode(encoding_of(b"", value).name).strip(b"\0") == b"\n"
        except LookupError:
            plain = False
        if not plain:
            raise ValueError("no encoding of text files that Python knows; examples: utf-8, latin-1, cp1252, utf-16")
        return codecs.lookup(value).name if value else ""


@dataclass(frozen=True)
class _Plan:
    """One stream as it is read. `settings` is whatever changes what a file gives."""

    name: str
    document: bool
    wanted: Callable[[str], bool]
    stream: FileStream
    key: tuple[str, ...]
    settings: str


class LocalBee(WorkerBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = LocalOptions

    def validate_flight_path(self) -> None:
        Folder(self.options.path).close()

    def get_pollen_schema(self) -> Sequence[Stream]:
        return [self._offer(self._plan(name)) for name in self._streams()]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        plan = self._plan(stream)
        if query:
            raise GiveUp("files cannot be asked a query", code="no_queries", where=stream, advice="leave the query out")
        with Folder(self.options.path) as folder:
            yield from _Pass(folder, plan, self.options, cursor or {}).batches()

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": list(self._streams())}

    def source_identity(self) -> str:
        return f"local:{os.path.realpath(self.options.path)}"

    def stream_identity(self, stream: str) -> str:
        """Which of the folder's files are meant, and whether they are documents or rows."""
        plan = self._plan(stream)
        patterns = plan.stream.patterns or self.options.patterns
        return json.dumps([sorted(set(patterns)), self.options.recursive, plan.document])

    def _streams(self) -> dict[str, FileStream]:
        chosen: dict[str, FileStream] = self.options.streams
        return chosen or {"documents": FileStream(format="document"), "records": FileStream()}

    def _plan(self, name: str) -> _Plan:
        streams = self._streams()
        if name not in streams:
            advice = "the streams are " + ", ".join(streams)
            raise GiveUp(f"there is no stream {name!r}", code="no_stream", where="streams", advice=advice)
        stream = streams[name]
        document, endings = _reading(stream, built_in=not self.options.streams)
        matches = matcher(stream.patterns or self.options.patterns)
        # Of the two streams of every folder each file is in one: a rule on a field must not be passed by in a text.
        refused = _CSV + _JSONL if document and not self.options.streams else ()
        key = tuple(jsonrows.escape(field) for field in stream.key)
        if document and key not in ((), ("path",)):
            hint = "leave `key` out, or set `format` to csv or jsonl"
            raise GiveUp("the key of documents is their path", code="no_key", where=f"streams.{name}.key", advice=hint)
        how = [stream.format, stream.header, stream.delimiter, key, self.options.encoding]
        how += [self.options.max_file_bytes] if document else []
        return _Plan(
            name=name, document=document, stream=stream, key=key, settings=json.dumps(how),
            wanted=lambda path: matches(path)
            and (not endings or path.lower().endswith(endings))
            and not (refused and path.lower().endswith(refused)),
        )  # fmt: skip

    def _offer(self, plan: _Plan) -> Stream:
        # Not a column's value but each file's version is followed; `modified` is its nearest name.
        if plan.document:
            return Stream(plan.name, DOCUMENT_COLUMNS, ("path",), ("modified",), "modified", document=True)
        return Stream(plan.name, (), plan.key or PLACE, ("modified",), "modified")


def _reading(stream: FileStream, *, built_in: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether files are documents, and the endings they must have: where no pattern was chosen for a stream of rows."""
    if stream.format == "document":
        return True, ()
    if stream.format == "auto":
        rows = built_in or (stream.patterns and all(p.lower().endswith(_CSV + _JSONL) for p in stream.patterns))
        return (False, _CSV + _JSONL) if rows else (True, ())
    if stream.patterns:
        return False, ()
    return False, _CSV if stream.format == "csv" else _JSONL


class _At(TypedDict):
    """Where reading stopped within a file. `version` is empty where it was too young to be trusted, `content` where
    the file had changed while it was read.
    """

    file: str
    version: str
    content: str
    offset: int
    line: int
    tail: str


@dataclass(frozen=True)
class _Half:
    """The file whose rows are being read. `content` is None once it changed under the reader: nothing is sure then."""

    file: Found
    content: bytes | None
    handle: BinaryIO
    reader: CsvRows | JsonRows


class _Pass:
    """One look at the whole folder, perhaps the rest of one that was begun before.

    Cursor: `seen` what was read, `at` the place in a file half read, `full` where the pass began from nothing and
    nothing was set aside, so that its end is the end of a complete read.
    """

    def __init__(self, folder: Folder, plan: _Plan, options: LocalOptions, cursor: Cursor) -> None:
        self._folder = folder
        self._plan = plan
        self._options = options
        self._cursor = cursor
        self._seen = Seen(plan.settings, str(cursor.get("seen", "")))
        self._at: _At | None = cursor.get("at")
        self._full = not cursor or "full" in cursor
        self._half: _Half | None = None
        self._buffer = RowBuffer(options.batch_rows, options.batch_bytes)
        self._binary = 0

    def batches(self) -> Iterator[Batch]:
        for file in self._files():
            if not self._seen.same_version(file):
                yield from self._read(file)
                if self._buffer.full():
                    yield self._flush()
        if self._binary:
            _log.debug("binary files left out", stream=self._plan.name, files=self._binary)
        end = {"seen": self._seen.stored(end=True)}
        if self._buffer.rows or self._buffer.rejects or end != self._cursor:
            yield self._flush(end, complete=self._full)

    def _flush(self, cursor: Cursor | None = None, *, complete: bool = False) -> Batch:
        buffer = self._buffer
        table = document_table(buffer.rows) if self._plan.document else buffer.table()
        batch = Batch(self._plan.name, table, cursor or self._here(), None, complete, tuple(buffer.rejects))
        buffer.clear()
        return batch

    def _here(self) -> Cursor:
        here: dict[str, Any] = {"seen": self._seen.stored()}
        if self._full:
            here["full"] = True
        at = self._place(self._half) if self._half else self._at
        return here | ({"at": at} if at else {})

    def _files(self) -> list[Found]:
        """By path, but a file half read comes first: others that change often must not keep it waiting."""
        found: list[Found] = []
        for item in self._folder.files(self._plan.wanted, recursive=self._options.recursive):
            if isinstance(item, str):
                self._unreadable(item)
                continue
            self._seen.list(item.path)
            found.append(item)
            if len(found) > self._options.max_files:
                raise GiveUp(
                    f"the stream {self._plan.name!r} has more than {self._options.max_files} files",
                    code="too_many_files", where="path",
                    advice="part the folder between bees by `patterns` or `path`, or raise `max_files`",
                )  # fmt: skip
        first = self._at and self._at["file"]
        found.sort(key=lambda file: (self._seen.path(file.path).hex() != first, os.fsencode(file.path)))
        if not found or self._seen.path(found[0].path).hex() != first:
            self._at = None
        return found

    def _read(self, file: Found) -> Iterator[Batch]:
        try:
            with self._folder.open(file.path) as handle:
                now = Found.of(file.path, os.fstat(handle.fileno()))
                if self._plan.document:
                    self._document(handle, now)
                else:
                    yield from self._rows(handle, now)
        except OSError as error:
            if trouble(error, "path") == "unreadable":
                self._unreadable(file.path)
        self._half = self._at = None

    def _unreadable(self, path: str) -> None:
        self._seen.list(path)
        mark = self._seen.content(path, b"unreadable")
        self._full = False
        if not self._seen.same_content(path, mark):
            self._set_aside(path, "unreadable", "the file or folder may not be read: give the bee's user the right to")
        self._seen.mark(path, mark)

    def _set_aside(self, path: str, code: str, reason: str, raw: bytes = b"") -> None:
        self._reject(Reject(shown(path), code, reason, raw[:MAX_RAW]))

    def _reject(self, reject: Reject) -> None:
        self._full = False
        self._buffer.rejects.append(reject)
        self._buffer.size += len(reject.raw)

    def _document(self, handle: BinaryIO, file: Found) -> None:
        path, declared, limit = file.path, self._options.encoding, self._options.max_file_bytes
        data = handle.read(HEAD)
        encoding = encoding_of(data[:4], declared)
        if not looks_textual(data, encoding):
            self._binary += 1
            self._done(handle, file, self._seen.content(path, b"binary"))
            return
        data += handle.read(max(limit + 1 - len(data), 0))
        large = len(data) > limit
        content = self._seen.content(path, b"too_large" if large else hashlib.blake2b(data).digest())
        if self._seen.same_content(path, content):
            pass
        elif large:
            self._set_aside(path, "too_large", f"the file is larger than `max_file_bytes`, {limit} bytes")
        elif not decodes(data, declared):
            self._set_aside(path, "not_utf8", f"the text is not {encoding.name}: set `encoding` to what it is in", data)
        else:
            charset = "" if encoding.bom else declared
            self._buffer.add(document(file, data, charset), len(data))
        self._done(handle, file, content)

    def _done(self, handle: BinaryIO, file: Found, content: bytes) -> None:
        if self._unchanged(handle, file):
            self._seen.add(file, content, time.time_ns())
        else:
            self._seen.mark(file.path, content)

    @staticmethod
    def _unchanged(handle: BinaryIO, file: Found) -> bool:
        return Found.of(file.path, os.fstat(handle.fileno())) == file

    def _rows(self, handle: BinaryIO, file: Found) -> Iterator[Batch]:
        place, content = self._resume(handle, file)
        if place is None and content and self._seen.same_content(file.path, content):
            self._done(handle, file, content)
            return
        # From here on the old content is no longer what was sent last, whoever stops us and wherever.
        self._seen.forget(file.path)
        reader = self._reader(handle, file)
        if reader:
            if reader.columns != self._buffer.columns and self._buffer.rows:
                yield self._flush()
            self._buffer.columns = reader.columns
            self._half = _Half(file, content, handle, reader)
            yield from self._take(reader, place)
        self._half = None
        if content and self._unchanged(handle, file):
            self._seen.add(file, content, time.time_ns())

    def _resume(self, handle: BinaryIO, file: Found) -> tuple[Place | None, bytes | None]:
        """Where to go on in the file, if it was half read, and its content; None where it changed behind that place."""
        at = self._at
        place = Place(at["offset"], at["line"]) if at else None
        if at and at["version"] == self._seen.version(file).hex():
            return place, bytes.fromhex(at["content"]) or None
        content = self._seen.content(file.path, digest(handle))
        if at and place and content.hex() != at["content"]:
            # Grown, most likely: go on, lest a file that always grows is never read to its end, and read all next time.
            return (place, None) if tail(handle, place.offset) == at["tail"] else (None, content)
        return place, content

    def _place(self, half: _Half) -> _At:
        place = half.reader.place
        return {
            "file": self._seen.path(half.file.path).hex(),
            "version": self._seen.version(half.file).hex() if half.file.aged(time.time_ns()) else "",
            "content": (half.content or b"").hex(),
            "offset": place.offset,
            "line": place.line,
            "tail": tail(half.handle, place.offset),
        }

    def _reader(self, handle: BinaryIO, file: Found) -> CsvRows | JsonRows | None:
        """Who reads the file's rows; None where it has none, or was set aside as a whole."""
        stream, path = self._plan.stream, file.path.lower()
        handle.seek(0)
        head = handle.read(HEAD)
        encoding = encoding_of(head[:4], self._options.encoding)
        if not looks_textual(head, encoding) and not decodes(head, encoding.name, whole=False):
            self._set_aside(file.path, "not_text", "the file holds no rows of text: leave it out by `patterns`")
            return None
        lines = Lines(handle, self._options.encoding)
        if stream.format == "csv" or (stream.format == "auto" and path.endswith(_CSV)):
            delimiter = stream.delimiter or ("\t" if path.endswith(".tsv") else "")
            rows = CsvRows(lines, shown(file.path), stream.key, header=stream.header, delimiter=delimiter)
            if rows.refusal:
                self._reject(rows.refusal)
            return rows if rows.columns and not rows.refusal else None
        return JsonRows(lines, shown(file.path), stream.key)

    def _take(self, reader: CsvRows | JsonRows, place: Place | None) -> Iterator[Batch]:
        if place:
            reader.go_to(place)
        before = reader.place.offset
        for item in reader.rows():
            if isinstance(item, Reject):
                self._reject(item)
            else:
                self._buffer.add(item, reader.place.offset - before)
            before = reader.place.offset
            if self._buffer.full():
                yield self._flush()
