"""How long do 10,000 bees take: to check, to take into use, to reload when some changed, to fly when all are due, to
tell in `/metrics`?
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import nests
import psycopg
import yaml
from report import Figure

if TYPE_CHECKING:
    from hive.metrics.scrape import Scraper

BEES = 10_000
CHANGED = 100
MAKE_DUE = "UPDATE hive.schedule SET next_slot = next_slot - make_interval(secs => (spec ->> 'every')::float)"
FLOWN = """
INSERT INTO hive.tally (bee, bee_type, complete, records_read, records_landed, bytes_read, seconds, durations,
                        last_state, last_seconds, last_at, success_at)
SELECT id, 'file', 1000 + id, 1234567, 1234567, 123456789, 1234.5, '{100, 200, 300, 400, 500, 600}', 'complete', 1.5,
       now(), now() FROM hive.bee
"""
FLY_ON = """
UPDATE hive.tally SET complete = complete + 1, records_read = records_read + 7, records_landed = records_landed + 7,
       bytes_read = bytes_read + 100, seconds = seconds + 0.25, durations[5] = durations[5] + 1, success_at = now()
"""


def measure(*, quick: bool) -> list[Figure]:
    """Tick: all schedules are due at once, and each flight is in the ledger when it ends."""
    checks, reloads, nothing, ticks = [], [], [], []
    scrapes: list[tuple[float, float]] = []
    changed: list[tuple[float, float]] = []
    with nests.folder() as home, nests.servers(home) as (database, _), nests.manager() as hive:
        from hive import scheduler
        from hive.metrics.scrape import Scraper
        from hive.runtime import open_runtime

        file = home / "hive.yaml"
        _write(file, home, ())
        began = time.perf_counter()
        hive.reload(file)
        first = time.perf_counter() - began
        for n in range(2 if quick else 5):
            _write(file, home, range(n * CHANGED, (n + 1) * CHANGED))
            checks.append(_check(file))
            reloads.append(_reload(hive, file))
            nothing.append(_reload(hive, file))
        rt = open_runtime()
        with psycopg.connect(database, autocommit=True) as ledger:
            for _ in range(2 if quick else 3):
                ledger.execute("UPDATE hive.flight SET state = 'complete' WHERE state IN ('queued', 'running')")
                ledger.execute("DELETE FROM hive.slot")
                ledger.execute(MAKE_DUE)
                ledger.execute("VACUUM ANALYZE")
                ticks.append(_tick(scheduler, rt, ledger))
            ledger.execute(FLOWN)
            ledger.execute("VACUUM ANALYZE")
            scraper = Scraper(rt.settings, rt.db, fresh=0)
            for _ in range(5):
                scrapes.append(_scrape(scraper))
                ledger.execute(FLY_ON)
                changed.append(_scrape(scraper))
        rt.close()
    return [
        Figure("config check", "s", checks, at_most=3),
        Figure("first reload, all are new", "s", [first]),
        Figure(f"reload, {CHANGED} changed", "s", reloads, at_most=2),
        Figure("reload, nothing changed", "s", nothing),
        Figure("tick, all due", "s", ticks, at_most=3),
        Figure("scrape, none changed since the last", "s", [wall for wall, _ in scrapes], at_most=0.5),
        Figure("scrape, all changed since the last", "s", [wall for wall, _ in changed], at_most=0.5),
        Figure("its processor time, without the server's", "s", [cpu for _, cpu in changed]),
    ]


def _write(file: Path, home: Path, changed: Collection[int]) -> None:
    block = {"type": "local", "source": {"path": str(home)}, "streams": {"rows": {"patterns": "*.csv", "key": "id"}}}
    bees = {f"bee-{n}": {**block, "every": "2h" if n in changed else "1h"} for n in range(BEES)}
    file.write_text(yaml.dump({"bees": bees}, Dumper=_InFull))


class _InFull(yaml.CSafeDumper):
    """Every block as a person writes it, without references to others."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _check(file: Path) -> float:
    from hive.config.load import load

    began = time.perf_counter()
    assert len(load(file).bees) == BEES
    return time.perf_counter() - began


def _reload(hive: object, file: Path) -> float:
    began = time.perf_counter()
    hive.reload(file)  # type: ignore[attr-defined]
    return time.perf_counter() - began


def _scrape(scraper: Scraper) -> tuple[float, float]:
    """(seconds, those of the processor in this process)."""
    began, worked = time.perf_counter(), time.process_time()
    page = scraper.page()
    took = time.perf_counter() - began, time.process_time() - worked
    assert page.count(b"connector_sync_total{") == 3 * BEES
    return took


def _tick(scheduler: object, rt: object, ledger: psycopg.Connection[tuple[int]]) -> float:
    """Until every due slot is written."""
    began = time.perf_counter()
    while scheduler.tick(rt):  # type: ignore[attr-defined]
        pass
    took = time.perf_counter() - began
    row = ledger.execute("SELECT count(*) FROM hive.slot").fetchone()
    if row is None or row[0] != BEES:
        raise RuntimeError(f"{row} of {BEES} slots were written")
    return took
