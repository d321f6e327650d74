"""Connections to file servers and object stores: each is dialled at an address that the guard has checked.

`dial` gives a connected socket; libraries over urllib3 (botocore, requests) get connection classes that dial so.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bees.core.address import AddressPolicy, Origin, system_resolve
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.http_verdict import retry_after

if TYPE_CHECKING:
    import requests

    from bees.core.storage.base import Storage

_SAID = 64 << 10
"""Bytes of an error that are read."""


def policy_for(
    scheme: str,
    host: str,
    port: int,
    *,
    allow_private: bool,
    resolve: Callable[[str, int], Sequence[str]] = system_resolve,
) -> AddressPolicy:
    named: frozenset[Origin] = frozenset({(scheme, host, port)})
    return AddressPolicy(named, allow_private, resolve)


def addresses(policy: AddressPolicy, host: str, port: int, option: str) -> list[str]:
    """Checked addresses of a host; `option` is the field that names it. Raises RetryLater or GiveUp."""
    try:
        return policy.addresses(host, port)
    except RetryLater:
        message = "the name of the server has no address"
        raise RetryLater(message, code="unknown_host", where=option, advice=f"check `{option}`") from None


def dial(policy: AddressPolicy, host: str, port: int, timeout: float, option: str = "host") -> socket.socket:
    """A connection. Raises RetryLater (`unreachable`) or GiveUp (an address that is not allowed)."""
    for address in addresses(policy, host, port, option):
        try:
            return socket.create_connection((address, port), timeout)
        except OSError:
            continue
    raise unreachable(option)


def unreachable(option: str) -> RetryLater:
    advice = f"check `{option}`, and that the server runs"
    return RetryLater("no connection to the server", code="unreachable", where=option, advice=advice)


def lost(option: str) -> RetryLater:
    """In the middle of an answer, or of what was asked: the server was there."""
    return RetryLater("the connection broke", code="connection_lost", where=option)


def denied(option: str = "auth") -> GiveUp:
    advice = f"check `{option}` and the rights behind it"
    return GiveUp("the credentials are refused", code="denied", where=option, advice=advice)


def redirected() -> GiveUp:
    """Of an object store: it answers itself or not at all, and nobody else is shown a signed request."""
    advice = "write where it leads into `endpoint`, if it is meant"
    return GiveUp("the server redirects to another place", code="redirected", where="endpoint", advice=advice)


def busy(what: str, headers: Mapping[str, str] | None) -> RetryLater:
    """`what` asks for fewer requests; its headers may say when to ask again."""
    told = {name.lower(): value for name, value in (headers or {}).items()}
    after = retry_after(told) or 5.0
    return RetryLater(f"the {what} asks for fewer requests", code="rate_limited", where=what, after=after)


def pool_classes(policy: AddressPolicy, base: dict[str, Any], option: str, storage: Storage) -> dict[str, Any]:
    """urllib3's pool classes by scheme, made to dial checked addresses only. `base` are those of the library.

    Each request passes the gate that `storage` has by then.
    """
    return {scheme: _guarded(pool, policy, option, storage) for scheme, pool in base.items()}


def _guarded(pool: Any, policy: AddressPolicy, option: str, storage: Storage) -> Any:
    from urllib3.exceptions import NewConnectionError
    from urllib3.util import connection

    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            failure: Exception | None = None
            for address in addresses(policy, self._dns_host, self.port, option):
                try:
                    return connection.create_connection(
                        (address, self.port), self.timeout, source_address=self.source_address,
                        socket_options=self.socket_options,
                    )  # fmt: skip
                except OSError as error:
                    failure = error
            raise NewConnectionError(self, "no address of the server answers") from failure

    class Guarded(pool):  # type: ignore[misc]
        ConnectionCls = Connection

        def urlopen(self, method: str, url: str, *given: Any, **named: Any) -> Any:
            if storage.gate is None:
                return super().urlopen(method, url, *given, **named)
            storage.gate.enter(option)
            status, headers = 0, {}
            try:
                response = super().urlopen(method, url, *given, **named)
                status, headers = response.status, response.headers
                return response
            finally:
                storage.gate.leave(status, headers)

    return Guarded


def session(policy: AddressPolicy, option: str, connections: int, storage: Storage) -> requests.Session:
    """A session of requests that dials so, reads nothing of the environment and uses no proxy.

    `connections` are kept open. Who needs one more gets it: nobody waits for one that a library forgot to give back.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.poolmanager import pool_classes_by_scheme

    made = requests.Session()
    made.trust_env = False
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections)
    adapter.poolmanager.pool_classes_by_scheme = pool_classes(policy, pool_classes_by_scheme, option, storage)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    made.hooks["response"].append(_let_go)
    return made


def _let_go(response: Any, **_: Any) -> None:
    """Read what an error says, and give its connection back: Google's library does neither before it tries again."""
    from urllib3.exceptions import HTTPError

    if response.status_code >= 400 and not response._content_consumed:  # noqa: SLF001 - it has no public name
        said = b""
        with suppress(HTTPError, OSError):
            said = response.raw.read(_SAID, decode_content=True)
        response.raw.close()
        response.raw.release_conn()
        response._content, response._content_consumed = said, True  # noqa: SLF001


def cause(error: BaseException) -> SourceError | None:
    """The guard's own refusal, where a library wrapped it in an error of its own."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        if isinstance(current, SourceError):
            return current
        seen.append(current)
        inner = getattr(current, "kwargs", {}).get("error") if hasattr(current, "kwargs") else None
        current = inner or current.__cause__ or current.__context__
    return None
