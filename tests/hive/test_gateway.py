"""What the gateway says to anybody, and what only to the operator."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from hive.dashboard import accounts
from hive.dashboard.sessions import MOST_FAILURES, Sessions
from hive.gateway.app import app
from hive.gateway.proxied import behind_proxies
from hive.ledger.db import Database
from hive.settings import Settings

LOGIN = "operator:made-up-password"


def client(settings: Settings, database: Database) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app(settings, database)), base_url="http://hive")


def ask(
    settings: Settings, database: Database, path: str, login: str = "", *, method: str = "GET", **headers: str
) -> httpx.Response:
    headers |= {"authorization": basic(login)} if login else {}

    async def get() -> httpx.Response:
        async with client(settings, database) as opened:
            return await opened.request(method, path, headers=headers)

    return asyncio.run(get())


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


@contextmanager
def kept(opened: httpx.AsyncClient) -> Iterator[Callable[..., httpx.Response]]:
    """Ask one gateway several times for its status."""
    loop = asyncio.new_event_loop()

    def get(authorization: str = "", **headers: str) -> httpx.Response:
        headers |= {"authorization": authorization} if authorization else {}
        return loop.run_until_complete(opened.get("/status", headers=headers))

    yield get
    loop.run_until_complete(opened.aclose())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


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


def test_a_process_lives_without_its_database_and_is_not_ready(settings, gone, database):
    alive, ready = ask(settings, gone, "/healthz"), ask(settings, gone, "/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable"})
    assert ask(settings, database, "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("trusted", "peer", "seen"),
    [
        (None, "127.0.0.1", ("127.0.0.1", "https")),
        (None, "192.0.2.7", ("192.0.2.7", "http")),
        ("127.0.0.1,192.0.2.0/24", "192.0.2.7", ("198.51.100.4", "https")),
        ("192.0.2.0/24", "127.0.0.1", ("127.0.0.1", "http")),
    ],
)
def test_only_a_trusted_proxy_says_who_asks(trusted, peer, seen):
    told: list[tuple[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append((scope["client"][0], scope["scheme"]))

    headers = [(b"x-forwarded-for", b"198.51.100.4"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": (peer, 5), "scheme": "http", "headers": headers}
    asyncio.run(behind_proxies(Settings(trusted_proxies=trusted), app)(scope, None, None))

    assert told == [seen]


def test_the_status_tells_strangers_one_word(settings, database):
    assert ask(settings, database, "/status").json() == {"status": "ok"}


@pytest.mark.parametrize("login", ["", LOGIN])
def test_the_status_of_a_hive_whose_ledger_is_away_is_no_success(settings, gone, login):
    answer = ask(settings, gone, "/status", login)

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


@pytest.mark.parametrize("login", ["operator:wrong", "someone:made-up-password", "nonsense", LOGIN.upper()])
def test_a_wrong_login_is_refused(settings, database, login):
    assert ask(settings, database, "/status", login).status_code == 401


def test_the_operator_sees_all(settings, database):
    told = ask(settings, database, "/status", LOGIN).json()

    assert told["status"] == "ok"
    assert {"version", "queues", "bees", "workers"} <= told.keys()


def test_other_paths_are_not_there(settings, database):
    answer = ask(settings, database, "/metrics/nothing")

    assert answer.status_code == 404
    assert "/webhooks/BEE" in answer.json()["error"]


def test_a_browser_sees_a_page_where_nothing_is(settings, database):
    answer = ask(settings, database, "/<b>x", accept="text/html,*/*;q=0.8")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page" in answer.text
    assert "<b>x" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_another_method_is_told_which_there_are(settings, database):
    answer = ask(settings, database, "/status", method="DELETE")

    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.json() == {"error": "This address takes another method."}


def test_an_account_sees_all_until_it_has_another_password(settings, database):
    accounts.put(database, "vera", "viewer", "made-up-words")
    asked = client(settings, database)

    with kept(asked) as get:
        first, again = get(basic("vera:made-up-words")), get(basic("vera:made-up-words"))
        accounts.put(database, "vera", "viewer", "other-made-up-words")
        later, renewed = get(basic("vera:made-up-words")), get(basic("vera:other-made-up-words"))

    assert [answer.status_code for answer in (first, again, later, renewed)] == [200, 200, 401, 200]
    assert "bees" in again.json()


def test_a_session_sees_all_as_cookie_and_as_bearer_until_it_ends(settings, database):
    accounts.put(database, "vera", "viewer", "made-up-words")
    token = Sessions(settings, database).log_in("vera", "made-up-words")

    with kept(client(settings, database)) as get:
        bearer, cookie = get(f"Bearer {token}"), get(cookie=f"hive_session={token}")
        accounts.remove(database, "vera")
        after, forgotten = get(f"Bearer {token}"), get(cookie=f"hive_session={token}")

    assert "bees" in bearer.json()
    assert "bees" in cookie.json()
    assert (after.status_code, forgotten.json()) == (401, {"status": "ok"})


def test_whoever_guesses_the_password_of_an_account_has_to_wait(settings, database):
    accounts.put(database, "vera", "viewer", "made-up-words")

    with kept(client(settings, database)) as get:
        guesses = {get(basic(f"vera:guess {n}")).status_code for n in range(MOST_FAILURES)}
        right = get(basic("vera:made-up-words"))

    assert guesses == {401}
    assert right.status_code == 401
