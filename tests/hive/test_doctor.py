"""What the doctor finds: each fault is made in a real ledger, and the command that he names mends it or shows more."""

from __future__ import annotations

import time

import psycopg
import pytest

from bees.core.errors import GiveUp, RetryLater
from hive.doctor import ledger as looks
from hive.flight import process
from hive.settings import settings
from hive.status import look
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest, write
from tests.hive.test_cancel import fail_reading, stumble

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

ADA = {"id": 1, "name": "Ada"}


@pytest.fixture
def people(nest):
    """A bee that has flown, a worker of its queues and a janitor."""
    nest.file = write(nest.register() / "a.jsonl", [ADA])
    nest.land()
    with nest.rt.db.transaction() as tx:
        for owner, queues in (("keeper:1:1", []), ("bees:1:1", ["bees.file", "nectar"])):
            tx.run("beat", id=owner, host="nest", pid=1, queues=queues, lease=3600, rss=0)
    nest.run("DELETE FROM hive.worker WHERE id = %s", nest.rt.owner)
    return nest


def found(hive) -> dict[str, dict[str, str]]:
    """what -> finding, and the exit code holds what they say."""
    said = hive("doctor", "--json")
    findings = said.json["findings"]
    wrong = any(finding["level"] == "wrong" for finding in findings)
    assert (said.code, said.json["healthy"]) == (int(wrong), not wrong)
    assert all(finding[part] for finding in findings for part in ("what", "where", "why", "next"))
    return {finding["what"]: finding for finding in findings}


def only(hive, what: str) -> tuple[str, str, str]:
    """The one finding: (level, where, next)."""
    all_of_them = found(hive)
    assert set(all_of_them) == {what}
    one = all_of_them[what]
    return one["level"], one["where"], one["next"]


class TestHealthy:
    def test_nothing_is_found_and_the_exit_code_is_0(self, people, hive):
        said = hive("doctor")

        assert (said.code, said.out) == (0, "")
        assert "nothing is wrong" in said.err

    def test_looking_changes_nothing(self, people, hive):
        people.fly()
        before = people.everything()

        hive("doctor")

        assert people.everything() == before


class TestWork:
    def test_due_work_without_a_worker(self, people, hive):
        people.fly()
        people.run("UPDATE hive.worker SET queues = '{nectar}' WHERE queues <> '{}'")

        level, where, then = only(hive, "due work has no worker")

        assert (level, where, then) == ("wrong", "queue bees.file", "hive worker --queues bees.file")

    def test_tasks_of_a_dead_worker(self, people, hive):
        people.fly()
        doomed = people.runtime("doomed:1:1")
        people.claim(people.due()[0], doomed)
        people.bury("doomed:1:1")
        assert only(hive, "a dead worker holds tasks") == ("waiting", "worker doomed:1:1", "hive balance")

        people.run("UPDATE hive.worker SET beat_at = beat_at - interval '1 hour' WHERE id = 'doomed:1:1'")
        people.run("UPDATE hive.task SET started_at = started_at - interval '1 hour' WHERE state = 'running'")
        assert only(hive, "a dead worker holds tasks")[0] == "wrong"

        assert hive("balance").code == 0
        assert found(hive) == {} or set(found(hive)) == {"tasks wait to be tried again"}

    def test_a_task_that_waits_to_be_tried_again(self, people, hive, monkeypatch):
        flight = people.fly()
        fail_reading(monkeypatch, RetryLater("the folder is busy", code="busy"))
        people.work(people.due()[0])

        level, where, then = only(hive, "tasks wait to be tried again")

        assert (level, where, then) == ("waiting", "bee people", f"hive flight {flight}")
        assert "the folder is busy" in found(hive)["tasks wait to be tried again"]["why"]

    def test_a_source_that_asked_for_patience(self, people, hive):
        people.run("UPDATE hive.bee SET retry_at = clock_timestamp() + interval '1 hour'")

        assert only(hive, "a bee waits for its source")[:2] == ("waiting", "bee people")

    def test_a_source_that_failed_so_often_that_it_is_left_alone(self, people, hive):
        people.run("UPDATE hive.bee SET retry_at = clock_timestamp() + interval '1 hour', endpoint = 'a:1'")
        people.run(
            "INSERT INTO hive.breaker (endpoint, state, failures, until)"
            " VALUES ('a:1', 'open', 5, clock_timestamp() + interval '1 hour')"
        )

        assert only(hive, "a bee leaves its source alone") == ("waiting", "bee people", "hive check people")

    def test_a_bee_that_leaves_slots_out_though_its_flights_end_well(self, people, hive):
        people.run("UPDATE hive.tally SET current_at = now() - interval '5 minutes'")
        people.run(
            "INSERT INTO hive.slot (bee, slot_key, outcome)"
            " SELECT id, 'default@' || n, 'skipped:overlap' FROM hive.bee, generate_series(1, 2) n"
        )

        assert only(hive, "a bee cannot keep its rhythm") == ("wrong", "bee people", "hive flights people")
        people.run("UPDATE hive.bee SET paused_at = now()")
        assert set(found(hive)) == {"a bee is paused"}

    def test_a_bee_that_fails_is_not_told_to_fly_less_often(self, people, hive, monkeypatch):
        people.run("UPDATE hive.tally SET current_at = now() - interval '5 minutes'")
        people.run(
            "INSERT INTO hive.slot (bee, slot_key, outcome)"
            " SELECT id, 'default@' || n, 'skipped:overlap' FROM hive.bee, generate_series(1, 2) n"
        )
        fail_reading(monkeypatch, RetryLater("the server failed", code="server_error"))
        people.fly()
        people.work(people.due()[0])

        assert set(found(hive)) == {"tasks wait to be tried again"}

    def test_a_paused_or_disabled_bee_does_not_fly_on_by_itself(self, people, hive):
        people.run("UPDATE hive.bee SET retry_at = clock_timestamp() + interval '1 hour', paused_at = now()")
        assert set(found(hive)) == {"a bee is paused"}

        people.run("UPDATE hive.bee SET enabled = false, paused_at = NULL")
        assert set(found(hive)) == {"bees are disabled"}

    @pytest.mark.parametrize(
        ("seconds", "what", "level"), [(10, "a flight does not get on", "waiting"), (120, "a flight is stuck", "wrong")]
    )
    def test_a_flight_that_has_not_got_on_for_a_while(self, people, hive, seconds, what, level):
        """As `hive status` calls it; only after long is it safe to say that it does not come again."""
        flight = people.fly()
        people.claim(people.due()[0], people.runtime("at work:1:1"))
        for table in ("flight", "task"):
            people.run(
                f"UPDATE hive.{table} SET started_at = started_at - interval '{seconds} seconds'"
                " WHERE state = 'running'"
            )

        assert only(hive, what) == (level, f"bee people, flight {flight}", f"hive flight {flight}")
        assert (hive("bees", "--json").code, look(people.rt.db)["bees"][0]["state"]) == (
            0, "stuck" if level == "wrong" else "quiet",
        )  # fmt: skip

    def test_a_reader_that_is_told_to_wait_for_changes_gets_on(self, people, hive):
        people.run("""UPDATE hive.bee SET config = jsonb_set(config, '{source,cdc}', '{"wait": 900}')""")
        people.fly()
        people.claim(people.due()[0], people.runtime("at work:1:1"))
        for table in ("flight", "task"):
            people.run(
                f"UPDATE hive.{table} SET started_at = started_at - interval '11 minutes' WHERE state = 'running'"
            )

        assert not {"a flight is stuck", "a flight does not get on"} & set(found(hive))

    def test_a_lease_of_nobody_is_free_after_the_command(self, people, hive):
        people.run("UPDATE hive.lease SET task = 4711, taken_at = clock_timestamp()")
        people.run("INSERT INTO hive.source_slot (source, n, task) VALUES ('people', 1, 4711)")
        faults = found(hive)
        assert [lease["alive"] for lease in hive("lease", "list", "--json").json] == [False]
        assert {fault["next"] for fault in faults.values()} == {"hive lease release people"}
        assert set(faults) == {"a lease is held by nobody", "places at a source are held by nobody"}

        assert hive("lease", "release", "people").code == 0
        assert found(hive) == {}

    def test_a_flight_far_longer_than_usual_and_one_that_is_stuck(self, people, hive):
        people.fly()
        people.claim(people.due()[0], people.runtime("at work:1:1"))
        people.run("UPDATE hive.flight SET started_at = started_at - interval '9 minutes' WHERE state = 'running'")
        level, where, _ = only(hive, "a flight takes far longer than usual")
        assert (level, where.startswith("bee people, flight")) == ("waiting", True)

        for table in ("flight", "task"):
            people.run(
                f"UPDATE hive.{table} SET started_at = started_at - interval '11 minutes' WHERE state = 'running'"
            )
        level, where, then = only(hive, "a flight is stuck")
        assert (level, then.partition(" 0")[0][:11]) == ("wrong", "hive cancel")

    def test_hints_that_got_lost(self, people, hive):
        people.fly()
        people.run("UPDATE hive.task SET hinted_at = clock_timestamp() - interval '5 minutes' WHERE state = 'queued'")

        assert only(hive, "announcements of work are lost") == ("wrong", "queue bees.file", "hive balance")
        assert hive("balance").code == 0
        assert found(hive) == {}

    def test_nobody_looks_after_open_flights(self, people, hive):
        people.fly()
        people.run("DELETE FROM hive.worker WHERE queues = '{}'")

        assert only(hive, "nobody looks after the flights") == ("wrong", "the janitor", "hive janitor")


class TestOutcomes:
    def test_a_failed_flight_with_dead_batches_is_retried_by_the_command(self, people, hive, monkeypatch):
        write(people.file, [ADA, {"id": 2, "name": "Bob"}])
        with monkeypatch.context() as patch:
            patch.setattr(process, "refine", stumble)
            flight = people.fly()
            for _ in range(2 * people.settings.max_attempts):
                people.drain()
                people.hurry()
        faults = found(hive)
        assert set(faults) == {"a bee's last flight failed", "records are in quarantine"}
        assert {fault["next"] for fault in faults.values()} == {f"hive retry {flight}"}

        assert hive("retry", flight).code == 0
        assert found(hive) == {}

    def test_what_a_failed_snapshot_left_is_settled_by_the_command(self, make_nest, people, hive, monkeypatch):
        other = make_nest(value_limit=50, batch_rows=1, leg=0)
        other.register()  # now its batches are of one record
        write(people.file, [{"id": 3, "name": "n" * 100}, ADA])
        flight = other.fly(mode="snapshot")
        with monkeypatch.context() as patch:
            other.work(other.due()[0])
            other.drain(kinds=["process"])
            fail_reading(patch, GiveUp("the folder is locked", code="locked"))
            other.drain()
        people.run("DELETE FROM hive.worker WHERE id = %s", other.rt.owner)
        faults = found(hive)
        assert set(faults) == {"a bee's last flight failed", "records are in quarantine"}
        then = faults["records are in quarantine"]["next"]
        assert then == f"hive retry {flight}"
        write(people.file, [ADA])

        assert hive(*then.split()[1:]).code == 0
        people.drain()

        assert found(hive) == {}

    def test_a_refused_record(self, make_nest, people, hive):
        other = make_nest(value_limit=50)
        write(people.file, [{"id": 3, "name": "n" * 100}])
        other.land()

        level, where, then = only(hive, "records are in quarantine")

        assert (level, where) == ("wrong", "jar people")
        assert hive(*then.split()[1:]).code == 0

    def test_missed_slots_and_paused_or_disabled_bees_only_wait(self, people, hive):
        people.hive.schedule_job("people", "1h")
        people.run("UPDATE hive.schedule SET missed = 3, enabled = false")
        people.register("old")
        people.run("UPDATE hive.bee SET enabled = false WHERE name = 'old'")
        people.register("resting")
        people.run("UPDATE hive.bee SET paused_at = clock_timestamp() WHERE name = 'resting'")

        faults = found(hive)

        assert {what: fault["level"] for what, fault in faults.items()} == dict.fromkeys(
            ["slots were missed", "a schedule is paused", "bees are disabled", "a bee is paused"], "waiting"
        )

    def test_schedules_that_nobody_flies(self, people, hive):
        people.hive.schedule_job("people", "1h")
        people.run("UPDATE hive.schedule SET next_slot = clock_timestamp() - interval '5 minutes'")

        assert only(hive, "schedules are missed") == ("wrong", "the scheduler", "hive beat")

    def test_very_many_alike_are_counted(self, people, hive):
        for number in range(30):
            people.register(f"old{number:02}")
        people.run("UPDATE hive.bee SET paused_at = clock_timestamp() WHERE name <> 'people'")

        findings = hive("doctor", "--json").json["findings"]

        assert len(findings) == 21
        assert findings[-1]["where"] == "bee old20, and 9 more"

    def test_disabled_bees_are_one_line(self, people, hive):
        for number in range(8):
            people.register(f"old{number:02}")
        people.run("UPDATE hive.bee SET enabled = false WHERE name <> 'people'")

        assert only(hive, "bees are disabled") == (
            "waiting", "old00, old01, old02, old03, old04 and 3 more", "hive config history"
        )  # fmt: skip

    def test_a_flight_that_set_everything_aside_is_no_success(self, people, hive):
        people.file.write_text('{"idd": 3}\n')
        people.land()

        told = found(hive)["a bee's last flight landed nothing"]

        assert (told["level"], told["where"], told["next"]) == ("wrong", "bee people", "hive check people")
        assert "none of the 1 records" in told["why"]
        number = people.one("SELECT id FROM hive.quarantine")
        assert hive("quarantine", "drop", number).code == 0
        assert "a bee's last flight landed nothing" not in found(hive)


class TestSurroundings:
    def test_an_empty_ledger_has_no_bees(self, nest, hive):
        assert only(hive, "there are no bees") == ("wrong", "the ledger", "hive reload --config FILE")

    def test_no_hive_runs_and_a_misspelt_variable(self, bare_hive):
        bare_hive.set({"HIVE_LESE": "5", "HIVE_TEST_STRICT": "1"})

        faults = found(bare_hive)

        assert set(faults) == {"no hive is running", "an environment variable is no setting of the hive"}
        assert faults["no hive is running"]["next"] == "hive up"
        assert "did you mean 'HIVE_LEASE'?" in faults["an environment variable is no setting of the hive"]["why"]
        assert not (settings().data_dir / "hive.key").exists()

    def test_a_variable_that_a_bee_refers_to_is_no_mistake(self, people, hive):
        hive.set({"HIVE_FOLDER": str(people.folder)})
        people.run("""UPDATE hive.bee SET config = jsonb_set(config, '{source,path}', '"${HIVE_FOLDER}/people"')""")

        assert found(hive) == {}

    def test_a_setting_that_cannot_be_read(self, bare_hive):
        bare_hive.set({"HIVE_LEASE": "soon"})

        assert only(bare_hive, "a setting cannot be read") == ("wrong", "HIVE_LEASE", "unset HIVE_LEASE")

    def test_a_database_and_a_broker_that_are_away_are_told_in_seconds(self, hive):
        hive.set(
            {"HIVE_DATABASE_URL": "postgresql://u:canary-7d@127.0.0.1:1/x", "HIVE_REDIS_URL": "redis://127.0.0.1:1/0"}
        )
        began = time.monotonic()

        said = hive("doctor", "--json")

        assert time.monotonic() - began < 6
        assert said.code == 1
        assert [f["what"] for f in said.json["findings"]] == [
            "the database cannot be reached",
            "the broker cannot be reached",
        ]
        assert "canary" not in said.out + said.err

    def test_a_broker_that_is_away_hides_nothing_of_the_ledger(self, people, hive):
        people.run("UPDATE hive.bee SET enabled = false")
        hive.set({"HIVE_REDIS_URL": "redis://127.0.0.1:1/0"})

        assert set(found(hive)) == {"the broker cannot be reached", "bees are disabled"}

    def test_a_missing_and_a_wrong_key(self, people, hive, monkeypatch):
        people.hive._rt.vault().set("some/secret", "canary-99bd")
        hive.set({"HIVE_KEY": "6b" * 32})
        assert only(hive, "the hive key is not the one that sealed the vault")[:2] == ("wrong", "HIVE_KEY")

        monkeypatch.delenv("HIVE_KEY")
        assert only(hive, "the hive key is missing")[0] == "wrong"

    @pytest.mark.parametrize(
        ("version", "what"),
        [("9999", "the database belongs to a newer version"), ("0001", "the database has an older schema")],
    )
    def test_another_schema(self, people, hive, version, what):
        people.run("UPDATE hive.alembic_version SET version_num = %s", version)

        assert only(hive, what)[0] == "wrong"
        assert people.one("SELECT version_num FROM hive.alembic_version") == version

    def test_a_question_that_lasts_too_long_hides_no_other(self, people, hive, monkeypatch):
        people.run("UPDATE hive.bee SET enabled = false")
        monkeypatch.setattr(looks, "STATEMENT_LIMIT", "200ms")
        with psycopg.connect(people.settings.database()) as other:
            other.execute("LOCK TABLE hive.quarantine IN ACCESS EXCLUSIVE MODE")
            faults = found(hive)

        assert {"bees are disabled", "the database does not answer a question"} <= set(faults)

    def test_a_connector_that_is_not_installed(self, people, hive):
        people.run("UPDATE hive.bee SET connector = 'carrier_pigeon'")

        assert only(hive, "a bee cannot fly")[1] == "bee people"

    def test_a_hive_that_was_killed(self, bare_hive, tmp_path):
        data = tmp_path / "data"
        data.mkdir()
        (data / "hive.json").write_text('{"pid": 999999999, "database_url": "postgresql://u@127.0.0.1:1/x"}')
        (data / "hive.key").write_text("5a" * 32)
        (data / "hive.key").chmod(0o600)
        bare_hive.set({"HIVE_DATA_DIR": data, "HIVE_REDIS_URL": "redis://127.0.0.1:1/0"})

        faults = found(bare_hive)

        assert faults["the hive was killed"]["next"] == "hive up"
        assert set(faults) == {"the hive was killed", "the broker cannot be reached"}  # which is another's
        told = bare_hive("bees")
        assert told.code == 1
        assert "was killed, its process 999999999 is gone: `hive up` starts it again" in told.err
