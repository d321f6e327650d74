"""What stands at a path of a body: dotted names of objects, or JSONPath."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bees.core.errors import GiveUp

if TYPE_CHECKING:
    from jsonpath import CompoundJSONPath, JSONPath

MISSING = object()


def dig(body: Any, path: str) -> Any:
    """What stands at a dotted path of objects, or MISSING. A path that begins with $ is JSONPath: its first match.

    Names may hold dots themselves, as `@odata.nextLink` does: the longest name that is there is the one that is meant.
    """
    return next(iter(matches(body, path)), MISSING) if path.startswith("$") else _dug(body, path)


def _dug(body: Any, path: str) -> Any:
    if not isinstance(body, dict):
        return MISSING
    if path in body:
        return body[path]
    end = path.rfind(".")
    while end > 0:
        found = _dug(body.get(path[:end]), path[end + 1 :])
        if found is not MISSING:
            return found
        end = path.rfind(".", 0, end)
    return MISSING


def put(body: dict[str, Any], name: str, value: Any) -> None:
    """Set what stands at a dotted name of a body that is sent; what stands around it stays.

    A number is a place in a list that is there, such as filters.0.value.
    """
    *outer, last = name.split(".")
    place: Any = body
    for part in outer:
        at = _at(place, part)
        inner = place[at] if isinstance(place, list) else place.get(at)
        place[at] = list(inner) if isinstance(inner, list) else dict(inner) if isinstance(inner, Mapping) else {}
        place = place[at]
    place[_at(place, last)] = value


def _at(place: Any, part: str) -> Any:
    if not isinstance(place, list):
        return part
    if part.isascii() and part.isdigit() and len(part) < 6 and int(part) < len(place):
        return int(part)
    message = f"the body that is sent holds a list of {len(place)} where {part!r} should stand"
    raise GiveUp(message, code="bad_template", where="body", advice="name its place in the list, from 0 on")


def matches(body: Any, path: str) -> list[Any]:
    """Everything that a JSONPath finds. Raises ValueError for what is none."""
    return _compiled(path).findall(body)


@functools.cache
def _compiled(path: str) -> JSONPath | CompoundJSONPath:
    import jsonpath  # here: few listings need it

    try:
        return jsonpath.compile(path)
    except jsonpath.JSONPathError:
        pass
    raise ValueError("a path that begins with $ is JSONPath, such as $.data[*].items[*]")
