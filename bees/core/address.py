"""Which addresses a bee may dial: the one guard that every outbound connection passes.

A name is resolved once, every address it has is checked, and the checked address itself is dialled: a name that
answers differently a moment later (DNS rebinding) changes nothing. Host and SNI stay those of the name.

  public       always
  private      only hosts that the operator named, and only with `allow_private: true` or in `allow_networks`
  never        link-local and cloud metadata, multicast, reserved: nothing that a bee reads lives there
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

import httpcore

from bees.core.errors import GiveUp, RetryLater

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

Address = IPv4Address | IPv6Address
Origin = tuple[str, str, int]
"""Scheme, host and port."""

_PATIENCE = 30.0
"""Seconds for a name to be resolved."""
_NEVER = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",  # link-local; AWS, Google, Azure and others serve credentials at 169.254.169.254
            "fe80::/10",
            "fd00:ec2::/32",  # AWS metadata over IPv6
            "fd20:ce::/32",  # Google's
            "100.100.100.200/32",  # Alibaba's
            "168.63.129.16/32",  # Azure's wire server, in public space
            "192.0.0.192/32",  # Oracle's older one
            "0.0.0.0/8",  # "this host": Linux takes it for loopback
            "::/128",
            "64:ff9b:1::/48",  # NAT64 of somebody's own network: which IPv4 address is meant, only they know
        ),
    )
)
_PRIVATE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "127.0.0.0/8",
            "100.64.0.0/10",
            "198.18.0.0/15",
            "::1/128",
            "fc00::/7",
        ),
    )
)
_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")  # IPv4 addresses as they were written in IPv6 before 2006


@dataclass(frozen=True)
class Allowed:
    """Private addresses that a source may have: those of a network, at one port or at any."""

    network: IPv4Network | IPv6Network
    port: int | None = None

    @classmethod
    def of(cls, text: str) -> Allowed:
        """`10.20.0.0/16`, `10.20.0.5:8443`, `[fd12::/16]:443`. Raises ValueError that says how it is written."""
        found = _ALLOWED.fullmatch(text.strip())
        try:
            network = ip_network((found["six"] or found["four"] or found["plain"]) if found else "")
        except ValueError:
            network = None
        port = int(found["port"]) if found and found["port"] else None
        if network is None or (port is not None and not 0 < port < 65_536):
            raise ValueError("a network is written as 10.20.0.0/16, 10.20.0.5:8443 or [fd12::/16]:443")
        return cls(network, port)

    def holds(self, address: Address, port: int) -> bool:
        return _within(address, (self.network,)) and self.port in (None, port)


_ALLOWED = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?)\]|(?P<four>[0-9.]+(?:/[0-9]{1,2})?))(?::(?P<port>[0-9]{1,5}))?"
    r"|(?P<plain>[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?)"
)


def system_resolve(host: str, port: int) -> list[str]:
    """Every address of a name, in the system's order of preference; forms such as `0x7f.1` come out as plain ones."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class OptionNames:
    """What a connector calls the options that say where it may go; empty: it has none such."""

    address: str = "host"
    private: str = "allow_private"
    networks: str = ""
    origins: str = ""


@dataclass(frozen=True)
class AddressPolicy:
    """What may be dialled for one source. `named` are the origins that the operator wrote down.

    With `networks` a private address must lie in one of them, whether `allow_private` is set or not.
    """

    named: frozenset[Origin] = frozenset()
    allow_private: bool = False
    resolve: Callable[[str, int], Sequence[str]] = system_resolve
    networks: tuple[Allowed, ...] = ()
    options: OptionNames = field(default_factory=OptionNames)

    def addresses(self, host: str, port: int, seconds: float = _PATIENCE) -> list[str]:
        """The addresses of a host, all of them allowed; otherwise GiveUp says which option would allow it.

        Raises RetryLater where the name is not resolved within `seconds`.
        """
        found = self._resolved(host, port, seconds)
        if not found:
            message = "the name of the server has no address"
            advice = f"check {self.options.address}"
            raise RetryLater(message, code="unknown_host", where=self._shown(host), advice=advice)
        for address in found:
            self._check(address, host, port)
        return found

    def _resolved(self, host: str, port: int, seconds: float) -> list[str]:
        """In a thread of its own: the system waits for its name servers as long as it likes, and cannot be stopped."""
        found: list[str] = []
        failures: list[Exception] = []

        def ask() -> None:
            try:
                with suppress(OSError, UnicodeError):
                    found.extend(self.resolve(host, port))
            except Exception as error:  # noqa: BLE001 - raised again by who asked
                failures.append(error)

        if _is_address(host):
            with suppress(OSError, UnicodeError):
                found.extend(self.resolve(host, port))
            return found
        asking = threading.Thread(target=ask, name="resolve", daemon=True)
        asking.start()
        asking.join(seconds)
        if asking.is_alive():
            message = "the name of the server is not resolved in time"
            raise RetryLater(message, code="timeout", where=self._shown(host), advice="check the system's name servers")
        if failures:
            raise failures[0]
        return found

    def _check(self, text: str, host: str, port: int) -> None:
        address = ip_address(text)
        if getattr(address, "scope_id", None):
            raise self._never(host)
        for inner in (address, *_embedded(address)):
            if _within(inner, _NEVER):
                raise self._never(host)
            if _within(inner, _PRIVATE):
                self._check_private(inner, host, port)
            elif not inner.is_global or inner.is_multicast:
                raise self._never(host)

    def _check_private(self, address: Address, host: str, port: int) -> None:
        # A server may send us from http to https of itself, not to whatever else listens beside it.
        named = any(host == known and port in (number, 80, 443) for _, known, number in self.named)
        listed = any(allowed.holds(address, port) for allowed in self.networks)
        if named and (listed or (self.allow_private and not self.networks)):
            return
        names = self.options
        advice = f"set {names.private}: true if this source is meant to be on a private network"
        if self.networks and names.networks:
            advice = f"list its network, and its port if ports are given, in {names.networks}"
        if not named:
            advice = f"check {names.address}: the source leads somewhere else"
            if names.origins:
                advice = (
                    f"list its origin in {names.origins} and set {names.private}: true if the source may lead there"
                )
        raise GiveUp(
            "the address is private or loopback", code="private_address", where=self._shown(host), advice=advice
        )

    def _never(self, host: str) -> GiveUp:
        advice = "no option allows it: name the server by another address"
        message = "the address is link-local, metadata or reserved, and is never dialled"
        return GiveUp(message, code="forbidden_address", where=self._shown(host), advice=advice)

    def _shown(self, host: str) -> str:
        # A host that only a server named is that server's own text, which no message repeats.
        return host if any(host == known for _, known, _ in self.named) else "the host of a redirect or link"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _within(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 one stands for: a gateway would dial them."""
    if isinstance(address, IPv4Address):
        return []
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    if address in _COMPATIBLE and int(address) > 1:
        return [IPv4Address(int(address))]
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    return [inner for inner in found if inner is not None]


@dataclass
class Deadline:
    """The end of one whole request, however slowly its bytes drip."""

    ends: float = field(default=float("inf"))

    def start(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds

    def left(self, timeout: float | None) -> float:
        """How long the next step may take. Raises httpcore's ReadTimeout when nothing is left."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if timeout is None else min(left, timeout)


class GuardedBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore: checked addresses only, within the deadline."""

    def __init__(self, policy: AddressPolicy, deadline: Deadline) -> None:
        self._policy = policy
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError()
        for address in self._policy.addresses(host, port, self._deadline.left(timeout)):
            left = self._deadline.left(timeout)
            try:
                stream = self._plain.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return TimedStream(stream, self._deadline)
        raise failure


class TimedStream(httpcore.NetworkStream):
    """A connection whose every read and write ends with the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return TimedStream(inner, self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
