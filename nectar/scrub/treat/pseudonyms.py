"""Pseudonyms: HMAC-SHA-256 of a normalised value, equal wherever the key of its kind is equal.

A pseudonym is `{key id}:{128 bits in hex}`. Nobody without the key can try values against it, and nobody with it can
read the value back.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Sequence

from nectar.keys import PseudonymKeys
from nectar.scrub.find import entities as e
from nectar.scrub.find.addresses import narrowed
from nectar.scrub.find.view import plain as as_it_reads

SHOWN = 16
"""Bytes of the HMAC that a pseudonym shows."""

_BLOCK = 64
_INNER, _OUTER = bytes(x ^ 0x36 for x in range(256)), bytes(x ^ 0x5C for x in range(256))
_WHITE = b" \t\r\x0b\x0c\x1c\x1d\x1e\x1f"
"""What `str.strip` takes off, of ASCII, but for the newline that divides values here."""
_NAMES = frozenset(e.MODELLED)
_IDENTIFIERS = frozenset(
    {e.CREDIT_CARD, e.IBAN_CODE, e.ACCOUNT_NUMBER, e.ABA_ROUTING_NUMBER, e.MAC_ADDRESS, e.MEDICAL_LICENSE, e.SWIFT_CODE}
)
_OF_A_COUNTRY = re.compile(r"[A-Z]{2}_")
"""`US_SSN`, `UK_NHS`: numbers that authorities and banks give; spaces and case say nothing in them."""

_AMERICAN = re.compile(r"(?:\+?1[-. ]?)?\(?([2-9]\d\d)\)?[-. ]*([2-9]\d\d)[-. ]?(\d{4})", re.ASCII)
_DIALLED = re.compile(r"[+\d()\[\]/. -]+")
_AT = re.compile(r"%40| ?[\[({] ?at ?[\])}] ?", re.IGNORECASE)
_DOT = re.compile(r" ?[\[({] ?dot ?[\])}] ?", re.IGNORECASE)
_WRITTEN_OTHERWISE = b"%/?=&|~:()[]{}"
"""One of these is in each ASCII address that `_email` changes in more than its case."""

_OTHERWISE = re.compile(f"[{re.escape(_WRITTEN_OTHERWISE.decode())}]")

_SILENT = bytes(byte for byte in range(128) if not chr(byte).isalnum() and byte != ord("\n"))
_UPPER = bytes(range(256)).upper()


def _is_identifier(kind: str) -> bool:
    return kind in _IDENTIFIERS or _OF_A_COUNTRY.match(kind) is not None


def normalise(text: str, kind: str) -> str:
    """The form in which equal values are equal: one pseudonym for `Bob@X.com` and `bob@x.com`.

    email               no case; a domain of other scripts in its ASCII form; `%40` and `[at]` as `@`; without what
                        cannot be seen, and without what a URL has before it (`user=`)
    phone               E.164; without its punctuation where no region is known to have such a number
    numbers of accounts, cards and authorities   letters and digits, upper case
    IP                  as RFC 5952 writes it; an IPv4 address inside an IPv6 one is that address
    names               no case, single spaces
    all others          as they are (addresses of crypto currencies differ by case), without spaces around them
    """
    plain = unicodedata.normalize("NFC", text.strip())
    if kind == e.EMAIL_ADDRESS:
        return _email(plain)
    if kind == e.PHONE_NUMBER:
        return _phone(plain)
    if kind == e.IP_ADDRESS:
        return _address(plain)
    if kind in _NAMES:
        return unicodedata.normalize("NFC", " ".join(plain.split()).casefold())
    if _is_identifier(kind):
        return "".join(filter(str.isalnum, plain)).upper()
    return plain


def _email(plain: str) -> str:
    view = as_it_reads(plain)
    plain = _AT.sub("@", _DOT.sub(".", view.text if view else plain))
    start, end = narrowed(plain, 0, len(plain))
    plain = unicodedata.normalize("NFC", plain[start:end].casefold())
    local, at, domain = plain.rpartition("@")
    if not domain.isascii():
        with contextlib.suppress(UnicodeError):
            domain = domain.encode("idna").decode("ascii")
    return local + at + domain


def _phone(plain: str) -> str:
    from nectar.scrub.phones.numbering import verdict
    from nectar.scrub.phones.phones import e164

    american = _AMERICAN.fullmatch(plain)
    if american and verdict("".join(american.groups()), "US"):
        return "+1" + "".join(american.groups())  # what e164 says, twenty times as fast
    found = e164(plain)
    if found is None and _DIALLED.fullmatch(plain):
        found = "".join(character for character in plain if character.isdecimal() or character == "+")
    return found or plain


def _address(plain: str) -> str:
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return plain.lower()
    return str(getattr(address, "ipv4_mapped", None) or address)


def pseudonym(text: str, kind: str, keys: PseudonymKeys) -> str:
    """The pseudonym of one value."""
    return pseudonyms([text], kind, keys)[0]


def pseudonyms(texts: Sequence[str], kind: str, keys: PseudonymKeys) -> list[str]:
    """The pseudonym of each value of one kind, in their order: for many at once, over a million in a second."""
    key_id, key = keys.pseudonym_key(kind)
    # HMAC written out (RFC 2104): the two padded keys are taken in once, and a copy of that state for each value.
    padded = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner, outer = (hashlib.sha256(padded.translate(pad)).copy for pad in (_INNER, _OUTER))
    before, end = f"{key_id}:", 2 * SHOWN
    written = []
    for message in _messages(texts, kind):
        inside = inner()
        inside.update(message)
        outside = outer()
        outside.update(inside.digest())
        written.append(before + outside.hexdigest()[:end])
    return written


def _messages(texts: Sequence[str], kind: str) -> list[bytes]:
    """The normalised values, as bytes. Plain ASCII is done for all of them in one go, with the same result."""
    if kind == e.PHONE_NUMBER and texts:
        from nectar.scrub.phones.many import written_alike

        forms = written_alike(texts)
        return [_message(t, kind) if form is None else form.encode() for t, form in zip(texts, forms, strict=True)]
    if not texts or kind in _NAMES or kind == e.IP_ADDRESS:
        return [_message(text, kind) for text in texts]
    joined = "\n".join(texts)
    if not joined.isascii() or joined.count("\n") != len(texts) - 1:
        odd = [not text.isascii() or "\n" in text for text in texts]
        others = iter(_messages([text for text, is_odd in zip(texts, odd, strict=True) if not is_odd], kind))
        return [_message(text, kind) if is_odd else next(others) for text, is_odd in zip(texts, odd, strict=True)]
    encoded = joined.encode()
    if _is_identifier(kind):
        return encoded.translate(_UPPER, _SILENT).split(b"\n")
    messages = (encoded.lower() if kind == e.EMAIL_ADDRESS else encoded).split(b"\n")
    if len(encoded.translate(None, _WHITE)) < len(encoded):
        messages = [message.strip(_WHITE) for message in messages]
    if kind == e.EMAIL_ADDRESS and len(encoded.translate(None, _WRITTEN_OTHERWISE)) < len(encoded):
        for place, text in enumerate(texts):
            if _OTHERWISE.search(text):
                messages[place] = normalise(text, kind).encode()
    return messages


def _message(text: str, kind: str) -> bytes:
    # Half of a surrogate pair can stand in JSON: it must not stop a record.
    return normalise(text, kind).encode("utf-8", "surrogatepass")
