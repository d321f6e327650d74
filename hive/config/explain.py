"""Pydantic's errors in the words of a configuration: what is wrong, what was expected, what was perhaps meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hive.config.fields import description_at, names_at
from hive.config.model import JAR_PATTERN, NAME_PATTERN, NAME_WORDS
from hive.config.problems import closest

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_ALIASES = {"schedules": ("schedule", "every")}
"""Names of the native form beside those of the model."""


@dataclass(frozen=True)
class Explanation:
    message: str
    expected: str = ""
    suggestion: str = ""
    unknown: str = ""
    """The name, where it is one that nobody knows."""


def explain(model: type, error: Mapping[str, Any], value: Any) -> Explanation:
    """`error` is one of `ValidationError.errors()`, `value` what was written there; the value is not repeated."""
    place, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if kind in _UNKNOWN:
        names = names_at(model, place[:-1])
        names += [alias for name in names for alias in _ALIASES.get(name, ())]
        word = str(place[-1])
        if word in names:  # of another member of a union: known, and not here
            return Explanation("does not go with the options beside it", unknown=word)
        near = closest(word, names)
        expected = "" if near else f"one of {', '.join(sorted(names))}" if names else "no options here"
        return Explanation("is no known option", expected, near, unknown=word)
    if kind in ("missing", "missing_argument"):
        return Explanation("is missing", description_at(model, place).partition(";")[0])
    if kind == "string_pattern_mismatch":
        is_name = context.get("pattern") in (NAME_PATTERN, JAR_PATTERN)
        longest = 62 if context.get("pattern") == JAR_PATTERN else 63
        expected = f"{NAME_WORDS}, {longest} at most" if is_name else f"text that fits {context.get('pattern')}"
        return Explanation("is too long or holds a character that is not allowed", expected)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        near = closest(value, choices) if isinstance(value, str) else ""
        return Explanation("is none of the known words", str(context.get("expected", "")), near)
    if kind == "value_error":
        return Explanation(str(context.get("error", "is not allowed")), "")
    # Pydantic's own words say what is expected: the option's help after them would read as more of that.
    return Explanation(_lower(error["msg"].replace("Input should be", "should be")))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
