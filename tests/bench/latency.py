"""How long from the trigger to a record in the jar, and to the flight's end, on an idle hive?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import nests
import psycopg
from report import Figure

if TYPE_CHECKING:
    from hive.manager import HiveManager

COLLECTED = """
SELECT extract(epoch FROM c.finished_at - f.created_at)::float FROM hive.task c JOIN hive.flight f ON f.id = c.flight
 WHERE f.id = %s AND c.kind = 'collect'
"""
"""Trigger to the end of reading: the record is sealed by then, and its landing hinted."""


def measure(*, quick: bool) -> list[Figure]:
    """Each flight lands one record that is scrubbed. Ends are seen by asking every 2 ms, as the ledger commits them."""
    with nests.folder() as home:
        source = home / "source"
        _write(source, 0)
        with nests.whole_hive(home, {"one": nests.local_bee(source, "gdpr_compliant")}) as nest:
            nest.wait_for({"beat", "worker bees.file", "worker nectar", "worker nectar.embed"})
            with nests.manager() as hive:
                for n in range(1, 9):  # every child of both pools warm, most likely
                    _write(source, n)
                    nests.landed(hive.fly("one"), 30)
                time.sleep(3)  # Flower and the last pools come to rest
                samples = [_fly(nest, hive, source, 100 + n) for n in range(10 if quick else 30)]
    landed, closed, collected = zip(*samples, strict=True)
    return [
        Figure("trigger to landed", "s", landed, held="p95", at_most=0.5),
        Figure("trigger to closed", "s", closed),
        Figure("trigger to collected, ledger's clock", "s", collected),
    ]


def _fly(nest: nests.Nest, hive: HiveManager, source: Path, n: int) -> tuple[float, float, float]:
    """(landed, closed, collected) after the trigger, in seconds. The receipt commits with the record."""
    _write(source, n)
    time.sleep(0.15)
    with psycopg.connect(nest.state["database_url"], autocommit=True) as watch:
        began = time.perf_counter()
        flight = hive.fly("one")
        while not watch.execute("SELECT 1 FROM hive.receipt WHERE flight = %s AND landed = 1", [flight.id]).fetchone():
            _still(began)
        landed = time.perf_counter() - began
        while flight.result().state != "complete":
            _still(began)
        closed = time.perf_counter() - began
        row = watch.execute(COLLECTED, [flight.id]).fetchone()
    assert row is not None
    return landed, closed, row[0]


def _still(began: float) -> None:
    if time.perf_counter() - began > 30:
        raise TimeoutError("the flight did not land in 30 s")
    time.sleep(0.002)


def _write(source: Path, n: int) -> None:
    row = {"id": 1, "name": "Ada", "email": f"ada{n}@example.com", "note": f"visit {n}"}
    nests.write_rows(source / "a.jsonl", [row])
