"""Where to cut a large table, so that several workers read it at once: along its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.sql.mysql.forms import exact_text, name_of
from bees.core.sql.mysql.select import after
from bees.core.sql.span import Span, spans

if TYPE_CHECKING:
    import pyarrow as pa

    from bees.core.sql.mysql.select import Reading
    from bees.core.sql.mysql.session import Stream

PASSED = 5_000_000
"""Rows up to which passing the index takes a few seconds at most."""
_STEPS = 16
"""Whole numbers are looked at in so many places for each part: they may leave gaps."""


def cut(data: Stream, stream: str, reading: Reading, parts: int) -> list[Span]:
    """`parts` ranges of the key with about as many rows in each, by the server's estimate of the table's rows.

    The server passes its index once, in steps of rows. Of a very large table whose key is one whole number it does not:
    steps of the key's values each find the next key in the index.
    """
    numbered = len(reading.key) == 1 and reading.key[0].form.shape == "integer"
    if numbered and (reading.relation.rows or 0) > PASSED:
        sample = _by_value(data, stream, reading, parts * _STEPS)
    else:
        sample = _by_row(data, stream, reading, max(1, (reading.relation.rows or 0) // parts), parts)
    return spans(reading.by, sample, parts)


def _by_value(data: Stream, stream: str, reading: Reading, steps: int) -> list[tuple[str, ...]]:
    column = f"t.{name_of(reading.key[0].name)}"
    ends = [_key(data, stream, reading, f"ORDER BY {column} {way} LIMIT 1") for way in ("ASC", "DESC")]
    if None in ends:
        return []
    low, high = (int(end[0]) for end in ends if end)
    found = []
    for step in range(1, steps):
        value = low + (high - low) * step // steps
        key = _key(data, stream, reading, f"WHERE {column} >= {value:d} ORDER BY {column} LIMIT 1")
        if key:
            found.append(key)
    return list(dict.fromkeys(found))


def _by_row(data: Stream, stream: str, reading: Reading, step: int, parts: int) -> list[tuple[str, ...]]:
    order = ", ".join(c.form.order(f"t.{name_of(c.name)}") for c in reading.key)
    found: list[tuple[str, ...]] = []
    for _ in range(parts - 1):
        behind = f"WHERE {after(reading.key, found[-1])} " if found else ""
        key = _key(data, stream, reading, f"{behind}ORDER BY {order} LIMIT 1 OFFSET {step:d}")
        if key is None:
            break
        found.append(key)
    return [found[0], *found] if found else []  # the first part ends with the first key: `spans` cuts between


def _key(data: Stream, stream: str, reading: Reading, rest: str) -> tuple[str, ...] | None:
    """The key of the first row that `rest` finds."""
    chosen = ", ".join(c.form.carry.format(f"t.{name_of(c.name)}") for c in reading.key)
    statement = f"SELECT {chosen} FROM {reading.relation.origin} AS t {rest}"  # noqa: S608 - names are quoted, values of the server's own
    _, pieces = data.read(statement, f"streams.{stream}")
    rows = [_first(reading, piece.columns()) for piece in pieces if len(piece)]
    return rows[0] if rows else None


def _first(reading: Reading, raw: list[pa.Array]) -> tuple[str, ...]:
    return tuple(
        exact_text(column.form.arrow(array.slice(0, 1))[0].as_py())
        for column, array in zip(reading.key, raw, strict=True)
    )
