"""A configuration that a hive did not take, and bees that cannot fly: both are seen by those who look."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from hive.config.problems import ConfigProblems
from hive.reloader import Reloader
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "hive.yaml"


def write(file, **bees: Any) -> None:
    local = {"type": "local", "source": {"path": str(file.parent)}, "scrubbing": {"profile": "gdpr_compliant"}}
    file.write_text(yaml.safe_dump({"bees": {name: {**local, **block} for name, block in bees.items()}}))


def wrong(hive) -> list[dict[str, str]]:
    found = hive("doctor", "--json").json["findings"]
    return [finding for finding in found if finding["what"] == "the changed configuration was refused"]


class TestRefused:
    @pytest.fixture
    def watched(self, nest, file):
        """A reloader as a hive has it that watches `file`."""
        write(file, a={})
        return Reloader([file], lambda: nest.hive.reload(file, secrets=False, note=True))

    def again(self, reloader: Reloader) -> None:
        reloader.ask()
        reloader.look()
        reloader.wait()

    def test_it_shows_until_one_is_taken_into_use(self, hive, file, watched):
        self.again(watched)
        assert wrong(hive) == []

        write(file, a={"every": "soon", "evry": 5})
        self.again(watched)
        self.again(watched)

        (finding,) = wrong(hive)
        assert (finding["level"], finding["where"]) == ("wrong", str(file))
        assert finding["next"] == f"hive config check {file}"
        assert "field 'every': is no interval" in finding["why"]
        assert "(and 1 more)" in finding["why"]
        status = hive("status", "--json").json["config_refused"]
        assert (status["source"], status["count"]) == (str(file), 2)
        assert "was refused at" in hive("status").err
        assert "did you mean 'every'?" in hive("status").err

        write(file, a={})  # as it was: nothing changes, and yet it is in use
        self.again(watched)

        assert wrong(hive) == []
        assert hive("status", "--json").json["config_refused"] is None

    def test_a_command_that_is_refused_says_so_itself(self, nest, hive, file):
        write(file, a={"evry": 5})

        with pytest.raises(ConfigProblems):
            nest.hive.reload(file)

        assert wrong(hive) == []

    def test_a_bee_of_python_with_the_same_name_is_a_refusal_too(self, nest, hive, file, watched):
        nest.register("a")

        self.again(watched)

        assert "registered from Python" in wrong(hive)[0]["why"]


class TestCannotFly:
    @pytest.fixture
    def fleet(self, nest, file):
        write(file, a={}, later={"type": "oracle", "source": {}})
        nest.hive.reload(file, secrets=False)
        return nest

    def test_such_a_bee_is_listed_with_the_reason(self, fleet, hive):
        found = {bee["name"]: bee for bee in hive("bees", "--json").json}
        status = {bee["name"]: bee["cannot_fly"] for bee in hive("status", "--json").json["bees"]}

        assert found["a"]["cannot_fly"] is None
        assert found["later"]["cannot_fly"] == status["later"] == "connector 'oracle' is not built"
        assert "connector 'oracle' is not built" in hive("bees").out
        assert "cannot fly" in hive("status").out
        finding = next(f for f in hive("doctor", "--json").json["findings"] if "cannot fly" in f["what"])
        assert (finding["level"], finding["where"]) == ("waiting", "bee later")

    def test_one_that_flew_before_keeps_its_row(self, fleet, hive, file):
        write(file, a={"type": "oracle", "source": {}}, later={})
        fleet.hive.reload(file, secrets=False)

        found = {bee["name"]: bee for bee in hive("bees", "--json").json}

        assert (found["a"]["enabled"], found["a"]["cannot_fly"]) == (False, "connector 'oracle' is not built")
        assert found["later"]["cannot_fly"] is None

    def test_the_same_again_makes_no_version(self, fleet, file):
        assert fleet.hive.reload(file, secrets=False).version is None
        write(file, a={})
        assert fleet.hive.reload(file, secrets=False).version is not None
        assert [bee["name"] for bee in fleet.hive.bees()] == ["a"]
        assert fleet.hive.reload(file, secrets=False).version is None

    def test_nobody_is_told_of_it_where_all_can_fly(self, nest, hive):
        nest.register("a")

        assert "cannot fly" not in hive("bees").out + hive("status").out


def test_times_in_tables_have_their_zone(nest, hive, monkeypatch):
    (nest.register("a") / "a.jsonl").write_text('{"id": 1}\n')
    nest.land("a")

    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z0-9+-]{2,5}\b", hive("flights").out)
