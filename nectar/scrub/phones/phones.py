"""Phone numbers: what presidio's recogniser finds, on candidates only, and one written form for each number.

presidio lets Google's library walk a text once per region, in pure Python; nearly every text holds a few candidates at
most. So the library's own candidate pattern runs first. Most candidates are settled by the numbering plans: where one
region takes all of it no other is asked, because presidio drops what lies inside. The others are judged alone, with
their neighbours: one character before (a letter there rules it out) and three after (the library's time-stamp rule
reads `:20` there).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import phonenumbermatcher
from phonenumbers.re_util import enable_pattern_cache

from nectar.scrub.find.entities import PHONE_NUMBER
from nectar.scrub.find.findings import Hit
from nectar.scrub.find.patience import check
from nectar.scrub.phones.likely import LIKELY, REACH, is_formed, is_international, is_presented, looks_dialled, touches
from nectar.scrub.phones.numbering import (
    international,
    surely_valid,
    verdict,
    verdict_abroad,
    verdict_anywhere,
    without_trunk,
)

# The library asks `re` for its patterns again and again, and they are more than `re` keeps: most time went there.
enable_pattern_cache()

REGIONS = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")
"""Where a number without a country code may belong: presidio's choice."""

SCORE = 0.4
_LENIENCY = phonenumbers.Leniency.VALID
"""presidio's choice too, as its score."""

_CANDIDATE = phonenumbermatcher._PATTERN  # noqa: SLF001  the library's own, so that no candidate is missed
_TIME = phonenumbermatcher._TIME_STAMPS  # noqa: SLF001
_BRACKETS = phonenumbermatcher._MATCHING_BRACKETS  # noqa: SLF001
_PAGES = phonenumbermatcher._PUB_PAGES  # noqa: SLF001
_DATES = phonenumbermatcher._SLASH_SEPARATED_DATES  # noqa: SLF001

_WRITTEN = re.compile(r"\(?(?P<plus>\+)?(?P<number>[0-9(][0-9 ()./-]*)(?:(?:x| x| ext\.? )[0-9]{1,5})?")
"""ASCII digits, brackets, a plus sign, an extension: what the numbering plans can tell something about."""

_EVEN = re.compile(r"\+?[0-9]+(?:[-. ][0-9]+)*(?:x[0-9]{1,5})?")
"""One separator between any two groups, so that it is plain where the library looks for a smaller number inside."""

_LETTER = re.compile(r"[^\W\d_]{2}")
"""The least that can present a number: a word of two letters."""

_PUNCTUATION = str.maketrans("", "", " ()[]./-")
_MONEY_AND_LEADS = frozenset("%$+([")
"""The library looks twice at a number that touches one of these."""

_MAY_BEGIN = re.compile(rf"[\d{phonenumbermatcher._LEAD_CLASS_CHARS}]")  # noqa: SLF001
_BEYOND = 64
"""Characters behind a number in which its extension stands, or a label that calls it a phone."""

_AMERICAN = 10
"""Digits of a number in the United States, and in all countries that share its code."""

_AFTER = 3
_FEWEST_DIGITS = 4
_REMEMBERED = 256
"""A number and its parts are asked about several times in a row; beyond that no number stays in memory."""


def phone_hits(line: str) -> list[Hit]:
    """The phone numbers of one line: the spans that presidio's recogniser finds in it."""
    return [Hit(PHONE_NUMBER, first, last, SCORE) for _, spans in _walk(line) for first, last in spans]


def phones_in(text: str, start: int, end: int, believed: bool = False) -> list[Hit]:
    """The phone numbers that begin between these places of a line: presidio's, and those that are presented as such.

    `believed`: the field's name says that it holds phone numbers. Offsets count from `start`.
    """
    stop = text.find("\n", end, end + _BEYOND)
    line, hits = text[start : end + _BEYOND if stop < 0 else stop], []
    before = text[max(0, start - REACH) : start]
    for match, spans in _walk(line, end - start):
        hits += [Hit(PHONE_NUMBER, a, b, SCORE) for a, b in spans]
        if match.span() not in spans and _is_presented(before, line, match, believed=believed):
            hits.append(Hit(PHONE_NUMBER, *match.span(), LIKELY))
    return hits


def _is_presented(before: str, line: str, match: re.Match[str], *, believed: bool) -> bool:
    """What no numbering plan takes is written internationally, or its text or field calls it a phone number."""
    candidate, (first, last) = match[0], match.span()
    if is_international(candidate):
        return not touches(line[first - 1 : first] if first else before[-1:], line[last : last + 1])
    near = before + line[:first] if first < REACH else line[first - REACH : first]
    after = line[last : last + REACH]
    if is_formed(near, candidate, after):
        return True
    if not looks_dialled(candidate):
        return False
    if believed:
        return True
    worded = _LETTER.search(line) is not None or _LETTER.search(before) is not None
    return worded and is_presented(near, candidate, after)


def of_region(region: str) -> Callable[[str], list[Hit]]:
    """What finds a line's phone numbers that are written as in one region."""

    def find(line: str) -> list[Hit]:
        return [Hit(PHONE_NUMBER, *span, SCORE) for _, spans in _walk(line, None, (region,)) for span in spans]

    return find


def _walk(
    line: str, end: int | None = None, regions: tuple[str, ...] = REGIONS
) -> Iterator[tuple[re.Match[str], list[tuple[int, int]]]]:
    """Each candidate of a line that begins before `end`, and the library's spans in it for these regions."""
    for match in _CANDIDATE.finditer(line):
        candidate, (first, last) = match[0], match.span()
        if end is not None and first >= end:
            break
        check()
        if sum(map(str.isdigit, candidate)) < _FEWEST_DIGITS:
            continue
        before, after = line[first - 1 : first] if first else "", line[last : last + 1]
        answer = _at_a_glance(candidate, before, after, regions)
        if answer is None and (size := _whole_part(candidate, before, after, regions)):
            yield match, [(first, first + size)]
        elif answer is None:
            begin = first - len(before)
            # Digits that the candidate before this one left over would make it another candidate.
            spans = _judge((" " if _MAY_BEGIN.match(before) else before) + line[first : last + _AFTER], regions)
            yield match, [(begin + a, begin + b) for a, b in spans if begin + b <= last]
        else:
            yield match, [(first, last)] if answer else []
        if end is not None and last >= end:
            break  # the next one begins behind it


def _at_a_glance(candidate: str, before: str, after: str, regions: tuple[str, ...]) -> bool | None:
    """Whether all of a candidate is a number (True) or nothing in it is (False); None where that takes a closer look.

    `before` and `after` are the characters that it touches, empty at the ends of the text.
    """
    if not _EVEN.fullmatch(candidate):
        return _is_written(candidate, before, after, regions) or None
    undivided = "." not in candidate and " " not in candidate
    if candidate[0] == "+":
        before = ""
    if _is_letter(before) or _is_letter(after):
        return False if undivided else None
    if not (_is_quiet(before) and _is_quiet(after)) or _TIME.search(candidate):
        return None
    answer = _answer(candidate, regions)
    if answer is not False or undivided:
        return answer
    # The library then tries what stands between full stops, and what stands between spaces.
    inner = (part for mark in ". " if mark in candidate for part in candidate.split(mark))
    return False if all(_answer(part, regions) is False for part in inner) else None


def _whole_part(candidate: str, before: str, after: str, regions: tuple[str, ...]) -> int:
    """The size of a decimal's whole part, if that is a number and neither all of it nor its fraction is; or 0.

    The library then tries what stands before the full stop.
    """
    whole, _, fraction = candidate.partition(".")
    if not (whole.isdigit() and fraction.isdigit() and candidate.isascii() and _is_quiet(before) and _is_quiet(after)):
        return 0
    others = _verdict(whole + fraction, regions) is False and _verdict(fraction, regions) is False
    return len(whole) if others and _verdict(whole, regions) else 0


def _is_written(candidate: str, before: str, after: str, regions: tuple[str, ...]) -> bool:
    """All of a candidate with brackets or other punctuation is a number for certain."""
    if not _is_quiet(after) or not (candidate[0] in "(+" or _is_quiet(before)):
        return False
    if not _BRACKETS.fullmatch(candidate) or any(pattern.search(candidate) for pattern in (_PAGES, _DATES, _TIME)):
        return False
    return bool(_answer(candidate, regions))


def _answer(text: str, regions: tuple[str, ...]) -> bool | None:
    """The numbering plans' verdict on all of a text."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    digits = match["number"].translate(_PUNCTUATION)
    if match["plus"]:
        return verdict_abroad(digits)
    return _verdict(digits, regions)


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _is_quiet(character: str) -> bool:
    """What says nothing about the number beside it: nothing at all, ASCII space and most punctuation."""
    return character.isascii() and not character.isalnum() and character not in _MONEY_AND_LEADS


@lru_cache(maxsize=_REMEMBERED)
def _verdict(digits: str, regions: tuple[str, ...]) -> bool | None:
    """A number in one region at least (True), in none (False), or not certain."""
    if len(digits) == _AMERICAN and regions[0] == "US" and surely_valid("US").match(digits):
        return True  # most numbers, and the first region that is asked
    return verdict_anywhere(digits, regions)


@lru_cache(maxsize=_REMEMBERED)
def _judge(text: str, regions: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The spans that presidio's recogniser finds in a candidate and its neighbours."""
    spans: set[tuple[int, int]] = set()
    for region in _possible(text, regions):
        spans.update((match.start, match.end) for match in _Reader(text, region))
    return tuple(sorted(span for span in spans if not any(_within(span, other) for other in spans)))


def _within(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span != other and other[0] <= span[0] and span[1] <= other[1]


def _possible(text: str, regions: tuple[str, ...]) -> tuple[str, ...]:
    """Those regions in which the text may hold a number."""
    walk = _Walk(text)
    walk.has_next()
    numbers = set()
    for match in map(_WRITTEN.fullmatch, walk.groups):
        if match is None:
            return regions
        digits = match["number"].translate(_PUNCTUATION)
        if not match["plus"]:
            numbers.add(digits)
        elif verdict_abroad(digits) is not False:
            return regions
    return tuple(r for r in regions if any(verdict(digits, r) is not False for digits in numbers))


class _Reader(phonenumbers.PhoneNumberMatcher):
    """The library's matcher, which asks the numbering plans first."""

    def __init__(self, text: str, region: str) -> None:
        super().__init__(text, region, leniency=_LENIENCY)
        self.regions = (region,)

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        if _answer(candidate, self.regions) is False:
            return None
        return super()._parse_and_verify(candidate, offset)


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
    match = _WRITTEN.fullmatch(text)
    if match is not None:
        digits = match["number"].translate(_PUNCTUATION)
        abroad = match["plus"] is not None
        american = digits[1:] if abroad and digits[:1] == "1" else digits
        # The first region that is asked, and nothing to take off: most numbers that are hashed are of this kind.
        if len(american) == _AMERICAN == len(digits) - abroad and surely_valid("US").match(american):
            return "+1" + american
        answer = verdict_abroad(digits) if abroad else None
        if answer is not None:
            return "+" + without_trunk(digits) if answer else None
    national = None if match is None or abroad else digits
    for region in REGIONS:
        found = _parsed(text, region) if national is None else international(national, region)
        if found is None:
            found = _parsed(text, region)
        if found:
            return "+" + found
    return None


def _parsed(text: str, region: str) -> str:
    """What the library makes of it; empty where it is no valid number."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number(number):
        return ""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))[1:]


def checked_regions(regions: Iterable[str]) -> None:
    """Raise ValueError for what is no code of a region with telephones."""
    for region in regions:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            upper = str(region).upper()
            near = "GB" if upper == "UK" else upper if upper in phonenumbers.SUPPORTED_REGIONS else ""
            hint = f"did you mean {near!r}?" if near else "expected a code of ISO 3166 such as 'CH'"
            raise ValueError(f"no phone numbers are known of region {region!r}; {hint}")


def phone_of_digits(digits: str) -> bool:
    """A bare integer is a phone number: as it stands, or as an international number that lost its plus."""
    return len(digits) >= 7 and (e164(digits) is not None or e164("+" + digits) is not None)
