"""`/metrics`: what the ledger holds, how long it and the broker take to answer, and how long all of this took."""

from __future__ import annotations

import importlib.metadata
import threading
import time

import psycopg

from hive.garbage import unsearched
from hive.ledger.db import UNREACHABLE, Database
from hive.metrics.broker import Broker
from hive.metrics.families import Page
from hive.metrics.figures import figures
from hive.metrics.text import family, labels, single
from hive.settings import Settings

FRESH = 1.0
"""Seconds for which one answer serves all: the page is open, and whoever asks often must cost little."""
PATIENCE = 10.0
"""Seconds for one question to the ledger; Prometheus itself waits for 10 s as it is set up."""
_PING = 3.0
"""Seconds for the smallest question; after it the ledger is called away."""


class Scraper:
    """Answers scrapes of one ledger and one broker, in any thread: one of them asks, the others wait for it."""

    def __init__(self, settings: Settings, db: Database, *, fresh: float = FRESH) -> None:
        self._db = db
        self._fresh = fresh
        self._page = Page()
        self._one = threading.Lock()
        self._last = b""
        self._ends = float("-inf")
        self._broker = Broker(settings)

    def text(self) -> str:
        return self.page().decode()

    def page(self) -> bytes:
        """Never raises where a server is away: then `hive_ledger_up` or `hive_broker_up` is 0."""
        with self._one:
            if time.monotonic() > self._ends:
                self._last = self._scraped()
                self._ends = time.monotonic() + self._fresh
            return self._last

    def _scraped(self) -> bytes:
        began = time.perf_counter()
        ledger = self._ledger()
        found: list[bytes] = []
        if ledger is not None:
            try:
                with unsearched():  # rows of ten thousand bees are no garbage before they are told
                    found = list(self._page.parts(figures(self._db, patience=PATIENCE)))
            except (*UNREACHABLE, psycopg.Error):
                ledger = None
        broker = self._broker.latency()
        version = labels(version=importlib.metadata.version("worker-bees"))
        ends = [
            family("hive_info", "gauge", "The version that answers.", [(version, 1)]),
            single("hive_ledger_up", "gauge", "Whether the ledger answers all questions.", int(ledger is not None)),
            single("hive_ledger_latency_seconds", "gauge", "The smallest question to the ledger.", ledger),
            single("hive_broker_up", "gauge", "Whether the broker answers.", int(broker is not None)),
            single("hive_broker_latency_seconds", "gauge", "A ping to the broker.", broker),
            single("hive_scrape_seconds", "gauge", "How long this page took.", time.perf_counter() - began),
        ]
        return b"".join([*found, *(end.encode() for end in ends)])

    def _ledger(self) -> float | None:
        """Seconds of a round trip; None where nobody answers."""
        try:
            with self._db.transaction(
                limit=_PING
            ) as tx:  # one that hangs is told of before the scrape's own time is over
                began = time.perf_counter()
                tx.psycopg.execute("SELECT 1")
                return time.perf_counter() - began
        except UNREACHABLE:
            return None

    def close(self) -> None:
        self._broker.close()
