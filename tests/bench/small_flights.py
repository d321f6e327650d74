"""How many small flights fly in a second, beside chains of three empty tasks in plain Celery?

Both have two worker processes and the same Valkey, and take turns. A flight reads one file of one line, scrubs and
lands it; each belongs to a bee of its own, and its line is another one in every round.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nests
import psycopg
import redis
from report import Figure

if TYPE_CHECKING:
    from hive.manager import HiveManager

HERE = Path(__file__).parent
FLIGHTS = 200
CHAINS = 400
ROUNDS = 6
PROFILE = "gdpr_compliant"
ENDED = """
SELECT count(*) FILTER (WHERE state IN ('queued', 'running')), count(*) FILTER (WHERE records_landed = 1),
       extract(epoch FROM max(finished_at) - min(created_at))::float
  FROM hive.flight WHERE created_at >= %s
"""


def measure(*, quick: bool) -> list[Figure]:
    """Rates from first submission to last end, the flights' by the ledger's clock. The first round only warms up."""
    rounds = 3 if quick else ROUNDS
    with (
        nests.folder() as home,
        nests.servers(home) as (database, valkey),
        _plain(home, valkey.url(1)) as chains,
        nests.part(home, "worker", "worker", "--queues", "bees.file,nectar", "-c", "2"),
        nests.part(home, "beat", "beat"),
        _manager(home) as hive,
        psycopg.connect(database, autocommit=True) as ledger,
    ):
        pairs = []
        for n in range(rounds + 1):
            _write(home, n)
            flown = _fly(hive, ledger)
            nests.indexed(ledger)
            pairs.append((flown, chains()))
    flights, plain = zip(*pairs[1:], strict=True)
    return [
        Figure("flights beside chains", "ratio", [f / c for f, c in zip(flights, plain, strict=True)], at_least=0.4),
        Figure("flights", "1/s", flights),
        Figure("chains of three empty tasks", "1/s", plain),
    ]


@contextlib.contextmanager
def _manager(home: Path) -> Iterator[HiveManager]:
    with nests.manager() as hive:
        for n in range(FLIGHTS):
            block = nests.local_bee(home / "source" / str(n), PROFILE)
            hive.register_worker("local", {"name": f"bee-{n}", **block})
        yield hive


def _write(home: Path, generation: int) -> None:
    for n in range(FLIGHTS):
        row = {"id": n, "name": "Ada", "email": f"ada{generation}@example.com", "note": f"visit {generation}"}
        nests.write_rows(home / "source" / str(n) / "a.jsonl", [row])


def _fly(hive: HiveManager, ledger: psycopg.Connection[Any]) -> float:
    """One flight of each bee; flights in a second."""
    since = _one(ledger, "SELECT clock_timestamp()")[0]
    for n in range(FLIGHTS):
        hive.fly(f"bee-{n}")
    nests.wait("the flights", lambda: _one(ledger, ENDED, since)[0] == 0, limit=90, pause=0.05)
    _, landed, seconds = _one(ledger, ENDED, since)
    if landed != FLIGHTS:
        raise RuntimeError(f"{landed} of {FLIGHTS} flights landed their record")
    return FLIGHTS / float(seconds)


def _one(ledger: psycopg.Connection[Any], query: str, *values: Any) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = ledger.execute(query.encode(), values).fetchone()
    assert row is not None
    return row


@contextlib.contextmanager
def _plain(home: Path, broker: str) -> Iterator[Any]:
    """A plain worker of two processes; gives a function that sends chains and tells how many ended in a second."""
    os.environ["BENCH_BROKER"] = broker
    from celery import chain
    from plain import nothing

    argv = [sys.executable, "-m", "celery", "-A", "plain", "worker", "-c", "2", "--loglevel", "WARNING"]
    more = {"PYTHONPATH": str(HERE)}
    with redis.Redis.from_url(broker) as client, nests.program(argv, home / "plain.log", more) as worker:

        def run() -> float:
            began = time.perf_counter()
            for _ in range(CHAINS):
                chain(nothing.si(), nothing.si(), nothing.si()).apply_async()
            nests.wait("the chains", lambda: _all_done(client, worker), limit=60, pause=0.002)
            return CHAINS / (time.perf_counter() - began)

        yield run


def _all_done(client: redis.Redis, worker: subprocess.Popen[bytes]) -> bool:
    """A task is acknowledged after it sent the next one, so a moment without any message is the end."""
    if worker.poll() is not None:
        raise RuntimeError("the plain worker ended")
    pipe = client.pipeline()
    pipe.llen("celery")
    pipe.hlen("unacked")
    return sum(pipe.execute()) == 0
