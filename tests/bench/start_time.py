"""How long does `hive up` take until it works, and until everything of it answers?"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import httpx
import nests
from report import Figure

from hive.embedded import places
from hive.supervisor import QUEUES

FIRST = {"beat", "worker bees.file", "worker nectar"}
WORKER = ("hive.tasks", "hive.flight.process", "nectar.scrub.recognisers")
ALL = {"beat", *(f"worker {queue}" for queue in QUEUES)}


def measure(*, quick: bool) -> list[Figure]:
    with nests.folder() as home:
        source = home / "source"
        nests.write_rows(source / "a.jsonl", [{"id": 1}])
        config = nests.write_config(home, {"one": nests.local_bee(source)})
        fresh = [_times(home, f"d{n}", config) for n in range(1 if quick else 3)]
        again = _times(home, "d0", config)
    times = 3 if quick else 7
    ready, rest, stop = zip(*fresh, strict=True)
    return [
        Figure("fresh folder: first flight possible", "s", ready, held="max", at_most=5.0),
        Figure("fresh folder: all pools and Flower after that", "s", rest, held="max", at_most=10.0),
        Figure("existing folder: first flight possible", "s", [again[0]], held="max", at_most=5.0),
        Figure("existing folder: all pools and Flower after that", "s", [again[1]], held="max", at_most=10.0),
        Figure("end of it by SIGTERM", "s", [*stop, again[2]]),
        Figure("import of hive", "s", _imports("hive", times=times), at_most=0.3),
        Figure("import of a worker, with all that scrubs", "s", _imports(*WORKER, times=times), at_most=1.5),
    ]


def _imports(*modules: str, times: int) -> list[float]:
    """Seconds of a Python that imports these and ends, less those of one that imports nothing; once for nothing."""
    code = f"import {', '.join(modules)}"
    pairs = [(_seconds(code), _seconds("pass")) for _ in range(times + 1)]
    return [with_it - without for with_it, without in pairs[1:]]


def _seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    return time.perf_counter() - began


def _times(home: Path, name: str, config: Path) -> tuple[float, float, float]:
    """Seconds from the start of the process to the first work, from there to all of it, and for the end."""
    data = places.make_folder(home / name)
    began = time.perf_counter()
    with nests.starting_hive(data, config) as (_, ready):
        nest: nests.Nest = nests.wait("the hive", ready)
        nests.wait("the gateway", lambda: _answers(nest.state["gateway"] + "/healthz", 200))
        nest.wait_for(FIRST)
        first = time.perf_counter() - began
        nest.wait_for(ALL)
        nests.wait("Flower", lambda: _answers(nest.state["flower"], 401), pause=0.05)
        rest = time.perf_counter() - began - first
        began = time.perf_counter()
    return first, rest, time.perf_counter() - began


def _answers(url: str, code: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).status_code == code
    return False
