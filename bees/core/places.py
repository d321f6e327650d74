"""The number in the place where a source says that its next page begins: a count of rows or pages, or a record's name.

`100`, `c:100`, and in Base64 `arrayconnection:99`, `["natural", 100]`, `Ticket:100`: what it means, the rows that were
read and their fields tell. Of a place with several numbers (a time and an id) only one behind a word such as `offset`
counts; what is encrypted tells nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

_WORD = re.compile(r"(?:arrayconnection|offset|skip|position|row|page)\W{0,4}([0-9]{1,12})(?![0-9])", re.IGNORECASE)
_ALONE = re.compile(r"[^0-9]{0,60}([0-9]{1,12})[^0-9]{0,20}")
_LONGEST = 200


def number_in(place: Any) -> int | None:
    """The one number in a place, or the one that a word calls a position; None: it holds no such number."""
    text = _plain(place)
    found = _ALONE.fullmatch(text) or _WORD.search(text)
    return int(found[1]) if found else None


def is_position(place: Any) -> bool:
    """Whether a word in it says that it counts rows or pages."""
    return _WORD.search(_plain(place)) is not None


def names(record: Any, place: Any) -> bool:
    """Whether the number in a place is also one of a record's own values: the place may mean that record."""
    number = number_in(place)
    if number is None or is_position(place) or not isinstance(record, dict):
        return False
    return any(type(value) in (str, int) and number_in(value) == number for value in record.values())


def _plain(place: Any) -> str:
    """The text of a place, out of Base64 if it is text in that."""
    text = str(place)
    if len(text) > _LONGEST or text.isdigit():
        return text[:_LONGEST]
    padded = text.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        plain = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return text
    return plain if plain.isprintable() else text
