"""What detection says about a text: which kind of personal data stands where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PATTERN, CONTEXT, CHECKSUM, RULE = range(4)
"""Why a hit is believed, weakest first: its form, a word near it, its check digits, a person's own rule."""


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


class ScanError(Exception):
    """One text could not be scanned to its end. Carries a stable code and nothing of the text."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
