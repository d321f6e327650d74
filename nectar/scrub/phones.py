"""Phone numbers: what presidio's recogniser finds, on candidates only, and one written form for each number.

presidio lets Google's library walk a text once per region, in pure Python; nearly every text holds a few candidates at
most. So the library's own candidate pattern runs first. Most candidates are settled by the numbering plans: where one
region takes all of it no other is asked, because presidio drops what lies inside. The others are judged alone, with
their neighbours: one character before (a letter there rules it out) and three after (the library's time-stamp rule
reads `:20` there). What was judged is remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import phonenumbermatcher

from nectar.scrub.entities import PHONE_NUMBER
from nectar.scrub.findings import Hit
from nectar.scrub.numbering import verdict

REGIONS = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")
"""Where a number without a country code may belong: presidio's choice."""

SCORE = 0.4
_LENIENCY = phonenumbers.Leniency.VALID
"""presidio's choice too, as its score."""

_CANDIDATE = phonenumbermatcher._PATTERN  # noqa: SLF001  the library's own, so that no candidate is missed
_TIME = phonenumbermatcher._TIME_STAMPS  # noqa: SLF001
_PLAIN = re.compile(r"[0-9 ()\[\]./-]+")
"""Characters that mean digits and nothing else: no plus sign, no extension, no digits of other scripts."""

_SIMPLE = re.compile(r"[0-9]+(?:[-. ][0-9]+)*")
_UNDIVIDED = re.compile(r"[0-9]+(?:-[0-9]+)*")
"""The library takes it for one number or for none: it looks for no smaller number inside."""

_PUNCTUATION = str.maketrans("", "", " ()[]./-")
_MONEY_AND_LEADS = frozenset("%$+([")
"""The library looks twice at a number that touches one of these."""

_BEFORE, _AFTER = 1, 3
_FEWEST_DIGITS = 4
_REMEMBERED = 100_000


def phone_hits(line: str) -> list[Hit]:
    """The phone numbers of one line: the spans that presidio's recogniser finds in it."""
    hits = []
    for match in _CANDIDATE.finditer(line):
        candidate, (first, last) = match[0], match.span()
        if sum(map(str.isdigit, candidate)) < _FEWEST_DIGITS:
            continue
        answer = _at_a_glance(candidate, line[first - 1 : first] if first else "", line[last : last + 1])
        if answer:
            hits.append(Hit(PHONE_NUMBER, first, last, SCORE))
        elif answer is None:
            begin = max(0, first - _BEFORE)
            spans = _judge(line[begin : last + _AFTER])
            hits += [Hit(PHONE_NUMBER, begin + a, begin + b, SCORE) for a, b in spans if begin + b <= last]
    return hits


def _at_a_glance(candidate: str, before: str, after: str) -> bool | None:
    """Whether all of a candidate is a number (True) or nothing in it is (False); None where that takes a closer look.

    `before` and `after` are the characters that it touches, empty at the ends of the text.
    """
    if not _SIMPLE.fullmatch(candidate):
        return None
    undivided = _UNDIVIDED.fullmatch(candidate) is not None
    if _is_letter(before) or _is_letter(after):
        return False if undivided else None
    if not (_is_quiet(before) and _is_quiet(after)) or _TIME.search(candidate):
        return None
    answer = _verdict(candidate.translate(_PUNCTUATION))
    return answer if answer or undivided else None


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _is_quiet(character: str) -> bool:
    """What says nothing about the number beside it: nothing at all, ASCII space and most punctuation."""
    return character.isascii() and not character.isalnum() and character not in _MONEY_AND_LEADS


@lru_cache(maxsize=_REMEMBERED)
def _verdict(digits: str) -> bool | None:
    """A number in one region at least (True), in none (False), or not certain."""
    answers = []
    for region in REGIONS:
        answer = verdict(digits, region)
        if answer:
            return True
        answers.append(answer)
    return None if None in answers else False


@lru_cache(maxsize=_REMEMBERED)
def _judge(text: str) -> tuple[tuple[int, int], ...]:
    """The spans that presidio's recogniser finds in a candidate and its neighbours."""
    spans: set[tuple[int, int]] = set()
    for region in _regions(text):
        spans.update((m.start, m.end) for m in phonenumbers.PhoneNumberMatcher(text, region, leniency=_LENIENCY))
    return tuple(sorted(span for span in spans if not any(_within(span, other) for other in spans)))


def _within(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span != other and other[0] <= span[0] and span[1] <= other[1]


def _regions(text: str) -> tuple[str, ...]:
    """The regions in which the text may hold a number."""
    walk = _Walk(text)
    walk.has_next()
    if not all(map(_PLAIN.fullmatch, walk.groups)):
        return REGIONS
    numbers = {group.translate(_PUNCTUATION) for group in walk.groups}
    return tuple(r for r in REGIONS if any(verdict(digits, r) is not False for digits in numbers if digits))


class _Walk(phonenumbers.PhoneNumberMatcher):
    """The library's walk through a text where nothing matches: notes each group of characters that it would try."""

    def __init__(self, text: str) -> None:
        super().__init__(text, None, leniency=_LENIENCY)
        self.groups: list[str] = []

    def _parse_and_verify(self, candidate: str, offset: int) -> None:
        # A number that touches a Latin letter is none, in every region; only ASCII's letters are looked at here.
        before = self.text[offset - 1] if offset and candidate[:1].isdigit() else ""
        after = offset + len(candidate)
        if candidate and not _is_letter(before) and not _is_letter(self.text[after : after + 1]):
            self.groups.append(candidate)


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
