"""Workers, connectors and the hive itself: who is well, who is not and why, and who may ask."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from bees.core.errors import GiveUp, RetryLater
from hive.condition import UNWELL, Flying, judge
from hive.config.model import UnknownBee
from hive.gateway.app import app
from hive.health import FEWEST, HealthStatus, UnknownWorker, WorkerHealthMonitor, answering
from hive.metrics.connectors import ConnectorHealth, MetricsCollector
from tests.fleet.running import wait_until
from tests.hive.command import broker
from tests.hive.nest import KEY, Nest, make_nest, nest, write
from tests.hive.test_cancel import fail_reading
from tests.hive.test_metrics import parse

__all__ = ["make_nest", "nest"]

LOGIN = "operator:made-up-password"
PAGES = ("/metrics/connectors", "/metrics/connectors/people", "/health/connectors")
ROWS = [{"id": number, "mail": f"ada{number}@example.com"} for number in range(4)]
FIELDS = [
    "connectorName", "lastPollTime", "lastSuccessTime", "totalPolls", "successfulPolls", "failedPolls", "itemsFetched",
    "itemsPublished", "averageLatencyMs",
]  # fmt: skip
"""Of document 003, in its order."""

Ask = Callable[..., httpx.Response]


@pytest.fixture
def people(make_nest) -> Nest:
    nest = make_nest(flower_login=LOGIN)
    write(nest.register() / "a.jsonl", ROWS)
    nest.run("UPDATE hive.worker SET queues = '{bees.file,nectar}'")
    return nest


@pytest.fixture
def ask(people) -> Ask:
    """A request to the gateway, as a stranger or with a login."""

    def asked(path: str, login: str = "") -> httpx.Response:
        headers = {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}

        async def get() -> httpx.Response:
            transport = httpx.ASGITransport(app(people.settings, people.rt.db))
            async with httpx.AsyncClient(transport=transport, base_url="http://hive") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(get())

    return asked


def details(status: HealthStatus) -> dict[str, bool]:
    return {check.name: check.healthy for check in status.details}


def end_tasks(people: Nest, dead: int, done: int) -> None:
    people.run(
        "INSERT INTO hive.task (day, flight, bee, kind, queue, state, owner, started_at, finished_at)"
        " SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, gen_random_uuid(), 1, 'plan', 'bees.file',"
        "   CASE WHEN n <= %s THEN 'dead' ELSE 'done' END, 'nest:1:1', clock_timestamp(), clock_timestamp()"
        " FROM generate_series(1, %s) n",
        dead,
        dead + done,
    )


class TestWorkers:
    def check(self, people: Nest, **how: Any) -> HealthStatus:
        return WorkerHealthMonitor(people.rt.db, **how).check_worker_health("nest:1:1")

    def test_all_four_checks_of_one_that_is_well(self, people):
        people.land()

        status = self.check(people)

        assert details(status) == dict.fromkeys(("heartbeat", "connection", "resources", "error_rate"), True)
        assert status.overall
        assert abs(status.last_checked - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=60)

    def test_one_without_a_heartbeat_is_lost(self, people):
        people.bury("nest:1:1")

        status = self.check(people)

        assert not status.overall
        assert details(status) == {"heartbeat": False, "connection": False, "resources": True, "error_rate": True}

    def test_one_that_holds_too_much_memory(self, people):
        people.run("UPDATE hive.worker SET rss = %s", 900 << 20)

        assert self.check(people).overall
        status = self.check(people, most_memory=500 << 20)
        assert [check.why for check in status.details if not check] == ["it holds 900 MB of at most 500 MB"]

    def test_one_in_whose_hands_tasks_die(self, people):
        end_tasks(people, dead=FEWEST - 1, done=0)
        few = self.check(people)
        end_tasks(people, dead=2, done=1)

        assert (few.overall, self.check(people).overall) == (True, False)
        end_tasks(people, dead=0, done=6)
        assert self.check(people).overall

    @pytest.mark.parametrize("answers", [True, False])
    def test_its_pool_is_asked_over_the_broker(self, people, answers):
        status = self.check(people, answering=lambda host, pid: (host, pid) == ("nest", 1) and answers)

        assert details(status)["connection"] is answers

    def test_a_broker_that_is_away_is_told_without_its_words(self, people):
        def away(*_: object) -> bool:
            raise OSError("redis://:secret@127.0.0.1")

        (told,) = [check for check in self.check(people, answering=away).details if not check]

        assert (told.name, told.why) == ("connection", "the broker does not answer (OSError)")

    @pytest.mark.parametrize("name", ["nobody:1:1", "nest:1:1\0", "\0"])
    def test_an_unknown_one(self, people, name):
        with pytest.raises(UnknownWorker, match="hive status"):
            people.hive.check_worker_health(name)


class TestConnectors:
    def health(self, people: Nest) -> ConnectorHealth:
        (found,) = MetricsCollector(people.rt.db).health()
        return found

    def test_polls_are_counted_as_document_003_does(self, people, monkeypatch):
        first, second = people.land(), people.land(full_refresh=True)
        with monkeypatch.context() as patch:
            fail_reading(patch, GiveUp("no", code="locked"))
            third = people.land()

        told = MetricsCollector(people.rt.db).get_metrics("people").json()

        assert list(told) == FIELDS
        polls = ("totalPolls", "successfulPolls", "failedPolls", "itemsFetched", "itemsPublished")
        assert [told[name] for name in polls] == [3, 2, 1, 2 * len(ROWS), len(ROWS)]
        seconds = sum(flight.seconds or 0 for flight in (first, second, third))
        assert told["averageLatencyMs"] == pytest.approx(1000 * seconds / 3, abs=1)
        assert told["lastSuccessTime"].endswith("Z")
        at = dt.datetime.fromisoformat(told["lastSuccessTime"])
        assert abs(at - second.finished_at) < dt.timedelta(milliseconds=1)
        assert dt.datetime.fromisoformat(told["lastPollTime"]) > at

    def test_one_that_never_flew(self, people):
        told = MetricsCollector(people.rt.db).get_metrics("people").json()

        assert list(told.values()) == ["people", None, None, 0, 0, 0, 0, 0, 0]
        assert (self.health(people).state, self.health(people).healthy) == ("new", True)

    def test_healthy_means_a_success_within_the_time(self, people):
        collector = MetricsCollector(people.rt.db)
        never = collector.is_healthy("people", 300)
        people.land()
        just_now = collector.is_healthy("people", 300)
        people.run("UPDATE hive.tally SET success_at = success_at - interval '301 s'")

        assert (never, just_now, collector.is_healthy("people", 300)) == (False, True, False)
        with pytest.raises(UnknownBee, match="hive bees"):
            collector.is_healthy("nobody")

    def test_one_whose_last_flight_failed_says_what_to_do(self, people, monkeypatch):
        fail_reading(monkeypatch, GiveUp("no", code="locked", advice="unlock the folder"))
        people.land()

        found = self.health(people)

        assert (found.healthy, found.state, found.error) == (False, "failing", "locked")
        assert found.advice == "unlock the folder"

    def test_one_that_is_well_again_has_no_advice(self, people, monkeypatch):
        with monkeypatch.context() as patch:
            fail_reading(patch, GiveUp("no", code="locked", advice="unlock the folder"))
            people.land()
        people.land()

        found = self.health(people)

        assert (found.healthy, found.state, found.error, found.advice) == (True, "healthy", None, None)

    def test_paused_rate_limited_and_late_are_told_apart(self, people, monkeypatch):
        people.land()
        people.hive.schedule_job("people", "*/5 * * * *")
        people.run("UPDATE hive.schedule SET next_slot = now() - interval '5 minutes'")
        late = self.health(people)
        people.fly()
        fail_reading(monkeypatch, RetryLater("not so fast", after=600.0))
        people.drain()
        limited = self.health(people)
        people.hive.pause("people")

        told = [(one.state, one.healthy) for one in (late, limited, self.health(people))]

        assert told == [("late", False), ("rate_limited", True), ("paused", True)]

    def test_one_that_is_gone_is_not_listed(self, people):
        people.land()
        people.hive.unregister_worker("people")

        assert MetricsCollector(people.rt.db).health() == []
        assert MetricsCollector(people.rt.db).all_metrics() == []
        with pytest.raises(UnknownBee):
            MetricsCollector(people.rt.db).get_metrics("people")


class TestPages:
    def test_metrics_are_open(self, people, ask):
        people.land()

        answer = ask("/metrics")

        assert (answer.status_code, answer.headers["content-type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        _, series = parse(answer.text)
        assert series["jobs_completed", frozenset()] == 1

    @pytest.mark.parametrize("path", PAGES)
    @pytest.mark.parametrize("login", ["", "operator:wrong"])
    def test_other_pages_need_the_login(self, ask, path, login):
        answer = ask(path, login)

        assert (answer.status_code, answer.json()) == (401, {"error": "wrong login"})

    def test_connectors_are_listed_and_told_one_by_one(self, people, ask):
        people.land()
        collector = MetricsCollector(people.rt.db)

        assert ask("/metrics/connectors", LOGIN).json() == [collector.get_metrics("people").json()]
        assert ask("/metrics/connectors/people", LOGIN).json() == collector.get_metrics("people").json()
        missing = ask("/metrics/connectors/peple", LOGIN)
        assert (missing.status_code, "no bee is named 'peple'" in missing.json()["error"]) == (404, True)

    def test_the_health_of_all_is_that_of_the_worst(self, people, ask, monkeypatch):
        people.land()
        well = ask("/health/connectors", LOGIN).json()
        fail_reading(monkeypatch, GiveUp("no", code="locked"))

        captured = LogCapture()
        all_levels = structlog.make_filtering_bound_logger(0)  # whatever tests before this one have configured
        told = structlog.wrap_logger(None, processors=[captured], wrapper_class=all_levels)
        for module in ("hive.flight.work", "hive.gateway.app"):
            monkeypatch.setattr(f"{module}.log", told)

        people.land()
        ill = ask("/health/connectors", LOGIN)

        lines = captured.entries
        (error,) = [line for line in lines if line["event"] == "connector.error"]
        assert (error["bee"], error["code"]) == ("people", "locked")
        (checked,) = [line for line in lines if line["event"] == "connector.health_check"]
        assert (checked["connectors"], checked["unhealthy"], checked["first"]) == (1, 1, ["people"])
        assert (well["status"], ill.status_code, ill.json()["status"]) == ("ok", 200, "degraded")
        assert [one["connectorName"] for one in ill.json()["connectors"]] == ["people"]

    def test_the_status_tells_the_error_its_advice_and_the_last_task(self, people, ask, monkeypatch):
        people.land()
        fail_reading(monkeypatch, GiveUp("no", code="locked", advice="unlock the folder"))
        flight = people.land()

        told = ask("/status", LOGIN).json()

        (bee,), (worker,) = told["bees"], told["workers"]
        assert (bee["error"], bee["advice"], bee["last_flight"]) == ("locked", "unlock the folder", flight.flight)
        assert (bee["last_state"], bee["retry_at"]) == ("failed", None)
        newest = people.one(
            "SELECT to_char(day, 'YYYYMMDD') || '.' || id FROM hive.task ORDER BY finished_at DESC LIMIT 1"
        )
        assert (worker["last_task"], worker["healthy"], worker["status"]) == (newest, True, "idle")
        assert told["config_version"] == people.one("SELECT max(id) FROM hive.config_version")

    def test_the_status_tells_what_is_due_in_a_queue(self, people, ask):
        people.fly()

        (queue,) = ask("/status", LOGIN).json()["queues"]

        assert (queue["name"], queue["due"], queue["waiting"], queue["running"]) == ("bees.file", 1, 1, 0)
        assert queue["oldest"] >= 0

    @pytest.mark.parametrize("path", ["/metrics", "/status", *PAGES])
    def test_no_page_tells_a_value(self, people, ask, path):
        people.land()

        assert "@example.com" not in ask(path, LOGIN).text


@pytest.fixture
def worker(people, redis_url, tmp_path, monkeypatch) -> Iterator[dict[str, str]]:
    """A plain Celery worker on the test's ledger and broker; gives the environment of its commands."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HIVE_")} | {
        "HIVE_DATABASE_URL": people.settings.database(), "HIVE_REDIS_URL": redis_url, "HIVE_KEY": KEY,
        "HIVE_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "celery"), "-A", "hive", "worker", "-Q", "bees.file", "-c", "1"]
    with broker(redis_url, monkeypatch), (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
        try:
            yield environment
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.mark.fleet
def test_celery_inspects_it_and_its_processes_are_well(people, worker):
    found = "SELECT id, host, pid FROM hive.worker WHERE queues = '{bees.file}' AND alive_until > clock_timestamp()"
    wait_until(lambda: people.rows(found), "the worker's start")
    ((name, host, pid),) = people.rows(found)
    wait_until(lambda: answering(host, pid), "the worker's first answer")

    status = people.hive.check_worker_health(name)

    assert (status.overall, status.details[1].why) == (True, "its pool answers over the broker")
    assert not answering(host, 1)
    celery = str(Path(sys.executable).parent / "celery")
    said = subprocess.run(
        [celery, "-A", "hive", "inspect", "ping"],
        env=worker, cwd=people.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (said.returncode, "pong" in said.stdout) == (0, True)


def test_what_needs_a_person_is_not_hidden_by_patience():
    lost = Flying(lost=True)

    assert [judge(patient=True, flying=lost).state, judge(open_breaker=True, flying=lost).state] == ["stuck", "stuck"]
    assert judge(open_breaker=True, last_state="failed").state == "breaker_open"
    told = {"code": "rate_limited"}
    assert judge(patient=True, last_state="failed", last_error=told).state == "rate_limited"
    assert judge(patient=True, flying=Flying(waits=60.0, error={"code": "timeout"})).state == "rate_limited"
    for flying in (None, Flying(waits=60.0), Flying(waits=60.0, error={"code": "lease_held"})):
        refused = judge(patient=True, flying=flying, last_state="failed", last_error={"code": "denied"})
        assert (refused.state, refused.error) == ("failing", {"code": "denied"})
    assert judge(patient=True, last_state="failed", last_error={"code": "no_stream"}).state == "misconfigured"
    assert {"breaker_open", "stuck"} <= set(UNWELL)
    assert "rate_limited" not in UNWELL
