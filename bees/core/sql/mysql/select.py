"""Statements that read one stream in order, from any row on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.sql.content import COPY, HASH
from bees.core.sql.mysql.catalog import Relation, SourceColumn
from bees.core.sql.mysql.forms import name_of, quoted
from bees.core.sql.ordered import Ordered
from bees.core.sql.place import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.sql.span import Span

Reading = Ordered[Relation, SourceColumn]
"""One stream of MySQL, settled."""


def _of(column: SourceColumn) -> str:
    return f"t.{name_of(column.name)}"


def _sorted(column: SourceColumn) -> str:
    return column.form.order(_of(column))


def _all(conditions: Sequence[str]) -> str:
    return " AND ".join(conditions) if conditions else "TRUE"


def _remaining(reading: Reading, place: Place, span: Span | None) -> list[str]:
    """What restricts the rows to those not yet read. Rows with a null key or cursor have phases of their own."""
    if place.phase == "keyless":
        return _keyless(reading, place)
    conditions = [f"{_of(c)} IS NOT NULL" for c in reading.doubtful if c != reading.cursor]
    if reading.cursor is not None:
        conditions.append(f"{_of(reading.cursor)} IS {'' if place.phase == 'nulls' else 'NOT '}NULL")
    order = reading.order(place.phase)
    if begun := place.after or (span.after if span else ()):
        conditions.append(after(reading, order, begun))
    elif place.start is not None and place.phase == "rows" and reading.cursor is not None:
        conditions.append(f"{_sorted(reading.cursor)} >= {_start(reading.cursor, place.start)}")
    if span and span.upto:
        conditions.append(_against(reading, order, span.upto, "<", "<="))
    return conditions


def after(reading: Reading, order: Sequence[SourceColumn], texts: Sequence[str]) -> str:
    """Rows behind one row. `(a, b) > (1, 2)` says the same, but MySQL finds no index for it."""
    return _against(reading, order, texts, ">", ">")


def sorted_by(reading: Reading, order: Sequence[SourceColumn]) -> list[str]:
    """What rows are sorted by: the order columns, and what tells two rows apart that are equal to them."""
    found = [by for c in order for by in (_sorted(c), *c.form.behind(_of(c)))]
    return [*found, *(c.form.tie(_of(c)) for c in reading.ties)]


def _against(reading: Reading, order: Sequence[SourceColumn], texts: Sequence[str], sign: str, last: str) -> str:
    """Rows on one side of a row; `last` is the sign for what they are sorted by last."""
    found = {c.name: c.form.literal(text) for c, text in zip(order, texts, strict=True)}
    values = [
        value
        for c, text in zip(order, texts, strict=True)
        for value in (c.form.bound(text), *c.form.behind(found[c.name]))
    ]
    values += [c.form.tie(found[c.name]) for c in reading.ties]
    pairs = list(zip(sorted_by(reading, order), values, strict=True))
    ways = []
    for place, (column, value) in enumerate(pairs):
        equal = [f"{c} = {v}" for c, v in pairs[:place]]
        here = last if place == len(pairs) - 1 else sign
        ways.append(f"({' AND '.join([*equal, f'{column} {here} {value}'])})")
    if len(pairs) == 1:
        return ways[0]
    column, value = pairs[0]
    return f"{column} {sign}= {value} AND ({' OR '.join(ways)})"


def _keyless(reading: Reading, place: Place) -> list[str]:
    """Rows with a null in their key, from the flight's start on. The hive sets them aside, so they must come."""
    conditions = [f"({' OR '.join(f'{_of(c)} IS NULL' for c in reading.doubtful)})"]
    if place.start is not None and reading.cursor is not None:
        column = _sorted(reading.cursor)
        conditions.append(f"({column} IS NULL OR {column} >= {_start(reading.cursor, place.start)})")
    if place.after:
        conditions.append(f"{_content(reading)} > {quoted(place.after[0])} COLLATE utf8mb4_bin")
    return conditions


def _content(reading: Reading) -> str:
    """A hash of what is read of a row: the only order that rows without a key have. Rows that are equal have one."""
    return _hash(reading, "")


def _hash(reading: Reading, salt: str) -> str:
    parts = [f"COALESCE(MD5(CAST({c.form.carry.format(_of(c))} AS BINARY)), '~')" for c in reading.read]
    return f"CONVERT(SHA2(CONCAT({', '.join([quoted(salt), *parts])}), 256) USING utf8mb4) COLLATE utf8mb4_bin"


def _origin(reading: Reading, place: Place) -> str:
    """What stands after FROM: with the hash and the number of each row where they are its key."""
    origin = reading.relation.origin
    if not reading.by_content:
        return origin
    made, copy = name_of(HASH), name_of(COPY)
    return (
        f"(SELECT h.*, ROW_NUMBER() OVER (PARTITION BY h.{made}) AS {copy}"  # noqa: S608 - names are quoted
        f" FROM (SELECT t.*, {_hash(reading, place.salt or '')} AS {made} FROM {origin} AS t) AS h)"
    )


def _start(cursor: SourceColumn, text: str) -> str:
    # A date less some seconds is a time of the day before.
    if cursor.form.name == "date":
        return f"CAST({quoted(text.replace('T', ' '))} AS DATETIME(6))"
    return cursor.form.bound(text)


def _is_mark(reading: Reading, place: Place) -> str:
    """Whether a row's cursor value may become the high-water mark: above it, and not in the future."""
    cursor = reading.cursor
    if cursor is None or place.phase == "nulls":
        return "0"
    conditions = []
    if place.high is not None:
        conditions.append(f"{_sorted(cursor)} > {cursor.form.bound(place.high)}")
    if place.cap is not None:
        conditions.append(f"{_sorted(cursor)} <= {cursor.form.bound(place.cap)}")
    return f"({_all(conditions)})"


def rows_from(reading: Reading, place: Place, limit: int | None = None, span: Span | None = None) -> str:
    """The rows after `place` in their order, of a part of the table if `span` is one.

    The last column says whether the row may move the mark; in the phase "keyless" it is the row's place.
    """
    chosen = [f"{c.form.carry.format(_of(c))} AS {name_of(c.name)}" for c in reading.columns]
    keyless = place.phase == "keyless"
    order = [_content(reading)] if keyless else sorted_by(reading, reading.order(place.phase))
    remaining = _all(_remaining(reading, place, span))
    statement = (
        f"SELECT {', '.join(chosen)}, {_content(reading) if keyless else _is_mark(reading, place)}"  # noqa: S608
        f" FROM {_origin(reading, place)} AS t WHERE {remaining} ORDER BY {', '.join(order)}"
    )
    return statement if limit is None else f"{statement} LIMIT {limit:d}"


def opening(reading: Reading, high: str | None) -> str | None:
    """Asks what a new flight must know: where it begins, what caps the mark, whether the source fell behind the mark.

    None where there is nothing to ask. A flight begins at the mark, less the look-back.
    """
    cursor = reading.cursor
    if cursor is None:
        return None
    now = {"date": "UTC_DATE()", "datetime": "UTC_TIMESTAMP(6)", "timestamp": "UTC_TIMESTAMP(6)"}
    cap = f"CAST({now[cursor.form.name]} AS CHAR)" if cursor.form.moment else "NULL"
    if high is None:
        return f"SELECT NULL, {cap}, 0" if cursor.form.moment else None
    mark, low = cursor.form.bound(high), cursor.form.literal(high)
    if cursor.form.moment and reading.lookback:
        low = f"CAST({low} AS DATETIME(6)) - INTERVAL {reading.lookback!r} SECOND"
    if cursor.form.kind == "number" and reading.lookback:
        low = f"{low} - {reading.lookback!r}"
    start = f"LOWER(HEX({low}))" if cursor.form.shape == "binary" else f"CAST({low} AS CHAR)"
    column = _of(cursor)
    # A moment before the year 1 is no moment to MySQL: the flight then begins at the first row.
    return (
        f"SELECT {start}, {cap}, COALESCE(n.newest < {mark}, 1) FROM (SELECT (SELECT {_sorted(cursor)}"  # noqa: S608
        f" FROM {reading.relation.origin} AS t WHERE {column} IS NOT NULL ORDER BY {_sorted(cursor)} DESC LIMIT 1)"
        " AS newest) AS n"
    )


def newest(reading: Reading, cap: str | None) -> str:
    """Asks for the greatest cursor value that may be the mark; no row where there is none."""
    assert reading.cursor is not None
    column = _of(reading.cursor)
    return (
        f"SELECT {reading.cursor.form.carry.format(column)} FROM {reading.relation.origin} AS t"  # noqa: S608
        f" WHERE {column} IS NOT NULL AND {_is_mark(reading, Place(reading.by, cap=cap))}"
        f" ORDER BY {_sorted(reading.cursor)} DESC LIMIT 1"
    )


def less(reading: Reading, start: str) -> str:
    """A whole number less the look-back, within the type. Other values were already lessened by the server."""
    if reading.cursor is None or reading.cursor.form.shape != "integer" or not reading.lookback:
        return start
    return str(max(int(start) - int(reading.lookback), reading.cursor.form.least))
