"""The first step of every flight: which streams there are, and a reading task for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bees.core.errors import GiveUp, SourceError
from hive.config.shape import version_of
from hive.errors import LeaseHeld, StaleFence, Superseded
from hive.flight import parts
from hive.flight.bees import OpenBee
from hive.flight.point import Point, open_cursor, point_of, seal_cursor
from hive.flight.task import Task
from hive.ledger.db import Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime
from hive.vault.envelope import Unsealable
from nectar.pollen import Stream


def plan(task: Task, bee: OpenBee, rt: Runtime) -> tuple[Task, Point]:
    """Make the reading tasks. This task itself becomes the one of the first stream, whose point comes back with it.

    Raises GiveUp when the source offers nothing, LeaseHeld when another flight reads the first stream just now,
    Superseded when a flight with a newer configuration was faster.
    """
    streams = offered(task, bee)
    alone = _read_on(task, bee, streams, rt)
    if alone is not None:
        return task.adopted(alone.checkpoint), alone
    hints: list[Hint] = []
    cuts = parts.asked(task, bee, streams, rt)
    with rt.db.transaction() as tx:
        points = [register(tx, task, stream) for stream in streams]
        whole = not _falls_apart(streams[0], points[0], cuts)
        if whole:
            adopt(tx, task, points[0])
        # Only now: who reads the stream just now must not find itself in an epoch that is not its own.
        found: list[Point] = []
        for stream, point in zip(streams, points, strict=True):
            now = begun(tx, rt, task, bee, stream, point)
            if _falls_apart(stream, point, cuts):
                found += parted(tx, rt, task, bee, stream, now, cuts.get(stream.name, ()), anew=now != point)
            else:
                found.append(now)
        if not whole:
            adopt(tx, task, found[0])
        for point in found[1:]:
            hints += task.follow(tx, rt.settings, "collect", task.queue, checkpoint=point.checkpoint)
    rt.send(hints)
    return task.adopted(found[0].checkpoint), found[0]


def _falls_apart(stream: Stream, point: Point, cuts: Mapping[str, Sequence[str]]) -> bool:
    """Whether it is read in parts, or was the last time."""
    return not stream.trouble and bool(point.slices or stream.name in cuts)


def offered(task: Task, bee: OpenBee) -> Sequence[Stream]:
    """The streams to read. Raises GiveUp where there is none."""
    streams = bee.pollen()
    if not streams:
        raise GiveUp(
            f"bee {task.bee_name!r}: the source offers no stream",
            code="no_stream",
            where="streams",
            advice="name what to read under `streams`, or check what the credentials may see with `hive schema`",
        )
    return streams


def adopt(tx: Transaction, task: Task, point: Point) -> None:
    """Make the planning task the reading one of this point. Raises StaleFence, or LeaseHeld."""
    row = tx.run(
        "adopt", day=task.day, id=task.id, fence=task.fence, owner=task.owner, checkpoint=point.checkpoint
    ).fetchone()
    _is_mine(task, row, point.stream)


def _is_mine(task: Task, row: Any, stream: str) -> None:
    """What came of it. Raises StaleFence, or LeaseHeld."""
    if row is None or not row.held:
        raise StaleFence(f"task {task.ref} was taken back from this worker")
    if not row.leased:
        raise LeaseHeld(f"another flight of {task.bee_name!r} reads {stream!r} just now")


def parted(
    tx: Transaction,
    rt: Runtime,
    task: Task,
    bee: OpenBee,
    stream: Stream,
    point: Point,
    told: Sequence[str],
    *,
    anew: bool,
) -> list[Point]:
    """The points of a stream that is read in parts, or was the last time. Raises LeaseHeld."""
    rows = parts.open_parts(tx, stream, point, anew=anew)
    if rows:
        return [point_of(row, stream.name) for row in rows]
    if point.slices and stream.cursor is not None and not anew:
        whole = parts.joined(tx, rt, task, bee, stream, point)
        if whole is not None:
            return [whole]
    begins = point.cursor is None or (stream.cursor is None and not point.midway)
    if not point.slices and not begins:
        return [point]  # a reading of the whole goes on
    made = parts.cut(tx, task, stream, point, told)
    if not made:
        row = tx.run("checkpoint_state", checkpoint=point.checkpoint).fetchone()
        return [point_of(row, stream.name)]
    version = version_of(type(bee.bee))
    found = []
    for checkpoint, part in made:
        cursor = seal_cursor(rt, task.adopted(checkpoint), None, version, part)
        tx.run("begin_part", checkpoint=checkpoint, cursor=cursor)
        found.append(point_of(tx.run("checkpoint_state", checkpoint=checkpoint).fetchone(), stream.name))
    return found


def take_lease(tx: Transaction, task: Task) -> bool:
    """The only right to read this stream; False while another task has it."""
    row = tx.run("take_lease", checkpoint=task.checkpoint, day=task.day, id=task.id, fence=task.fence).fetchone()
    return row is not None


def _read_on(task: Task, bee: OpenBee, streams: Sequence[Stream], rt: Runtime) -> Point | None:
    """The usual case in one step: a stream alone that is read on as it stands, so nothing has to be written first.

    A stream that its source may cut into parts must have been begun. Raises StaleFence, or LeaseHeld.
    """
    stream, cuts = streams[0], parts.may_cut(bee)
    if len(streams) > 1 or task.full_refresh or (cuts and stream.cursor is None):
        return None
    with rt.db.single() as tx:
        row = tx.run(
            "adopt_stream", day=task.day, id=task.id, fence=task.fence, owner=task.owner, jar=task.jar, bee=task.bee,
            stream=stream.name, fingerprint=bee.fingerprint(stream), begun=cuts,
        ).fetchone()  # fmt: skip
    if row is None:
        return None
    _is_mine(task, row, stream.name)
    return point_of(row, stream.name)


def register(tx: Transaction, task: Task, stream: Stream) -> Point:
    """The stream's checkpoint, made if it was never read."""
    which = {"jar": task.jar, "bee": task.bee, "stream": stream.name}
    return point_of(
        tx.run("find_stream", **which).fetchone() or tx.run("register_stream", **which).fetchone(), stream.name
    )


def begun(tx: Transaction, rt: Runtime, task: Task, bee: OpenBee, stream: Stream, point: Point) -> Point:
    """The same point, or a new epoch if what it belongs to has changed or everything is to be read again.

    What cannot be read for now tells neither its key nor its cursor, and stays where it was.
    """
    fingerprint = bee.fingerprint(stream)
    if stream.trouble or (point.fingerprint == fingerprint and not task.full_refresh):
        return point
    if point.fingerprint and point.fingerprint != fingerprint:
        refuse_older(task, stream.name)
    step = 1 if point.fingerprint else 0
    made = tx.run(
        "new_epoch", checkpoint=point.checkpoint, fingerprint=fingerprint, step=step, replaces=stream.replaces
    ).fetchone()
    assert made is not None
    kept = _kept(rt, task.adopted(point.checkpoint), bee, point) if point.fingerprint == fingerprint else None
    if kept is not None:
        tx.run("begin_part", checkpoint=point.checkpoint, cursor=kept)
    return replace(point, epoch=made.epoch, cursor=kept, fingerprint=fingerprint)


def _kept(rt: Runtime, task: Task, bee: OpenBee, point: Point) -> bytes | None:
    """What of the cursor stays where everything is read again; nothing of one that cannot be read any more."""
    kind = type(bee.bee)
    try:
        cursor, part, _ = open_cursor(rt, task, point.cursor, kind)
    except (SourceError, Unsealable, ValueError):
        return None
    kept = kind.begin_anew(cursor) if cursor and part is None else {}
    return seal_cursor(rt, task, kept, version_of(kind)) if kept else None


def refuse_older(task: Task, stream: str) -> None:
    """A flight of an older configuration has nothing to say of a stream that a newer one reads. Raises Superseded."""
    if task.config_version != task.newest_config:
        raise Superseded(f"{stream!r} of {task.bee_name!r} is read with a newer configuration")
