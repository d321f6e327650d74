"""A child that takes too much or goes nowhere is killed by its parent; a database that says nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from bees.core import progress
from hive import watch
from hive.errors import HiveError
from hive.flight import work as working
from hive.flight.work import settle
from hive.gateway.app import Gateway
from hive.janitor import expire
from hive.ledger import patience
from hive.ledger.db import Database, DatabaseAway, is_away
from hive.settings import Settings
from hive.watch import Board, Watch
from tests.faults.fleet import Proxy, through, wait
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

GREEDY = "held = bytearray(60 << 20); held[::4096] = b'x' * len(held[::4096]); print('held', flush=True); input()"


@pytest.fixture
def greedy():
    """A child with 60 MB."""
    with subprocess.Popen(
        [sys.executable, "-c", GREEDY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


class TestWatch:
    def test_a_child_above_the_limit_is_killed_and_named_in_the_log(self, greedy):
        board = Board()
        board.tell(greedy.pid, time.monotonic())
        with capture_logs() as said:
            Watch(board, Settings(child_memory=50 << 20)).look(time.monotonic())

        assert greedy.wait(timeout=10) == -signal.SIGKILL
        assert [(line["event"], line["limit"], line["pid"]) for line in said] == [
            ("worker.too_large", 50 << 20, greedy.pid)
        ]
        assert board.told() == {}

    def test_one_below_it_lives(self, greedy):
        board = Board()
        board.tell(greedy.pid, time.monotonic())

        Watch(board, Settings(child_memory=2 << 30)).look(time.monotonic())

        assert greedy.poll() is None

    def test_a_task_that_goes_nowhere_costs_its_process(self, greedy):
        board, killed = Board(), []
        judge = Watch(board, Settings(stall=60), lambda pid, number: killed.append((pid, number)))
        start = time.monotonic()
        board.tell(greedy.pid, start)
        for second in range(61):
            judge.look(start + second)
        assert killed == []

        judge.look(start + 61)

        assert killed == [(greedy.pid, signal.SIGKILL)]

    def test_a_parent_that_slept_gives_its_children_their_time_anew(self, greedy):
        board, killed = Board(), []
        judge = Watch(board, Settings(stall=60), lambda pid, number: killed.append(pid))
        start = time.monotonic()
        board.tell(greedy.pid, start)

        judge.look(start + 3600)
        judge.look(start + 3601)

        assert killed == []

    def test_who_is_no_child_is_not_touched_and_forgotten(self, greedy):
        board, killed = Board(), []
        board.tell(greedy.pid, 0.0)

        Watch(board, Settings(stall=60), lambda pid, number: killed.append(pid), own=1).look(time.monotonic())

        assert (killed, board.told()) == ([], {})

    def test_idle_a_process_gets_on_and_at_work_only_as_its_task_does(self):
        board, rt = Board(), SimpleNamespace(working=set(), moved_at=5.0, steps=progress.steps())

        watch.tell(board, rt)
        idle = board.told()[os.getpid()]
        rt.working.add(1)
        watch.tell(board, rt)

        assert time.monotonic() - idle < 5
        assert board.told()[os.getpid()] == 5.0

    def test_who_works_without_a_parent_watches_itself(self):
        words = (
            "from types import SimpleNamespace as Of; from hive import watch; from hive.settings import Settings;"
            "watch.alone(Of(working={1}, moved_at=0.0, settings=Settings(stall=1)))\nwhile True: pass"
        )
        done = subprocess.run([sys.executable, "-c", words], capture_output=True, check=False, timeout=60)

        assert done.returncode == -signal.SIGKILL
        assert b"worker.stalled" in done.stdout

    def test_the_limit_is_half_of_what_there_is_and_never_tiny(self):
        assert 256 << 20 < watch.machine_memory() <= 64 << 40
        assert Watch(Board(), Settings())._memory >= watch.SMALLEST


@pytest.fixture
def silent(postgres, tmp_path):
    """(a database behind a proxy, the proxy)."""
    proxy = Proxy(postgres.port, tmp_path / "proxy.out")
    db = Database(through(postgres.url(), proxy.port), pool_size=1, answer_limit=1.0)
    yield db, proxy
    db.close()
    proxy.close()


class TestPatience:
    def test_who_waits_for_a_database_that_says_nothing_is_freed(self, silent, monkeypatch):
        monkeypatch.setattr(patience, "LOOK", 0.1)
        db, proxy = silent
        with db.single() as tx:
            assert tx.psycopg.execute("SELECT 1").fetchone() == (1,)
        proxy.tell("vanish")
        began = time.monotonic()

        with pytest.raises(DatabaseAway), db.transaction() as tx:
            tx.psycopg.execute("SELECT 1")

        assert 0.9 < time.monotonic() - began < 5
        proxy.tell()
        with db.transaction() as tx:
            assert tx.psycopg.execute("SELECT 2").fetchone() == (2,)

    def test_it_is_the_same_in_the_middle_of_a_transaction_and_through_sqlalchemy(self, silent, monkeypatch):
        monkeypatch.setattr(patience, "LOOK", 0.1)
        db, proxy = silent
        with pytest.raises(DatabaseAway):
            fall_silent_in_the_middle(db, proxy)
        proxy.tell()
        with db.engine.connect() as connection:
            proxy.tell("vanish")
            with pytest.raises(OperationalError):
                connection.exec_driver_sql("SELECT 1")

    def test_what_may_take_longer_takes_longer(self, silent, monkeypatch):
        monkeypatch.setattr(patience, "LOOK", 0.1)
        db, _ = silent

        with db.transaction(limit=30) as tx:
            assert tx.psycopg.execute("SELECT 3 FROM pg_sleep(2)").fetchone() == (3,)
        with pytest.raises(DatabaseAway), db.transaction() as tx:
            tx.psycopg.execute("SELECT pg_sleep(20)")

    def test_a_client_that_works_by_itself_is_left_alone_and_nothing_is_remembered(self, silent, monkeypatch):
        monkeypatch.setattr(patience, "LOOK", 0.1)
        db, _ = silent
        with db.transaction() as tx:
            tx.psycopg.execute("SELECT 1")
            time.sleep(1.5)
            assert tx.psycopg.execute("SELECT 4").fetchone() == (4,)

        assert db._patience._used == {}

    def test_a_statement_whose_client_is_gone_does_not_go_on(self, silent, postgres, monkeypatch):
        monkeypatch.setattr(patience, "LOOK", 0.1)
        db, _ = silent
        threading.Thread(target=sleep_long, args=(db,), daemon=True).start()

        with psycopg.connect(postgres.url(), autocommit=True) as other:
            asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(77)%%'"
            wait("it runs", lambda: other.execute(asked).fetchone() == (1,), limit=10)
            wait("its end", lambda: other.execute(asked).fetchone() == (0,), limit=20)

    def test_a_full_disk_and_a_replica_are_a_database_that_is_away(self):
        assert is_away(psycopg.errors.DiskFull())
        assert is_away(psycopg.errors.ReadOnlySqlTransaction())
        assert not is_away(psycopg.errors.ConfigurationLimitExceeded())


def fall_silent_in_the_middle(db: Database, proxy: Proxy) -> None:
    with db.transaction() as tx:
        tx.psycopg.execute("SELECT 1")
        proxy.tell("vanish")
        tx.psycopg.execute("SELECT 1")


def sleep_long(db: Database) -> None:
    with pytest.raises(DatabaseAway), db.transaction() as tx:
        tx.psycopg.execute("SELECT pg_sleep(77)")


class TestGateway:
    def test_it_says_that_all_is_well_though_its_old_connections_are_dead(self, postgres, tmp_path):
        proxy = Proxy(postgres.port, tmp_path / "proxy.out")
        url = through(postgres.url(), proxy.port)
        db = Database(url, answer_limit=3.0)  # for the thread that is left waiting
        gateway = Gateway(Settings(database_url=url), db)
        try:
            assert asyncio.run(gateway.readyz(None)).status_code == 200
            proxy.tell("vanish")
            proxy.tell()

            assert asyncio.run(gateway.readyz(None)).status_code == 200
        finally:
            proxy.close()
            db.close()


class TestLogs:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="it takes a disk that is always full")
    def test_a_disk_that_is_full_under_the_log_stops_nobody(self):
        words = (
            "from hive.logs import configure; import structlog; configure();" + 3 * "structlog.get_logger().error('x');"
        )
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-c", words + "print('done')"], stdout=subprocess.PIPE, stderr=full, check=False
            )

        assert done.stdout == b"done\n"


class TestUnsettled:
    """A verdict that can never be written holds up neither its worker nor the other tasks."""

    def test_a_worker_tries_three_times(self, nest, monkeypatch):
        write(nest.register() / "a.jsonl", [{"id": 1}])
        nest.fly()
        task = nest.claim(nest.due()[0])
        tried = []

        def refuse(*_: object, **how: object) -> None:
            tried.append(how)
            raise ValueError("cannot be written")

        monkeypatch.setattr(working, "put_back", refuse)
        left = settle(task, nest.rt, working.judge(HiveError("broken"), attempt=1, max_attempts=5))

        assert (left.open, len(tried)) == (True, working.MOST_UNSETTLED)
        # Its heartbeat gives it back.
        assert nest.one("SELECT state FROM hive.task WHERE id = %s", task.id) == "running"

    def test_a_janitor_takes_the_others_back(self, nest, monkeypatch):
        for name in ("people", "others"):
            write(nest.register(name) / "a.jsonl", [{"id": 1}])
            nest.fly(name)
        tasks = [nest.claim(due) for due in nest.due()]
        nest.bury(nest.rt.owner)
        stubborn = tasks[0].id
        as_it_is = working.put_back

        def refuse(tx, task, *rest, **how):
            if task.id == stubborn:
                tx.psycopg.execute("SELECT 1 / 0")
            return as_it_is(tx, task, *rest, **how)

        monkeypatch.setattr("hive.janitor.put_back", refuse)
        expire(nest.rt)

        assert nest.rows("SELECT id, state FROM hive.task ORDER BY id") == [
            (tasks[0].id, "running"), (tasks[1].id, "queued"),
        ]  # fmt: skip
