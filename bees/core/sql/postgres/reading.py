"""One leg of reading a stream of PostgreSQL: what the server is asked, and its answer as pieces."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa

from bees.core.sql import leg as common
from bees.core.sql.leg import Leg, Opening, Piece
from bees.core.sql.place import Place
from bees.core.sql.postgres import select
from nectar.batch import Batch, Cursor

if TYPE_CHECKING:
    from bees.core.sql.postgres.session import Stream
    from bees.core.sql.span import Span


def begin(
    connection: psycopg.Connection,
    stream: str,
    reading: select.Reading,
    cursor: Cursor | None,
    span: Span | None = None,
) -> Place:
    """Where this leg begins: in the middle of a flight, or at the start of a new one."""
    understood = partial(_understood, connection, reading)
    return common.begin(stream, reading, cursor, partial(opening, connection, reading), span, understood)


def _understood(connection: psycopg.Connection, reading: select.Reading, place: Place) -> bool:
    """Whether the server still reads a place's texts: the word of an enum may have been renamed, a type have shrunk."""
    question = select.values(reading, place)
    if question is None:
        return True
    try:
        with connection.transaction():
            connection.execute(question)
    except psycopg.DataError:
        return False
    return True


def opening(connection: psycopg.Connection, reading: select.Reading, high: str | None) -> Opening | None:
    """The server's word on a mark; None where there is nothing to ask."""
    question = select.opening(reading, high)
    if question is None:
        return None
    start, cap, behind = connection.execute(question).fetchone() or (None, None, False)
    return Opening(None if start is None else select.less(reading, start), cap, bool(behind))


def read(leg: Leg[select.Reading], batch_rows: int, data: Stream, place: Place) -> Iterator[Batch]:
    """Batches from `place` on."""
    return common.batches(leg, _Source(leg, batch_rows, data), place)


class _Source:
    def __init__(self, leg: Leg[select.Reading], batch_rows: int, data: Stream) -> None:
        self._leg = leg
        self._rows = batch_rows
        self._data = data
        self._schema = pa.schema([])

    def pieces(self, place: Place, left: int | None) -> Iterator[Piece]:
        leg = self._leg
        statement = select.rows_from(leg.reading, place, left, leg.span).as_string(None)
        sent, batches = self._data.read(statement, f"streams.{leg.stream}")
        self._schema = select.fields(leg.reading, sent)
        for batch in batches:
            for start in range(0, batch.num_rows, self._rows):
                piece = batch.slice(start, self._rows)
                place = _after(leg.reading, place, piece)
                table = pa.Table.from_arrays(piece.columns[:-1], schema=self._schema)
                yield Piece(table, place, piece.num_rows)

    def empty(self) -> pa.Table:
        return self._schema.empty_table()

    def close(self) -> None:
        self._data.close()


def _after(reading: select.Reading, place: Place, piece: pa.RecordBatch) -> Place:
    """The place once this piece is sealed: after its last row, the mark at its last row that may move it."""
    if place.phase == "keyless":
        return place.moved((piece.columns[-1][-1].as_py(),), None)
    values = dict(zip((c.name for c in reading.columns), piece.columns[:-1], strict=True))
    after = tuple(select.exact_text(values[c.name][-1].as_py()) for c in reading.order(place.phase))
    high = None
    if reading.cursor is not None:
        # Rows come in the cursor's order, so the last one that may move the mark has the greatest value.
        may = values[reading.cursor.name].filter(piece.columns[-1])
        high = select.exact_text(may[-1].as_py()) if len(may) else None
    return place.moved(after, high)
