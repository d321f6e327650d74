"""Pages of a listing: which comes next, where reading is, and what need not be read again.

A `Reading` is a stream's cursor in the hand: it is loaded from the cursor, moves page by page, and prints the cursor
that goes with each batch. It keeps no credential: links lose theirs before they come here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
import structlog
from pydantic import AfterValidator, Field, model_validator

from bees.core.bee import BeeOptions, Name
from bees.core.cursors import direction, higher, highest, instant, is_ahead, is_later, is_number, kind_of
from bees.core.errors import GiveUp
from bees.core.http_verdict import last_modified
from bees.core.paths import MISSING, dig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bees.core.http import Answer
    from nectar.batch import Cursor

log = structlog.get_logger()

REMEMBERED = 200
"""Pages whose ETag a cursor keeps."""

_LIMITS = {10, 20, 25, 30, 50, 100, 200, 250, 500, 1_000, 2_000, 2_500, 5_000, 10_000}
"""Rows that servers give at most, whatever they are asked for."""
_COUNTED_TO = {1_000, 10_000}
"""Totals that mean that many at least, where a search engine counts no further."""
MOST_EMPTY = 100
"""Pages without a record that may come one after another."""
MOST_VERSIONS = 5_000
"""Items whose version a cursor keeps; more of them count as changed each time."""


def _ending(value: int) -> int:
    if not 400 <= value < 500 or value in (401, 403, 407, 408, 429):
        raise ValueError("a status such as 404 or 400: what others mean is never the end of a listing")
    return value


Style = Literal["link", "page", "cursor", "offset", "none"]


class Pagination(BeeOptions):
    """How a listing is cut into pages."""

    type: Style = Field(
        "link",
        description="link: the Link header (or the URL at cursor_path) leads on; page: numbers; cursor: a token in the "
        "body, a header or the last record; offset: a count of rows; none: one page",
    )
    size: int | None = Field(None, gt=0, description="rows to ask for in one page; needs size_param")
    size_param: Name | None = Field(None, description="parameter of the page size")
    page_param: Name = Field("page", description="parameter of the page number")
    start: int = Field(1, ge=0, description="number of the first page")
    cursor_path: Name | None = Field(None, description="where the body holds the next cursor or URL, such as meta.next")
    cursor_header: Name | None = Field(None, description="header of the answer that holds the next cursor")
    cursor_record: Name | None = Field(None, description="field of the last record that is the next cursor")
    cursor_param: Name = Field("cursor", description="parameter that takes the next cursor")
    offset_param: Name = Field("offset", description="parameter of the offset")
    more_path: Name | None = Field(None, description="where the body says whether more follows, such as has_more")
    done_path: Name | None = Field(None, description="where the body says that nothing follows, such as end_of_stream")
    total_path: Name | None = Field(None, description="offset: where the body says how many rows there are in all")
    pages_path: Name | None = Field(None, description="page: where the body says how many pages there are in all")
    end_status: tuple[Annotated[int, AfterValidator(_ending)], ...] = Field(
        (), description="statuses with which the source answers behind its last page, such as [404]"
    )
    until: Literal["empty", "short", "seen"] = Field(
        "empty",
        description="page and offset end at an empty page, or at a short one; seen: a listing with the newest first "
        "ends at a record that is no newer than the cursor",
    )
    place: Literal["query", "body"] = Field(
        "query", description="where the parameters stand; in the body, page.cursor is a field inside of page"
    )
    steady: bool = Field(
        False,
        description="rows neither move nor go away while they are read (a log by id): joints of pages that are "
        "counted need no second look",
    )

    @model_validator(mode="after")
    def _whole(self) -> Pagination:
        if self.type == "cursor" and not (self.cursor_path or self.cursor_header or self.cursor_record):
            raise ValueError(
                "cursor paging needs cursor_path: where the body holds the next one (or cursor_header, cursor_record)"
            )
        if self.until == "short" and not self.size:
            raise ValueError("until: short needs size: how many rows a full page has")
        if self.size and not self.size_param:
            raise ValueError("size needs size_param: the query parameter that takes it")
        return self


@dataclass
class Reading:
    """Where reading is in one pass over a listing.

    at      the next page, in the pagination's own terms; None before the first
    page    its number in this pass, from 1
    since   what the cursor parameter gets all through this pass; `high` is the highest value seen
    known   pages of the last finished pass, by hash of URL: [ETag, Last-Modified, next page]; `fresh`: of this one
    whole   nothing was left out so far: the end of the pass is complete knowledge
    short   the last page read held fewer rows than were asked for
    until   end of the window that is read, None without windows; `last`: whether it is the newest one
    token   the opaque cursor that the source gave last, for the next pass
    empty   pages without a record since the last one with any
    items   versions of the last pass, by hash of key; `seen`: of this one
    taken   records of the page `at` that were given out: it is read in pieces; `records`: a hash of them all
    parent  a child stream: cursor of the parents' page; `done`: hashes of its parents that are read
    back    the last page with records, as `at` was; `tail`: hashes of its last ones; `full`: how many it held
    rows    records of this pass so far, -1 where some were not read; `counted`: the place `at` is a number of them;
            `named`: it is a value of the last record as well, and perhaps that is what it means
    longest rows of the longest page so far
    page_is a hash of the last page's records; `alike`: how many pages before it were the same; `ring`: of a page that
            is remembered, as `mark` is, `rounds`: how often its records came again
    seek    pages to go back next, while reading looks for where it was; `tries`: how often it went back
    loose   a joint of two pages was passed that may have a gap
    prints  hashes of the last pass's pages, one behind the other; `printed`: of this one's
    clock   the source's time at the first request of the pass; `sure`: the highest value that is no later
    order   up or down: all values so far, of which `latest` is the last; -: neither
    prior   highest value of the last pass, where the mark stayed below it
    several the mark is one over several listings
    ahead   records of this pass that are dated further ahead than clocks differ; `told`: of the last one
    """

    at: Any = None
    page: int = 1
    since: Any = None
    high: Any = None
    known: dict[str, list[Any]] = field(default_factory=dict)
    fresh: dict[str, list[Any]] = field(default_factory=dict)
    whole: bool = True
    short: bool = False
    mark: str = ""
    body: str = ""
    until: Any = None
    last: bool = False
    token: Any = None
    empty: int = 0
    items: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    taken: int = 0
    records: str = ""
    parent: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    back: Any = None
    tail: list[str] = field(default_factory=list)
    full: int = 0
    rows: int = 0
    counted: bool = False
    named: bool = False
    longest: int = 0
    page_is: str = ""
    alike: int = 0
    ring: str = ""
    rounds: int = 0
    seek: int = 0
    tries: int = 0
    loose: bool = False
    prints: str = ""
    printed: str = ""
    clock: str = ""
    sure: Any = None
    order: str = ""
    latest: Any = None
    prior: Any = None
    several: bool = False
    ahead: int = 0
    told: int = 0

    @classmethod
    def of(cls, cursor: Cursor | None) -> Reading:
        try:
            return cls(**{name: _copied(value) for name, value in (cursor or {}).items()})
        except TypeError:
            message = "the stored cursor is not one of this connector"
        raise GiveUp(message, code="bad_cursor", advice="read the stream anew with --full-refresh")

    def cursor(self) -> dict[str, Any]:
        """As plain JSON; what is as it was at the start is left out."""
        start = Reading()
        names = self.__dataclass_fields__
        return {name: _copied(getattr(self, name)) for name in names if getattr(self, name) != getattr(start, name)}

    def begin_anew(self, stream: str) -> None:
        """Go back to where the pass began: the source refuses the place at which the last flight stopped.

        Places end, after minutes or days, or with the record that they name.
        """
        result = "it is no longer known there: the pass is read from its beginning"
        log.info("place_refused", stream=stream, page=self.page, result=result)
        self.__dict__.update(self.beginning().__dict__)

    def beginning(self) -> Reading:
        kept = {"since": self.since, "token": self.token, "items": self.items, "prior": self.prior}
        return Reading(**kept, prints=self.prints, told=self.told)

    def validators(self, url: httpx.URL, options: Pagination) -> dict[str, str]:
        """Headers that let the source answer "unchanged" for a page that was read before.

        None for the last page of several: what says that another one follows now may stand outside of its body.
        """
        etag, modified, following = self.known.get(hashed(str(url)), ["", "", None])
        if following is None and options.type != "none":
            return {}
        return {name: text for name, text in (("If-None-Match", etag), ("If-Modified-Since", modified)) if text}

    def validator_of_now(self, url: httpx.URL) -> dict[str, str]:
        """The header that lets the source answer "unchanged" for a page of this very pass.

        A time is none: what changed within the same second would pass for unchanged.
        """
        etag = self.fresh.get(hashed(str(url)), [""])[0]
        return {"If-None-Match": etag} if etag else {}

    def unchanged(self, url: httpx.URL, links: Links) -> Any:
        """The page after one that is as it was; None: it was the last. Links that came with the answer go first."""
        name = hashed(str(url))
        etag, modified, following = self.known.pop(name)
        if links.told:
            following = links.following
        self.fresh[name] = [etag, modified, following]
        self.whole = False  # its records were not seen in this pass, so nobody may conclude that others are gone
        return following

    def changed(self, url: httpx.URL, answer: Answer, following: Any) -> None:
        """Remember a page that was read, if the source can tell next time that it is unchanged."""
        name = hashed(str(url))
        self.known.pop(name, None)
        if self.short and following is not None:
            return  # a source without an empty last page answers 404 after it, which is an error after any other page
        etag, modified = answer.headers.get("etag", ""), last_modified(answer.headers)
        if (etag or modified) and len(self.fresh) < REMEMBERED:
            self.fresh[name] = [etag, modified, following]

    def advance(self, following: Any, where: str) -> None:
        """Go on to the next page. A source that leads in a circle is a GiveUp.

        Brent's way: one remembered place, renewed at each power of two, finds a circle of any length, also across legs.
        """
        self.at = following
        self.page += 1
        self.taken, self.records = 0, ""
        name = hashed(repr(following))
        if name == self.mark:
            raise circle("the source leads back to a page that was read", where)
        if self.page & (self.page - 1) == 0:
            self.mark = name

    def same_body(self, body: bytes) -> bool:
        """Whether this page is the one before once more: the source does not heed the parameter."""
        name = hashed(body)
        same, self.body = name == self.body, name
        return same

    def repeats(self, records: str) -> int:
        """How often this page's records came before: in a row, or as the end of a circle. `records`: a hash of them."""
        self.alike = self.alike + 1 if records == self.page_is else 0
        self.rounds += records == self.ring and not self.alike
        self.page_is = records
        if self.page & (self.page - 1) == 0:
            self.ring = records
        return max(self.alike, self.rounds)

    def is_news(self, key: str, version: str) -> bool:
        """Whether an item is another one than in the last pass. What there is no room for is news each time."""
        name, told = hashed(key), hashed(version)
        if len(self.seen) < MOST_VERSIONS:
            self.seen[name] = told
            return self.items.get(name) != told
        return self.items.pop(name, None) != told  # what it was is not known the next time, so it is not kept either

    def count(self, records: int, most_pages: int, where: str) -> None:
        """Raises GiveUp after too many pages, or too many without a record."""
        self.empty = 0 if records else self.empty + 1
        if self.empty >= MOST_EMPTY:
            raise circle(f"{MOST_EMPTY} pages without a record come one after another", where)
        if self.page > most_pages:
            advice = "raise max_pages if the listing is that long, or read it in windows (step)"
            message = f"the listing has more than {most_pages} pages"
            raise GiveUp(message, code="pagination_loop", where=where, advice=advice)

    def note(self, values: Sequence[Any]) -> None:
        """Keep what the mark will be made of: values of the cursor, in the order of their records."""
        found = [value for value in values if highest(None, (value,)) is not None]
        if self.clock and _far(highest(None, found), self.clock):
            near = [value for value in found if not _far(value, self.clock)]
            self.ahead, found = self.ahead + len(found) - len(near), near
        if not found:
            return
        self.high = highest(self.high, found)
        if not self.clock:
            self.sure = self.high
            return
        if self.order != "-" and (kind_of(found[0]) != "time" or is_number(found[0])):
            self.order, self.latest = direction(self.order, self.latest, found), highest(None, found[-1:])
        found = [self.high] if not is_later(self.high, self.clock) else found
        self.sure = highest(self.sure, (value for value in found if not is_later(value, self.clock)))

    @property
    def is_last(self) -> bool:
        """Whether the end of this listing is the end of the pass, and not of a window that another one follows."""
        return self.until is None or self.last or self.loose

    def marks(self) -> tuple[Any, Any, bool, str, int]:
        return self.high, self.sure, self.loose, self.clock, self.ahead

    def forget_ahead(self, now: float) -> None:
        """Begin anew where the mark of before lies ahead of our Unix time: what came since was never asked for."""
        clock = datetime.fromtimestamp(now, UTC).isoformat()
        if self.page == 1 and self.at is None and self.until is None and self.since is not None:
            self.since = None if _far(self.since, clock) else self.since

    def tell_ahead(self, stream: str) -> None:
        """Say, once, that records are dated ahead; where reading is at the end of a pass."""
        if self.ahead > self.told:
            result = "they are read, and the mark stays below them; each flight reads them again"
            log.warning("cursor_ahead", stream=stream, records=self.ahead, result=result)

    def mark_after(self) -> tuple[Any, Any]:
        """The mark that the pass leaves, and the highest value of it where the mark stays below that.

        One answer is of one moment. Several are not: a record that changed meanwhile may stand where reading has been,
        and another one that changed later may have been met. Values that are times count up to the pass's beginning;
        of others the highest of the pass before is safe, or of this one where they came in order. Numbers that would
        all be times to come are ids.
        """
        high = higher(self.since, self.high)
        if self.loose:
            return self.since, None
        ahead = bool(self.clock) and is_ahead(self.high, self.clock)
        ids = ahead and (self.sure is None if self.since is None else is_ahead(self.since, self.clock))
        if self.page == 1 and not self.several and (ids or not ahead):
            return high, None
        kind = "other" if ids else kind_of(self.high)
        if kind == "time" or (kind == "local" and (self.several or self.order == "-")):
            return higher(self.since, self.sure), None
        if not self.clock or (self.order != "-" and not self.several):
            return high, None
        return higher(self.since, self.prior), high

    def finish(self) -> None:
        """The pass is over: the next one begins at the first page, from the mark or the window's end."""
        high, prior = self.mark_after() if self.until is None or self.loose else (self.until, None)
        items = self.seen if self.whole else dict([*self.items.items(), *self.seen.items()][-MOST_VERSIONS:])
        prints = self.printed if self.page > 1 else ""
        after = Reading(since=high, known=self.fresh, token=self.token, items=items, prints=prints, prior=prior)
        after.told = self.ahead
        if self.until is not None:
            after.known = {}  # the next window has other addresses
        self.__dict__.update(after.__dict__)


def _far(value: Any, clock: str) -> bool:
    """Whether a value is a date too far ahead to be the mark; of numbers, which may be ids, only what means `never`."""
    return is_ahead(value, clock) and (not is_number(value) or kind_of(value) == "other")


def began(headers: Mapping[str, str], asked: float) -> str:
    """The source's time at a request that was sent at `asked`, our Unix time; ours where it tells none.

    It tells whole seconds: where both agree in them, ours is finer.
    """
    ours = datetime.fromtimestamp(asked, UTC)
    theirs = instant(headers.get("date", ""))
    return (ours if theirs is None or abs(theirs - ours) < timedelta(seconds=1) else theirs).isoformat()


_REFUSING = {"unexpected_status", "not_found", "error_inside", "graphql_error"}


def refuses_place(error: GiveUp) -> bool:
    """Whether an answer to the first request of a flight may mean that its place is no longer known."""
    return error.code in _REFUSING


def circle(message: str, where: str) -> GiveUp:
    return GiveUp(message, code="pagination_loop", where=where, advice="check pagination: its type and parameters")


def page_params(options: Pagination, at: Any, size: int | None = None) -> dict[str, Any]:
    """The parameters that ask for the page `at`; None is the first one."""
    params: dict[str, Any] = {}
    rows = size or options.size
    if options.size_param and rows:
        params[options.size_param] = rows
    if options.type == "page":
        params[options.page_param] = options.start if at is None else at
    elif options.type == "offset":
        params[options.offset_param] = at or 0
    elif options.type == "cursor" and at is not None:
        params[options.cursor_param] = at
    return params


def next_page(
    options: Pagination, answer: Answer, body: Any, items: Sequence[Any], at: Any, longest: int = 0
) -> tuple[Any, bool]:
    """The place after this page (None: it was the last), and whether the source itself says that nothing is left.

    Numbers and offsets end at an empty page only, if `until` says no more: a short one may come of a server's own
    limit or filter. With `short`, one with as many rows as servers have for a limit is not the last, if
    none before it held more (`longest`).
    """
    count = len(items)
    if options.more_path:
        more = dig(body, options.more_path)
        if more is MISSING or not more or more == "false":
            return None, more is not MISSING
    if options.done_path and dig(body, options.done_path) in (True, "true"):
        return None, True
    if options.type in ("page", "offset"):
        first = options.start if options.type == "page" else 0
        following = (first if at is None else at) + (1 if options.type == "page" else count)
        over = _counted_out(options, body, following)
        short = options.until == "short" and count < (options.size or 0)
        short = short and (count < longest or count not in _LIMITS)
        return (None if over or short or not count else following), False
    links = Links.of(answer.headers)
    if options.type == "none":
        return None, links.following is None
    if options.type == "link" and not options.cursor_path:
        return links.following, True
    return _next_cursor(options, answer, body, items)


def refuse_start(options: Pagination, body: Any, at: Any, where: str) -> None:
    """Raises GiveUp where the first page that was asked for is not the source's first one, as it says itself."""
    beside = body.get("page") if isinstance(body, dict) else None
    later = any(isinstance(place, dict) and place.get("first") is False for place in (body, beside))
    if options.type == "page" and at is None and options.start > 0 and later:
        message = f"the source says that page {options.start} is not its first one"
        advice = "it counts from 0: set pagination.start: 0"
        raise GiveUp(message, code="wrong_start", where=where, advice=advice)


def _counted_out(options: Pagination, body: Any, following: int) -> bool:
    """Whether the body's own count, of rows or of pages, says that there is no such place."""
    path = options.total_path if options.type == "offset" else options.pages_path
    total = dig(body, path) if path else MISSING
    if isinstance(total, str) and re.fullmatch("[0-9]{1,18}", total):
        total = int(total)
    if isinstance(total, bool) or not isinstance(total, int):
        return False
    if options.type == "offset":
        return following >= total and total not in _COUNTED_TO
    return following >= total + options.start


def _next_cursor(options: Pagination, answer: Answer, body: Any, items: Sequence[Any]) -> tuple[Any, bool]:
    found: Any = MISSING
    if options.cursor_header:
        found = answer.headers.get(options.cursor_header, "").strip() or None
    elif options.cursor_record:
        found = dig(items[-1], options.cursor_record) if items else None
    else:
        found = dig(body, options.cursor_path or "")
    if found is MISSING:
        return None, False
    if found is None or found is False or found == "":
        return None, not options.cursor_record
    if options.place == "body" and isinstance(found, list) and all(type(part) in (str, int, float) for part in found):
        return found or None, False  # the sort values of the last record, as search engines want them back
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise GiveUp("the next cursor is no text or number", code="bad_cursor", advice="check pagination.cursor_path")
    return found, False


@dataclass(frozen=True)
class Links:
    """What a Link header says of pages: whether it names any (`told`), and the next one."""

    told: bool = False
    following: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Links:
        links = httpx.Response(200, headers={"Link": headers.get("link", "")}).links
        found = {word: entry.get("url") for rel, entry in links.items() if rel for word in rel.lower().split()}
        return cls(not found.keys().isdisjoint(("next", "prev", "previous", "first", "last")), found.get("next"))


def hashed(text: str | bytes) -> str:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()[:16]


def _copied(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value
