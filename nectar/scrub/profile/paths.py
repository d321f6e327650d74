"""Names of fields as rules write them: `email`, `address.city`, `*_email`, or a JSON path such as `$.users[*].email`.

A path of data is its field names joined by dots; places in a list are no part of it (`users.email`).
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from nectar.errors import BadProfile

_STEP = re.compile(
    r"(?P<deep>\.\.)(?:(?P<deep_name>[^.\[\]*]+)|\*|(?=\[))"
    r"|\.(?:(?P<name>[^.\[\]*]+)|(?P<any>\*))"
    r"|\[(?:\*|'(?P<single>[^']+)'|\"(?P<double>[^\"]+)\")\]"
)
_BRACKETS = re.compile(r"\[(?:\*|'[^']+'|\"[^\"]+\")\]|\[-?\d+\]\.")
"""A JSON path that lacks its `$.`: as a glob it would mean next to nothing."""
_PLACE = re.compile(r"\[\s*-?\d")


@lru_cache(maxsize=4096)
def pattern_of(field: str) -> re.Pattern[str]:
    """What the path of a field that is meant matches as a whole, once it is casefolded: case counts as equal.

    A name without dots means the field at any depth, one with dots the whole path. A JSON path, with its `$` or with
    brackets that only such a path has, begins at the record: `.name`, `['name']`, `.*` (any field), `[*]` (all of a
    list), `..name` (at any depth).

    Raises BadProfile for a JSON path of another form.
    """
    if _BRACKETS.search(field) and not field.startswith("$"):
        field = f"${field}" if field[0] in ".[" else f"$.{field}"
    if field.startswith("$"):
        return re.compile(_of_json_path(field), re.DOTALL)
    name = field.casefold()
    whole = rf"(?:{re.escape(name)}|{translate(name)})"  # a name may hold what a glob reads otherwise: `size [cm]`
    return re.compile(whole if "." in field else rf"(?:.*\.)?{whole}", re.DOTALL)


def _of_json_path(field: str) -> str:
    steps: list[str] = []
    at, deep = 1, False
    while at < len(field):
        step = _STEP.match(field, at)
        if not step:
            raise BadProfile(_refusal(field, at))
        at = step.end()
        name = step["deep_name"] or step["name"] or step["single"] or step["double"]
        if step["deep"]:
            deep = True
        if name is None and not step["any"] and not (step["deep"] and step[0].endswith("*")):
            continue  # all of a list, which is no part of a path
        before = r"(?:.*\.)?" if deep and not steps else r"\.(?:.*\.)?" if deep else r"\." if steps else ""
        steps.append(before + (r"[^.]+" if name is None else re.escape(name.casefold())))
        deep = False
    if not steps or deep:
        raise BadProfile(f"{field!r} names no field: expected a path such as '$.users[*].email'")
    return "".join(steps)


def _refusal(field: str, at: int) -> str:
    if _PLACE.match(field, at):
        return f"{field!r}: places in a list are not told apart; write [*] for all of it"
    return (
        f"{field!r} is no path that is understood from {field[at : at + 20]!r} on: expected .name, ['name'], .*, [*] "
        "or ..name, such as '$.users[*].email'"
    )
