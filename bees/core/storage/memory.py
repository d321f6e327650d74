"""What a pass over many files remembers, in the order of their paths.

A record is a path, a print of the version that was read (6 bytes), one of its content (6 bytes) and flags. Some
thousand records are one block: paths with what they share with the one before left out, packed; about 20 bytes a file
in all, 27 characters in a cursor. The memory of an interrupted pass is what is done, then the old records from the
place reached on. It holds paths, because who reports a deleted file must name it; cursors are sealed by the hive.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from bees.core.storage.base import Entry

SENT, MISSING, EMPTY = 1, 2, 4
KIND = 3
"""Bits below the kind of a table."""
NO_VERSION = bytes(6)
ONLY_NAMED = b"\xff" * 6
"""The content of a file of which nothing but the name is known, since everything is read anew."""
_LEAST, _MOST = 1024, 8192
"""Records of a block: above the least it ends where a print of the path says so, and most blocks stay the same."""
_HEAD = struct.Struct("<II")
_STEP = struct.Struct("<HH")


class Record(NamedTuple):
    """`flags`: SENT, a document or rows of it are in the jar; MISSING, this pass did not find it.

    Of tables also EMPTY, no row came of it when it was read last, and above `KIND` what kind of table it was.
    """

    key: bytes
    version: bytes
    content: bytes
    flags: int = 0


def pack(records: Sequence[Record]) -> str:
    paths, prints, before = bytearray(), bytearray(), b""
    for record in records:
        folder = before.rfind(b"/") + 1
        shared = folder if record.key.startswith(before[:folder]) else 0
        paths += _STEP.pack(shared, len(record.key) - shared) + record.key[shared:]
        prints += record.version + record.content + bytes((record.flags,))
        before = record.key
    packed = zlib.compress(bytes(paths))
    return base64.b64encode(_HEAD.pack(len(records), len(packed)) + packed + bytes(prints)).decode()


def unpack(text: str) -> list[Record]:
    """Raises ValueError, binascii.Error, struct.error or zlib.error for what is no block."""
    raw = base64.b64decode(text, validate=True)
    count, length = _HEAD.unpack_from(raw)
    paths, prints = zlib.decompress(raw[_HEAD.size : _HEAD.size + length]), raw[_HEAD.size + length :]
    if len(prints) != 13 * count:
        raise ValueError("a block's prints are cut")
    records, at, before = [], 0, b""
    for number in range(count):
        shared, size = _STEP.unpack_from(paths, at)
        at += _STEP.size
        before = before[:shared] + paths[at : at + size]
        at += size
        mark = prints[13 * number : 13 * number + 13]
        records.append(Record(before, mark[:6], mark[6:12], mark[12]))
    return records


class Memory:
    """`settings` is whatever changes what a file gives: under others, no version counts as read."""

    def __init__(self, settings: str, cursor: Mapping[str, Any], *, keep: bool = True) -> None:
        """Of a cursor that nobody understands nothing is known: to read everything again is safe."""
        self._key = hashlib.blake2b(settings.encode(), digest_size=16).digest()
        self._keep = keep
        self._done: list[str] = []
        self._old: list[str] = []
        self._ends: list[bytes] = []
        self._open: list[Record] = []
        self._told = 0  # of `_done`: in them nothing is gone any more
        self.pos = b""
        self.missing = 0
        self._resumed = False
        self._index: _Contents | None = None
        try:
            self._load(cursor)
        except (ValueError, TypeError, KeyError, binascii.Error, struct.error, zlib.error):
            self._done, self._old, self.pos, self.missing = [], [], b"", 0

    def _load(self, cursor: Mapping[str, Any]) -> None:
        self.pos = base64.b64decode(cursor.get("pos", ""), validate=True)
        if not self._keep:
            return
        self._resumed = resumed = "pos" in cursor
        files = list(cursor.get("files", ()))
        self._old = list(cursor.get("old", ())) if resumed else files
        self._done = files if resumed else []
        self.missing = int(cursor.get("missing", 0)) if resumed else 0
        for text in (*self._done[:1], *self._old[:1]):
            unpack(text)

    def version(self, entry: Entry) -> bytes:
        return self._print(b"version", entry.version.encode("utf-8", "surrogateescape") + b" " + entry.key)

    def content(self, digest: bytes) -> bytes:
        return self._print(b"content", digest)

    def path(self, key: bytes) -> str:
        return self._print(b"path", key).hex()

    def _print(self, kind: bytes, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=6, key=self._key, person=kind).digest()

    def old(self) -> Iterator[Record]:
        """What was known before this pass, from the place reached on."""
        for text in list(self._old):
            records = unpack(text)
            self._ends.append(records[-1].key if records else b"")
            yield from (record for record in records if record.key > self.pos)

    def keep(self, key: bytes, record: Record | None) -> None:
        """The pass is done with `key`; `record` is what is known of it now, if anything."""
        self.pos = key
        if record is None or not self._keep:
            return
        self.missing += bool(record.flags & MISSING)
        self._open.append(record)
        full = len(self._open)
        if full >= _MOST or (full >= _LEAST and zlib.crc32(key) % _LEAST == 0):
            self._done.append(pack(self._open))
            self._open = []

    def stored(self) -> dict[str, Any]:
        """For the cursor of an interrupted pass."""
        left = {"pos": base64.b64encode(self.pos).decode()}
        if not self._keep:
            return left
        passed = sum(1 for end in self._ends if end <= self.pos)
        kept: dict[str, Any] = {"files": self._done + ([pack(self._open)] if self._open else [])}
        kept |= {"old": self._old[passed:]} if self._old[passed:] else {}
        return left | kept | ({"missing": self.missing} if self.missing else {})

    def counted(self, *, met: bool) -> tuple[int, int]:
        """Documents in the jar before this pass's deletions, and those of them that the pass did not find.

        `met`: without those that no reading met since everything is read anew.
        """
        flags = [r.flags for r in self._records() if not (met and r.content == ONLY_NAMED)]
        return sum(f & SENT for f in flags), sum(bool(f & MISSING) for f in flags)

    def gone(self, *, met: bool) -> Iterator[bytes]:
        """`met` as in `counted`."""
        for record in self._records():
            if record.flags & MISSING and not (met and record.content == ONLY_NAMED):
                yield record.key

    def there(self) -> Iterator[bytes]:
        """Of what is in the jar, that which is not gone."""
        yield from (record.key for record in self._records() if record.flags & (SENT | MISSING) == SENT)

    def in_jar(self) -> Iterator[bytes]:
        """What is in the jar, also that which is gone."""
        yield from (record.key for record in self._records() if record.flags & (SENT | MISSING))

    def _records(self) -> Iterator[Record]:
        """As they are now, whatever is kept or forgotten meanwhile."""
        return chain(chain.from_iterable(map(unpack, list(self._done))), list(self._open))

    def forget(self, upto: bytes) -> None:
        """What the pass did not find up to this key was told. Each time the key is a later one."""
        while self._told < len(self._done):
            records = unpack(self._done[self._told])
            left = self._left(records, upto)
            if len(left) < len(records):
                self._done[self._told : self._told + 1] = [pack(left)] if left else []
            if records and records[-1].key > upto:
                return
            self._told += bool(left)
        self._open = self._left(self._open, upto)

    def _left(self, records: list[Record], upto: bytes) -> list[Record]:
        left = [record for record in records if record.key > upto or not record.flags & MISSING]
        self.missing -= len(records) - len(left)
        return left

    def ended(self, *, forget: bool) -> dict[str, Any]:
        """For the cursor of a whole pass; files that were not found are forgotten, or known on."""
        if not self._keep:
            return {"whole": True}
        if self.missing or self._resumed:  # packed anew, so that an unchanged folder gives the same cursor
            found, self._done, self._open = self._records(), [], []
            for record in found:
                if not record.flags & MISSING or not forget:
                    self.keep(record.key, record._replace(flags=record.flags & ~MISSING))
        return {"files": self._done + ([pack(self._open)] if self._open else [])}

    def same_content(self, content: bytes, start: int = 0) -> Iterator[bytes]:
        """Paths of files that held this content before the pass, from the one of this number on."""
        if self._index is None:
            self._index = _Contents([*self._old, *(self._done if self.missing else ())])
        return self._index.paths(content, start)


_GOES_ON = ("at", "doubtful", "inside", "moved", "held", "full", "listed", "anew")


def begun_anew(cursor: Mapping[str, Any]) -> dict[str, Any]:
    """The memory of an interrupted pass for one that begins anew: what is done counts as known, and the old beyond it.

    A pass that remembers no files only goes on; so does one whose memory nobody understands.
    """
    if "pos" not in cursor or "files" not in cursor:
        return dict(cursor)
    try:
        pos = base64.b64decode(cursor["pos"], validate=True)
        done = list(_looked_for_again(record for text in cursor["files"] for record in unpack(text)))
        left = [record for text in cursor.get("old", ()) for record in unpack(text) if record.key > pos]
    except (ValueError, TypeError, binascii.Error, struct.error, zlib.error):
        return dict(cursor)
    known = done + left
    blocks = [pack(known[start : start + _MOST]) for start in range(0, len(known), _MOST)]
    return {"files": blocks, **{name: cursor[name] for name in _GOES_ON if name in cursor}}


def _looked_for_again(records: Iterable[Record]) -> Iterator[Record]:
    """What is not there is looked for again. Not so what an archive held before: that is read only if it changes."""
    archive = b""
    for record in records:
        path, within, _ = record.key.partition(b"\0")
        if not within:
            archive = b"" if record.flags & MISSING else path
        yield record if within and path == archive else record._replace(flags=record.flags & ~MISSING)


def names_only(cursor: Mapping[str, Any], more: Collection[bytes] = ()) -> dict[str, Any]:
    """The memory of a pass that reads everything again: the files of which something is in the jar, and no versions.

    `more`: keys of others. So it tells those that are gone, also where it cannot read everything. Empty where nothing
    is remembered.
    """
    known = begun_anew(cursor)
    try:
        keys = {record.key for text in known.get("files", ()) for record in unpack(text) if record.flags & SENT}
    except (ValueError, TypeError, binascii.Error, struct.error, zlib.error):
        return {}
    named = [Record(key, NO_VERSION, ONLY_NAMED, SENT) for key in sorted(keys.union(more))]
    blocks = [pack(named[start : start + _MOST]) for start in range(0, len(named), _MOST)]
    return {"files": blocks, "anew": True, "begins": True, "full": True, "listed": True} if blocks else {}


def _contents(text: str) -> np.ndarray:
    """The prints of a block's contents as numbers; 0 for what is not in the jar."""
    raw = base64.b64decode(text)
    count, length = _HEAD.unpack_from(raw)
    marks = np.frombuffer(raw, np.uint8, offset=_HEAD.size + length).reshape(count, 13)
    made = np.zeros((count, 8), np.uint8)
    made[:, :6] = marks[:, 6:12] * (marks[:, 12:] & SENT)
    return made.view("<u8").ravel()


class _Contents:
    """Content -> paths, in 8 bytes a file."""

    def __init__(self, blocks: list[str]) -> None:
        self._blocks = blocks
        made = [_contents(text) for text in blocks]
        self._prints = np.concatenate(made) if made else np.empty(0, "<u8")
        self._ends = np.cumsum([len(prints) for prints in made])
        self._last: tuple[int, list[Record]] = (-1, [])  # equal files often lie side by side, in one block

    def paths(self, content: bytes, first: int) -> Iterator[bytes]:
        for at in np.flatnonzero(self._prints == int.from_bytes(content, "little"))[first:]:
            block = int(np.searchsorted(self._ends, at, side="right"))
            if self._last[0] != block:
                self._last = block, unpack(self._blocks[block])
            start = int(self._ends[block - 1]) if block else 0
            yield self._last[1][int(at) - start].key
