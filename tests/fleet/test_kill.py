"""Real workers, killed as `kill -9` does at every step that the protocol names: the jar must hold the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from celery import Celery

import hive.celery
from hive.crash import POINTS
from hive.ledger.hints import Hint
from hive.manager import FlightResult, HiveManager
from hive.runtime import open_runtime
from hive.settings import Settings

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parents[2]
ROWS = 3_000
PATIENCE = 40.0

COLLECT = [point for point in POINTS if point.startswith("collect:")]
PROCESS = [point for point in POINTS if point.startswith("process:")]
CREATE = [point for point in POINTS if point.startswith("create:")]
SCHEDULE = "schedule:after-commit"
TAKEN = "message:taken"
PAIRS = list(zip_longest(COLLECT, PROCESS, fillvalue=CREATE[0]))
FLY = "import sys; from hive.manager import HiveManager; HiveManager().fly(sys.argv[1])"

HONEY = "SELECT h.data FROM hive.honey h JOIN hive.jar j ON j.id = h.jar WHERE j.name = 'people' AND deleted_at IS NULL"
TASK = "SELECT day, id, kind, queue, flight, parent, priority FROM hive.task ORDER BY id"


class Fleet:
    """Workers and a beat on servers of their own, and the manager that the test flies with."""

    def __init__(self, database: str, broker: str, folder: Path, batch_rows: int = 500, **block: Any) -> None:
        self.database, self.folder = database, folder
        self.source = folder / "people"
        self.source.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HIVE_")},
            "HIVE_DATABASE_URL": database,
            "HIVE_REDIS_URL": broker,
            "HIVE_KEY": "5a" * 32,
            "HIVE_DATA_DIR": str(folder / "data"),
            "HIVE_LEASE": "2",
            "HIVE_HEARTBEAT": "0.5",
            "HIVE_BATCH_ROWS": str(batch_rows),
            "PYTHONPATH": str(ROOT),
        }
        settings = Settings(database_url=database, redis_url=broker, key="5a" * 32, data_dir=folder / "data")
        self.hive = HiveManager(rt=open_runtime(settings, send=hive.celery.send))
        source = {"path": str(self.source), "batch_rows": batch_rows}
        stream = {"patterns": "*.jsonl", "key": "id"}
        bee = {"name": "people", "source": source, "streams": {"rows": stream}, **block}
        self.hive.register_worker("local", bee)
        self._started: list[subprocess.Popen[bytes]] = []

    def worker(self, name: str, queues: str = "bees.file,nectar", crash_at: str = "") -> None:
        """A worker of one child; with `crash_at` the first child that gets there dies."""
        more = {"HIVE_CRASH_AT": crash_at, "HIVE_CRASH_ONCE": str(self.crashed(crash_at))} if crash_at else {}
        options = ["--pool", "prefork", "-c", "1", "-Q", queues, "-n", f"{name}@%h"]
        self._start(name, ["worker", *options], more)

    def beat(self, crash_at: str = "") -> None:
        more = {"HIVE_CRASH_AT": crash_at, "HIVE_CRASH_ONCE": str(self.crashed(crash_at))} if crash_at else {}
        self._start("beat", ["beat"], more)

    def crashed(self, point: str) -> Path:
        """A file that is there once a process died at this point."""
        return self.folder / point.replace(":", "-")

    def fly_and_crash(self, point: str) -> None:
        """A command that makes a flight and dies there."""
        more = {"HIVE_CRASH_AT": point, "HIVE_CRASH_ONCE": str(self.crashed(point))}
        command = [sys.executable, "-c", FLY, "people"]
        done = subprocess.run(command, env=self.environment | more, cwd=self.folder, check=False)
        assert done.returncode == -signal.SIGKILL

    def write(self, generation: int) -> None:
        """The file as its source has it now: other names, the same keys."""
        rows = [{"id": n, "name": f"person {n} of {generation}", "born": 1900 + n % 100} for n in range(ROWS)]
        (self.source / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def living(self) -> int:
        ((number,),) = self.rows("SELECT count(*) FROM hive.worker WHERE alive_until > clock_timestamp()")
        return int(number)

    def wait(self, what: str, done: Callable[[], bool], pause: float = 0.05) -> None:
        """Ask until `done`, for a bounded time; then say what the processes said."""
        end = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not after {PATIENCE:.0f} seconds\n{self.logs()}")
            time.sleep(pause)

    def landed(self, flight: str) -> FlightResult:
        self.wait("the flight's end", lambda: self.hive.flight(flight).state not in ("queued", "running"))
        return self.hive.flight(flight)

    def check(self, *results: FlightResult) -> None:
        """The jar is the file, every count adds up, and nothing is left over."""
        for result in results:
            ends = result.records_landed + result.records_unchanged + result.records_superseded
            assert (result.state, result.records_quarantined) == ("complete", 0), f"{result}\n{self.logs()}"
            assert result.records_read == ends
        expected = [json.loads(line) for line in (self.source / "a.jsonl").read_text().splitlines()]
        found = sorted((row for (row,) in self.rows(HONEY)), key=lambda row: row["id"])
        assert [pair for pair in zip_longest(found, expected) if pair[0] != pair[1]] == []
        assert self.rows("SELECT 1 FROM hive.task WHERE state <> 'done'") == []
        assert self.rows("SELECT 1 FROM hive.payload") == []
        assert self.rows("SELECT sealed_seq - landed_seq FROM hive.checkpoint") == [(0,)]
        assert self.rows("SELECT 1 FROM hive.lease WHERE task IS NOT NULL") == []
        assert self.rows("SELECT 1 FROM hive.batch WHERE open_parts <> 0 OR state <> 'landed'") == []

    def logs(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """Kill what this fleet started, each with its children, and nothing else."""
        for process in self._started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.hive.close()

    def _start(self, name: str, arguments: list[str], more: dict[str, str]) -> None:
        command = [sys.executable, "-m", "celery", "-A", "hive", *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=self.environment | more, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._started.append(process)


@pytest.fixture
def make_fleet(database_url: str, redis_url: str, tmp_path: Path, monkeypatch) -> Iterator[Callable[..., Fleet]]:
    app = Celery("test", broker=redis_url, set_as_current=False)
    app.conf.update(task_queues=hive.celery.app.conf.task_queues, task_ignore_result=True)
    monkeypatch.setattr(hive.celery, "app", app)
    made: list[Fleet] = []

    def make(**chosen: Any) -> Fleet:
        made.append(Fleet(database_url, redis_url, tmp_path, **chosen))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()
    app.close()


def test_every_point_is_tried():
    assert {*COLLECT, *PROCESS, *CREATE, SCHEDULE, TAKEN} == set(POINTS)


@pytest.mark.parametrize(("reading", "landing"), PAIRS)
def test_a_process_that_is_killed_costs_nothing(make_fleet, reading, landing):
    fleet = make_fleet()
    fleet.write(1)
    if reading in COLLECT:
        fleet.worker("reader", "bees.file", reading)
    fleet.worker("lander", "nectar", landing)
    fleet.wait("the doomed workers' start", lambda: fleet.living() == 1 + (reading in COLLECT))

    if reading in COLLECT:
        fleet.hive.fly("people")
    else:
        fleet.fly_and_crash(reading)
    flights = [fleet.hive.flights()[0].flight]
    fleet.beat()
    fleet.worker("sound")
    results = [fleet.landed(flights[0])]
    for generation in (2, 3, 4):  # until each doomed worker got the message that it dies of
        if fleet.crashed(reading).exists() and fleet.crashed(landing).exists():
            break
        fleet.write(generation)
        results.append(fleet.landed(fleet.hive.fly("people").id))

    assert fleet.crashed(reading).exists()
    assert fleet.crashed(landing).exists()
    fleet.wait("a quiet hive", lambda: not fleet.rows("SELECT 1 FROM hive.task WHERE state <> 'done'"))
    fleet.check(*results)


def test_a_scheduler_that_dies_before_it_tells_anybody_costs_nothing(make_fleet):
    fleet = make_fleet(every="3s")
    fleet.write(1)
    fleet.worker("sound")
    fleet.wait("the worker's start", lambda: fleet.living() == 1)
    fleet.beat(SCHEDULE)
    fleet.wait("its crash", fleet.crashed(SCHEDULE).exists)
    (flight,) = fleet.hive.flights()
    assert flight.state == "queued"

    fleet.rows("UPDATE hive.schedule SET enabled = false RETURNING id")
    fleet.beat()
    fleet.check(fleet.landed(flight.flight))
    assert fleet.rows("SELECT count(*) FROM hive.slot WHERE flight IS NOT NULL") == [(1,)]


@pytest.mark.parametrize("queue", ["bees.file", "nectar"])
def test_a_message_that_dies_with_the_worker_that_just_took_it_costs_nothing(make_fleet, redis_url, queue):
    fleet = make_fleet()
    fleet.write(1)
    if queue == "nectar":
        fleet.worker("reader", "bees.file")
    fleet.worker("doomed", queue, TAKEN)
    fleet.wait("the workers' start", lambda: fleet.living() == 1 + (queue == "nectar"))
    flight = fleet.hive.fly("people").id
    fleet.wait("its crash", fleet.crashed(TAKEN).exists)
    if queue == "bees.file":
        with redis.Redis.from_url(redis_url) as client:
            assert (client.llen(queue), client.hlen("unacked")) == (0, 0)
    assert fleet.hive.flight(flight).state in ("queued", "running")

    fleet.beat()
    fleet.worker("sound")
    fleet.check(fleet.landed(flight))


def test_a_broker_that_forgets_everything_and_says_all_else_twice_costs_nothing(make_fleet, redis_url):
    fleet = make_fleet(batch_rows=100)
    fleet.write(1)
    fleet.worker("first")
    fleet.worker("second")
    fleet.beat()
    fleet.wait("the workers' start", lambda: fleet.living() >= 2)
    flight = fleet.hive.fly("people").id
    told: set[int] = set()

    def say_twice() -> None:
        """Two more messages for each task there is, whatever became of it."""
        hints = [Hint(*row) for row in fleet.rows(TASK) if row[1] not in told]
        told.update(hint.id for hint in hints)
        hive.celery.send([*hints, *hints])

    def some_landed() -> bool:
        say_twice()
        return bool(fleet.rows("SELECT 1 FROM hive.receipt LIMIT 1"))

    fleet.wait("a first landing", some_landed, pause=0.005)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    before = fleet.hive.flight(flight).state
    fleet.wait("the flight's end", lambda: say_twice() or fleet.hive.flight(flight).state not in ("queued", "running"))

    assert before == "running"
    assert len(told) == 31
    fleet.check(fleet.hive.flight(flight))
