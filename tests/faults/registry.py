"""What a fault is, and the list of them by name. Each is called while the sources grow and the bees fly."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.fleet import Fleet

Inject = Callable[[Fleet, random.Random], None]


class Broken(AssertionError):
    """The fault's own rule does not hold."""


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


def soon(chance: random.Random) -> None:
    """A moment that nobody chose."""
    time.sleep(chance.uniform(0.0, 0.8))
