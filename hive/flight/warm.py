"""Loading before the first task what it would wait for: a second or two, once per process."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from hive.flight.collect import PROCESS_QUEUE
from hive.registry import BrokenConnector, UnknownConnector, connector

if TYPE_CHECKING:
    from hive.runtime import Runtime

FEW_LOOKS = 50_000
"""New objects between two searches for cycles, of which a batch leaves none behind (Python's own number is 700)."""


def share(queues: Sequence[str]) -> None:
    """In the parent, before it forks: what all processes of the pool need, and what starts no thread.

    The recognisers take a second of a processor, and half of one with their first batch. Each process has all of that
    from its birth, also one that replaces a dead one.
    """
    if PROCESS_QUEUE in queues:
        from nectar.scrub import warm

        warm()
        gc.collect()
        gc.freeze()


def warm_up(rt: Runtime, queues: Sequence[str]) -> None:
    """Load the connectors of the bees on these queues, and the recognisers where batches are scrubbed."""
    pa.array([0])  # pyarrow looks for pandas with its first list, and loads it where it is installed
    with rt.db.transaction() as tx:
        query = "SELECT DISTINCT connector FROM hive.bee WHERE enabled AND queue = ANY(%s)"
        names = [row[0] for row in tx.psycopg.execute(query, [list(queues)])]
    for name in names:
        with contextlib.suppress(ImportError, UnknownConnector, BrokenConnector):  # its own flight will say so
            connector(name)
    if PROCESS_QUEUE in queues:
        from hive.flight import process  # noqa: F401 - for what it imports; polars starts threads
        from nectar.scrub import warm

        warm()
    # What is loaded by now stays: the collector need not walk through it again and again (7 to 9 % of scrubbing), and
    # through what a batch makes seldom (10 %).
    gc.collect()
    gc.freeze()
    gc.set_threshold(FEW_LOOKS)
