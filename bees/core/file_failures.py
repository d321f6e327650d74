"""What becomes of a file that could not be read: it is set aside, tried again, or ends the leg."""

from __future__ import annotations

import os

import structlog

from bees.core.errors import RetryLater, SourceError
from bees.core.file_batches import Outgoing
from bees.core.file_cursor import Leg
from bees.core.file_known import Known
from bees.core.file_listing import Item
from bees.core.file_rows import HOLDERS
from bees.core.files import shown, trouble
from bees.core.storage.base import IN_A_ROW, Closed, Entry, Gone, NotReadError, Unreadable
from bees.core.storage.memory import NO_VERSION, ONLY_NAMED, Record
from bees.core.storage.ranges import CUT_SHORT
from nectar.batch import Reject

_MOST_WAITS = 5
"""Times that a file is waited for because the source asks to wait; after them it fails as others do."""
_STUCK = (CUT_SHORT, "file_system")
"""What a file may do for itself at the same place each time."""
_DENIED = (Closed("").code, Closed("").reason)
_NOT_THERE = (
    "the source lists the file, and twice it was not there when it was read: the name may hold signs that cannot be "
    "asked for, so rename it there, or leave it out by `patterns`"
)
_log = structlog.get_logger()


class Failures:
    """`in_a_row`: files that failed since one was read. With many of them it is the source that fails, not a file."""

    def __init__(self, leg: Leg, known: Known, out: Outgoing) -> None:
        self._leg = leg
        self._known = known
        self._out = out
        self._storage = leg.storage
        self._plan = leg.plan
        self._memory = leg.memory
        self.in_a_row = 0

    def not_read(self, item: Item, error: Exception) -> None:
        """Raises the error again where it is the source's, not the file's."""
        if isinstance(error, Unreadable):
            self.unreadable(item, error.code, error.reason)
        elif isinstance(error, RetryLater):
            self._failing(item, error)
        elif isinstance(error, OSError):
            self.not_read(item, _of_the_system(error))
        else:
            self._vanished(item)

    def _vanished(self, item: Item) -> None:
        """The next pass finds out whether it is gone for good. Some of its rows may have come.

        The same version listed once more, and again not there, did not go: it cannot be asked for by its name.
        """
        self._leg.full = False
        listed = self._memory.version(item.now) if isinstance(item.now, Entry) else b""
        mark = self._memory.content(b"not there " + listed)
        content = item.old.content if item.old else NO_VERSION
        if content in (mark, self._memory.content(b"not_there")):
            self.unreadable(item, "not_there", _NOT_THERE)
            return
        old = item.old or Record(item.key, NO_VERSION, NO_VERSION, self._known.flags(item))
        self._memory.keep(
            item.key, old._replace(version=NO_VERSION, content=content if content == ONLY_NAMED else mark)
        )

    def _failing(self, item: Item, error: RetryLater) -> None:
        """One file that fails is tried again by the next pass, and set aside if it fails there too."""
        if (error.after is not None or error.code == "rate_limited") and self._waited < _MOST_WAITS:
            self._leg.waits = self._waited + 1 if self._memory.pos == self._leg.begun else 1
            raise error
        self.in_a_row += 1
        # One that always fails at the same place fails for itself, and keeps no other from being read.
        told = item.old is not None and item.old.content == self._memory.content(b"unavailable")
        own = self._leg.half is not None and (told or self._leg.half.place == self._leg.start)
        stuck = own and (error.code in _STUCK or self._answers())
        if (self._leg.half and not stuck) or self.in_a_row >= IN_A_ROW:
            raise error
        once = self._memory.content(b"failed once")
        if told or (item.old and item.old.content == once) or (stuck and self._leg.start):
            reason = f"the file could not be read ({error.code}); each flight tries it again"
            self.unreadable(item, "unavailable", reason)
        else:
            _log.warning("a file could not be read now", stream=self._plan.name, code=error.code)
            self._leg.full = False
            self._memory.keep(item.key, Record(item.key, NO_VERSION, once, self._known.flags(item)))

    @property
    def _waited(self) -> int:
        """Legs in a row that the source ended at this very file, because it asked to be asked later."""
        return int(self._leg.cursor.get("waits", 0)) if self._memory.pos == self._leg.begun else 0

    def _answers(self) -> bool:
        """Whether the source answers at all."""
        try:
            self._storage.check()
        except (NotReadError, SourceError, OSError):
            return False
        return True

    def unreadable(self, item: Item, code: str, reason: str) -> None:
        """A file or folder is set aside; told once, until its reason is another one."""
        mark = self._memory.content(code.encode())
        path = os.fsdecode(item.key)
        # A document is known by its path, and stays; what stood in an archive is not known.
        self._leg.full = self._leg.full and self._plan.document and not path.lower().endswith(("/", *HOLDERS))
        if item.old is None or item.old.content != mark:
            self._out.reject(Reject(shown(path.removesuffix("/")), code, reason))
        self._memory.keep(item.key, Record(item.key, NO_VERSION, mark, self._known.flags(item)))


def _of_the_system(error: OSError) -> NotReadError | RetryLater:
    """What a failure of this machine's file system means for one file."""
    try:
        return Unreadable(*_DENIED) if trouble(error, "path") == "unreadable" else Gone()
    except RetryLater as later:
        return later
