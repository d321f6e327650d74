"""What the server's catalog says of tables and queries: columns with their forms, keys, and what may be followed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from bees.core.errors import GiveUp
from bees.core.sql.names import readings, unknown, written
from bees.core.sql.postgres.forms import Form, form_of

if TYPE_CHECKING:
    pass

_TABLES = """
SELECT c.relname::text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = %s)
   AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
 ORDER BY 1
"""
# Rows as the server's own planner guesses them: as densely as when it counted last, in the pages that there are now.
_RELATION = """
SELECT c.oid, pg_catalog.obj_description(c.oid, 'pg_class'), c.relkind IN ('r', 'p', 'm'),
       CASE WHEN c.relkind IN ('r', 'p', 'm') THEN (
           SELECT pg_catalog.sum(CASE WHEN p.relpages > 0 THEN p.reltuples / p.relpages ELSE 80 END
                                 * pg_catalog.pg_relation_size(p.oid)
                                 / pg_catalog.current_setting('block_size')::float8)::bigint
             FROM (SELECT c.oid AS relid WHERE c.relkind <> 'p'
                   UNION ALL SELECT x.relid FROM pg_catalog.pg_partition_tree(c.oid) AS x
                    WHERE x.isleaf AND c.relkind = 'p') AS t
             JOIN pg_catalog.pg_class p ON p.oid = t.relid) END
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_NAMES = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2 LIMIT 10000
"""
_COLUMNS = """
SELECT a.attname::text, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_catalog.col_description(a.attrelid, a.attnum), n.nspname || '.' || c.collname, c.collisdeterministic
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
# The rows of tables that inherit from this one are in no index of it. An index may hold keys for two that its column
# compares as one: by another collation, or by the operators of another type.
_INDEXES = """
SELECT i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND bool_and(coalesce(a.attnotnull, false)),
       array_agg(a.attname::text ORDER BY k),
       i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT (t.relkind = 'r' AND t.relhassubclass)
       AND bool_and(coalesce(i.indcollation[k] = a.attcollation AND o.opcdefault
                             AND (o.opcintype = a.atttypid OR a.atttypid < 16384), false))
  FROM pg_catalog.pg_index i
  CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] AND a.attnum > 0
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[k]
 WHERE i.indrelid = %s AND i.indisvalid
 GROUP BY t.relkind, t.relhassubclass, i.indexrelid, i.indisprimary, i.indisunique, i.indpred, i.indexprs, i.indnkeyatts
 ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
"""
_TYPES = """
WITH RECURSIVE chain (asked, oid) AS (
    SELECT oid, oid FROM pg_catalog.pg_type WHERE oid = ANY(%s)
    UNION ALL
    SELECT chain.asked, t.typbasetype FROM chain JOIN pg_catalog.pg_type t ON t.oid = chain.oid AND t.typtype = 'd'
)
SELECT chain.asked, t.typname::text, n.nspname::text, t.typtype::text, t.typcategory::text,
       pg_catalog.format_type(t.oid, -1), chain.asked <> t.oid, pg_catalog.pg_type_is_visible(t.oid)
  FROM chain JOIN pg_catalog.pg_type t ON t.oid = chain.oid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype <> 'd'
"""
_FOLLOWED = ("timestamptz", "timestamp", "date", "int2", "int4", "int8")
_ONE_ORDER = {"int2": "integer", "int4": "integer", "int8": "integer", "varchar": "text", "text": "text"}
_TEXTS = ("text", "varchar")
_OWN_TYPES = 16_384
"""The number from which on types are not the server's own."""


@dataclass(frozen=True)
class SourceColumn:
    """`oid` is the number of its type, `collation` that of a column of a table, with its schema.

    `bytewise`: texts that the collation holds equal are the same; of a query's column nothing is known.
    """

    name: str
    form: Form
    type_name: str
    nullable: bool = True
    comment: str = ""
    oid: int = 0
    collation: str = ""
    bytewise: bool = False

    @property
    def exact(self) -> bool:
        return self.form.exact or (self.bytewise and self.form.name in _TEXTS)

    @property
    def sort(self) -> str:
        """What it is sorted as. A type of somebody's own may be made anew under its name, in another order."""
        if self.form.shape == "as_is" and self.form.name in _ONE_ORDER:
            kind = _ONE_ORDER[self.form.name]
        else:
            kind = f"{self.form.cast} {self.oid}" if self.oid >= _OWN_TYPES else self.form.cast
        return f"{kind} {self.collation}" if self.collation else kind


@dataclass(frozen=True)
class Relation:
    """A table, view or query. `origin` stands after FROM; `key` is the primary key, or another that is proven.

    `rows` is the server's own estimate; `sampled` the name under which some pages of it can be read, None of a view.
    `oid` is the table's own number: one that was dropped or renamed, and made anew, has another; None of a query.
    `unique`: sets of columns that no two rows have in common, as far as they are not null.
    """

    origin: sql.Composable
    columns: dict[str, SourceColumn]
    key: tuple[str, ...] = ()
    comment: str = ""
    indexed: frozenset[str] = field(default=frozenset())
    rows: int | None = None
    sampled: sql.Composable | None = None
    oid: int | None = None
    unique: frozenset[frozenset[str]] = frozenset()

    def cursors(self) -> tuple[str, ...]:
        """Columns worth following: times before numbers, certain before nullable, indexed before others."""
        found = [c for c in self.columns.values() if c.form.name in _FOLLOWED]
        found.sort(key=lambda c: (c.nullable, c.name not in self.indexed, not c.form.moment))
        return tuple(c.name for c in found)

    def column(self, name: str, where: str) -> SourceColumn:
        if name not in self.columns:
            raise unknown("column", name, self.columns, where)
        return self.columns[name]


def tables_with_key(connection: psycopg.Connection, schema: str) -> list[str]:
    """Ordinary tables of the schema that have a primary key and that this role may read."""
    return [name for (name,) in connection.execute(_TABLES, (schema,))]


def table(connection: psycopg.Connection, name: str, schema: str, where: str) -> Relation:
    """The table, view or foreign table of that name: in `schema`, or `schema.table`, with or without quotes."""
    for space, plain in readings(name, schema, '"'):
        found = connection.execute(_RELATION, (space, plain)).fetchone()
        if found:
            oid, comment, paged, rows = found
            described = _described(connection, oid, sql.Identifier(space, plain), comment or "")
            return replace(described, rows=rows, sampled=described.origin if paged else None, oid=oid)
    there = connection.execute(_NAMES).fetchall()
    known = [plain if space == schema else full_name(space, plain) for space, plain in there]
    raise unknown("table", name, known, where)


def full_name(schema: str, table: str) -> str:
    """`schema.table` as `table` reads it, each part quoted where a dot or a quote stands in it."""
    return written(schema, table, '"')


def _described(connection: psycopg.Connection, oid: int, origin: sql.Composable, comment: str) -> Relation:
    rows = connection.execute(_COLUMNS, (oid,)).fetchall()
    forms = _forms(connection, [row[1] for row in rows])
    columns = {
        name: SourceColumn(
            name, forms[kind], type_name, not certain, note or "", kind, collation or "", bytewise is not False
        )
        for name, kind, type_name, certain, note, collation, bytewise in rows
    }
    indexes = connection.execute(_INDEXES, (oid,)).fetchall()
    keys = [tuple(names) for unique, names, _ in indexes if unique]
    return Relation(
        origin=origin,
        columns=columns,
        key=keys[0] if keys else (),
        comment=comment,
        indexed=frozenset(names[0] for _, names, _ in indexes if names[0]),
        unique=frozenset(frozenset(names) for _, names, proves in indexes if proves),
    )


def held_by_policies(connection: psycopg.Connection, relation: Relation) -> bool:
    """Whether the server's own row-level security binds this role on the table. A view is as open as its owner."""
    name = relation.origin.as_string(connection)
    return bool(connection.execute("SELECT pg_catalog.row_security_active(%s::text)", (name,)).fetchone()[0])  # type: ignore[index]


def query(connection: psycopg.Connection, text: str, where: str) -> Relation:
    """What a SELECT gives, asked of the server without reading a row."""
    # A line of its own for the bracket: a comment at the query's end must not swallow it.
    origin = sql.SQL("(\n{}\n)").format(sql.SQL(text.rstrip().rstrip(";")))
    asked = connection.execute(sql.SQL("SELECT * FROM {} AS t LIMIT 0").format(origin))
    described: list[Any] = list(asked.description or ())
    forms = _forms(connection, [d.type_code for d in described])
    columns = {
        d.name: SourceColumn(d.name, forms[d.type_code], _type_name(d, forms[d.type_code]), oid=d.type_code)
        for d in described
    }
    if len(columns) < len(described):
        raise GiveUp(
            "two columns of the query have one name", code="ambiguous", where=where, advice="name each one with AS"
        )
    return Relation(origin=origin, columns=columns)


def _type_name(described: Any, form: Form) -> str:
    """The driver knows the server's own types with their modifiers, and of others their numbers alone."""
    shown = str(described.type_display)
    return form.cast if shown.isdigit() else shown


def _forms(connection: psycopg.Connection, oids: list[int]) -> dict[int, Form]:
    rows = connection.execute(_TYPES, (sorted(set(oids)),))
    return {
        asked: form_of(
            name=name, schema=schema, letter=letter, category=category, cast=written, domain=domain, visible=visible
        )
        for asked, name, schema, letter, category, written, domain, visible in rows
    }
