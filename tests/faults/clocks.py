"""Processes whose clock is wrong."""

from __future__ import annotations

import random
import time

from tests.faults import clock
from tests.faults.fleet import EVERY, Fleet, wait
from tests.faults.registry import Broken, fault, for_a_while, goes_on


@fault("worker's clock an hour ahead or behind", "clock", 15)
def wrong_clock(fleet: Fleet, chance: random.Random) -> None:
    """Workers and a scheduler more, in whose processes the C library tells another time: one way, then the other."""
    library = clock.library(fleet.home)
    for shift in chance.sample([3600, -3600], k=2):
        more = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
        off = clock.told(fleet.environment | more) - time.time()
        if abs(off - shift) > 60:
            raise Broken(f"a clock that was shifted by {shift} s is off by {off:.0f} s")
        _shifted(fleet, max(4.0 * EVERY, for_a_while(chance, fleet, 60)), more)


def _shifted(fleet: Fleet, lasts: float, more: dict[str, str]) -> None:
    """Such processes for a while. Raises Broken where they did nothing."""
    arguments = ["worker", "-Q", "bees.database,bees.file,bees.api,nectar", "-c", "2", "-n", "shifted@%h"]
    with fleet.extra("shifted", *arguments, **more) as worker, fleet.extra("shifted-beat", "beat", **more) as beat:
        wait("the shifted scheduler", lambda: fleet.beating([beat.pid]), limit=60)
        wait("the shifted worker", lambda: len(fleet.beating(fleet.children(worker.pid))) >= 2, limit=60)
        names, worked = fleet.beating(fleet.children(worker.pid)), 0
        end = time.monotonic() + lasts
        while goes_on(end, done=worked > 0):
            time.sleep(0.2)
            worked = fleet.rows("SELECT count(*) FROM hive.task WHERE owner = ANY (%s)", names)[0][0]
    if not worked:
        raise Broken("a worker with another time had nothing to do")
    fleet.say(f"a clock shifted by {more['CLOCK_SHIFT']} s: the worker had {worked} tasks")
