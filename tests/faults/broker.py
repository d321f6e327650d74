"""Redis killed, emptied, full, slow, or out of reach, and messages that come too often or never."""

from __future__ import annotations

import os
import random
import signal
import time

import redis

from tests.faults.fleet import EVERY, Fleet, wait
from tests.faults.registry import LONGEST, Broken, away, fault, for_a_while, goes_on, misbehave, soon

TIMES = 10
"""Each message comes so often at least."""


@fault("redis killed, with its data", "redis", 10)
def redis_killed(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.valkey.kill()
    away(fleet, for_a_while(chance, fleet, 20))
    fleet.start_redis()


@fault("redis killed, without its data", "redis", 20)
def redis_wiped(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.valkey.wipe()
    away(fleet, for_a_while(chance, fleet, 20))
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
                "SELECT day, id, kind, queue, flight, parent, priority FROM hive.task"
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
    told = client.info("commandstats")
    return sum(int(told.get(f"cmdstat_{push}", {}).get("calls", 0)) for push in ("lpush", "rpush"))


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
