"""What a fault is, and the list of them by name. Each is called while the sources grow and the bees fly."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.fleet import Fleet, Proxy, wait

Inject = Callable[[Fleet, random.Random], None]


LONGEST = 30.0
"""Seconds more that a fault may take until it was seen to have had an effect."""


class Broken(AssertionError):
    """The fault's own rule does not hold, or it had no effect."""


@dataclass(frozen=True)
class Fault:
    name: str
    group: str
    inject: Inject
    within: float
    """Seconds from its end to the first landing, at the 95th percentile."""
    spoils: bool = False
    """The fleet is another one afterwards, or carries too much, and serves no other fault."""


FAULTS: dict[str, Fault] = {}


def fault(name: str, group: str, within: float, *, spoils: bool = False) -> Callable[[Inject], Inject]:
    def note(inject: Inject) -> Inject:
        FAULTS[name] = Fault(name, group, inject, within, spoils)
        return inject

    return note


def for_a_while(chance: random.Random, fleet: Fleet, full: float) -> float:
    """Seconds that a fault of `full` seconds lasts at the fleet's scale, a little more or less."""
    return full * fleet.scale * chance.uniform(0.8, 1.2)


def goes_on(end: float, done: bool) -> bool:
    """Whether a fault that lasts until `end` (by the monotonic clock) goes on: longer where it had no effect yet."""
    now = time.monotonic()
    return now < end or (not done and now < end + LONGEST)


def since(log: Path, size: int) -> str:
    """What was written into a log after it had so many bytes."""
    with log.open("rb") as file:
        file.seek(size)
        return file.read().decode(errors="replace")


def away(fleet: Fleet, seconds: float, *, ready: int = 200) -> None:
    """A server is away: the gateway lives, and says that it is not `ready` where that is the ledger's."""
    end = time.monotonic() + seconds
    told = fleet.tells()
    while goes_on(end, done=told in (None, (200, ready))):
        time.sleep(0.1)
        told = told if told == (200, ready) else fleet.tells()
    if told not in (None, (200, ready)):
        raise Broken(f"while a server is away, /healthz says {told[0]} and /readyz {told[1]} instead of {ready}")


def misbehave(fleet: Fleet, proxy: Proxy, mode: str, lasts: float, **how: Any) -> None:
    """The network does so for `lasts` seconds, and on until it harmed anybody. Raises Broken where it harmed nobody."""
    with contextlib.suppress(TimeoutError):
        wait("a connection", proxy.links, limit=LONGEST)
    proxy.tell(mode, **how)
    end = time.monotonic() + lasts
    try:
        time.sleep(lasts)
        while goes_on(end, done=proxy.hurt() > 0):
            time.sleep(0.1)
    finally:
        hurt = proxy.tell()
    if not hurt:
        raise Broken(f"the network did {mode!r} for {time.monotonic() - end + lasts:.0f} s and met nobody")
    fleet.say(f"{mode}: {hurt} connections or pieces were hurt")


def soon(chance: random.Random) -> None:
    """A moment that nobody chose."""
    time.sleep(chance.uniform(0.0, 0.8))
