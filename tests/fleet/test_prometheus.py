"""A real Prometheus scrapes a working hive: every rule and every query of the board is asked of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.fleet.running import RunningHive, hive_folder, wait_until
from tests.fleet.test_processes import servers
from tests.hive.nest import write
from tests.servers.prometheus import DEPLOY, Prometheus, promtool, scraping

pytestmark = pytest.mark.fleet

BOARD = DEPLOY.parent / "grafana" / "worker-bees.json"
RULES = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
MAY_BE_EMPTY = {"Left alone until", "Breakers that are not closed", "Slots passed over in the last hour"}
"""Panels of what a hive without such trouble does not have."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(BOARD.read_text())["panels"] if panel["type"] != "row"]


class TestFiles:
    def test_rules_and_configuration_are_read_by_promtool(self):
        for check in (("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml")):
            done = promtool(*check)
            assert done.returncode == 0, done.stdout + done.stderr

    def test_every_alert_fires_on_what_it_is_for_and_not_on_a_hive_that_is_well(self):
        done = promtool("test", "rules", "alerts_test.yml")

        assert done.returncode == 0, done.stdout + done.stderr
        tested = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
        fires = {rule["alertname"] for test in tested for rule in test["alert_rule_test"] if rule["exp_alerts"]}
        assert fires == {rule["alert"] for rule in RULES}

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
    def test_every_alert_names_the_next_step(self, rule):
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert len(rule["annotations"]["runbook"]) > 30

    def test_the_commands_of_the_runbooks_exist(self):
        from typer.main import get_command

        from hive.cli import app

        known = get_command(app).commands  # type: ignore[attr-defined]
        named = {word for rule in RULES for word in re.findall(r"`hive ([a-z]+)", rule["annotations"]["runbook"])}
        assert named
        assert named <= set(known)


@pytest.fixture(scope="module")
def working(postgres, valkey, migrated_template) -> Iterator[RunningHive]:
    """Three bees that fly every second or two: one lands personal data, one reads a database, one fails."""
    url = postgres.create_database("scraped_source")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders AS SELECT n AS id, n * 2 AS total FROM generate_series(1, 50) n")
        connection.execute("ALTER TABLE orders ADD PRIMARY KEY (id)")
        connection.execute("DROP ROLE IF EXISTS scraped_reader")
        connection.execute("CREATE ROLE scraped_reader LOGIN PASSWORD 'made-up-word'")
        connection.execute("GRANT SELECT ON orders TO scraped_reader")
        info = connection.info
        source = {"host": info.host, "port": info.port, "database": "scraped_source", "user": "scraped_reader",
                  "password": "made-up-word", "ssl_mode": "disable"}  # fmt: skip
    with hive_folder(**servers(postgres, valkey, migrated_template)) as hive:
        folder = hive.folder / "people"
        folder.mkdir()
        write(folder / "a.jsonl", [{"id": n, "mail": f"ada{n}@example.com"} for n in range(20)])
        people = {"patterns": "*.jsonl", "key": "id"}
        closed = {"base_url": "http://127.0.0.1:9", "allow_private": True}
        bees = {
            "people": {"type": "local", "every": "1s", "source": {"path": str(folder)}, "streams": {"rows": people},
                       "scrubbing": {"profile": "gdpr_compliant"}},
            "orders": {"type": "postgresql", "every": "1s", "source": source, "streams": {"orders": {"key": "id"}}},
            "broken": {"type": "rest", "every": "2s", "source": closed, "streams": {"t": {"path": "/t", "key": "id"}},
                       "retry": {"attempts": 2}},
        }  # fmt: skip
        (hive.folder / "hive.yaml").write_text(json.dumps({"bees": bees}))
        hive.up("--config", "hive.yaml")
        yield hive


@pytest.fixture(scope="module")
def prometheus(working, tmp_path_factory) -> Iterator[Prometheus]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    target = working.settings.running()["gateway"].removeprefix("http://")
    with scraping(folder, target) as found:
        wait_until(lambda: found.ask('up{job="hive"} == 1'), "the first scrape", 20)
        working_ = working.folder / "people" / "b.jsonl"
        write(working_, [{"id": n, "mail": f"ben{n}@example.com"} for n in range(100, 140)])
        wait_until(lambda: found.ask('rate(hive_records_total{bee="people",outcome="landed"}[30s]) > 0'), "records", 40)
        wait_until(lambda: found.ask('rate(worker_bee_errors_total{bee_type="api"}[30s]) > 0'), "a failure", 40)
        yield found


def asked(expression: str) -> str:
    """As Grafana asks it: all bees, and a window of a few scrapes."""
    return expression.replace("$__rate_interval", "30s").replace("$bee", ".*")


class TestScraping:
    @pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
    def test_every_query_of_the_board_has_an_answer(self, prometheus, panel):
        for target in panel["targets"]:
            query = asked(target["expr"])
            found = prometheus.ask(query)
            assert found or panel["title"] in MAY_BE_EMPTY, query

    def test_queries_that_found_nothing_ask_for_metrics_that_are_there(self, prometheus):
        there = set(prometheus.api("label/__name__/values"))
        page = {m["metric"] for m in prometheus.api("targets/metadata", match_target='{job="hive"}')}
        for panel in panels():
            for target in panel["targets"]:
                names = set(
                    re.findall(r"\b(?:hive|worker_bee|connector|jobs|workers|worker)_[a-z_]+\b", target["expr"])
                )
                names = {re.sub(r"_bucket$", "", name) for name in names} - {"bee_type", "connector_name"}
                assert {n for n in names if n not in there and n not in page} <= {"connector_type"}, panel["title"]

    def test_the_rules_are_healthy(self, prometheus):
        wait_until(lambda: all(rule["health"] != "unknown" for rule in rules(prometheus)), "the rules", 20)

        assert {rule["name"]: rule["health"] for rule in rules(prometheus)} == {r["alert"]: "ok" for r in RULES}

    def test_the_bee_that_fails_is_told_apart(self, prometheus):
        found = {(one["metric"]["bee"], one["metric"]["state"]) for one in prometheus.ask("hive_bee_state == 1")}

        assert ("broken", "failing") in found
        assert not {("people", "failing"), ("orders", "failing")} & found

    def test_the_variable_of_the_board_lists_the_bees(self, prometheus):
        assert set(prometheus.api("label/bee/values")) >= {"people", "orders", "broken"}

    def test_connections_to_sources_are_told(self, prometheus):
        assert prometheus.ask('max_over_time(connector_pool_size{connector_type="postgresql"}[1m]) > 0')


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
