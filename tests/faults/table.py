"""The one table."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.faults.check import KINDS
from tests.faults.every import FAULTS
from tests.faults.fleet import times


def show(paths: list[Path], scale: float, baseline: Path) -> int:
    """Print what the results say; 1 if any of them is wrong or missing."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    missing = 0
    for path in paths:
        if path.exists():
            result = json.loads(path.read_text())
            found[result["fault"]].append(result)
        else:
            missing += 1
    widest = max(map(len, found), default=5)
    lease = times(scale)["HIVE_LEASE"]
    print(f"\nDurations x {scale:g}, leases of {lease} s. Counts are summed over the seeds and must be 0.")
    print("first: from the fault's end to the first landing. all: from the load's end until nothing is owed.")
    print("Seconds are p50/p95/max.\n")
    heads = " ".join(f"{kind:>7}" for kind in KINDS)
    print(f"{'fault':{widest}} seeds {heads} {'rule':>5}  {'first s':>15} {'within':>6}  {'all s':>15}  verdict")
    wrong = 0
    for name, results in found.items():
        good = all(result["good"] for result in results)
        sums = {kind: sum(result.get(kind, 0) for result in results) for kind in KINDS}
        counts = " ".join(f"{sums[kind]:>7}" for kind in KINDS)
        rules = sum(bool(result["rule"]) for result in results)
        first = percentiles([result.get("first") for result in results])
        every = percentiles([result.get("all") for result in results])
        within = FAULTS[name].within
        late = first[1] is None or first[1] > within
        if any(result.get("skipped") for result in results):
            print(f"{name:{widest}} skipped: {results[0].get('skipped')}")
            continue
        verdict = "WRONG" if not good else "late" if late else "ok"
        wrong += verdict != "ok"
        seconds = f"{words(first):>15} {within:>6g}  {words(every):>15}"
        print(f"{name:{widest}} {len(results):>5} {counts} {rules:>5}  {seconds}  {verdict}")
    for results in found.values():
        for result in results:
            if result["rule"]:
                print(f"{result['fault']} [{result['seed']}]: {result['rule']}")
    if missing:
        print(f"not run: {missing}")
    _beside(found, baseline)
    return int(bool(wrong or missing))


def _beside(found: dict[str, list[dict[str, Any]]], baseline: Path) -> None:
    """Records lost and landed twice by plain Celery chains under the same faults, beside ours."""
    plain: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(baseline.glob("*/*.json")):
        result = json.loads(path.read_text())
        plain[result["fault"]].append(result)
    if not plain:
        return
    widest = max(map(len, plain))
    print("\nBeside plain Celery chains (late acks, reject on worker lost, prefetch 1), records of all seeds:\n")
    print(f"{'fault':{widest}} seeds   ours lost   ours dup  seeds  plain lost  plain dup  of records")
    for name, results in plain.items():
        ours = found.get(name, [])
        own = [sum(result.get(kind, 0) for result in ours) if ours else "-" for kind in ("lost", "dup")]
        theirs = [sum(result[kind] for result in results) for kind in ("lost", "dup", "offered")]
        ended = f"{len(results):>6} {theirs[0]:>11} {theirs[1]:>10} {theirs[2]:>11}"
        print(f"{name:{widest}} {len(ours):>5} {own[0]:>11} {own[1]:>10} {ended}")


def percentiles(values: list[float | None]) -> tuple[float | None, float | None, float | None]:
    """(p50, p95, max); nothing where one never came."""
    if not values or any(value is None for value in values):
        return None, None, None
    known = sorted(value for value in values if value is not None)
    return known[(len(known) - 1) // 2], known[min(len(known) - 1, int(0.95 * len(known)))], known[-1]


def words(values: tuple[float | None, float | None, float | None]) -> str:
    return "/".join("-" if value is None else f"{value:.1f}" for value in values)
