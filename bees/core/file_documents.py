"""Reading one file of a stream of documents: a document, or the documents within an archive."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from bees.core.errors import SourceError
from bees.core.file_batches import Outgoing
from bees.core.file_cursor import Half, Leg
from bees.core.file_inside import Found, member_key, merged
from bees.core.file_known import Known
from bees.core.file_listing import Item
from bees.core.file_rows import (
    HOLDERS,
    holds_others,
    is_document,
    is_lost_archive,
    is_misnamed,
    judged,
    no_document,
    rows_may_be_in,
)
from bees.core.files import document, shown
from bees.core.formats.members import LeftOut, members
from bees.core.formats.names import is_lock
from bees.core.storage.base import Entry, NotReadError, Opened
from bees.core.storage.memory import NO_VERSION, ONLY_NAMED, SENT
from nectar.batch import Batch, Reject
from nectar.extract.text import HEAD

_LOOKS = 3
"""Old paths of a content that are looked for to find one that is gone."""
_MISNAMED = "the file is a table, and its name does not say so: give it an ending, or a stream with `format`"
_NO_ARCHIVE = (
    "the file held documents and is no archive now: what it gave stays until it is one again; "
    "if this is meant, fly the bee with --full-refresh, or set `max_deleted: 1`"
)
_EMPTY = "the file is empty, as no whole one of its kind is"


class Documents:
    """What a file gives to a stream of documents goes to `out`, what is known of it then to `known`."""

    def __init__(self, leg: Leg, known: Known, out: Outgoing) -> None:
        self._leg = leg
        self._known = known
        self._out = out
        self._storage = leg.storage
        self._plan = leg.plan
        self._options = leg.options
        self._memory = leg.memory
        self._passed: Counter[bytes] = Counter()  # content -> paths that were looked at for an old name

    def read(self, file: Opened, item: Item) -> Iterator[Batch]:
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
            told = len(self._out.buffer.rejects)
            if large:
                reason = f"the file is larger than `max_file_bytes`, {limit} bytes"
                self._out.reject(Reject(name, "too_large", reason))
            elif self._judged(file.entry, name, data, self._moved_from(item, content)):
                flags = SENT
            flags = self._known.flags(item) if len(self._out.buffer.rejects) > told else flags
        self._known.keep(file, item, content, flags)

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
        self._leg.full = False
        if item.old is None or item.old.content != content:
            self._out.reject(Reject(shown(file.entry.path), code, reason))
        self._known.keep(file, item, content, item.flags)
        return True

    def _no_document(self, file: Opened, item: Item, head: bytes) -> None:
        """Left out: a picture, a program. A table that nobody takes for one is told, and what is called a document."""
        misnamed = self._plan.rows_apart and is_misnamed(head, file.entry.path)
        told = ("misnamed_table", _MISNAMED) if misnamed else no_document(head, file.entry.path)
        content = self._memory.content(told[0].encode() if told else b"binary")
        if told and (item.old is None or item.old.content != content):
            self._out.reject(Reject(shown(file.entry.path), *told))
        # A document is known by its path, and stays; what stood in an archive is not known.
        self._leg.full = self._leg.full and not (told and file.entry.path.lower().endswith(HOLDERS))
        self._known.keep(file, item, content, self._known.flags(item) if told else item.flags)

    def _judged(self, entry: Entry, name: str, data: bytes, moved_from: str | None = None) -> bool:
        """Whether a document's row was taken; else it is set aside or left out."""
        found = judged(name, data, self._options.encoding)
        if found.reject:
            self._out.reject(found.reject)
        elif found.data is not None:
            self._out.documents.add(document(entry, found.data, found.media_type, moved_from), len(data))
            return True
        return False

    def _members(self, file: Opened, item: Item) -> Iterator[Batch]:
        """The documents within an archive, as far as they are not read already."""
        place, content = self._known.resume(file, item)
        if place is None and content and item.old and item.old.content == content:
            self._known.keep(file, item, content, item.flags)
            return
        found = self._leg.found = Found(place or {})
        top, passed = (place or {}).get("member", 0), (place or {}).get("passed", 0)
        again = passed
        half = Half(file.entry, content, file.handle, place or {})
        apart = self._plan.rows_apart and rows_may_be_in(file.entry.path)
        for one in members(file.handle, file.entry.path, top, rows_apart=apart):
            if isinstance(one, Reject):
                found.sure = False
                self._leg.full = self._leg.full and isinstance(one, LeftOut)
                self._out.reject(Reject(shown(one.position), one.code, one.reason, one.raw))
            elif again and one.top == top:
                again -= 1  # of an archive within, and read before reading stopped
            else:
                passed = passed + 1 if one.top == top else 1
                top, again = one.top, 0
                self._leg.half = replace(half, place={"member": top, "passed": passed})
                key, told = member_key(item.key, one.path), len(self._out.buffer.rejects)
                meant = not is_lock(one.path)
                if meant and self._judged(replace(file.entry, path=one.path), shown(one.path), one.data) and key:
                    found.keys.add(key)
                found.sure = found.sure and len(self._out.buffer.rejects) == told
            if self._out.buffer.full():
                yield self._out.flush()
        self._leg.half = None
        self._known.keep(file, item, content or NO_VERSION, item.flags)
        item.members = list(merged(item.members, found.keys, sure=found.sure))

    def _moved_from(self, item: Item, content: bytes) -> str | None:
        """The path of a document with this content that is there no more; each is told once."""
        if item.flags & SENT:
            return None
        looks = 0
        for key in self._memory.same_content(content, self._passed[content]):
            self._passed[content] += 1
            if key == item.key or key in self._leg.moved:
                continue
            with contextlib.suppress(NotReadError, SourceError):
                if self._storage.look(os.fsdecode(key)) is None:
                    self._leg.moved.add(key)
                    return shown(os.fsdecode(key))
            looks += 1
            if looks == _LOOKS:
                break
        return None


def _print(data: bytes) -> bytes:
    return hashlib.blake2b(data).digest()
