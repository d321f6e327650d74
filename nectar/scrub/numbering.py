"""Numbering plans: which digits can be a telephone number of a region, told without parsing them.

phonenumbers needs some 30 microseconds for one candidate in one region, and most digits in data are no telephone
numbers. What is said here comes from the library's own metadata, and where its answer is not certain, none is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, phonenumberutil
from phonenumbers.phonemetadata import PhoneMetadata

_KINDS = (
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail", "fixed_line",
    "mobile",
)  # fmt: skip
"""The kinds of numbers by which phonenumbers calls a number valid."""

_LIBRARY: Any = phonenumberutil


@dataclass(frozen=True, slots=True)
class _Format:
    """How numbers with these leading digits are written, and whether the national prefix must then be there."""

    leading: re.Pattern[str]
    whole: re.Pattern[str]
    needs_prefix: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """One region's rules.

    abroad    what begins a number of any country
    prefixes  what may stand before a national number, each with what the library makes of it
    valid     matches every number that is valid with this country code, and a few more
    surely    matches valid numbers only, and most of them
    """

    code: str
    abroad: re.Pattern[str]
    prefixes: tuple[tuple[re.Pattern[str], str | None], ...]
    general: re.Pattern[str]
    lengths: tuple[int, ...]
    valid: re.Pattern[str]
    surely: re.Pattern[str]
    formats: tuple[_Format, ...]

    def without_prefixes(self, digits: str) -> list[str]:
        """What may be left of the digits without national prefixes and carriers' codes.

        phonenumbers takes one off behind a country code, and another one off what that leaves.
        """
        left = self._without_prefix(digits)
        return [*left, *(shorter for number in left for shorter in self._without_prefix(number))] if left else left

    def _without_prefix(self, digits: str) -> list[str]:
        left = []
        for prefix, transform in self.prefixes:
            match = prefix.match(digits)
            if match:
                left.append(digits[match.end() :])
                if transform and match.lastindex:
                    left.append(prefix.sub(transform, digits, count=1))
        return left

    def needs_prefix(self, digits: str) -> bool:
        for form in self.formats:
            if form.leading.match(digits) and form.whole.fullmatch(digits):
                return form.needs_prefix
        return False


def verdict(digits: str, region: str) -> bool | None:
    """Whether phonenumbers takes ASCII digits, with or without punctuation, for a valid number seen from this region.

    True and False are certain; None means that the library must look. The digits are without a plus sign, extension
    or letters.
    """
    plan = _plan(region)
    if plan.abroad.match(digits):
        return None
    stripped = plan.without_prefixes(digits)
    if digits.startswith(plan.code):
        rest = digits[len(plan.code) :]
        candidates = [digits, rest, *stripped, *plan.without_prefixes(rest)]
        return None if any(map(plan.valid.fullmatch, candidates)) else False
    if not stripped:
        possible = plan.valid.fullmatch(digits) and not plan.needs_prefix(digits)
        return (plan.surely.fullmatch(digits) is not None or None) if possible else False
    if not any(map(plan.valid.fullmatch, [digits, *stripped])):
        return False
    # One prefix, and what is left is of a length that the library accepts: it takes the prefix off.
    taken_off = len(stripped) == 1 and not plan.general.fullmatch(digits) and len(stripped[0]) in plan.lengths
    return True if taken_off and plan.surely.fullmatch(stripped[0]) else None


@lru_cache(maxsize=64)
def _plan(region: str) -> _Plan:
    own = _metadata(region)
    main, *_ = sharing = [_metadata(each) for each in COUNTRY_CODE_TO_REGION_CODE[own.country_code]]
    # A number is valid where it is valid in any region that shares the country code: +1 has two dozen.
    patterns = dict.fromkeys(kind.national_number_pattern for data in sharing for kind in _kinds(data))
    prefixes = dict.fromkeys((d.national_prefix_for_parsing, d.national_prefix_transform_rule) for d in (own, main))
    return _Plan(
        code=str(own.country_code),
        abroad=re.compile(own.international_prefix),
        prefixes=tuple((re.compile(prefix), transform) for prefix, transform in prefixes if prefix),
        general=re.compile(own.general_desc.national_number_pattern),
        lengths=tuple(own.general_desc.possible_length),
        valid=re.compile("|".join(f"(?:{pattern})" for pattern in patterns)),
        surely=_surely(main),
        formats=tuple(_format(data) for data in main.number_format),
    )


def _metadata(region: str) -> Any:
    return PhoneMetadata.metadata_for_region(region)


def _kinds(data: Any) -> list[Any]:
    kinds = [getattr(data, kind) for kind in _KINDS]
    return [kind for kind in kinds if kind and kind.national_number_pattern]


def _surely(main: Any) -> re.Pattern[str]:
    """The library asks the main region first; where that takes a number of any kind, it is valid."""
    if main.leading_digits is not None:
        return re.compile(r"(?!)")
    alternatives = [f"{_of_length(kind)}(?:{kind.national_number_pattern})" for kind in _kinds(main)]
    general = main.general_desc
    return re.compile(rf"{_of_length(general)}(?=(?:{general.national_number_pattern})\Z)(?:{'|'.join(alternatives)})")


def _of_length(data: Any) -> str:
    lengths = "|".join(rf".{{{length}}}\Z" for length in data.possible_length)
    return f"(?={lengths})"


def _format(data: Any) -> _Format:
    rule = data.national_prefix_formatting_rule
    optional = data.national_prefix_optional_when_formatting
    needs_prefix = bool(rule) and not optional and not _LIBRARY._formatting_rule_has_first_group_only(rule)  # noqa: SLF001
    leading = data.leading_digits_pattern[-1] if data.leading_digits_pattern else ""
    return _Format(re.compile(leading), re.compile(data.pattern), needs_prefix)
