"""The one way out over HTTP: every bee and pollinator sends its requests through `HttpClient`.

It speaks httpx's types over httpcore's connection pool, without httpx's own client: that one writes whole URLs, with
the API keys in them, to its log, and cannot be told which address to dial. Nothing of the environment is read.

  where       http and https only, no user-info, addresses as `bees.core.address` allows
  how long    connect, read and total time of one request, redirects included
  how much    a limit on the decoded body, counted while it is decoded
  redirects   followed by hand, each hop checked; credentials never reach an origin that the operator did not name
  verdicts    401, 403, 404 and other 4xx give up; 429, 5xx, time-outs and lost connections try again later
  login       credentials that expire are renewed once when the server refuses them, and then it gives up
"""

from __future__ import annotations

import base64
import io
import logging
import re
import ssl
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Protocol

import httpcore
import httpx

from bees.core import progress
from bees.core.address import AddressPolicy, Allowed, Deadline, GuardedBackend, OptionNames, Origin, system_resolve
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.http_verdict import SAYING, instant, lost, verdict
from bees.core.spans import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

# httpcore's debug lines show header values: credentials going out, cookies coming in.
logging.getLogger("httpcore").setLevel(logging.WARNING)

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_REFUSED = {"denied", "unexpected_status"}
_HOST = re.compile(rb"[a-z0-9._-]+|[0-9a-f:.]+")
_UNAUTHORISED = 401
_STEP = 64 * 1024


_NAMES = OptionNames("url")


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, between two reads and for the whole request; bytes of a decoded body; redirects."""

    connect: float = 10.0
    read: float = 30.0
    total: float = 60.0
    body: int = 16 * 2**20
    redirects: int = 5


@dataclass(frozen=True)
class Credentials:
    """What proves who asks, sent to named origins only. `option` is the field that a person mends."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    option: str = "auth"


class Login(Protocol):
    """Credentials that are fetched, renewed or computed for each request."""

    def current(self) -> Credentials:
        """What is sent with the next request; may ask another server for it. Raises SourceError."""

    def renew(self, status: int, skew: float) -> bool:
        """Told of a refusal: whether `current` has something better now. `skew`: the server's clock less ours, s."""

    def signed(self, method: str, url: httpx.URL, content: bytes | None) -> Mapping[str, str]:
        """Headers that sign this one request; none where nothing is signed."""


class Gate(Protocol):
    """Stands before every request: a budget, a breaker."""

    def enter(self, where: str) -> None:
        """Returns when the request may go out; raises RetryLater where that is not now."""

    def leave(self, status: int, headers: Mapping[str, str]) -> None:
        """What came of it; status 0: no answer."""


@dataclass(frozen=True)
class Answer:
    """`status` is 2xx or 304, `body` is decoded, `url` is where it came from, without credentials."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    url: httpx.URL = field(repr=False)


def checked_url(text: str) -> httpx.URL:
    """The URL, or GiveUp (`bad_url`) that says what is wrong with it and does not repeat it."""
    problem = ""
    url = httpx.URL()
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        problem = "it cannot be read"
    if "\\" in text or any(c.isspace() or not c.isprintable() for c in text):
        problem = "it holds white space, control characters or a backslash"
    elif not problem and url.scheme not in _PORTS:
        problem = "only http and https are spoken"
    elif not problem and not _HOST.fullmatch(url.raw_host):
        problem = "it names no host, or one with characters that no name has"
    elif not problem and not 0 < (1 if url.port is None else url.port) < 65_536:
        problem = "its port is no port"
    elif url.userinfo:
        problem = "it holds a user name or password, which belong in `auth`"
    if problem:
        raise GiveUp(f"a URL is refused: {problem}", code="bad_url")
    return url


def origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or _PORTS[url.scheme]


class HttpClient:
    """Sends requests to one source. Not thread-safe: a bee has its own. `close` ends its connections."""

    def __init__(
        self,
        base_url: str,
        *,
        credentials: Credentials | None = None,
        login: Login | None = None,
        origins: Iterable[str] = (),
        allow_private: bool = False,
        networks: Iterable[Allowed] = (),
        limits: Limits | None = None,
        resolve: Callable[[str, int], Sequence[str]] = system_resolve,
        tls: ssl.SSLContext | None = None,
        gate: Gate | None = None,
        names: OptionNames = _NAMES,
    ) -> None:
        """`names`: what a person mends, by the connector's own words."""
        self._credentials = credentials or Credentials()
        _check_credentials(self._credentials)
        self._login = login
        self._gate = gate
        self._heard: tuple[int, float] = (0, 0.0)
        self._headers = httpx.Headers()
        self._also: tuple[int, ...] = ()
        self._named = frozenset(origin(checked_url(url)) for url in (base_url, *origins))
        self._limits = limits or Limits()
        self._deadline = Deadline()
        self._names = names
        policy = AddressPolicy(self._named, allow_private, resolve, tuple(networks), names)
        backend = GuardedBackend(policy, self._deadline)
        self._pool = httpcore.ConnectionPool(tls or _tls(), max_connections=4, network_backend=backend)

    def through(self, gate: Gate | None) -> None:
        """Send every request through this gate."""
        self._gate = gate

    def renew(self) -> bool:
        """Told of a refusal inside of an answer: whether the login has something better now."""
        return self._login is not None and self._login.renew(_UNAUTHORISED, self.skew)

    @property
    def skew(self) -> float:
        """Seconds by which the server's clock is ahead of ours, by its last answer."""
        return self._heard[1]

    def is_named(self, url: httpx.URL) -> bool:
        """Whether the operator wrote this URL's origin down: links may lead there, with credentials."""
        return origin(url) in self._named

    def without_credentials(self, url: httpx.URL) -> httpx.URL:
        """The URL as it may be kept: servers repeat an API key of the query in their links."""
        for name in self._credentials.params:
            if name in url.params:
                url = url.copy_remove_param(name)
        return url

    def get(self, url: str | httpx.URL, *, where: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", url, where=where, headers=headers)

    def request(
        self,
        method: str,
        url: str | httpx.URL,
        *,
        where: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        also: tuple[int, ...] = (),
    ) -> Answer:
        """Send it and read the whole answer, 2xx or 304; anything else is a SourceError with its verdict.

        `where` names the request in errors, in the words of the options: a URL may hold values of records. `also`:
        further statuses that are answers here.
        """
        self._also = also
        try:
            return self._sent(method, url, where, headers, content)
        except GiveUp as error:
            if self._login is None or error.code not in _REFUSED or not self._login.renew(*self._heard):
                raise
        return self._sent(method, url, where, headers, content)

    def _sent(
        self, method: str, url: str | httpx.URL, where: str, headers: Mapping[str, str] | None, content: bytes | None
    ) -> Answer:
        if self._login is not None:
            self._credentials = self._login.current()
            _check_credentials(self._credentials)
        self._deadline.start(self._limits.total)
        target = checked_url(str(url))
        trusted = True
        for _ in range(self._limits.redirects + 1):
            # Once a chain has left the named origins, credentials stay off even if it comes back.
            trusted = trusted and self.is_named(target)
            answer = self._hop(method, target, where, headers or {}, content, trusted=trusted)
            if isinstance(answer, Answer):
                return answer
            if method not in {"GET", "HEAD"}:
                raise GiveUp("the server redirects a request that sends data", code="redirect_refused", where=where)
            target = self._followed(target, answer, where)
        message = f"more than {self._limits.redirects} redirects"
        raise GiveUp(message, code="too_many_redirects", where=where, advice=f"check {self._names.address}")

    def close(self) -> None:
        self._pool.close()

    def _followed(self, current: httpx.URL, location: str, where: str) -> httpx.URL:
        problem = ""
        target = current
        try:
            target = checked_url(str(current.join(location)))
        except (httpx.InvalidURL, ValueError, GiveUp):
            problem = "to something that is no plain http or https address"
        if current.scheme == "https" and target.scheme == "http":
            problem = "from https to http"
        if problem:
            raise GiveUp(f"the server redirects {problem}", code="redirect_refused", where=where)
        return self.without_credentials(target)

    def _hop(
        self,
        method: str,
        url: httpx.URL,
        where: str,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        trusted: bool,
    ) -> Answer | str:
        """One request: its answer, or where it is redirected to."""
        if self._gate is not None:
            self._gate.enter(where)
        self._heard = (0, 0.0)
        about = {"http.method": method, "hive.where": where, **({"server.address": url.host} if trusted else {})}
        with span("connector.rest.request", about) as tell:
            try:
                return self._exchanged(self._built(method, url, headers, content, trusted=trusted), url, where)
            finally:
                tell({"http.status_code": self._heard[0]})
                if self._gate is not None:
                    self._gate.leave(self._heard[0], self._headers)

    def _exchanged(self, request: httpcore.Request, url: httpx.URL, where: str) -> Answer | str:
        problem: SourceError
        self._headers = httpx.Headers()
        try:
            response = self._pool.handle_request(request)
            progress.step()
            try:
                return self._judged(response, url, where)
            finally:
                response.close()
        except SourceError:
            raise
        except httpcore.TimeoutException:
            problem = RetryLater("the server does not answer in time", code="timeout", where=where)
        except httpcore.LocalProtocolError:
            problem = GiveUp("the request holds what HTTP does not allow", code="bad_request", where=where)
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            problem = lost(error, where, self._names.address)
        except zlib.error:
            problem = GiveUp("the body is not the gzip it says it is", code="bad_encoding", where=where)
        raise problem  # outside the handlers: the libraries' own errors quote headers and the server's bytes

    def _built(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | None, *, trusted: bool
    ) -> httpcore.Request:
        sent = {"User-Agent": "worker-bees", "Accept-Encoding": "gzip", **headers}
        if trusted:
            sent.update(self._credentials.headers)
            if self._credentials.params:
                url = url.copy_merge_params(dict(self._credentials.params))
            if self._login is not None:
                sent.update(self._login.signed(method, url, content))
        made = httpx.Request(method, url, headers=sent, content=content)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        timeout = {"connect": self._limits.connect, "read": self._limits.read, "write": self._limits.read, "pool": 1.0}
        extensions = {"timeout": timeout}
        return httpcore.Request(method, target, headers=made.headers.raw, content=made.stream, extensions=extensions)

    def _judged(self, response: httpcore.Response, url: httpx.URL, where: str) -> Answer | str:
        self._headers = headers = httpx.Headers(response.headers)
        clock = instant(headers.get("date", ""))
        self._heard = response.status, 0.0 if clock is None else clock - time.time()
        if response.status in _REDIRECTS and "location" in headers:
            return headers["location"]
        says = response.status in SAYING and response.status not in self._also
        said = _beginning(response, headers) if says else b""
        problem = verdict(response.status, headers, where, self._credentials.option, self._names.address, said)
        if problem and response.status not in self._also:
            raise problem
        return Answer(response.status, headers, self._body(response, headers, where), self.without_credentials(url))

    def _body(self, response: httpcore.Response, headers: httpx.Headers, where: str) -> bytes:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "", "gzip", "x-gzip"}:
            raise GiveUp("the body comes in an encoding that was not asked for", code="bad_encoding", where=where)
        stream = response.iter_stream()
        body = io.BytesIO()  # gives its bytes away without a copy of them
        for piece in _gunzip(stream) if "gzip" in encoding else stream:
            body.write(piece)
            if body.tell() > self._limits.body:
                advice = "ask for smaller pages (pagination.size), or raise max_body_bytes"
                message = f"the body is larger than {self._limits.body} bytes"
                raise GiveUp(message, code="body_too_large", where=where, advice=advice)
        return body.getvalue()


def _beginning(response: httpcore.Response, headers: httpx.Headers) -> bytes:
    """How a body begins, as far as it can be read."""
    found = bytearray()
    with suppress(zlib.error, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        stream = response.iter_stream()
        for piece in _gunzip(stream) if "gzip" in headers.get("content-encoding", "") else stream:
            found += piece
            if len(found) >= _STEP:
                break
    return bytes(found[:_STEP])


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decode in small steps, so that a bomb meets the limit long before it has gone off. One layer, many members."""
    decoder, started = zlib.decompressobj(31), False
    for chunk in chunks:
        rest = chunk
        while rest:
            started = True
            yield decoder.decompress(rest, _STEP)
            rest = decoder.unconsumed_tail
            if decoder.eof:
                rest, decoder, started = decoder.unused_data, zlib.decompressobj(31), False
    if started:
        yield decoder.flush(_STEP)
        if not decoder.eof:
            raise zlib.error


def _check_credentials(credentials: Credentials) -> None:
    for value in (*credentials.headers, *credentials.headers.values()):
        if not (value.isascii() and value.isprintable()):
            message = "a credential or header holds characters that HTTP does not allow (a line break at its end?)"
            raise GiveUp(message, code="bad_credentials", advice=f"check {credentials.option}")


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def basic(username: str, password: str) -> str:
    """The value of an Authorization header; text is sent as UTF-8."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
