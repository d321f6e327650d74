"""A server of endless pages that writes down when each request came in, and processes that read it under one budget.

It knows nothing of the budget: whoever sends too much is served, and seen.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pandas  # noqa: F401, ICN001 - Arrow imports it with its first column: here once for all processes

from bees.core.errors import RetryLater
from bees.core.resilience.gate import BudgetGate
from bees.core.resilience.quota import Quota
from bees.rest import RestBee
from hive.ledger.db import Database
from hive.limits.budget import LedgerBudget


class Counting:
    """What came in, in seconds of one clock. After `most` requests every page is empty, so that readers end."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.times: list[float] = []
        self.url = ""
        self._lock = threading.Lock()

    def page(self) -> bytes:
        with self._lock:
            self.times.append(time.monotonic())
            count = len(self.times)
        return b'[{"id": %d}]' % count if count < self.most else b"[]"


@contextmanager
def counting(most: int) -> Iterator[Counting]:
    found = Counting(most)

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                if re.match(rb"GET ", line):
                    body = found.page()
                while line.strip():
                    line = self.rfile.readline()
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                self.wfile.write(head + body)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Answer) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def arrivals(database_url: str, quota: Quota, *, workers: int, most: int, limit: float) -> list[float]:
    """When requests of so many processes came in, which share one budget and send until there were `most`.

    Raises TimeoutError after `limit` seconds, and CalledProcessError where one of them fails.
    """
    told = json.dumps([database_url, quota.most, quota.seconds, workers])
    with counting(most) as server:
        argv = [sys.executable, "-m", "tests.servers.counting", server.url]
        root = Path(__file__).parents[2]
        with subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, text=True, start_new_session=True) as readers:
            try:
                readers.communicate(told, timeout=limit)
            except subprocess.TimeoutExpired:
                raise TimeoutError("not all requests came in time") from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(readers.pid, signal.SIGKILL)
        if readers.returncode:
            raise subprocess.CalledProcessError(readers.returncode, argv)
        return sorted(server.times)


def _readers(url: str) -> int:
    """In a process of its own: so many more, made from it once it has all that they need."""
    database_url, most, seconds, workers = json.load(sys.stdin)
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(workers)
    told = (database_url, url, Quota(most, seconds), together)
    readers = [processes.Process(target=_read, args=told) for _ in range(workers)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return max(abs(reader.exitcode or 0) for reader in readers)


def _read(database_url: str, url: str, quota: Quota, together: Barrier) -> None:
    """In a process of its own: a bee, and its own connection to the ledger."""
    pages = {"path": "rows", "key": "id", "pagination": {"type": "page", "page_param": "page"}}
    db = Database(database_url)
    with RestBee.from_options({"base_url": url, "allow_private": True, "streams": {"rows": pages}}) as bee:
        bee.through(BudgetGate(LedgerBudget(db, "desk", quota)))
        together.wait()
        cursor, over = None, False
        while not over:
            try:
                for batch in bee.collect_nectar("rows", cursor):
                    cursor = batch.cursor
                over = True
            except RetryLater as error:  # as a leg that comes back later
                if error.code != "rate_limited":
                    raise
                time.sleep(error.after or 0.0)
    db.close()


if __name__ == "__main__":
    sys.exit(_readers(sys.argv[1]))
