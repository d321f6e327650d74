"""Words that make a weak pattern believable: nine digits are an SSN after "SSN", or in a field called `ssn`.

A word counts when it stands within five words before the number, or in the field's name. Words of four letters or
more count inside a longer one (`creditcard`), three letters at its start or end, two only alone (`ip`, not `ship`).
"""

from __future__ import annotations

import re
from functools import lru_cache

from nectar.scrub import entities as e

WORDS: dict[str, tuple[str, ...]] = {
    e.EMAIL_ADDRESS: ("email", "mail"),
    e.PHONE_NUMBER: ("phone", "number", "telephone", "cell", "cellphone", "mobile", "call", "tel", "fax"),
    e.CREDIT_CARD: (
        "credit", "card", "visa", "mastercard", "cc", "amex", "discover", "jcb", "diners", "maestro", "instapayment",
    ),
    e.US_SSN: ("social", "security", "ssn", "ssns", "ssid"),
    e.US_BANK_NUMBER: ("check", "account", "acct", "bank", "save", "debit"),
    e.ACCOUNT_NUMBER: ("account", "acct", "accno", "accnum"),
    e.ABA_ROUTING_NUMBER: ("aba", "routing", "abarouting", "association", "bankrouting", "rtn"),
    e.TRANSACTION_ID: ("transaction", "txn", "trx", "tx"),
    e.IBAN_CODE: ("iban", "bank", "transaction"),
    e.IP_ADDRESS: ("ip", "ipv4", "ipv6"),
    e.URL: ("url", "website", "link"),
}  # fmt: skip
"""presidio's own words, and a few more."""

PHONE_FIELDS = ("phone", "telephone", "cell", "mobile", "tel", "fax")
"""Field names that make a phone of a bare integer; `number` alone (`order_number`) does not."""

_WINDOW = 5
_REACH = 240
_WORD = re.compile(r"[^\W_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_FILLERS = frozenset(
    {
        "a", "an", "and", "as", "at", "be", "for", "from", "has", "in", "is", "it", "my", "of", "on", "our", "the",
        "this", "to", "was", "with", "your",
    }
)  # fmt: skip
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


def _like(word: str, token: str) -> bool:
    if len(word) >= 4:
        return word in token
    if len(word) == 3:
        return token.startswith(word) or token.endswith(word)
    return word == token


def may_help(entity: str, text: str, start: int, end: int) -> bool:
    """False: no word can lift a hit of this entity that starts between these places. Looks no further than needed."""
    window = text[max(0, start - _REACH) : end].lower()
    return any(word in window for word in WORDS[entity])


def stands_before(entity: str, text: str, start: int) -> bool:
    """A context word of the entity is among the five words before `start`."""
    window = text[max(0, start - _REACH) : start].lower()
    if not window or not any(word in window for word in WORDS[entity]):
        return False
    found = _WORD.findall(window)
    tokens = [token for token in found if token not in _FILLERS][-_WINDOW:]
    return any(_like(word, token) for token in tokens for word in WORDS[entity])


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
    joined = "".join(tokens)
    spoken = [*tokens, joined]
    return frozenset(entity for entity, words in WORDS.items() if any(_like(w, t) for w in words for t in spoken))


@lru_cache(maxsize=4096)
def names_phone(name: str) -> bool:
    """The field's name says that its integers are phone numbers."""
    return e.PHONE_NUMBER in lifted(name) and any(_like(w, t) for w in PHONE_FIELDS for t in _tokens(name))
