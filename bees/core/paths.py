"""What stands at a path of a body: dotted names of objects, or JSONPath."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    """Set what stands at a dotted name of a body that is sent; what stands around it stays."""
    *outer, last = name.split(".")
    for part in outer:
        inner = body.get(part)
        body[part] = dict(inner) if isinstance(inner, Mapping) else {}
        body = body[part]
    body[last] = value


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
