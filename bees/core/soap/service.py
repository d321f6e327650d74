"""One SOAP service in the hand: its description, and calls of its operations, all through the guarded client.

zeep reads the description (WSDL, XSD) and makes and reads the messages; not one byte goes out by its own means. What it
says in its log holds values, so nothing of that is kept; but a value that does not fit its described type, which zeep
makes null with a word in that log, is counted.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from zeep import Client, Settings
from zeep.exceptions import Error, Fault, ValidationError
from zeep.helpers import serialize_object
from zeep.proxy import ServiceProxy
from zeep.transports import Transport
from zeep.wsdl.bindings.soap import SoapBinding
from zeep.wsse.username import UsernameToken

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.http import Answer, HttpClient, checked_url
from bees.core.http_verdict import verdict
from bees.core.soap.values import plain

_SETTINGS = {"forbid_dtd": True, "forbid_entities": True, "force_https": False}
_FAILED = (500,)
"""A fault comes with this status; its body says whose fault it is."""
_THEIRS = {"server", "receiver"}
"""What fault codes end in when it is not the request that is wrong: SOAP 1.1 4.4.1, SOAP 1.2 5.4.6."""
_SHOWN = 20

Ask = Callable[..., Answer]
"""Sends a request: (method, url, where=, headers=, content=, also=)."""


class _Unfit(logging.Filter):
    """Counts the values of this thread that zeep could not read, and keeps its words out of every log."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            self.seen.count = self.count + 1
        return False

    @property
    def count(self) -> int:
        return int(getattr(self.seen, "count", 0))


_UNFIT = _Unfit()
for _name in ("zeep.xsd.types.simple", "zeep.xsd.elements.attribute"):
    logging.getLogger(_name).addFilter(_UNFIT)
logging.getLogger("zeep").setLevel(logging.ERROR)


@dataclass
class _Response:
    """As much of requests' as zeep looks at."""

    status_code: int
    headers: httpx.Headers
    content: bytes = field(repr=False)
    encoding: str | None = None


class _Guarded(Transport):  # type: ignore[misc]
    """zeep's way out, which is ours. Descriptions come from addresses that the operator named alone."""

    def __init__(self, client: HttpClient, ask: Ask) -> None:  # without requests' session, which nobody guards
        self.cache = None
        self.logger = logging.getLogger("zeep.transports")
        self._close_session = False
        self._client = client
        self._ask = ask
        self.where = "wsdl"
        self.most = 0
        self.last: Answer | None = None

    def load(self, url: str) -> bytes:
        self._named(url, "the description leads to another origin")
        return self._ask("GET", url, where="wsdl", headers={"Accept": "text/xml, application/xml"}).body

    def post(self, address: str, message: bytes | str, headers: Mapping[str, str]) -> _Response:
        content = message.encode() if isinstance(message, str) else message
        self.last = self._ask("POST", address, where=self.where, headers=headers, content=content, also=_FAILED)
        if self.last.status in _FAILED and "xml" not in self.last.headers.get("content-type", "").lower():
            problem = verdict(self.last.status, self.last.headers, self.where)
            assert problem is not None
            raise problem
        if self.last.body.count(b"</") + self.last.body.count(b"/>") > self.most:
            message = f"the answer holds more than {self.most:,} elements, and is read as a whole"
            advice = "ask for smaller pages (pagination.size), or raise max_elements: each takes 500 bytes of memory"
            raise GiveUp(message, code="too_many_values", where=self.where, advice=advice)
        return _Response(self.last.status, self.last.headers, self.last.body)

    def _named(self, url: str, problem: str) -> None:
        if not self._client.is_named(checked_url(url)):
            advice = "if it is meant to, list that origin in allow_origins"
            raise GiveUp(problem, code="foreign_link", where="wsdl", advice=advice)


@dataclass(frozen=True)
class Told:
    """What an operation gave: plain values, and the answer that they came in."""

    body: Any
    answer: Answer


class Service:
    """The operations of one port. Made of its description, which is read at once. Raises SourceError."""

    def __init__(
        self,
        client: HttpClient,
        ask: Ask,
        wsdl: str,
        *,
        address: str | None = None,
        service: str | None = None,
        port: str | None = None,
        token: UsernameToken | None = None,
        nulls: bool = False,
        most: int = 100_000,
    ) -> None:
        self._transport = _Guarded(client, ask)
        self._transport.most = most
        self._nulls = nulls
        self._client = _said(lambda: Client(wsdl, token, self._transport, settings=Settings(**_SETTINGS)), "wsdl")
        chosen = _port(self._client, service, port)
        found = address or chosen.binding_options.get("address") or ""
        if not client.is_named(checked_url(found)):
            message = "the description names an address of another origin for its operations"
            advice = "set address to where the service is to be asked, or list that origin in allow_origins"
            raise GiveUp(message, code="foreign_link", where="wsdl", advice=advice)
        self._proxy = ServiceProxy(self._client, chosen.binding, **{**chosen.binding_options, "address": found})
        self.operations = tuple(name for name, _ in self._proxy)

    def check(self, operation: str, where: str) -> None:
        """Raises GiveUp for an operation that the service does not have."""
        if operation not in self.operations:
            advice = f"the service has: {_names(self.operations)}"
            raise GiveUp(f"no operation is named '{operation}'", code="no_operation", where=where, advice=advice)

    def call(self, operation: str, arguments: Mapping[str, Any], where: str) -> Told:
        """Call an operation. Raises SourceError; a service's own words are not repeated."""
        self.check(operation, where)
        self._transport.where, before = where, _UNFIT.count
        result = _said(lambda: self._proxy[operation](**arguments), where)
        if _UNFIT.count != before and not self._nulls:
            message = "a value does not fit the type that the service's own description gives it"
            advice = "set unfit_values: null to read such values as null"
            raise GiveUp(message, code="unfit_value", where=where, advice=advice)
        assert self._transport.last is not None
        return Told(plain(serialize_object(result, dict)), self._transport.last)


def _port(client: Any, service: str | None, port: str | None) -> Any:
    """The port that is named, or the first one of SOAP."""
    services = client.wsdl.services
    if not services or (service is not None and service not in services):
        message = f"no service is named '{service}'" if service else "the description holds no service"
        raise GiveUp(message, code="no_service", where="wsdl", advice=f"it has: {_names(services)}" if services else "")
    ports = services[service or next(iter(services))].ports
    if port is not None and port not in ports:
        advice = f"the service has: {_names(ports)}"
        raise GiveUp(f"no port is named '{port}'", code="no_service", where="port", advice=advice)
    chosen = [ports[port]] if port else ports.values()
    wanted = [one for one in chosen if isinstance(one.binding, SoapBinding)]
    if not wanted:
        raise GiveUp("the service has no port of SOAP over HTTP", code="not_soap", where="wsdl", advice="check service")
    return wanted[0]


def _said(call: Callable[[], Any], where: str) -> Any:
    """What zeep gives, or its error in our words: its own quote the server, and what was sent."""
    problem: SourceError
    try:
        return call()
    except SourceError:
        raise
    except Fault as fault:
        problem = _fault(str(fault.code or ""), where)
    except (ValidationError, TypeError):
        advice = "compare the stream's arguments with the description of the operation"
        problem = GiveUp("the arguments do not fit the operation", code="bad_arguments", where=where, advice=advice)
    except (Error, LookupError, ValueError, AttributeError, NotImplementedError):
        advice = "check wsdl: is this the description of a SOAP service? And address, if it is set"
        problem = GiveUp("what the service says is no SOAP", code="not_soap", where=where, advice=advice)
    raise problem


def _fault(code: str, where: str) -> SourceError:
    """By whose fault it is. The last word of `soap:Server`, `{...}Receiver`, `Client.Authentication` decides."""
    words = code.rpartition("}")[2].rpartition(":")[2].lower().split(".")
    if any("auth" in word for word in words[1:]):
        return GiveUp("the credentials are refused", code="denied", where=where, advice="check auth or token")
    if words[0] in _THEIRS:
        return RetryLater("the service answers with a fault of its own", code="server_error", where=where)
    advice = "try the operation by hand; look at its arguments"
    return GiveUp("the service refuses the request with a fault", code="error_inside", where=where, advice=advice)


def _names(found: Any) -> str:
    """Names out of a description, those that are plain words; a server wrote them."""
    plain_ = [name for name in map(str, found) if name.replace("_", "").replace(".", "").isalnum() and len(name) < 80]
    return ", ".join(itertools.islice(sorted(plain_), _SHOWN)) or "nothing with a plain name"
