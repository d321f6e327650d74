"""Deletes by section: what a file no longer holds, and all of a file that is gone, leaves the jar.

A connector may say which section of its stream, such as a file, its rows come from, and where the reading of a section
begins and ends. Each landing writes down the keys that a section gave; they stay until the section is read again. When
all of a reading has landed, the records that older readings of the section gave, and neither this one nor any other
section holds, become tombstones. A section that was not read to its end deletes nothing, nor does one of which a record
could not be told by its key.

Names of sections stand in the ledger as keyed hashes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import structlog
from psycopg import sql

from hive.flight.missed import FEW as AT_LEAST
from hive.flight.missed import LIMIT, MOST, living_of, retire
from hive.jars.jar import partition
from nectar.batch import FEW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hive.flight.process import Work
    from hive.flight.seal import Meta
    from hive.ledger.db import Database, Transaction
    from nectar.batch import Section

log = structlog.get_logger()

_MISSED = sql.SQL(
    "WITH told AS MATERIALIZED ("
    "   SELECT * FROM unnest(%(sections)s::bytea[], %(from_seqs)s::bigint[]) AS n(section, from_seq))"
    " SELECT encode(k, 'hex') FROM hive.section_keys s {join} JOIN told t USING (section), unnest(s.keys) k"
    "  WHERE s.checkpoint = %(checkpoint)s AND EXISTS (SELECT FROM hive.section_keys o JOIN told USING (section)"
    "     WHERE o.checkpoint = %(checkpoint)s AND (o.epoch, o.seq) < (%(epoch)s, told.from_seq))"
    "  GROUP BY k HAVING NOT bool_or(t.section IS NULL OR (s.epoch, s.seq) >= (%(epoch)s, t.from_seq))"
)
_LIVING = sql.SQL(
    "SELECT encode(h.key_hash, 'hex') FROM unnest(%(keys)s::text[]) n JOIN {honey} h ON h.key_hash = decode(n, 'hex')"
    " WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s AND h.stream = %(stream)s"
    " AND h.deleted_at IS NULL"
)
# Keys are grouped and never joined with keys: the planner cannot know how many an array holds, and a wrong guess would
# make the work grow with their square. For the same reason many of them are looked up by hash.
_MANY = 1_000


def hashed(names: Sequence[str], secret: bytes) -> list[str]:
    """What the ledger calls these sections."""
    from nectar.identity import key_hashes  # here, so that a pool forks without polars

    return key_hashes(pa.table({"section": pa.array(names, pa.string())}), ("section",), secret).to_list()


def tell(
    tx: Transaction, sections: Sequence[Section], secret: bytes, key: Sequence[str], *, rows: bool, **where: Any
) -> None:
    """With the seal of a batch: which sections begin with it and which end. `where`: checkpoint, epoch, seq.

    Without rows nothing was sealed: what begins has its first rows in the next batch. Records whose `key` is their file
    and line are of one section only.
    """
    begun = [section.name for section in sections if section.begins]
    ended = [section.name for section in sections if section.ends]
    if begun:
        from bees.core.tabular import PLACE

        first, own = where["seq"] + (not rows), tuple(key) == PLACE
        tx.run("begin_sections", **where, first=first, own=own, sections=hashed(begun, secret))
    if ended:
        tx.run("end_sections", **where, sections=hashed(ended, secret))
        from hive.flight.settled import settle_whole  # here, so that a pool forks without polars

        settle_whole(tx, ended, secret, where)


def cut(meta: Meta, first: int, rows: int) -> tuple[tuple[str, int, int], ...]:
    """The sections of some of a batch's rows."""
    cuts = ((name, max(start, first), min(stop, first + rows)) for name, start, stop in meta.sections)
    return tuple(part for part in cuts if part[1] < part[2])


def hold(tx: Transaction, work: Work) -> None:
    """With the landing of a batch: the keys that each section gave."""
    spans = cut(work.meta, work.first, work.table.num_rows)
    if not spans:
        return
    names = list(dict.fromkeys(name for name, _, _ in spans))
    numbers = {name: number for number, name in enumerate(names, 1)}
    unknown = {bad.row for bad in work.bad if bad.key_hash is None}
    partial = {name for name, start, stop in spans if any(start <= row < stop for row in unknown)}
    secret = work.rt.keyring(work.task.tenant).key("record")[1]
    import polars as pl

    owner = pl.concat([pl.repeat(numbers[n], stop - start, dtype=pl.Int32, eager=True) for n, start, stop in spans])
    at = pl.concat([pl.int_range(start, stop, dtype=pl.Int32, eager=True) for _, start, stop in spans])
    ids = work.ids if work.ids.width else pl.DataFrame(schema={"at": pl.Int32, "key_hash": pl.String})
    keys = ids.select(pl.col("at") + work.first, "key_hash").join(pl.DataFrame({"at": at, "owner": owner}), on="at")
    tx.run(
        "hold_sections", checkpoint=work.checkpoint, epoch=work.place.epoch, seq=work.place.seq, row_from=work.first,
        keys=",".join(keys["key_hash"]), owners=",".join(keys["owner"].cast(pl.String)),
        sections=hashed(names, secret), partial=[name in partial for name in names],
    )  # fmt: skip


def retire_left(db: Database, flight: uuid.UUID, day: dt.date) -> int:
    """Delete from the jar what sections held that were read to their end since. Gives the number of records.

    Only when everything that was sealed has landed, and while nothing more is sealed: what comes later finds the
    tombstones. What waits for that is looked at by the next flight.
    """
    deleted = 0
    with db.transaction(limit=LIMIT) as tx:
        for read in tx.run("lock_sections", flight=flight, most=MOST).fetchall():
            deleted += _compare(tx, read, flight, day)
    return deleted


def _compare(tx: Transaction, read: Any, flight: uuid.UUID, day: dt.date) -> int:
    where = {
        "checkpoint": read.checkpoint, "high": read.sealed_seq, "part": read.part, "jar": read.jar, "bee": read.bee,
        "stream": read.stream, "epoch": read.epoch, "flight": flight,
    }  # fmt: skip
    told = tx.run("told_sections", **where).fetchall()
    where |= {"sections": [row.section for row in told], "from_seqs": [row.from_seq for row in told]}
    keys: list[str] = []
    if told:
        if len(told) > FEW:
            tx.psycopg.execute("SET LOCAL work_mem = '64MB'")
        query = _MISSED.format(join=sql.SQL("" if read.own else "LEFT"))
        keys = [key for (key,) in tx.psycopg.execute(query, where)]
    if keys:
        if len(keys) > _MANY:
            tx.psycopg.execute("SET LOCAL enable_nestloop = off")
        living = tx.psycopg.execute(_LIVING.format(honey=partition("honey", read.part)), {**where, "keys": keys})
        aside = tx.run("aside", **where, low=min(row.from_seq for row in told)).fetchall()
        keys = list({key for (key,) in living} - {row.key for row in aside})
    if len(keys) > AT_LEAST and len(keys) > read.most * living_of(tx, where):
        log.warning("deletes.held", bee=read.bee_name, stream=read.stream_name, records=len(keys))
        tx.run("hold_left", checkpoint=read.checkpoint, held=len(keys))
        return 0
    if keys:
        retire(tx, where, keys, day)
        tx.run("settle_gone", **where, keys=keys)
    tx.run("end_told", **where)
    tx.run("hold_left", checkpoint=read.checkpoint, held=0)
    return len(keys)
