"""Configurations, bees and credentials that change under a running flight."""

from __future__ import annotations

import random
import time

import yaml

from tests.faults.fleet import EVERY, Fleet
from tests.faults.registry import Broken, fault, for_a_while, goes_on, since, soon


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
