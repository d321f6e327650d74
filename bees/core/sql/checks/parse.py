"""What every reader of people's SQL needs first: text that is text, and places in it that a person can find."""

from __future__ import annotations

import re

from bees.core.sql.errors import SecurityViolation

LONGEST = 65536  # bytes of UTF-8
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def plain_text(sql: str) -> str:
    """The query without a byte order mark at its start; refused if no reader should have to read it."""
    if not isinstance(sql, str):
        raise SecurityViolation("a query is text", code="not_text")
    try:
        size = len(sql.encode())
    except UnicodeEncodeError as error:
        raise SecurityViolation(
            "the query holds half of a character", code="not_text", where=place(sql, error.start)
        ) from None
    if size > LONGEST:
        raise SecurityViolation(
            f"the query is longer than {LONGEST} bytes", code="too_long", advice="make it a view at the source"
        )
    if strange := _CONTROL.search(sql):
        raise SecurityViolation(
            f"the query holds the control character {strange[0]!r}",
            code="control_character",
            where=place(sql, strange.start()),
            advice="remove it, or write it as an escape",
        )
    return sql.removeprefix("\ufeff")


def place(sql: str, offset: int) -> str:
    """Line and column of a character, both counted from 1."""
    before = sql[: max(0, offset)]
    return f"line {before.count(chr(10)) + 1}, column {len(before) - (before.rfind(chr(10)) + 1) + 1}"


def place_of_byte(sql: str, offset: int) -> str:
    """Line and column of a byte of the text in UTF-8, as PostgreSQL's parser counts."""
    return place(sql, len(sql.encode()[: max(0, offset)].decode(errors="ignore")))
