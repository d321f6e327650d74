"""JSON that comes in pages, read quickly where that changes no digit.

The quick parser makes a double of each fraction and of each integer above 64 bits. A document goes through the exact
one (`nectar.jsonrows.parse`) if a number in it might come out in other digits than it went in: one of more than 15, one
that ends in zeros after its point, one with an exponent or below 0.0001. What looks like such a number inside of a text
costs time alone.
"""

from __future__ import annotations

from typing import Any

import orjson
import re2

from nectar.jsonrows import parse

_LONG = r"[0-9.]{16}"
_ZEROS = r"[0-9]+\.[0-9]+0[\s,\]}]"
_POWER = r"[0-9.]+[eE]"
_SMALL = r"0\.0000"
_DOUBTFUL = re2.compile(rf"[:,\[\s]-?(?:{_LONG}|{_ZEROS}|{_POWER}|{_SMALL})".encode())


def is_doubtful(raw: bytes) -> bool:
    """Whether a number in a text of JSON might come out in other digits; the text may be several documents in lines."""
    return _DOUBTFUL.search(raw) is not None


def read(raw: bytes) -> Any:
    """As `parse`, with floats beside its Decimals. Raises SkipRecord (`not_json`)."""
    if raw[:1] not in (b"{", b"[") or is_doubtful(raw):
        return parse(raw)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return parse(raw)  # halves of surrogate pairs, a mark in front of it: or the exact place of what is wrong
