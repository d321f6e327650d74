"""A task that computes without an end costs its process seconds, is named as what it is, and is not tried for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bees.core import progress
from hive import watch
from hive.janitor import Janitor, expire
from hive.registry import connector
from hive.settings import Settings
from hive.spinning import Counts, Spinning, counts_of
from hive.watch import Board, Watch
from hive.worker import name_of
from tests.faults.fleet import wait
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

LOOP = "while True: pass"
IN_C = "import re; re.match(r'(a+)+$', 'a' * 64 + 'b')"
READING = "f = open('/dev/zero', 'rb')\nwhile True: f.read(64)"
GATHERING = "held = []\nwhile len(held) < 2_000_000: held.append(str(len(held)))\nimport time; time.sleep(60)"
ASLEEP = "import time; time.sleep(60)"


TELLING = """
import os, sys, threading, time
board = os.open(sys.argv[1], os.O_WRONLY)
def tell():
    while True:
        os.pwrite(board, b"%032.6f" % time.monotonic(), 0)
        time.sleep(0.1)
threading.Thread(target=tell, daemon=True).start()
time.sleep(0.3)
"""


class Child:
    """A process that does one thing, beside a thread that tells so as a worker's child does."""

    def __init__(self, does: str, told: Path) -> None:
        told.write_text("0")
        self.process = subprocess.Popen([sys.executable, "-c", TELLING + does, str(told)])
        self.pid, self._told = self.process.pid, told

    def tell(self, board: Board, at: float) -> None:
        """What its thread said last, on the board."""
        if told := float(self._told.read_text()):
            board.tell(self.pid, at, told=told, task=7)

    def cpu(self) -> float:
        found = counts_of(self.pid, 0.0, 0)
        return found.cpu if found else 0.0


@pytest.fixture
def child(tmp_path):
    made: list[Child] = []

    def make(does: str) -> Child:
        made.append(Child(does, tmp_path / "told"))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.wait()


def watched(one: Child, chosen: Settings, limit: float, until: float) -> tuple[list[dict[str, object]], list[str]]:
    """(what was logged, codes noted) until it is killed, has computed for `until` seconds, or the time is over."""
    board, notes = Board(), list[str]()
    judge = Watch(board, chosen, note=lambda _pid, _task, cause: notes.append(cause["message"]))
    began = time.monotonic()
    with capture_logs() as said:
        while one.process.poll() is None and one.cpu() < until and time.monotonic() - began < limit:
            one.tell(board, began)
            judge.look(time.monotonic())
            time.sleep(0.05)
    return said, notes


class TestRealProcesses:
    def test_a_loop_in_python_is_found_by_the_processor_time_that_it_takes(self, child):
        one = child(LOOP)

        said, notes = watched(one, Settings(spin=0.5), limit=60, until=30)

        assert one.process.wait(timeout=10) == -signal.SIGKILL
        assert [(line["why"], line["setting"]) for line in said] == [("spinning", "HIVE_SPIN")]
        assert notes == [watch.spinning(0.5)["message"]]

    def test_a_search_in_c_that_lets_nobody_else_run_is_found_before_its_lease_ends(self, child):
        one = child(IN_C)

        said, _ = watched(one, Settings(lease=2, heartbeat=1, spin=1000), limit=60, until=30)

        assert one.process.wait(timeout=10) == -signal.SIGKILL
        assert [(line["why"], line["setting"]) for line in said] == [("holding", "HIVE_LEASE")]

    @pytest.mark.parametrize("does", [READING, GATHERING, ASLEEP])
    def test_who_reads_gathers_or_waits_is_left_alone(self, child, does):
        one = child(does)

        said, _ = watched(one, Settings(spin=0.3, lease=120), limit=2, until=1)

        assert (one.process.poll(), said) == (None, [])

    def test_who_goes_on_in_a_listing_is_left_alone(self, child):
        """It computes, and the kernel counts nothing that came of it."""
        one, board, began, steps = child(LOOP), Board(), time.monotonic(), 0
        judge = Watch(board, Settings(spin=0.3))
        while one.cpu() < 1 and time.monotonic() - began < 60:
            steps += 1
            board.tell(one.pid, began, told=time.monotonic(), task=7, steps=steps)
            judge.look(time.monotonic())
            time.sleep(0.05)

        assert one.process.poll() is None

    def test_a_task_that_stalled_here_has_half_the_time(self, child):
        board = Board()
        judge = Watch(board, Settings(spin=0.5), kill=lambda *_: None)
        one = child(LOOP)
        began = time.monotonic()
        with capture_logs() as said:
            while len(said) < 2 and time.monotonic() - began < 60:
                one.tell(board, began)
                judge.look(time.monotonic())
                time.sleep(0.05)
        limits = [line["limit"] for line in said]

        assert limits == [0.5, 0.25]

    def test_one_that_is_silent_for_long_is_ended_whatever_it_does(self, child):
        one = child(ASLEEP)
        board, killed = Board(), []
        start = time.monotonic()
        judge = Watch(board, Settings(stall=9000), lambda pid, _: killed.append(pid))
        board.tell(one.pid, start, told=start)
        for second in range(int(watch.SILENT) + 1):
            judge.look(start + second)
        assert killed == []

        judge.look(start + watch.SILENT + 1)

        assert killed == [one.pid]


START = Counts(at=100.0, cpu=5.0, ready=6.0, passed=1000, memory=50 << 20)


def looked(*nows: Counts, got_on: tuple[float, ...] = ()) -> float:
    seen = Spinning()
    seen.look(START, 1.0, 1.0)
    for n, now in enumerate(nows):
        seen.look(now, got_on[n] if got_on else 1.0, 1.0)
    return seen.spent


def later(seconds: float, computed: float, ready: float | None = None, **more: int) -> Counts:
    ready = computed if ready is None else ready
    return replace(START, at=START.at + seconds, cpu=START.cpu + computed, ready=START.ready + ready, **more)


def test_an_answer_counts_as_getting_on(nest):
    board = Board()
    nest.rt.working.add(7)
    nest.rt.moved()
    watch.tell(board, nest.rt)
    before = nest.rt.moved_at

    watch.tell(board, nest.rt)
    assert nest.rt.moved_at == before
    progress.step()
    watch.tell(board, nest.rt)
    assert nest.rt.moved_at > before


def test_a_bee_that_gives_no_batch_says_that_it_gets_on(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text("a text")
    bee = connector("local").from_options({"path": str(tmp_path)})
    first = list(bee.collect_nectar("documents", None))
    before = progress.steps()

    again = list(bee.collect_nectar("documents", first[-1].cursor))

    assert sum(batch.table.num_rows for batch in again) == 0
    assert progress.steps() - before >= 30


class TestWhatCounts:
    def test_computing_does(self):
        assert looked(later(1, 0.9), later(2, 1.9)) == pytest.approx(1.9)

    def test_on_a_busy_machine_only_what_it_had_of_a_processor(self):
        assert looked(later(1, 0.1, ready=1.0), later(2, 0.2, ready=2.0)) == pytest.approx(0.2)

    def test_a_byte_that_passed_begins_it_anew(self):
        assert looked(later(1, 1.0), later(2, 2.0, passed=1001)) == 0.0

    def test_waiting_for_somebody_begins_it_anew(self):
        assert looked(later(1, 1.0), later(2, 1.3)) == 0.0

    def test_so_does_a_batch(self):
        assert looked(later(1, 1.0), later(2, 2.0), got_on=(1.0, 1.5)) == 0.0

    def test_who_gathers_has_more_time_and_not_any_time(self):
        assert looked(later(1, 1.0, memory=99 << 20), later(2, 2.0, memory=199 << 20)) == pytest.approx(0.5)

    def test_a_moment_shared_with_other_threads_neither_counts_nor_ends_it(self):
        assert looked(later(1, 1.0), later(2, 1.7)) == pytest.approx(1.0)

    def test_nothing_is_known_of_a_process_that_is_gone(self):
        with subprocess.Popen(["true"]) as gone:
            gone.wait()
        assert counts_of(gone.pid, 0.0, 0) is None


class TestCause:
    """What the parent notes down before it kills a child."""

    def stalls(self, nest, cause):
        """The one task is claimed, its worker found stalled, killed and buried."""
        wait("it is due", nest.due, limit=30)
        rt = nest.runtime(name_of(os.getpid()))
        nest.claim(nest.due()[0], rt)
        watch.note(nest.rt.settings, os.getpid(), 0, cause)
        nest.bury(rt.owner)
        assert expire(nest.rt) == 1
        return nest.rows(
            "SELECT state, attempt, crashes, last_error ->> 'code', last_error ->> 'stalls' FROM hive.task"
        )

    def test_a_task_that_stalls_twice_in_a_row_is_not_tried_again(self, nest):
        nest.register()
        flight = nest.fly()

        assert self.stalls(nest, watch.spinning(15)) == [("queued", 1, 1, "worker_stalled", "1")]
        assert self.stalls(nest, watch.holding(8)) == [("dead", 2, 1, "worker_stalled", "2")]

        Janitor(nest.rt).tick()
        told = nest.hive.flight(flight)
        assert told.state == "failed"
        assert "no other thread" in str(told.error)

    def test_one_that_took_too_much_memory_has_all_its_tries(self, nest):
        nest.register()
        nest.fly()

        assert self.stalls(nest, watch.stalled(900))[0][0] == "queued"
        assert self.stalls(nest, watch.too_large(1 << 30)) == [("queued", 2, 2, "worker_too_large", None)]
        assert self.stalls(nest, watch.stalled(900)) == [("queued", 3, 3, "worker_stalled", "1")]

    def test_the_cause_of_an_earlier_run_is_not_that_of_a_later_one(self, nest):
        nest.register()
        nest.fly()
        assert self.stalls(nest, watch.stalled(900))[0][3] == "worker_stalled"
        wait("it is due", nest.due, limit=30)
        nest.claim(nest.due()[0], nest.runtime("other:1:1"))
        nest.bury("other:1:1")

        expire(nest.rt)

        assert nest.rows("SELECT state, crashes, last_error ->> 'code' FROM hive.task") == [
            ("queued", 2, "worker_lost")
        ]

    def test_a_stall_counts_also_where_the_janitor_was_faster(self, nest):
        """Its lease ended before its parent came to say why: the task is queued again, or in another's hands."""
        nest.register()
        nest.fly()
        for n in range(2):
            wait("it is due", nest.due, limit=30)
            task = nest.claim(nest.due()[0], nest.runtime(f"late:{n}:1"))
            nest.bury(f"late:{n}:1")
            expire(nest.rt)
            if n == 0:
                watch.note(nest.rt.settings, os.getpid(), task.id, watch.holding(8))
                assert nest.one("SELECT last_error ->> 'stalls' FROM hive.task") == "1"
        assert nest.rows("SELECT state, last_error ->> 'stalls' FROM hive.task") == [("queued", "1")]

        wait("it is due", nest.due, limit=30)
        nest.claim(nest.due()[0], nest.runtime("other:1:1"))
        watch.note(nest.rt.settings, os.getpid(), task.id, watch.holding(8))
        nest.bury("other:1:1")
        expire(nest.rt)

        assert nest.rows("SELECT state, last_error ->> 'code' FROM hive.task") == [("dead", "worker_lost")]

    def test_a_batch_whose_scrubbing_stalls_is_halved_until_one_record_is_left(self, nest):
        write(nest.register() / "a.jsonl", [{"id": n} for n in range(2)])
        nest.fly()
        nest.drain(kinds=["plan", "collect"])
        owner = name_of(os.getpid())
        for _ in range(2):
            wait("it is due", nest.due, limit=30)
            nest.claim(nest.due()[0], nest.runtime(owner))
            watch.note(nest.rt.settings, os.getpid(), 0, watch.spinning(15))
            nest.bury(owner)
            expire(nest.rt)
        nest.drain()

        assert nest.rows("SELECT state, records_landed FROM hive.flight") == [("complete", 2)]

    def test_a_ledger_that_is_away_keeps_nobody_alive(self):
        gone = Settings(database_url="postgresql://nobody@127.0.0.1:1/none")
        with capture_logs() as said:
            watch.note(gone, os.getpid(), 0, watch.stalled(900))

        assert [line["event"] for line in said] == ["worker.cause_not_noted"]
