"""What works, what waits and what is broken, in one look at the ledger."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import Any

from psycopg.rows import dict_row

from hive.condition import LATE, QUIET, advice, judge, keyless_bees, open_conditions, slots_left_out
from hive.health import is_healthy_worker
from hive.ledger.db import Database, Transaction
from hive.metrics.figures import NEWEST, missing_drivers, why_grounded
from hive.registry import connectors
from hive.versions import grounded_bees, refused

_BEES = """
SELECT b.id, b.name, b.connector, b.enabled, b.paused_at, f.state AS last_state, f.finished_at AS last_finished,
       f.id::text AS last_flight, CASE WHEN b.retry_at > clock_timestamp() THEN b.retry_at END AS retry_at,
       b.last_error ->> 'code' AS error, b.last_error ->> 'message' AS message, b.last_error ->> 'advice' AS advice,
       CASE WHEN b.paused_at IS NULL THEN s.next_slot END AS next_slot,
       t.success_at AS last_success, extract(epoch FROM clock_timestamp() - t.current_at)::float8 AS lag,
       t.last_state AS ended, b.last_error
  FROM hive.bee b LEFT JOIN hive.tally t ON t.bee = b.id
  LEFT JOIN (SELECT bee, min(next_slot) AS next_slot FROM hive.schedule WHERE enabled GROUP BY bee) s ON s.bee = b.id
  LEFT JOIN LATERAL (SELECT id, state, finished_at FROM hive.flight
       WHERE bee = b.id ORDER BY created_at DESC LIMIT 1) f ON true
 WHERE b.origin <> 'gone' AND (%(name)s::text IS NULL OR b.name = %(name)s) ORDER BY b.name
"""
_SHOWN = (
    "queue", "origin", "retry_at", "paused_at", "last_state", "last_finished", "last_flight", "next_slot", "missed",
    "last_error", "error", "message", "advice", "breaker", "state", "why", "silent", "lag", "last_success",
)  # fmt: skip
_COLUMNS = (
    "paused_at", "last_state", "last_finished", "last_flight", "retry_at", "advice", "next_slot", "last_success", "lag",
    "silent", "breaker",
)  # fmt: skip
_WORKERS = """
WITH hand AS (
    SELECT t.owner, count(*)::int AS running, min(t.started_at) AS since,
           (array_agg(to_char(t.day, 'YYYYMMDD') || '.' || t.id ORDER BY t.started_at))[1] AS task,
           (array_agg(t.kind ORDER BY t.started_at))[1] AS kind, (array_agg(b.name ORDER BY t.started_at))[1] AS bee,
           (array_agg(t.flight::text ORDER BY t.started_at))[1] AS flight
      FROM hive.task t JOIN hive.bee b ON b.id = t.bee WHERE t.state = 'running' GROUP BY t.owner
)
SELECT w.id, w.host, w.pid, w.queues, w.alive_until > clock_timestamp() AS alive, w.beat_at AS last_heartbeat, w.rss,
       coalesce(h.running, 0) AS running,
       CASE WHEN w.alive_until <= clock_timestamp() THEN 'lost'
            WHEN CASE WHEN isfinite(w.alive_until) THEN w.beat_at + %(quiet)s * (w.alive_until - w.beat_at) END
                 < clock_timestamp() THEN 'quiet'
            WHEN h.running > 0 THEN 'running' ELSE 'idle' END AS status,
       h.task, h.kind, h.bee, h.flight, h.since, w.started_at
  FROM hive.worker w LEFT JOIN hand h ON h.owner = w.id ORDER BY w.id
"""
_DONE = """
SELECT owner, sum(tasks)::int AS tasks_done, sum(records)::bigint AS records_processed,
       (array_agg(error ORDER BY at DESC) FILTER (WHERE error IS NOT NULL))[1] AS last_error
  FROM (
    SELECT t.owner, 1 AS tasks,
           CASE WHEN t.kind = 'process' AND t.state = 'done' THEN t.row_to - t.row_from ELSE 0 END AS records,
           CASE WHEN t.state = 'dead' THEN t.last_error END AS error, t.finished_at AS at
      FROM hive.task t WHERE t.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 AND t.state IN ('done', 'dead')
    UNION ALL
    SELECT c.owner, 0, p.row_to - p.row_from, NULL, NULL
      FROM hive.task p JOIN hive.task c ON c.day = p.day AND c.id = p.parent AND c.kind = 'collect'
     WHERE p.kind = 'process' AND p.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1
  ) work WHERE owner IN (SELECT id FROM hive.worker) GROUP BY owner
"""


def with_grounded(bees: list[dict[str, Any]], grounded: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of bees with `cannot_fly`, and a row for each bee that was left out for it, by name.

    grounded  see `hive.versions.grounded_bees`
    """
    known = connectors()
    rows = {bee["name"]: {**bee, "cannot_fly": _reason(known, bee["connector"])} for bee in bees}
    empty = dict.fromkeys(next(iter(rows.values()), _SHOWN))
    for name, told in grounded.items():
        row = rows.get(name) or {**empty, "name": name, "connector": told["connector"], "enabled": told["enabled"]}
        rows[name] = {**row, "removed": False, "cannot_fly": "; ".join(told["reasons"])}
    return sorted(rows.values(), key=lambda row: str(row["name"]))


def add_breakers(tx: Transaction, bees: Iterable[dict[str, Any]]) -> None:
    """Put `breaker` into rows of bees: {state, failures, until, last_failure, failed_at}.

    None: the source has no breaker, or has never failed.
    """
    found = {row.bee: {key: value for key, value in row._asdict().items() if key != "bee"}
             for row in tx.run("breakers").fetchall()}  # fmt: skip
    for bee in bees:
        bee["breaker"] = found.get(bee["name"])


def add_conditions(tx: Transaction, bees: list[dict[str, Any]]) -> None:
    """Put `state` and `why` into rows of bees, see `hive.condition`, and `silent`: how many seconds ago an open flight
    was last heard of. Where an open flight is tried again, `error`, `message` and `advice` are of what befell it.

    Bees of the configuration that were left out, because they cannot fly, get rows of their own.
    """
    flying, left_out, grounded, missing = open_conditions(tx), slots_left_out(tx), why_grounded(tx), missing_drivers()
    keyless = keyless_bees(tx)
    now = tx.run("clock").fetchone()
    assert now is not None
    for bee in bees:
        number, ended, last_error = bee.pop("id"), bee.pop("ended"), bee.pop("last_error")
        open_ = flying.get(number)
        late = bee["next_slot"] is not None and (now.now - bee["next_slot"]).total_seconds() > LATE
        found = judge(
            enabled=bee["enabled"], cannot_fly=grounded.pop(bee["name"], None) or missing.get(bee["connector"]),
            paused=bee["paused_at"] is not None, patient=bee["retry_at"] is not None,
            open_breaker=left_alone(bee) == "breaker open", flying=open_, late=late, last_state=ended,
            last_error=last_error, left_out=left_out.get(number, 0), keyless=keyless.get(number),
        )  # fmt: skip
        bee |= {"state": found.state, "why": found.why, "silent": None if open_ is None else open_.silent}
        if found.error:
            bee |= {"error": found.error.get("code"), "message": found.error.get("message")}
        bee["advice"] = advice(found, bee["name"])
    told = grounded_bees(tx) if grounded else {}
    for name, why in grounded.items():
        empty = dict.fromkeys(_COLUMNS)
        about = {"name": name, "connector": told[name]["connector"], "enabled": True, "state": "misconfigured"}
        told_next = "mend what is named, then `hive reload`"
        bees.append({**empty, **about, "why": why, "error": "cannot_fly", "message": why, "advice": told_next})
    bees.sort(key=lambda bee: str(bee["name"]))


def bees(tx: Transaction, name: str | None = None) -> list[dict[str, Any]]:
    """Every bee, or the one of this name, as `look` tells of it."""
    found = tx.psycopg.cursor(row_factory=dict_row).execute(_BEES, {"name": name}).fetchall()
    add_breakers(tx, found)
    add_conditions(tx, found)
    return [bee for bee in found if name in (None, bee["name"])]


def left_alone(bee: Mapping[str, Any]) -> str | None:
    """Why a bee's source is not asked just now; None: nothing keeps it."""
    if not bee.get("retry_at"):
        return None
    breaker = bee.get("breaker") or {}
    return "breaker open" if breaker.get("state") == "open" else "rate-limited"


def _reason(known: Mapping[str, Any], connector: str) -> str | None:
    if connector not in known:
        return "its connector is not installed"
    return known[connector].missing or None


def workers(db: Database) -> list[dict[str, Any]]:
    """Every worker process that was heard of in the last minutes, with what it has in hand and has done.

    `status` is running, idle, quiet (no heartbeat for some seconds) or lost: its lease is over. `tasks_done`,
    `records_processed` (read and sealed, or scrubbed and landed) and `last_error` (of a task that died in its hands)
    are of flights of today and yesterday.
    """
    with db.transaction() as tx:
        rows = tx.psycopg.cursor(row_factory=dict_row)
        found = rows.execute(_WORKERS, {"quiet": QUIET}).fetchall()
        done = {row.pop("owner"): row for row in rows.execute(_DONE).fetchall()}
    nothing = {"tasks_done": 0, "records_processed": 0, "last_error": None}
    return [row | done.get(row["id"], nothing) for row in found]


def look(db: Database, *, patience: float = 10.0) -> dict[str, Any]:
    """Version, queues, bees and workers. Raises the driver's error after `patience` seconds.

    queues   `due`: tasks that a worker may begin now; `oldest`: seconds that the first of them has waited
    bees     `error`, `message` and `advice` are of an open flight that is tried again, else of the last flight that
             ended, null where it was complete; `state`, `why` and `silent` see `add_conditions`; `lag`: seconds since
             the last complete flight began
    config_refused  see `hive.versions.refused`
    workers  `last_task` is the last that ended in its hands, if it is among the newest of the fleet
    """
    with db.transaction() as tx:
        tx.run("clock")  # a server that says nothing is found out by the smallest question
    with db.transaction(limit=patience + 1) as tx:
        tx.psycopg.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(patience * 1000)}ms"])
        rows = tx.psycopg.cursor(row_factory=dict_row)
        found = bees(tx)
        processes = rows.execute(_WORKERS, {"quiet": QUIET}).fetchall()
        queues = [row._asdict() for row in tx.run("queue_figures").fetchall()]
        done = {row.id: row for row in tx.run("worker_figures", newest=NEWEST, quiet=QUIET, worker=None).fetchall()}
        not_taken = refused(tx)
        configured = rows.execute("SELECT max(id) AS version FROM hive.config_version").fetchone()
    for process in processes:
        row = done.get(process["id"])
        told = (row.last_task, row.last_at, is_healthy_worker(row)) if row is not None else (None, None, False)
        process |= dict(zip(("last_task", "last_task_at", "healthy"), told, strict=True))
    return {
        "status": "ok",
        "version": importlib.metadata.version("worker-bees"),
        "config_version": configured["version"] if configured else None,
        "config_refused": not_taken,
        "queues": queues,
        "bees": found,
        "workers": processes,
    }
