"""Jars themselves: found, made, attached, listed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from psycopg import sql
from psycopg.types.json import Jsonb

from hive.ledger.db import Transaction
from hive.ledger.tables import SHARED_PARTS

TABLES = ("honey", "chunk")
"""What a jar's records and their words stand in, by `part`."""
STREAM = sql.SQL("part = %(part)s AND jar = %(jar)s AND bee = %(bee)s AND stream = %(stream)s")
"""The records of one stream, for who goes to them key by key.

Such statements write this and the key into `LATERAL (SELECT ... OFFSET 0)`, which leaves the server no other way than
the whole index, and change what they found by `ctid`. Of a stream that grew since the server last counted it expects
one record: left to itself, it reads all of the stream for each batch, or compares all keys with all.
"""


def jar_of(tx: Transaction, name: str, tenant: str) -> int:
    """The id of a continuous jar, made if it does not exist. It shares one of the common partitions."""
    row = tx.psycopg.execute("SELECT id FROM hive.jar WHERE name = %s", [name]).fetchone()
    if row is None:
        tx.psycopg.execute(
            "INSERT INTO hive.jar (name, tenant, kind, part) VALUES (%s, %s, 'continuous', abs(hashtext(%s)) %% %s)"
            " ON CONFLICT (name) DO NOTHING",
            [name, tenant, name, SHARED_PARTS],
        )
        row = tx.psycopg.execute("SELECT id FROM hive.jar WHERE name = %s", [name]).fetchone()
    assert row is not None
    found: int = row[0]
    return found


def jars_of(tx: Transaction, named: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The ids of many continuous jars of (name, tenant), by name; those that do not exist are made."""
    tenants = dict(named)
    find = "SELECT name, id FROM hive.jar WHERE name = ANY (%s)"
    found: dict[str, int] = dict(tx.psycopg.execute(find, [list(tenants)]).fetchall())
    missing = sorted(tenants.keys() - found.keys())
    if missing:
        tx.psycopg.execute(
            "INSERT INTO hive.jar (name, tenant, kind, part)"
            " SELECT n.name, n.tenant, 'continuous', abs(hashtext(n.name)) %% %s"
            " FROM unnest(%s::text[], %s::text[]) AS n(name, tenant) ON CONFLICT (name) DO NOTHING",
            [SHARED_PARTS, missing, [tenants[name] for name in missing]],
        )
        found |= dict(tx.psycopg.execute(find, [missing]).fetchall())
    return found


def new_snapshot_jar(
    tx: Transaction, bee: str, tenant: str, *, comb: str, scrubbed: bool, at: dt.datetime | None = None
) -> int:
    """A new jar with a table of its own, invisible until `show_snapshot`: readers see a snapshot whole or not at all.

    Named `{bee}_snapshot_YYYYMMDDTHHMMSSZ`; a second one within the same second gets a number. `at`: the instant in the
    name, now if it is not given. `comb`: what the bee was made of, or its own name.
    """
    metadata = Jsonb({"source_comb": comb, "scrubbing_applied": scrubbed})
    stamp = tx.psycopg.execute(
        "SELECT to_char(coalesce(%s::timestamptz, clock_timestamp()) AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISS\"Z\"'),"
        " nextval('hive.part')::int",
        [at],
    ).fetchone()
    assert stamp is not None
    base, part = f"{bee}_snapshot_{stamp[0]}", stamp[1]
    for n in range(1, 1000):
        row = tx.psycopg.execute(
            "INSERT INTO hive.jar (name, tenant, kind, part, visible, metadata)"
            " VALUES (%s, %s, 'snapshot', %s, false, %s)"
            " ON CONFLICT (name) DO NOTHING RETURNING id",
            [base if n == 1 else f"{base}_{n}", tenant, part, metadata],
        ).fetchone()
        if row is not None:
            break
    assert row is not None
    make_tables(tx, part)
    made: int = row[0]
    return made


def show_snapshot(tx: Transaction, jar: int, part: int) -> None:
    """Make a complete snapshot visible."""
    attach_tables(tx, part)
    tx.psycopg.execute("UPDATE hive.jar SET visible = true, updated_at = clock_timestamp() WHERE id = %s", [jar])


def drop_snapshot(tx: Transaction, jar: int, part: int) -> None:
    """Take away what an unfinished snapshot left."""
    drop_tables(tx, part)
    tx.psycopg.execute("UPDATE hive.jar SET status = 'archived' WHERE id = %s", [jar])


def make_tables(tx: Transaction, part: int) -> None:
    """Tables for a jar of its own. Nobody reads them before they are attached."""
    for table in TABLES:
        tx.psycopg.execute(
            sql.SQL("CREATE TABLE {new} (LIKE {parent} INCLUDING ALL, CHECK (part = {part}))").format(
                new=partition(table, part), parent=sql.Identifier("hive", table), part=sql.Literal(part)
            )
        )


def attach_tables(tx: Transaction, part: int) -> None:
    """Landings go on meanwhile: the lock of ATTACH is one that they do not wait for."""
    for table in TABLES:
        tx.psycopg.execute(
            sql.SQL("ALTER TABLE {parent} ATTACH PARTITION {new} FOR VALUES IN ({part})").format(
                parent=sql.Identifier("hive", table), new=partition(table, part), part=sql.Literal(part)
            )
        )


def drop_tables(tx: Transaction, part: int) -> None:
    for table in TABLES:
        tx.psycopg.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(partition(table, part)))


def partition(table: str, part: int) -> sql.Identifier:
    """The table that holds a part of `honey` or `chunk`."""
    return sql.Identifier("hive", f"{table}_{part}")


def mark_changed(tx: Transaction, jar: int) -> None:
    tx.psycopg.execute("UPDATE hive.jar SET updated_at = clock_timestamp() WHERE id = %s", [jar])
