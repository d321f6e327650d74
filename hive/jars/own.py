"""A large jar moves into tables of its own, which slow no other jar down.

Ordinary jars share partitions of `honey` and `chunk`. One that has grown (`HIVE_OWN_TABLE` records) is copied into
tables of its own while nothing flies into it, piece by piece. One short step then gives the jar its new number, if
nothing has landed since the copy began; else the copy is thrown away, and another look tries again. What stays behind
is invisible from then on, since every reader asks for the jar's own `part`; it goes piece by piece, too. Whoever dies
in the middle leaves tables that belong to no jar, or rows that no reader sees: the next look takes both away.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import namedtuple_row

from hive.errors import HiveError, trail
from hive.jars import views
from hive.jars.index import catch_up
from hive.jars.jar import TABLES, attach_tables, drop_tables, make_tables, partition
from hive.jars.listing import find_jar
from hive.ledger.db import UNREACHABLE, Database, Transaction
from hive.ledger.tables import SHARED_PARTS

_LOOK, _FIRST = 3600.0, 60.0
"""Seconds between two looks for large jars, and before the first."""
_LIMIT = 600.0
"""Seconds after which the connection of one piece counts as dead."""
_PIECE = 20_000
"""Records that are copied in one step, about."""
_ASKED = 32
"""Pieces between two questions whether anything landed meanwhile."""
_PATIENCE = "2s"
"""How long the last step waits for its locks: all flights begin and end behind it."""
_LOCK = 7_247_000_000_000
"""Advisory lock of movers: one at a time."""

log = structlog.get_logger()

_LARGE = """
SELECT j.id FROM hive.jar j JOIN (
    SELECT jar, count(*) AS records FROM hive.honey WHERE part = %(part)s GROUP BY jar HAVING count(*) >= %(records)s
) h ON h.jar = j.id WHERE j.kind = 'continuous' AND j.part = %(part)s ORDER BY h.records DESC
"""
_ESTIMATE = "SELECT greatest(reltuples, relpages) FROM pg_class WHERE oid = to_regclass(%s)"
_QUIET = """
SELECT j.part, j.updated_at,
       NOT EXISTS (SELECT FROM hive.flight f WHERE f.jar = j.id AND f.state IN ('queued', 'running'))
       AND NOT EXISTS (SELECT FROM hive.flight f
                        WHERE f.jar = j.id AND f.day >= %(since)s::date - 1 AND f.created_at >= %(since)s)
       AND NOT EXISTS (SELECT FROM hive.unindexed u WHERE u.jar = j.id) AS quiet
  FROM hive.jar j WHERE j.id = %(jar)s
"""
_STREAMS = """
SELECT s.bee, s.id, (SELECT count(*) FROM hive.honey h
                      WHERE h.part = %s AND h.jar = s.jar AND h.bee = s.bee AND h.stream = s.id)
  FROM hive.stream s WHERE s.jar = %s ORDER BY s.id
"""
_ORPHANS = """
SELECT substring(c.relname FROM '_([0-9]+)$')::int FROM pg_class c
 WHERE c.relnamespace = 'hive'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^(honey|chunk)_[0-9]+$'
   AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
   AND NOT EXISTS (SELECT FROM hive.jar j WHERE j.part = substring(c.relname FROM '_([0-9]+)$')::int)
"""
_LEFT_BEHIND = """
SELECT j.id, s.part FROM hive.jar j CROSS JOIN generate_series(0, %s - 1) AS s(part)
 WHERE j.kind = 'continuous' AND j.part >= %s
   AND (EXISTS (SELECT FROM hive.honey h WHERE h.part = s.part AND h.jar = j.id)
        OR EXISTS (SELECT FROM hive.chunk c WHERE c.part = s.part AND c.jar = j.id))
"""


@dataclass(frozen=True)
class _Jar:
    id: int
    part: int
    updated_at: dt.datetime
    since: dt.datetime


class Busy(HiveError):
    """Something flies into the jar, or landed in it meanwhile."""

    code = "jar_busy"


def move(db: Database, jar: int, *, stop: Callable[[], bool] = lambda: False) -> bool:
    """Give a jar tables of its own. False: it has them already. Raises Busy, LookupError where there is no such jar."""
    begun = _begin(db, jar)
    if begun is None:
        return False
    with db.transaction() as tx:
        part: int = _one(tx, "SELECT nextval('hive.part')::int AS part", {}).part
        make_tables(tx, part)
    try:
        _copy_all(db, begun, part, stop)
        _switch(db, begun, part)
    except BaseException as error:
        if not (_throw_away(db, part) and isinstance(error, UNREACHABLE)):
            raise
    return True


def _throw_away(db: Database, part: int) -> bool:
    """Drop the tables of a copy, unless they are a jar's by now: a commit may be done whose answer was lost.

    Gives whether they are. Raises what the database raises: `clear` finds them, then.
    """
    with db.transaction() as tx:
        tx.psycopg.execute("LOCK TABLE hive.jar IN EXCLUSIVE MODE")  # behind a switch that is not decided yet
        if tx.psycopg.execute("SELECT FROM hive.jar WHERE part = %s", [part]).fetchone() is not None:
            return True
        drop_tables(tx, part)
    return False


def _begin(db: Database, jar: int) -> _Jar | None:
    with db.transaction() as tx:
        since = _one(tx, "SELECT clock_timestamp() AS now", {}).now
        row = _one(tx, _QUIET, {"jar": jar, "since": since})
    if row is None:
        raise LookupError("there is no such jar")
    if row.part >= SHARED_PARTS:
        return None
    if not row.quiet:
        raise _busy()
    return _Jar(jar, row.part, row.updated_at, since)


def _busy() -> Busy:
    return Busy("something flies into this jar, or landed in it just now", advice="try again once its flights ended")


def _is_quiet(tx: Transaction, begun: _Jar) -> bool:
    row = _one(tx, _QUIET, {"jar": begun.id, "since": begun.since})
    return row is not None and bool(row.quiet) and (row.part, row.updated_at) == (begun.part, begun.updated_at)


def _switch(db: Database, begun: _Jar, part: int) -> None:
    """The jar's new number, if the copy is still what the jar holds. Raises Busy."""
    try:
        with db.transaction(limit=_LIMIT) as tx:
            tx.psycopg.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_PATIENCE)))
            tx.psycopg.execute("LOCK TABLE hive.flight IN SHARE ROW EXCLUSIVE MODE")  # no flight begins or ends
            tx.psycopg.execute("SELECT FROM hive.jar WHERE id = %s FOR UPDATE", [begun.id])  # nor is a record retried
            if not _is_quiet(tx, begun):
                raise _busy()
            attach_tables(tx, part)
            tx.psycopg.execute("UPDATE hive.jar SET part = %s WHERE id = %s", [part, begun.id])
            views.relocate(tx, begun.id, part)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise _busy() from error


def _pieces(db: Database, jar: int, part: int) -> Iterator[tuple[str, int, int, bytes, bytes | None]]:
    """(table, bee, stream, first key, key behind the last) of what a jar holds in a part, in its key's order."""
    with db.transaction(limit=_LIMIT) as tx:
        streams = tx.psycopg.execute(_STREAMS, [part, jar]).fetchall()
    for bee, stream, records in streams:
        step = max(1, 256 * _PIECE // max(records, 1))
        for table in TABLES:
            for first in range(0, 256, step):  # keys are hashes: their first byte is any, as often as any other
                behind = bytes([first + step]) if first + step < 256 else None
                yield table, bee, stream, bytes([first]) if first else b"", behind


def _copy_all(db: Database, begun: _Jar, part: int, stop: Callable[[], bool]) -> None:
    """Raises Busy as soon as the copy is known to be in vain."""
    for number, (table, *piece) in enumerate(_pieces(db, begun.id, begun.part)):
        with db.transaction(limit=_LIMIT) as tx:
            if stop() or (number % _ASKED == 0 and not _is_quiet(tx, begun)):
                raise _busy()
            _copy(tx, table, begun, part, piece)


def _range(low: bytes, high: bytes | None) -> sql.Composable:
    above = sql.SQL("key_hash >= {}").format(sql.Literal(low))
    return above if high is None else above + sql.SQL(" AND key_hash < {}").format(sql.Literal(high))


def _copy(tx: Transaction, table: str, begun: _Jar, part: int, piece: Sequence[Any]) -> None:
    bee, stream, low, high = piece
    columns = [
        row[0]
        for row in tx.psycopg.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
            " AND attname <> 'part' AND attgenerated = '' ORDER BY attnum",
            [f"hive.{table}"],
        )
    ]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    tx.psycopg.execute(
        sql.SQL(
            "INSERT INTO {new} (part, {names}) SELECT {part}, {names} FROM {old}"
            " WHERE part = {before} AND jar = {jar} AND bee = {bee} AND stream = {stream} AND {range} ORDER BY key_hash"
        ).format(
            new=partition(table, part), old=partition(table, begun.part), names=names, part=sql.Literal(part),
            before=sql.Literal(begun.part), jar=sql.Literal(begun.id), bee=sql.Literal(bee),
            stream=sql.Literal(stream), range=_range(low, high),
        )
    )  # fmt: skip


def clear(db: Database, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Take away what moves left behind: tables of no jar, rows that no reader sees. Gives how many rows."""
    with db.transaction() as tx:
        orphans = tx.psycopg.execute(_ORPHANS).fetchall()
        behind = tx.psycopg.execute(_LEFT_BEHIND, [SHARED_PARTS, SHARED_PARTS]).fetchall()
    for (part,) in orphans:
        _throw_away(db, part)
    gone = 0
    for jar, part in behind:
        for table, bee, stream, low, high in _pieces(db, jar, part):
            if stop():
                return gone
            statement = sql.SQL(
                "DELETE FROM {} WHERE part = {} AND jar = {} AND bee = {} AND stream = {} AND {}"
            ).format(partition(table, part), *map(sql.Literal, (part, jar, bee, stream)), _range(low, high))
            with db.transaction(limit=_LIMIT) as tx:
                gone += tx.psycopg.execute(statement).rowcount
    return gone


def large(db: Database, records: int) -> list[int]:
    """Jars that share a partition and hold at least so many records, the largest of a partition first."""
    found: list[int] = []
    for part in range(SHARED_PARTS):
        with db.transaction(limit=_LIMIT) as tx:
            row = tx.psycopg.execute(_ESTIMATE, [f"hive.honey_{part}"]).fetchone()
            if row is not None and row[0] >= records / 100:  # pages count where nobody has analysed it yet
                found += [jar for (jar,) in tx.psycopg.execute(_LARGE, {"part": part, "records": records})]
    return found


def look(db: Database, records: int, *, stop: Callable[[], bool] = lambda: False) -> int:
    """One look: what was left behind goes, large jars move. Gives how many moved; 0 also while somebody else looks."""
    with alone(db) as mine:
        if not mine:
            return 0
        moved = 0
        jars = large(db, records) if records else []
        if jars:
            catch_up(db)  # words that wait keep their jar where it is
        for jar in jars:
            try:
                moved += move(db, jar, stop=stop)
                log.info("jar.moved", jar=jar)
            except Busy:
                log.info("jar.busy", jar=jar)
        clear(db, stop=stop)
    return moved


def move_now(db: Database, name: str) -> bool:
    """`move`, and what stays behind goes. Raises Busy, also while somebody else moves jars, and LookupError."""
    with db.transaction() as tx:
        jar = find_jar(tx, name)
    catch_up(db, name)
    with alone(db) as mine:
        if not mine:
            raise Busy("another jar moves just now", advice="try again in a minute")
        moved = move(db, jar.id)
        clear(db)
    return moved


@contextmanager
def alone(db: Database) -> Iterator[bool]:
    """Whether nobody else moves jars; and nobody does while inside, if so."""
    with db.transaction() as held:
        held.psycopg.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield bool(_one(held, "SELECT pg_try_advisory_xact_lock(%(lock)s) AS mine", {"lock": _LOCK}).mine)


def _one(tx: Transaction, query: str, values: dict[str, Any]) -> Any:
    return tx.psycopg.cursor(row_factory=namedtuple_row).execute(query.encode(), values).fetchone()


class Mover:
    """Looks for large jars now and then, in a thread of its own. `records`: what makes a jar large; 0: nothing does."""

    def __init__(self, db: Database, records: int) -> None:
        self._db = db
        self._records = records
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="own-tables", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No further piece; the one that is copied may end by itself."""
        self._stop.set()

    def _run(self) -> None:
        rest = _FIRST
        while not self._stop.wait(rest):
            rest = _LOOK
            try:
                look(self._db, self._records, stop=self._stop.is_set)
            except UNREACHABLE:
                log.warning("database.unreachable", where="own-tables")
            except Exception as error:  # noqa: BLE001 - the next look may do better
                log.error("own_tables.failed", kind=type(error).__name__, trail=trail(error))
