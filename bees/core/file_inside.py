"""What a pass remembers of the documents within an archive, so that one that is there no more can be deleted.

A member's record has the archive's key, a NUL, and its path within: it stands right behind the archive's own record,
before any other file.
"""

from __future__ import annotations

import binascii
import os
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from bees.core.storage.memory import MISSING, NO_VERSION, SENT, Record, pack, unpack

_LONGEST = 32_000
"""Bytes of a key at most; who has a longer one is not remembered."""
_TOGETHER = 4096
"""Keys of `Told` that are packed for good."""


def member_key(archive: bytes, path: str) -> bytes | None:
    """The key of a member whose path, which begins with the archive's, was shown. None: it cannot be remembered."""
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        return None
    key = archive + b"\0" + raw[len(archive) + 1 :]
    return key if len(key) <= _LONGEST else None


def plain(key: bytes) -> bytes:
    """The path of a record, of a member or of a file."""
    return key.replace(b"\0", b"/")


def is_member_of(key: bytes, archive: bytes) -> bool:
    return key.startswith(archive + b"\0")


def packed_keys(keys: Iterable[bytes]) -> str:
    """Keys for a cursor."""
    return pack([Record(key, NO_VERSION, NO_VERSION) for key in sorted(keys)])


def keys_in(text: Any) -> set[bytes]:
    """The keys of `packed_keys`; none where it is something else."""
    with suppress(ValueError, TypeError, binascii.Error, struct.error, zlib.error):
        return {record.key for record in unpack(str(text))}
    return set()


def inside_of(cursor: Mapping[str, Any]) -> set[bytes]:
    """Members that were read and stand in no record yet: those of the archive that is half read among them."""
    half = (cursor.get("at") or {}).get("place") or {}
    return keys_in(cursor.get("inside", "")) | keys_in(half.get("found", ""))


def by_archive(keys: Iterable[bytes]) -> dict[bytes, set[bytes]]:
    """Keys of members by that of their archive."""
    made: dict[bytes, set[bytes]] = {}
    for key in keys:
        made.setdefault(key.partition(b"\0")[0], set()).add(key)
    return made


class Told:
    """Keys that are told of once each, in a cursor with every batch: only the newest of them are packed anew."""

    def __init__(self, stored: Any) -> None:
        self._packed = [text for text in (stored if isinstance(stored, list) else [stored]) if text]
        self._keys = set().union(*map(keys_in, self._packed))
        self._new: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, key: bytes) -> None:
        self._keys.add(key)
        self._new.add(key)
        if len(self._new) >= _TOGETHER:
            self._packed.append(packed_keys(self._new))
            self._new.clear()

    def stored(self) -> list[str]:
        """For a cursor."""
        return [*self._packed, packed_keys(self._new)] if self._new else list(self._packed)


class Found:
    """Members that were read of one archive, perhaps in several legs; `sure` while nothing within was left out."""

    def __init__(self, place: Mapping[str, Any]) -> None:
        self.keys: set[bytes] = set()
        self.sure = bool(place.get("sure", not place))
        try:
            self.keys.update(record.key for record in unpack(place["found"]))
        except (KeyError, ValueError, TypeError, binascii.Error, struct.error, zlib.error):
            self.sure = not place

    def stored(self) -> dict[str, Any]:
        """For the place of a cursor."""
        return {"found": packed_keys(self.keys), "sure": self.sure}


def merged(old: Iterable[Record], found: Collection[bytes], *, sure: bool) -> Iterator[Record]:
    """The members' records after an archive was read, in order; what was not found is gone if that is `sure`."""
    made = {record.key: record._replace(flags=SENT | MISSING) if sure else record for record in old}
    made |= {key: Record(key, NO_VERSION, NO_VERSION, SENT) for key in found}
    yield from (made[key] for key in sorted(made))
