"""The scrubber of each bee, made once per process and configuration version."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hive.ledger.db import Transaction

if TYPE_CHECKING:
    from hive.flight.task import Task
    from nectar.keys import PseudonymKeys
    from nectar.scrub import DataScrubber

_KEPT = 256


@dataclass(frozen=True)
class VersionedScrubber:
    """A scrubber, and its version as the number that records carry."""

    scrubber: DataScrubber
    number: int


class Scrubbers:
    """Kept by a process's runtime; the one that was idle longest goes first."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, int], VersionedScrubber] = OrderedDict()

    def of(self, tx: Transaction | None, task: Task, keys: PseudonymKeys) -> VersionedScrubber:
        """The scrubber of a task's bee, with its tenant's keys. `tx` is needed the first time only."""
        from nectar.scrub import DataScrubber

        at = (task.bee, task.config_version)
        if at not in self._made:
            assert tx is not None
            row = tx.psycopg.execute("SELECT config -> 'scrubbing' FROM hive.bee WHERE id = %s", [task.bee]).fetchone()
            scrubber = DataScrubber(row[0] if row else None, keys=keys)
            self._made[at] = VersionedScrubber(scrubber, int(scrubber.version[:15], 16))
        self._made.move_to_end(at)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return self._made[at]
