"""The form in which telephone numbers are equal, for many of them at once.

`pseudonyms.normalise` asks the numbering plans about one number, which takes five microseconds or more. The plans'
automata tell in one go which numbers with a plus sign, and which American ones, are valid as they stand: their form is
a plus sign and their digits. And which are valid nowhere: theirs is what is written, without punctuation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nectar.scrub.phones.numbering import (
    code_of,
    main_region,
    perhaps_behind_code,
    perhaps_dialled,
    surely_behind_code,
    surely_behind_zero,
    surely_dialled,
    surely_valid,
)
from nectar.scrub.phones.phones import REGIONS

FEWEST = 64
"""Fewer are done sooner one by one, and an automaton takes a while to make."""

_AMERICAN = r"\A(?:\+?1[-. ]?)?\(?[2-9][0-9]{2}\)?[-. ]*[2-9][0-9]{2}[-. ]?[0-9]{4}\z"
_EXTENDED = r"\A(?:\+1[-. ]?)?\(?[2-9][0-9]{2}\)?[-. ]*[2-9][0-9]{2}[-. ]?[0-9]{4}(?:x| x| ext\.? )[0-9]{1,5}\z"
_EXTENSION = r"(?:x| x| ext\.? )[0-9]{1,5}\z"
_WRITTEN = r"\A(?:\+[0-9]|[0-9(])[0-9 ()./-]*\z"
_NATIONAL = 10
_LONGEST_CODE = 3
_NO_DIGITS = bytes(byte for byte in range(256) if chr(byte) not in "0123456789\n")


def written_alike(texts: Sequence[str]) -> list[str | None]:
    """What `normalise` makes of each number that is settled at once; None for others, also where there are too few."""
    forms: list[str | None] = [None] * len(texts)
    if len(texts) < FEWEST:
        return forms
    try:
        given = pa.array(texts, pa.large_string())
    except UnicodeEncodeError:  # half of a surrogate pair
        return forms
    parts = "\n".join(texts).encode().translate(None, _NO_DIGITS).decode().split("\n")
    if len(parts) != len(texts):  # one of them has a line break
        return forms
    digits = pa.array(parts, pa.large_string())
    american = _fit(given, _AMERICAN)
    _enter_american(forms, american, digits)
    others = np.flatnonzero(~american)
    written = others[_fit(given.take(pa.array(others)), _WRITTEN)]
    abroad = pc.starts_with(given, "+").to_numpy(zero_copy_only=False)
    _enter_abroad(forms, written[abroad[written]], digits)
    _enter_national(forms, written[~abroad[written]], digits)
    others = np.setdiff1d(others, written, assume_unique=True)
    _enter_extended(forms, others[_fit(given.take(pa.array(others)), _EXTENDED)], given)
    return forms


def _fit(texts: pa.Array, pattern: str) -> Any:
    return pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False).copy()


def _enter_american(forms: list[str | None], american: Any, digits: pa.Array) -> None:
    """Those of the form that are valid; the others lose their mark in `american`."""
    at = np.flatnonzero(american)
    national = pc.utf8_slice_codeunits(digits.take(pa.array(at)), -_NATIONAL)
    valid = surely_valid("US").matches_strings(national)
    american[at] = valid
    for place, number in zip(at[valid].tolist(), national.filter(pa.array(valid)).to_pylist(), strict=True):
        forms[place] = "+1" + number


def _enter_extended(forms: list[str | None], places: Any, given: pa.Array) -> None:
    """American ones with an extension, which is no part of the form; an invalid one stays as it is written."""
    texts = given.take(pa.array(places))
    plain = pc.replace_substring_regex(pc.replace_substring_regex(texts, _EXTENSION, ""), "[^0-9]+", "")
    national = pc.utf8_slice_codeunits(plain, -_NATIONAL)
    valid = surely_valid("US").matches_strings(national)
    abroad = pc.starts_with(texts, "+").to_numpy(zero_copy_only=False)
    nowhere = abroad & ~perhaps_behind_code("US").matches_strings(national)
    for place, text, number, good in zip(
        places[valid | nowhere].tolist(),
        texts.filter(pa.array(valid | nowhere)).to_pylist(),
        national.filter(pa.array(valid | nowhere)).to_pylist(),
        valid[valid | nowhere].tolist(),
        strict=True,
    ):
        forms[place] = "+1" + number if good else text


def _enter(forms: list[str | None], places: Any, digits: pa.Array, before: str) -> None:
    for place, number in zip(places.tolist(), digits.take(pa.array(places)).to_pylist(), strict=True):
        forms[place] = before + number


def _enter_national(forms: list[str | None], places: Any, digits: pa.Array) -> None:
    """Those at these places: of the first region that takes them, as `phones.e164` asks them."""
    for region in REGIONS:
        asked = digits.take(pa.array(places))
        perhaps = perhaps_dialled((region,)).matches_strings(asked)
        plain = surely_dialled(region).matches_strings(asked)
        _enter(forms, places[perhaps & plain], digits, f"+{code_of(region)}")
        behind_zero = surely_behind_zero(region)
        if behind_zero is not None:
            zero = perhaps & ~plain & behind_zero.matches_strings(asked)
            _enter(forms, places[zero], pc.utf8_slice_codeunits(digits, 1), f"+{code_of(region)}")
        places = places[~perhaps]
    _enter(forms, places, digits, "")


def _enter_abroad(forms: list[str | None], places: Any, digits: pa.Array) -> None:
    """Those at these places, which begin with a plus sign."""
    for code, region, at in _by_country(places, digits):
        behind = pc.utf8_slice_codeunits(digits.take(pa.array(at)), len(code))
        plan = surely_valid(region) if code == "1" else surely_behind_code(region)
        settled = plan.matches_strings(behind) | ~perhaps_behind_code(region).matches_strings(behind)
        _enter(forms, at[settled], digits, "+")


def _by_country(places: Any, digits: pa.Array) -> Iterator[tuple[str, str, Any]]:
    """The country codes with enough numbers: the code, its main region, and the places of its numbers."""
    starts = pc.utf8_slice_codeunits(digits.take(pa.array(places)), 0, _LONGEST_CODE).dictionary_encode()
    by_code: dict[tuple[str, str], list[int]] = {}
    for number, start in enumerate(starts.dictionary.to_pylist()):
        found = main_region(start)
        if found is not None:
            by_code.setdefault(found, []).append(number)
    for (code, region), numbers in by_code.items():
        at = np.flatnonzero(np.isin(starts.indices.to_numpy(), numbers))
        if len(at) >= FEWEST:
            yield code, region, places[at]
