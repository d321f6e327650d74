"""The faults, by name. Each is called while the sources grow and the bees fly, and comes back when it is over.

A fault that has a rule of its own, beside those that hold for all, raises Broken where it does not hold.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import redis
import yaml

from tests.faults import clock
from tests.faults.fleet import EVERY, Fleet, wait
from tests.faults.poison import SERVED, TRICKLED
from tests.faults.registry import (
    FAULTS,
    LONGEST,
    Broken,
    Fault,
    Inject,
    fault,
    for_a_while,
    goes_on,
    misbehave,
    since,
    soon,
)
from tests.faults.source import MOODS

FLY = "import sys; from hive.manager import HiveManager; HiveManager().fly(sys.argv[1])"
STOP_LIMIT = 10.0
"""Seconds that a graceful stop may take."""
TRIES = 5
"""Of a fault that is a matter of chance, until it had its effect."""
SLOTS = 3
"""Slots of each bee, at least, that pass while a scheduler is paused."""
TIMES = 10
"""Each message comes so often at least."""


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


# Processes that sleep, stop and start


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


# The broker


def _away(fleet: Fleet, seconds: float, *, ready: int = 200) -> None:
    """A server is away: the gateway lives, and says that it is not `ready` where that is the ledger's."""
    end = time.monotonic() + seconds
    told = fleet.tells()
    while goes_on(end, done=told in (None, (200, ready))):
        time.sleep(0.1)
        told = told if told == (200, ready) else fleet.tells()
    if told not in (None, (200, ready)):
        raise Broken(f"while a server is away, /healthz says {told[0]} and /readyz {told[1]} instead of {ready}")


@fault("redis killed, with its data", "redis", 10)
def redis_killed(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.valkey.kill()
    _away(fleet, for_a_while(chance, fleet, 20))
    fleet.start_redis()


@fault("redis killed, without its data", "redis", 20)
def redis_wiped(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.valkey.wipe()
    _away(fleet, for_a_while(chance, fleet, 20))
    fleet.start_redis()


@fault("redis emptied", "redis", 20)
def redis_emptied(fleet: Fleet, chance: random.Random) -> None:
    for _ in range(2):
        soon(chance)
        with fleet.redis() as client:
            fleet.say(f"{wait('something in redis', client.dbsize, limit=LONGEST)} keys are thrown away")
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
        before = _refused(client)
        client.config_set("maxmemory", "1")
        end = time.monotonic() + for_a_while(chance, fleet, 60)
        try:
            while goes_on(end, done=_refused(client) > before):
                time.sleep(0.1)
        finally:
            client.config_set("maxmemory", "0")
        if not (refused := _refused(client) - before):
            raise Broken("redis had no memory left, and refused nobody")
        fleet.say(f"redis refused {refused} times")


def _refused(client: redis.Redis) -> int:
    """How often it said that it has no memory left."""
    return int(client.info("errorstats").get("errorstat_OOM", {}).get("count", 0))


@fault("broker down at due time", "redis", 10)
def redis_away(fleet: Fleet, chance: random.Random) -> None:
    """Several slots come and go without a broker."""
    soon(chance)
    misbehave(fleet, fleet.to_redis, "refuse", max(2.5 * EVERY, for_a_while(chance, fleet, 60)))


@fault("redis connections reset", "redis", 10)
def redis_reset(fleet: Fleet, chance: random.Random) -> None:
    seed = chance.getrandbits(32)
    misbehave(fleet, fleet.to_redis, "reset", for_a_while(chance, fleet, 60), seconds=1.0, seed=seed)


@fault("redis half-open", "redis", 20)
def redis_vanished(fleet: Fleet, chance: random.Random) -> None:
    """What was sent is lost, and the connections stay dead after the network is well again."""
    soon(chance)
    misbehave(fleet, fleet.to_redis, "vanish", for_a_while(chance, fleet, 60))


@fault("redis slow by 500 ms", "redis", 10)
def redis_slow(fleet: Fleet, chance: random.Random) -> None:
    misbehave(fleet, fleet.to_redis, "delay", for_a_while(chance, fleet, 60), seconds=0.5)


@fault("redis hangs", "redis", 10)
def redis_hangs(fleet: Fleet, chance: random.Random) -> None:
    """All that was sent meanwhile is delivered afterwards."""
    soon(chance)
    misbehave(fleet, fleet.to_redis, "hang", for_a_while(chance, fleet, 60))


@fault("redis half-closed, answers cut", "redis", 10)
def redis_cut(fleet: Fleet, chance: random.Random) -> None:
    misbehave(fleet, fleet.to_redis, "half", for_a_while(chance, fleet, 20))
    misbehave(fleet, fleet.to_redis, "cut", for_a_while(chance, fleet, 20), bytes=chance.randrange(20, 400))


# The ledger's database


@fault("postgres restarted, fast", "postgres", 10)
def postgres_fast(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.restart_postgres(signal.SIGINT, lambda: _away(fleet, for_a_while(chance, fleet, 20), ready=503))


@fault("postgres restarted, immediate", "postgres", 10)
def postgres_immediate(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.restart_postgres(signal.SIGQUIT, lambda: _away(fleet, for_a_while(chance, fleet, 20), ready=503))


@fault("postgres killed", "postgres", 10)
def postgres_killed(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.postgres.kill()
    _away(fleet, for_a_while(chance, fleet, 20), ready=503)
    fleet.postgres.start()
    fleet.to_postgres.lead_to(fleet.postgres.port)


@fault("postgres backends terminated", "postgres", 10)
def backends_terminated(fleet: Fleet, chance: random.Random) -> None:
    """Of clients inside of a transaction first, then of all."""
    ended = 0
    end = time.monotonic() + for_a_while(chance, fleet, 30)
    while goes_on(end, done=ended > 0):
        busy = "" if chance.random() < 0.2 else "AND state <> 'idle' "
        found = fleet.rows(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hive' {busy}"
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        ended += sum(done for (done,) in found)
        time.sleep(chance.uniform(0.01, 0.2))
    if not ended:
        raise Broken("no backend was terminated")
    fleet.say(f"{ended} backends were terminated")


NAP = """
CREATE OR REPLACE FUNCTION faults.nap() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON hive.receipt DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION faults.nap()
"""


@fault("postgres backend terminated inside COMMIT", "postgres", 10)
def commit_terminated(fleet: Fleet, chance: random.Random) -> None:
    """Of landings, which a trigger holds there: nothing of them stands, and who sent the COMMIT hears of nothing."""
    import psycopg

    soon(chance)
    ended: list[str] = []
    with psycopg.connect(fleet.database, autocommit=True) as connection:
        connection.execute(NAP)
        end = time.monotonic() + max(3.0, for_a_while(chance, fleet, 30))
        try:
            while goes_on(end, done=bool(ended)):
                began = time.monotonic()
                found = fleet.rows(
                    "SELECT pid, application_name FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"
                    " AND wait_event = 'PgSleep' AND query_start > clock_timestamp() - interval '0.3 s'"
                )
                for pid, name in found if chance.random() < 0.7 else []:
                    done = fleet.rows("SELECT pg_terminate_backend(%s, 1000)", pid)[0][0]
                    if done and time.monotonic() < began + 0.6:  # it slept until then
                        ended.append(name)
                time.sleep(0.05)
        finally:
            connection.execute("DROP TRIGGER nap ON hive.receipt")
    fleet.say(f"{len(ended)} backends were terminated inside COMMIT")
    if not ended:
        raise Broken("no backend was terminated inside COMMIT")
    done = fleet.rows(
        "SELECT id FROM hive.task WHERE state = 'done'"
        " AND 'hive:' || to_char(day, 'YYYYMMDD') || '.' || id || ':' || fence = ANY (%s)",
        ended,
    )
    if done:
        raise Broken(f"these COMMITs were never done, and the tasks are: {done}")


@fault("postgres tables locked", "postgres", 10)
def tables_locked(fleet: Fleet, chance: random.Random) -> None:
    import psycopg

    soon(chance)
    table = chance.choice(["task", "honey", "batch", "checkpoint", "flight", "worker", "slot"])
    fleet.say(f"{table} is locked")
    with psycopg.connect(fleet.database) as connection:
        connection.execute(f"LOCK TABLE hive.{table} IN ACCESS EXCLUSIVE MODE".encode())
        end = time.monotonic() + for_a_while(chance, fleet, 30)
        waited = 0
        while goes_on(end, done=waited > 0):
            waited = max(waited, fleet.rows("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0])
            time.sleep(0.1)
    if not waited:
        raise Broken(f"{table} was locked, and nobody waited for it")
    fleet.say(f"{waited} waited for it")


@fault("postgres takes no more connections", "postgres", 10)
def pool_exhausted(fleet: Fleet, chance: random.Random) -> None:
    """Every place is taken, and those who have one lose it to us."""
    import psycopg

    full = 0
    end = time.monotonic() + max(3.0, for_a_while(chance, fleet, 30))
    with contextlib.ExitStack() as held:
        first = held.enter_context(psycopg.connect(fleet.database, autocommit=True, application_name="faults"))
        while goes_on(end, done=full > 0):
            first.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hive'"
                " AND application_name <> 'faults' AND backend_type = 'client backend'"
            )
            try:
                while goes_on(end, done=full > 0):
                    held.enter_context(psycopg.connect(fleet.database, autocommit=True, application_name="faults"))
            except psycopg.OperationalError:
                full += 1
            time.sleep(0.1)
    if not full:
        raise Broken("there was always one more place")
    fleet.say(f"{full} times every place was taken")


@fault("postgres slow by 500 ms", "postgres", 10)
def postgres_slow(fleet: Fleet, chance: random.Random) -> None:
    misbehave(fleet, fleet.to_postgres, "delay", for_a_while(chance, fleet, 60), seconds=0.5)


@fault("postgres hangs", "postgres", 10)
def postgres_hangs(fleet: Fleet, chance: random.Random) -> None:
    """All that was sent meanwhile is delivered afterwards."""
    soon(chance)
    misbehave(fleet, fleet.to_postgres, "hang", for_a_while(chance, fleet, 60))


@fault("postgres connections reset", "postgres", 10)
def postgres_reset(fleet: Fleet, chance: random.Random) -> None:
    seed = chance.getrandbits(32)
    misbehave(fleet, fleet.to_postgres, "reset", for_a_while(chance, fleet, 60), seconds=1.0, seed=seed)


@fault("postgres half-open", "postgres", 45)
def postgres_vanished(fleet: Fleet, chance: random.Random) -> None:
    """Both kernels give a silent connection up after 25 s, as `hive/ledger/db.py` asks them to."""
    soon(chance)
    misbehave(fleet, fleet.to_postgres, "vanish", for_a_while(chance, fleet, 60), seconds=25.0)


@fault("postgres says nothing any more", "postgres", 20)
def postgres_silent(fleet: Fleet, chance: random.Random) -> None:
    """The network answers and the database does not, on any connection that was open: HIVE_ANSWER_LIMIT ends them."""
    soon(chance)
    misbehave(fleet, fleet.to_postgres, "vanish", for_a_while(chance, fleet, 60))


@fault("connection cut after COMMIT was sent", "postgres", 10)
def commit_unknown(fleet: Fleet, chance: random.Random) -> None:
    """The server does it and nobody hears of it: every other COMMIT ends like this."""
    how = {"word": "COMMIT", "chance": 0.5, "seed": chance.getrandbits(32)}
    misbehave(fleet, fleet.to_postgres, "lose", for_a_while(chance, fleet, 60), **how)


@fault("connection cut after a statement was sent", "postgres", 10)
def statement_unknown(fleet: Fleet, chance: random.Random) -> None:
    """The same for claims, seals and landings, which are one statement each: prepared ones are sent as `Bind`."""
    how = {"word": "", "chance": 0.05, "seed": chance.getrandbits(32)}
    misbehave(fleet, fleet.to_postgres, "lose", for_a_while(chance, fleet, 60), **how)


# Messages


@fault("every message ten times, out of order", "messages", 15)
def ten_times(fleet: Fleet, chance: random.Random) -> None:
    """Also of tasks that are done, and of tasks that run."""
    from hive.celery import send
    from hive.ledger.hints import Hint

    told: dict[Hint, int] = {}
    with fleet.redis() as client:
        end = time.monotonic() + max(5.0, for_a_while(chance, fleet, 60))
        while goes_on(end, done=bool(told) and min(told.values()) >= TIMES):
            tasks = fleet.rows(
                "SELECT day, id, kind, queue, flight, parent FROM hive.task"
                " WHERE created_at > clock_timestamp() - interval '3 seconds'"
            )
            if time.monotonic() < end or not told:
                told = dict.fromkeys((Hint(*row) for row in tasks), 0) | told
            hints = [hint for hint, times in told.items() if times < TIMES]
            chance.shuffle(hints)
            before = _pushed(client)
            send([*hints, *reversed(hints)])
            if _pushed(client) >= before + 2 * len(hints):  # they arrived, all of them
                told |= {hint: told[hint] + 2 for hint in hints}
            time.sleep(0.05)
    if not told or min(told.values()) < TIMES:
        raise Broken(f"{sum(told.values())} messages more for {len(told)} tasks: not {TIMES} for each")
    fleet.say(f"{sum(told.values())} messages more for {len(told)} tasks")


def _pushed(client: redis.Redis) -> int:
    """How many messages the broker was given, ever."""
    return int(client.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0))


@fault("messages stolen", "messages", 15)
def stolen(fleet: Fleet, chance: random.Random) -> None:
    """What a worker loses that dies between taking a message and noting that it has it."""
    from hive.celery import QUEUES

    lost = 0
    end = time.monotonic() + max(5.0, for_a_while(chance, fleet, 60))
    with fleet.redis() as client:
        while goes_on(end, done=lost > 0):
            for queue in QUEUES:
                lost += client.rpop(queue) is not None
            time.sleep(0.002)
    if not lost:
        raise Broken("no message was stolen")
    fleet.say(f"{lost} messages were stolen")


# Schedulers and janitors


@fault("two schedulers", "schedulers", 15)
def two_beats(fleet: Fleet, chance: random.Random) -> None:
    quiet = ("beat", "--loglevel", "WARNING")
    with fleet.extra("beat-2", *quiet) as second, fleet.extra("beat-3", *quiet) as third:
        wait("three schedulers", lambda: len(_names(fleet, [second.pid, third.pid])) == 2, limit=60)
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
        wait("the other scheduler", lambda: _names(fleet, [other.pid]), limit=60)
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


def _names(fleet: Fleet, pids: list[int]) -> list[str]:
    """By which those of these processes that beat are known in the ledger."""
    return [name for name in fleet.living() if any(f":{pid}:" in name for pid in pids)]


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
    """Sessions that are open end, too; it goes on until both the table and the API refused somebody."""
    soon(chance)
    api, log = fleet.sources.api, fleet.postgres.log_path
    before = log.stat().st_size

    def refused() -> int:
        return since(log, before).count('password authentication failed for user "meadow"')

    api.misbehave("revoked", random.Random(chance.getrandbits(32)))
    end = time.monotonic() + max(2.0 * EVERY, for_a_while(chance, fleet, 60))
    try:
        ended = fleet.sources.change_password("somebody else's")
        while goes_on(end, done=refused() > 0 and api.answered["revoked"] > 0):
            time.sleep(0.1)
    finally:
        fleet.sources.change_password(fleet.sources.secrets["table"])
        api.mood = "well"
    said = f"{ended} sessions ended, {refused()} logins and {api.answered['revoked']} requests refused"
    if not refused() or not api.answered["revoked"]:
        raise Broken(f"the credentials were revoked and hardly used: {said}")
    fleet.say(said)


# Sources


def _mood(mood: str) -> Inject:
    def inject(fleet: Fleet, chance: random.Random) -> None:
        api = fleet.sources.api
        api.misbehave(mood, random.Random(chance.getrandbits(32)))
        end = time.monotonic() + max(3.0 * EVERY, for_a_while(chance, fleet, 60))
        while goes_on(end, done=api.answered[mood] > 0):
            time.sleep(0.1)
        api.mood = "well"
        if not api.answered[mood]:
            raise Broken(f"nobody asked while the source was {mood!r}")
        fleet.say(f"{api.answered[mood]} requests were answered so")

    return inject


for _name in MOODS:
    fault(f"source: {_name.replace('_', ' ')}", "source", 20)(_mood(_name))


# Clocks


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
        wait("the shifted scheduler", lambda: _names(fleet, [beat.pid]), limit=60)
        wait("the shifted worker", lambda: len(_names(fleet, fleet.children(worker.pid))) >= 2, limit=60)
        names, worked = _names(fleet, fleet.children(worker.pid)), 0
        end = time.monotonic() + lasts
        while goes_on(end, done=worked > 0):
            time.sleep(0.2)
            worked = fleet.rows("SELECT count(*) FROM hive.task WHERE owner = ANY (%s)", names)[0][0]
    if not worked:
        raise Broken("a worker with another time had nothing to do")
    fleet.say(f"a clock shifted by {more['CLOCK_SHIFT']} s: the worker had {worked} tasks")
