"""A stream that several workers read at once: each part has a checkpoint, a lease and tasks of its own.

The connector says into which parts a large stream falls. They hold until each of them was read to its end: a round.
A flight that finds parts of a round open goes on with those; else it begins the next round, with new parts or with the
stream as a whole. A crash in one part repeats what that part had not sealed, and nothing of the others.

The seqs of a stream's parts are far apart, and those of a round are above all of the rounds before. So any two batches
of a stream have two seqs, and what a later round read has the higher pos, in whichever part it stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp
from hive.errors import LeaseHeld

if TYPE_CHECKING:
    from hive.flight.bees import OpenBee
    from hive.flight.point import Point
    from hive.ledger.db import Transaction
    from nectar.pollen import Stream

ROOM = 2**32
"""Batches that a part may have in a round."""


def asked(bee: OpenBee, streams: Sequence[Stream]) -> dict[str, Sequence[str]]:
    """The parts of the streams that fall into some. May ask the source.

    What cannot be read at all is told by the task that reads it: the other streams land.
    """
    if type(bee.bee).slices is WorkerBee.slices:
        return {}
    found: dict[str, Sequence[str]] = {}
    for stream in streams:
        with suppress(GiveUp):
            found[stream.name] = tuple(bee.bee.slices(stream.name, None))
    return {name: parts for name, parts in found.items() if len(parts) > 1}


def open_parts(tx: Transaction, stream: Stream, point: Point, *, anew: bool) -> list[Any]:
    """The rows of the parts that the last round left unread. They stay locked until the transaction ends."""
    tx.run("lock_parts", checkpoint=point.checkpoint).fetchall()
    if anew or not point.slices:
        return []
    return tx.run("open_parts", checkpoint=point.checkpoint, stream=stream.name).fetchall()


def cut(tx: Transaction, task: int, stream: Stream, point: Point, parts: Sequence[str]) -> list[tuple[int, str]]:
    """Begin a round: the checkpoints of its parts, and what each is; none where the stream is read whole again.

    Raises LeaseHeld while somebody reads the stream, or while something of it has not landed: only what is in the jar
    has its place below what comes now.
    """
    state = tx.run("parts_state", checkpoint=point.checkpoint, task=task).fetchone()
    assert state is not None
    if state.busy:
        raise LeaseHeld(f"{stream.name!r} is read just now, or lands: it is not cut anew before that ended")
    tx.run("cut", checkpoint=point.checkpoint, slices=len(parts), round=state.round + 1, seq=state.top)
    made = []
    for number, part in enumerate(parts, 1):
        seq = state.top + number * ROOM
        row = tx.run("register_part", checkpoint=point.checkpoint, slice=str(number), seq=seq).fetchone()
        assert row is not None
        made.append((int(row.checkpoint), part))
    return made
