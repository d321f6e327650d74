"""What servers say of their own limits: how long to wait once a budget is used up.

    X-RateLimit-Remaining, X-RateLimit-Reset           GitHub, GitLab, Slack, Datadog, Jira (reset as an ISO date)
    X-Rate-Limit-Remaining, X-Rate-Limit-Reset         Okta, Zendesk
    X-RateLimit-Reset-After                            seconds, Discord
    RateLimit-Remaining, RateLimit-Reset               draft-ietf-httpapi-ratelimit-headers 03 to 06: seconds from now
    RateLimit: limit=10, remaining=0, reset=5          the same draft, 07
    RateLimit: "default";r=0;t=5                       the same draft, 08 and later
    X-HubSpot-RateLimit-Remaining, ...-Interval-Milliseconds   HubSpot: a rolling window
    X-Shopify-Shop-Api-Call-Limit: 40/40               Shopify: a bucket that leaks twice a second

A reset is an instant of Unix time (in seconds or milliseconds), an ISO date or seconds from now; the size tells them
apart. An instant counts from the server's own clock, where its Date is there.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import time
from collections.abc import Mapping

LONGEST = 86_400.0
"""Seconds; a server does not put a bee to sleep for years."""
_FAMILIES = ("x-ratelimit-", "x-rate-limit-", "ratelimit-")
_SECONDS_AT_MOST = 30 * LONGEST
_NUMBER = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?")
_FIELD = re.compile(r"""(?:^|[;,\s])(r|t|remaining|reset)\s*=\s*([0-9]{1,10})""", re.ASCII)
_SHOPIFY_LEAK = 0.5


def spent(headers: Mapping[str, str]) -> float | None:
    """Seconds until the next request, where the answer says that none is left now. None: some are, or nobody knows."""
    for family in _FAMILIES:
        left = headers.get(f"{family}remaining", "").strip()
        if _NUMBER.fullmatch(left) and float(left) < 1:
            return reset(headers)
    left, wait = _combined(headers.get("ratelimit", ""))
    if left == "0":
        return wait
    if headers.get("x-hubspot-ratelimit-remaining", "").strip() == "0":
        length = headers.get("x-hubspot-ratelimit-interval-milliseconds", "").strip()
        return min(float(length) / 1000, LONGEST) if _NUMBER.fullmatch(length) else None
    used, _, most = headers.get("x-shopify-shop-api-call-limit", "").strip().partition("/")
    if _NUMBER.fullmatch(used) and _NUMBER.fullmatch(most) and float(used) >= float(most):
        return _SHOPIFY_LEAK
    return None


def reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until a budget is renewed, as far as the headers say."""
    for family in _FAMILIES:
        after = headers.get(f"{family}reset-after", "").strip()
        if _NUMBER.fullmatch(after):
            return min(float(after), LONGEST)
        found = _until(headers.get(f"{family}reset", "").strip(), headers)
        if found is not None:
            return found
    return _combined(headers.get("ratelimit", ""))[1]


def _until(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds until what is written; None for what is no time."""
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if seconds > 1e11:
            seconds /= 1000
        if seconds > _SECONDS_AT_MOST:
            seconds -= _now(headers)
    else:
        try:
            then = dt.datetime.fromisoformat(text)
        except ValueError:
            return None
        seconds = (then if then.tzinfo else then.replace(tzinfo=dt.UTC)).timestamp() - _now(headers)
    return min(max(seconds, 0.0), LONGEST)


def _combined(text: str) -> tuple[str, float | None]:
    """(what is left, seconds until more) of the header that holds both."""
    fields: dict[str, str] = dict(_FIELD.findall(text[:1000]))
    left, wait = fields.get("r", fields.get("remaining", "")), fields.get("t", fields.get("reset"))
    return left, None if wait is None else min(float(wait), LONGEST)


def _now(headers: Mapping[str, str]) -> float:
    try:
        return email.utils.parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return time.time()
