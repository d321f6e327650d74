"""Records of a REST API: JSON over HTTP, in pages.

    type: rest
    source:
      base_url: https://desk.example.com/api
      auth: {method: bearer, token: "${DESK_TOKEN}"}
    streams:
      tickets: {path: /tickets, key: id, cursor: updated_at, cursor_param: updated_since}

Each page is one batch. A flight that stops goes on at the next page; a page that the source calls unchanged (ETag,
Last-Modified) is not read again, but for the last one, which may have got a successor; with `cursor` and
`cursor_param` only what is newer is asked for, less `lookback`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
from pydantic import AfterValidator, Field, SecretStr, model_validator

from bees.core.bee import BeeOptions, KeyColumns, Name, Seconds, StreamName, WorkerBee
from bees.core.errors import GiveUp, RetryLater
from bees.core.http import SHORTEST_WAIT, Answer, Credentials, HttpClient, Limits, basic, checked_url
from bees.core.paging import MISSING, Links, Pagination, Reading, circle, dig, highest, less, next_page, page_params
from nectar.batch import Batch, Cursor
from nectar.errors import SkipRecord
from nectar.jsonrows import escape, parse, sift, table
from nectar.pollen import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LONGEST_PAUSE = 5.0  # seconds of sleep for one page: a bee that is told to stop does so within seconds
_SECRET_WORDS = {
    *("auth", "authorization", "bearer", "cookie", "credential", "credentials", "jwt", "key", "apikey", "passwd"),
    *("password", "pwd", "secret", "session", "sid", "sig", "signature", "token"),
}


def _header_named(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError("a header's name is letters, digits and hyphens, such as X-Tenant")
    return name


HeaderName = Annotated[str, AfterValidator(_header_named)]


class Auth(BeeOptions):
    """How the bee proves who it is."""

    method: Literal["none", "bearer", "basic", "api_key"] = Field("none", description="none, bearer, basic or api_key")
    token: SecretStr | None = Field(None, description="bearer: the token")
    username: str = Field("", description="basic: the user")
    password: SecretStr | None = Field(None, description="basic: the password")
    key: SecretStr | None = Field(None, description="api_key: the key")
    header: HeaderName = Field("X-Api-Key", description="api_key: the header that takes the key")
    query_param: Name | None = Field(None, description="api_key: the query parameter that takes the key, not a header")

    @model_validator(mode="after")
    def _whole(self) -> Auth:
        given = {"bearer": self.token, "basic": self.password, "api_key": self.key}
        needs = {"bearer": "token", "basic": "password", "api_key": "key"}
        if self.method == "none" and any(given.values()):
            raise ValueError("a credential is given but no method: set method to bearer, basic or api_key")
        if self.method != "none" and given[self.method] is None:
            raise ValueError(f"method {self.method} needs {needs[self.method]}")
        if self.method == "basic" and (not self.username or ":" in self.username):
            raise ValueError("method basic needs a username, without a colon")
        return self

    def credentials(self, headers: Mapping[str, SecretStr]) -> Credentials:
        """What is sent; the operator's own headers go the same way, for they often hold a key."""
        sent = {name: value.get_secret_value() for name, value in headers.items()}
        params: dict[str, str] = {}
        option = "headers" if headers else "auth"
        if self.method == "bearer" and self.token:
            sent["Authorization"], option = f"Bearer {self.token.get_secret_value()}", "auth.token"
        elif self.method == "basic" and self.password:
            sent["Authorization"] = basic(self.username, self.password.get_secret_value())
            option = "auth.username and auth.password"
        elif self.method == "api_key" and self.key:
            target = params if self.query_param else sent
            target[self.query_param or self.header], option = self.key.get_secret_value(), "auth.key"
        return Credentials(sent, params, option)


class StreamOptions(BeeOptions):
    """One listing of the API."""

    path: Name = Field(description="path under base_url, such as /tickets")
    params: dict[Name, str | int | float | bool] = Field(default_factory=dict, description="query parameters")
    records: Name | None = Field(None, description="dotted path to the list; unset: the body, or its only list")
    key: KeyColumns = Field((), description="field or fields that identify a record")
    cursor: Name | None = Field(None, description="field that only grows, such as updated_at")
    cursor_param: Name | None = Field(None, description="query parameter that takes the highest cursor seen so far")
    lookback: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="what cursor_param asks for begins so far before the highest cursor: seconds for times, steps for "
        "numbers; for records that the source shows late, and free of cost: the hive knows unchanged ones",
    )
    pagination: Pagination = Field(default_factory=Pagination, description="how the listing is cut into pages")

    @model_validator(mode="after")
    def _whole(self) -> StreamOptions:
        if self.cursor_param and not self.cursor:
            raise ValueError("cursor_param needs cursor: the field whose highest value it takes")
        if self.lookback and not self.cursor_param:
            raise ValueError("lookback needs cursor_param: it is what the parameter's value is lessened by")
        return self


class Endpoints(BeeOptions):
    """The short form: paths alone."""

    health: Name | None = Field(None, description="path that answers 2xx when the API is well")
    data: tuple[Name, ...] = Field((), description="paths to read, each a stream named by its last segment")


class RestOptions(BeeOptions):
    base_url: str = Field(description="address of the API, such as https://desk.example.com/api")
    auth: Auth = Field(default_factory=Auth, description="how the bee proves who it is")
    headers: dict[HeaderName, SecretStr] = Field(
        default_factory=dict, description="headers of each request, kept secret"
    )
    timeout: Seconds = Field(60.0, description="seconds that one request may take in all")
    max_body_bytes: int = Field(16 * 2**20, gt=0, description="largest page, decoded")
    allow_private: bool = Field(False, description="the source is meant to be on a private network or this machine")
    allow_origins: tuple[str, ...] = Field((), description="other origins that links may lead to, with credentials")
    rate_limit_wait: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="seconds to sit out a rate limit before one page, 5 at most; longer ones come back later",
    )
    conditional: bool = Field(True, description="skip unchanged pages; false reads all, so that deletions show")
    endpoints: Endpoints = Field(default_factory=Endpoints, description="short form of streams")
    streams: dict[StreamName, StreamOptions] = Field(default_factory=dict, description="what to read, by name")

    @model_validator(mode="after")
    def _whole(self) -> RestOptions:
        problems = [f"{name}: {problem}" for name, url in self._addresses() if (problem := _problem(url))]
        problems += [f"path of {name} is a whole address: it belongs under base_url" for name in self._astray()]
        base = httpx.URL() if problems else httpx.URL(self.base_url)
        if base.query or base.fragment:
            problems.append("base_url: query parameters belong in the streams' params")
        names = [_last_segment(path) for path in self.endpoints.data]
        twice = {name for name in [*names, *self.streams] if [*names, *self.streams].count(name) > 1}
        problems += [f"two streams are named '{name}': describe them in streams" for name in sorted(twice)]
        if not names and not self.streams:
            problems.append("nothing to read: give streams, or endpoints.data")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _addresses(self) -> list[tuple[str, str]]:
        paths = {name: stream.path for name, stream in self.listings().items()}
        joined = [(f"path of {name}", _joined(self.base_url, path)) for name, path in paths.items()]
        return [("base_url", self.base_url), *(("allow_origins", url) for url in self.allow_origins), *joined]

    def _astray(self) -> list[str]:
        paths = {name: stream.path for name, stream in self.listings().items()}
        paths["endpoints.health"] = self.endpoints.health or ""
        return [name for name, path in paths.items() if "://" in path]

    def listings(self) -> dict[str, StreamOptions]:
        short = {_last_segment(path): StreamOptions(path=path) for path in self.endpoints.data}
        return {**short, **self.streams}


class RestBee(WorkerBee):
    """Reads the listings of one REST API."""

    bee_type = "api"
    Options = RestOptions

    def __init__(self, options: RestOptions, *, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(options)
        self._options = options
        self._sleep = sleep
        self._open: HttpClient | None = None

    def validate_flight_path(self) -> None:
        """Ask the health endpoint; without one, read each stream's first page, of one row where a size can be asked."""
        if self._options.endpoints.health:
            self._ask(_joined_url(self._options, self._options.endpoints.health), "endpoints.health", {})
            return
        for name, listing in self._options.listings().items():
            where = f"stream {name}, page 1"
            answer = self._ask(self._url(listing, Reading(), {}, size=1), where, {})
            _records(_body(answer, where), listing.records, where)

    def get_pollen_schema(self) -> Sequence[Stream]:
        """As the options say; an API cannot tell its columns before they are read."""
        return [
            Stream(
                name,
                key=tuple(map(escape, listing.key)),
                cursors=(escape(listing.cursor),) if listing.cursor else (),
                cursor=escape(listing.cursor) if listing.cursor and listing.cursor_param else None,
            )
            for name, listing in self._options.listings().items()
        ]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """One batch a page. `query` holds query parameters of this read alone; they win over the stream's own."""
        listing = self._listing(stream)
        reading = Reading.of(cursor)
        told = dict(cursor or {})
        ended = False
        while not ended:
            try:
                batch, ended = self._turn(stream, listing, reading, query or {})
            except GiveUp as error:
                if error.code == "pagination_loop":
                    # Whoever went on from here would come round again for ever, also once the source is mended.
                    yield Batch(stream, table([]), Reading(since=reading.since).cursor())
                raise
            if batch and (batch.table.num_rows or batch.rejects or batch.complete):
                told = dict(batch.cursor)
                yield batch
        if told != reading.cursor():
            yield Batch(stream, table([]), reading.cursor())

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": list(self._options.listings())}

    def source_identity(self) -> str:
        return f"rest {self._options.base_url.rstrip('/')}"

    def stream_identity(self, stream: str) -> str:
        """Method, path, parameters and headers; of a header the hash alone, for it may hold an unmarked secret."""
        listing = self._listing(stream)
        headers = {
            name.lower(): hashlib.sha256(value.get_secret_value().encode()).hexdigest()[:16]
            for name, value in self._options.headers.items()
            if not _secret(name)
        }
        url = _joined_url(self._options, listing.path)
        params = [*url.params.multi_items(), *sorted(listing.params.items())]
        plain = [(name, value) for name, value in params if not _secret(name)]
        return json.dumps(["GET", url.path, plain, None, headers, listing.records], sort_keys=True)

    def close(self) -> None:
        if self._open:
            self._open.close()
        self._open = None

    def _turn(
        self, stream: str, listing: StreamOptions, reading: Reading, query: Mapping[str, Any]
    ) -> tuple[Batch | None, bool]:
        """Read one page: its batch (None: unchanged), and whether it was the last."""
        where = f"stream {stream}, page {reading.page}"
        url = self._url(listing, reading, query)
        try:
            answer = self._ask(url, where, self._validators(listing, reading, url))
        except GiveUp as error:
            if error.code != "not_found" or not reading.short:
                raise
            reading.finish()  # some sources have no empty last page: after a short one they answer 404
            return None, True
        if answer.status == 304:
            return None, self._skip(listing, reading, answer, url, where)
        return self._read(stream, listing, reading, answer, url, where=where, partial=bool(query))

    def _validators(self, listing: StreamOptions, reading: Reading, url: httpx.URL) -> dict[str, str]:
        return reading.validators(url, listing.pagination) if self._options.conditional else {}

    def _skip(self, listing: StreamOptions, reading: Reading, answer: Answer, url: httpx.URL, where: str) -> bool:
        if not self._validators(listing, reading, url):
            raise GiveUp("the source calls a page unchanged, unasked", code="unexpected_status", where=where)
        paging = listing.pagination
        links = Links.of(answer.headers) if paging.type == "link" and not paging.cursor_path else Links()
        if links.following is not None:
            links = Links(told=True, following=self._followed(answer, links.following, where))
        following = reading.unchanged(url, links)
        if following is None:
            reading.finish()
        else:
            reading.short = False
            reading.advance(following, where)
        return following is None

    def _read(
        self,
        stream: str,
        listing: StreamOptions,
        reading: Reading,
        answer: Answer,
        url: httpx.URL,
        *,
        where: str,
        partial: bool,
    ) -> tuple[Batch, bool]:
        body = _body(answer, where)
        items = _records(body, listing.records, where)
        paging = listing.pagination
        if reading.same_body(answer.body) and items and paging.type in ("page", "offset"):
            raise circle("the source gives the same page again", where)
        rows, rejects = sift(items, f"page {reading.page}")
        following, told = next_page(paging, answer, body, len(items), reading.at)
        if paging.type == "link" and following is not None:
            following = self._followed(answer, following, where)
        reading.short = bool(paging.type == "page" and paging.size and len(items) < paging.size)
        reading.changed(url, answer, following)
        if listing.cursor and listing.cursor_param:
            reading.high = highest(reading.high, (row.get(listing.cursor) for row in rows))
        complete = following is None and told and reading.whole and reading.since is None and not partial
        if following is None:
            reading.finish()
        else:
            reading.advance(following, where)
        return Batch(stream, table(rows), reading.cursor(), None, complete, tuple(rejects)), following is None

    def _followed(self, answer: Answer, link: Any, where: str) -> str:
        """A next link as a whole URL of an origin that the operator named."""
        problem = ""
        target = answer.url
        try:
            target = checked_url(str(answer.url.join(str(link))))
        except (httpx.InvalidURL, ValueError, GiveUp):
            problem = "the next link is no plain http or https address"
        if not problem and not self._client.is_named(target):
            problem = "the next link leads to another origin"
        if problem:
            advice = "if it is meant to, list that origin in allow_origins"
            raise GiveUp(problem, code="foreign_link", where=where, advice=advice)
        return str(self._client.without_credentials(target))

    def _ask(self, url: httpx.URL, where: str, validators: Mapping[str, str]) -> Answer:
        waited = 0.0
        while True:
            try:
                return self._client.get(url, where=where, headers={"Accept": "application/json", **validators})
            except RetryLater as error:
                pause = max(error.after or 0.0, SHORTEST_WAIT)
                waited += pause
                if error.code != "rate_limited" or waited > min(self._options.rate_limit_wait, _LONGEST_PAUSE):
                    raise
            self._sleep(pause)

    def _url(
        self, listing: StreamOptions, reading: Reading, query: Mapping[str, Any], size: int | None = None
    ) -> httpx.URL:
        if listing.pagination.type == "link" and reading.at is not None:
            return httpx.URL(reading.at)
        params = {**listing.params, **query}
        if listing.cursor_param and reading.since is not None:
            params[listing.cursor_param] = str(less(reading.since, listing.lookback))
        params.update(page_params(listing.pagination, reading.at, size))
        return _joined_url(self._options, listing.path).copy_merge_params(params)

    def _listing(self, stream: str) -> StreamOptions:
        known = self._options.listings()
        if stream in known:
            return known[stream]
        near = difflib.get_close_matches(stream, known, 1)
        advice = f"did you mean '{near[0]}'?" if near else "the streams are " + ", ".join(sorted(known))
        raise GiveUp(f"no stream is named '{stream}'", code="unknown_stream", advice=advice)

    @property
    def _client(self) -> HttpClient:
        if self._open is None:
            given = self._options
            seconds = given.timeout
            self._open = HttpClient(
                given.base_url,
                credentials=given.auth.credentials(given.headers),
                origins=given.allow_origins,
                allow_private=given.allow_private,
                limits=Limits(min(10.0, seconds), min(30.0, seconds), seconds, given.max_body_bytes),
            )
        return self._open


def _body(answer: Answer, where: str) -> Any:
    if answer.status == 204:
        return []
    try:
        return parse(answer.body)
    except SkipRecord as error:
        advice = "check base_url and path: is this the API, or a page for people?"
        raise GiveUp(f"the answer is no JSON: {error}", code="not_json", where=where, advice=advice) from None


def _records(body: Any, path: str | None, where: str) -> list[Any]:
    """The list of records in a page."""
    found = body if path is None else dig(body, path)
    if path is None and isinstance(body, dict):
        lists = [value for value in body.values() if isinstance(value, list)]
        found = lists[0] if len(lists) == 1 else MISSING
    if isinstance(found, list):
        return found
    problem = f"no list stands at '{path}'" if path else "the body is no list and does not hold exactly one"
    raise GiveUp(problem, code="no_records", where=where, advice="set records: the dotted path to the list")


def _joined(base: str, path: str) -> str:
    return f"{base.rstrip('/')}/{path.lstrip('/')}"


def _joined_url(options: RestOptions, path: str) -> httpx.URL:
    return checked_url(_joined(options.base_url, path))


def _last_segment(path: str) -> str:
    return path.partition("?")[0].rstrip("/").rpartition("/")[2] or path


def _secret(name: str) -> bool:
    """Whether a header or parameter of this name holds a credential: `X-Api-Key`, `accessToken`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return not _SECRET_WORDS.isdisjoint(word.lower() for word in words)


def _problem(url: str) -> str:
    try:
        checked_url(url)
    except GiveUp as error:
        return str(error)
    return ""
