"""A worker that takes nothing, though there are messages and its processes are idle, ends; one that hears does not."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import count

import pytest
import redis

from hive.deaf import EXIT_CODE, LIMIT, Ear, messages
from hive.settings import Settings
from hive.watch import PAUSE, Board
from tests.fleet.running import hive_folder, wait_until
from tests.fleet.test_processes import servers

WORKER = """
import time
from celery import signals
from hive import deaf
from hive.celery import app

deaf.LIMIT, deaf.LOOK = 2.0, 0.2

def fall_deaf():
    print("deaf", flush=True)
    time.sleep(1e6)

@signals.worker_ready.connect
def begin(sender, **_):
    sender.hub.call_later(0.5, fall_deaf)

app.worker_main(["worker", "-Q", "bees.file", "-c", "2", "--without-gossip", "--without-mingle"])
"""


class TestEar:
    @staticmethod
    def heard(waiting=lambda: 3, taken=lambda: 7, idle=lambda: [11, 12]):
        """What each look every two seconds gives."""
        ear = Ear(waiting, taken, idle)
        start = time.monotonic()
        return [ear.look(start + 2.0 * n) for n in range(1, 30)]

    def test_messages_idle_processes_and_nothing_taken(self):
        found = self.heard()

        assert not any(found[: int(LIMIT / 2) - 1])
        assert found[-1] == [11, 12]

    def test_it_hears_that_takes_a_message_now_and_then(self):
        numbers = count()
        assert not any(self.heard(taken=lambda: next(numbers) // 8))

    def test_it_hears_while_there_is_nothing_to_take(self):
        assert not any(self.heard(waiting=lambda: 0))

    def test_it_hears_while_one_process_works(self):
        assert not any(self.heard(idle=list))

    def test_one_that_was_stopped_itself_is_given_its_time_anew(self):
        ear = Ear(lambda: 3, lambda: 7, lambda: [11])
        now = time.monotonic()
        for _ in range(5):
            now += LIMIT
            assert ear.look(now) == []


def test_processes_are_idle_that_all_say_so_just_now():
    board, now = Board(), time.monotonic()
    assert board.idle(now) == []
    board.tell(11, now, works=False)
    board.tell(12, now, works=False)
    assert sorted(board.idle(now)) == [11, 12]
    assert board.idle(now + PAUSE + 1) == []  # stopped, perhaps: nobody knows what they have in hand
    board.tell(12, now, works=True)
    assert board.idle(now) == []


def test_of_a_broker_that_is_away_nothing_waits():
    assert messages(Settings(redis_url="redis://127.0.0.1:1/0"), lambda: ["bees.file"])() == 0


@pytest.mark.fleet
@pytest.mark.servers
def test_a_deaf_worker_ends_with_its_processes(postgres, valkey, migrated_template):
    with hive_folder(**servers(postgres, valkey, migrated_template)) as hive:
        program = hive.folder / "worker.py"
        program.write_text(WORKER)
        argv = [sys.executable, str(program)]
        with (
            redis.Redis.from_url(hive.environment["HIVE_REDIS_URL"]) as broker,
            subprocess.Popen(argv, env=hive.environment, cwd=hive.folder, stdout=subprocess.PIPE) as worker,
        ):
            assert worker.stdout is not None
            wait_until(lambda: worker.stdout.readline() == b"deaf\n", "the worker's start")
            broker.lpush("bees.file", *["for nobody"] * 3)  # one of them is handed to whoever waited last
            code = worker.wait(timeout=60)
        left = hive.left_behind()

    assert code == EXIT_CODE
    assert left == []
