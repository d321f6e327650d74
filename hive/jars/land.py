"""Rows into a jar, inside a landing transaction: `unnest` for few, COPY for many; the higher pos wins."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, LiteralString

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from hive.errors import HiveError
from hive.jars import wire
from hive.jars.jar import partition
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
    """Keys (hex) of the records that a landing wrote, each once; `fresh`: the jar held none of them before.

    `noted`: it is written down that they wait for the index.
    """

    listed: Collection[str] = ()
    fresh: bool = True
    noted: bool = False

    def __len__(self) -> int:
        return len(self.listed)

    @cached_property
    def keys(self) -> set[str]:
        """As a set, which takes longer than anything else that is done with them: most landings need none."""
        return set(self.listed)


COLUMNS = ("key_hash", "content_hash", "record_key", "row", "data", "marks", "deleted")
"""Of the frame that `write` takes: hashes as hex text, `data` and `marks` as JSON text or null."""

_UPSERT: LiteralString = """
WITH landed AS (
    INSERT INTO hive.honey_{part} AS h (part, jar, bee, stream, epoch, seq, "row", written_seq, scrub_version,
                                        collected_at, deleted_at, flight, key_hash, content_hash, record_key, data,
                                        marks)
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
    RETURNING h.key_hash AS key, h.xmax = 0 AS fresh
), noted AS (
    INSERT INTO hive.unindexed (part, jar, bee, stream, seq, fields, document, fresh, keys, records)
    SELECT %(part)s, %(jar)s, %(bee)s, %(stream)s, %(seq)s, %(fields)s, %(document)s, bool_and(fresh),
           CASE WHEN count(*) < %(many)s THEN array_agg(key) END, count(*)
      FROM landed HAVING count(*) > 0 AND (cardinality(%(fields)s::text[]) > 0 OR NOT bool_and(fresh))
)
SELECT array_agg(encode(key, 'hex')) AS keys, coalesce(bool_and(fresh), true) AS fresh FROM landed
"""
# A higher pos wins, whatever the order of arrival: the WHERE above is that rule's only home.

_ARRAYS: LiteralString = (
    "unnest(%(keys)s::text[], %(contents)s::text[], %(record_keys)s::text[], %(rows)s::int[], %(datas)s::text[],"
    " %(marks)s::text[], %(deleteds)s::bool[])"
    ' AS n(key_hash, content_hash, record_key, "row", data, marks, deleted)'
)


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
    row = tx.run("standing", **_values(place), keys=keys, contents=contents).fetchone()
    return (row and row.letters) or ""


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
    return {row.key for row in tx.run("raise_pos", **_values(place), **values)}


def older(tx: Transaction, place: Place, keys: Mapping[str, int]) -> set[str]:
    """Which of these keys (with the row they have in this batch) the jar holds in an older version."""
    if not keys:
        return set()
    values = {"keys": list(keys), "rows": list(keys.values())}
    return {row.key_hash for row in tx.run("older", **_values(place), **values)}


def write(
    tx: Transaction,
    place: Place,
    frame: pl.DataFrame,
    *,
    fresh: bool = False,
    fields: Sequence[str] = (),
    document: bool = False,
) -> Written:
    """Insert or update the records of `frame` (see COLUMNS), at most one for each key.

    `fresh`: the jar seems to hold none of them, so they go straight into it. Raises NotFresh if it holds one after
    all; nothing is written then, and the transaction is lost. `fields`, `document`: what is to be indexed, as
    `index.note` has it; such a note is not made for what goes straight into the jar.
    """
    if frame.is_empty():
        return Written()
    if frame.height > 1:
        frame = frame.sort("key_hash")
    if fresh:
        return _copy_fresh(tx, place, frame)
    source = _ARRAYS
    values = {**_values(place), "fields": list(fields), "document": document, "many": MANY}
    if frame.height < MANY:
        names = ("keys", "contents", "record_keys", "rows", "datas", "marks", "deleteds")
        values |= {n: frame[c].to_list() for n, c in zip(names, COLUMNS, strict=True)}
    else:
        tx.psycopg.execute(
            'CREATE TEMP TABLE landing (key_hash text, content_hash text, record_key text, "row" int, data text,'
            " marks text, deleted bool) ON COMMIT DROP"
        )
        copy_frame(tx, sql.SQL("landing"), frame.select(COLUMNS))
        source = "landing AS n"
    row = tx.execute(_UPSERT.replace("{source}", source), values).fetchone()
    assert row is not None
    return Written(row.keys or (), row.fresh, noted=True)


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


def _values(place: Place) -> dict[str, Any]:
    return dict(place.__dict__)
