"""How long after its time is a slot's flight hinted, with 10,000 schedules and nothing else to do?"""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import nests
import psycopg
from report import Figure

BEES = 10_000
PER_SECOND = 4
HINTED = """
SELECT extract(epoch FROM t.hinted_at - split_part(f.slot_key, '@', 2)::timestamptz)::float
  FROM hive.flight f JOIN hive.task t ON t.flight = f.id WHERE t.hinted_at IS NOT NULL
"""


def measure(*, quick: bool) -> list[Figure]:
    """A beat as a process of its own, and no worker: what waits for one would be another question."""
    seconds = 15 if quick else 40
    os.environ["HIVE_HINTS_PER_QUEUE"] = str(BEES)
    with nests.folder() as home, nests.servers(home) as (database, _), nests.manager() as hive:
        file = home / "hive.yaml"
        begins = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=15)
        _write(file, home, [begins + dt.timedelta(seconds=n) for n in range(seconds)])
        hive.reload(file)
        with nests.part(home, "beat", "beat"), psycopg.connect(database, autocommit=True) as ledger:
            late = begins + dt.timedelta(seconds=seconds + 3)
            time.sleep(max(0.0, (late - dt.datetime.now(dt.UTC)).total_seconds()))
            delays = [row[0] for row in ledger.execute(HINTED).fetchall()]
    if len(delays) != PER_SECOND * seconds:
        raise RuntimeError(f"{len(delays)} of {PER_SECOND * seconds} slots were hinted")
    return [Figure("slot to hint", "s", delays, held="p95", at_most=1)]


def _write(file: Path, home: Path, instants: list[dt.datetime]) -> None:
    """Some bees fly once a day at one of the instants, all others not soon."""
    lines = ["bees:"]
    for n in range(BEES):
        when = "every: 366d"
        if n < PER_SECOND * len(instants):
            at = instants[n // PER_SECOND]
            when = f'schedule: "{at.second} {at.minute} {at.hour} * * *"'
        lines.append(f"  bee-{n}: {{type: local, {when}, source: {{path: {home}}}}}")
    file.write_text("\n".join(lines) + "\n")
