"""The baseline: the same faults, and the same records at the same pace, on plain Celery chains."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

from hive.child import Child, Command, Ends
from tests.faults.every import FAULTS
from tests.faults.fleet import ROOT, ROWS, STEP, Fleet, Proxy, through, wait

FAULTS_FOR_BOTH = tuple(name for name, one in FAULTS.items() if one.group in ("kill", "redis", "postgres", "zombie"))
WORKERS = {"reader": "reading", "lander": "landing"}
DRAIN = 25.0
"""Five times the time after which the broker gives a message again."""
_NOT_FOR_PLAIN = (
    "beat killed", "janitor killed", "gateway killed", "everything killed at once", "fork server killed",
    "rolling restart", "postgres tables locked", "postgres backend terminated inside COMMIT",
    "fork server killed",
)  # fmt: skip
"""Parts and tables that it does not have."""


class Plain(Fleet):
    """Two workers of two processes each, which the fleet's own handles hurt."""

    has_ledger = False

    def start(self) -> None:
        self.postgres.start()
        self.valkey.start()
        self.database, self.broker = self.postgres.url(), self.valkey.url()
        with psycopg.connect(self.database) as connection:
            connection.execute("CREATE TABLE landed (id int NOT NULL)")
        self.to_postgres = Proxy(self.postgres.port, self.home / "proxy-postgres.out")
        self.to_redis = Proxy(self.valkey.port, self.home / "proxy-redis.out")
        own = {
            "PLAIN_BROKER": through(self.broker, self.to_redis.port),
            "PLAIN_DATABASE": through(self.database, self.to_postgres.port),
            "PYTHONPATH": str(ROOT),
        }
        os.environ.update(own)
        self.environment = dict(os.environ)
        self.offered: list[int] = []
        self._next = 0
        for name, queue in WORKERS.items():
            self._parts[name] = self._worker(name, queue)
            self._parts[name].start(time.monotonic())
        self._run(self._keep)
        self.wait_ready()
        self._run(self._load)

    def _worker(self, name: str, queue: str) -> Child:
        argv = [sys.executable, "-m", "celery", "-A", "tests.faults.plain_app", "worker", "-c", "2", "-Q", queue]
        argv += ["-n", f"{name}@plain", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        return Child(Command(name, (), Ends.FIRST), argv, self.environment, self.home / f"{name}.log")

    def wait_ready(self) -> None:
        wait("the pools", lambda: all(len(self.pool(name)) == 2 for name in WORKERS))

    def _load(self) -> None:
        """A chain that was refused is not owed."""
        from celery import chain

        from tests.faults.plain_app import land, read, scrub

        while not self._stop.wait(STEP):
            if not self._loading.is_set():
                continue
            first, self._next = self._next, self._next + ROWS
            try:
                chain(read.s(first, ROWS), scrub.s(), land.s()).apply_async()
            except Exception:  # noqa: BLE001 - whatever it says, the caller knows that it was refused
                continue
            self.offered += range(first, first + ROWS)

    def wrong(self) -> tuple[int, int]:
        """(lost, landed more than once)."""
        counts: dict[int, int] = dict(self.rows("SELECT id, count(*)::int FROM landed GROUP BY id"))
        lost = sum(number not in counts for number in self.offered)
        return lost, sum(count - 1 for count in counts.values())


def run(name: str, seed: int, scale: float, home: Path) -> dict[str, Any]:
    """One fault on workers of its own."""
    alive = Plain(home, seed, scale)
    chance = random.Random(f"{name} {seed}")
    try:
        alive.start()
        alive.begin_load()
        time.sleep(2.0)
        FAULTS[name].inject(alive, chance)
        time.sleep(1.0)
        alive.end_load()
        deadline = time.monotonic() + DRAIN
        time.sleep(2.0)
        while alive.wrong()[0] and time.monotonic() < deadline:
            time.sleep(0.25)
        time.sleep(2.0)  # what came once may come twice
        lost, dup = alive.wrong()
        if alive.broken_load:
            raise RuntimeError(alive.broken_load[0])
    finally:
        alive.close()
    return {"fault": name, "seed": seed, "lost": lost, "dup": dup, "offered": len(alive.offered)}


def names() -> list[str]:
    """The faults that a plain worker can be asked to bear."""
    return [name for name in FAULTS_FOR_BOTH if name not in _NOT_FOR_PLAIN]


__all__ = ["names", "run"]
