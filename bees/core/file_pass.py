"""One look at all files of a stream, perhaps the rest of one that was begun before.

Cursor: what `Memory` holds, `at` the place in a file half read, `doubtful` others that were left half read, `inside`
what was read of an archive that changed or went since and stands in no record yet, `moved` old names that were told in
`moved_from`, `full` where the pass began from nothing and left out nothing but what is set aside by its key, so that
its end is the end of a complete read, `listed` where it began from nothing and saw all folders, `held` how many
deletions wait for a person, `waits` how many legs in a row ended at the next file because the source asked to wait.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, TypedDict

import pyarrow as pa
import structlog

from bees.core.errors import RetryLater, SourceError
from bees.core.file_gone import Piece, gone
from bees.core.file_inside import Found, Told, by_archive, inside_of, member_key, merged, packed_keys
from bees.core.file_listing import SMALL, Item, ahead, items
from bees.core.file_rows import (
    HOLDERS,
    holds_others,
    is_document,
    is_lost_archive,
    is_misnamed,
    judged,
    no_document,
    reading_of,
    rows_may_be_in,
)
from bees.core.file_sections import LISTED, Sections, of_rows_only
from bees.core.filebee import FileOptions, Plan
from bees.core.files import digest, document, document_table, shown, tail, trouble
from bees.core.formats import Place, TableBuffer, read_rows
from bees.core.formats.members import LeftOut, members
from bees.core.formats.names import BLANK, is_lock, seen_kind
from bees.core.formats.packed import beginning
from bees.core.storage.base import IN_A_ROW, Closed, Entry, Gone, NotReadError, Opened, Storage, Unreadable
from bees.core.storage.memory import EMPTY, KIND, MISSING, NO_VERSION, ONLY_NAMED, SENT, Memory, Record
from bees.core.storage.ranges import CUT_SHORT
from bees.core.tabular import RowBuffer
from nectar.batch import Batch, Cursor, Reject
from nectar.extract.text import HEAD

_FEW = 20
_QUIET = 20.0
"""Seconds of a listing that gives no batch, after which an empty one carries its place: the next leg goes on there."""
_MOST_WAITS = 5
"""Times that a file is waited for because the source asks to wait; after them it fails as others do."""
_LOOKS = 3
"""Old paths of a content that are looked for to find one that is gone."""
_STUCK = (CUT_SHORT, "file_system")
"""What a file may do for itself at the same place each time."""
_DENIED = (Closed("").code, Closed("").reason)
_MISNAMED = "the file is a table, and its name does not say so: give it an ending, or a stream with `format`"
_NO_TABLE = (
    "the file held rows and is empty or of another kind now: what it gave stays until it is a table again; "
    "if this is meant, fly the bee with --full-refresh, or set `max_deleted: 1`"
)
_NO_ARCHIVE = (
    "the file held documents and is no archive now: what it gave stays until it is one again; "
    "if this is meant, fly the bee with --full-refresh, or set `max_deleted: 1`"
)
_NOTHING = (
    "nothing at all is listed under `path`, and what came from there before stays: check `path`; "
    "if this is meant, `max_deleted: 1` or --full-refresh says so"
)
_EMPTY = "the file is empty, as no whole one of its kind is"
_NOT_THERE = (
    "the source lists the file, and twice it was not there when it was read: the name may hold signs that cannot be "
    "asked for, so rename it there, or leave it out by `patterns`"
)
_log = structlog.get_logger()


class _At(TypedDict):
    """Where reading stopped within a file. `version` is empty where it was too young to be trusted, `content` where
    the file had changed while it was read.
    """

    file: str
    version: str
    content: str
    place: Place
    tail: str
    spoilt: bool


@dataclass(frozen=True)
class _Half:
    """The file whose rows are being read. `content` is None once it changed under the reader: nothing is sure then.

    `spoilt`: some of it was left out.
    """

    entry: Entry
    content: bytes | None
    handle: BinaryIO
    place: Place
    spoilt: bool = False


class Pass:
    def __init__(self, storage: Storage, plan: Plan, options: FileOptions, cursor: Cursor) -> None:
        self._storage = storage
        self._plan = plan
        self._options = options
        self._cursor = cursor
        snapshot = options.mode == "bucket_snapshot"
        self._memory = Memory(plan.settings, cursor, keep=not snapshot)
        self._begun = self._memory.pos
        self._at: _At | None = cursor.get("at")
        self._at_key = base64.b64decode(self._at["file"]) if self._at else b""
        # Of these files something else was sent last than what is known of them: they were half read.
        self._doubtful = {base64.b64decode(key) for key in cursor.get("doubtful", ())}
        if self._at:
            self._doubtful.add(self._at_key)
        monitored = plan.document and options.mode == "file_monitor"
        self._inside = by_archive(inside_of(cursor) if monitored else ())
        self._full = not cursor or "full" in cursor or (snapshot and "pos" not in cursor)
        self._listed = (not cursor or "listed" in cursor) and options.mode == "file_monitor"
        self._begins = not cursor or "begins" in cursor
        self._anew = "anew" in cursor
        self._met = self._bare = False
        self._closed: list[bytes] = []
        self._half: _Half | None = None
        self._broken: _At | None = None
        self._documents = RowBuffer(options.batch_rows, options.batch_bytes)
        self._tables = TableBuffer(options.batch_rows, options.batch_bytes)
        self._buffer: RowBuffer | TableBuffer = self._documents if plan.document else self._tables
        self._sections = Sections(on=options.mode == "file_monitor" and not plan.document)
        self._found = Found({})
        self._failures = self._given = self._waits = 0
        self._passed: Counter[bytes] = Counter()  # content -> paths that were looked at for an old name
        self._moved = Told(cursor.get("moved"))
        self._from: Place = {}
        self._sent = cursor
        self._quiet = float("inf")

    def batches(self) -> Iterator[Batch]:
        listed = items(self._storage, self._memory, self._plan, self._options)
        turns = ahead(listed, self._storage, self._is_fetched)
        try:
            for item in turns:
                yield from self._take(item)
                # Counted from the first file on, so that each leg gets further than the one before.
                self._quiet = min(self._quiet, time.monotonic() + _QUIET)
                if self._buffer.full() or time.monotonic() >= self._quiet:
                    yield self._flush()
            self._bare = self._is_bare()
        except SourceError:
            # What was read before it failed is not read again.
            if self._buffer.rows or self._buffer.rejects or self._memory.pos != self._begun or self._waits:
                yield self._flush()
            raise
        finally:
            turns.close()
        yield from self._end()

    def _is_bare(self) -> bool:
        """Whether nothing is listed where a folder that is not there looks the same, and more than that is lost by it.

        Not where a person says that it is meant.
        """
        known = self._full or self._memory.missing
        asked = known and not (self._met or self._anew) and self._options.max_deleted < 1
        return bool(asked) and not self._storage.is_there()

    def _is_fetched(self, item: Item, entry: Entry) -> bool:
        return self._storage.concurrency > 1 and entry.size <= SMALL and not self._same_version(item, entry)

    def _take(self, item: Item) -> Iterator[Batch]:
        self._met = self._met or item.now is not None
        if self._at and item.key > self._at_key:
            self._at = None
        if item.now is not None and (mine := self._inside.get(item.key)):
            item.members = list(merged(item.members, mine, sure=False))
        if item.key in self._doubtful and (item.now is not None or self._plan.document):
            self._doubtful.remove(item.key)
            known = None if self._plan.document else item.old
            item.old = known and known._replace(version=NO_VERSION, content=NO_VERSION)
        if item.now is None:
            self._memory.keep(item.key, self._absent(item.old))
        elif isinstance(item.now, Closed):
            self._closed.append(item.now.key if item.now.path else b"")
            self._full = self._listed = False
            self._unreadable(item, item.now.code, item.now.reason)
        elif self._same_version(item, item.now) and item.old:
            self._memory.keep(item.key, item.old)
        else:
            yield from self._read(item, item.now)
        for member in item.members:
            self._memory.keep(member.key, member)
        if item.now is not None:
            self._inside.pop(item.key, None)

    def _same_version(self, item: Item, entry: Entry) -> bool:
        half = self._at is not None and item.key == self._at_key
        return not half and item.old is not None and item.old.version == self._memory.version(entry)

    def _absent(self, old: Record | None) -> Record | None:
        """What stays known of a path that was not listed: nothing counts as deleted in a folder that is closed."""
        if old is None or any(old.key.startswith(prefix) for prefix in self._closed):
            return old
        return old._replace(flags=old.flags | MISSING) if old.flags & SENT else None

    def _read(self, item: Item, entry: Entry) -> Iterator[Batch]:
        try:
            file = item.job.result() if item.job else self._storage.open(entry)
            try:
                if self._plan.document:
                    yield from self._document(file, item)
                else:
                    yield from self._rows(file, item)
            except (RetryLater, OSError):
                self._broken = self._place(self._half) if self._half else None  # while the file is open
                raise
            finally:
                file.close()
            self._failures = 0
        except (NotReadError, RetryLater, OSError) as error:
            if self._listed and not self._sections.reading:
                self._sections.there(shown(entry.path), self._tables.count)
            self._not_read(item, error)
        self._sections.end(self._tables.count, whole=False)
        self._half = self._broken = None
        if item.key >= self._at_key:  # a file that came before the one that is half read leaves that as it is
            self._at = None

    def _not_read(self, item: Item, error: Exception) -> None:
        if isinstance(error, Unreadable):
            self._unreadable(item, error.code, error.reason)
        elif isinstance(error, RetryLater):
            self._failing(item, error)
        elif isinstance(error, OSError):
            self._not_read(item, _of_the_system(error))
        else:
            self._vanished(item)

    def _vanished(self, item: Item) -> None:
        """The next pass finds out whether it is gone for good. Some of its rows may have come.

        The same version listed once more, and again not there, did not go: it cannot be asked for by its name.
        """
        self._full = False
        listed = self._memory.version(item.now) if isinstance(item.now, Entry) else b""
        mark = self._memory.content(b"not there " + listed)
        content = item.old.content if item.old else NO_VERSION
        if content in (mark, self._memory.content(b"not_there")):
            self._unreadable(item, "not_there", _NOT_THERE)
            return
        old = item.old or Record(item.key, NO_VERSION, NO_VERSION, self._flags(item))
        self._memory.keep(
            item.key, old._replace(version=NO_VERSION, content=content if content == ONLY_NAMED else mark)
        )

    def _failing(self, item: Item, error: RetryLater) -> None:
        """One file that fails is tried again by the next pass, and set aside if it fails there too."""
        if (error.after is not None or error.code == "rate_limited") and self._waited < _MOST_WAITS:
            self._waits = self._waited + 1 if self._memory.pos == self._begun else 1
            raise error
        self._failures += 1
        # One that always fails at the same place fails for itself, and keeps no other from being read.
        told = item.old is not None and item.old.content == self._memory.content(b"unavailable")
        own = self._half is not None and (told or self._half.place == self._from)
        stuck = own and (error.code in _STUCK or self._answers())
        if (self._half and not stuck) or self._failures >= IN_A_ROW:
            raise error
        once = self._memory.content(b"failed once")
        if told or (item.old and item.old.content == once) or (stuck and self._from):
            reason = f"the file could not be read ({error.code}); each flight tries it again"
            self._unreadable(item, "unavailable", reason)
        else:
            _log.warning("a file could not be read now", stream=self._plan.name, code=error.code)
            self._full = False
            self._memory.keep(item.key, Record(item.key, NO_VERSION, once, self._flags(item)))

    @property
    def _waited(self) -> int:
        """Legs in a row that the source ended at this very file, because it asked to be asked later."""
        return int(self._cursor.get("waits", 0)) if self._memory.pos == self._begun else 0

    def _answers(self) -> bool:
        """Whether the source answers at all."""
        try:
            self._storage.check()
        except (NotReadError, SourceError, OSError):
            return False
        return True

    def _unreadable(self, item: Item, code: str, reason: str) -> None:
        mark = self._memory.content(code.encode())
        path = os.fsdecode(item.key)
        # A document is known by its path, and stays; what stood in an archive is not known.
        self._full = self._full and self._plan.document and not path.lower().endswith(("/", *HOLDERS))
        if item.old is None or item.old.content != mark:
            self._reject(Reject(shown(path.removesuffix("/")), code, reason))
        self._memory.keep(item.key, Record(item.key, NO_VERSION, mark, self._flags(item)))

    def _flags(self, item: Item) -> int:
        """Of a file that cannot be read now: some of it may be in the jar, from before everything was read anew too."""
        if item.key.endswith(b"/") or (self._plan.document and not self._listed):
            return item.flags
        return SENT | (item.old.flags & ~MISSING if item.old else 0)

    def _reject(self, reject: Reject) -> None:
        self._buffer.rejects.append(reject)
        self._buffer.size += len(reject.raw)

    def _document(self, file: Opened, item: Item) -> Iterator[Batch]:
        memory, limit, declared = self._memory, self._options.max_file_bytes, self._options.encoding
        data = file.handle.read(HEAD)
        if self._is_no_archive(file, item, data):
            return
        if not is_document(data, declared, file.entry.path):
            self._no_document(file, item, data)
            return
        large = file.entry.size > limit
        if not large:
            data += file.handle.read(max(limit + 1 - len(data), 0))
            large = len(data) > limit
        if holds_others(data, file.entry.path):
            yield from self._members(file, item)
            return
        content = memory.content(b"too_large" if large else _print(data))
        flags = item.flags
        item.members = list(merged(item.members, (), sure=not large))  # it may have been an archive
        if item.old is None or item.old.content != content:
            name = shown(file.entry.path)
            told = len(self._buffer.rejects)
            if large:
                reason = f"the file is larger than `max_file_bytes`, {limit} bytes"
                self._reject(Reject(name, "too_large", reason))
            elif self._judged(file.entry, name, data, self._moved_from(item, content)):
                flags = SENT
            flags = self._flags(item) if len(self._buffer.rejects) > told else flags
        self._keep(file, item, content, flags)

    def _is_no_archive(self, file: Opened, item: Item, head: bytes) -> bool:
        """Whether a file that is called an archive is empty, or gave documents and holds none: what it gave stays.

        That is told once. Where everything is read anew nothing is known of it, and a text is believed to be one.
        """
        known = any(m.flags & SENT and m.content != ONLY_NAMED for m in item.members)
        held = known and self._options.max_deleted < 1
        if (head and not held) or not is_lost_archive(head, file.entry.path):
            return False
        code, reason = ("no_archive_now", _NO_ARCHIVE) if head else ("empty_file", _EMPTY)
        content = self._memory.content(code.encode())
        self._full = False
        if item.old is None or item.old.content != content:
            self._reject(Reject(shown(file.entry.path), code, reason))
        self._keep(file, item, content, item.flags)
        return True

    def _no_document(self, file: Opened, item: Item, head: bytes) -> None:
        """Left out: a picture, a program. A table that nobody takes for one is told, and what is called a document."""
        misnamed = self._plan.rows_apart and is_misnamed(head, file.entry.path)
        told = ("misnamed_table", _MISNAMED) if misnamed else no_document(head, file.entry.path)
        content = self._memory.content(told[0].encode() if told else b"binary")
        if told and (item.old is None or item.old.content != content):
            self._reject(Reject(shown(file.entry.path), *told))
        # A document is known by its path, and stays; what stood in an archive is not known.
        self._full = self._full and not (told and file.entry.path.lower().endswith(HOLDERS))
        self._keep(file, item, content, self._flags(item) if told else item.flags)

    def _judged(self, entry: Entry, name: str, data: bytes, moved_from: str | None = None) -> bool:
        """Whether a document's row was taken; else it is set aside or left out."""
        found = judged(name, data, self._options.encoding)
        if found.reject:
            self._reject(found.reject)
        elif found.data is not None:
            self._documents.add(document(entry, found.data, found.media_type, moved_from), len(data))
            return True
        return False

    def _members(self, file: Opened, item: Item) -> Iterator[Batch]:
        """The documents within an archive, as far as they are not read already."""
        place, content = self._resume(file, item)
        if place is None and content and item.old and item.old.content == content:
            self._keep(file, item, content, item.flags)
            return
        found = self._found = Found(place or {})
        top, passed = (place or {}).get("member", 0), (place or {}).get("passed", 0)
        again = passed
        half = _Half(file.entry, content, file.handle, place or {})
        apart = self._plan.rows_apart and rows_may_be_in(file.entry.path)
        for one in members(file.handle, file.entry.path, top, rows_apart=apart):
            if isinstance(one, Reject):
                found.sure = False
                self._full = self._full and isinstance(one, LeftOut)
                self._reject(Reject(shown(one.position), one.code, one.reason, one.raw))
            elif again and one.top == top:
                again -= 1  # of an archive within, and read before reading stopped
            else:
                passed = passed + 1 if one.top == top else 1
                top, again = one.top, 0
                self._half = replace(half, place={"member": top, "passed": passed})
                key, told = member_key(item.key, one.path), len(self._buffer.rejects)
                meant = not is_lock(one.path)
                if meant and self._judged(replace(file.entry, path=one.path), shown(one.path), one.data) and key:
                    found.keys.add(key)
                found.sure = found.sure and len(self._buffer.rejects) == told
            if self._buffer.full():
                yield self._flush()
        self._half = None
        self._keep(file, item, content or NO_VERSION, item.flags)
        item.members = list(merged(item.members, found.keys, sure=found.sure))

    def _moved_from(self, item: Item, content: bytes) -> str | None:
        """The path of a document with this content that is there no more; each is told once."""
        if item.flags & SENT:
            return None
        looks = 0
        for key in self._memory.same_content(content, self._passed[content]):
            self._passed[content] += 1
            if key == item.key or key in self._moved:
                continue
            with contextlib.suppress(NotReadError, SourceError):
                if self._storage.look(os.fsdecode(key)) is None:
                    self._moved.add(key)
                    return shown(os.fsdecode(key))
            looks += 1
            if looks == _LOOKS:
                break
        return None

    def _keep(self, file: Opened, item: Item, content: bytes, flags: int = 0) -> None:
        """The file was read. A version as young as a clock's grain is not trusted: it is read again next time."""
        same = file.same()
        self._full = self._full and same
        sure = same and self._trusted(file.entry)
        version = self._memory.version(file.entry) if sure else NO_VERSION
        self._memory.keep(item.key, Record(item.key, version, content, flags))

    def _trusted(self, entry: Entry) -> bool:
        return entry.stamp is None or entry.stamp < self._storage.clock() - self._storage.grain

    def _rows(self, file: Opened, item: Item) -> Iterator[Batch]:
        place, content = self._resume(file, item)
        if place is None and content and item.old and item.old.content == content:
            self._keep(file, item, content, item.old.flags)
            return
        kind = 0 if place else self._kind(file)
        if place is None and self._is_no_table(file, item, kind):
            self._no_table(file, item)
            return
        spoilt = bool(place and self._at and self._at.get("spoilt"))
        self._sections.begin(shown(file.entry.path), self._tables.count, begins=place is None)
        self._given = 0
        yield from self._taken(_Half(file.entry, content, file.handle, place or {}, spoilt), place)
        spoilt = spoilt if self._half is None else self._half.spoilt
        self._half = None
        empty = place is None and not self._given
        if empty and not spoilt and self._is_no_table(file, item, kind, read=True):
            self._no_table(file, item)
            return
        flags = SENT | (EMPTY if empty else 0) | kind << KIND
        same = file.same()
        self._full = self._full and same
        self._sections.end(self._tables.count, whole=same and not spoilt and (place is None or content is not None))
        if content and same:
            self._keep(file, item, content, flags)
        else:
            self._memory.keep(item.key, Record(item.key, NO_VERSION, NO_VERSION, flags))

    def _kind(self, file: Opened) -> int:
        head, whole = beginning(file.handle, file.entry.path, HEAD)
        return seen_kind(head, whole=whole)

    def _is_no_table(self, file: Opened, item: Item, kind: int, *, read: bool = False) -> bool:
        """Whether a file that gave rows is empty now, or of another kind: the end of a transfer, a server's error.

        `read`: it gave none this time. Where everything is read anew nothing is known of it, and it is believed.
        """
        flags = item.old.flags if item.old else 0
        monitored = self._options.mode == "file_monitor" and self._options.max_deleted < 1
        if not monitored or not flags & SENT or flags & EMPTY or not item.old or item.old.content == ONLY_NAMED:
            return False
        was = flags >> KIND
        told = self._trusted(file.entry) and item.old is not None and item.old.content == self._no_table_mark(file)
        return told or kind == BLANK or bool(was and kind != was and (kind or read))

    def _no_table(self, file: Opened, item: Item) -> None:
        """Nothing of what it gave is deleted, and that is told once."""
        assert item.old is not None
        name, mark = shown(file.entry.path), self._no_table_mark(file)
        if not self._sections.reading:
            self._sections.begin(name, self._tables.count, begins=True)
        if item.old.content != mark:
            self._reject(Reject(name, "no_table_now", _NO_TABLE))
        self._full = False
        self._sections.end(self._tables.count, whole=False)
        self._memory.keep(item.key, Record(item.key, NO_VERSION, mark, item.old.flags & ~MISSING))

    def _no_table_mark(self, file: Opened) -> bytes:
        return self._memory.content(b"no table " + self._memory.version(file.entry))

    def _resume(self, file: Opened, item: Item) -> tuple[Place | None, bytes | None]:
        """Where to go on in the file, if it was half read, and its content; None where it changed behind that place."""
        at = self._at if item.key == self._at_key else None
        place = (at["place"] or None) if at else None
        if at and at["version"] == self._memory.version(file.entry).hex():
            return place, bytes.fromhex(at["content"]) or None
        content = self._content(file)
        if at and place and (content is None or content.hex() != at["content"]):
            # Grown, most likely: go on, lest a file that always grows is never read to its end, and read all next time.
            grown = "offset" in place and tail(file.handle, place["offset"]) == at["tail"]
            return (place, None) if grown else (None, content)
        return place, content

    def _content(self, file: Opened) -> bytes | None:
        """What the file holds: a print of its bytes, or of its version where the bytes are far away; None: not sure."""
        if self._storage.digests:
            return self._memory.content(digest(file.handle))
        return self._memory.version(file.entry) if self._trusted(file.entry) else None

    def _taken(self, half: _Half, place: Place | None) -> Iterator[Batch]:
        options = self._options
        reading = reading_of(self._plan.stream, options.encoding, options.batch_rows, options.batch_bytes)
        reading = replace(reading, rows_apart=self._plan.rows_apart)
        self._half = half
        self._from = half.place
        for part in read_rows(half.handle, shown(half.entry.path), reading, place):
            if not self._tables.fits(part):
                yield self._flush()
            self._tables.add(part)
            self._given += part.table.num_rows
            rows_only = part.whole and of_rows_only(part.rejects, placed=not self._plan.key)
            self._full = self._full and rows_only
            spoilt = self._half.spoilt or not rows_only
            self._half = replace(half, place=part.place, spoilt=spoilt)
            if self._tables.full():
                yield self._flush()

    def _flush(self, cursor: Cursor | None = None, *, complete: bool = False) -> Batch:
        buffer = self._buffer
        table = document_table(self._documents.rows) if self._plan.document else self._tables.table()
        sections = self._sections.take(table.num_rows)
        batch = Batch(
            self._plan.name,
            table,
            cursor or self._here(),
            None,
            complete,
            tuple(buffer.rejects),
            self._begins,
            sections,
        )
        self._begins = False
        self._sent = batch.cursor
        self._quiet = time.monotonic() + _QUIET
        buffer.clear()
        return batch

    def _here(self) -> Cursor:
        here = self._memory.stored()
        if self._anew:
            here["anew"] = True
        if self._full:
            here["full"] = True
        if self._listed:
            here["listed"] = True
        if "held" in self._cursor:
            here["held"] = self._cursor["held"]
        if self._waits:
            here["waits"] = self._waits
        at = self._broken or (self._place(self._half) if self._half else self._at)
        left = sorted(self._doubtful - ({base64.b64decode(at["file"])} if at else set()))
        if left:
            here["doubtful"] = [base64.b64encode(key).decode() for key in left]
        if self._moved:
            here["moved"] = self._moved.stored()
        if self._inside and (inside := set().union(*self._inside.values()) - inside_of({"at": at})):
            here["inside"] = packed_keys(inside)
        return here | ({"at": at} if at else {})

    def _place(self, half: _Half) -> _At:
        place = half.place
        if self._plan.document:
            place = {**place, **self._found.stored()}
        try:
            before = tail(half.handle, place["offset"]) if "offset" in place else ""
        except (NotReadError, SourceError, OSError):
            before = ""
        return {
            "file": base64.b64encode(half.entry.key).decode(),
            "version": self._memory.version(half.entry).hex() if self._trusted(half.entry) else "",
            "content": (half.content or b"").hex(),
            "place": place,
            "tail": before,
            "spoilt": half.spoilt,
        }

    def _end(self) -> Iterator[Batch]:
        pieces: Iterator[Piece] = iter(())
        held = files = 0
        lost = self._lost()
        met = self._anew and self._full  # what a complete reading of everything did not meet the hive finds out itself
        if self._options.mode == "file_monitor" and (self._memory.missing or lost):
            files, missing = self._memory.counted(met=met)
            if self._bare or (missing > _FEW and missing > files * self._options.max_deleted):
                held = missing
            else:
                pieces = gone(self._memory, lost, self._options.batch_rows, met=met)
        anew: Cursor = {}
        if self._bare and self._full:  # of earlier readings nothing is known, and a complete one would end them
            held = held or 1
            anew = {"full": True, "begins": True} | ({"listed": True} if self._listed else {})
            self._full = self._listed = False
        if held and held != self._cursor.get("held"):
            what = "documents are gone" if self._plan.document else "files are gone"
            reason = f"{held} of {files} {what}, more than `max_deleted`: none of them was deleted"
            self._full = False
            told = ("nothing_listed", _NOTHING) if self._bare else ("too_many_gone", reason)
            self._reject(Reject(self._plan.name, *told))
        for piece in pieces:
            if self._plan.document and (self._buffer.rows or self._buffer.rejects):
                yield self._flush()
            for name in () if self._plan.document else piece.paths:
                self._sections.gone(name, self._tables.count)
            if not piece.last:  # a leg that begins here goes on behind it
                self._memory.forget(piece.upto)
                yield self._deletes(piece.paths, self._here()) if self._plan.document else self._flush()
            elif self._plan.document:
                yield self._deletes(piece.paths, self._ended(held), complete=self._full)
                return
        for name in [LISTED] if self._listed else []:
            self._sections.gone(name, self._tables.count)
        end = {**self._ended(held), **anew}
        if self._buffer.rows or self._buffer.rejects or self._sections.wait() or end != self._sent or "whole" in end:
            yield self._flush(end, complete=self._full)

    def _lost(self) -> set[bytes]:
        """Files of rows, or files in archives, that were read by an earlier leg, and never listed since."""
        lost = set().union(*self._inside.values()) if self._plan.document else self._doubtful
        return {key for key in lost if not any(key.startswith(prefix) for prefix in self._closed)}

    def _ended(self, held: int) -> Cursor:
        ended = self._memory.ended(forget=not held) | ({"held": held} if held else {})
        left = set().union(*self._inside.values()) - (set() if held else self._lost())
        ended |= {"moved": self._moved.stored()} if held and self._moved else {}
        return ended | ({"inside": packed_keys(left)} if left else {})

    def _deletes(self, paths: list[str], cursor: Cursor, *, complete: bool = False) -> Batch:
        table = pa.table({"path": pa.array(paths, pa.string()), "_op": pa.array(["delete"] * len(paths), pa.string())})
        return Batch(self._plan.name, table, cursor, None, complete)


def _of_the_system(error: OSError) -> NotReadError | RetryLater:
    """What a failure of this machine's file system means for one file."""
    try:
        return Unreadable(*_DENIED) if trouble(error, "path") == "unreadable" else Gone()
    except RetryLater as later:
        return later


def _print(data: bytes) -> bytes:
    return hashlib.blake2b(data).digest()
