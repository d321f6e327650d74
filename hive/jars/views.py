"""A typed SQL view for each stream of a jar: `jars.{jar}__{stream}`.

Its casts are total: null and a mark, never an error. It is a help for readers and no part of a landing: where
PostgreSQL takes no view, the records land all the same and are read from `data`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import psycopg
import pyarrow as pa
import structlog
from psycopg import sql
from psycopg.types.json import Jsonb

from hive.ledger.db import Transaction, is_away
from nectar.batch import mark_of

_CASTS = {
    "integer": "as_integer",
    "number": "as_number",
    "float": "as_float",
    "boolean": "as_boolean",
    "timestamptz": "as_timestamptz",
    "timestamp": "as_timestamp",
    "date": "as_date",
}

_OWN = ("_key", "_collected_at", "_marks", "_unreadable")
LIMIT = 1_600 - len(_OWN)
"""Columns of a view at most, by PostgreSQL's own bound; of more only the first ones stand in it."""

_LOCK = 7_245_900_000_000
"""Advisory locks of pollen: this number and the stream's."""

log = structlog.get_logger()
_told: set[tuple[int, str | None]] = set()
"""(stream, SQLSTATE) of what this process has logged: a failing view is tried with each new column, and told once."""


def view_name(jar: str, stream: str) -> str:
    """`{jar}__{stream}`, cut to the 63 bytes of an identifier with a hash that keeps long names apart."""
    name = f"{jar}__{stream}"
    if len(name.encode()) <= 63:  # NAMEDATALEN - 1
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name.encode()[:54].decode("utf-8", "ignore") + "_" + digest


def kinds_of(table: pa.Table, told: Mapping[str, str]) -> dict[str, str]:
    """Column -> kind, of a scrubbed table: what the source told, as far as the column still is that."""
    found = {}
    for field in table.schema:
        if not field.name.startswith("_"):
            found[field.name] = told.get(field.name) or _kind(field)
    return found


def _kind(field: pa.Field) -> str:
    kind, mark = field.type, mark_of(field)
    if mark in ("json", "number"):
        return str(mark)
    if pa.types.is_integer(kind):
        return "number" if pa.types.is_uint64(kind) else "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if pa.types.is_date(kind):
        return "date"
    return "json" if pa.types.is_nested(kind) else "text"


def learn(tx: Transaction, jar: int, bee: int, stream: int, part: int, kinds: Mapping[str, str]) -> dict[str, str]:
    """Add columns to the stream's pollen and renew its view if there are new ones. Gives all that are known now.

    A column keeps the kind it had first; where kinds disagree it becomes text, which every value can be read as, but
    whole numbers and others are numbers together. A view that cannot be made is logged and left; the next process that
    meets the stream tries again.
    """
    tx.psycopg.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK + stream])
    row = tx.psycopg.execute(
        "SELECT p.version, p.columns, obj_description(to_regclass('jars.' || quote_ident(s.view)), 'pg_class')"
        " FROM hive.pollen p JOIN hive.stream s ON s.id = p.stream WHERE p.stream = %s ORDER BY p.version DESC LIMIT 1",
        [stream],
    ).fetchone()
    version, known, seen = (row[0], dict(row[1]), row[2]) if row else (0, {}, None)
    merged = dict(known)
    for name, kind in kinds.items():
        merged[name] = merged_kind(merged.get(name, kind), kind)
    if merged != known or row is None:
        version += 1
        tx.psycopg.execute(
            "INSERT INTO hive.pollen (stream, version, columns) VALUES (%s, %s, %s)", [stream, version, Jsonb(merged)]
        )
    if seen != _seen(version):
        try:
            with tx.psycopg.transaction():
                _renew(tx, jar, bee, stream, part, merged, version)
        except psycopg.Error as error:
            if is_away(error):
                raise
            if (stream, error.sqlstate) not in _told:
                _told.add((stream, error.sqlstate))
                log.warning("view.failed", stream=stream, sqlstate=error.sqlstate)
    return merged


def merged_kind(one: str, other: str) -> str:
    """The kind that holds values of both."""
    if one == other:
        return one
    return "number" if {one, other} == {"integer", "number"} else "text"


def relocate(tx: Transaction, jar: int, part: int) -> None:
    """Let the views of a jar read another part. They keep their columns, so what stands on them stays."""
    rows = tx.psycopg.execute(
        "SELECT DISTINCT ON (s.id) s.bee, s.id, s.view, p.columns, p.version"
        " FROM hive.stream s JOIN hive.pollen p ON p.stream = s.id"
        " WHERE s.jar = %s AND to_regclass('jars.' || quote_ident(s.view)) IS NOT NULL ORDER BY s.id, p.version DESC",
        [jar],
    ).fetchall()
    for bee, stream, name, columns, version in rows:
        try:
            with tx.psycopg.transaction():
                tx.psycopg.execute(sql.SQL("CREATE OR REPLACE ") + _view(name, jar, bee, stream, part, columns))
        except psycopg.errors.InvalidTableDefinition:  # an older view that could not be renewed so far
            _renew(tx, jar, bee, stream, part, columns, version)


def _seen(version: int) -> str:
    """A view's comment: which pollen it shows."""
    return f"pollen {version}"


def _renew(
    tx: Transaction, jar: int, bee: int, stream: int, part: int, columns: Mapping[str, str], version: int
) -> None:
    row = tx.psycopg.execute(
        "SELECT j.name, s.name, s.view, b.name FROM hive.stream s JOIN hive.jar j ON j.id = s.jar"
        " JOIN hive.bee b ON b.id = s.bee WHERE s.id = %s",
        [stream],
    ).fetchone()
    assert row is not None
    name = row[2] or _free_name(tx, row[0], row[1], row[3])
    view = sql.Identifier("jars", name)
    tx.psycopg.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))
    tx.psycopg.execute(sql.SQL("CREATE ") + _view(name, jar, bee, stream, part, columns))
    tx.psycopg.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(view, sql.Literal(_seen(version))))
    tx.psycopg.execute("UPDATE hive.stream SET view = %s WHERE id = %s", [name, stream])


def _view(name: str, jar: int, bee: int, stream: int, part: int, columns: Mapping[str, str]) -> sql.Composed:
    """What makes a stream's view, behind CREATE."""
    casts = [(c, _CASTS.get(kind)) for c, kind in list(columns.items())[:LIMIT]]
    names = identifiers([c for c, _ in casts])
    selected = [_expression(c, cast, names[c]) for c, cast in casts]
    unread = [_unread(c, cast) for c, cast in casts if cast]
    return sql.SQL(
        "VIEW {view} AS SELECT {columns}record_key AS _key, collected_at AS _collected_at, marks AS _marks,"
        " {unread} AS _unreadable FROM hive.honey"
        " WHERE part = {part} AND jar = {jar} AND bee = {bee} AND stream = {stream} AND deleted_at IS NULL"
    ).format(
        view=sql.Identifier("jars", name),
        columns=sql.SQL("").join([s + sql.SQL(", ") for s in selected]),
        unread=sql.SQL("array_remove(ARRAY[{}]::text[], NULL)").format(sql.SQL(", ").join(unread)),
        part=sql.Literal(part), jar=sql.Literal(jar), bee=sql.Literal(bee), stream=sql.Literal(stream),
    )  # fmt: skip


def identifiers(names: Sequence[str]) -> dict[str, str]:
    """A name in the view for each column: its own, or one cut to 63 bytes with a hash where that cannot be or is taken.

    A column's own name comes first, whatever the order: a cut one gives way.
    """
    used = {*_OWN, *(name for name in names if _fits(name))}
    found = {}
    for name in names:
        short, count = name, 0
        while not _fits(name) and (short in used or not _fits(short)):
            digest = hashlib.sha256(f"{name}\0{count}".encode()).hexdigest()[:8]
            short = name.replace("\0", "\ufffd").encode()[:54].decode("utf-8", "ignore") + "_" + digest
            count += 1
        used.add(short)
        found[name] = short
    return found


def _fits(name: str) -> bool:
    return 0 < len(name.encode()) <= 63 and "\0" not in name and name not in _OWN  # NAMEDATALEN - 1


def _free_name(tx: Transaction, jar: str, stream: str, bee: str) -> str:
    """Two bees may fill streams of one name into one jar: the second view says whose it is."""
    name = view_name(jar, stream)
    taken = tx.psycopg.execute("SELECT 1 FROM hive.stream WHERE view = %s", [name]).fetchone()
    return view_name(jar, f"{bee}__{stream}") if taken else name


def _expression(name: str, cast: str | None, shown: str) -> sql.Composed:
    if cast is None:
        return sql.SQL("data ->> {} AS {}").format(sql.Literal(name), sql.Identifier(shown))
    return sql.SQL("{}(data -> {}) AS {}").format(
        sql.Identifier("hive", cast), sql.Literal(name), sql.Identifier(shown)
    )


def _unread(name: str, cast: str | None) -> sql.Composed:
    assert cast is not None
    return sql.SQL("CASE WHEN data ->> {name} IS NOT NULL AND {cast}(data -> {name}) IS NULL THEN {name} END").format(
        name=sql.Literal(name), cast=sql.Identifier("hive", cast)
    )
