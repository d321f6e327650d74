"""What bees that speak HTTP share: their options, the client made of them, and the choice of a stream."""

from __future__ import annotations

import difflib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, Field, SecretStr

from bees.core.address import Allowed, OptionNames
from bees.core.bee import BeeOptions, Seconds, Words
from bees.core.errors import GiveUp, RetryLater
from bees.core.http import Answer, Gate, HttpClient, Limits
from bees.core.http_verdict import SHORTEST_WAIT
from bees.core.resilience.retry import RetryPolicy
from bees.core.rest.auth import Auth, HeaderName, Tls
from bees.core.rest.login import login
from bees.core.rest.tokens import KeepsTokens
from nectar.jsonrows import escape
from nectar.pollen import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from nectar.pollen import Column

LONGEST_PAUSE = 5.0
"""Seconds of sleep for one page: a bee that is told to stop does so within seconds."""
_MOMENTS = RetryPolicy(first=0.1, most=2.0)
_S = TypeVar("_S")


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        Allowed.of(value)
    return values


class HttpOptions(BeeOptions):
    """Options of every source that is asked over HTTP."""

    auth: Auth = Field(default_factory=Auth, description="how the bee proves who it is")
    headers: dict[HeaderName, SecretStr] = Field(
        default_factory=dict, description="headers of each request, kept secret"
    )
    tls: Tls = Field(default_factory=Tls, description="certificates: our own, and the authorities of the server's")
    timeout: Seconds = Field(60.0, description="seconds that one request may take in all")
    max_body_bytes: int = Field(16 * 2**20, gt=0, description="largest page, decoded")
    allow_private: bool = Field(False, description="the source is meant to be on a private network or this machine")
    allow_networks: Annotated[Words, AfterValidator(_networks)] = Field(
        (), description="private networks that the source may be in, such as 10.20.0.0/16 or 10.20.0.5:8443"
    )
    request_attempts: int = Field(
        3, ge=1, le=10, description="tries of a request that fails for a moment (5xx, a reset), within 5 seconds"
    )
    rate_limit_wait: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="seconds to sit out a rate limit before one page, 5 at most; longer ones come back later",
    )


def open_client(
    options: HttpOptions, url: str, names: OptionNames, origins: tuple[str, ...] = (), gate: Gate | None = None
) -> HttpClient:
    """The guarded client of one source; `names`: of its options, for advice.

    Raises GiveUp for certificates and credentials that cannot be used.
    """
    seconds = options.timeout
    limits = Limits(min(10.0, seconds), min(30.0, seconds), seconds, options.max_body_bytes)
    networks = [Allowed.of(text) for text in options.allow_networks]
    tls = options.tls.context() if options.tls != Tls() else None
    fixed = options.auth.credentials(options.headers)

    def dial(address: str) -> HttpClient:
        return HttpClient(
            address,
            allow_private=options.allow_private,
            networks=networks,
            limits=limits,
            tls=tls,
            gate=gate,
            names=replace(names, address="auth.token_url"),
        )

    return HttpClient(
        url,
        credentials=fixed,
        login=login(options.auth, fixed, dial, gate.tokens if isinstance(gate, KeepsTokens) else None),
        origins=origins,
        allow_private=options.allow_private,
        networks=networks,
        limits=limits,
        tls=tls,
        gate=gate,
        names=names,
    )


def patiently(
    client: HttpClient,
    method: str,
    url: str | httpx.URL,
    *,
    where: str,
    headers: Mapping[str, str],
    content: bytes | None,
    options: HttpOptions,
    sleep: Callable[[float], None],
    also: tuple[int, ...] = (),
) -> Answer:
    """Send a request that reads, again if need be; all of it within LONGEST_PAUSE, but for the last try.

    Rate limits are sat out up to `rate_limit_wait` seconds in all; what fails for a moment, and without a time to wait,
    is tried `request_attempts` times. What lasts longer is for the caller: hours of pages do not end with one reset.
    """
    waited, tries, began = 0.0, 0, time.monotonic()
    policy = replace(_MOMENTS, attempts=options.request_attempts)
    while True:
        try:
            return client.request(method, url, where=where, headers=headers, content=content, also=also)
        except RetryLater as error:
            if error.code == "rate_limited":
                pause = max(error.after or 0.0, SHORTEST_WAIT)
                waited += pause
                if waited > min(options.rate_limit_wait, LONGEST_PAUSE):
                    raise
            else:
                tries += 1
                pause = policy.wait(tries)
                late = time.monotonic() - began + pause > LONGEST_PAUSE
                if error.after is not None or late or not policy.again(error, tries):
                    raise
        sleep(pause)


def offered(
    name: str, key: tuple[str, ...], cursor: str | None, *, followed: bool, columns: tuple[Column, ...] = ()
) -> Stream:
    """A stream as its options describe it. `followed`: a pass asks only for what lies behind the highest cursor."""
    column = escape(cursor) if cursor else None
    cursors = (column,) if column else ()
    return Stream(name, columns, key=tuple(map(escape, key)), cursors=cursors, cursor=column if followed else None)


def named_stream(streams: Mapping[str, _S], stream: str) -> _S:
    """The options of a stream. Raises GiveUp with the name that was perhaps meant."""
    if stream in streams:
        return streams[stream]
    near = difflib.get_close_matches(stream, streams, 1)
    advice = f"did you mean '{near[0]}'?" if near else "the streams are " + ", ".join(sorted(streams))
    raise GiveUp(f"no stream is named '{stream}'", code="unknown_stream", advice=advice)
