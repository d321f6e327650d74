"""One leg of reading a stream: where it begins, and its batches, whatever its server speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa
import structlog

from bees.core.sql.content import new_salt
from bees.core.sql.ordered import Ordered
from bees.core.sql.place import Place, place_of
from bees.core.sql.span import Span
from nectar.batch import Batch, Cursor, Distinct, Reject

log = structlog.get_logger()

O = TypeVar("O", bound=Ordered[Any, Any])  # noqa: E741


@dataclass(frozen=True)
class Opening:
    """What the source says at the start of a flight.

    start   where the flight begins, less the look-back; None: at the first row
    cap     what the mark may not pass
    behind  the row at the mark is gone: deleted, or the source was restored
    """

    start: str | None
    cap: str | None
    behind: bool


@dataclass(frozen=True)
class Piece:
    """Some rows in a row: their records, what of them is no record, and the place behind the last one."""

    table: pa.Table
    place: Place
    rows: int
    rejects: tuple[Reject, ...] = ()


class Source(Protocol):
    """A session for data, of one stream."""

    def pieces(self, place: Place, left: int | None) -> Iterator[Piece]:
        """The rows after `place` in its phase, at most `left`."""

    def empty(self) -> pa.Table:
        """A table without rows; asked once something was read."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Leg(Generic[O]):
    stream: str
    reading: O
    limit: int | None = None
    max_rows: int | None = None
    """The most rows of one flight, whatever its legs; the next flight goes on behind them."""
    span: Span | None = None
    """The part of the table that is read; None: all of it."""

    def most(self, place: Place) -> int | None:
        """How many rows this leg may read."""
        of_flight = None if self.max_rows is None else max(0, self.max_rows - place.read)
        both = [n for n in (self.limit, of_flight) if n is not None]
        return min(both) if both else None


def begin(
    stream: str,
    reading: Ordered[Any, Any],
    cursor: Cursor | None,
    asked: Callable[[str | None], Opening | None],
    span: Span | None = None,
    understood: Callable[[Place], bool] = lambda _: True,
) -> Place:
    """Where this leg begins: in the middle of a flight, or at the start of a new one.

    `asked` gives the source's word on a mark, None where there is nothing to ask. `understood`: whether the texts of a
    place are still values of their columns. Rows without a key belong to the first part of a table.
    """
    place = place_of(cursor, reading.first_place())
    if place and not understood(place):
        place = None
    if place and not place.done:
        # The catalog may have ruled out the phase in which the last leg stopped.
        return place if place.phase in reading.phases else reading.after_phase(place) or place
    if cursor and place is None:
        log.warning("cursor_of_another_order", stream=stream, result="reading starts from the beginning")
    high = place.high if place else None
    salt = ((place and place.salt) or new_salt()) if reading.by_content else None
    place = replace(reading.first_place(), high=high, salt=salt)
    if span and span.after:
        return place.at("rows")
    if opening := asked(high):
        place = replace(place, start=opening.start, cap=opening.cap)
        if opening.behind:
            # Whatever came since may stand below the mark.
            log.warning("source_behind_its_mark", stream=stream, result="reading starts from the beginning")
            place = replace(place, start=None, high=None)
    return place


def batches(leg: Leg[Any], source: Source, place: Place) -> Iterator[Batch]:
    """Batches from `place` on. One is held back until it is known to be the last, or not."""
    held: Batch | None = None
    left = leg.most(place)
    begins = _begins(leg, place)
    run: Distinct = "" if not leg.reading.distinct else "more" if place.after else "first"
    while True:
        for piece in source.pieces(place, left):
            read = place.read + piece.rows if leg.max_rows is not None else piece.place.read
            place = replace(piece.place, read=read)
            if held:
                yield held
            held = Batch(leg.stream, piece.table, place.cursor(), rejects=piece.rejects, begins=begins, distinct=run)
            begins, run = False, run and "more"
            left = None if left is None else left - piece.rows
        following = leg.reading.after_phase(place)
        if following is None or left == 0:
            break
        place = following
    source.close()
    full = left == 0 and leg.limit is None
    if full:
        log.warning(
            "max_rows_reached", stream=leg.stream, rows=leg.max_rows, result="the next flight goes on from here"
        )
        last = held or Batch(leg.stream, source.empty(), {}, begins=begins, distinct=run)
        yield replace(last, cursor=replace(place, read=0).cursor(), ends=True, pauses=True)
        return
    if leg.limit is not None:
        if held:
            yield held
        return
    last = held or Batch(leg.stream, source.empty(), {}, begins=begins, distinct=run)
    yield replace(last, cursor=place.finished().cursor(), complete=place.start is None, ends=True)


def _begins(leg: Leg[Any], place: Place) -> bool:
    """Whether a reading of everything begins here of a stream that follows a cursor: at its end it met all there is.

    Whoever changes meanwhile moves ahead of the reading, as rows do whose cursor grows with each change. Where it is
    read in parts, each of them begins, and all of them together are everything.
    """
    followed = leg.reading.cursor is not None or (leg.span is not None and leg.span.then is not None)
    first = "rows" if leg.span and leg.span.after else leg.reading.first_place().phase
    return followed and place.start is None and not place.after and place.phase == first
