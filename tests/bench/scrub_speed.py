"""How fast is personal data found and taken out, against presidio's default engine on the same core in the same run?

Every value is new to the process that is measured, and all time is the processor's (`time.process_time`): several
sessions may share a machine. One row alone: `python tests/bench/scrub_speed.py documents --quick`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pyarrow as pa
from report import Figure
from scrub_data import SEED, Maker, licences

ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN")
THRESHOLD = 0.35
MB = 1_000_000
_REPEATED = 3
_MEMORY = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "131072",
}
_GROWN_AFTER = 100_000
"""Records after which caches are full: growth counts from here."""


def measure(*, quick: bool) -> list[Figure]:
    return [figure for row in ROWS.values() for figure in row(quick)]


def structured(quick: bool) -> list[Figure]:
    """Records of thirteen fields, all values distinct, through a scrubber."""
    from nectar.keys import InMemoryKeys
    from nectar.scrub import DataScrubber

    scrubber = DataScrubber({"profile_id": "gdpr_compliant"}, InMemoryKeys())
    maker, rows = Maker(), 2_000 if quick else 20_000
    scrubber.scrub(pa.Table.from_pylist(maker.records(500)))
    tables = [pa.Table.from_pylist(maker.records(rows)) for _ in range(_REPEATED)]
    cells = rows * tables[0].num_columns
    ours = [cells / _seconds(scrubber.scrub, table) for table in tables]
    sample = [str(value) for row in Maker(SEED + 1).records(20 if quick else 40) for value in row.values()]
    theirs = len(sample) / _seconds(_presidio(), sample)
    return [
        *_against("structured rows", "cells/s", ours, theirs, 150, 1_000),
        Figure("structured rows: presidio's default engine", "cells/s", [theirs]),
    ]


def short(quick: bool) -> list[Figure]:
    """Notes of a hundred characters, half with personal data."""
    maker, texts = Maker(), 2_000 if quick else 20_000
    batches = [[maker.note() for _ in range(texts)] for _ in range(_REPEATED)]
    ours = [texts / seconds for seconds in _detected(batches)]
    sample = [Maker(SEED + 2 + n).note() for n in range(100 if quick else 200)]
    theirs = len(sample) / _seconds(_presidio(), sample)
    return [
        *_against("short texts", "texts/s", ours, theirs, 150, 500),
        Figure("short texts: presidio's default engine", "texts/s", [theirs]),
    ]


def documents(quick: bool) -> list[Figure]:
    """Documents of five to twenty kB; beside them `datafog-core`, a scanner in Rust for fewer kinds."""
    maker = Maker()
    batches = [[maker.document() for _ in range(20 if quick else 200)] for _ in range(_REPEATED)]
    sizes = [sum(map(len, batch)) / MB for batch in batches]
    ours = [size / seconds for size, seconds in zip(sizes, _detected(batches), strict=True)]
    sample = [Maker(SEED + 3 + n).document() for n in range(1 if quick else 3)]
    theirs = sum(map(len, sample)) / MB / _seconds(_presidio(), sample)
    figures = [
        *_against("documents", "MB/s", ours, theirs, 400, 1_500),
        Figure("documents: presidio's default engine", "MB/s", [theirs]),
    ]
    if importlib.util.find_spec("datafog_core") is None:
        return figures
    import datafog_core

    rust = [
        size / _seconds(lambda b: [datafog_core.scan(t) for t in b], b) for size, b in zip(sizes, batches, strict=True)
    ]
    times = [a / b for a, b in zip(ours, rust, strict=True)]
    return [
        *figures,
        Figure("documents: datafog-core", "MB/s", rust),
        Figure("documents, times datafog-core (aim 1)", "x", times, at_least=0.5),
    ]


def clean(quick: bool) -> list[Figure]:
    """Licence texts, as they are and without the lines in which something is found (authors' addresses)."""
    texts = licences(1_000_000 if quick else 6_000_000)
    bare = _without_findings(texts)
    rates = []
    for some in (bare, texts):
        size = sum(len(text.encode()) for text in some) / MB
        # Each round has texts that no cache has seen.
        batches = [[f"{round_} {text}" for text in some] for round_ in range(_REPEATED)]
        rates.append([size / seconds for seconds in _detected(batches)])
    return [
        Figure(f"text without personal data (aim 400; {size:.1f} MB)", "MB/s", rates[0], at_least=100.0),
        Figure("the same texts with their authors' addresses", "MB/s", rates[1]),
    ]


def _without_findings(texts: Sequence[str]) -> list[str]:
    from nectar.scrub import detect

    bare = []
    for text, findings in zip(texts, detect(texts, ENTITIES, THRESHOLD), strict=True):
        places = {text.count("\n", 0, finding.start) for finding in findings}
        lines = text.split("\n")
        bare.append("\n".join([line for place, line in enumerate(lines) if place not in places]))
    return bare


def hashed(quick: bool) -> list[Figure]:
    """Pseudonyms of distinct values."""
    from nectar.keys import InMemoryKeys
    from nectar.scrub.treat.pseudonyms import pseudonyms

    keys, maker, count = InMemoryKeys(), Maker(), 20_000 if quick else 200_000
    kinds = {"EMAIL_ADDRESS": maker.email, "ACCOUNT_NUMBER": lambda: maker.number(12), "PHONE_NUMBER": maker.phone}
    figures = []
    for kind, draw in kinds.items():
        pseudonyms([draw() for _ in range(10)], kind, keys)
        batches = [[draw() for _ in range(count)] for _ in range(_REPEATED)]
        rates = [count / _seconds(pseudonyms, batch, kind, keys) for batch in batches]
        # A phone number is parsed first, so it is shown without a bound.
        bound = None if kind == "PHONE_NUMBER" else 500_000.0
        figures.append(Figure(f"hash_with_salt, {kind} (aim 1,500,000)", "values/s", rates, at_least=bound))
    return figures


def memory(quick: bool) -> list[Figure]:
    """A process that does nothing but scrub: what it holds, and what it holds after a million records more.

    With the switches of memory that the hive's processes have (`hive.worker.return_memory`), and without pandas, which
    pyarrow imports where a developer has it.
    """
    records = _GROWN_AFTER + (50_000 if quick else 1_000_000)
    argv = [sys.executable, __file__, "--scrub", str(records)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=1_500, env=os.environ | _MEMORY)
    told = json.loads(done.stdout)
    return [
        Figure("a bare scrub process, after its first batch", "MB", [told["first"]], at_most=150.0),
        Figure(f"the same after {records:,} records", "MB", [told["last"]], at_most=150.0),
        Figure(f"growth over {records - _GROWN_AFTER:,} records", "MB", [told["last"] - told["full"]], at_most=5.0),
    ]


ROWS: dict[str, Callable[[bool], list[Figure]]] = {
    "structured": structured,
    "short": short,
    "documents": documents,
    "clean": clean,
    "hashed": hashed,
    "memory": memory,
}


def _detected(batches: Sequence[Sequence[str]]) -> Iterator[float]:
    """Seconds for each batch."""
    from nectar.scrub import detect

    detect([Maker(SEED - 1).document()], ENTITIES, THRESHOLD)
    for batch in batches:
        yield _seconds(detect, batch, ENTITIES, THRESHOLD)


def _seconds(call: Callable[..., object], *given: object) -> float:
    began = time.process_time()
    call(*given)
    return time.process_time() - began


def _presidio() -> Callable[[Sequence[str]], object]:
    """presidio's default engine, offline, with the small English model; warm."""
    from plain_presidio import engine as plain

    engine = plain()
    engine.analyze("warm 202-555-0143", "en", entities=list(ENTITIES), score_threshold=THRESHOLD)

    def analyze(texts: Sequence[str]) -> object:
        return [engine.analyze(text, "en", entities=list(ENTITIES), score_threshold=THRESHOLD) for text in texts]

    return analyze


def _against(name: str, unit: str, ours: list[float], theirs: float, bound: float, aim: float) -> list[Figure]:
    times = [rate / theirs for rate in ours]
    return [Figure(name, unit, ours), Figure(f"{name}, times presidio (aim {aim:,.0f})", "x", times, at_least=bound)]


class _WithoutPandas:
    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def _scrub(records: int) -> dict[str, float]:
    """In a process of its own: resident memory in MB after the first batch, with full caches, and at the end."""
    sys.meta_path.insert(0, _WithoutPandas())
    from nectar.keys import InMemoryKeys
    from nectar.scrub import DataScrubber

    scrubber, maker, batch = DataScrubber({"profile_id": "gdpr_compliant"}, InMemoryKeys()), Maker(), 10_000
    process, told = psutil.Process(), {}
    for done in range(batch, records + 1, batch):
        rows = {"id": list(range(done - batch, done)), "note": [maker.note() for _ in range(batch)]}
        scrubber.scrub(pa.table(rows | {"email": [maker.email() for _ in range(batch)]}))
        told["last"] = process.memory_info().rss / MB
        told.setdefault("first", told["last"])
        if done >= _GROWN_AFTER:
            told.setdefault("full", told["last"])
    return told


def main() -> int:
    from report import show
    from rich.console import Console

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; none: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scrub", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.scrub:
        print(json.dumps(_scrub(asked.scrub)))
        return 0
    for name in asked.rows or ROWS:
        began = time.monotonic()
        figures = ROWS[name](asked.quick)
        show(Console(width=140), name, figures, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.exit(main())
