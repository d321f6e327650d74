"""Sources in a bad mood."""

from __future__ import annotations

import random
import time

from tests.faults.fleet import EVERY, Fleet
from tests.faults.registry import Broken, Inject, fault, for_a_while, goes_on
from tests.faults.source import MOODS


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
