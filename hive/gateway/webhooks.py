"""`POST /webhooks/{bee}`: a signed message makes a bee fly, or is its record. It counts once, and is answered when it
is on disk.

On a `webhook` bee messages are records: they wait, sealed, until the bee has read them, also while it is paused or
disabled. On any other bee the body is thrown away when the flight is made.

How messages are signed, and what names one, is told in `signed.py`. Without an id a message is known by its body, for
ten minutes: a sender that got no answer comes again within that time, and a later message may say the same once more.
A second one starts nothing, and its sender is told that it is known. A secret of fewer than 16 bytes is no key: with
one, no message is let in.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hive.config.references import BadReference, references, resolve
from hive.config.triggers import BODY_LIMIT
from hive.gateway.signed import Refused, Signed, Style, signed_id, standard_key, verify
from hive.inbox import Received, seal_message
from hive.ledger.db import UNREACHABLE, Database
from hive.settings import Settings, environment
from hive.vault.envelope import Unsealable
from hive.vault.key import HiveKey, hive_key
from hive.vault.store import BadSecret, Vault

__all__ = ["BODY_LIMIT", "SHORTEST_KEY", "Receiver", "Refused", "signed_id"]

log = structlog.get_logger()

SHORTEST_KEY = 16
"""Bytes of a key below which it could be guessed; the empty one is known to everybody."""
SAME_BODY = 600.0
"""Seconds for which a body counts once, where nothing else names the message."""
_PATIENCE = 10.0
_BODY_PATIENCE = 10.0
"""Seconds within which the whole body must be here: whoever sends it has shown no signature yet."""
SECRETS_LAST = 2.0
"""Seconds for which a secret of the vault is not read anew: each message of a burst would wait for it. One that was
taken away lets messages in for so long.
"""
_MOST_KNOWN = 1000
_LARGE_AT_ONCE = 4
"""Bodies above the usual limit that are read at the same time."""
_CLOSE = {"Connection": "close"}
"""Of answers to a body that was not read to its end: what else comes of it is not waited for."""
EVENTS = (
    "x-github-event",
    "x-gitlab-event",
    "x-gitea-event",
    "x-forgejo-event",
    "x-event-key",
    "x-shopify-topic",
    "x-event-type",
)
"""Headers that say what happened; the first that is there is kept beside the body. No signature covers them."""
_EVENT = re.compile(r"[A-Za-z0-9_.:/ -]{1,100}")
_TYPE_LENGTH = 100
_DIGITS = 19

_BEE = """
SELECT b.id, b.tenant, b.config -> 'on' FROM hive.bee b
 WHERE b.name = %s AND EXISTS (SELECT FROM hive.listener l
                                WHERE l.bee = b.id AND l.kind = 'webhook' AND (b.enabled OR l.subject = 'records'))
"""


class Receiver:
    """Takes in messages on one database."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._key: HiveKey | None = None
        self._known: dict[tuple[str, str], tuple[float, str]] = {}
        """Secrets of the vault by tenant and path, and since when each is known."""
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def receive(self, request: Request) -> Response:
        """202 for a new message, 200 for a known one, 401, 408, 413, and 503 where the database is away."""
        name = request.path_params["bee"]
        try:
            async with asyncio.timeout(_BODY_PATIENCE):
                body = await self._body(request, name)
        except TimeoutError:
            return JSONResponse({"error": f"the body was not here within {_BODY_PATIENCE:g} seconds"}, 408, _CLOSE)
        except TooLarge as error:
            return JSONResponse({"error": str(error)}, 413, _CLOSE)
        except UNREACHABLE:
            return JSONResponse({"error": "the message could not be kept: send it again"}, 503, _CLOSE)
        headers = {key.lower(): value for key, value in request.headers.items()}
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            return JSONResponse({"error": "send the body without Content-Encoding"}, 415)
        try:
            work = asyncio.to_thread(self._take, name, headers, body)
            return await asyncio.wait_for(work, _PATIENCE)
        except Refused as refused:
            log.warning("webhook.refused", bee=name[:63], reason=str(refused))
            # The same words for every reason: nobody learns here which bees there are.
            return JSONResponse({"error": "no webhook of this name, or a wrong signature"}, 401)
        except TooLarge as error:
            return JSONResponse({"error": str(error)}, 413)
        except (TimeoutError, *UNREACHABLE):
            return JSONResponse({"error": "the message could not be kept: send it again"}, 503)

    async def _body(self, request: Request, bee: str) -> bytes:
        """The body as it was sent. Raises TooLarge, which is found before it is read whole.

        Only what is above the usual limit is worth a question to the ledger before a signature was seen.
        """
        told = request.headers.get("content-length", "")
        limit, size = BODY_LIMIT, int(told) if told.isdecimal() and len(told) < _DIGITS else 0
        found = bytearray()
        async with contextlib.AsyncExitStack() as turn:
            if size > limit:
                limit = await self._wider(turn, bee)
                _refuse_large(size, limit)
            async for part in request.stream():
                found += part
                if len(found) > limit == BODY_LIMIT:
                    limit = await self._wider(turn, bee)
                _refuse_large(len(found), limit)
            return bytes(found)

    async def _wider(self, turn: contextlib.AsyncExitStack, bee: str) -> int:
        """What the bee takes, once few others read such a body. Raises TooLarge where it takes no more than usual."""
        limit = await asyncio.to_thread(self._limit, bee)
        _refuse_large(BODY_LIMIT + 1, limit)
        await turn.enter_async_context(self._large)
        return limit

    def _limit(self, name: str) -> int:
        with self._db.single() as tx:
            bee = tx.psycopg.execute(_BEE, [name]).fetchone()
        return _limit_of(_told(bee[2])) if bee else BODY_LIMIT

    def _take(self, name: str, headers: Mapping[str, str], body: bytes) -> Response:
        """The answer to a message that is committed, or was here before. Raises Refused, TooLarge."""
        with self._db.single() as tx:
            bee = tx.psycopg.execute(_BEE, [name]).fetchone()
        if bee is None:
            raise Refused("no bee of this name waits for a webhook")
        number, tenant, events = bee
        told = _told(events)
        signed = verify(headers, body, self._secrets(name, tenant, told), time.time(), _only_style(told))
        _refuse_large(len(body), _limit_of(told))
        if _asks_who_is_there(signed):
            return JSONResponse({"challenge": signed.told["challenge"]})
        is_new = self._keep(number, _received(signed.event_id, headers, body))
        if signed.style == "slack":
            return Response(status_code=200)  # Slack shows people what else it gets, and takes 200 alone for done
        return JSONResponse({"status": "accepted"}, 202) if is_new else JSONResponse({"status": "known"})

    def _keep(self, bee: int, message: Received) -> bool:
        """Write it down; False for a message that was here before."""
        sealed = seal_message(self._hive_key(), bee, message)
        values = {"bee": bee, "event_id": message.event_id}
        if not message.event_id.startswith("body:"):
            with self._db.single() as tx:
                return tx.run("receive", **values, body=sealed, window=None).fetchone() is not None
        with self._db.transaction() as tx:
            tx.run("step_aside", **values, window=SAME_BODY)
            return tx.run("receive", **values, body=sealed, window=SAME_BODY).fetchone() is not None

    def _text(self, tenant: str, path: str) -> str:
        """A secret of the vault, read a moment ago at most."""
        now = time.monotonic()
        since, text = self._known.get((tenant, path), (now - SECRETS_LAST, ""))
        if now - since >= SECRETS_LAST:
            text = Vault(self._db.engine, self._hive_key(), tenant).text(path)
            if len(self._known) >= _MOST_KNOWN:
                self._known = {}
            self._known[tenant, path] = (now, text)
        return text

    def _secrets(self, name: str, tenant: str, told: list[Any]) -> list[str]:
        written = [ref for webhook in told for ref in webhook.get("secret", ())]
        vault: Callable[[str], str] = functools.partial(self._text, tenant)
        try:
            found = [
                (ref, resolve(ref, environ=environment(), vault=vault, bee=name, field="on.webhook.secret"))
                for ref in written or [f"{{{{ vault:bees/{name}/webhook }}}}"]
            ]
        except (BadReference, BadSecret, Unsealable) as error:
            raise Refused(str(error)) from None
        for ref, secret in found:
            _refuse_short(name, ref, secret)
        return [secret for _, secret in found]

    def _hive_key(self) -> HiveKey:
        if self._key is None:
            self._key = hive_key(self._settings)
        return self._key


class TooLarge(Exception):
    """A body has more bytes than its bee takes."""


def _refuse_large(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")


def _refuse_short(bee: str, written: str, secret: str) -> None:
    """Raises Refused for a key that is too short, and says where to set another. `written`: the secret's reference."""
    try:
        key = standard_key(secret)
    except Refused:
        key = secret.encode()  # no base64 after whsec_: a key of GitHub's way alone, as it stands
    if len(key) >= SHORTEST_KEY:
        return
    places = sorted(references(written))
    ways = [f"`hive vault set {place.name}`" if place.kind == "vault" else f"{place}" for place in places]
    raise Refused(
        f"the webhook secret of bee {bee!r} is a key of fewer than {SHORTEST_KEY} bytes: set a longer one with "
        f"{' and '.join(ways)}"
    )


def _told(events: Any) -> list[Any]:
    """What a bee's events say of webhooks."""
    return [one["webhook"] for one in events or () if one.get("webhook") is not None]


def _limit_of(told: list[Any]) -> int:
    """Bytes of a message: what the bee says, or as much as any takes."""
    return max((one.get("body_limit", BODY_LIMIT) for one in told), default=BODY_LIMIT)


def _only_style(told: list[Any]) -> Style | None:
    """The one style that the bee takes; None: any."""
    return next((one["signed"] for one in told if one.get("signed")), None)


def _asks_who_is_there(signed: Signed) -> bool:
    """Whether it is what Slack sends once, to see that the address is ours: it wants its own word back."""
    told = signed.told
    return bool(told and told.get("type") == "url_verification" and isinstance(told.get("challenge"), str))


def _received(event_id: str, headers: Mapping[str, str], body: bytes) -> Received:
    event = next((headers[name] for name in EVENTS if _EVENT.fullmatch(headers.get(name, ""))), "")
    return Received(event_id, body, headers.get("content-type", "")[:_TYPE_LENGTH], event)
