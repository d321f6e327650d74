"""The README is held against what it describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from bees.core.bee import WorkerBee
from hive.cli import app
from hive.config.load import load
from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands(group: typer.Typer = app, before: str = "hive") -> list[str]:
    named = [f"{before} {c.name or c.callback.__name__}" for c in group.registered_commands]
    return named + [n for g in group.registered_groups for n in commands(g.typer_instance, f"{before} {g.name}")]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_it(command):
    group, _, last = command.rpartition(" ")

    assert command in README or re.search(rf"`{group} [^|]*`{last}`", README), f"{command} is not described"


def test_its_configuration_loads(tmp_path):
    for number, example in enumerate(blocks("yaml")):
        (tmp_path / f"{number}.yaml").write_text(example)

    asked = set(re.findall(r"\$\{([A-Z_]+)\}", "".join(blocks("yaml"))))
    made_up = dict.fromkeys(asked, "made-up-and-long-enough")
    fleet = load(tmp_path, environ=made_up)

    named = re.findall(r"^  ([a-z-]+):(?= *(?:#.*)?\n    type:)", "".join(blocks("yaml")), flags=re.MULTILINE)
    assert sorted(fleet.bees) == sorted(named)
    assert {"shop", "orders-hook", "help-desk", "reports"} <= fleet.bees.keys()
    assert not any(bee.missing for bee in fleet.bees.values())
    assert list(fleet.scrubbing_profiles) == ["support"]
    config = {"profile": "support", "profiles": fleet.scrubbing_profiles}
    assert DataScrubber(config, InMemoryKeys()).process("EMP-17 at 192.0.2.7") == "<REDACTED> at 192.0.2.0/24"


def test_its_bee_is_a_bee():
    (example,) = [block for block in blocks("python") if "(WorkerBee)" in block]
    made: dict[str, type[WorkerBee]] = {"__name__": "weather"}
    exec(compile(example, "weather.py", "exec"), made)
    bee = made["WeatherBee"].from_options({"url": "http://localhost:1"})

    assert [stream.name for stream in bee.get_pollen_schema()] == ["days"]


def test_its_python_names_what_there_is():
    from hive import HiveManager
    from nectar.scrub import detect

    assert DataScrubber({"custom_rules": [{"field": "notes", "action": "replace"}]}).process({"notes": "call me"}) == {
        "notes": "<REDACTED>"
    }
    assert [f.entity_type for f in detect(["call 202-555-0143"], entities=["PHONE_NUMBER"])[0]] == ["PHONE_NUMBER"]
    called = {name for block in blocks("python") for name in re.findall(r"hive\.(\w+)\(", block)}
    assert called
    assert not [name for name in called if not hasattr(HiveManager, name)]


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`((?:hive|bees|nectar|tests)/[\w./]*)`", README))))
def test_every_place_in_it_exists(place):
    assert (ROOT / place).exists() or place in ("bees/weather.py", "tests/bees/test_weather.py", "tests/bench/")
