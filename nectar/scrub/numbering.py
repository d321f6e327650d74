"""Numbering plans: which digits can be a telephone number of a region, told without parsing them.

phonenumbers needs some 30 microseconds for one candidate in one region, and most digits in data are no telephone
numbers. What is said here comes from the library's own metadata and errs on one side only: False is certain, True
means that the library must decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, phonenumbermatcher
from phonenumbers.phonemetadata import PhoneMetadata

_KINDS = (
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail", "fixed_line",
    "mobile",
)  # fmt: skip
"""The kinds of numbers by which phonenumbers calls a number valid."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How numbers with these leading digits are written, and whether the national prefix must then be there."""

    leading: re.Pattern[str]
    whole: re.Pattern[str]
    needs_prefix: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """One region's rules. `abroad` begins a number of any country; `prefixes` may stand before a national number."""

    code: str
    abroad: re.Pattern[str]
    prefixes: tuple[tuple[re.Pattern[str], str | None], ...]
    valid: re.Pattern[str]
    formats: tuple[_Format, ...]

    def without_prefix(self, digits: str) -> list[str]:
        """What is left of the digits where a national prefix or a carrier's code is taken off."""
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


def may_be(digits: str, region: str) -> bool:
    """False: phonenumbers finds no valid number of this region, nor an international one, in these ASCII digits.

    They stand for a candidate of digits and punctuation, without a plus sign and without an extension.
    """
    plan = _plan(region)
    if plan.abroad.match(digits):
        return True
    stripped = plan.without_prefix(digits)
    bare_is_enough = bool(stripped) or not plan.needs_prefix(digits)
    if digits.startswith(plan.code):
        rest = digits[len(plan.code) :]
        stripped += [rest, *plan.without_prefix(rest)]
    if any(plan.valid.fullmatch(number) for number in stripped):
        return True
    return bare_is_enough and plan.valid.fullmatch(digits) is not None


@lru_cache(maxsize=64)
def _plan(region: str) -> _Plan:
    own = PhoneMetadata.metadata_for_region(region)
    regions = COUNTRY_CODE_TO_REGION_CODE[own.country_code]
    main, *_ = sharing = [PhoneMetadata.metadata_for_region(each) for each in regions]
    # A number is valid where it is valid in any region that shares the country code: +1 has two dozen.
    kinds = dict.fromkeys(getattr(data, kind) for data in sharing for kind in _KINDS)
    patterns = dict.fromkeys(kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern)
    prefixes = dict.fromkeys((d.national_prefix_for_parsing, d.national_prefix_transform_rule) for d in (own, main))
    return _Plan(
        code=str(own.country_code),
        abroad=re.compile(own.international_prefix),
        prefixes=tuple((re.compile(prefix), transform) for prefix, transform in prefixes if prefix),
        valid=re.compile("|".join(f"(?:{pattern})" for pattern in patterns)),
        formats=tuple(_format(data) for data in main.number_format),
    )


def _format(data: Any) -> _Format:
    rule = data.national_prefix_formatting_rule
    first_group_only = rule and phonenumbermatcher._formatting_rule_has_first_group_only(rule)  # noqa: SLF001
    needs_prefix = bool(rule) and not data.national_prefix_optional_when_formatting and not first_group_only
    leading = data.leading_digits_pattern[-1] if data.leading_digits_pattern else ""
    return _Format(re.compile(leading), re.compile(data.pattern), needs_prefix)
