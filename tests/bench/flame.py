"""`make profile`: flame graphs of a flight, of the process that reads a table and of those that scrub and land it.

py-spy (100 samples a second, only of threads that work) starts the two workers, so it needs no rights beyond ours. The
graphs are SVG files that a browser shows; a click goes into a function.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import load
import nests
import psutil
import psycopg

from hive.demo import source as shop

HERE = Path(__file__).parent
WORKERS = {"read": ("bees.database", 1), "scrub-and-land": ("nectar", 2)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the table that is flown")
    rows = parser.parse_args().rows
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(nests.folder())
        database, _ = stack.enter_context(nests.servers(home))
        graphs = [stack.enter_context(_spied(home, folder, name)) for name in WORKERS]
        stack.enter_context(nests.part(home, "beat", "beat"))
        hive = stack.enter_context(nests.manager())
        ledger = stack.enter_context(psycopg.connect(database, autocommit=True))
        nests.wait("the workers", lambda: len(ledger.execute(load.ALIVE).fetchall()) >= 4)
        source = shop.fill(database, customers=1_000, orders=0)
        load.grow(source, rows)
        seconds = load.load(hive, source, "profiled", expect=rows)
    print(f"{rows} records in {seconds:.1f} s under the profiler")
    for graph in graphs:
        print(graph.relative_to(Path.cwd()) if graph.is_relative_to(Path.cwd()) else graph)
    return 0


@contextlib.contextmanager
def _spied(home: Path, folder: Path, name: str) -> Iterator[Path]:
    """A worker under py-spy, which writes the graph when the worker ends."""
    queue, processes = WORKERS[name]
    graph = folder / f"flame-{name}.svg"
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None:
        raise SystemExit("make profile: py-spy is missing: make setup")
    argv = [
        spy, "record", "--subprocesses", "--rate", "100", "--format", "flamegraph", "--output", str(graph), "--",
        sys.executable, "-m", "hive", "worker", "--queues", queue, "-c", str(processes),
    ]  # fmt: skip
    with nests.program(argv, home / f"{name}.log") as started:
        yield graph
        for worker in psutil.Process(started.pid).children():
            worker.send_signal(signal.SIGTERM)
        started.wait(60)


if __name__ == "__main__":
    sys.exit(main())
