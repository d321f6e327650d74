"""The one table."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.check import KINDS
from tests.faults.every import FAULTS
from tests.faults.fleet import times

PUBLISHED = Path(__file__).parent / "TABLE.md"
_BASELINE = "Late acks, reject on worker lost, prefetch 1; the records of all seeds, at the same pace as ours."
Spread = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Row:
    """One fault over its seeds. `first` and `every` are seconds, as p50, p95 and the longest."""

    name: str
    seeds: int
    counts: tuple[int, ...]
    broken: int
    first: Spread
    within: float
    every: Spread
    verdict: str

    @classmethod
    def of(cls, name: str, results: list[dict[str, Any]]) -> Row:
        first, within = percentiles([result.get("first") for result in results]), FAULTS[name].within
        late = first[1] is None or first[1] > within
        good, skipped = all(result["good"] for result in results), any(result.get("skipped") for result in results)
        return cls(
            name,
            len(results),
            tuple(sum(result.get(kind, 0) for result in results) for kind in KINDS),
            sum(bool(result["rule"]) for result in results),
            first,
            within,
            percentiles([result.get("all") for result in results]),
            "skipped" if skipped else "WRONG" if not good else "late" if late else "ok",
        )


def show(paths: list[Path], scale: float, baseline: Path) -> int:
    """Print what the results say; 1 if any of them is wrong or missing."""
    found = _read(path for path in paths if path.exists())
    missing = sum(not path.exists() for path in paths)
    widest = max(map(len, found), default=5)
    print(f"\n{_said(scale)}\n")
    heads = " ".join(f"{kind:>7}" for kind in KINDS)
    print(f"{'fault':{widest}} seeds {heads} {'rule':>5}  {'first s':>15} {'within':>6}  {'all s':>15}  verdict")
    rows = [Row.of(name, results) for name, results in found.items()]
    for row in rows:
        if row.verdict == "skipped":
            print(f"{row.name:{widest}} skipped: {found[row.name][0].get('skipped')}")
            continue
        counts = " ".join(f"{count:>7}" for count in row.counts)
        seconds = f"{words(row.first):>15} {row.within:>6g}  {words(row.every):>15}"
        print(f"{row.name:{widest}} {row.seeds:>5} {counts} {row.broken:>5}  {seconds}  {row.verdict}")
    for results in found.values():
        for result in results:
            if result["rule"]:
                print(f"{result['fault']} [{result['seed']}]: {result['rule']}")
    if missing:
        print(f"not run: {missing}")
    if plain := _read(sorted(baseline.glob("*/*.json"))):
        print(f"\n{_BASELINE}\n", *_beside(found, plain), sep="\n")
    return int(missing > 0 or any(row.verdict in ("WRONG", "late") for row in rows))


def publish(results: Path, scale: float, to: Path = PUBLISHED) -> bool:
    """Write all that was ever kept in this folder as one table for readers, if every fault is among it.

    Beside it stand what plain Celery chains lost under the same faults (`plain/` in the folder), and what was run at
    full length (`x1` next to it), as far as those were run.
    """
    found = _read(sorted(results.glob("*/*.json")))
    if not found.keys() >= FAULTS.keys():
        return False
    full = _read(sorted(results.with_name("x1").glob("*/*.json")))
    plain = _read(sorted((results / "plain").glob("*/*.json")))
    days = sorted(
        {result["day"] for told in (found, full) for some in told.values() for result in some if "day" in result}
    )
    lines = ["# What the faults did\n"]
    lines += [f"Written by `make faults`; run {' to '.join(dict.fromkeys((days[0], days[-1])))}."] if days else []
    codes = sorted({one["code"] for told in (found, full) for some in told.values() for one in some if one.get("code")})
    lines += [f"Code: {', '.join(codes)}."] if codes else []
    lines += [f"{_said(scale)} What each fault does stands in the modules of `tests/faults/`.\n"]
    lines += _table({name: found[name] for name in FAULTS})
    if full:
        lines += ["\n## At full length\n", f"{_said(1.0)}\n", *_table(full)]
    if plain:
        lines += ["\n## Beside plain Celery chains\n", f"{_BASELINE}\n", *_beside(found, plain)]
    to.write_text("\n".join(lines) + "\n")
    return True


def _table(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    heads = ["fault", "seeds", *KINDS, "rule", "first s", "within", "all s", "verdict"]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in (Row.of(name, results) for name, results in found.items()):
        cells = [row.name, row.seeds, *row.counts, row.broken, words(row.first), f"{row.within:g}", words(row.every)]
        yield f"| {' | '.join(map(str, cells))} | {row.verdict} |"


def _read(paths: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in paths:
        result = json.loads(path.read_text())
        found[result["fault"]].append(result)
    return found


def _said(scale: float) -> str:
    scaled, whole = times(scale), times(1.0)
    settings = ", ".join(f"{name} {scaled[name]} s ({whole[name]})" for name in scaled)
    return (
        f"Durations x {scale:g}; {settings}. Counts are summed over the seeds and must be 0.\n"
        "first: from the fault's end to the first landing. all: from the load's end until nothing is owed.\n"
        "within: the bound of p95, longer where nothing but a limit on answers tells of the fault.\n"
        "Seconds are p50/p95/max."
    )


def _beside(found: Mapping[str, list[dict[str, Any]]], plain: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Records lost and landed twice by plain Celery chains under the same faults, beside ours."""
    yield "| fault | our seeds | our lost | our dup | plain seeds | plain lost | plain dup | of records |"
    yield f"|{'---|' * 8}"
    for name, results in plain.items():
        ours = found.get(name, [])
        own = [sum(result.get(kind, 0) for result in ours) if ours else "-" for kind in ("lost", "dup")]
        if not all("offered" in result for result in results):
            yield f"| {name} | {len(ours)} | {own[0]} | {own[1]} | could not be run |  |  |  |"
            continue
        theirs = [sum(result[kind] for result in results) for kind in ("lost", "dup", "offered")]
        yield f"| {' | '.join(map(str, [name, len(ours), *own, len(results), *theirs]))} |"


def percentiles(values: list[float | None]) -> Spread:
    """(p50, p95, max); nothing where one never came."""
    if not values or any(value is None for value in values):
        return None, None, None
    known = sorted(value for value in values if value is not None)
    return known[(len(known) - 1) // 2], known[min(len(known) - 1, int(0.95 * len(known)))], known[-1]


def words(values: Spread) -> str:
    return "/".join("-" if value is None else f"{value:.1f}" for value in values)
