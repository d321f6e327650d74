"""One look at all files of a stream, perhaps the rest of one that was begun before."""

from __future__ import annotations

from collections.abc import Iterator

from bees.core.errors import RetryLater, SourceError
from bees.core.file_batches import Outgoing
from bees.core.file_cursor import Leg
from bees.core.file_documents import Documents
from bees.core.file_end import End
from bees.core.file_failures import Failures
from bees.core.file_inside import merged
from bees.core.file_known import Known
from bees.core.file_listing import SMALL, Item, ahead, items
from bees.core.file_tables import Tables
from bees.core.filebee import FileOptions, Plan
from bees.core.files import shown
from bees.core.storage.base import Closed, Entry, NotReadError, Storage
from bees.core.storage.memory import NO_VERSION
from nectar.batch import Batch, Cursor


class Pass:
    """Goes through the listing; how one file is read, kept, told and given up is in modules of their own."""

    def __init__(self, storage: Storage, plan: Plan, options: FileOptions, cursor: Cursor) -> None:
        self._leg = leg = Leg(storage, plan, options, cursor)
        self._storage = storage
        self._plan = plan
        self._options = options
        self._memory = leg.memory
        self._known = known = Known(leg)
        self._out = out = Outgoing(leg)
        self._failed = Failures(leg, known, out)
        self._documents = Documents(leg, known, out)
        self._tables = Tables(leg, known, out)
        self._end = End(leg, out)
        self._met = False

    def batches(self) -> Iterator[Batch]:
        listed = items(self._storage, self._memory, self._plan, self._options)
        turns = ahead(listed, self._storage, self._is_fetched)
        try:
            for item in turns:
                yield from self._take(item)
                if self._out.is_due():
                    yield self._out.flush()
            bare = self._is_bare()
        except SourceError:
            # What was read before it failed is not read again.
            if self._out.has_any() or self._memory.pos != self._leg.begun or self._leg.waits:
                yield self._out.flush()
            raise
        finally:
            turns.close()
        yield from self._end.batches(bare=bare)

    def _is_bare(self) -> bool:
        """Whether nothing is listed where a folder that is not there looks the same, and more than that is lost by it.

        Not where a person says that it is meant.
        """
        known = self._leg.full or self._memory.missing
        asked = known and not (self._met or self._leg.anew) and self._options.max_deleted < 1
        return bool(asked) and not self._storage.is_there()

    def _is_fetched(self, item: Item, entry: Entry) -> bool:
        return self._storage.concurrency > 1 and entry.size <= SMALL and not self._known.same_version(item, entry)

    def _take(self, item: Item) -> Iterator[Batch]:
        self._met = self._met or item.now is not None
        if self._leg.at and item.key > self._leg.at_key:
            self._leg.at = None
        if item.now is not None and (mine := self._leg.inside.get(item.key)):
            item.members = list(merged(item.members, mine, sure=False))
        if item.key in self._leg.doubtful and (item.now is not None or self._plan.document):
            self._leg.doubtful.remove(item.key)
            known = None if self._plan.document else item.old
            item.old = known and known._replace(version=NO_VERSION, content=NO_VERSION)
        if item.now is None:
            self._memory.keep(item.key, self._known.absent(item.old))
        elif isinstance(item.now, Closed):
            self._leg.closed.append(item.now.key if item.now.path else b"")
            self._leg.full = self._leg.listed = False
            self._failed.unreadable(item, item.now.code, item.now.reason)
        elif self._known.same_version(item, item.now) and item.old:
            self._memory.keep(item.key, item.old)
        else:
            yield from self._read(item, item.now)
        for member in item.members:
            self._memory.keep(member.key, member)
        if item.now is not None:
            self._leg.inside.pop(item.key, None)

    def _read(self, item: Item, entry: Entry) -> Iterator[Batch]:
        try:
            file = item.job.result() if item.job else self._storage.open(entry)
            try:
                if self._plan.document:
                    yield from self._documents.read(file, item)
                else:
                    yield from self._tables.read(file, item)
            except (RetryLater, OSError):
                self._leg.broken = self._leg.place(self._leg.half) if self._leg.half else None  # while the file is open
                raise
            finally:
                file.close()
            self._failed.in_a_row = 0
        except (NotReadError, RetryLater, OSError) as error:
            if self._leg.listed and not self._out.sections.reading:
                self._out.sections.there(shown(entry.path), self._out.tables.count)
            self._failed.not_read(item, error)
        self._out.sections.end(self._out.tables.count, whole=False)
        self._leg.half = self._leg.broken = None
        if item.key >= self._leg.at_key:  # a file that came before the one that is half read leaves that as it is
            self._leg.at = None
