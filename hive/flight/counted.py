"""What scrubbing took out, counted and never quoted: field, kind, action and how often.

A landing writes the counts of the records that it wrote into its receipt, in the same transaction: a leg that is done
twice counts once. A flight that closes has the sums, and the view `hive.scrubbed` shows them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from hive.flight.close import FIELDS
from nectar.batch import FEW

OTHERS = "*"
"""The field of all that come after the first `FIELDS`."""

Line = Mapping[str, Any]
"""{field, kind, action, count}"""

_COLUMNS = ("row", "field", "kind", "count")
_NAMES = ("field", "kind", "action", "count")


def counted(
    removed: pa.Table, keys: pl.Series, written: Collection[str] | None, action_of: Callable[[str, str], str]
) -> list[Line]:
    """Sums by field, kind and action of what was taken out of the records that were written.

    removed    (row, field, kind, count), see `nectar.pipeline.Refined`
    keys       key of each row (hex)
    written    keys of those records; None: all were
    action_of  what was done with a (field, kind)
    """
    if not removed.num_rows or (written is not None and not written):
        return []
    sums = _few(removed, keys, written) if removed.num_rows <= FEW else _many(removed, keys, written)
    return _lines((*at, action_of(*at) or "rule", count) for at, count in sums)


def merged(one: Iterable[Line] | None, two: Iterable[Line]) -> list[Line]:
    """Two lists of counts as one."""
    return _lines(tuple(line[name] for name in _NAMES) for line in (*(one or ()), *two))


def as_json(lines: Sequence[Line]) -> str | None:
    """For a JSONB column; None where nothing was taken out."""
    return json.dumps(lines, ensure_ascii=False) if lines else None


def _few(removed: pa.Table, keys: pl.Series, written: Collection[str] | None) -> Iterable[tuple[tuple[str, str], int]]:
    sums: Counter[tuple[str, str]] = Counter()
    for row, name, kind, count in zip(*[removed[c].to_pylist() for c in _COLUMNS], strict=True):
        if written is None or keys[row] in written:
            sums[name, kind] += count
    return sums.items()


def _many(removed: pa.Table, keys: pl.Series, written: Collection[str] | None) -> Iterable[tuple[tuple[str, str], int]]:
    frame = pl.DataFrame(pl.from_arrow(removed.select(_COLUMNS)))
    if written is not None and len(written) < len(keys):
        landed = keys.is_in(list(written))
        frame = frame.filter(landed.gather(frame["row"]))
    sums = frame.group_by("field", "kind").agg(pl.col("count").cast(pl.Int64).sum())
    return [((name, kind), count) for name, kind, count in sums.iter_rows()]


def _lines(found: Iterable[tuple[Any, ...]]) -> list[Line]:
    sums: Counter[tuple[str, str, str]] = Counter()
    for name, kind, action, count in found:
        sums[name, kind, action] += count
    kept = set(sorted({name for name, _, _ in sums} - {OTHERS})[:FIELDS])
    lines: Counter[tuple[str, str, str]] = Counter()
    for (name, kind, action), count in sums.items():
        lines[name if name in kept else OTHERS, kind, action] += count
    return [dict(zip(_NAMES, (*at, count), strict=True)) for at, count in sorted(lines.items())]
