"""Named random keys of a tenant, made on first use and kept in the vault; the hive key only wraps them.

In use: `record` (key hashes; never rotates), `content` (content hashes), `cursor`, `quarantine`, and
`pseudonym/<kind>` for the pseudonyms of each kind of value.
"""

from __future__ import annotations

import hashlib
import re
import threading
from typing import TYPE_CHECKING

from hive.vault.envelope import new_data_key

if TYPE_CHECKING:
    from hive.vault.store import Vault

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


class Keyring:
    """Keys are read once per process. Is a `nectar.keys.PseudonymKeys`. May be shared by threads."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._held: dict[str, tuple[str, bytes]] = {}
        self._lock = threading.Lock()

    def key(self, name: str) -> tuple[str, bytes]:
        """(key id, 32 bytes). The same name gives every process of the fleet the same key."""
        held = self._held.get(name)
        if held is None:
            with self._lock:
                key = self._vault.obtain(self._path(name), new_data_key())
                held = self._held.setdefault(name, (hashlib.sha256(b"worker bees key id|" + key).hexdigest()[:8], key))
        return held

    def pseudonym_key(self, kind: str) -> tuple[str, bytes]:
        return self.key(f"pseudonym/{kind}")

    def _path(self, name: str) -> str:
        return "/".join(["hive", "keys", self._vault.tenant, *map(_segment, name.split("/", maxsplit=1))])

    def __repr__(self) -> str:
        return f"<Keyring of {self._vault.tenant}>"


def _segment(word: str) -> str:
    """`word` as a segment of a path. A field may have any name ("Größe / cm"); such a one is spelled in hex.

    A plain word never holds a dot, so no two words share a segment.
    """
    return word if _PLAIN.fullmatch(word) else f"x.{word.encode().hex()}"
