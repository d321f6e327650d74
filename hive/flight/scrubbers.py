"""The scrubber of each bee and the steps before it, made once per process and configuration version."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hive.ledger.db import Transaction

if TYPE_CHECKING:
    from hive.flight.task import Task
    from nectar.keys import PseudonymKeys
    from nectar.scrub import DataScrubber
    from nectar.scrub.both import Both
    from nectar.transform import Transform

_KEPT = 256
_SCRUBBING = """
SELECT b.config -> 'scrubbing',
       (SELECT v.body -> 'blocks' -> b.name FROM hive.config_version v WHERE v.id = %s AND v.id <> b.config_version),
       b.config -> 'transform'
  FROM hive.bee b WHERE b.id = %s
"""
"""A version holds all blocks that it changed: it is opened only where it is not the newest."""


@dataclass(frozen=True)
class VersionedScrubber:
    """A scrubber with the bee's own steps before it, and the version of both as the number that records carry."""

    scrubber: DataScrubber | Both
    number: int
    transform: Transform | None = None
    keys: PseudonymKeys | None = None


class Scrubbers:
    """Kept by a process's runtime; the one that was idle longest goes first."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, int, int], VersionedScrubber] = OrderedDict()

    def of(self, tx: Transaction | None, task: Task, keys: PseudonymKeys) -> VersionedScrubber:
        """The scrubber of a task's bee, with its tenant's keys. `tx` is needed the first time only.

        Where `tx` is given and the keys are others than before (one was rotated), it is made anew.

        A flight that began under an older configuration goes through the scrubbers of both; its steps are its own.
        Raises BadTransform where this process does not find their functions.
        """
        from nectar.scrub import DataScrubber
        from nectar.scrub.both import Both

        at = (task.bee, task.config_version, task.newest_config)
        made = self._made.get(at)
        if made is None or (tx is not None and made.keys is not keys):
            assert tx is not None
            row = tx.psycopg.execute(_SCRUBBING, [task.config_version, task.bee]).fetchone()
            newest, pinned, steps = row or (None, None, None)
            scrubber: DataScrubber | Both = DataScrubber(newest, keys=keys)
            if pinned is not None and pinned.get("scrubbing") != newest:
                scrubber = Both(DataScrubber(pinned.get("scrubbing"), keys=keys), DataScrubber(newest, keys=keys))
            transform = _transform(steps if pinned is None else pinned.get("transform"))
            self._made[at] = VersionedScrubber(scrubber, _number(scrubber, transform), transform, keys)
        self._made.move_to_end(at)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return self._made[at]


def _transform(steps: Sequence[Any] | None) -> Transform | None:
    if not steps:
        return None
    from nectar.transform import Transform

    return Transform.of(steps)


def _number(scrubber: DataScrubber | Both, transform: Transform | None) -> int:
    version = scrubber.version
    if transform is not None:
        version = hashlib.sha256(f"{version} {transform.version}".encode()).hexdigest()
    return int(version[:15], 16)
