"""Every request of a bee over HTTP passes its gate: pages, redirects, and those for a token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bees.core.errors import RetryLater
from bees.core.resilience.gate import BudgetGate
from bees.core.resilience.quota import MemoryBudget, Quota
from bees.graphql import GraphqlBee
from bees.http_index import HttpIndexBee
from bees.noaa_weather import NoaaWeatherBee
from bees.rest import RestBee
from hive.limits.fleet import endpoint_of

PAGES = 3
QUERY = "query($after: String) { tickets(after: $after) { pageInfo { hasNextPage endCursor } nodes { id } } }"


class Counting:
    """A gate that lets all through and keeps what it saw."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.left: list[int] = []

    def enter(self, where: str) -> None:
        self.entered.append(where)

    def leave(self, status: int, headers: Mapping[str, str]) -> None:
        self.left.append(status)


class Server:
    """Three pages of REST, three of GraphQL, a listing that redirects, and a token; `headers` go with each answer."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = int(self.path.partition("page=")[2] or 1)
                if self.path.startswith("/moved"):
                    self._answer(302, None, {"Location": "/rows"})
                elif self.path.startswith("/alerts"):
                    self._answer(200, {"features": [{"id": "a"}]})
                else:
                    self._answer(200, [{"id": page}] if page <= PAGES else [])

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/token":
                    self._answer(200, {"access_token": "t", "expires_in": 3600})
                    return
                page = int(json.loads(sent)["variables"].get("after") or 1)
                info = {"hasNextPage": page < PAGES, "endCursor": str(page + 1)}
                self._answer(200, {"data": {"tickets": {"pageInfo": info, "nodes": [{"id": page}]}}})

            def _answer(self, status: int, told: Any, headers: Mapping[str, str] | None = None) -> None:
                server.asked += 1
                body = b"" if told is None else json.dumps(told).encode()
                self.send_response(status)
                for name, value in {**server.headers, **(headers or {}), "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def rest(self, path: str = "rows", **options: Any) -> RestBee:
        stream = {"path": path, "key": "id", "pagination": {"type": "page", "page_param": "page"}}
        return RestBee.from_options(
            {"base_url": self.url, "allow_private": True, "streams": {"rows": stream}, **options}
        )


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_pages_and_the_request_for_a_token_pass(server):
    client = {"client_id": "c", "client_secret": "s"}
    auth = {"method": "oauth2_client_credentials", "token_url": f"{server.url}/token", **client}
    gate = Counting()
    with server.rest(auth=auth) as bee:
        bee.through(gate)
        rows = sum(batch.table.num_rows for batch in bee.collect_nectar("rows", None))

    assert rows == PAGES
    assert gate.entered[0] == "auth.token_url"
    assert len(gate.entered) == len(gate.left) == server.asked == PAGES + 2


def test_each_hop_of_a_redirect_passes(server):
    gate = Counting()
    with server.rest("moved") as bee:
        bee.through(gate)
        next(iter(bee.collect_nectar("rows", None)))

    assert gate.left[:2] == [302, 200]


def test_a_bee_of_graphql_and_one_that_is_declared_pass(server):
    gate = Counting()
    streams = {"tickets": {"query": QUERY, "connection": "tickets", "key": "id"}}
    with GraphqlBee.from_options({"url": f"{server.url}/graphql", "allow_private": True, "streams": streams}) as bee:
        bee.through(gate)
        assert len(list(bee.collect_nectar("tickets", None))) == PAGES
    before = server.asked
    assert len(gate.entered) == len(gate.left) == before >= PAGES
    with NoaaWeatherBee.from_options({"base_url": server.url, "allow_private": True}) as weather:
        weather.through(gate)
        assert sum(batch.table.num_rows for batch in weather.collect_nectar("alerts", None)) == 1

    assert len(gate.left) == server.asked == before + 1


def test_a_budget_that_is_used_up_leaves_what_was_read_and_goes_on_later(server):
    budget = MemoryBudget(Quota(2, 600))
    with server.rest() as bee:
        bee.through(BudgetGate(budget))
        pages = bee.collect_nectar("rows", None)
        read, cursor = 0, None
        for batch in (next(pages), next(pages)):
            read, cursor = read + batch.table.num_rows, batch.cursor
        with pytest.raises(RetryLater) as told:
            next(pages)
    with server.rest() as again:
        rest = sum(batch.table.num_rows for batch in again.collect_nectar("rows", cursor))

    assert (told.value.code, read, rest) == ("rate_limited", 2, PAGES - 2)
    assert told.value.after is not None
    assert told.value.after > 590


def test_a_server_that_says_it_was_the_last_one_is_not_asked_again(server):
    server.headers = {"RateLimit": '"default";r=0;t=120'}
    with server.rest() as bee:
        bee.through(BudgetGate(None))
        with pytest.raises(RetryLater) as told:
            list(bee.collect_nectar("rows", None))

    assert server.asked == 1
    assert told.value.after == pytest.approx(120, abs=2)


def test_files_behind_http_pass_also_from_several_threads(tmp_path):
    for n in range(12):
        (tmp_path / f"{n}.jsonl").write_text(json.dumps({"id": n}) + "\n")
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    options = {"url": f"http://127.0.0.1:{web.server_port}/", "allow_private": True, "concurrency": 4}
    streams = {"rows": {"patterns": "*.jsonl", "key": "id"}}
    gate = Counting()
    budget = MemoryBudget(Quota(5, 600))
    try:
        with HttpIndexBee.from_options({**options, "streams": streams}) as bee:
            bee.through(gate)
            rows = sum(batch.table.num_rows for batch in bee.collect_nectar("rows", None))
        with HttpIndexBee.from_options({**options, "streams": streams}) as bee:
            bee.through(BudgetGate(budget))
            with pytest.raises(RetryLater) as told:
                list(bee.collect_nectar("rows", None))
    finally:
        web.shutdown()
        web.server_close()

    assert rows == 12
    assert len(gate.entered) == len(gate.left) >= 13
    assert told.value.code == "rate_limited"


@pytest.mark.parametrize(
    ("identity", "endpoint"),
    [
        ("rest https://Desk.example.com/api/v1", "rest https://desk.example.com"),
        ("webdav:https://files.example.com:8443/team/a", "webdav https://files.example.com:8443"),
        ("sftp files.example.com:22", "sftp files.example.com:22"),
        ("local", "local of bee 7"),
    ],
)
def test_bees_of_one_server_are_one_source(identity, endpoint):
    made = type("Bee", (), {"source_identity": lambda _: identity})()

    assert endpoint_of(7, made) == endpoint
