"""The scrubber of each bee, made once per process and configuration version."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from hive.flight.task import Task
from hive.ledger.db import Transaction
from hive.runtime import Runtime
from nectar.scrub import DataScrubber

_KEPT = 64
_made: OrderedDict[tuple[int, int], VersionedScrubber] = OrderedDict()


@dataclass(frozen=True)
class VersionedScrubber:
    """A scrubber, and its version as the number that records carry."""

    scrubber: DataScrubber
    number: int


def scrubber_of(tx: Transaction | None, task: Task, rt: Runtime) -> VersionedScrubber:
    """The scrubber of a task's bee. `tx` is needed the first time only."""
    at = (task.bee, task.config_version)
    if at not in _made:
        assert tx is not None
        row = tx.psycopg.execute("SELECT config -> 'scrubbing' FROM hive.bee WHERE id = %s", [task.bee]).fetchone()
        scrubber = DataScrubber(row[0] if row else None, keys=rt.keyring(task.tenant))
        _made[at] = VersionedScrubber(scrubber, int(scrubber.version[:15], 16))
    _made.move_to_end(at)
    while len(_made) > _KEPT:
        _made.popitem(last=False)
    return _made[at]
