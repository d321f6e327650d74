"""Who signed a message, and by what it is known again. Four styles, each HMAC-SHA-256 under the bee's secret:

  standard   webhook-id, webhook-timestamp, webhook-signature: v1,<base64>     over id.timestamp.body
  github     X-Hub-Signature-256: sha256=<hex>                                 over the body
  stripe     Stripe-Signature: t=<seconds>,v1=<hex>                            over timestamp.body
  slack      X-Slack-Request-Timestamp, X-Slack-Signature: v0=<hex>            over v0:timestamp:body

Sources: the Standard Webhooks specification; the vendors' pages "Validating webhook deliveries" (GitHub), "Verify
webhook signatures manually" (Stripe) and "Verifying requests from Slack". Of several styles in one message the first
counts. A signed time may differ from ours by `TOLERANCE`; in GitHub's style there is none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from bees.core.messages import document, format_of
from nectar.errors import SkipRecord

Style = Literal["standard", "github", "stripe", "slack"]

TOLERANCE = 300
"""Seconds by which the time of a message may differ from ours."""
DELIVERY_IDS = ("x-github-delivery", "x-gitea-delivery", "x-forgejo-delivery", "idempotency-key")
"""Headers that name one delivery among those that are signed in GitHub's way; the first that is there counts."""
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_MOST_SIGNATURES = 20


class Refused(Exception):
    """The message is not let in. The words are for the log: the sender learns only that it was refused."""


class Signed(NamedTuple):
    """A message that is what its sender signed. `event_id` is `<kind>:<id>`; `body:<digest>` where nothing names it."""

    style: Style
    event_id: str
    told: Any = None
    """The body of a Slack message, if it is an object."""


def signed_id(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> str:
    """By what a message is known again: see `verify`."""
    return verify(headers, body, secrets, now).event_id


def verify(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float, style: Style | None = None
) -> Signed:
    """Raises Refused unless one of the secrets signed it, and just now.

    `headers` by lower-case name; `now` in seconds of the epoch; `style` is the only one that counts, None: any.
    """
    found = next((name for name, marks in _MARKS.items() if any(headers.get(mark) for mark in marks)), None)
    if found is None:
        raise Refused("it is not signed: none of the headers is there that carry a signature")
    if style is not None and found != style:
        raise Refused(f"it is signed in the style {found}, and this bee takes {style} only")
    return _STYLES[found](headers, body, secrets, now)


def _standard(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Signed:
    id_, stamp, signatures = (headers.get(mark, "") for mark in _MARKS["standard"])
    if not _ID.fullmatch(id_):
        raise Refused("webhook-id or webhook-timestamp is missing or malformed")
    _refuse_late(stamp, now)
    signed = f"{id_}.{stamp}.".encode() + body
    given = [word.removeprefix("v1,") for word in signatures.split() if word.startswith("v1,")]
    for secret in secrets:
        expected = base64.b64encode(hmac.new(standard_key(secret), signed, hashlib.sha256).digest()).decode()
        if _among(given, expected):
            return Signed("standard", f"id:{id_}")
    raise Refused("the signature is not that of id, timestamp and body")


def _github(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], _now: float) -> Signed:
    scheme, _, given = headers["x-hub-signature-256"].partition("=")
    if scheme != "sha256":
        raise Refused("X-Hub-Signature-256 does not begin with sha256=")
    secret = _signer([given], body, secrets)
    told = next((headers[name] for name in DELIVERY_IDS if _ID.fullmatch(headers.get(name, ""))), None)
    return Signed("github", f"body:{_hex(secret, body)}" if told is None else f"delivery:{told}")


def _stripe(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Signed:
    pairs = [part.strip().partition("=") for part in headers["stripe-signature"].split(",")]
    stamps = [value for name, _, value in pairs if name == "t"]
    if len(stamps) != 1:
        raise Refused("Stripe-Signature does not hold exactly one t=")
    _refuse_late(stamps[0], now)
    given = [value for name, _, value in pairs if name == "v1"]
    secret = _signer(given, f"{stamps[0]}.".encode() + body, secrets)
    # Stripe signs each attempt anew; what stays is the event's id.
    return Signed("stripe", _named(_told(headers, body), ("id",)) or f"body:{_hex(secret, body)}")


def _slack(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Signed:
    stamp = headers.get("x-slack-request-timestamp", "")
    _refuse_late(stamp, now)
    version, _, given = headers.get("x-slack-signature", "").partition("=")
    if version != "v0":
        raise Refused("X-Slack-Signature does not begin with v0=")
    secret = _signer([given], f"v0:{stamp}:".encode() + body, secrets)
    told = _told(headers, body)
    return Signed("slack", _named(told, ("event_id", "trigger_id")) or f"body:{_hex(secret, body)}", told)


_MARKS: dict[Style, tuple[str, ...]] = {
    "standard": ("webhook-id", "webhook-timestamp", "webhook-signature"),
    "github": ("x-hub-signature-256",),
    "stripe": ("stripe-signature",),
    "slack": ("x-slack-signature", "x-slack-request-timestamp"),
}
_STYLES: dict[Style, Callable[[Mapping[str, str], bytes, Sequence[str], float], Signed]] = {
    "standard": _standard,
    "github": _github,
    "stripe": _stripe,
    "slack": _slack,
}


def standard_key(secret: str) -> bytes:
    """`whsec_` and base64, as Standard Webhooks writes secrets; any other text is the key itself."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the secret starts with whsec_ and is not base64 after it") from None


def _refuse_late(stamp: str, now: float) -> None:
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise Refused("the time at which it was signed is missing or malformed")
    if abs(now - int(stamp)) > TOLERANCE:
        raise Refused(f"it was signed more than {TOLERANCE} seconds before or after this moment")


def _signer(given: Sequence[str], signed: bytes, secrets: Sequence[str]) -> str:
    """The secret that made one of the signatures, in hexadecimal digits."""
    lower = [one.lower() for one in given if one]
    for secret in secrets:
        if _among(lower, _hex(secret, signed)):
            return secret
    raise Refused("the signature is not that of the message")


def _hex(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _among(given: Sequence[str], expected: str) -> bool:
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in given[:_MOST_SIGNATURES])


def _told(headers: Mapping[str, str], body: bytes) -> Any:
    """What the body says, if it is an object."""
    try:
        told = document(body, format_of(headers.get("content-type", "")))
    except SkipRecord:
        return None
    return told if isinstance(told, dict) else None


def _named(told: Any, names: Sequence[str]) -> str | None:
    ids = [told[name] for name in names if isinstance(told.get(name), str)] if told else []
    return next((f"event:{one}" for one in ids if _ID.fullmatch(one)), None)
