"""One listing, page by page: what is asked, what the answer holds, and which page comes next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import httpx
import structlog

from bees.core.cursors import higher, less
from bees.core.errors import GiveUp
from bees.core.footing import SAME, TAIL, Footing, counted
from bees.core.paging import MOST_VERSIONS, Links, Reading, began, circle, hashed, next_page, page_params, refuse_start
from bees.core.paths import MISSING, dig, put
from bees.core.rest import formats, hooks, template
from bees.core.rest.content import Content
from bees.core.rest.source import HookHttp, Source, encoded, refuse_strangers
from bees.core.rest.window import spelled, window_end, window_mark
from nectar.batch import Reject
from nectar.jsonrows import sift, text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from bees.core.http import Answer
    from bees.core.rest.options import StreamOptions
    from bees.core.rest.pieces import Pieces


log = structlog.get_logger()


@dataclass(frozen=True)
class Joint:
    """Between the last page and the one that is being read: a hash of the last one's body, and how it was asked for."""

    body: str
    query: Mapping[str, Any]
    where: str
    conditional: bool


@dataclass
class Page:
    """What one turn gave, or a part of it. `read` is False where the source called the page unchanged, or had none.

    `told`: the source itself said that nothing follows. `mark`, of a page that ends a pass: `high`, `sure`, `loose`,
    `clock` and `ahead` of its Reading.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    read: bool = True
    ended: bool = False
    told: bool = False
    mark: tuple[Any, Any, bool, str, int] = (None, None, False, "", 0)


class Listing:
    """Reads one listing; where reading is stands in the `Reading` that it is given."""

    def __init__(
        self,
        source: Source,
        name: str,
        options: StreamOptions,
        parent: Mapping[str, Any] | None = None,
        *,
        followed: bool = False,
    ) -> None:
        """`followed`: its records are parents of a listing that is followed by a cursor."""
        self.source = source
        self.name = name
        self.options = options
        self._parent = parent
        self._content = Content(source, options)
        paging = options.pagination
        may_tell = bool(paging.more_path or paging.done_path or paging.type in ("link", "cursor"))
        followed = followed or options.incremental or (parent is not None and options.cursor is not None)
        self._footing = Footing(
            paging.model_copy(update={"steady": True}) if options.token_path or options.fetcher else paging,
            (*options.key, options.cursor) if options.key and options.cursor else (),
            followed=followed,
            claims=may_tell and not followed and not options.changes,
        )

    def turns(self, reading: Reading, query: Mapping[str, Any], *, conditional: bool) -> Iterator[Page]:
        """Read one page and move on; a large one comes in parts. Raises SourceError.

        Reading moves on with the last of them; before it, `taken` counts. A login that is refused inside of an answer
        is renewed once.
        """
        try:
            yield from self._turns(reading, query, conditional=conditional)
        except GiveUp as error:
            if error.code != "denied" or error.status or not self.source.client.renew():
                raise
            yield from self._turns(reading, query, conditional=conditional)

    def _turns(self, reading: Reading, query: Mapping[str, Any], *, conditional: bool) -> Iterator[Page]:
        where = f"stream {self.name}, page {reading.page}"
        if self._parent is None and not self.options.windowed:
            reading.forget_ahead(self.source.clock())
        if self.options.windowed and reading.until is None:
            self._open_window(reading)
        if self.options.fetcher:
            yield self._fetch(self.options.fetcher, reading, where)
            return
        url = self.url(reading, query, where)
        validators = reading.validators(url, self.options.pagination) if conditional else {}
        asked = self.source.clock()
        try:
            answer = self._ask(url, reading, where, validators)
        except GiveUp as error:
            told = reading.page > 1 and error.status in self.options.pagination.end_status
            if told or (error.code == "not_found" and reading.short):
                # some sources have no empty last page: after a short one they answer 404
                joint = Joint(reading.body, query, where, conditional)
                if (yield from self._look_back(reading, joint, ())):
                    yield self._over(reading)
                return
            if error.status == 410 and reading.token is not None:
                reading.__dict__.update(Reading().__dict__)  # the source forgot what the token stood for: all anew
                yield Page(read=False)
                return
            raise
        self._tell_time(reading, began(answer.headers, asked))
        self._content.ready(answer, where)
        if answer.status == 304:
            yield self._skip(reading, answer, url, where, asked=bool(validators))
            return
        yield from self._read(reading, answer, url, Joint(reading.body, query, where, conditional))

    def _tell_time(self, reading: Reading, clock: str) -> None:
        """Keep the source's time at the first request of a pass; a window that ends later is the newest one."""
        reading.clock = reading.clock or clock
        sure = window_mark(reading.since, reading.until, reading.clock, self.options.lag)
        reading.last = reading.last or sure != reading.until

    def _look_back(self, reading: Reading, joint: Joint, items: Iterable[Any]) -> Generator[Page, None, bool]:
        """Ask for the page before once more, where a row may have moved into it; see `bees.core.footing`.

        `items` are those of the page behind it. Gives what moved, and whether to go on from there.
        """
        if not self._footing.looks_back(reading, items):
            return True
        then = replace(reading, at=reading.back, taken=0)
        url = self.url(then, joint.query, joint.where)
        validators = then.validator_of_now(url) if joint.conditional else {}
        try:
            answer = self._ask(url, then, joint.where, validators)
        except GiveUp as error:
            if error.code != "not_found" and error.status not in self.options.pagination.end_status:
                raise
            self._footing.back(reading)
            yield Page(read=False)
            return False
        if answer.status == 304 or hashed(answer.body) == joint.body:
            return True
        pieces = self._content.pieces(answer, joint.where)
        now, rejects = (pieces, []) if pieces else self._content.items(answer, joint.where, reading.page)[1:]
        moved = self._footing.moved(reading, now)
        if moved is None:
            self._footing.back(reading)
            yield Page(read=False)
        elif moved:
            parts = pieces.after(0) if pieces else iter([(1, list(now), rejects)])
            for first, some, unfit in parts:
                page = self._part(reading, first, some, unfit)
                reading.order, reading.latest = then.order, then.latest  # they were met before, in their order
                if first + len(some) > len(now):  # from here on it is the page that the next one is compared with
                    reading.tail, reading.full = self._footing.names(some[-TAIL:]), len(now)
                    reading.body = hashed(answer.body)
                yield page
        return moved is not None

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
            paging = page_params(options.pagination, self._footing.place(reading), size)
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
        _, items, _ = self._content.items(answer, where)
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
            for name, value in page_params(options.pagination, self._footing.place(reading), size).items():
                put(body, name, value)
        kind = "application/json" if options.body_as == "json" else "application/x-www-form-urlencoded"
        headers.setdefault("Content-Type", kind)
        return self.source.ask(url, where, headers, method="POST", content=encoded(body, options.body_as))

    def _read(self, reading: Reading, answer: Answer, url: httpx.URL, joint: Joint) -> Iterator[Page]:
        paging, again, where = self.options.pagination, reading.taken > 0, joint.where
        pieces = self._content.pieces(answer, where)
        same = reading.same_body(answer.body)
        same_records = same or bool(pieces and pieces.mark and hashed(pieces.mark) == reading.records)
        taken, reading.taken = reading.taken if same_records else 0, 0
        if again and not same_records:
            pieces = None  # a page that is another one each time is read as a whole after a stop, or it might never end
        reading.records = hashed(pieces.mark) if pieces and pieces.mark else ""
        items: Sequence[Any]
        body, items, rejects = (
            self._content.items(answer, where, reading.page) if pieces is None else (pieces.around, pieces, [])
        )
        begins, names = self._ends(items, pieces)
        if items and not again:
            self._refuse_circles(reading, (begins, names), len(items), where, pieces.mark if pieces else "", same=same)
        if not (yield from self._look_back(reading, joint, items)):
            return
        known = self._footing.joined(reading, items)
        if known is None:
            self._footing.back(reading)
            yield Page(read=False)
            return
        following, told = self._next(reading, answer, body, items, known, where)
        lacking = pieces is None and not items and self._content.lacks(body, reading.page)
        told = told and not lacking and self._content.closed(answer)
        if lacking and reading.page > 1 and not self.options.empty_without_records:
            reading.loose = True  # it may be an error as well as the end
        short = bool(paging.type == "page" and paging.size and len(items) < paging.size)
        count, held = len(items), None
        for part in pieces.after(max(taken, known)) if pieces else ():
            names = [*names, *self._footing.names(part[1][-TAIL:])][-TAIL:]
            if held is not None:
                reading.taken = part[0] - 1
                yield self._part(reading, *held)
            held = part
        first, items, rejects = held or (1 + known, [] if pieces is not None else items[known:], rejects)
        reading.short = short
        if self.options.token_path:
            token = dig(body, self.options.token_path)
            reading.token = reading.token if token is MISSING or token is None else token
        if self.options.method == "GET":
            reading.changed(url, answer, following)
        self._footing.passed(reading, (begins, names), count, known, following, url)
        yield self._moved(reading, list(items), rejects, following, where, told=told, first=first)

    def _ends(self, items: Sequence[Any], pieces: Pieces | None) -> tuple[str, list[str]]:
        """Names of the first record and of the last ones; of a page in pieces of the very last one."""
        if pieces is None:
            return self._footing.ends(items)
        first = next(iter(self._footing.names(islice(iter(items), 1))), "")
        return first, self._footing.names([pieces.last] if len(pieces) else ())

    def _refuse_circles(
        self, reading: Reading, ends: tuple[str, list[str]], count: int, where: str, mark: str = "", *, same: bool
    ) -> None:
        """Raises GiveUp (`pagination_loop`) where the source gives the same records again and again.

        Rows that were moved back by a whole page look the same, too. `same`: so does all that stands around them.
        """
        counts = self.options.pagination.type in ("page", "offset")
        before = self._footing.came_before(reading, ends, count, mark)
        often = before > SAME and (counts or self.options.key)
        if often or (same and counts and not self._footing.watched(reading)):
            raise circle("the source gives the same page again", where)

    def _next(
        self, reading: Reading, answer: Answer, body: Any, items: Sequence[Any], known: int, where: str
    ) -> tuple[Any, bool]:
        """The place behind a page, None for the last one; and whether the source itself says that nothing follows."""
        paging = self.options.pagination
        if items:
            refuse_start(paging, body, reading.at, where)
        following, told = next_page(paging, answer, body, items, self._footing.place(reading), reading.longest)
        if (
            following is not None
            and not items
            and str(following) == str(reading.token if reading.at is None else reading.at)
        ):
            following = None  # a cursor that stays as it is, and nothing there: some sources end so
        if len(items) == known and paging.type == "offset":
            following = None  # nothing is there but the row that was asked for once more
        if paging.type == "link" and following is not None:
            following = self.source.followed(answer, following, where)
        return following, told

    def _part(self, reading: Reading, first: int, items: list[Any], rejects: list[Reject]) -> Page:
        """Records of a page of which more will come."""
        position = f"page {reading.page}"
        rows, unfit = self._rows(reading, items, position, first)
        self._noted(reading, rows)
        return Page(self._news(reading, rows, position), [*rejects, *unfit])

    def _noted(self, reading: Reading, rows: list[dict[str, Any]]) -> bool:
        """Keep the cursor's highest value; whether the last record is as old as what the last pass may have seen.

        One before it may be pinned to the top, however old it is.
        """
        name = self.options.cursor
        if not name or not (self.options.incremental or self.options.parent):
            return False
        values = [row[name] if name in row else dig(row, name) for row in rows]
        values = [value for value in values if value is not MISSING]
        reading.note(values)
        return self.options.pagination.until == "seen" and bool(values) and _is_old(values[-1], reading.since)

    def _fetch(self, use: str, reading: Reading, where: str) -> Page:
        state = self._scope(reading)["state"]
        place = {"stream": self.name, "page": reading.page, "at": reading.at, **state}
        http = HookHttp(self.source, where)
        items, following = hooks.fetched(use, http, place, where)
        self._tell_time(reading, http.clock)
        if items:
            self._refuse_circles(reading, self._footing.ends(items), len(items), where, same=False)
        reading.rows += len(items)
        if not self.options.incremental and counted(
            reading, len(items), following, httpx.URL(self.source.options.base_url)
        ):
            reading.loose = True  # nobody can look at the joint of pages that a function fetches
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
        page.ended, page.mark = reading.is_last, reading.marks()
        whole = reading.whole and not reading.loose and reading.since is None and reading.token is None
        page.told = told and whole and not self.options.changes
        self._finish(reading)
        return page

    def _over(self, reading: Reading) -> Page:
        page = Page(read=False, ended=reading.is_last)
        page.mark = reading.marks()
        self._finish(reading)
        return page

    def _finish(self, reading: Reading) -> None:
        if self._parent is None:
            reading.tell_ahead(self.name)
        if reading.last:
            reading.until = window_mark(reading.since, reading.until, reading.clock, self.options.lag)
        reading.finish()

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
        self._footing.unseen(reading, following, url)
        reading.advance(following, where)
        return Page(read=False)

    def _rows(
        self, reading: Reading, items: list[Any], position: str, first: int = 1
    ) -> tuple[list[dict[str, Any]], list[Reject]]:
        """Part the records from what is none; `first` is the number of the first item in its page."""
        rejects: list[Reject] = []
        if self.options.transformer:
            several: list[Any] = []
            for number, item in enumerate(items, first):
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
        room = len(reading.seen) < MOST_VERSIONS
        for row in rows:
            if use:
                version = hooks.detected(use, row, where)
            else:
                names = (told.fields if told else ()) or sorted(row.keys() - set(told.ignore if told else ()))
                version = hashlib.sha256(text([[name, row.get(name)] for name in names]).encode()).hexdigest()
            key = text([row.get(name) for name in self.options.key]) if self.options.key else version
            if reading.is_news(key, version):
                news.append(row)
        if room and len(reading.seen) >= MOST_VERSIONS:
            result = "further items come each time, changed or not"
            log.warning("items_without_room", stream=self.name, remembered=MOST_VERSIONS, result=result)
        return news


def _is_old(value: Any, since: Any) -> bool:
    """Whether a record is one that the last pass may have seen."""
    return value is not None and since is not None and higher(since, value) == since
