"""What a comb leaves open: declared with a type, given as text or as plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hive.config.problems import ConfigProblems, Problem, closest

ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Kind = Literal["string", "integer", "number", "boolean", "list", "identifier"]

_PART = r'"(?:[^"]|"")+"|`(?:[^`]|``)+`|[^\W\d][\w$]*(?: +[\w$]+)*'
_IDENTIFIER = re.compile(rf"({_PART})(?:\.({_PART}))?")
_LONGEST = 64
"""Characters of a name, as MySQL takes them; PostgreSQL takes one less."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_EXPECTED = {
    "string": "text without control characters",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "words with a comma between them",
    "identifier": "a name of the source, such as orders, sales.orders or Order Lines; one with other signs in quotes, "
    'such as "Sales 1.5"."order-lines"',
}


class Parameter(BaseModel):
    """One value that a comb leaves open. `identifier`: the name of a table or column, quoted where it is put in."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: Kind = Field("string", description="string, integer, number, boolean, list or identifier")
    description: str = Field("", description="what the value is, for people")
    default: Any = Field(None, description="the value if none is given; without one a value may be missing")
    required: bool = Field(False, description="whether a value must be given")
    secret: bool = Field(False, description="goes to the vault and is never shown")
    choices: tuple[Any, ...] = Field((), description="the only values allowed")

    def read(self, given: Any) -> Any:
        """The value in its type. Raises ValueError with what was expected, never with the value."""
        found = self._typed(given)
        if self.choices and found not in self.choices:
            raise ValueError(f"one of {', '.join(map(str, self.choices))}")
        return found

    def _typed(self, given: Any) -> Any:
        text = given.strip() if isinstance(given, str) else given
        if self.type == "boolean":
            found = _WORDS.get(text.lower()) if isinstance(text, str) else text
            fits = isinstance(found, bool)
        elif self.type in ("integer", "number"):
            found = _number(text, whole=self.type == "integer")
            fits = found is not None
        elif self.type == "list":
            found = [word.strip() for word in text.split(",") if word.strip()] if isinstance(text, str) else text
            fits = isinstance(found, list | tuple) and all(isinstance(w, str) and not _CONTROL.search(w) for w in found)
            found = list(found) if fits else found
        else:
            found = given
            fits = isinstance(given, str) and not _CONTROL.search(given)
            if self.type == "identifier":
                fits = fits and bool(parts_of(given))
        if not fits:
            raise ValueError(_EXPECTED[self.type])
        return found


def parts_of(identifier: str) -> list[str]:
    """The names in `schema.table` or `table` without their quotes, PostgreSQL's or MySQL's; [] for what is no name."""
    found = _IDENTIFIER.fullmatch(identifier)
    parts = [_bare(part) for part in found.groups() if part is not None] if found else []
    return parts if all(len(part) <= _LONGEST for part in parts) else []


def _bare(part: str) -> str:
    sign = part[0]
    return part[1:-1].replace(2 * sign, sign) if sign in '"`' else part


def read(comb: str, declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """A value, or None, for each declared parameter. Raises ConfigProblems with all that is wrong."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}

    def report(name: str, message: str, expected: str = "", suggestion: str = "") -> None:
        told = f"comb {comb!r}, parameter {name!r} {message}"
        problems.append(Problem(told, expected=expected, suggestion=suggestion))

    for name in given:
        if name not in declared:
            near = closest(name, declared)
            expected = (
                "" if near else f"one of {', '.join(declared)}" if declared else "none: the comb has no parameters"
            )
            report(name, "is not known", expected, near)
    for name, parameter in declared.items():
        value = given.get(name, parameter.default)
        if value is None:
            values[name] = None
            if parameter.required:
                report(name, "is missing", parameter.description)
            continue
        try:
            values[name] = parameter.read(value)
        except ValueError as error:
            report(name, "is not what it should be", str(error))
    if problems:
        raise ConfigProblems(problems)
    return values


def _number(given: Any, *, whole: bool) -> int | float | None:
    if isinstance(given, str) and re.fullmatch(r"[+-]?\d{1,18}", given):
        return int(given)
    if isinstance(given, str) and not whole and re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", given):
        return float(given)
    plain = isinstance(given, int) if whole else isinstance(given, int | float)
    return given if plain and not isinstance(given, bool) and abs(given) < 10**18 else None
