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
_ENDS = [*(f'le="{bound:g}"}} ' for bound in DURATIONS), 'le="+Inf"} ']


class Series:
    """Lines of bees, kept by their place from look to look; a bee that is gone leaves with the next look."""

    def __init__(self) -> None:
        self._kept: list[_Some] = []

    def parts(self, bees: Sequence[Any]) -> Iterator[bytes]:
        """All families whose lines change only when the bee did something, in pieces: joined they are 35 MB."""
        steady = bees[0]._fields.index(STEADY) if bees else 0
        kept: list[_Some] = []
        for start in range(0, len(bees), _TOGETHER):
            rows = bees[start : start + _TOGETHER]
            known = self._kept[start // _TOGETHER] if start // _TOGETHER < len(self._kept) else None
            seen = [row[:steady] for row in rows]
            kept.append(known if known is not None and known.seen == seen else _Some(seen, rows, known))
        self._kept = kept
        columns = zip(*(some.lines for some in kept), strict=True) if kept else [()] * len(_FAMILIES)
        heads = [one.encode() for one in starmap(head, _FAMILIES)]
        return chain.from_iterable((one, *lines) for one, lines in zip(heads, columns, strict=True))

    def labels(self) -> list[str]:
        """`bee="name"` of each bee of the last look, in its order."""
        return [label for some in self._kept for label in some.labels]


class _Some:
    """Some bees: what was seen of them, and their lines of each family, as one text in UTF-8.

    All but the numbers of a line is the same as long as the bee has the same labels and the same lines, so it is kept
    as a form that the numbers are filled into.
    """

    __slots__ = ("forms", "labels", "lines", "seen", "shape")

    def __init__(self, seen: Sequence[Any], bees: Sequence[Any], before: _Some | None) -> None:
        """`before`: some bees of which the forms may be the same."""
        self.seen = seen
        self.forms: list[str]
        self.labels: list[str]
        self.shape = [_shape(bee) for bee in bees]
        if before is not None and before.shape == self.shape:
            self.forms, self.labels = before.forms, before.labels
        else:
            self.forms = ["".join(forms) for forms in zip(*map(_form, bees), strict=True)]
            self.labels = [f'bee="{escaped(bee.name)}"' for bee in bees]
        self.lines = [(form % tuple(values)).encode() for form, values in zip(self.forms, _values(bees), strict=True)]


def _shape(bee: Any) -> tuple[Any, ...]:
    """What the form of a bee's lines depends on."""
    return (
        bee.name, bee.connector, bee.bee_type, bee.last_state is None, bool(bee.durations), bee.success_at is None,
        bee.breaker is None,
    )  # fmt: skip


def _form(bee: Any) -> tuple[str, ...]:
    """Lines of each of the families, in their order, with `%s` for each number of `_values`."""
    name, kind = escaped(bee.name).replace("%", "%%"), escaped(bee.connector).replace("%", "%%")
    bee_type = f'bee_type="{bee.bee_type}",source="{name}"'
    connector, otel, ours = f'connector="{name}"', f'connector_name="{name}",connector_type="{kind}"', f'bee="{name}"'
    flown, lasted = bee.last_state is not None, bool(bee.durations)
    return (
        _line("worker_bee_nectar_collected_total", bee_type),
        _histogram("worker_bee_flight_duration_seconds", bee_type) if lasted else "",
        _by("connector_sync_total", connector, "status", ENDED) if flown else "",
        _histogram("connector_sync_duration_seconds", connector) if lasted else "",
        _line("connector_sync_errors_total", connector) if flown else "",
        _line("connector_entities_synced", connector) if flown else "",
        _line("connector_organizations_synced", connector) if flown else "",
        _line("connector_last_sync_timestamp", connector) if bee.success_at is not None else "",
        _histogram("connector_execution_duration", otel) if lasted else "",
        _by("connector_execution_count", otel, "status", ENDED) if flown else "",
        _line("connector_retry_count", otel) if flown else "",
        _line("connector_circuit_breaker_state", otel),
        _by("hive_records_total", ours, "outcome", OUTCOMES),
        _line("hive_read_bytes_total", ours),
        _line("hive_retries_total", ours),
        _line("hive_missed_slots", ours),
        _line("hive_circuit_breaker_state", ours) if bee.breaker is not None else "",
    )


def _values(bees: Sequence[Any]) -> tuple[list[Any], ...]:
    """The numbers in the lines of each family, of one bee after the other."""
    flown = [bee for bee in bees if bee.last_state is not None]
    ended = [n for bee in flown for n in (bee.complete, bee.failed, bee.cancelled)]
    lasted = [n for bee in bees if bee.durations for n in _lasted(bee)]
    retries = [bee.retries for bee in flown]
    return (
        [bee.read for bee in bees],
        lasted,
        ended,
        lasted,
        [bee.failed for bee in flown],
        [bee.entities for bee in flown],
        [bee.organizations for bee in flown],
        [bee.success_at for bee in bees if bee.success_at is not None],
        lasted,
        ended,
        retries,
        [bee.breaker or 0 for bee in bees],
        [n for bee in bees for n in (bee.landed, bee.unchanged, bee.superseded, bee.deleted, bee.quarantined)],
        [bee.bytes for bee in bees],
        [bee.retries for bee in bees],
        [bee.missed for bee in bees],
        [bee.breaker for bee in bees if bee.breaker is not None],
    )


def _lasted(bee: Any) -> tuple[Any, ...]:
    """(number in each bucket, ..., in all, sum, count)."""
    count = bee.complete + bee.failed + bee.cancelled
    return (*bee.durations, count, bee.seconds, count)


def _histogram(name: str, labels: str) -> str:
    buckets = [f"{name}_bucket{{{labels},{end}%s\n" for end in _ENDS]
    return f"{''.join(buckets)}{name}_sum{{{labels}}} %s\n{name}_count{{{labels}}} %s\n"


def _by(name: str, labels: str, further: str, words: Sequence[str]) -> str:
    return "".join([f'{name}{{{labels},{further}="{word}"}} %s\n' for word in words])


def _line(name: str, labels: str) -> str:
    return f"{name}{{{labels}}} %s\n"
