"""A typed SQL view for each stream of a jar: `jars.{jar}__{stream}`.

Its casts are total: null and a mark, never an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pyarrow as pa
from psycopg import sql
from psycopg.types.json import Jsonb

from hive.ledger.db import Transaction
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

_LOCK = 7_245_900_000_000
"""Advisory locks of pollen: this number and the stream's."""


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
        return "integer"
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

    A column keeps the kind it had first; where kinds disagree it becomes text, which every value can be read as.
    """
    tx.psycopg.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK + stream])
    row = tx.psycopg.execute(
        "SELECT version, columns FROM hive.pollen WHERE stream = %s ORDER BY version DESC LIMIT 1", [stream]
    ).fetchone()
    version, known = (row[0], dict(row[1])) if row else (0, {})
    merged = dict(known)
    for name, kind in kinds.items():
        merged[name] = kind if merged.get(name, kind) == kind else "text"
    if merged != known or row is None:
        tx.psycopg.execute(
            "INSERT INTO hive.pollen (stream, version, columns) VALUES (%s, %s, %s)",
            [stream, version + 1, Jsonb(merged)],
        )
        _renew(tx, jar, bee, stream, part, merged)
    return merged


def _renew(tx: Transaction, jar: int, bee: int, stream: int, part: int, columns: Mapping[str, str]) -> None:
    row = tx.psycopg.execute(
        "SELECT j.name, s.name, s.view, b.name FROM hive.stream s JOIN hive.jar j ON j.id = s.jar"
        " JOIN hive.bee b ON b.id = s.bee WHERE s.id = %s",
        [stream],
    ).fetchone()
    assert row is not None
    name = row[2] or _free_name(tx, row[0], row[1], row[3])
    casts = [(c, _CASTS.get(kind)) for c, kind in columns.items()]
    selected = [_expression(c, cast) for c, cast in casts]
    unread = [_unread(c, cast) for c, cast in casts if cast]
    statement = sql.SQL(
        "CREATE VIEW {view} AS SELECT {columns}record_key AS _key, collected_at AS _collected_at, marks AS _marks,"
        " {unread} AS _unreadable FROM hive.honey"
        " WHERE part = {part} AND jar = {jar} AND bee = {bee} AND stream = {stream} AND deleted_at IS NULL"
    ).format(
        view=sql.Identifier("jars", name),
        columns=sql.SQL("").join([s + sql.SQL(", ") for s in selected]),
        unread=sql.SQL("array_remove(ARRAY[{}]::text[], NULL)").format(sql.SQL(", ").join(unread)),
        part=sql.Literal(part), jar=sql.Literal(jar), bee=sql.Literal(bee), stream=sql.Literal(stream),
    )  # fmt: skip
    tx.psycopg.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier("jars", name)))
    tx.psycopg.execute(statement)
    tx.psycopg.execute("UPDATE hive.stream SET view = %s WHERE id = %s", [name, stream])


def _free_name(tx: Transaction, jar: str, stream: str, bee: str) -> str:
    """Two bees may fill streams of one name into one jar: the second view says whose it is."""
    name = view_name(jar, stream)
    taken = tx.psycopg.execute("SELECT 1 FROM hive.stream WHERE view = %s", [name]).fetchone()
    return view_name(jar, f"{bee}__{stream}") if taken else name


def _expression(name: str, cast: str | None) -> sql.Composed:
    value = sql.SQL("data -> {}").format(sql.Literal(name))
    if cast is None:
        return sql.SQL("data ->> {} AS {}").format(sql.Literal(name), _short(name))
    return sql.SQL("{}({}) AS {}").format(sql.Identifier("hive", cast), value, _short(name))


def _short(name: str) -> sql.Identifier:
    return sql.Identifier(name if len(name.encode()) <= 63 else view_name(name, ""))


def _unread(name: str, cast: str | None) -> sql.Composed:
    assert cast is not None
    return sql.SQL("CASE WHEN data ->> {name} IS NOT NULL AND {cast}(data -> {name}) IS NULL THEN {name} END").format(
        name=sql.Literal(name), cast=sql.Identifier("hive", cast)
    )
