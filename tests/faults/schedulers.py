"""Too many schedulers, none, and such as sleep through their slots."""

from __future__ import annotations

import random
import signal
import time

from tests.faults.fleet import EVERY, Fleet, wait
from tests.faults.registry import Broken, fault, for_a_while, soon

SLOTS = 3
"""Slots of each bee, at least, that pass while a scheduler is paused."""


@fault("two schedulers", "schedulers", 15)
def two_beats(fleet: Fleet, chance: random.Random) -> None:
    quiet = ("beat", "--loglevel", "WARNING")
    with fleet.extra("beat-2", *quiet) as second, fleet.extra("beat-3", *quiet) as third:
        wait("three schedulers", lambda: len(fleet.beating([second.pid, third.pid])) == 2, limit=60)
        time.sleep(max(3.0 * EVERY, for_a_while(chance, fleet, 60)))


@fault("scheduler paused", "schedulers", 15)
def beat_paused(fleet: Fleet, chance: random.Random) -> None:
    """The only one, for longer than its lease and for several slots, which are flown or left out when it wakes up."""
    soon(chance)
    if made := _pause_beat(fleet, chance):
        raise Broken(f"the scheduler was paused, and {made} slots were made")


@fault("one scheduler of two paused", "schedulers", 15)
def one_paused(fleet: Fleet, chance: random.Random) -> None:
    """The other one goes on alone; the first finds all done when it wakes up."""
    soon(chance)
    with fleet.extra("beat-2", "beat", "--loglevel", "WARNING") as other:
        wait("the other scheduler", lambda: fleet.beating([other.pid]), limit=60)
        made, wanted = _pause_beat(fleet, chance), SLOTS * len(fleet.bees())
        if made < wanted:
            raise Broken(f"one of two schedulers was paused, and the other made {made} slots instead of {wanted}")


def _pause_beat(fleet: Fleet, chance: random.Random) -> int:
    """Slots that were made meanwhile. Raises Broken where one is flown twice."""
    pid = fleet.pid("beat")
    fleet.kill_group(pid, signal.SIGSTOP)
    try:
        time.sleep(0.5)  # what it had sent is done by then
        before = _slots(fleet)
        time.sleep(max(2 * fleet.lease + 1, (SLOTS + 1.0) * EVERY, for_a_while(chance, fleet, 60)))
        made = _slots(fleet) - before
    finally:
        fleet.kill_group(pid, signal.SIGCONT)
    fleet.say(f"the scheduler {pid} was paused; {made} slots were made meanwhile")
    time.sleep(2.0 * EVERY)
    twice = fleet.rows(
        "SELECT bee, slot_key FROM hive.flight WHERE slot_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1"
    )
    if twice:
        raise Broken(f"slots that were flown twice: {twice[:5]}")
    return made


def _slots(fleet: Fleet) -> int:
    """Of the bees' schedules, flown or left out."""
    return int(fleet.rows("SELECT count(*) FROM hive.slot WHERE slot_key LIKE 'default@%'")[0][0])


@fault("no scheduler and no janitor", "schedulers", 15)
def no_beat(fleet: Fleet, chance: random.Random) -> None:
    """Ten minutes at full length. Afterwards every slot of the time was flown, or left out since a flight was open."""
    soon(chance)
    with fleet.held_down("beat", "janitor"):
        time.sleep(0.5)  # what they had sent is done by then
        before = _slots(fleet)
        time.sleep(max(3.0 * EVERY, for_a_while(chance, fleet, 600)))
        made = _slots(fleet) - before
    if made:
        raise Broken(f"there was no scheduler, and {made} slots were made")
