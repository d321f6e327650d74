"""What the server's catalog says of tables and queries: columns with their forms, keys, and what may be followed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bees.core.sql.mysql.forms import Form, form_of, form_of_result, name_of
from bees.core.sql.mysql.logged import Column
from bees.core.sql.names import readings, unknown, written

if TYPE_CHECKING:
    from bees.core.sql.mysql.session import Questions

_TABLES = """
SELECT DISTINCT t.TABLE_NAME
  FROM information_schema.TABLES t
  JOIN information_schema.STATISTICS s
    ON s.TABLE_SCHEMA = t.TABLE_SCHEMA AND s.TABLE_NAME = t.TABLE_NAME AND s.INDEX_NAME = 'PRIMARY'
 WHERE t.TABLE_SCHEMA = %s AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')
 ORDER BY 1
"""
_RELATION = """
SELECT TABLE_COMMENT, TABLE_ROWS, TABLE_TYPE, CAST(CREATE_TIME AS CHAR)
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
"""
_NAMES = """
SELECT TABLE_SCHEMA, TABLE_NAME
  FROM information_schema.TABLES
 WHERE TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')
 ORDER BY 1, 2 LIMIT 10000
"""
_COLUMNS = """
SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_COMMENT, CHARACTER_SET_NAME, CHARACTER_OCTET_LENGTH
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""
_LOGGED = """
SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""
# COLUMN_NAME is null for a part of a key that is an expression, SUB_PART is set where only a beginning is indexed.
_INDEXES = """
SELECT INDEX_NAME, NON_UNIQUE, COLUMN_NAME, NULLABLE, SUB_PART
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
 ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX
"""
# MariaDB keeps JSON as text with a check.
_CHECKS = """
SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s
"""
_IS_JSON = re.compile(r"json_valid\(`((?:[^`]|``)+)`\)", re.IGNORECASE)
_FOLLOWED = ("timestamp", "datetime", "date", "tinyint", "smallint", "mediumint", "int", "bigint")


@dataclass(frozen=True)
class SourceColumn:
    name: str
    form: Form
    type_name: str
    nullable: bool = True
    comment: str = ""

    @property
    def exact(self) -> bool:
        return self.form.exact


@dataclass(frozen=True)
class Relation:
    """A table, view or query. `origin` stands after FROM; `key` is the primary key, or another that is proven.

    `place` is (database, table) of a table, None of a query; `rows` is the server's own estimate; `versioned` tables
    of MariaDB keep what their rows were. `unique`: sets of columns that no two rows have in common, as far as they are
    not null. `made`: when the table was made, or last rebuilt; None of a view, and where the server does not tell.
    """

    origin: str
    columns: dict[str, SourceColumn]
    key: tuple[str, ...] = ()
    comment: str = ""
    indexed: frozenset[str] = field(default=frozenset())
    place: tuple[str, str] | None = None
    rows: int | None = None
    view: bool = False
    versioned: bool = False
    unique: frozenset[frozenset[str]] = frozenset()
    made: str | None = None

    def cursors(self) -> tuple[str, ...]:
        """Columns worth following: times before numbers, certain before nullable, indexed before others."""
        found = [c for c in self.columns.values() if c.form.name in _FOLLOWED]
        found.sort(key=lambda c: (c.nullable, c.name not in self.indexed, not c.form.moment))
        return tuple(c.name for c in found)

    def column(self, name: str, where: str) -> SourceColumn:
        if name not in self.columns:
            raise unknown("column", name, self.columns, where)
        return self.columns[name]


def tables_with_key(questions: Questions, database: str) -> list[str]:
    """Ordinary tables of the database that have a primary key and that this user may read."""
    return [str(name) for (name,) in questions.rows(_TABLES, (database,))]


def table(questions: Questions, name: str, database: str, where: str) -> Relation:
    """The table or view of that name: in `database`, or `database.table`, with or without backticks."""
    for space, plain in readings(name, database, "`"):
        found = questions.rows(_RELATION, (space, plain))
        if found:
            comment, rows, kind, made = found[0]
            view = str(kind).endswith("VIEW")
            note = "" if view else str(comment or "")
            estimate = None if rows is None else int(rows)
            found_there = _described(questions, (space, plain), comment=note, rows=estimate, view=view)
            return replace(found_there, versioned=str(kind) == "SYSTEM VERSIONED", made=made and str(made))
    there = [(str(space), str(plain)) for space, plain in questions.rows(_NAMES)]
    known = [plain if space == database else written(space, plain, "`") for space, plain in there]
    raise unknown("table", name, known, where)


def logged_columns(questions: Questions, place: tuple[str, str]) -> list[Column]:
    """The columns of a table as the binlog needs them, in the order of the table."""
    documents = _documents(questions, place)
    return [
        Column(str(name), str(word).lower(), str(written), None if charset is None else str(charset), name in documents)
        for name, word, written, charset in questions.rows(_LOGGED, place)
    ]


def of_log(column: Column) -> SourceColumn:
    """A column of the log as one that is read."""
    form = form_of(column.word, column.type_name.lower(), checked_json=column.document)
    return SourceColumn(column.name, form, column.type_name)


def _described(questions: Questions, place: tuple[str, str], *, comment: str, rows: int | None, view: bool) -> Relation:
    documents = _documents(questions, place)
    columns = {
        str(name): SourceColumn(
            str(name),
            form_of(
                str(word).lower(),
                str(written).lower(),
                checked_json=str(name) in documents,
                charset=str(charset or ""),
                length=int(length or 0),
            ),
            str(written),
            nullable=nullable == "YES",
            comment=str(note or ""),
        )
        for name, word, written, nullable, note, charset, length in questions.rows(_COLUMNS, place)
    }
    if not columns:
        # MariaDB tells no columns of a view whose table is gone; asked for its rows it says so.
        questions.described(f"SELECT * FROM {name_of(*place)} LIMIT 0")  # noqa: S608 - names are quoted
    indexes = _indexes(questions, place)
    unique = [index for index in indexes if index.unique]
    keys = sorted((index for index in unique if not index.nullable), key=lambda i: (i.name != "PRIMARY", len(i.parts)))
    return Relation(
        origin=name_of(*place),
        columns=columns,
        key=tuple(part for part in keys[0].parts if part) if keys else (),
        comment=comment,
        indexed=frozenset(index.parts[0] for index in indexes if index.parts[0]),
        place=place,
        rows=rows,
        view=view,
        unique=frozenset(frozenset(part for part in index.parts if part) for index in unique),
    )


@dataclass(frozen=True)
class _Index:
    """`parts` are its columns, None for an expression. `unique`: no two rows have equal values in whole columns."""

    name: str
    parts: tuple[str | None, ...]
    unique: bool
    nullable: bool


def _indexes(questions: Questions, place: tuple[str, str]) -> list[_Index]:
    found: dict[str, list[tuple[str | None, bool, bool]]] = {}
    for name, repeats, column, nullable, part in questions.rows(_INDEXES, place):
        whole = not int(repeats) and column is not None and part is None
        found.setdefault(str(name), []).append((None if column is None else str(column), whole, nullable == "YES"))
    return [
        _Index(name, tuple(p[0] for p in parts), all(p[1] for p in parts), any(p[2] for p in parts))
        for name, parts in found.items()
    ]


def _documents(questions: Questions, place: tuple[str, str]) -> set[str]:
    """Columns of MariaDB that hold JSON by their check."""
    if not questions.mariadb:
        return set()
    clauses = [_IS_JSON.fullmatch(str(clause)) for (clause,) in questions.rows(_CHECKS, place)]
    return {found[1].replace("``", "`") for found in clauses if found}


def query(questions: Questions, text: str) -> Relation:
    """What a SELECT gives, asked of the server without reading a row."""
    # A line of its own for the bracket: a comment at the query's end must not swallow it.
    origin = f"(\n{text.rstrip().rstrip(';')}\n)"
    found = questions.described(f"SELECT * FROM {origin} AS t LIMIT 0")  # noqa: S608 - a checked query
    columns = {d.name: SourceColumn(d.name, form, form.name) for d in found for form in [form_of_result(d)]}
    return Relation(origin=origin, columns=columns)
