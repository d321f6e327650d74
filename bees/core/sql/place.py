"""Where reading of one stream stands: what a cursor of a database bee says.

A flight has up to three phases: the rows with a null in their key, by a hash of their content; the rows whose cursor
is null, by key; and all others from `start` on, by cursor and key, or by key alone where there is no cursor. The first
two are left out where the catalog rules such rows out.

    by      the order columns this place belongs to; another order makes it void
    types   what each of them is sorted as: its type, and the collation of a text. The texts below were compared in that
            order, so another one makes the place void, too; empty: an older version did not tell
    table   which table it is, because another one of its name has other rows before this place: the table's own
            number, or when it was made, `@` and the server that says so: others have times of their own. None: not told
    phase   "keyless", "nulls" or "rows"
    after   exact texts of the last row's order columns; empty: none read yet in this phase
    start   where the second phase of this flight begins; None: at the first row
    high    the greatest cursor value sealed so far; never moves backwards
    cap     what `high` may not pass in this flight (the source's clock when it began)
    read    rows that this flight has read, counted where their number is limited
    salt    of the hashes by which rows without a key are known; the stream keeps it
    done    the flight read everything; the next one begins anew from `high` less the look-back
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nectar.batch import Cursor

Phase = Literal["keyless", "nulls", "rows"]


@dataclass(frozen=True)
class Place:
    by: tuple[str, ...]
    phase: Phase = "rows"
    after: tuple[str, ...] = ()
    start: str | None = None
    high: str | None = None
    cap: str | None = None
    done: bool = False
    read: int = 0
    salt: str | None = None
    types: tuple[str, ...] = ()
    table: int | str | None = None

    def cursor(self) -> Cursor:
        told = {"by": list(self.by), "phase": self.phase, "after": list(self.after), "done": self.done}
        marks = {"start": self.start, "high": self.high, "cap": self.cap, "read": self.read or None, "salt": self.salt}
        order = {"types": list(self.types) or None, "table": self.table}
        return told | {name: value for name, value in (marks | order).items() if value is not None}

    def moved(self, after: tuple[str, ...], high: str | None) -> Place:
        return replace(self, after=after, high=self.high if high is None else high)

    def at(self, phase: Phase) -> Place:
        """The start of another phase of the same flight."""
        return replace(self, phase=phase, after=())

    def finished(self) -> Place:
        return Place(self.by, high=self.high, done=True, salt=self.salt, types=self.types, table=self.table)


def place_of(cursor: Cursor | None, first: Place) -> Place | None:
    """The place a cursor tells, or None: there is none yet, or it is of another order than the `first` place has."""
    if not cursor:
        return None
    told = cursor.get("phase")
    phase: Phase = told if told in ("keyless", "nulls") else "rows"
    place = Place(
        by=tuple(map(str, cursor.get("by") or ())),
        phase=phase,
        after=tuple(str(text) for text in cursor.get("after") or ()),
        start=cursor.get("start"),
        high=cursor.get("high"),
        cap=cursor.get("cap"),
        done=bool(cursor.get("done")),
        read=int(cursor.get("read") or 0),
        salt=cursor.get("salt"),
        types=tuple(map(str, cursor.get("types") or ())),
        table=cursor.get("table"),
    )
    known = place.by == first.by and place.types in ((), first.types) and _is_table(place.table, first.table)
    return replace(place, types=first.types, table=first.table) if known else None


def _is_table(told: int | str | None, now: int | str | None) -> bool:
    """Whether it is the table that was told of, as far as that can be known."""
    if isinstance(told, str) and isinstance(now, str) and told.partition("@")[2] != now.partition("@")[2]:
        return True
    return told in (None, now)
