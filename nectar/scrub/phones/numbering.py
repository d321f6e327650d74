"""Numbering plans: which digits can be a telephone number of a region, told without parsing them.

phonenumbers needs some 30 microseconds for one candidate in one region, and most digits in data are no telephone
numbers. What is said here comes from the library's own metadata, and where its answer is not certain, none is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, phonenumberutil
from phonenumbers.phonemetadata import PhoneMetadata

from nectar.scrub.phones.automaton import Automaton

_KINDS = (
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail", "fixed_line",
    "mobile",
)  # fmt: skip
"""The kinds of numbers by which phonenumbers calls a number valid."""

_LIBRARY: Any = phonenumberutil

_MAIN = {str(code): regions[0] for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}
_NO_REGION = "001"
"""The library's name for codes of services that belong to no country, such as +800."""

_LEARNT_SIZES, _LEARNT = range(7, 13), 1000
"""Digits of most numbers, and how many random ones of each size are asked about ahead."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How numbers with these leading digits are written, and whether the national prefix must then be there."""

    leading: re.Pattern[str]
    whole: re.Pattern[str]
    needs_prefix: bool


@dataclass(frozen=True)
class _Plan:
    """One region's rules, each compiled when it is first asked for: together they take some ten milliseconds.

    own      the library's metadata of the region
    sharing  those of all regions with its country code, the main one first
    """

    own: Any
    sharing: tuple[Any, ...]

    @cached_property
    def code(self) -> str:
        return str(self.own.country_code)

    @cached_property
    def begins(self) -> re.Pattern[str]:
        """What may stand before a national number: the country code, or one of the next two."""
        each = [self.code, self.own.international_prefix, *(prefix.pattern for prefix, _ in self.prefixes)]
        return re.compile("|".join(f"(?:{pattern})" for pattern in each))

    @cached_property
    def abroad(self) -> re.Pattern[str]:
        """What begins a number of any country."""
        return re.compile(self.own.international_prefix)

    @cached_property
    def prefixes(self) -> tuple[tuple[re.Pattern[str], str | None], ...]:
        """What may stand before a national number, each with what the library makes of it."""
        data = (self.own, self.sharing[0])
        rules = dict.fromkeys((d.national_prefix_for_parsing, d.national_prefix_transform_rule) for d in data)
        return tuple((re.compile(prefix), transform) for prefix, transform in rules if prefix)

    @cached_property
    def general(self) -> re.Pattern[str]:
        return re.compile(self.own.general_desc.national_number_pattern)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        return tuple(self.own.general_desc.possible_length)

    @cached_property
    def valid(self) -> re.Pattern[str]:
        """Matches every number that is valid with this country code, and a few more.

        A number is valid where it is valid in any region that shares the code: +1 has two dozen.
        """
        patterns = dict.fromkeys(kind.national_number_pattern for data in self.sharing for kind in _kinds(data))
        return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))

    @cached_property
    def surely(self) -> re.Pattern[str]:
        """Matches valid numbers only, and most of them."""
        main = self.sharing[0]
        return re.compile(r"(?!)") if main.leading_digits is not None else _surely(main)

    @cached_property
    def others(self) -> tuple[tuple[re.Pattern[str] | None, re.Pattern[str]], ...]:
        """For each region that shares the code and is not settled by that: its leading digits, and what is valid."""
        rest = self.sharing[self.sharing[0].leading_digits is None :]
        return tuple((_leading(data), _surely(data)) for data in rest)

    @cached_property
    def formats(self) -> tuple[_Format, ...]:
        return tuple(_format(data) for data in self.sharing[0].number_format)

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

    def without_code(self, digits: str) -> bool | None:
        """The verdict on digits that begin with the country code and are no number of this region with it."""
        rest = digits[len(self.code) :]
        behind = self.without_prefixes(rest)
        if not any(map(self.valid.fullmatch, [digits, rest, *self.without_prefixes(digits), *behind])):
            return False
        taken_off = not behind and self.general.fullmatch(rest)
        return self.is_valid(rest) if taken_off else None

    def is_valid(self, number: str) -> bool:
        """The number, without prefixes, is valid: the library asks one region after the other, the main one first."""
        if self.surely.fullmatch(number):
            return True
        if not self.others or not self.valid.fullmatch(number):
            return False
        for leading, surely in self.others:
            if leading is None and surely.fullmatch(number):
                return True
            if leading is not None and leading.match(number):
                return surely.fullmatch(number) is not None
        return False

    def loses_prefix(self, digits: str, stripped: list[str]) -> bool:
        """One prefix, and what is left is of a length that the library accepts: it takes the prefix off."""
        return len(stripped) == 1 and not self.general.fullmatch(digits) and len(stripped[0]) in self.lengths

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
    if not plan.begins.match(digits):
        possible = plan.valid.fullmatch(digits) is not None and not plan.needs_prefix(digits)
        return possible and plan.is_valid(digits)
    abroad = plan.abroad.match(digits)
    if abroad and digits[abroad.end() : abroad.end() + 1] != "0":
        rest = digits[abroad.end() :]
        return verdict_abroad(rest) if len(rest) > 2 and _main_region(rest) is not None else False
    if digits.startswith(plan.code) and not (plan.general.fullmatch(digits) and len(digits) in plan.lengths):
        return plan.without_code(digits)
    stripped = plan.without_prefixes(digits)
    if not stripped:
        possible = plan.valid.fullmatch(digits) is not None and not plan.needs_prefix(digits)
        return possible and plan.is_valid(digits)
    if not any(map(plan.valid.fullmatch, [digits, *stripped])):
        return False
    return plan.is_valid(stripped[0]) if plan.loses_prefix(digits, stripped) else None


def verdict_anywhere(digits: str, regions: tuple[str, ...]) -> bool | None:
    """`verdict` for several regions: True where one takes the digits, False where none does."""
    plans, valid = _together(regions)
    known = valid.fullmatch(digits) is not None
    if not known and len(regions) > 1 and not closer(regions).match(digits):
        return False
    certain = True
    for region, plan in plans:
        if known or plan.begins.match(digits):
            answer = verdict(digits, region)
            if answer:
                return True
            certain = certain and answer is False
    return False if certain else None


@lru_cache(maxsize=64)
def _together(regions: tuple[str, ...]) -> tuple[tuple[tuple[str, _Plan], ...], re.Pattern[str]]:
    """The regions' plans, and what is valid in any of them as it stands."""
    plans = tuple((region, _plan(region)) for region in regions)
    return plans, re.compile("|".join(f"(?:{part})" for part in dict.fromkeys(plan.valid.pattern for _, plan in plans)))


def verdict_abroad(digits: str) -> bool | None:
    """The same for digits behind a plus sign, which begin with a country code: no region has a part in it."""
    region = _main_region(digits)
    if region is None or region == _NO_REGION:
        return None
    plan = _plan(region)
    rest = digits[len(plan.code) :]
    stripped = plan.without_prefixes(rest)
    if not any(map(plan.valid.fullmatch, [rest, *stripped])):
        return False
    if stripped and not plan.loses_prefix(rest, stripped):
        return None
    return plan.is_valid(stripped[0] if stripped else rest)


def international(digits: str, region: str) -> str | None:
    """The number as it is dialled from abroad, without a plus sign, where the digits are a valid one of this region.

    As `verdict`, but however the digits are written: a number may lack the prefix with which its country writes it.
    Empty where the library finds no valid number; None where it must look itself.
    """
    plan = _plan(region)
    if not plan.begins.match(digits):
        return plan.code + digits if plan.is_valid(digits) else ""
    abroad = plan.abroad.match(digits)
    if abroad and digits[abroad.end() : abroad.end() + 1] != "0":
        rest = digits[abroad.end() :]
        answer = verdict_abroad(rest) if len(rest) > 2 and _main_region(rest) is not None else False
        return None if answer is None else without_trunk(rest) if answer else ""
    if digits.startswith(plan.code) and not (plan.general.fullmatch(digits) and len(digits) in plan.lengths):
        answer = plan.without_code(digits)
        return None if answer is None else digits if answer else ""
    stripped = plan.without_prefixes(digits)
    if not any(map(plan.valid.fullmatch, [digits, *stripped])):
        return ""
    if stripped and not plan.loses_prefix(digits, stripped):
        return None
    number = stripped[0] if stripped else digits
    return plan.code + number if plan.is_valid(number) else ""


def without_trunk(digits: str) -> str:
    """Digits that `verdict_abroad` takes, without the national prefix that may stand behind the country code."""
    plan = _plan(_main_region(digits) or _NO_REGION)
    rest = digits[len(plan.code) :]
    stripped = plan.without_prefixes(rest)
    return plan.code + (stripped[0] if stripped else rest)


def _main_region(digits: str) -> str | None:
    """The region whose rules hold first for the country code with which the digits begin; no code begins another."""
    return next((_MAIN[digits[:size]] for size in (1, 2, 3) if digits[:size] in _MAIN), None)


@cache
def _plan(region: str) -> _Plan:
    own = _metadata(region)
    return _Plan(own, tuple(_metadata(each) for each in COUNTRY_CODE_TO_REGION_CODE[own.country_code]))


def _metadata(region: str) -> Any:
    return PhoneMetadata.metadata_for_region(region)


def _kinds(data: Any) -> list[Any]:
    kinds = [getattr(data, kind) for kind in _KINDS]
    return [kind for kind in kinds if kind and kind.national_number_pattern]


def _surely(data: Any) -> re.Pattern[str]:
    """Numbers of any kind of this region, of a length that the kind has."""
    alternatives = [f"{_of_length(kind)}(?:{kind.national_number_pattern})" for kind in _kinds(data)]
    general = data.general_desc
    return re.compile(rf"{_of_length(general)}(?=(?:{general.national_number_pattern})\Z)(?:{'|'.join(alternatives)})")


def _leading(data: Any) -> re.Pattern[str] | None:
    return None if data.leading_digits is None else re.compile(data.leading_digits)


def _of_length(data: Any) -> str:
    lengths = "|".join(rf".{{{length}}}\Z" for length in data.possible_length)
    return f"(?={lengths})"


def _format(data: Any) -> _Format:
    rule = data.national_prefix_formatting_rule
    optional = data.national_prefix_optional_when_formatting
    needs_prefix = bool(rule) and not optional and not _LIBRARY._formatting_rule_has_first_group_only(rule)  # noqa: SLF001
    leading = data.leading_digits_pattern[-1] if data.leading_digits_pattern else ""
    return _Format(re.compile(leading), re.compile(data.pattern), needs_prefix)


@lru_cache(maxsize=16)
def closer(regions: tuple[str, ...]) -> Automaton:
    """Matches all digits that `verdict` does not refuse in one of the regions, and some more.

    It lets more through than `verdict`, but takes many numbers at a time.
    """
    return Automaton("|".join(dict.fromkeys(_closer(plan, _bare(plan)) for plan in map(_plan, regions))))


def learn(regions: tuple[str, ...]) -> None:
    """Prepare what every number is asked first: a fifth of a second of a processor, which a first batch is spared."""
    closer(regions).learn(_LEARNT_SIZES, _LEARNT)


@cache
def surely_valid(region: str) -> Automaton:
    """Matches most of the region's valid numbers, without prefixes, and nothing else."""
    return Automaton(rf"(?:{_plan(region).surely.pattern})\Z")


@cache
def surely_behind_code(region: str) -> Automaton:
    """Matches most of what is valid behind the region's country code, where no prefix may be taken off it."""
    plan = _plan(region)
    prefixes = "|".join(f"(?:{prefix.pattern})" for prefix, _ in plan.prefixes)
    return Automaton(rf"{f'(?!{prefixes})' if prefixes else ''}(?:{plan.surely.pattern})\Z")


@cache
def perhaps_behind_code(region: str) -> Automaton:
    """Matches all that may be valid behind the region's country code, and some more."""
    plan = _plan(region)
    prefixes, rewritten = _prefixes(plan)
    return Automaton(rf"^(?:(?:{prefixes}){{0,2}}(?:{plan.valid.pattern})${rewritten})")


@cache
def perhaps_dialled(regions: tuple[str, ...]) -> Automaton:
    """Matches all digits for which `international` finds a number in one of the regions, and some more."""
    plans = map(_plan, regions)
    return Automaton("|".join(dict.fromkeys(_closer(plan, plan.valid.pattern) for plan in plans)))


@cache
def surely_dialled(region: str) -> Automaton:
    """Matches most of what is valid in the region as it stands, with no prefix that may be taken off."""
    plan = _plan(region)
    return Automaton(rf"(?!{plan.begins.pattern})(?:{plan.surely.pattern})\Z")


@cache
def surely_taken(region: str) -> Automaton | None:
    """Matches most of the digits for which `verdict` is True; None where a national number may lack its prefix."""
    return None if any(form.needs_prefix for form in _plan(region).formats) else surely_dialled(region)


@cache
def surely_behind_zero(region: str) -> Automaton | None:
    """Matches most of what is valid in the region behind its national prefix of zero; None where that is another."""
    plan = _plan(region)
    if [(prefix.pattern, transform) for prefix, transform in plan.prefixes] != [("0", None)]:
        return None
    other = rf"(?:{plan.abroad.pattern})|(?:{plan.general.pattern})\Z"
    return Automaton(rf"(?!{other})0(?!0)(?:{plan.surely.pattern})\Z")


def code_of(region: str) -> str:
    return _plan(region).code


def main_region(digits: str) -> tuple[str, str] | None:
    """The country code with which digits begin, and the region whose rules hold first for it; None where none is."""
    region = _main_region(digits)
    return None if region is None or region == _NO_REGION else (_plan(region).code, region)


def _closer(plan: _Plan, bare: str) -> str:
    """`bare`: what is taken as it stands."""
    prefixes, rewritten = _prefixes(plan)
    valid = plan.valid.pattern
    behind_prefix = rf"(?:{prefixes}){{1,2}}(?:{valid})$"
    behind_code = rf"{plan.code}(?:{prefixes}){{0,2}}(?:{valid})$"
    return rf"^(?:{plan.abroad.pattern}|(?:{plan.code})?(?:{behind_prefix}{rewritten})|{behind_code}|(?:{bare})$)"


def _prefixes(plan: _Plan) -> tuple[str, str]:
    """What may stand before a national number, and what of it the library writes anew (as further alternatives)."""
    rewritten = "".join(f"|{_rewriting(prefix.pattern)}" for prefix, transform in plan.prefixes if transform)
    return "|".join(prefix.pattern for prefix, _ in plan.prefixes) or "(?:)", rewritten


def _rewriting(prefix: str) -> str:
    """The prefix with the group that is needed for the number to be written anew; without it, it is a plain prefix."""
    if not prefix.endswith(")?"):
        return prefix
    opens, depth = len(prefix) - 2, 1
    while depth:
        opens -= 1
        depth += (prefix[opens] == ")") - (prefix[opens] == "(")
    return prefix if re.search(r"\((?!\?)", prefix[:opens]) else prefix[:-1]


def _bare(plan: _Plan) -> str:
    """What is valid as it stands: in no form that needs a prefix, or also in another one."""
    forms = [(form.needs_prefix, rf"(?={form.leading.pattern})(?:{form.whole.pattern})$") for form in plan.formats]
    needing = "|".join(written for needs, written in forms if needs)
    free = "|".join(written for needs, written in forms if not needs)
    # A number that begins with the country code is looked at without it too.
    allowed = [f"(?!{needing})"] if needing else []
    allowed += [f"(?={free})"] if free and needing else []
    return rf"(?:{'|'.join([*allowed, f'(?={plan.code})'])})(?:{plan.valid.pattern})" if allowed else plan.valid.pattern
