"""What a pass has read and not sent yet, and the batches that are made of it."""

from __future__ import annotations

import time

from bees.core.file_cursor import Leg
from bees.core.file_sections import Sections
from bees.core.files import document_table
from bees.core.formats import TableBuffer
from bees.core.tabular import RowBuffer
from nectar.batch import Batch, Cursor, Reject

_QUIET = 20.0
"""Seconds of a listing that gives no batch, after which an empty one carries its place: the next leg goes on there."""


class Outgoing:
    """Rows, what was set aside, and which rows are of which file. `sent`: the cursor of the last batch."""

    def __init__(self, leg: Leg) -> None:
        options, cursor = leg.options, leg.cursor
        self._leg = leg
        self._plan = leg.plan
        self._begins = not cursor or "begins" in cursor
        self.documents = RowBuffer(options.batch_rows, options.batch_bytes)
        self.tables = TableBuffer(options.batch_rows, options.batch_bytes)
        self.buffer: RowBuffer | TableBuffer = self.documents if self._plan.document else self.tables
        self.sections = Sections(on=options.mode == "file_monitor" and not self._plan.document)
        self.sent = cursor
        self._quiet = float("inf")

    def is_due(self) -> bool:
        """Whether a batch is full, or none was sent for long."""
        # Counted from the first file on, so that each leg gets further than the one before.
        self._quiet = min(self._quiet, time.monotonic() + _QUIET)
        return self.buffer.full() or time.monotonic() >= self._quiet

    def has_any(self) -> bool:
        """Whether there are rows, or what was set aside, that no batch has taken yet."""
        return bool(self.buffer.rows or self.buffer.rejects)

    def reject(self, reject: Reject) -> None:
        self.buffer.rejects.append(reject)
        self.buffer.size += len(reject.raw)

    def flush(self, cursor: Cursor | None = None, *, complete: bool = False) -> Batch:
        """A batch of all that waits; its cursor says where the pass stands now, unless another is given."""
        buffer = self.buffer
        table = document_table(self.documents.rows) if self._plan.document else self.tables.table()
        sections = self.sections.take(table.num_rows)
        batch = Batch(
            self._plan.name,
            table,
            cursor or self._leg.here(),
            None,
            complete,
            tuple(buffer.rejects),
            self._begins,
            sections,
        )
        self._begins = False
        self.sent = batch.cursor
        self._quiet = time.monotonic() + _QUIET
        buffer.clear()
        return batch
