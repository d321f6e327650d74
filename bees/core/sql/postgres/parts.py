"""Where to cut a large table, so that several workers read it at once: from a sample of its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from bees.core.sql.postgres.select import exact_text
from bees.core.sql.span import Span, spans

if TYPE_CHECKING:
    from bees.core.sql.postgres.select import Reading
    from bees.core.sql.postgres.session import Stream

_SAMPLED = 5_000
"""Rows looked at for each part. They stand together in pages, so that few of them would say little."""


def cut(data: Stream, stream: str, reading: Reading, parts: int) -> list[Span]:
    """`parts` ranges of the key with about as many rows in each; fewer where the sample does not tell them apart."""
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
        sql.SQL(", ").join(columns),
    )
    _, batches = data.read(statement.as_string(None), f"streams.{stream}")
    sample: list[tuple[str, ...]] = []
    for batch in batches:
        values = [[exact_text(value) for value in column.to_pylist()] for column in batch.columns]
        sample += list(zip(*values, strict=True))
    return spans(reading.by, sample, parts)
