"""How much memory do pool processes hold after work, and which of them have presidio loaded?"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nests
import psutil
from report import Figure

from hive.supervisor import QUEUES

if TYPE_CHECKING:
    from hive.manager import HiveManager

SEED = 20_260_101
BEES = 4
COLLECT, SCRUB = "worker bees.file", "worker nectar"
WORKED = "SELECT DISTINCT w.pid FROM hive.task t JOIN hive.worker w ON w.id = t.owner WHERE t.state = 'done'"
PRESIDIO = b"/presidio_analyzer/__init__.py"
"""A module keeps the path of its file as text as long as it is loaded; nothing else of ours holds this one."""
MB = 1_000_000
_PIECE = 4 << 20
_WORDS = ("order", "parcel", "blue", "green", "north", "river", "table", "seven", "lamp", "window", "street", "glass")


def measure(*, quick: bool) -> list[Figure]:
    """First after small batches, then after batches of the default size; every scrubbing child has worked by then."""
    with nests.folder() as home:
        bees = {f"people-{n}": nests.local_bee(_write(home / str(n), 1, 0), "gdpr_compliant") for n in range(BEES)}
        with nests.whole_hive(home, bees) as nest:
            nest.wait_for({"beat", *(f"worker {queue}" for queue in QUEUES)})
            with nests.manager() as hive:
                _fly(nest, hive, home, 500, 5)
                small = _children(nest, "small batches")
                _fly(nest, hive, home, 10_000 if quick else 50_000, 1)
            return [*small, *_children(nest, "large batches"), *_rest(nest)]


def _fly(nest: nests.Nest, hive: HiveManager, home: Path, rows: int, times: int) -> None:
    """All bees at once, so often, each time with other rows. Raises when a scrubbing child got no work."""
    for generation in range(times):
        for n in range(BEES):
            _write(home / str(n), rows, rows + generation * BEES + n)
        for flight in [hive.fly(f"people-{n}") for n in range(BEES)]:
            nests.landed(flight, 120)
    idle = {pid for pid, role in nest.living().items() if role == SCRUB} - _worked(nest)
    if idle:
        raise RuntimeError(f"{len(idle)} scrubbing children got no work")


def _worked(nest: nests.Nest) -> set[int]:
    return {pid for (pid,) in nest.rows(WORKED)}


def _children(nest: nests.Nest, after: str) -> list[Figure]:
    """PSS: memory that processes share counts by halves, thirds and so on, so their sum is what is really used."""
    worked, roles = _worked(nest), nest.living()
    return [
        Figure(f"{name} child after {after}", "MB", [pss(p) for p in worked if roles.get(p) == role], "max", bound)
        for name, role, bound in (("collecting", COLLECT, 200.0), ("scrubbing", SCRUB, 260.0))
    ]


def _rest(nest: nests.Nest) -> list[Figure]:
    """Whoever did no work of a flight, and everything together."""
    idle = [p for p, role in nest.living().items() if role.startswith("worker") and role not in (COLLECT, SCRUB)]
    figures = [Figure("child without work", "MB", [pss(pid) for pid in idle])]
    for one in [psutil.Process(nest.supervisor), *psutil.Process(nest.supervisor).children()]:
        role = nests.role(one.pid, nest.supervisor) or "hive up"
        if "hive" in one.cmdline():
            figures.append(Figure(f"parent: {role}", "MB", [pss(one.pid)]))
    everyone = psutil.Process(nest.supervisor).children(recursive=True)
    figures.append(Figure("everything, both servers too", "MB", [sum(pss(one.pid) for one in everyone)]))
    return [*figures, *_presidio(everyone, nest)]


def _presidio(everyone: list[psutil.Process], nest: nests.Nest) -> list[Figure]:
    """The scrubbing children prove that the look finds what is there."""
    ours = [one.pid for one in everyone if "hive" in " ".join(one.cmdline())]
    loaded = [pid for pid in ours if holds(pid, PRESIDIO)]
    scrubbing = [pid for pid in loaded if nests.role(pid, nest.supervisor) == SCRUB]
    return [
        Figure("scrubbing processes with presidio", "", [len(scrubbing)], at_least=1),
        Figure("other processes with presidio", "", [len(loaded) - len(scrubbing)], at_most=0),
    ]


def pss(pid: int) -> float:
    """Proportional set size in MB."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / MB


def holds(pid: int, text: bytes) -> bool:
    """Whether `text` stands anywhere in the memory that a process wrote."""
    ranges = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw.. \S+ \S+ 0 *(?:\[heap\]|\[anon.*)?$", _maps(pid), re.MULTILINE)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        return any(text in piece for low, high in ranges for piece in _read(memory, int(low, 16), int(high, 16), text))


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def _read(memory: Any, low: int, high: int, text: bytes) -> Iterator[bytes]:
    """Pieces that overlap by the length of `text`; what cannot be read is left out."""
    for start in range(low, high, _PIECE):
        try:
            memory.seek(start)
            yield memory.read(min(_PIECE + len(text), high - start))
        except (OSError, OverflowError):
            return


def _write(source: Path, rows: int, generation: int) -> Path:
    """Eight columns; one row in ten holds personal data."""
    choose = random.Random(SEED + generation)

    def row(n: int) -> dict[str, Any]:
        note = " ".join(choose.choices(_WORDS, k=12))
        if n % 10 == 0:
            note += f" write to user{choose.randrange(10**6)}@example.com or call 202-555-{choose.randrange(9999):04}"
        return {
            "id": n, "name": choose.choice(_WORDS), "city": choose.choice(_WORDS), "amount": choose.random() * 1000,
            "count": choose.randrange(10**6), "open": choose.random() < 0.5, "when": "2026-01-01T00:00Z", "note": note,
        }  # fmt: skip

    nests.write_rows(source / "a.jsonl", (row(n) for n in range(rows)))
    return source
