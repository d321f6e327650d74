"""Does a table of five million rows load as fast as one of half a million, in the same memory?"""

from __future__ import annotations

import nests
import psycopg
from load import ALIVE, grow, load, watched
from report import Figure

from hive.demo import source as shop

SIZES = {False: (100_000, 500_000, 5_000_000), True: (20_000, 60_000, 300_000)}
"""Rows of the small, the middle and the large table, by `quick`."""


def measure(*, quick: bool) -> list[Figure]:
    """One collecting and two scrubbing processes; each table lands in a jar of its own. Memory: the largest one's."""
    small, middle, large = SIZES[quick]
    rates: dict[int, float] = {}
    peaks: dict[int, float] = {}
    with (
        nests.folder() as home,
        nests.servers(home) as (database, _),
        nests.part(home, "collect", "worker", "--queues", "bees.database", "-c", "1"),
        nests.part(home, "scrub", "worker", "--queues", "nectar", "-c", "2"),
        nests.part(home, "beat", "beat"),
        nests.manager() as hive,
        psycopg.connect(database, autocommit=True) as ledger,
    ):
        nests.wait("three processes", lambda: len(ledger.execute(ALIVE).fetchall()) >= 4)
        source = shop.fill(database, customers=1_000, orders=0)
        load(hive, source, "warm-up")
        for rows in (small, middle, large):
            with psycopg.connect(source.url, autocommit=True) as owner:
                owner.execute("DELETE FROM customers WHERE id > 1000")
            grow(source, rows)
            with watched() as memory:
                rates[rows] = rows / load(hive, source, f"rows-{rows}", expect=rows, limit=3000)
                nests.indexed(ledger)
            peaks[rows] = memory()
    return [
        Figure(f"{large:,} rows beside {middle:,}", "of its rows/s", [rates[large] / rates[middle]], at_least=0.9),
        Figure(f"memory with {large:,} rows beside {small:,}", "x", [peaks[large] / peaks[small]], at_most=1.15),
        Figure("largest process of ours", "MB", [peaks[large]], at_most=350),
        Figure(f"{large:,} rows", "records/s", [rates[large]]),
    ]
