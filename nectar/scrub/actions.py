"""What is done with a value: removed, replaced, masked, or given a pseudonym."""

from __future__ import annotations

import hmac
import unicodedata
from functools import lru_cache

from nectar.keys import PseudonymKeys
from nectar.scrub import entities as e
from nectar.scrub.profiles import Action

REDACTED = "<REDACTED>"
_SEPARATORS = ("P", "Z", "Cc", "Sm")
_DIGITS_ONLY = frozenset(
    {e.CREDIT_CARD, e.IBAN_CODE, e.US_SSN, e.US_BANK_NUMBER, e.ACCOUNT_NUMBER, e.ABA_ROUTING_NUMBER}
)


@lru_cache(maxsize=4096)
def _is_separator(character: str) -> bool:
    """Punctuation and space stay readable. Letters, digits, and marks (vowels, in some scripts) do not."""
    return unicodedata.category(character).startswith(_SEPARATORS)


def mask(text: str) -> str:
    """Show the last four letters or digits, but never more than a third of them; separators stay, others become `*`."""
    shown = min(4, sum(character.isalnum() for character in text) // 3)
    masked: list[str] = []
    for character in reversed(text):
        if _is_separator(character):
            masked.append(character)
        elif shown and character.isalnum():
            shown -= 1
            masked.append(character)
        else:
            masked.append("*")
    return "".join(reversed(masked))


def normalise(text: str, kind: str) -> str:
    """The form in which equal values are equal: one pseudonym for `Bob@X.com` and `bob@x.com`."""
    plain = unicodedata.normalize("NFC", text.strip())
    if kind == e.EMAIL_ADDRESS:
        return unicodedata.normalize("NFC", plain.casefold())
    if kind == e.PHONE_NUMBER:
        from nectar.scrub.phones import e164

        return e164(plain) or plain
    if kind in _DIGITS_ONLY:
        return "".join(character for character in plain if character.isalnum()).upper()
    return plain


def pseudonym(text: str, kind: str, keys: PseudonymKeys) -> str:
    """`{key id}:{128 bits in hex}`, an HMAC-SHA-256 of the normalised value: equal wherever the key is equal."""
    key_id, key = keys.pseudonym_key(kind)
    # Half of a surrogate pair can stand in JSON: it must not stop a record.
    message = normalise(text, kind).encode("utf-8", "surrogatepass")
    return f"{key_id}:{hmac.digest(key, message, 'sha256')[:16].hex()}"


def apply(action: Action, text: str, *, kind: str, label: str, keys: PseudonymKeys | None) -> str:
    """The text that stands for `text`. `label` is what `replace` writes; `remove` gives an empty text."""
    if action is Action.REMOVE:
        return ""
    if action is Action.REPLACE:
        return label
    if action is Action.MASK_PARTIAL:
        return mask(text)
    if action is Action.HASH_WITH_SALT:
        assert keys is not None, "checked when the scrubber was made"
        return pseudonym(text, kind, keys)
    return text
