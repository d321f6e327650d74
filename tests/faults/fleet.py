"""A hive of real processes, as `hive up` starts them, behind two proxies, with sources that grow while it flies."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import redis
import yaml

from hive.child import Child, Command, Ends
from hive.embedded import EmbeddedPostgres, EmbeddedValkey, places, process
from hive.starter import ForkServer
from tests.faults.root import MOUNTS, Disk, Skipped
from tests.faults.source import Sources
from tests.servers import short_folder

if TYPE_CHECKING:
    from hive.manager import HiveManager

ROOT = Path(__file__).parents[2]
HIVE = (sys.executable, "-m", "hive")
LOGIN = "keeper:faults-and-smoke"
"""Of Flower and of the gateway's pages."""
SHOWN = ("", "bees", "quarantine", "jars", "audit", "status", "metrics/connectors", "health/connectors")
"""What the gateway shows to who has logged in, beside each bee, its jar, and flights."""
EVERY = 2
"""Seconds between two slots of each bee."""
ROWS = 6
"""New records of each source in each step of the load."""
STEP = 0.25
START_LIMIT = 120.0

PARTS: dict[str, tuple[str, ...]] = {
    "reader": ("worker", "--queues", "bees.database,bees.file,bees.api", "-c", "2"),
    "lander": ("worker", "--queues", "nectar", "-c", "2"),
    "beat": ("beat",),
    "janitor": ("janitor",),
    "gateway": ("gateway",),
}
CHILD_MEMORY = 1 << 30
POSTGRES_DISK = 2 << 30
LOG_DISK = 64 << 20
SHORTEST_LEASE = 2.0
"""Below it a busy machine, and no fault, would take workers for dead."""


def times(scale: float) -> dict[str, str]:
    """The settings of time that shrink with the faults' length."""
    lease = max(SHORTEST_LEASE, 10 * scale)
    return {
        "HIVE_LEASE": f"{lease:g}", "HIVE_HEARTBEAT": f"{lease / 4:g}", "HIVE_LEG": f"{max(2.0, 60 * scale):g}",
        "HIVE_STALL": f"{max(8.0, 60 * scale):g}", "HIVE_ANSWER_LIMIT": f"{max(6.0, 60 * scale):g}",
        "HIVE_SPIN": f"{max(2.0, 15 * scale):g}",
    }  # fmt: skip


def wait(what: str, ask: Callable[[], Any], limit: float = START_LIMIT, pause: float = 0.05) -> Any:
    """What `ask` gives once it is true. Raises TimeoutError."""
    end = time.monotonic() + limit
    while not (found := ask()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit:.0f} s")
        time.sleep(pause)
    return found


class Proxy:
    """The proxy process before one server."""

    def __init__(self, port: int, log: Path) -> None:
        argv = [sys.executable, "-m", "tests.faults.proxy", places.LOOPBACK, str(port)]
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def tell(self, mode: str = "pass", **how: Any) -> int:
        """The next mood, see `proxy.py`; without arguments the good one. Gives what the last one harmed."""
        return self._say({"mode": mode, **how})["hurt"]

    def links(self) -> int:
        """Connections that there are."""
        return self._say({})["links"]

    def hurt(self) -> int:
        """Connections or pieces that its mood has harmed until now."""
        return self._say({})["hurt"]

    def lead_to(self, port: int) -> None:
        self._say({"to": port})

    def _say(self, told: Mapping[str, Any]) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        if not (answer := self._process.stdout.readline()):
            raise RuntimeError(f"a proxy ended: {self._log.name}")
        told_back: dict[str, int] = json.loads(answer)
        return told_back

    def close(self) -> None:
        self._process.communicate()
        self._log.close()


def through(url: str, port: int) -> str:
    """The same address at another port."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@{places.LOOPBACK}:{port}").geturl()


class Fleet:
    """Everything that runs, and the handles by which it is hurt. Make it with `fleet()`."""

    has_ledger = True
    """It says there what its workers do."""

    def __init__(self, home: Path, seed: int, scale: float) -> None:
        self.home, self.scale = home, scale
        self.lease = float(times(scale)["HIVE_LEASE"])
        self.chance = random.Random(seed)
        self.postgres, self.valkey = EmbeddedPostgres(home), EmbeddedValkey(home)
        self.environment: dict[str, str] = {}
        self.log_folder = home / "logs"
        self._disks: dict[str, Disk] = {}
        self.logs_to: Path | None = None
        self.history: list[tuple[float, str]] = []
        self._forks: ForkServer | None = None
        self._parts: dict[str, Child] = {}
        self._held: set[str] = set()
        self._extras: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self._loading = threading.Event()
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self.flown: list[str] = []
        """Flights by hand that were promised."""
        self.told: dict[str, bytes] = {}
        """What views told of the work, by where: it is searched for leaks."""
        self.actions: list[tuple[str, int]] = []
        """What a mix of faults did, so that it can be done again."""
        self.undue: list[dict[str, Any]] = []
        """Times in which a bee was not in the configuration: {bee, since, until}."""
        self.broken_load: list[str] = []

    def say(self, what: str) -> None:
        """Write an action down; a failing run shows them."""
        self.history.append((time.time(), what))

    def start(self) -> None:
        from hive.ledger.migrate import migrate

        self.log_folder.mkdir()
        self._make_disks()
        self.postgres.start()
        self.valkey.start()
        self.sources = Sources(self.home, self.postgres.create_database("meadow"), self.chance.randrange(10**6))
        self.database, self.broker = self.postgres.url(), self.valkey.url()
        migrate(self.database)
        self.to_postgres = Proxy(self.postgres.port, self.home / "proxy-postgres.out")
        self.to_redis = Proxy(self.valkey.port, self.home / "proxy-redis.out")
        self.gateway = places.free_port()
        own = {
            "HIVE_DATABASE_URL": through(self.database, self.to_postgres.port),
            "HIVE_REDIS_URL": through(self.broker, self.to_redis.port),
            "HIVE_KEY": secrets.token_hex(32),
            "HIVE_DATA_DIR": str(self.home / "data"),
            "HIVE_GATEWAY_PORT": str(self.gateway),
            "HIVE_BATCH_ROWS": "40",
            "HIVE_CHILD_MEMORY": str(CHILD_MEMORY),
            "HIVE_FLOWER_LOGIN": LOGIN,
            "PYTHONPATH": f"{ROOT}:{self._add_ons()}",
            **times(self.scale),
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("HIVE_")}
        self.environment = {**others, **own}
        # The fleet's own manager, in this process, tells the broker through the proxy and asks the database directly.
        os.environ.update({**own, "HIVE_DATABASE_URL": self.database})
        sys.path.append(str(self._add_ons()))
        from hive.manager import HiveManager

        self.hive: HiveManager = HiveManager()
        self.hive.reload(self.write_config())
        forks = self._forks = ForkServer(self.environment, self.log_folder / "forkserver.log")
        forks.start()
        wait("the fork server", lambda: not forks.is_loading())
        for name in PARTS:
            self._parts[name] = self._child(name)
            self._parts[name].start(time.monotonic())
        self._run(self._keep)
        self.wait_ready()
        self._run(self._load)
        self._run(self._fly)

    def _make_disks(self) -> None:
        """Small ones under the database and the logs, where we are root in a mount namespace of our own."""
        if os.environ.get(MOUNTS):
            self.postgres.start()
            self.postgres.stop()
            sizes = {self.postgres.data_path: POSTGRES_DISK, self.log_folder: LOG_DISK}
            names = ("postgres", "logs")
            self._disks = {name: Disk(folder, size) for name, (folder, size) in zip(names, sizes.items(), strict=True)}

    def disk(self, name: str) -> Disk:
        """The disk under the database (`postgres`) or the `logs`. Raises Skipped."""
        if name not in self._disks:
            raise Skipped("it takes a mount, which only root may make")
        return self._disks[name]

    def _add_ons(self) -> Path:
        """A package that brings the connector `poison`, as a stranger's would."""
        folder = self.home / "add-ons"
        if not folder.exists():
            info = folder / "poison-1.0.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text("[worker_bees.connectors]\npoison = tests.faults.poison\n")
        return folder

    def _run(self, what: Callable[[], None]) -> None:
        thread = threading.Thread(target=what, name=what.__name__, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _child(self, name: str) -> Child:
        listens = (places.LOOPBACK, self.gateway) if name == "gateway" else None
        command = Command(name, PARTS[name], Ends.FIRST, listens)
        log = self.log_folder / f"{name}.log"
        return Child(command, [*HIVE, *PARTS[name]], self.environment, log, self._forks)

    def bees(self) -> dict[str, Any]:
        """The three bees, as their file has them."""
        login = urlsplit(self.database)
        rhythm = {"every": f"{EVERY}s", "catch_up": "all", "catch_up_limit": 1000, "overlap": "skip"}
        scrubbing = {"scrubbing": {"profile": "gdpr_compliant"}}
        listing = {
            "path": "/rows", "records": "rows", "key": "id", "cursor": "turn", "cursor_param": "since",
            "pagination": {"type": "cursor", "cursor_path": "next", "cursor_param": "after"},
        }  # fmt: skip
        api = {
            "base_url": self.sources.api.url, "allow_private": True, "timeout": 2, "max_body_bytes": 1 << 20,
            "auth": {"method": "bearer", "token": self.sources.secrets["api"]},
        }  # fmt: skip
        table = {
            "host": places.LOOPBACK, "port": login.port, "database": "meadow", "user": "meadow", "batch_rows": 40,
            "password": self.sources.secrets["table"], "ssl_mode": "disable", "connect_timeout": 2,
        }  # fmt: skip
        files = {"path": str(self.sources.folder), "batch_rows": 40}
        rows = {"patterns": "*.jsonl", "key": "id"}
        turns = {"table": "meadow", "cursor": "turn", "lookback": 50}
        return {
            "api": {"type": "rest", "source": api, "streams": {"rows": listing}, **rhythm, **scrubbing},
            "files": {"type": "local", "source": files, "streams": {"rows": rows}, **rhythm, **scrubbing},
            "table": {"type": "postgresql", "source": table, "streams": {"rows": turns}, **rhythm, **scrubbing},
        }

    def write_config(self, bees: Mapping[str, Any] | None = None) -> Path:
        path = self.home / "bees.yaml"
        path.write_text(yaml.safe_dump({"bees": dict(bees or self.bees())}))
        return path

    def _keep(self) -> None:
        """What `hive up` does: whatever ended is started again."""
        while not self._stop.wait(0.05):
            try:
                self._tend()
            except Exception as error:  # noqa: BLE001 - shown with the run, which then fails
                self.broken_load.append(repr(error))

    def _tend(self) -> None:
        with self._lock:
            if self._forks is not None:
                self._forks.tend()
            for name, child in self._parts.items():
                if name not in self._held:
                    child.tend(time.monotonic())

    def _load(self) -> None:
        while not self._stop.wait(STEP):
            if self._loading.is_set():
                try:
                    self.sources.offer(ROWS)
                except Exception as error:  # noqa: BLE001 - shown with the run, which then fails
                    self.broken_load.append(repr(error))

    def _fly(self) -> None:
        """Flights by hand. One that nobody promised, since the database was away, is not owed."""
        while not self._stop.wait(1.0):
            if self._loading.is_set():
                with contextlib.suppress(Exception):
                    self.flown.append(self.hive.fly(self.chance.choice(["api", "files", "table"])).id)

    def begin_load(self) -> None:
        self._loading.set()

    def end_load(self) -> None:
        self._loading.clear()

    def answers(self) -> bool:
        with self._lock:
            return all(child.answers() for child in self._parts.values())

    def wait_ready(self) -> None:
        """Until every part works and its processes beat."""
        wait("the fleet", self.answers)
        wait("its heartbeats", lambda: len(self.living()) >= 6)

    def living(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT id FROM hive.worker WHERE alive_until > clock_timestamp()")]

    def beating(self, pids: list[int]) -> list[str]:
        """By which those of these processes that beat are known in the ledger."""
        return [name for name in self.living() if any(f":{pid}:" in name for pid in pids)]

    def pid(self, name: str) -> int:
        """Of a part that runs, waited for."""
        return int(wait(name, lambda: self._parts[name].pid, limit=30))

    def fork_server(self) -> int:
        """The process whose forks the parts are, waited for: one that was just killed is no longer it."""
        return int(wait("the fork server", self._loaded_fork_server, limit=60))

    def _loaded_fork_server(self) -> int:
        with self._lock, contextlib.suppress(psutil.NoSuchProcess):
            forks, running = self._forks, self._forks and self._forks._process
            if forks and running and forks.listens() and not forks.is_loading():
                return running.pid if psutil.Process(running.pid).status() != psutil.STATUS_ZOMBIE else 0
        return 0

    def pool(self, name: str) -> list[int]:
        """The children of a worker, which do the work."""
        return self.children(self.pid(name))

    def children(self, pid: int) -> list[int]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(pid).children()]
        return []

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill_group(self, pid: int, number: int = signal.SIGKILL) -> None:
        """A part with all its children. Raises ValueError for the group 1, which the kernel takes for every process."""
        if pid <= 1:
            raise ValueError(f"{pid} is no part of the fleet")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)

    def move_to(self, name: str, code: Path) -> None:
        """From its next start on, the part runs the packages of this folder; it goes on as it is until it ends."""
        child = self._parts[name]
        with self._lock:
            child._forks = None  # that has the old code
            child._argv = ["env", "-C", str(code), *HIVE, *PARTS[name]]
            child._environment = {**child._environment, "PYTHONPATH": f"{code}:{self._add_ons()}"}

    @contextlib.contextmanager
    def held_down(self, *names: str) -> Iterator[None]:
        """These parts are dead for a while, and nobody starts them again."""
        with self._lock:
            self._held |= set(names)
            for name in names:
                self._parts[name].kill()
        try:
            yield
        finally:
            with self._lock:
                self._held -= set(names)

    @contextlib.contextmanager
    def extra(self, name: str, *arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """One process more, not looked after; at the end killed with all that it started."""
        argv = [sys.executable, "-m", "celery", "-A", "hive", *arguments]
        with process.open_log(self.log_folder / f"{name}.log") as log, process.undisturbed():
            started = process.spawn(argv, log=log, env=self.environment | more, death_signal=signal.SIGTERM)
        self._extras.append(started)
        try:
            yield started
        finally:
            if started.poll() is None:
                process.signal_group(started, signal.SIGKILL)
                started.wait()

    def restart_postgres(self, number: int, meanwhile: Callable[[], None]) -> None:
        """End the database with a signal, and start it after `meanwhile`."""
        if self.postgres.pid is not None:
            self.kill(self.postgres.pid, number)
        wait("the database's end", lambda: self.postgres.pid is None, limit=30)
        meanwhile()
        self.postgres.start()
        self.to_postgres.lead_to(self.postgres.port)

    def start_redis(self) -> None:
        self.valkey.start()
        self.to_redis.lead_to(self.valkey.port)

    def redis(self) -> redis.Redis:
        """A client that goes past the proxy."""
        return redis.Redis.from_url(self.valkey.url())

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the ledger says, past the proxy."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def ask_gateway(self, path: str) -> tuple[int, bytes]:
        """Status and body; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{places.LOOPBACK}:{self.gateway}/{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def tells(self) -> tuple[int, int] | None:
        """The statuses of /healthz and /readyz; None where there is no gateway."""
        return (self.ask_gateway("healthz")[0], self.ask_gateway("readyz")[0]) if "gateway" in self._parts else None

    def pages(self) -> dict[str, bytes]:
        """What people see who have logged in, headers included, by path. Raises TimeoutError where it is not shown."""
        shown: dict[str, bytes] = wait("the gateway's pages", self._pages, limit=30, pause=1.0)
        return shown

    def _pages(self) -> dict[str, bytes]:
        """Nothing where one of them is not shown: the gateway may just be starting."""
        name, _, password = LOGIN.partition(":")
        flights = self.rows("SELECT id FROM hive.flight ORDER BY state = 'failed' DESC, created_at DESC LIMIT 3")
        bees = list(self.bees())
        paths = [*SHOWN, *(f"bees/{bee}" for bee in bees), *(f"jars/{bee}?q=amber" for bee in bees)]
        paths += [f"flights/{flight}" for (flight,) in flights]
        found = {}
        try:
            with httpx.Client(base_url=f"http://{places.LOOPBACK}:{self.gateway}/", timeout=30) as person:
                person.post("login", data={"name": name, "password": password})
                for path in paths:
                    answer = person.get(path)
                    if answer.status_code != 200:
                        self.say(f"/{path} is not shown to who has logged in: {answer.status_code}")
                        return {}
                    found[path] = repr(answer.headers).encode() + answer.content
        except httpx.HTTPError as error:
            self.say(f"the gateway does not answer: {error!r}")
            return {}
        return found

    def secrets(self) -> list[str | bytes]:
        """What may be found nowhere: the sources' passwords, the hive key, a login, and those of our own servers."""
        own = [urlsplit(url).password or "" for url in (self.database, self.broker)]
        key = self.environment["HIVE_KEY"]
        return [*self.sources.secrets.values(), key, bytes.fromhex(key), LOGIN.partition(":")[2], *filter(None, own)]

    def log_files(self) -> list[Path]:
        """Of the hive's processes, also those that were put aside, and of the servers."""
        logs = [path for folder in (self.home, self.log_folder) for path in folder.glob("*.log*")]
        return sorted(path for path in logs if path.is_file())

    def close(self) -> None:
        """End everything that was started here, each by its own pid."""
        self.end_load()
        self._stop.set()
        for thread in self._threads[1:]:
            thread.join(timeout=30)
        with self._lock:
            for child in self._parts.values():
                child.kill()
            if self._forks is not None:
                self._forks.stop()
        for started in self._extras:
            if started.poll() is None:
                process.signal_group(started, signal.SIGKILL)
                started.wait()
        for name in ("hive", "sources", "to_redis", "to_postgres"):
            if hasattr(self, name):
                getattr(self, name).close()
        self.valkey.destroy()
        self.postgres.stop()
        if self.logs_to is not None:
            self._keep_logs(self.logs_to)
        for disk in self._disks.values():
            disk.close()
        self.postgres.destroy()

    def _keep_logs(self, to: Path) -> None:
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        for path in self.log_files():
            shutil.copy(path, to / path.name)


@contextlib.contextmanager
def fleet(seed: int, scale: float) -> Iterator[Fleet]:
    """A running fleet. Its logs are copied to its `logs_to` at the end, if that is set."""
    with short_folder() as home:
        made = Fleet(home, seed, scale)
        try:
            made.start()
            yield made
        finally:
            made.close()
