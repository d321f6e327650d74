"""One listing, page by page: what is asked, what the answer holds, and which page comes next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from bees.core.cursors import higher, highest, less
from bees.core.errors import GiveUp
from bees.core.paging import Links, Reading, circle, next_page, page_params
from bees.core.paths import MISSING, dig
from bees.core.rest import formats, hooks, template
from bees.core.rest.source import HookHttp, Source, encoded, records
from bees.core.rest.window import spelled, window_end
from nectar.batch import Reject
from nectar.jsonrows import sift, text

if TYPE_CHECKING:
    from bees.core.http import Answer
    from bees.core.rest.options import StreamOptions


_MOST_STRANGE = 10_000
"""Items of a page that are no objects, before the page is none."""


@dataclass
class Page:
    """What one turn gave. `read` is False where the source called the page unchanged, or had none.

    `told`: the source itself said that nothing follows.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    read: bool = True
    ended: bool = False
    told: bool = False


class Listing:
    """Reads one listing; where reading is stands in the `Reading` that it is given."""

    def __init__(
        self, source: Source, name: str, options: StreamOptions, parent: Mapping[str, Any] | None = None
    ) -> None:
        self.source = source
        self.name = name
        self.options = options
        self._parent = parent

    def turn(self, reading: Reading, query: Mapping[str, Any], *, conditional: bool) -> Page:
        """Read one page and move on. Raises SourceError."""
        where = f"stream {self.name}, page {reading.page}"
        if self.options.windowed and reading.until is None:
            self._open_window(reading)
        if self.options.fetcher:
            return self._fetch(self.options.fetcher, reading, where)
        url = self.url(reading, query, where)
        validators = reading.validators(url, self.options.pagination) if conditional else {}
        try:
            answer = self._ask(url, reading, where, validators)
        except GiveUp as error:
            if error.code == "not_found" and reading.short:
                return self._over(reading)  # some sources have no empty last page: after a short one they answer 404
            if error.status == 410 and reading.token is not None:
                reading.__dict__.update(Reading().__dict__)  # the source forgot what the token stood for: all anew
                return Page(read=False)
            raise
        if answer.status == 304:
            return self._skip(reading, answer, url, where, asked=bool(validators))
        return self._read(reading, answer, url, where)

    def url(self, reading: Reading, query: Mapping[str, Any], where: str, size: int | None = None) -> httpx.URL:
        options = self.options
        if options.pagination.type == "link" and reading.at is not None:
            return httpx.URL(reading.at)
        scope = self._scope(reading)
        begun = reading.token if reading.at is None else reading.at
        first = template.fill(options.first_params, scope) if begun is None else {}
        params = {**template.fill(options.params, scope), **first, **query}
        if options.cursor_param:
            asked = scope["state"]["token" if options.token_path else "since"]
            if asked is not None:
                params[options.cursor_param] = str(asked)
        if options.end_param and scope["state"]["until"] is not None:
            params[options.end_param] = str(scope["state"]["until"])
        if options.pagination.place == "query":
            paging = page_params(options.pagination, reading.at, size)
            params.update({name: str(value) for name, value in paging.items()})
        return self.source.url(template.path(options.path, scope, where), params)

    def first(self, where: str) -> list[dict[str, Any]]:
        """A first page, of one row where a size can be asked: that it can be read. Raises SourceError."""
        reading = Reading()
        if self.options.windowed:
            self._open_window(reading)
        if self.options.fetcher:
            return self._fetch(self.options.fetcher, reading, where).rows
        answer = self._ask(self.url(reading, {}, where, size=1), reading, where, {}, size=1)
        _, items, _ = self._items(answer, where)
        return sift(items, where)[0]

    def _open_window(self, reading: Reading) -> None:
        options = self.options
        reading.since = reading.since if reading.since is not None else options.start
        reading.until, reading.last = window_end(reading.since, options.step, self.source.clock() - options.lag)

    def _scope(self, reading: Reading) -> dict[str, Mapping[str, Any]]:
        options = self.options
        since = options.start if reading.since is None else reading.since
        asked = None if since is None else spelled(less(since, options.lookback), options.cursor_format)
        until = None if reading.until is None else spelled(reading.until, options.cursor_format)
        state = {"since": asked, "until": until, "token": reading.token}
        return {"config": self.source.options.variables, "state": state, "parent": self._parent or {}}

    def _ask(
        self, url: httpx.URL, reading: Reading, where: str, validators: Mapping[str, str], size: int | None = None
    ) -> Answer:
        options = self.options
        scope = self._scope(reading)
        filled = template.fill(options.headers, scope)
        headers = {"Accept": formats.ACCEPT[options.format], **{k: str(v) for k, v in filled.items()}, **validators}
        if options.method == "GET":
            return self.source.ask(url, where, headers)
        body = template.fill(options.body, scope)
        if options.pagination.place == "body":
            body = dict(body or {})
            for name, value in page_params(options.pagination, reading.at, size).items():
                _put(body, name, value)
        kind = "application/json" if options.body_as == "json" else "application/x-www-form-urlencoded"
        headers.setdefault("Content-Type", kind)
        return self.source.ask(url, where, headers, method="POST", content=encoded(body, options.body_as))

    def _items(self, answer: Answer, where: str) -> tuple[Any, list[Any], list[Reject]]:
        if answer.status == 204:
            return [], [], []
        options = self.options
        hooked = bool(options.transformer or options.change_detector)
        body, rejects = formats.read(answer.body, options.format, where, options.delimiter, decimals=hooked)
        self.source.check(body, where)
        found: Any = body
        if self.options.format == "xml" and self.options.records and not self.options.records.startswith("$"):
            found = dig(body, self.options.records)
            found = found if isinstance(found, list) else [] if found in (MISSING, None) else [found]
            return body, found, rejects
        return body, records(body, self.options.records, where), rejects

    def _read(self, reading: Reading, answer: Answer, url: httpx.URL, where: str) -> Page:
        body, items, rejects = self._items(answer, where)
        paging = self.options.pagination
        if reading.same_body(answer.body) and items and paging.type in ("page", "offset"):
            raise circle("the source gives the same page again", where)
        following, told = next_page(paging, answer, body, items, reading.at)
        if (
            following is not None
            and not items
            and str(following) == str(reading.token if reading.at is None else reading.at)
        ):
            following = None  # a cursor that stays as it is, and nothing there: some sources end so
        if paging.type == "link" and following is not None:
            following = self.source.followed(answer, following, where)
        reading.short = bool(paging.type == "page" and paging.size and len(items) < paging.size)
        if self.options.token_path:
            token = dig(body, self.options.token_path)
            reading.token = reading.token if token is MISSING or token is None else token
        if self.options.method == "GET":
            reading.changed(url, answer, following)
        return self._moved(reading, items, rejects, following, where, told=told)

    def _fetch(self, use: str, reading: Reading, where: str) -> Page:
        state = self._scope(reading)["state"]
        place = {"stream": self.name, "page": reading.page, "at": reading.at, **state}
        items, following = hooks.fetched(use, HookHttp(self.source, where), place, where)
        return self._moved(reading, items, [], following, where, told=True)

    def _moved(
        self, reading: Reading, items: list[Any], rejects: list[Reject], following: Any, where: str, *, told: bool
    ) -> Page:
        """The page's records, with reading moved to the next page or to the end."""
        position = f"page {reading.page}"
        reading.count(len(items), self.source.options.max_pages, where)
        rows, unfit = self._rows(reading, items, position)
        if self.options.cursor and (self.options.incremental or self.options.parent):
            name = self.options.cursor
            values = [row[name] if name in row else dig(row, name) for row in rows]
            known = self.options.pagination.until == "seen" and any(_is_old(v, reading.since) for v in values)
            following = None if known else following
            reading.high = highest(reading.high, (value for value in values if value is not MISSING))
        page = Page(self._news(reading, rows, where), [*rejects, *unfit], told=told, ended=following is None)
        if following is not None:
            reading.advance(following, where)
            return page
        page.ended = reading.until is None or reading.last
        whole, since = reading.whole, reading.since
        page.told = told and whole and since is None and reading.token is None and not self.options.changes
        reading.finish()
        return page

    def _over(self, reading: Reading) -> Page:
        ended = reading.until is None or reading.last
        reading.finish()
        return Page(read=False, ended=ended)

    def _skip(self, reading: Reading, answer: Answer, url: httpx.URL, where: str, *, asked: bool) -> Page:
        if not asked:
            raise GiveUp("the source calls a page unchanged, unasked", code="unexpected_status", where=where)
        paging = self.options.pagination
        links = Links.of(answer.headers) if paging.type == "link" and not paging.cursor_path else Links()
        if links.following is not None:
            links = Links(told=True, following=self.source.followed(answer, links.following, where))
        following = reading.unchanged(url, links)
        if following is None:
            return self._over(reading)
        reading.short = False
        reading.advance(following, where)
        return Page(read=False)

    def _rows(self, reading: Reading, items: list[Any], position: str) -> tuple[list[dict[str, Any]], list[Reject]]:
        rejects: list[Reject] = []
        if self.options.transformer:
            several: list[Any] = []
            for number, item in enumerate(items, 1):
                made, failed = hooks.made(self.options.transformer, item, f"{position}, item {number}")
                several += made
                rejects += failed
            items = several
        strange = sum(type(item) is not dict or not item for item in items)
        if strange > _MOST_STRANGE and strange * 2 > len(items):
            advice = "check records: does it lead to the list of objects?"
            raise GiveUp("most of the page is no records", code="no_records", where=position, advice=advice)
        rows, unfit = sift(items, position)
        if self.options.fields:
            scope = self._scope(reading)
            for row in rows:
                row.update(template.fill(self.options.fields, {**scope, "record": row}))
        return rows, [*rejects, *unfit]

    def _news(self, reading: Reading, rows: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
        """The rows that are new or changed, if only those are wanted."""
        told, use = self.options.changes, self.options.change_detector
        if told is None and use is None:
            return rows
        news: list[dict[str, Any]] = []
        for row in rows:
            if use:
                version = hooks.detected(use, row, where)
            else:
                names = (told.fields if told else ()) or sorted(row.keys() - set(told.ignore if told else ()))
                version = hashlib.sha256(text([[name, row.get(name)] for name in names]).encode()).hexdigest()
            key = text([row.get(name) for name in self.options.key]) if self.options.key else version
            if reading.is_news(key, version):
                news.append(row)
        return news


def _is_old(value: Any, since: Any) -> bool:
    """Whether a record is one that the last pass may have seen."""
    return value is not MISSING and value is not None and since is not None and higher(since, value) == since


def _put(body: dict[str, Any], name: str, value: Any) -> None:
    """Set a dotted name of a body that is sent; what stands around it stays."""
    *outer, last = name.split(".")
    for part in outer:
        inner = body.get(part)
        body[part] = dict(inner) if isinstance(inner, Mapping) else {}
        body = body[part]
    body[last] = value
