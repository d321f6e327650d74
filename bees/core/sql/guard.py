"""Lets reads pass and nothing else: a lock above the database's own (a role with SELECT only, READ ONLY transactions).

A query passes if it is one statement, every part of it stands on a list of harmless parts, and the text printed from
what was understood is understood in the same way. That printed text, free of comments, is what must be run.
Two things no reader of the text can know, so the database must hold them: whether a view or a domain of the source
calls a function that writes, and whether `t.name` is a column or a function of one row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from bees.core.sql.checks.functions import packaged
from bees.core.sql.checks.parse import plain_text

Dialect = Literal["postgres", "mysql"]


def check_query(
    sql: str,
    dialect: Dialect = "postgres",
    *,
    tables: Iterable[str] | None = None,
    functions: Iterable[str] | None = None,
) -> str:
    """The text to run in place of `sql`, or a SecurityViolation with a code of `bees.core.sql.errors`.

    tables: the only tables that may be read, `schema.table` or bare (PostgreSQL: in `public`; MySQL: in the database of
    the session); None means every table that is not the server's own. functions: the only functions that may be called,
    `name` for the server's own and for what search_path finds, `schema.name` for others; None means the packaged list,
    which `harmless_functions` gives for those who add to it. Syntax such as CAST or EXTRACT is no function.
    """
    text = plain_text(sql)
    if dialect == "postgres":
        from bees.core.sql.checks import postgres as guard_postgres

        return guard_postgres.checked(text, tables, functions)
    if dialect == "mysql":
        from bees.core.sql.checks import mysql as guard_mysql

        return guard_mysql.checked(text, tables, functions)
    raise ValueError(f"no dialect is named {dialect!r}; expected 'postgres' or 'mysql'")


def harmless_functions(dialect: Dialect = "postgres") -> frozenset[str]:
    """The packaged list of functions."""
    return packaged("postgres_functions" if dialect == "postgres" else "mysql_functions")
