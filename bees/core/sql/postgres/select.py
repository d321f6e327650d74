"""Statements that read one stream in order, from any row on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa
from psycopg import sql

from bees.core.sql.place import Phase, Place
from nectar.batch import marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.sql.postgres.catalog import Relation, SourceColumn

_PHASES: tuple[Phase, ...] = get_args(Phase)
_NUMBERS = {"int2": 16, "int4": 32, "int8": 64}
_WITH_INFINITY = ("float4", "float8", "numeric")


@dataclass(frozen=True)
class Reading:
    """One stream, settled: which columns are read, in which order."""

    relation: Relation
    columns: tuple[SourceColumn, ...]
    key: tuple[SourceColumn, ...]
    cursor: SourceColumn | None
    lookback: float

    @property
    def by(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.order("rows"))

    def order(self, phase: Phase) -> tuple[SourceColumn, ...]:
        """The order columns of a phase other than "keyless". A cursor that is part of the key comes first and once."""
        if self.cursor is None or phase == "nulls":
            return self.key
        return (self.cursor, *(c for c in self.key if c.name != self.cursor.name))

    @property
    def doubtful(self) -> tuple[SourceColumn, ...]:
        """Key columns that may be null."""
        return tuple(c for c in self.key if c.nullable)

    @property
    def phases(self) -> tuple[Phase, ...]:
        nulls = self.cursor is not None and self.cursor.nullable and self.cursor not in self.key
        return (*(("keyless",) if self.doubtful else ()), *(("nulls",) if nulls else ()), "rows")

    def first_place(self) -> Place:
        return Place(by=self.by, phase=self.phases[0])

    def after_phase(self, place: Place) -> Place | None:
        """Where the next phase begins; None after the last one."""
        later = _PHASES[_PHASES.index(place.phase) + 1 :]
        return next((place.at(phase) for phase in later if phase in self.phases), None)


def _of(column: SourceColumn) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(column.name))


def _all(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("TRUE")


def _remaining(reading: Reading, place: Place) -> list[sql.Composed]:
    """What restricts the rows to those not yet read.

    Row comparison, so that an index on the order columns serves; it never meets a null, because rows with a null key
    or cursor have phases of their own.
    """
    if place.phase == "keyless":
        return _keyless(reading, place)
    conditions = [sql.SQL("{} IS NOT NULL").format(_of(c)) for c in reading.doubtful if c != reading.cursor]
    order = reading.order(place.phase)
    if reading.cursor is not None:
        test = sql.SQL("{} IS NULL") if place.phase == "nulls" else sql.SQL("{} IS NOT NULL")
        conditions.append(test.format(_of(reading.cursor)))
    if place.after:
        columns = sql.SQL(", ").join([_of(c) for c in order])
        values = sql.SQL(", ").join([c.form.literal(text) for c, text in zip(order, place.after, strict=True)])
        conditions.append(sql.SQL("({}) > ({})").format(columns, values))
    elif place.start is not None and place.phase == "rows" and reading.cursor is not None:
        conditions.append(sql.SQL("{} >= {}").format(_of(reading.cursor), _start(reading.cursor, place.start)))
    return conditions


def _keyless(reading: Reading, place: Place) -> list[sql.Composed]:
    """Rows with a null in their key, from the flight's start on. The hive sets them aside, so they must come."""
    nulls = sql.SQL(" OR ").join([sql.SQL("{} IS NULL").format(_of(c)) for c in reading.doubtful])
    conditions = [sql.SQL("({})").format(nulls)]
    if place.start is not None and reading.cursor is not None:
        start = _start(reading.cursor, place.start)
        conditions.append(sql.SQL("({0} IS NULL OR {0} >= {1})").format(_of(reading.cursor), start))
    if place.after:
        conditions.append(sql.SQL("{} > {}").format(_content(reading), sql.Literal(place.after[0])))
    return conditions


def _content(reading: Reading) -> sql.Composable:
    """A hash of what is read of a row: the only order that rows without a key have. Rows that are equal have one."""
    row = sql.SQL(", ").join([_of(c) for c in reading.columns])
    return sql.SQL(
        "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(CAST(ROW({}) AS pg_catalog.text), 'UTF8')), 'hex')"
        ' COLLATE pg_catalog."C"'
    ).format(row)


def _start(cursor: SourceColumn, text: str) -> sql.Composable:
    # A date less some seconds is a timestamp.
    if cursor.form.name == "date":
        return sql.SQL("CAST({} AS pg_catalog.timestamp)").format(sql.Literal(text))
    return cursor.form.literal(text)


def _is_mark(reading: Reading, place: Place) -> sql.Composable:
    """Whether a row's cursor value may become the high-water mark: above it, and neither infinite nor in the future."""
    cursor = reading.cursor
    if cursor is None or place.phase == "nulls":
        return sql.SQL("FALSE")
    conditions = []
    if place.high is not None:
        conditions.append(sql.SQL("{} > {}").format(_of(cursor), cursor.form.literal(place.high)))
    if place.cap is not None:
        conditions.append(sql.SQL("{} <= {}").format(_of(cursor), cursor.form.literal(place.cap)))
    if cursor.form.name in _WITH_INFINITY:
        conditions.append(sql.SQL("{} < {}").format(_of(cursor), cursor.form.literal("Infinity")))
    return _all(conditions)


def rows_from(reading: Reading, place: Place, limit: int | None = None) -> sql.Composed:
    """The rows after `place` in their order.

    The last column says whether the row may move the mark; in the phase "keyless" it is the row's place.
    """
    chosen = [sql.SQL("{} AS {}").format(c.form.select(_of(c)), sql.Identifier(c.name)) for c in reading.columns]
    keyless = place.phase == "keyless"
    order = [_content(reading)] if keyless else [_of(c) for c in reading.order(place.phase)]
    statement = sql.SQL("SELECT {}, {} FROM {} AS t WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(chosen),
        _content(reading) if keyless else _is_mark(reading, place),
        reading.relation.origin,
        _all(_remaining(reading, place)),
        sql.SQL(", ").join(order),
    )
    return statement if limit is None else sql.SQL("{} LIMIT {}").format(statement, sql.Literal(limit))


def opening(reading: Reading, high: str | None) -> sql.Composed | None:
    """Asks what a new flight must know: where it begins, what caps the mark, whether the source fell behind the mark.

    None where there is nothing to ask. A flight begins at the mark, less the look-back.
    """
    cursor = reading.cursor
    if cursor is None:
        return None
    now = sql.SQL("CAST(pg_catalog.now() AS {})").format(cursor.form.type())
    cap = cursor.form.select(now) if cursor.form.moment else sql.SQL("NULL::text")
    if high is None:
        return sql.SQL("SELECT NULL::text, {}, FALSE").format(cap) if cursor.form.moment else None
    mark = cursor.form.literal(high)
    low: sql.Composable = mark
    if cursor.form.moment and reading.lookback:
        low = sql.SQL("({} - {}::interval)").format(low, sql.Literal(f"{reading.lookback} seconds"))
    if cursor.form.name == "numeric" and reading.lookback:
        low = sql.SQL("({} - {})").format(low, cursor.form.literal(str(reading.lookback)))
    start = cursor.form.select(low) if cursor.form.moment else sql.SQL("CAST({} AS pg_catalog.text)").format(low)
    return sql.SQL(
        "SELECT {}, {}, coalesce(n.newest < {}, TRUE) FROM (SELECT (SELECT {} FROM {} AS t WHERE {} IS NOT NULL"
        " ORDER BY {} DESC LIMIT 1) AS newest) AS n"
    ).format(start, cap, mark, _of(cursor), reading.relation.origin, _of(cursor), _of(cursor))


def less(reading: Reading, start: str) -> str:
    """A number less the look-back, within the type. Times were already lessened by the server."""
    bits = _NUMBERS.get(reading.cursor.form.name) if reading.cursor else None
    if bits is None or not reading.lookback:
        return start
    return str(max(int(start) - int(reading.lookback), -(2 ** (bits - 1))))


def fields(reading: Reading, sent: pa.Schema) -> pa.Schema:
    """The columns as nectar wants them: marks where text must be read as something else."""
    found = []
    for index, column in enumerate(reading.columns):
        kind = sent.field(index).type
        mark = column.form.mark
        found.append(marked(column.name, kind, mark) if mark else pa.field(column.name, kind))
    return pa.schema(found)


def exact_text(value: Any) -> str:
    """A key's value as a literal that PostgreSQL reads back to the same value."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
