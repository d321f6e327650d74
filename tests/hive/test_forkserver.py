"""The fork server: parts that are forked are like parts that are executed, and end as these do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from hive.child import Child, Command, Ends
from hive.embedded import process
from hive.starter import Executed, Forked, ForkServer

ROOT = Path(__file__).parents[2]
AWAY = {
    "HIVE_DATABASE_URL": "postgresql://user:made-up@127.0.0.1:1/none",
    "HIVE_REDIS_URL": "redis://127.0.0.1:1/0",
}


COMMAND = ("worker", "--queues", "bees.directory,nectar.embed", "-c", "1")


def until(condition, limit=30.0):
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@contextmanager
def serving(folder, **environment):
    server = ForkServer({**os.environ, **environment}, folder / "forkserver.log")
    server.start()
    try:
        until(lambda: not server.is_loading())
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as server:
        yield server


def fork(server, folder, *arguments, **environment):
    with process.open_log(folder / "part.log") as log:
        part = server.fork(arguments, {**os.environ, "HIVE_DATA_DIR": str(folder), **AWAY, **environment}, log)
    assert part is not None
    return part


def test_a_command_runs_in_a_fork_and_its_code_comes_back(server, tmp_path):
    good, bad = fork(server, tmp_path, "--version"), fork(server, tmp_path, "nonsense")
    until(good.exited)
    until(bad.exited)
    assert (good.code, bad.code) == (0, 2)
    said = (tmp_path / "part.log").read_text()
    assert "nonsense" in said
    assert any(line[:1].isdigit() for line in said.splitlines())


def test_a_fork_is_listed_with_its_arguments_and_has_a_session_and_variables_of_its_own(server, tmp_path):
    part = fork(server, tmp_path, *COMMAND)
    told = psutil.Process(part.pid)
    until(lambda: told.cmdline() == [sys.executable, "-m", "hive", *COMMAND])
    assert told.parent().cmdline() == [sys.executable, "-m", "hive", "forkserver"]
    assert os.getsid(part.pid) == part.pid
    part.signal(signal.SIGKILL)
    until(part.exited)
    assert part.code == -signal.SIGKILL

    shows = fork(server, tmp_path, "status", HIVE_DATA_DIR=str(tmp_path / "elsewhere"), HIVE_DATABASE_URL="nonsense")
    until(shows.exited)
    assert shows.code != 0


def test_forks_end_when_their_server_is_killed_and_another_one_is_started(server, tmp_path):
    part = fork(server, tmp_path, "beat")
    told = psutil.Process(part.pid)
    until(lambda: told.cmdline() == [sys.executable, "-m", "hive", "beat"])
    os.kill(told.ppid(), signal.SIGKILL)
    until(part.exited)
    until(lambda: (server.tend(), server.listens())[1])
    until(lambda: not server.is_loading())
    again = fork(server, tmp_path, "--version")
    until(again.exited)
    assert again.code == 0


def test_code_that_changed_is_not_forked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = tmp_path / "code"
    for package in ("hive", "bees", "nectar"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    with serving(tmp_path, PYTHONPATH=str(code), PYTHONDONTWRITEBYTECODE="1") as server:
        until(fork(server, tmp_path, "--version").exited)
        os.utime(code / "hive" / "runtime.py")
        with process.open_log(tmp_path / "part.log") as log:
            assert server.fork(["--version"], os.environ, log) is None
            assert server.fork(["--version"], os.environ, log) is None
        assert server.listens()
        assert not server.is_loading()


def test_a_child_is_forked_while_there_is_a_server_and_executed_otherwise(server, tmp_path):
    argv = [sys.executable, "-m", "hive", "--version"]
    child = Child(Command("one", ("--version",), Ends.FIRST), argv, os.environ, tmp_path / "one.log", server)
    child.start(0.0)
    assert isinstance(child._process, Forked)
    until(child.ended)
    server.stop()
    child.start(0.0)
    assert isinstance(child._process, Executed)
    until(child.ended)
    assert len((tmp_path / "one.log").read_text().splitlines()) == 2


def test_nothing_is_preloaded_that_reads_settings_or_connects():
    code = (
        "import importlib, sys, os; from hive.forkserver import PRELOADED\n"
        "for module in PRELOADED: importlib.import_module(module)\n"
        "from hive.settings import settings; import threading\n"
        "assert settings.cache_info().currsize == 0 and threading.active_count() == 1\n"
        "heavy = {'hive.celery', 'polars', 'presidio_analyzer', 'nectar.scrub.find.prefilter', 'hyperscan'}\n"
        "assert not heavy.intersection(sys.modules), heavy.intersection(sys.modules)\n"
        "import socket; fds = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')[3:-1]]\n"
        "assert not [fd for fd in fds if fd.startswith('socket')], fds\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


ORPHAN = """
import signal, time
from hive.embedded import process
signal.signal(signal.SIGTERM, signal.SIG_IGN)
process.end_with_parent(0.5)
print("up", flush=True)
time.sleep(60)
"""
PARENT = (
    "import subprocess, sys, time\n"
    f"part = subprocess.Popen([sys.executable, '-c', {ORPHAN!r}], start_new_session=True)\n"
    "print(part.pid, flush=True)\ntime.sleep(60)\n"
)


def test_a_part_that_hangs_is_killed_after_its_hive():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        told = sorted(parent.stdout.readline().strip() for _ in range(2))
        part = psutil.Process(int(told[0]))
        assert told[1] == "up"
        parent.kill()
    until(lambda: not part.is_running() or part.status() == psutil.STATUS_ZOMBIE)


def test_a_fork_server_that_the_machine_refuses_is_tried_again(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    with serving(folder) as server:
        killed = server._process
        shutil.rmtree(folder)
        folder.write_text("in its place")
        killed.kill()
        with capture_logs() as said:
            until(lambda: server.tend() or "process does not start" in [line["event"] for line in said])
        assert not server.is_loading()

        folder.unlink()
        folder.mkdir()
        until(lambda: server.tend() or server.is_loading())
        until(lambda: not server.is_loading())
        assert server._loaded
