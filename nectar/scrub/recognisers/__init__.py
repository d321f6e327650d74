"""The recognisers: presidio's own objects, called alone, and ours in the same form.

This module imports presidio (20 MB without its language models, see `library`); only detection imports this module.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any

import regex

from nectar.scrub.find import entities as e
from nectar.scrub.find import patience
from nectar.scrub.find.addresses import address_in
from nectar.scrub.find.findings import CHECKSUM, PATTERN, Hit, ScanError, without_contained
from nectar.scrub.find.locales import KINDS
from nectar.scrub.phones.phones import of_region, phone_hits, phones_in
from nectar.scrub.recognisers.bank import (
    WEAK,
    AccountRecognizer,
    SwiftRecognizer,
    TransactionRecognizer,
    WholeSwiftRecognizer,
    WholeTransactionRecognizer,
)
from nectar.scrub.recognisers.cards import WideCardRecognizer
from nectar.scrub.recognisers.dates import NamedDateRecognizer
from nectar.scrub.recognisers.library import PatternRecognizer, tldextract
from nectar.scrub.recognisers.library import predefined_recognizers as presidio
from nectar.scrub.recognisers.named import FIELD_MAKERS, PersonFieldRecognizer
from nectar.scrub.recognisers.secrets import MAKERS, WHOLE_MAKERS, SecretRecognizer
from nectar.scrub.recognisers.wider import WideEmailRecognizer, WideIbanRecognizer

# presidio logs the text it cannot validate, at level error: nothing of a record may reach a log.
logging.getLogger("presidio-analyzer").disabled = True

_JUDGED = 256
"""Several patterns of one recogniser match the same characters: it judges them once."""

SECONDS = 10.0
"""Longest time for one pattern on one line; beyond it the text counts as not scanned."""

# Only the list of suffixes that comes with the package: no download, and no cache in a home folder that others filled.
_SUFFIXES = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())


class OfflineEmailRecognizer(presidio.EmailRecognizer):  # type: ignore[misc]
    def validate_result(self, pattern_text: str) -> bool:
        # Behind a plain name nothing but the domain counts, and domains come again and again.
        name, _, domain = pattern_text.rpartition("@")
        return ends_in_suffix("name@" + domain if _PLAIN_NAME.fullmatch(name) else pattern_text)


_PLAIN_NAME = re.compile(r"[\w.+-]+")


@lru_cache(maxsize=4096)
def ends_in_suffix(address: str) -> bool:
    """The address's domain ends in a suffix that registries give out."""
    return bool(_SUFFIXES(address).fqdn)


class _StrictRegex:
    """A compiled pattern that fails where presidio would skip: a time-out must not read as "nothing found"."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def finditer(self, text: str, timeout: float | None = None) -> Iterator[Any]:  # noqa: ARG002  presidio's own
        try:
            yield from self.compiled.finditer(text, timeout=patience.seconds(SECONDS))
        except TimeoutError as error:
            raise ScanError("scan_timed_out") from error


@dataclass(frozen=True)
class Recogniser:
    """One source of hits for one entity.

    forms     expressions whose matches include every match (for the prefilter), each with the best score it can give
    hint      a character without which nothing matches; empty: none
    unproven  the score of a hit without context, where a checksum alone proves too little (one number in ten)
    caseless  the forms match in upper and lower case
    whole     a hit may reach over several lines: it judges whole texts in which a form matches
    around    instead of `find`, for one that looks at what stands around a line: the text, the line's start and end,
              and whether the field's name speaks for the entity
    """

    name: str
    entity: str
    forms: tuple[tuple[str, float], ...]
    find: Callable[[str], list[Hit]]
    hint: str = ""
    unproven: float | None = None
    caseless: bool = True
    whole: bool = False
    around: Callable[[str, int, int, bool], list[Hit]] | None = None

    def best(self) -> float:
        """The highest score that a hit can have without a context word."""
        return max(score for _, score in self.forms)

    def judge(self, text: str, start: int, end: int, *, believed: bool) -> list[Hit]:
        """Hits of the line between these places of a text, with the line's offsets. Raises ScanError."""
        around = self.around
        if around is None:
            return self.lines(text[start:end])
        try:
            return around(text, start, end, believed)
        except ScanError:
            raise
        except Exception as error:
            raise ScanError("recogniser_failed") from error

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
    recogniser: Any,
    *,
    hint: str = "",
    unproven: float | None = None,
    forms: tuple[str, ...] = (),
    whole: bool = False,
) -> Recogniser:
    """Wrap a presidio recogniser.

    forms    what the prefilter looks for instead of the recogniser's own patterns
    """
    entity = recogniser.supported_entities[0]
    # A checksum may raise any of its patterns to a full score.
    proves = type(recogniser).validate_result is not PatternRecognizer.validate_result
    for pattern in recogniser.patterns:
        _compile(pattern, recogniser.global_regex_flags)
    scores = [unproven if unproven is not None else 1.0 if proves else pattern.score for pattern in recogniser.patterns]
    expressions = forms or tuple(pattern.regex for pattern in recogniser.patterns)

    find = _direct(recogniser) if type(recogniser).analyze is PatternRecognizer.analyze else _asked(recogniser)
    pairs = tuple(zip(expressions, [max(scores)] * len(forms) if forms else scores, strict=True))
    caseless = bool(recogniser.global_regex_flags & regex.IGNORECASE)
    return Recogniser(recogniser.name, entity, pairs, find, hint, unproven, caseless, whole)


def _asked(recogniser: Any) -> Callable[[str], list[Hit]]:
    """What a recogniser with a way of its own says."""
    entity = recogniser.supported_entities[0]

    def find(text: str) -> list[Hit]:
        return [_hit(entity, r.start, r.end, r.score) for r in recogniser.analyze(text, [entity])]

    return find


def _direct(
    recogniser: Any,
    only: Iterable[int] | None = None,
    inside: Callable[[str], tuple[int, int] | None] = lambda _match: None,
) -> Callable[[str], list[Hit]]:
    """What `PatternRecognizer.analyze` says, without the explanations that it writes for each match.

    only    the numbers of the patterns that are tried; None: all
    inside  where in a match that is not valid a valid part stands
    """
    entity = recogniser.supported_entities[0]
    tried = recogniser.patterns if only is None else [recogniser.patterns[number] for number in only]
    patterns = [(pattern.compiled_regex.compiled, pattern.score) for pattern in tried]

    @lru_cache(maxsize=_JUDGED)
    def judged(text: str) -> bool | None:
        valid = recogniser.validate_result(text)
        return False if recogniser.invalidate_result(text) else valid

    def find(text: str) -> list[Hit]:
        hits = []
        try:
            for compiled, of_form in patterns:
                for match in compiled.finditer(text, timeout=patience.seconds(SECONDS)):
                    valid = judged(match[0]) if match[0] else False
                    if valid or valid is None:
                        score = of_form if valid is None else 1.0
                        hits.append(_hit(entity, match.start(), match.end(), score))
                    elif part := inside(match[0]):
                        hits.append(_hit(entity, match.start() + part[0], match.start() + part[1], 1.0))
        except TimeoutError as error:
            raise ScanError("scan_timed_out") from error
        return without_contained(hits)

    return find


def _hit(entity: str, start: int, end: int, score: float) -> Hit:
    return Hit(entity, start, end, score, CHECKSUM if score >= 1.0 else PATTERN)


def _compile(pattern: Any, flags: int) -> None:
    pattern.compiled_with_flags = flags
    pattern.compiled_regex = _StrictRegex(regex.compile(pattern.regex, flags=flags))


_DIGITS = r"[0-9](?:[-x ()\[\]./~]{0,6}[0-9]){3}"
"""Of a phone: four digits (a German number may have no more) with at most six separators between any two."""


def _phone() -> Recogniser:
    return Recogniser("PhoneRecognizer", e.PHONE_NUMBER, ((_DIGITS, 0.4),), phone_hits, around=phones_in)


def _email() -> Recogniser:
    """presidio's, and the addresses in what it refuses because a path or a query stands before them."""
    recogniser = OfflineEmailRecognizer(name="EmailRecognizer")
    return replace(_presidio(recogniser, hint="@"), find=_direct(recogniser, inside=address_in))


def _transaction() -> Recogniser:
    """Nearly every word fits the weak pattern but for the digit that it must have."""
    recogniser = _presidio(TransactionRecognizer())
    strong = [form for form in recogniser.forms if form[1] > WEAK]
    return replace(recogniser, forms=(*strong, ("[0-9](?:[^0-9]|$)", WEAK)))


def _url() -> Recogniser:
    """Nothing that it matches holds a space, so it judges words, and of its four patterns those that the word can fit.

    Its 6 kB list of suffixes takes seconds to compile: the first two letters of each let all through.
    """
    recogniser = presidio.UrlRecognizer()
    starts: dict[str, set[str]] = {}
    for first, second in _SUFFIX.findall(recogniser.patterns[0].regex):
        starts.setdefault(first, set()).add(second)
    letters = "|".join(f"{first}[{''.join(sorted(seconds))}]" for first, seconds in sorted(starts.items()))
    form = rf"[a-z0-9.\-]\.(?:{letters})"
    made = _presidio(recogniser, hint=".", forms=(form,))
    suffixed = re.compile(form, re.IGNORECASE)
    fitting = {
        (schemed, quoted): _direct(
            recogniser, [n for n, fits in enumerate((schemed, True, schemed and quoted, quoted)) if fits]
        )
        for schemed in (False, True)
        for quoted in (False, True)
    }

    def find(text: str) -> list[Hit]:
        hits = []
        for match in _SPACELESS.finditer(text):
            word, start = match[0], match.start()
            if "." in word and suffixed.search(word):
                patterns = fitting["://" in word, '"' in word or "'" in word]
                hits += [hit._replace(start=hit.start + start, end=hit.end + start) for hit in patterns(word)]
        return hits

    return replace(made, find=find)


_SPACELESS = regex.compile(r"\S+")
_SUFFIX = re.compile(r"\(\?:([a-z])([a-z])[a-z]*\)")


@cache
def _phone_of(entity: str) -> Recogniser:
    """The recogniser of `entities.phones_of` a region."""
    find = of_region(entity.removeprefix(e.phones_of("")))
    return Recogniser(entity, e.PHONE_NUMBER, ((_DIGITS, 0.4),), find)


_CROSSES = re.compile(r"\\s|(?<!\\)\.[*+{]")


def _local(name: str) -> Recogniser:
    """One of presidio's recognisers for one country."""
    recogniser = getattr(presidio, name)()
    if isinstance(recogniser, PatternRecognizer):
        # Some of these let a space be a line break, or look ahead over any number of lines.
        return _presidio(recogniser, whole=any(_CROSSES.search(pattern.regex) for pattern in recogniser.patterns))
    return Recogniser(recogniser.name, recogniser.supported_entities[0], ((_DIGITS, 0.4),), _asked(recogniser))


def _secret(maker: type[SecretRecognizer]) -> Recogniser:
    return replace(_presidio(maker(), forms=maker.FORMS, whole=maker.WHOLE), caseless=True)


def _field(maker: type[PersonFieldRecognizer]) -> Recogniser:
    return _presidio(maker())


_Makers = tuple[tuple[str, Callable[[], Recogniser]], ...]

_MAKERS: _Makers = (
    (e.EMAIL_ADDRESS, _email),
    (e.EMAIL_ADDRESS, lambda: _presidio(WideEmailRecognizer(), forms=WideEmailRecognizer.FORMS)),
    (e.PHONE_NUMBER, _phone),
    (e.CREDIT_CARD, lambda: _presidio(presidio.CreditCardRecognizer())),
    (e.CREDIT_CARD, lambda: _presidio(WideCardRecognizer())),
    (e.US_SSN, lambda: _presidio(presidio.UsSsnRecognizer())),
    (e.US_ITIN, lambda: _presidio(presidio.UsItinRecognizer())),
    (e.US_BANK_NUMBER, lambda: _presidio(presidio.UsBankRecognizer())),
    (e.ACCOUNT_NUMBER, lambda: _presidio(AccountRecognizer())),
    (e.ABA_ROUTING_NUMBER, lambda: _presidio(presidio.AbaRoutingRecognizer(), unproven=0.05)),
    (e.TRANSACTION_ID, _transaction),
    (e.IBAN_CODE, lambda: _presidio(presidio.IbanRecognizer())),
    (e.IBAN_CODE, lambda: _presidio(WideIbanRecognizer(), forms=WideIbanRecognizer.FORMS)),
    (e.SWIFT_CODE, lambda: _presidio(SwiftRecognizer())),
    (e.CRYPTO, lambda: _presidio(presidio.CryptoRecognizer())),
    (e.US_PASSPORT, lambda: _presidio(presidio.UsPassportRecognizer())),
    (e.US_DRIVER_LICENSE, lambda: _presidio(presidio.UsLicenseRecognizer())),
    (e.UK_NHS, lambda: _presidio(presidio.NhsRecognizer())),
    (e.MEDICAL_LICENSE, lambda: _presidio(presidio.MedicalLicenseRecognizer())),
    (e.IP_ADDRESS, lambda: _presidio(presidio.IpRecognizer())),
    (e.MAC_ADDRESS, lambda: _presidio(presidio.MacAddressRecognizer())),
    (e.UUID, lambda: _presidio(presidio.UuidRecognizer(), hint="-")),
    (e.URL, _url),
    (e.DATE_TIME, lambda: _presidio(presidio.DateRecognizer())),
    (e.DATE_TIME, lambda: _presidio(NamedDateRecognizer(), forms=NamedDateRecognizer.FORMS)),
    *((maker.ENTITY, partial(_secret, maker)) for maker in MAKERS),
    *((entity, partial(_local, kind.recogniser)) for entity, kind in KINDS.items()),
)
_WHOLE: _Makers = (
    (e.TRANSACTION_ID, lambda: _presidio(WholeTransactionRecognizer())),
    (e.SWIFT_CODE, lambda: _presidio(WholeSwiftRecognizer())),
    *((maker.ENTITY, partial(_secret, maker)) for maker in WHOLE_MAKERS),
    *((maker.ENTITY, partial(_field, maker)) for maker in FIELD_MAKERS),
)


def recognisers(entities: Iterable[str] = e.ALL) -> tuple[Recogniser, ...]:
    """The recognisers of these entities, in the order of `entities.ALL`, each made once per process."""
    entities = frozenset(entities)
    regions = sorted(entity for entity in entities if entity.startswith(e.phones_of("")))
    return (*map(_made, _numbers(_MAKERS, entities)), *map(_phone_of, regions))


@lru_cache(maxsize=256)
def of_whole_values(entities: frozenset[str]) -> tuple[Recogniser, ...]:
    """Those that say something only where a field's name speaks for the entity, about its whole value.

    Their forms match nearly anything, so they are no part of the search through texts.
    """
    return tuple(map(_made_whole, _numbers(_WHOLE, entities)))


def _numbers(makers: _Makers, entities: Iterable[str]) -> list[int]:
    wanted = frozenset(entities)
    return [number for number, (entity, _) in enumerate(makers) if entity in wanted]


@cache
def _made(number: int) -> Recogniser:
    return _MAKERS[number][1]()


@cache
def _made_whole(number: int) -> Recogniser:
    return _WHOLE[number][1]()
