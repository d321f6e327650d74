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
from hive.flight.seal import Meta, flight_key, pack, place, seal_batch
from hive.flight.task import Task
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
    sealed: int = 0
    hints: list[Hint] = field(default_factory=list)
    waiting: bool = False

    def run(self) -> bool:
        """Read until the source or the leg ends. True: tasks of this queue wait for a hint."""
        ends = time.monotonic() + self.rt.settings.leg
        limits = self.rt.settings
        source = self.bee.bee.collect_nectar(self.stream.name, self.cursor)
        with closing(cast("Any", source)):
            for batch, last in gather(
                source, most_bytes=limits.batch_bytes, most_rows=limits.batch_rows, wait=limits.batch_wait
            ):
                if last:
                    self._last(batch)
                    return self.waiting
                self._seal(batch)
                if self.rt.stopping.is_set() or time.monotonic() >= ends or self._too_much_waits():
                    self._hand_over()
                    return self.waiting
        self._last(None)
        return self.waiting

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
            self.waiting = self.task.finish(tx)
        self._tell(batch)

    def _hand_over(self) -> None:
        with self._holding() as tx:
            self.hints += self.task.follow(
                tx, self.rt.settings, "collect", self.task.queue, checkpoint=self.task.checkpoint
            )
            self.waiting = self.task.finish(tx)
        self._tell(None)

    @contextmanager
    def _holding(self) -> Iterator[Transaction]:
        """A transaction in which this leg still owns its task and its stream."""
        with self.rt.db.transaction() as tx:
            self.task.hold(tx)
            lease = {"checkpoint": self.task.checkpoint, "id": self.task.id, "fence": self.task.fence}
            if tx.run("hold_lease", **lease).fetchone() is None:
                raise StaleFence(f"the lease of {self.stream.name!r} was released")
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
            tx.run("move_cursor", checkpoint=self.task.checkpoint, cursor=sealed_cursor)
            return
        seq = self.seq + 1
        about = {"day": self.task.day, "flight": self.task.flight, "checkpoint": self.task.checkpoint}
        row = tx.run("seal_batch", **about, epoch=self.epoch, seq=seq, rows=rows, bytes=batch.table.nbytes).fetchone()
        assert row is not None
        tx.run("keep_payload", day=self.task.day, batch=row.id, body=body)
        self.hints += self.task.follow(
            tx,
            self.rt.settings,
            "process",
            PROCESS_QUEUE,
            checkpoint=self.task.checkpoint,
            batch=row.id,
            rows=(0, rows),
        )
        moved = tx.run(
            "move_sealed_cursor", checkpoint=self.task.checkpoint, epoch=self.epoch, cursor=sealed_cursor, seq=seq
        ).fetchone()
        if moved is None:
            raise StaleFence(f"another reader moved on with {self.stream.name!r} of {self.task.bee_name!r}")
        self.seq, self.sealed = seq, self.sealed + 1
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
        with self.rt.db.transaction() as tx:
            row = tx.run("pending_bytes", flight=self.task.flight).fetchone()
        assert row is not None
        limits = self.rt.settings
        return bool(row.of_flight >= limits.pending_bytes_per_flight or row.of_all >= limits.pending_bytes)


def collect(task: Task, bee: OpenBee, rt: Runtime, stream_name: str | None = None) -> bool:
    """Fly one leg of a stream. True: tasks of this queue wait for a hint. Raises what the bee raises."""
    with rt.db.transaction() as tx:
        state = tx.run("checkpoint_state", checkpoint=task.checkpoint).fetchone()
        assert state is not None
        name = stream_name or _stream_name(tx, state.stream)
    data_key = flight_key(rt.key, task.data_key, task.flight)
    if not bee.stream(name).key:
        raise GiveUp(
            f"bee {task.bee_name!r}: the stream {name!r} has no key, so its records cannot land exactly once",
            code="no_key",
            where=f"streams.{name}.key",
            advice=f"name the columns that identify a record: streams.{name}.key",
        )
    leg = Leg(
        task,
        bee,
        bee.stream(name),
        rt,
        data_key,
        state.epoch,
        state.sealed_seq,
        open_cursor(rt, task, state.sealed_cursor),
    )
    return leg.run()


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


def _stream_name(tx: Transaction, stream: int) -> str:
    row = tx.psycopg.execute("SELECT name FROM hive.stream WHERE id = %s", [stream]).fetchone()
    assert row is not None
    return str(row[0])
