"""Faults of bees that hurt their process, and of disks and memory that are used up."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time
from pathlib import Path

import psycopg

from tests.faults.fleet import EVERY, Fleet, wait
from tests.faults.poison import SERVED
from tests.faults.registry import Broken, Inject, fault, for_a_while, since, soon
from tests.faults.root import memory_group

PACE = 0.95
"""The share of its rate that the rest of a fleet keeps."""
ENOUGH = 20.0
"""Seconds over which a rate is measured at least."""
SLOTS = 2
ISOLATED, ISOLATED_WITH_PARENT = 30.0, 60.0
"""Seconds after which a poisonous bee is tried no more, and one that kills its worker's parent, too."""
GROUP_MEMORY = 700 << 20
SEGMENTS = 24
"""Of the log, begun one after the other: more than are kept in store."""


class Pace:
    """How many records the three bees land, beside those that they are offered.

    What is owed goes up and down with the slots, so it is taken as the mean of some of them, before and behind.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._owed, self._offered = self._means()
        self._began = time.monotonic()

    def check(self) -> str:
        """Say what it was; what is wrong with it, or nothing."""
        time.sleep(max(0.0, self._began + ENOUGH - time.monotonic()))
        took = time.monotonic() - self._began
        owed, offered = self._means()
        share = 1 - (owed - self._owed) / (offered - self._offered)
        self._fleet.say(f"of {offered - self._offered:.0f} records in {took:.1f} s {share:.1%} landed")
        return "" if share >= PACE else f"the others landed {share:.1%} of what they were offered"

    def _means(self) -> tuple[float, float]:
        """(records offered and not landed, records offered), in the mean of some slots."""
        owed, offers = list[int](), list[int]()
        end = time.monotonic() + SLOTS * EVERY
        while time.monotonic() < end:
            landed, offered = self._counts()
            owed.append(offered - landed)
            offers.append(offered)
            time.sleep(0.2)
        return statistics.mean(owed), statistics.mean(offers)

    def _counts(self) -> tuple[int, int]:
        landed = self._fleet.rows(
            "SELECT coalesce(sum(r.landed), 0) FROM hive.receipt r JOIN faults.mark m ON m.id = r.checkpoint"
        )
        return int(landed[0][0]), len(self._fleet.sources.log)


def _poison(how: str, limit: float) -> Inject:
    """A bee that hurts its process: dead after five runs at most, while the others fly on."""

    def inject(fleet: Fleet, chance: random.Random) -> None:
        pace = Pace(fleet)
        wrong = fly_poison(fleet, chance, how, limit, ISOLATED)
        if wrong := wrong or pace.check():
            raise Broken(wrong)

    return inject


def fly_poison(fleet: Fleet, chance: random.Random, how: str, limit: float, within: float, most: int = 5) -> str:
    """What is wrong with how it ended, or nothing. After `limit` seconds it is given up, after `within` it is late."""
    name = f"poison-{how}-{chance.getrandbits(24):06x}"
    place = fleet.home / name
    place.mkdir()
    fleet.hive.register_worker("poison", {"name": name, "source": {"how": how, "place": str(place)}})
    began = time.monotonic()
    flight = fleet.hive.fly(name).id
    try:
        wait("its end", lambda: fleet.hive.flight(flight).state not in ("queued", "running"), limit=limit)
    except TimeoutError:
        fleet.hive.cancel(flight)
        return f"after {limit:.0f} s it is {fleet.hive.flight(flight).state}, with {_runs(place)} runs"
    state, runs, took = fleet.hive.flight(flight).state, _runs(place), time.monotonic() - began
    fleet.say(f"{state} after {took:.1f} s and {runs} runs")
    if took > within:
        return f"{state} only after {took:.1f} s"
    return "" if state == "failed" and 1 <= runs <= most else f"{state} after {runs} runs"


def _runs(place: Path) -> int:
    return len(list(place.iterdir()))


for _how in ("kill", "abort", "allocate", "recurse", "unspeakable", "leave", "interrupt"):
    fault(f"poison: {_how}", "poison", 15)(_poison(_how, 60))
for _how in ("loop", "loop_in_c", "sleep", "hoard"):
    # Each of two runs lasts as long as HIVE_SPIN, HIVE_LEASE or HIVE_STALL have it; or one of five, as the memory does.
    fault(f"poison: {_how.replace('_', ' ')}", "poison", 15)(_poison(_how, 120))


@fault("poison: kill the parent, too", "poison", 15)
def poisoned_parent(fleet: Fleet, chance: random.Random) -> None:
    """The worker itself ends with each run, and whoever keeps it running starts it again."""
    if wrong := fly_poison(fleet, chance, "kill_parent", 120, ISOLATED_WITH_PARENT):
        raise Broken(wrong)


@fault("poison: record that kills the lander", "poison", 15)
def poisoned_record(fleet: Fleet, chance: random.Random) -> None:
    """It is found by halving and set aside alone; its neighbours land."""
    pace = Pace(fleet)
    name = f"poison-record-{chance.getrandbits(24):06x}"
    (fleet.home / name).mkdir()
    block = {"name": name, "source": {"how": "serve", "place": str(fleet.home / name)}}
    fleet.hive.register_worker("poison", {**block, "transform": ["tests.faults.poison:touchy"]})
    began = time.monotonic()
    flight = fleet.hive.fly(name).id
    with contextlib.suppress(TimeoutError):
        wait("its end", lambda: fleet.hive.flight(flight).state not in ("queued", "running"), limit=120)
    result = fleet.hive.flight(flight)
    fleet.say(f"{result.state} after {time.monotonic() - began:.1f} s")
    if (result.state, result.records_landed, result.records_quarantined) != ("complete", SERVED - 1, 1):
        raise Broken(f"{result.state}: {result.records_landed} landed, {result.records_quarantined} set aside")
    if wrong := pace.check():
        raise Broken(wrong)


@fault("child ended for want of memory", "poison", 15)
def out_of_memory(fleet: Fleet, chance: random.Random) -> None:
    """The kernel chooses whom to kill in a worker's control group: a child, which the worker outlives."""
    name = f"hive-faults-{os.getpid()}"
    queues = "bees.database,bees.file,bees.api"
    arguments = ("worker", "-Q", queues, "-c", "2", "-n", f"{name}@%h", "--without-gossip")
    more = {"HIVE_CHILD_MEMORY": str(1 << 40), "HIVE_STALL": "600"}
    with (
        memory_group(name, GROUP_MEMORY) as members,
        fleet.held_down("reader"),
        fleet.extra("small", *arguments, **more) as worker,
    ):
        members.write_text(str(worker.pid))
        wait("the small worker", lambda: _listens(fleet, worker.pid), limit=60)
        wrong = fly_poison(fleet, chance, "hoard", 120, 120)
        if worker.poll() is not None:
            wrong = wrong or "the worker itself was ended"
        elif not _oom_kills(members.parent):
            wrong = wrong or "the kernel ended nobody"
    if wrong:
        raise Broken(wrong)


def _listens(fleet: Fleet, parent: int) -> bool:
    pool = fleet.children(parent)
    return len(pool) >= 2 and sum(f":{pid}:" in name for name in fleet.living() for pid in pool) >= 2


def _oom_kills(group: Path) -> int:
    """How often the kernel killed for want of memory."""
    for file in ("memory.oom_control", "memory.events"):
        with contextlib.suppress(OSError):
            told = dict(line.split() for line in (group / file).read_text().splitlines())
            return int(told.get("oom_kill", 0))
    return 0


# Disks


@fault("disk full under postgres", "disk", 15)
def postgres_disk_full(fleet: Fleet, chance: random.Random) -> None:
    """First no table grows, the sealed batches' among them; then there is no room for the log either, and it dies."""
    soon(chance)
    disk, log = fleet.disk("postgres"), fleet.postgres.log_path
    before = log.stat().st_size
    with disk.full():
        time.sleep(max(2.0, for_a_while(chance, fleet, 30)))
        for _ in range(SEGMENTS):
            with contextlib.suppress(psycopg.Error):
                fleet.rows("SELECT pg_logical_emit_message(false, 'faults', 'word'), pg_switch_wal()")
        time.sleep(max(2.0, for_a_while(chance, fleet, 30)))
        refused = since(log, before).count("No space left on device")
        fleet.say(f"it had no room {refused} times, and {'lives' if fleet.postgres.pid else 'died'}")
    if not refused:
        raise Broken("the disk was never full")
    if fleet.postgres.pid is None:
        fleet.postgres.start()
        fleet.to_postgres.lead_to(fleet.postgres.port)


@fault("disk full under the logs", "disk", 15)
def logs_disk_full(fleet: Fleet, chance: random.Random) -> None:
    """Also of processes that start, and while there is much to say: the broker is away, a child is killed."""
    soon(chance)
    disk = fleet.disk("logs")
    with disk.full():
        fleet.to_redis.tell("refuse")
        fleet.kill_group(fleet.pid("janitor"))
        for pid in fleet.pool("lander")[:1]:
            fleet.kill(pid, signal.SIGKILL)
        time.sleep(max(3.0, for_a_while(chance, fleet, 60)))
        fleet.to_redis.tell()
        time.sleep(max(3.0, for_a_while(chance, fleet, 60)))
