"""A configuration file and the bees of the hive: after `apply` they agree, or nothing has changed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

import hive.versions
from hive.config.problems import ConfigProblems
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]


@pytest.fixture
def apply(nest, tmp_path):
    """Apply a file with these bees: name -> seconds between its flights."""

    def applied(**bees):
        blocks = {
            name: {"type": "local", "every": every, "source": {"path": str(tmp_path)}} for name, every in bees.items()
        }
        file = tmp_path / "hive.yaml"
        file.write_text(yaml.safe_dump({"bees": blocks}))
        return nest.hive.apply(file)

    return applied


def bees_of(nest):
    """(name, origin, enabled, schedules) of every bee."""
    return nest.rows(
        "SELECT name, origin, enabled, (SELECT count(*) FROM hive.schedule s WHERE s.bee = b.id) FROM hive.bee b"
        " ORDER BY name"
    )


def test_a_bee_that_the_file_no_longer_names_flies_no_more(nest, apply):
    nest.register("python")
    nest.hive.schedule_job("python", "*/5 * * * *")
    apply(a=60, b=60)

    assert apply(b=60) == ["b"]

    assert bees_of(nest) == [("a", "gone", False, 0), ("b", "file", True, 1), ("python", "registered", True, 1)]
    apply(a=60, b=60)
    assert bees_of(nest)[0] == ("a", "file", True, 1)


def test_an_error_midway_changes_nothing(nest, apply, monkeypatch):
    apply(a=60, b=60)
    before = nest.rows("SELECT b::text, s::text FROM hive.bee b JOIN hive.schedule s ON s.bee = b.id ORDER BY 1")
    real = hive.versions.set_all_schedules

    def fail_at_d(tx, wanted):
        if any(s.every == 99 for schedules in wanted.values() for s in schedules):
            raise RuntimeError("midway")
        real(tx, wanted)

    monkeypatch.setattr(hive.versions, "set_all_schedules", fail_at_d)
    with pytest.raises(RuntimeError, match="midway"):
        apply(b=30, c=60, d=99)

    after = nest.rows("SELECT b::text, s::text FROM hive.bee b JOIN hive.schedule s ON s.bee = b.id ORDER BY 1")
    assert after == before


def test_a_file_may_not_take_the_names_of_registered_bees(nest, apply):
    nest.register("first")
    nest.register("second")
    before = bees_of(nest)

    with pytest.raises(ConfigProblems) as caught:
        apply(a=60, first=60, second=60)

    assert [problem.bee for problem in caught.value.problems] == ["first", "second"]
    assert "bee 'first': a bee of this name was registered from Python" in str(caught.value)
    assert bees_of(nest) == before


@pytest.mark.parametrize("enabled", [True, False])
def test_a_bee_that_is_unregistered_flies_no_more_and_its_name_is_free(nest, apply, enabled):
    write(nest.register("a", every=60) / "a.jsonl", [{"id": 1}])
    nest.land("a")
    if not enabled:
        nest.register("a", every=60, enabled=False)

    assert nest.hive.unregister_worker("a")

    assert bees_of(nest) == [("a", "gone", False, 0)]
    assert nest.jar("a")
    assert not nest.hive.unregister_worker("a")
    assert nest.hive.config_history()[0].diff == {"removed": ("a",)}
    apply(a=60)
    assert bees_of(nest) == [("a", "file", True, 1)]
    with pytest.raises(ConfigProblems, match="the configuration file has a bee of this name"):
        nest.hive.unregister_worker("a")


def test_an_open_flight_tells_what_it_has_done_so_far(make_nest):
    nest = make_nest(batch_rows=1)
    write(nest.register() / "a.jsonl", [{"id": n} for n in range(4)])
    flight = nest.fly()
    nest.drain(kinds=["plan", "collect"])
    nest.work(nest.due("process")[0])

    (found,) = nest.hive.flights()

    assert (found.flight, found.state) == (flight, "running")
    assert (found.records_read, found.records_landed) == (4, 1)
    nest.drain()
    assert (nest.hive.flight(flight).state, nest.hive.flight(flight).records_landed) == ("complete", 4)


def test_a_refused_file_writes_over_no_secret(nest, tmp_path):
    source = {"host": "localhost", "database": "x", "user": "u"}
    nest.hive.register_worker("postgresql", {"name": "shop", "source": {**source, "password": "the first one"}})
    file = tmp_path / "hive.yaml"
    block = {"type": "postgresql", "source": {**source, "password": "the second one"}}
    file.write_text(yaml.safe_dump({"bees": {"shop": block}}))

    with pytest.raises(ConfigProblems):
        nest.hive.apply(file)

    assert nest.rt.vault().text("bees/shop/password") == "the first one"


class TestScheduleJob:
    def schedules(self, nest):
        return nest.rows("SELECT s.spec ->> 'cron', s.spec ->> 'every' FROM hive.schedule s ORDER BY 1")

    def test_a_schedule_is_part_of_the_configuration(self, nest):
        folder = nest.register("people", schedule="0 2 * * *", jitter=7)

        nest.hive.schedule_job("people", "*/5 * * * *")

        assert self.schedules(nest) == [("*/5 * * * *", None)]
        block, version = nest.rows("SELECT config, config_version FROM hive.bee")[0]
        assert [(one["cron"], one["jitter"]) for one in block["schedules"]] == [("*/5 * * * *", 7.0)]
        assert block["source"]["path"] == str(folder)
        newest = nest.hive.config_history()[0]
        assert (newest.version, newest.origin, newest.active) == (version, "registered", True)

    def test_a_change_of_the_bee_from_its_own_block_keeps_it(self, nest):
        nest.register("people")
        nest.hive.schedule_job("people", "5m")
        block = nest.one("SELECT config FROM hive.bee")

        nest.hive.register_worker("local", {"name": "people", **block, "limits": {"concurrency": 2}})

        assert self.schedules(nest) == [(None, "300.0")]

    def test_secrets_stay_in_the_vault(self, nest):
        source = {"host": "localhost", "database": "x", "user": "u", "password": "canary-31d0"}
        nest.hive.register_worker("postgresql", {"name": "shop", "source": source})

        nest.hive.schedule_job("shop", "1h")

        assert nest.one("SELECT config -> 'source' ->> 'password' FROM hive.bee") == "{{ vault:bees/shop/password }}"
        assert nest.rt.vault().text("bees/shop/password") == "canary-31d0"

    def test_a_bee_of_a_file_is_scheduled_in_its_file(self, nest, apply):
        apply(a=60)
        before = nest.rows("SELECT b::text, s::text FROM hive.bee b JOIN hive.schedule s ON s.bee = b.id")

        with pytest.raises(ConfigProblems, match="bee 'a', field 'schedule': comes from the configuration file"):
            nest.hive.schedule_job("a", "5m")

        assert nest.rows("SELECT b::text, s::text FROM hive.bee b JOIN hive.schedule s ON s.bee = b.id") == before

    def test_what_is_no_schedule_changes_nothing(self, nest):
        nest.register("people")

        with pytest.raises(ValueError, match="'sometimes' is no schedule"):
            nest.hive.schedule_job("people", "sometimes")

        assert len(nest.hive.config_history()) == 1


def test_a_worker_of_the_documents_flies(nest):
    folder = nest.folder / "in"
    folder.mkdir()
    write(folder / "a.jsonl", [{"id": 1}])
    config = {"type": "local", "source_path": str(folder), "patterns": ["*.jsonl"]}

    name = nest.hive.register_worker("file_worker", {"config": config, "processing": {"target_honey_jar": "papers"}})

    assert name.startswith("file_worker-")
    assert nest.rows("SELECT connector, config -> 'honey_jar' ->> 'name' FROM hive.bee") == [("local", "papers")]
    nest.hive.fly(name)
    nest.drain()
    assert nest.hive.flights(name)[0].records_landed == 1


@pytest.mark.parametrize(
    ("worker_type", "config", "told"),
    [
        ("local", None, "config is of another kind, expected a map of the connector's options"),
        ("local", [("path", "/x")], "config is of another kind"),
        (None, {"path": "/x"}, "worker_type is of another kind, expected the name of a connector"),
        ("local", {}, "is missing"),
    ],
)
def test_what_cannot_be_registered_is_told_in_words(nest, worker_type, config, told):
    with pytest.raises(ConfigProblems, match=told):
        nest.hive.register_worker(worker_type, config)

    assert bees_of(nest) == []


@pytest.mark.parametrize("schedule", [5, None, True, ["5m"], "soon", ""])
def test_what_is_no_schedule_is_told_in_words(nest, schedule):
    nest.register("a")

    with pytest.raises(ValueError, match=r"bee 'a': .* expected a cron expression such as"):
        nest.hive.schedule_job("a", schedule)

    assert bees_of(nest) == [("a", "registered", True, 0)]


def test_a_command_that_only_reads_starts_without_arrow_and_its_kin():
    code = (
        "import sys, hive.manager, hive.status, hive.cli\n"
        "print(sorted({'numpy', 'pandas', 'polars', 'pyarrow', 'presidio_analyzer'}.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"
