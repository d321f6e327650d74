"""Combs: what the project brings, what a user's folder may hold, and the bees that are made of them."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings, strategies

from bees.core.errors import GiveUp
from bees.postgresql import PostgreSQLWorkerBee
from bees.rest import RestBee
from hive.combs import CombLibrary, UnknownComb
from hive.combs.library import SYSTEM
from hive.config.load import from_mapping
from hive.config.problems import ConfigProblems
from hive.config.references import resolve
from hive.registry import UnknownConnector
from tests.bees.contract import rows
from tests.bees.postgresql_source import source_database
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest, write
from tests.hive.vendors import VENDORS
from tests.servers.web import oidc_provider

__all__ = ["bare_hive", "hive_command", "make_nest", "nest", "source_database"]

SERVER = {"host": "db.internal", "database": "sales", "user": "reader"}
MEMBERS = {"hosts": "db.internal,other.internal:27018", "database": "sales", "user": "reader"}
NEEDED: dict[str, dict[str, Any]] = {
    "postgresql-table": {**SERVER, "table": "orders"},
    "postgresql-database": SERVER,
    "mysql-table": {**SERVER, "table": "orders"},
    "mysql-database": SERVER,
    "mysql-query": {**SERVER, "table": "orders", "column": "at", "since": "2026-01-01", "key": "id"},
    "mysql-changes": {**SERVER, "table": "orders"},
    "postgresql-changes": {**SERVER, "table": "orders", "slot": "hive", "publication": "told"},
    "mongodb-collection": {**MEMBERS, "collection": "orders"},
    "mongodb-database": MEMBERS,
    "mongodb-changes": {**MEMBERS, "collection": "orders", "replica_set": "rs0"},
    "postgresql-query": {**SERVER, "table": "orders", "column": "at", "since": "2026-01-01", "key": "id"},
    "folder-documents": {"path": "/srv/papers"},
    "folder-rows": {"path": "/srv/tables"},
    "rest-json": {"base_url": "https://desk.example.com/api", "path": "/tickets", "key": "id"},
    **{
        name: {**vendor.given, **({vendor.secret: "x"} if vendor.secret else {}), "base_url": "https://api.example.com"}
        for name, vendor in VENDORS.items()
    },
    "github-issues": {"owner": "acme", "repo": "desk"},
}

PROD_DB = """
id: prod_db
name: Production database
description: Orders of the shop
type: database
subtype: postgresql
connection: {vault_path: data-sources/prod_db}
extraction:
  default_mode: incremental
  available_modes: [full_dump, incremental, query_based]
  table: orders
  key: id
  cursor: updated_at
  query_template: select * from orders where total > {{ param.least }}
parameters: [{name: least, type: number, default: 10}]
scrubbing: {enabled: true, profile: gdpr_compliant, custom_rules: [{field: notes, action: replace}]}
scheduling:
  continuous_flow: {enabled: true, interval: 5m}
  snapshot_generation: {enabled: true, cron: "0 2 * * *"}
access_control:
  required_permissions: ["comb:read:prod_db", "honey_jar:create"]
  data_classification: confidential
"""


def block(library: CombLibrary, comb: str, parameters: dict[str, Any], **how: Any) -> dict[str, Any]:
    """The checked block of a bee that is made so; the vault holds whatever is asked for."""
    made = library.plan(comb, parameters, name="bee", **how)
    return from_mapping("bee", made.block, environ={}, vault=made.vault(lambda path: "1234")).block()


@pytest.fixture
def library() -> CombLibrary:
    return CombLibrary()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "combs"
    found.mkdir()
    return found


class TestSystemCombs:
    def test_there_is_one_for_each_source_that_can_be_read(self, library):
        assert {comb["subtype"] for comb in library.system_combs.values()} == {
            "postgresql", "mysql", "mongodb", "local", "rest"
        }  # fmt: skip
        assert set(library.system_combs) == set(NEEDED) == {path.stem for path in SYSTEM.iterdir()}

    @pytest.mark.parametrize("comb", NEEDED)
    def test_each_makes_a_bee_in_each_of_its_modes_with_what_it_needs(self, library, comb):
        about = library.get_comb(comb)
        for mode in about["extraction"]["available_modes"]:
            more = {"cursor": "changed"} if "cursor" in about["parameters"] else {}
            made = block(library, comb, {**NEEDED[comb], **more}, mode=mode)

            assert made["type"] == about["subtype"]
            assert made["honey_jar"]["name"] == "bee"
            assert made["extras"]["comb"]["id"] == comb
            assert made["extras"]["comb"]["mode"] == mode
            assert made["extras"]["access_control"] == about["access_control"]
            assert made["schedules"]

    @pytest.mark.parametrize("comb", NEEDED)
    def test_each_explains_its_parameters_and_scrubs_what_people_wrote(self, library, comb):
        about = library.get_comb(comb)

        assert all(parameter.get("description") for parameter in about["parameters"].values())
        assert about["description"]
        assert about["scrubbing"]["enabled"] == (comb != "noaa-weather-alerts")

    def test_an_unknown_one_is_named_with_the_one_that_was_meant(self, library):
        with pytest.raises(UnknownComb, match="no comb is named 'github_issues'; did you mean 'github-issues'"):
            library.get_comb("github_issues")

    def test_a_full_dump_has_no_cursor_and_an_incremental_one_needs_it(self, library):
        given = {**NEEDED["postgresql-table"], "cursor": "changed"}

        assert "cursor" not in block(library, "postgresql-table", given)["streams"]["orders"]
        assert block(library, "postgresql-table", given, mode="incremental")["streams"]["orders"]["cursor"] == "changed"
        with pytest.raises(ConfigProblems, match="the mode incremental needs a `cursor`"):
            library.plan("postgresql-table", NEEDED["postgresql-table"], name="bee", mode="incremental")
        with pytest.raises(ConfigProblems, match="has no mode 'increment'; did you mean 'incremental'"):
            library.plan("postgresql-table", given, name="bee", mode="increment")

    def test_what_is_not_given_comes_from_the_vault_if_there_is_a_folder_in_it(self, library):
        made = block(library, "postgresql-table", {"table": "orders", "vault_path": "data-sources/sales", "user": "me"})

        assert made["source"]["host"] == "{{ vault:data-sources/sales/host }}"
        assert made["source"]["password"] == "{{ vault:data-sources/sales/password }}"
        assert made["source"]["user"] == "me"


class TestParameters:
    def test_all_that_is_wrong_is_told_at_once_and_no_value(self, library):
        with pytest.raises(ConfigProblems) as caught:
            library.plan(
                "postgresql-query",
                {"tabel": "x", "column": "a;b", "port": "canary", "ssl_mode": "canary2", "since": "a\x00b", **SERVER},
                name="bee",
            )

        told = str(caught.value)
        assert "comb 'postgresql-query', parameter 'tabel' is not known; did you mean 'table'?" in told
        assert "parameter 'table' is missing, expected the table or view" in told
        assert "parameter 'column' is not what it should be, expected a name of the source" in told
        assert "parameter 'port' is not what it should be, expected a whole number" in told
        assert "parameter 'ssl_mode' is not what it should be, expected one of disable, allow" in told
        assert "parameter 'since' is not what it should be, expected text without control characters" in told
        assert "parameter 'key' is missing" in told
        assert "canary" not in told

    def test_a_value_in_a_query_is_a_literal_and_a_name_is_quoted(self, library):
        given = {**NEEDED["postgresql-query"], "table": "sales.Orders", "since": "x' or 1=1; --\\"}

        query = block(library, "postgresql-query", given)["streams"]["postgresql-query"]["query"]

        assert query == """select * from "sales"."Orders" where "at" >= E'x'' or 1=1; --\\\\'"""

    @pytest.mark.parametrize("owner", ["a/b", "a?b=c", "ä #", "%2e%2e"])
    def test_a_value_in_a_path_is_one_segment_of_it(self, library, owner):
        path = block(library, "github-issues", {"owner": owner, "repo": "desk"})["streams"]["issues"]["path"]

        assert len(path.split("/")) == 5
        assert not set("?#") & set(path)

    def test_a_path_cannot_be_climbed(self, library):
        with pytest.raises(ConfigProblems, match="parameter 'owner' is no part of a path"):
            library.plan("github-issues", {"owner": "..", "repo": "x"}, name="bee")

    def test_a_value_is_never_read_for_references(self, library):
        made = library.plan("noaa-weather-alerts", {"area": "${HOME}", "contact": "a ${X}"}, name="bee")

        assert made.block["streams"]["alerts"]["params"]["area"] == "$${HOME}"
        assert made.block["source"]["headers"]["User-Agent"] == "a $${X}"
        with pytest.raises(ConfigProblems, match="refers to the vault, which only a secret parameter may"):
            library.plan("noaa-weather-alerts", {"area": "{{ vault.other.token }}"}, name="bee")

    @pytest.mark.parametrize(
        ("text", "given"),
        [
            ("{{ param.a }}{{ param.b }}", {"a": "{", "b": "{ vault:shared/db }}"}),
            ("${{ param.a }} {{ param.b }}", {"a": "{HIVE_KEY}", "b": "x"}),
            ("{{{ param.a }} }} {{ param.b }}", {"a": "{ vault.shared.db", "b": "x"}),
            ("{{ param.a }}${TOKEN}{{ param.b }}", {"a": "$", "b": "x"}),
            ("${{ param.a }}{{ param.b }}", {"a": "{", "b": "x"}),
            ("${A_{{ param.a }}}{{ param.b }}", {"a": "B", "b": "x"}),
        ],
    )
    def test_nor_are_values_with_what_stands_beside_them(self, folder, text, given):
        comb = {"id": "c", "subtype": "postgresql", "parameters": {"a": {}, "b": {}}}
        (folder / "c.yml").write_text(yaml.safe_dump({**comb, "connection": {"host": text}}))
        library = CombLibrary(folder)

        with pytest.raises(ConfigProblems) as caught:
            library.plan("c", given, name="bee")

        assert "comb 'c', text with the parameter 'a', 'b': " in str(caught.value)
        assert "shared" not in str(caught.value)

    def test_references_of_the_comb_itself_stay_beside_values(self, folder):
        comb = {"id": "c", "subtype": "postgresql", "parameters": {"a": {}, "b": {"secret": True}}}
        text = "{{ vault.x.y }}{{ param.a }}${Z}{{ param.b }}"
        (folder / "c.yml").write_text(yaml.safe_dump({**comb, "connection": {"host": text}}))

        made = CombLibrary(folder).plan("c", {"a": "$5 {", "b": "s"}, name="bee")

        assert made.block["source"]["host"] == "{{ vault.x.y }}$5 {${Z}{{ vault:bees/bee/param/b }}"

    def test_a_secret_stands_in_no_block_and_no_repr(self, library):
        made = library.plan("github-issues", {**NEEDED["github-issues"], "token": "canary-token"}, name="bee")

        assert made.secrets == {"bees/bee/param/token": "canary-token"}
        assert "canary" not in str(made) + json.dumps(made.block)
        assert made.block["source"]["headers"]["Authorization"] == "Bearer {{ vault:bees/bee/param/token }}"

    def test_a_secret_may_be_a_reference(self, library):
        made = library.plan("github-issues", {**NEEDED["github-issues"], "token": "${GITHUB_TOKEN}"}, name="bee")

        assert made.secrets == {}
        assert made.block["source"]["headers"]["Authorization"] == "Bearer ${GITHUB_TOKEN}"

    def test_what_has_no_value_is_left_out(self, library):
        made = library.plan("noaa-weather-alerts", {}, name="bee").block

        assert made["streams"]["alerts"]["params"] == {}
        assert (
            "Authorization"
            not in library.plan("github-issues", NEEDED["github-issues"], name="b").block["source"]["headers"]
        )


class TestCustomCombs:
    def test_a_comb_of_the_documents_makes_a_bee_in_each_mode(self, folder):
        (folder / "prod.yml").write_text(PROD_DB)
        library = CombLibrary(folder)

        whole = block(library, "prod_db", {}, mode="full_dump")
        new = block(library, "prod_db", {})
        asked = block(library, "prod_db", {"least": 99.5}, mode="query_based")

        assert list(library.custom_combs) == ["prod_db"]
        assert whole["streams"] == {"prod_db": {"table": "orders", "key": "id"}}
        assert new["streams"] == {"prod_db": {"table": "orders", "key": "id", "cursor": "updated_at"}}
        assert asked["streams"]["prod_db"]["query"] == "select * from orders where total > 99.5"
        assert [(s["name"], s["mode"]) for s in new["schedules"]] == [
            ("continuous_flow", "continuous"), ("snapshot_generation", "snapshot")
        ]  # fmt: skip
        assert new["scrubbing"] == {
            "profile": "gdpr_compliant",
            "custom_rules": [{"field": "notes", "action": "replace"}],
        }
        assert new["extras"]["access_control"]["data_classification"] == "confidential"
        assert new["source"]["password"] == "{{ vault:data-sources/prod_db/password }}"

    def test_the_folder_is_found_beside_the_configuration_or_by_its_own_setting(self, hive, folder, tmp_path):
        (folder / "prod.yml").write_text(PROD_DB)
        hive.set({"HIVE_CONFIG": tmp_path / "hive.yml"})
        beside = [comb["id"] for comb in hive("comb", "list", "--json").json if comb["origin"] == "custom"]
        folder.rename(tmp_path / "elsewhere")
        hive.set({"HIVE_COMBS": tmp_path / "elsewhere"})
        named = [comb["id"] for comb in hive("comb", "list", "--json").json if comb["origin"] == "custom"]

        assert beside == named == ["prod_db"]

    def test_files_hold_one_or_several(self, folder):
        one = {"subtype": "local", "connection": {"path": "/srv"}}
        (folder / "a.json").write_text(json.dumps({"combs": {"a": one, "b": one}}))
        (folder / "b.yaml").write_text(yaml.safe_dump([{"id": "c", **one}]))
        (folder / "notes.txt").write_text("no comb")

        assert list(CombLibrary(folder).custom_combs) == ["a", "b", "c"]

    def test_a_comb_of_a_source_that_nobody_built_loads_and_is_refused_by_name(self, folder):
        keys = {
            "id": "shop",
            "name": "Shop",
            "subtype": "oracle",
            "hive_config": {"batch": 5},
            "scrubbing": {"enabled": True},
        }
        (folder / "shop.yml").write_text(yaml.safe_dump({**keys, "extraction": {"query_template": "select 1"}}))
        library = CombLibrary(folder)

        assert library.get_comb("shop")["hive_config"] == {"batch": 5}
        assert [c["available"] for c in library.summaries() if c["id"] == "shop"] == [False]
        with pytest.raises(UnknownConnector, match="no connector is named 'oracle'"):
            library.create_worker_bee("shop")

    def test_what_is_put_into_the_library_is_a_comb_and_what_is_taken_out_is_none(self, folder, tmp_path):
        (folder / "a.yml").write_text("{id: a, subtype: local, connection: {path: /nowhere}}")
        library = CombLibrary(folder)
        library.custom_combs["b"] = {"subtype": "local", "connection": {"path": str(tmp_path)}}
        library.custom_combs["wrong"] = {"subtyp": "local"}
        library.custom_combs["a"]["connection"]["path"] = str(tmp_path / "changed")

        with library.create_worker_bee("b") as bee:
            assert bee.options.path == str(tmp_path)
        assert library.get_comb("a")["connection"] == {"path": str(tmp_path / "changed")}
        with pytest.raises(ConfigProblems, match="comb 'wrong', subtyp is no known option; did you mean 'subtype'"):
            library.get_comb("wrong")
        del library.custom_combs["a"], library.custom_combs["wrong"]
        with pytest.raises(UnknownComb, match="no comb is named 'a'"):
            library.get_comb("a")
        assert [comb["id"] for comb in library.summaries() if comb["origin"] == "custom"] == ["b"]

    @pytest.mark.parametrize("comb", [None, 3, ["a"], b"a"])
    def test_an_id_that_is_no_text_is_told(self, folder, comb):
        with pytest.raises(UnknownComb, match="a comb is named by text, its id, and not by a value of type"):
            CombLibrary(folder).get_comb(comb)

    def test_a_folder_that_is_not_there_is_named_with_its_setting(self, hive, tmp_path):
        hive.set({"HIVE_COMBS": tmp_path / "nowhere"})
        said = hive("comb", "list")

        assert (said.code, "nowhere: is no folder, expected the folder that HIVE_COMBS names" in said.err) == (2, True)

    def test_all_that_is_wrong_in_all_files_is_told_with_file_and_line(self, folder):
        (folder / "a.yml").write_text("id: a\nsubtyp: local\nextraction: 5\n")
        (folder / "b.yml").write_text(
            "id: b\nsubtype: postgresql\nparameters:\n  unused: {default: 1, type: list}\n  mode: {}\n"
            "connection: {host: '{{ param.hots }}', port: '{{ param.bad-name }}', user: '{{ param.mode }}'}\n"
            "extraction: {query_template: \"select '{{ param.mode }}'\"}\n"
        )
        (folder / "c.yml").write_text("id: github-issues\nsubtype: rest\n")
        (folder / "d.yml").write_text("id: d\nid: e\nsubtype: rest\n")

        with pytest.raises(ConfigProblems) as caught:
            CombLibrary(folder).custom_combs  # noqa: B018

        told = str(caught.value)
        assert f"{folder / 'a.yml'}:2: comb 'a', subtyp is no known option; did you mean 'subtype'?" in told
        assert f"{folder / 'a.yml'}:3: comb 'a', extraction should be a map of names and values" in told
        assert "comb 'a', subtype is missing" in told
        assert "comb 'b': uses the parameter 'hots', which is not declared" in told
        assert "comb 'b', connection.port: holds what is no placeholder: write {{ param.NAME }}" in told
        assert "comb 'b', parameters.unused: is used nowhere" in told
        assert "comb 'b', parameters.unused.default: does not fit its type, expected words with a comma" in told
        assert "comb 'b', parameters.mode: is taken" in told
        assert "comb 'b', extraction.query_template: has a parameter in quotes" in told
        assert "c.yml:1: the id 'github-issues' belongs to a comb of the project" in told
        assert "d.yml:2: the key 'id' is written twice" in told

    @pytest.mark.parametrize(
        "query",
        [
            "select '{{ param.x }}'", 'select "{{ param.x }}"', "select 1 -- {{ param.x }}",
            "select /* a */ {{ param.x }}", "select $a$ {{ param.x }} $a$", r"select E'\'{{ param.x }}'",
            "select 'open {{ param.x }}",
            r"select like'a\'' {{ param.x }} '",
            "select a$b$ ' $b$ {{ param.x }} '",
            "select $é1$ {{ param.x }} $é1$",
        ],
    )  # fmt: skip
    def test_a_parameter_in_quotes_or_comments_of_a_query_is_refused(self, folder, query):
        comb = {"id": "q", "subtype": "postgresql", "parameters": {"x": {}}, "extraction": {"query_template": query}}
        (folder / "q.yml").write_text(yaml.safe_dump(comb))

        with pytest.raises(ConfigProblems, match="in quotes or beside a block comment"):
            CombLibrary(folder).get_comb("q")

    def test_a_secret_is_put_into_no_query_and_no_address(self, folder):
        comb = {"id": "q", "subtype": "postgresql", "parameters": {"x": {"secret": True}}}
        (folder / "q.yml").write_text(yaml.safe_dump({**comb, "extraction": {"query": "select {{ param.x }}"}}))

        with pytest.raises(ConfigProblems, match="parameter 'x' is secret, and a query is no place for a secret"):
            CombLibrary(folder).plan("q", {"x": "s"}, name="bee")


class TestLiveBees:
    @given(text=strategies.text(strategies.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40))
    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_any_text_in_a_query_is_the_value_that_was_given(self, library, db, text):
        assume("vault" not in text)
        query = library.plan("postgresql-query", {**NEEDED["postgresql-query"], "since": text}, name="bee")
        literal = resolve(query.block["streams"]["postgresql-query"]["query"], environ={}, vault=str).partition(">=")[2]

        assert db.rows(f"SELECT {literal}") == [(text,)]

    def test_one_reads_a_query_with_a_hostile_value_as_a_value(self, library, db):
        db.run("CREATE TABLE orders (id int PRIMARY KEY, who text)", "INSERT INTO orders VALUES (1, 'a'), (2, 'z')")
        login = {k: v for k, v in db.options().items() if k != "batch_rows"}
        given = {**login, "table": "orders", "column": "who", "key": "id", "since": "b' or 'a' = 'a"}

        with library.create_worker_bee("postgresql-query", **given) as bee:
            assert isinstance(bee, PostgreSQLWorkerBee)
            found = rows(bee.collect_nectar("postgresql-query", None))

        assert [row["id"] for row in found] == [2]

    @pytest.mark.parametrize("table", ["Order Lines", '"Order Lines"', 'Shop Data."Order Lines"', "`Order Lines`"])
    def test_names_may_hold_blanks_capitals_and_quotes(self, library, db, table):
        places = ('"Order Lines"', '"Shop Data"."Order Lines"')
        columns = '("Line Id" int PRIMARY KEY, "Ge""b-1.5" int, größe int, "${HOME}" int)'
        filled = (f"INSERT INTO {place} VALUES (1, 1, 1, 1), (2, 5, 0, 1), (3, 5, 9, 7)" for place in places)
        db.run('CREATE SCHEMA "Shop Data"', *(f"CREATE TABLE {place} {columns}" for place in places), *filled)
        login = {k: v for k, v in db.options().items() if k != "batch_rows"}

        for column, found in {'"Ge""b-1.5"': [2, 3], "größe": [3], "Line Id": [3], '"${HOME}"': [3]}.items():
            given = {**login, "table": table, "column": column, "key": "Line Id", "since": "3"}
            with library.create_worker_bee("postgresql-query", **given) as bee:
                bee.validate_flight_path()
                assert [row["Line Id"] for row in rows(bee.collect_nectar("postgresql-query", None))] == found
        with library.create_worker_bee("postgresql-table", **login, table="Order Lines") as bee:
            assert len(rows(bee.collect_nectar("Order Lines", None))) == 3

    def test_one_reads_a_table_and_one_reads_all_tables(self, library, db):
        db.run("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)", "INSERT INTO b VALUES (7)")
        login = {k: v for k, v in db.options().items() if k != "batch_rows"}

        with library.create_worker_bee("postgresql-database", **login) as bee:
            assert [stream.name for stream in bee.get_pollen_schema()] == ["a", "b"]
        with library.create_worker_bee("postgresql-table", **login, table="b") as bee:
            assert [row["id"] for row in rows(bee.collect_nectar("b", None))] == [7]

    def test_weather_alerts_and_issues_are_asked_for_as_their_services_want(self, library, service):
        service.answers = {
            "/alerts/active": {"features": [{"id": "urn:1", "properties": {"severity": "Severe"}}]},
            "/repos/acme/desk/issues": [{"id": 5, "updated_at": "2026-01-02T00:00:00Z", "title": "x"}],
        }
        here = {"base_url": service.url, "allow_private": True}
        with library.create_worker_bee("noaa-weather-alerts", area="CA,OR", severity="Severe,Extreme", **here) as bee:
            alerts = rows(bee.collect_nectar("alerts", None))
        with library.create_worker_bee("github-issues", owner="acme", repo="desk", token="canary", **here) as bee:
            batches = list(bee.collect_nectar("issues", None))
            list(bee.collect_nectar("issues", batches[-1].cursor))

        assert [alert["id"] for alert in alerts] == ["urn:1"]
        (noaa, first, second) = service.asked
        assert noaa["query"] == {"area": ["CA,OR"], "severity": ["Severe,Extreme"]}
        assert noaa["headers"]["User-Agent"] == "worker-bees"
        assert first["headers"]["Authorization"] == "Bearer canary"
        assert first["query"] == {"state": ["all"], "sort": ["updated"], "direction": ["asc"], "per_page": ["100"]}
        assert second["query"]["since"] == ["2026-01-02T00:00:00Z"]

    def test_a_reference_that_is_missing_is_named(self, library):
        with pytest.raises(GiveUp, match="NO_SUCH_TOKEN is missing"):
            library.create_worker_bee("github-issues", owner="a", repo="b", token="${NO_SUCH_TOKEN}")


class Service(ThreadingHTTPServer):
    """Answers each path with a document and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append({"query": parse_qs(parts.query), "headers": dict(self.headers)})
        body = json.dumps(self.server.answers[parts.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


class TestFlights:
    def test_a_bee_made_of_a_comb_lands_scrubbed_rows_and_its_snapshot_names_the_comb(self, nest, tmp_path):
        source = tmp_path / "tables"
        source.mkdir()
        write(source / "a.jsonl", [{"id": 1, "mail": "jane.doe@example.com"}, {"id": 2, "mail": "none"}])
        nest.hive.create_from_comb("folder-rows", "tables", {"path": str(source), "key": "id"})

        landed = nest.land("tables")
        jar = nest.jar("tables")
        snapshot = nest.land("tables", mode="snapshot")

        assert (landed.state, landed.records_landed, snapshot.records_landed) == ("complete", 2, 2)
        assert set(jar) == {"1", "2"}
        assert "example.com" not in str(jar)
        assert nest.rows("SELECT name LIKE 'tables_snapshot_%%', metadata FROM hive.jar WHERE kind = 'snapshot'") == [
            (True, {"source_comb": "folder-rows", "scrubbing_applied": True})
        ]
        assert nest.one("SELECT config #>> '{extras,access_control,data_classification}' FROM hive.bee") == "internal"
        assert [b["next_slot"] is not None for b in nest.hive.bees()] == [True]

    def test_a_bee_that_there_is_is_replaced_on_request_alone(self, nest, tmp_path):
        nest.hive.create_from_comb("folder-rows", "tables", {"path": str(tmp_path)})

        with pytest.raises(
            ConfigProblems, match="bee 'tables': there is a bee of this name, expected another name, or"
        ):
            nest.hive.create_from_comb("folder-documents", "tables", {"path": str(tmp_path)})
        nest.hive.create_from_comb("folder-documents", "tables", {"path": str(tmp_path)}, replace=True)

        assert nest.one("SELECT config #>> '{extras,comb,id}' FROM hive.bee") == "folder-documents"

    def test_a_refused_registration_leaves_the_secret_that_works(self, nest):
        given = {"owner": "acme", "repo": "desk"}
        nest.hive.create_from_comb("github-issues", "desk", {**given, "token": "first-token"})
        nest.register("first")
        nest.register("second", after="first")
        nest.run("UPDATE hive.bee SET name = 'gone' WHERE name = 'first'")  # now no registration is let in
        told = {**given, "repo": "shelf", "token": "second-token"}

        with pytest.raises(ConfigProblems, match="no bee is named 'first'"):
            nest.hive.create_from_comb("github-issues", "desk", told, replace=True)
        with pytest.raises(ConfigProblems, match="no bee is named 'first'"):
            nest.hive.create_from_comb("github-issues", "other", told)
        vault = nest.rt.vault()
        kept = vault.text("bees/desk/param/token"), [one.path for one in vault.list() if "/param/" in one.path]
        nest.run("UPDATE hive.bee SET name = 'first' WHERE name = 'gone'")
        nest.hive.create_from_comb("github-issues", "desk", told, replace=True)

        assert kept == ("first-token", ["bees/desk/param/token"])
        assert vault.text("bees/desk/param/token") == "second-token"
        assert "shelf" in nest.one("SELECT config::text FROM hive.bee WHERE name = 'desk'")


class TestCommands:
    def test_a_bee_is_made_in_one_command_and_its_secret_is_in_the_vault_alone(self, hive, nest):
        made = hive(
            "comb", "create", "github-issues", "--name", "desk", "-p", "owner=acme", "-p", "repo=desk",
            "--stdin", "token", stdin="canary-token\n",
        )  # fmt: skip

        assert (made.code, made.err.startswith("desk: made of github-issues;")) == (0, True), made.err
        assert [bee["name"] for bee in hive("bees", "--json").json] == ["desk"]
        assert nest.rt.vault().text("bees/desk/param/token") == "canary-token"
        assert "canary" not in made.out + made.err + str(nest.rows("SELECT config::text FROM hive.bee"))

    def test_what_is_wrong_ends_with_two_and_leaves_nothing(self, hive, nest):
        short = hive("comb", "create", "github-issues", "--name", "desk", "-p", "owner=acme")
        unknown = hive("comb", "create", "github-isues", "--name", "desk")
        bare = hive("comb", "create", "github-issues", "--name", "desk", "-p", "owner")
        field = hive("comb", "create", "postgresql-table", "--name", "t", "-p", "table=a", "-p", "password=canary9")

        assert (short.code, "parameter 'repo' is missing" in short.err) == (2, True)
        assert (unknown.code, "did you mean 'github-issues'" in unknown.err) == (2, True)
        assert (bare.code, "expected KEY=VALUE" in bare.err) == (2, True)
        assert (field.code, "field 'source.host': is missing" in field.err) == (2, True)
        assert "canary" not in field.err
        assert nest.rows("SELECT name FROM hive.bee") == nest.rt.vault().list() == []

    def test_combs_are_listed_and_shown_with_their_parameters(self, hive):
        listed = hive("comb", "list", "--json").json
        shown = hive("comb", "show", "postgresql-table")

        assert {comb["id"] for comb in listed} == set(NEEDED)
        assert "password string, secret" in " ".join(shown.out.split())
        assert "data_classification: internal" in shown.out
        assert hive("comb", "show", "postgresql-table", "--json").json["subtype"] == "postgresql"


class TestTrial:
    COMB = {  # noqa: RUF012
        "id": "desk",
        "subtype": "rest",
        "parameters": {"url": {"required": True}, "token": {"secret": True, "required": True}},
        "connection": {"base_url": "{{ param.url }}", "allow_private": True, "headers": {"X-Key": "{{ param.token }}"}},
        "extraction": {"streams": {"tickets": {"path": "/tickets", "key": "id"}}},
        "scrubbing": {"profile": "gdpr_compliant"},
    }

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        found = tmp_path / "desk.yml"
        found.write_text(yaml.safe_dump(self.COMB))
        return found

    def test_one_page_is_read_scrubbed_and_shown_as_shapes(self, hive, service, file):
        service.answers = {"/tickets": [{"id": 17, "who": {"mail": "jane.doe@example.com"}, "open": True}, 7]}
        ran = hive("comb", "test", str(file), "-p", f"url={service.url}", "-p", "token=canary", "--json")
        told = json.loads(ran.out)

        assert ran.code == 0
        (stream,) = told["streams"]
        assert (stream["stream"], stream["rows"], stream["key"], stream["rejects"]) == (
            "tickets", 1, ["id"], {"not_object": 1},
        )  # fmt: skip
        assert stream["records"][0]["id"] == "99"
        assert stream["records"][0]["open"] is True
        assert "@" not in stream["records"][0]["who"]["mail"]
        assert "1 items would go to quarantine" in ran.err
        assert service.asked[0]["headers"]["X-Key"] == "canary"
        assert "canary" not in ran.out + ran.err
        assert "jane" not in ran.out + ran.err

    def test_a_key_that_no_record_has_is_told(self, hive, service, file):
        service.answers = {"/tickets": [{"number": 17}]}
        ran = hive("comb", "test", str(file), "-p", f"url={service.url}", "-p", "token=x")

        assert ran.code == 1
        assert "tickets: 1 records in the first page; key: id" in ran.out
        assert "no record has the field 'id' of its key or cursor" in ran.err

    def test_what_is_wrong_is_told_with_file_and_what_is_missing(self, hive, tmp_path, file):
        broken = tmp_path / "broken.yml"
        broken.write_text("id: x\nsubtype: rest\nconection: {}\n")

        assert (hive("comb", "test", str(broken)).code, hive("comb", "test", str(file)).code) == (2, 2)
        assert "did you mean" in hive("comb", "test", str(broken)).err
        assert "'url' is missing" in hive("comb", "test", str(file)).err
        assert "no comb is named" in hive("comb", "test", "no-such").err

    def test_the_schema_for_editors_takes_each_comb_that_ships(self, hive):
        found = json.loads(hive("comb", "schema").out)
        options = {branch["if"]["properties"]["subtype"]["const"]: branch for branch in found["allOf"]}
        rest = options["rest"]["then"]["properties"]
        stream = found["$defs"]["rest.StreamOptions"]["properties"]

        assert {"rest", "postgresql", "local", "graphql"} <= set(options)
        for path in SYSTEM.iterdir():
            comb = yaml.safe_load(path.read_text())
            assert set(comb) <= set(found["properties"]), path.name
            if comb["subtype"] == "rest":
                assert set(comb["connection"]) <= set(rest["connection"]["properties"]), path.name
                for told in comb["extraction"]["streams"].values():
                    assert set(told) <= set(stream), path.name


@pytest.mark.servers
def test_a_person_logs_in_by_the_device_flow_and_the_vault_keeps_the_token(hive, nest, tmp_path, monkeypatch):
    """Against a certified provider; the person is a thread that approves what the command shows."""
    secret = "canary-secret-4711-of-the-client"
    device = "urn:ietf:params:oauth:grant-type:device_code"
    client = {"client_id": "person", "client_secret": secret, "token_endpoint_auth_method": "client_secret_basic",
              "application_type": "native", "grant_types": [device, "refresh_token"], "redirect_uris": [],
              "response_types": []}  # fmt: skip
    approve = functools.partial(httpx.get, timeout=60, trust_env=False)
    monkeypatch.setattr("hive.cli.comb._tell", lambda _, code: approve(f"{url}/_approve", params={"code": code}))
    with oidc_provider(tmp_path, [client]) as url:
        ran = hive("comb", "login", "desk/refresh", "--device-url", f"{url}/device/auth", "--token-url",
                   f"{url}/token", "--client-id", "person", "--secret", "--allow-private",
                   "--scope", "openid offline_access read", stdin=secret)  # fmt: skip
        given = {"base_url": url, "allow_private": True, "auth": {
            "method": "oauth2_refresh_token", "token_url": f"{url}/token", "client_id": "person",
            "client_secret": secret, "refresh_token": nest.rt.vault().text("desk/refresh"),
        }, "streams": {"things": {"path": "/api/things", "key": "id", "pagination": {"type": "page"}}}}  # fmt: skip
        with RestBee.from_options(given) as bee:
            found = rows(bee.collect_nectar("things", None))

    assert (ran.code, [row["id"] for row in found]) == (0, [1, 2, 3])
    assert secret not in ran.out + ran.err
