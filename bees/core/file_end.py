"""How a pass ends: what it did not find is deleted, unless that is so much that a person must say so."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from bees.core.file_batches import Outgoing
from bees.core.file_cursor import Leg
from bees.core.file_gone import Piece, gone
from bees.core.file_sections import LISTED
from nectar.batch import Batch, Cursor, Reject

_FEW = 20
"""Files that may go at once, whatever their share is."""
_NOTHING = (
    "nothing at all is listed under `path`, and what came from there before stays: check `path`; "
    "if this is meant, `max_deleted: 1` or --full-refresh says so"
)


class End:
    def __init__(self, leg: Leg, out: Outgoing) -> None:
        self._leg = leg
        self._out = out
        self._plan = leg.plan
        self._options = leg.options
        self._memory = leg.memory

    def batches(self, *, bare: bool) -> Iterator[Batch]:
        """The last batches of a pass. `bare`: nothing is listed at all where a folder that is gone looks the same."""
        pieces: Iterator[Piece] = iter(())
        held = files = 0
        lost = self._leg.lost()
        met = self._leg.anew and self._leg.full  # what a complete reading of all did not meet the hive finds out itself
        if self._options.mode == "file_monitor" and (self._memory.missing or lost):
            files, missing = self._memory.counted(met=met)
            if bare or (missing > _FEW and missing > files * self._options.max_deleted):
                held = missing
            else:
                pieces = gone(self._memory, lost, self._options.batch_rows, met=met)
        anew: Cursor = {}
        if bare and self._leg.full:  # of earlier readings nothing is known, and a complete one would end them
            held = held or 1
            anew = {"full": True, "begins": True} | ({"listed": True} if self._leg.listed else {})
            self._leg.full = self._leg.listed = False
        if held and held != self._leg.cursor.get("held"):
            what = "documents are gone" if self._plan.document else "files are gone"
            reason = f"{held} of {files} {what}, more than `max_deleted`: none of them was deleted"
            self._leg.full = False
            told = ("nothing_listed", _NOTHING) if bare else ("too_many_gone", reason)
            self._out.reject(Reject(self._plan.name, *told))
        for piece in pieces:
            if self._plan.document and self._out.has_any():
                yield self._out.flush()
            for name in () if self._plan.document else piece.paths:
                self._out.sections.gone(name, self._out.tables.count)
            if not piece.last:  # a leg that begins here goes on behind it
                self._memory.forget(piece.upto)
                yield self._deletes(piece.paths, self._leg.here()) if self._plan.document else self._out.flush()
            elif self._plan.document:
                yield self._deletes(piece.paths, self._leg.ended(held), complete=self._leg.full)
                return
        for name in [LISTED] if self._leg.listed else []:
            self._out.sections.gone(name, self._out.tables.count)
        end = {**self._leg.ended(held), **anew}
        if self._out.has_any() or self._out.sections.wait() or end != self._out.sent or "whole" in end:
            yield self._out.flush(end, complete=self._leg.full)

    def _deletes(self, paths: list[str], cursor: Cursor, *, complete: bool = False) -> Batch:
        table = pa.table({"path": pa.array(paths, pa.string()), "_op": pa.array(["delete"] * len(paths), pa.string())})
        return Batch(self._plan.name, table, cursor, None, complete)
