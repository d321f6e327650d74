"""Phone numbers: what presidio's recogniser finds, on candidates only, and one written form for each number.

presidio lets Google's library walk a text once per region, in pure Python; nearly every text holds a few candidates at
most. So the library's own candidate pattern runs first, and each candidate is judged alone, with its neighbours: one
character before (a letter there rules it out) and three after (its time-stamp rule reads `:20` there). Regions whose
numbering plan rules the candidate out are left out, and where one region takes all of it no other is asked: presidio
would drop what lies inside. Judged candidates are remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import phonenumbermatcher

from nectar.scrub.entities import PHONE_NUMBER
from nectar.scrub.findings import Hit
from nectar.scrub.numbering import may_be

REGIONS = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")
"""Where a number without a country code may belong: presidio's choice."""

SCORE = 0.4
_LENIENCY = phonenumbers.Leniency.VALID
"""presidio's choice too, as its score."""

_CANDIDATE = phonenumbermatcher._PATTERN  # noqa: SLF001  the library's own, so that no candidate is missed
_PLAIN = re.compile(r"[0-9 ()\[\]./-]+")
"""A candidate that means its digits and nothing else: no plus sign, no extension, no digits of other scripts."""

_NO_DIGITS = str.maketrans("", "", " ()[]./-")
_BEFORE, _AFTER = 1, 3
_FEWEST_DIGITS = 4
_REMEMBERED = 100_000


class _Groups(phonenumbers.PhoneNumberMatcher):  # type: ignore[misc]
    """The library's walk through a text where nothing matches: notes each group of characters that it would try."""

    def __init__(self, text: str) -> None:
        super().__init__(text, None, leniency=_LENIENCY)
        self.groups: list[str] = []

    def _parse_and_verify(self, candidate: str, offset: int) -> None:
        # The library refuses a number that touches a Latin letter, in every region; only ASCII's are looked at here.
        begins_with_digit = candidate[:1].isdigit()
        after = offset + len(candidate)
        touched = _is_letter(self.text[after : after + 1]) or (
            begins_with_digit and offset > 0 and _is_letter(self.text[offset - 1])
        )
        if not touched:
            self.groups.append(candidate)


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _regions(text: str) -> tuple[str, ...]:
    """The regions in which the text may hold a number."""
    walk = _Groups(text)
    walk.has_next()
    if not all(_PLAIN.fullmatch(group) for group in walk.groups if group):
        return REGIONS
    numbers = {group.translate(_NO_DIGITS) for group in walk.groups}
    return tuple(region for region in REGIONS if any(may_be(digits, region) for digits in numbers if digits))


@lru_cache(maxsize=_REMEMBERED)
def _judge(text: str) -> tuple[tuple[int, int], ...]:
    """The spans that presidio's recogniser finds in a candidate and its neighbours."""
    regions = _regions(text)
    if not regions:
        return ()
    candidates = [match.span() for match in _CANDIDATE.finditer(text)]
    spans: set[tuple[int, int]] = set()
    for region in regions:
        spans.update((m.start, m.end) for m in phonenumbers.PhoneNumberMatcher(text, region, leniency=_LENIENCY))
        if len(candidates) == 1 and candidates[0] in spans:
            return (candidates[0],)
    return tuple(sorted(span for span in spans if not any(_within(span, other) for other in spans)))


def _within(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span != other and other[0] <= span[0] and span[1] <= other[1]


def phone_hits(line: str) -> list[Hit]:
    """The phone numbers of one line: the spans that presidio's recogniser finds in it."""
    hits = []
    for match in _CANDIDATE.finditer(line):
        if sum(map(str.isdigit, match[0])) < _FEWEST_DIGITS:
            continue
        first, last = match.span()
        first = max(0, first - _BEFORE)
        for start, end in _judge(line[first : last + _AFTER]):
            if first + end <= last:
                hits.append(Hit(PHONE_NUMBER, first + start, first + end, SCORE))
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
