"""The first step of every flight: which streams there are, and a reading task for each."""

from __future__ import annotations

from dataclasses import replace

from bees.core.errors import GiveUp
from hive.errors import LeaseHeld
from hive.flight.bees import OpenBee
from hive.flight.task import Task
from hive.ledger.db import Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime
from nectar.pollen import Stream


def plan(task: Task, bee: OpenBee, rt: Runtime) -> tuple[Task, str]:
    """Make the reading tasks. This task itself becomes the one of the first stream, whose name comes back with it.

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
    with rt.db.transaction() as tx:
        task.hold(tx)
        points = [_register(tx, task, bee, stream) for stream in streams]
        tx.run("adopt", day=task.day, id=task.id, checkpoint=points[0])
        for point in points[1:]:
            hints += task.follow(tx, rt.settings, "collect", task.queue, checkpoint=point)
        mine = replace(task, kind="collect", checkpoint=points[0])
        held = take_lease(tx, mine)
    rt.send(hints)
    if not held:
        raise LeaseHeld(f"another flight of {task.bee_name!r} reads {streams[0].name!r} just now")
    return mine, streams[0].name


def take_lease(tx: Transaction, task: Task) -> bool:
    """The only right to read this stream; False while another task has it."""
    row = tx.run("take_lease", checkpoint=task.checkpoint, day=task.day, id=task.id, fence=task.fence).fetchone()
    return row is not None


def _register(tx: Transaction, task: Task, bee: OpenBee, stream: Stream) -> int:
    """The stream's checkpoint, begun anew if what it belongs to has changed or everything is to be read again."""
    row = tx.run("register_stream", jar=task.jar, bee=task.bee, stream=stream.name).fetchone()
    assert row is not None
    state = tx.run("checkpoint_state", checkpoint=row.checkpoint).fetchone()
    assert state is not None
    fingerprint = bee.fingerprint(stream)
    if state.fingerprint != fingerprint or task.full_refresh:
        step = 1 if state.fingerprint else 0
        tx.run("new_epoch", checkpoint=row.checkpoint, fingerprint=fingerprint, step=step)
    checkpoint: int = row.checkpoint
    return checkpoint
