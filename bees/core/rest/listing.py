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
from bees.core.paths import MISSING, dig, put
from bees.core.rest import formats, hooks, template
from bees.core.rest.pieces import LARGE, Pieces, pieces_of
from bees.core.rest.source import HookHttp, Source, encoded, named, records, refuse_strangers
from bees.core.rest.window import spelled, window_end
from bees.core.rest.xml_elements import listed
from nectar.batch import Reject
from nectar.jsonrows import sift, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bees.core.http import Answer
    from bees.core.rest.options import StreamOptions


@dataclass
class Page:
    """What one turn gave, or a part of it. `read` is False where the source called the page unchanged, or had none.

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
        (page,) = self.turns(reading, query, conditional=conditional, whole=True)
        return page

    def turns(
        self, reading: Reading, query: Mapping[str, Any], *, conditional: bool, whole: bool = False
    ) -> Iterator[Page]:
        """The same, a large page in parts. Reading moves on with the last of them; before it, `taken` counts."""
        where = f"stream {self.name}, page {reading.page}"
        if self.options.windowed and reading.until is None:
            self._open_window(reading)
        if self.options.fetcher:
            yield self._fetch(self.options.fetcher, reading, where)
            return
        url = self.url(reading, query, where)
        validators = reading.validators(url, self.options.pagination) if conditional else {}
        try:
            answer = self._ask(url, reading, where, validators)
        except GiveUp as error:
            told = reading.page > 1 and error.status in self.options.pagination.end_status
            if told or (error.code == "not_found" and reading.short):
                yield self._over(reading)  # some sources have no empty last page: after a short one they answer 404
                return
            if error.status == 410 and reading.token is not None:
                reading.__dict__.update(Reading().__dict__)  # the source forgot what the token stood for: all anew
                yield Page(read=False)
                return
            raise
        if answer.status == 304:
            yield self._skip(reading, answer, url, where, asked=bool(validators))
            return
        yield from self._read(reading, answer, url, where, whole=whole)

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
        return self._rows(reading, items, where)[0]

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
                put(body, name, value)
        kind = "application/json" if options.body_as == "json" else "application/x-www-form-urlencoded"
        headers.setdefault("Content-Type", kind)
        return self.source.ask(url, where, headers, method="POST", content=encoded(body, options.body_as))

    def _items(self, answer: Answer, where: str, page: int = 1) -> tuple[Any, list[Any], list[Reject]]:
        if answer.status == 204:
            return [], [], []
        options = self.options
        hooked = bool(options.transformer or options.change_detector)
        raw = formats.utf_8(answer.body, options.format, answer.headers, where)
        if options.format == "xml" and options.records and not options.records.startswith("$"):
            body, found = listed(raw, options.records, where)
            self.source.check(body, where)
            return body, found, []
        body, rejects = formats.read(raw, options.format, where, options.delimiter, decimals=hooked)
        self.source.check(body, where)
        may_lack = options.empty_without_records or page > 1  # an earlier page has shown that the path is right
        items = records(body, options.records, where, may_lack=may_lack)
        return body, named(items, body, options.columns, where) if options.columns else items, rejects

    def _lacks(self, body: Any, page: int) -> bool:
        """Whether a first page has no list at all: this may be an empty listing, and proves nothing."""
        path = self.options.records or "$"
        return page == 1 and not path.startswith("$") and dig(body, path) in (MISSING, None)

    def _pieces(self, answer: Answer, where: str) -> Pieces | None:
        """A large page in pieces, if it is of the kind that can be cut."""
        options = self.options
        looked_at = options.changes or options.transformer or options.change_detector or options.columns
        dotted = options.format in ("json", "xml") and not (options.records or "").startswith("$")
        plain = dotted or options.records is None
        if len(answer.body) < LARGE or not plain or looked_at or options.pagination.until == "seen":
            return None
        if options.format in ("json", "jsonl"):
            formats.bounded(answer.body, where, in_pieces=True)
        raw = formats.utf_8(answer.body, options.format, answer.headers, where)
        found = pieces_of(raw, options.format, options.records, where, options.delimiter)
        if found is None or options.format in ("jsonl", "csv"):
            return found
        self.source.check(found.around, where)
        if options.format == "xml":
            return found
        return found if records(found.around, options.records, where) == [0][: len(found)] else None

    def _read(self, reading: Reading, answer: Answer, url: httpx.URL, where: str, *, whole: bool) -> Iterator[Page]:
        paging, again = self.options.pagination, reading.taken > 0
        same = reading.same_body(answer.body)
        taken, reading.taken = reading.taken if same else 0, 0
        # A page that is another one each time is read as a whole after a stop, or it might never be read to its end.
        pieces = None if whole or (again and not same) else self._pieces(answer, where)
        items: Sequence[Any]
        if pieces is None:
            body, items, rejects = self._items(answer, where, reading.page)
        else:
            body, items, rejects = pieces.around, pieces, []
        if same and not again and items and paging.type in ("page", "offset"):
            raise circle("the source gives the same page again", where)
        following, told = next_page(paging, answer, body, items, reading.at)
        told = told and not (pieces is None and not items and self._lacks(body, reading.page))
        if (
            following is not None
            and not items
            and str(following) == str(reading.token if reading.at is None else reading.at)
        ):
            following = None  # a cursor that stays as it is, and nothing there: some sources end so
        if paging.type == "link" and following is not None:
            following = self.source.followed(answer, following, where)
        short = bool(paging.type == "page" and paging.size and len(items) < paging.size)
        held = None
        for part in pieces.after(taken) if pieces else ():
            if held is not None:
                reading.taken = part[0] - 1
                yield self._part(reading, *held)
            held = part
        first, items, rejects = held or (1, items, rejects)
        reading.short = short
        if self.options.token_path:
            token = dig(body, self.options.token_path)
            reading.token = reading.token if token is MISSING or token is None else token
        if self.options.method == "GET":
            reading.changed(url, answer, following)
        yield self._moved(reading, list(items), rejects, following, where, told=told, first=first)

    def _part(self, reading: Reading, first: int, items: list[Any], rejects: list[Reject]) -> Page:
        """Records of a page of which more will come."""
        rows, unfit = self._rows(reading, items, f"page {reading.page}", first)
        self._noted(reading, rows)
        return Page(rows, [*rejects, *unfit])

    def _noted(self, reading: Reading, rows: list[dict[str, Any]]) -> bool:
        """Keep the cursor's highest value; whether one of the records is as old as what the last pass may have seen."""
        name = self.options.cursor
        if not name or not (self.options.incremental or self.options.parent):
            return False
        values = [row[name] if name in row else dig(row, name) for row in rows]
        reading.high = highest(reading.high, (value for value in values if value is not MISSING))
        return self.options.pagination.until == "seen" and any(_is_old(value, reading.since) for value in values)

    def _fetch(self, use: str, reading: Reading, where: str) -> Page:
        state = self._scope(reading)["state"]
        place = {"stream": self.name, "page": reading.page, "at": reading.at, **state}
        items, following = hooks.fetched(use, HookHttp(self.source, where), place, where)
        return self._moved(reading, items, [], following, where, told=True)

    def _moved(
        self,
        reading: Reading,
        items: list[Any],
        rejects: list[Reject],
        following: Any,
        where: str,
        *,
        told: bool,
        first: int = 1,
    ) -> Page:
        """The page's records, with reading moved to the next page or to the end."""
        position = f"page {reading.page}"
        reading.count(len(items), self.source.options.max_pages, where)
        rows, unfit = self._rows(reading, items, position, first)
        if self._noted(reading, rows):
            following = None
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

    def _rows(
        self, reading: Reading, items: list[Any], position: str, first: int = 1
    ) -> tuple[list[dict[str, Any]], list[Reject]]:
        """Part the records from what is none; `first` is the number of the first item in its page."""
        rejects: list[Reject] = []
        if self.options.transformer:
            several: list[Any] = []
            for number, item in enumerate(items, 1):
                made, failed = hooks.made(self.options.transformer, item, f"{position}, item {number}")
                several += made
                rejects += failed
            items = several
        refuse_strangers(items, position, "records")
        rows, unfit = sift(items, position, first)
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
