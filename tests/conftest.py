"""Fixtures that every test may ask for, and the mark `servers` on each test whose fixtures start a server."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog

from tests.servers import *  # noqa: F403 - the servers' fixtures, by name

SERVERS = {"postgres", "valkey"}

# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")


@pytest.fixture(autouse=True)
def logs_as_they_come() -> Iterator[None]:
    """What a command configured for its lines is gone for the next test, which may want to see more of them."""
    yield
    structlog.reset_defaults()
