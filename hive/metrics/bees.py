"""The series of each bee. What a bee did not change since the last look is not written anew.

Ten thousand bees make half a million lines, and nearly all of them say the same from one scrape to the next: the lines
of some bees that stand together are kept until what the ledger holds of one of them is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, starmap
from typing import Any, Literal

from hive.ledger.tables import DURATIONS
from hive.metrics.text import escaped, head

OUTCOMES = ("landed", "unchanged", "superseded", "deleted", "quarantined")
ENDED = ("complete", "failed", "cancelled")

_FAMILIES: tuple[tuple[str, Literal["counter", "gauge", "histogram"], str], ...] = (
    # document 000
    ("worker_bee_nectar_collected_total", "counter", "Records that were read, set-aside ones included."),
    ("worker_bee_flight_duration_seconds", "histogram", "How long flights lasted."),
    # document 002: a sync is a flight
    ("connector_sync_total", "counter", "Flights that ended, by how."),
    ("connector_sync_duration_seconds", "histogram", "How long flights lasted."),
    ("connector_sync_errors_total", "counter", "Flights that failed."),
    ("connector_entities_synced", "counter", "Records created or updated by flights that ended."),
    ("connector_organizations_synced", "counter", "Organizations created or updated likewise."),
    ("connector_last_sync_timestamp", "gauge", "When the last complete flight ended, Unix seconds."),
    # document 004, its dots as underscores: an execution is a flight
    ("connector_execution_duration", "histogram", "Seconds that flights lasted."),
    ("connector_execution_count", "counter", "Flights that ended, by how."),
    ("connector_retry_count", "counter", "Attempts after the first of tasks of flights that ended."),
    ("connector_circuit_breaker_state", "gauge", "Of its source: 0 closed or none, 1 half-open, 2 open."),
    # ours
    ("hive_records_total", "counter", "Records by what became of them."),
    ("hive_read_bytes_total", "counter", "Bytes that were read, uncompressed."),
    ("hive_retries_total", "counter", "Attempts after the first of tasks of flights that ended."),
    ("hive_missed_slots", "gauge", "Slots that the bee's schedules have passed over."),
    ("hive_circuit_breaker_state", "gauge", "Of the bee's source: 0 closed, 1 half-open, 2 open."),
)
STEADY = "paused"
"""The first column of a row of `bee_figures` that may differ though the bee did nothing."""
_TOGETHER = 25
"""Bees whose lines are written anew when one of them has changed."""
_ENDS = [f'le="{bound:g}"}} ' for bound in DURATIONS]


class Series:
    """Lines of bees, kept by their place from look to look; a bee that is gone leaves with the next look."""

    def __init__(self) -> None:
        self._kept: list[_Some] = []

    def parts(self, bees: Sequence[Any]) -> Iterator[str]:
        """All families whose lines change only when the bee did something, in pieces: joined they are 35 MB."""
        steady = bees[0]._fields.index(STEADY) if bees else 0
        kept: list[_Some] = []
        for start in range(0, len(bees), _TOGETHER):
            rows = bees[start : start + _TOGETHER]
            known = self._kept[start // _TOGETHER] if start // _TOGETHER < len(self._kept) else None
            seen = [row[:steady] for row in rows]
            kept.append(known if known is not None and known.seen == seen else _Some(seen, rows))
        self._kept = kept
        columns = zip(*(some.lines for some in kept), strict=True) if kept else [()] * len(_FAMILIES)
        return chain.from_iterable((one, *lines) for one, lines in zip(starmap(head, _FAMILIES), columns, strict=True))

    def labels(self) -> list[str]:
        """`bee="name"` of each bee of the last look, in its order."""
        return [label for some in self._kept for label in some.labels]


class _Some:
    """Some bees: what was seen of them, and their lines of each family, as one text."""

    __slots__ = ("labels", "lines", "seen")

    def __init__(self, seen: Sequence[Any], bees: Sequence[Any]) -> None:
        self.seen = seen
        self.labels = [f'bee="{escaped(bee.name)}"' for bee in bees]
        self.lines = ["".join(lines) for lines in zip(*map(_lines, bees), strict=True)]


def _lines(bee: Any) -> tuple[str, ...]:
    """Of each of the families, in their order."""
    name, kind = escaped(bee.name), escaped(bee.connector)
    bee_type = f'bee_type="{bee.bee_type}",source="{name}"'
    connector, otel, ours = f'connector="{name}"', f'connector_name="{name}",connector_type="{kind}"', f'bee="{name}"'
    flown = bee.last_state is not None
    lasted = _lasted(bee) if bee.durations else ()
    ended = [(state, getattr(bee, state)) for state in ENDED] if flown else []
    return (
        f"worker_bee_nectar_collected_total{{{bee_type}}} {bee.read}\n",
        _histogram("worker_bee_flight_duration_seconds", bee_type, lasted),
        _by("connector_sync_total", connector, "status", ended),
        _histogram("connector_sync_duration_seconds", connector, lasted),
        _one("connector_sync_errors_total", connector, bee.failed if flown else None),
        _one("connector_entities_synced", connector, bee.entities if flown else None),
        _one("connector_organizations_synced", connector, bee.organizations if flown else None),
        _one("connector_last_sync_timestamp", connector, bee.success_at),
        _histogram("connector_execution_duration", otel, lasted),
        _by("connector_execution_count", otel, "status", ended),
        _one("connector_retry_count", otel, bee.retries if flown else None),
        _one("connector_circuit_breaker_state", otel, bee.breaker or 0),
        _by("hive_records_total", ours, "outcome", [(outcome, getattr(bee, outcome)) for outcome in OUTCOMES]),
        _one("hive_read_bytes_total", ours, bee.bytes),
        _one("hive_retries_total", ours, bee.retries),
        _one("hive_missed_slots", ours, bee.missed),
        _one("hive_circuit_breaker_state", ours, bee.breaker),
    )


def _lasted(bee: Any) -> tuple[str, ...]:
    """(what follows the labels of each bucket, ..., sum, count)."""
    count = bee.complete + bee.failed + bee.cancelled
    buckets = [f"{end}{n}\n" for end, n in zip(_ENDS, bee.durations, strict=True)]
    return (*buckets, f'le="+Inf"}} {count}\n', f"}} {bee.seconds}\n", f"}} {count}\n")


def _histogram(name: str, labels: str, lasted: Sequence[str]) -> str:
    if not lasted:
        return ""
    start = f"{name}_bucket{{{labels},"
    return f"{start}{start.join(lasted[:-2])}{name}_sum{{{labels}{lasted[-2]}{name}_count{{{labels}{lasted[-1]}"


def _by(name: str, labels: str, further: str, values: Sequence[tuple[str, int]]) -> str:
    return "".join([f'{name}{{{labels},{further}="{word}"}} {n}\n' for word, n in values])


def _one(name: str, labels: str, value: float | None) -> str:
    return "" if value is None else f"{name}{{{labels}}} {value}\n"
