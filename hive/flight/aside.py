"""What a task that cannot be done leaves: halves that are tried alone, and at last quarantine."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from psycopg.types.json import Jsonb

from hive.errors import HiveError
from hive.flight.process import complete_part, load
from hive.flight.seal import pack
from hive.flight.sections import hold
from hive.flight.task import Task
from hive.jars.land import Place
from hive.jars.quarantine import REASONS, Bad, quarantine
from hive.ledger.db import Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime
from hive.vault.envelope import Unsealable


def halve(tx: Transaction, task: Task, rt: Runtime) -> list[Hint]:
    """Two tasks in place of one, each with half of the rows: the record that kills workers will stand alone."""
    low, high = task.row_from or 0, task.row_to or 0
    middle = (low + high) // 2
    hints: list[Hint] = []
    for part in ((low, middle), (middle, high)):
        hints += task.follow(
            tx, rt.settings, "process", task.queue, checkpoint=task.checkpoint, batch=task.batch, rows=part
        )
    tx.run("split_batch", day=task.day, batch=task.batch)
    task.finish(tx, rt.settings)
    return hints


def set_aside(tx: Transaction, task: Task, rt: Runtime, code: str, error: dict[str, Any] | None) -> None:
    """Move a task's rows whole to quarantine, with a receipt: the watermark passes, the range stays listed.

    With `error` the part is dead and its flight fails; without, the record alone is put aside.
    """
    rows = (task.row_to or 0) - (task.row_from or 0)
    try:
        work = load(task, rt, scrubbed=False)
        place, checkpoint = work.place, work.checkpoint
        raw = pack(work.table, work.meta, ())
        bad = [Bad(r, reject.code, reject.reason, reject.raw, reject.position) for r, reject in work.rejects]
        if work.table.num_rows:
            bad.append(Bad(task.row_from or 0, code, REASONS[code], raw, records=rows - len(bad)))
        if task.mode != "snapshot":
            hold(tx, work, lost=True)
    except (HiveError, Unsealable, pa.ArrowException, ValueError, KeyError):
        place, checkpoint, body = _unopened(tx, task)
        bad = [Bad(task.row_from or 0, code, "the sealed batch does not open", body, records=rows)]
    quarantine(tx, rt.keyring(task.tenant).key("quarantine"), place, checkpoint, bad)
    counts = {"landed": 0, "unchanged": 0, "superseded": 0, "deleted": 0, "quarantined": rows}
    if error is not None:
        tx.run("give_up", day=task.day, id=task.id, error=Jsonb(error))
    complete_part(tx, task, rt.settings, checkpoint, place, counts, dead=error is not None)


def _unopened(tx: Transaction, task: Task) -> tuple[Place, int, bytes]:
    row = tx.run("load_batch", day=task.day, batch=task.batch).fetchone()
    assert row is not None
    place = Place(task.part, task.jar, task.bee, row.stream, row.epoch, row.seq, task.flight, 0, "")
    return place, row.checkpoint, row.body or b""
