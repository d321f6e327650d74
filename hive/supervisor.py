"""What `hive up` does: servers first, then the schema, then every process of the hive, kept running until told to stop.

A stop may come at any moment, also in the middle of starting, and leaves nothing behind: no process and no state file.
The first signal ends everything in order, a second one at once. Should this process itself be killed, the kernel
tells its children, so they end too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog

from hive.child import Child, Command, Ends
from hive.config.load import absolute, configured, tells_of_bees
from hive.embedded import EmbeddedPostgres, EmbeddedValkey, ServerError, places, process
from hive.reloader import Reloader
from hive.running import AlreadyRunning, StartFailed, StopFailed, detach, down, log_folder, only_one, write_state
from hive.settings import environment
from hive.starter import ForkServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from pydantic import SecretStr

    from hive.embedded.server import Server
    from hive.manager import HiveManager
    from hive.settings import Settings
    from hive.versions import Change

__all__ = ["QUEUES", "AlreadyRunning", "PortInUse", "StartFailed", "StopFailed", "Supervisor", "detach", "down"]

QUEUES = ("bees.database", "bees.file", "bees.api", "bees.stream", "bees.directory", "nectar", "nectar.embed")

_log = structlog.get_logger("hive.supervisor")
_TICK = 0.05
_STAGGER = 0.4
"""Seconds between two starts of processes that nobody waits for: a small machine starts a few at a time."""
_AT_ONCE = 3
"""Processes that start again at a time."""
_START_LIMIT = 60.0
_START_DEATHS = 3
_WORK_GRACE = 8.0
_VIEW_GRACE = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK = 1.0
"""Seconds between two looks at the configuration's files."""
_DEBOUNCE = 0.5


class PortInUse(RuntimeError):
    """Something else listens where the gateway or Flower shall."""


class _StopRequested(BaseException):
    """A signal asks for the end. No `except Exception` on the way may swallow it."""


class Supervisor:
    """Runs one hive on one data folder. Use it once, from the main thread, which handles the signals."""

    def __init__(
        self,
        settings: Settings,
        *,
        config: Path | None = None,
        concurrency: Mapping[str, int] | None = None,
        command: Callable[[tuple[str, ...]], list[str]] | None = None,
        prepare: Callable[[str], Collection[str]] | None = None,
    ) -> None:
        """`concurrency` is processes by queue; `command` makes an argument list from the arguments of `hive`.

        `prepare` does with the database what must be done before the first process starts, and gives the queues that
        have a bee: their pools start before the hive is ready, the others after.
        """
        self._settings = settings
        self._config = config or settings.config
        self._urgent = {"nectar"}
        self._concurrency = dict(concurrency or {})
        self._command = command or _hive_command
        self._prepare = prepare or self._migrate_and_load
        self._servers: list[Server] = []
        self._forks: ForkServer | None = None
        self._children: list[Child] = []
        self._waiting: list[Child] = []
        self._state: dict[str, Any] = {}
        self._first_signal: float | None = None
        self._interruptible = False
        paths = configured(self._config, environment())
        self._reloader = Reloader(paths, self._reload, watch=settings.watch) if paths else None
        self._on_terminal = sys.stdin is not None and sys.stdin.isatty()

    @property
    def state(self) -> Mapping[str, Any]:
        """What the state file tells other commands: addresses with passwords, and Flower's login."""
        return self._state

    def run(self, *, on_ready: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        """Run the hive until a signal ends it; `on_ready` gets the state once its first processes work.

        Raises AlreadyRunning, PortInUse, ServerError or StartFailed before that, with nothing left running.
        """
        with self._signals(), only_one(self._settings):
            try:
                self._begin()
                self._await_ready()
                self._publish(ready=True)
                if on_ready is not None:
                    on_ready(self._state)
                self._tend()
            except _StopRequested:
                pass
            finally:
                self._end()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {signum: signal.signal(signum, self._on_signal) for signum in _SIGNALS}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if signum == signal.SIGHUP and self._reloader is not None and not self._terminal_is_gone():
            self._reloader.ask()
            return
        if self._first_signal is None:
            self._first_signal = now
            if self._interruptible:
                raise _StopRequested
        elif now - self._first_signal > _DEBOUNCE:  # `timeout` and some shells send one wish twice
            self._end_now(128 + signum)

    def _terminal_is_gone(self) -> bool:
        """Whether the terminal hung up in which the hive was started; else SIGHUP asks to reload."""
        if not self._on_terminal:
            return False
        try:
            os.tcgetpgrp(sys.stdin.fileno())
        except (OSError, ValueError):
            return True
        return False

    def _check_stop(self) -> None:
        if self._first_signal is not None:
            raise _StopRequested

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Around steps that may take long and tidy up after themselves. Elsewhere a signal waits for the step's end."""
        self._interruptible = True
        try:
            self._check_stop()
            yield
        finally:
            self._interruptible = False

    def _begin(self) -> None:
        gateway_host = self._settings.gateway_host
        gateway = _port("HIVE_GATEWAY_PORT", self._settings.gateway_port, gateway_host)
        flower = _port("HIVE_FLOWER_PORT", self._settings.flower_port, places.LOOPBACK)
        # No daemon: Python aborts where it ends in the middle of loading a library of C, so it waits for the thread.
        threading.Thread(target=_load_code, name="load-code").start()
        if self._command is _hive_command:
            self._forks = ForkServer(dict(os.environ), log_folder(self._settings) / "forkserver.log")
            self._forks.start()
        database_url, redis_url = self._start_servers()
        self._state = {
            "pid": os.getpid(),
            "ready": False,
            "started_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "database_url": database_url,
            "redis_url": redis_url,
            "gateway": f"http://{_reachable(gateway_host)}:{gateway}",
            "flower": f"http://{places.LOOPBACK}:{flower}",
            "flower_login": {
                "user": "operator",
                "password": places.secret(self._settings.data_dir / "flower.secret"),
            },
            "config": None if self._config is None else absolute(self._config),
        }
        with self._stoppable():
            self._urgent |= set(self._prepare(database_url))
        self._publish(ready=False)
        self._plan(gateway, flower)

    def _start_servers(self) -> tuple[str, str]:
        given = self._settings
        folder = given.data_dir.resolve()
        addresses = []
        kinds: tuple[tuple[SecretStr | None, type[Server]], ...] = (
            (given.database_url, EmbeddedPostgres),
            (given.redis_url, EmbeddedValkey),
        )
        for address, kind in kinds:
            if address is not None:
                addresses.append(address.get_secret_value())
                continue
            server = kind(folder)
            self._servers.append(server)
            with self._stoppable():
                addresses.append(server.start())
        return addresses[0], addresses[1]

    def _migrate_and_load(self, database_url: str) -> set[str]:
        """Bring the schema up to date and register the bees of the configuration. Raises ConfigProblems."""
        from hive.ledger.migrate import migrate
        from hive.vault.key import hive_key

        hive_key(self._settings)
        migrate(database_url)
        with self._manager(database_url) as hive:
            if self._config is not None or tells_of_bees(environment()):
                # The vault of a new hive is empty, and only a running hive's can be filled.
                hive.reload(self._config, secrets=False)
            return {bee["queue"] for bee in hive.bees() if bee["enabled"] and bee["queue"]}

    def _manager(self, database_url: str) -> HiveManager:
        from hive.ledger.db import Database
        from hive.manager import HiveManager
        from hive.runtime import Runtime
        from hive.vault.key import hive_key

        return HiveManager(rt=Runtime(self._settings, Database(database_url), hive_key(self._settings)))

    def _reload(self) -> Change:
        with self._manager(str(self._state["database_url"])) as hive:
            return hive.reload(self._config, secrets=False, note=True)

    def _publish(self, *, ready: bool) -> None:
        self._state["ready"] = ready
        write_state(self._settings, self._state)

    def _plan(self, gateway: int, flower: int) -> None:
        """Lay out the processes: the first ones are waited for, the rest follows one by one."""
        logs = log_folder(self._settings)
        variables = {
            **os.environ,
            "HIVE_DATA_DIR": str(self._settings.data_dir.resolve()),
            "HIVE_GATEWAY_PORT": str(gateway),
            "HIVE_FLOWER_PORT": str(flower),
        }
        if self._config is not None:
            variables["HIVE_CONFIG"] = absolute(self._config)
        variables.pop("HIVE_WATCH", None)  # this process does
        listens = (_reachable(self._settings.gateway_host), gateway)
        # What a landing needs, the slowest to start first; then those who look at it, and the other pools.
        urgent = sorted(self._urgent.intersection(QUEUES), key=lambda queue: queue != "nectar")
        commands = [
            Command("beat", ("beat",), Ends.FIRST),
            *(self._worker(queue) for queue in urgent),
            Command("gateway", ("gateway",), Ends.LAST, listens),
            *(self._worker(queue) for queue in QUEUES if queue not in urgent),
            Command("flower", ("flower",), Ends.LAST),
        ]
        for command in commands:
            child = Child(
                command, self._command(command.arguments), variables, logs / f"{command.name}.log", self._forks
            )
            first = command.name in {"gateway", "beat"} or command.name.removeprefix("worker-") in urgent
            (self._children if first else self._waiting).append(child)

    def _worker(self, queue: str) -> Command:
        concurrency = {**_default_concurrency(self._urgent), **self._concurrency}
        arguments = ("worker", "--queues", queue, "-c", str(concurrency[queue]))
        return Command(f"worker-{queue}", arguments, Ends.WITH_THE_WORK)

    def _await_ready(self) -> None:
        """Start the first processes and wait for them. One that keeps dying is a start that failed."""
        while self._forks is not None and self._forks.is_loading():
            self._check_stop()
            time.sleep(_TICK)
        for child in self._children:
            self._check_stop()
            child.start(time.monotonic())
        deadline = time.monotonic() + _START_LIMIT
        while not all(child.answers() for child in self._children):
            for child in self._children:
                now = time.monotonic()
                child.tend(now)
                late = now > deadline and not child.answers()
                if late or child.deaths >= _START_DEATHS:
                    said = process.last_lines(child.log_path)
                    raise StartFailed(f"the hive's {child.command.name} does not start ({child.log_path}): {said}")
            self._check_stop()
            time.sleep(_TICK)

    def _tend(self) -> None:
        """Keep everything running until a signal comes."""
        next_start = next_look = time.monotonic()
        while True:
            self._check_stop()
            self._tend_servers()
            now = time.monotonic()
            if self._reloader is not None and now >= next_look:
                self._reloader.look()
                next_look = now + _LOOK
            self._tend_children(now)
            if self._waiting and now >= next_start:
                self._children.append(self._waiting.pop(0))
                self._children[-1].try_to_start(now)
                next_start = now + _STAGGER
            time.sleep(_TICK)

    def _tend_children(self, now: float) -> None:
        """Where many died at once, those that the first landing needs start first: so many, no more, at a time."""
        if self._forks is not None:
            self._forks.tend()
        starting = 0
        for child in self._children:
            child.tend(now, room=starting < _AT_ONCE)
            starting += starting < _AT_ONCE and child.is_starting(now)

    def _tend_servers(self) -> None:
        """Start a server that died again, on its old port if that is free: the processes know it by that."""
        for server in self._servers:
            if server.pid is not None:
                continue
            _log.warning("server ended", server=server.name, log=str(server.log_path))
            with self._stoppable():
                try:
                    address = server.start()
                    self._state["database_url" if server.name == "postgres" else "redis_url"] = address
                    write_state(self._settings, self._state)
                except (ServerError, OSError) as error:  # also a disk without room
                    _log.error("server does not start", server=server.name, reason=str(error))
                    time.sleep(1.0)

    def _end(self) -> None:
        """End everything in order; what does not end in its time is killed. Takes 15 seconds at most."""
        deadline = time.monotonic() + _WORK_GRACE
        for ends in (Ends.FIRST, Ends.WITH_THE_WORK):
            self._signal(ends)
        self._await_end((Ends.FIRST, Ends.WITH_THE_WORK), deadline)
        self._signal(Ends.LAST)
        self._await_end((Ends.LAST,), time.monotonic() + _VIEW_GRACE)
        if self._forks is not None:
            self._forks.stop()
        for server in reversed(self._servers):
            server.stop()

    def _signal(self, ends: Ends) -> None:
        for child in self._children:
            if child.command.ends is ends:
                child.signal(signal.SIGTERM)

    def _await_end(self, ends: tuple[Ends, ...], deadline: float) -> None:
        concerned = [child for child in self._children if child.command.ends in ends]
        while time.monotonic() < deadline and not all(child.ended() for child in concerned):
            time.sleep(_TICK)
        for child in concerned:
            child.kill()

    def _end_now(self, code: int) -> None:
        """Kill everything and leave, from inside a signal handler: nothing here takes a lock or waits."""
        for child in self._children:
            child.abandon()
        if self._forks is not None:
            self._forks.abandon()
        for server in self._servers:
            server.abandon()
        self._settings.state_path.unlink(missing_ok=True)
        os._exit(code)


def _hive_command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "hive", *arguments]


def _load_code() -> None:
    """Import what is needed once the servers answer, while they start."""
    for module in ("hive.ledger.migrate", "hive.manager"):
        importlib.import_module(module)


def _default_concurrency(urgent: Collection[str]) -> dict[str, int]:
    """Scrubbing takes a processor, reading mostly waits; a pool without a bee is only there to be ready."""
    pools = {queue: 2 if queue in urgent else 1 for queue in QUEUES}
    return {**pools, "nectar": max(2, os.cpu_count() or 1)}


def _reachable(host: str) -> str:
    """An address by which this machine reaches a server that listens on `host`."""
    return places.LOOPBACK if host in {"", "0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


def _port(setting: str, port: int, host: str) -> int:
    """The port to listen on; 0 means any that is free."""
    if port == 0:
        return places.free_port()
    if not places.port_is_free(port, host):
        raise PortInUse(f"port {port} on {host} is in use: end what listens there, or set {setting} to another port")
    return port
