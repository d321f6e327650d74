"""The file bee: texts as documents, tables as rows, on whichever file system an adapter opens.

A connector is `FileBee` with options and `connect`, which gives a `Storage`.

  file_monitor     new and changed files; documents and rows of files that are gone are deleted, once a pass has listed
                   everything; a document that came under a new name tells its old one in `moved_from`
  pattern_match    new and changed files; nothing is deleted
  bucket_snapshot  every file in every flight, with no memory: a bucket of any size has a cursor of one path; what a
                   complete flight did not meet is deleted

What was read is known by version (an ETag, or size and times) and by content, so a file that was only touched does
not come again. A changed table comes whole; the hive drops the rows that it has, and deletes those that the file holds
no more (`Batch.sections`: a file is one). What is within an archive comes under the archive's path and its own, such as
`letters.zip/2024/jane.txt`: texts as documents and tables as rows; both are deleted when they leave it.

The memory travels in each cursor, some 27 bytes a file: 100,000 files make cursors of 2.7 MB, one with every batch.
Above `max_files` a bee is refused: part it by `patterns` or by `path`, or take it as `bucket_snapshot`.
"""

from __future__ import annotations

import codecs
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field, field_validator

from bees.core.bee import BeeOptions, BeeType, Name, StreamName, WorkerBee
from bees.core.errors import GiveUp
from bees.core.file_inside import inside_of
from bees.core.file_rows import FileStream, Patterns, reading
from bees.core.files import DOCUMENT_COLUMNS, matcher
from bees.core.formats import ROW_ENDINGS
from bees.core.formats.names import is_lock, names_locks
from bees.core.storage.base import Storage, missing_driver
from bees.core.storage.memory import begun_anew, names_only
from bees.core.tabular import PLACE
from nectar import jsonrows
from nectar.batch import Batch, Cursor
from nectar.extract.text import encoding_of
from nectar.pollen import Stream

Mode = Literal["file_monitor", "pattern_match", "bucket_snapshot"]


class FileOptions(BeeOptions):
    """Options of every file system; connectors add where it is and who asks."""

    path: Name = Field(
        validation_alias=AliasChoices("path", "source_path"),
        description="the folder; nothing outside it is read",
    )
    mode: Mode = Field(
        "file_monitor", description="pattern_match: deletes nothing; bucket_snapshot: everything in every flight"
    )
    patterns: Patterns = Field(("*",), description="globs: by name at any depth, or by path when they hold a slash")
    recursive: bool = Field(True, description="read folders inside the folder too")
    encoding: str = Field(
        "auto",
        description="of texts without a byte order mark; auto: UTF-8, or what their letters tell",
    )
    max_file_bytes: int = Field(64 << 20, gt=0, description="a larger document is set aside; rows have no such limit")
    max_files: int = Field(1_000_000, gt=0, description="files of one stream; each takes some 27 bytes in every cursor")
    max_deleted: float = Field(
        0.3, ge=0, le=1, description="if more than this share of the files is gone, and over 20, none is deleted"
    )
    batch_rows: int = Field(5000, gt=0, description="a batch is closed at this number of records")
    batch_bytes: int = Field(8 << 20, gt=0, description="a batch is closed at this size")
    streams: dict[StreamName, FileStream] = Field(
        {}, description="unset: `records`, the rows of tables (CSV, Parquet..., in archives too), and `documents`"
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        if value == "auto":
            return value
        try:
            plain = not value or "\n".encode(encoding_of(b"", value).name).strip(b"\0") == b"\n"
        except LookupError:
            plain = False
        if not plain:
            raise ValueError("no encoding of text files that Python knows; examples: auto, utf-8, latin-1, utf-16")
        return codecs.lookup(value).name if value else ""


class RemoteOptions(FileOptions):
    """Options of every file system that is not this machine's."""

    path: Name = Field(
        "/", validation_alias=AliasChoices("path", "source_path"), description="the folder; nothing outside it is read"
    )
    concurrency: int = Field(8, ge=1, le=64, description="files or ranges that are read at once")
    timeout: float = Field(30.0, gt=0, le=3600, description="seconds to wait for an answer")
    allow_private: bool = Field(False, description="the source is meant to be on a private network or this machine")


@dataclass(frozen=True)
class Plan:
    """One stream as it is read. `settings` is whatever changes what a file gives."""

    name: str
    document: bool
    wanted: Callable[[str], bool]
    stream: FileStream
    key: tuple[str, ...]
    settings: str
    rows_apart: bool = False
    """Another stream reads the tables, also those within archives."""


class FileBee(WorkerBee):
    """A connector gives `connect` and `source_identity`; the adapter is kept open between legs."""

    bee_type: ClassVar[BeeType] = "file"
    extra: ClassVar[str] = ""
    """The extra that brings the adapter's library."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._storage: Storage | None = None

    @abstractmethod
    def connect(self) -> Storage:
        """The file system of the options. Raises SourceError."""

    def _opened(self) -> Storage:
        if self._storage is None:
            try:
                self._storage = self.connect()
            except ImportError as error:
                raise missing_driver(error, self.extra) from None
        return self._storage

    def validate_flight_path(self) -> None:
        self._opened().check()

    @classmethod
    def begin_flight(cls, cursor: Cursor) -> Cursor:
        """A pass that another flight left half done is begun anew: files may have come where it had passed already.

        What it read is not read again.
        """
        return begun_anew(cursor)

    @classmethod
    def begin_anew(cls, cursor: Cursor) -> Cursor:
        """What is gone is told by its name, also where an archive or a folder cannot be read."""
        # That somebody asked for it is known also where nothing is.
        anew = {"anew": True, "begins": True, "full": True, "listed": True}
        return names_only(cursor, inside_of(cursor)) or anew

    def get_pollen_schema(self) -> Sequence[Stream]:
        return [self._offer(self._plan(name)) for name in self._streams()]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        from bees.core.file_pass import Pass

        plan = self._plan(stream)
        if query:
            raise GiveUp("files cannot be asked a query", code="no_queries", where=stream, advice="leave the query out")
        yield from Pass(self._opened(), plan, self.options, cursor or {}).batches()

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": list(self._streams())}

    def stream_identity(self, stream: str) -> str:
        """Which of the folder's files are meant, and whether they are documents or rows."""
        plan = self._plan(stream)
        patterns = plan.stream.patterns or self.options.patterns
        return json.dumps([sorted(set(patterns)), self.options.recursive, plan.document])

    def close(self) -> None:
        if self._storage is not None:
            self._storage.close()
            self._storage = None

    def _streams(self) -> dict[str, FileStream]:
        chosen: dict[str, FileStream] = self.options.streams
        return chosen or {"documents": FileStream(format="document"), "records": FileStream()}

    def _plan(self, name: str) -> Plan:
        streams = self._streams()
        if name not in streams:
            advice = "the streams are " + ", ".join(streams)
            raise GiveUp(f"there is no stream {name!r}", code="no_stream", where="streams", advice=advice)
        stream = streams[name]
        document, endings = reading(stream, built_in=not self.options.streams)
        patterns = stream.patterns or self.options.patterns
        matches = matcher(patterns)
        locks = matcher(tuple(filter(names_locks, patterns)))
        # Of the two streams of every folder each file is in one: a rule on a field must not be passed by in a text.
        refused = ROW_ENDINGS if document and not self.options.streams else ()
        key = tuple(jsonrows.escape(field) for field in stream.key)
        if document and key not in ((), ("path",)):
            hint = "leave `key` out, or set `format` to one of rows, such as csv"
            raise GiveUp("the key of documents is their path", code="no_key", where=f"streams.{name}.key", advice=hint)
        how = [stream.format, stream.header, stream.delimiter, key, self.options.encoding]
        how += [stream.element] if stream.element else []
        how += [self.options.max_file_bytes] if document else []
        # Which file a row came from is told in one mode only: in it, what was read in another comes anew.
        how += ["sections"] if not document and self.options.mode == "file_monitor" else []
        return Plan(
            name=name, document=document, stream=stream, key=key, settings=json.dumps(how),
            rows_apart=not self.options.streams,
            wanted=lambda path: matches(path)
            and (not is_lock(path) or locks(path))
            and (not endings or path.lower().endswith(endings))
            and not (refused and path.lower().endswith(refused)),
        )  # fmt: skip

    def _offer(self, plan: Plan) -> Stream:
        # Not a column's value but each file's version is followed; `modified` is its nearest name. A snapshot follows
        # nothing: what it did not meet is gone.
        followed = None if self.options.mode == "bucket_snapshot" else "modified"
        if plan.document:
            found = Stream(plan.name, DOCUMENT_COLUMNS, ("path",), ("modified",), followed, document=True)
        else:
            found = Stream(plan.name, (), plan.key or PLACE, ("modified",), followed)
        return replace(found, versions=self.options.mode == "file_monitor")
