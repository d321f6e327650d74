"""Which weak stretches a word may help, of many at once: the others need not become Python's objects.

The same question as `context.may_help`, asked with arrays. It lets too many through, never too few.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nectar.scrub.find import context
from nectar.scrub.find.entities import PHONE_NUMBER


@dataclass(frozen=True)
class Helped:
    """Words in texts that are looked at together.

    text     an ASCII character for each of the texts'
    ascii    up to where that is what the texts themselves say; beyond it nothing is ruled out
    loosely  what `context.stands_about` takes for a word counts, too
    """

    text: bytes
    ascii: int
    loosely: bool
    _known: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def may_help(self, entity: str, starts: Any, stops: Any, begins: Any) -> Any:
        """Whether a word may lift a hit of this entity in each stretch. `begins`: of the text that each lies in.

        Of telephone numbers it is always said: what presents them is more than words.
        """
        if entity == PHONE_NUMBER:
            return np.ones(len(starts), dtype=bool)
        places, shortest = self._places(entity)
        before, after = context.reach(loosely=self.loosely)
        first = np.searchsorted(places, np.maximum(starts - before, begins), side="left")
        last = np.searchsorted(places, stops + after - shortest, side="right")
        return (first < last) | (starts >= self.ascii)

    def _places(self, entity: str) -> tuple[Any, int]:
        """Where a word of the entity may stand, in order, and the length of the shortest."""
        if entity not in self._known:
            words = [word.encode() for word in context.needles(entity, loosely=self.loosely) if word.isascii()]
            found = [place for word in words for place in _all(self._lower, word)]
            self._known[entity] = (np.unique(np.array(found, dtype=np.int64)), min(map(len, words), default=0))
        return self._known[entity]

    @cached_property
    def _lower(self) -> bytes:
        return self.text[: self.ascii].lower()


def _all(text: bytes, word: bytes) -> list[int]:
    """Every place where the word stands."""
    found = []
    place = text.find(word)
    while place >= 0:
        found.append(place)
        place = text.find(word, place + 1)
    return found
