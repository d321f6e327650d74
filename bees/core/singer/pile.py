"""From a tap's messages to batches: records lie here until there are enough of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bees.core.deletes import is_gone, with_deletes
from bees.core.errors import GiveUp
from bees.core.singer.messages import DELETED, batch_lines, read, several, stream_of
from bees.core.singer.process import TooLong
from bees.core.singer.versions import Version, Versions, version_of
from nectar.batch import Batch, Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import sift, table, text

_MOST_RAW = 1 << 20
_MOST_GARBAGE = 1000
"""Lines that are no messages, before a tap is none."""


@dataclass(frozen=True)
class Bounds:
    """Where a batch is closed, in records and bytes; bytes of one line at most."""

    rows: int
    size: int
    line: int


@dataclass
class Pile:
    """Records of the next batch, and the state that covers what was given out before."""

    stream: str
    names: set[str]
    """What the tap may call the stream."""
    bounds: Bounds
    state: str | None = None
    versions: Versions = field(default_factory=Versions)
    begins: bool = False
    """The next batch begins a reading of everything. Set at first: one that is complete when the tap ends well."""
    rows: list[Any] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    size: int = 0
    given: int = 0
    lines: int = 0
    garbage: int = 0
    is_over: bool = False
    """The limit is reached."""

    def __post_init__(self) -> None:
        self._version: object = self
        """Of the newest record; at first another one than any."""
        self._bare = False
        """Records came that say no version: nothing tells that those of one are all there is."""
        self._is_whole = self.begins
        self._safe = self.versions.told
        """What was told to be activated in front of `state`."""

    def take(self, block: Sequence[bytes | TooLong], limit: int | None) -> Iterator[Batch]:
        """Take lines in; batches come out as there is enough for them. `limit`: the most records in all."""
        bounds, names = self.bounds, self.names
        messages = several([line for line in block if not isinstance(line, TooLong)])
        for line in block:
            self.lines += 1
            message = line if isinstance(line, TooLong) else next(messages)
            if isinstance(line, bytes) and type(message) is dict and message["type"] == "RECORD":  # nearly all of them
                if message.get("stream") not in names:
                    continue
                if message.get("version") != self._version:
                    yield from self._turn(version_of(message))
                self.rows.append(message.get("record"))
                self.size += len(line)
                if self.size >= bounds.size or len(self.rows) >= bounds.rows:
                    yield from self.flush()
            else:
                yield from self._other(message, line)
            if limit is not None and self.given + len(self.rows) >= limit:
                yield from self.flush(most=limit - self.given)
                self.is_over = True
                return

    def flush(self, most: int | None = None) -> Iterator[Batch]:
        """What lies here, if anything does."""
        if self.rows or self.rejects:
            yield self._batch(most)

    def last(self) -> Iterator[Batch]:
        """The tap ended well."""
        complete = self._is_whole
        if (told := self.versions.told) is not None and not self._bare:
            complete, empty = self.versions.activate(told)
            if empty:  # nothing is left in it: what lies here is of another one
                yield from self.flush()
                self.begins = True
        batch = self._batch(None)
        yield replace(batch, cursor={**batch.cursor, "done": True}, complete=complete, ends=True)

    def _turn(self, version: Version | None) -> Iterator[Batch]:
        """The next records are of another version, or of none."""
        self._version = version
        if version is None:
            self._bare = True
            return
        self._follow_versions()
        if version in (self.versions.active, self.versions.begun):
            return
        yield from self.flush()
        self.versions.begins(version)
        self.begins = True
        self._safe = None  # what was told in front of it is of the one before

    def _follow_versions(self) -> None:
        """The tap tells itself what is whole: its end says nothing of it."""
        if self._is_whole:
            self._is_whole = False
            self.begins = False

    def _other(self, message: dict[str, Any] | SkipRecord | TooLong, line: bytes | TooLong) -> Iterator[Batch]:
        """What is no RECORD."""
        if isinstance(line, TooLong):
            reason = f"the line has more than {self.bounds.line} bytes (option line_limit)"
            self._reject("line_too_long", reason, line.head)
        elif isinstance(message, SkipRecord):
            if line.strip():
                self._reject(message.code, str(message), line)
        elif isinstance(message, dict):
            if message["type"] == "STATE":
                self.state, self._safe = text(message.get("value")), self.versions.told
            elif message["type"] == "ACTIVATE_VERSION" and stream_of(message) in self.names:
                self._activate(version_of(message))
            elif message["type"] == "BATCH" and stream_of(message) in self.names:
                yield from self._batches(message)

    def _activate(self, version: Version | None) -> None:
        """It counts once the tap ends well: those of the Singer SDK activate one in front of its records."""
        if version is not None:
            self._follow_versions()
            self.versions.told = None if version == self.versions.active else version

    def _batches(self, message: Mapping[str, Any]) -> Iterator[Batch]:
        self._bare = True
        for line in batch_lines(message, self.bounds.line):
            try:
                record = read(b'{"type":"RECORD","record":' + line + b"}")["record"]
            except SkipRecord as error:
                self._reject(error.code, str(error), line)
                continue
            self.rows.append(record)
            self.size += len(line)
            if len(self.rows) >= self.bounds.rows or self.size >= self.bounds.size:
                yield from self.flush()

    def _batch(self, most: int | None) -> Batch:
        rows, rejects = sift(self.rows[:most], f"{self.stream}, batch at line {self.lines}")
        rejects = [*self.rejects, *rejects]
        self.given += len(self.rows[:most])
        self.rows, self.rejects, self.size = [], [], 0
        begins, self.begins = self.begins, False
        cursor = {} if self.state is None else {"state": self.state}
        cursor |= replace(self.versions, told=self._safe).cursor()
        made = with_deletes(table(rows), [is_gone(row.get(DELETED)) for row in rows])
        return Batch(self.stream, made, cursor, None, False, tuple(rejects), begins)

    def _reject(self, code: str, reason: str, raw: bytes) -> None:
        self.garbage += 1
        if self.garbage > _MOST_GARBAGE and self.garbage * 2 > self.lines:
            message = "the command writes lines that are no Singer messages"
            raise GiveUp(message, code="not_singer", where="command", advice="check that it is a tap, and its output")
        self.rejects.append(Reject(f"{self.stream}, line {self.lines}", code, reason, raw[:_MOST_RAW]))
