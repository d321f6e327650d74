"""Values of XML Schema, as zeep gives them, as plain ones that records are made of."""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def plain(value: Any) -> Any:
    """Objects, lists, texts, numbers, booleans and None.

    Instants, dates and times in ISO 8601; bytes in base64; durations and whatever else in the words that Python has for
    them; INF and NaN as text, since no JSON has them. An element that the description leaves open (xs:any) is its XML.
    """
    if value is None or isinstance(value, str | bool | int | Decimal):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if hasattr(value, "tag") and hasattr(value, "attrib"):
        from lxml import etree  # here: zeep brings it

        return etree.tostring(value, encoding="unicode", with_tail=False)
    return str(value)


def items(body: Any, path: str | None) -> list[Any] | None:
    """The records at a dotted path: a list, or one alone. Without a path the body, or the only list in it.

    An element that is not there or empty, on the way or at its end, holds none. None: nothing there can be records.
    """
    if path is None and isinstance(body, dict):
        lists = [value for value in body.values() if isinstance(value, list)]
        if len(lists) == 1:
            return lists[0]
        return [] if not lists and all(value is None for value in body.values()) else None
    for part in path.split(".") if path else ():
        if body is None:
            return []
        if not isinstance(body, dict) or part not in body:
            return None
        body = body[part]
    if body is None:
        return []
    return body if isinstance(body, list) else [body] if isinstance(body, dict) else None
