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
    return Explanation(plain(error))


def plain(error: Mapping[str, Any]) -> str:
    """What pydantic finds wrong with a value, in words that need no Python."""
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind in _BOUNDS:
        phrase, name = _BOUNDS[kind]
        return f"should {phrase.format(context.get(name))}"
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        few = kind.endswith("short")
        number = context.get("min_length" if few else "max_length")
        unit = "character" if kind.startswith("string") else "item"
        return f"should have at {'least' if few else 'most'} {number} {unit}{'' if number == 1 else 's'}"
    for beginning, phrase in _KINDS.items():
        if kind.startswith(beginning):
            return f"should be {phrase}"
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:]


_BOUNDS = {
    "greater_than_equal": ("be {} or more", "ge"),
    "greater_than": ("be above {}", "gt"),
    "less_than_equal": ("be {} or less", "le"),
    "less_than": ("be below {}", "lt"),
    "multiple_of": ("be a multiple of {}", "multiple_of"),
}
"""By pydantic's name of an error: words, and where its context has the bound."""
_KINDS = {
    "bool": "true or false, written without quotes",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "finite_number": "a number, neither infinite nor NaN",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "iterable": "a list",
    "dict": "a map of names and values",
    "mapping": "a map of names and values",
    "model": "a map of names and values",
    "dataclass": "a map of names and values",
    "datetime": "a date, or a date and time such as 2026-01-31T08:00:00Z",
    "date": "a date such as 2026-01-31",
    "timezone": "a date and time with its zone, such as 2026-01-31T08:00:00Z",
    "time": "a time such as 08:00",
    "path": "a path",
    "url": "an address such as https://example.com",
    "uuid": "a UUID",
    "enum": "one of the known words",
    "none_required": "left out, or null",
    "is_instance_of": "of another kind",
    "is_subclass_of": "of another kind",
    "callable_type": "of another kind",
}
"""By the beginning of pydantic's name of an error."""
