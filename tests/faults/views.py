"""Views of the work that die, or are asked more than they can answer: the work does not notice."""

from __future__ import annotations

import base64
import contextlib
import itertools
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from hive.embedded import places
from tests.faults.fleet import LOGIN, Fleet, wait
from tests.faults.registry import Broken, fault, for_a_while, goes_on
from tests.faults.resources import Pace

GATEWAY = ("healthz", "metrics", "status")
FLOWER = ("api/workers?refresh=1", "api/tasks?limit=1000", "api/queues/length", "tasks", "workers", "broker", "metrics")
CLIENTS = 4
FLOOD = 100
SMALL_FLOOD = 20
"""Good answers, without which there was none: of the gateway, and of Flower, which is slow."""


@fault("gateway flooded", "views", 15)
def flooded(fleet: Fleet, chance: random.Random) -> None:
    """Clients that ask for its metrics and its status as fast as they can."""
    with asking([f"http://{places.LOOPBACK}:{fleet.gateway}/{path}" for path in GATEWAY]) as answered:
        end = time.monotonic() + max(5.0, for_a_while(chance, fleet, 60))
        while goes_on(end, done=answered.count(200) >= FLOOD):
            time.sleep(0.1)
    good = answered.count(200)
    fleet.say(f"{good} of {len(answered)} answers are what was asked for")
    if good < FLOOD:
        raise Broken(f"{good} of {len(answered)} requests were answered well, which is no flood")


@fault("flower flooded and killed", "views", 15)
def flower(fleet: Fleet, chance: random.Random) -> None:
    """Its HTTP API is asked without a pause, it is killed and started again. What it told is searched for leaks."""
    pace = Pace(fleet)
    port = places.free_port()
    base = f"http://{places.LOOPBACK}:{port}/"
    more = {"HIVE_FLOWER_PORT": str(port)}
    for turn in range(2):
        with fleet.extra("flower", "flower", **more) as process:
            wait("Flower", lambda: ask(base + "api/workers")[0] == 200, limit=60)
            if (open_to_all := ask(base + "api/tasks", login="")[0]) != 401:
                raise Broken(f"Flower answers {open_to_all} to who has no login")
            with asking([base + path for path in FLOWER]) as answered:
                time.sleep(max(5.0, for_a_while(chance, fleet, 60)))
            if (good := answered.count(200)) < SMALL_FLOOD:
                raise Broken(f"Flower answered {good} of {len(answered)} requests well, which is no flood")
            for path in FLOWER:
                fleet.told[f"flower /{path} ({turn})"] = ask(base + path)[1]
            fleet.kill_group(process.pid, signal.SIGKILL)
            fleet.say(f"{len(answered)} answers, then it is killed")
    if b"bees.collect" not in b"".join(fleet.told.values()):
        raise Broken("Flower shows no task at all, so there was nothing to search")
    if wrong := pace.check():
        raise Broken(wrong)


@contextlib.contextmanager
def asking(addresses: list[str]) -> Iterator[list[int]]:
    """Clients that go through the addresses again and again; gives the statuses that they got."""
    stop, answered = threading.Event(), list[int]()

    def go() -> None:
        for address in itertools.cycle(addresses):
            if stop.is_set():
                return
            answered.append(ask(address)[0])

    threads = [threading.Thread(target=go, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=20)


def ask(address: str, login: str = LOGIN) -> tuple[int, bytes]:
    """Status and body; 0 where nobody answers."""
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""
