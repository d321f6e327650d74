"""What the ledger says of bees: what keeps each of them from flying, landing or keeping its rhythm."""

from __future__ import annotations

from hive import versions
from hive.condition import HUSH, LEFT_OUT, SILENT, slots_left_out
from hive.doctor.finding import Finding, asked, at, told, waiting, wrong
from hive.ledger.db import Transaction
from hive.registry import connectors
from hive.status import bees

UNREAD = 600.0
"""Seconds within which a flight should have come for messages, beside ten times the bee's `debounce`."""
IDLE = 600.0
"""Seconds without a batch or a landing after which an open flight that is stuck is better cancelled than watched."""
USUAL = 5
"""An open flight that has lasted so many times its bee's usual time is told of."""
_NAMED = 5
"""Disabled bees that are named: they are meant to be."""


def refused(tx: Transaction) -> list[Finding]:
    """A configuration that somebody changed, and that a hive which watches it did not take."""
    told = versions.refused(tx)
    if told is None:
        return []
    more = f" (and {told['count'] - 1} more)" if told["count"] > 1 else ""
    why = f"at {at(told['at'])}, and the older one flies on: {told['problems'][0]}{more}"
    files = str(told["source"]).replace(", ", " ")
    return [wrong("the changed configuration was refused", told["source"], why, f"hive config check {files}")]


def grounded(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_bees")
    found = left_out(tx)
    if not rows and not found:
        why = "no configuration was applied and no bee was registered"
        return [wrong("there are no bees", "the ledger", why, "hive reload --config FILE")]
    known = connectors()
    disabled = [bee.name for bee in rows if not bee.enabled]
    if disabled:
        why = "their configuration says so: neither schedules nor events fly them"
        more = f" and {len(disabled) - _NAMED} more" if len(disabled) > _NAMED else ""
        where = f"{', '.join(disabled[:_NAMED])}{more}"
        found.append(waiting("bees are disabled", where, why, "hive config history"))
    for bee in rows:
        where = f"bee {bee.name}"
        missing = known[bee.connector].missing if bee.connector in known else "its connector is not installed"
        if missing and bee.enabled:
            why = f"the connector {bee.connector!r} cannot be loaded here: {missing}"
            found.append(wrong("a bee cannot fly", where, why, missing if "install" in missing else "hive connectors"))
        if bee.enabled and bee.paused_at is not None:
            why = f"somebody paused it at {at(bee.paused_at)}"
            found.append(waiting("a bee is paused", where, why, f"hive resume {bee.name}"))
        flies = bee.enabled and bee.paused_at is None
        if flies and bee.patient and bee.broken:
            why = f"its source failed too often in a row; it is asked again at {at(bee.retry_at)}"
            found.append(waiting("a bee leaves its source alone", where, why, f"hive check {bee.name}"))
        elif flies and bee.patient:
            why = f"its source asked to be left alone until {at(bee.retry_at)}; then it flies on by itself"
            found.append(waiting("a bee waits for its source", where, why, f"hive flights {bee.name}"))
    return found


def lagging(tx: Transaction) -> list[Finding]:
    """Bees whose flights end well, and that leave out slots all the same: another rhythm mends nothing that fails."""
    if not any(count >= LEFT_OUT for count in slots_left_out(tx).values()):
        return []
    return [
        wrong(
            "a bee cannot keep its rhythm", f"bee {bee['name']}",
            f"{bee['why']}: give it a longer rhythm, or let it read less at a time", f"hive flights {bee['name']}",
        )
        for bee in bees(tx)
        if bee["state"] == "lagging"
    ]  # fmt: skip


def left_out(tx: Transaction) -> list[Finding]:
    """Bees that the configuration names and that cannot fly."""
    grounded, source = versions.grounded_bees_of(tx)
    check = f"hive config check {source.replace(', ', ' ')}" if source != versions.ENVIRONMENT else "hive config check"
    return [
        waiting(
            "a bee of the configuration cannot fly", f"bee {name}", "; ".join(told["reasons"]),
            "hive connectors" if str(told["reasons"][0]).startswith("connector ") else check,
        )
        for name, told in sorted(grounded.items())
        if told["enabled"]
    ]  # fmt: skip


def failed(tx: Transaction) -> list[Finding]:
    """Bees whose newest closed flight failed, and older ones that left dead batches."""
    rows = asked(tx, "look_failed")
    return [
        wrong(
            "a bee's last flight failed", f"bee {row.bee}", f"it ended at {at(row.finished_at)}: {told(row.error)}",
            f"hive retry {row.flight}" if row.dead else f"hive check {row.bee}",
        )
        for row in rows
    ]  # fmt: skip


def keyless(tx: Transaction) -> list[Finding]:
    """Bees whose newest closed flight landed nothing, because none of its records has the bee's key."""
    rows = asked(tx, "look_keyless")
    return [
        wrong(
            "a bee's last flight landed nothing", f"bee {row.bee}",
            f"none of the {row.records_read} records that it read at {at(row.finished_at)} has the bee's key columns",
            f"hive check {row.bee}",
        )
        for row in rows
    ]  # fmt: skip


def held_deletes(tx: Transaction) -> list[Finding]:
    """Complete reads that missed more records than may be deleted unasked."""
    return [
        waiting(
            "records are gone at the source and still in the jar", f"bee {row.bee}, stream {row.stream}",
            f"its last complete read did not meet {row.held_deletes} records: too many to delete them unasked",
            "look at the source; if they are gone indeed, set `limits: {max_deleted: 1}` of the bee (and of "
            "one that reads files `max_deleted: 1` in its `source`), and fly it again"
            f"; where it follows changes: hive fly {row.bee} --full-refresh",
        )
        for row in asked(tx, "look_held_deletes")
    ]  # fmt: skip


def quarantine(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_quarantine")
    return [
        wrong(
            "records are in quarantine", f"jar {row.jar}",
            f"{row.records} records of the bee {row.bee} were refused ({row.code}) and are not in the jar",
            f"hive retry {row.flight}" if (row.code == "dead_batch" or row.lost) and not row.gone
            else f"hive quarantine show {row.first}",
        )
        for row in rows
    ]  # fmt: skip


def inbox(tx: Transaction) -> list[Finding]:
    found = []
    for row in asked(tx, "look_inbox", late=UNREAD):
        tell = wrong if row.flies else waiting
        why = f"{row.messages} messages wait to be read, the oldest for {row.oldest} s"
        then = f"hive fly {row.bee}" if row.flies else f"hive check {row.bee}"
        found.append(tell("messages are not read", f"bee {row.bee}", why, then))
    return found


def schedules(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_schedules")
    found = []
    for row in rows:
        where = f"bee {row.bee}, schedule {row.name}"
        if not row.enabled:
            found.append(waiting("a schedule is paused", where, "it makes no flights until then", "hive slots"))
        if row.missed:
            why = f"{row.missed} slots passed without a flight and were left out by its catch-up rule"
            found.append(waiting("slots were missed", where, why, "hive slots"))
    return found


def long_flights(tx: Transaction) -> list[Finding]:
    rows = asked(tx, "look_flights", since=HUSH)
    found = []
    for row in rows:
        where, cancel = f"bee {row.bee}, flight {row.flight}", f"hive cancel {row.flight}"
        usual = f" (usually {row.usual:.0f} s)" if row.usual is not None else ""
        if row.idle > IDLE and not row.waits:
            why = f"nothing was read, sealed or landed for {row.idle} s, after {row.seconds} s{usual}"
            found.append(wrong("a flight is stuck", where, why, cancel))
        elif row.idle >= SILENT and not row.waits:
            why = f"nothing was read, sealed or landed for {row.idle} s{usual}: look what it waits for"
            found.append(wrong("a flight is stuck", where, why, f"hive flight {row.flight}"))
        elif row.usual is not None and row.seconds > USUAL * max(row.usual, 60.0):
            why = f"it flies for {row.seconds} s{usual}, and goes on"
            found.append(waiting("a flight takes far longer than usual", where, why, f"hive flight {row.flight}"))
        elif row.idle >= HUSH and not row.waits:
            why = f"nothing was read, sealed or landed for {row.idle} s{usual}"
            found.append(waiting("a flight does not get on", where, why, f"hive flight {row.flight}"))
    return found
