"""Processes that die, at random moments and at every named step."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys

import psutil

from tests.faults.fleet import Fleet, wait
from tests.faults.registry import FAULTS, LONGEST, Broken, Fault, Inject, fault, soon

MAIN = ("reader", "lander", "beat", "janitor", "gateway")
FLY = "import sys; from hive.manager import HiveManager; HiveManager().fly(sys.argv[1])"


@fault("child of the reader killed", "kill", 15)
def kill_reader(fleet: Fleet, chance: random.Random) -> None:
    _kill_children(fleet, chance, "reader")


@fault("child of the lander killed", "kill", 15)
def kill_lander(fleet: Fleet, chance: random.Random) -> None:
    _kill_children(fleet, chance, "lander")


def _kill_children(fleet: Fleet, chance: random.Random, worker: str) -> None:
    for _ in range(3):
        soon(chance)
        victim = chance.choice(wait(f"children of the {worker}", lambda: fleet.pool(worker), limit=LONGEST))
        fleet.say(f"kill {victim}, a child of the {worker}")
        fleet.kill(victim)


@fault("whole worker killed", "kill", 15)
def kill_worker(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    name = chance.choice(["reader", "lander"])
    fleet.say(f"kill the {name} and its children")
    fleet.kill_group(fleet.pid(name))


@fault("parent of a worker killed", "kill", 15)
def kill_parent(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    name = chance.choice(["reader", "lander"])
    fleet.say(f"kill the parent of the {name} alone")
    fleet.kill(fleet.pid(name))


@fault("beat killed", "kill", 15)
def kill_beat(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.kill_group(fleet.pid("beat"))


@fault("janitor killed", "kill", 15)
def kill_janitor(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.kill_group(fleet.pid("janitor"))


@fault("gateway killed", "kill", 15)
def kill_gateway(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.kill_group(fleet.pid("gateway"))


@fault("everything killed at once", "kill", 15)
def kill_all(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    forks = fleet.fork_server()
    for name in MAIN:
        fleet.kill_group(fleet.pid(name))
    fleet.kill_group(forks)


@fault("fork server killed", "kill", 15)
def kill_forks(fleet: Fleet, chance: random.Random) -> None:
    """Parts that are its children: the kernel asks them to end, and they start again."""
    soon(chance)
    if not _forks_of(fleet):
        fleet.kill_group(fleet.pid("reader"))  # started while nothing was loaded, it comes back as a fork
    parts = wait("a part that is a fork", lambda: _forks_of(fleet), limit=LONGEST)
    fleet.say(f"kill the fork server of {', '.join(parts)}")
    fleet.kill_group(fleet.fork_server())


def _forks_of(fleet: Fleet) -> list[str]:
    """The parts that the fork server started."""
    forks = fleet.fork_server()
    with contextlib.suppress(psutil.NoSuchProcess):
        return [name for name in MAIN if psutil.Process(fleet.pid(name)).ppid() == forks]
    return []


def _crash_at(point: str) -> Inject:
    """A process more that dies at this point, the first time it gets there."""

    def inject(fleet: Fleet, chance: random.Random) -> None:
        mark = fleet.home / f"crashed-{chance.getrandbits(32):08x}"
        more = {"HIVE_CRASH_AT": point, "HIVE_CRASH_ONCE": str(mark)}
        readers = "bees.database,bees.file,bees.api"
        either = {"process": "nectar", "message": chance.choice(["nectar", readers])}
        queues = either.get(point.partition(":")[0], readers)
        arguments = ["worker", "-Q", queues, "-c", "1", "-n", f"doomed-{mark.name}@%h", "--without-gossip"]
        if point.startswith("create:"):
            command = [sys.executable, "-c", FLY, chance.choice(["api", "files", "table"])]
            subprocess.run(command, env=fleet.environment | more, check=False, timeout=60)
            if not mark.exists():
                raise Broken(f"no process died at {point}")
            return
        arguments = ["beat"] if point.startswith("schedule:") else arguments
        with fleet.extra("doomed", *arguments, **more):
            wait(f"a crash at {point}", mark.exists, limit=60)
            fleet.say(f"a process died at {point}")

    return inject


def _crash_points() -> None:
    from hive.crash import POINTS

    for point in POINTS:
        FAULTS[f"crash {point}"] = Fault(f"crash {point}", "crash", _crash_at(point), 15)


_crash_points()
