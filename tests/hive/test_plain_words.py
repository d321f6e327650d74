"""What is wrong in a configuration or a setting is told in words that need no Python."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter, ValidationError

from hive.config.explain import plain
from hive.config.load import from_mapping
from hive.config.problems import ConfigProblems
from tests.hive.command import bare_hive

__all__ = ["bare_hive"]

PYTHON = re.compile(
    r"instance of|tuple|datetime|dictionary|\bdict\b|\bstr\b|\bNone\b|Input|valid (string|integer|boolean|number)|pars",
)


class Inner(BaseModel):
    n: int = 0


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"jitter": "3 apples"}, "field 'jitter': should be a number of seconds such as 30, or 5m"),
        ({"jitter": -1}, "field 'jitter': should be a number of seconds such as 30, or 5m"),
        ({"enabled": "perhaps"}, "field 'enabled': should be true or false, written without quotes"),
        ({"schedules": 5}, "field 'schedules': should be a list"),
        ({"schedule": {"cron": ["* * * * *"]}}, "field 'schedule.cron': should be text"),
        ({"every": "5m", "start": "soon"}, "field 'start': should be a date, or a date and time such as 2026-01-31"),
        ({"every": "5m", "catch_up_limit": 0}, "field 'catch_up_limit': should be 1 or more"),
        ({"every": "5m", "catch_up_limit": "many"}, "field 'catch_up_limit': should be a whole number"),
        ({"source": [1]}, "field 'source': should be a map of names and values"),
        ({"honey_jar": 5}, "field 'honey_jar': should be a map of names and values"),
        ({"limits": {"rate": 0}}, "field 'limits.rate': should be above 0"),
        ({"scrubbing": "gdpr"}, "field 'scrubbing': should be a map of names and values"),
        ({"every": 0.001}, "field 'every': is too short: the shortest interval between flights is 1s"),
    ],
)
def test_a_field_is_named_with_what_was_expected(block, told):
    with pytest.raises(ConfigProblems) as refused:
        from_mapping("a", {"type": "local", "source": {"path": "/x"}, **block})

    assert told in str(refused.value)
    assert not PYTHON.search(str(refused.value))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, "x"), (int, 1.5), (float, "x"), (bool, "x"), (str, 5), (list[int], 5), (tuple[int, ...], 5),
        (set[int], 5), (dict[str, int], 5), (Inner, 5), (dt.datetime, "x"), (dt.date, "x"), (dt.time, "x"), (Path, 5),
        (AnyUrl, "x"), (None, 5), (bytes, 5), (type[int], 5),
    ],
)  # fmt: skip
def test_no_kind_of_value_is_told_in_pythons_words(kind, value):
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)

    for error in refused.value.errors():
        assert plain(error).startswith("should ")
        assert not PYTHON.search(plain(error)), plain(error)


def test_bounds_and_lengths_are_told_with_their_number():
    class Bounded(BaseModel):
        low: int = Field(0, ge=2)
        short: list[int] = Field([], min_length=1)
        long: str = Field("", max_length=3)
        word: Literal["a", "b"] = "a"

    with pytest.raises(ValidationError) as refused:
        Bounded.model_validate({"low": 1, "short": [], "long": "abcd"})

    assert [plain(error) for error in refused.value.errors()] == [
        "should be 2 or more", "should have at least 1 item", "should have at most 3 characters",
    ]  # fmt: skip


def test_a_setting_is_told_in_the_same_words(bare_hive):
    bare_hive.set({"HIVE_GATEWAY_PORT": "eighty"})

    said = bare_hive("status")

    assert (said.code, said.err) == (2, "hive: the environment variable HIVE_GATEWAY_PORT: should be a whole number\n")


def test_bees_that_nothing_makes_fly_are_noted(bare_hive, tmp_path):
    block = {"type": "local", "source": {"path": str(tmp_path)}, "scrubbing": {"profile": "gdpr_compliant"}}
    bees = {"timed": {**block, "every": "5m"}, "after": {**block, "after": "timed"}, "alone": block}
    bees["off"] = {**block, "enabled": False}
    (tmp_path / "hive.yaml").write_text(json.dumps({"bees": bees}))

    said = bare_hive("config", "check", "hive.yaml")

    assert said.code == 0
    assert "note: neither a schedule nor an event flies alone: `hive fly BEE` does" in said.err
    assert bare_hive("config", "check", "hive.yaml", "--json").json["by_hand"] == ["alone"]
