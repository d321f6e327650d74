"""Processes as people and machines start and end them: ports in use, Ctrl-C, two hives, plain Celery, a broker lost."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from hive.demo import api
from hive.demo.fleet import is_nectar_child
from hive.embedded import EmbeddedPostgres, EmbeddedValkey, places
from hive.manager import HiveManager
from hive.runtime import open_runtime
from hive.settings import Settings
from tests.fleet.running import RunningHive, hive_folder, interrupt, wait_until
from tests.hive.command import bare_hive, broker
from tests.hive.nest import KEY, rows_of, write

__all__ = ["bare_hive"]

pytestmark = pytest.mark.fleet

ENDED = (0, 130, -signal.SIGINT)
"""A command that Ctrl-C ended: done, interrupted, or interrupted before Python had come to our first line."""
CELERY = str(Path(sys.executable).parent / "celery")
LOGIN = "keeper:smoke-and-veil-19"


_numbers = itertools.count(1)


def servers(postgres: EmbeddedPostgres, valkey: EmbeddedValkey, template: str | None) -> dict[str, str]:
    """Settings of a hive on the session's servers, in a database of its own."""
    number = next(_numbers)
    name = f"fleet_{number}"
    url = postgres.create_database(name, template=template)
    return {"HIVE_DATABASE_URL": url, "HIVE_REDIS_URL": valkey.url(63 - number), "HIVE_KEY": KEY}


def get(address: str, login: str = "") -> tuple[int, bytes]:
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class TestStarting:
    @pytest.mark.parametrize("options", [[], ["--detach"]])
    def test_a_gateway_port_in_use_is_named_with_its_setting_and_nothing_is_left(self, options):
        with hive_folder() as hive, socket.create_server((places.LOOPBACK, 0)) as stranger:
            port = stranger.getsockname()[1]
            hive.environment["HIVE_GATEWAY_PORT"] = str(port)

            said = hive.run("up", *options)

            assert (said.returncode, said.stdout) == (1, "")
            assert f"port {port}" in said.stderr
            assert "HIVE_GATEWAY_PORT" in said.stderr
            assert "Traceback" not in said.stderr
            assert hive.left_behind() == []
            assert not hive.settings.state_path.exists()

    @pytest.mark.parametrize("moment", [0.1, 0.7, 2.0])
    def test_ctrl_c_while_it_starts_leaves_nothing(self, moment):
        with hive_folder() as hive:
            process = hive.begin("up")
            time.sleep(moment)  # wherever it is by then

            out, err = interrupt(process)

            assert process.returncode in ENDED, err
            assert "ready" not in out
            assert hive.left_behind() == []
            assert not hive.settings.state_path.exists()


@pytest.fixture(scope="module")
def running(postgres, valkey, migrated_template) -> Iterator[RunningHive]:
    """`hive up` on servers that it was given, as a terminal's foreground process."""
    with hive_folder(**servers(postgres, valkey, migrated_template)) as hive:
        process = hive.begin("up")
        wait_until(lambda: hive.ready() or process.poll() is not None, "the hive's start")
        assert process.poll() is None, process.communicate()
        hive.process = process
        yield hive
        if process.poll() is None:
            interrupt(process)


class TestRunning:
    """In this order: the last test ends the hive."""

    def test_the_demo_knows_the_processes_that_scrub(self, running):
        supervisor = running.process.pid
        everyone = [one.pid for one in psutil.Process(supervisor).children(recursive=True)]
        wait_until(lambda: [pid for pid in everyone if is_nectar_child(pid, supervisor)], "a pool's process")

    def test_a_second_hive_on_the_folder_is_refused_and_the_first_one_unharmed(self, running):
        before = running.settings.running()

        commands = [running.begin("up"), running.begin("up", "--detach")]
        said, detached = [command.communicate(timeout=60)[1] for command in commands]

        assert [command.returncode for command in commands] == [1, 1]
        assert "`hive down`" in said
        assert "--data" in said
        assert "`hive down`" in detached
        assert running.settings.running() == before
        assert get(before["gateway"] + "/healthz") == (200, b'{"status":"ok"}')

    def test_ctrl_c_ends_the_waiting_and_not_the_flight(self, running):
        made = api.app(count=30, wait=None)
        made.state.world.faults["tickets", 1] = "slow"
        with api.running(made) as url, hive_of(running) as manager:
            source = {"base_url": url, "allow_private": True, "auth": {"method": "bearer", "token": api.TOKEN}}
            stream = {"path": "/tickets", "key": "id", "pagination": {"size": 50, "size_param": "per_page"}}
            manager.register_worker(
                "rest", {"name": "slow", "source": {**source, "timeout": 3}, "streams": {"t": stream}}
            )
            process = running.begin("fly", "slow", "--wait")
            told = process.stderr.readline()  # it waits
            flight = wait_until(lambda: next((f for f in manager.flights("slow") if f.state == "running"), None))

            out, err = interrupt(process)
            state = manager.flight(flight.flight).state
            made.state.world.faults.clear()
            result = wait_until(lambda: closed(manager, flight.flight), "the flight's end")

        assert (process.returncode, out) == (130, "")
        assert told == f"hive: flight {flight.flight} has begun\n"
        assert f"the flight goes on: hive flight {flight.flight}" in err
        assert "Traceback" not in err
        assert state == "running"
        assert (result.state, result.records_landed) == ("complete", 30)

    def test_ctrl_c_when_it_is_ready_ends_everything(self, running):
        out, err = interrupt(running.process)

        assert running.process.returncode in (0, 130)
        assert "ready" in out
        assert "the hive has stopped" in err
        assert "Traceback" not in err
        assert running.left_behind() == []
        assert not running.settings.state_path.exists()


def hive_of(hive: RunningHive, **ports: Any) -> HiveManager:
    """A manager on a running hive; without a port `send` its hints are left to the janitor."""
    given = hive.environment
    settings = Settings(
        data_dir=hive.data, database_url=given["HIVE_DATABASE_URL"], redis_url=given["HIVE_REDIS_URL"], key=KEY
    )
    return HiveManager(rt=open_runtime(settings, **ports))


def closed(manager: HiveManager, flight: str) -> Any:
    result = manager.flight(flight)
    return None if result.state in ("queued", "running") else result


class Plain:
    """Celery's own commands in a folder that knows nothing of the hive, on two servers and three settings."""

    def __init__(self, hive: RunningHive, flower: int) -> None:
        self.hive = hive
        self.folder = hive.folder
        self.flower = f"http://{places.LOOPBACK}:{flower}"
        self.manager = hive_of(hive)
        self.environment = {name: value for name, value in hive.environment.items() if name != "PYTHONPATH"}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._started.append(process)

    def bee(self, name: str, **block: Any) -> Path:
        folder = self.folder / name
        folder.mkdir()
        stream = {"patterns": "*.jsonl", "key": "id"}
        source = {"path": str(folder), "batch_rows": 100}
        self.manager.register_worker("local", {"name": name, "source": source, "streams": {"rows": stream}, **block})
        return folder / "a.jsonl"

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.environment["HIVE_DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def jar(self, name: str) -> dict[str, Any]:
        return dict(
            self.rows(
                "SELECT h.record_key, h.data FROM hive.honey h JOIN hive.jar j ON j.id = h.jar"
                " WHERE j.name = %s AND h.deleted_at IS NULL",
                name,
            )
        )

    def wait(self, condition: Any, what: str) -> Any:
        try:
            return wait_until(condition, what)
        except AssertionError as error:
            logs = [f"--- {file.name}\n{file.read_text()[-2000:]}" for file in sorted(self.folder.glob("*.log"))]
            raise AssertionError("\n".join([str(error), *logs])) from None

    def close(self) -> None:
        for process in self._started:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.manager.close()


@pytest.fixture(scope="module")
def plain(postgres, valkey, migrated_template) -> Iterator[Plain]:
    """One worker, two beats, three janitors and Flower."""
    given = servers(postgres, valkey, migrated_template)
    with hive_folder(
        **given, HIVE_FLOWER_LOGIN=LOGIN, HIVE_LEASE="4", HIVE_HEARTBEAT="1", HIVE_BATCH_ROWS="100"
    ) as hive:
        del hive.environment["HIVE_DATA_DIR"]
        port = places.free_port()
        fleet = Plain(hive, port)
        try:
            fleet.start("worker", CELERY, "-A", "hive", "worker", "-Q", "bees.file,nectar", "-c", "2")
            fleet.start("flower", CELERY, "-A", "hive", "flower", f"--port={port}")
            for number in (1, 2):
                fleet.start(f"beat-{number}", CELERY, "-A", "hive", "beat")
            for number in (1, 2, 3):
                fleet.start(f"janitor-{number}", str(Path(CELERY).with_name("hive")), "janitor")
            living = "SELECT 1 FROM hive.worker WHERE alive_until > clock_timestamp()"
            fleet.wait(lambda: len(fleet.rows(living)) == 2 + 2 + 3, "the start of all processes")
            fleet.wait(lambda: flower_listens(fleet.flower, LOGIN), "the start of Flower")
            yield fleet
        finally:
            fleet.close()


def flower_listens(address: str, login: str) -> bool:
    """Whether Flower has heard an event: what was said before it listened, it never shows."""
    try:
        status, body = get(f"{address}/api/workers?status=1", login)
    except OSError:
        return False
    return status == 200 and any(json.loads(body).values())


def people(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"person {n}"} for n in range(first, last)]


class TestPlainCelery:
    def test_a_scheduled_bee_flies_once_a_slot_however_many_beats_and_janitors_there_are(self, plain):
        source = write(plain.folder / "first.jsonl", people(0, 250))
        file = plain.bee("ticking", every="1s", overlap="allow")
        source.rename(file)
        plain.wait(lambda: len(plain.jar("ticking")) == 250, "the first landing")
        write(file, people(0, 300))
        plain.wait(lambda: len(plain.jar("ticking")) == 300, "the landing of what is new")
        plain.bee("other")  # registering goes on while the hive works
        slots = "SELECT f.slot_key FROM hive.flight f JOIN hive.bee b ON b.id = f.bee WHERE b.name = 'ticking'"
        plain.wait(lambda: len(plain.rows(slots)) >= 4, "four slots")
        plain.rows("UPDATE hive.schedule SET enabled = false RETURNING 1")
        plain.wait(lambda: all(f.state == "complete" for f in plain.manager.flights("ticking")), "the last flight")

        flown = Counter(slot for (slot,) in plain.rows(slots))

        assert set(flown.values()) == {1}
        assert all(slot.startswith("default@") for slot in flown)
        assert plain.jar("ticking") == rows_of(file)
        results = plain.manager.flights("ticking", limit=100)
        assert sum(f.records_landed for f in results) == 300
        assert sum(f.records_quarantined for f in results) == 0

    def test_flower_wants_the_login_that_was_set(self, plain):
        assert get(plain.flower + "/api/workers")[0] == 401
        assert get(plain.flower + "/")[0] == 401
        assert get(plain.flower + "/", "keeper:wrong")[0] == 401
        assert get(plain.flower + "/", LOGIN)[0] == 200

    def test_flower_shows_each_flight_under_one_root(self, plain):
        file = plain.bee("rooted")
        write(file, people(0, 500))
        flight = plain.manager.fly("rooted").id
        plain.wait(lambda: closed(plain.manager, flight), "the flight's end")
        told = [
            (flight, f"{day:%Y%m%d}.{number}")
            for day, number in plain.rows("SELECT day, id FROM hive.task WHERE flight = %s", flight)
        ]

        def shown() -> dict[str, set[str]]:
            """Root -> tasks, by the word that each message carries.

            The worker speaks of tasks from the moment that Flower asks it to: of one that it had received by then,
            Flower knows that it began and ended, and neither its root nor its word.
            """
            status, body = get(plain.flower + "/api/tasks?limit=1000", LOGIN)
            assert status == 200
            found = defaultdict(set)
            for task in json.loads(body).values():
                if task["received"]:
                    found[task["root_id"]].add((task["args"] or "").strip("'[](), "))
            return found

        wanted = {ref for _, ref in told}
        roots = plain.wait(lambda: wanted <= (found := shown())[flight] and found, "the events of all tasks")

        assert len(wanted) == 6
        assert roots[flight] == wanted
        assert {root for root, refs in roots.items() if refs & wanted} == {flight}
        flights = {str(number) for (number,) in plain.rows("SELECT id FROM hive.flight")}
        assert set(roots) <= flights

    def test_a_broker_that_dies_and_comes_back_empty_costs_nothing(self, plain, valkey, bare_hive, monkeypatch):
        files = {name: write(plain.bee(name), people(0, 2_000)) for name in ("ants", "bugs", "crows")}
        receipts = "SELECT 1 FROM hive.receipt r JOIN hive.flight f ON f.id = r.flight WHERE f.id = ANY(%s::uuid[])"
        with broker(plain.environment["HIVE_REDIS_URL"], monkeypatch):
            from hive.celery import send

            with hive_of(plain.hive, send=send) as manager:
                flights = [manager.fly(name).id for name in files]
        plain.wait(lambda: plain.rows(receipts, flights), "a first landing")
        valkey.wipe()
        states = {plain.manager.flight(flight).state for flight in flights}
        valkey.start()

        results = [plain.wait(lambda f=f: closed(plain.manager, f), "the flights' end") for f in flights]

        assert states & {"queued", "running"}
        assert [r.state for r in results] == ["complete"] * 3
        assert [plain.jar(name) == rows_of(file) for name, file in files.items()] == [True] * 3
        assert [r.records_read for r in results] == [2_000] * 3
        assert [r.records_landed + r.records_unchanged + r.records_superseded for r in results] == [2_000] * 3
        assert not (plain.folder / ".hive").exists()
