"""Flights that are stopped, and flights that are tried again: nothing that was read is lost, nothing lands twice."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid

import pytest

import bees.local
import hive.flight.cancel
from bees.core.errors import GiveUp, RetryLater
from hive.flight import process
from hive.flight.again import NothingToRetry
from hive.flight.cancel import FlightClosed, stop
from hive.flight.create import create_flight
from hive.janitor import Janitor
from hive.ledger.hints import SCHEDULED
from hive.manager import UnknownFlight
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest, rows_of, write

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

PEOPLE = [{"id": number, "name": f"person {number}"} for number in range(1, 7)]


@pytest.fixture
def slow(make_nest):
    """One record a batch, and one batch a leg."""
    nest = make_nest(batch_rows=1, leg=0)
    nest.file = write(nest.register(limits={"concurrency": 1}) / "a.jsonl", PEOPLE)
    return nest


@pytest.fixture
def quick(make_nest):
    """One record a batch, and all of them in one leg."""
    nest = make_nest(batch_rows=1)
    nest.file = write(nest.register(limits={"concurrency": 1}) / "a.jsonl", PEOPLE)
    return nest


def begin(nest, legs: int = 2) -> str:
    """A flight of which so many legs were flown, and nothing has landed."""
    flight = nest.fly()
    for _ in range(legs):
        nest.work(next(task for task in nest.due() if task[2] != "process"))
    return flight


def during(nest, act) -> None:
    """Let `act` happen once, right after the first seal of the next leg."""
    waiting = [act]

    def send(hints):
        nest.sent.extend(hints)
        if waiting and [hint.kind for hint in hints] == ["process"]:
            waiting.pop()()

    nest.rt.send = send


def wait_for_a_lock(nest) -> None:
    """Until some other connection waits for a row of ours."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ends = time.monotonic() + 30
    with nest.runtime("watcher:1:1").db.single() as tx:
        while tx.psycopg.execute(waits).fetchone() == (0,):
            assert time.monotonic() < ends
            time.sleep(0.01)


def assert_whole(nest) -> None:
    """Nothing is held any more, and no batch is missing below the watermark."""
    assert nest.one("SELECT count(*) FROM hive.lease WHERE task IS NOT NULL") == 0
    assert nest.one("SELECT count(*) FROM hive.source_slot WHERE task IS NOT NULL") == 0
    assert nest.one("SELECT count(*) FROM hive.task WHERE state IN ('queued', 'running')") == 0
    assert nest.one("SELECT count(*) FROM hive.payload") == 0
    assert nest.rows("SELECT 1 FROM hive.checkpoint WHERE landed_seq <> sealed_seq") == []


class TestCancel:
    def test_a_flight_that_has_not_begun_is_cancelled_at_once(self, quick):
        flight = quick.fly()

        stopped = quick.hive.cancel(flight)

        result = quick.hive.flight(flight)
        assert (stopped.tasks, stopped.landing) == (1, 0)
        assert (result.state, result.error["code"], result.records_read) == ("cancelled", "cancelled", 0)
        quick.drain()
        assert quick.jar() == {}
        assert quick.land().records_landed == len(PEOPLE)

    def test_what_is_sealed_lands_and_the_next_flight_reads_the_rest(self, slow):
        flight = begin(slow, legs=2)

        stopped = slow.hive.cancel(flight)

        between = slow.hive.flight(flight)
        assert (stopped.tasks, stopped.landing) == (1, 2)
        assert (between.state, between.error["code"], slow.jar()) == ("running", "cancelled", {})
        slow.drain()
        result = slow.hive.flight(flight)
        assert (result.state, result.records_read, result.records_landed) == ("cancelled", 2, 2)
        assert_whole(slow)
        assert slow.land().records_landed == len(PEOPLE) - 2
        assert slow.jar() == rows_of(slow.file)
        assert_whole(slow)

    def test_a_leg_in_the_air_is_refused_at_its_next_seal(self, quick):
        flight = quick.fly()
        during(quick, lambda: quick.hive.cancel(flight))

        quick.drain(kinds=["plan", "collect"])

        assert quick.one("SELECT count(*) FROM hive.batch") == 1
        quick.drain()
        result = quick.hive.flight(flight)
        assert (result.state, result.records_read, result.records_landed) == ("cancelled", 1, 1)
        assert_whole(quick)
        assert quick.land().records_landed == len(PEOPLE) - 1
        assert quick.jar() == rows_of(quick.file)

    def test_where_everything_is_read_the_flight_ends_as_it_would_have(self, quick):
        flight = quick.fly()
        quick.drain(kinds=["plan", "collect"])

        stopped = quick.hive.cancel(flight)

        quick.drain()
        assert stopped.tasks == 0
        assert quick.hive.flight(flight).state == "complete"

    def test_a_leg_that_hands_over_just_then_hands_over_to_nobody(self, slow):
        flight = begin(slow, legs=1)
        other = slow.runtime("canceller:1:1")
        task = slow.claim(next(task for task in slow.due() if task[2] == "collect"))
        stopped = []
        canceller = threading.Thread(target=lambda: stopped.append(stop(other, uuid.UUID(flight))))
        with slow.rt.db.transaction() as tx:
            task.follow(tx, slow.settings, "collect", task.queue, checkpoint=task.checkpoint)
            task.finish(tx, slow.settings)
            canceller.start()
            wait_for_a_lock(slow)
        canceller.join(30)

        assert [one.tasks for one in stopped] == [1]
        slow.drain()
        result = slow.hive.flight(flight)
        assert (result.state, result.records_read, result.records_landed) == ("cancelled", 1, 1)
        assert_whole(slow)
        assert slow.land().records_landed == len(PEOPLE) - 1

    def test_a_second_time_changes_nothing_and_a_closed_flight_is_refused(self, slow):
        flight = begin(slow)
        slow.hive.cancel(flight)

        assert slow.hive.cancel(flight).tasks == 0
        slow.drain()
        with pytest.raises(FlightClosed, match="cancelled"):
            slow.hive.cancel(flight)
        with pytest.raises(UnknownFlight):
            slow.hive.cancel(str(uuid.uuid4()))

    def test_a_command_that_dies_midway_leaves_the_closing_to_the_janitor(self, quick, monkeypatch):
        flight = quick.fly()
        with monkeypatch.context() as patch:
            patch.setattr(hive.flight.cancel, "close_if_done", lambda *_: None)
            quick.hive.cancel(flight)
        assert quick.hive.flight(flight).state == "queued"

        Janitor(quick.rt).tick()

        assert quick.hive.flight(flight).state == "cancelled"

    def test_a_cancelled_snapshot_is_never_seen(self, slow):
        flight = slow.fly(mode="snapshot")
        slow.work(slow.due()[0])
        slow.drain(kinds=["process"])
        slow.hive.cancel(flight)
        slow.drain()

        result = slow.hive.flight(flight)
        assert result.state == "cancelled"
        assert slow.jar(result.jar) == {}

    def test_a_batch_that_dies_afterwards_is_told_and_lies_in_quarantine(self, slow, monkeypatch):
        flight = begin(slow, legs=1)
        slow.hive.cancel(flight)
        monkeypatch.setattr(process, "refine", stumble)
        for _ in range(slow.settings.max_attempts):
            slow.drain()
            slow.hurry()

        result = slow.hive.flight(flight)
        assert (result.state, result.error["class"], result.records_quarantined) == ("cancelled", "ValueError", 1)

    def test_whenever_it_comes_no_record_is_lost_or_doubled(self, make_nest):
        chance = random.Random(7)
        nest = make_nest(batch_rows=1, leg=0.005)
        folder = nest.register(limits={"concurrency": 2})
        workers = [nest.runtime(f"other:{n}:1") for n in range(2)]
        for turn in range(12):
            write(folder / f"{turn}.jsonl", [{"id": turn * 100 + n, "name": "x"} for n in range(12)])
            flight, ended = nest.fly(), threading.Event()

            def toil(rt, ended=ended):
                while not ended.is_set():
                    for task in nest.due():
                        nest.work(task, rt)

            threads = [threading.Thread(target=toil, args=[rt]) for rt in workers]
            for thread in threads:
                thread.start()
            ended.wait(chance.uniform(0, 0.25))
            with contextlib.suppress(FlightClosed):
                stop(nest.rt, uuid.UUID(flight))
            ended.wait(0.05)
            ended.set()
            for thread in threads:
                thread.join()
            nest.hurry()
            nest.drain()
            assert nest.hive.flight(flight).state in ("cancelled", "complete")
            assert_whole(nest)
        last = nest.land()

        assert last.state == "complete"
        assert nest.jar() == rows_of(*folder.glob("*.jsonl"))
        (landed,) = nest.rows("SELECT sum(landed + unchanged + superseded), sum(row_to - row_from) FROM hive.receipt")
        assert landed[0] == landed[1]


class TestDisabled:
    def test_a_bee_that_is_disabled_while_it_flies_stops_at_its_next_batch(self, quick):
        flight = quick.fly()
        during(quick, lambda: quick.run("UPDATE hive.bee SET enabled = false"))

        quick.drain()

        result = quick.hive.flight(flight)
        assert (result.state, result.error["code"]) == ("cancelled", "bee_disabled")
        assert result.records_read == result.records_landed == 2
        assert_whole(quick)
        quick.run("UPDATE hive.bee SET enabled = true")
        assert quick.land().records_landed == len(PEOPLE) - 2

    def test_a_slots_flight_of_a_disabled_bee_stops_after_one_batch(self, quick):
        bee = quick.hive._bee("people")
        with quick.rt.db.transaction() as tx:
            made = create_flight(tx, quick.rt, bee, "default@now", priority=SCHEDULED)
        quick.run("UPDATE hive.bee SET enabled = false")

        quick.drain()

        result = quick.hive.flight(str(made.flight))
        assert (result.state, result.records_landed) == ("cancelled", 1)

    def test_one_that_is_flown_by_hand_although_it_is_disabled_flies_to_its_end(self, quick):
        quick.run("UPDATE hive.bee SET enabled = false")

        assert quick.land().state == "complete"


def stumble(*_, **__):
    raise ValueError


def fail_reading(monkeypatch, error) -> None:
    def collect(*_, **__):
        raise error
        yield

    monkeypatch.setattr(bees.local.LocalBee, "collect_nectar", collect)


class TestRetry:
    def test_what_was_not_read_is_read_by_a_new_flight(self, slow, monkeypatch):
        with monkeypatch.context() as patch:
            flight = begin(slow, legs=2)
            fail_reading(patch, GiveUp("the folder is locked", code="locked"))
            slow.drain()
        assert slow.hive.flight(flight).state == "failed"

        again = slow.hive.retry(flight)

        slow.drain()
        result = slow.hive.flight(again.new_flight)
        assert (again.again, again.refused) == (False, ())
        assert (result.state, result.records_landed) == ("complete", len(PEOPLE) - 2)
        assert slow.jar() == rows_of(slow.file)
        assert slow.hive.retry(flight).new_flight == again.new_flight
        assert slow.hive.retry(flight).again

    def test_a_dead_batch_is_landed_from_quarantine_without_a_flight(self, quick, monkeypatch):
        flight = quick.fly()
        with monkeypatch.context() as patch:
            patch.setattr(process, "refine", stumble)
            for _ in range(quick.settings.max_attempts):
                quick.drain()
                quick.hurry()
        assert quick.hive.flight(flight).state == "failed"
        assert quick.jar() == {}

        again = quick.hive.retry(flight)

        assert (again.landed, again.refused, again.new_flight) == (len(PEOPLE), (), None)
        assert quick.jar() == rows_of(quick.file)
        assert quick.one("SELECT count(*) FROM hive.quarantine WHERE state = 'open'") == 0

    def test_what_kills_the_batch_again_is_told(self, quick, monkeypatch):
        write(quick.file, PEOPLE[:1])
        flight = quick.fly()
        monkeypatch.setattr(process, "refine", stumble)
        for _ in range(quick.settings.max_attempts):
            quick.drain()
            quick.hurry()

        again = quick.hive.retry(flight)

        assert again.landed == 0
        assert [one["message"] for one in again.refused] == [
            "an unexpected ValueError - the worker's log has the traceback"
        ]
        assert quick.one("SELECT count(*) FROM hive.quarantine WHERE state = 'open'") == 1

    def test_a_cancelled_flight_is_flown_on(self, slow):
        flight = begin(slow)
        slow.hive.cancel(flight)
        slow.drain()

        again = slow.hive.retry(flight)

        slow.drain()
        assert slow.hive.flight(again.new_flight).records_landed == len(PEOPLE) - 2

    def test_a_failed_snapshot_is_flown_anew_and_leaves_nothing_in_quarantine(self, quick, monkeypatch, hive):
        flight = quick.fly(mode="snapshot")
        with monkeypatch.context() as patch:
            patch.setattr(process, "refine", stumble)
            for _ in range(quick.settings.max_attempts):
                quick.drain()
                quick.hurry()
        assert quick.hive.flight(flight).state == "failed"

        again = quick.hive.retry(flight)

        quick.drain()
        result = quick.hive.flight(again.new_flight)
        assert (again.landed, again.refused, again.dropped, again.again) == (0, (), len(PEOPLE), False)
        assert (result.state, result.mode, result.records_landed) == ("complete", "snapshot", len(PEOPLE))
        assert quick.jar(result.jar) == rows_of(quick.file)
        assert quick.rows("SELECT DISTINCT state, length(body) FROM hive.quarantine") == [("dropped", 0)]
        assert (quick.hive.retry(flight).new_flight, quick.hive.retry(flight).dropped) == (again.new_flight, 0)
        assert hive("retry", flight, "--json").json["dropped"] == 0

    def test_an_open_or_complete_flight_has_nothing_to_retry(self, slow):
        flight = begin(slow)
        with pytest.raises(NothingToRetry, match="tried again by themselves"):
            slow.hive.retry(flight)
        slow.drain()
        with pytest.raises(NothingToRetry, match="complete"):
            slow.hive.retry(flight)


class TestWaitingForRetry:
    def test_the_last_error_is_told_while_the_flight_waits(self, quick, monkeypatch, hive):
        flight = quick.fly()
        with monkeypatch.context() as patch:
            fail_reading(patch, RetryLater("the folder is busy", code="busy"))
            quick.work(quick.due()[0])

        assert hive("flight", flight, "--json").json["error"]["message"] == "the folder is busy"
        assert [f["error"]["code"] for f in hive("flights", "--json").json] == ["busy"]
        quick.hurry()
        quick.drain()
        assert quick.hive.flight(flight).error is None
        assert quick.hive.flight(flight).job_result().records_processed == len(PEOPLE)


class TestCommands:
    def test_cancel_prints_the_flight(self, slow, hive):
        flight = begin(slow)

        said = hive("cancel", flight, "--json")

        assert (said.code, said.json["state"], said.json["error"]["code"]) == (0, "running", "cancelled")
        assert "land before the flight is cancelled: 2" in said.err
        slow.drain()
        assert hive("cancel", flight).code == 2
        assert hive("cancel", "nonsense").code == 2

    def test_retry_prints_what_it_did(self, slow, hive):
        flight = begin(slow)
        slow.hive.cancel(flight)
        slow.drain()

        first, second = hive("retry", flight, "--json"), hive("retry", flight)

        assert (first.code, first.json["landed"], first.json["refused"]) == (0, 0, [])
        assert (second.code, "was retried before" in second.err) == (0, True)
        assert first.json["new_flight"] in second.out
