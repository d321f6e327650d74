"""Keys that pure steps need and never look for themselves: they are handed in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Protocol

_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjkmnpqrstv")


def key_id_of(hexadecimal: str) -> str:
    """A key's id in letters. Between words it looks like no number of a licence, and without vowels like no word."""
    return "k" + hexadecimal.translate(_LETTERS)


class PseudonymKeys(Protocol):
    """Keys for pseudonyms, one for each kind of value (an entity such as EMAIL_ADDRESS, or a field's name)."""

    def pseudonym_key(self, kind: str) -> tuple[str, bytes]:
        """(key id, 32 bytes). The same kind gives the same key until it is rotated; the id goes into each token.

        The id is of small letters: see `key_id_of`.
        """
        ...


@dataclass
class InMemoryKeys:
    """Random keys that live as long as this object: for tests and the Python prompt."""

    made: dict[str, tuple[str, bytes]] = field(default_factory=dict, repr=False)

    def pseudonym_key(self, kind: str) -> tuple[str, bytes]:
        return self.made.setdefault(kind, (key_id_of(secrets.token_hex(2)), secrets.token_bytes(32)))
