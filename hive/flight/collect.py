"""A reading leg: from the source into sealed batches, for a bounded time.

Each seal is one transaction: the batch, its payload, its scrub task and the cursor after it, or nothing of them. What
the source sees is acknowledged only after that commit. A leg that ends before the source does hands over to a new
task, which goes on from the cursor of the last seal - as anybody does after a crash.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from bees.core.errors import GiveUp
from hive import crash
from hive.errors import StaleFence
from hive.flight.bees import OpenBee
from hive.flight.gather import gather
from hive.flight.plan import Point
from hive.flight.seal import Meta, flight_key, pack, place, seal_batch
from hive.flight.task import Left, Task
from hive.ledger.db import Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime
from hive.vault.envelope import open_, seal
from nectar.batch import Batch
from nectar.pollen import Stream

PROCESS_QUEUE = "nectar"


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
    hints: list[Hint] = field(default_factory=list)
    waiting: bool = False
    followed: bool = False
    """Other tasks came out of this one."""

    def run(self) -> Left:
        """Read until the source or the leg ends."""
        self._read()
        return Left(waiting=self.waiting, open=self.followed)

    def _read(self) -> None:
        ends = time.monotonic() + self.rt.settings.leg
        limits = self.rt.settings
        source = self.bee.bee.collect_nectar(self.stream.name, self.cursor)
        with closing(cast("Any", source)):
            for batch, last in gather(
                source, most_bytes=limits.batch_bytes, most_rows=limits.batch_rows, wait=limits.batch_wait
            ):
                if last:
                    self._last(batch)
                    return
                self._seal(batch)
                if self.rt.stopping.is_set() or time.monotonic() >= ends or self._too_much_waits():
                    self._hand_over()
                    return
        self._last(None)

    def _seal(self, batch: Batch) -> None:
        body = self._pack(batch)
        with self._holding() as tx:
            self._keep(tx, batch, body)
            tx.run("progress", day=self.task.day, id=self.task.id)
        self._tell(batch)

    def _last(self, batch: Batch | None) -> None:
        body = self._pack(batch) if batch is not None else b""
        with self._holding() as tx:
            if batch is not None:
                self._keep(tx, batch, body)
            self.waiting = self.task.finish(tx, self.rt.settings)
        self._tell(batch)

    def _hand_over(self) -> None:
        with self._holding() as tx:
            self.hints += self.task.follow(
                tx, self.rt.settings, "collect", self.task.queue, checkpoint=self.task.checkpoint
            )
            self.waiting = self.task.finish(tx, self.rt.settings)
        self.followed = True
        self._tell(None)

    @contextmanager
    def _holding(self) -> Iterator[Transaction]:
        """A transaction in which this leg still owns its task and its stream."""
        with self.rt.db.transaction() as tx:
            task = self.task
            which = {"day": task.day, "id": task.id, "fence": task.fence, "checkpoint": task.checkpoint}
            if tx.run("hold_reading", **which).fetchone() is None:
                raise StaleFence(f"task {task.ref} or the lease of {self.stream.name!r} was taken from this worker")
            yield tx

    def _pack(self, batch: Batch) -> bytes:
        """The sealed body, made before the transaction begins."""
        assert self.task.checkpoint is not None
        meta = Meta(
            self.stream.name,
            self.stream.key,
            dt.datetime.now(dt.UTC).isoformat(),
            self.stream.document,
            {c.name: c.kind for c in self.stream.columns},
        )
        packed = pack(batch.table, meta, batch.rejects)
        return seal_batch(self.data_key, packed, place(self.task.flight, self.task.checkpoint, self.seq + 1))

    def _keep(self, tx: Transaction, batch: Batch, body: bytes) -> None:
        """Write a batch, its payload, its scrub task and the cursor after it."""
        sealed_cursor = self._seal_cursor(batch.cursor)
        rows = batch.table.num_rows + len(batch.rejects)
        if rows == 0:
            where = {"checkpoint": self.task.checkpoint, "epoch": self.epoch, "seq": self.seq}
            if tx.run("move_cursor", **where, cursor=sealed_cursor).fetchone() is None:
                raise StaleFence(f"{self.stream.name!r} of {self.task.bee_name!r} is read anew")
            return
        task, seq = self.task, self.seq + 1
        row = tx.run(
            "seal_batch", day=task.day, flight=task.flight, checkpoint=task.checkpoint, epoch=self.epoch, seq=seq,
            cursor=sealed_cursor, rows=rows, bytes=batch.table.nbytes, body=body, bee=task.bee, queue=PROCESS_QUEUE,
            priority=task.priority, parent=task.id, room=self.rt.settings.hints_per_queue,
        ).fetchone()  # fmt: skip
        if row is None:
            raise StaleFence(f"another reader moved on with {self.stream.name!r} of {task.bee_name!r}")
        if row.hinted:
            self.hints.append(Hint(task.day, row.id, "process", PROCESS_QUEUE, task.flight, task.id))
        self.seq, self.followed = seq, True
        crash.point("collect:before-seal-commit")

    def _tell(self, batch: Batch | None) -> None:
        """After the commit: hints out, and only now the source hears that its records are safe."""
        if batch is not None:
            crash.point("collect:after-seal-commit")
        self.rt.send(self.hints)
        self.hints = []
        if batch is not None:
            self.bee.bee.sealed(batch.cursor)

    def _seal_cursor(self, cursor: Any) -> bytes:
        return seal_cursor(self.rt, self.task, cursor)

    def _too_much_waits(self) -> bool:
        """Backpressure: what is sealed and not landed is bounded, per flight and in all."""
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
        point = Point(row.checkpoint, row.name, row.epoch, row.sealed_seq, row.sealed_cursor)
    stream = bee.stream(point.stream)
    if not stream.key:
        raise GiveUp(
            f"bee {task.bee_name!r}: the stream {stream.name!r} has no key, so its records cannot land exactly once",
            code="no_key",
            where=f"streams.{stream.name}.key",
            advice=f"name the columns that identify a record: streams.{stream.name}.key",
        )
    data_key = flight_key(rt.key, task.data_key, task.flight)
    return Leg(task, bee, stream, rt, data_key, point.epoch, point.seq, open_cursor(rt, task, point.cursor)).run()


def seal_cursor(rt: Runtime, task: Task, cursor: Any) -> bytes:
    """A cursor as the ledger keeps it: it may hold values of records, so it is sealed."""
    _, key = rt.keyring(task.tenant).key("cursor")
    return seal(key, json.dumps(dict(cursor or {})).encode(), _cursor_place(task))


def open_cursor(rt: Runtime, task: Task, sealed: bytes | None) -> dict[str, Any] | None:
    if sealed is None:
        return None
    _, key = rt.keyring(task.tenant).key("cursor")
    found: dict[str, Any] = json.loads(open_(key, sealed, _cursor_place(task)))
    return found or None


def _cursor_place(task: Task) -> bytes:
    return b"cursor|%d" % (task.checkpoint or 0)
