"""What is known of one file: whether it is the same as before, and what is kept of it once it was read."""

from __future__ import annotations

from bees.core.file_cursor import Leg
from bees.core.file_listing import Item
from bees.core.files import digest, tail
from bees.core.formats import Place
from bees.core.storage.base import Entry, Opened
from bees.core.storage.memory import MISSING, NO_VERSION, SENT, Record


class Known:
    """The records of files, by the file's turn in the listing."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._storage = leg.storage
        self._plan = leg.plan
        self._memory = leg.memory

    def same_version(self, item: Item, entry: Entry) -> bool:
        half = self._leg.at is not None and item.key == self._leg.at_key
        return not half and item.old is not None and item.old.version == self._memory.version(entry)

    def absent(self, old: Record | None) -> Record | None:
        """What stays known of a path that was not listed: nothing counts as deleted in a folder that is closed."""
        if old is None or any(old.key.startswith(prefix) for prefix in self._leg.closed):
            return old
        return old._replace(flags=old.flags | MISSING) if old.flags & SENT else None

    def flags(self, item: Item) -> int:
        """Of a file that cannot be read now: some of it may be in the jar, from before everything was read anew too."""
        if item.key.endswith(b"/") or (self._plan.document and not self._leg.listed):
            return item.flags
        return SENT | (item.old.flags & ~MISSING if item.old else 0)

    def keep(self, file: Opened, item: Item, content: bytes, flags: int = 0) -> None:
        """The file was read. A version as young as a clock's grain is not trusted: it is read again next time."""
        same = file.same()
        self._leg.full = self._leg.full and same
        sure = same and self._leg.trusted(file.entry)
        version = self._memory.version(file.entry) if sure else NO_VERSION
        self._memory.keep(item.key, Record(item.key, version, content, flags))

    def resume(self, file: Opened, item: Item) -> tuple[Place | None, bytes | None]:
        """Where to go on in the file, if it was half read, and its content; None where it changed behind that place."""
        at = self._leg.at if item.key == self._leg.at_key else None
        place = (at["place"] or None) if at else None
        if at and at["version"] == self._memory.version(file.entry).hex():
            return place, bytes.fromhex(at["content"]) or None
        content = self.content(file)
        if at and place and (content is None or content.hex() != at["content"]):
            # Grown, most likely: go on, lest a file that always grows is never read to its end, and read all next time.
            grown = "offset" in place and tail(file.handle, place["offset"]) == at["tail"]
            return (place, None) if grown else (None, content)
        return place, content

    def content(self, file: Opened) -> bytes | None:
        """What the file holds: a print of its bytes, or of its version where the bytes are far away; None: not sure."""
        if self._storage.digests:
            return self._memory.content(digest(file.handle))
        return self._memory.version(file.entry) if self._leg.trusted(file.entry) else None
