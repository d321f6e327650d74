"""File bees whose storage speaks HTTP: each of its requests passes the gate of the credential's budget."""

from __future__ import annotations

from bees.core.filebee import FileBee
from bees.core.http import Gate
from bees.core.resilience.gate import GatedBee
from bees.core.storage.base import Storage


class GatedFileBee(FileBee, GatedBee):
    """A bee whose `connect` gives a storage that asks its own `gate` before it sends anything."""

    _gate: Gate | None = None

    def through(self, gate: Gate) -> None:
        self._gate = gate

    def _opened(self) -> Storage:
        storage = super()._opened()
        storage.gate = self._gate
        return storage
