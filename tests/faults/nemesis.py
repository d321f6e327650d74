"""A seeded mix of the other faults, which replays by its seed; and the search for the few that spoil a run."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence

from tests.faults.fleet import Fleet
from tests.faults.registry import FAULTS, fault

GROUPS = ("kill", "crash", "redis", "postgres", "messages", "schedulers", "zombie", "stop", "config", "source")
ACTIONS = "FAULTS_ACTIONS"
"""A run's environment may name the actions, as JSON; else the seed does."""
MOST = 100
"""Actions at full length, some ten minutes; a tenth of them at a tenth of it, and no fewer than SMALLEST."""
SMALLEST = 6

Action = tuple[str, int]
"""A fault by name, and the seed of its own chances."""


def plan(chance: random.Random, scale: float) -> list[Action]:
    """The actions of a seed: the same ones however long any of them takes."""
    names = [name for name, one in FAULTS.items() if one.group in GROUPS]
    count = max(SMALLEST, round(MOST * scale))
    return [(chance.choice(names), chance.getrandbits(32)) for _ in range(count)]


@fault("nemesis", "nemesis", 20, spoils=True)
def nemesis(fleet: Fleet, chance: random.Random) -> None:
    """One after the other; each is written down. On a fleet of its own, whose data are its seed's, too."""
    planned = plan(chance, fleet.scale)
    given = os.environ.get(ACTIONS)
    fleet.actions = [(name, seed) for name, seed in json.loads(given)] if given else planned
    for name, seed in fleet.actions:
        fleet.say(f"nemesis: {name} [{seed}]")
        FAULTS[name].inject(fleet, random.Random(seed))


def shrink(actions: Sequence[Action], fails: Callable[[list[Action]], bool], tries: int) -> list[Action]:
    """The shortest part of `actions` that was seen to fail: halves are left out, then quarters, at last single ones."""
    left, size = list(actions), max(1, len(actions) // 2)
    while tries > 0 and len(left) > 1:
        at = 0
        while at < len(left) and tries > 0:
            fewer = left[:at] + left[at + size :]
            tries -= 1
            if fewer and fails(fewer):
                left = fewer
            else:
                at += size
        if size == 1:
            break
        size = max(1, size // 2)
    return left
