"""What the columns of MySQL are sorted as: places in one order mean nothing in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bees.core.sql.mysql.catalog import Relation
    from bees.core.sql.mysql.forms import Form
    from bees.core.sql.mysql.session import Questions

_COLLATIONS = """
SELECT COLUMN_NAME, COLLATION_NAME
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLLATION_NAME IS NOT NULL
"""
_WORDS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_BY_NUMBER = ("bit", "year")
"""Whole numbers that are not compared as such."""


def sorts(questions: Questions, relation: Relation) -> dict[str, str]:
    """What each column is sorted as. Of a query no collation is known.

    The table itself has no number that stays: CREATE_TIME changes with ALTER, is another one at each replica, and what
    InnoDB calls its tables by may be read by the mighty alone.
    """
    found = questions.rows(_COLLATIONS, relation.place) if relation.place else []
    collations = {str(name): str(collation) for name, collation in found}
    return {c.name: _sort(c.form, collations.get(c.name, "")) for c in relation.columns.values()}


def _sort(form: Form, collation: str) -> str:
    if form.shape == "integer" and form.name not in _BY_NUMBER:
        return "integer"
    if form.name in _WORDS:
        # Later servers call the old utf8 by its full name.
        return f"text {collation.replace('utf8_', 'utf8mb3_', 1) if collation.startswith('utf8_') else collation}"
    return "binary" if form.name in _BYTES else form.name
