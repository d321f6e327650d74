"""Envelopes: AES-256-GCM with a random nonce in front. A data key seals one thing, the hive key wraps data keys.

The associated data (`aad`) says what is inside and where it belongs; it is not stored. An envelope that was moved to
another place does not open.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class Unsealable(Exception):
    """An envelope did not open: another key, another place, or changed bytes. Holds no value.

    `code` is `not_sealed` (too short to be an envelope), `wrong_seal` (key, place or bytes) or `wrong_hive_key`.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def new_data_key() -> bytes:
    return os.urandom(KEY_BYTES)


def seal(data_key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(data_key).encrypt(nonce, plaintext, aad)


def open_(data_key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """What `seal` was given. Raises Unsealable where key, bytes or `aad` differ."""
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise Unsealable("this is no sealed envelope: it is too short", code="not_sealed")
    try:
        return AESGCM(data_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except InvalidTag as error:
        raise Unsealable(
            "the envelope does not open: it was sealed with another key, belongs to another place, or was changed",
            code="wrong_seal",
        ) from error


def wrap(key: bytes, data_key: bytes, aad: bytes) -> bytes:
    """Seal a data key with the hive key."""
    return seal(key, data_key, b"wrap|" + aad)


def unwrap(key: bytes, wrapped: bytes, aad: bytes) -> bytes:
    """The data key that `wrap` was given. Raises Unsealable."""
    return open_(key, wrapped, b"wrap|" + aad)
