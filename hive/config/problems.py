"""What is wrong in a configuration: where, what was expected, and what was perhaps meant. Never a value."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def closest(word: str, choices: Iterable[str]) -> str:
    """The choice that `word` may be a slip of; empty if none is near. Never the very word."""
    return _closest(word, tuple(choices))


@functools.lru_cache(maxsize=1024)
def _closest(word: str, choices: tuple[str, ...]) -> str:
    """Kept, for one slip may stand in ten thousand bees."""
    by_folded = {choice.casefold(): choice for choice in choices if choice != word}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else ""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown name: "; did you mean 'postgresql'?", or nothing."""
    found = closest(word, choices)
    return f"; did you mean {found!r}?" if found else ""


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `line` 0 is unknown, `bee` and `field` are empty where the whole file is meant."""

    message: str
    file: str = ""
    line: int = 0
    bee: str = ""
    field: str = ""
    expected: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        place = ":".join([part for part in (self.file, str(self.line or "")) if part])
        whose = ", ".join([f"{kind} {name!r}" for kind, name in (("bee", self.bee), ("field", self.field)) if name])
        text = ": ".join([part for part in (place, whose, self.message) if part])
        if self.expected:
            text += f", expected {self.expected}"
        if self.suggestion:
            text += f"; did you mean {self.suggestion!r}?"
        return text


class ConfigProblems(ValueError):
    """All that is wrong, one line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))
