"""Every example of configuration in the documents that this project comes from loads as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hive.config.load import examine, load

DOCUMENTS = Path(__file__).parents[1] / "data/documents"
FENCE = re.compile(r"^```(yaml|json|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"^(export )?[A-Z][A-Z0-9_]*=\S*\s*(#.*)?$", re.MULTILINE)


def examples() -> dict[str, tuple[str, str]]:
    """name -> (suffix, text): all fences of YAML and JSON, and those of a shell that do nothing but set variables."""
    found = {}
    for path in sorted(DOCUMENTS.glob("*.md")):
        for number, (language, text) in enumerate(FENCE.findall(path.read_text())):
            code = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
            if language == "bash" and not all(ASSIGNMENT.fullmatch(line) for line in code):
                continue
            suffix = ".env" if language == "bash" else f".{language}"
            found[f"{path.name[:3]}-{number}"] = (suffix, text)
    return found


EXAMPLES = examples()


def loaded(tmp_path, *names):
    for name in names:
        suffix, text = EXAMPLES[name]
        (tmp_path / f"{name}{suffix}").write_text(text)
    found = examine(tmp_path)
    assert [str(problem) for problem in found.problems] == []
    return found


def named(*words: str) -> str:
    """The example that holds all of these words."""
    found = [name for name, (_, text) in EXAMPLES.items() if all(word in text for word in words)]
    assert found, words
    return found[0]


def test_all_examples_are_found():
    assert len(EXAMPLES) == 16


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_loads_as_it_is_written(tmp_path, name):
    loaded(tmp_path, name)


def test_all_of_them_together_are_one_fleet(tmp_path):
    """But for the two that say again what `connectors.json` says."""
    again = [name for name in EXAMPLES if name.startswith("003") and name != named("weather-noaa", "jira-prod", "{")]
    found = loaded(tmp_path, *(name for name in EXAMPLES if name not in again))

    assert sorted(found.fleet.bees) == sorted(
        [
            "sales-db-bee",
            "google_drive_sync",
            "sales_api_sync",
            "weather-noaa",
            "jira-prod",
            "api",
            "aws",
            "gcp",
            "google_workspace",
            "ldap",
        ]
    )
    assert set(found.fleet.scrubbing_profiles) == {"gdpr_compliant", "financial_data"}
    assert found.fleet.identity_hive["group_mappings"]["Admins"] == ["admin:all"]
    assert found.fleet.hive_connection_pool["per_source_limits"]["production_db"]["max_connections"] == 50
    assert found.fleet.organizations == {"create_missing_organizations": True}


def test_the_list_of_worker_bees(tmp_path):
    bee = loaded(tmp_path, named("sales-db-bee")).fleet.bee("sales-db-bee")

    assert bee.type == "postgresql"
    assert bee.source == {
        "host": "sales-db.internal", "port": 5432, "database": "sales_data", "ssl_mode": "require",
        "statement_timeout": 300, "row_level_security": True, "max_rows": 10_000,
    }  # fmt: skip
    assert bee.extras["permissions"] == ["read:sales_data", "read:customer_data"]
    assert list(bee.missing) == ["source.user is missing"]


def test_the_map_of_worker_bees_with_its_profiles(tmp_path):
    fleet = loaded(tmp_path, named("google_drive_sync"), named("scrubbing_profiles:")).fleet
    drive, sales = fleet.bee("google_drive_sync"), fleet.bee("sales_api_sync")

    assert (drive.type, sales.type) == ("google_drive", "rest")
    assert drive.missing == ()
    assert (drive.source["path"], drive.source["patterns"]) == ("/company_docs", ["*.pdf", "*.docx", "*.md"])
    assert [s.cron for s in (*drive.schedules, *sales.schedules)] == ["0 */6 * * *", "0 0 * * *"]
    assert (drive.scrubbing.profile, sales.scrubbing.profile) == ("gdpr_compliant", "financial_data")
    assert drive.honey_jar is not None
    assert drive.honey_jar.name == "company_knowledge"
    assert sales.source["endpoints"]["data"][1] == "/services/data/v58.0/sobjects/Opportunity"


def test_a_login_that_a_document_leaves_unfinished_says_what_it_lacks(tmp_path):
    (tmp_path / "workers.yaml").write_text(EXAMPLES[named("sales_api_sync")][1])
    found = examine(tmp_path, vault=lambda _: "some-client")

    assert found.problems == []
    assert [str(one) for one in found.fleet.bee("sales_api_sync").missing] == [
        "source.auth: method oauth2_client_credentials needs token_url"
    ]


def test_connectors_of_a_json_file_and_of_the_environment_are_the_same(tmp_path):
    of_json, of_env = tmp_path / "json", tmp_path / "env"
    of_json.mkdir(), of_env.mkdir()
    written = loaded(of_json, named("weather-noaa", "jira-prod", "{")).fleet.bee("weather-noaa")
    told = loaded(of_env, named("ENABLED_CONNECTORS")).fleet.bee("weather-noaa")

    assert written.schedules[0].every == 60
    assert written.extras["retryConfig"] == {"baseDelayMs": 150, "maxDelayMs": 10000, "jitterRatio": 0.1}
    assert (told.type, told.source, told.schedules) == (written.type, written.source, written.schedules)
    assert told.source["timeout"] == 10
    assert told.extras == {"maxRetries": written.extras["maxRetries"]}


def test_connectors_of_the_factory(tmp_path):
    bee = loaded(tmp_path, named("connector_type")).fleet.bee("api")

    assert (bee.type, bee.source) == ("rest", {"base_url": "https://api.example.com", "timeout": 5})
    assert bee.extras["retry_policy"]["backoff"]["multiplier"] == 2.0
    assert bee.extras["circuit_breaker"] == {"threshold": 5, "timeout_ms": 30000}


def test_a_variable_that_connectors_json_needs_must_be_there_and_hold_something(tmp_path):
    (tmp_path / "connectors.json").write_text(EXAMPLES[named("weather-noaa", "jira-prod", "{")][1])

    found = examine(tmp_path / "connectors.json", environ={"JIRA_BASE_URL": ""})

    assert [(p.line, p.field) for p in found.problems] == [
        (32, "providerConfig.baseUrl"), (33, "providerConfig.apiToken"),
    ]  # fmt: skip
    assert "JIRA_BASE_URL is empty" in found.problems[0].message
    assert "JIRA_API_TOKEN is missing" in found.problems[1].message
    environ = {"JIRA_BASE_URL": "https://jira.example", "JIRA_API_TOKEN": "x"}
    assert "jira-prod" in load(tmp_path / "connectors.json", environ=environ).bees
