"""Fixtures that every test may ask for, and the mark `servers` on each test whose fixtures start a server."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.servers import *  # noqa: F403 - the servers' fixtures, by name

SERVERS = {"postgres", "valkey"}
SLOW = {
    "bees": (
        "exact_json file_pass formats formats_archives formats_members graphql graphql_moving graphql_pieces "
        "http jira local mongodb_mixed mongodb_peer mongodb_quick mongodb_types noaa_weather resilience "
        "resilience_http rest rest_auth rest_declared rest_hostile rest_moving rest_paging rest_pieces "
        "row_filter sandbox singer singer_pace singer_versions spans webhook"
    ),
    "fuzz": "fuzz",
    "hive": (
        "celery cli cli_scrub combs_vendors config config_cli config_examples config_forms config_schedule "
        "forkserver marks registry vault"
    ),
    "model": "ledger_model",
    "nectar": (
        "chunk identity jsonrows scrub_actions scrub_columns scrub_context scrub_detect scrub_differential "
        "scrub_domains scrub_entities scrub_library scrub_limits scrub_modelled scrub_phones scrub_profiles "
        "scrub_shapes scrub_speed transform"
    ),
}
"""Folder -> the modules in it whose tests take seconds, all together: `--quick` leaves them out."""

# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="without servers, and without the modules that take seconds")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    slow = SLOW.get(collection_path.parent.name, "").split()
    return True if config.getoption("quick") and collection_path.stem.removeprefix("test_") in slow else None


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by mark
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
    if config.getoption("quick"):
        items[:] = [
            item for item in items if not any(item.iter_markers("servers")) and not item.get_closest_marker("fleet")
        ]


@pytest.fixture(autouse=True)
def logs_as_they_come() -> Iterator[None]:
    """What a command configured for its lines is gone for the next test, which may want to see more of them."""
    yield
    structlog.reset_defaults()
