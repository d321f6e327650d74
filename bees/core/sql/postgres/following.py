"""One stream that is followed: its slot, the rows that are there, then the changes, and the word that all is safe."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.sql.leg import Leg
from bees.core.sql.names import replaced
from bees.core.sql.place import Place
from bees.core.sql.postgres import leaves, progress, slots
from bees.core.sql.postgres.cdc import Follower, Stand, stand_of, table_of
from bees.core.sql.postgres.decoded import UntoldError
from bees.core.sql.postgres.feed import Feed, lsn_text, no_slot
from bees.core.sql.postgres.reading import begin, read
from bees.core.sql.progress import await_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from bees.core.sql.postgres.cdc import Asking
    from bees.core.sql.postgres.options import CdcOptions
    from bees.core.sql.postgres.select import Reading
    from bees.core.sql.postgres.session import Server, Stream
    from nectar.batch import Batch, Cursor

_LETTING_GO = 2.0
_WRITING = 10.0
"""Seconds for which transactions that write to a table are awaited, before it is read anew."""
_UNTOLD = "changes were made while something else told its rows apart, and the log does not tell which they are of"
log = structlog.get_logger()


@dataclass
class Following:
    """`settle` gives the reading as the catalog has it by now; `opened` holds the data sessions that are open."""

    stream: str
    options: CdcOptions
    batch_rows: int
    batch_bytes: int
    server: Callable[[], Server]
    asking: Asking
    settle: Callable[[], Reading]
    opened: list[Stream]
    _feed: Feed | None = field(default=None, repr=False)

    @property
    def slot(self) -> str:
        return slots.slot_name(self.options.slot, self.stream)

    @property
    def where(self) -> str:
        return f"streams.{self.stream}"

    def check(self, connection: psycopg.Connection, reading: Reading) -> None:
        """Raises GiveUp for what stands in the way of following the table."""
        key = tuple(c.name for c in reading.key)
        if reading.relation.oid is not None:
            leaves.leaves(connection, reading.relation.oid, self.where)
        slots.check_published(connection, self.options.publication, reading.relation, key, self.where)
        slots.check_readable(connection, reading.relation, [c.name for c in reading.columns], self.where)
        known = slots.confirmed(connection, self.slot, self.where) is not None
        if not known and not self.options.create_slot:
            slots.make_slot(connection, self.slot, self.where, allowed=False)

    def batches(self, cursor: Cursor | None) -> Iterator[Batch]:
        """What comes behind `cursor`: the rest of the rows that were there, then changes."""
        anew = False
        while True:
            try:
                yield from self._told(cursor, anew=anew)
            except UntoldError:
                log.warning("read_anew", stream=self.stream, because=_UNTOLD)
                cursor, anew = None, True
            except GiveUp as error:
                raise self._held_back(error) from None
            else:
                return

    def _held_back(self, error: GiveUp) -> GiveUp:
        with suppress(SourceError), self.asking() as connection:
            return slots.held_back(connection, self.slot, self.stream, error)
        return error

    def _told(self, cursor: Cursor | None, *, anew: bool = False) -> Iterator[Batch]:
        """What comes behind `cursor`; `anew`: nothing of what is in the log by now."""
        reading = self.settle()
        number = reading.relation.oid
        more: Cursor = {"table": number}
        if number is not None:
            more, changed = self._around(number, cursor)
            if changed:
                log.warning("read_anew", stream=self.stream, because=f"{changed}, and the log does not tell its rows")
                cursor = None
        for batch in self._batches(cursor, reading, self._start(cursor, reading, anew=anew)):
            yield replace(batch, cursor={**batch.cursor, **more})

    def _around(self, table: int, cursor: Cursor | None) -> tuple[Cursor, str]:
        """What a cursor keeps of the table by now, and what happened since `cursor` that the log does not tell."""
        before = cursor if cursor is not None and cursor.get("table") in (None, table) else {}
        with self.asking() as connection:
            found = leaves.leaves(connection, table, self.where)
            published = slots.publication_mark(connection, self.options.publication, table)
            changed = "" if "parts" not in before else leaves.came_and_went(connection, before["parts"], found)
        if before.get("published", published) != published:
            changed = "the publication was changed"
        return {"table": table, "published": published, "parts": leaves.told(found)}, changed

    def _batches(self, cursor: Cursor | None, reading: Reading, start: Stand) -> Iterator[Batch]:
        if cursor is None or "place" in cursor:
            yield from self._rows(reading, start, cursor["place"] if cursor else None)
        self._feed = self._opened(start.lsn if cursor else self._kept())
        try:
            yield from Follower(
                stream=self.stream,
                slot=self.slot,
                asking=self.asking,
                reading=reading,
                table=table_of(reading.relation),
                batch_rows=self.batch_rows,
                batch_bytes=self.batch_bytes,
                wait=self.options.wait,
                feed=self._feed,
                stand=start,
                settle=self.settle,
                number=reading.relation.oid,
            ).batches()
        finally:
            self.close()

    def _opened(self, start: int) -> Feed:
        """The session; the one of the leg before, or of a worker that died, takes a moment to let go of the slot."""
        until = time.monotonic() + _LETTING_GO
        while True:
            try:
                return Feed(self.server(), self.slot, self.options.publication, start)
            except RetryLater as error:
                if error.code != "slot_busy" or time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def _start(self, cursor: Cursor | None, reading: Reading, *, anew: bool) -> Stand:
        with self.asking() as connection:
            self.check(connection, reading)
            known = slots.confirmed(connection, self.slot, self.where)
            if cursor is None:
                if known is None:
                    return Stand(self._made(connection))
                return Stand(self._passed(connection, reading, known, anew=anew))
            if cursor.get("table") not in (None, reading.relation.oid):
                raise replaced(self.stream, self.where)
            start = stand_of(cursor)
            if known is None or cursor.get("slot") != self.slot:
                raise no_slot(self.where)
            if known > start.lsn:
                raise GiveUp(
                    f"the slot {self.slot!r} was read by somebody else, so changes are missing here",
                    code="slot_ahead",
                    where=self.where,
                    advice="give each bee a `cdc.slot` of its own, and fly this one with --full-refresh",
                )
            found = slots.lag(connection, self.slot, None)
        if found is not None and found.retained > self.options.most_lag:
            log.warning("slot_far_behind", slot=self.slot, bytes=found.retained, status=found.status)
        return start

    def _passed(self, connection: psycopg.Connection, reading: Reading, known: int, *, anew: bool) -> int:
        """Where to begin with a slot that was there before: what it tells from `known` to here is in the table.

        Among that may be changes that cannot be told any more, as of a key that had another name.
        """
        table = reading.relation.oid
        here = None if table is None else slots.seen_up_to(connection, table, _WRITING)
        if here is None and anew:
            raise RetryLater(
                "a transaction writes to the table that is to be read anew", code="table_busy", where=self.where
            )
        return known if here is None else max(known, here)

    def _kept(self) -> int:
        """Where the slot is: of rows that were read just now nobody knows yet whether they are sealed."""
        with self.asking() as connection:
            known = slots.confirmed(connection, self.slot, self.where)
        if known is None:
            raise no_slot(self.where)
        return known

    def _made(self, connection: psycopg.Connection) -> int:
        return slots.make_slot(connection, self.slot, self.where, allowed=self.options.create_slot)

    def _rows(self, reading: Reading, start: Stand, place: Cursor | None) -> Iterator[Batch]:
        """The rows that are there, by key, with the cursor that goes on behind each batch."""
        with self.asking() as connection:
            begun: Place = begin(connection, self.stream, reading, place)
        mark = {"slot": self.slot, "lsn": lsn_text(start.lsn)}
        # A place of another order is void.
        begins = not begun.after and begun.phase == reading.first_place().phase
        with self.server().stream(self.batch_bytes) as data:
            self.opened.append(data)
            try:
                # Rows of a replica that has not come as far as the slot would be without changes that nobody tells.
                await_progress(partial(progress.compared, data, progress.at(start.lsn), self.where), self.where)
                for batch in read(Leg(self.stream, reading), self.batch_rows, data, begun):
                    done = bool(batch.cursor.get("done"))
                    after = start.cursor(self.slot) if done else {**mark, "place": dict(batch.cursor)}
                    # Read anew, the table tells what is gone; what changes meanwhile comes behind and is newer.
                    yield replace(batch, cursor=after, begins=begins)
                    begins = False
            finally:
                self.opened.remove(data)

    def sealed(self, cursor: Cursor) -> None:
        """The server may forget what lies before `cursor`. What it is not told now it hears in the next flight."""
        if "place" in cursor:
            return
        lsn = stand_of(cursor).lsn
        with suppress(SourceError):
            if self._feed is not None and self._feed.is_open:
                self._feed.acknowledge(lsn)
                return
            with self.asking() as connection:
                slots.advance(connection, self.slot, lsn)

    def close(self) -> None:
        """End the session; the slot stays."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()
