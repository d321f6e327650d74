"""`make fuzz`: statements by chance, from a seed, against the guard and the row filters; servers say what is right.

guard    What the guard lets in is run by a superuser who may do everything, one statement after the other, and must
         write nothing: no transaction id, no lock that stays, nothing changed of what the database holds. A reader
         gets the same rows from the printed statement as from the one that was given. Reads that a grammar makes are
         let in. What is refused although a reader's session runs it is counted by the reason.
filters  What a row filter prints gives an owner the rows that PostgreSQL's own row-level security gives a reader.
mysql    What the guard lets in is run by MariaDB's root, and its binlog does not grow, and no row is locked.

Exit code 1 where one of these does not hold; the statements and the seed are printed, and found again with SEED=.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hive.embedded import EmbeddedPostgres
from tests.fuzz import mysql, postgres
from tests.fuzz.findings import Findings


@contextmanager
def scratch_server() -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="fuzz", dir="/tmp") as folder:
        server = EmbeddedPostgres(Path(folder), fast=True)
        try:
            server.start()
            yield server
        finally:
            server.destroy()


Part = Callable[[int, Callable[[int], bool], Findings], int]


def _guard(seed: int, until: Callable[[int], bool], found: Findings) -> int:
    with scratch_server() as server:
        return postgres.fuzz_guard(server, seed, until, found)


def _filters(seed: int, until: Callable[[int], bool], found: Findings) -> int:
    with scratch_server() as server:
        return postgres.fuzz_filters(server, seed, until, found)


PARTS: dict[str, Part] = {"guard": _guard, "filters": _filters, "mysql": mysql.fuzz_guard}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each part")
    parser.add_argument("--count", type=int, help="statements for each part, instead of seconds")
    told = parser.parse_args(arguments)
    wrong = [_run(name, told) for name in PARTS if told.only in (None, name)]
    return int(any(wrong))


def _run(name: str, told: argparse.Namespace) -> bool:
    """Whether a part found what must not be."""
    found, began = Findings(), time.monotonic()

    def goes_on(number: int) -> bool:
        return bool(number < told.count if told.count else time.monotonic() - began < told.seconds)

    number = PARTS[name](told.seed * 1_000_003, goes_on, found)
    print(f"{name}: {number} statements, seed {told.seed}, {time.monotonic() - began:.0f} s")
    for what, count in sorted(found.counts.items(), key=lambda one: -one[1]):
        print(f"  {count:7} {what}")
    for line in found.lines[:20]:
        print(f"  {line}")
    return bool(found.lines)


if __name__ == "__main__":
    sys.exit(main())
