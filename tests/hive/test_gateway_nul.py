"""The character NUL, which PostgreSQL holds in no text, and errors that nobody foresaw: each request is answered, and
the log tells no value.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import LogCapture

from hive.dashboard.web import HEADERS
from hive.gateway import front
from hive.gateway.app import app
from tests.hive.nest import make_nest, nest
from tests.hive.pages import Visitor, visit
from tests.hive.test_gateway import basic

__all__ = ["make_nest", "nest", "visit"]

FORM = {"content-type": "application/x-www-form-urlencoded"}
MAIL = "zoe.canary@example.org"
Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(make_nest) -> Ask:
    """A request to a gateway, as a stranger. `broken`: routes that it has besides its own."""
    nest = make_nest(flower_login="operator:made-up-password")

    def asked(
        method: str, path: str, *, headers: dict[str, str] | None = None, content: Any = None, broken: Any = ()
    ) -> httpx.Response:
        async def go() -> httpx.Response:
            made = app(nest.settings, nest.rt.db)
            made.router.routes.extend(broken)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://hive") as client:
                return await client.request(method, path, headers=headers, content=content)

        return asyncio.run(go())

    return asked


@pytest.fixture
def lines(monkeypatch) -> list[Any]:
    captured = LogCapture()
    told = structlog.wrap_logger(None, processors=[captured], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(front, "log", told)
    return captured.entries


def is_refused(answer: httpx.Response, code: int = 400) -> bool:
    """Said as all is said here, to browsers and programs, and under the headers of all pages."""
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    if answer.headers["content-type"] == "application/json":
        assert list(answer.json()) == ["error"]
    else:
        assert "<h1>" in answer.text
    assert "\0" not in answer.text
    assert "%00" not in answer.text
    return answer.status_code == code


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/bees/%00"), ("GET", "/a%00"), ("GET", "/jars/people?q=%00"), ("GET", "/jars?name=a%00b"),
        ("GET", "/quarantine?bee=%00"), ("GET", "/jars?%00=a"), ("GET", "/metrics/connectors/%00"),
        ("GET", "/flights/%00"), ("POST", "/bees/a%00b/fly"), ("POST", "/webhooks/a%00b"),
        ("GET", "/live?at=/bees/%2500"), ("GET", f"/live?at={quote('/jars/people?q=%00', safe='')}"),
        ("GET", "/live?at=/bees/%00"), ("GET", "/login?next=/%00"),
    ],
)  # fmt: skip
def test_an_address_with_it_is_refused_whoever_asks(ask, lines, method, path, accept):
    answer = ask(method, path, headers={"accept": accept})

    assert is_refused(answer)
    assert answer.headers["content-type"].startswith("text/html" if accept == "text/html" else "application/json")
    assert not lines


@pytest.mark.parametrize("field", ["name", "password", "next"])
@pytest.mark.parametrize("nul", [b"%00", b"\0"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_form_with_it_is_refused_however_it_comes(ask, lines, field, nul, size):
    body = f"name=a&password=x&next=/&{field}=a".encode() + nul + b"b&more=c"

    async def parts() -> Any:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    assert is_refused(ask("POST", "/login", headers=FORM, content=parts()))
    assert not lines


def test_a_login_with_it_is_refused(ask, lines):
    for path in ("/status", "/metrics/connectors", "/health/connectors"):
        for login in ("a\0b:x", "a:x\0", "operator:made-up-password\0"):
            assert is_refused(ask("GET", path, headers={"authorization": basic(login)}))
    assert ask("GET", "/status", headers={"authorization": "Basic nonsense"}).status_code == 401
    assert not lines


def test_who_is_logged_in_is_refused_too_and_its_escaped_form_is_a_text_like_any_other(nest, visit):
    nest.register()
    nest.land()
    visitor: Visitor = visit(nest, "viewer")

    for path in ("/bees/%00", "/jars/people?q=%00", "/jars?name=%00", "/quarantine?bee=%00", "/live?at=/bees/%2500"):
        assert is_refused(visitor.get(path))
    assert visitor.get("/jars/people?q=%2500").status_code == 200
    assert visitor.get("/bees/%2500").status_code == 404


def test_the_body_of_a_hook_is_not_looked_into(ask):
    """Whatever its sender calls it: nobody reads it as a form here, and it is kept as it is."""
    answer = ask("POST", "/webhooks/people", headers=FORM, content=b"payload=%00\0")

    assert answer.status_code == 401


async def fail(_: Request) -> Response:
    raise ValueError(f"of {MAIL}")


async def break_off(_: Request) -> Response:
    async def parts() -> Any:
        yield b"begun"
        raise ValueError(f"of {MAIL}")

    return StreamingResponse(parts())


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_an_error_that_nobody_foresaw_is_answered_and_told_in_one_line(ask, lines, accept):
    broken = [Route("/broken/{name}", fail)]

    answer = ask("GET", f"/broken/{MAIL}?q={MAIL}", headers={"accept": accept}, broken=broken)

    assert is_refused(answer, 500)
    assert MAIL not in answer.text
    [line] = lines
    trail = line.pop("trail")
    assert line == {"event": "request.failed", "log_level": "error", "method": "GET", "kind": "ValueError"}
    assert trail[-1].startswith("tests.hive.test_gateway_nul:")


def test_whoever_leaves_in_the_middle_is_no_error(ask, lines, nest):
    async def go() -> None:
        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            raise AssertionError("nobody waits for it")

        headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
        scope = {
            "type": "http", "method": "POST", "path": "/webhooks/people", "query_string": b"", "headers": headers,
            "client": ("127.0.0.1", 5), "server": ("hive", 80), "scheme": "http", "root_path": "",
        }  # fmt: skip
        await app(nest.settings, nest.rt.db)(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(go())

    assert not lines


SERVED = """
import asyncio, signal, threading
from starlette.routing import Route
import hive.gateway.serve as serving
from hive.logs import configure
from hive.settings import settings
from tests.hive.test_gateway_nul import break_off, fail
configure()
own = serving.app
def app(*given):
    made = own(*given)
    made.router.routes.extend([Route("/broken/{name}", fail), Route("/half/{name}", break_off)])
    return made
serving.app = app
serving.serve(settings())
"""


def test_the_servers_own_lines_pass_the_filter(nest, tmp_path):
    """What uvicorn logs of an answer that breaks off is one line of the hive's form, without value or traceback."""
    from hive.embedded.places import free_port

    port = free_port()
    environment = {
        "PYTHONPATH": ":".join(sys.path), "HIVE_DATA_DIR": str(tmp_path), "HIVE_GATEWAY_PORT": str(port),
        "HIVE_DATABASE_URL": nest.settings.database(),
    }  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", SERVED], env=environment, stderr=subprocess.PIPE, text=True) as server:
        stop = threading.Timer(60, server.kill)
        stop.start()
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, transport=httpx.HTTPTransport(retries=8)) as client:
            failed = client.get(f"/broken/{MAIL}")
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(f"/half/{MAIL}?q={MAIL}")
            refused = client.get("/bees/%00")
        server.terminate()
        said = server.stderr.read() if server.stderr else ""
        stop.cancel()

    assert (failed.status_code, refused.status_code) == (500, 400)
    assert MAIL not in said
    told = [json.loads(line) for line in said.splitlines()]
    assert [(line["event"].strip(), line["kind"], line["level"]) for line in told] == [
        ("request.failed", "ValueError", "error"),
        ("Exception in ASGI application", "ValueError", "error"),
    ]
    assert all("tests.hive.test_gateway_nul" in line["trail"][-1] for line in told)
