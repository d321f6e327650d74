"""From what was asked of a stream and what the catalog says to what is read, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from bees.core.errors import GiveUp
from bees.core.sql import content
from bees.core.sql.options import lookback
from bees.core.sql.postgres import select
from bees.core.sql.postgres.catalog import SourceColumn
from bees.core.sql.postgres.forms import form_of

if TYPE_CHECKING:
    from bees.core.sql.options import StreamOptions
    from bees.core.sql.postgres import catalog


_MADE = tuple(
    SourceColumn(
        name, form_of(name=word, schema="pg_catalog", letter="b", category=letter, cast=word, domain=False), word,
        nullable=False,
    )
    for name, word, letter in ((content.HASH, "text", "S"), (content.COPY, "int8", "N"))
)  # fmt: skip
"""What rows without a key are known by."""


def settle(name: str, chosen: StreamOptions, relation: catalog.Relation, *, keyless: bool = False) -> select.Reading:
    where = f"streams.{name}"
    key = tuple(relation.column(k, f"{where}.key") for k in chosen.key or relation.key)
    by_content = not key and bool(chosen.query) and not chosen.cursor
    if not key and not keyless and not by_content:
        raise GiveUp(
            f"the stream {name!r} has no key, so its records cannot be told apart",
            code="no_key",
            where=where,
            advice=f"set `{where}.key` to the columns that identify a record",
        )
    cursor = relation.column(chosen.cursor, f"{where}.cursor") if chosen.cursor else None
    columns = {c: relation.column(c, f"{where}.columns") for c in chosen.columns} or relation.columns
    for column in (*key, *([cursor] if cursor else [])):
        if column.form.shape == "document" or column.form.kind == "json":
            raise _no_order(column, where)
        if column.form.elsewhere:
            raise GiveUp(
                f"the column {column.name!r} is of the type {column.type_name}, and the schema of its operators, "
                f"{column.form.elsewhere!r}, is not searched: rows could not be resumed in their order",
                code="not_sortable",
                where=where,
                advice=f"add {column.form.elsewhere!r} to `schemas` of the bee's source",
            )
        columns = columns | {column.name: column}
    if by_content:
        content.refuse_taken(relation.columns, where)
        key = _MADE
        columns = columns | {column.name: column for column in key}
    back = lookback(chosen.lookback, cursor.form if cursor else None, where)
    sorts = {column.name: column.sort for column in columns.values()}
    # A view that is made anew mostly shows the same rows.
    table = relation.oid if relation.sampled is not None else None
    return select.Reading(relation, tuple(columns.values()), key, cursor, back, by_content, sorts, table)


def refuse_unordered(connection: psycopg.Connection, name: str, reading: select.Reading) -> None:
    """Raises GiveUp for a column that rows are read by whose type has no order, or one that `>` does not tell."""
    for column in reading.order("rows"):
        if column.form.exact or column.form.shape == "as_is" or column.form.name == "numeric":
            continue
        asked = sql.SQL("SELECT FROM (SELECT CAST(NULL AS {}) AS k) AS t WHERE (k, k) > (k, k) ORDER BY k")
        try:
            with connection.transaction():
                connection.execute(asked.format(column.form.type()))
        except (psycopg.errors.UndefinedFunction, psycopg.errors.FeatureNotSupported):
            raise _no_order(column, f"streams.{name}") from None


def _no_order(column: SourceColumn, where: str) -> GiveUp:
    return GiveUp(
        f"the column {column.name!r} is of the type {column.type_name}, by which rows cannot be resumed",
        code="not_sortable",
        where=where,
        advice="choose a `key` and a `cursor` of plain types",
    )
