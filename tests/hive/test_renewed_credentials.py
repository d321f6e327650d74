"""Credentials that are changed while a flight reads: it goes on with the new ones, and fails where they are wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.hive.nest import make_nest, nest

__all__ = ["make_nest", "nest"]

PAGES = 3
OLD, NEW, WRONG = "token-of-old", "token-of-new", "token-of-nobody"


class Source:
    """Three pages of one record each, for who has the token. `before[n]` is done before page n is first served."""

    def __init__(self) -> None:
        self.token = OLD
        self.before = {}
        self.refused = 0
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = int(self.path.partition("page=")[2].partition("&")[0] or 1)
                source.before.pop(page, lambda: None)()
                known = self.headers.get("Authorization") == f"Bearer {source.token}"
                source.refused += not known
                body = json.dumps([{"id": page}] if page <= PAGES else []).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def flight(nest, source, tmp_path):
    """Reload with a token, fly, and give the flight once nothing of it is due any more."""
    file = tmp_path / "hive.yaml"

    def reload(token):
        listing = {"path": "rows", "key": "id", "pagination": {"type": "page", "page_param": "page"}}
        options = {"base_url": source.url, "allow_private": True, "auth": {"method": "bearer", "token": token}}
        block = {"type": "rest", "source": options, "streams": {"rows": listing}}
        file.write_text(yaml.safe_dump({"bees": {"shop": block}}))
        nest.hive.reload(file, secrets=False)

    def flown(token, rotate):
        reload(token)
        source.before[2] = lambda: rotate(reload)
        number = nest.fly("shop")
        for _ in range(5):
            nest.drain()
            nest.hurry()
        return nest.hive.flight(number)

    return flown


def test_a_new_literal_token_of_a_reload_is_taken_by_the_flight_that_reads(nest, source, flight):
    def rotate(reload):
        source.token = NEW
        reload(NEW)

    result = flight(OLD, rotate)

    assert (result.state, result.error, sorted(nest.jar("shop"))) == ("complete", None, ["1", "2", "3"])
    assert source.refused == 1


def test_a_new_version_in_the_vault_is_taken_by_the_flight_that_reads(nest, source, flight):
    nest.rt.vault().set("shop/token", OLD)

    def rotate(_):
        source.token = NEW
        nest.rt.vault().set("shop/token", NEW)

    result = flight("{{ vault.shop.token }}", rotate)

    assert (result.state, sorted(nest.jar("shop"))) == ("complete", ["1", "2", "3"])
    assert source.refused == 1


def test_a_token_that_nobody_renewed_fails_at_once(source, flight):
    result = flight(OLD, lambda _: setattr(source, "token", NEW))

    assert (result.state, result.error["code"]) == ("failed", "denied")
    assert source.refused == 1


def test_a_new_token_that_is_refused_too_fails_after_one_more_try(nest, source, flight):
    nest.rt.vault().set("shop/token", OLD)

    def rotate(_):
        source.token = NEW
        nest.rt.vault().set("shop/token", WRONG)

    result = flight("{{ vault.shop.token }}", rotate)

    assert (result.state, result.error["code"]) == ("failed", "denied")
    assert source.refused == 2
    assert NEW not in str(result)
    assert WRONG not in str(result)
