"""What was found in short texts, remembered, because values come again; without a text in memory.

A text's first coming leaves no more than its hash, so that texts which come once cost next to nothing. At the second it
gets a key: a keyed digest of text and question, under a random key of this process.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Hashable
from hashlib import blake2b

from nectar.scrub.find.findings import Hit

_ENTRIES = 10_000
"""Of each of two generations. An entry has some 500 bytes at most, so all are within 10 MB."""

_SEEN = 1 << 17
"""Places for hashes of texts that came once: 1 MB."""

_MOST_HITS = 6
LONGEST = 256
"""Longer texts seldom come twice."""


class Remembered:
    """Scans by text and question, in two generations: when the younger is full the older is forgotten.

    Each hash of a text has one place, where the next one of that place takes over.

    No locks, so that threads need not wait and a fork cannot find one held: every step is one operation on a
    dictionary or an array, and what a race loses is an entry. The random key is part of the process's memory only; a
    child has its parent's, which is as secret.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self.clear()

    def clear(self) -> None:
        self._young: dict[bytes, tuple[Hit, ...]] = {}
        self._old: dict[bytes, tuple[Hit, ...]] = {}
        self._seen = array("q", bytes(8 * _SEEN))

    def key(self, text: str, question: Hashable) -> bytes | None:
        """The key of a text that came before; None for one that is new, or too long to be remembered."""
        if len(text) > LONGEST:
            return None
        mark = hash(text)
        if self._seen[mark % _SEEN] != mark:
            self._seen[mark % _SEEN] = mark
            return None
        asked = hash(question).to_bytes(8, "little", signed=True)
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16, salt=asked).digest()

    def get(self, key: bytes) -> tuple[Hit, ...] | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: bytes, hits: tuple[Hit, ...]) -> None:
        if len(hits) > _MOST_HITS:
            return
        if len(self._young) >= _ENTRIES:
            self._old, self._young = self._young, {}
        self._young[key] = hits

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __repr__(self) -> str:
        return f"<Remembered {len(self)}>"
