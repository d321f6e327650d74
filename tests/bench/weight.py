"""How much memory do pool processes hold after work, and which of them have presidio loaded?"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nests
import psutil
from report import Figure

from hive.supervisor import QUEUES

SEED = 20_260_101
COLLECT, SCRUB = "worker bees.file", "worker nectar"
WORKED = "SELECT DISTINCT w.pid FROM hive.task t JOIN hive.worker w ON w.id = t.owner WHERE t.state = 'done'"
PRESIDIO = b"/presidio_analyzer/__init__.py"
"""A module keeps the path of its file as text as long as it is loaded; nothing else of ours holds this one."""
MB = 1_000_000
_PIECE = 4 << 20
_WORDS = ("order", "parcel", "blue", "green", "north", "river", "table", "seven", "lamp", "window", "street", "glass")


def measure(*, quick: bool) -> list[Figure]:
    rows = 10_000 if quick else 60_000
    with nests.folder() as home:
        source = home / "source"
        with nests.whole_hive(home, {"people": nests.local_bee(_write(source, rows, 0), "gdpr_compliant")}) as nest:
            nest.wait_for({"beat", *(f"worker {queue}" for queue in QUEUES)})
            with nests.manager() as hive:
                for generation in range(1, 8):
                    nests.landed(hive.fly("people"), 120)
                    if generation > 2 and _pools(nest) <= {pid for (pid,) in nest.rows(WORKED)}:
                        break
                    _write(source, rows, generation)
            return _figures(nest)


def _pools(nest: nests.Nest) -> set[int]:
    return {pid for pid, role in nest.living().items() if role in (COLLECT, SCRUB)}


def _figures(nest: nests.Nest) -> list[Figure]:
    """PSS: memory that processes share counts by halves, thirds and so on, so their sum is what is really used."""
    worked = {pid for (pid,) in nest.rows(WORKED)}
    roles = nest.living()
    groups: dict[str, list[int]] = {}
    for pid, role in roles.items():
        if role in (COLLECT, SCRUB):
            groups.setdefault("collect and land" if role == COLLECT else "scrub", []).extend([pid] * (pid in worked))
        elif role.startswith("worker"):
            groups.setdefault("pools that did nothing", []).append(pid)
    bounds = {"collect and land": 200.0, "scrub": 260.0}
    figures = [
        Figure(f"child: {name}", "MB", [pss(pid) for pid in pids], held="max", at_most=bounds.get(name))
        for name, pids in sorted(groups.items())
    ]
    parents = psutil.Process(nest.supervisor).children()
    for one in [psutil.Process(nest.supervisor), *parents]:
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
