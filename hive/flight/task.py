"""A claimed task: what this process has the right to work on, as long as its fence holds."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from hive.errors import StaleFence
from hive.ledger.db import Transaction
from hive.ledger.hints import Hint
from hive.settings import Settings


@dataclass(frozen=True)
class Left:
    """What a task leaves behind: tasks of its `queue` that wait for a hint, `open` tasks of its flight."""

    waiting: bool
    open: bool = False


@dataclass(frozen=True)
class Task:
    """One row of the ledger's task table, with what its work needs to know of the flight, the bee and the jar."""

    day: dt.date
    id: int
    flight: uuid.UUID
    bee: int
    kind: str
    queue: str
    priority: int
    attempt: int
    crashes: int
    fence: int
    owner: str
    checkpoint: int | None
    batch: int | None
    row_from: int | None
    row_to: int | None
    bee_name: str
    tenant: str
    source: str
    mode: str
    full_refresh: bool
    jar: int
    jar_name: str
    part: int
    config_version: int
    """The flight's: it keeps what it began with, but for credentials and stricter scrubbing."""
    newest_config: int
    data_key: bytes | None
    sealed: Any = field(default=None, repr=False, compare=False)
    """Its batch as the statement `load_batch` gives it, where the claim brought it along: one of few bytes."""

    @classmethod
    def from_row(cls, row: Any) -> Self:
        sealed = row if getattr(row, "body", None) is not None else None
        return cls(**{f.name: getattr(row, f.name) for f in fields(cls) if f.name != "sealed"}, sealed=sealed)

    @property
    def ref(self) -> str:
        return f"{self.day:%Y%m%d}.{self.id}"

    @property
    def stage(self) -> str:
        """`collect` or `process`: planning is the beginning of collecting."""
        return "process" if self.kind == "process" else "collect"

    def adopted(self, checkpoint: int) -> Self:
        return replace(self, kind="collect", checkpoint=checkpoint)

    def hold(self, tx: Transaction) -> Self:
        """Lock this task's row for the rest of the transaction. Raises StaleFence when another worker has it.

        Gives the task as its row is now: a planning task may have become a reading one, which holds a lease.
        """
        row = tx.run("hold", day=self.day, id=self.id, fence=self.fence, owner=self.owner).fetchone()
        if row is None:
            raise StaleFence(f"task {self.ref} was taken back from this worker")
        return replace(self, kind=row.kind, checkpoint=row.checkpoint)

    def let_go(self, tx: Transaction) -> None:
        """Free what the task held beside its row: the stream's lease, the source's slot."""
        if self.checkpoint is not None and self.kind == "collect":
            tx.run("free_lease", checkpoint=self.checkpoint, id=self.id)
        if self.source and self.stage == "collect":
            tx.run("free_source_slot", source=self.source, id=self.id)

    def finish(self, tx: Transaction, settings: Settings) -> bool:
        """Done. True: other tasks of this queue wait for a hint, and few are outstanding."""
        row = tx.run(
            "finish", day=self.day, id=self.id, queue=self.queue, checkpoint=self.checkpoint, source=self.source,
            few=settings.hints_per_queue // 2,
        ).fetchone()  # fmt: skip
        return bool(row and row.waiting)

    def follow(
        self,
        tx: Transaction,
        settings: Settings,
        kind: str,
        queue: str,
        *,
        checkpoint: int | None = None,
        batch: int | None = None,
        rows: tuple[int, int] | None = None,
    ) -> list[Hint]:
        """Insert a task of the same flight that comes after this one; its hint, if its queue has room."""
        row = tx.run(
            "new_task",
            day=self.day,
            flight=self.flight,
            bee=self.bee,
            kind=kind,
            queue=queue,
            priority=self.priority,
            checkpoint=checkpoint,
            batch=batch,
            row_from=rows[0] if rows else None,
            row_to=rows[1] if rows else None,
            parent=self.id,
            room=settings.hints_per_queue,
        ).fetchone()
        assert row is not None
        return [Hint(self.day, row.id, kind, queue, self.flight, self.id, self.priority)] if row.hinted else []
