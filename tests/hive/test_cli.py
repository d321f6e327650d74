"""Each command against a real ledger: its exit code, its one JSON document, and the words it finds when it fails."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer.main
import yaml
from structlog.testing import capture_logs

import hive.cli
from hive.flight.work import run
from hive.jars.jar import drop_snapshot
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

SECRET = "qtkw-38-seventh-heaven"
ADA = {"id": 1, "name": "Ada Abara", "note": "keeps bees behind the mill"}
BEN = {"id": 2, "name": "Ben Beier", "note": "sells honey on the market"}

EXPECTED = {
    "up", "down", "demo", "status", "connectors", "bees", "check", "schema", "dance", "fly", "flights", "flight",
    "cancel", "retry", "balance", "slots", "replication list", "replication drop",
    "pause", "resume", "backfill", "comb list", "comb show", "comb create",
    "comb test", "comb schema", "comb login",
    "unregister", "config convert", "config schema", "config history", "config rollback",
    "jars", "jar show", "jar export", "jar own", "search", "config check", "config show", "reload", "quarantine list",
    "quarantine show", "quarantine retry", "quarantine drop", "lease list", "lease release", "vault set", "vault list",
    "vault delete", "vault rotate", "vault detokenize", "vault audit", "user add", "user list", "user remove",
    "audit verify", "erase", "doctor", "worker", "beat", "janitor", "gateway", "flower", "scrub text", "scrub preview",
}  # fmt: skip
LATER = {"audit verify", "erase"}
"""Commands that are agreed and not built yet."""


RESULT = {
    "flight", "bee", "state", "records_read", "records_landed", "records_unchanged", "records_superseded",
    "records_deleted", "records_quarantined", "bytes_read", "started_at", "finished_at", "seconds", "error",
}  # fmt: skip


@pytest.fixture
def people(nest: Nest) -> Nest:
    """A bee that has landed two people."""
    write(nest.register() / "a.jsonl", [ADA, BEN])
    nest.land()
    return nest


@pytest.fixture
def large(make_nest) -> Nest:
    """A bee with one record landed, and one in quarantine for a value above the limit."""
    nest = make_nest(value_limit=100)
    write(nest.register() / "a.jsonl", [ADA, {**BEN, "note": "n" * 200}])
    nest.land()
    return nest


def commands(group: Any, *above: str) -> Iterator[tuple[str, Any]]:
    """Every command with its full name, however deep."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        else:
            yield " ".join([*above, name]), command


ALL = dict(commands(typer.main.get_command(hive.cli.app)))


class TestHelp:
    def test_there_are_the_commands_that_were_agreed_and_no_others(self):
        assert set(ALL) == EXPECTED - LATER

    @pytest.mark.parametrize("name", ALL)
    def test_each_command_and_each_of_its_parameters_says_what_it_is_for(self, bare_hive, name):
        command = ALL[name]
        shown = " ".join(bare_hive(*name.split(), "--help").out.split())

        assert command.help.split("\n")[0] in shown
        for parameter in command.params:
            assert parameter.help, f"{parameter.name} of `hive {name}` has no help"
            assert " ".join(parameter.help.split()) in shown

    @pytest.mark.parametrize("name", ["", "jar", "config", "quarantine", "lease", "vault", "user", "scrub"])
    def test_a_list_of_commands_has_whole_sentences(self, bare_hive, name):
        said = bare_hive(*name.split(), "--help")

        assert said.code == 0
        assert "..." not in said.out.partition("Commands:")[2]

    def test_without_a_command_the_list_of_them_is_shown(self, bare_hive):
        said = bare_hive()

        assert said.code == 2
        assert all(name.split()[0] in said.out + said.err for name in ALL)


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["flie"], "No such command 'flie'"),
            (["fly"], "Missing argument"),
            (["fly", "people", "--slowly"], "--slowly"),
            (["fly", "people", "--mode", "backwards"], "snapshot"),
            (["fly", "people", "--timeout", "-1"], "--timeout"),
            (["flights", "--limit", "0"], "--limit"),
            (["worker", "--queues", "bees.fiel"], "did you mean 'bees.file'?"),
            (["worker", "--queues", "nectar", "-c", "0"], "-c"),
            (["jar", "export", "people", "--format", "csv"], "jsonl, parquet"),
            (["jar", "export", "people", "--format", "parquet"], "--output"),
            (["quarantine", "list", "--state", "lost"], "open, retried, dropped"),
            (["quarantine", "show", "seven"], "NUMBER"),
            (["quarantine", "drop"], "Missing argument"),
            (["vault", "set", "shop password"], "no path of the vault"),
            (["vault", "set", "hive/keyring"], "belong to the hive"),
            (["config", "show"], "HIVE_CONFIG"),
        ],
        ids=" ".join,
    )
    def test_is_code_2_and_says_what_was_wrong(self, bare_hive, arguments, told):
        said = bare_hive(*arguments)

        assert (said.code, said.out) == (2, "")
        assert told in said.err

    @pytest.mark.parametrize(
        "arguments",
        [["fly", "poeple"], ["flights", "poeple"], ["check", "poeple"], ["schema", "poeple"], ["dance", "poeple"],
         ["lease", "release", "poeple"], ["jar", "show", "poeple"], ["jar", "export", "poeple"],
         ["search", "poeple", "bees"], ["vault", "delete", "poeple"]],
        ids=" ".join,
    )  # fmt: skip
    def test_a_name_that_is_not_known_brings_the_one_that_was_perhaps_meant(self, hive, people, arguments):
        hive("vault", "set", "people", stdin=SECRET)

        said = hive(*arguments)

        assert (said.code, said.out) == (2, "")
        assert "did you mean 'people'?" in said.err

    def test_a_connector_that_is_not_known_brings_the_one_that_was_perhaps_meant(self, bare_hive, tmp_path):
        file = tmp_path / "bees.yaml"
        file.write_text("bees: {sales: {type: postgress, source: {}}}")

        said = bare_hive("config", "check", file)

        assert said.code == 2
        assert "bee 'sales', field 'type'" in said.err
        assert "did you mean 'postgresql'?" in said.err

    @pytest.mark.parametrize(
        ("variable", "value", "told"),
        [
            ("LEASE", "-1", "above 0"), ("LEASE", "nan", "neither infinite nor NaN"),
            ("LEASE", "2", "no less than HIVE_LEASE (2)"),
            ("HEARTBEAT", "10", "no less than HIVE_LEASE (10)"), ("JANITOR", "0", "above 0"),
            ("LEG", "-1", "0 or more"), ("LANDING_LIMIT", "inf", "neither infinite"),
            ("BATCH_WAIT", "-0.5", "0 or more"),
            ("BATCH_ROWS", "0", "1 or more"), ("BATCH_BYTES", "0", "1 or more"), ("VALUE_LIMIT", "0", "1 or more"),
            ("HINTS_PER_QUEUE", "0", "1 or more"), ("PENDING_BYTES", "0", "1 or more"),
            ("PENDING_BYTES_PER_FLIGHT", "-5", "1 or more"), ("MAX_ATTEMPTS", "0", "1 or more"),
            ("RETENTION_DAYS", "-1", "1 or more"), ("GATEWAY_PORT", "65536", "65535 or less"),
            ("FLOWER_PORT", "-1", "0 or more"),
            ("LOG_LEVEL", "loud", "'WARNING'"),
        ],
    )  # fmt: skip
    def test_a_setting_that_makes_no_sense_is_refused_by_its_name(self, bare_hive, variable, value, told):
        bare_hive.set({f"HIVE_{variable}": value})
        said = bare_hive("status")

        assert (said.code, said.out) == (2, "")
        assert f"HIVE_{'HEARTBEAT' if 'HIVE_LEASE' in told else variable}: " in said.err
        assert told in said.err

    def test_settings_at_their_bounds_are_taken(self, bare_hive):
        bare_hive.set({"HIVE_LOG_LEVEL": "warning", "HIVE_GATEWAY_PORT": 0, "HIVE_FLOWER_PORT": 65535, "HIVE_LEG": 0})

        assert bare_hive("status").code == 1, "nothing is wrong but that no hive runs"

    @pytest.mark.parametrize("flight", ["seven", "00000000-0000-0000-0000-000000000000"])
    def test_a_flight_that_is_not_known_brings_where_they_are_listed(self, hive, flight):
        said = hive("flight", flight)

        assert (said.code, said.out) == (2, "")
        assert flight in said.err
        assert "`hive flights`" in said.err

    @pytest.mark.parametrize("what", ["show", "retry", "drop"])
    def test_a_quarantine_number_that_is_not_known_brings_where_they_are_listed(self, hive, what):
        said = hive("quarantine", what, 77)

        assert said.code == 2
        assert "77" in said.err
        assert "`hive quarantine list`" in said.err

    def test_a_setting_that_makes_no_sense_is_named_with_its_variable(self, bare_hive):
        bare_hive.set({"HIVE_GATEWAY_PORT": "eight"})

        said = bare_hive("status")

        assert said.code == 2
        assert "HIVE_GATEWAY_PORT" in said.err

    def test_an_external_database_needs_a_key_that_was_given(self, hive, monkeypatch):
        monkeypatch.delenv("HIVE_KEY")

        said = hive("status")

        assert said.code == 2
        assert "HIVE_KEY_FILE" in said.err


class TestWithoutAHive:
    @pytest.mark.parametrize(
        "arguments",
        [["status"], ["bees"], ["fly", "people"], ["flights"], ["jars"], ["lease", "list"], ["vault", "list"],
         ["quarantine", "list"], ["check", "people"], ["search", "people", "bees"]],
        ids=" ".join,
    )  # fmt: skip
    def test_a_command_says_how_to_start_one(self, bare_hive, arguments):
        said = bare_hive(*arguments)

        assert (said.code, said.out) == (1, "")
        assert "`hive up`" in said.err
        assert "HIVE_DATABASE_URL" in said.err
        assert "Traceback" not in said.err

    def test_down_has_nothing_to_do_and_says_so(self, bare_hive):
        said = bare_hive("down")

        assert said.code == 0
        assert "no hive was running" in said.err

    def test_a_database_that_does_not_let_us_in_is_named_without_the_password(self, hive, database_url):
        bad = psycopg.conninfo.conninfo_to_dict(database_url)
        address = f"{bad['host']}:{bad['port']}"
        hive.set({"HIVE_DATABASE_URL": f"postgresql://hive:{SECRET}@{address}/nowhere"})

        said = hive("bees", "--json")

        assert (said.code, said.out) == (1, "")
        assert address in said.err
        assert "nowhere" in said.err
        assert SECRET not in said.err

    def test_a_bee_of_a_file_can_be_looked_at(self, bare_hive, tmp_path):
        write(tmp_path / "a.jsonl", [ADA])
        block = {"type": "local", "source": {"path": str(tmp_path)}, "streams": {"rows": {"patterns": "*.jsonl"}}}
        (tmp_path / "bees.yaml").write_text(yaml.safe_dump({"bees": {"people": block}}))

        found = {name: bare_hive(name, "people", "--config", "bees.yaml", "--json") for name in ("check", "schema")}

        assert [said.code for said in found.values()] == [0, 0]
        assert found["check"].json["ok"] is True
        assert [stream["stream"] for stream in found["schema"].json] == ["rows"]

    @pytest.mark.parametrize(
        ("file", "content", "key", "told"),
        [
            ("a.csv", "id,e-mail\n1,a\n", "idd", "did you mean 'id'?"),
            ("a.jsonl", json.dumps(ADA), ["id", "nmae"], "did you mean 'name'?"),
            ("a.csv", "id;mail\n1;a\n", "customer", "expected some of id, mail"),
        ],
    )
    def test_a_key_that_is_no_column_is_named(self, bare_hive, tmp_path, file, content, key, told):
        (tmp_path / file).write_text(content)
        streams = {"rows": {"patterns": file, "key": key}}
        block = {"type": "local", "source": {"path": str(tmp_path)}, "streams": streams}
        (tmp_path / "bees.yaml").write_text(yaml.safe_dump({"bees": {"people": block}}))

        said = bare_hive("check", "people", "--config", "bees.yaml")

        assert (said.code, said.out) == (2, "")
        assert "bee 'people', field 'streams.rows.key': the source has no column" in said.err
        assert told in said.err

    def test_a_source_that_cannot_be_read_is_a_failure_that_names_bee_and_field(self, bare_hive, tmp_path):
        block = {"type": "local", "source": {"path": str(tmp_path / "gone")}}
        (tmp_path / "bees.yaml").write_text(yaml.safe_dump({"bees": {"people": block}}))

        said = bare_hive("check", "people", "--config", "bees.yaml")

        assert (said.code, said.out) == (1, "")
        assert "'people'" in said.err
        assert "path" in said.err


class TestReading:
    @pytest.mark.parametrize(
        "arguments",
        [["status"], ["connectors"], ["bees"], ["check", "people"], ["schema", "people"], ["dance", "people"],
         ["flights"], ["flights", "people"], ["jars"], ["jar", "show", "people"], ["search", "people", "honey"],
         ["quarantine", "list"], ["lease", "list"], ["vault", "list"]],
        ids=" ".join,
    )  # fmt: skip
    def test_each_command_prints_one_document(self, hive, people, arguments):
        hive("vault", "set", "shop/password", stdin=SECRET)

        said = hive(*arguments, "--json")
        plain = hive(*arguments)

        assert (said.code, plain.code) == (0, 0), said.err + plain.err
        assert said.json is not None
        assert said.err == ""
        assert plain.out + plain.err
        assert SECRET not in said.out + plain.out + plain.err

    @pytest.mark.parametrize(
        ("arguments", "empty"),
        [(["bees"], "hive up --config FILE"), (["flights"], "hive fly BEE"), (["jars"], "no jar"),
         (["quarantine", "list"], "empty"), (["lease", "list"], "no stream"), (["vault", "list"], "empty")],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )  # fmt: skip
    def test_an_empty_hive_is_no_error(self, hive, arguments, empty):
        said, document = hive(*arguments), hive(*arguments, "--json")

        assert (said.code, said.out) == (0, "")
        assert empty in said.err
        assert (document.code, document.json) == (0, [])

    def test_status_tells_queues_bees_and_workers(self, hive, people):
        flight = people.fly()

        found = hive("status", "--json").json

        assert found["status"] == "ok"
        assert [(bee["name"], bee["last_state"]) for bee in found["bees"]] == [("people", "queued")]
        (queue,) = found["queues"]
        assert [queue[name] for name in ("name", "due", "waiting", "running")] == ["bees.file", 1, 1, 0]
        assert [(worker["id"], worker["alive"]) for worker in found["workers"]] == [("nest:1:1", True)]
        assert hive("flight", flight, "--json").json["state"] == "queued"

    def test_connectors_names_each_with_its_queue(self, bare_hive):
        found = {c["name"]: c for c in bare_hive("connectors", "--json").json}

        assert {"local", "postgresql", "rest"} <= set(found)
        assert found["postgresql"]["queue"] == "bees.database"
        assert found["local"]["summary"]

    def test_a_connector_that_nobody_knows_is_told_what_there_is(self, bare_hive):
        near, far = bare_hive("connectors", "postgresq"), bare_hive("connectors", "nope")

        assert (near.code, far.code) == (2, 2)
        assert near.err.strip().endswith("; did you mean 'postgresql'?")
        assert "; there are " in far.err
        assert "postgresql, rest" in far.err

    def test_a_flight_has_the_shape_that_was_agreed(self, hive, people):
        flight = hive("flights", "--json").json[0]["flight"]

        found = hive("flight", flight, "--json").json

        assert set(found) >= RESULT
        assert (found["flight"], found["bee"], found["state"]) == (flight, "people", "complete")
        assert {name: found[name] for name in RESULT if name.startswith("records_") and found[name]} == {
            "records_read": 2,
            "records_landed": 2,
        }
        assert found["started_at"] < found["finished_at"]
        assert found["seconds"] > 0
        assert found["error"] is None

    def test_a_jar_shows_streams_records_and_quarantine(self, hive, large):
        listed, shown = hive("jars", "--json").json, hive("jar", "show", "people", "--json").json

        assert [(jar["name"], jar["visible"], jar["records"]) for jar in listed] == [("people", True, {"rows": 1})]
        ((stream),) = shown["streams"]
        assert (stream["bee"], stream["stream"], stream["records"], stream["quarantined"]) == ("people", "rows", 1, 1)
        assert set(stream["columns"]) == {"id", "name", "note"}

    def test_a_jar_is_exported_one_object_a_line(self, hive, people, tmp_path):
        printed = hive("jar", "export", "people")
        written = hive("jar", "export", "people", "--output", tmp_path / "people.jsonl")

        lines = [json.loads(line) for line in printed.out.splitlines()]
        assert sorted((line["data"] for line in lines), key=lambda row: row["id"]) == [ADA, BEN]
        assert {(line["bee"], line["stream"], line["key"]) for line in lines} == {
            ("people", "rows", "1"),
            ("people", "rows", "2"),
        }
        assert all(line["collected_at"] for line in lines)
        assert (written.code, written.out) == (0, "")
        assert sorted((tmp_path / "people.jsonl").read_text().splitlines()) == sorted(printed.out.splitlines())

    def test_search_finds_the_records_that_match(self, hive, people):
        found = hive("search", "people", "market honey", "--json").json

        assert [(hit["bee"], hit["stream"], hit["key"]) for hit in found] == [("people", "rows", "2")]
        assert hive("search", "people", "wasps").err == "nothing matches\n"


class TestFly:
    def test_without_wait_a_flight_is_queued_and_its_id_printed(self, hive, people):
        said = hive("fly", "people", "--json")

        assert said.code == 0
        assert (said.json["state"], said.json["records_read"]) == ("queued", 0)
        people.drain()
        assert hive("flight", said.json["flight"], "--json").json["state"] == "complete"

    def test_with_wait_a_complete_flight_is_code_0_also_with_records_in_quarantine(self, hive, nest):
        write(nest.register() / "a.jsonl", [ADA, {"id": None}])

        with working(nest):
            said = hive("fly", "people", "--wait", "--json")

        assert said.code == 0, said.err
        assert (said.json["state"], said.json["records_landed"], said.json["records_quarantined"]) == ("complete", 1, 1)
        assert [(line["code"], line["records"]) for line in said.json["set_aside"]] == [("no_key", 1)]
        told = hive("flight", "people")
        assert "no_key" in told.out
        assert "hive quarantine list" in told.err

    def test_with_wait_a_failed_flight_is_code_1_and_says_what_to_do(self, hive, nest):
        nest.register().rmdir()

        with working(nest):
            said, plain = hive("fly", "people", "--wait", "--json"), hive("fly", "people", "--wait")

        assert (said.code, plain.code) == (1, 1)
        assert said.json["state"] == "failed"
        assert all(said.json["error"][name] for name in ("code", "message", "place", "advice"))
        assert said.json["error"]["advice"] in plain.out

    def test_a_timeout_is_code_1_and_the_flight_goes_on(self, hive, people):
        said = hive("fly", "people", "--timeout", "0.1", "--json")

        assert said.code == 1
        assert said.json["state"] == "queued"
        assert f"hive flight {said.json['flight']}" in said.err
        people.drain()
        assert hive("flight", said.json["flight"], "--json").json["state"] == "complete"

    def test_a_snapshot_lands_in_a_jar_of_its_own(self, hive, people):
        flight = hive("fly", "people", "--mode", "snapshot", "--json").json["flight"]
        people.drain()

        assert hive("flight", flight, "--json").json["records_landed"] == 2
        assert sorted(jar["kind"] for jar in hive("jars", "--json").json) == ["continuous", "snapshot"]

    def test_a_full_refresh_reads_everything_anew(self, hive, people):
        plain, full = hive("fly", "people", "--json").json["flight"], None
        people.drain()
        full = hive("fly", "people", "--full-refresh", "--json").json["flight"]
        people.drain()

        read = [hive("flight", flight, "--json").json["records_read"] for flight in (plain, full)]
        assert read == [0, 2]


class working:  # noqa: N801 - reads as a verb: with working(nest)
    """The nest's tasks are worked by another thread for as long as this lasts."""

    def __init__(self, nest: Nest) -> None:
        self._nest = nest
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with capture_logs():
            while not self._over.wait(0.01):
                self._nest.drain()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def test_a_flight_that_set_everything_aside_is_warned_of(self, nest, hive):
        (nest.register() / "a.jsonl").write_text('{"idd": 1}\n{"idd": 2}\n')
        flight = nest.land().flight

        one, many = hive("flight", flight), hive("flights", "--json").json

        assert (many[0]["state"], many[0]["error"]) == ("complete", None)
        assert many[0]["warning"] == "all 2 records were set aside and none landed: hive quarantine list"
        assert many[0]["warning"] in one.out
        assert many[0]["warning"] in hive("flights").out


class TestConfig:
    BROKEN = f"""\
bees:
  sales:
    type: postgress
    source: {{host: db}}
  people:
    type: local
    evry: 5m
    source: {{}}
  desk:
    type: rest
    source: {{base_url: "https://desk.example.com", auth: {{method: bearer, token: "${{NO_SUCH_TOKEN}}"}}}}
    streams: {{tickets: {{path: /tickets, key: id, pasword: {SECRET}}}}}
    honey_jar: "../tickets"
"""

    def test_all_problems_of_a_file_are_told_at_once(self, bare_hive, tmp_path):
        file = tmp_path / "bees.yaml"
        file.write_text(self.BROKEN)

        said, document = bare_hive("config", "check", file), bare_hive("config", "check", file, "--json")

        assert (said.code, said.out, document.code, document.json["ok"]) == (2, "", 2, False)
        found = {(p["bee"], p["field"]): p for p in document.json["problems"]}
        assert {place: p["line"] for place, p in found.items()} == {
            ("sales", "type"): 3,
            ("people", "evry"): 7,
            ("people", "source.path"): 8,
            ("desk", "source.auth.token"): 11,
            ("desk", "streams.tickets.pasword"): 12,
            ("desk", "honey_jar"): 13,
        }
        assert found["sales", "type"]["suggestion"] == "postgresql"
        assert found["people", "evry"]["suggestion"] == "every"
        assert "NO_SUCH_TOKEN" in found["desk", "source.auth.token"]["message"]
        assert all(f"bees.yaml:{p['line']}: bee {p['bee']!r}, field {p['field']!r}" in said.err for p in found.values())
        assert SECRET not in said.err + document.out

    def test_a_sound_file_is_code_0(self, bare_hive, tmp_path):
        file = tmp_path / "bees.yaml"
        file.write_text("bees: {people: {type: local, source: {path: /tmp}}}")

        assert bare_hive("config", "check", file).code == 0
        assert bare_hive("config", "check", file, "--json").json == {
            "ok": True, "bees": ["people"], "by_hand": ["people"]
        }  # fmt: skip

    @pytest.mark.parametrize("content", [None, "", "bees: [", "bees: 7", "\0"])
    def test_a_file_that_is_no_configuration_is_refused_by_name(self, bare_hive, tmp_path, content):
        file = tmp_path / "bees.yaml"
        if content is not None:
            file.write_text(content)

        for arguments in (["config", "check", file], ["config", "show", file], ["up", "--config", file]):
            said = bare_hive(*arguments)
            assert (said.code, said.out) == (2, ""), arguments
            assert "bees.yaml" in said.err
        assert not (tmp_path / ".hive").exists()

    def test_show_masks_literal_secrets_and_leaves_references(self, bare_hive, tmp_path):
        source = {"host": "db", "database": "shop", "user": "reader", "password": SECRET}
        other = {**source, "password": "${SHOP_PASSWORD}"}
        headers = {"base_url": "https://x.example", "headers": {"X-Key": SECRET}, "endpoints": {"data": ["/a"]}}
        config = {"one": {"type": "postgresql", "source": source}, "two": {"type": "postgresql", "source": other}}
        config["three"] = {"type": "rest", "source": headers}
        (tmp_path / "bees.yaml").write_text(yaml.safe_dump({"bees": config}))
        bare_hive.set({"HIVE_CONFIG": "bees.yaml"})

        plain, document = bare_hive("config", "show"), bare_hive("config", "show", "--json")

        assert (plain.code, document.code) == (0, 0)
        assert SECRET not in plain.out + document.out
        found = document.json["bees"]
        assert yaml.safe_load(plain.out)["bees"].keys() == found.keys()
        assert set(found["one"]["source"]["password"]) == {"*"}
        assert set(found["three"]["source"]["headers"]["X-Key"]) == {"*"}
        assert found["two"]["source"]["password"] == "${SHOP_PASSWORD}"
        assert found["one"]["source"]["host"] == "db"


class TestVault:
    def test_a_secret_comes_from_standard_input_and_is_never_printed(self, hive, nest):
        first = hive("vault", "set", "shop/password", stdin=SECRET + "\n")
        second = hive("vault", "set", "shop/password", stdin=SECRET + "2")
        listed, document = hive("vault", "list"), hive("vault", "list", "--json")
        kept = nest.rt.vault().get("shop/password")
        gone = hive("vault", "delete", "shop/password")

        assert [said.code for said in (first, second, listed, document, gone)] == [0] * 5
        assert [(s["path"], s["version"]) for s in document.json] == [("shop/password", 2)]
        assert kept == SECRET + "2"
        assert hive("vault", "list", "--json").json == []
        assert not [said for said in (first, second, listed, document, gone) if SECRET in said.out + said.err]

    @pytest.mark.parametrize("value", ["", "tiny", "a\0bcdefgh"])
    def test_a_value_that_cannot_be_kept_is_refused_without_showing_it(self, hive, value):
        said = hive("vault", "set", "shop/password", stdin=value)

        assert said.code == 2
        assert "shop/password" in said.err
        assert not value or value not in said.err
        assert hive("vault", "list", "--json").json == []

    def test_tenants_have_secrets_of_their_own(self, hive):
        hive("vault", "set", "shop/password", "--tenant", "north", stdin=SECRET)

        assert hive("vault", "list", "--json").json == []
        assert len(hive("vault", "list", "--tenant", "north", "--json").json) == 1


class TestQuarantine:
    def test_an_entry_is_told_without_its_content(self, hive, large):
        listed = hive("quarantine", "list", "--json").json
        plain = hive("quarantine", "list")
        number = listed[0]["id"]
        shown, told = hive("quarantine", "show", number, "--json"), hive("quarantine", "show", number)

        assert [(e["bee"], e["stream"], e["code"], e["records"]) for e in listed] == [
            ("people", "rows", "too_large", 1)
        ]
        assert "HIVE_VALUE_LIMIT" in shown.json["reason"]
        assert shown.json["size"] > 0
        assert not [said for said in (plain, shown, told) if "nnnn" in said.out or "Ben" in said.out]

    def test_the_name_of_a_file_is_told_where_it_is_asked_for_and_that_is_audited(self, hive, nest):
        (nest.register() / "jane.roe@example.com.jsonl").write_text('{"id": 1}\nno json\n')
        nest.land()
        number = hive("quarantine", "list", "--json").json[0]["id"]
        plain, asked = hive("quarantine", "show", number), hive("quarantine", "show", number, "--place", "--json")

        assert "jane" not in plain.out
        assert asked.json["place"] == "jane.roe@example.com.jsonl:2"
        entry = hive("vault", "audit", "--json").json[0]
        assert (entry["action"], entry["body"]) == ("quarantine:place", {"entry": number})
        refused = hive("quarantine", "retry", number)
        assert f"hive quarantine show {number} --place" in refused.err

    def test_retry_lands_what_the_limit_kept_out(self, hive, large):
        number = hive("quarantine", "list", "--json").json[0]["id"]
        again = hive("quarantine", "retry", number)

        assert again.code == 0
        assert "1 landed" in again.out
        assert large.jar()["2"]["note"] == "n" * 200
        assert hive("quarantine", "list", "--json").json == []
        assert hive("quarantine", "list", "--state", "retried", "--json").json[0]["id"] == number
        assert hive("quarantine", "retry", number).code == 2

    def test_what_is_refused_again_is_code_1_and_stays_in_quarantine(self, hive, large):
        number = hive("quarantine", "list", "--json").json[0]["id"]
        hive.set({"HIVE_VALUE_LIMIT": 100})

        said = hive("quarantine", "retry", number)

        assert said.code == 1
        assert "1 refused again" in said.out
        assert large.jar().keys() == {"1"}
        assert [e["code"] for e in hive("quarantine", "list", "--json").json] == ["too_large"]

    def test_an_old_version_ends_when_a_newer_one_lands_and_does_not_overwrite_it(self, hive, large):
        number = hive("quarantine", "list", "--json").json[0]["id"]
        write(large.folder / "people" / "a.jsonl", [ADA, BEN])
        large.land()
        assert hive("quarantine", "list", "--json").json == []

        said = hive("quarantine", "retry", number)

        assert said.code == 2
        assert "is dropped already" in said.err
        assert large.jar()["2"] == BEN

    def test_a_record_without_a_key_is_refused_again_and_names_no_value(self, hive, nest):
        write(nest.register() / "a.jsonl", [ADA, {"id": None, "name": SECRET}])
        nest.land()
        number = hive("quarantine", "list", "--json").json[0]["id"]

        said = hive("quarantine", "retry", number)

        assert said.code == 2
        assert "--full-refresh" in said.err
        assert "'people'" in said.err
        assert SECRET not in said.out + said.err

    def test_a_record_of_a_snapshot_that_is_gone_says_so_and_what_is_next(self, hive, make_nest, monkeypatch):
        nest = make_nest(value_limit=100)
        write(nest.register() / "a.jsonl", [ADA, {**BEN, "note": "n" * 200}])
        flight = nest.fly(mode="snapshot")
        nest.drain(kinds=["plan", "collect"])
        nest.drain(kinds=["process"])
        nest.run("UPDATE hive.flight SET state = 'failed' WHERE id = %s", flight)
        jar, part = nest.rows("SELECT id, part FROM hive.jar WHERE kind = 'snapshot'")[0]
        with nest.rt.db.transaction() as tx:
            drop_snapshot(tx, jar, part)
        number = hive("quarantine", "list", "--json").json[0]["id"]

        said = hive("quarantine", "retry", number)

        assert (said.code, said.out) == (2, "")
        assert "is gone" in said.err
        assert f"`hive retry {flight}`" in said.err
        assert f"`hive quarantine drop {number}`" in said.err

    def test_another_hive_key_opens_nothing_and_the_message_says_which_is_needed(self, hive, large):
        number = hive("quarantine", "list", "--json").json[0]["id"]
        hive.set({"HIVE_KEY": "6b" * 32})

        said = hive("quarantine", "retry", number)

        assert (said.code, said.out) == (1, "")
        assert "HIVE_KEY" in said.err
        assert [entry["id"] for entry in hive("quarantine", "list", "--json").json] == [number]

    def test_drop_destroys_the_content_and_leaves_that_it_was_there(self, hive, large):
        number = hive("quarantine", "list", "--json").json[0]["id"]
        said = hive("quarantine", "drop", number)

        assert said.code == 0
        assert hive("quarantine", "list", "--json").json == []
        assert hive("quarantine", "show", number, "--json").json["content"] == "destroyed"
        assert large.one("SELECT length(body) FROM hive.quarantine") == 0
        assert hive("quarantine", "retry", number).code == 2


class TestLease:
    def test_a_released_stream_is_read_on_and_who_held_it_writes_nothing(self, hive, make_nest, monkeypatch):
        nest = make_nest(batch_rows=2, leg=0.0)
        rows = [{"id": n, "name": f"person {n}"} for n in range(8)]
        write(nest.register() / "a.jsonl", rows)
        flight = nest.fly()
        nest.work(nest.due("plan")[0])
        slow = nest.runtime("slow:1:1")
        held = nest.claim(nest.due("collect")[0], slow)

        listed = hive("lease", "list", "--json").json
        released = hive("lease", "release", "people")
        with capture_logs(), monkeypatch.context() as patch:
            patch.setattr("hive.flight.work.find_room", lambda _task, _rt: True)  # it found the stream free, above
            run(held, slow)
        sealed = nest.rows("SELECT sealed_seq FROM hive.checkpoint")
        nest.hurry()
        nest.drain()

        assert [(one["bee"], one["stream"], one["flight"], one["worker"]) for one in listed] == [
            ("people", "rows", flight, "slow:1:1")
        ]
        assert (released.code, released.out) == (0, "people: 1 leases released\n")
        assert hive("lease", "list", "--json").json == []
        assert sealed == [(1,)]
        assert hive("flight", flight, "--json").json["records_landed"] == 8
        assert nest.jar() == {str(row["id"]): row for row in rows}

    def test_there_may_be_nothing_to_release(self, hive, people):
        assert hive("lease", "release", "people").out == "people: 0 leases released\n"


class TestProgram:
    """What only a process of its own can show."""

    def run(self, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hive", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, **how)

    def test_the_program_ends_with_the_code_of_its_command(self, tmp_path):
        begin = time.monotonic()
        done = self.run("bees", cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[2])})

        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("hive: no hive is running")
        assert time.monotonic() - begin < 10

    def test_a_reader_that_goes_away_is_no_traceback(self, tmp_path):
        script = f"{shlex.quote(sys.executable)} -m hive connectors --json | true"
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
        )

        assert done.stderr == ""


def test_celery_is_silent_about_tasks_and_root():
    """Two lines for each task, and a warning at each start, would bury what someone must act on."""
    code = (
        "import logging, warnings, hive.logs; from celery.platforms import ROOT_DISCOURAGED;"
        "hive.logs.configure(); warnings.warn(ROOT_DISCOURAGED);"
        "logging.getLogger('celery.app.trace').info('Task succeeded');"
        "logging.getLogger('celery.worker').warning('look here')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    (line,) = map(json.loads, said.stderr.splitlines())
    assert (line["level"], line["logger"], line["event"]) == ("warning", "celery.worker", "look here")
