"""What each request meets first: no text of it may hold the character NUL, and no error leaves without an answer.

PostgreSQL holds that character in no text, so nothing here is named by it. It is refused where it could reach the
ledger: in the path, the query, HTTP Basic and forms. Bodies of hooks are kept as bytes and pass, whatever is in them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hive.errors import trail

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

Answer = Callable[[Request, int], Response]
"""What is said with a status, to whoever asks."""

_IN_FORMS = (b"\0", b"%00")
_LONGEST = max(map(len, _IN_FORMS))


class Front:
    """Around the routes. `answer` makes the pages of refusals and of errors."""

    def __init__(self, app: ASGIApp, answer: Answer) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What nobody foresaw is told in one line, by its kind and place: its words may repeat what was asked."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, begun = Request(scope), False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if _holds_nul(request):
                await self._answer(request, 400)(scope, receive, send)
                return
            await self._app(scope, _watched(receive) if _is_form(request) else receive, noting)
        except ClientDisconnect:  # nobody waits for an answer
            return
        except Exception as error:
            if begun:
                raise  # the server breaks the connection off, and says so in the log
            log.error("request.failed", method=request.method, kind=type(error).__name__, trail=trail(error))
            await self._answer(request, 500)(scope, receive, send)


def _holds_nul(request: Request) -> bool:
    query = unquote_to_bytes(request.scope["query_string"])
    if request.scope["path"] == "/live":
        query += unquote_to_bytes(query)  # its `at` is an address of ours, with a path and a query of its own
    return "\0" in request.scope["path"] or b"\0" in query or b"\0" in _basic(request)


def _basic(request: Request) -> bytes:
    """Name and password as the request gives them; empty where there are none."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        return base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded" and not request.scope["path"].startswith("/webhooks/")


def _watched(receive: Receive) -> Receive:
    """The body of a form as it comes. Whoever reads a part that ends such a character gets the refusal instead."""
    before = b""

    async def watch() -> Message:
        nonlocal before
        message = await receive()
        seen = before + message.get("body", b"")
        if any(mark in seen for mark in _IN_FORMS):
            raise HTTPException(400)
        before = seen[1 - _LONGEST :]
        return message

    return watch
