"""The recognisers: presidio's own objects, called alone, and four of ours in the same form.

This module imports presidio (a second or two, 100 MB); only detection imports this module.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex
import tldextract
from presidio_analyzer import Pattern, PatternRecognizer
from presidio_analyzer.predefined_recognizers import (
    AbaRoutingRecognizer,
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    UrlRecognizer,
    UsBankRecognizer,
    UsSsnRecognizer,
)

from nectar.scrub import entities as e
from nectar.scrub.findings import CHECKSUM, PATTERN, Hit, ScanError, without_contained
from nectar.scrub.phones import phone_hits

# presidio logs the text it cannot validate, at level error: nothing of a record may reach a log.
logging.getLogger("presidio-analyzer").disabled = True

_JUDGED = 256
"""Several patterns of one recogniser match the same characters: it judges them once."""

SECONDS = 10.0
"""Longest time for one pattern on one line; beyond it the text counts as not scanned."""

# Only the list of suffixes that comes with the package: no download, and no cache in a home folder that others filled.
_SUFFIXES = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())


_FROM, _TO = r"(?<![\w-])", r"(?![\w-])"


class OfflineEmailRecognizer(EmailRecognizer):  # type: ignore[misc]
    def validate_result(self, pattern_text: str) -> bool:
        # Behind a plain name nothing but the domain counts, and domains come again and again.
        name, _, domain = pattern_text.rpartition("@")
        return _has_suffix("name@" + domain if _PLAIN_NAME.fullmatch(name) else pattern_text)


_PLAIN_NAME = re.compile(r"[\w.+-]+")


@lru_cache(maxsize=4096)
def _has_suffix(address: str) -> bool:
    return bool(_SUFFIXES(address).fqdn)


class WideCardRecognizer(CreditCardRecognizer):  # type: ignore[misc]
    """Cards that presidio's pattern leaves out: 2-series Mastercard, 19-digit Visa, JCB of 15, Maestro of 12 to 19."""

    PATTERNS = (
        Pattern("Mastercard 2", rf"{_FROM}2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)(?:[- ]?\d{{4}}){{3}}{_TO}", 0.3),
        Pattern("Visa 19", rf"{_FROM}4\d{{3}}(?:[- ]?\d{{4}}){{3}}[- ]?\d{{3}}{_TO}", 0.3),
        Pattern("JCB 15", rf"{_FROM}(?:2131|1800)[- ]?\d{{4}}[- ]?\d{{4}}[- ]?\d{{3}}{_TO}", 0.3),
        Pattern("JCB 16", rf"{_FROM}35\d\d(?:[- ]?\d{{4}}){{3}}{_TO}", 0.3),
        Pattern("Maestro", rf"{_FROM}(?:0604|(?:5[0678]|6\d)\d\d)(?:[- ]?\d{{4}}){{2,3}}(?:[- ]?\d{{1,3}})?{_TO}", 0.3),
    )


class AccountRecognizer(PatternRecognizer):  # type: ignore[misc]
    """Account numbers of 6 to 17 digits, believed only near a word such as `account` or in a field of that name."""

    def __init__(self) -> None:
        patterns = [
            Pattern("account (weak)", r"(?<![\w.-])\d{6,17}(?![\w-]|\.\d)", 0.05),
            # Grouped, for example 12-3456-789 or 1234 5678 9012.
            Pattern("account, grouped (weak)", r"(?<![\w.-])\d{2,6}(?:[- ]\d{2,6}){1,4}(?![\w-]|\.\d)", 0.05),
        ]
        super().__init__(supported_entity=e.ACCOUNT_NUMBER, patterns=patterns, name="AccountRecognizer")

    def invalidate_result(self, pattern_text: str) -> bool:
        return not 6 <= sum(c.isdigit() for c in pattern_text) <= 17 or _DATE.fullmatch(pattern_text) is not None


class TransactionRecognizer(PatternRecognizer):  # type: ignore[misc]
    """Ids of transactions: `TXN-...`, and any id-like word near `transaction` or in a field of that name."""

    def __init__(self) -> None:
        start, end = r"(?<![\w@.:/-])", r"(?![\w@/-]|[.:]\w)"
        digits = r"(?=(?:[A-Z_-]*\d){3})"
        patterns = [
            Pattern("prefixed", rf"{start}(?:TXN|TRX|TX)[-_#]{digits}[A-Z0-9][A-Z0-9_-]{{2,63}}{end}", 0.6),
            Pattern("prefixed, joined", rf"{start}(?:TXN|TRX|TX)\d{{3}}[A-Z0-9_-]{{1,61}}{end}", 0.6),
            Pattern("id (weak)", rf"{start}(?=[\w-]*\d)[A-Z0-9][A-Z0-9_-]{{4,63}}{end}", 0.05),
            # However short, where a field of that name holds nothing else.
            Pattern("whole value (weak)", r"^(?=[^\n]*\d)#?[A-Z0-9][A-Z0-9_:/#-]{0,63}$", 0.05),
        ]
        super().__init__(supported_entity=e.TRANSACTION_ID, patterns=patterns, name="TransactionRecognizer")

    def invalidate_result(self, pattern_text: str) -> bool:
        return _DATE.match(pattern_text) is not None


_DATE = re.compile(r"(?:19|20)\d\d-[01]\d-[0-3]\d(?!\d)|[0-3]?\d-[01]?\d-(?:19|20)\d\d(?!\d)")


class _StrictRegex:
    """A compiled pattern that fails where presidio would skip: a time-out must not read as "nothing found"."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def finditer(self, text: str, timeout: float | None = None) -> Iterator[Any]:  # noqa: ARG002  presidio's own
        try:
            yield from self.compiled.finditer(text, timeout=SECONDS)
        except TimeoutError as error:
            raise ScanError("scan_timed_out") from error


@dataclass(frozen=True)
class Recogniser:
    """One source of hits for one entity.

    forms     expressions whose matches include every match (for the prefilter), each with the best score it can give
    hint      a character without which nothing matches; empty: none
    unproven  the score of a hit without context, where a checksum alone proves too little (one number in ten)
    """

    name: str
    entity: str
    forms: tuple[tuple[str, float], ...]
    find: Callable[[str], list[Hit]]
    hint: str = ""
    unproven: float | None = None

    def best(self) -> float:
        """The highest score that a hit can have without a context word."""
        return max(score for _, score in self.forms)

    def lines(self, text: str) -> list[Hit]:
        """Hits of one line. Raises ScanError, whatever went wrong inside."""
        if self.hint and self.hint not in text:
            return []
        try:
            hits = self.find(text)
        except ScanError:
            raise
        except Exception as error:  # whatever it was, the text is not known to be clean
            raise ScanError("recogniser_failed") from error
        if self.unproven is None:
            return hits
        return [hit._replace(score=min(hit.score, self.unproven)) for hit in hits]


def _presidio(
    recogniser: Any, *, hint: str = "", proves: bool = False, unproven: float | None = None, forms: tuple[str, ...] = ()
) -> Recogniser:
    """Wrap a presidio recogniser.

    proves   a checksum may raise any of its patterns to a full score
    forms    what the prefilter looks for instead of the recogniser's own patterns
    """
    entity = recogniser.supported_entities[0]
    for pattern in recogniser.patterns:
        _compile(pattern, recogniser.global_regex_flags)
    scores = [unproven if unproven is not None else 1.0 if proves else pattern.score for pattern in recogniser.patterns]
    expressions = forms or tuple(pattern.regex for pattern in recogniser.patterns)

    find = _direct(recogniser) if type(recogniser).analyze is PatternRecognizer.analyze else _asked(recogniser)
    pairs = tuple(zip(expressions, [max(scores)] if forms else scores, strict=True))
    return Recogniser(recogniser.name, entity, pairs, find, hint, unproven)


def _asked(recogniser: Any) -> Callable[[str], list[Hit]]:
    """What a recogniser with a way of its own says."""
    entity = recogniser.supported_entities[0]

    def find(text: str) -> list[Hit]:
        return [_hit(entity, r.start, r.end, r.score) for r in recogniser.analyze(text, [entity])]

    return find


def _direct(recogniser: Any) -> Callable[[str], list[Hit]]:
    """What `PatternRecognizer.analyze` says, without the explanations that it writes for each match."""
    entity = recogniser.supported_entities[0]
    patterns = [(pattern.compiled_regex.compiled, pattern.score) for pattern in recogniser.patterns]

    @lru_cache(maxsize=_JUDGED)
    def judged(text: str) -> bool | None:
        valid = recogniser.validate_result(text)
        return False if recogniser.invalidate_result(text) else valid

    def find(text: str) -> list[Hit]:
        hits = []
        try:
            for compiled, of_form in patterns:
                for match in compiled.finditer(text, timeout=SECONDS):
                    valid = judged(match[0]) if match[0] else False
                    if valid or valid is None:
                        score = of_form if valid is None else 1.0
                        hits.append(_hit(entity, match.start(), match.end(), score))
        except TimeoutError as error:
            raise ScanError("scan_timed_out") from error
        return without_contained(hits)

    return find


def _hit(entity: str, start: int, end: int, score: float) -> Hit:
    return Hit(entity, start, end, score, CHECKSUM if score >= 1.0 else PATTERN)


def _compile(pattern: Any, flags: int) -> None:
    pattern.compiled_with_flags = flags
    pattern.compiled_regex = _StrictRegex(regex.compile(pattern.regex, flags=flags))


@lru_cache(maxsize=1)
def recognisers() -> tuple[Recogniser, ...]:
    """Every recogniser, made once per process."""
    # The phone form: four digits (a German number may have no more) with at most six separators between any two.
    phone = Recogniser("PhoneRecognizer", e.PHONE_NUMBER, ((r"[0-9](?:[-x ()\[\]./~]{0,6}[0-9]){3}", 0.4),), phone_hits)
    return (
        _presidio(OfflineEmailRecognizer(name="EmailRecognizer"), hint="@", proves=True),
        phone,
        _presidio(CreditCardRecognizer(), proves=True),
        _presidio(WideCardRecognizer(patterns=list(WideCardRecognizer.PATTERNS), name="WideCard"), proves=True),
        _presidio(UsSsnRecognizer()),
        _presidio(UsBankRecognizer()),
        _presidio(AccountRecognizer()),
        _presidio(AbaRoutingRecognizer(), unproven=0.05),
        _presidio(TransactionRecognizer()),
        _presidio(IbanRecognizer(), proves=True),
        _presidio(IpRecognizer()),
        # presidio's 6 kB list of suffixes takes seconds to compile: a dot before two letters lets all of them through.
        _presidio(UrlRecognizer(), hint=".", forms=(r"[a-z0-9.\-]\.[a-z]{2}",)),
    )
