"""Statements that read one stream in order, from any row on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from psycopg import sql

from bees.core.sql.content import COPY, HASH
from bees.core.sql.ordered import Ordered
from bees.core.sql.place import Place
from bees.core.sql.postgres.catalog import Relation, SourceColumn
from nectar.batch import marked
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import LiteralString

    from bees.core.sql.span import Span

_NUMBERS = {"int2": 16, "int4": 32, "int8": 64}
_WITH_INFINITY = ("float4", "float8", "numeric")

Reading = Ordered[Relation, SourceColumn]
"""One stream of PostgreSQL, settled."""


def _of(column: SourceColumn) -> sql.Composable:
    """The column as its plain type: values of a domain over an enum compare with each other alone."""
    found = sql.SQL("t.{}").format(sql.Identifier(column.name))
    return sql.SQL("CAST({} AS {})").format(found, column.form.type()) if column.form.domain else found


def _literal(column: SourceColumn, text: str) -> sql.Composable:
    """A value to compare the column with. Whole numbers of all sizes compare, so a place outlives a type's growth."""
    if column.form.shape == "as_is" and column.form.name in _NUMBERS:
        return sql.SQL("CAST({} AS pg_catalog.int8)").format(sql.Literal(text))
    return column.form.literal(text)


def values(reading: Reading, place: Place) -> sql.Composed | None:
    """Asks whether the texts of a place are values of their columns' types; None where there is none.

    Nothing of them is asked back: not every type has a form in which the server sends it.
    """
    found = [sql.SQL("{} IS NULL").format(_literal(column, text)) for column, text in reading.texts(place)]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(found)) if found else None


def _all(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("TRUE")


def _remaining(reading: Reading, place: Place, span: Span | None) -> list[sql.Composed]:
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
    after = place.after or (span.after if span else ())
    if after:
        conditions.append(_against(reading, order, ">", after))
    elif place.start is not None and place.phase == "rows" and reading.cursor is not None:
        conditions.append(sql.SQL("{} >= {}").format(_of(reading.cursor), _start(reading.cursor, place.start)))
    if span and span.upto:
        conditions.append(_against(reading, order, "<=", span.upto))
    return conditions


def _against(
    reading: Reading, order: Sequence[SourceColumn], sign: LiteralString, texts: Sequence[str]
) -> sql.Composed:
    found = {c.name: _literal(c, text) for c, text in zip(order, texts, strict=True)}
    values = [*found.values(), *(c.form.tie(found[c.name]) for c in reading.ties)]
    return sql.SQL("({}) " + sign + " ({})").format(
        sql.SQL(", ").join(sorted_by(reading, order)), sql.SQL(", ").join(values)
    )


def sorted_by(reading: Reading, order: Sequence[SourceColumn]) -> list[sql.Composable]:
    """What rows are sorted by: the order columns, and what tells two rows apart that are equal to them."""
    return [*(_of(c) for c in order), *(c.form.tie(_of(c)) for c in reading.ties)]


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
    return _hash(reading, "")


def _hash(reading: Reading, salt: str) -> sql.Composable:
    row = sql.SQL(", ").join([_of(c) for c in reading.read])
    return sql.SQL(
        "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({} || CAST(ROW({}) AS pg_catalog.text), 'UTF8')),"
        " 'hex') COLLATE pg_catalog.\"C\""
    ).format(sql.Literal(salt), row)


def _origin(reading: Reading, place: Place) -> sql.Composable:
    """What stands after FROM: with the hash and the number of each row where they are its key."""
    if not reading.by_content:
        return reading.relation.origin
    return sql.SQL(
        "(SELECT h.*, pg_catalog.row_number() OVER (PARTITION BY h.{hash}) AS {copy}"
        " FROM (SELECT t.*, {made} AS {hash} FROM {origin} AS t) AS h)"
    ).format(
        hash=sql.Identifier(HASH),
        copy=sql.Identifier(COPY),
        made=_hash(reading, place.salt or ""),
        origin=reading.relation.origin,
    )


def _start(cursor: SourceColumn, text: str) -> sql.Composable:
    # A date less some seconds is a timestamp.
    if cursor.form.name == "date":
        return sql.SQL("CAST({} AS pg_catalog.timestamp)").format(sql.Literal(text))
    return _literal(cursor, text)


def _is_mark(reading: Reading, place: Place) -> sql.Composable:
    """Whether a row's cursor value may become the high-water mark: above it, and neither infinite nor in the future."""
    cursor = reading.cursor
    if cursor is None or place.phase == "nulls":
        return sql.SQL("FALSE")
    conditions = []
    if place.high is not None:
        conditions.append(sql.SQL("{} > {}").format(_of(cursor), _literal(cursor, place.high)))
    if place.cap is not None:
        conditions.append(sql.SQL("{} <= {}").format(_of(cursor), _literal(cursor, place.cap)))
    if cursor.form.name in _WITH_INFINITY:
        conditions.append(sql.SQL("{} < {}").format(_of(cursor), cursor.form.literal("Infinity")))
    return _all(conditions)


def rows_from(reading: Reading, place: Place, limit: int | None = None, span: Span | None = None) -> sql.Composed:
    """The rows after `place` in their order, of a part of the table if `span` is one.

    The last column says whether the row may move the mark; in the phase "keyless" it is the row's place.
    """
    chosen = [sql.SQL("{} AS {}").format(c.form.select(_of(c)), sql.Identifier(c.name)) for c in reading.columns]
    keyless = place.phase == "keyless"
    order = [_content(reading)] if keyless else sorted_by(reading, reading.order(place.phase))
    statement = sql.SQL("SELECT {}, {} FROM {} AS t WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(chosen),
        _content(reading) if keyless else _is_mark(reading, place),
        _origin(reading, place),
        _all(_remaining(reading, place, span)),
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
    mark = _literal(cursor, high)
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


def newest(reading: Reading, cap: str | None) -> sql.Composed:
    """Asks for the greatest cursor value that may be the mark; no row where there is none."""
    assert reading.cursor is not None
    cursor = reading.cursor
    column = _of(cursor)
    return sql.SQL("SELECT {} AS {} FROM {} AS t WHERE {} IS NOT NULL AND {} ORDER BY {} DESC LIMIT 1").format(
        cursor.form.select(column),
        sql.Identifier(cursor.name),
        reading.relation.origin,
        column,
        _is_mark(reading, Place(reading.by, cap=cap)),
        column,
    )


def less(reading: Reading, start: str) -> str:
    """A number less the look-back, within the type. Times were already lessened by the server."""
    bits = _NUMBERS.get(reading.cursor.form.name) if reading.cursor else None
    if bits is None or not reading.lookback:
        return start
    return str(max(int(start) - int(reading.lookback), -(2 ** (bits - 1))))


def fields(reading: Reading, sent: pa.Schema) -> pa.Schema:
    """The columns as nectar wants them: marks where text must be read as something else, no name that is reserved."""
    found = []
    for index, column in enumerate(reading.columns):
        kind = sent.field(index).type
        mark = column.form.mark
        name = escape(column.name)
        found.append(marked(name, kind, mark) if mark else pa.field(name, kind))
    return pa.schema(found)


def exact_text(value: Any) -> str:
    """A key's value as a literal that PostgreSQL reads back to the same value."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
