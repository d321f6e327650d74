"""What the ledger says: whether it can be asked, and each look at it with a time limit of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable

import psycopg
from sqlalchemy.engine import make_url

from hive.config.references import BadReference, references
from hive.doctor import bees, work
from hive.doctor.finding import Finding, wrong
from hive.ledger.db import UNREACHABLE, Database, Transaction
from hive.ledger.migrate import known_schemas
from hive.settings import Settings
from hive.vault.key import HiveKey

STATEMENT_LIMIT = "3s"
LOOKING = 8.0
"""Seconds after which no further question is asked."""
LOOKS: tuple[Callable[[Transaction], list[Finding]], ...] = (
    bees.refused, bees.grounded, work.queues, work.keepers, work.unheard, work.orphans, work.leases, work.retries,
    bees.failed, bees.keyless, work.unindexed, bees.held_deletes, bees.quarantine, bees.inbox, bees.schedules,
    bees.lagging, bees.long_flights, work.connections,
)  # fmt: skip


def examine_ledger(db: Database, chosen: Settings, url: str, key: HiveKey | None) -> tuple[list[Finding], set[str]]:
    """(findings, environment variables that bees refer to)."""
    address = make_url(url)
    where = f"{address.database} at {address.host}:{address.port or 5432}"
    try:
        with db.single() as tx:
            there = tx.psycopg.execute("SELECT to_regclass('hive.alembic_version') IS NOT NULL").fetchone()
            named = tx.psycopg.execute("SELECT version_num FROM hive.alembic_version") if there and there[0] else None
            row = named.fetchone() if named is not None else None
    except UNREACHABLE:
        embedded = chosen.database_url is None
        why = "nobody answers there, or the user and password are refused"
        log = chosen.data_dir.absolute() / "postgres.log"
        then = f"tail -n 20 {log}" if embedded else f"pg_isready -h {address.host} -p {address.port or 5432}"
        return [wrong("the database cannot be reached", where, why, then)], set()
    except psycopg.Error as error:
        why = f"it refuses the question for its schema ({type(error).__name__})"
        return [wrong("the database cannot be used", where, why, f"psql '{address.render_as_string()}'")], set()
    known = known_schemas()
    version = row[0] if row else None
    if version is None:
        return [wrong("the database has no schema", where, "no hive has run on it yet", "hive up")], set()
    if version not in known:
        why = f"it is at schema {version}, and this installation knows them up to {known[-1]}"
        return [
            wrong("the database belongs to a newer version", where, why, "pip install --upgrade worker-bees")
        ], set()
    if version != known[-1]:
        why = (
            f"it is at schema {version}, and this installation works with {known[-1]}: any command but this updates it"
        )
        return [wrong("the database has an older schema", where, why, "hive status")], set()
    found: list[Finding] = []
    ends = time.monotonic() + LOOKING
    for look in (*LOOKS, lambda tx: work.wrong_key(tx, key), lambda tx: work.backpressure(tx, chosen)):
        if time.monotonic() > ends:
            why = f"it took longer than {LOOKING:.0f} s to answer the first questions, so the others were not asked"
            found.append(wrong("the database is very slow", where, why, "hive status"))
            break
        found += looked(db, look, where)
    referred: set[str] = set()
    with contextlib.suppress(*UNREACHABLE, psycopg.Error), db.single() as tx:
        referred = _referred(tx)
    return found, referred


def is_away(found: Iterable[Finding]) -> bool:
    return any(finding.what.startswith("the database ") for finding in found)


def looked(db: Database, look: Callable[[Transaction], list[Finding]], where: str) -> list[Finding]:
    try:
        with db.transaction() as tx:
            tx.psycopg.execute("SELECT set_config('statement_timeout', %s, true)", [STATEMENT_LIMIT])
            return look(tx)
    except UNREACHABLE:
        return [wrong("the database left in the middle", where, "it answered a moment ago", "hive doctor")]
    except psycopg.Error as error:
        name = getattr(look, "__name__", "look").strip("_").replace("_", " ")
        why = f"the look at {name} ended with {type(error).__name__}"
        return [wrong("the database does not answer a question", where, why, "hive status")]


def _referred(tx: Transaction) -> set[str]:
    names: set[str] = set()
    for (config,) in tx.psycopg.execute("SELECT config FROM hive.bee"):
        with contextlib.suppress(BadReference):
            names |= {reference.name for reference in references(config) if reference.kind == "environment"}
    return names
