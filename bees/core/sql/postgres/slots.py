"""Replication slots and publications: what must stand before changes can be followed, how far behind a slot is.

A stream has a slot of its own, because it has a checkpoint of its own: a slot forgets what all its readers have, and
streams are read by different workers. All slots of a bee begin with one name and read one publication. The bee makes
a slot only where `create_slot` allows it, and drops one only when it is told to (`drop_slot`): while a slot stands
unread the server keeps its log, up to `max_slot_wal_keep_size`.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from bees.core.errors import GiveUp
from bees.core.sql.postgres.feed import lsn_number, lsn_text, no_slot
from bees.core.sql.postgres.verdict import judged

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg

    from bees.core.sql.postgres.catalog import Relation

log = structlog.get_logger()
_NAME = 63
_SLOT = """
SELECT plugin::text, database::text, active, confirmed_flush_lsn::text, wal_status::text
  FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""
_PUBLISHED = """
SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, p.pubviaroot, c.relkind = 'p',
       EXISTS (SELECT FROM pg_catalog.pg_publication_tables t
                WHERE t.pubname = p.pubname AND t.schemaname = n.nspname AND t.tablename = c.relname)
       OR (c.relkind = 'p' AND EXISTS (SELECT FROM pg_catalog.pg_publication_rel r
                                        WHERE r.prpubid = p.oid AND r.prrelid = c.oid)),
       c.relreplident::text,
       (SELECT array_agg(a.attname::text) FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
        WHERE i.indrelid = c.oid
          AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE FALSE END)
  FROM pg_catalog.pg_publication p, pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.pubname = %s AND c.oid = %s::pg_catalog.regclass
"""
_FILTERED = """
SELECT 1 FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
 WHERE p.pubname = %s AND r.prrelid = %s::pg_catalog.regclass AND r.prqual IS NOT NULL
"""
_FILTERS = 150_000
"""The first server that leaves rows out of publications, and publishes schemas."""
_MARK = """
SELECT pg_catalog.concat_ws('.', p.oid, p.xmin,
       (SELECT r.oid FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
       /*schemas*/)
  FROM pg_catalog.pg_publication p, pg_catalog.pg_class c
 WHERE p.pubname = %(publication)s AND c.oid = %(table)s::bigint::pg_catalog.oid
"""
_BY_SCHEMA = """,
       (SELECT s.oid FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace)
"""
_UNIQUE = """
SELECT i.indimmediate, array_agg(a.attname::text)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
 WHERE i.indrelid = %s::pg_catalog.regclass AND i.indisunique AND i.indpred IS NULL
 GROUP BY i.indexrelid, i.indimmediate
"""
_GENERATED = """
SELECT a.attname::text FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = %(table)s::pg_catalog.regclass AND a.attname = ANY (%(key)s) AND a.attgenerated <> ''
   /*published*/
"""
_NOT_PUBLISHED = """AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_publication_tables t JOIN pg_catalog.pg_class c ON c.relname = t.tablename
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname
        WHERE t.pubname = %(publication)s AND c.oid = a.attrelid AND a.attname = ANY (t.attnames))
"""
_HIDDEN = """
SELECT a.attname::text FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = %s::pg_catalog.regclass AND a.attname = ANY (%s)
   AND NOT pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')
 ORDER BY a.attnum LIMIT 1
"""
_GENERATIONS = 180_000
"""The first server that can publish generated columns."""
_WRITERS = """
SELECT DISTINCT l.virtualtransaction
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
 WHERE d.datname = pg_catalog.current_database() AND l.locktype = 'relation' AND l.granted
   AND l.mode IN ('RowExclusiveLock', 'AccessExclusiveLock')
   AND l.relation IN (
       SELECT %(table)s::bigint::pg_catalog.oid UNION ALL
       SELECT p.relid FROM pg_catalog.pg_partition_tree(%(table)s::bigint::pg_catalog.oid::pg_catalog.regclass) AS p)
"""
_SERVER = """
SELECT pg_catalog.current_setting('wal_level'), pg_catalog.current_setting('max_slot_wal_keep_size'),
       (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
"""
_NOW = """
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_flush_lsn() END::text
"""
_LAG = """
SELECT pg_catalog.pg_wal_lsn_diff(n.lsn, s.confirmed_flush_lsn)::bigint,
       pg_catalog.pg_wal_lsn_diff(n.lsn, s.restart_lsn)::bigint,
       (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint, s.wal_status::text, s.active
  FROM pg_catalog.pg_replication_slots s,
       (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                    ELSE pg_catalog.pg_current_wal_flush_lsn() END) AS n (lsn)
 WHERE s.slot_name = %s
"""


@dataclass(frozen=True)
class Lag:
    """How far a stream is behind its source.

    bytes     of log that the slot's reader has not confirmed
    retained  bytes of log that the server keeps for the slot
    seconds   between the last change that was read and now; 0 if nothing is unread, None if nothing was read yet
    status    reserved, extended, unreserved (about to be lost) or lost, as pg_replication_slots says
    """

    bytes: int
    retained: int
    seconds: float | None
    status: str
    active: bool


def slot_name(prefix: str, stream: str) -> str:
    """The slot of a stream: letters, digits and underscores, at most 63."""
    plain = re.sub(r"[^a-z0-9_]", "_", stream.lower())
    name = f"{prefix}_{plain}"
    if plain == stream and len(name) <= _NAME:
        return name
    digest = hashlib.sha256(stream.encode()).hexdigest()[:8]
    return f"{name[: _NAME - 9]}_{digest}"


def check_published(
    connection: psycopg.Connection, publication: str, relation: Relation, key: tuple[str, ...], where: str
) -> None:
    """Raises GiveUp unless the server can tell each change of the table with its key."""
    _refuse_server(connection, where)
    name = relation.origin.as_string(connection)
    found = connection.execute(_PUBLISHED.encode(), (publication, name)).fetchone()
    if found is None:
        raise GiveUp(
            f"no publication is named {publication!r}",
            code="no_publication",
            where="cdc.publication",
            advice=f"as owner of the table: CREATE PUBLICATION {publication} FOR TABLE {name}",
        )
    whole, by_root, parted, has_table, identity, columns = found
    if not has_table or (parted and not by_root):
        with_root = " and SET (publish_via_partition_root = true)" if parted else ""
        raise GiveUp(
            f"the publication {publication!r} does not tell of the table {name}",
            code="no_publication",
            where=where,
            advice=f"ALTER PUBLICATION {publication} ADD TABLE {name}{with_root}",
        )
    if connection.info.server_version >= _FILTERS and connection.execute(_FILTERED, (publication, name)).fetchone():
        raise GiveUp(
            f"the publication {publication!r} tells of some rows of the table {name} only",
            code="no_publication",
            where=where,
            advice=f"ALTER PUBLICATION {publication} DROP TABLE {name}, and ADD TABLE it without WHERE",
        )
    if not whole:
        raise GiveUp(
            f"the publication {publication!r} leaves out inserts, updates, deletes or truncates",
            code="no_publication",
            where="cdc.publication",
            advice=f"ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate')",
        )
    if identity != "f" and not set(key) <= set(columns or ()):
        raise GiveUp(
            f"deletes in {name} do not tell the key {', '.join(key)}",
            code="no_replica_identity",
            where=where,
            advice=f"ALTER TABLE {name} REPLICA IDENTITY FULL, or USING INDEX of that key",
        )
    _refuse_generated(connection, publication, name, key, where)
    _refuse_swaps(connection, name, key, where)


def check_readable(connection: psycopg.Connection, relation: Relation, columns: Collection[str], where: str) -> None:
    """Raises GiveUp for a column that the role may not read (any more): the log would tell it all the same."""
    name = relation.origin.as_string(connection)
    found = connection.execute(_HIDDEN.encode(), (name, list(columns))).fetchone()
    if found is not None:
        raise GiveUp(
            f"the role may not read the column {found[0]!r} of {name}",
            code="no_permission",
            where=where,
            advice="GRANT SELECT on the table to `user`, or name in `columns` what is to be read",
        )


def _refuse_server(connection: psycopg.Connection, where: str) -> None:
    """Raises GiveUp where the server or the role tells no changes at all."""
    row = connection.execute(_SERVER.encode()).fetchone()
    assert row is not None
    if row[0] != "logical":
        raise GiveUp(
            f"the server's wal_level is {row[0]!r}",
            code="no_changes",
            where=where,
            advice="set wal_level = logical at the server and restart it, or read without `cdc`",
        )
    if not row[2]:
        raise GiveUp(
            "the role may not read replication slots",
            code="no_permission",
            where="user",
            advice="ALTER ROLE ... REPLICATION for the `user` of this bee",
        )


def _refuse_generated(
    connection: psycopg.Connection, publication: str, name: str, key: tuple[str, ...], where: str
) -> None:
    """Raises GiveUp where the server computes a column of the key and leaves it out of what it sends."""
    publishes = connection.info.server_version >= _GENERATIONS
    asked = _GENERATED.replace("/*published*/", _NOT_PUBLISHED if publishes else "").encode()
    found = connection.execute(asked, {"table": name, "key": list(key), "publication": publication}).fetchone()
    if found is not None:
        raise GiveUp(
            f"the column {found[0]!r} of the key is a generated one, and changes of {name} come without it",
            code="generated_key",
            where=where,
            advice="choose a `key` of other columns that are unique, or give the stream a `cursor`",
        )


def _refuse_swaps(connection: psycopg.Connection, name: str, key: tuple[str, ...], where: str) -> None:
    """Raises GiveUp where two rows may change keys with each other.

    The log tells one after the other, and the second one's old key is the first one's new key by then.
    """
    proofs = [bool(at_once) for at_once, names in connection.execute(_UNIQUE, (name,)) if set(names) == set(key)]
    if proofs and not any(proofs):
        raise GiveUp(
            f"two rows of {name} may have one key within a transaction, because its constraint is deferrable",
            code="deferrable_key",
            where=where,
            advice="make the constraint anew as NOT DEFERRABLE, or give the stream a `cursor`",
        )


def publication_mark(connection: psycopg.Connection, publication: str, table: int) -> str:
    """What is another one once the publication was changed, or the table was left out of it for a while.

    What happened meanwhile was sent to nobody, and no later change says so.
    """
    by_schema = connection.info.server_version >= _FILTERS
    asked = (_MARK.replace("/*schemas*/", _BY_SCHEMA) if by_schema else _MARK).encode()
    row = connection.execute(asked, {"publication": publication, "table": table}).fetchone()
    return "" if row is None else str(row[0])


def position(connection: psycopg.Connection) -> int:
    """Up to where the server's log is written."""
    row = connection.execute(_NOW.encode()).fetchone()
    assert row is not None
    return lsn_number(row[0])


def seen_up_to(connection: psycopg.Connection, table: int, patience: float) -> int | None:
    """A place in the log before which each change of the table can be seen; None: somebody writes for too long.

    A commit stands in the log a moment before it is seen, and its transaction keeps its locks until it is.
    """
    lsn = position(connection)
    writers, until = _writers(connection, table), time.monotonic() + patience
    while writers:
        if time.monotonic() > until:
            return None
        time.sleep(0.05)
        writers &= _writers(connection, table)
    return lsn


def _writers(connection: psycopg.Connection, table: int) -> set[str]:
    return {str(name) for (name,) in connection.execute(_WRITERS.encode(), {"table": table})}


def confirmed(connection: psycopg.Connection, slot: str, where: str) -> int | None:
    """Up to where the slot was read, or None if there is no such slot. Raises GiveUp for one that is of no use."""
    row = connection.execute(_SLOT.encode(), (slot,)).fetchone()
    if row is None:
        return None
    plugin, database, _, lsn, status = row
    if plugin != "pgoutput" or database != connection.info.dbname:
        raise GiveUp(
            f"the slot {slot!r} is of another plugin or database",
            code="wrong_plugin",
            where=where,
            advice="choose another `cdc.slot`, or drop the slot",
        )
    if status == "lost" or lsn is None:
        raise no_slot(where)
    return lsn_number(lsn)


def make_slot(connection: psycopg.Connection, slot: str, where: str, *, allowed: bool) -> int:
    """Make the slot; gives the place from which on it tells every change. Raises GiveUp if it is not allowed."""
    if not allowed:
        raise GiveUp(
            f"there is no replication slot {slot!r}",
            code="no_slot",
            where=where,
            advice="allow the bee to make it with `cdc.create_slot: true`, or make it: "
            f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')",
        )
    with judged(where):
        row = connection.execute(
            "SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,)
        ).fetchone()
        bound = connection.execute(_SERVER.encode()).fetchone()
    assert row is not None
    assert bound is not None
    if bound[1] == "-1":
        log.warning(
            "source_keeps_its_log_without_limit",
            slot=slot,
            advice="set max_slot_wal_keep_size at the server: a bee that stands still must not fill its disk",
        )
    return lsn_number(row[0])


def drop_slot(connection: psycopg.Connection, slot: str) -> bool:
    """Drop the slot; False if there is none. Raises RetryLater while it is read."""
    done = connection.execute(
        "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots"
        " WHERE slot_name = %s",
        (slot,),
    )
    return done.rowcount > 0


def lag(connection: psycopg.Connection, slot: str, last_change: int | None) -> Lag | None:
    """How far behind the slot is; `last_change` in microseconds since 1970. None if there is no such slot."""
    row = connection.execute(_LAG.encode(), (slot,)).fetchone()
    if row is None:
        return None
    unread, retained, now, status, active = row
    late = None if last_change is None else max(0.0, (now - last_change) / 1e6)
    return Lag(max(0, unread or 0), max(0, retained or 0), 0.0 if unread == 0 else late, status, active)


def held_back(connection: psycopg.Connection, slot: str, stream: str, error: GiveUp) -> GiveUp:
    """The error of a stream that cannot be followed, with what its slot makes the server keep until it is.

    Nothing is let go before: whoever mends the stream finds all its changes. The slots of others go on.
    """
    found = lag(connection, slot, None)
    if found is None or found.status == "lost":
        return error
    log.warning("slot_holds_the_log", stream=stream, slot=slot, bytes=found.retained, because=error.code)
    kept = (
        f"until then the server keeps its log for the slot {slot!r}, {found.retained} bytes by now; "
        f"`hive replication drop` with the name of the bee and {stream!r} lets it go, and a full refresh reads all anew"
    )
    advice = f"{error.advice}; {kept}" if error.advice else kept
    return GiveUp(str(error.args[0]), code=error.code, where=error.where, advice=advice)


def tell_of_unread(connection: psycopg.Connection, prefix: str, read: Collection[str]) -> None:
    """Warn of slots with a bee's name for them that none of its streams reads, as of a table that was dropped."""
    for slot in slots_of(connection, prefix):
        found = None if slot in read else lag(connection, slot, None)
        if found is not None and not found.active:
            log.warning(
                "slot_without_stream",
                slot=slot,
                bytes=found.retained,
                status=found.status,
                advice="the server keeps its log for it; where no other bee reads it, `hive replication drop` it",
            )


def slots_of(connection: psycopg.Connection, prefix: str) -> list[str]:
    """Slots of this database that begin with a bee's name for them, also those of streams that it reads no more."""
    rows = connection.execute(
        "SELECT slot_name::text FROM pg_catalog.pg_replication_slots"
        " WHERE database = pg_catalog.current_database() AND pg_catalog.starts_with(slot_name::text, %s) ORDER BY 1",
        (f"{prefix}_",),
    )
    return [name for (name,) in rows]


def advance(connection: psycopg.Connection, slot: str, lsn: int) -> None:
    """Let the server forget what lies before `lsn`; nothing happens while a session reads the slot."""
    connection.execute(
        "SELECT pg_catalog.pg_replication_slot_advance(slot_name, %s::pg_catalog.pg_lsn)"
        "  FROM pg_catalog.pg_replication_slots"
        " WHERE slot_name = %s AND NOT active AND confirmed_flush_lsn < %s::pg_catalog.pg_lsn",
        (lsn_text(lsn), slot, lsn_text(lsn)),
    )
