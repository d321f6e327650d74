"""The gateway's routes.

`/healthz`, `/readyz` and `/metrics` are open; `/status` tells details only to whoever has a login, and the other pages
nothing at all without one; webhooks are signed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import psycopg
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hive.config.model import UnknownBee
from hive.dashboard import web
from hive.dashboard.kept import NO_ANSWER
from hive.dashboard.routes import Dashboard
from hive.gateway.front import Front
from hive.gateway.operator import operator_login
from hive.gateway.webhooks import Receiver
from hive.ledger.db import UNREACHABLE, Database
from hive.metrics.connectors import MetricsCollector
from hive.metrics.scrape import Scraper
from hive.metrics.text import CONTENT_TYPE
from hive.settings import Settings
from hive.status import look

T = TypeVar("T")

log = structlog.get_logger()

_PATIENCE = 2.0
"""Seconds within which the database must answer."""
_DOOR = 10.0
"""Seconds for a login: a password takes a third of one, and several are looked at one by one."""


def _or_anew(ask: Callable[[], T]) -> T:
    """What `ask` gives. A connection that died with a server which is back by now says nothing of today: once more."""
    try:
        return ask()
    except UNREACHABLE:
        return ask()


_NAMED = 10
"""Connectors that a line of the log names."""
_SAID = {
    400: ("That cannot be read", "A name, an address or a form holds the character NUL: nothing here is called so."),
    404: (
        "There is no such page",
        "Nothing is at this address: the pages begin at /, and hooks of bees are POST /webhooks/BEE.",
    ),
    405: ("There is no such page", "This address takes another method."),
    500: ("That did not work", "An error of the hive: its gateway's log says where, in the line request.failed."),
}
"""Of each status that no route answers by itself: a page's title, and what is said."""


def _answer(request: Request, code: int) -> Response:
    """A page for a browser, JSON for whoever else asks. It repeats nothing of the request, and asks nobody anything."""
    title, words = _SAID[code]
    if "text/html" not in request.headers.get("accept", ""):
        return web.secured(JSONResponse({"error": words}, code))
    stranger = {"person": None, "acts": False, "csrf": "", "said": "", "failed": False, "live": False}
    return web.page("sorry.html", code, title=title, text=words, **stranger)


def _refused(request: Request, error: Exception) -> Response:
    """The headers of the refusal, such as Allow, stay."""
    assert isinstance(error, HTTPException)
    response = _answer(request, error.status_code)
    response.headers.update(error.headers or {})
    return response


class Gateway:
    """Answers requests from one database."""

    def __init__(self, settings: Settings, db: Database, dashboard: Dashboard | None = None) -> None:
        """`dashboard` knows who has logged in; None: one of its own."""
        self._settings = settings
        self._db = db
        self._dashboard = dashboard or Dashboard(settings, db, lambda: False)
        self._scraper = Scraper(settings, db)
        self._scraping = asyncio.Lock()
        self._collector = MetricsCollector(db)

    async def healthz(self, _: Request) -> Response:
        """Live: this process makes progress. A ledger that is away is nothing that its restart would mend."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Ready: the ledger answers it in time."""
        alive = await self._in_time(self._ping) or await self._in_time(self._ping_anew)
        return JSONResponse({"status": "ok" if alive else "unavailable"}, 200 if alive else 503)

    async def status(self, request: Request) -> Response:
        if "authorization" not in request.headers and not await self._admitted(request):
            alive = await self._in_time(self._ping)
            return JSONResponse({"status": "ok" if alive else "unavailable"}, 200 if alive else 503)
        return await self._told(request, lambda: look(self._db, patience=_PATIENCE))

    async def metrics(self, _: Request) -> Response:
        """Also where the ledger is away: then the page says so."""
        async with self._scraping:  # who waits for the page holds none of the threads that others need
            return Response(await asyncio.to_thread(self._scraper.page), media_type=CONTENT_TYPE)

    async def connectors(self, request: Request) -> Response:
        return await self._told(request, lambda: [one.json() for one in self._collector.all_metrics()])

    async def connector(self, request: Request) -> Response:
        name = request.path_params["name"]
        return await self._told(request, lambda: self._collector.get_metrics(name).json())

    async def health(self, request: Request) -> Response:
        return await self._told(request, self._health)

    def _health(self) -> dict[str, Any]:
        found = [one.json() for one in self._collector.health()]
        unwell = [one["connectorName"] for one in found if not one["healthy"]]
        log.info("connector.health_check", connectors=len(found), unhealthy=len(unwell), first=unwell[:_NAMED])
        return {"status": "ok" if all(one["healthy"] for one in found) else "degraded", "connectors": found}

    async def _told(self, request: Request, ask: Callable[[], Any]) -> Response:
        """What `ask` gives, as JSON, to whoever has a login; 404: it knows no such bee; 503: no answer in time."""
        if (known := await self._admitted(request)) is None:
            return JSONResponse({"status": "unavailable"}, 503)
        if not known:
            return JSONResponse({"error": "wrong login"}, 401, {"WWW-Authenticate": 'Basic realm="hive"'})
        try:
            told = await self._in_time(ask)
        except UnknownBee as error:
            return JSONResponse({"error": str(error)}, 404)
        if told is None:
            return JSONResponse({"status": "unavailable"}, 503)
        return Response(orjson.dumps(told), media_type="application/json")

    async def _admitted(self, request: Request) -> bool | None:
        """None where the database, which knows sessions and accounts, does not answer in time."""
        try:
            return await asyncio.wait_for(self._knows(request), _DOOR)
        except (TimeoutError, *NO_ANSWER):
            return None

    async def _in_time(self, ask: Callable[[], T]) -> T | None:
        """What `ask` gives, or None where the database does not answer in time."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(_or_anew, ask), _PATIENCE)
        except (TimeoutError, *UNREACHABLE, psycopg.errors.QueryCanceled):
            return None

    def _ping(self) -> bool:
        with self._db.transaction() as tx:
            tx.psycopg.execute("SELECT set_config('statement_timeout', '2s', true)")
        return True

    def _ping_anew(self) -> bool:
        """On a new connection: the old ones may be dead without a word, while the database is well."""
        self._db.engine.dispose()
        return self._ping()

    async def _knows(self, request: Request) -> bool:
        """Whether the request carries a login: the operator's or an account's, or a session as bearer or cookie."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return self._is_operator(given) or await self._dashboard.is_account(request, given)
        return await self._dashboard.is_session(request, given.strip() if scheme.lower() == "bearer" else "")

    def _is_operator(self, given: str) -> bool:
        login = operator_login(self._settings)
        try:
            told = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        return login is not None and hmac.compare_digest(told, login.encode())


def app(settings: Settings, db: Database, ending: Callable[[], bool] = lambda: False) -> Starlette:
    """The gateway's application on a database; the caller closes the database.

    `ending`: whether this process is about to end. Streams of pages end then, too. `state.close` comes before the
    database's own.
    """
    dashboard = Dashboard(settings, db, ending)
    gateway = Gateway(settings, db, dashboard)
    made = Starlette(
        routes=[
            Route("/healthz", gateway.healthz, methods=["GET"]),
            Route("/readyz", gateway.readyz, methods=["GET"]),
            Route("/metrics", gateway.metrics, methods=["GET"]),
            Route("/status", gateway.status, methods=["GET"]),
            Route("/metrics/connectors", gateway.connectors, methods=["GET"]),
            Route("/metrics/connectors/{name}", gateway.connector, methods=["GET"]),
            Route("/health/connectors", gateway.health, methods=["GET"]),
            Route("/webhooks/{bee}", Receiver(settings, db).receive, methods=["POST"]),
            *dashboard.routes(),
        ],
        middleware=[Middleware(Front, _answer)],
    )
    for code in (400, 404, 405):
        made.add_exception_handler(code, _refused)
    made.state.close = dashboard.close
    return made
