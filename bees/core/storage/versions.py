"""Which version of a file its parts are of, where the source gives it under another ETag than it lists.

Uploads in parts, gateways and proxies that compress make such ETags: a read that asks for the listed one is refused
(412) as often as it is tried, though nothing changed. Such a file is read by the ETag that its answers tell, as long as
they all tell the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from bees.core.storage.base import Changed, Entry

_MOST = 64
"""Files that are remembered: those that come in parts are read one after another."""


@dataclass(frozen=True, slots=True)
class Part:
    """What an answer gave: bytes of a file, the version that it told ("": none), and the whole file's size (-1)."""

    data: bytes
    version: str = ""
    total: int = -1


class Versions:
    """Of the files that one storage reads; asked from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, str], str] = OrderedDict()

    def read(self, entry: Entry, listed: str, get: Callable[[str], Part], *, whole: bool) -> Part:
        """Some of the listed version, or of the one that all answers tell in its place.

        `get` asks for a version, or for whichever there is ("") and raises Changed where it is not there any more.
        `whole`: it is all of the file, so nothing has to fit. Raises Gone where the file changed meanwhile.
        """
        ours = _plain(listed)
        held = self._of(entry)
        asked = listed if held in (None, ours) else ""
        try:
            part = get(asked)
        except Changed:
            if not asked or held is not None:
                raise
            asked = ""
            part = get(asked)
        told = _plain(part.version) or _plain(asked)
        if told != ours and entry.size >= 0 and part.total not in (-1, entry.size):
            raise Changed
        if not whole:
            self._hold(entry, told)
        return part

    def is_listed(self, entry: Entry, listed: str) -> bool:
        """Whether nothing of the file is known to have come under another version than this one."""
        return self._of(entry) in (None, _plain(listed))

    def _of(self, entry: Entry) -> str | None:
        with self._lock:
            return self._held.get((entry.path, entry.version))

    def _hold(self, entry: Entry, told: str) -> None:
        key = entry.path, entry.version
        with self._lock:
            held = self._held.setdefault(key, told)
            self._held.move_to_end(key)
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        if held != told:
            raise Changed


def _plain(version: str) -> str:
    """Without quotes: some servers leave them out in one of both places."""
    return version.strip('"')
