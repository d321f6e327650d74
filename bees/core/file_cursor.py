"""Where a pass stands: what its cursor says, and what the next one will say.

Cursor: what `Memory` holds, `at` the place in a file half read, `doubtful` others that were left half read, `inside`
what was read of an archive that changed or went since and stands in no record yet, `moved` old names that were told in
`moved_from`, `full` where the pass began from nothing and left out nothing but what is set aside by its key, so that
its end is the end of a complete read, `listed` where it began from nothing and saw all folders, `held` how many
deletions wait for a person, `waits` how many legs in a row ended at the next file because the source asked to wait.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import BinaryIO, TypedDict

from bees.core.errors import SourceError
from bees.core.file_inside import Found, Told, by_archive, inside_of, packed_keys
from bees.core.filebee import FileOptions, Plan
from bees.core.files import tail
from bees.core.formats import Place
from bees.core.storage.base import Entry, NotReadError, Storage
from bees.core.storage.memory import Memory
from nectar.batch import Cursor


class At(TypedDict):
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
class Half:
    """The file whose rows are being read. `content` is None once it changed under the reader: nothing is sure then.

    `spoilt`: some of it was left out.
    """

    entry: Entry
    content: bytes | None
    handle: BinaryIO
    place: Place
    spoilt: bool = False


class Leg:
    """A pass from one cursor on: all that is told in the next, and what it reads with.

    begun   the path up to which legs before this one came
    closed  prefixes of folders that cannot be listed
    half    the file that is being read; `start` is where this leg began to read its rows
    broken  the place within a file at which reading failed
    found   what was read of the archive that is being read
    """

    def __init__(self, storage: Storage, plan: Plan, options: FileOptions, cursor: Cursor) -> None:
        self.storage = storage
        self.plan = plan
        self.options = options
        self.cursor = cursor
        snapshot = options.mode == "bucket_snapshot"
        self.memory = Memory(plan.settings, cursor, keep=not snapshot)
        self.begun = self.memory.pos
        self.at: At | None = cursor.get("at")
        self.at_key = base64.b64decode(self.at["file"]) if self.at else b""
        # Of these files something else was sent last than what is known of them: they were half read.
        self.doubtful = {base64.b64decode(key) for key in cursor.get("doubtful", ())}
        if self.at:
            self.doubtful.add(self.at_key)
        monitored = plan.document and options.mode == "file_monitor"
        self.inside = by_archive(inside_of(cursor) if monitored else ())
        self.full = not cursor or "full" in cursor or (snapshot and "pos" not in cursor)
        self.listed = (not cursor or "listed" in cursor) and options.mode == "file_monitor"
        self.anew = "anew" in cursor
        self.closed: list[bytes] = []
        self.half: Half | None = None
        self.broken: At | None = None
        self.found = Found({})
        self.waits = 0
        self.moved = Told(cursor.get("moved"))
        self.start: Place = {}

    def trusted(self, entry: Entry) -> bool:
        """Whether the file's times are old enough that a later change must have others."""
        return entry.stamp is None or entry.stamp < self.storage.clock() - self.storage.grain

    def here(self) -> Cursor:
        """From where the next leg goes on, if this one ends now."""
        here = self.memory.stored()
        if self.anew:
            here["anew"] = True
        if self.full:
            here["full"] = True
        if self.listed:
            here["listed"] = True
        if "held" in self.cursor:
            here["held"] = self.cursor["held"]
        if self.waits:
            here["waits"] = self.waits
        at = self.broken or (self.place(self.half) if self.half else self.at)
        left = sorted(self.doubtful - ({base64.b64decode(at["file"])} if at else set()))
        if left:
            here["doubtful"] = [base64.b64encode(key).decode() for key in left]
        if self.moved:
            here["moved"] = self.moved.stored()
        if self.inside and (inside := set().union(*self.inside.values()) - inside_of({"at": at})):
            here["inside"] = packed_keys(inside)
        return here | ({"at": at} if at else {})

    def place(self, half: Half) -> At:
        """How far a file was read."""
        place = half.place
        if self.plan.document:
            place = {**place, **self.found.stored()}
        try:
            before = tail(half.handle, place["offset"]) if "offset" in place else ""
        except (NotReadError, SourceError, OSError):
            before = ""
        return {
            "file": base64.b64encode(half.entry.key).decode(),
            "version": self.memory.version(half.entry).hex() if self.trusted(half.entry) else "",
            "content": (half.content or b"").hex(),
            "place": place,
            "tail": before,
            "spoilt": half.spoilt,
        }

    def lost(self) -> set[bytes]:
        """Files of rows, or files in archives, that were read by an earlier leg, and never listed since."""
        lost = set().union(*self.inside.values()) if self.plan.document else self.doubtful
        return {key for key in lost if not any(key.startswith(prefix) for prefix in self.closed)}

    def ended(self, held: int) -> Cursor:
        """From where the next pass begins. `held`: deletions that wait for a person."""
        ended = self.memory.ended(forget=not held) | ({"held": held} if held else {})
        left = set().union(*self.inside.values()) - (set() if held else self.lost())
        ended |= {"moved": self.moved.stored()} if held and self.moved else {}
        return ended | ({"inside": packed_keys(left)} if left else {})
