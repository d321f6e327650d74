"""What detection says about a text: which kind of personal data stands where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

MODEL, PATTERN, CONTEXT, CHECKSUM, RULE = range(5)
"""Why a hit is believed, weakest first: a language model says so, its form, a word near it, its check digits, a
person's own rule."""


DOUBTED = 0.35
"""presidio's default threshold, and the score of what `doubts` doubts."""

THRESHOLD = 0.37
"""What is acted on where nothing else is said: all that is found, but what is doubted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: offsets are code points, `end` is exclusive, `entity_type` is presidio's name."""

    entity_type: str
    start: int
    end: int
    score: float


class Hit(NamedTuple):
    """A finding with the reason for it (`strength`), which decides when findings overlap."""

    entity: str
    start: int
    end: int
    score: float
    strength: int = PATTERN


def are_apart(hits: Iterable[Hit]) -> bool:
    """They stand in the order of the text, and none reaches into the next."""
    end = 0
    for hit in hits:
        if hit.start < end:
            return False
        end = hit.end
    return True


def without_contained(hits: Iterable[Hit]) -> list[Hit]:
    """In the order of the text, without those that lie in an equal or better one of the same entity."""
    hits = set(hits)
    if len(hits) < 2:
        return list(hits)
    kept: list[Hit] = []
    open_ones: dict[str, list[Hit]] = {}
    for hit in sorted(hits, key=lambda h: (h.start, -h.end, -h.score, -h.strength, h.entity)):
        # Only what reaches beyond this start can contain it or any later one: few, however long the text is.
        around = [other for other in open_ones.get(hit.entity, ()) if other.end > hit.start]
        if not any(hit.end <= other.end and hit.score <= other.score for other in around):
            kept.append(hit)
            around.append(hit)
        open_ones[hit.entity] = around
    return kept


class Failure(str):
    """A stable code, which knows the recogniser or rule that failed. It travels wherever codes do."""

    __slots__ = ("rule",)
    rule: str

    def __new__(cls, code: str, rule: str = "") -> Self:
        made = super().__new__(cls, code)
        made.rule = rule or getattr(code, "rule", "")
        return made


class ScanError(Exception):
    """One text could not be scanned to its end. Carries a stable code and the rule that failed, nothing of the text."""

    def __init__(self, code: str, rule: str = "") -> None:
        super().__init__(code)
        self.code = Failure(code, rule)

    @property
    def rule(self) -> str:
        return self.code.rule
