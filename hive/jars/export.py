"""A jar as a file: JSON Lines or Parquet, read in one snapshot and streamed, so that its size does not matter."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from hive.jars.listing import FoundJar, find_jar, streams_of
from hive.ledger.db import Database, Transaction

Format = Literal["jsonl", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "parquet")

_GROUP_ROWS = 20_000
_GROUP_BYTES = 32 << 20
_TYPES = {
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
}
"""Kinds with a type of their own; every other kind is text, `number` too: a decimal of any size stays exact."""
_DATED = ("timestamptz", "timestamp", "date")

_LINES = sql.SQL("""
SELECT %(head)s::text || to_json(h.record_key)::text || ',"data":' || h.data::text || ',"collected_at":' ||
       to_json(to_char(h.collected_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text
  FROM hive.honey h WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.stream = %(stream)s AND h.deleted_at IS NULL
 ORDER BY h.bee, h.key_hash
""")
_ROWS = sql.SQL("""
SELECT pg_column_size(h.data), {columns}h.record_key, h.collected_at FROM hive.honey h
 WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.stream = %(stream)s AND h.deleted_at IS NULL
 ORDER BY h.bee, h.key_hash
""")


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    records: int
    files: tuple[Path, ...] = ()


def export(db: Database, jar: str, format: str, out: Path | BinaryIO) -> Exported:  # noqa: A002 - the option's name
    """Write a jar's records, deleted ones left out. Memory use does not grow with the jar.

    jsonl     one object a line, to a file or an open stream; numbers as the jar holds them
    parquet   one file where the jar has one stream, else, or where `out` is a folder, `{stream}.parquet` for each

    A file appears whole or not at all. Raises LookupError where no such jar can be read, ValueError for a format.
    """
    if format not in FORMATS:
        raise ValueError(f"no format is named {format!r}: there are {', '.join(FORMATS)}")
    with db.transaction() as tx:
        tx.psycopg.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = find_jar(tx, jar)
        if not found.visible:
            raise LookupError(f"the jar {jar!r} is a snapshot that is not complete yet")
        streams = streams_of(tx, found)
        if format == "jsonl":
            return _jsonl(tx, found, streams, out)
        if not isinstance(out, Path):
            raise ValueError("parquet is written to a file: name one with --output")  # noqa: TRY004 - a wrong option
        return _parquet(tx, found, streams, out)


def _jsonl(tx: Transaction, jar: FoundJar, streams: list[dict[str, Any]], out: Path | BinaryIO) -> Exported:
    if not isinstance(out, Path):
        return Exported(sum(_write_lines(tx, jar, stream, out) for stream in streams))
    with _appears(out) as staging, staging.open("wb") as file:
        records = sum(_write_lines(tx, jar, stream, file) for stream in streams)
    return Exported(records, (out,))


def _write_lines(tx: Transaction, jar: FoundJar, stream: Mapping[str, Any], file: BinaryIO) -> int:
    whose = {"bee": stream["bee"], "stream": stream["stream"]}
    head = json.dumps(whose, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"key":'
    records = 0
    for (line,) in _stream(tx, _LINES, {**_where(jar, stream), "head": head}):
        file.write(line.encode() + b"}\n")
        records += 1
    return records


def _parquet(tx: Transaction, jar: FoundJar, streams: list[dict[str, Any]], out: Path) -> Exported:
    if len(streams) == 1 and not out.is_dir():
        return Exported(_write_table(tx, jar, streams[0], out), (out,))
    out.mkdir(parents=True, exist_ok=True)
    names = _file_names([(stream["bee"], stream["stream"]) for stream in streams])
    files = tuple(out / f"{name}.parquet" for name in names)
    records = sum(_write_table(tx, jar, stream, file) for stream, file in zip(streams, files, strict=True))
    return Exported(records, files)


def _write_table(tx: Transaction, jar: FoundJar, stream: Mapping[str, Any], out: Path) -> int:
    """One stream as a Parquet file, in row groups of bounded size."""
    columns = _readable(tx, jar, stream)
    schema = pa.schema(
        [pa.field(name, _TYPES.get(kind, pa.string())) for name, kind in columns.items()]
        + [pa.field("_key", pa.string()), pa.field("_collected_at", pa.timestamp("us", tz="UTC"))]
    )
    selected = [sql.SQL("{}, ").format(_value(name, kind)) for name, kind in columns.items()]
    query = _ROWS.format(columns=sql.SQL("").join(selected))
    records = held = 0
    group: list[tuple[Any, ...]] = []
    with _appears(out) as staging, pq.ParquetWriter(staging, schema, compression="zstd") as writer:
        for size, *row in _stream(tx, query, _where(jar, stream)):
            group.append(tuple(row))
            held += size or 0
            records += 1
            if len(group) >= _GROUP_ROWS or held >= _GROUP_BYTES:
                writer.write_table(_table(group, schema))
                group, held = [], 0
        if group:
            writer.write_table(_table(group, schema))
    return records


def _readable(tx: Transaction, jar: FoundJar, stream: Mapping[str, Any]) -> dict[str, str]:
    """Column -> kind as of the newest pollen; a column with a value that its kind cannot hold is text."""
    columns: dict[str, str] = {name: str(kind) for name, kind in stream["columns"].items()}
    typed = {name: kind for name, kind in columns.items() if kind in _TYPES}
    if not typed:
        return columns
    checks = [
        sql.SQL("bool_and(data ->> {name} IS NULL OR coalesce({fits}, false))").format(
            name=_literal(name), fits=_fits(name, kind)
        )
        for name, kind in typed.items()
    ]
    query = sql.SQL(
        "SELECT {} FROM hive.honey"
        " WHERE part = %(part)s AND jar = %(jar)s AND stream = %(stream)s AND deleted_at IS NULL"
    ).format(sql.SQL(", ").join(checks))
    row = tx.psycopg.execute(query, _where(jar, stream)).fetchone() or ()
    unread = {name for name, fits in zip(typed, row, strict=True) if fits is False}
    return {name: "text" if name in unread else kind for name, kind in columns.items()}


def _fits(name: str, kind: str) -> sql.Composed:
    value = _value(name, kind)
    if kind in _DATED:  # Python's calendar ends where PostgreSQL's goes on; a day at each end is left for time zones
        return sql.SQL("{} BETWEEN '0001-01-02' AND '9999-12-30'").format(value)
    return sql.SQL("{} IS NOT NULL").format(value)


def _value(name: str, kind: str) -> sql.Composed:
    if kind in _TYPES:
        return sql.SQL("{}(data -> {})").format(sql.Identifier("hive", f"as_{kind}"), _literal(name))
    return sql.SQL("data ->> {}").format(_literal(name))


def _literal(name: str) -> sql.Literal:
    """Within a statement that has parameters."""
    return sql.Literal(name.replace("%", "%%"))


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _stream(tx: Transaction, query: sql.SQL | sql.Composed, values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The rows one by one, as the server sends them."""
    yield from tx.psycopg.cursor().stream(query, values)


def _where(jar: FoundJar, stream: Mapping[str, Any]) -> dict[str, Any]:
    return {"part": jar.part, "jar": jar.id, "stream": stream["id"]}


def _file_names(streams: list[tuple[str, str]]) -> list[str]:
    """A stream's name as a file's; where two are alike, all of that name say their bee, and at last a number."""
    plain = [_plain(stream) for _, stream in streams]
    told = [
        name if plain.count(name) == 1 else f"{_plain(bee)}__{name}"
        for name, (bee, _) in zip(plain, streams, strict=True)
    ]
    return [name if told.count(name) == 1 else f"{name}_{n}" for n, name in enumerate(told, 1)]


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name).lstrip(".")[:120] or "stream"


@contextlib.contextmanager
def _appears(out: Path) -> Iterator[Path]:
    """A file beside `out` that takes its name once it is whole."""
    staging = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        yield staging
        staging.replace(out)
    finally:
        staging.unlink(missing_ok=True)
