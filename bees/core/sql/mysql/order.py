"""What a place in a table of MySQL rests on: what the columns are sorted as, and the table itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.sql.mysql.forms import WORDS
from bees.core.sql.mysql.progress import ASKED, server

if TYPE_CHECKING:
    from bees.core.sql.mysql.catalog import Relation
    from bees.core.sql.mysql.forms import Form
    from bees.core.sql.mysql.session import Questions

_COLLATIONS = """
SELECT COLUMN_NAME, COLLATION_NAME
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLLATION_NAME IS NOT NULL
"""
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_BY_NUMBER = ("bit", "year")
"""Whole numbers that are not compared as such."""


def sorts(questions: Questions, relation: Relation) -> dict[str, str]:
    """What each column is sorted as. Of a query no collation is known."""
    found = questions.rows(_COLLATIONS, relation.place) if relation.place else []
    collations = {str(name): str(collation) for name, collation in found}
    return {c.name: _sort(c.form, collations.get(c.name, "")) for c in relation.columns.values()}


def table(questions: Questions, relation: Relation) -> str | None:
    """Which table it is: when it was made, and by whose clock, because each replica has a time of its own.

    What InnoDB numbers its tables by may be read by the mighty alone. The time stays while rows are written, analyzed
    or emptied, and when the server begins anew; it changes where the table is made anew or renamed, and with ALTER and
    OPTIMIZE, which cost one whole reading then and bring old rows what they got of new columns.
    """
    return None if relation.made is None else f"{relation.made}@{server(questions.rows(ASKED))}"


def _sort(form: Form, collation: str) -> str:
    if form.shape == "integer" and form.name not in _BY_NUMBER:
        return "integer"
    if form.name in WORDS:
        # Later servers call the old utf8 by its full name.
        kind = "long text" if form.long else "text"
        return f"{kind} {collation.replace('utf8_', 'utf8mb3_', 1) if collation.startswith('utf8_') else collation}"
    if form.name in _BYTES:
        return "long binary" if form.long else "binary"
    return form.name
