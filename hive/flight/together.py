"""Streams that are read as they were at one moment: one task reads them one after the other, in one go.

Their source keeps that moment for as long as the task reads; nothing of it outlives the task. So a crash or a stop
begins all of them anew, as of another moment: half of each would be of neither. What the jar holds by then is
recognised, and costs a hash. While too much waits to be landed, reading waits, too: a minute for each batch at most,
since those who land may be few, and the source keeps its moment meanwhile.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from hive.errors import TooEarly
from hive.flight.bees import OpenBee
from hive.flight.cancel import DISABLED, FlightClosed, stop
from hive.flight.collect import Leg, leg_of
from hive.flight.gather import gather
from hive.flight.plan import adopt, begun, offered, parted, register
from hive.flight.point import Point
from hive.flight.task import Left, Task
from hive.runtime import Runtime
from nectar.pollen import Stream


@dataclass
class WholeLeg(Leg):
    """A stream from its beginning to its end. The task goes on after it, unless it is the last one."""

    final: bool = False

    def _read(self) -> None:
        limits = self.rt.settings
        source = self.bee.bee.collect_nectar(self.stream.name, self.cursor)
        with closing(cast("Any", source)):
            for batch, last in gather(
                self._moving(source), most_bytes=limits.batch_bytes, most_rows=limits.batch_rows, wait=limits.batch_wait
            ):
                self._seal(batch, last=last and self.final)
                if last:
                    return
                if self.grounded:
                    return
                self._await_room()
                if self.rt.stopping.is_set():
                    raise TooEarly("this worker stops: another one reads all streams anew, as of one moment")
        if self.final:
            self._end()


def read_together(task: Task, bee: OpenBee, rt: Runtime, moment: AbstractContextManager[None]) -> Left:
    """Read every stream of the bee. Raises what the bee raises, LeaseHeld, TooEarly where the worker is to stop."""
    followed = False
    with moment:
        streams = sorted(offered(task, bee), key=lambda stream: stream.trouble is not None)
        for number, stream in enumerate(streams, 1):
            if stream.trouble:
                raise stream.trouble  # all the others are read
            task, point = _next(task, bee, rt, stream)
            leg = cast("WholeLeg", leg_of(task, bee, rt, point, WholeLeg))
            leg.final = number == len(streams)
            left = leg.run()
            followed = followed or left.open
            if leg.grounded and not leg.final:
                with suppress(FlightClosed):  # somebody else was faster
                    stop(rt, task.flight, DISABLED)
                return Left(waiting=True, open=followed)
    return left


def _next(task: Task, bee: OpenBee, rt: Runtime, stream: Stream) -> tuple[Task, Point]:
    """Let go of the stream before, and take this one, from its beginning if all of it is read in each flight."""
    with rt.db.transaction() as tx:
        task = task.hold(tx)
        if task.checkpoint is not None:
            tx.run("free_lease", checkpoint=task.checkpoint, id=task.id)
        found = register(tx, task, stream)
        adopt(tx, task, found)
        point = begun(tx, rt, task, bee, stream, found)
        if point.slices:
            [point] = parted(tx, rt, task, bee, stream, point, (), anew=True)
        if stream.cursor is None:
            tx.run("begin_pass", checkpoint=point.checkpoint)
            point = replace(point, cursor=None)
    return task.adopted(point.checkpoint), point
