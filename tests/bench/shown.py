"""How soon does a fault show? Each is injected into a whole hive, and looked for in `/status`, `/metrics`, on the first
page and in `hive status`.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nests
import psutil
from report import Figure

from hive.embedded.places import free_port
from hive.supervisor import QUEUES

if TYPE_CHECKING:
    from hive.manager import HiveManager

SOON = 5.0
_LIMIT = 40.0
"""Seconds after which a fault that does not show is given up: it counts as shown then."""
_PAUSE = 0.1
_IN_HAND = """
SELECT w.pid FROM hive.task t JOIN hive.worker w ON w.id = t.owner JOIN hive.bee b ON b.id = t.bee
 WHERE b.name = %s AND t.state = 'running'
"""
Sees = Callable[["Seen"], bool]


class _Source(http.server.BaseHTTPRequestHandler):
    """`/hangs` says nothing, `/busy` wants to be left alone, `/locked` refuses the password."""

    def do_GET(self) -> None:
        if self.path.startswith("/hangs"):
            time.sleep(_LIMIT)
            return
        code, headers = (429, {"Retry-After": "600"}) if self.path.startswith("/busy") else (401, {})
        self.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: a bench has no access log."""


@contextlib.contextmanager
def _source() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Source)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class Seen:
    """What one look saw; empty where it saw nothing yet, or another look was meant."""

    def __init__(self, status: Mapping[str, Any] | None = None, metrics: str = "", page: str = "") -> None:
        self.status, self.metrics, self.page = status or {}, metrics, page

    def bee(self, name: str, *states: str) -> bool:
        """A bee is told to be in one of these states."""
        told = {bee["name"]: bee["state"] for bee in self.status.get("bees", ())}
        lines = [f'hive_bee_state{{bee="{name}",state="{state}"}} 1' for state in states]
        row = self.page.partition(f'href="/bees/{name}"')[2].partition("</tr>")[0]
        badges = [f'class="badge {state}"' for state in states]
        return told.get(name) in states or any(w in self.metrics for w in lines) or any(w in row for w in badges)

    def worker(self, pid: int, *statuses: str) -> bool:
        quiet = "hive_workers_quiet" in self.metrics and "\nhive_workers_quiet 0\n" not in self.metrics
        told = {worker["pid"]: worker["status"] for worker in self.status.get("workers", ())}
        return told.get(pid) in statuses or quiet or "not heard of" in self.page or "no heartbeat" in self.page

    def says(self, page: str, metrics: str) -> bool:
        return page in self.page or f"\n{metrics}\n" in self.metrics


class Eyes:
    """Looks at a nest by HTTP, with the operator's login."""

    def __init__(self, nest: nests.Nest) -> None:
        self._gateway = nest.state["gateway"]
        login = nest.state["flower_login"]
        word = base64.b64encode("{user}:{password}".format(**login).encode()).decode()
        self._basic = {"Authorization": f"Basic {word}"}
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        fields = {"name": login["user"], "password": login["password"], "next": "/"}
        self._browser.open(f"{self._gateway}/login", urllib.parse.urlencode(fields).encode(), timeout=20).read()

    def status(self) -> Seen:
        request = urllib.request.Request(f"{self._gateway}/status", headers=self._basic)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Seen(status=json.loads(answer.read()))

    def metrics(self) -> Seen:
        with urllib.request.urlopen(f"{self._gateway}/metrics", timeout=20) as answer:
            return Seen(metrics=answer.read().decode())

    def page(self) -> Seen:
        try:
            with self._browser.open(f"{self._gateway}/", timeout=20) as answer:
                return Seen(page=answer.read().decode())
        except urllib.error.HTTPError as error:
            return Seen(page=error.read().decode())

    def until(self, sees: Sees, which: Sequence[str]) -> dict[str, float]:
        """Seconds until each of these looks saw it; all of them look at once."""
        began, found = time.monotonic(), {}

        def look(name: str) -> None:
            found[name] = _LIMIT
            while time.monotonic() - began < _LIMIT:
                with contextlib.suppress(OSError):
                    if sees(getattr(self, name)()):
                        found[name] = time.monotonic() - began
                        return
                time.sleep(_PAUSE)

        threads = [threading.Thread(target=look, args=(name,)) for name in which]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


def measure(*, quick: bool) -> list[Figure]:
    del quick
    with nests.folder() as home, contextlib.ExitStack() as sources:
        bees = _bees(home, lambda: sources.enter_context(_source()))
        with nests.whole_hive(home, bees) as nest, nests.manager() as hive:
            nest.wait_for({"beat", *(f"worker {queue}" for queue in QUEUES)})
            return [
                Figure(f"{what}: {where}", "s", [seconds], "max", SOON)
                for what, found in _all(nest, hive, Eyes(nest), home / "bees.yaml")
                for where, seconds in found.items()
            ]


def _bees(home: Path, source: Callable[[], str]) -> dict[str, Any]:
    """Each has a source of its own: what one says of patience counts for all bees of that source."""

    def rest(path: str, base: str = "") -> dict[str, Any]:
        return {
            "type": "rest", "every": "24h", "source": {"base_url": base or source(), "allow_private": True},
            "streams": {"rows": {"path": path, "key": "id"}},
        }  # fmt: skip

    nests.write_rows(home / "few" / "a.jsonl", [{"id": 1}])
    closed = f"http://127.0.0.1:{free_port()}"
    return {
        "hangs": rest("/hangs"), "held": rest("/hangs/too"), "busy": rest("/busy"), "locked": rest("/locked"),
        "refused": rest("/", closed), "calm": nests.local_bee(home / "few") | {"every": "24h"},
    }  # fmt: skip


def _all(nest: nests.Nest, hive: HiveManager, eyes: Eyes, config: Path) -> Iterator[tuple[str, dict[str, float]]]:
    everywhere = ("status", "metrics", "page")

    def flown(bee: str, *states: str) -> dict[str, float]:
        hive.fly(bee)
        return eyes.until(lambda seen: seen.bee(bee, *states), everywhere)

    yield "a source refuses connections", flown("refused", "failing")
    yield "a source wants patience (429)", flown("busy", "rate_limited")
    yield "a source refuses the password", flown("locked", "failing", "misconfigured")
    yield "a source hangs", flown("hangs", "quiet", "stuck")
    hive.pause("calm")
    yield "a bee is paused", eyes.until(lambda seen: seen.bee("calm", "paused"), everywhere)
    _add_wrong(config)
    subprocess.run([sys.executable, "-m", "hive", "reload", "--config", str(config)], check=False, capture_output=True)
    yield "a bee cannot fly", eyes.until(lambda seen: seen.bee("wrong", "misconfigured"), everywhere)
    hive.fly("held")
    ((pid,),) = nests.wait("the flight", lambda: nest.rows(_IN_HAND, "held"))
    with _stopped([pid]):
        yield "a worker stands still", eyes.until(lambda seen: seen.worker(pid, "quiet", "lost"), everywhere)
    os.kill(pid, signal.SIGKILL)
    yield "a worker is killed", eyes.until(lambda seen: _is_lost(seen, pid), ("status",))
    (beat,) = (pid for pid, role in nest.living().items() if role == "beat")
    with _stopped([beat]):
        yield (
            "the scheduler stands still",
            eyes.until(
                lambda seen: seen.worker(beat, "quiet", "lost") and (not seen.page or "No scheduler" in seen.page),
                everywhere,
            ),
        )
    broker = _server(nest, "valkey")
    with _stopped(broker):
        yield (
            "the broker says nothing",
            eyes.until(lambda seen: seen.says("The broker does not answer", "hive_broker_up 0"), ("metrics", "page")),
        )
    database, usual = _server(nest, "postgres"), _asked()
    with _stopped(database):
        found = eyes.until(lambda seen: seen.says("The ledger is away", "hive_ledger_up 0"), ("metrics", "page"))
        yield "the database says nothing", {**found, "hive status, beyond its usual time": _asked() - usual}


def _asked() -> float:
    """Seconds of `hive status`, whatever it says."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "hive", "status", "--json"], check=False, capture_output=True)
    return time.monotonic() - began


def _is_lost(seen: Seen, pid: int) -> bool:
    """Or gone altogether: what it had is somebody else's by then."""
    return seen.worker(pid, "lost") or pid not in {worker["pid"] for worker in seen.status.get("workers", ())}


def _add_wrong(config: Path) -> None:
    import yaml

    told = yaml.safe_load(config.read_text())
    told["bees"]["wrong"] = {"type": "kafka", "every": "24h", "source": {}, "streams": {"rows": {"key": "id"}}}
    config.write_text(yaml.safe_dump(told))


def _server(nest: nests.Nest, name: str) -> list[int]:
    """All processes of one of the embedded servers."""
    family = psutil.Process(nest.supervisor).children(recursive=True)
    return [one.pid for one in family if name in one.name()]


@contextlib.contextmanager
def _stopped(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
