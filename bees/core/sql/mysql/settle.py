"""From what was asked of a stream and what the catalog says to what is read, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from bees.core.errors import GiveUp
from bees.core.sql import content
from bees.core.sql.mysql.catalog import SourceColumn
from bees.core.sql.mysql.forms import form_of
from bees.core.sql.mysql.select import Reading
from bees.core.sql.options import lookback

if TYPE_CHECKING:
    from bees.core.sql.mysql.catalog import Relation
    from bees.core.sql.options import StreamOptions

log = structlog.get_logger()


_MADE = tuple(
    SourceColumn(name, form_of(word), word, nullable=False)
    for name, word in ((content.HASH, "varchar"), (content.COPY, "bigint"))
)
"""What rows without a key are known by."""


def settle(name: str, chosen: StreamOptions, relation: Relation, *, keyless: bool = False) -> Reading:
    """What is read of a stream. Raises GiveUp: no key, an unknown column, one that rows cannot be sorted by."""
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
        if not column.form.sortable:
            raise GiveUp(
                f"the column {column.name!r} is of the type {column.type_name}, by which rows cannot be resumed",
                code="not_sortable",
                where=where,
                advice="choose a `key` and a `cursor` of plain types",
            )
        columns = columns | {column.name: column}
    if by_content:
        content.refuse_taken(relation.columns, where)
        key = _MADE
        columns = columns | {column.name: column for column in key}
    if cursor is not None and relation.place and not relation.view and cursor.name not in relation.indexed:
        log.warning("cursor_without_index", stream=name, column=cursor.name, result="the server sorts the whole table")
    back = lookback(chosen.lookback, cursor.form if cursor else None, where)
    return Reading(relation, tuple(columns.values()), key, cursor, back, by_content)
