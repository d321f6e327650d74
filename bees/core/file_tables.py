"""Reading one file of a stream of rows: a table, or the tables within an archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bees.core.file_batches import Outgoing
from bees.core.file_cursor import Half, Leg
from bees.core.file_known import Known
from bees.core.file_listing import Item
from bees.core.file_rows import reading_of
from bees.core.file_sections import of_rows_only
from bees.core.files import shown
from bees.core.formats import Place, read_rows
from bees.core.formats.names import BLANK, seen_kind
from bees.core.formats.packed import beginning
from bees.core.storage.base import Opened
from bees.core.storage.memory import EMPTY, KIND, MISSING, NO_VERSION, ONLY_NAMED, SENT, Record
from nectar.batch import Batch, Reject
from nectar.extract.text import HEAD

_NO_TABLE = (
    "the file held rows and is empty or of another kind now: what it gave stays until it is a table again; "
    "if this is meant, fly the bee with --full-refresh, or set `max_deleted: 1`"
)


class Tables:
    """What a file gives to a stream of rows goes to `out`, what is known of it then to `known`."""

    def __init__(self, leg: Leg, known: Known, out: Outgoing) -> None:
        self._leg = leg
        self._known = known
        self._out = out
        self._plan = leg.plan
        self._options = leg.options
        self._memory = leg.memory
        self._given = 0

    def read(self, file: Opened, item: Item) -> Iterator[Batch]:
        place, content = self._known.resume(file, item)
        if place is None and content and item.old and item.old.content == content:
            self._known.keep(file, item, content, item.old.flags)
            return
        kind = 0 if place else self._kind(file)
        if place is None and self._is_no_table(file, item, kind):
            self._no_table(file, item)
            return
        spoilt = bool(place and self._leg.at and self._leg.at.get("spoilt"))
        self._out.sections.begin(shown(file.entry.path), self._out.tables.count, begins=place is None)
        self._given = 0
        yield from self._taken(Half(file.entry, content, file.handle, place or {}, spoilt), place)
        spoilt = spoilt if self._leg.half is None else self._leg.half.spoilt
        self._leg.half = None
        empty = place is None and not self._given
        if empty and not spoilt and self._is_no_table(file, item, kind, read=True):
            self._no_table(file, item)
            return
        flags = SENT | (EMPTY if empty else 0) | kind << KIND
        same = file.same()
        self._leg.full = self._leg.full and same
        self._out.sections.end(
            self._out.tables.count, whole=same and not spoilt and (place is None or content is not None)
        )
        if content and same:
            self._known.keep(file, item, content, flags)
        else:
            self._memory.keep(item.key, Record(item.key, NO_VERSION, NO_VERSION, flags))

    def _kind(self, file: Opened) -> int:
        head, whole = beginning(file.handle, file.entry.path, HEAD)
        return seen_kind(head, whole=whole)

    def _is_no_table(self, file: Opened, item: Item, kind: int, *, read: bool = False) -> bool:
        """Whether a file that gave rows is empty now, or of another kind: the end of a transfer, a server's error.

        `read`: it gave none this time. Where everything is read anew nothing is known of it, and it is believed.
        """
        flags = item.old.flags if item.old else 0
        monitored = self._options.mode == "file_monitor" and self._options.max_deleted < 1
        if not monitored or not flags & SENT or flags & EMPTY or not item.old or item.old.content == ONLY_NAMED:
            return False
        was = flags >> KIND
        told = self._leg.trusted(file.entry) and item.old is not None and item.old.content == self._no_table_mark(file)
        return told or kind == BLANK or bool(was and kind != was and (kind or read))

    def _no_table(self, file: Opened, item: Item) -> None:
        """Nothing of what it gave is deleted, and that is told once."""
        assert item.old is not None
        name, mark = shown(file.entry.path), self._no_table_mark(file)
        if not self._out.sections.reading:
            self._out.sections.begin(name, self._out.tables.count, begins=True)
        if item.old.content != mark:
            self._out.reject(Reject(name, "no_table_now", _NO_TABLE))
        self._leg.full = False
        self._out.sections.end(self._out.tables.count, whole=False)
        self._memory.keep(item.key, Record(item.key, NO_VERSION, mark, item.old.flags & ~MISSING))

    def _no_table_mark(self, file: Opened) -> bytes:
        return self._memory.content(b"no table " + self._memory.version(file.entry))

    def _taken(self, half: Half, place: Place | None) -> Iterator[Batch]:
        options = self._options
        reading = reading_of(self._plan.stream, options.encoding, options.batch_rows, options.batch_bytes)
        reading = replace(reading, rows_apart=self._plan.rows_apart)
        self._leg.half = half
        self._leg.start = half.place
        for part in read_rows(half.handle, shown(half.entry.path), reading, place):
            if not self._out.tables.fits(part):
                yield self._out.flush()
            self._out.tables.add(part)
            self._given += part.table.num_rows
            rows_only = part.whole and of_rows_only(part.rejects, placed=not self._plan.key)
            self._leg.full = self._leg.full and rows_only
            spoilt = self._leg.half.spoilt or not rows_only
            self._leg.half = replace(half, place=part.place, spoilt=spoilt)
            if self._out.tables.full():
                yield self._out.flush()
