"""Words that make a weak pattern believable: nine digits are an SSN after "SSN", or in a field called `ssn`.

A word counts when it stands within five words before the number, or in the field's name. Words of four letters or
more count inside a longer one (`creditcard`), three letters at its start or end, two only alone (`ip`, not `ship`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from nectar.scrub.find import entities as e
from nectar.scrub.find.fillers import FILLERS, STOP_WORDS
from nectar.scrub.find.locales import KINDS

WORDS: dict[str, tuple[str, ...]] = {
    e.EMAIL_ADDRESS: ("email", "mail"),
    e.PHONE_NUMBER: ("phone", "number", "telephone", "cell", "cellphone", "mobile", "call", "tel", "fax"),
    e.CREDIT_CARD: (
        "credit", "card", "visa", "mastercard", "cc", "amex", "discover", "jcb", "diners", "maestro", "instapayment",
    ),
    e.US_SSN: ("social", "security", "ssn", "ssns", "ssid"),
    e.US_ITIN: ("individual", "taxpayer", "itin", "tax", "payer", "taxid", "tin"),
    e.US_PASSPORT: ("us", "united", "states", "passport", "travel", "document"),
    e.US_DRIVER_LICENSE: (
        "driver", "license", "licence", "permit", "identification", "dls", "cdls", "driving",
    ),
    e.US_BANK_NUMBER: ("check", "account", "acct", "bank", "save", "debit"),
    e.ACCOUNT_NUMBER: ("account", "acct", "accno", "accnum"),
    e.ABA_ROUTING_NUMBER: ("aba", "routing", "abarouting", "association", "bankrouting", "rtn"),
    e.TRANSACTION_ID: ("transaction", "txn", "trx", "tx"),
    e.IBAN_CODE: ("iban", "bank", "transaction"),
    e.SWIFT_CODE: ("swift", "bic", "swiftcode", "biccode", "swiftbic"),
    e.CRYPTO: ("wallet", "btc", "bitcoin", "crypto"),
    e.UK_NHS: ("nhs", "national health service", "health services authority", "health authority"),
    e.MEDICAL_LICENSE: ("medical", "certificate", "dea"),
    e.IP_ADDRESS: ("ip", "ipv4", "ipv6"),
    e.MAC_ADDRESS: ("mac", "hardware address", "physical address", "ethernet"),
    e.UUID: ("uuid", "guid", "unique identifier"),
    e.URL: ("url", "website", "link"),
    e.DATE_TIME: ("date", "birthday", "birth", "dob", "born"),
    e.CREDENTIAL_URI: ("dsn", "connection string", "connectionstring"),
    e.PRIVATE_KEY: ("private key", "privatekey", "pem"),
    e.JWT: ("jwt",),
    e.AWS_ACCESS_KEY: ("aws", "access key", "accesskey"),
    e.AWS_SECRET_KEY: ("aws", "secret access key", "secretaccesskey", "secretkey"),
    e.API_KEY: (
        "apikey", "api key", "secret", "token", "accesskey", "access key", "authkey", "auth key", "credential",
    ),
    e.BEARER_TOKEN: ("bearer", "authorization"),
    e.PASSWORD: ("password", "passwd", "pwd", "passphrase", "passcode", "passwort", "kennwort", "contraseña"),
    e.PERSON: (
        "first name", "last name", "full name", "middle name", "given name", "family name", "maiden name", "surname",
        "firstname", "lastname", "fullname", "forename", "customer name", "patient name", "employee name",
        "contact name", "person name", "holder name", "cardholder", "name on card",
    ),
    e.LOCATION: ("address", "street", "city", "town", "village", "county", "birthplace", "place of birth"),
    e.ORGANIZATION: ("company", "employer", "organization", "organisation"),
    **{entity: kind.words for entity, kind in KINDS.items()},
}  # fmt: skip
"""presidio's own words, and a few more. Several words stand for themselves in this order."""

PHONE_FIELDS = ("phone", "telephone", "cell", "mobile", "tel", "fax")
"""Field names that make a phone of a bare integer; `number` alone (`order_number`) does not."""

_WINDOW = 5
_REACH = 240
"""Characters before a number in which those five words are looked for."""

_NEAR = 48
_WORD = re.compile(r"[^\W_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_GENERIC = frozenset(
    {
        "code", "content", "id", "ids", "key", "no", "nr", "num", "number", "numbers", "ref", "reference", "text",
        "value",
    }
)  # fmt: skip
_MEASURES = frozenset(
    {
        "amount", "at", "balance", "count", "created", "currency", "date", "day", "description", "fee", "month",
        "price", "quantity", "status", "time", "timestamp", "total", "type", "updated", "year",
    }
)  # fmt: skip
"""A field that ends so measures or dates something: `transaction_amount` holds no transaction id."""


@dataclass(frozen=True)
class _Spoken:
    """The words of one entity, ready for comparison.

    needles  one of them is a part of any text in which a word stands
    parts    one of them is a part of any tokens among which a word stands, joined by spaces
    """

    needles: tuple[str, ...]
    parts: tuple[str, ...]

    def may_be_in(self, window: str) -> bool:
        for needle in self.needles:  # noqa: SIM110  half the time of `any`
            if needle in window:
                return True
        return False

    def among(self, tokens: Sequence[str]) -> bool:
        together = f" {' '.join(tokens)} "
        return any(part in together for part in self.parts)


def _spoken(words: Iterable[str]) -> _Spoken:
    found = [_WORD.findall(word) for word in words]
    return _Spoken(
        needles=tuple(dict.fromkeys(_root(parts[0]) for parts in found)),
        parts=tuple(dict.fromkeys(part for parts in found for part in _as_part(" ".join(parts)))),
    )


def _as_part(word: str) -> tuple[str, ...]:
    """What of joined tokens holds the word: see `_like`. Several words stand for themselves."""
    if " " in word or len(word) < 3:
        return (f" {word} ",)
    return (word,) if len(word) > 3 else (f" {word}", f"{word} ")


def _root(word: str) -> str:
    """What words of one root share: `saving` and `save`, `security` and `securities`."""
    return word.rstrip("ey") if len(word) > 3 else word


_SPOKEN = {entity: _spoken(words) for entity, words in WORDS.items()}


def _like(word: str, token: str) -> bool:
    if len(word) >= 4:
        return word in token
    if len(word) == 3:
        return token.startswith(word) or token.endswith(word)
    return word == token


def may_help(entity: str, text: str, start: int, end: int, *, loosely: bool = False) -> bool:
    """False: no word can lift a hit of this entity that starts between these places. Looks no further than needed.

    loosely  what `stands_about` takes for one counts, too
    """
    if not loosely:
        return _SPOKEN[entity].may_be_in(text[max(0, start - _REACH) : end].lower())
    window = text[max(0, start - _FARTHEST) : end + 1].lower()
    return any(needle in window for needle in needles(entity, loosely=True))


def reach(*, loosely: bool) -> tuple[int, int]:
    """Characters before and behind a stretch among which `may_help` looks for words."""
    return (_FARTHEST, 1) if loosely else (_REACH, 0)


def needles(entity: str, *, loosely: bool) -> tuple[str, ...]:
    """One of these is in every text whose words lift a hit of this entity; `loosely`: however little."""
    return (*_SPOKEN[entity].needles, *(_ROOTS[entity] if loosely else ()))


_CLAIMS = frozenset(
    {
        "account", "acct", "aba", "routing", "policy", "order", "invoice", "claim", "case", "ticket", "tracking",
        "parcel", "confirmation", "booking", "reservation", "reference", "serial", "part", "model", "batch", "card",
        "customer", "member", "membership", "transaction", "passport", "license", "licence", "security", "tax", "id",
        "imei", "vin", "flight", "room", "version", "record",
    }
)  # fmt: skip
"""Before `number` these say which number it is: none to dial."""
_DIALLED = _spoken(word for word in WORDS[e.PHONE_NUMBER] if word != "number")


def _is_claimed(text: str, start: int) -> bool:
    """What makes a phone of the number at `start` is `number` alone, and a word before that claims it."""
    window = text[max(0, start - _REACH) : start].lower()
    if "number" not in window:
        return False
    words = _last_words(window, 0)
    claimed = any(word in _CLAIMS and after == "number" for word, after in pairwise(words))
    return claimed and not _DIALLED.among(words)


def is_dialled(text: str, start: int) -> bool:
    """A word for telephones, and not `number` alone, is among the five words before `start`."""
    return _DIALLED.among(_last_words(text[max(0, start - _REACH) : start].lower(), 0))


def stands_before(entity: str, text: str, start: int) -> bool:
    """A context word of the entity is among the five words before `start`."""
    if entity == e.PHONE_NUMBER and _is_claimed(text, start):
        return False
    spoken = _SPOKEN[entity]
    window = text[max(0, start - _REACH) : start].lower()
    if not spoken.may_be_in(window):
        return False
    if start > _NEAR:
        # Mostly it stands right before; the first word may be the end of a longer one, so it does not count here.
        near = text[start - _NEAR : start].lower()
        if spoken.may_be_in(near) and spoken.among(_last_words(near, 1)):
            return True
    return spoken.among(_last_words(window, 0))


def _last_words(window: str, first: int) -> list[str]:
    return [token for token in _WORD.findall(window)[first:] if token not in FILLERS][-_WINDOW:]


def stands_about(entity: str, text: str, start: int) -> bool:
    """A part of a context word, as presidio takes it, is among what may be its five words before `start`.

    Its words are spaCy's: an address or a name with dots is one, and words come back to their root (`saving`, `save`).
    So a word here is all between two spaces, and the root of a context word is enough, inside any word (`us` in
    `customer`). That lets through more than presidio does, and nothing less.
    """
    window = text[max(0, start - _FARTHEST) : start + 1].lower()
    roots = _ROOTS[entity]
    if not any(root in window for root in roots):
        return False
    left = _WINDOW + 1  # and the one that the number is a part of
    for chunk in reversed(window.split()):
        if any(root in chunk for root in roots):
            return True
        if ":" not in chunk[:-1]:  # nor does presidio count times and the addresses of pages
            left -= not all(map(_is_silent, _WORD.findall(chunk)))
        if left <= 0:
            return False
    return False


_SILENT = STOP_WORDS
"""spaCy's list is all of these."""

_IRREGULAR = frozenset({"gave", "given", "gone", "kept", "said", "saw", "seen", "shown", "taken", "took", "went"})

_FARTHEST = 2_000
"""Characters: the addresses of pages among five words may be long."""


def _is_silent(word: str) -> bool:
    """One of spaCy's words that say nothing, or comes back to one."""
    if word in _SILENT or word in _IRREGULAR:
        return True
    root = _ENDING.sub("", word)
    return root != word and (root in _SILENT or root + "e" in _SILENT)


_ENDING = re.compile(r"(?:ing|e[sd]|[sd])\Z")


_ROOTS = {
    entity: tuple(dict.fromkeys(_root(word) for word in words if " " not in word)) for entity, words in WORDS.items()
}
"""Several words are never in one of presidio's."""
_ROOTS[e.US_DRIVER_LICENSE] += ("lic",)
"""presidio's, too, and a part of `public` and `click`."""


def _tokens(name: str) -> list[str]:
    return [part.lower() for part in _PARTS.findall(name)]


@lru_cache(maxsize=4096)
def lifted(name: str) -> frozenset[str]:
    """Entities that a field's name (or dotted path) makes believable.

    The last part of the path speaks; the part above it only where the last says nothing (`account.number`).
    """
    parts = name.split(".")
    tokens = _tokens(parts[-1])
    if len(parts) > 1 and set(tokens) <= _GENERIC:
        tokens = _tokens(parts[-2]) + tokens
    if not tokens or tokens[-1] in _MEASURES:
        return frozenset()
    tokens.append("".join(tokens))
    found = frozenset(entity for entity, spoken in _SPOKEN.items() if spoken.among(tokens))
    # "number" speaks for a phone in a sentence only: a column's name has it for orders and accounts.
    return found if any(_like(w, t) for w in PHONE_FIELDS for t in tokens) else found - {e.PHONE_NUMBER}


@lru_cache(maxsize=4096)
def names_phone(name: str) -> bool:
    """The field's name says that its integers are phone numbers."""
    return e.PHONE_NUMBER in lifted(name)
