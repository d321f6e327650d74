"""One leg of reading a stream: where it begins, and its batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import structlog

from bees.core.sql.place import Place, place_of
from bees.core.sql.postgres import select
from nectar.batch import Batch, Cursor

if TYPE_CHECKING:
    import psycopg

    from bees.core.sql.postgres.session import Stream

log = structlog.get_logger()


def begin(connection: psycopg.Connection, stream: str, reading: select.Reading, cursor: Cursor | None) -> Place:
    """Where this leg begins: in the middle of a flight, or at the start of a new one."""
    place = place_of(cursor, reading.by)
    if place and not place.done:
        # The catalog may have ruled out the phase in which the last leg stopped.
        return place if place.phase in reading.phases else reading.after_phase(place) or place
    if cursor and place is None:
        log.warning("cursor_of_another_order", stream=stream, result="reading starts from the beginning")
    high = place.high if place else None
    place = replace(reading.first_place(), high=high)
    if question := select.opening(reading, high):
        start, cap, behind = connection.execute(question).fetchone() or (None, None, False)
        place = replace(place, start=None if start is None else select.less(reading, start), cap=cap)
        if behind:
            # The row at the mark is gone: deleted, or the source was restored. Whatever came since may stand below it.
            log.warning("source_behind_its_mark", stream=stream, result="reading starts from the beginning")
            place = replace(place, start=None, high=None)
    return place


@dataclass(frozen=True)
class Leg:
    stream: str
    reading: select.Reading
    batch_rows: int
    limit: int | None
    max_rows: int | None = None
    """The most rows of one flight, whatever its legs; the next flight goes on behind them."""

    def statement(self, place: Place, left: int | None) -> str:
        return select.rows_from(self.reading, place, left).as_string(None)

    def most(self, place: Place) -> int | None:
        """How many rows this leg may read."""
        of_flight = None if self.max_rows is None else max(0, self.max_rows - place.read)
        both = [n for n in (self.limit, of_flight) if n is not None]
        return min(both) if both else None


def read(leg: Leg, data: Stream, place: Place) -> Iterator[Batch]:
    """Batches from `place` on. One is held back until it is known to be the last, or not."""
    held: Batch | None = None
    left = leg.most(place)
    while True:
        sent, pieces = data.read(leg.statement(place, left), f"streams.{leg.stream}")
        schema = select.fields(leg.reading, sent)
        for piece in _cut(pieces, leg.batch_rows):
            place = _after(leg, place, piece)
            if leg.max_rows is not None:
                place = replace(place, read=place.read + piece.num_rows)
            if held:
                yield held
            held = Batch(leg.stream, _table(piece, schema), place.cursor())
            left = None if left is None else left - piece.num_rows
        following = leg.reading.after_phase(place)
        if following is None or left == 0:
            break
        place = following
    data.close()
    full = left == 0 and leg.limit is None
    if full and held:
        log.warning(
            "max_rows_reached", stream=leg.stream, rows=leg.max_rows, result="the next flight goes on from here"
        )
        held = replace(held, cursor=replace(place, read=0).cursor())
    if full or leg.limit is not None:
        if held:
            yield held
        return
    whole = leg.reading.cursor is None
    last = held or Batch(leg.stream, schema.empty_table(), {})
    yield replace(last, cursor=place.finished().cursor(), complete=whole)


def _cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _table(piece: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays(piece.columns[:-1], schema=schema)


def _after(leg: Leg, place: Place, piece: pa.RecordBatch) -> Place:
    """The place once this piece is sealed: after its last row, the mark at its last row that may move it."""
    if place.phase == "keyless":
        return place.moved((piece.columns[-1][-1].as_py(),), None)
    values = dict(zip((c.name for c in leg.reading.columns), piece.columns[:-1], strict=True))
    after = tuple(select.exact_text(values[c.name][-1].as_py()) for c in leg.reading.order(place.phase))
    high = None
    if leg.reading.cursor is not None:
        # Rows come in the cursor's order, so the last one that may move the mark has the greatest value.
        may = values[leg.reading.cursor.name].filter(piece.columns[-1])
        high = select.exact_text(may[-1].as_py()) if len(may) else None
    return place.moved(after, high)
