"""The metrics: their names, labels and words. Names of the documents 000, 001 and 002 are kept as written there.

    worker_bee_*                   by type of bee and by source, which is the bee's name
    workers_active, jobs_*, ...    of the whole fleet, without labels
    connector_*                    by connector, which is the bee's name too: document 002 names a source by what it is
    hive_*                         what the documents do not name

Labels hold names of bees and queues, codes of errors, kinds and actions of scrubbing: nothing that a source said. A bee
that is disabled or gone from the configuration has no series; totals without its name keep what it has done.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

from bees.core.bee import BeeType
from hive.health import is_healthy_worker
from hive.ledger.tables import DURATIONS
from hive.metrics.figures import Figures
from hive.metrics.text import family, histogram, labels, single
from hive.supervisor import QUEUES

OUTCOMES = ("landed", "unchanged", "superseded", "deleted", "quarantined")
STATES = ("flying", "paused", "rate_limited", "late", "failing", "idle")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


def text(found: Figures) -> str:
    """All metrics that come from the ledger."""
    return "".join([*_of_bees(found), *_of_the_fleet(found), *_of_connectors(found), *_of_the_hive(found)])


def _of_bees(found: Figures) -> Iterator[str]:
    """Document 000."""
    bees = found.bees
    at = [labels(bee_type=bee.bee_type, source=bee.name) for bee in bees]
    yield family(
        "worker_bee_nectar_collected_total", "counter", "Records that were read, set-aside ones included.",
        zip(at, [bee.read for bee in bees], strict=True),
    )  # fmt: skip
    yield histogram("worker_bee_flight_duration_seconds", "How long flights lasted.", DURATIONS, _durations(at, bees))
    active = Counter(bee.bee_type for bee in bees if bee.running)
    yield family(
        "worker_bee_active_count", "gauge", "Bees that fly just now.",
        [(labels(bee_type=kind), active[kind]) for kind in get_args(BeeType)],
    )  # fmt: skip
    yield family(
        "worker_bee_errors_total", "counter", "Flights that failed, by the code of their error.",
        [(labels(bee_type=row.bee_type, error_type=row.code), row.count) for row in found.faults],
    )  # fmt: skip


def _durations(at: list[str], bees: list[Any]) -> Iterator[tuple[str, Any, int, float]]:
    """Of bees that have flown."""
    for place, bee in zip(at, bees, strict=True):
        if bee.durations:
            yield place, bee.durations, bee.complete + bee.failed + bee.cancelled, bee.seconds


def _of_the_fleet(found: Figures) -> Iterator[str]:
    """Document 001. A job is a flight, a data source is a bee."""
    all_, bees = found.flights, found.bees
    workers = [worker for worker in found.workers if worker.alive and worker.queues]
    ended = [bee for bee in bees if bee.last_state is not None]
    well = sum(bee.last_state == "complete" for bee in ended)
    healthy = sum(is_healthy_worker(worker) for worker in found.workers)
    yield single("workers_active", "gauge", "Worker processes that live.", len(workers))
    yield single("jobs_completed", "counter", "Flights that are complete.", all_.complete)
    yield single("jobs_failed", "counter", "Flights that failed.", all_.failed)
    yield single("data_processed_bytes", "counter", "Bytes that were read, uncompressed.", all_.bytes)
    whole = ("", [n or 0 for n in all_.durations], all_.flights, all_.seconds)
    yield histogram("processing_time", "Seconds that flights lasted, of all bees.", DURATIONS, [whole])
    yield single(
        "worker_health", "gauge", "Share of the processes lately heard of that are healthy, 0 to 1.",
        healthy / len(found.workers) if found.workers else 0,
    )  # fmt: skip
    yield single("active_workers", "gauge", "The same as workers_active.", len(workers))
    yield single("jobs_in_queue", "gauge", "Flights that no worker has begun yet.", all_.waiting)
    yield single(
        "avg_processing_time", "gauge", "Mean seconds of the last flight of each bee.",
        sum(bee.last_seconds for bee in ended) / len(ended) if ended else 0,
    )  # fmt: skip
    yield single(
        "success_rate", "gauge", "Share of bees whose last flight is complete, of those that have flown, 0 to 1.",
        well / len(ended) if ended else 0,
    )  # fmt: skip
    yield single("data_sources_connected", "gauge", "Sources whose last flight is complete.", well)


def _of_connectors(found: Figures) -> Iterator[str]:
    """Document 002. A sync is a flight."""
    bees = [bee for bee in found.bees if bee.last_state is not None]
    at = [labels(connector=bee.name) for bee in bees]
    yield family(
        "connector_sync_total", "counter", "Flights that ended, by how.",
        [
            (f'{place[:-1]},status="{state}"}}', getattr(bee, state))
            for place, bee in zip(at, bees, strict=True)
            for state in ("complete", "failed", "cancelled")
        ],
    )  # fmt: skip
    yield histogram("connector_sync_duration_seconds", "How long flights lasted.", DURATIONS, _durations(at, bees))
    for name, kind, about, column in (
        ("connector_sync_errors_total", "counter", "Flights that failed.", "failed"),
        ("connector_entities_synced", "counter", "Records created or updated by flights that ended.", "entities"),
        ("connector_organizations_synced", "counter", "Organizations created or updated likewise.", "organizations"),
        ("connector_last_sync_timestamp", "gauge", "When the last complete flight ended, Unix seconds.", "success_at"),
    ):
        yield family(name, kind, about, [(a, getattr(b, column)) for a, b in zip(at, bees, strict=True)])  # type: ignore[arg-type]


def _of_the_hive(found: Figures) -> Iterator[str]:
    bees = found.bees
    at = [labels(bee=bee.name) for bee in bees]
    yield family(
        "hive_records_total", "counter", "Records by what became of them.",
        [
            (f'{place[:-1]},outcome="{outcome}"}}', getattr(bee, outcome))
            for place, bee in zip(at, bees, strict=True)
            for outcome in OUTCOMES
        ],
    )  # fmt: skip
    for name, kind, about, column in (
        ("hive_read_bytes_total", "counter", "Bytes that were read, uncompressed.", "bytes"),
        ("hive_retries_total", "counter", "Attempts after the first of tasks of flights that ended.", "retries"),
        ("hive_missed_slots", "gauge", "Slots that the bee's schedules have passed over.", "missed"),
        ("hive_success_age_seconds", "gauge", "Time since the last complete flight ended.", "success_age"),
        ("hive_rate_limited_until_timestamp", "gauge", "Until when the source wants to be left alone.", "retry_at"),
        ("hive_circuit_breaker_state", "gauge", "Of the bee's source: 0 closed, 1 half-open, 2 open.", "breaker"),
    ):
        yield family(name, kind, about, [(a, getattr(b, column)) for a, b in zip(at, bees, strict=True)])  # type: ignore[arg-type]
    states = Counter(_state(bee) for bee in bees)
    yield family(
        "hive_bees", "gauge", "Enabled bees by state.", [(labels(state=state), states[state]) for state in STATES]
    )
    yield family(
        "hive_scrubbed_total", "counter", "Personal data that scrubbing took out of records that landed.",
        [(labels(kind=kind, action=action), n) for (kind, action), n in sorted(_taken_out(found).items())],
    )  # fmt: skip
    yield single("hive_pending_bytes", "gauge", "Bytes that are read, sealed and not landed.", found.flights.pending)
    yield from _of_queues(found)
    memory: Counter[str] = Counter()
    for worker in found.workers:
        if worker.alive:
            memory[worker.host] += worker.rss
    yield family(
        "hive_worker_memory_bytes", "gauge", "Resident memory of the hive's live processes.",
        [(labels(host=host), used) for host, used in sorted(memory.items())],
    )  # fmt: skip


def _state(bee: Any) -> str:
    """The first of these that holds: what a person must do something about stands before what goes on by itself."""
    holds = {
        "paused": bee.paused,
        "flying": bee.running,
        "rate_limited": bee.retry_at is not None,
        "late": bee.late,
        "failing": bee.last_state == "failed",
    }
    return next((state for state, there in holds.items() if there), "idle")


def _taken_out(found: Figures) -> Counter[tuple[str, str]]:
    """Names of kinds come from profiles and recognisers; whatever looks like no name is not told."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in found.taken_out:
        counts[row.kind if _WORD.fullmatch(row.kind) else "other", row.action] += row.count
    return counts


def _of_queues(found: Figures) -> Iterator[str]:
    """Queues that nobody works on have series too: an autoscaler needs the zero."""
    rows = {row.name: row for row in found.queues}
    names = [*QUEUES, *sorted(rows.keys() - set(QUEUES))]
    for name, about, column in (
        ("hive_queue_depth", "Tasks that a worker may begin now.", "due"),
        ("hive_queue_waiting", "Tasks that wait, those for a later time included.", "waiting"),
        ("hive_queue_running", "Tasks in the hands of workers.", "running"),
        ("hive_queue_oldest_seconds", "How long the oldest task that may begin now has waited.", "oldest"),
    ):
        yield family(
            name, "gauge", about,
            [(labels(queue=queue), getattr(rows[queue], column) if queue in rows else 0) for queue in names],
        )  # fmt: skip
