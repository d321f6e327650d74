"""The gateway's routes. `/healthz` is open; `/status` tells details only to the operator; webhooks are signed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Callable
from typing import TypeVar

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hive.gateway.webhooks import Receiver
from hive.ledger.db import UNREACHABLE, Database
from hive.settings import Settings
from hive.status import look

T = TypeVar("T")

_PATIENCE = 2.0
"""Seconds within which the database must answer."""


class Gateway:
    """Answers requests from one database."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db

    async def healthz(self, _: Request) -> Response:
        alive = await self._in_time(self._ping)
        return JSONResponse({"status": "ok" if alive else "unavailable"}, 200 if alive else 503)

    async def status(self, request: Request) -> Response:
        if not self._knows(request):
            if "authorization" in request.headers:
                return JSONResponse({"error": "wrong login"}, 401, {"WWW-Authenticate": 'Basic realm="hive"'})
            alive = await self._in_time(self._ping)
            return JSONResponse({"status": "ok" if alive else "unavailable"})
        told = await self._in_time(lambda: look(self._db, patience=_PATIENCE))
        if told is None:
            return JSONResponse({"status": "unavailable"}, 503)
        return Response(orjson.dumps(told), media_type="application/json")

    async def _in_time(self, ask: Callable[[], T]) -> T | None:
        """What `ask` gives, or None where the database does not answer in time."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(ask), _PATIENCE)
        except (TimeoutError, *UNREACHABLE):
            return None

    def _ping(self) -> bool:
        with self._db.transaction() as tx:
            tx.psycopg.execute("SELECT set_config('statement_timeout', '2s', true)")
        return True

    def _knows(self, request: Request) -> bool:
        """Whether the request carries the operator's login."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        login = _login(self._settings)
        if scheme.lower() != "basic" or login is None:
            return False
        try:
            told = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(told, login.encode())


def app(settings: Settings, db: Database) -> Starlette:
    """The gateway's application on a database; the caller closes the database."""
    gateway = Gateway(settings, db)
    return Starlette(
        routes=[
            Route("/healthz", gateway.healthz, methods=["GET"]),
            Route("/status", gateway.status, methods=["GET"]),
            Route("/webhooks/{bee}", Receiver(settings, db).receive, methods=["POST"]),
        ]
    )


def _login(settings: Settings) -> str | None:
    """The operator's `user:password`: the running hive's, else HIVE_FLOWER_LOGIN."""
    state = settings.running().get("flower_login")
    if state:
        return f"{state['user']}:{state['password']}"
    return settings.flower_login.get_secret_value() if settings.flower_login is not None else None
