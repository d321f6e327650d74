"""The first step of every flight: which streams there are, and a reading task for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bees.core.errors import GiveUp
from hive.errors import LeaseHeld, StaleFence, Superseded
from hive.flight.bees import OpenBee
from hive.flight.task import Task
from hive.ledger.db import Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime
from nectar.pollen import Stream


@dataclass(frozen=True)
class Point:
    """Where reading of a stream stands: one row of `checkpoint`."""

    checkpoint: int
    stream: str
    epoch: int
    seq: int
    cursor: bytes | None
    """Sealed."""
    fingerprint: str
    """Of the source and configuration that `cursor` belongs to; empty for a stream that was never read."""


def plan(task: Task, bee: OpenBee, rt: Runtime) -> tuple[Task, Point]:
    """Make the reading tasks. This task itself becomes the one of the first stream, whose point comes back with it.

    Raises GiveUp when the source offers nothing, LeaseHeld when another flight reads the first stream just now,
    Superseded when a flight with a newer configuration was faster.
    """
    streams = bee.pollen()
    if not streams:
        raise GiveUp(
            f"bee {task.bee_name!r}: the source offers no stream",
            code="no_stream",
            where="streams",
            advice="name what to read under `streams`, or check what the credentials may see with `hive schema`",
        )
    hints: list[Hint] = []
    alone = _as_before(task, bee, streams[0], rt) if len(streams) == 1 else None
    with rt.db.single() if alone else rt.db.transaction() as tx:
        points = [alone] if alone else [_register(tx, task, stream) for stream in streams]
        mine = task.adopted(points[0].checkpoint)
        row = tx.run(
            "adopt", day=task.day, id=task.id, fence=task.fence, owner=task.owner, checkpoint=mine.checkpoint
        ).fetchone()
        if row is None or not row.held:
            raise StaleFence(f"task {task.ref} was taken back from this worker")
        if not row.leased:
            raise LeaseHeld(f"another flight of {task.bee_name!r} reads {streams[0].name!r} just now")
        # Only now: who reads the stream just now must not find itself in an epoch that is not its own.
        points = [_begun(tx, task, bee, *one) for one in zip(streams, points, strict=True)]
        for point in points[1:]:
            hints += task.follow(tx, rt.settings, "collect", task.queue, checkpoint=point.checkpoint)
    rt.send(hints)
    return mine, points[0]


def take_lease(tx: Transaction, task: Task) -> bool:
    """The only right to read this stream; False while another task has it."""
    row = tx.run("take_lease", checkpoint=task.checkpoint, day=task.day, id=task.id, fence=task.fence).fetchone()
    return row is not None


def _as_before(task: Task, bee: OpenBee, stream: Stream, rt: Runtime) -> Point | None:
    """The stream's checkpoint where nothing has to be written: the usual case, for which a lone statement will do."""
    with rt.db.single() as tx:
        row = tx.run("find_stream", jar=task.jar, bee=task.bee, stream=stream.name).fetchone()
    if row is None or row.fingerprint != bee.fingerprint(stream) or task.full_refresh:
        return None
    return point_of(row, stream.name)


def point_of(row: Any, stream: str) -> Point:
    return Point(row.checkpoint, stream, row.epoch, row.sealed_seq, row.sealed_cursor, row.fingerprint)


def _register(tx: Transaction, task: Task, stream: Stream) -> Point:
    """The stream's checkpoint, made if it was never read."""
    which = {"jar": task.jar, "bee": task.bee, "stream": stream.name}
    return point_of(
        tx.run("find_stream", **which).fetchone() or tx.run("register_stream", **which).fetchone(), stream.name
    )


def _begun(tx: Transaction, task: Task, bee: OpenBee, stream: Stream, point: Point) -> Point:
    """The same point, or a new epoch if what it belongs to has changed or everything is to be read again."""
    fingerprint = bee.fingerprint(stream)
    if point.fingerprint == fingerprint and not task.full_refresh:
        return point
    if point.fingerprint and point.fingerprint != fingerprint:
        refuse_older(task, stream.name)
    step = 1 if point.fingerprint else 0
    begun = tx.run("new_epoch", checkpoint=point.checkpoint, fingerprint=fingerprint, step=step).fetchone()
    assert begun is not None
    return replace(point, epoch=begun.epoch, cursor=None, fingerprint=fingerprint)


def refuse_older(task: Task, stream: str) -> None:
    """A flight of an older configuration has nothing to say of a stream that a newer one reads. Raises Superseded."""
    if task.config_version != task.newest_config:
        raise Superseded(f"{stream!r} of {task.bee_name!r} is read with a newer configuration")
