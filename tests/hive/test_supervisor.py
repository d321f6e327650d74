"""The supervisor with stand-ins for the processes of the hive: what starts, what is restarted, what ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from hive.child import Child, Command, Ends
from hive.embedded import places
from hive.running import only_one
from hive.settings import Settings
from hive.supervisor import QUEUES, AlreadyRunning, PortInUse, StartFailed, Supervisor, detach, down
from tests.processes import left_behind
from tests.servers import short_folder

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]

# Notes what happens to it in the events file. `beat` may be told to die at its start, `worker` to ignore SIGTERM.
STAND_IN = """
import os, pathlib, signal, socket, subprocess, sys
name = sys.argv[1] if sys.argv[1] != "worker" else "worker-" + sys.argv[3]
folder = pathlib.Path(os.environ["HIVE_DATA_DIR"])
def note(what):
    with (folder / "events").open("a") as events:
        events.write(f"{what} {name} {os.getpid()}\\n")
def end(*_):
    if name + " is stubborn" in os.environ.get("STAND_IN", ""):
        return
    note("ended")
    sys.exit(0)
if name + " fails" in os.environ.get("STAND_IN", ""):
    sys.exit("cannot find its way")
signal.signal(signal.SIGTERM, end)
if name == "gateway":
    listener = socket.create_server(("127.0.0.1", int(os.environ["HIVE_GATEWAY_PORT"])))
if name == "worker-nectar":
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "pool of " + str(folder)])
note("started")
pathlib.Path(os.environ["HIVE_READY_FILE"]).touch()
while True:
    signal.pause()
"""

DRIVER = f"""
import sys
from hive.settings import Settings
from hive.supervisor import Supervisor
command = lambda arguments: [sys.executable, "-c", {STAND_IN!r}, *arguments]
hive = Supervisor(Settings(), command=command, prepare=lambda url: ["bees.file"])
hive.run(on_ready=lambda state: print("ready", flush=True))
"""

NO_SERVERS = {
    "HIVE_DATABASE_URL": "postgresql://user:made-up@127.0.0.1:1/none",
    "HIVE_REDIS_URL": "redis://127.0.0.1:1/0",
}


class Hive:
    """A hive of stand-ins on a folder of its own, run by another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder)
        self.process: subprocess.Popen[str] | None = None

    def environment(self, **extra: str) -> dict[str, str]:
        ports = {"HIVE_GATEWAY_PORT": "0", "HIVE_FLOWER_PORT": "0"}
        return {**os.environ, **ports, "HIVE_DATA_DIR": str(self.folder), **extra}

    def up(self, driver: str = DRIVER, **extra: str) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", driver],
            cwd=ROOT,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.process

    def up_and_ready(self, **extra: str) -> subprocess.Popen[str]:
        process = self.up(**{**NO_SERVERS, **extra})
        wait_until(lambda: self.settings.running().get("ready") or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]
        return process

    def end(self, signum: int = signal.SIGINT) -> str:
        self.process.send_signal(signum)
        return self.process.communicate(timeout=30)[0]

    def noted(self) -> list[list[str]]:
        path = self.folder / "events"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, what: str) -> list[str]:
        return [name for noted, name, _pid in self.noted() if noted == what]

    def pids(self, name: str) -> list[int]:
        return [int(pid) for *what, pid in self.noted() if what == ["started", name]]

    @staticmethod
    def arguments(process: psutil.Process) -> str:
        """Its command line; empty for one that ended meanwhile."""
        try:
            return " ".join(process.cmdline())
        except psutil.Error:
            return ""

    def left_behind(self) -> list[psutil.Process]:
        """Every process that belongs to this folder, by its arguments, its working folder or its environment."""
        return left_behind(self.folder)


def wait_until(condition, limit: float = 30.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def hive():
    with short_folder() as folder:
        made = Hive(folder)
        yield made
        if made.process is not None:
            made.process.kill()
            made.process.wait()
            made.process.stdout.close()
        for process in made.left_behind():
            process.kill()


def test_a_hive_on_embedded_servers_comes_up_says_where_it_is_and_leaves_nothing(hive):
    process = hive.up()
    assert process.stdout.readline() == "ready\n"

    state = hive.settings.running()
    assert state["pid"] == process.pid
    assert hive.settings.database().startswith("postgresql://hive:")
    assert hive.settings.redis().startswith("redis://:")
    assert state["gateway"].startswith("http://127.0.0.1:")
    assert state["flower_login"]["password"]
    assert stat.S_IMODE(hive.settings.state_path.stat().st_mode) == 0o600

    hive.end()

    assert process.returncode == 0
    assert hive.left_behind() == []
    assert not hive.settings.state_path.exists()


def test_every_queue_has_a_pool_and_those_with_a_bee_are_there_first(hive):
    hive.up_and_ready()
    first = {"gateway", "beat", "worker-bees.file", "worker-nectar"}
    wait_until(lambda: len(hive.events("started")) == len(QUEUES) + 3)

    assert set(hive.events("started")[:4]) == first
    assert Counter(hive.events("started")) == Counter(["gateway", "beat", "flower", *(f"worker-{q}" for q in QUEUES)])


def test_the_schedule_ends_first_and_the_views_last(hive):
    hive.up_and_ready()
    wait_until(lambda: "flower" in hive.events("started"))

    hive.end()
    ended = hive.events("ended")
    assert set(ended[-2:]) == {"gateway", "flower"}
    assert set(ended[:-2]) == {"beat", *(f"worker-{q}" for q in QUEUES)}
    assert hive.left_behind() == []


def test_a_process_that_dies_is_started_again_without_its_pool(hive):
    hive.up_and_ready()
    wait_until(lambda: hive.pids("worker-nectar"))
    first = hive.pids("worker-nectar")[0]
    pool = psutil.Process(first).children()

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: len(hive.pids("worker-nectar")) == 2)
    assert pool
    assert not [process for process in pool if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert "worker-nectar" in hive.end()


def test_an_embedded_server_that_dies_is_started_again_where_it_was(hive):
    process = hive.up()
    assert process.stdout.readline() == "ready\n"
    before = hive.settings.redis()
    server = next(p for p in hive.left_behind() if p.name() == "valkey-server")
    server.kill()
    wait_until(lambda: any(p.name() == "valkey-server" and p != server for p in hive.left_behind()))
    port = int(before.rsplit(":", 1)[1].split("/")[0])
    wait_until(lambda: not places.port_is_free(port))

    assert hive.settings.redis() == before
    hive.end()
    assert hive.left_behind() == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_way_to_ask_for_the_end_leaves_nothing(hive, signum):
    process = hive.up_and_ready()

    hive.end(signum)

    assert process.returncode == 0
    assert hive.left_behind() == []
    assert not hive.settings.state_path.exists()


@pytest.mark.parametrize(
    "moment",
    [
        "hive.lock",
        "postgres.lock",
        "postgres-*/init/data/base",
        "postgres/postmaster.pid",
        "valkey/valkey.conf",
        "hive.json",
        "events",
    ],
)
def test_ctrl_c_in_the_middle_of_starting_leaves_nothing(hive, moment):
    process = hive.up()
    wait_until(lambda: list(hive.folder.glob(moment)) or process.poll() is not None)

    hive.end()

    assert process.returncode == 0
    assert hive.left_behind() == []
    assert not hive.settings.state_path.exists()
    assert not list(hive.folder.glob("postgres-*"))


def test_an_end_in_the_middle_of_loading_code_waits_for_it(hive):
    slow = (
        "import pathlib, os, time, hive.supervisor\n"
        "def load():\n"
        "    time.sleep(1)\n"
        "    (pathlib.Path(os.environ['HIVE_DATA_DIR']) / 'loaded').touch()\n"
        "hive.supervisor._load_code = load\n"
    )
    process = hive.up(driver=slow + DRIVER)
    wait_until(lambda: (hive.folder / "hive.lock").exists() or process.poll() is not None)

    hive.end()

    assert process.returncode == 0
    assert (hive.folder / "loaded").exists()
    assert hive.left_behind() == []


def test_a_process_that_does_not_listen_is_killed_after_its_grace(hive):
    hive.up_and_ready(STAND_IN="worker-nectar is stubborn")
    wait_until(lambda: hive.pids("worker-nectar"))
    began = time.monotonic()
    hive.end()

    assert time.monotonic() - began < 15
    assert hive.left_behind() == []


def test_a_second_ctrl_c_ends_at_once(hive):
    process = hive.up_and_ready(STAND_IN="worker-nectar is stubborn")
    wait_until(lambda: hive.pids("worker-nectar"))
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "beat" in hive.events("ended"))
    began = time.monotonic()
    while process.poll() is None:  # one that follows too closely counts as the same wish
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)

    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - began < 3
    wait_until(lambda: hive.left_behind() == [], limit=2)
    assert not hive.settings.state_path.exists()


def test_when_the_supervisor_is_killed_everything_else_ends_too(hive):
    process = hive.up()
    assert process.stdout.readline() == "ready\n"

    process.kill()
    process.wait()

    # A worker of Celery ends its own pool; the stand-in's is not asked to.
    wait_until(lambda: all("pool of" in (hive.arguments(p) or "pool of nothing") for p in hive.left_behind()))
    assert not down(hive.settings)
    assert not hive.settings.state_path.exists()


def test_a_second_hive_on_the_folder_is_refused_by_name(hive):
    process = hive.up_and_ready()

    with pytest.raises(AlreadyRunning, match="hive down") as refused:
        Supervisor(hive.settings).run()

    assert str(hive.folder) in str(refused.value)
    assert str(process.pid) in str(refused.value)
    assert hive.settings.running()["pid"] == process.pid


def test_down_ends_the_hive_and_says_whether_there_was_one(hive):
    process = hive.up_and_ready()

    assert down(hive.settings)
    assert process.wait(timeout=5) == 0
    assert hive.left_behind() == []
    assert not down(hive.settings)
    assert not down(Settings(data_dir=hive.folder / "never-made"))


def test_a_port_in_use_is_named_with_its_setting(hive):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        settings = Settings(data_dir=hive.folder, gateway_port=port)

        with pytest.raises(PortInUse, match=f"{port}.*HIVE_GATEWAY_PORT"):
            Supervisor(settings).run()

    assert hive.left_behind() == []


def test_a_process_that_cannot_start_makes_the_start_fail_with_its_words(hive):
    process = hive.up(**NO_SERVERS, STAND_IN="beat fails")

    said = process.communicate(timeout=30)[0]

    assert process.returncode == 1
    assert "beat does not start" in said
    assert "cannot find its way" in said
    assert "made-up" not in said
    assert hive.left_behind() == []
    assert not hive.settings.state_path.exists()


def test_no_password_is_in_an_argument_of_any_process(hive):
    process = hive.up()
    assert process.stdout.readline() == "ready\n"
    state = hive.settings.running()
    secrets = [state[name].split("@")[0].rsplit(":", 1)[1] for name in ("database_url", "redis_url")]

    arguments = " ".join(word for found in hive.left_behind() for word in found.cmdline())

    assert not [secret for secret in [*secrets, state["flower_login"]["password"]] if secret in arguments]
    hive.end()


def test_detach_comes_back_when_the_hive_is_ready(hive, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name, value in hive.environment(**NO_SERVERS).items():
        monkeypatch.setenv(name, value)

    state = detach(hive.settings, [sys.executable, "-c", DRIVER])

    assert state["ready"]
    assert os.getsid(state["pid"]) == state["pid"]
    assert down(hive.settings)
    os.waitpid(state["pid"], 0)
    assert hive.left_behind() == []


def test_detach_names_the_reason_and_no_warning_before_it(hive):
    words = "raise SystemExit('hive: warning: records land as they are\\nhive: the port is taken')"
    with pytest.raises(StartFailed, match=r"^the hive did not start: the port is taken$"):
        detach(hive.settings, [sys.executable, "-c", words])


def test_detach_shows_the_last_words_of_a_hive_that_does_not_start(hive):
    with pytest.raises(StartFailed, match="no honey today"):
        detach(hive.settings, [sys.executable, "-c", "raise SystemExit('no honey today')"])

    assert hive.left_behind() == []


def test_the_state_file_of_a_killed_hive_is_removed_by_the_next(hive):
    hive.settings.state_path.write_text(json.dumps({"pid": 1, "ready": True}))

    with only_one(hive.settings):
        assert hive.settings.running() == {}


def test_a_long_log_is_set_aside_at_the_start(hive):
    log = hive.folder / "beat.log"
    log.write_bytes(b"x" * (11 << 20))
    child = Child(Command("beat", (), Ends.FIRST), [sys.executable, "-c", "print('new')"], os.environ, log)

    child.start(now=0.0)
    wait_until(child.ended)

    assert log.read_text() == "new\n"
    assert (hive.folder / "beat.log.1").stat().st_size == 11 << 20


def test_the_wait_before_a_restart_doubles_up_to_five_seconds(hive):
    child = Child(Command("beat", (), Ends.FIRST), [sys.executable, "-c", ""], os.environ, hive.folder / "beat.log")
    now = 0.0
    waits = []
    child.start(now)
    for _death in range(7):
        wait_until(child.ended)
        child.tend(now)
        began = now
        while child.pid is None:
            now = round(now + 0.1, 1)
            child.tend(now)
        waits.append(round(now - began, 1))
    wait_until(child.ended)

    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], abs=0.15)


def test_a_restart_that_the_machine_refuses_is_tried_again(hive):
    """No process, no descriptor and no room on the disk are passing troubles: here its log's folder is gone."""
    folder = hive.folder / "logs"
    folder.mkdir()
    child = Child(Command("beat", (), Ends.FIRST), [sys.executable, "-c", ""], os.environ, folder / "beat.log")
    child.start(0.0)
    wait_until(child.ended)
    shutil.rmtree(folder)
    folder.write_text("in its place")
    child.tend(0.0)
    with capture_logs() as said:
        child.tend(1.0)

    assert [(line["event"], line["process"]) for line in said] == [("process does not start", "beat")]
    assert (child.pid, child.deaths) == (None, 2)

    folder.unlink()
    folder.mkdir()
    child.tend(1.1)
    assert child.pid is None
    child.tend(1.5)
    assert child.pid is not None
    wait_until(child.ended)
