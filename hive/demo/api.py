"""A small REST API with made-up people in it, as awkward as real ones are.

    python -m hive.demo.api --port 8099

  /tickets   a bare list; Link headers lead on (`page`, `per_page`); `updated_since`; ETag
  /events    `{"data": [...]}`; page numbers (`page`, `size`); Last-Modified instead of an ETag
  /items     `{"items": [...], "meta": {"next": ...}}`; a cursor (`after`, `limit`); ETag
  /people    `{"results": [...], "total": ...}`; offsets (`offset`, `limit`); ETag
  /health    open; everything else wants the bearer token, the user or the API key below

The second page of each listing answers 429 once, as a busy service does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hive.demo.people import FIRST_DAY, Row, events, items, people, tickets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

TOKEN = "demo-bearer-5f1d"  # noqa: S105 - the sample API guards made-up data
USER = "demo"
PASSWORD = "demo-password-83b2"  # noqa: S105
KEY = "demo-key-c470"
MOST_ROWS = 50


@dataclass
class World:
    """What one API serves, and what it was asked.

    faults   (listing, page) -> not_json, slow, fails_once, denied, loop, foreign_link, or any JSON text to send instead
    wait     what Retry-After says on the way; None: no page is busy
    asked    path with query, and status, of every request
    """

    rows: dict[str, list[Row]]
    faults: dict[tuple[str, int], str] = field(default_factory=dict)
    wait: str | None = "1"
    asked: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=10_000))
    told: set[tuple[str, int]] = field(default_factory=set)


@dataclass(frozen=True)
class Page:
    number: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def app(seed: int = 7, count: int = 120, *, wait: str | None = "1") -> Starlette:
    """The API with `count` rows in each listing. `app.state.world` is its World."""
    made = {"tickets": tickets(seed, count), "events": events(seed, count), "items": items(seed, count)}
    world = World({**made, "people": people(seed, count)}, wait=wait)
    api = Starlette(routes=[Route("/health", _health), Route("/{listing}", _listing)])
    api.state.world = world
    return api


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _listing(request: Request) -> Response:
    world: World = request.app.state.world
    response = await _answer(request, world)
    world.asked.append((f"{request.url.path}?{request.url.query}", response.status_code))
    return response


async def _answer(request: Request, world: World) -> Response:
    name = request.path_params["listing"]
    if name not in _PAGES:
        return JSONResponse({"error": "no such listing"}, 404)
    if not _knows(request):
        # Bad manners that real servers have: what was sent is repeated.
        return JSONResponse({"error": f"who is {request.headers.get('authorization')}?"}, 401)
    page = _PAGES[name](request, world.rows[name])
    if world.wait is not None and page.number == 2 and _first_time(world, name, 0):
        return JSONResponse({"error": "busy"}, 429, {"Retry-After": world.wait})
    fault = world.faults.get((name, page.number), "")
    if fault:
        return await _faulty(request, world, page, fault)
    return _conditional(request, page)


async def _faulty(request: Request, world: World, page: Page, fault: str) -> Response:
    link = {"loop": str(request.url), "foreign_link": "http://198.51.100.7/tickets?page=2"}.get(fault)
    if link:
        return JSONResponse(page.body, headers={"Link": f'<{link}>; rel="next"'})
    if fault == "slow":
        return StreamingResponse(_drip(request), media_type="application/json")
    if fault == "denied":
        return JSONResponse({"error": "no"}, 403)
    if fault == "fails_once":
        again = not _first_time(world, request.path_params["listing"], page.number)
        return _conditional(request, page) if again else JSONResponse({"error": "sorry"}, 500)
    return Response("<p>Service desk of Ada Abara</p>" if fault == "not_json" else fault)


async def _drip(request: Request) -> AsyncIterator[bytes]:
    while not await request.is_disconnected():
        yield b" "
        await asyncio.sleep(0.05)


def _first_time(world: World, name: str, page: int) -> bool:
    first = (name, page) not in world.told
    world.told.add((name, page))
    return first


def _knows(request: Request) -> bool:
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    by_key = KEY in (request.headers.get("x-api-key"), request.query_params.get("api_key"))
    return by_key or request.headers.get("authorization") in (f"Bearer {TOKEN}", f"Basic {login}")


def _conditional(request: Request, page: Page) -> Response:
    """The page, or 304 where the caller has it already."""
    body = json.dumps(page.body).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if "Last-Modified" in page.headers:
        known = request.headers.get("if-modified-since") == page.headers["Last-Modified"]
        headers = page.headers
    else:
        known = request.headers.get("if-none-match") == etag
        headers = {**page.headers, "ETag": etag}
    return Response(status_code=304, headers=headers) if known else Response(body, 200, headers, "application/json")


def _number(request: Request, name: str, default: int, most: int = 10**9) -> int:
    text = request.query_params.get(name, "")
    return min(int(text), most) if text.isascii() and text.isdigit() else default


def _tickets(request: Request, rows: list[Row]) -> Page:
    since = request.query_params.get("updated_since", "")
    rows = [row for row in rows if row["updated_at"] >= since]
    number, size = _number(request, "page", 1), _number(request, "per_page", 20, MOST_ROWS)
    headers = {}
    if number * size < len(rows):
        headers["Link"] = f'<{request.url.include_query_params(page=number + 1)}>; rel="next"'
    return Page(number, rows[(number - 1) * size : number * size], headers)


def _events(request: Request, rows: list[Row]) -> Page:
    number, size = _number(request, "page", 1), _number(request, "size", 20, MOST_ROWS)
    found = rows[(number - 1) * size : number * size]
    changed = formatdate(FIRST_DAY.timestamp() + len(rows) * 3600, usegmt=True)
    return Page(number, {"page": number, "data": found}, {"Last-Modified": changed})


def _items(request: Request, rows: list[Row]) -> Page:
    after, size = _number(request, "after", 0), _number(request, "limit", 20, MOST_ROWS)
    following = after + size if after + size < len(rows) else None
    return Page(after // size + 1, {"items": rows[after : after + size], "meta": {"next": following}})


def _people(request: Request, rows: list[Row]) -> Page:
    offset, size = _number(request, "offset", 0), _number(request, "limit", 20, MOST_ROWS)
    return Page(offset // size + 1, {"results": rows[offset : offset + size], "total": len(rows)})


_PAGES = {"tickets": _tickets, "events": _events, "items": _items, "people": _people}


def _listening(host: str, port: int) -> socket.socket:
    """A socket that accepts from now on: whoever connects before the server runs is served a moment later."""
    listener = socket.create_server((host, port), backlog=128)
    # asyncio sets this only on sockets that name their protocol; without it each answer takes 40 ms (delayed ACK).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _server(api: Starlette) -> uvicorn.Server:
    quiet = {
        "log_level": "error",
        "access_log": False,
        "lifespan": "off",
        "ws": "none",
        "http": "h11",
        "loop": "asyncio",
    }
    return uvicorn.Server(uvicorn.Config(api, **quiet))  # type: ignore[arg-type]


def serve(host: str = "127.0.0.1", port: int = 0, api: Starlette | None = None) -> None:
    """Serve until told to stop; the first line on stdout names the address. Port 0 takes a free one."""
    with _listening(host, port) as listener:
        sys.stdout.write(f"http://{host}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        _server(api or app()).run(sockets=[listener])


@contextlib.contextmanager
def running(api: Starlette) -> Iterator[str]:
    """Serve from a thread of this process, on a free port of loopback; gives the address."""
    with _listening("127.0.0.1", 0) as listener:
        server = _server(api)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="demo-api")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hive.demo.api", description="The sample API of Worker Bees.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=120, help="rows in each listing")
    given = parser.parse_args()
    serve(given.host, given.port, app(given.seed, given.count))


if __name__ == "__main__":
    main()
