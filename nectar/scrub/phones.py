"""Phone numbers: presidio's recogniser on candidates only, and one written form for each number.

Google's library walks a text once per region in pure Python; nearly every text holds a few candidates at most. So its
own candidate pattern runs first, and each candidate is judged alone, with its neighbours: one character before (a
letter there rules it out) and three after (its time-stamp rule reads `:20` there). Judged candidates are remembered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import phonenumbermatcher

from nectar.scrub.entities import PHONE_NUMBER
from nectar.scrub.findings import Hit

REGIONS = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")
"""Where a number without a country code may belong: presidio's choice."""

_CANDIDATE = phonenumbermatcher._PATTERN  # noqa: SLF001  the library's own, so that no candidate is missed
_BEFORE, _AFTER = 1, 3
_FEWEST_DIGITS = 4
_REMEMBERED = 100_000


@lru_cache(maxsize=1)
def _recogniser() -> Any:
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    return PhoneRecognizer(supported_regions=REGIONS)


@lru_cache(maxsize=_REMEMBERED)
def _judge(text: str) -> tuple[tuple[int, int, float], ...]:
    return tuple((r.start, r.end, r.score) for r in _recogniser().analyze(text, [PHONE_NUMBER]))


def phone_hits(line: str) -> list[Hit]:
    """The phone numbers of one line: the spans that presidio's recogniser finds in it."""
    hits = []
    for match in _CANDIDATE.finditer(line):
        if sum(map(str.isdigit, match[0])) < _FEWEST_DIGITS:
            continue
        first, last = match.span()
        first = max(0, first - _BEFORE)
        for start, end, score in _judge(line[first : last + _AFTER]):
            if first + end <= last:
                hits.append(Hit(PHONE_NUMBER, first + start, first + end, score))
    return hits


@lru_cache(maxsize=_REMEMBERED)
def e164(text: str) -> str | None:
    """The number as `+12025550143`, in the first region where it is valid; None where it is valid nowhere."""
    for region in REGIONS:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return None


def phone_of_digits(digits: str) -> bool:
    """A bare integer is a phone number: as it stands, or as an international number that lost its plus."""
    return len(digits) >= 7 and (e164(digits) is not None or e164("+" + digits) is not None)
