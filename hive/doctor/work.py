"""What the ledger says of the work and those who do it: queues, workers, leases, the database itself."""

from __future__ import annotations

from hive.condition import LATE, QUIET
from hive.doctor.bees import UNREAD
from hive.doctor.finding import Finding, asked, at, told, waiting, wrong
from hive.ledger.db import Transaction
from hive.settings import Settings
from hive.vault.key import HiveKey

TAKE_BACK = 30.0
"""Seconds within which the tasks of a dead worker should have been taken back."""
MOST_CONNECTIONS = 0.85


def queues(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_unheard")
    return [
        wrong(
            "due work has no worker", f"queue {row.queue}",
            f"{row.tasks} tasks are due, the oldest for {row.oldest} s, and no live worker listens to the queue",
            f"hive worker --queues {row.queue}",
        )
        for row in rows
    ]  # fmt: skip


def keepers(tx: Transaction) -> list[Finding]:
    """Beat and janitors: worker rows that listen to no queue."""
    row = asked(tx, "look_keepers", late=LATE)[0]
    if row.late:
        why = f"{row.late} schedules have a slot that is due for more than {LATE:.0f} s: no scheduler makes flights"
        return [wrong("schedules are missed", "the scheduler", why, "hive beat")]
    if row.open and not row.keeper:
        why = "flights are open, and neither beat nor a janitor is alive to take back and close what others leave"
        return [wrong("nobody looks after the flights", "the janitor", why, "hive janitor")]
    return []


def unheard(tx: Transaction) -> list[Finding]:
    """Processes that count as alive, and have said nothing for some seconds."""
    return [
        waiting(
            "a process was not heard of", f"{'worker' if row.queues else 'scheduler'} {row.id}",
            f"no heartbeat for {row.age:.0f} s; {row.tasks} tasks in its hands are taken back when its lease is over",
            "hive status",
        )
        for row in asked(tx, "look_unheard_of", quiet=QUIET)
    ]  # fmt: skip


def orphans(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_orphans")
    found = []
    for row in rows:
        last = f"its last heartbeat was at {at(row.beat_at)}" if row.beat_at else "nothing is known of it any more"
        why = f"{row.tasks} tasks are in its hands, and {last}"
        make = wrong if row.age > TAKE_BACK else waiting
        found.append(make("a dead worker holds tasks", f"worker {row.owner}", why, "hive balance"))
    return found


def leases(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_leases")
    found = [
        wrong(
            "a lease is held by nobody", f"bee {row.bee}, stream {row.stream}",
            f"it was taken at {at(row.taken_at)} by a task that does not run, so nobody else may read the stream",
            f"hive lease release {row.bee}",
        )
        for row in rows
    ]  # fmt: skip
    slots = asked(tx, "look_source_slots")
    return found + [
        wrong(
            "places at a source are held by nobody", f"bee {row.source}",
            f"{row.slots} of its `limits.concurrency` belong to tasks that do not run",
            f"hive lease release {row.source}",
        )
        for row in slots
    ]  # fmt: skip


def retries(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_retries")
    return [
        waiting(
            "tasks wait to be tried again", f"bee {row.bee}",
            f"{row.tasks} tasks, tried {row.attempt} times, the next at {at(row.at)}; last error: {told(row.error)}",
            f"hive flight {row.flight}",
        )
        for row in rows
    ]  # fmt: skip


def unindexed(tx: Transaction) -> list[Finding]:
    """Landed text that nobody takes up into the full-text index."""
    return [
        waiting(
            "landed records wait for the full-text index", "beat",
            f"{row.records} records since {at(row.since)}: each beat and `hive janitor` index beside their work",
            "hive beat",
        )
        for row in asked(tx, "look_unindexed", late=UNREAD)
    ]  # fmt: skip


def connections(tx: Transaction) -> list[Finding]:
    row = asked(tx, "look_connections")[0]
    if row.used < row.most * MOST_CONNECTIONS:
        return []
    why = f"{row.used} of {row.most} are in use; the next worker may be refused"
    return [wrong("the database's connections run out", "max_connections", why, "hive status")]


def backpressure(tx: Transaction, chosen: Settings) -> list[Finding]:
    sealed = asked(tx, "look_pending")[0].sealed
    if sealed < chosen.pending_bytes:
        return []
    why = f"{sealed >> 20} MB are sealed and not landed (HIVE_PENDING_BYTES is {chosen.pending_bytes >> 20} MB)"
    return [waiting("reading waits for landing", "queue nectar", why, "hive balance")]


def wrong_key(tx: Transaction, key: HiveKey | None) -> list[Finding]:
    if key is None:
        return []
    used = [name for (name,) in tx.psycopg.execute("SELECT DISTINCT key_id FROM hive.vault_secret ORDER BY 1")]
    if not used or used == [key.key_id]:
        return []
    why = f"the vault is sealed with the hive key {', '.join(used)}, and this process has the hive key {key.key_id}"
    return [wrong("the hive key is not the one that sealed the vault", "HIVE_KEY", why, "export HIVE_KEY_FILE=PATH")]
