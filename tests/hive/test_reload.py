"""A new configuration: whole or not at all, as a version that can be shown and taken back; flights keep theirs."""

from __future__ import annotations

import time

import pytest
import yaml

from hive.config.problems import ConfigProblems
from hive.flight.collect import collect
from hive.flight.work import bee_of
from hive.versions import UnknownVersion
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]


@pytest.fixture
def reload(nest, tmp_path):
    """Reload a file with these bees: name -> more of its block."""

    def reloaded(**bees):
        blocks = {}
        for name, more in bees.items():
            folder = tmp_path / "sources" / name
            folder.mkdir(parents=True, exist_ok=True)
            blocks[name] = {"type": "local", "source": {"path": str(folder)}, **more}
        file = tmp_path / "hive.yaml"
        file.write_text(yaml.safe_dump({"bees": blocks}))
        return nest.hive.reload(file)

    return reloaded


def config_of(nest, name):
    return nest.one("SELECT config FROM hive.bee WHERE name = %s", name)


class TestDiff:
    def test_it_says_what_was_added_removed_changed_and_is_read_anew(self, reload):
        reload(stays={}, goes={}, slower={"every": 60}, stricter={})

        change = reload(
            stays={}, new={}, slower={"every": 90}, stricter={"scrubbing": {"profile": "gdpr_compliant"}}
        ).json()

        assert isinstance(change.pop("version"), int)
        assert change == {
            "added": ["new"],
            "removed": ["goes"],
            "changed": ["slower", "stricter"],
            "full_read": ["stricter"],
            "unchanged": 1,
        }

    def test_the_same_again_makes_no_version(self, nest, reload):
        reload(a={}, b={"every": 60})
        before = nest.everything()

        assert reload(a={}, b={"every": 60}).version is None
        assert nest.everything() == before

    def test_another_folder_is_read_anew(self, nest, reload, tmp_path):
        reload(a={})

        change = reload(a={"source": {"path": str(tmp_path)}})

        assert change.full_read == ("a",)

    def test_another_source_has_asked_nobody_to_come_back_later(self, nest, reload, tmp_path):
        reload(a={}, b={})
        nest.run("UPDATE hive.bee SET retry_at = clock_timestamp() + interval '1 hour'")

        reload(a={"source": {"path": str(tmp_path)}}, b={"every": 60})

        assert nest.rows("SELECT name FROM hive.bee WHERE retry_at IS NOT NULL") == [("b",)]

    def test_a_new_interval_holds_at_once(self, nest, reload):
        reload(a={"every": "1d"})
        reload(a={"every": "10s"})

        assert nest.one("SELECT next_slot < clock_timestamp() + interval '11 seconds' FROM hive.schedule")


class TestHistory:
    def test_versions_are_listed_and_taken_back(self, nest, reload):
        first = reload(a={"every": 60}, b={}).version
        second = reload(a={"every": 90}, c={}).version
        block = config_of(nest, "a")

        change = nest.hive.config_rollback(first)

        assert (change.added, change.removed, change.changed) == (("b",), ("c",), ("a",))
        assert config_of(nest, "a") != block
        assert nest.rows("SELECT name, enabled FROM hive.bee ORDER BY name") == [("a", True), ("b", True), ("c", False)]
        told = nest.hive.config_history()
        assert [v.version for v in told] == [change.version, second, first]
        assert [v.active for v in told] == [True, False, False]
        assert told[0].source == f"version {first}"

    def test_taking_back_a_taking_back(self, nest, reload):
        reload(a={"every": 60})
        second = reload(a={"every": 90}, b={}).version
        nest.hive.config_rollback(reload(a={"every": 30}).version - 2)

        nest.hive.config_rollback(second)

        assert config_of(nest, "a")["schedules"][0]["every"] == 90
        assert nest.rows("SELECT name, enabled FROM hive.bee ORDER BY name") == [("a", True), ("b", True)]

    def test_a_connector_that_is_gone_is_named_with_bee_and_version(self, nest, reload, monkeypatch):
        first = reload(a={"every": 60}, b={}).version
        reload(b={})
        nest.run(
            "UPDATE hive.config_version SET body = jsonb_set(jsonb_set(body, '{blocks,a,type}', '\"gone\"'),"
            " '{blocks,b,schedules}', '[{\"every\": 0.1}]') WHERE id = %s",
            first,
        )

        with pytest.raises(ConfigProblems) as refused:
            nest.hive.config_rollback(first)

        assert str(refused.value).splitlines() == [
            (
                f"bee 'a': version {first} needs a connector: no connector is named 'gone', "
                "expected the connector back, or another version of `hive config history`"
            ),
            (
                f"bee 'b', field 'schedules.0.every': version {first} was written for another release: "
                "is too short: the shortest interval between flights is 1s"
            ),
        ]
        assert nest.rows("SELECT name, enabled FROM hive.bee ORDER BY name") == [("a", False), ("b", True)]

    def test_a_version_that_is_no_fleet_is_named(self, nest):
        with pytest.raises(UnknownVersion, match="there is no version 99"):
            nest.hive.config_rollback(99)
        nest.register("alone")
        with pytest.raises(UnknownVersion, match=r"of one registered bee \(alone\) and no whole fleet"):
            nest.hive.config_rollback(nest.one("SELECT max(id) FROM hive.config_version"))

    def test_versions_hold_no_secret(self, nest, tmp_path):
        file = tmp_path / "hive.yaml"
        source = {"host": "localhost", "database": "x", "user": "u", "password": "a-very-secret-word"}
        file.write_text(yaml.safe_dump({"bees": {"shop": {"type": "postgresql", "source": source}}}))
        nest.hive.reload(file)

        assert "a-very-secret-word" not in str(nest.everything())

    def test_what_other_systems_files_say_is_kept_without_secrets(self, nest, tmp_path):
        file = tmp_path / "hive.yaml"
        extras = {"api_token": "a-very-secret-word", "team": "north"}
        block = {"type": "local", "source": {"path": str(tmp_path)}, "extras": extras}
        file.write_text(yaml.safe_dump({"bees": {"a": block}}))
        nest.hive.reload(file)

        assert config_of(nest, "a")["extras"] == {"api_token": "********", "team": "north"}
        assert "a-very-secret-word" not in str(nest.rows("SELECT body::text FROM hive.config_version"))


class TestBadVersions:
    def test_it_changes_nothing_and_says_why(self, nest, reload):
        reload(a={"every": 60})
        before = nest.everything()

        with pytest.raises(ConfigProblems, match="bee 'b', field 'evry'"):
            reload(a={"every": 90}, b={"evry": 60})

        assert nest.everything() == before

    @pytest.mark.parametrize("enabled", [True, False])
    def test_a_bee_of_the_file_cannot_be_registered_over(self, nest, reload, tmp_path, enabled):
        reload(a={"enabled": enabled})

        with pytest.raises(ConfigProblems, match="the configuration file has a bee of this name"):
            nest.hive.register_worker("local", {"name": "a", "path": str(tmp_path)})


class TestRunningFlights:
    """A flight keeps what it began with, but for credentials and stricter scrubbing."""

    def test_a_flight_reads_where_it_began_to(self, nest, reload, tmp_path):
        reload(a={})
        write(tmp_path / "sources" / "a" / "a.jsonl", [{"id": 1, "name": "old place"}])
        other = tmp_path / "other"
        other.mkdir()
        write(other / "a.jsonl", [{"id": 2, "name": "new place"}])
        nest.fly("a")

        reload(a={"source": {"path": str(other)}})
        nest.drain()

        assert [row["name"] for row in nest.jar("a").values()] == ["old place"]
        nest.land("a")
        assert "new place" in [row["name"] for row in nest.jar("a").values()]

    def test_a_flight_of_before_says_nothing_in_the_epoch_of_a_newer_one(self, make_nest, tmp_path, reload):
        """Seen: it moved the new cursor past rows of the new source that nobody had read."""
        nest = make_nest(leg=0, batch_rows=2)  # each leg hands over after a batch
        old, new = tmp_path / "sources" / "a", tmp_path / "new"
        new.mkdir()
        source = {"batch_rows": 2}
        reload(a={"source": {"path": str(old), **source}})
        for folder, first in ((old, 0), (new, 100)):
            for n in range(4):
                write(folder / f"{n}.jsonl", [{"id": first + 10 * n + i, "name": folder.name} for i in range(4)])
        before = nest.fly("a")
        nest.work(nest.due()[0])
        late = nest.claim(nest.due("collect")[0])  # in the air

        reload(a={"source": {"path": str(new), **source}})
        after = nest.fly("a")
        for task in nest.due("plan"):
            nest.work(task)
        bee = bee_of(late, nest.rt)
        collect(late, bee, nest.rt)
        for _ in range(20):
            nest.hurry()
            nest.drain()

        states = [nest.hive.flight(flight).state for flight in (before, after)]
        assert states == ["cancelled", "complete"]
        assert nest.hive.flight(before).error["code"] == "superseded"
        assert sum(row["name"] == "new" for row in nest.jar("a").values()) == 16
        assert nest.land("a").records_landed == 0

    def test_a_flight_that_waits_while_another_source_is_named_does_not_take_the_stream_back(
        self, nest, reload, tmp_path
    ):
        reload(a={})
        write(tmp_path / "sources" / "a" / "a.jsonl", [{"id": 1, "name": "old"}])
        nest.land("a")
        waits = nest.fly("a")
        other = tmp_path / "other"
        other.mkdir()
        write(other / "a.jsonl", [{"id": 2, "name": "new"}])
        reload(a={"source": {"path": str(other)}})
        flies = nest.fly("a")
        plans = nest.due("plan")

        for task in reversed(plans):
            nest.work(task)
        nest.drain()

        assert [nest.hive.flight(f).state for f in (waits, flies)] == ["cancelled", "complete"]
        assert [row["name"] for row in nest.jar("a").values()].count("new") == 1

    def test_another_connector_does_not_fly_a_flight_of_before(self, nest, reload, tmp_path):
        reload(a={})
        write(tmp_path / "sources" / "a" / "a.jsonl", [{"id": 1, "name": "a row"}])
        flight = nest.fly("a")
        away = {"host": "127.0.0.1", "port": 1, "database": "x", "user": "u"}
        reload(a={"type": "postgresql", "source": away, "streams": {"t": {"key": "id"}}})

        nest.drain()

        assert nest.hive.flight(flight).records_landed == 1

    def test_stricter_scrubbing_holds_for_what_flies(self, nest, reload, tmp_path):
        reload(a={"scrubbing": {"custom_rules": [{"field": "note", "action": "replace"}]}})
        write(tmp_path / "sources" / "a" / "a.jsonl", [{"id": 1, "name": "Ada", "note": "n", "mail": "a@example.com"}])
        nest.fly("a")
        nest.drain(kinds=("plan", "collect"))

        reload(a={"scrubbing": {"profile": "gdpr_compliant"}})
        nest.drain()

        [row] = nest.jar("a").values()
        assert "example.com" not in row["mail"]
        assert row["note"] == "<REDACTED>"

    def test_laxer_scrubbing_waits_for_the_next_flight(self, nest, reload, tmp_path):
        reload(a={"scrubbing": {"profile": "gdpr_compliant"}})
        write(tmp_path / "sources" / "a" / "a.jsonl", [{"id": 1, "mail": "a@example.com"}])
        nest.fly("a")
        nest.drain(kinds=("plan", "collect"))

        reload(a={})
        nest.drain()

        assert "example.com" not in next(iter(nest.jar("a").values()))["mail"]
        nest.land("a")
        assert next(iter(nest.jar("a").values()))["mail"] == "a@example.com"


class TestCredentials:
    def test_the_newest_password_is_used_by_a_flight_of_before(self, nest, tmp_path, monkeypatch):
        from hive.flight.pinned import pinned_config

        monkeypatch.setenv("OLD_ONE", "x")
        monkeypatch.setenv("NEW_ONE", "y")
        file = tmp_path / "hive.yaml"

        def reload(password, host):
            source = {"host": host, "database": "x", "user": "u", "password": password}
            file.write_text(yaml.safe_dump({"bees": {"shop": {"type": "postgresql", "source": source}}}))
            return nest.hive.reload(file).version

        first = reload("${OLD_ONE}", "one")
        second = reload("${NEW_ONE}", "one")
        reload("${NEW_ONE}", "two")

        with nest.rt.db.single() as tx:
            bee = nest.one("SELECT id FROM hive.bee")
            sources = [pinned_config(tx, bee, version)[1]["source"] for version in (first, second)]

        # A new password is shown to the source that it was written for, and to no other.
        assert [(s["host"], s["password"]) for s in sources] == [("one", "${OLD_ONE}"), ("one", "${NEW_ONE}")]

    def test_a_flight_of_before_logs_in_with_the_newest_password(self, nest, tmp_path, monkeypatch):
        monkeypatch.setenv("OLD_ONE", "x")
        monkeypatch.setenv("NEW_ONE", "y")
        file = tmp_path / "hive.yaml"

        def reload(password, **more):
            source = {"host": "one", "database": "x", "user": "u", "password": password}
            block = {"type": "postgresql", "source": source, **more}
            file.write_text(yaml.safe_dump({"bees": {"shop": block}}))
            return nest.hive.reload(file)

        reload("${OLD_ONE}")
        nest.fly("shop")
        task = nest.claim(nest.due()[0])
        assert bee_of(task, nest.rt).config["source"]["password"] == "${OLD_ONE}"
        nest.run("UPDATE hive.task SET state = 'queued', available_at = clock_timestamp()")

        reload("${NEW_ONE}")
        task = nest.claim(nest.due()[0])

        assert bee_of(task, nest.rt).config["source"]["password"] == "${NEW_ONE}"

    def test_a_new_literal_password_is_a_change_and_a_refused_file_leaves_the_old_one(self, nest, tmp_path):
        file = tmp_path / "hive.yaml"

        def reload(password, **more):
            source = {"host": "one", "database": "x", "user": "u", "password": password}
            file.write_text(yaml.safe_dump({"bees": {"shop": {"type": "postgresql", "source": source, **more}}}))
            return nest.hive.reload(file)

        reload("first-secret")
        assert reload("first-secret").version is None
        with pytest.raises(ConfigProblems):
            reload("second-secret", after=["nobody-here"])
        assert nest.rt.vault().text("bees/shop/password") == "first-secret"

        change = reload("second-secret")

        assert (change.changed, change.full_read) == (("shop",), ())
        assert nest.rt.vault().text("bees/shop/password") == "second-secret"


def test_ten_thousand_bees_are_reloaded_in_seconds(nest, tmp_path):
    """No bound here (see `make bench`): it must end, and change exactly what changed."""

    def blocks(slow):
        return {
            f"bee-{n}": {"type": "local", "every": 90 if n in slow else 60, "source": {"path": str(tmp_path)}}
            for n in range(10_000)
        }

    file = tmp_path / "hive.yaml"
    for slow in ((), range(10)):
        file.write_text(yaml.dump({"bees": blocks(slow)}, Dumper=yaml.CSafeDumper))
        began = time.monotonic()
        change = nest.hive.reload(file)
        print(f"{len(change.added)} added, {len(change.changed)} changed in {time.monotonic() - began:.1f} s")

    assert len(change.changed) == 10
    assert nest.one("SELECT count(*) FROM hive.schedule") == 10_000
