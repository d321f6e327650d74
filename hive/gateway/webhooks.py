"""`POST /webhooks/{bee}`: a signed message makes a bee fly. It counts once, and is answered when it is on disk.

Two ways to sign are understood, each with HMAC-SHA-256 under the bee's secret:

    X-Hub-Signature-256: sha256=<hex>                        over the body, as GitHub signs
    webhook-id, webhook-timestamp, webhook-signature: v1,<base64>   over id.timestamp.body, as Standard Webhooks has it

A secret of fewer than 16 bytes is no key: with one, no message is let in.

A message is known again by its id: webhook-id with Standard Webhooks, X-GitHub-Delivery and the like (`DELIVERY_IDS`)
with GitHub's way, which does not sign it. Without one it is known by its body, for ten minutes: a sender that got no
answer comes again within that time, and a later message may say the same once more. A second one starts nothing, and
its sender is told that it is known.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hive.config.references import BadReference, references, resolve
from hive.ledger.db import UNREACHABLE, Database
from hive.settings import Settings, environment
from hive.vault.envelope import Unsealable, wrap
from hive.vault.key import HiveKey, hive_key
from hive.vault.store import BadSecret, Vault

log = structlog.get_logger()

BODY_LIMIT = 1 << 20
TOLERANCE = 300
"""Seconds by which the time of a message may differ from ours."""
SHORTEST_KEY = 16
"""Bytes of a key below which it could be guessed; the empty one is known to everybody."""
DELIVERY_IDS = ("x-github-delivery", "x-gitea-delivery", "x-forgejo-delivery", "idempotency-key")
"""Headers that name one delivery among those that are signed in GitHub's way; the first that is there counts."""
SAME_BODY = 600.0
"""Seconds for which a body counts once, where nothing else names the message."""
_PATIENCE = 10.0
_BODY_PATIENCE = 10.0
"""Seconds within which the whole body must be here: whoever sends it has shown no signature yet."""
_CLOSE = {"Connection": "close"}
"""Of answers to a body that was not read to its end: what else comes of it is not waited for."""
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")

_BEE = """
SELECT b.id, b.tenant, b.config -> 'on' FROM hive.bee b
 WHERE b.name = %s AND b.enabled AND EXISTS (SELECT FROM hive.listener l WHERE l.bee = b.id AND l.kind = 'webhook')
"""


class Refused(Exception):
    """The message is not let in. The words are for the log: the sender learns only that it was refused."""


class Receiver:
    """Takes in messages on one database."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._key: HiveKey | None = None

    async def receive(self, request: Request) -> Response:
        """202 for a new message, 200 for a known one, 401, 408, 413, and 503 where the database is away."""
        name = request.path_params["bee"]
        try:
            async with asyncio.timeout(_BODY_PATIENCE):
                body = await _body(request)
        except TimeoutError:
            return JSONResponse({"error": f"the body was not here within {_BODY_PATIENCE:g} seconds"}, 408, _CLOSE)
        if body is None:
            return JSONResponse({"error": f"the body is larger than {BODY_LIMIT} bytes"}, 413, _CLOSE)
        headers = {key.lower(): value for key, value in request.headers.items()}
        try:
            work = asyncio.to_thread(self._take, name, headers, body)
            event = await asyncio.wait_for(work, _PATIENCE)
        except Refused as refused:
            log.warning("webhook.refused", bee=name[:63], reason=str(refused))
            # The same words for every reason: nobody learns here which bees there are.
            return JSONResponse({"error": "no webhook of this name, or a wrong signature"}, 401)
        except (TimeoutError, *UNREACHABLE):
            return JSONResponse({"error": "the message could not be kept: send it again"}, 503)
        return JSONResponse({"status": "known"}) if event is None else JSONResponse({"status": "accepted"}, 202)

    def _take(self, name: str, headers: Mapping[str, str], body: bytes) -> int | None:
        """The number of the new event, committed; None for a message that was here before. Raises Refused."""
        with self._db.single() as tx:
            bee = tx.psycopg.execute(_BEE, [name]).fetchone()
        if bee is None:
            raise Refused("no bee of this name waits for a webhook")
        number, tenant, events = bee
        event_id = signed_id(headers, body, self._secrets(name, tenant, events), time.time())
        sealed = wrap(self._hive_key().key, body, f"inbox|{number}|{event_id}".encode())
        window = SAME_BODY if event_id.startswith("body:") else None
        with self._db.single() as tx:
            row = tx.run("receive", bee=number, event_id=event_id, body=sealed, window=window).fetchone()
        return None if row is None else int(row.id)

    def _secrets(self, name: str, tenant: str, events: Any) -> list[str]:
        told = [one["webhook"] for one in events if one.get("webhook") is not None]
        written = [ref for webhook in told for ref in webhook.get("secret", ())]
        vault: Callable[[str], str] = Vault(self._db.engine, self._hive_key(), tenant).text
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


async def _body(request: Request) -> bytes | None:
    """The body as it was sent; None where it is too long, which is found before it is read whole."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > BODY_LIMIT:
        return None
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > BODY_LIMIT:
            return None
    return bytes(found)


def _refuse_short(bee: str, written: str, secret: str) -> None:
    """Raises Refused for a key that is too short, and says where to set another. `written`: the secret's reference."""
    try:
        key = _standard_key(secret)
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


class _Standard(NamedTuple):
    id: str
    timestamp: str
    signatures: str


def signed_id(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> str:
    """By what a message is known again. Raises Refused unless one of the secrets signed it, and just now.

    `headers` by lower-case name; `now` in seconds of the epoch.
    """
    standard = _Standard(*(headers.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")))
    if any(standard):
        return _standard_id(standard, body, secrets, now)
    scheme, _, given = headers.get("x-hub-signature-256", "").partition("=")
    if scheme != "sha256" or not given:
        raise Refused("it is not signed: neither X-Hub-Signature-256 nor webhook-signature is there")
    for secret in secrets:
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        if _same(given.lower(), expected):
            told = next((headers[name] for name in DELIVERY_IDS if _ID.fullmatch(headers.get(name, ""))), None)
            return f"body:{expected}" if told is None else f"delivery:{told}"
    raise Refused("the signature is not that of the body")


def _standard_id(told: _Standard, body: bytes, secrets: Sequence[str], now: float) -> str:
    if not _ID.fullmatch(told.id) or not re.fullmatch(r"\d{1,12}", told.timestamp):
        raise Refused("webhook-id or webhook-timestamp is missing or malformed")
    if abs(now - int(told.timestamp)) > TOLERANCE:
        raise Refused(f"it was signed more than {TOLERANCE} seconds before or after this moment")
    signed = f"{told.id}.{told.timestamp}.".encode() + body
    given = [word.removeprefix("v1,") for word in told.signatures.split() if word.startswith("v1,")]
    for secret in secrets:
        expected = base64.b64encode(hmac.new(_standard_key(secret), signed, hashlib.sha256).digest()).decode()
        if any(_same(one, expected) for one in given):
            return f"id:{told.id}"
    raise Refused("the signature is not that of id, timestamp and body")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _standard_key(secret: str) -> bytes:
    """`whsec_` and base64, as Standard Webhooks writes secrets; any other text is the key itself."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the secret starts with whsec_ and is not base64 after it") from None
