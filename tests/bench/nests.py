"""Hives and servers for a question, on free ports and in folders of their own; each ends with its `with`."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import yaml

from hive.embedded import EmbeddedPostgres, EmbeddedValkey, places, process
from hive.settings import Settings

if TYPE_CHECKING:
    from hive.manager import Flight, FlightResult, HiveManager

START_LIMIT = 90.0
_ALIVE = "SELECT pid FROM hive.worker WHERE alive_until > clock_timestamp()"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder with a short path, removed at the end."""
    made = places.make_folder(Path(tempfile.gettempdir()) / f"hb-{secrets.token_hex(3)}")
    try:
        yield made
    finally:
        for pointer in made.rglob("*.at"):  # where data of root's other account could not lie inside
            shutil.rmtree(Path(pointer.read_text().strip()).parent, ignore_errors=True)
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def program(argv: Sequence[str], log: Path, more: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is asked to end, and killed with all of its session after 25 s."""
    with process.open_log(log) as output, process.undisturbed():
        started = process.spawn(argv, log=output, env={**os.environ, **(more or {})}, death_signal=signal.SIGTERM)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
            if not process.ended(started, 25.0):
                process.signal_group(started, signal.SIGKILL)
                started.wait()


def wait(what: str, ask: Callable[[], Any], limit: float = START_LIMIT, pause: float = 0.02) -> Any:
    """What `ask` gives once it is true. Raises TimeoutError after `limit` seconds."""
    end = time.monotonic() + limit
    while not (found := ask()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not after {limit:.0f} s")
        time.sleep(pause)
    return found


def indexed(ledger: psycopg.Connection[Any]) -> float:
    """Waits until the words of all that landed are in the index, so that nothing else is timed beside it. Seconds."""
    began = time.monotonic()
    wait(
        "the words", lambda: ledger.execute("SELECT NOT EXISTS (SELECT FROM hive.unindexed)").fetchone() == (True,), 600
    )
    return time.monotonic() - began


@dataclass
class Nest:
    """A running hive: its addresses, and the processes that work there."""

    data: Path
    state: Mapping[str, Any]
    supervisor: int

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=self.data)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.state["database_url"], autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def living(self) -> dict[int, str]:
        """Process -> what it is (`beat`, `worker nectar`, ...) of those whose heartbeat the ledger has."""
        try:
            return {pid: role(pid, self.supervisor) for (pid,) in self.rows(_ALIVE)}
        except psycopg.errors.UndefinedTable:
            return {}

    def wait_for(self, roles: Iterable[str]) -> None:
        wanted = set(roles)
        wait(f"the start of {sorted(wanted)}", lambda: wanted <= set(self.living().values()), pause=0.05)


def role(pid: int, supervisor: int) -> str:
    """What a process of a hive is, by the arguments of the one that `hive up` started: `worker nectar`, `beat`."""
    with contextlib.suppress(psutil.NoSuchProcess):
        one: psutil.Process | None = psutil.Process(pid)
        while one is not None and one.ppid() != supervisor and _last(one.parent()) != "forkserver":
            one = one.parent()
        if one is not None:
            words = one.cmdline()
            return f"worker {words[words.index('--queues') + 1]}" if "worker" in words else words[-1]
    return ""


def _last(one: psutil.Process | None) -> str:
    """The last word of its command."""
    return "" if one is None else one.cmdline()[-1]


@contextlib.contextmanager
def starting_hive(data: Path, config: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], Nest | None]]]:
    """`hive up` just started, and how to ask for the nest that it becomes."""
    ports = {"HIVE_GATEWAY_PORT": "0", "HIVE_FLOWER_PORT": "0"}
    argv = [sys.executable, "-m", "hive", "up", "--data", str(data), "--config", str(config)]
    settings = Settings(data_dir=data)
    log = data.parent / f"{data.name}.log"
    with program(argv, log, ports) as hive:

        def ready() -> Nest | None:
            if hive.poll() is not None:
                raise RuntimeError(f"the hive ended: {log.read_text(errors='replace')[-2000:]}")
            state = settings.running()
            return Nest(data, state, hive.pid) if state.get("ready") else None

        yield hive, ready


@contextlib.contextmanager
def whole_hive(home: Path, bees: Mapping[str, Any]) -> Iterator[Nest]:
    """`hive up` with these bees, once it is ready. This process then flies them by `manager()`."""
    data = places.make_folder(home / "d")
    with starting_hive(data, write_config(home, bees)) as (_, ready):
        nest: Nest = wait("the hive", ready)
        os.environ["HIVE_DATA_DIR"] = str(data)
        yield nest


@contextlib.contextmanager
def servers(home: Path) -> Iterator[tuple[str, EmbeddedValkey]]:
    """PostgreSQL with our schema, and Valkey, as durable as `hive up` has them. This process's settings name them."""
    from hive.ledger.migrate import migrate

    with EmbeddedPostgres(home) as postgres, EmbeddedValkey(home) as valkey:
        migrate(postgres.url())
        os.environ["HIVE_DATABASE_URL"], os.environ["HIVE_REDIS_URL"] = postgres.url(), valkey.url()
        os.environ["HIVE_KEY"], os.environ["HIVE_DATA_DIR"] = secrets.token_hex(32), str(home / "d")
        yield postgres.url(), valkey


@contextlib.contextmanager
def part(home: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """One process of a hive on `servers`: `hive worker ...`, `hive beat`."""
    with program([sys.executable, "-m", "hive", *arguments], home / f"{name}.log") as started:
        yield started


def manager() -> HiveManager:
    """The manager of the hive that this process's settings name; imported late, since it reads them at import."""
    from hive.manager import HiveManager

    return HiveManager()


def landed(flight: Flight, timeout: float) -> FlightResult:
    """A flight's result once it is closed. Raises RuntimeError when it failed."""
    result = flight.wait(timeout)
    if result.state != "complete" or result.records_quarantined:
        raise RuntimeError(f"a flight did not end well: {result}")
    return result


def local_bee(folder: Path, profile: str | None = None, batch_rows: int | None = None) -> dict[str, Any]:
    """The block of a bee that reads the JSON Lines files of a folder, whose rows have an `id`."""
    source: dict[str, Any] = {"path": str(folder)} | ({"batch_rows": batch_rows} if batch_rows else {})
    block: dict[str, Any] = {"source": source, "streams": {"rows": {"patterns": "*.jsonl", "key": "id"}}}
    return block | ({"scrubbing": {"profile": profile}} if profile else {})


def write_config(home: Path, bees: Mapping[str, Any]) -> Path:
    path = home / "bees.yaml"
    path.write_text(yaml.safe_dump({"bees": {name: {"type": "local", **block} for name, block in bees.items()}}))
    return path


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON line a row; the file changes at once, so that no flight reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    with aside.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    aside.replace(path)
