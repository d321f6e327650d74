"""A stream that several workers read at once: each part has a checkpoint, a lease and tasks of its own.

The connector says into which parts a large stream falls. They hold until each of them was read to its end: a round.
A flight that finds parts of a round open goes on with those; else it begins the next round, with new parts or with the
stream as a whole. A crash in one part repeats what that part had not sealed, and nothing of the others.

A stream with a cursor falls into parts in its first reading alone. The next one goes on with the whole of it, from the
cursor that the connector gives once all parts are at their end.

The seqs of a stream's parts are far apart, and those of a round are above all of the rounds before. So any two batches
of a stream have two seqs, and what a later round read has the higher pos, in whichever part it stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp
from hive.config.shape import version_of
from hive.errors import LeaseHeld
from hive.flight.missed import compare
from hive.flight.point import open_cursor, point_of, seal_cursor

if TYPE_CHECKING:
    from hive.flight.bees import OpenBee
    from hive.flight.point import Point
    from hive.flight.task import Task
    from hive.ledger.db import Transaction
    from hive.runtime import Runtime
    from nectar.pollen import Stream

ROOM = 2**32
"""Batches that a part may have in a round."""


def may_cut(bee: OpenBee) -> bool:
    """Whether a bee of this kind reads any stream in parts."""
    return type(bee.bee).slices is not WorkerBee.slices


def asked(task: Task, bee: OpenBee, streams: Sequence[Stream], rt: Runtime) -> dict[str, Sequence[str]]:
    """The parts of the streams that fall into some. May ask the source; not for a stream that goes on from a cursor.

    What cannot be read at all is told by the task that reads it: the other streams land.
    """
    if not may_cut(bee):
        return {}
    found: dict[str, Sequence[str]] = {}
    begun = _begun(task, rt) if any(stream.cursor is not None for stream in streams) else {}
    for stream in streams:
        if stream.trouble:
            continue
        if stream.cursor is not None and begun.get(stream.name) == bee.fingerprint(stream):
            continue
        with suppress(GiveUp):
            found[stream.name] = tuple(bee.bee.slices(stream.name, None))
    return {name: parts for name, parts in found.items() if len(parts) > 1}


def _begun(task: Task, rt: Runtime) -> dict[str, str]:
    """The streams whose next reading goes on from a cursor, and what that belongs to."""
    if task.full_refresh:
        return {}
    with rt.db.single() as tx:
        rows = tx.run("streams_begun", jar=task.jar, bee=task.bee).fetchall()
    return {row.name: row.fingerprint for row in rows}


def open_parts(tx: Transaction, stream: Stream, point: Point, *, anew: bool) -> list[Any]:
    """The rows of the parts that the last round left unread. They stay locked until the transaction ends."""
    tx.run("lock_parts", checkpoint=point.checkpoint).fetchall()
    if anew or not point.slices:
        return []
    return tx.run("open_parts", checkpoint=point.checkpoint, stream=stream.name).fetchall()


def cut(tx: Transaction, task: Task, stream: Stream, point: Point, parts: Sequence[str]) -> list[tuple[int, str]]:
    """Begin a round: the checkpoints of its parts, and what each is; none where the stream is read whole again.

    What the last round met counts no more then, so it is compared first if nobody has done that.

    Raises LeaseHeld while somebody reads the stream, or while something of it has not landed: only what is in the jar
    has its place below what comes now.
    """
    state = tx.run("parts_state", checkpoint=point.checkpoint, task=task.id).fetchone()
    assert state is not None
    if state.busy:
        raise LeaseHeld(f"{stream.name!r} is read just now, or lands: it is not cut anew before that ended")
    if state.uncompared:
        compare(tx, task.flight, task.day, point.checkpoint)
    tx.run("cut", checkpoint=point.checkpoint, slices=len(parts), round=state.round + 1, seq=state.top)
    made = []
    for number, part in enumerate(parts, 1):
        seq = state.top + number * ROOM
        row = tx.run("register_part", checkpoint=point.checkpoint, slice=str(number), seq=seq).fetchone()
        assert row is not None
        made.append((int(row.checkpoint), part))
    return made


def joined(tx: Transaction, rt: Runtime, task: Task, bee: OpenBee, stream: Stream, point: Point) -> Point | None:
    """The whole of a stream with a cursor again, behind all that its parts were; None where it has to begin anew.

    Raises LeaseHeld, as `cut` does.
    """
    told = []
    for row in tx.run("round_parts", checkpoint=point.checkpoint).fetchall():
        part = open_cursor(rt, task.adopted(row.checkpoint), row.sealed_cursor, type(bee.bee)).part
        told += [part] if part is not None else []
    cursor = bee.bee.after_slices(stream.name, told)
    if cursor is None:
        return None
    cut(tx, task, stream, point, ())
    sealed = seal_cursor(rt, task.adopted(point.checkpoint), cursor, version_of(type(bee.bee)))
    tx.run("begin_part", checkpoint=point.checkpoint, cursor=sealed)
    row = tx.run("checkpoint_state", checkpoint=point.checkpoint).fetchone()
    return point_of(row, stream.name)
