"""A tap's records all the way into a jar; its state is kept in the ledger, sealed."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.bees.test_singer import SECRET, TAPS
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]


def register(nest: Nest, config: dict[str, Any], tap: str = "scripted", **more: Any) -> None:
    source = {"command": [sys.executable, str(TAPS / f"{tap}.py")], "config": config, "silence": 20, **more}
    nest.hive.register_worker("singer", {"name": "tap", "source": source})


def test_a_tap_s_records_land_and_its_state_is_where_the_next_flight_begins(nest: Nest, tmp_path: Any) -> None:
    note = tmp_path / "note.json"
    register(nest, {"count": 30, "state_every": 10, "note": str(note)}, batch_rows=7)
    first, second = nest.land("tap"), nest.land("tap")

    assert (first.state, first.records_landed) == ("complete", 30)
    assert (second.state, second.records_read) == ("complete", 0)
    assert '"state": {"last": 30}' in note.read_text()
    assert set(nest.jar("tap")) == {str(n) for n in range(1, 31)}


def test_a_tap_that_dies_loses_nothing(nest: Nest, tmp_path: Any) -> None:
    register(nest, {"count": 30, "state_every": 4, "die_at": 23}, batch_rows=5)
    flight = nest.fly("tap")
    nest.drain()
    assert nest.hive.flight(flight).state == "running"
    assert set(nest.jar("tap")) == {str(n) for n in range(1, 23)}

    errors = nest.rows("SELECT last_error::text FROM hive.task WHERE last_error IS NOT NULL")
    assert "HTTPError" in str(errors)
    assert SECRET not in str(errors)
    assert "jane@example.com" not in str(errors)


@pytest.mark.parametrize("stream", ["days", "towns"])
def test_a_tap_of_the_sdk_lands(nest: Nest, stream: str) -> None:
    register(nest, {"count": 12}, "built", streams={stream: {}})

    assert nest.land("tap").records_landed == len(nest.jar("tap")) == {"days": 12, "towns": 7}[stream]


@pytest.mark.parametrize("flights", [1, 2])
def test_a_tap_that_tells_its_state_only_at_the_end_is_read_in_one_go(make_nest: Any, flights: int) -> None:
    nest = make_nest(batch_rows=10, leg=0.0)
    register(nest, {"count": 60, "state_at_end": False}, batch_rows=10)
    for _ in range(flights):
        result = nest.land("tap")

    assert (result.state, result.records_read) == ("complete", 60)
    assert len(nest.jar("tap")) == 60
    assert nest.rows("SELECT kind, count(*) FROM hive.task WHERE kind <> 'process' GROUP BY kind") == [
        ("collect", flights)
    ]


def test_one_that_tells_it_as_it_goes_is_read_in_legs(make_nest: Any) -> None:
    nest = make_nest(batch_rows=10, leg=0.0)
    register(nest, {"count": 60, "state_every": 10}, batch_rows=10)
    result = nest.land("tap")

    assert (result.state, result.records_landed, len(nest.jar("tap"))) == ("complete", 60, 60)
    assert nest.one("SELECT count(*) FROM hive.task WHERE kind = 'collect'") > 2
