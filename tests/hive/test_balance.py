"""Load: who has what in hand, what moves from dead workers to live ones, and pools that grow and shrink."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import hive.celery
from bees.core.errors import GiveUp
from hive.balance import Pool, balance, demand, measure, move, propose, resize
from tests.fleet.running import wait_until
from tests.hive.command import bare_hive, broker, hive_command
from tests.hive.nest import KEY, make_nest, nest, write
from tests.hive.test_cancel import fail_reading

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

ROWS = [{"id": number, "name": "Ada"} for number in range(4)]


@pytest.fixture
def people(nest):
    write(nest.register() / "a.jsonl", ROWS)
    return nest


def nothing() -> dict[str, int]:
    """A broker with empty queues."""
    return {}


class TestProposal:
    @pytest.mark.parametrize(
        ("wanted", "load"),
        [
            (4, {"arrivals": 2.0, "task_seconds": 2.0, "processes": 3}),
            (4, {"arrivals": 0.0, "task_seconds": 2.0, "waiting": 120, "processes": 3}),
            (1, {"arrivals": 0.0, "task_seconds": 2.0, "processes": 2}),
            (2, {"arrivals": 0.0, "task_seconds": 2.0, "processes": 4}),
            (3, {"arrivals": 0.0, "task_seconds": 2.0, "processes": 4, "running": 3}),
            (4, {"arrivals": 50.0, "task_seconds": 2.0, "processes": 2}),
            (8, {"arrivals": 50.0, "task_seconds": 2.0, "processes": 6}),
            (1, {"task_seconds": None, "processes": 2}),
            (2, {"task_seconds": None, "waiting": 3, "oldest_wait": 1.0, "running": 2, "processes": 2}),
            (3, {"task_seconds": None, "waiting": 3, "oldest_wait": 9.0, "processes": 2}),
        ],
        ids=[
            "keeps up with what arrives", "does what waits in a minute", "an idle pool shrinks", "halved at most",
            "never below what runs", "doubled at most", "bounded", "nothing happens", "nothing waits for long",
            "something waits for long",
        ],
    )  # fmt: skip
    def test_is_what_arrives_and_waits_takes(self, wanted, load):
        usual = {"waiting": 0, "running": 0, "oldest_wait": None, "arrivals": 0.0}
        load = usual | load

        assert propose(demand(**load), running=load["running"], processes=load["processes"], most=8) == wanted

    def test_a_queue_without_a_process_gets_one_if_something_waits(self, people):
        people.fly()
        assert [(queue.name, queue.proposed) for queue in measure(people.rt)] == [("bees.file", 1)]


class TestMoving:
    def test_tasks_of_a_dead_worker_go_to_the_others(self, people):
        flight = people.fly()
        people.claim(people.due()[0], people.runtime("doomed:1:1"))
        people.bury("doomed:1:1")
        people.sent.clear()

        moved = move(people.rt, nothing)
        people.hurry()

        assert moved.taken_back == 1
        people.drain()
        assert people.hive.flight(flight).records_landed == len(ROWS)

    def test_a_hint_that_got_lost_is_sent_again_and_one_that_waits_is_not(self, people):
        people.fly()
        people.sent.clear()
        people.run("UPDATE hive.task SET hinted_at = hinted_at - interval '30 seconds'")

        assert move(people.rt, lambda: {"bees.file": 1}).told == 0
        assert move(people.rt, nothing).hinted_again == 1
        assert [hint.queue for hint in people.sent] == ["bees.file"]

    def test_work_that_was_never_announced_is(self, people):
        people.fly()
        people.run("UPDATE hive.task SET hinted_at = NULL")
        people.sent.clear()

        assert people.hive.distribute_load() == 1
        assert len(people.sent) == 1

    def test_without_a_broker_what_is_in_the_ledger_moves_all_the_same(self, people):
        def away() -> dict[str, int]:
            raise ConnectionError

        people.fly()
        people.run("UPDATE hive.task SET hinted_at = NULL")

        assert move(people.rt, away).hinted == 1


class TestMeasuring:
    def test_ages_rates_and_processes_of_each_queue(self, people):
        people.land()
        people.fly()
        people.run(
            "UPDATE hive.task SET available_at = clock_timestamp() - interval '40 seconds' WHERE state = 'queued'"
        )
        people.run("UPDATE hive.task SET started_at = finished_at - interval '10 seconds' WHERE state = 'done'")
        people.run("UPDATE hive.worker SET queues = '{bees.file,nectar}'")

        load = {queue.name: queue for queue in measure(people.rt)}

        reading, scrubbing = load["bees.file"], load["nectar"]
        assert (reading.waiting, reading.running, reading.processes) == (1, 0, 1)
        assert 39 < reading.oldest_wait < 50
        assert (reading.arrivals_per_minute, reading.services_per_minute) == (0.4, 0.2)
        assert reading.task_seconds == pytest.approx(10)
        assert (scrubbing.waiting, scrubbing.oldest_wait, scrubbing.services_per_minute) == (0, None, 0.2)

    def test_the_command_prints_one_document(self, people, hive):
        people.fly()

        said = hive("balance", "--json")

        assert (said.code, said.json["broker"], said.json["pools"]) == (0, True, [])
        assert [(q["name"], q["waiting"], q["proposed"]) for q in said.json["queues"]] == [("bees.file", 1, 1)]
        assert "no worker answers" in hive("balance").err


class TestMonitoring:
    def test_a_worker_is_idle_or_running_or_lost(self, people):
        people.fly()
        task = people.claim(people.due()[0])
        for owner in ("idle:1:1", "lost:1:1"):
            people.runtime(owner)
        people.bury("lost:1:1")

        told = {worker.worker_id: worker for worker in people.hive.monitor_workers()}

        assert {name: worker.status for name, worker in told.items()} == {
            "nest:1:1": "running", "idle:1:1": "idle", "lost:1:1": "lost",
        }  # fmt: skip
        busy = told["nest:1:1"]
        assert (busy.task, busy.kind, busy.bee, busy.flight) == (task.ref, "plan", "people", str(task.flight))
        assert busy.since <= dt.datetime.now(dt.UTC)
        assert (told["idle:1:1"].task, told["idle:1:1"].running) == (None, 0)

    def test_what_it_has_done_is_counted_once_for_reading_and_once_for_landing(self, people):
        people.land()

        (worker,) = people.hive.monitor_workers()

        assert (worker.tasks_done, worker.records_processed, worker.last_error) == (2, 2 * len(ROWS), None)

    def test_the_error_of_a_task_that_died_in_its_hands(self, people, monkeypatch):
        fail_reading(monkeypatch, GiveUp("the folder is locked", code="locked"))
        result = people.land()

        (worker,) = people.hive.monitor_workers()

        assert worker.last_error["code"] == "locked"
        assert result.job_result().error == "the folder is locked"
        assert not result.job_result().success


def settled(nest, flight: str) -> bool:
    """Whether it is complete; each look does what a janitor would."""
    move(nest.rt)
    return nest.hive.flight(flight).state == "complete"


@pytest.fixture
def worker(people, redis_url, tmp_path, monkeypatch) -> Iterator[Callable[..., None]]:
    """Starts a worker as `celery` does, with these options, on the test's ledger and broker."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVE_")} | {
        "HIVE_DATABASE_URL": people.settings.database(), "HIVE_REDIS_URL": redis_url, "HIVE_KEY": KEY,
        "HIVE_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "celery"), "-A", "hive", "worker", "-Q", "bees.file,nectar"]
    started = []

    def start(*options: str) -> None:
        with (tmp_path / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "-n", "pool@test", *options],
                env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        wait_until(lambda: balance(people.rt).pools, "the worker's start")

    with broker(redis_url, monkeypatch):
        people.rt.send = hive.celery.send
        yield start
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=20)


@pytest.mark.fleet
class TestPools:
    def test_grow_and_shrink_through_celery_while_work_is_done(self, people, worker):
        worker("-c", "1")
        people.run(  # ten tasks of a minute in five minutes are two processes' work
            "INSERT INTO hive.task (day, flight, bee, kind, queue, state, created_at, started_at, finished_at)"
            " SELECT t.today, gen_random_uuid(), 1, 'plan', 'bees.file', 'done', t.at,"
            "   t.at - interval '1 minute', t.at FROM generate_series(1, 10),"
            " (SELECT clock_timestamp() AS at, (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) t"
        )

        (pool,) = balance(people.rt, apply=True).pools

        assert (pool.node, pool.processes, pool.proposed, pool.said) == ("pool@test", 1, 2, "pool will grow")
        alive = "SELECT count(*) FROM hive.worker WHERE queues <> '{}' AND alive_until > clock_timestamp()"
        wait_until(lambda: people.one(alive) == 2, "the second process")
        flights = [people.fly() for _ in range(4)]
        smaller = Pool("pool@test", pool.queues, 2, 1)
        said = resize(smaller).said  # it may have no process to spare now
        for flight in flights:
            wait_until(lambda one=flight: settled(people, one), "the flights")
        assert len(people.jar()) == len(ROWS)
        if said != "pool will shrink":
            wait_until(lambda: resize(smaller).said == "pool will shrink", "a process without a task")
        wait_until(lambda: [p.processes for p in balance(people.rt).pools] == [1], "the smaller pool")

    def test_a_pool_that_scales_itself_gets_another_bound(self, people, worker):
        worker("--autoscale", "1,1")
        (pool,) = balance(people.rt).pools

        assert pool.autoscaled
        assert "max=3" in resize(replace(pool, proposed=3)).said
