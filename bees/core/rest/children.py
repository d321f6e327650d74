"""A listing below another one: asked once for each of the parents' records. Parents may have parents themselves.

Where reading is: `parent` is the cursor of the parents' page, `done` the parents of it that are read (a hash each),
`at` the one that is being read and its next page. `since` and `high` are the children's own mark, over all parents.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from bees.core.cursors import higher
from bees.core.errors import GiveUp
from bees.core.paging import Reading
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
    """Reads the children of all parents; gives pages, each with `reading` moved behind it."""

    def __init__(self, source: Source, name: str, options: StreamOptions) -> None:
        self._source = source
        self._name = name
        self._options = options
        told = options.parent
        self._changed_only = bool(told and told.changed_only)
        self._of = told.stream if told else ""
        above = source.options.listings()[self._of]
        self._keys = above.key
        self._parents = Children(source, self._of, above) if above.parent else Listing(source, self._of, above)

    def pages(self, reading: Reading, query: Mapping[str, Any]) -> Iterator[Page]:
        """One after another, the last one `ended`. Raises SourceError."""
        gathered, since = Page(), time.monotonic()
        at = Reading.of(reading.parent)
        for parents in self._above(at):
            for parent in parents.rows:
                name = self._hash(parent)
                while name not in reading.done:
                    self._turn(reading, parent, name, query, gathered)
                    if len(gathered.rows) >= _ENOUGH or time.monotonic() - since > _LONG:
                        yield gathered
                        gathered, since = Page(), time.monotonic()
            reading.parent, reading.done, reading.at = at.cursor(), [], None
            reading.page += 1
            reading.whole = reading.whole and (parents.told or not parents.ended)
        gathered.told = reading.whole and reading.since is None
        gathered.ended = True
        kept = {"since": at.since} if self._changed_only and at.since is not None else {}
        after = Reading(since=higher(reading.since, reading.high), parent=kept)
        reading.__dict__.update(after.__dict__)
        yield gathered

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
        ended = False
        while not ended:
            page = self._parents.turn(at, {}, conditional=False)
            ended = page.ended
            yield page

    def _turn(
        self, reading: Reading, parent: Mapping[str, Any], name: str, query: Mapping[str, Any], gathered: Page
    ) -> None:
        """One page of one parent's children."""
        inner = Reading(since=reading.since)
        if reading.at and reading.at[0] == name:
            inner = Reading.of(reading.at[1])
        where = f"children of a record of {self._of}, page {inner.page}"
        try:
            page = Listing(self._source, self._name, self._options, parent).turn(inner, query, conditional=False)
        except GiveUp as error:
            if error.code != "not_found":
                raise
            raw = text({key: parent.get(key) for key in self._keys}).encode("utf-8", "backslashreplace")
            page = Page(
                rejects=[Reject(where, "parent_gone", "the source has no children for it (404)", raw)], ended=True
            )
        gathered.rows += page.rows
        gathered.rejects += page.rejects
        reading.high = higher(reading.high, inner.since if page.ended else inner.high)
        reading.at = None if page.ended else [name, inner.cursor()]
        if page.ended:
            reading.done.append(name)
            reading.whole = reading.whole and page.told

    def _hash(self, parent: Mapping[str, Any]) -> str:
        told = [parent.get(key) for key in self._keys] if self._keys else dict(parent)
        return hashlib.sha256(text(told).encode("utf-8", "backslashreplace")).hexdigest()[:16]
