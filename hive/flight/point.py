"""Where reading of a stream stands, as the ledger has it, and the cursor in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from bees.core.bee import WorkerBee
from hive.config.shape import cursor_now
from hive.flight.task import Task
from hive.runtime import Runtime
from hive.vault.envelope import open_, seal

_VERSION, _FLIGHT, _PART, _DISTINCT = "@connector_version", "@flight", "@part", "@distinct_from"
"""Beside what the connector put into its cursor."""


@dataclass(frozen=True)
class Point:
    """One row of `checkpoint`."""

    checkpoint: int
    stream: str
    epoch: int
    seq: int
    cursor: bytes | None
    """Sealed."""
    fingerprint: str
    """Of the source and configuration that `cursor` belongs to; empty for a stream that was never read."""
    slice: str = ""
    """Number of the part; empty for a whole stream."""
    slices: int = 0
    """Of a whole stream: parts in which it is read."""
    ended: bool = False
    """Of a part: it was read to its end."""
    midway: bool = False
    """A reading of all of it has begun and is not at its end."""


def point_of(row: Any, stream: str) -> Point:
    return Point(
        row.checkpoint, stream, row.epoch, row.sealed_seq, row.sealed_cursor, row.fingerprint, row.slice, row.slices,
        row.ended, row.midway,
    )  # fmt: skip


class Opened(NamedTuple):
    """A cursor as its connector reads it now, and what the hive noted beside it."""

    cursor: dict[str, Any] | None
    part: str | None = None
    distinct_from: int | None = None
    """Of hive.flight.seal.Meta: the run that goes on behind the cursor."""


def seal_cursor(
    rt: Runtime,
    task: Task,
    cursor: Any,
    version: int | str = 1,
    part: str | None = None,
    distinct_from: int | None = None,
) -> bytes:
    """A cursor as the ledger keeps it: it may hold values of records, so it is sealed, and so is what its part is.

    It says which flight and which version of its connector gave it; the first version needs no word.
    """
    _, key = rt.keyring(task.tenant).key("cursor")
    written = dict(cursor or {})
    if written:
        written[_FLIGHT] = task.flight.hex
    if written and version != 1:
        written[_VERSION] = version
    if written and distinct_from is not None:
        written[_DISTINCT] = distinct_from
    if part is not None:
        written[_PART] = part
    return seal(key, json.dumps(written).encode(), _cursor_place(task))


def open_cursor(rt: Runtime, task: Task, sealed: bytes | None, kind: type[WorkerBee]) -> Opened:
    """Raises GiveUp for a cursor of a version that the connector does not know."""
    if sealed is None:
        return Opened(None)
    _, key = rt.keyring(task.tenant).key("cursor")
    found: dict[str, Any] = json.loads(open_(key, sealed, _cursor_place(task)))
    version, flight, part = found.pop(_VERSION, 1), found.pop(_FLIGHT, None), found.pop(_PART, None)
    distinct_from = found.pop(_DISTINCT, None)
    if not found:
        return Opened(None, part)
    cursor = cursor_now(kind, found, version)
    return Opened(cursor if flight == task.flight.hex else dict(kind.begin_flight(cursor)), part, distinct_from)


def _cursor_place(task: Task) -> bytes:
    return b"cursor|%d" % (task.checkpoint or 0)
