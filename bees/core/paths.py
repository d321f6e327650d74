"""What stands at a path of a body: dotted names of objects, or JSONPath."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonpath import CompoundJSONPath, JSONPath

MISSING = object()


def dig(body: Any, path: str) -> Any:
    """What stands at a dotted path of objects, or MISSING. A path that begins with $ is JSONPath: its first match."""
    if path.startswith("$"):
        return next(iter(matches(body, path)), MISSING)
    for part in path.split("."):
        if not isinstance(body, dict) or part not in body:
            return MISSING
        body = body[part]
    return body


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
