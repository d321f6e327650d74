"""How a bee does, in one word and one sentence: the same judgement on every page, in every metric and on the screen.

disabled       its configuration switches it off
misconfigured  it cannot fly before its configuration, its driver or its credentials' references are mended, or nothing
               of what it reads has its key
stuck          a flight is open and does not get on: its worker is lost, says nothing, or no worker takes its task
paused         a person paused it
breaker_open   its source failed so often that it is left alone for a while
rate_limited   its source asked for patience, and nothing else is known against it
failing        its last flight failed, or an open one is being tried again after an error
late           a slot is due and no flight came of it: no scheduler runs
lagging        flights end well, but slots are left out: it cannot keep its rhythm
quiet          nothing was heard of an open flight for some seconds: a source that hangs, a worker that stands still, or
               only one that is slow. It gets on again, or is stuck some seconds later
waiting        a flight is open, and no worker has taken its task for some seconds
flying         a flight is open and gets on
new            no flight has ended yet
healthy        the last flight is complete
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hive.ledger.db import Transaction

STATES = (
    "disabled", "misconfigured", "stuck", "paused", "breaker_open", "rate_limited", "failing", "late", "lagging",
    "quiet", "waiting", "flying", "new", "healthy",
)  # fmt: skip
"""In the order of the judgement: the first that holds."""
UNWELL = ("misconfigured", "breaker_open", "stuck", "late", "failing", "lagging")
"""A person must look."""

HUSH = 4.0
"""Seconds without a word of a flight, or for which a due task waits, after which a person sees it."""
QUIET = 0.4
"""Share of a lease for which a process may give no heartbeat: of the default lease twice what it should take."""
LATE = 4.0
"""Seconds after which a due slot without a flight is late: a scheduler takes it up within one."""
SILENT = 30.0
"""Seconds without a batch, a landing or a new task after which a flight in some worker's hands is stuck."""
UNTAKEN = 30.0
"""Seconds that a task may wait for a worker, while no worker of its queue lives."""
LEFT_OUT = 2
"""Slots left out since the beginning of the last complete flight from which on a bee lags."""
_OURS = ("lease_held", "too_early", "stale_fence", "superseded", "database_unreachable")
"""Codes of waits among flights, which say nothing of the bee."""
_OF_OPTIONS = (
    "bad_options", "missing_reference", "no_key", "no_stream", "stream_gone", "unknown_stream", "bad_transform",
    "missing_driver", "missing_library", "connector_version", "bad_url", "bad_template", "bad_key", "bad_hook",
    "bad_request", "no_address", "no_command", "no_credentials", "no_cdc", "no_column", "no_field", "no_id",
    "no_operation", "no_service", "no_webdav", "no_queries", "not_a_table", "not_sortable", "forbidden_address",
    "private_address", "host_key_unknown", "writable_role", "wrong_lookback", "wrong_parameters", "wrong_plugin",
)  # fmt: skip
_OF_QUERIES = (
    "syntax", "no_statement", "many_statements", "wrong_root", "data_change", "into", "locking", "assignment",
    "construct", "function", "operator", "parameter", "catalog", "table", "hidden_code", "print_differs",
    "parsers_disagree", "no_row_filter", "unknown_table", "bad_filter_key", "bad_filter", "filter_cycle",
    "table_sample", "system_column", "group_by_key", "ambiguous_column", "ambiguous_table", "unknown_dialect",
    "not_proved", "wrong_query", "wrong_filter",
)  # fmt: skip
"""See bees/core/sql/errors.py."""
_MISCONFIGURED = frozenset(_OF_OPTIONS + _OF_QUERIES)
"""Codes of errors that only another configuration mends."""
_OF_PATIENCE = "rate_limited"
"""Code of a flight that ended because its source asked for more patience than it had."""
_NEXT = {
    "stuck": "`hive doctor` says what to do",
    "late": "see that a scheduler runs: `hive doctor`",
    "lagging": "give it a longer rhythm or a faster source",
    "quiet": "it gets on by itself, or is stuck soon: `hive check {name}` asks its source",
    "waiting": "`hive balance` says where more processes are needed",
}
_NEXT_WITHOUT_ADVICE = {
    "misconfigured": "mend what is named, then `hive check {name}`",
    "breaker_open": "it is asked again by itself; `hive check {name}` asks its source now",
    "failing": "`hive check {name}` asks its source now",
}
"""Where the error itself says nothing better."""


@dataclass(frozen=True, slots=True)
class Flying:
    """What is known of a bee's open flights: a row of `open_conditions`."""

    silent: float | None = None
    """Seconds since something in a worker's hands got on; None: nothing is in any worker's hands."""
    reads: bool = False
    """What is in hand is reading; else scrubbing and landing."""
    unheard: float | None = None
    """Seconds since the last heartbeat of a worker that holds one of its tasks; None: they were all heard of lately."""
    lost: bool = False
    """A worker that holds one of its tasks is dead."""
    waits: float | None = None
    """Seconds that a due task has waited for a worker."""
    untaken: float | None = None
    """Seconds that a due task has waited, where no worker of its queue lives."""
    error: Mapping[str, Any] | None = None
    """Of a task that is tried again."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`why` is a sentence; `error` the ledger's error that it is about, if there is one."""

    state: str
    why: str
    error: Mapping[str, Any] | None = None


def judge(
    *,
    enabled: bool = True,
    cannot_fly: str | None = None,
    paused: bool = False,
    patient: bool = False,
    open_breaker: bool = False,
    flying: Flying | None = None,
    late: bool = False,
    last_state: str | None = None,
    last_error: Mapping[str, Any] | None = None,
    left_out: int = 0,
    keyless: Mapping[str, Any] | None = None,
) -> Condition:
    """The first state that holds.

    patient   the source, or its breaker, keeps the bee waiting until a time to come
    left_out  slots that came to nothing since the last complete flight began
    keyless   of a bee whose last flight is complete and landed nothing, see `keyless_bees`
    """
    trouble = _trouble(flying, last_state, last_error) or keyless
    again = flying is not None and flying.error is trouble
    code = str((trouble or {}).get("code") or "error")
    if not enabled:
        return Condition("disabled", "its configuration switches it off")
    if cannot_fly:
        return Condition("misconfigured", cannot_fly)
    if flying is not None and (why := _stuck(flying)):  # a pause begins no flight, and gets none on either
        return Condition("stuck", why, trouble)
    if paused:
        return Condition("paused", "somebody paused it", trouble)
    if open_breaker:
        return Condition("breaker_open", "its source failed too often and is left alone for a while", trouble)
    # A flight that failed for good is not mended by patience, and its bee needs a person meanwhile.
    if patient and (trouble is None or again or code == _OF_PATIENCE):
        return Condition("rate_limited", "its source asked for patience", trouble)
    if trouble is not None:
        state = "misconfigured" if code in _MISCONFIGURED else "failing"
        return Condition(state, f"{code}{', and it is tried again' if again else ''}", trouble)
    if late:
        return Condition("late", "a slot is due and no flight came of it")
    if left_out >= LEFT_OUT:  # also while it is quiet: who cannot keep its rhythm is slow all the time
        return Condition("lagging", f"{left_out} slots were left out since its last complete flight began")
    if flying is not None and (why := _quiet(flying)):
        return Condition("quiet", why)
    if flying is not None:
        waits = flying.waits if flying.silent is None else None
        if waits is not None and waits >= HUSH:
            return Condition("waiting", _waiting(waits, flying.untaken))
        return Condition("flying", "its task waits for a worker" if flying.silent is None else "it gets on")
    if last_state is None:
        return Condition("new", "no flight has ended yet")
    return Condition("healthy", f"the last flight is {last_state}")


def advice(found: Condition, name: str) -> str | None:
    """The next step for a bee of this name; None where there is none to take.

    That of the error where the state is about it; one that is stuck, or waits, has its error from before.
    """
    told = (found.error or {}).get("advice")
    if found.state in _NEXT:
        return _NEXT[found.state].format(name=name)
    if told or found.state not in _NEXT_WITHOUT_ADVICE:
        return str(told) if told else None
    return _NEXT_WITHOUT_ADVICE[found.state].format(name=name)


def _trouble(
    flying: Flying | None, last_state: str | None, last_error: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The error of the open flight, else of the last one where that failed."""
    if flying is not None and flying.error and flying.error.get("code") not in _OURS:
        return flying.error
    return (last_error or {"code": "failed"}) if last_state == "failed" else None


def _stuck(flying: Flying) -> str:
    if flying.lost:
        return "the worker that had its task in hand is gone"
    if flying.silent is not None and flying.silent >= SILENT:
        return f"its flight has not got on for {flying.silent:.0f} s"
    if flying.untaken is not None and flying.untaken >= UNTAKEN:
        return f"its task waits for {flying.untaken:.0f} s, and no worker of its queue lives"
    return ""


def _quiet(flying: Flying) -> str:
    if flying.unheard is not None:
        return f"the worker that has its task in hand was not heard of for {flying.unheard:.0f} s"
    if flying.silent is None or flying.silent < HUSH:
        return ""
    if flying.reads:
        return f"nothing came from its source for {flying.silent:.0f} s"
    return f"nothing of it was landed for {flying.silent:.0f} s"


def _waiting(waits: float, untaken: float | None) -> str:
    why = "no worker of its queue lives" if untaken is not None else "the workers of its queue are busy or stand still"
    return f"its task has waited for {waits:.0f} s: {why}"


def open_conditions(tx: Transaction) -> dict[int, Flying]:
    """Of every bee with an open flight, by its number."""
    return {
        row.bee: Flying(row.silent, row.reads, row.unheard, bool(row.lost), row.waits, row.untaken, row.error)
        for row in tx.run("open_conditions", ours=list(_OURS), quiet=QUIET).fetchall()
    }


def slots_left_out(tx: Transaction) -> dict[int, int]:
    """Bee -> slots of the last hour that came to nothing since its last complete flight began."""
    return {row.bee: row.slots for row in tx.run("slots_left_out").fetchall()}


def keyless_bees(tx: Transaction) -> dict[int, dict[str, Any]]:
    """Bee -> the error that it is that none of the records of its last flight has its key, and all were set aside."""
    return {
        row.bee: {
            "code": "no_key",
            "message": f"none of the {row.records} records of its last flight has its key, so all were set aside",
            "advice": f"correct `key` of its streams: `hive check {row.name}` names the columns that there are",
        }
        for row in tx.run("keyless").fetchall()
    }


def is_patient(retry_at: dt.datetime | float | None) -> bool:
    """Queries give `retry_at` only while it is still to come."""
    return retry_at is not None
