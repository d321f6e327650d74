"""Records of a SOAP service: an operation is called page by page, and a list in its answer holds the records.

    type: soap
    source:
      wsdl: https://erp.example.com/orders?wsdl
      token: {username: reader, password: "${ERP_PASSWORD}"}     # WS-Security; `auth` is that of HTTP
    streams:
      orders:
        operation: FindOrders
        arguments: {company: 10, changedSince: "{{ state.since }}"}
        records: orders.order
        key: orderId
        cursor: changedAt
        pagination: {type: page, page_param: pageNumber, size: 500, size_param: pageSize}

The parameters of `pagination` are arguments of the operation; `paging.page` is an argument inside of another. Values
come in the types that the service's description gives them. Document types are refused; the description is read from
the origins that the operator named, and the operations are asked there.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, JsonValue, SecretStr, field_validator, model_validator

from bees.core.address import OptionNames
from bees.core.bee import BeeOptions, KeyColumns, Name, StreamName
from bees.core.cursors import less
from bees.core.errors import GiveUp
from bees.core.footing import SAME, Footing
from bees.core.http import Answer, HttpClient, checked_url
from bees.core.paging import Pagination, Reading, began, circle, next_page, page_params
from bees.core.paths import put
from bees.core.resilience.gate import GatedBee
from bees.core.rest import template
from bees.core.rest.client import HttpOptions, named_stream, offered, open_client, patiently
from bees.core.soap.values import items
from nectar.batch import Batch, Cursor
from nectar.jsonrows import sift, table
from nectar.pollen import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bees.core.http import Gate
    from bees.core.soap.service import Service

_NAMES = OptionNames("wsdl", networks="allow_networks", origins="allow_origins")
_SCOPES = ("state",)


class Token(BeeOptions):
    """A UsernameToken of WS-Security."""

    username: str = Field(description="who asks")
    password: SecretStr = Field(description="its password")
    digest: bool = Field(False, description="send a digest of the password instead of itself")


class StreamOptions(BeeOptions):
    """One operation that lists records."""

    operation: Name = Field(description="its name, such as FindOrders")
    arguments: dict[Name, JsonValue] = Field(
        default_factory=dict, description="what it is called with; {{ state.since }} is the highest cursor seen so far"
    )
    records: Name | None = Field(
        None, description="dotted path to the list in the answer; unset: the answer, or its only list"
    )
    key: KeyColumns = Field((), description="field or fields that identify a record")
    cursor: Name | None = Field(None, description="field that only grows, such as changedAt")
    start: str | int | None = Field(None, description="{{ state.since }} of the very first pass; left out if unset")
    lookback: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="state.since begins so far before it: seconds, or steps"
    )
    pagination: Pagination = Field(
        Pagination(type="none"), description="how the list is cut into pages: none, page, offset or cursor"
    )

    @property
    def incremental(self) -> bool:
        return "state.since" in json.dumps(self.arguments)

    @model_validator(mode="after")
    def _whole(self) -> StreamOptions:
        if self.pagination.type == "link":
            raise ValueError("pagination: a SOAP service has no links: page, offset, cursor or none")
        if self.pagination.until == "seen":
            raise ValueError("pagination.until: empty or short")
        if self.incremental and not self.cursor:
            raise ValueError("{{ state.since }} needs cursor: the field whose highest value it takes")
        wrong = list(template.problems(self.arguments, _SCOPES, {}))
        if wrong:
            raise ValueError(wrong[0])
        return self


class SoapOptions(HttpOptions):
    wsdl: str = Field(description="address of the service's description, such as https://erp.example.com/orders?wsdl")
    address: str | None = Field(None, description="where the operations are asked; unset: as the description says")
    allow_origins: tuple[str, ...] = Field((), description="other origins that the description may lead to")
    service: Name | None = Field(None, description="of the description's services; the first if unset")
    port: Name | None = Field(None, description="of the service's ports; the first of SOAP if unset")
    token: Token | None = Field(None, description="{username, password, digest}: a UsernameToken of WS-Security")
    unfit_values: Literal["refuse", "null"] = Field(
        "refuse", description="a value that does not fit its described type: refuse the page, or read it as null"
    )
    max_pages: int = Field(1_000_000, gt=0, description="pages of one pass; a listing with more never ends")
    max_elements: int = Field(100_000, gt=0, description="elements of one answer, which is read as a whole")
    streams: dict[StreamName, StreamOptions] = Field(min_length=1, description="what to read, by name")

    @field_validator("wsdl", "address")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        try:
            checked_url(value or "http://unset")
        except GiveUp as error:
            raise ValueError(str(error)) from None
        return value


class SoapBee(GatedBee):
    """Reads listings of one SOAP service."""

    bee_type = "api"
    Options = SoapOptions

    def __init__(
        self, options: SoapOptions, *, sleep: Callable[[float], None] = time.sleep, gate: Gate | None = None
    ) -> None:
        super().__init__(options)
        self._options = options
        self._sleep = sleep
        self._gate = gate
        self._client: HttpClient | None = None
        self._opened: Service | None = None

    def through(self, gate: Gate) -> None:
        self._gate = gate

    def validate_flight_path(self) -> None:
        """Read the description, and each stream's first page, of one row where a size can be asked."""
        for name, stream in self._options.streams.items():
            where = f"stream {name}, page 1"
            self._page(stream, Reading(), {}, where, size=1)

    def get_pollen_schema(self) -> Sequence[Stream]:
        return [
            offered(name, stream.key, stream.cursor, followed=stream.incremental)
            for name, stream in self._options.streams.items()
        ]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """One batch a page. `query` holds arguments of this read alone; they win over the stream's own."""
        chosen, reading = named_stream(self._options.streams, stream), Reading.of(cursor)
        reading.forget_ahead(time.time())
        try:
            yield from self._pages(stream, chosen, reading, query or {})
        except GiveUp as error:
            if error.code == "pagination_loop":
                # Whoever went on from here would come round again for ever, also once the service is mended.
                yield Batch(stream, table([]), reading.beginning().cursor())
            raise

    def _pages(self, stream: str, chosen: StreamOptions, reading: Reading, query: Mapping[str, Any]) -> Iterator[Batch]:
        told = (*chosen.key, chosen.cursor) if chosen.key and chosen.cursor else ()
        footing = Footing(chosen.pagination, told, followed=chosen.incremental, claims=not chosen.incremental)
        following = True
        while following:
            where = f"stream {stream}, page {reading.page}"
            asked = time.time()
            found, answer, body = self._page(chosen, reading, query, where, footing=footing)
            same, before = reading.same_body(answer.body), footing.came_before(reading, footing.ends(found), len(found))
            unmoved = same and found and not footing.watched(reading)
            if (unmoved or before > SAME) and chosen.pagination.type in ("page", "offset"):
                raise circle("the service gives the same page again", where)
            reading.clock = reading.clock or began(answer.headers, asked)
            moved = self._moved(chosen, reading, query, where, footing, found)
            known = None if moved is None else footing.joined(reading, found)
            if known is None:
                if moved is not None:
                    footing.back(reading)
                continue
            at = footing.place(reading)
            place, _ = next_page(chosen.pagination, answer, body, found, at, reading.longest)
            place = None if len(found) == known and chosen.pagination.type == "offset" else place
            reading.count(len(found), self._options.max_pages, where)
            rows, rejects = sift([*(moved or ()), *found[known:]], where)
            if chosen.cursor and chosen.incremental:
                reading.note([row.get(chosen.cursor) for row in rows])
            following = place is not None
            complete = not following and reading.since is None and not reading.loose and not query
            if following:
                footing.passed(reading, footing.ends(found), len(found), known, place, answer.url)
                reading.advance(place, where)
            else:
                reading.tell_ahead(stream)
                reading.finish()
            yield Batch(stream, table(rows), reading.cursor(), None, complete, tuple(rejects))

    def _moved(
        self,
        stream: StreamOptions,
        reading: Reading,
        query: Mapping[str, Any],
        where: str,
        footing: Footing,
        found: list[Any],
    ) -> list[Any] | None:
        """The page before `found` once more, if rows have moved into it; None: reading went back, as it is gone."""
        if not footing.looks_back(reading, found):
            return []
        before, _, _ = self._page(stream, replace(reading, at=reading.back), query, where)
        moved = footing.moved(reading, before)
        if moved is None:
            footing.back(reading)
            return None
        return before if moved else []

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": list(self._options.streams)}

    def source_identity(self) -> str:
        """The description's address without its query, which may hold a key."""
        return f"soap {self._options.wsdl.partition('?')[0]}"

    def stream_identity(self, stream: str) -> str:
        chosen = named_stream(self._options.streams, stream)
        options = self._options
        parts = [options.service, options.port, chosen.operation, chosen.arguments, chosen.records]
        asked = hashlib.sha256(options.wsdl.partition("?")[2].encode()).hexdigest()[:16]
        return json.dumps([*parts, asked], sort_keys=True)

    def close(self) -> None:
        if self._client:
            self._client.close()
        self._client = self._opened = None

    def _page(
        self,
        stream: StreamOptions,
        reading: Reading,
        query: Mapping[str, Any],
        where: str,
        *,
        size: int | None = None,
        footing: Footing | None = None,
    ) -> tuple[list[Any], Answer, Any]:
        """The records of a page, the answer that they came in, and the whole of what it says."""
        since = stream.start if reading.since is None else less(reading.since, stream.lookback)
        arguments = dict(template.fill(stream.arguments, {"state": {"since": since, "until": None, "token": None}}))
        place = footing.place(reading) if footing else reading.at
        for name, value in page_params(stream.pagination, place, size).items():
            put(arguments, name, value)
        told = self._service().call(stream.operation, {**arguments, **query}, where)
        found = items(told.body, stream.records)
        if found is None:
            problem = (
                f"no list stands at '{stream.records}'" if stream.records else "the answer holds not just one list"
            )
            raise GiveUp(problem, code="no_records", where=where, advice="set records: the dotted path to the list")
        return found, told.answer, told.body

    def _service(self) -> Service:
        if self._opened is None:
            try:
                from zeep.wsse.username import UsernameToken

                from bees.core.soap.service import Service
            except ImportError:
                message = "the library for SOAP is not installed"
                raise GiveUp(message, code="missing_driver", advice="pip install 'worker-bees[soap]'") from None
            given = self._options
            origins = (*given.allow_origins, *([given.address] if given.address else []))
            self._client = self._client or open_client(given, given.wsdl, _NAMES, origins, self._gate)
            token = None
            if given.token:
                password = given.token.password.get_secret_value()
                token = UsernameToken(given.token.username, password, use_digest=given.token.digest)
            self._opened = Service(
                self._client, self._asked, given.wsdl, address=given.address, service=given.service, port=given.port,
                token=token, nulls=given.unfit_values == "null", most=given.max_elements,
            )  # fmt: skip
        return self._opened

    def _asked(
        self,
        method: str,
        url: str,
        *,
        where: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        also: tuple[int, ...] = (),
    ) -> Answer:
        assert self._client is not None
        return patiently(
            self._client, method, url, where=where, headers=headers, content=content, options=self._options,
            sleep=self._sleep, also=also,
        )  # fmt: skip
