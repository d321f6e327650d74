"""The metrics: their names, labels and words. Names of the documents 000, 001 and 002 are kept as written there.

    worker_bee_*                   by type of bee and by source, which is the bee's name
    workers_active, jobs_*, ...    of the whole fleet, without labels
    connector_sync_* and others    by connector, which is the bee's name too: document 002 names a source by what it is
    connector_execution_* ...      of document 004, by connector_name (the bee's) and connector_type (`postgresql`, ...)
    hive_*                         what the documents do not name

Labels hold names of bees and queues, codes of errors, kinds and actions of scrubbing: nothing that a source said. A bee
that is disabled or gone from the configuration has no series; totals without its name keep what it has done.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from operator import attrgetter
from typing import get_args

from bees.core.bee import BeeType
from hive.condition import STATES, judge
from hive.health import is_healthy_worker
from hive.ledger.tables import DURATIONS
from hive.metrics.bees import Series
from hive.metrics.figures import Figures, connector_versions, missing_drivers
from hive.metrics.text import escaped, family, head, histogram, labels, single
from hive.supervisor import QUEUES

OPEN = 2
"""Of a breaker, see `bee_figures`."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


class Page:
    """Writes all metrics that come from the ledger, page after page."""

    def __init__(self) -> None:
        self._series = Series()
        self._missing = missing_drivers()
        self._versions = connector_versions()

    def text(self, found: Figures) -> str:
        return b"".join(self.parts(found)).decode()

    def parts(self, found: Figures) -> Iterator[bytes]:
        """The page in pieces."""
        yield from self._series.parts(found.bees)
        for part in self._others(found):
            yield part.encode()

    def _others(self, found: Figures) -> Iterator[str]:
        yield from _of_bee_types(found)
        yield from _of_the_fleet(found)
        yield from _of_the_hive(found, self._series.labels(), list(self._states(found)))
        yield from _of_queues(found)
        yield from _of_processes(found)
        used = sorted({bee.connector for bee in found.bees} & self._versions.keys())
        yield family(
            "hive_connector_info", "gauge", "Connectors that bees use, with their version.",
            [(labels(connector_type=kind, connector_version=self._versions[kind]), 1) for kind in used],
        )  # fmt: skip

    def _states(self, found: Figures) -> Iterator[tuple[str, str]]:
        """(bee, its state). Bees that were left out of the configuration, because they cannot fly, have one too."""
        left = dict(found.grounded)
        for bee in found.bees:
            why = left.pop(bee.name, None) or self._missing.get(bee.connector)
            flying = found.flying.get(bee.id)
            left_out, keyless = found.left_out.get(bee.id, 0), found.keyless.get(bee.id)
            if bee.last_state == "complete" and not (
                why or bee.paused or bee.retry_at or flying or bee.late or left_out or keyless
            ):
                yield bee.name, "healthy"  # nearly all of them, and there may be ten thousand
                continue
            state = judge(
                cannot_fly=why, paused=bee.paused, patient=bee.retry_at is not None,
                open_breaker=bee.retry_at is not None and bee.breaker == OPEN, flying=flying, late=bee.late,
                last_state=bee.last_state, last_error={"code": bee.code}, left_out=left_out, keyless=keyless,
            ).state  # fmt: skip
            yield bee.name, state
        for name in left:
            yield name, "misconfigured"


def _of_bee_types(found: Figures) -> Iterator[str]:
    """Document 000."""
    active = Counter(bee.bee_type for bee in found.bees if bee.running)
    yield family(
        "worker_bee_active_count", "gauge", "Bees that fly just now.",
        [(labels(bee_type=kind), active[kind]) for kind in get_args(BeeType)],
    )  # fmt: skip
    yield family(
        "worker_bee_errors_total", "counter", "Flights that failed, by the code of their error.",
        [(labels(bee_type=row.bee_type, error_type=row.code), row.count) for row in found.faults],
    )  # fmt: skip


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


def _of_the_hive(found: Figures, names: list[str], states: list[tuple[str, str]]) -> Iterator[str]:
    """`names` are the labels of the bees found; `states` begins with theirs."""
    bees = found.bees
    for name, about, column in (
        ("hive_success_age_seconds", "Time since the last complete flight ended.", "success_age"),
        ("hive_lag_seconds", "Time since the last complete flight began: what is older is in the jar.", "lag"),
        ("hive_rate_limited_until_timestamp", "Until when the source wants to be left alone.", "retry_at"),
    ):
        values = zip(names, map(attrgetter(column), bees), strict=True)
        lines = [f"{name}{{{bee}}} {value}\n" for bee, value in values if value is not None]
        yield f"{head(name, 'gauge', about)}{''.join(lines)}"
    count = Counter(state for _, state in states)
    yield family("hive_bees", "gauge", "Enabled bees by state.", [(labels(state=s), count[s]) for s in STATES[1:]])
    further = [f'bee="{escaped(name)}"' for name, _ in states[len(names) :]]
    lines = [
        f'hive_bee_state{{{bee},state="{state}"}} 1\n'
        for bee, (_, state) in zip([*names, *further], states, strict=True)
    ]
    yield f"{head('hive_bee_state', 'gauge', '1 for the state that the bee is in.')}{''.join(lines)}"
    yield family(
        "hive_scrubbed_total", "counter", "Personal data that scrubbing took out of records that landed.",
        [(labels(kind=kind, action=action), n) for (kind, action), n in sorted(_taken_out(found).items())],
    )  # fmt: skip
    yield single("hive_pending_bytes", "gauge", "Bytes that are read, sealed and not landed.", found.flights.pending)


def _of_processes(found: Figures) -> Iterator[str]:
    """Of those that live: workers, which have queues, and schedulers, which have none."""
    alive = [worker for worker in found.workers if worker.alive]
    memory: Counter[str] = Counter()
    for worker in alive:
        memory[worker.host] += worker.rss
    yield single(
        "hive_schedulers_active",
        "gauge",
        "Schedulers and janitors that were heard of lately.",
        sum(not w.queues and not w.quiet for w in alive),
    )
    yield single(
        "hive_workers_quiet", "gauge", "Processes that count as alive and gave no heartbeat for some seconds.",
        sum(w.quiet for w in alive),
    )  # fmt: skip
    yield family(
        "hive_worker_memory_bytes", "gauge", "Resident memory of the hive's live processes.",
        [(labels(host=host), used) for host, used in sorted(memory.items())],
    )  # fmt: skip
    pools = pools_of(found)
    # Document 004, its dots as underscores.
    for n, (name, about) in enumerate(
        (("size", "Connections to sources."), ("idle", "Those that lie idle."), ("active", "Those that are in use."))
    ):
        yield family(
            f"connector_pool_{name}", "gauge", about,
            [(labels(connector_type=kind), counts[n]) for kind, counts in sorted(pools.items())],
        )  # fmt: skip


def pools_of(found: Figures) -> dict[str, list[int]]:
    """Connector -> connections to its sources that live processes hold: [all, idle, lent]."""
    pools: dict[str, list[int]] = {}
    for worker in found.workers:
        for kind, counts in (worker.pools or {}).items() if worker.alive else ():
            pools[kind] = [a + b for a, b in zip(pools.get(kind, [0, 0, 0]), counts, strict=True)]
    return pools


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
