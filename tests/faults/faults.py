"""The faults, by name. Each is called while the sources grow and the bees fly, and comes back when it is over.

A fault that has a rule of its own, beside those that hold for all, raises Broken where it does not hold.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import yaml

from tests.faults import clock
from tests.faults.fleet import EVERY, Fleet, wait
from tests.faults.registry import FAULTS, Broken, Fault, Inject, fault, for_a_while, soon
from tests.faults.source import MOODS

FLY = "import sys; from hive.manager import HiveManager; HiveManager().fly(sys.argv[1])"
STOP_LIMIT = 10.0
"""Seconds that a graceful stop may take."""


# Processes that die


@fault("child of the reader killed", "kill", 15)
def kill_reader(fleet: Fleet, chance: random.Random) -> None:
    _kill_children(fleet, chance, "reader")


@fault("child of the lander killed", "kill", 15)
def kill_lander(fleet: Fleet, chance: random.Random) -> None:
    _kill_children(fleet, chance, "lander")


def _kill_children(fleet: Fleet, chance: random.Random, worker: str) -> None:
    for _ in range(3):
        soon(chance)
        pool = fleet.pool(worker)
        if pool:
            victim = chance.choice(pool)
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
    for name in ("reader", "lander", "beat", "janitor", "gateway"):
        fleet.kill_group(fleet.pid(name))
    fleet.kill_group(forks)


@fault("fork server killed", "kill", 15)
def kill_forks(fleet: Fleet, chance: random.Random) -> None:
    """All parts are its children: the kernel asks them to end, and they start again."""
    soon(chance)
    fleet.kill_group(fleet.fork_server())


def _crash_at(point: str) -> Inject:
    """A process more that dies at this point, the first time it gets there."""

    def inject(fleet: Fleet, chance: random.Random) -> None:
        mark = fleet.home / f"crashed-{chance.getrandbits(32):08x}"
        more = {"HIVE_CRASH_AT": point, "HIVE_CRASH_ONCE": str(mark)}
        queues = "nectar" if point.startswith("process:") else "bees.database,bees.file,bees.api"
        arguments = ["worker", "-Q", queues, "-c", "1", "-n", f"doomed-{mark.name}@%h", "--without-gossip"]
        if point.startswith("create:"):
            command = [sys.executable, "-c", FLY, chance.choice(["api", "files", "table"])]
            subprocess.run(command, env=fleet.environment | more, check=False, timeout=60)
            if not mark.exists():
                raise Broken(f"no process died at {point}")
            return
        with fleet.extra("doomed", *arguments, **more):
            wait(f"a crash at {point}", mark.exists, limit=60)
            fleet.say(f"a process died at {point}")

    return inject


def _crash_points() -> None:
    from hive.crash import POINTS

    for point in POINTS:
        FAULTS[f"crash {point}"] = Fault(f"crash {point}", "crash", _crash_at(point), 15)


_crash_points()


# Processes that sleep, stop and start


@fault("worker asleep longer than its lease", "zombie", 15)
def asleep(fleet: Fleet, chance: random.Random) -> None:
    """What it then writes is refused, or it would show as a record that landed twice."""
    soon(chance)
    for name in ("reader", "lander"):
        pid = fleet.pid(name)
        fleet.kill_group(pid, signal.SIGSTOP)
        fleet.say(f"the {name} sleeps")
        try:
            time.sleep(fleet.lease * 2 + 1)
        finally:
            fleet.kill_group(pid, signal.SIGCONT)


@fault("rolling restart", "stop", 15)
def rolling(fleet: Fleet, chance: random.Random) -> None:
    """Each part ends in seconds when it is asked to, and none of them repeats anything."""
    soon(chance)
    slow = []
    for name in ("lander", "reader", "beat", "janitor"):
        pid = fleet.pid(name)
        began = time.monotonic()
        fleet.kill(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            wait("its end", lambda name=name, pid=pid: fleet.pid(name) != pid, limit=30)
        took = time.monotonic() - began
        fleet.say(f"the {name} took {took:.1f} s to end and begin again")
        if took > STOP_LIMIT:
            slow.append(f"the {name} took {took:.1f} s to end")
        fleet.wait_ready()
    if slow:
        raise Broken("; ".join(slow))


@fault("TERM, then KILL after 1 s", "stop", 15)
def impatient(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    for name in ("reader", "lander"):
        pid = fleet.pid(name)
        fleet.kill(pid, signal.SIGTERM)
        time.sleep(1.0)
        fleet.kill_group(pid)


# The broker


@fault("redis killed, with its data", "redis", 10)
def redis_killed(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.valkey.kill()
    time.sleep(for_a_while(chance, fleet, 20))
    fleet.start_redis()


@fault("redis killed, without its data", "redis", 20)
def redis_wiped(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.valkey.wipe()
    time.sleep(for_a_while(chance, fleet, 20))
    fleet.start_redis()


@fault("redis emptied", "redis", 20)
def redis_emptied(fleet: Fleet, chance: random.Random) -> None:
    for _ in range(2):
        soon(chance)
        with fleet.redis() as client:
            client.flushall()


@fault("redis asleep", "redis", 10)
def redis_asleep(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    pid = fleet.valkey.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(for_a_while(chance, fleet, 90))
    finally:
        os.kill(pid, signal.SIGCONT)


@fault("redis full", "redis", 10)
def redis_full(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    with fleet.redis() as client:
        client.config_set("maxmemory", "1")
        try:
            time.sleep(for_a_while(chance, fleet, 60))
        finally:
            client.config_set("maxmemory", "0")


@fault("broker down at due time", "redis", 10)
def redis_away(fleet: Fleet, chance: random.Random) -> None:
    """Several slots come and go without a broker."""
    soon(chance)
    fleet.to_redis.tell("refuse")
    time.sleep(max(2.5 * EVERY, for_a_while(chance, fleet, 60)))
    fleet.to_redis.tell()


@fault("redis connections reset", "redis", 10)
def redis_reset(fleet: Fleet, chance: random.Random) -> None:
    fleet.to_redis.tell("reset", seconds=1.0, seed=chance.getrandbits(32))
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_redis.tell()


@fault("redis half-open", "redis", 20)
def redis_vanished(fleet: Fleet, chance: random.Random) -> None:
    """What was sent is lost, and the connections stay dead after the network is well again."""
    soon(chance)
    fleet.to_redis.tell("vanish")
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_redis.tell()


@fault("redis slow by 500 ms", "redis", 10)
def redis_slow(fleet: Fleet, chance: random.Random) -> None:
    fleet.to_redis.tell("delay", seconds=0.5)
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_redis.tell()


@fault("redis half-closed, answers cut", "redis", 10)
def redis_cut(fleet: Fleet, chance: random.Random) -> None:
    fleet.to_redis.tell("half")
    time.sleep(for_a_while(chance, fleet, 20))
    fleet.to_redis.tell("cut", bytes=chance.randrange(20, 400))
    time.sleep(for_a_while(chance, fleet, 20))
    fleet.to_redis.tell()


# The ledger's database


@fault("postgres restarted, fast", "postgres", 10)
def postgres_fast(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.restart_postgres(signal.SIGINT, for_a_while(chance, fleet, 20))


@fault("postgres restarted, immediate", "postgres", 10)
def postgres_immediate(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.restart_postgres(signal.SIGQUIT, for_a_while(chance, fleet, 20))


@fault("postgres killed", "postgres", 10)
def postgres_killed(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.postgres.kill()
    time.sleep(for_a_while(chance, fleet, 20))
    fleet.postgres.start()
    fleet.to_postgres.lead_to(fleet.postgres.port)


@fault("postgres backends terminated", "postgres", 10)
def backends_terminated(fleet: Fleet, chance: random.Random) -> None:
    """Of clients inside of a transaction first, then of all."""
    end = time.monotonic() + for_a_while(chance, fleet, 30)
    while time.monotonic() < end:
        busy = "" if chance.random() < 0.2 else "AND state <> 'idle' "
        fleet.rows(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hive' {busy}"
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        time.sleep(chance.uniform(0.01, 0.2))


@fault("postgres tables locked", "postgres", 10)
def tables_locked(fleet: Fleet, chance: random.Random) -> None:
    import psycopg

    soon(chance)
    table = chance.choice(["task", "honey", "batch", "checkpoint", "flight", "worker", "slot"])
    fleet.say(f"{table} is locked")
    with psycopg.connect(fleet.database) as connection:
        connection.execute(f"LOCK TABLE hive.{table} IN ACCESS EXCLUSIVE MODE".encode())
        time.sleep(for_a_while(chance, fleet, 30))


@fault("postgres takes no more connections", "postgres", 10)
def pool_exhausted(fleet: Fleet, chance: random.Random) -> None:
    """Every place is taken, and those who have one lose it to us."""
    import psycopg

    end = time.monotonic() + max(3.0, for_a_while(chance, fleet, 30))
    with contextlib.ExitStack() as held:
        first = held.enter_context(psycopg.connect(fleet.database, autocommit=True, application_name="faults"))
        while time.monotonic() < end:
            first.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hive'"
                " AND application_name <> 'faults' AND backend_type = 'client backend'"
            )
            with contextlib.suppress(psycopg.OperationalError):
                while time.monotonic() < end:
                    held.enter_context(psycopg.connect(fleet.database, autocommit=True, application_name="faults"))
            time.sleep(0.1)


@fault("postgres slow by 500 ms", "postgres", 10)
def postgres_slow(fleet: Fleet, chance: random.Random) -> None:
    fleet.to_postgres.tell("delay", seconds=0.5)
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_postgres.tell()


@fault("postgres connections reset", "postgres", 10)
def postgres_reset(fleet: Fleet, chance: random.Random) -> None:
    fleet.to_postgres.tell("reset", seconds=1.0, seed=chance.getrandbits(32))
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_postgres.tell()


@fault("postgres half-open", "postgres", 45)
def postgres_vanished(fleet: Fleet, chance: random.Random) -> None:
    """Both kernels give a silent connection up after 25 s, as `hive/ledger/db.py` asks them to."""
    soon(chance)
    fleet.to_postgres.tell("vanish", seconds=25.0)
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_postgres.tell()


@fault("postgres says nothing any more", "postgres", 20)
def postgres_silent(fleet: Fleet, chance: random.Random) -> None:
    """The network answers and the database does not, on any connection that was open: HIVE_ANSWER_LIMIT ends them."""
    soon(chance)
    fleet.to_postgres.tell("vanish")
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_postgres.tell()


@fault("connection cut after COMMIT was sent", "postgres", 10)
def commit_unknown(fleet: Fleet, chance: random.Random) -> None:
    """The server does it and nobody hears of it: every other COMMIT ends like this."""
    fleet.to_postgres.tell("lose", word="COMMIT", chance=0.5, seed=chance.getrandbits(32))
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_postgres.tell()


@fault("connection cut after a statement was sent", "postgres", 10)
def statement_unknown(fleet: Fleet, chance: random.Random) -> None:
    """The same for claims, seals and landings, which are one statement each: prepared ones are sent as `Bind`."""
    fleet.to_postgres.tell("lose", word="", chance=0.05, seed=chance.getrandbits(32))
    time.sleep(for_a_while(chance, fleet, 60))
    fleet.to_postgres.tell()


# Messages


@fault("every message ten times, out of order", "messages", 15)
def ten_times(fleet: Fleet, chance: random.Random) -> None:
    """Also of tasks that are done, and of tasks that run."""
    from hive.celery import send
    from hive.ledger.hints import Hint

    told: dict[int, int] = {}
    end = time.monotonic() + max(5.0, for_a_while(chance, fleet, 60))
    while time.monotonic() < end:
        tasks = fleet.rows(
            "SELECT day, id, kind, queue, flight, parent FROM hive.task"
            " WHERE created_at > clock_timestamp() - interval '3 seconds'"
        )
        hints = [Hint(*row) for row in tasks if told.get(row[1], 0) < 10]
        chance.shuffle(hints)
        for hint in hints:
            told[hint.id] = told.get(hint.id, 0) + 2
        send([*hints, *reversed(hints)])
        time.sleep(0.05)
    fleet.say(f"{sum(told.values())} messages more for {len(told)} tasks")


@fault("messages stolen", "messages", 15)
def stolen(fleet: Fleet, chance: random.Random) -> None:
    """What a worker loses that dies between taking a message and noting that it has it."""
    from hive.celery import QUEUES

    lost = 0
    end = time.monotonic() + max(5.0, for_a_while(chance, fleet, 60))
    with fleet.redis() as client:
        while time.monotonic() < end:
            for queue in QUEUES:
                lost += client.rpop(queue) is not None
            time.sleep(0.002)
    fleet.say(f"{lost} messages were stolen")


# Schedulers and janitors


@fault("two schedulers", "schedulers", 15)
def two_beats(fleet: Fleet, chance: random.Random) -> None:
    with fleet.extra("beat-2", "beat", "--loglevel", "WARNING"), fleet.extra("beat-3", "beat", "--loglevel", "WARNING"):
        wait("three schedulers", lambda: len(fleet.living()) >= 8, limit=60)
        time.sleep(max(3.0 * EVERY, for_a_while(chance, fleet, 60)))


@fault("no scheduler and no janitor", "schedulers", 15)
def no_beat(fleet: Fleet, chance: random.Random) -> None:
    """Ten minutes at full length. Afterwards every slot of the time was flown, or left out since a flight was open."""
    soon(chance)
    with fleet.held_down("beat", "janitor"):
        time.sleep(max(3.0 * EVERY, for_a_while(chance, fleet, 120)))


# Configurations and credentials


@fault("bad configurations reloaded", "config", 15)
def bad_config(fleet: Fleet, chance: random.Random) -> None:
    """Whatever is wrong with a file, it is refused whole, and the fleet flies on with what it had."""
    from hive.config.problems import ConfigProblems

    bees = fleet.bees()
    path = fleet.home / "bad.yaml"
    bad = [
        "bees: [", "bees: {api: {type: nothing}}", "bees: {api: 7}", "\x00", "bees: {api: {type: rest, every: -2s}}",
        yaml.safe_dump({"bees": {**bees, "table": {**bees["table"], "source": {"host": 7}}}}),
    ]  # fmt: skip
    taken = []
    for text in chance.sample(bad, k=len(bad)):
        path.write_text(text)
        try:
            fleet.hive.reload(path)
        except ConfigProblems:
            time.sleep(0.3)
        else:
            taken.append(text[:40])
            fleet.hive.reload(fleet.write_config())
    if taken:
        raise Broken(f"taken into use: {taken}")


@fault("bee removed in flight, and named again", "config", 15)
def removed(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    name = chance.choice(["api", "files", "table"])
    since = time.time()
    fleet.hive.reload(fleet.write_config({k: bee for k, bee in fleet.bees().items() if k != name}))
    fleet.say(f"{name} is removed")
    time.sleep(max(EVERY / 2, for_a_while(chance, fleet, 20)))
    fleet.hive.reload(fleet.write_config())
    fleet.undue.append({"bee": name, "since": since, "until": time.time()})


@fault("credential revoked in flight", "config", 15)
def revoked(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.sources.api.mood = "revoked"
    fleet.sources.change_password("somebody else's")
    time.sleep(max(2.0 * EVERY, for_a_while(chance, fleet, 60)))
    fleet.sources.change_password(fleet.sources.secrets["table"])
    fleet.sources.api.mood = "well"


# Sources


def _mood(mood: str) -> Inject:
    def inject(fleet: Fleet, chance: random.Random) -> None:
        fleet.sources.api.mood = mood
        time.sleep(max(3.0 * EVERY, for_a_while(chance, fleet, 60)))
        fleet.sources.api.mood = "well"

    return inject


for _name in MOODS:
    fault(f"source: {_name.replace('_', ' ')}", "source", 20)(_mood(_name))


# Clocks


@fault("worker's clock an hour ahead or behind", "clock", 15)
def wrong_clock(fleet: Fleet, chance: random.Random) -> None:
    """Workers and a scheduler more, in whose processes the C library tells another time."""
    shift = chance.choice([3600, -3600])
    fleet.say(f"clock shifted by {shift} s")
    library = clock.library(fleet.home)
    more = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
    every = ["worker", "-Q", "bees.database,bees.file,bees.api,nectar", "-c", "2", "-n", "shifted@%h"]
    with fleet.extra("shifted", *every, **more), fleet.extra("shifted-beat", "beat", **more):
        wait("the shifted ones", lambda: len(fleet.living()) >= 9, limit=60)
        time.sleep(max(4.0 * EVERY, for_a_while(chance, fleet, 60)))
