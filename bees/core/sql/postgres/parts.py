"""Where to cut a large table, so that several workers read it at once: from a sample of its pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from bees.core.sql.postgres import progress, select
from bees.core.sql.postgres.select import exact_text
from bees.core.sql.span import Span, spans

if TYPE_CHECKING:
    from bees.core.sql.postgres.select import Reading
    from bees.core.sql.postgres.session import Stream

_SAMPLED = 5_000
"""Rows looked at for each part. They stand together in pages, so that few of them would say little."""


@dataclass(frozen=True)
class Table:
    """A table that can be cut, and a session to ask it. `cap`: what a mark may not pass, if anything."""

    data: Stream
    stream: str
    reading: Reading
    cap: str | None = None

    def newest(self) -> str | None:
        found = self._asked(select.newest(self.reading, self.cap), 1)
        return found[0][0] if found else None

    def reached(self) -> str | None:
        return progress.reached(self.data, f"streams.{self.stream}")

    def spans(self, parts: int) -> list[Span]:
        """`parts` ranges of the key with about as many rows in each; fewer where a sample does not tell them apart."""
        reading = self.reading.by_key()
        relation = reading.relation
        if relation.sampled is None or not relation.rows:
            return []
        share = min(100.0, 100.0 * parts * _SAMPLED / relation.rows)
        columns = [sql.SQL("t.{}").format(sql.Identifier(c.name)) for c in reading.key]
        known = [sql.SQL("{} IS NOT NULL").format(column) for column in columns]
        chosen = [
            sql.SQL("{} AS {}").format(c.form.select(column), sql.Identifier(c.name))
            for c, column in zip(reading.key, columns, strict=True)
        ]
        statement = sql.SQL("SELECT {} FROM {} AS t TABLESAMPLE SYSTEM ({}) WHERE {} ORDER BY {}").format(
            sql.SQL(", ").join(chosen),
            relation.sampled,
            sql.Literal(share),
            sql.SQL(" AND ").join(known),
            sql.SQL(", ").join(select.sorted_by(reading, reading.key)),
        )
        return spans(reading.by, self._asked(statement, len(columns)), parts)

    def _asked(self, statement: sql.Composed, columns: int) -> Sequence[tuple[str, ...]]:
        """The rows as exact texts, of so many columns."""
        _, batches = self.data.read(statement.as_string(None), f"streams.{self.stream}")
        found: list[tuple[str, ...]] = []
        for batch in batches:
            values = [[exact_text(value) for value in column.to_pylist()] for column in batch.columns[:columns]]
            found += list(zip(*values, strict=True))
        return found
