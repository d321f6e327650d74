"""Options of the `rest` connector: the API, and each of its listings."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from bees.core.bee import BeeOptions, KeyColumns, Name, StreamName, Words
from bees.core.cursors import instant
from bees.core.errors import GiveUp
from bees.core.http import checked_url
from bees.core.paging import Pagination
from bees.core.paths import matches
from bees.core.rest.auth import HeaderName
from bees.core.rest.client import HttpOptions
from bees.core.rest.formats import Format
from bees.core.rest.template import problems
from bees.core.rest.window import checked_format, seconds

_SENT = ("config", "state", "parent")
_MOST_PARENTS = 4


def _path(value: str) -> str:
    if value.startswith("$"):
        matches({}, value)
    return value


def _hook(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", value):
        raise ValueError("a function is named as package.module:function")
    return value


BodyPath = Annotated[Name, AfterValidator(_path)]
"""A dotted path, or JSONPath if it begins with $."""
Hook = Annotated[str, AfterValidator(_hook)]
Length = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
"""A length of time: 15m, 6h, 1d, or seconds."""
Scalar = str | int | float | bool
Parameter = Scalar | tuple[Scalar, ...]
"""A value of the query, or several under one name."""


class Changes(BeeOptions):
    """Only items that are new or changed since the last pass come; what is gone is then not noticed.

    The versions of 5,000 items are remembered; those of a longer listing that have no room come each time.
    """

    fields: Words = Field((), description="fields that tell a change; all of them if unset")
    ignore: Words = Field((), description="fields that tell none, such as fetchedAt")


class Parent(BeeOptions):
    """The listing whose every record is asked for records of this one."""

    stream: StreamName = Field(description="its stream")
    changed_only: bool = Field(
        False, description="with a cursor of the parents: only those that changed since the last pass are asked"
    )


class Failures(BeeOptions):
    """Errors that come with status 200."""

    at: BodyPath = Field(description="where the body holds an error, such as error; nothing, null or false is none")
    retry: Words = Field((), description="values there that mean: later")
    denied: Words = Field((), description="values there that mean: the credentials are refused")


class StreamOptions(BeeOptions):
    """One listing of the API."""

    path: Name = Field(description="path under base_url, such as /tickets")
    method: Literal["GET", "POST"] = Field("GET", description="GET, or POST for listings that are asked for so")
    params: dict[Name, Parameter] = Field(
        default_factory=dict, description="query parameters; a list is sent as one parameter for each of its values"
    )
    first_params: dict[Name, Parameter] = Field(
        default_factory=dict, description="query parameters until the source has given a cursor or token, and no longer"
    )
    headers: dict[HeaderName, str] = Field(default_factory=dict, description="headers of this listing, not secret")
    body: JsonValue = Field(None, description="POST: what is sent")
    body_as: Literal["json", "form"] = Field("json", description="POST: as JSON, or as a form")
    format: Format = Field("json", description="what the answer is: json, jsonl, csv or xml")
    delimiter: str = Field(",", min_length=1, max_length=1, description="csv: between two values")
    records: BodyPath | None = Field(
        None, description="dotted path or JSONPath to the list; unset: the body, or its only list"
    )
    columns: BodyPath | None = Field(
        None,
        description="records are lists: where the body names their values, such as $.meta[*].name; first: the "
        "first list of the page holds the names",
    )
    empty_without_records: bool = Field(
        False, description="a page without the list is an empty one: some sources leave out what is empty"
    )
    fields: dict[Name, JsonValue] = Field(
        default_factory=dict, description='more fields of each record, such as {issue: "{{ parent.id }}"}'
    )
    key: KeyColumns = Field((), description="field or fields that identify a record")
    cursor: Name | None = Field(None, description="field that only grows, such as updated_at")
    cursor_param: Name | None = Field(None, description="query parameter that takes the highest cursor seen so far")
    cursor_format: Annotated[str, AfterValidator(checked_format)] = Field(
        "as_is", description="how it is asked for: as_is, iso, date, epoch, epoch_ms, or such as %Y-%m-%d %H:%M"
    )
    token_path: BodyPath | None = Field(
        None, description="where the body holds an opaque token that asks for what comes next, such as last_seq"
    )
    start: str | int | None = Field(None, description="where the very first pass begins")
    end_param: Name | None = Field(None, description="query parameter that takes the end of what is asked for")
    step: Length = Field(0.0, description="a long time is read in windows of this length, such as 1d")
    lag: Length = Field(0.0, description="windows end so long before now: what the source shows late is not missed")
    lookback: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="what cursor_param asks for begins so far before the highest cursor: seconds for times, steps for "
        "numbers; for records that the source shows late, and free of cost: the hive knows unchanged ones",
    )
    parent: Parent | None = Field(None, description="{stream}: asked once for each record of that stream")
    pagination: Pagination = Field(default_factory=Pagination, description="how the listing is cut into pages")
    changes: Changes | None = Field(
        None,
        description="{fields, ignore}: leave out items that are as last time; 5,000 are remembered, others come anew",
    )
    fetcher: Hook | None = Field(None, description="function that fetches a page; see bees/core/rest/hooks.py")
    transformer: Hook | None = Field(None, description="function that makes records of an item")
    change_detector: Hook | None = Field(None, description="function that gives an item's version")

    @property
    def windowed(self) -> bool:
        """Whether each pass has an end: it is read up to an instant, which is where the next one begins."""
        return bool(self.end_param or self.step or self.lag)

    @property
    def incremental(self) -> bool:
        """Whether a pass asks only for what came since the last one."""
        return bool(self.cursor_param or self.windowed or self._names_since or self.pagination.until == "seen")

    @property
    def _names_since(self) -> bool:
        told = str([self.path, self.params, self.first_params, self.headers, self.body])
        return bool(re.search(r"\{\{\s*state\.since", told)) or (self.fetcher is not None and self.cursor is not None)

    @model_validator(mode="after")
    def _whole(self) -> StreamOptions:
        if self.cursor_param and not (self.cursor or self.token_path or self.windowed):
            raise ValueError("cursor_param needs cursor: the field whose highest value it takes")
        if self.lookback and not self.incremental:
            raise ValueError("lookback needs cursor_param: it is what the parameter's value is lessened by")
        if self.windowed and instant(self.start) is None:
            raise ValueError("windows (step, lag, end_param) need start: the instant where the very first one begins")
        if self.token_path and (self.windowed or self.cursor):
            raise ValueError("token_path stands alone: the source's token takes the place of cursor, step and lag")
        if self.pagination.until == "seen" and not self.cursor:
            raise ValueError("pagination.until: seen needs cursor: the field that tells what is newer")
        if self.columns and self.format != "json":
            raise ValueError("columns needs format: json")
        if self.body is not None and self.method != "POST":
            raise ValueError("a body needs method: POST")
        if self.pagination.place == "body" and (self.method != "POST" or not isinstance(self.body or {}, dict)):
            raise ValueError("pagination.place: body needs method: POST and a body that is a map")
        if self.parent and (self.pagination.until == "seen" or self.windowed or self.token_path or self.changes):
            raise ValueError("a stream with a parent has no windows, token_path, changes or until: seen")
        return self


class Endpoints(BeeOptions):
    """The short form: paths alone."""

    health: Name | None = Field(None, description="path that answers 2xx when the API is well")
    data: tuple[Name, ...] = Field((), description="paths to read, each a stream named by its last segment")


class RestOptions(HttpOptions):
    base_url: str = Field(description="address of the API, such as https://desk.example.com/api")
    allow_origins: tuple[str, ...] = Field((), description="other origins that links may lead to, with credentials")
    conditional: bool = Field(True, description="skip unchanged pages; false reads all, so that deletions show")
    max_pages: int = Field(1_000_000, gt=0, description="pages of one pass; a listing with more never ends")
    variables: dict[Name, Scalar] = Field(default_factory=dict, description="values of {{ config.NAME }}")
    errors: Failures | None = Field(None, description="{at, retry, denied}: errors that come with status 200")
    endpoints: Endpoints = Field(default_factory=Endpoints, description="short form of streams")
    streams: dict[StreamName, StreamOptions] = Field(default_factory=dict, description="what to read, by name")

    @model_validator(mode="after")
    def _whole(self) -> RestOptions:
        found = [f"{name}: {problem}" for name, url in self._addresses() if (problem := _problem(url))]
        found += [f"path of {name} is a whole address: it belongs under base_url" for name in self._astray()]
        base = httpx.URL() if found else httpx.URL(self.base_url)
        if base.query or base.fragment:
            found.append("base_url: query parameters belong in the streams' params")
        names = [last_segment(path) for path in self.endpoints.data]
        twice = {name for name in [*names, *self.streams] if [*names, *self.streams].count(name) > 1}
        found += [f"two streams are named '{name}': describe them in streams" for name in sorted(twice)]
        if not names and not self.streams:
            found.append("nothing to read: give streams, or endpoints.data")
        for name, stream in self.streams.items():
            found += [f"{name}: {problem}" for problem in self._in_stream(stream)]
        if found:
            raise ValueError("; ".join(found))
        return self

    def _in_stream(self, stream: StreamOptions) -> list[str]:
        scopes = _SENT if stream.parent else _SENT[:2]
        asked = [stream.path, stream.params, stream.first_params, stream.headers, stream.body]
        found = [*problems(asked, scopes, self.variables)]
        found += problems(stream.fields, (*scopes, "record"), self.variables)
        if stream.parent:
            parent = self.streams.get(stream.parent.stream)
            if parent is None:
                found.append(f"its parent '{stream.parent.stream}' is no stream of this bee")
            elif problem := self._too_deep(stream.parent.stream):
                found.append(problem)
            elif stream.parent.changed_only and not parent.incremental:
                found.append("parent.changed_only needs a parent with cursor and cursor_param")
        return found

    def _too_deep(self, name: str) -> str:
        """What is wrong with the parents from this one up."""
        seen: list[str] = []
        while (above := self.streams.get(name)) and above.parent:
            seen.append(name)
            name = above.parent.stream
            if name in seen:
                return "its parents are in a circle"
        return f"it has more than {_MOST_PARENTS} parents, one above the other" if len(seen) >= _MOST_PARENTS else ""

    def _addresses(self) -> list[tuple[str, str]]:
        paths = {name: stream.path for name, stream in self.listings().items()}
        joined_ = [(f"path of {name}", joined(self.base_url, _bare(path))) for name, path in paths.items()]
        return [("base_url", self.base_url), *(("allow_origins", url) for url in self.allow_origins), *joined_]

    def _astray(self) -> list[str]:
        paths = {name: stream.path for name, stream in self.listings().items()}
        paths["endpoints.health"] = self.endpoints.health or ""
        return [name for name, path in paths.items() if "://" in path]

    def listings(self) -> dict[str, StreamOptions]:
        short = {last_segment(path): StreamOptions(path=path) for path in self.endpoints.data}
        return {**short, **self.streams}


def joined(base: str, path: str) -> str:
    return f"{base.rstrip('/')}/{path.lstrip('/')}"


def last_segment(path: str) -> str:
    return path.partition("?")[0].rstrip("/").rpartition("/")[2] or path


def _bare(path: str) -> str:
    """A path whose places are filled with something."""
    return re.sub(r"\{\{.*?\}\}", "x", path)


def _problem(url: str) -> str:
    try:
        checked_url(url)
    except GiveUp as error:
        return str(error)
    return ""


def shape(stream: StreamOptions) -> list[Any]:
    """What of a listing decides which records come, beyond path and parameters; empty where nothing is set."""
    names = (
        "method",
        "first_params",
        "body",
        "format",
        "fields",
        "parent",
        "transformer",
        "fetcher",
        "token_path",
        "columns",
    )
    plain = StreamOptions(path=stream.path)
    told = stream.model_dump(mode="json", include=set(names))
    return [[name, told[name]] for name in names if getattr(stream, name) != getattr(plain, name)]
