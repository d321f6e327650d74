"""The metrics of document 004 by OTLP, under the names that it gives them; what they say comes from the ledger.

OpenTelemetry's own instruments count in one process and forget with it. Totals of a fleet, over restarts and dead
workers, are in the ledger already: here they are only put into OpenTelemetry's shapes and sent, by each gateway.
"""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from hive.errors import trail
from hive.ledger.db import UNREACHABLE, Database
from hive.ledger.tables import DURATIONS
from hive.metrics.families import pools_of
from hive.metrics.figures import Figures, figures
from hive.settings import environment
from hive.telemetry.otel import resource

log = structlog.get_logger()

INTERVAL = 60_000
"""Milliseconds between two exports, where OTEL_METRIC_EXPORT_INTERVAL says nothing: OpenTelemetry's default."""
PATIENCE = 10.0
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class Sender:
    """A thread that sends the figures of a ledger again and again."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._exporter = OTLPMetricExporter()
        self._resource = resource()
        self._stop = threading.Event()
        self._began = time.time_ns()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_interval()):
            try:
                self._exporter.export(self._data(figures(self._db, patience=PATIENCE)))
            except UNREACHABLE:
                continue  # the next look may find it
            except Exception as error:  # noqa: BLE001 - one export that fails must not end all that follow
                log.warning("telemetry.unsent", kind=type(error).__name__, trail=trail(error))

    def _data(self, found: Figures) -> MetricsData:
        scope = InstrumentationScope("hive", importlib.metadata.version("worker-bees"))
        metrics = metrics_of(found, self._began, time.time_ns())
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(scope, metrics, "")], "")])


def metrics_of(found: Figures, began: int, now: int) -> list[Metric]:
    """What document 004 counts. Times are Unix nanoseconds; `began` is when this sender first told of the totals."""
    bees = [(bee, {"connector.name": bee.name, "connector.type": bee.connector}) for bee in found.bees]
    flown = [(bee, about) for bee, about in bees if bee.last_state is not None]
    ended = [
        ({**about, "status": state}, getattr(bee, state))
        for bee, about in flown
        for state in ("complete", "failed", "cancelled")
    ]
    durations = [
        HistogramDataPoint(
            about, began, now, count, bee.seconds, _apart(bee.durations, count), DURATIONS, float("inf"), float("-inf")
        )
        for bee, about in flown
        if (count := bee.complete + bee.failed + bee.cancelled)
    ]
    pools = pools_of(found).items()
    gauges = [
        ("connector.circuit_breaker.state", "0 closed or none, 1 half-open, 2 open",
         [(about, bee.breaker or 0) for bee, about in bees]),
        *[
            (f"connector.pool.{word}", "connections to sources", [({"connector.type": k}, c[n]) for k, c in pools])
            for n, word in enumerate(("size", "idle", "active"))
        ],
    ]  # fmt: skip

    def points(values: Iterable[tuple[dict[str, Any], float]]) -> list[NumberDataPoint]:
        return [NumberDataPoint(about, began, now, value) for about, value in values]

    retries = Sum(points((about, bee.retries) for bee, about in flown), _CUMULATIVE, is_monotonic=True)
    executions = Sum(points(ended), _CUMULATIVE, is_monotonic=True)
    told = [
        Metric("connector.execution.duration", "how long flights lasted", "s", Histogram(durations, _CUMULATIVE)),
        Metric("connector.execution.count", "flights that ended", "1", executions),
        Metric("connector.retry.count", "attempts after the first of their tasks", "1", retries),
    ]
    told += [Metric(name, about, "1", Gauge(points(values))) for name, about, values in gauges]
    return [metric for metric in told if metric.data.data_points]


def _apart(counts: Sequence[int], whole: int) -> list[int]:
    """Flights in each bucket, from how many lasted at most each bound."""
    steps = [0, *counts, whole]
    return [after - before for before, after in pairwise(steps)]


def _interval() -> float:
    """Seconds."""
    try:
        return max(0.1, float(environment().get("OTEL_METRIC_EXPORT_INTERVAL") or INTERVAL) / 1000)
    except ValueError:
        return INTERVAL / 1000
