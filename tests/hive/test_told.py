"""What the log of a worker tells of a flight: one line when it starts and one when it ends, whoever made it."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from bees.core.errors import GiveUp, RetryLater
from hive import logs
from hive.flight import told
from hive.scheduler import tick
from tests.hive.nest import Nest, make_nest, nest, write
from tests.hive.test_cancel import fail_reading

__all__ = ["make_nest", "nest"]

ROWS = [{"id": number} for number in range(6)]


@pytest.fixture
def lines(monkeypatch) -> list[Any]:
    captured = LogCapture()
    line = structlog.wrap_logger(None, processors=[captured], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(told, "log", line)
    monkeypatch.setattr(logs, "_on", True)
    return captured.entries


def events(lines: list[Any], flight: str) -> list[str]:
    assert {line["bee"] for line in lines} == {"people"}
    return [line["event"] for line in lines if line["flight"] == flight]


def test_a_flight_of_a_process_without_a_log_starts_in_the_workers(nest: Nest, lines, monkeypatch):
    write(nest.register() / "a.jsonl", ROWS)
    with monkeypatch.context() as command:
        command.setattr(logs, "_on", False)
        flight = nest.fly()
    assert lines == []

    nest.drain()

    assert events(lines, flight) == ["flight.started", "flight.ended"]
    assert lines[0]["slot"].startswith("adhoc:")


def test_a_flight_of_many_legs_and_parts_starts_once(make_nest, lines):
    nest = make_nest(batch_rows=2, leg=0.0)
    folder = nest.register()
    for name in ("a", "b", "c"):
        write(folder / f"{name}.jsonl", ROWS)

    flight = nest.land().flight

    assert nest.one("SELECT count(*) FROM hive.task") > 3
    assert events(lines, flight) == ["flight.started", "flight.ended"]


def test_a_flight_whose_first_task_is_claimed_again_starts_once(nest: Nest, lines, monkeypatch):
    write(nest.register() / "a.jsonl", ROWS)
    flight = nest.fly()
    [task] = nest.due("plan")
    nest.crash(task)
    with monkeypatch.context() as patch:
        fail_reading(patch, RetryLater("no", code="busy", after=1.0))
        nest.drain()
    nest.run("UPDATE hive.bee SET retry_at = NULL")  # the patience that was asked for is over
    nest.hurry()
    nest.drain()

    assert events(lines, flight) == ["flight.started", "flight.ended"]


def test_a_flight_that_fails_at_once_has_started_too(nest: Nest, lines, monkeypatch):
    write(nest.register() / "a.jsonl", ROWS)
    fail_reading(monkeypatch, GiveUp("no", code="locked"))

    flight = nest.land().flight

    assert events(lines, flight) == ["flight.started", "flight.ended"]
    assert lines[1]["code"] == "locked"


def test_a_schedules_flight_is_told_by_the_worker_alone(nest: Nest, lines):
    write(nest.register(schedule={"every": "1h"}) / "a.jsonl", ROWS)
    nest.run("UPDATE hive.schedule SET next_slot = next_slot - interval '1 hour'")
    tick(nest.rt)
    [(flight,)] = nest.rows("SELECT id::text FROM hive.flight")
    assert lines == []

    nest.drain()

    assert events(lines, flight) == ["flight.started", "flight.ended"]
    assert not lines[0]["slot"].startswith("adhoc:")
