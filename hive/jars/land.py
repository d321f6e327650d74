"""Rows into a jar, inside a landing transaction: `unnest` for few, COPY for many; the higher pos wins."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from psycopg import sql

from hive.jars.jar import partition
from hive.ledger.db import Transaction

MANY = 1_000
"""From this number on COPY into a temporary table is faster than arrays (measured)."""


@dataclass(frozen=True)
class Place:
    """Where a batch lands, and the first two parts of its pos."""

    part: int
    jar: int
    bee: int
    stream: int
    epoch: int
    seq: int
    flight: uuid.UUID
    scrub_version: int
    collected_at: str


@dataclass(frozen=True)
class Known:
    """A record that the jar holds already."""

    content_hash: str
    scrub_version: int
    deleted: bool
    quarantined: bool
    """It has an open entry in quarantine, or its stream has one that names no keys."""


@dataclass(frozen=True)
class Written:
    """Keys (hex) of the records that a landing wrote; `fresh`: the jar held none of them before."""

    keys: set[str]
    fresh: bool = True


COLUMNS = ("key_hash", "content_hash", "record_key", "row", "data", "marks", "deleted")
"""Of the frame that `write` takes: hashes as hex text, `data` and `marks` as JSON text or null."""

_UPSERT = sql.SQL("""
WITH landed AS (
    INSERT INTO {honey} AS h (part, jar, bee, stream, epoch, seq, "row", written_seq, scrub_version, collected_at,
                              deleted_at, flight, key_hash, content_hash, record_key, data, marks)
    SELECT %(part)s, %(jar)s, %(bee)s, %(stream)s, %(epoch)s, %(seq)s, n."row", %(seq)s, %(scrub_version)s,
           %(collected_at)s::timestamptz, CASE WHEN n.deleted THEN clock_timestamp() END, %(flight)s,
           decode(n.key_hash, 'hex'), decode(n.content_hash, 'hex'), n.record_key, n.data::jsonb, n.marks::jsonb
      FROM {source} ORDER BY n.key_hash
    ON CONFLICT (part, jar, bee, stream, key_hash) DO UPDATE
       SET epoch = excluded.epoch, seq = excluded.seq, "row" = excluded."row", written_seq = excluded.written_seq,
           scrub_version = excluded.scrub_version, collected_at = excluded.collected_at,
           deleted_at = excluded.deleted_at, flight = excluded.flight, content_hash = excluded.content_hash,
           record_key = excluded.record_key, data = excluded.data, marks = excluded.marks
     WHERE (h.epoch, h.seq, h."row") < (excluded.epoch, excluded.seq, excluded."row")
    RETURNING encode(h.key_hash, 'hex') AS key, h.xmax = 0 AS fresh
)
SELECT array_agg(key), coalesce(bool_and(fresh), true) FROM landed
""")
# A higher pos wins, whatever the order of arrival: the WHERE above is that rule's only home.

_ARRAYS = sql.SQL(
    "unnest(%(keys)s::text[], %(contents)s::text[], %(record_keys)s::text[], %(rows)s::int[], %(datas)s::text[],"
    " %(marks)s::text[], %(deleteds)s::bool[])"
    ' AS n(key_hash, content_hash, record_key, "row", data, marks, deleted)'
)


def known(tx: Transaction, place: Place, keys: Sequence[str]) -> dict[str, Known]:
    """What the jar holds of these keys (hex)."""
    found = tx.psycopg.execute(
        sql.SQL(
            "SELECT encode(h.key_hash, 'hex'), encode(h.content_hash, 'hex'), h.scrub_version,"
            " h.deleted_at IS NOT NULL, EXISTS (SELECT FROM hive.quarantine q"
            "          WHERE q.stream = h.stream AND q.key_hash = h.key_hash AND q.state = 'open')"
            " OR (SELECT EXISTS (SELECT FROM hive.quarantine q WHERE q.stream = %(stream)s AND q.key_hash IS NULL"
            "        AND q.state = 'open' AND q.code IN ('killed_worker', 'dead_batch')))"
            " FROM {honey} h WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s AND h.stream = %(stream)s"
            " AND h.key_hash = ANY (SELECT decode(k, 'hex') FROM unnest(%(keys)s::text[]) k)"
        ).format(honey=partition("honey", place.part)),
        {**_where(place), "keys": list(keys)},
    )
    return {row[0]: Known(*row[1:]) for row in found}


def raise_pos(
    tx: Transaction, place: Place, keys: Sequence[str], rows: Sequence[int], contents: Sequence[str]
) -> set[str]:
    """Unchanged records that came while earlier batches are still open: their pos rises, their data stays.

    Gives the keys whose pos was raised. The others were written meanwhile: by a newer version, or by an older one that
    must be written over.
    """
    if not keys:
        return set()
    found = tx.psycopg.execute(
        sql.SQL(
            'UPDATE {honey} h SET epoch = %(epoch)s, seq = %(seq)s, "row" = n."row"'
            ' FROM unnest(%(keys)s::text[], %(rows)s::int[], %(contents)s::text[]) AS n(key_hash, "row", content_hash)'
            " WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s AND h.stream = %(stream)s"
            " AND h.key_hash = decode(n.key_hash, 'hex') AND h.content_hash = decode(n.content_hash, 'hex')"
            ' AND h.deleted_at IS NULL AND (h.epoch, h.seq, h."row") < (%(epoch)s, %(seq)s, n."row")'
            " RETURNING encode(h.key_hash, 'hex')"
        ).format(honey=partition("honey", place.part)),
        {**_values(place), "keys": list(keys), "rows": list(rows), "contents": list(contents)},
    )
    return {row[0] for row in found}


def older(tx: Transaction, place: Place, keys: Mapping[str, int]) -> set[str]:
    """Which of these keys (with the row they have in this batch) the jar holds in an older version."""
    if not keys:
        return set()
    found = tx.psycopg.execute(
        sql.SQL(
            'SELECT n.key_hash FROM unnest(%(keys)s::text[], %(rows)s::int[]) AS n(key_hash, "row") LEFT JOIN {honey} h'
            " ON h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s AND h.stream = %(stream)s"
            " AND h.key_hash = decode(n.key_hash, 'hex')"
            ' WHERE h.key_hash IS NULL OR (h.epoch, h.seq, h."row") < (%(epoch)s, %(seq)s, n."row")'
        ).format(honey=partition("honey", place.part)),
        {**_values(place), "keys": list(keys), "rows": list(keys.values())},
    )
    return {row[0] for row in found}


def write(tx: Transaction, place: Place, frame: pl.DataFrame) -> Written:
    """Insert or update the records of `frame` (see COLUMNS), at most one for each key."""
    if frame.is_empty():
        return Written(set())
    if frame.height > 1:
        frame = frame.sort("key_hash")
    source: sql.Composable = _ARRAYS
    values = _values(place)
    if frame.height < MANY:
        names = ("keys", "contents", "record_keys", "rows", "datas", "marks", "deleteds")
        values |= {n: frame[c].to_list() for n, c in zip(names, COLUMNS, strict=True)}
    else:
        tx.psycopg.execute(
            'CREATE TEMP TABLE landing (key_hash text, content_hash text, record_key text, "row" int, data text,'
            " marks text, deleted bool) ON COMMIT DROP"
        )
        copy_frame(tx, sql.SQL("landing"), frame.select(COLUMNS))
        source = sql.SQL("landing AS n")
    statement = _UPSERT.format(honey=partition("honey", place.part), source=source)
    row = tx.psycopg.execute(statement, values).fetchone()
    assert row is not None
    return Written(set(row[0] or ()), row[1])


def copy_frame(tx: Transaction, table: sql.Composable, frame: pl.DataFrame) -> None:
    """COPY a frame of text, integer and boolean columns into `table`, without a Python object per row."""
    text = frame.select(
        pl.concat_str(*[_copy_text(frame, name) for name in frame.columns], separator="\t") + pl.lit("\n")
    ).to_series()
    names = sql.SQL(", ").join(sql.Identifier(c) for c in frame.columns)
    with tx.psycopg.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, names)) as copy:
        for piece in _pieces(text):
            copy.write(piece)


def _pieces(lines: pl.Series, rows: int = 5_000) -> Iterable[bytes]:
    for start in range(0, len(lines), rows):
        yield "".join(lines.slice(start, rows).to_list()).encode()


def _copy_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    r"""A column in COPY's text format: null is \N, backslash and the three separators are escaped."""
    column = pl.col(name)
    if frame.schema[name] == pl.String:
        for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
            column = column.str.replace_all(plain, escaped, literal=True)
    return column.cast(pl.String).fill_null("\\N")


def write_chunks(tx: Transaction, place: Place, written: Written, chunks: pl.DataFrame) -> None:
    """The searchable text of the records that were written: old chunks out, new ones in.

    `chunks`: key_hash (hex), n, text, text_hash (hex).
    """
    keys = sorted(written.keys)
    table = partition("chunk", place.part)
    values = _where(place) | {"seq": place.seq}
    if not written.fresh:
        tx.psycopg.execute(
            sql.SQL(
                "DELETE FROM {} WHERE part = %(part)s AND jar = %(jar)s AND bee = %(bee)s AND stream = %(stream)s"
                " AND key_hash = ANY (SELECT decode(k, 'hex') FROM unnest(%(keys)s::text[]) k)"
            ).format(table),
            values | {"keys": keys},
        )
    if not written.keys.issuperset(chunks["key_hash"].to_list()):
        chunks = chunks.filter(pl.col("key_hash").is_in(keys))
    if chunks.height > 1:
        chunks = chunks.sort("key_hash", "n")
    if chunks.is_empty():
        return
    names = ("key_hash", "n", "text", "text_hash")
    if chunks.height < MANY:
        source: sql.Composable = sql.SQL(
            "unnest(%(keys)s::text[], %(ns)s::int[], %(texts)s::text[], %(hashes)s::text[])"
            " AS c(key_hash, n, text, text_hash)"
        )
        values |= {v: chunks[c].to_list() for v, c in zip(("keys", "ns", "texts", "hashes"), names, strict=True)}
    else:
        tx.psycopg.execute("CREATE TEMP TABLE pieces (key_hash text, n int, text text, text_hash text) ON COMMIT DROP")
        copy_frame(tx, sql.SQL("pieces"), chunks.select(names))
        source = sql.SQL("pieces AS c")
    tx.psycopg.execute(
        sql.SQL(
            "INSERT INTO {} (part, jar, bee, stream, key_hash, n, seq, text_hash, text, words)"
            " SELECT %(part)s, %(jar)s, %(bee)s, %(stream)s, decode(c.key_hash, 'hex'), c.n, %(seq)s,"
            " decode(c.text_hash, 'hex'), c.text, to_tsvector('english', c.text) FROM {}"
        ).format(table, source),
        values,
    )


def _where(place: Place) -> dict[str, Any]:
    return {"part": place.part, "jar": place.jar, "bee": place.bee, "stream": place.stream}


def _values(place: Place) -> dict[str, Any]:
    return dict(place.__dict__)
