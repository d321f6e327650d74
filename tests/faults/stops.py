"""Processes that sleep, are asked to end, or are given no time to."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil

from tests.faults.fleet import Fleet, wait
from tests.faults.poison import SERVED, TRICKLED
from tests.faults.registry import LONGEST, Broken, fault, goes_on, soon

STOP_LIMIT = 10.0
"""Seconds that a graceful stop may take."""
TRIES = 5
"""Of a fault that is a matter of chance, until it had its effect."""


@fault("worker asleep longer than its lease", "zombie", 15)
def asleep(fleet: Fleet, chance: random.Random) -> None:
    """What it has in hand is taken back meanwhile, and what it then writes of it is refused."""
    soon(chance)
    for name in ("reader", "lander"):
        pid, held = _stopped_at_work(fleet, chance, name)
        fleet.say(f"the {name} sleeps, with {len(held)} tasks in hand")
        try:
            time.sleep(fleet.lease * 2 + 1)
            back = _taken_back(fleet, held) if fleet.has_ledger else {}
            woken = fleet.rows("SELECT clock_timestamp()")[0][0]
        finally:
            fleet.kill_group(pid, signal.SIGCONT)
        if not fleet.has_ledger:
            continue
        with contextlib.suppress(TimeoutError):  # what is never done is counted as stuck
            wait("new owners", partial(_are_claimed, fleet, back), limit=LONGEST)
        if late := [task for task, finished in _at_fence(fleet, back, "done") if finished > woken]:
            raise Broken(f"the {name} ended tasks that were taken back from it: {late}")


Held = dict[int, tuple[int, int]]
"""Fence and crashes of tasks, by id."""


def _in_hand(fleet: Fleet, name: str) -> Held:
    """What a worker's children work on, but for reading tasks that they hold in the middle of a transaction: the
    database keeps these for who sleeps until it ends the transaction, after a minute. Landings are ended before.
    """
    mine = "SELECT id, fence, crashes FROM hive.task WHERE split_part(owner, ':', 2)::int = ANY (%s)"
    landing = fleet.rows(f"{mine} AND state = 'running' AND kind = 'process'", fleet.pool(name))
    reading = fleet.rows(f"{mine} AND state = 'running' AND kind <> 'process' FOR UPDATE SKIP LOCKED", fleet.pool(name))
    return {task: (fence, crashes) for task, fence, crashes in [*landing, *reading]}


def _stopped_at_work(fleet: Fleet, chance: random.Random, name: str) -> tuple[int, Held]:
    """A worker that sleeps, and what it has in hand: where that is nothing, it is woken and stopped again."""
    end = time.monotonic() + LONGEST
    while goes_on(end, done=True):
        pid, held = fleet.pid(name), Held()
        fleet.kill_group(pid, signal.SIGSTOP)
        try:
            time.sleep(0.1)  # what it sent before is done by then
            held = _in_hand(fleet, name) if fleet.has_ledger else {}
        finally:
            if fleet.has_ledger and not held:
                fleet.kill_group(pid, signal.SIGCONT)
        if held or not fleet.has_ledger:
            return pid, held
        time.sleep(chance.uniform(0.01, 0.3))
    raise Broken(f"the {name} had nothing in hand whenever it was stopped, for {LONGEST:.0f} s")


def _taken_back(fleet: Fleet, held: Held) -> Held:
    """Those that do not belong to who sleeps any more, which must be all that it did not end before."""
    found = fleet.rows("SELECT id, state, fence, crashes FROM hive.task WHERE id = ANY (%s)", list(held))
    kept = [task for task, state, fence, _ in found if (state, fence) == ("running", held[task][0])]
    uncounted = [task for task, state, *now in found if state == "queued" and tuple(now) == held[task]]
    if kept or uncounted:
        raise Broken(f"after its lease it still has {kept}; not counted as crashes: {uncounted}")
    back = {task: held[task] for task, state, fence, _ in found if fence != held[task][0] or state == "queued"}
    if not back:
        raise Broken("nothing was taken back from it")
    return back


def _are_claimed(fleet: Fleet, held: Held) -> bool:
    return not _at_fence(fleet, held, "queued", "running")


def _at_fence(fleet: Fleet, held: Held, *states: str) -> list[tuple[int, dt.datetime]]:
    """Those that nobody claimed since and that are in such a state, with the end of each."""
    found = fleet.rows(
        "SELECT t.id, t.finished_at FROM hive.task t JOIN unnest(%s::bigint[], %s::bigint[]) AS h(id, fence)"
        " ON h.id = t.id AND h.fence = t.fence WHERE t.state = ANY (%s)",
        list(held), [fence for fence, _ in held.values()], list(states),
    )  # fmt: skip
    return [(task, finished) for task, finished in found]


@fault("rolling restart", "stop", 15)
def rolling(fleet: Fleet, chance: random.Random) -> None:
    """Each part ends in seconds when it is asked to, the reader in the middle of a leg, and nothing is done again."""
    soon(chance)
    began = fleet.rows("SELECT clock_timestamp()")[0][0]
    place, flight = _begin_trickle(fleet, chance)
    wrong = [late for name in ("reader", "lander", "beat", "janitor") if (late := _restart(fleet, name))]
    with contextlib.suppress(TimeoutError):
        wait("its end", lambda: fleet.hive.flight(flight).state not in ("queued", "running"), limit=60)
    result, read = fleet.hive.flight(flight), Counter(path.name.partition("-")[0] for path in place.iterdir())
    legs = fleet.rows("SELECT id FROM hive.task WHERE flight = %s AND kind = 'collect'", flight)
    if (result.state, result.records_landed) != ("complete", TRICKLED * SERVED):
        wrong.append(f"the slow flight is {result.state}, with {result.records_landed} records")
    if again := [number for number, times in read.items() if times > 1]:
        wrong.append(f"batches were read again: {again}")
    if crashed := fleet.rows("SELECT id FROM hive.task WHERE crashes > 0 AND created_at > %s", began):
        wrong.append(f"{len(crashed)} tasks count as crashed")
    if not wrong and len(legs) < 2:
        raise Broken("the reader handed no leg over when it was asked to end in the middle of one")
    if wrong:
        raise Broken("; ".join(wrong))


def _begin_trickle(fleet: Fleet, chance: random.Random) -> tuple[Path, str]:
    """A slow flight that the reader is in the middle of: the folder in which each batch leaves a file, and its id."""
    name = f"trickle-{chance.getrandbits(24):06x}"
    place = fleet.home / name
    place.mkdir()
    fleet.hive.register_worker("poison", {"name": name, "source": {"how": "trickle", "place": str(place)}})
    flight = fleet.hive.fly(name).id
    wait("its third batch", lambda: len(list(place.iterdir())) >= 3, limit=60)
    return place, flight


def _restart(fleet: Fleet, name: str) -> str:
    """Ask a part to end, and wait for the next one. What is wrong with how long it took, or nothing."""
    pid, began = fleet.pid(name), time.monotonic()
    fleet.kill(pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        wait("its end", lambda: fleet.pid(name) != pid, limit=30)
    took = time.monotonic() - began
    fleet.say(f"the {name} took {took:.1f} s to end and begin again")
    fleet.wait_ready()
    return f"the {name} took {took:.1f} s to end" if took > STOP_LIMIT else ""


@fault("TERM, then KILL after 1 s", "stop", 15)
def impatient(fleet: Fleet, chance: random.Random) -> None:
    """One that ended within that second is asked once more."""
    soon(chance)
    for name in ("reader", "lander"):
        for _ in range(TRIES):
            pid = fleet.pid(name)
            fleet.kill(pid, signal.SIGTERM)
            time.sleep(1.0)
            lived = _lives(pid)
            fleet.kill_group(pid)
            if lived:
                fleet.say(f"the {name} still lived after a second, and is killed")
                break
            fleet.wait_ready()
        else:
            raise Broken(f"the {name} ended within a second {TRIES} times: none was left to kill")


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
