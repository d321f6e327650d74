"""Whether a listing that is cut by counting was read without a gap.

Where a page begins at a number (`page=3`, `offset=200`), a row that goes away, or moves to another place, moves those
behind it up by one: the reader's next page then begins behind a row that no page held. So the joint of two pages is
looked at:

offset   the last row is asked for once more, in one answer with the next ones
others   the page before is asked for once more, behind the next one: it is as it was (the same bytes, or 304), it ends
         with the same row, or its rows are given out once more, with those that moved into it
neither  nothing of the page is there any more: reading goes back, at last to the beginning

Joints are looked at where a loss would stay: in listings that are followed by a cursor, whose mark passes the row, and
in those whose end says that everything was read, so that what was not met is deleted. Of the latter a long one is read
without that the first time, and proves nothing then; later only joints between other rows than last time are looked at.

The place that a source gives (a link, a cursor) counts too, if the number in it is that of the pages or rows so far.
It may be the last record's id as well, where ids have no holes: then the page behind it tells, by its own last record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from bees.core.paging import hashed
from bees.core.paths import MISSING, dig
from bees.core.places import names, number_in
from nectar.jsonrows import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bees.core.paging import Pagination, Reading

TAIL = 50
"""Last rows of a page that are remembered, as hashes."""
PROVEN_AT_ONCE = 10
"""Pages of a first full read whose joints are looked at."""
_PRINT = 8
"""Characters of a record's name in a pass's prints: of each page the first and the last one."""
_MOST_PRINTS = 2_000 * _PRINT * 2
MOST_TRIES = 10
"""Times that one pass goes back; after them it goes on, proves nothing, and leaves the mark where it was."""
SAME = 2
"""Pages in a row that may be the one before once more, as rows that moved make them."""
UNSEEN = ("304",)
"""The tail of a page that the source called unchanged."""


@dataclass(frozen=True)
class Footing:
    """The joints of one listing.

    told     fields that say which record it is, and whether it was edited: its key and its cursor; all of it if empty
    followed the pass leaves a mark behind it
    claims   its end may say that everything was read
    """

    paging: Pagination
    told: Sequence[str] = ()
    followed: bool = False
    claims: bool = False

    def watched(self, reading: Reading) -> bool:
        """Whether joints matter in this pass, and are not given up."""
        if self.paging.steady or self.paging.type == "none" or self.paging.cursor_record or reading.loose:
            return False
        return self.followed or (self.claims and reading.whole and reading.since is None)

    def overlap(self, reading: Reading) -> int:
        """Rows that are asked for once more with the next ones."""
        more = reading.full > 1 or (self.paging.size or 0) > 1  # or that row would be all that comes
        joined = self.paging.type == "offset" and reading.tail and more and not reading.seek
        return int(bool(joined and self.watched(reading) and reading.at > 0))

    def place(self, reading: Reading) -> Any:
        """What is asked for: the next place, less the overlap."""
        return reading.at - 1 if self.overlap(reading) else reading.at

    def ends(self, items: Sequence[Any]) -> tuple[str, list[str]]:
        """The names of the first record and of the last ones."""
        return (self._name(items[0]) if items else ""), self.names(items[-TAIL:])

    def looks_back(self, reading: Reading, items: Iterable[Any]) -> bool:
        """Whether the page before is to be asked for once more; `items` are those of the page behind it."""
        if not reading.tail or not self._counts(reading) or reading.seek or not self.watched(reading):
            return False
        if self.overlap(reading):
            return False
        if self.followed:
            return True
        first = next((self._name(item) for item in items), "")
        if first in reading.tail:
            reading.loose = True  # rows were moved back by one that came here from where reading has not been
            return False
        if not reading.prints:
            reading.loose = reading.page > PROVEN_AT_ONCE
            return not reading.loose
        middle = (reading.page - 1) * _PRINT * 2
        return reading.prints[middle - _PRINT : middle + _PRINT] != _print(reading.tail[-1]) + _print(first)

    def _counts(self, reading: Reading) -> bool:
        return self.paging.type in ("page", "offset") or reading.counted

    def names(self, items: Iterable[Any]) -> list[str]:
        """What tells each record from others, and from itself after it was edited, when it may stand elsewhere."""
        return [self._name(item) for item in items]

    def _name(self, item: Any) -> str:
        if isinstance(item, dict) and self.told:
            found = [dig(item, name) for name in self.told]
            item = item if MISSING in found else found
        return hashed(text(item).encode("utf-8", "backslashreplace"))[:12]

    def joined(self, reading: Reading, items: Iterable[Any]) -> int | None:
        """Records at the beginning of this page that were read before; None where there is a gap before it.

        Only after an overlap, or a step back; otherwise there is nothing to say.
        """
        if not reading.seek and not self.overlap(reading):
            return 0
        known = set(reading.tail)
        if reading.seek and (reading.at is None or reading.at <= self._first() or known.issubset(UNSEEN)):
            reading.seek = 0
            return 0
        first = next(iter(items), MISSING)
        if not reading.seek and first is not MISSING and self._name(first) == reading.tail[-1]:
            return 1
        if not self.followed:
            reading.loose = True  # what was missed comes with the next pass, and this one proves nothing
            return 0
        if any(self._name(item) in known for item in items):
            reading.seek = 0
            return 0
        return None

    def moved(self, reading: Reading, items: Iterable[Any]) -> bool | None:
        """Whether the page before holds others now than when it was read; None: nothing of it is there any more."""
        names = self.names(items)
        if reading.tail == list(UNSEEN):
            return True
        if names and names[-1] == reading.tail[-1]:
            return False
        if not self.followed:
            reading.loose = True
            return False
        return None if set(names).isdisjoint(reading.tail) else True

    def back(self, reading: Reading) -> None:
        """Go back from a gap: one page, two, four; a source that gives links or cursors is read from its beginning."""
        reading.tries += 1
        reading.mark = reading.body = reading.page_is = reading.ring = ""
        reading.printed = ""
        reading.page += 1
        reading.taken = 0
        if reading.tries > MOST_TRIES:
            reading.loose, reading.seek, reading.tail = True, 0, []
        elif self.paging.type in ("page", "offset"):
            step = max(1, reading.seek) * (1 if self.paging.type == "page" else max(1, reading.full))
            begin = reading.at if reading.at is not None else self._first()
            reading.at = max(self._first(), begin - step - 1)
            reading.seek = max(1, reading.seek) * 2
        else:
            reading.at, reading.tail, reading.rows, reading.full, reading.counted = None, [], 0, 0, False

    def _first(self) -> int:
        return self.paging.start if self.paging.type == "page" else 0

    def names_records(self, reading: Reading, last: Any, end: Any) -> bool:
        """Whether the place `at` names a record, and counts none: as before this page, so behind it.

        `last`: its last record; `end`: the place behind that one. A row that had gone away would part the two.
        """
        return reading.named and names(last, end)

    def came_before(self, reading: Reading, ends: tuple[str, Sequence[str]], count: int, mark: str = "") -> int:
        """How often the records of this page came before; 0 for records that nothing tells from each other.

        `mark`: a hash of them all, where there is one.
        """
        alike = count > 1 and len({ends[0], *ends[1]}) == 1
        return reading.repeats(hashed(f"{count} {mark or [ends[0], *ends[1]]}")) if count and not alike else 0

    def passed(
        self,
        reading: Reading,
        ends: tuple[str, Sequence[str]],
        count: int,
        known: int,
        following: Any,
        url: httpx.URL,
        last: Any = None,
    ) -> None:
        """Remember the page that was read, of `count` records of which some were known, before reading moves on.

        ends    names of its first record, and of its last ones
        last    its last record, where the place behind it may name that
        """
        reading.rows += count - known if reading.rows >= 0 else 0
        reading.longest = max(reading.longest, count)
        if (
            self.claims
            and not self.paging.steady
            and len(reading.printed) == (reading.page - 1) * _PRINT * 2 < _MOST_PRINTS
        ):
            reading.printed += _print(ends[0]) + _print(ends[1][-1] if ends[1] else "")
        reading.counted = self.paging.type in ("link", "cursor") and counted(reading, count, following, url)
        reading.named = reading.counted and names(last, following)
        if count and self.watched(reading):
            reading.back, reading.tail, reading.full = reading.at, list(ends[1][-TAIL:]), count

    def unseen(self, reading: Reading, following: Any, url: httpx.URL) -> None:
        """Remember a page that the source called unchanged."""
        reading.rows = -1
        reading.counted = self.paging.type in ("link", "cursor") and counted(reading, 0, following, url)
        reading.back, reading.tail, reading.full = reading.at, list(UNSEEN), 0


def _print(name: str) -> str:
    return name[:_PRINT].ljust(_PRINT, "-")


def counted(reading: Reading, count: int, following: Any, url: httpx.URL) -> bool:
    """Whether the next place is a number of pages or rows: of those so far, or one page more than this one is.

    Of a link it is what differs from the address of this page. A number that only looks so costs a request, no more.
    """
    if following is None:
        return False
    if not isinstance(following, str) or "://" not in following:
        pairs = [(number_in(reading.at), number_in(following))]
    else:
        try:
            after = _parts(httpx.URL(following))
        except httpx.InvalidURL:
            return False  # a place of a function's own, that looks like an address
        before = _parts(url)
        changed = [(before.get(name), value) for name, value in after.items() if before.get(name) != value]
        pairs = [(number_in(old), number_in(new)) for old, new in changed]
    likely = {reading.page, reading.page + 1, reading.rows - 1, reading.rows, reading.rows + 1}
    for old, new in pairs:
        if new is not None and (new in likely or reading.rows < 0 or (old is not None and new - old in (1, count))):
            return True
    return False


def _parts(url: httpx.URL) -> Mapping[Any, str]:
    return {**dict(enumerate(url.path.split("/"))), **dict(url.params.multi_items())}
