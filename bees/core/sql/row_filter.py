"""Row filters: a query is rewritten so that it sees of each table only the rows that a filter lets through.

Each base table reference becomes `(SELECT * FROM schema.t WHERE (filter) OFFSET 0) AS t`, wherever it stands. The
user's own conditions stay untouched outside of it, and `OFFSET 0` keeps the server from computing them on hidden rows
(an error such as a division by zero would tell of one). What cannot be filtered for certain is refused.

Where the source has row-level security of its own, that is the better choice: it knows the tables, this only the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.sql.guard import Dialect, check_query
from bees.core.sql.rows.keys import chosen_filters

if TYPE_CHECKING:
    from collections.abc import Mapping


def apply_row_level_security(
    sql: str,
    filters: Mapping[str, str | bool | None],
    dialect: Dialect = "postgres",
    default_schema: str = "public",
) -> str:
    """The text to run instead of `sql`: the same answer as if the rows outside of the filters did not exist.

    `filters` names every table that may be read: `{"public.orders": "region = 'EU'", "customers": "true"}`. A key
    without a schema belongs to `default_schema`, and so does a table of the query without one; upper case is kept only
    between quotes. A filter is one expression over the table's own columns; tables in its subqueries are filtered by
    their own filters. `"true"` opens a table, None (nothing is known of the reader) closes it.

    In MySQL `default_schema` is the database, and names are compared letter by letter.

    Raises SecurityViolation: for what `check_query` refuses, for a table, view or catalog that is no key, and for
    whatever a filter cannot be kept in.
    """
    chosen = chosen_filters(filters, dialect, default_schema)
    checked = check_query(sql, dialect)
    if dialect == "postgres":
        from bees.core.sql.rows.postgres import filtered
    else:
        from bees.core.sql.rows.mysql import filtered
    return filtered(checked, chosen, default_schema)
