"""Tokens: pseudonyms that whoever has the key can read back.

AES-SIV (RFC 5297) with 512 bits derived from the pseudonym key of the kind, and the kind as associated data. The same
text gives the same token, and nothing else of it shows but its length. A token is `{key id}~{base32}`: letters and
digits in one case, so that no database or spreadsheet spoils it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    from nectar.keys import PseudonymKeys

_TOKEN = re.compile(r"([A-Za-z0-9]{1,32})~([A-Za-z2-7]+)", re.ASCII)


class BadToken(ValueError):
    """No token, one of another key or kind, or one that was changed. Holds nothing of it."""


def token(text: str, kind: str, keys: PseudonymKeys) -> str:
    """The token of a text as it is written: no other way of writing it shares the token."""
    key_id, key = keys.pseudonym_key(kind)
    sealed = _cipher(key, kind).encrypt(text.encode("utf-8", "surrogatepass"), [kind.encode()])
    return f"{key_id}~{base64.b32encode(sealed).decode().rstrip('=').lower()}"


def key_id_of(written: str) -> str:
    """The id of the key that reads a token. Raises BadToken."""
    return _parts(written)[0].lower()


def read(written: str, kind: str, key: bytes) -> str:
    """The text that a token of this kind stands for. Raises BadToken."""
    from cryptography.exceptions import InvalidTag

    _, body = _parts(written)
    try:
        sealed = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
        return _cipher(key, kind).decrypt(sealed, [kind.encode()]).decode("utf-8", "surrogatepass")
    except (binascii.Error, InvalidTag, ValueError):
        raise BadToken("the token does not open: another key or kind made it, or it was changed") from None


def _parts(written: str) -> tuple[str, str]:
    match = _TOKEN.fullmatch(written.strip())
    if not match:
        raise BadToken("this is no token: expected a key id, '~', and letters and digits, such as 'kbdfghjkm~mfra...'")
    return match[1], match[2]


@lru_cache(maxsize=256)
def _cipher(key: bytes, kind: str) -> AESSIV:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    # Not the key itself, which signs pseudonyms of the same kind.
    return AESSIV(hmac.digest(key, b"worker bees token|" + kind.encode(), "sha512"))
