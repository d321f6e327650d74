"""What the gateway says to anybody, and what only to the operator."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import pytest

from hive.gateway.app import app
from hive.ledger.db import Database
from hive.settings import Settings

LOGIN = "operator:made-up-password"


def client(settings: Settings, database: Database) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app(settings, database)), base_url="http://hive")


def ask(settings: Settings, database: Database, path: str, login: str = "") -> httpx.Response:
    import asyncio

    headers = {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}

    async def get() -> httpx.Response:
        async with client(settings, database) as opened:
            return await opened.get(path, headers=headers)

    return asyncio.run(get())


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data_dir=tmp_path, flower_login=LOGIN)


@pytest.fixture
def database(database_url) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def gone() -> Iterator[Database]:
    """A database that nobody serves."""
    opened = Database("postgresql://nobody@127.0.0.1:1/none")
    yield opened
    opened.close()


def test_health_needs_no_login(settings, database):
    answer = ask(settings, database, "/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_health_says_when_the_database_is_away(settings, gone):
    answer = ask(settings, gone, "/healthz")

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


def test_the_status_tells_strangers_one_word(settings, database):
    assert ask(settings, database, "/status").json() == {"status": "ok"}


@pytest.mark.parametrize("login", ["operator:wrong", "someone:made-up-password", "nonsense", LOGIN.upper()])
def test_a_wrong_login_is_refused(settings, database, login):
    assert ask(settings, database, "/status", login).status_code == 401


def test_the_operator_sees_all(settings, database):
    told = ask(settings, database, "/status", LOGIN).json()

    assert told["status"] == "ok"
    assert {"version", "queues", "bees", "workers"} <= told.keys()


def test_other_paths_are_not_there(settings, database):
    assert ask(settings, database, "/metrics/nothing").status_code == 404
