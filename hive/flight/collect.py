"""A reading leg: from the source into sealed batches, for a bounded time.

Each seal is one statement: the batch, its payload, its scrub task and the cursor after it, or nothing of them. What
the source sees is acknowledged only after that commit. A leg that ends before the source does hands over to a new
task, which goes on from the cursor of the last seal - as anybody does after a crash.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp
from hive import crash
from hive.config.shape import version_of
from hive.errors import StaleFence
from hive.flight import sections
from hive.flight.bees import OpenBee
from hive.flight.cancel import DISABLED, FlightClosed, stop
from hive.flight.gather import gather
from hive.flight.plan import refuse_older
from hive.flight.point import Point, open_cursor, point_of, seal_cursor
from hive.flight.seal import Meta, flight_key, pack, place, seal_batch
from hive.flight.task import Left, Task
from hive.ledger.db import Transaction
from hive.ledger.hints import SCHEDULED, Hint
from hive.runtime import Runtime
from nectar.batch import Batch, Cursor
from nectar.pollen import Stream

PROCESS_QUEUE = "nectar"
_PATIENCE, _LOOK = 60.0, 0.5
"""Seconds that a leg which cannot be taken up again waits for room, and between two looks."""


@dataclass
class Leg:
    """One claimed reading task and what it counts as it goes."""

    task: Task
    bee: OpenBee
    stream: Stream
    rt: Runtime
    data_key: bytes
    epoch: int
    seq: int
    cursor: dict[str, Any] | None
    part: str | None = None
    """What the connector calls the part of the stream that this leg reads; None: all of it."""
    distinct_from: int | None = None
    """Where the run of batches began that this leg goes on with, in which no key comes twice; None: there is none."""
    hints: list[Hint] = field(default_factory=list)
    first: Cursor | None = None
    """Of the first batch."""
    waiting: bool = False
    followed: bool = False
    """Other tasks came out of this one."""
    whole: bool = False
    """The last sealed batch ended a complete read."""
    paused: bool = False
    """The next flight goes on behind the last sealed batch, with the same read."""
    enabled: bool = False
    """The bee was, at this leg's last seal."""
    grounded: bool = False
    """It is no more: a schedule's flight ends here, and one by hand if that happened while it flew."""

    def run(self) -> Left:
        """Read until the source or the leg ends."""
        self._read()
        return Left(waiting=self.waiting, open=self.followed)

    def _read(self) -> None:
        ends = time.monotonic() + self.rt.settings.leg
        limits = self.rt.settings
        source = self.bee.bee.collect_nectar(self.stream.name, self.cursor, self.part)
        with closing(cast("Any", source)):
            for batch, last in gather(
                self._moving(source), most_bytes=limits.batch_bytes, most_rows=limits.batch_rows, wait=limits.batch_wait
            ):
                self._seal(batch, last=last)
                if last:
                    return
                if self.grounded:
                    self._stop()
                    return
                if self.whole or batch.ends:
                    continue  # the source is at its end: to hand over would be to read it all again
                if self.rt.stopping.is_set() or (self._resumes(batch) and self._is_over(ends)):
                    self._hand_over()
                    return
        self._end()

    def _is_over(self, ends: float) -> bool:
        return time.monotonic() >= ends or self._too_much_waits()

    def _resumes(self, batch: Batch) -> bool:
        """Whether a next leg would go on behind this batch, and not begin again where this leg began.

        Where it would begin again, this leg reads on for as long as it takes. While too much waits to be landed, it
        waits, too: a minute for each batch at most, since those who land may be few.
        """
        if self.stream.resumes != "none":
            return True
        self.first = batch.cursor if self.first is None else self.first
        if batch.cursor != self.first:
            return True
        self._await_room()
        return False

    def _await_room(self) -> None:
        """Wait while too much waits to be landed."""
        until = time.monotonic() + _PATIENCE
        while self._too_much_waits() and time.monotonic() < until and not self.rt.stopping.wait(_LOOK):
            self.rt.moved()

    def _moving(self, source: Iterator[Batch]) -> Iterator[Batch]:
        """Each batch says that this task gets on."""
        for number, batch in enumerate(source):
            self.rt.moved()
            if not number and self.bee.breaker is not None:
                self.bee.breaker.succeeded()
            yield batch

    def _seal(self, batch: Batch, *, last: bool) -> None:
        """Write a batch, its payload, its scrub task and the cursor after it; and with the last one the leg's end."""
        task, limits = self.task, self.rt.settings
        rows = batch.table.num_rows + len(batch.rejects)
        seq = self.seq + 1 if rows else self.seq
        self.distinct_from = {"first": self.seq + 1, "more": self.distinct_from}.get(batch.distinct)
        values = {
            **self._mine(), "flight": task.flight, "epoch": self.epoch,
            "before": self.seq, "seq": seq, "cursor": self._seal_cursor(batch.cursor),
            "whole": self._is_whole(batch), "over": last and not (batch.pauses or self.stream.versions),
            "anew": self.seq + 1 if batch.begins and self.seq else None,
            "since": -1 if self.stream.versions else self.seq + 1,
            "bee": task.bee, "rows": rows, "bytes": batch.table.nbytes, "body": self._pack(batch, seq) if rows else b"",
            "next_queue": PROCESS_QUEUE, "priority": task.priority, "room": limits.hints_per_queue, "last": last,
            "queue": task.queue, "few": limits.hints_per_queue // 2, "source": task.source,
            "told": type(self.bee.bee).sealed is not WorkerBee.sealed,
        }  # fmt: skip
        secret = self.rt.keyring(task.tenant).key("record")[1]
        told = sections.told(batch.sections, secret, self.stream.key, seq + (not rows))
        crash.point("collect:before-seal-commit")
        with self.rt.db.transaction() if told.met_all else self.rt.db.single() as tx:
            row = tx.run("seal", **values, **told.values).fetchone()
            if told.met_all and row is not None and row.moved:
                where = {"checkpoint": task.checkpoint, "epoch": self.epoch, "seq": seq}
                tx.run("end_unmet", **where, first=told.values["first"], own=told.values["own"])
        crash.point("collect:after-seal-commit")
        assert row is not None
        if not row.moved:
            raise self._taken(anew=row.held)
        if row.hinted:
            self.hints.append(Hint(task.day, row.next, "process", PROCESS_QUEUE, task.flight, task.id, task.priority))
        self.grounded = row.enabled is False and (self.enabled or task.priority == SCHEDULED)
        self.enabled = bool(row.enabled)
        self.paused = batch.pauses
        # A last batch without rows ends the task, and what came out of it may have landed by now, and closed nothing.
        self.followed = rows > 0 or (self.followed and not last)
        self.seq, self.waiting = seq, row.waiting
        self._send()
        self.bee.bee.sealed(batch.cursor)  # only now the source hears that its records are safe

    def _end(self) -> None:
        """The source gave nothing, or nothing more."""
        with self._holding() as tx:
            if self.stream.cursor is None and not (self.stream.versions or self.whole or self.paused):
                tx.run("end_pass", checkpoint=self.task.checkpoint)
            if self.part is not None:
                tx.run("end_part", checkpoint=self.task.checkpoint)
            self.waiting = self.task.finish(tx, self.rt.settings)
        self.followed = False  # what came out of it may have landed by now, and closed nothing

    def _is_whole(self, batch: Batch) -> bool:
        """The end of a read that met all that the source holds."""
        self.whole = batch.complete and (self.stream.cursor is None or self.stream.versions)
        return self.whole

    def _stop(self) -> None:
        """The bee was disabled: its flight reads no more, and what is sealed lands."""
        with suppress(FlightClosed):  # somebody else was faster
            stop(self.rt, self.task.flight, DISABLED)
        self.waiting = True

    def _hand_over(self) -> None:
        with self._holding() as tx:
            self.hints += self.task.follow(
                tx, self.rt.settings, "collect", self.task.queue, checkpoint=self.task.checkpoint
            )
            self.waiting = self.task.finish(tx, self.rt.settings)
        self.followed = True
        self._send()

    @contextmanager
    def _holding(self) -> Iterator[Transaction]:
        """A transaction in which this leg still owns its task and its stream."""
        with self.rt.db.transaction() as tx:
            if tx.run("hold_reading", **self._mine()).fetchone() is None:
                raise self._taken()
            yield tx

    def _mine(self) -> dict[str, Any]:
        """What shows that the task and its stream are this worker's."""
        task = self.task
        return {
            "day": task.day, "id": task.id, "fence": task.fence, "owner": task.owner, "checkpoint": task.checkpoint
        }  # fmt: skip

    def _taken(self, *, anew: bool = False) -> StaleFence:
        if anew:
            return StaleFence(
                f"{self.stream.name!r} of {self.task.bee_name!r} is read anew, or another reader moved on"
            )
        return StaleFence(f"task {self.task.ref} or the lease of {self.stream.name!r} was taken from this worker")

    def _pack(self, batch: Batch, seq: int) -> bytes:
        """The sealed body."""
        assert self.task.checkpoint is not None
        meta = Meta(
            self.stream.name,
            self.stream.key,
            dt.datetime.now(dt.UTC).isoformat(),
            self.stream.document,
            {c.name: c.kind for c in self.stream.columns},
            whole=self.stream.cursor is None or self.stream.versions,
            sections=tuple((s.name, s.start, s.stop) for s in batch.sections if s.start < s.stop or batch.rejects),
            distinct_from=self.distinct_from,
        )
        packed = pack(batch.table, meta, batch.rejects)
        return seal_batch(self.data_key, packed, place(self.task.flight, self.task.checkpoint, seq))

    def _send(self) -> None:
        self.rt.send(self.hints)
        self.hints = []

    def _seal_cursor(self, cursor: Any) -> bytes:
        version = version_of(type(self.bee.bee))
        return seal_cursor(self.rt, self.task, cursor, version, self.part, self.distinct_from)

    def _too_much_waits(self) -> bool:
        """Backpressure: what is sealed and not landed is bounded, per flight, in all, and by the room on the disk."""
        if self.rt.backlog.is_low():
            return True
        with self.rt.db.single() as tx:
            row = tx.run("pending_bytes", flight=self.task.flight).fetchone()
        assert row is not None
        limits = self.rt.settings
        return bool(row.of_flight >= limits.pending_bytes_per_flight or row.of_all >= limits.pending_bytes)


def collect(task: Task, bee: OpenBee, rt: Runtime, point: Point | None = None) -> Left:
    """Fly one leg of a stream, from `point` if planning has just looked. Raises what the bee raises."""
    if point is None:
        with rt.db.single() as tx:
            row = tx.run("checkpoint_state", checkpoint=task.checkpoint).fetchone()
        assert row is not None
        point = point_of(row, row.name)
    if point.slice and point.ended:
        return _leave(task, rt)
    return leg_of(task, bee, rt, point).run()


def leg_of(task: Task, bee: OpenBee, rt: Runtime, point: Point, kind: type[Leg] = Leg) -> Leg:
    """A leg that begins at `point`. Raises Superseded, or GiveUp for a stream without a key or in trouble."""
    stream = bee.stream(point.stream)
    if stream.trouble:
        raise stream.trouble
    if point.fingerprint != bee.fingerprint(stream):
        refuse_older(task, point.stream)
    if not stream.key:
        raise GiveUp(
            f"bee {task.bee_name!r}: the stream {stream.name!r} has no key, so its records cannot land exactly once",
            code="no_key",
            where=f"streams.{stream.name}.key",
            advice=f"name the columns that identify a record: streams.{stream.name}.key",
        )
    data_key = flight_key(rt.key, task.data_key, task.flight)
    opened = open_cursor(rt, task, point.cursor, type(bee.bee))
    return kind(task, bee, stream, rt, data_key, point.epoch, point.seq, *opened)


def _leave(task: Task, rt: Runtime) -> Left:
    """Another flight read this part to its end."""
    with rt.db.transaction() as tx:
        task.hold(tx)
        return Left(waiting=task.finish(tx, rt.settings))
