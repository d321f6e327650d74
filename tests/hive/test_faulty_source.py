"""Four in ten requests fail, in every way a network knows: everything lands, and once."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.hive.nest import make_nest, nest

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

PAGES, SIZE = 60, 40
FAULTS = {"500": 12, "503": 4, "reset": 10, "short": 8, "slow": 3, "drip": 3}
"""Of a hundred requests."""


class Moody:
    """PAGES pages of SIZE records; of a hundred requests so many fail as FAULTS says."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.lock = threading.Lock()
        self.met: Counter[str] = Counter()
        moody = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = int(self.path.partition("page=")[2] or 1)
                first = (page - 1) * SIZE
                rows = [{"id": first + n, "name": f"thing {first + n}"} for n in range(SIZE)] if page <= PAGES else []
                body = json.dumps(rows).encode()
                fault = moody.roll()
                if fault in ("500", "503"):
                    self._answer(int(fault), b"<html>no</html>", 15)
                elif fault == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True
                elif fault == "short":
                    self._answer(200, body[: len(body) // 2], len(body) + 10)
                    self.close_connection = True
                elif fault == "slow":
                    time.sleep(1.2)
                    self.close_connection = True
                elif fault == "drip":
                    self._answer(200, body[:1], len(body) + 1)
                    time.sleep(1.2)
                    self.close_connection = True
                else:
                    self._answer(200, body, len(body))

            def _answer(self, status: int, body: bytes, length: int) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def roll(self) -> str:
        with self.lock:
            number = self.dice.randrange(100)
            found = ""
            for fault, share in FAULTS.items():
                number -= share
                if number < 0 and not found:
                    found = fault
            self.met[found] += 1
        return found


@pytest.fixture
def moody() -> Iterator[Moody]:
    made = Moody(8)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize("attempts", [3, 1])
def test_everything_lands_once(nest, moody, attempts):
    """`attempts` of one request: without any the hive's own retries alone bring it through."""
    source = {"base_url": moody.url, "allow_private": True, "timeout": 0.8, "request_attempts": attempts}
    rows = {"path": "rows", "key": "id", "pagination": {"type": "page", "page_param": "page"}}
    nest.hive.register_worker(
        "rest", {"name": "moody", "source": source, "streams": {"rows": rows}, "retry": {"attempts": 10}}
    )
    flight = nest.fly("moody")
    for _ in range(200):
        nest.drain()
        if nest.hive.flight(flight).state != "running":
            break
        nest.hurry()
    result = nest.hive.flight(flight)
    failed = sum(moody.met[fault] for fault in FAULTS)

    assert (result.state, result.records_landed) == ("complete", PAGES * SIZE)
    assert set(nest.jar("moody")) == {str(n) for n in range(PAGES * SIZE)}
    assert nest.one("SELECT count(*) FROM hive.receipt WHERE flight = %s", flight) > 0
    assert nest.one("SELECT sum(landed) FROM hive.receipt WHERE flight = %s", flight) == PAGES * SIZE
    assert failed >= 0.3 * sum(moody.met.values())
