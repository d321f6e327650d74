"""Deletes on full knowledge only: what a complete read of a stream did not meet, or what its source emptied.

Each batch of such a reading writes its keys down as it lands. When all of it has landed, the records of the jar that
are older than the reading and whose keys it did not meet become tombstones, and what quarantine holds from before it
tells of nothing any more. A batch that was set aside, or a record whose key could not be read, makes the knowledge
partial: then nothing is deleted. Records without a key are set aside at each reading; those of the newest one stay.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import structlog
from psycopg import sql

from hive.jars import index
from hive.jars.jar import STREAM, partition
from hive.ledger.db import Database, Transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from psycopg import ServerCursor

    from hive.jars.land import Place

MOST = 0.3
"""Share of a stream's records that may be deleted unasked, where the bee does not say otherwise."""
FEW = 10
"""So many may always be deleted: of few records one is a large share."""
LIMIT = 600.0
"""Seconds that comparing a very large stream may take."""
SOME = 20_000
"""Keys that are held at once: very many may be gone, and each takes some hundred bytes here."""
LITTLE = 1_000
"""Keys that are fetched at once and kept."""

Found = Callable[[], Iterator[list[Any]]]

log = structlog.get_logger()

_MISSED = sql.SQL(
    "WITH met AS MATERIALIZED (SELECT k AS key_hash FROM hive.seen s, unnest(s.keys) k"
    "  WHERE s.checkpoint = ANY (%(checkpoints)s) AND s.seq BETWEEN %(low)s AND %(high)s"
    "  UNION ALL SELECT key_hash FROM hive.quarantine WHERE key_hash IS NOT NULL"
    "  AND checkpoint = ANY (%(checkpoints)s) AND seq BETWEEN %(low)s AND %(high)s)"
    " SELECT encode(h.key_hash, 'hex'), h.epoch < %(epoch)s FROM {honey} h"
    " WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s"
    " AND h.stream = %(stream)s AND h.deleted_at IS NULL AND (h.epoch, h.seq) < (%(epoch)s, %(low)s)"
    " AND NOT EXISTS (SELECT FROM met WHERE met.key_hash = h.key_hash)"
)
# What this reading set aside is there, and stays as it was.
_RETIRE = sql.SQL(
    "UPDATE {honey} h SET deleted_at = clock_timestamp(), data = NULL, marks = NULL, epoch = %(epoch)s, seq = %(high)s,"
    ' "row" = 2147483647, written_seq = %(high)s, flight = %(flight)s'
    " FROM unnest(%(keys)s::text[]) AS k CROSS JOIN LATERAL ("
    "   SELECT ctid AS at FROM {honey} WHERE {here} AND key_hash = decode(k, 'hex') OFFSET 0) AS found"
    " WHERE h.ctid = found.at"
)
_EMPTY = sql.SQL(
    "UPDATE {honey} h SET deleted_at = clock_timestamp(), data = NULL, marks = NULL, epoch = %(epoch)s, seq = %(seq)s,"
    ' "row" = %(row)s, written_seq = %(seq)s, flight = %(flight)s'
    " WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s AND h.stream = %(stream)s"
    ' AND h.deleted_at IS NULL AND (h.epoch, h.seq, h."row") < (%(epoch)s, %(seq)s, %(row)s)'
    " RETURNING encode(h.key_hash, 'hex')"
)


def retire_missed(db: Database, flight: uuid.UUID, day: dt.date) -> int:
    """Delete from the jar what the flight's complete reads did not meet. Gives the number of records.

    Two may come here at once: the second finds nothing left to be compared.
    """
    with db.transaction(limit=LIMIT) as tx:
        return compare(tx, flight, day)


def compare(tx: Transaction, flight: uuid.UUID, day: dt.date, checkpoint: int | None = None) -> int:
    """The same in a transaction, of all streams of the flight's bee or of the one with this checkpoint."""
    reads = tx.run("lock_whole", flight=flight, most=MOST, checkpoint=checkpoint).fetchall()
    return sum(_compare(tx, read, flight, day) for read in reads)


def empty(tx: Transaction, place: Place, row: int, checkpoint: int, day: dt.date) -> int:
    """The source emptied the stream in this record of the batch: whatever of it is older goes. Gives how many."""
    where = {**place.__dict__, "row": row, "high": place.seq, "low": place.seq}
    tx.run("settle_older", **where)
    found = tx.psycopg.execute(_EMPTY.format(honey=partition("honey", place.part)), where)
    keys = [key for (key,) in found]
    if keys:
        index.forget(tx, where, keys)
        tx.run("deletes_receipt", day=day, checkpoint=checkpoint, seq=place.seq, flight=place.flight, deleted=len(keys))
    return len(keys)


def _compare(tx: Transaction, read: Any, flight: uuid.UUID, day: dt.date) -> int:
    where = {
        "checkpoint": read.checkpoint, "checkpoints": read.checkpoints, "low": read.whole_from,
        "high": read.whole_to, "part": read.part, "jar": read.jar, "bee": read.bee, "stream": read.stream,
        "epoch": read.epoch, "flight": flight,
    }  # fmt: skip
    partial = tx.run("is_partial", **where).fetchone()
    if partial is None or partial.partial:
        log.info("deletes.unknown", bee=read.bee_name, stream=read.stream_name)
        if partial is not None and not partial.lost:
            tx.run("settle_keyless", **where)
        tx.run("end_whole", **where, held=0)
        return 0
    with looked_up(tx, _MISSED.format(honey=partition("honey", read.part)), where) as found:
        missed, older = 0, 0
        for rows in found():
            missed, older = missed + len(rows), older + sum(old for _, old in rows)
        if _are_too_many(tx, where, read, missed, older):
            log.warning("deletes.held", bee=read.bee_name, stream=read.stream_name, records=missed)
            tx.run("end_whole", **where, held=missed)
            return 0
        retire(tx, where, ([key for key, _ in rows] for rows in found()), day)
    tx.run("settle_older", **where)
    tx.run("forget_sections", **where)
    tx.run("end_whole", **where, held=0)
    return missed


@contextmanager
def looked_up(
    tx: Transaction, query: sql.Composed, where: Mapping[str, Any], *, most: int | None = None
) -> Iterator[Found]:
    """What a query over many keys finds, as often as it is asked for, from the first row on and some at a time.

    Held by the server, which takes some round trips and a new plan; here where `most`, all that it can be, is little.
    """
    if most is not None and most <= LITTLE:
        rows = tx.psycopg.execute(query, where).fetchall()
        yield lambda: iter([rows] if rows else ())
        return
    with tx.psycopg.cursor("found", scrollable=True) as found:
        tx.psycopg.execute("SET LOCAL enable_nestloop = off")  # the planner takes lists of keys for short ones
        found.execute(query, where)
        tx.psycopg.execute("RESET enable_nestloop")
        yield lambda: _from_the_first(found)


def _from_the_first(found: ServerCursor[Any]) -> Iterator[list[Any]]:
    found.scroll(0, mode="absolute")
    while rows := found.fetchmany(SOME):
        yield rows


def retire(tx: Transaction, where: dict[str, Any], keys: Iterable[Sequence[str]], day: dt.date) -> int:
    """Make tombstones of these keys (hex, some at a time), with a receipt. Gives how many.

    `where`: whose, and `high`, the seq that they get.
    """
    query = _RETIRE.format(honey=partition("honey", where["part"]), here=STREAM)
    count, named = 0, list[str]()
    for part in keys:
        if part:
            tx.psycopg.execute(query, {**where, "keys": part})
            named = list(part) if not count else []
            count += len(part)
    if count:
        index.forget(tx, where, named or cast("Collection[str]", range(count)))  # of very many the number is enough
        tx.run("deletes_receipt", **where, day=day, seq=where["high"], deleted=count)
    return count


def _are_too_many(tx: Transaction, where: dict[str, Any], read: Any, missed: int, older: int) -> bool:
    """Records of an old epoch go where the reading met about as many: their key or their source is another one now.

    So do all of a stream in which a changed record is another record, where the reading met any. With `most` 1 a person
    said that whatever is gone is meant to be.
    """
    if missed <= FEW or read.most >= 1:
        return False
    if not read.replaces and missed - older > max(FEW, read.most * living_of(tx, where)):
        return True
    row = tx.run("count_met", **where).fetchone()
    met = 0 if row is None else row.met
    return bool(met == 0 if read.replaces else older > FEW and met < (1 - read.most) * older)


def living_of(tx: Transaction, where: dict[str, Any]) -> int:
    """Records of a stream that are no tombstones."""
    row = tx.psycopg.execute(
        sql.SQL(
            "SELECT count(*) FROM {honey} h WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s"
            " AND h.stream = %(stream)s AND h.deleted_at IS NULL"
        ).format(honey=partition("honey", where["part"])),
        where,
    ).fetchone()
    assert row is not None
    return int(row[0])
