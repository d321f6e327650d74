"""What an HTTP answer, or its absence, means for a bee: verdicts by status, and the waits that servers ask for."""

from __future__ import annotations

import email.utils
import re
import ssl
import time
from collections.abc import Mapping

import httpcore

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.resilience.refusals import asked_to_wait
from bees.core.resilience.spent import reset, spent

_LONGEST_WAIT = 86_400.0  # a server does not put a bee to sleep for years
SHORTEST_WAIT = 0.5
"""Seconds; a source that says "wait 0 seconds", and means it, is not asked in a tight loop."""
SAYING = (400, 403)
"""Statuses that mean another thing by what the body says."""


def verdict(
    status: int,
    headers: Mapping[str, str],
    where: str,
    option: str = "auth",
    address: str = "url",
    said: bytes = b"",
) -> SourceError | None:
    """What a status means for the bee; None: the answer can be used. `option`, `address`: what a person mends.

    `said`: how the body of a 403 or 400 begins. GitHub's limits for bursts, Google's quotas and others are told apart
    from a refusal by their words alone where no header tells.
    """
    problem = _judged(status, headers, where, option, address, said)
    if problem is not None:
        problem.status = status
    return problem


def _judged(
    status: int, headers: Mapping[str, str], where: str, option: str, address: str, said: bytes
) -> SourceError | None:
    if 200 <= status < 300 or status == 304:
        return None
    if status == 403 and _used_up(headers):
        message = "what the source allows is used up (status 403)"
        return RetryLater(message, after=retry_after(headers) or _renewed(headers), code="rate_limited", where=where)
    if status in SAYING and (wait := asked_to_wait(said)):
        message = f"what the source allows is used up, as its answer says (status {status})"
        after = retry_after(headers) or wait  # a reset is that of another budget, of which something is left
        return RetryLater(message, after=after, code="rate_limited", where=where)
    if status in (401, 403):
        what = "the credentials are refused" if status == 401 else "these credentials may not read this"
        advice = f"check {option} and the rights behind it"
        return GiveUp(f"{what} (status {status})", code="denied", where=where, advice=advice)
    if status == 404:
        advice = f"check {address}, and the path below it"
        return GiveUp("nothing is there (status 404)", code="not_found", where=where, advice=advice)
    if status == 429:
        return RetryLater(
            "too many requests (status 429)",
            after=retry_after(headers) or _renewed(headers),
            code="rate_limited",
            where=where,
        )
    if status == 408 or status >= 500:
        code = "unavailable" if status == 503 else "server_error"
        return RetryLater(f"the server failed (status {status})", after=retry_after(headers), code=code, where=where)
    return GiveUp(f"status {status} is no answer to this request", code="unexpected_status", where=where)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: a number, or a date read by the server's own clock where it sends one.

    Never below `SHORTEST_WAIT`. None: it does not say.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        return max(SHORTEST_WAIT, min(float(text[:9]), _LONGEST_WAIT))
    then, now = instant(text), instant(headers.get("date", ""))
    if then is None:
        return None
    return min(max(then - (time.time() if now is None else now), SHORTEST_WAIT), _LONGEST_WAIT)


def _used_up(headers: Mapping[str, str]) -> bool:
    """GitHub's way to say 429: its limits for the hour, and those for bursts, which have a time to wait."""
    left = headers.get("x-ratelimit-remaining", "").strip()
    return left == "0" or bool(left and "retry-after" in headers) or spent(headers) is not None


def _renewed(headers: Mapping[str, str]) -> float | None:
    """Seconds until the budget is renewed, in the headers of the common APIs. Never below `SHORTEST_WAIT`."""
    wait = reset(headers)
    return None if wait is None else max(wait, SHORTEST_WAIT)


def last_modified(headers: Mapping[str, str]) -> str:
    """The Last-Modified date; empty while the second that it names may not be over: more can change within it."""
    text = headers.get("last-modified", "")
    then, now = instant(text), instant(headers.get("date", ""))
    return text if then is not None and then + 1 <= (time.time() if now is None else now) else ""


def instant(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date; None for what is none."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


_UNTRUSTED = ("is not trusted", "install a certificate that this machine trusts")
_OTHER_NAME = ("is made out to another name", "name the server as its certificate does")
_SELF_SIGNED = ("is self-signed, so nobody vouches for it", "have it signed, or let this machine trust who signs it")
_FAULTS = {
    9: ("is not yet valid", "check the clocks of both machines"),
    10: ("has expired", "renew it, and check the clocks of both machines"),
    18: _SELF_SIGNED,
    19: _SELF_SIGNED,
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
"""By OpenSSL's numbers of what it found (x509_vfy.h): its own words may quote the certificate."""


def lost(error: Exception, where: str, address: str) -> SourceError:
    """What it means that a connection did not come about, or broke. `address`: the option that names the server."""
    for cause in error.args:
        if isinstance(cause, ssl.SSLCertVerificationError):
            fault, advice = _FAULTS.get(cause.verify_code, _UNTRUSTED)
            return GiveUp(f"the server's certificate {fault}", code="bad_certificate", where=where, advice=advice)
    if isinstance(error, httpcore.RemoteProtocolError) and "too long" in str(error):  # h11's words, not the server's
        return GiveUp("the headers of the answer are larger than 100 KiB", code="headers_too_large", where=where)
    if isinstance(error, httpcore.ConnectError):
        advice = f"check {address}, and that the server runs"
        return RetryLater("no connection to the server", code="unreachable", where=where, advice=advice)
    return RetryLater("the connection broke before the answer was complete", code="connection_lost", where=where)
