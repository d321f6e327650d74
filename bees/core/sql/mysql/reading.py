"""One leg of reading a stream of MySQL: what the server is asked, and its answer as pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from bees.core.errors import GiveUp
from bees.core.sql import leg as common
from bees.core.sql.leg import Leg, Opening, Piece
from bees.core.sql.mysql import select
from bees.core.sql.mysql.forms import LOST, exact_text
from bees.core.sql.place import Place
from nectar.batch import Batch, Cursor, Reject, marked
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.sql.mysql.catalog import SourceColumn
    from bees.core.sql.mysql.session import Questions, Stream
    from bees.core.sql.span import Span


def begin(
    questions: Questions, stream: str, reading: select.Reading, cursor: Cursor | None, span: Span | None = None
) -> Place:
    """Where this leg begins: in the middle of a flight, or at the start of a new one."""
    understood = partial(_understood, reading, bool(cursor and cursor.get("types")))
    return common.begin(stream, reading, cursor, partial(opening, questions, reading), span, understood)


def _understood(reading: select.Reading, typed: bool, place: Place) -> bool:
    """Whether a place's texts can be values of their columns; where its types are not told, they may be others.

    Versions that told none sorted the words of an enum or a set by their numbers.
    """
    try:
        for column, text in reading.texts(place):
            if not typed and column.form.name in ("enum", "set"):
                return False
            column.form.literal(text)
            if column.form.shape == "integer":
                int(text)
    except ValueError:
        return False
    return True


def opening(questions: Questions, reading: select.Reading, high: str | None) -> Opening | None:
    """The server's word on a mark; None where there is nothing to ask."""
    question = select.opening(reading, high)
    if question is None:
        return None
    start, cap, behind = questions.rows(question)[0]
    return Opening(None if start is None else select.less(reading, str(start)), cap, bool(behind))


def read(leg: Leg[select.Reading], data: Stream, place: Place) -> Iterator[Batch]:
    """Batches from `place` on."""
    return common.batches(leg, _Source(leg, data), place)


class _Source:
    def __init__(self, leg: Leg[select.Reading], data: Stream) -> None:
        self._leg = leg
        self._data = data

    def pieces(self, place: Place, left: int | None) -> Iterator[Piece]:
        leg = self._leg
        where = f"streams.{leg.stream}"
        _, found = self._data.read(select.rows_from(leg.reading, place, left, leg.span), where)
        for piece in found:
            *raw, last = piece.columns()
            table, rejects = table_of(leg.reading.columns, raw, where)
            place = _after(leg, place, raw, last)
            yield Piece(table, place, len(piece), rejects)

    def empty(self) -> pa.Table:
        return _empty(self._leg.reading.columns)

    def close(self) -> None:
        self._data.end_reading()


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
            code="unreadable_value" if column.form.checked else "encoding",
            reason=f"the column {column.name!r} holds bytes that "
            + ("stand for nothing in its character set" if column.form.checked else "are no text in UTF-8"),
            raw=_raw(columns, raw, row),
        )
        for row, column in sorted(broken.items())
    )
    return _table(columns, [array.take(pa.array(kept)) for array in raw]), rejects


def _table(columns: Sequence[SourceColumn], raw: Sequence[pa.Array]) -> pa.Table:
    arrays = [column.form.arrow(array) for column, array in zip(columns, raw, strict=True)]
    fields = [
        marked(escape(c.name), array.type, c.form.mark) if c.form.mark else pa.field(escape(c.name), array.type)
        for c, array in zip(columns, arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _empty(columns: Sequence[SourceColumn]) -> pa.Table:
    return _table(columns, [pa.array([], pa.binary())] * len(columns))


def _broken(columns: Sequence[SourceColumn], raw: Sequence[pa.Array]) -> dict[int, SourceColumn]:
    """Row -> the first column whose bytes are no UTF-8."""
    found: dict[int, SourceColumn] = {}
    for column, array in zip(columns, raw, strict=True):
        if column.form.shape == "binary":
            continue
        for row, value in enumerate(array.to_pylist()):
            if value is not None and not _is_text(value):
                found.setdefault(row, column)
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
        value, codec = array[row].as_py(), "utf-8"
        if column.form.checked and value and value.startswith(LOST):
            value, codec = value[len(LOST) :], "ascii"
        told[column.name] = None if value is None else value.decode(codec, "backslashreplace")
    return json.dumps(told, ensure_ascii=False).encode()


def _after(leg: Leg[select.Reading], place: Place, raw: Sequence[pa.Array], last: pa.Array) -> Place:
    """The place once this piece is sealed: after its last row, the mark at its last row that may move it."""
    if place.phase == "keyless":
        return place.moved((last[-1].as_py().decode(),), None)
    values = dict(zip((c.name for c in leg.reading.columns), raw, strict=True))
    order = leg.reading.order(place.phase)
    after = _last(leg, [(c, values[c.name]) for c in order], len(last))
    high = None
    if leg.reading.cursor is not None:
        # Rows come in the cursor's order, so the last one that may move the mark has the greatest value.
        may = values[leg.reading.cursor.name].filter(pa.array([flag == b"1" for flag in last.to_pylist()]))
        high = _exact(leg, leg.reading.cursor, may.slice(len(may) - 1)) if len(may) else None
    return place.moved(after, high)


def _last(leg: Leg[select.Reading], order: Sequence[tuple[SourceColumn, pa.Array]], rows: int) -> tuple[str, ...]:
    """The last row whose order columns are texts: the rows behind it, which are set aside, come once more then.

    Raises GiveUp where no row of the piece is one, because reading would never get past them.
    """
    for row in reversed(range(rows)):
        try:
            return tuple(_exact(leg, column, array.slice(row, 1)) for column, array in order)
        except GiveUp:
            if not row:
                raise
    raise AssertionError("a piece holds rows")


def _exact(leg: Leg[select.Reading], column: SourceColumn, one: pa.Array) -> str:
    try:
        return exact_text(column.form.arrow(one)[0].as_py())
    except pa.ArrowInvalid:
        raise GiveUp(
            f"the column {column.name!r} holds bytes that are no text in UTF-8, and rows are read in its order",
            code="encoding",
            where=f"streams.{leg.stream}",
            advice="mend the text at the source, or choose another `key`",
        ) from None
