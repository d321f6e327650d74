"""The recognisers: presidio's own objects, called alone, and ours in the same form.

This module imports presidio (20 MB without its language models, see `library`); only detection imports this module.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, lru_cache, partial

from nectar.scrub.find import entities as e
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
from nectar.scrub.recognisers.cards import CardRecognizer, WideCardRecognizer
from nectar.scrub.recognisers.dates import NamedDateRecognizer
from nectar.scrub.recognisers.emails import OfflineEmailRecognizer, email
from nectar.scrub.recognisers.library import PatternRecognizer
from nectar.scrub.recognisers.library import predefined_recognizers as presidio
from nectar.scrub.recognisers.named import FIELD_MAKERS, PersonFieldRecognizer
from nectar.scrub.recognisers.recogniser import Recogniser, asked, wrapped
from nectar.scrub.recognisers.secrets import MAKERS, WHOLE_MAKERS, SecretRecognizer
from nectar.scrub.recognisers.urls import url
from nectar.scrub.recognisers.wider import WideEmailRecognizer, WideIbanRecognizer

__all__ = ["OfflineEmailRecognizer", "Recogniser", "of_whole_values", "recognisers"]

# presidio logs the text it cannot validate, at level error: nothing of a record may reach a log.
logging.getLogger("presidio-analyzer").disabled = True

_DIGITS = r"[0-9](?:[-x ()\[\]./~]{0,6}[0-9]){3}"
"""Of a phone: four digits (a German number may have no more) with at most six separators between any two."""


def _phone() -> Recogniser:
    return Recogniser("PhoneRecognizer", e.PHONE_NUMBER, ((_DIGITS, 0.4),), phone_hits, around=phones_in)


def _transaction() -> Recogniser:
    """Nearly every word fits the weak pattern but for the digit that it must have."""
    recogniser = wrapped(TransactionRecognizer())
    strong = [form for form in recogniser.forms if form[1] > WEAK]
    return replace(recogniser, forms=(*strong, ("[0-9](?:[^0-9]|$)", WEAK)))


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
        return wrapped(recogniser, whole=any(_CROSSES.search(pattern.regex) for pattern in recogniser.patterns))
    return Recogniser(recogniser.name, recogniser.supported_entities[0], ((_DIGITS, 0.4),), asked(recogniser))


def _secret(maker: type[SecretRecognizer]) -> Recogniser:
    return replace(wrapped(maker(), forms=maker.FORMS, whole=maker.WHOLE), caseless=True)


def _field(maker: type[PersonFieldRecognizer]) -> Recogniser:
    return wrapped(maker())


_Makers = tuple[tuple[str, Callable[[], Recogniser]], ...]

_MAKERS: _Makers = (
    (e.EMAIL_ADDRESS, email),
    (e.EMAIL_ADDRESS, lambda: wrapped(WideEmailRecognizer(), forms=WideEmailRecognizer.FORMS)),
    (e.PHONE_NUMBER, _phone),
    (e.CREDIT_CARD, lambda: wrapped(CardRecognizer())),
    (e.CREDIT_CARD, lambda: wrapped(WideCardRecognizer())),
    (e.US_SSN, lambda: wrapped(presidio.UsSsnRecognizer())),
    (e.US_ITIN, lambda: wrapped(presidio.UsItinRecognizer())),
    (e.US_BANK_NUMBER, lambda: wrapped(presidio.UsBankRecognizer())),
    (e.ACCOUNT_NUMBER, lambda: wrapped(AccountRecognizer())),
    (e.ABA_ROUTING_NUMBER, lambda: wrapped(presidio.AbaRoutingRecognizer(), unproven=0.05)),
    (e.TRANSACTION_ID, _transaction),
    (e.IBAN_CODE, lambda: wrapped(presidio.IbanRecognizer())),
    (e.IBAN_CODE, lambda: wrapped(WideIbanRecognizer(), forms=WideIbanRecognizer.FORMS)),
    (e.SWIFT_CODE, lambda: wrapped(SwiftRecognizer())),
    (e.CRYPTO, lambda: wrapped(presidio.CryptoRecognizer())),
    (e.US_PASSPORT, lambda: wrapped(presidio.UsPassportRecognizer())),
    (e.US_DRIVER_LICENSE, lambda: wrapped(presidio.UsLicenseRecognizer())),
    (e.UK_NHS, lambda: wrapped(presidio.NhsRecognizer())),
    (e.MEDICAL_LICENSE, lambda: wrapped(presidio.MedicalLicenseRecognizer())),
    (e.IP_ADDRESS, lambda: wrapped(presidio.IpRecognizer())),
    (e.MAC_ADDRESS, lambda: wrapped(presidio.MacAddressRecognizer())),
    (e.UUID, lambda: wrapped(presidio.UuidRecognizer(), hint="-")),
    (e.URL, url),
    (e.DATE_TIME, lambda: wrapped(presidio.DateRecognizer())),
    (e.DATE_TIME, lambda: wrapped(NamedDateRecognizer(), forms=NamedDateRecognizer.FORMS)),
    *((maker.ENTITY, partial(_secret, maker)) for maker in MAKERS),
    *((entity, partial(_local, kind.recogniser)) for entity, kind in KINDS.items()),
)
_WHOLE: _Makers = (
    (e.TRANSACTION_ID, lambda: wrapped(WholeTransactionRecognizer())),
    (e.SWIFT_CODE, lambda: wrapped(WholeSwiftRecognizer())),
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
