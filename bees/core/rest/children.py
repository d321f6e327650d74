"""A listing below another one: asked once for each of the parents' records. Parents may have parents themselves.

Where reading is: `parent` is the cursor of the parents' page, `done` the parents of it that are read (a hash each),
`at` the one that is being read and its next page. `since` and `high` are the children's own mark, over all parents: it
passes the children of a parent that was not met, so the joints of the parents' pages are looked at as their own are.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from bees.core.cursors import higher
from bees.core.errors import GiveUp
from bees.core.paging import Reading, refuses_place
from bees.core.rest.listing import Listing, Page
from nectar.batch import Reject
from nectar.jsonrows import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bees.core.rest.options import StreamOptions
    from bees.core.rest.source import Source

_ENOUGH = 500
_LONG = 2.0
"""Rows, and seconds, after which what was gathered is given away."""


class Children:
    """Reads the children of all parents; gives pages, each with `reading` moved behind it.

    `followed`: they are parents themselves, of a listing that is followed by a cursor.
    """

    def __init__(self, source: Source, name: str, options: StreamOptions, *, followed: bool = False) -> None:
        self._source = source
        self._name = name
        self._options = options
        told = options.parent
        self._changed_only = bool(told and told.changed_only)
        self._of = told.stream if told else ""
        above = source.options.listings()[self._of]
        self._keys = above.key
        self._followed = followed or (options.incremental and options.cursor is not None)
        kind = Children if above.parent else Listing
        self._parents = kind(source, self._of, above, followed=self._followed)
        self._resumed: Any = None

    def pages(self, reading: Reading, query: Mapping[str, Any]) -> Iterator[Page]:
        """One after another, the last one `ended`. Raises SourceError."""
        gathered, since = Page(), time.monotonic()
        reading.forget_ahead(self._source.clock())
        at, self._resumed = Reading.of(reading.parent), reading.at
        below = False
        try:
            for parents in self._above(at):
                below = True
                reading.clock = reading.clock or at.clock or parents.mark[3]
                for parent in parents.rows:
                    for page in self._of_parent(reading, parent, self._hash(parent), query):
                        gathered.rows += page.rows
                        gathered.rejects += page.rejects
                        if len(gathered.rows) >= _ENOUGH or time.monotonic() - since > _LONG:
                            yield gathered
                            gathered, since = Page(), time.monotonic()
                reading.parent, reading.done, reading.at = at.cursor(), [], None
                reading.page += 1
                reading.loose = reading.loose or at.loose or parents.mark[2]
                reading.whole = reading.whole and (parents.told or not parents.ended)
                below = False
        except GiveUp as error:
            if error.code == "pagination_loop":
                self._leave_circle(reading, below=below)
                yield gathered
            raise
        gathered.told = reading.whole and reading.since is None
        gathered.ended = True
        marks = {"since": at.since, "prior": at.prior} if self._changed_only else {}
        kept = {name: mark for name, mark in marks.items() if mark is not None}
        gathered.mark = reading.marks()
        mark, prior = reading.mark_after()
        reading.tell_ahead(self._name)
        after = Reading(since=mark, prior=prior, parent=kept, told=reading.ahead)
        reading.__dict__.update(after.__dict__)
        yield gathered

    def _leave_circle(self, reading: Reading, *, below: bool) -> None:
        """Whoever went on from within a circle would come round again for ever, also once the source is mended.

        `below`: it is that of one parent's children, which are read anew; else the parents are.
        """
        reading.at = None
        if not below and isinstance(self._parents, Listing):
            before = Reading.of(reading.parent)
            reading.parent, reading.done = before.beginning().cursor(), []

    def first(self, where: str) -> list[dict[str, Any]]:
        """A first page of the first parent's children. Raises SourceError."""
        for parent in self._parents.first(where)[:1]:
            return Listing(self._source, self._name, self._options, parent).first(where)
        return []

    def _above(self, at: Reading) -> Iterator[Page]:
        """Pages of parents, each with `at` moved behind it, the last one `ended`."""
        if isinstance(self._parents, Children):
            yield from self._parents.pages(at, {})
            return
        ended, resumed = False, at.at is not None
        while not ended:
            try:
                for page in self._parents.turns(at, {}, conditional=False):
                    ended, resumed = page.ended, False
                    yield page
            except GiveUp as error:
                if not resumed or not refuses_place(error):
                    raise
                at.begin_anew(self._of)
                resumed = False

    def _of_parent(
        self, reading: Reading, parent: Mapping[str, Any], name: str, query: Mapping[str, Any]
    ) -> Iterator[Page]:
        """Pages of one parent's children, or parts of them, each with `reading` moved behind it."""
        while name not in reading.done:
            yield from self._turn(reading, parent, name, query)

    def _turn(self, reading: Reading, parent: Mapping[str, Any], name: str, query: Mapping[str, Any]) -> Iterator[Page]:
        """One page of one parent's children."""
        inner = Reading(since=reading.since, clock=reading.clock, several=True)
        if reading.at and reading.at[0] == name:
            inner = Reading.of(reading.at[1])
        where = f"children of a record of {self._of}, page {inner.page}"
        listing = Listing(self._source, self._name, self._options, parent, followed=self._followed)
        try:
            for page in listing.turns(inner, query, conditional=False):
                self._move(reading, inner, page, name)
                yield page
        except GiveUp as error:
            if reading.at is not None and reading.at is self._resumed and refuses_place(error):
                inner.begin_anew(self._name)
                reading.at = None
                return
            if error.code != "not_found":
                raise
            raw = text({key: parent.get(key) for key in self._keys}).encode("utf-8", "backslashreplace")
            gone = Reject(where, "parent_gone", "the source has no children for it (404)", raw)
            page = Page(rejects=[gone], ended=True, mark=(None, None, inner.page > 1, "", 0))
            self._move(reading, inner, page, name)
            yield page

    def _move(self, reading: Reading, inner: Reading, page: Page, name: str) -> None:
        """Move `reading` behind a page of the children of `name`."""
        high, sure, loose, clock, ahead = page.mark if page.ended else inner.marks()
        reading.high, reading.sure = higher(reading.high, high), higher(reading.sure, sure)
        reading.loose, reading.several, reading.order = reading.loose or loose, True, "-"
        reading.clock = reading.clock or clock
        reading.at = None if page.ended else [name, inner.cursor()]
        if page.ended:
            reading.ahead += ahead
            reading.done.append(name)
            reading.whole = reading.whole and page.told

    def _hash(self, parent: Mapping[str, Any]) -> str:
        told = [parent.get(key) for key in self._keys] if self._keys else dict(parent)
        return hashlib.sha256(text(told).encode("utf-8", "backslashreplace")).hexdigest()[:16]
