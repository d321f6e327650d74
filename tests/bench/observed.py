"""What does it cost to be watched? The same small flights with everything on that tells of them, and with all off.

On: Celery's events and Flower, a scrape of `/metrics` each five seconds, traces and metrics sent by OTLP, an open first
page, lines in the log. Both hives have workers of their own and share the servers; they take turns, so that what the
machine does besides falls on both alike. What counts is processor time, of a hive's processes and of the servers: what
a flight takes more of it, and what is taken more in each second, as a share of all processors.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import secrets
import statistics
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nests
import psutil
import psycopg
from report import Figure

from hive.embedded.places import free_port

if TYPE_CHECKING:
    from hive.manager import HiveManager

FLIGHTS = 100
ROUNDS = 6
SCRAPE = 5.0
RESTS = 10.0
"""Seconds for which nothing flies, twice, to see what is taken all the time."""
Took = dict[str, float]
LOGIN = "operator", "bench-" + secrets.token_hex(8)
CELERY = str(Path(sys.executable).parent / "celery")
OPEN = "SELECT count(*) FROM hive.flight WHERE state IN ('queued', 'running')"


class _Collector(http.server.BaseHTTPRequestHandler):
    """Takes what is sent and forgets it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@dataclass
class Side:
    """One of the two hives."""

    hive: HiveManager
    ledger: psycopg.Connection[Any]
    source: Path
    parts: Mapping[str, psutil.Process]
    """Of its own, and the servers that both share."""
    gateway: str

    def fly(self, generation: int, idle: Took) -> Took:
        """Milliseconds of the processor of each part for one flight, without what it takes all the time."""
        for n in range(FLIGHTS):
            row = {"id": n, "email": f"ada{generation}@example.com", "note": f"visit {generation}"}
            nests.write_rows(self.source / str(n) / "a.jsonl", [row])
        with self._watched() if self.gateway else contextlib.nullcontext():
            before, began = self._worked(), time.monotonic()
            flights = [self.hive.fly(f"bee-{n}") for n in range(FLIGHTS)]
            nests.wait("the flights", lambda: not self._open(), limit=120, pause=0.05)
            took, wall = self._worked(), time.monotonic() - began
        landed = sum(flight.wait(10).records_landed for flight in flights)
        if landed != FLIGHTS:
            raise RuntimeError(f"{landed} of {FLIGHTS} flights landed their record")
        return {name: (1e3 * (took[name] - before[name]) - idle[name] * wall) / FLIGHTS for name in took}

    def rest(self) -> Took:
        """Milliseconds of the processor that each part takes in a second while nothing flies."""
        with self._watched() if self.gateway else contextlib.nullcontext():
            before, began = self._worked(), time.monotonic()
            time.sleep(RESTS)
            took, wall = self._worked(), time.monotonic() - began
        return {name: 1e3 * (took[name] - before[name]) / wall for name in took}

    def _worked(self) -> Took:
        return {name: _worked(root) for name, root in self.parts.items()}

    def _open(self) -> int:
        row = self.ledger.execute(OPEN).fetchone()
        return int(row[0]) if row else 0

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Somebody looks at the first page, and Prometheus comes by."""
        ended = threading.Event()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        name, password = LOGIN
        fields = urllib.parse.urlencode({"name": name, "password": password, "next": "/"}).encode()
        browser.open(f"{self.gateway}/login", fields, timeout=30).read()
        stream = browser.open(f"{self.gateway}/live?at=/", timeout=30)

        def look() -> None:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # it is closed while it reads
                while not ended.is_set() and stream.readline():
                    pass

        def scrape() -> None:
            while not ended.wait(SCRAPE):
                urllib.request.urlopen(f"{self.gateway}/metrics", timeout=30).read()

        threads = [threading.Thread(target=one, daemon=True) for one in (look, scrape)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            threads[1].join()
            stream.close()


def measure(*, quick: bool) -> list[Figure]:
    with nests.folder() as home, nests.servers(home) as (database, valkey), contextlib.ExitStack() as stack:
        servers = {one.name(): one for one in psutil.Process().children()}
        plain = stack.enter_context(_side(home, "plain", _second(database, "plain"), valkey.url(1), servers, None))
        collector = stack.enter_context(_collector())
        watched = stack.enter_context(
            _side(home, "watched", _second(database, "watched"), valkey.url(2), servers, collector)
        )
        sides = (plain, watched)
        for side in sides:
            side.fly(0, dict.fromkeys(side.parts, 0.0))  # warms up
        rests = [[side.rest() for side in sides] for _ in range(2)]
        idle = [{name: (one[name] + two[name]) / 2 for name in one} for one, two in zip(*rests, strict=True)]
        pairs = [[side.fly(n, of) for side, of in zip(sides, idle, strict=True)]
                 for n in range(1, (3 if quick else ROUNDS) + 1)]  # fmt: skip
    each = [sum(with_.values()) / sum(alone.values()) - 1 for alone, with_ in pairs]
    steady = (sum(idle[1].values()) - sum(idle[0].values())) / 1e3 / (psutil.cpu_count() or 1)
    return [
        Figure("share of the throughput", "ratio", [one + steady for one in each], at_most=0.03),
        Figure("of it with each flight: events, spans, lines", "ratio", each),
        Figure("of it with each second: page, scrapes, Flower", "ratio", [steady]),
        *_told(("nobody watches", "watched"), idle, "each second", pairs[0]),
        *_told(
            ("nobody watches", "watched"),
            [_medians(side) for side in zip(*pairs, strict=True)],
            "each flight",
            pairs[0],
        ),
    ]


def _medians(tooks: Sequence[Took]) -> Took:
    return {name: statistics.median(took[name] for took in tooks) for name in tooks[0]}


def _told(sides: Sequence[str], tooks: Sequence[Took], when: str, parts: Sequence[Took]) -> list[Figure]:
    return [
        Figure(f"{name} for {when}, {side}", "ms", [took[name]])
        for side, took, known in zip(sides, tooks, parts, strict=True)
        for name in known
    ]


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def _second(database: str, name: str) -> str:
    """Another database of the server, with our schema."""
    from hive.ledger.migrate import migrate

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = database.rpartition("/")[0] + f"/{name}"
    migrate(url)
    return url


@contextlib.contextmanager
def _side(
    home: Path, name: str, database: str, broker: str, servers: Mapping[str, psutil.Process], collector: str | None
) -> Iterator[Side]:
    """`collector`: where all is sent that tells; None: nothing tells."""
    from hive.settings import Settings

    port, flower = free_port(), free_port()
    chosen = {
        "HIVE_DATABASE_URL": database, "HIVE_REDIS_URL": broker, "HIVE_DATA_DIR": str(home / name),
        "HIVE_GATEWAY_PORT": str(port), "HIVE_FLOWER_PORT": str(flower), "HIVE_FLOWER_LOGIN": ":".join(LOGIN),
        "HIVE_LOG_LEVEL": "INFO" if collector else "CRITICAL",
    }  # fmt: skip
    if collector:
        chosen["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector
    with contextlib.ExitStack() as stack:
        parts = dict(servers)
        python = (sys.executable, "-m", "hive")
        worker = (CELERY, "-A", "hive", "worker", "-Q", "bees.file,nectar", "-c", "2", "--without-gossip",
                  "--without-mingle", *(["-E"] if collector else []))  # fmt: skip
        _part(stack, home / f"{name}-worker.log", chosen, parts, *worker)
        _part(stack, home / f"{name}-beat.log", chosen, parts, *python, "beat")
        if collector:
            _part(stack, home / f"{name}-gateway.log", chosen, parts, *python, "gateway")
            _part(stack, home / f"{name}-flower.log", chosen, parts, *python, "flower")
            for told in (port, flower):
                nests.wait("its ports", lambda told=told: _listens(told))
        os.environ |= {n: chosen[n] for n in ("HIVE_DATABASE_URL", "HIVE_REDIS_URL", "HIVE_DATA_DIR")}
        from hive.manager import HiveManager

        settings = Settings()
        hive = stack.enter_context(HiveManager(settings))
        ledger = stack.enter_context(psycopg.connect(database, autocommit=True))
        alive = "SELECT count(*) FROM hive.worker WHERE alive_until > clock_timestamp()"
        nests.wait("the workers", lambda: (ledger.execute(alive).fetchone() or (0,))[0] >= 3)
        source = home / "source" / name
        for n in range(FLIGHTS):
            hive.register_worker("local", {"name": f"bee-{n}", **nests.local_bee(source / str(n), "gdpr_compliant")})
        yield Side(hive, ledger, source, parts, f"http://127.0.0.1:{port}" if collector else "")


def _part(
    stack: contextlib.ExitStack, log: Path, chosen: Mapping[str, str], parts: dict[str, psutil.Process], *argv: str
) -> None:
    started = stack.enter_context(nests.program(argv, log, chosen))
    parts[log.stem.partition("-")[2]] = psutil.Process(started.pid)


def _listens(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def _worked(root: psutil.Process) -> float:
    """Seconds of the processor that a process took, and all that it started, also of what ended by now."""
    total = 0.0
    for one in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(one.cpu_times()[:4])
    return total
