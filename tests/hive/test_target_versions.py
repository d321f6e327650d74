"""`target-hive`: what a tap tells of deletes leaves the jar."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hive.nest import Nest, make_nest, nest
from tests.hive.test_target_hive import SCHEMA, fly, lines, record, state, take

__all__ = ["make_nest", "nest"]


def of(version: int, *numbers: int) -> list[dict[str, Any]]:
    return [{**record(n, n), "version": version} for n in numbers]


def activate(version: int) -> dict[str, Any]:
    return {"type": "ACTIVATE_VERSION", "stream": "days", "version": version}


def jar(nest: Nest) -> set[int]:
    return {int(key) for key in nest.jar("tap")}


def test_an_active_version_takes_the_place_of_the_one_before(nest: Nest) -> None:
    take(nest, lines(SCHEMA, *of(1, 1, 2, 3), activate(1), state(1)))
    take(nest, lines(SCHEMA, *of(1, 4), state(2)))
    assert jar(nest) == {1, 2, 3, 4}
    take(nest, lines(SCHEMA, *of(2, 2, 5), activate(2), state(3)))
    assert jar(nest) == {2, 5}
    take(nest, lines(SCHEMA, activate(2), *of(2, 6), activate(2), state(4)))
    assert jar(nest) == {2, 5, 6}


@pytest.mark.parametrize("end", [[], [state(2)]])
def test_one_that_is_activated_in_front_of_its_records(nest: Nest, end: list[dict[str, Any]]) -> None:
    take(nest, lines(SCHEMA, activate(1), *of(1, 1, 2, 3), state(1)))
    take(nest, lines(SCHEMA, activate(2), *of(2, 1, 3), *end))
    assert jar(nest) == ({1, 3} if end else {1, 2, 3}), "a tap that dies ends its output, too"


def test_a_version_may_take_several_runs_and_flights(nest: Nest) -> None:
    take(nest, lines(SCHEMA, *of(1, 1, 2, 3, 4), activate(1), state(1)))
    take(nest, lines(SCHEMA, *of(2, 1), state(2)))
    take(nest, lines(SCHEMA, *of(2, 2), state(3)))
    assert jar(nest) == {1, 2, 3, 4}
    take(nest, lines(SCHEMA, *of(2, 5), activate(2), state(4)))
    assert jar(nest) == {1, 2, 5}


def test_two_versions_that_wait_in_one_flight(nest: Nest) -> None:
    take(nest, lines(SCHEMA, *of(1, 1, 2), activate(1), *of(2, 2, 3), activate(2), *of(3, 4), state(1)))
    assert jar(nest) == {2, 3, 4}


def test_one_that_is_told_in_front_of_each_parents_records(nest: Nest) -> None:
    take(nest, lines(SCHEMA, *of(1, 1, 2, 3), activate(1), state(1)))
    told = [SCHEMA, activate(5), *of(5, 1), activate(5), *of(5, 2)]
    take(nest, lines(*told))
    assert jar(nest) == {1, 2, 3}, "the tap died"
    take(nest, lines(*told, state(2)))
    assert jar(nest) == {1, 2}


def test_records_without_a_version_beside_one_delete_nothing(nest: Nest) -> None:
    take(nest, lines(SCHEMA, *of(1, 1, 2, 3), activate(1), state(1)))
    take(nest, lines(SCHEMA, activate(2), *of(None, 4), activate(2), state(2)))
    assert jar(nest) == {1, 2, 3, 4}


def test_an_emptied_table(nest: Nest) -> None:
    take(nest, lines(SCHEMA, *of(1, 1, 2), activate(1), state(1)))
    take(nest, lines(SCHEMA, activate(2), state(2)))
    assert jar(nest) == set()


def test_a_deleted_record_goes_and_may_come_back(nest: Nest) -> None:
    gone = {"type": "RECORD", "stream": "days", "record": {"id": 2, "_sdc_deleted_at": "2026-01-01T00:00:00Z"}}
    kept = {"type": "RECORD", "stream": "days", "record": {"id": 1, "v": 1, "_sdc_deleted_at": None}}
    take(nest, lines(SCHEMA, kept, record(2), state(1), gone, state(2)))
    assert jar(nest) == {1}
    take(nest, lines(SCHEMA, record(2)))
    assert jar(nest) == {1, 2}
    fly(nest)
    assert nest.one("SELECT count(*) FROM hive.quarantine") == 0
