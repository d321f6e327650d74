"""The first step of every flight: which streams there are, and a reading task for each."""

from __future__ import annotations

from dataclasses import dataclass

from bees.core.errors import GiveUp
from hive.errors import LeaseHeld, StaleFence
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


def plan(task: Task, bee: OpenBee, rt: Runtime) -> tuple[Task, Point]:
    """Make the reading tasks. This task itself becomes the one of the first stream, whose point comes back with it.

    Raises GiveUp when the source offers nothing, LeaseHeld when another flight reads the first stream just now.
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
        points = [alone] if alone else [_register(tx, task, bee, stream) for stream in streams]
        mine = task.adopted(points[0].checkpoint)
        row = tx.run(
            "adopt", day=task.day, id=task.id, fence=task.fence, owner=task.owner, checkpoint=mine.checkpoint
        ).fetchone()
        if row is None or not row.held:
            raise StaleFence(f"task {task.ref} was taken back from this worker")
        for point in points[1:]:
            hints += task.follow(tx, rt.settings, "collect", task.queue, checkpoint=point.checkpoint)
    rt.send(hints)
    if not row.leased:
        raise LeaseHeld(f"another flight of {task.bee_name!r} reads {streams[0].name!r} just now")
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
    return Point(row.checkpoint, stream.name, row.epoch, row.sealed_seq, row.sealed_cursor)


def _register(tx: Transaction, task: Task, bee: OpenBee, stream: Stream) -> Point:
    """The stream's checkpoint, begun anew if what it belongs to has changed or everything is to be read again."""
    which = {"jar": task.jar, "bee": task.bee, "stream": stream.name}
    row = tx.run("find_stream", **which).fetchone() or tx.run("register_stream", **which).fetchone()
    assert row is not None
    fingerprint = bee.fingerprint(stream)
    if row.fingerprint == fingerprint and not task.full_refresh:
        return Point(row.checkpoint, stream.name, row.epoch, row.sealed_seq, row.sealed_cursor)
    step = 1 if row.fingerprint else 0
    begun = tx.run("new_epoch", checkpoint=row.checkpoint, fingerprint=fingerprint, step=step).fetchone()
    assert begun is not None
    return Point(row.checkpoint, stream.name, begun.epoch, row.sealed_seq, None)
