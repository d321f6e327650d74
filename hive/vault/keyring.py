"""Named random keys of a tenant, made on first use and kept in the vault; the hive key only wraps them.

In use: `record` (key hashes; never rotates), `content` (content hashes), `cursor`, `quarantine`, `limits` (prints of
credentials), and `pseudonym/<kind>` for the pseudonyms and tokens of each kind of value. These rotate: a new key begins
a new domain, in which nothing joins what was written before; the old ones stay, so that old tokens can still be read.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from typing import TYPE_CHECKING

from hive.vault.envelope import new_data_key
from nectar.keys import key_id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hive.vault.store import Vault

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_PSEUDONYM = "pseudonym/"
_LOOK = 15.0
"""Seconds after which a process asks again whether a key was rotated."""


class Keyring:
    """Keys are read once and stay as they are. Is a `nectar.keys.PseudonymKeys`. May be shared by threads."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._held: dict[str, tuple[str, bytes]] = {}
        self._lock = threading.Lock()
        self._below = self._path(_PSEUDONYM).removesuffix(_segment(""))
        self._renewals: int | None = None
        self._looked = 0.0

    def key(self, name: str) -> tuple[str, bytes]:
        """(key id, 32 bytes). The same name gives every process of the fleet the same key."""
        held = self._held.get(name)
        if held is None:
            with self._lock:
                if self._renewals is None and name.startswith(_PSEUDONYM):
                    self._renewals, self._looked = self._vault.renewals(self._below), time.monotonic()
                key = self._vault.obtain(self._path(name), new_data_key())
                held = self._held.setdefault(name, (_id(name, key), key))
        return held

    def pseudonym_key(self, kind: str) -> tuple[str, bytes]:
        return self.key(_PSEUDONYM + kind)

    def is_outdated(self) -> bool:
        """A pseudonym key was rotated since this ring began. Looks every 15 seconds; between them it says no."""
        now = time.monotonic()
        if self._renewals is None or now - self._looked < _LOOK:
            return False
        self._looked = now
        return self._vault.renewals(self._below) != self._renewals

    def rotate(self, kind: str) -> str:
        """Begin a new domain for pseudonyms of this kind, and return the id of its key.

        A ring that holds the old key goes on with it: make a new one.
        """
        name, key = _PSEUDONYM + kind, new_data_key()
        self._vault.renew(self._path(name), key)
        return _id(name, key)

    def pseudonym_kinds(self) -> Sequence[str]:
        """The kinds that have a key, by name."""
        return sorted({kind for kind, _, _ in self._pseudonym_keys()})

    def pseudonym_keys_of(self, key_id: str) -> Sequence[tuple[str, bytes]]:
        """(kind, key) of the pseudonym keys with this id, rotated ones too: one, or none."""
        return [(kind, key) for kind, found, key in self._pseudonym_keys() if found == key_id]

    def _pseudonym_keys(self) -> list[tuple[str, str, bytes]]:
        return [
            (_word(secret.path.removeprefix(self._below)), _id(_PSEUDONYM, secret.value), secret.value)
            for secret in self._vault.own(self._below)
        ]

    def _path(self, name: str) -> str:
        return "/".join(["hive", "keys", self._vault.tenant, *map(_segment, name.split("/", maxsplit=1))])

    def __repr__(self) -> str:
        return f"<Keyring of {self._vault.tenant}>"


def _id(name: str, key: bytes) -> str:
    """Tells nothing about the key. That of a pseudonym key is of letters, for it stands in texts."""
    told = hashlib.sha256(b"worker bees key id|" + key).hexdigest()[:8]
    return key_id_of(told) if name.startswith(_PSEUDONYM) else told


def _segment(word: str) -> str:
    """`word` as a segment of a path. A field may have any name ("Größe / cm"); such a one is spelled in hex.

    A plain word never holds a dot, so no two words share a segment.
    """
    return word if _PLAIN.fullmatch(word) else f"x.{word.encode().hex()}"


def _word(segment: str) -> str:
    """The word that `_segment` was given."""
    return bytes.fromhex(segment[2:]).decode() if segment.startswith("x.") else segment
