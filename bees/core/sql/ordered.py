"""In which order the rows of one stream are read, whatever its server speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, Self, TypeVar, get_args

from bees.core.sql.place import Phase, Place

_PHASES: tuple[Phase, ...] = get_args(Phase)


class Sorted(Protocol):
    """A column that rows may be sorted by."""

    @property
    def name(self) -> str: ...

    @property
    def nullable(self) -> bool: ...

    @property
    def exact(self) -> bool:
        """Whether values of it that compare equal are the same, to the last byte."""


class Proving(Protocol):
    """What is read, as far as it proves that its rows differ."""

    @property
    def unique(self) -> frozenset[frozenset[str]]:
        """Columns of which no two rows hold equal values, all of them not null, as the server compares them."""


R = TypeVar("R", bound=Proving)
"""What is read: a table, view or query, as its catalog has it."""
C = TypeVar("C", bound=Sorted)


@dataclass(frozen=True)
class Ordered(Generic[R, C]):
    """One stream, settled: which columns are read, in which order."""

    relation: R
    columns: tuple[C, ...]
    key: tuple[C, ...]
    cursor: C | None
    lookback: float
    by_content: bool = False
    """The key is made of the rows themselves: see bees/core/sql/content.py."""
    sorts: Mapping[str, str] = field(default_factory=dict)
    """What each column is sorted as: one word for all types whose values have one order, and the collation of texts."""
    table: int | str | None = None
    """The table itself, whatever its name: bees/core/sql/place.py; None: there is none, or its server does not tell."""

    @property
    def read(self) -> tuple[C, ...]:
        """The columns that the source itself has."""
        return tuple(c for c in self.columns if c not in self.key) if self.by_content else self.columns

    @property
    def by(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.order("rows"))

    def order(self, phase: Phase) -> tuple[C, ...]:
        """The order columns of a phase other than "keyless". A cursor that is part of the key comes first and once."""
        if self.cursor is None or phase == "nulls":
            return self.key
        return (self.cursor, *(c for c in self.key if c.name != self.cursor.name))

    @property
    def ties(self) -> tuple[C, ...]:
        """Key columns by whose very bytes rows are sorted behind the order columns.

        Without them rows whose keys differ, and compare equal, would be left out where a reading is resumed between
        them: 'a' and 'A' where letters' case is not looked at, 1.0 and 1.00. Where an index proves that there are no
        such rows the order is the index's own.
        """
        names = {c.name for c in self.key}
        if self.by_content or any(names >= columns for columns in self.relation.unique):
            return ()
        return tuple(c for c in self.key if not c.exact)

    @property
    def distinct(self) -> bool:
        """Whether a reading of all rows meets no key twice: one after the other, in the order of a key that is unique.

        With a cursor column a row that changes meanwhile moves ahead of the reading, and comes again.
        """
        proven = any({c.name for c in self.key} >= columns for columns in self.relation.unique)
        return self.cursor is None and not self.by_content and not self.doubtful and proven

    @property
    def doubtful(self) -> tuple[C, ...]:
        """Key columns that may be null."""
        return tuple(c for c in self.key if c.nullable)

    @property
    def phases(self) -> tuple[Phase, ...]:
        nulls = self.cursor is not None and self.cursor.nullable and self.cursor not in self.key
        return (*(("keyless",) if self.doubtful else ()), *(("nulls",) if nulls else ()), "rows")

    def by_key(self) -> Self:
        """The same rows in the order of their key alone."""
        return replace(self, cursor=None)

    def first_place(self) -> Place:
        types = tuple(self.sorts.get(name, "") for name in self.by)
        return Place(by=self.by, phase=self.phases[0], types=types, table=self.table)

    def texts(self, place: Place) -> list[tuple[C, str]]:
        """Whatever a place tells of a column's value, with its column."""
        order = () if place.phase == "keyless" else self.order(place.phase)
        found = list(zip(order, place.after, strict=False))
        if self.cursor is not None:
            marks = (place.start, place.high, place.cap)
            found += [(self.cursor, text) for text in marks if text is not None]
        return found

    def after_phase(self, place: Place) -> Place | None:
        """Where the next phase begins; None after the last one."""
        later = _PHASES[_PHASES.index(place.phase) + 1 :]
        return next((place.at(phase) for phase in later if phase in self.phases), None)
