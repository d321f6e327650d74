"""One leg of reading a stream: where it begins, and its batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import structlog

from bees.core.errors import GiveUp
from bees.core.sql.mysql import select
from bees.core.sql.mysql.forms import exact_text
from bees.core.sql.place import Place, place_of
from nectar.batch import Batch, Cursor, Reject, marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.sql.mysql.catalog import SourceColumn
    from bees.core.sql.mysql.session import Questions, Stream
    from bees.core.sql.mysql.wire import Piece

log = structlog.get_logger()


def begin(questions: Questions, stream: str, reading: select.Reading, cursor: Cursor | None) -> Place:
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
        start, cap, behind = questions.rows(question)[0]
        place = replace(place, start=None if start is None else select.less(reading, str(start)), cap=cap)
        if behind:
            # The row at the mark is gone: deleted, or the source was restored. Whatever came since may stand below it.
            log.warning("source_behind_its_mark", stream=stream, result="reading starts from the beginning")
            place = replace(place, start=None, high=None)
    return place


@dataclass(frozen=True)
class Leg:
    stream: str
    reading: select.Reading
    limit: int | None
    max_rows: int | None = None
    """The most rows of one flight, whatever its legs; the next flight goes on behind them."""

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
        _, pieces = data.read(select.rows_from(leg.reading, place, left), f"streams.{leg.stream}")
        for piece in pieces:
            table, rejects, place = _told(leg, piece, place)
            if leg.max_rows is not None:
                place = replace(place, read=place.read + len(piece))
            if held:
                yield held
            held = Batch(leg.stream, table, place.cursor(), rejects=rejects)
            left = None if left is None else left - len(piece)
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
    last = held or Batch(leg.stream, _empty(leg.reading.columns), {})
    yield replace(last, cursor=place.finished().cursor(), complete=whole)


def _told(leg: Leg, piece: Piece, place: Place) -> tuple[pa.Table, tuple[Reject, ...], Place]:
    """The records of a piece, what of it is no text, and the place behind it."""
    *raw, last = piece.columns()
    table, rejects = table_of(leg.reading.columns, raw, f"streams.{leg.stream}")
    return table, rejects, _after(leg, place, raw, last)


def table_of(
    columns: Sequence[SourceColumn], raw: Sequence[pa.Array], where: str
) -> tuple[pa.Table, tuple[Reject, ...]]:
    """Records out of the bytes of each column; those in whose text is no UTF-8 are set aside."""
    try:
        return _table(columns, raw), ()
    except pa.ArrowInvalid:
        broken = _broken(columns, raw)
        if not broken:
            raise GiveUp(
                "the server wrote a value that its column's type does not have",
                code="wrong_data",
                where=where,
                advice="leave the column out with `columns`, and tell us its type",
            ) from None
    rows = len(raw[0])
    kept = np.setdiff1d(np.arange(rows), np.array(sorted(broken)))
    rejects = tuple(
        Reject(
            position=f"row {row + 1} of {rows} in its batch",
            code="encoding",
            reason=f"the column {name!r} holds bytes that are no text in UTF-8",
            raw=_raw(columns, raw, row),
        )
        for row, name in sorted(broken.items())
    )
    return _table(columns, [array.take(pa.array(kept)) for array in raw]), rejects


def _table(columns: Sequence[SourceColumn], raw: Sequence[pa.Array]) -> pa.Table:
    arrays = [column.form.arrow(array) for column, array in zip(columns, raw, strict=True)]
    fields = [
        marked(c.name, array.type, c.form.mark) if c.form.mark else pa.field(c.name, array.type)
        for c, array in zip(columns, arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _empty(columns: Sequence[SourceColumn]) -> pa.Table:
    return _table(columns, [pa.array([], pa.binary())] * len(columns))


def _broken(columns: Sequence[SourceColumn], raw: Sequence[pa.Array]) -> dict[int, str]:
    """Row -> the first column whose bytes are no UTF-8."""
    found: dict[int, str] = {}
    for column, array in zip(columns, raw, strict=True):
        if column.form.shape == "binary":
            continue
        for row, value in enumerate(array.to_pylist()):
            if value is not None and not _is_text(value):
                found.setdefault(row, column.name)
    return found


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _raw(columns: Sequence[SourceColumn], raw: Sequence[pa.Array], row: int) -> bytes:
    """The row as one line of JSON; bytes that are no text are written as hexadecimal escapes."""
    told = {}
    for column, array in zip(columns, raw, strict=True):
        value = array[row].as_py()
        told[column.name] = None if value is None else value.decode("utf-8", "backslashreplace")
    return json.dumps(told, ensure_ascii=False).encode()


def _after(leg: Leg, place: Place, raw: Sequence[pa.Array], last: pa.Array) -> Place:
    """The place once this piece is sealed: after its last row, the mark at its last row that may move it."""
    if place.phase == "keyless":
        return place.moved((last[-1].as_py().decode(),), None)
    values = dict(zip((c.name for c in leg.reading.columns), raw, strict=True))
    order = leg.reading.order(place.phase)
    after = tuple(_exact(leg, c, values[c.name].slice(len(last) - 1)) for c in order)
    high = None
    if leg.reading.cursor is not None:
        # Rows come in the cursor's order, so the last one that may move the mark has the greatest value.
        may = values[leg.reading.cursor.name].filter(pa.array([flag == b"1" for flag in last.to_pylist()]))
        high = _exact(leg, leg.reading.cursor, may.slice(len(may) - 1)) if len(may) else None
    return place.moved(after, high)


def _exact(leg: Leg, column: SourceColumn, one: pa.Array) -> str:
    try:
        return exact_text(column.form.arrow(one)[0].as_py())
    except pa.ArrowInvalid:
        raise GiveUp(
            f"the column {column.name!r} holds bytes that are no text in UTF-8, and rows are read in its order",
            code="encoding",
            where=f"streams.{leg.stream}",
            advice="mend the text at the source, or choose another `key`",
        ) from None
