"""Bees that nothing names any more, that are disabled, or that cannot fly yet: what commands say of them and refuse."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from hive.config.model import GroundedBee, RemovedBee, UnknownBee
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]


@pytest.fixture
def reload(nest, tmp_path):
    """Reload a file with these bees: name -> more of its block."""

    def reloaded(**bees: Any):
        folder = tmp_path / "rows"
        folder.mkdir(exist_ok=True)
        (folder / "a.jsonl").write_text('{"id": 1}\n')
        source = {"path": str(folder), "streams": {"rows": {"patterns": "*.jsonl", "key": "id"}}}
        local = {"type": "local", "source": {"path": source["path"]}, "streams": source["streams"]}
        file = tmp_path / "hive.yaml"
        file.write_text(yaml.safe_dump({"bees": {name: {**local, **block} for name, block in bees.items()}}))
        return nest.hive.reload(file, secrets=False)

    return reloaded


class TestRemoved:
    @pytest.mark.parametrize("enabled", [True, False])
    def test_it_is_removed_once_and_its_name_is_free(self, nest, reload, enabled):
        reload(a={"enabled": enabled}, b={})

        assert reload(b={}).removed == ("a",)
        assert reload(b={}).version is None

        nest.register("a")
        assert reload(b={}).version is None
        assert nest.one("SELECT origin FROM hive.bee WHERE name = 'a'") == "registered"

    def test_it_comes_back_with_what_it_landed(self, nest, reload):
        reload(a={}, b={})
        nest.land("a")
        reload(b={})

        assert reload(a={}, b={}).added == ("a",)

        assert nest.land("a").records_read == 0  # it goes on where it had stopped
        assert list(nest.jar("a")) == ["1"]

    def test_it_does_not_fly_and_its_past_is_seen(self, nest, reload, hive):
        reload(summer={}, b={})
        nest.land("summer")
        reload(b={})

        said = hive("fly", "summer")

        assert said.code == 2
        assert "bee 'summer' was removed" in said.err
        assert "hive reload" in said.err
        assert hive("flight", "summer", "--json").json["state"] == "complete"
        with pytest.raises(RemovedBee):
            nest.hive.schedule_job("summer", "5m")
        with pytest.raises(UnknownBee) as caught:
            nest.hive.fly("sumer")
        assert "summer" not in str(caught.value)

    def test_its_flight_is_not_begun_again(self, nest, reload, hive):
        reload(a={}, b={})
        flight = nest.fly("a")
        nest.hive.cancel(flight)
        nest.drain()
        reload(b={})

        said = hive("retry", flight)

        assert said.code == 2
        assert "bee 'a' was removed" in said.err
        assert nest.one("SELECT count(*) FROM hive.flight") == 1

    def test_it_is_hidden_and_the_doctor_is_silent(self, nest, reload, hive, tmp_path):
        reload(a={"source": {"path": str(tmp_path / "nowhere")}}, b={})
        nest.land("a")
        assert "bee a" in str(hive("doctor", "--json").json)
        reload(b={})

        assert [bee["name"] for bee in hive("bees", "--json").json] == ["b"]
        shown = {bee["name"]: bee["removed"] for bee in hive("bees", "--removed", "--json").json}
        assert shown == {"a": True, "b": False}
        assert "removed" in hive("bees", "--removed").out
        assert [bee["name"] for bee in hive("status", "--json").json["bees"]] == ["b"]
        assert "bee a" not in str(hive("doctor", "--json").json)


class TestDisabled:
    def test_a_person_may_fly_it_and_is_told(self, nest, reload, hive):
        reload(a={"enabled": False, "every": 60})

        said = hive("fly", "a", "--json")
        nest.drain()

        assert said.code == 0
        assert "a is disabled in its configuration" in said.err
        assert nest.hive.flight(said.json["flight"]).state == "complete"


class TestCannotFlyYet:
    @pytest.mark.parametrize("command", ["check", "schema", "fly"])
    def test_a_command_says_what_is_missing(self, reload, hive, command):
        reload(later={"type": "oracle", "source": {}})

        said = hive(command, "later")

        assert said.code == 2
        assert "bee 'later' cannot fly yet: connector 'oracle' is not built" in said.err

    def test_one_that_flew_before_says_so_too(self, nest, reload):
        reload(a={}, b={})
        reload(a={"type": "oracle", "source": {}}, b={})

        with pytest.raises(GroundedBee, match="connector 'oracle' is not built"):
            nest.hive.fly("a")

    def test_the_doctor_leads_to_where_it_can_be_mended(self, nest, hive, tmp_path):
        file = tmp_path / "hive.yaml"
        block = {"type": "postgresql", "draft": True, "source": {"host": "h", "database": "d"}}
        file.write_text(yaml.safe_dump({"bees": {"later": {"type": "oracle", "source": {}}, "half": block}}))
        nest.hive.reload(file, secrets=False)

        found = {f["where"]: f["next"] for f in hive("doctor", "--json").json["findings"] if "cannot fly" in f["what"]}

        assert found == {"bee later": "hive connectors", "bee half": f"hive config check {file}"}
        assert {bee["name"] for bee in hive("bees", "--json").json} == {"later", "half"}
        assert hive("bees").code == hive("status").code == 0


class TestCheckedAgainstTheHive:
    def test_a_name_that_was_registered_is_refused_as_the_reload_refuses_it(self, nest, hive, tmp_path):
        nest.register("python")
        file = tmp_path / "hive.yaml"
        file.write_text(f"bees:\n  other: {{type: local, source: {{path: {tmp_path}}}}}\n"
                        f"  python: {{type: local, source: {{path: {tmp_path}}}}}\n")  # fmt: skip

        (problem,) = hive("config", "check", str(file), "--json").json["problems"]

        assert (problem["bee"], problem["line"]) == ("python", 3)
        assert "registered from Python" in problem["message"]

    def test_a_round_through_a_registered_bee_is_shown(self, nest, reload, hive, tmp_path):
        reload(a={})
        nest.register("python", after=["a"])
        file = tmp_path / "new.yaml"
        file.write_text(f"bees: {{a: {{type: local, source: {{path: {tmp_path}}}, after: [python]}}}}\n")

        (problem,) = hive("config", "check", str(file), "--json").json["problems"]

        assert problem["bee"] == "a"
        assert "a -> python -> a" in problem["message"]
