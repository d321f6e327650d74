"""Values that a query is given beside its text: `$1` in PostgreSQL, `?` in MySQL.

The text is checked without them, and what is run has each as one literal at its place. A literal cannot become another
part of the statement, whatever stands in it, and the server finds its type as it does for a parameter.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from bees.core.errors import GiveUp

Dialect = Literal["postgres", "mysql"]
Value = bool | int | float | Decimal | dt.datetime | dt.date | str | None
"""What a configuration may give: dates and times as YAML reads them, numbers, texts, true, false, null."""


def bound(text: str, values: Sequence[Value], dialect: Dialect, where: str) -> str:
    """The checked text of a query with its values. Raises GiveUp where their number is another one."""
    places = _postgres(text) if dialect == "postgres" else _mysql(text)
    named = {number for _, _, number in places}
    if named != set(range(1, len(values) + 1)):
        mark = "`$1`, `$2` and so on" if dialect == "postgres" else "`?`"
        raise GiveUp(
            f"the query has places for {len(named)} values, and {len(values)} are given",
            code="wrong_parameters",
            where=f"{where}.parameters",
            advice=f"give one value for each place, written as {mark}",
        )
    pieces, done = [], 0
    for start, end, number in places:
        pieces += [text[done:start], literal(values[number - 1], dialect)]
        done = end
    return "".join([*pieces, text[done:]])


def _postgres(text: str) -> list[tuple[int, int, int]]:
    """(start, end, number) of each place."""
    from pglast import parser

    found = [token for token in parser.scan(text) if token.name == "PARAM"]
    return [(token.start, token.end + 1, int(text[token.start + 1 : token.end + 1])) for token in found]


def _mysql(text: str) -> list[tuple[int, int, int]]:
    import sqlglot

    tokens = sqlglot.tokenize(text, read="mysql")
    places = [token for token in tokens if token.token_type is sqlglot.TokenType.PLACEHOLDER]
    return [(token.start, token.end + 1, number) for number, token in enumerate(places, 1)]


def literal(value: Value, dialect: Dialect) -> str:
    """A value as it stands in a statement."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | Decimal | float):
        written = str(value)
        # A sign must stay with its number: `- -1`, and in PostgreSQL a cast binds closer than it.
        return f"({written})" if written.startswith("-") else written
    return _text(_written(value), dialect)


def _written(value: str | dt.date) -> str:
    if isinstance(value, str):
        return value
    return value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()


def _text(value: str, dialect: Dialect) -> str:
    if dialect == "mysql":
        from bees.core.sql.mysql.forms import quoted

        return quoted(value)
    from psycopg import sql

    return sql.Literal(value).as_string(None)
