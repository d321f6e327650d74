r"""What the values of a column are, told by tests over the whole column, where that proves what a scan would say.

A column of addresses, telephone numbers or account numbers has few forms, and for a value of such a form the scan's
answer is known: one finding that spans the value, or none. Where a test proves that, no recogniser is asked; every
other value is scanned. So this is a short cut and never a reason to skip, and results are the same with and without it.

For each kind of personal data there are two tests, both in RE2's syntax, which runs in linear time:

  whole   proves that the value is one finding of this kind, from its first to its last character
  may     is true wherever the recogniser could find anything; false proves that it finds nothing

A finding that spans the value settles it, if nothing that may be found inside can be worth more (`spans.by_worth`).
Kinds without tests of their own are asked through the prefilter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nectar.errors import NectarError
from nectar.scrub.find import context
from nectar.scrub.find import entities as e
from nectar.scrub.find.findings import CHECKSUM, CONTEXT, DOUBTED, PATTERN

UNKNOWN, NOTHING = -2, -1
"""What `settle` says of a value that must be scanned, and of one that holds nothing."""

FEWEST = 64
"""Fewer distinct values are not worth the tests (about 50 microseconds each)."""

_SAMPLED = 200
_ENOUGH = 0.1
"""Share of the sample that the tests must settle; in free text they settle little, and the scan is fast there."""

_LONGEST = 256
"""Longer values are scanned: a context word must be able to stand within reach."""

_THRESHOLDS = (0.35, 0.4)
"""The tests assume that weak forms need a word (they score 0.3 at most), and that a word is enough (it gives 0.4)."""

Mask = Any
"""numpy array of booleans, one for each value."""


@dataclass(frozen=True)
class Values:
    """Distinct values. `plans`: what the numbering plans said of digits, for all tests of these values."""

    array: pa.Array
    plans: dict[str, bool | None] = field(default_factory=dict)

    def fits(self, pattern: str) -> Mask:
        """Where the pattern is found (anchor it to match the whole)."""
        return pc.match_substring_regex(self.array, pattern).to_numpy(zero_copy_only=False)

    def shorter(self, most: int) -> Mask:
        """Where they have no more bytes than that."""
        return pc.less_equal(pc.binary_length(self.array), most).to_numpy(zero_copy_only=False)

    def among(self, mask: Mask) -> Values:
        return Values(self.array.filter(pa.array(mask)), self.plans)

    def digits(self) -> pa.Array:
        """The values without anything but ASCII digits."""
        return pc.replace_substring_regex(self.array, "[^0-9]+", "")

    def numbers(self) -> Any:
        """The digits as numbers (uint64). Only for values of 1 to 19 digits."""
        return self.digits().cast(pa.uint64()).to_numpy()


@dataclass(frozen=True)
class _Tests:
    """How one kind of personal data is told.

    whole     (form, proof): values of the form are one finding where the proof, asked for those only, is true; it is
              told whether the field's name lifts the kind
    strength  of that finding, without a context word
    lifted    the whole test holds only where the field's name lifts the kind
    may       see the module's text; called with the values, and whether the field's name lifts the kind
    """

    may: Callable[[Values, bool], Mask]
    whole: tuple[str, Callable[[Values, bool], Mask]] | None = None
    strength: int = PATTERN
    lifted: bool = False


@dataclass(frozen=True)
class Question:
    """What is asked of a column.

    order         the kinds that are looked for, in the order of the profile, which decides between equals
    lifted        those that the field's name makes believable
    threshold     findings with a lower score are left alone
    more_regions  telephone numbers of other regions than the usual ones are looked for too
    """

    order: tuple[str, ...]
    lifted: frozenset[str]
    threshold: float
    more_regions: bool = False

    @property
    def is_usual(self) -> bool:
        """The threshold is one for which the tests hold, and above the score of what is doubted."""
        low, high = _THRESHOLDS
        return low < self.threshold <= high

    @cached_property
    def strengths(self) -> tuple[int, ...]:
        """For each kind why a finding is believed that spans the value: nothing stands before it."""
        own = [_TESTS[kind].strength if kind in _TESTS else PATTERN for kind in self.order]
        return tuple(max(s, CONTEXT) if k in self.lifted else s for s, k in zip(own, self.order, strict=True))

    def beaten(self, winner: Any, place: int, highest: int) -> Mask:
        """Where the winner, which takes all of the value, is worth more than any finding of this place and strength."""
        better = [p for p, strength in enumerate(self.strengths) if (-strength, p) < (-highest, place)]
        return np.isin(winner, better)


def settle(values: pa.Array, question: Question) -> Any | None:
    """What distinct texts (no nulls) hold: for each the place of the kind that it is as a whole, NOTHING, or UNKNOWN.

    None where the tests would settle too little. A recogniser that is not asked cannot fail.
    """
    low, high = _THRESHOLDS
    if len(values) < FEWEST or not question.order or not low <= question.threshold <= high:
        return None
    places = np.linspace(0, len(values) - 1, _SAMPLED).astype(np.int64)
    try:
        tried = _settle(Values(values.take(pa.array(places))), question)
        return _settle(Values(values), question) if (tried != UNKNOWN).mean() >= _ENOUGH else None
    except NectarError:
        raise  # somebody's profile asks for what is not there
    except Exception:  # noqa: BLE001  the scan finds out which value it was, and spoils no other
        return None


def _settle(values: Values, question: Question) -> Any:
    if not _blind_to_small(question):
        return _looked_at(values, question)
    small = values.fits(_SMALL)
    result = np.full(len(small), NOTHING, dtype=np.int16)
    if not small.all():
        result[~small] = _looked_at(values.among(~small), question)
    return result


_SMALL = r"\A-?(?:(?:0|[1-9][0-9]{{0,5}})|{})\z".format(
    "|".join(rf"(?:0|[1-9][0-9]{{0,{5 - places}}})\.[0-9]{{{places}}}" for places in range(1, 6))
)
"""Numbers of up to six digits, without zeros in front. Amounts, counts and ids are most of what a file holds."""


def _blind_to_small(question: Question) -> bool:
    """Whether nobody finds anything in a small number where the field's name says nothing.

    Shown by scanning all of them, 12 million, for the kinds of the built-in profiles.
    """
    weakest, _ = _THRESHOLDS
    named = question.lifted.intersection(question.order)
    plain = not named and not question.more_regions and question.threshold > weakest
    return plain and _scanned_for().issuperset(question.order)


@cache
def _scanned_for() -> frozenset[str]:
    from nectar.scrub.profile.built_in import BUILT_IN
    from nectar.scrub.profile.profiles import profile_named

    return frozenset(kind for name in BUILT_IN for kind, _ in profile_named(name, {}).treatments)


def _looked_at(values: Values, question: Question) -> Any:
    result = np.full(len(values.array), UNKNOWN, dtype=np.int16)
    fit = _readable(values)
    instants = fit & values.fits(_instant())
    result[instants] = question.order.index(e.DATE_TIME) if e.DATE_TIME in question.order else NOTHING
    rest = fit & ~instants
    if _SIGNED.issuperset(question.order) and rest.any():
        dumb = rest.copy()
        dumb[rest] = ~values.among(rest).fits(_SIGNS)
        result[dumb] = NOTHING
        rest &= ~dumb
    if rest.any():
        result[rest] = told(values.among(rest), question)
    return result


def _readable(values: Values) -> Mask:
    """One short line of ASCII: what the tests are written for."""
    plain = pc.string_is_ascii(values.array).to_numpy(zero_copy_only=False)
    return plain & values.shorter(_LONGEST) & ~values.fits(r"\n")


@cache
def _instant() -> str:
    from nectar.scrub.find.engine import _INSTANT

    return rf"\A(?:{_INSTANT.pattern})\z"


def told(values: Values, question: Question, aided: Mask | None = None) -> Any:
    """As `settle` says, for values that are short, of one line and ASCII, however few.

    aided  None for values that stand alone; else they stand in texts whose words may lift any kind, and here is told of
           which text a word may make a weak form of a social security number believable
    """
    order, lifted, strengths = question.order, question.lifted, question.strengths
    winner = np.full(len(values.array), NOTHING, dtype=np.int16)
    whole = {}
    for place in sorted(range(len(order)), key=lambda p: (-strengths[p], p)):
        tests = _TESTS.get(order[place])
        if tests is None or tests.whole is None or (tests.lifted and order[place] not in lifted):
            continue
        form, proof = tests.whole
        # Nothing of this kind can matter where a stronger one was proven.
        mask = values.fits(form) & ~question.beaten(winner, place, _highest(order[place]))
        if mask.any():
            mask[mask] = proof(values.among(mask), order[place] in lifted)
            whole[order[place]] = mask
            winner[mask & (winner == NOTHING)] = place
    unknown = np.zeros(len(winner), dtype=bool)
    wordy = values.fits("[A-Za-z]") if aided is None else np.ones(len(winner), dtype=bool)
    for place, kind in enumerate(order):
        if kind not in _TESTS:
            continue
        # The best reason that a finding of this kind can have, where the value holds words and where not.
        highest = _highest(kind)
        alone = highest if highest == CHECKSUM else max(strengths[place], PATTERN)
        with_words, without = (question.beaten(winner, place, strength) for strength in (highest, alone))
        open_ = ~(unknown | with_words | (without & ~wordy) | whole.get(kind, unknown))
        if open_.any():
            unknown[open_] = _TESTS[kind].may(values.among(open_), kind in lifted)
            if kind == e.PHONE_NUMBER and question.more_regions:
                unknown[open_] = values.among(open_).fits(_CHAIN)
        if aided is not None and kind == e.US_SSN and (weak := open_ & aided).any():
            unknown[weak] |= values.among(weak).fits(_run(_SOCIAL))
    others = [place for place, kind in enumerate(order) if kind not in _TESTS]
    if others:
        open_ = ~(unknown | question.beaten(winner, min(others), CHECKSUM))
        unknown[open_] = _in_others(
            values.among(open_).array.to_pylist(), frozenset(order[p] for p in others), question
        )
    winner[unknown] = UNKNOWN
    return winner


def _highest(kind: str) -> int:
    """The best reason that a finding of this kind can have."""
    return CHECKSUM if _TESTS[kind].strength == CHECKSUM else CONTEXT


def _in_others(texts: Sequence[str], kinds: frozenset[str], question: Question) -> Mask:
    """Whether a recogniser of kinds without tests must look at a text: what the engine would ask it, and no more."""
    from nectar.scrub.find.prefilter import chosen, look_up
    from nectar.scrub.recognisers import of_whole_values

    lifted = question.lifted & kinds
    seen = np.zeros(len(texts), dtype=bool)
    if of_whole_values(lifted):
        return ~seen
    if kinds.intersection(e.MODELLED):  # a model reads whatever has letters
        seen |= np.array([any(map(str.isalpha, text)) for text in texts], dtype=bool)
    who = [recogniser.entity for recogniser in chosen(kinds)]
    for number, start, end, which, strong in look_up(texts, kinds, question.threshold, lifted):
        if not seen[number]:
            kind = who[which]
            loosely = question.threshold <= DOUBTED
            named = strong or kind in lifted
            seen[number] = named or context.may_help(kind, texts[number], start, end, loosely=loosely)
    return seen


# Tests


def _always(values: Values, _lifted: bool) -> Mask:
    return np.ones(len(values.array), dtype=bool)


def _run(least: int) -> str:
    """Some digits, with at most two other signs between any two."""
    return rf"[0-9](?:[^0-9A-Za-z]{{0,2}}[0-9]){{{least - 1}}}"


@lru_cache(maxsize=64)
def words_of(kind: str) -> str:
    """A context word, anywhere: without one, and without the field's name, the kind's weak forms count nothing."""
    return "(?i)" + "|".join(map(re.escape, context.needles(kind, loosely=True)))


def _weak(kind: str, least: int) -> Callable[[Values, bool], Mask]:
    """The kind is believed only near a word, and has this many digits at least."""

    def may(values: Values, lifted: bool) -> Mask:
        return values.fits(_run(least)) & (lifted or values.fits(words_of(kind)))

    return may


def _form(pattern: str) -> Callable[[Values, bool], Mask]:
    return lambda values, _lifted: values.fits(pattern)


_SOCIAL = 9
"""Digits of a social security number."""


def _social(values: Values, lifted: bool) -> Mask:
    medium = values.fits("[0-9]{3}[^0-9A-Za-z]{1,2}[0-9]{2}[^0-9A-Za-z]{1,2}[0-9]{4}")
    return medium | (values.fits(_run(_SOCIAL)) & (lifted or values.fits(words_of(e.US_SSN))))


def _issued(values: Values, _lifted: bool) -> Mask:
    """Not one of the numbers that are never given out: an area 666, a serial number 0, nine digits that are the same.

    Nor one of those that were printed in advertisements and examples.
    """
    numbers = values.numbers()
    real = (numbers // 1_000_000 != 666) & (numbers % 10_000 != 0) & (numbers % 111_111_111 != 0)
    return real & ~np.isin(numbers, [123456789, 987654320, 78051120])


_CARD = r"\A(?:[346][0-9]|5[0-5])(?:[0-9]{14}|[0-9]{2}(?:-[0-9]{4}){3})\z"


def _card(values: Values, _lifted: bool) -> Mask:
    """Bare digits need their check digit; in any other form a card may stand."""
    may = values.fits(_run(12))
    bare = may & values.fits(r"\A[0-9]{12,19}\z")
    if bare.any():
        may[bare] = luhn(values.among(bare).numbers())
    return may


def _routing(values: Values, lifted: bool) -> Mask:
    may = _weak(e.ABA_ROUTING_NUMBER, 9)(values, lifted)
    bare = may & values.fits(r"\A[0-9]{1,19}\z")
    if bare.any():
        nine = values.among(bare)
        may[bare] = nine.fits(r"\A[0-9]{9}\z") & aba(nine.numbers())
    return may


def may_be_cards(numbers: pa.Array) -> Mask:
    """Where numbers of any type but decimals have a card's length and check digit; null and not-a-number have none."""
    there = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    if np.issubdtype(there.dtype, np.floating):
        # Beyond that not every whole number has a place among the floats.
        there = np.where(np.isfinite(there) & (np.abs(there) < 2**53) & (there == np.trunc(there)), there, 0)
    size = np.where(there < 0, -there, there).astype(np.uint64)
    may = size >= np.uint64(10**11)
    may[may] = luhn(size[may])
    return may


def luhn(numbers: Any) -> Mask:
    """Which whole numbers (uint64, of up to 19 digits) end in the check digit of ISO/IEC 7812-1."""
    left = numbers.astype(np.uint64)
    total = np.zeros(len(left), dtype=np.uint64)
    ten = np.uint64(10)
    for place in range(19):
        left, digit = left // ten, left % ten
        total += digit if place % 2 == 0 else digit // np.uint64(5) + digit * np.uint64(2) % ten
    return total % ten == 0


def aba(numbers: Any) -> Mask:
    """Which whole numbers of nine digits have the check digit of an American routing number: weights 3, 7, 1."""
    left = numbers.astype(np.uint64)
    total = np.zeros(len(left), dtype=np.uint64)
    for weight in (1, 7, 3) * 3:
        left, digit = left // np.uint64(10), left % np.uint64(10)
        total += digit * np.uint64(weight)
    return total % np.uint64(10) == 0


DOMAIN = r"[A-Za-z0-9]+(?:[-.][A-Za-z0-9]+)*\.[A-Za-z0-9]+(?:[-.][A-Za-z0-9]+)*"
SIGNS_OF_ADDRESSES = r"@|%40|[\[({] ?[aA][tT] ?[\])}]"
"""One of these is in every e-mail address, also where it is spelt out or encoded."""

_ADDRESS = rf"\A[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+-])?@{DOMAIN}\z"


def _delivered(values: Values, _lifted: bool) -> Mask:
    """Addresses whose domain the recogniser takes. Behind a plain name nothing but the domain counts."""
    domains = pc.replace_substring_regex(values.array, r"\A[^@]*@", "").dictionary_encode()
    judged = [_takes_domain(domain) for domain in domains.dictionary.to_pylist()]
    return np.array(judged, dtype=bool)[domains.indices.to_numpy()]


@lru_cache(maxsize=4096)
def _takes_domain(domain: str) -> bool:
    from nectar.scrub.find.prefilter import chosen

    address = f"name@{domain}"
    hits = [hit for recogniser in chosen(frozenset({e.EMAIL_ADDRESS})) for hit in recogniser.lines(address)]
    return any((hit.start, hit.end) == (0, len(address)) and hit.strength == CHECKSUM for hit in hits)


# Telephone numbers

_CHAIN = r"[0-9](?:[-xX ()\[\]./~]{0,6}[0-9]){3}"
"""Four digits, as near to each other as in a telephone number: the prefilter's own form."""
_DIVIDED = (
    r"[0-9][-xX ()\[\]./~]*[xX ()\[\]./~][-xX ()\[\]./~]*[0-9]"
    r"|(?i:[0-9][ \t]*(?:e?xt|int|anexo|[-,;#:~+*=()\[\]][ \t,;#:~+*=()\[\]-]))|[0-9][ \t]*[,;#:~+*=]"
)
"""Digits with more than hyphens between them, or an extension: the library may find a number in a part of them."""
_FREE = r"(?:\A|[^0-9A-Za-z-]|(?:\A|[^0-9])-)[0-9]+(?:-[0-9]+)*(?:\z|[^0-9A-Za-z-]|-(?:\z|[^0-9]))"
"""Digits and single hyphens between neighbours that are no letters: a number that touches a letter is none."""

_SIMPLE = r"\A[0-9]+(?:[-. ][0-9]+)*\z"
"""Digits in groups: where a plan takes them all, the library takes the value."""

_ABROAD = r"\A\+[0-9]+(?:[-. ][0-9]+)*\z"
_TIMED = r"[12][0-9]{3}[-/]?[01][0-9][-/]?[0-3][0-9] +[0-2][0-9]\z"
"""The library takes this for a moment in time, and looks at what follows."""

_AMERICAN = (
    r"\A(?:\+?1)?[0-9]{10}\z"
    r"|\A(?:\+1[-. ]?|1[-. ]|001[-. ])?(?:\([0-9]{3}\) ?|[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}(?: ?x[0-9]{2,5})?\z"
)
"""Ways to write a number of the North American numbering plan."""
_GROUPED = r"\A(?:\+?1-)?[0-9]{3}-[0-9]{3}-[0-9]{4}\z"
"""The most usual of them, which always looks like a number that is dialled."""


def _phone(values: Values, lifted: bool) -> Mask:
    from nectar.scrub.phones.likely import FORMED

    may = values.fits(_CHAIN)
    if lifted or not may.any():  # in a field of telephone numbers, nearly all digits are one
        return may
    near = values.among(may)
    # The library cuts longer runs of digits in pieces.
    long = near.fits(_run(20))
    live = long | near.fits(_DIVIDED) | near.fits(_FREE)
    simple = live & ~long & near.fits(r"\A(?:[0-9]+(?:-[0-9]+)*|[0-9]+\.[0-9]+)\z") & ~near.fits(r"\A00")
    simple &= ~near.fits(rf"\A(?:{FORMED})\z")
    if simple.any():
        live[simple] = _in_a_plan(near.among(simple))
    may[may] = live
    return may


def _in_a_plan(values: Values) -> Mask:
    """Whether digits, or a decimal number or a part of it, may be a number by some region's plan."""
    fits = ~_in_plans(values.digits(), values.plans, wanted=False)
    decimal = ~fits & values.fits(r"\.")
    if decimal.any():
        parts = values.among(decimal).array
        before, after = (pc.replace_substring_regex(parts, cut, "") for cut in (r"\..*", r".*\."))
        fits[decimal] = ~np.logical_and(*(_in_plans(part, values.plans, wanted=False) for part in (before, after)))
    return fits


def _in_plans(digits: pa.Array, plans: dict[str, bool | None], *, wanted: bool) -> Mask:
    """Where it is certain that digits are a number by some region's plan (True), or by none (False)."""
    from nectar.scrub.phones.numbering import closer, surely_taken, verdict_anywhere
    from nectar.scrub.phones.phones import REGIONS

    close = closer(REGIONS).matches_strings(digits)
    sure = np.zeros(len(digits), dtype=bool) if wanted else ~close
    american = surely_taken("US")
    if american is not None and close.any():
        taken = close.copy()
        taken[close] = american.matches_strings(digits.filter(pa.array(close)))
        sure |= taken & wanted
        close &= ~taken
    said = []
    for text in digits.filter(pa.array(close)).to_pylist():
        if text not in plans:
            plans[text] = verdict_anywhere(text, REGIONS)
        said.append(plans[text] is wanted)
    sure[close] = said
    return sure


_DOUBTFUL = (
    r"\A(?:[^0-9]*[0-9]){1,6}[^0-9]*\z"  # too short
    r"|[0-9]\.[0-9]+\.[0-9]+\.[0-9]"  # an IPv4 address inside
    r"|\A(?:[0-9]+(?:\.[0-9]+)+(?: [0-9]+\.[0-9]+)*"
    r"|[0-9]{1,4}[-. ][0-9]{1,2}[-. ][0-9]{1,4}(?: [0-9]{1,2}(?:\.[0-9]{2})?)?"  # a date, perhaps an hour
    r"|[0-9]{1,2}(?:[-. ][0-9]{1,2})+|[0-9]{1,8}|[0-9]{3,4}-[0-9]{5,8}|1[4-9](?:[0-9]{8}|[0-9]{11}))\z"
)
"""All forms of the value alone that `doubts` may doubt, and more: such a value is scanned."""


def _number(values: Values, lifted: bool) -> Mask:
    """Digits that some region's plan takes; in other forms, what is valid in the United States.

    In a field of telephone numbers an American form is enough.
    """
    from nectar.scrub.phones.likely import looks_dialled
    from nectar.scrub.phones.numbering import verdict

    simple = values.fits(_SIMPLE)
    fits = np.zeros(len(simple), dtype=bool)
    doubtful = np.zeros_like(fits) if lifted else values.fits(_DOUBTFUL)
    simple &= ~doubtful
    if lifted:
        american = values.fits(_AMERICAN)
        fits[american] = values.among(american).fits(_GROUPED)
        odd = american & ~fits
        fits[odd] = [looks_dialled(text) for text in values.among(odd).array.to_pylist()]
        simple &= ~american
    fits[simple] = _in_plans(values.among(simple).digits(), values.plans, wanted=True)
    fits[simple] &= ~values.among(simple).fits(_TIMED)
    abroad = values.fits(_ABROAD)
    if abroad.any():
        from nectar.scrub.phones.numbering import verdict_abroad

        simple |= abroad
        said = [verdict_abroad(digits) is True for digits in values.among(abroad).digits().to_pylist()]
        fits[abroad] |= np.array(said, dtype=bool)
    if not lifted:
        other = ~(simple | doubtful)
        national = Values(pc.replace_substring_regex(values.among(other).array, r"x.*\z", "")).digits()
        ten = pc.utf8_slice_codeunits(national, -10)
        fits[other] = [verdict(digits, "US") is True for digits in ten.to_pylist()]
        fits &= ~doubtful
    return fits


_SIGNS = f"[0-9]|{SIGNS_OF_ADDRESSES}"
_SIGNED = frozenset({
    e.EMAIL_ADDRESS, e.PHONE_NUMBER, e.CREDIT_CARD, e.US_SSN, e.US_BANK_NUMBER, e.ACCOUNT_NUMBER,
    e.ABA_ROUTING_NUMBER, e.TRANSACTION_ID, e.IBAN_CODE,
})  # fmt: skip
"""Kinds whose `may` test below wants a digit, or the sign of an address."""

_TESTS: dict[str, _Tests] = {
    e.EMAIL_ADDRESS: _Tests(
        _form(SIGNS_OF_ADDRESSES),
        (_ADDRESS, _delivered),
        CHECKSUM,
    ),
    e.PHONE_NUMBER: _Tests(_phone, (f"{_SIMPLE}|{_AMERICAN}|{_ABROAD}", _number)),
    e.CREDIT_CARD: _Tests(
        _card,
        (_CARD, lambda values, _lifted: luhn(values.numbers())),
        CHECKSUM,
    ),
    e.US_SSN: _Tests(_social, (r"\A[1-8][0-9]{2}-(?:0[1-9]|[1-9][0-9])-[0-9]{4}\z", _issued)),
    e.US_BANK_NUMBER: _Tests(_weak(e.US_BANK_NUMBER, 8), (r"\A[0-9]{8,17}\z", _always), lifted=True),
    e.ACCOUNT_NUMBER: _Tests(_weak(e.ACCOUNT_NUMBER, 6), (r"\A[0-9]{6,17}\z", _always), lifted=True),
    e.ABA_ROUTING_NUMBER: _Tests(
        _routing, (r"\A[0123678][0-9]{8}\z", lambda values, _lifted: aba(values.numbers())), CHECKSUM, lifted=True
    ),
    e.TRANSACTION_ID: _Tests(
        lambda values, lifted: values.fits("[0-9]") & (lifted or values.fits(words_of(e.TRANSACTION_ID))),
        (r"\A[A-Za-z][A-Za-z0-9_-]{3,62}[A-Za-z0-9]\z", lambda values, _lifted: values.fits("[0-9]")),
        lifted=True,
    ),
    e.IBAN_CODE: _Tests(
        _form("[A-Za-z]{2}[^0-9A-Za-z]{0,2}[0-9]{2}(?:[^0-9A-Za-z]{0,2}[0-9A-Za-z]){11}"), strength=CHECKSUM
    ),
    e.IP_ADDRESS: _Tests(_form(r":.*:|[0-9]\.[0-9]+\.[0-9]+\.[0-9]")),
    e.URL: _Tests(_form(r"[A-Za-z0-9.\-]\.[A-Za-z]{2}")),
}
