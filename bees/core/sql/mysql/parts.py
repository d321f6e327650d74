"""Where to cut a large table, so that several workers read it at once: along its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from bees.core.sql.mysql import progress, select
from bees.core.sql.mysql.forms import exact_text, name_of
from bees.core.sql.mysql.select import after, sorted_by
from bees.core.sql.span import Span, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.sql.mysql.catalog import SourceColumn
    from bees.core.sql.mysql.select import Reading
    from bees.core.sql.mysql.session import Stream

PASSED = 5_000_000
"""Rows up to which passing the index takes a few seconds at most."""
_STEPS = 16
"""Whole numbers are looked at in so many places for each part: they may leave gaps."""


@dataclass(frozen=True)
class Table:
    """A table that can be cut, and a session to ask it. `cap`: what a mark may not pass, if anything."""

    data: Stream
    stream: str
    reading: Reading
    cap: str | None = None

    def newest(self) -> str | None:
        assert self.reading.cursor is not None
        found = self._first([self.reading.cursor], select.newest(self.reading, self.cap))
        return found[0] if found else None

    def reached(self) -> str | None:
        return progress.reached(self.data, f"streams.{self.stream}")

    def spans(self, parts: int) -> list[Span]:
        """`parts` ranges of the key with about as many rows in each, by the server's estimate of the table's rows.

        The server passes its index once, in steps of rows. Of a very large table whose key is one whole number it does
        not: steps of the key's values each find the next key in the index.
        """
        key, rows = self.reading.key, self.reading.relation.rows or 0
        if len(key) == 1 and key[0].form.shape == "integer" and rows > PASSED:
            sample = self._by_value(parts * _STEPS)
        else:
            sample = self._by_row(max(1, rows // parts), parts)
        return spans(self.reading.by_key().by, sample, parts)

    def _by_value(self, steps: int) -> list[tuple[str, ...]]:
        column = f"t.{name_of(self.reading.key[0].name)}"
        ends = [self._key(f"ORDER BY {column} {way} LIMIT 1") for way in ("ASC", "DESC")]
        if None in ends:
            return []
        low, high = (int(end[0]) for end in ends if end)
        found = []
        for step in range(1, steps):
            value = low + (high - low) * step // steps
            key = self._key(f"WHERE {column} >= {value:d} ORDER BY {column} LIMIT 1")
            if key:
                found.append(key)
        return list(dict.fromkeys(found))

    def _by_row(self, step: int, parts: int) -> list[tuple[str, ...]]:
        order = ", ".join(sorted_by(self.reading, self.reading.key))
        found: list[tuple[str, ...]] = []
        for _ in range(parts - 1):
            behind = f"WHERE {after(self.reading, self.reading.key, found[-1])} " if found else ""
            key = self._key(f"{behind}ORDER BY {order} LIMIT 1 OFFSET {step:d}")
            if key is None:
                break
            found.append(key)
        return [found[0], *found] if found else []  # the first part ends with the first key: `spans` cuts between

    def _key(self, rest: str) -> tuple[str, ...] | None:
        """The key of the first row that `rest` finds."""
        key = self.reading.key
        chosen = ", ".join(c.form.carry.format(f"t.{name_of(c.name)}") for c in key)
        return self._first(key, f"SELECT {chosen} FROM {self.reading.relation.origin} AS t {rest}")  # noqa: S608 - names are quoted, values of the server's own

    def _first(self, columns: Sequence[SourceColumn], statement: str) -> tuple[str, ...] | None:
        """The first row that a statement finds, as exact texts; None, too, where they are no texts: no cut there."""
        _, pieces = self.data.read(statement, f"streams.{self.stream}")
        rows = [piece.columns() for piece in pieces if len(piece)]
        try:
            return _texts(columns, rows[0]) if rows else None
        except pa.ArrowInvalid:
            return None


def _texts(columns: Sequence[SourceColumn], raw: list[pa.Array]) -> tuple[str, ...]:
    return tuple(
        exact_text(column.form.arrow(array.slice(0, 1))[0].as_py())
        for column, array in zip(columns, raw[: len(columns)], strict=True)
    )
