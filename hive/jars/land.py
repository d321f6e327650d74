"""Rows into a jar, inside a landing transaction: `unnest` for few, COPY for many; the higher pos wins."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from hive.errors import HiveError
from hive.jars import wire
from hive.jars.jar import STREAM, partition
from hive.ledger.db import Transaction
from nectar.batch import FEW

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


class NotFresh(HiveError):
    """The jar holds a record that seemed new."""


@dataclass(frozen=True)
class Written:
    """Keys (hex) of the records that a landing wrote, each once; `fresh`: the jar held none of them before."""

    listed: Collection[str] = ()
    fresh: bool = True

    def __len__(self) -> int:
        return len(self.listed)

    @cached_property
    def keys(self) -> set[str]:
        """As a set, which takes longer than anything else that is done with them: most landings need none."""
        return set(self.listed)


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


_STANDING = sql.SQL("""
SELECT string_agg(CASE WHEN h.key_hash IS NULL THEN 'n'
                       WHEN h.scrub_version <> %(scrub_version)s THEN 'o'
                       WHEN h.deleted_at IS NULL AND h.content_hash <> asked.content THEN 'o'
                       WHEN h.deleted_at IS NOT NULL
                            AND h.content_hash <> set_byte(asked.content, 0, get_byte(asked.content, 0) # 128) THEN 'o'
                       WHEN (SELECT EXISTS (SELECT FROM hive.quarantine q
                                             WHERE q.stream = %(stream)s AND q.key_hash IS NULL AND q.state = 'open'
                                               AND q.code IN ('killed_worker', 'dead_batch'))) THEN 'q'
                       WHEN (SELECT EXISTS (SELECT FROM hive.quarantine q
                                             WHERE q.stream = %(stream)s AND q.key_hash IS NOT NULL
                                               AND q.state = 'open'))
                            AND EXISTS (SELECT FROM hive.quarantine q
                                         WHERE q.stream = %(stream)s AND q.key_hash = h.key_hash
                                           AND q.state = 'open') THEN 'q'
                       ELSE 's' END, '' ORDER BY asked.at)
  FROM (SELECT decode(key_hash, 'hex') AS key, decode(content_hash, 'hex') AS content, at
          FROM unnest(string_to_array(%(keys)s, ','), string_to_array(%(contents)s, ','))
               WITH ORDINALITY AS n(key_hash, content_hash, at) OFFSET 0) asked
  LEFT JOIN LATERAL (SELECT key_hash, content_hash, scrub_version, deleted_at
                       FROM {honey} WHERE {here} AND key_hash = asked.key OFFSET 0) h ON true
""")
# A letter for each record, and texts with commas between: a row and a list for each cost a multiple (measured).
_RAISE = sql.SQL("""
WITH aimed AS (
    SELECT h.at, n."row", n.content_hash
      FROM unnest(%(keys)s::text[], %(rows)s::int[], %(contents)s::text[]) AS n(key_hash, "row", content_hash)
     CROSS JOIN LATERAL (SELECT ctid AS at FROM {honey} WHERE {here} AND key_hash = decode(n.key_hash, 'hex')
                         OFFSET 0) h
)
UPDATE {honey} h SET epoch = %(epoch)s, seq = %(seq)s, "row" = aimed."row" FROM aimed
 WHERE h.ctid = aimed.at AND h.content_hash = decode(aimed.content_hash, 'hex') AND h.deleted_at IS NULL
   AND (h.epoch, h.seq, h."row") < (%(epoch)s, %(seq)s, aimed."row")
RETURNING encode(h.key_hash, 'hex')
""")
_OLDER = sql.SQL("""
SELECT n.key_hash FROM unnest(%(keys)s::text[], %(rows)s::int[]) AS n(key_hash, "row")
  LEFT JOIN LATERAL (SELECT epoch, seq, "row" FROM {honey} WHERE {here} AND key_hash = decode(n.key_hash, 'hex')
                     OFFSET 0) h ON true
 WHERE h.epoch IS NULL OR (h.epoch, h.seq, h."row") < (%(epoch)s, %(seq)s, n."row")
""")


def standing(tx: Transaction, place: Place, keys: pl.Series, contents: pl.Series) -> str:
    """How records with these key and content hashes (hex) stand to those in the jar, a letter for each.

    n   the jar knows none of this key
    o   it holds another one, or the same as other rules left it
    s   it holds the same: its content is the same; or a step of the bee left it out, which a turned first bit tells
    q   the same, but quarantine has an open entry of it, or one of the stream that names no keys
    """
    if len(keys) <= FEW:
        return _standing(tx, place, ",".join(keys), ",".join(contents))
    order = keys.arg_sort()  # records that were written together lie side by side in this order
    found = _standing(tx, place, joined(keys.gather(order)), joined(contents.gather(order)))
    letters = np.empty(len(keys), np.uint8)
    letters[order.to_numpy()] = np.frombuffer(found.encode(), np.uint8)
    return letters.tobytes().decode()


def _standing(tx: Transaction, place: Place, keys: str, contents: str) -> str:
    values = {**_values(place), "keys": keys, "contents": contents}
    row = tx.psycopg.execute(_STANDING.format(**_jar(place)), values).fetchone()
    return (row and row[0]) or ""


def joined(hashes: pl.Series) -> str:
    """As one text for `string_to_array`: of a list each would be made fit for the server by itself (100 times)."""
    return str(hashes.str.join(",").item())


def raise_pos(
    tx: Transaction, place: Place, keys: Sequence[str], rows: Sequence[int], contents: Sequence[str]
) -> set[str]:
    """Unchanged records that came while earlier batches are still open: their pos rises, their data stays.

    Gives the keys whose pos was raised. The others were written meanwhile: by a newer version, or by an older one that
    must be written over.
    """
    if not keys:
        return set()
    values = {"keys": list(keys), "rows": list(rows), "contents": list(contents)}
    return {row[0] for row in tx.psycopg.execute(_RAISE.format(**_jar(place)), {**_values(place), **values})}


def older(tx: Transaction, place: Place, keys: Mapping[str, int]) -> set[str]:
    """Which of these keys (with the row they have in this batch) the jar holds in an older version."""
    if not keys:
        return set()
    values = {"keys": list(keys), "rows": list(keys.values())}
    return {row[0] for row in tx.psycopg.execute(_OLDER.format(**_jar(place)), {**_values(place), **values})}


def write(tx: Transaction, place: Place, frame: pl.DataFrame, *, fresh: bool = False) -> Written:
    """Insert or update the records of `frame` (see COLUMNS), at most one for each key.

    `fresh`: the jar seems to hold none of them, so they go straight into it. Raises NotFresh if it holds one after
    all; nothing is written then, and the transaction is lost.
    """
    if frame.is_empty():
        return Written()
    if frame.height > 1:
        frame = frame.sort("key_hash")
    if fresh:
        return _copy_fresh(tx, place, frame)
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
    return Written(row[0] or (), row[1])


def _copy_fresh(tx: Transaction, place: Place, frame: pl.DataFrame) -> Written:
    """COPY into the jar itself: no table between, nothing compared. The jar's own key says if that was wrong."""
    try:
        _copy(tx, partition("honey", place.part), wire.COLUMNS, wire.rows(place, frame), form="binary")
    except psycopg.errors.UniqueViolation as error:
        raise NotFresh("the jar holds one of these records already") from error
    return Written(frame["key_hash"])


def copy_frame(tx: Transaction, table: sql.Composable, frame: pl.DataFrame) -> None:
    """COPY a frame of text, integer and boolean columns into `table`, without a Python object per row."""
    lines = frame.select(
        pl.concat_str(*[_copy_text(frame, name) for name in frame.columns], separator="\t") + pl.lit("\n")
    ).to_series()
    _copy(tx, table, frame.columns, _pieces(lines), form="text")


def _copy(
    tx: Transaction, table: sql.Composable, columns: Iterable[str], pieces: Iterable[bytes | memoryview], form: str
) -> None:
    names = sql.SQL(", ").join(sql.Identifier(c) for c in columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(table, names, sql.SQL(form))
    with tx.psycopg.cursor().copy(statement) as copy:
        for piece in pieces:
            copy.write(piece)


def _pieces(lines: pl.Series, rows: int = 5_000) -> Iterable[memoryview]:
    """The lines' bytes as they lie in memory, some thousand at a time."""
    for start in range(0, len(lines), rows):
        yield wire.content(lines.slice(start, rows).to_arrow().cast(pa.large_string()))


def _copy_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    r"""A column in COPY's text format: null is \N, backslash and the three separators are escaped."""
    column = pl.col(name)
    if frame.schema[name] == pl.String:
        for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
            column = column.str.replace_all(plain, escaped, literal=True)
    return column.cast(pl.String).fill_null("\\N")


def _jar(place: Place) -> dict[str, sql.Composable]:
    return {"honey": partition("honey", place.part), "here": STREAM}


def _where(place: Place) -> dict[str, Any]:
    return {"part": place.part, "jar": place.jar, "bee": place.bee, "stream": place.stream}


def _values(place: Place) -> dict[str, Any]:
    return dict(place.__dict__)
