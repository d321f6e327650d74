"""`hive config` over several files, folders and the environment, and what becomes of bees that cannot fly."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest
import yaml
from structlog.testing import capture_logs

from hive.config.problems import ConfigProblems
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

SECRET = "canary-55aa"
LOCAL = {"type": "local", "source": {"path": "/tmp"}, "scrubbing": {"profile": "gdpr_compliant"}}


@pytest.fixture
def folder(tmp_path, bare_hive):
    """A folder of a map of worker bees and a list of connectors."""
    made = tmp_path / "fleet"
    made.mkdir()
    (made / "a.yml").write_text(yaml.safe_dump({"bees": {"files": LOCAL}}))
    entry = {"name": "desk", "type": "rest", "pollIntervalMs": 60000, "providerConfig": {
        "baseUrl": "https://desk.example.com", "endpoints": {"data": ["/tickets"]}, "headers": {"X-Key": SECRET},
    }}  # fmt: skip
    (made / "b.json").write_text(json.dumps({"connectors": [entry]}, indent=1))
    return made


class TestCheck:
    def test_several_files_are_one_fleet(self, bare_hive, folder):
        more = folder.parent / "more.yaml"
        more.write_text("worker_bees: [{id: last, type: kafka}]")

        said = bare_hive("config", "check", folder, more)
        document = bare_hive("config", "check", folder, more, "--json")

        assert (said.code, document.code) == (0, 0)
        assert document.json["bees"] == ["files", "desk", "last"]
        assert [w["message"] for w in document.json["warnings"]] == ["cannot fly: connector 'kafka' is not built"]
        assert f"{more}:1: bee 'last': cannot fly: connector 'kafka' is not built" in said.err
        assert "but 1 cannot fly yet" in said.err

    def test_problems_of_all_files_are_told_at_once(self, bare_hive, folder):
        (folder / "c.yaml").write_text("bees:\n\tx: 1")
        (folder / "d.yaml").write_text("bees: {files: {type: local, sorce: {}}}")

        said = bare_hive("config", "check", folder)

        assert said.code == 2
        for text in (
            "c.yaml:2: is not YAML: a tab",
            "d.yaml:1: bee 'files', field 'sorce'",
            "is named twice, first in",
        ):
            assert text in said.err

    def test_a_variable_that_nothing_reads_is_doubted(self, bare_hive, folder):
        bare_hive.set({"HIVE_GATEWAY_PROT": "1"})

        said = bare_hive("config", "check", folder)

        assert said.code == 0
        assert "nothing reads the environment variable HIVE_GATEWAY_PROT; did you mean 'HIVE_GATEWAY_PORT'?" in said.err

    def test_why_a_bee_cannot_fly_is_told_when_its_source_is_asked_for(self, bare_hive, folder):
        (folder / "c.yaml").write_text("worker_bees: {sales: {type: postgresql, source: {host: h, database: d}}}")

        said = bare_hive("check", "sales", "--config", folder)

        assert (said.code, said.out) == (2, "")
        assert "bee 'sales': cannot fly: source.user is missing" in said.err

    def test_combs_beside_the_bees_are_no_bees(self, bare_hive, folder):
        (folder / "combs").mkdir()
        open_path = {"parameters": {"path": {}}, "connection": {"path": "{{ param.path }}"}}
        comb = {"id": "mine", "subtype": "local", **open_path}
        (folder / "combs" / "mine.yml").write_text(yaml.safe_dump(comb))
        bare_hive.set({"HIVE_CONFIG": folder})

        assert bare_hive("config", "check", folder, "--json").json["bees"] == ["files", "desk"]
        assert [c["id"] for c in bare_hive("comb", "list", "--json").json if c["origin"] == "custom"] == ["mine"]

    def test_without_files_it_checks_what_the_settings_and_the_environment_tell_of(self, bare_hive, folder):
        bare_hive.set({"HIVE_CONFIG": folder, "ENABLED_CONNECTORS": "api", "CONNECTOR_API_POLL_INTERVAL_MS": "soon"})

        said = bare_hive("config", "check")

        assert said.code == 2
        assert "field 'CONNECTOR_API_POLL_INTERVAL_MS': should be a whole number" in said.err
        assert "bee 'api', field 'CONNECTOR_API_TYPE': is missing" in said.err

    @pytest.mark.parametrize(
        ("variables", "told"),
        [
            ({"ENABLED_CONNECTORS": "weather-noaa"}, "the variable CONNECTOR_WEATHER_NOAA_TYPE is missing"),
            ({"ENABLED_CONNECTORS": "a;b"}, "names 'a;b', which is no name, expected names with commas between them"),
            ({"ENABLED_CONNECTORS": "a b"}, "names 'a b', which is no name, expected names with commas between them"),
            (
                {"ENABLED_CONNECTORS": "a.b,a-b", "CONNECTOR_A_B_TYPE": "JIRA"},
                "names 'a.b' and 'a-b', and the variables CONNECTOR_A_B_... would be those of both",
            ),
        ],
    )
    def test_connectors_that_no_variable_can_tell_of_are_refused(self, bare_hive, variables, told):
        bare_hive.set(variables)

        said = bare_hive("config", "check")

        assert (said.code, told in said.err) == (2, True)

    def test_settings_of_clouds_count_in_lower_case_too(self, bare_hive):
        bare_hive.set({"gcp_enabled": "true", "gcp_sync_interval": "60", "default_organization_id": "42"})

        said = bare_hive("config", "show", "--json").json

        assert said["bees"]["gcp"]["every"] == 60
        assert said["organizations"] == {"default_organization_id": "42"}

    def test_the_hidden_environment_of_a_folder_is_read_if_it_tells_of_bees(self, bare_hive, folder):
        (folder / ".env").write_text("PASSWORD=x\nnot a line\n")
        before = bare_hive("config", "check", folder, "--json").json["bees"]
        (folder / ".env").write_text("GCP_ENABLED=true\n")

        assert before == ["files", "desk"]
        assert set(bare_hive("config", "check", folder, "--json").json["bees"]) == {"files", "desk", "gcp"}

    def test_what_is_no_file_is_named_and_nobody_waits_for_it(self, bare_hive, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        os.mkfifo(tmp_path / "pipe")

        loop, pipe = bare_hive("config", "check", tmp_path / "loop"), bare_hive("config", "check", tmp_path / "pipe")

        assert (loop.code, pipe.code) == (2, 2)
        assert f"{tmp_path / 'loop'}: the file cannot be read: Too many levels of symbolic links" in loop.err
        assert f"{tmp_path / 'pipe'}: the file cannot be read: it is no file, but a pipe, socket or device" in pipe.err

    def test_schedules_that_are_over_and_jars_that_nobody_feeds_are_doubted(self, bare_hive, folder):
        over = {**LOCAL, "schedules": {"old": {"every": "5m", "end": "2020-01-01"}, "new": "@daily"}}
        bees = {"over": over, "waits": {**LOCAL, "on": {"jar": "fils"}}}
        (folder / "c.yml").write_text(yaml.safe_dump({"bees": bees}))
        (folder / "d.yml").write_text(yaml.safe_dump({"bees": {"follows": {**LOCAL, "on": {"jar": "files"}}}}))

        told = [
            (w["bee"], w["field"], w["message"], w["suggestion"])
            for w in bare_hive("config", "check", folder, "--json").json["warnings"]
        ]

        assert told == [
            ("over", "schedules.old.end", "schedule 'old' flies no more: no slot comes before its `end`", ""),
            ("waits", "on.jar", "no bee feeds the jar 'fils' (a registered bee may feed it)", "files"),
        ]


class TestShow:
    def test_each_value_says_where_it_came_from(self, bare_hive, folder):
        text, document = bare_hive("config", "show", folder).out, bare_hive("config", "show", folder, "--json").json

        assert yaml.safe_load(text)["bees"]["desk"]["every"] == 60
        assert document["bees"]["desk"]["source"]["headers"]["X-Key"] == "********"
        assert document["origin"]["bees.desk.every"].endswith("b.json:6")
        assert document["origin"]["bees.files.source.path"].endswith("a.yml:6")
        assert SECRET not in text + json.dumps(document)
        assert next(line for line in text.splitlines() if "base_url" in line).endswith("b.json:8")

    def test_the_environment_and_the_files_that_it_names(self, bare_hive, folder):
        bare_hive.set(
            {
                "CONNECTORS_CONFIG_PATH": folder / "b.json", "ENABLED_CONNECTORS": "jira-prod",
                "CONNECTOR_JIRA_PROD_TYPE": "JIRA", "CONNECTOR_JIRA_PROD_API_TOKEN": SECRET,
                "CONNECTOR_JIRA_PROD_BASE_URL": "https://jira.example.com", "AWS_ENABLED": "true",
            }
        )  # fmt: skip

        said = bare_hive("config", "show", "--json")

        assert (said.code, SECRET in said.out) == (0, False)
        assert list(said.json["bees"]) == ["desk", "jira-prod", "aws"]
        jira = said.json["bees"]["jira-prod"]["source"]
        assert jira == {"api_token": "${CONNECTOR_JIRA_PROD_API_TOKEN}", "base_url": "https://jira.example.com"}
        assert said.json["origin"]["bees.jira-prod.source.base_url"] == "CONNECTOR_JIRA_PROD_BASE_URL"
        assert said.json["bees"]["aws"]["every"] == 3600

    def test_a_secret_among_query_parameters_is_masked_wherever_it_stands(self, bare_hive, tmp_path):
        streams = {
            "a": {"path": f"/a?page=1&access_token={SECRET}", "key": "id"},
            "b": {"path": "/b?token=${TOKEN}&api_key={{ vault:b/key }}", "key": "token", "params": {"sig": "x"}},
            "c": {"path": "/c", "params": {"api_key": SECRET, "page": 1}},
        }
        source = {"base_url": f"https://u:{SECRET}@desk.example.com"}
        extras = {"hook": f"https://x.example/?Api%5FKey={SECRET}", "see": "https://x.example/?page=key"}
        bees = {"desk": {"type": "rest", "source": source, "streams": streams, "extras": extras}}
        (tmp_path / "hive.json").write_text(json.dumps({"bees": bees}))

        shown, text = bare_hive("config", "show", "hive.json", "--json"), bare_hive("config", "show", "hive.json").out
        converted = bare_hive("config", "convert", "hive.json")

        desk = shown.json["bees"]["desk"]
        assert [desk["streams"][name]["path"] for name in "abc"] == ["********", streams["b"]["path"], "/c"]
        assert desk["streams"]["b"]["key"] == "token"
        assert desk["streams"]["c"]["params"] == {"api_key": "********", "page": 1}
        assert desk["extras"] == {"hook": "********", "see": extras["see"]}
        assert SECRET not in shown.out + text + converted.out + converted.err
        assert "path: ${DESK_STREAMS_A_PATH}" in converted.out.replace('"', "").replace("'", "")

    def test_what_a_value_is_read_from_is_told_beside_its_place(self, bare_hive, folder):
        source = {"host": "${DB_HOST}", "database": "d", "user": "${DB_USER}", "password": "{{ vault.db.password }}"}
        (folder / "c.yml").write_text(yaml.safe_dump({"bees": {"db": {"type": "postgresql", "source": source}}}))
        bare_hive.set({"DB_HOST": "h"})

        origin = bare_hive("config", "show", folder / "c.yml", "--json").json["origin"]
        text = bare_hive("config", "show", folder / "c.yml").out

        assert origin["bees.db.source.host"].endswith("c.yml:5, variable DB_HOST")
        assert origin["bees.db.source.user"].endswith("c.yml:7, variable DB_USER (not set)")
        assert origin["bees.db.source.password"].endswith("c.yml:6, vault db/password")
        assert any(line.endswith("c.yml:5, variable DB_HOST") for line in text.splitlines())

    def test_without_files_it_is_what_the_hive_flies(self, nest, hive, folder):
        nest.hive.reload(folder)
        nest.hive.register_worker("local", {"name": "mine", "path": "/tmp", "schedule": "@daily"})
        (folder / "a.yml").write_text("bees: {}")

        document, said = hive("config", "show", "--json"), hive("config", "show")

        assert (document.code, SECRET in document.out + said.out) == (0, False)
        assert list(document.json["bees"]) == ["desk", "files", "mine"]
        assert document.json["bees"]["mine"] == {"type": "local", "schedule": "@daily", "source": {"path": "/tmp"}}
        assert document.json["origin"]["bees.mine.source.path"] == "registered, version 2"
        assert document.json["origin"]["bees.files.source.path"] == f"{folder}, version 1"
        assert document.json["origin"]["bees.desk.source.headers.X-Key"].startswith(
            f"{folder}, version 1, vault bees/desk/"
        )
        assert "  # registered, version 2" in said.out
        assert "what the hive flies" in said.err


class TestConvert:
    def test_it_writes_the_native_form_and_names_variables(self, bare_hive, folder):
        said = bare_hive("config", "convert", folder)

        assert (said.code, SECRET in said.out + said.err) == (0, False)
        assert yaml.safe_load(said.out)["bees"]["desk"] == {
            "type": "rest", "every": 60, "source": {
                "base_url": "https://desk.example.com", "endpoints": {"data": ["/tickets"]},
                "headers": {"X-Key": "${DESK_HEADERS_X_KEY}"},
            },
        }  # fmt: skip
        assert "set the environment variable DESK_HEADERS_X_KEY" in said.err

    def test_the_schema_is_one_document(self, bare_hive):
        assert bare_hive("config", "schema").json["title"] == "Worker Bees"


class TestReload:
    def test_a_bee_that_cannot_fly_is_left_out_with_a_warning(self, nest, folder):
        (folder / "c.json").write_text(json.dumps({"connectors": [{"name": "x", "connector_type": "kafka"}]}))

        with capture_logs() as logs:
            nest.hive.reload(folder)

        assert nest.rows("SELECT name, enabled FROM hive.bee ORDER BY name") == [("desk", True), ("files", True)]
        assert [(log["bee"], log["reasons"]) for log in logs if log.get("log_level") == "warning"] == [
            ("x", ["connector 'kafka' is not built"])
        ]

    def test_of_files_with_a_mistake_nothing_is_used(self, nest, folder):
        (folder / "c.json").write_text("{")

        with pytest.raises(ConfigProblems, match=r"c\.json:1: is not JSON"):
            nest.hive.reload(folder)
        assert nest.rows("SELECT name FROM hive.bee") == []


class TestCheckAgainstTheHive:
    """Secrets of the vault and other bees: asked for where a hive runs, told of where none does."""

    @pytest.fixture
    def file(self, tmp_path):
        """`a` wants a secret and flies after `b`, which no file has."""
        made = tmp_path / "hive.yaml"
        source = {"host": "h", "database": "d", "user": "u", "password": "{{ vault.desk.token }}"}
        block = {"type": "postgresql", "source": source, "after": ["b"]}
        made.write_text(yaml.safe_dump({"bees": {"a": block, "c": LOCAL}}, sort_keys=False))
        return made

    def test_without_a_hive_what_could_not_be_checked_is_told(self, bare_hive, file):
        said = bare_hive("config", "check", file)

        assert said.code == 0
        assert "no hive runs here, so whether its vault holds these is not known: desk/token" in said.err
        assert (
            f"{file}:9: bee 'a', field 'after': no bee of the configuration is named 'b' "
            "(a registered bee may have the name)" in said.err
        )
        assert not file.with_name(".hive").exists()

    def test_what_the_hive_does_not_have_is_a_problem(self, nest, hive, file):
        nest.rt.vault().set("desk/tokens", SECRET)
        nest.register("bb")

        said = hive("config", "check", file, "--json")

        assert said.code == 2
        missing, unknown = said.json["problems"]
        assert (missing["line"], missing["bee"], missing["field"]) == (8, "a", "source.password")
        assert missing["message"].startswith("the vault's secret 'desk/token' is missing: set it with `hive vault set")
        assert missing["message"].endswith("; did you mean 'desk/tokens'?")
        assert (unknown["line"], unknown["field"]) == (9, "after")
        assert unknown["message"] == "no bee is named 'b', here or in the hive"
        assert SECRET not in said.out + said.err

    def test_what_it_has_is_right(self, nest, hive, file):
        nest.rt.vault().set("desk/token", SECRET)
        nest.register("b")

        said = hive("config", "check", file, "--json")

        assert (said.code, said.json) == (0, {"ok": True, "bees": ["a", "c"], "by_hand": ["c"]})

    def test_a_bee_of_another_file_is_doubted(self, nest, hive, file, tmp_path):
        nest.rt.vault().set("desk/token", SECRET)
        other = tmp_path / "other.yaml"
        other.write_text(yaml.safe_dump({"bees": {"b": LOCAL}}))
        nest.hive.apply(other)

        said = hive("config", "check", file, "--json")

        assert said.code == 0
        (warning,) = said.json["warnings"]
        assert "named 'b' (the hive has one of another configuration)" in warning["message"]

    def test_the_secret_of_another_bee_is_refused_as_a_reload_would(self, nest, hive, file):
        nest.rt.vault().set("bees/other/token", SECRET)
        nest.register("b")
        file.write_text(file.read_text().replace("vault.desk.token", "vault:bees/other/token"))

        said = hive("config", "check", file)

        assert said.code == 2
        assert "refers to 'bees/other/token', which belongs to another bee" in said.err

    def test_a_hive_that_does_not_answer_is_none(self, bare_hive, file):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"postgresql://u:{SECRET}@127.0.0.1:{mute.getsockname()[1]}/x"
            bare_hive.set({"HIVE_DATABASE_URL": url})
            began = time.monotonic()

            said = bare_hive("config", "check", file)

            assert time.monotonic() - began < 4
        assert said.code == 0
        assert "no hive runs here" in said.err
        assert SECRET not in said.err

    def test_a_hive_is_not_asked_about_files_that_refer_to_nothing(self, bare_hive, folder):
        bare_hive.set({"HIVE_DATABASE_URL": "postgresql://127.0.0.1:1/x", "HIVE_LEASE": "soon"})

        assert bare_hive("config", "check", folder).code == 0
