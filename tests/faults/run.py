"""`make faults`: each fault on a running fleet, over several seeds, and one table at the end.

Results are kept in `tests/faults/results/`, one file for each fault and seed; what is there is not run again (FRESH=1
does). A fleet serves one fault after the other; one that was found wrong is thrown away with its data.

Exit code 1 when anything was lost, doubled, made up, spoilt, skipped, stuck or leaked, or a fault's own rule is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults import nemesis, plain
from tests.faults.check import KINDS, Checker
from tests.faults.every import FAULTS, FULL_LENGTH
from tests.faults.fleet import ROOT, Fleet, fleet, wait
from tests.faults.registry import Broken, Fault
from tests.faults.root import MOUNTS, NAMESPACE, Skipped, may_mount
from tests.servers import short_folder

RESULTS = Path(__file__).parent / "results"
SCALE = 0.1
DRAIN = 60.0
"""Seconds after which what is not there will not come."""
RUNS = 10
"""Of one fleet: all that it ever wrote is searched after each, which soon takes longer than a new fleet."""
SHRINKING = 12
"""Fleets that may be spent on finding out which actions of a mix it takes."""
ANEW = 3
"""Exit code of a fleet that must not be used any more."""
GROUPS = {"kill": 3, "redis": 3, "postgres": 3}
"""Seeds of a group where none are asked for; else one."""


def run(one: Fault, seed: int, alive: Fleet, checker: Checker) -> dict[str, Any]:
    """One fault, from a sound fleet to its verdict."""
    chance = random.Random(f"{one.name} {seed}")
    alive.history.clear()
    alive.broken_load.clear()
    alive.actions = []
    alive.wait_ready()
    alive.begin_load()
    time.sleep(chance.uniform(0.5, 1.5))
    since, rule, skipped = time.time(), "", ""
    try:
        one.inject(alive, chance)
    except Broken as error:
        rule = str(error)
    except Skipped as error:
        skipped = str(error)
    ended = time.time()
    time.sleep(1.0)
    alive.end_load()
    alive.sources.settle(DRAIN)
    time.sleep(0.3)
    before = time.time()
    deadline = time.monotonic() + DRAIN
    while not (drained := checker.drained(since, before)) and time.monotonic() < deadline:
        time.sleep(0.25)
    all_there = time.time()
    healthy = _tells_the_truth(alive)
    found = checker.verdict(since, before)
    rule = rule or "; ".join(alive.broken_load[:1]) or healthy
    result: dict[str, Any] = {
        "fault": one.name, "group": one.group, "seed": seed, "scale": alive.scale, **found, "rule": rule,
        "lasted": round(ended - since, 2), "first": checker.first_landing(ended),
        "all": round(all_there - before, 2) if drained else None, "offered": len(alive.sources.log),
    }  # fmt: skip
    if skipped:
        result["skipped"] = skipped
    result["good"] = not (rule or any(found[kind] for kind in KINDS))
    if alive.actions:
        result["actions"] = alive.actions
    result["history"] = [[round(at - since, 2), what] for at, what in alive.history]
    if not result["good"]:
        result["leaks"] = checker.leaks()
        result["which"] = [list(map(str, row)) for row in checker.rows("which")]
        result["open"] = [
            list(map(str, row))
            for row in alive.rows(
                "SELECT id, kind, queue, state, attempt, crashes, owner, available_at - now(), created_at - now(),"
                " hinted_at - now(), last_error FROM hive.task WHERE state IN ('queued', 'running', 'dead') LIMIT 50"
            )
        ]
    return result


def _tells_the_truth(alive: Fleet) -> str:
    """The gateway says that it lives and is ready once all is well: it is asked once, and restarted by nobody."""
    with contextlib.suppress(TimeoutError):
        wait("the gateway", lambda: alive.ask_gateway("nowhere")[0], limit=30)  # it may just be starting
    told = alive.tells()
    return "" if told in (None, (200, 200)) else f"all is well, and /healthz and /readyz say {told[0]} and {told[1]}"


def serve(wanted: list[tuple[str, int]], scale: float, results: Path) -> int:
    """One fleet for as long as it is sound; what it did not come to is left to the next one."""
    seed = wanted[0][1]
    with fleet(seed, scale) as alive:
        alive.logs_to = results / "logs"  # should it not come up
        checker = Checker(alive)
        print(f"{time.strftime('%H:%M:%S')} a fleet works", flush=True)
        for name, number in wanted[:RUNS]:
            try:
                result = run(FAULTS[name], number, alive, checker)
            except Exception as error:  # noqa: BLE001 - a fault that could not be run is a failure, and is shown
                result = {"fault": name, "group": FAULTS[name].group, "seed": number, "scale": scale, "good": False}
                result |= {"rule": f"could not be run: {error!r}", "trail": traceback.format_exc()}
            keep(result, results)
            print(line(result), flush=True)
            if not result["good"]:
                alive.logs_to = place(name, number, results).with_suffix(".logs")
                return ANEW
            if FAULTS[name].spoils:
                break
        alive.logs_to = None
    return 0


def _serve_plain(wanted: list[tuple[str, int]], scale: float, results: Path) -> int:
    name, seed = wanted[0]
    with short_folder() as home:
        result = {**plain.run(name, seed, scale, home), "group": FAULTS[name].group}
    keep(result, results)
    print(f"{time.strftime('%H:%M:%S')} plain, {name} [{seed}]: {result['lost']} lost, {result['dup']} twice")
    return 0


def line(result: dict[str, Any]) -> str:
    wrong = " ".join(f"{kind}={result[kind]}" for kind in KINDS if result.get(kind))
    times = f"lasted {result.get('lasted')} s, first {result.get('first')}, all {result.get('all')}"
    if result.get("skipped"):
        return f"{time.strftime('%H:%M:%S')} {result['fault']} [{result['seed']}]: skipped, {result['skipped']}"
    said = "ok" if result["good"] else f"WRONG {wrong} {result['rule']}"
    return f"{time.strftime('%H:%M:%S')} {result['fault']} [{result['seed']}]: {said} ({times})"


def place(name: str, seed: int, results: Path) -> Path:
    return results / re.sub(r"[^a-z0-9]+", "-", name.lower()) / f"{seed}.json"


def keep(result: dict[str, Any], results: Path) -> None:
    path = place(result["fault"], result["seed"], results)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**result, "day": time.strftime("%Y-%m-%d"), "code": _code()}, indent=1))


@cache
def _code() -> str:
    """The commit that is run, and whether anything was changed since; nothing where that is not known."""
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    with contextlib.suppress(OSError):
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started this in its background
        signal.signal(number, signal.default_int_handler)
    asked = _arguments()
    if asked.full:
        asked.scale, asked.seeds = 1.0, asked.seeds or 1
    results = Path(asked.results) if asked.results else RESULTS / f"x{asked.scale:g}"
    if asked.inner and asked.plain:
        return _serve_plain([tuple(pair) for pair in json.loads(asked.inner)], asked.scale, results)
    if asked.inner:
        return serve([tuple(pair) for pair in json.loads(asked.inner)], asked.scale, results)
    if asked.plain:
        results = results / "plain"
    names = [name for name in (plain.names() if asked.plain else FAULTS) if _is_wanted(name, asked.only)]
    names = json.loads(asked.exactly) if asked.exactly else list(FULL_LENGTH) if asked.full else names
    if not names:
        print(f"no fault is named {asked.only!r}; there are: {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    seeds = {
        name: asked.seed or 1 if asked.exactly or asked.seed else asked.seeds or GROUPS.get(FAULTS[name].group, 1)
        for name in names
    }
    wanted = [(name, seed) for seed in range(1, max(seeds.values()) + 1) for name in names if seed <= seeds[name]]
    wanted = [pair for pair in wanted if asked.seed in (0, pair[1])]
    try:
        _go_through(wanted, asked, results)
    except KeyboardInterrupt:
        print("interrupted: what is done is kept, and the next call goes on from there")
    from tests.faults.table import publish, show

    baseline = results if asked.plain else results / "plain"
    if asked.scale == SCALE and publish(baseline.parent, asked.scale):
        print("the published table is written: tests/faults/TABLE.md")
    return show([place(*pair, baseline.parent) for pair in wanted], asked.scale, baseline)


def _go_through(wanted: list[tuple[str, int]], asked: argparse.Namespace, results: Path) -> None:
    """Fleet after fleet, until every fault and seed has its result."""
    started = time.monotonic()
    while todo := [pair for pair in wanted if asked.fresh or not place(*pair, results).exists()]:
        asked.fresh, rest = False, todo
        if asked.limit and time.monotonic() - started > asked.limit:
            print(f"time is over: {len(rest)} not run")
            break
        for pair in todo if len(todo) == len(wanted) else []:
            place(*pair, results).unlink(missing_ok=True)
        _fleet(rest, asked, results)
        for pair in rest:
            _shrink(pair, asked, results)


def _shrink(pair: tuple[str, int], asked: argparse.Namespace, results: Path) -> None:
    """Of a mix that went wrong, the few actions that suffice; each try has a fleet and a folder of its own."""
    path = place(*pair, results)
    result = json.loads(path.read_text()) if path.exists() else {}
    if result.get("good", True) or len(result.get("actions", ())) < 2 or "shrunk" in result:
        return

    def fails(actions: list[nemesis.Action]) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            _fleet([pair], asked, Path(folder), json.dumps(actions))
            told = json.loads(place(*pair, Path(folder)).read_text())
        return not told["good"]

    print(f"{pair[0]} [{pair[1]}] went wrong, with {len(result['actions'])} actions: which of them does it take?")
    result["shrunk"] = nemesis.shrink(result["actions"], fails, SHRINKING)
    keep(result, results)
    print(f"{pair[0]} [{pair[1]}]: {result['shrunk']}")


def _fleet(todo: list[tuple[str, int]], asked: argparse.Namespace, results: Path, actions: str = "") -> None:
    """A process of its own for each fleet: what it set and opened ends with it."""
    argv = [sys.executable, "-m", "tests.faults.run", "--scale", str(asked.scale), "--results", str(results)]
    argv += ["--plain"] if asked.plain else []
    environment = {**os.environ, nemesis.ACTIONS: actions}
    if may_mount():
        argv = [*NAMESPACE, *argv]
        environment[MOUNTS] = "1"
    inner = subprocess.Popen([*argv, "--inner", json.dumps(todo)], cwd=ROOT, env=environment)
    try:
        inner.wait()
    except KeyboardInterrupt:
        inner.send_signal(signal.SIGINT)
        inner.wait()
        raise
    first = place(*todo[0], results)
    if not first.exists():  # it did not even come up: this one shall not be tried for ever
        name, seed = todo[0]
        keep({"fault": name, "group": FAULTS[name].group, "seed": seed, "scale": asked.scale, "good": False,
              "rule": f"the fleet ended with code {inner.returncode}"}, results)  # fmt: skip


def _is_wanted(name: str, only: str) -> bool:
    groups = {one.group for one in FAULTS.values()}
    if only in FAULTS:
        return name == only
    words = [word.strip() for word in only.split(",")]
    return not only or any(FAULTS[name].group == word if word in groups else word in name for word in words)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("--only", default="", help="names, parts of names or groups, with commas between")
    parser.add_argument("--seeds", type=int, default=0, help="seeds of each fault")
    parser.add_argument("--seed", type=int, default=0, help="this one only")
    parser.add_argument("--scale", type=float, default=SCALE, help="1 is full length")
    parser.add_argument("--full", action="store_true", help=f"at full length, and only: {', '.join(FULL_LENGTH)}")
    parser.add_argument("--limit", type=float, default=0, help="begin no new fleet after so many seconds")
    parser.add_argument("--plain", action="store_true", help="the same faults on plain Celery chains")
    parser.add_argument("--fresh", action="store_true", help="run again what was run")
    parser.add_argument("--results", default="", help="folder of the results; one for each scale if unset")
    parser.add_argument("--exactly", default="", help=argparse.SUPPRESS)
    parser.add_argument("--inner", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
