"""Values in a request: `{{ config.NAME }}`, `{{ state.NAME }}`, `{{ parent.FIELD }}`; in a field `{{ record.FIELD }}`.

    {{ parent.id }} alone       the value in its type; without one, what stands there is left out
    text {{ state.since }}      the value as text; without one, what stands there is left out
    in a path                   the value as one segment, percent-encoded

`config` is what stands under `variables`; `state` has `since`, `until` and `token`; FIELD may be a dotted path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from bees.core.errors import GiveUp
from bees.core.paths import MISSING, dig

Scope = Mapping[str, Any]
"""What may be named, by the first word: config, state, parent, record."""

_PLACE = re.compile(r"\{\{\s*(config|state|parent|record)\.([^{}\s]+)\s*\}\}")
_STATE = ("since", "until", "token")


def fill(template: Any, scope: Scope) -> Any:
    """A copy of `template` with its places filled, at any depth; MISSING where all of it is left out."""
    if isinstance(template, str):
        return _text(template, scope) if "{{" in template else template
    if isinstance(template, Mapping):
        pairs = [(key, fill(value, scope)) for key, value in template.items()]
        return {key: value for key, value in pairs if value is not MISSING}
    if isinstance(template, list | tuple):
        return [found for item in template if (found := fill(item, scope)) is not MISSING]
    return template


def path(template: str, scope: Scope, where: str) -> str:
    """A path with each value as one segment of it. Raises GiveUp for a value that is none."""

    def segment(place: re.Match[str]) -> str:
        found = _value(place, scope)
        text = "" if found is MISSING or found is None else _spelled(found)
        if text in ("", ".", ".."):
            message = f"what stands at {place[1]}.{place[2]} is no part of a path"
            raise GiveUp(message, code="bad_template", where=where, advice="name a field that identifies the record")
        return quote(text, safe="")

    return _PLACE.sub(segment, template)


def problems(template: Any, scopes: tuple[str, ...], config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the places of a template, whatever the values will be."""
    for text in _texts(template):
        for name, field in _PLACE.findall(text):
            if name not in scopes:
                yield f"{{{{ {name}.{field} }}}} cannot stand here: known are {', '.join(scopes)}"
            elif name == "state" and field not in _STATE:
                yield f"{{{{ state.{field} }}}} is not known: there are {', '.join(_STATE)}"
            elif name == "config" and field not in config:
                yield f"{{{{ config.{field} }}}} has no value: give it under variables"
        left = _PLACE.sub("", text)
        if re.search(r"\{\{(?!\s*vault[.:])", left):
            yield "a place in a template is written as {{ state.since }}, {{ parent.id }} or {{ config.name }}"


def names(template: Any, scope: str) -> set[str]:
    """The fields of one scope that a template asks for."""
    return {field for text in _texts(template) for name, field in _PLACE.findall(text) if name == scope}


def _text(text: str, scope: Scope) -> Any:
    alone = _PLACE.fullmatch(text.strip())
    if alone:
        found = _value(alone, scope)
        return MISSING if found is None else found
    values = [_value(place, scope) for place in _PLACE.finditer(text)]
    if any(value is MISSING or value is None for value in values):
        return MISSING
    return _PLACE.sub(lambda place: _spelled(_value(place, scope)), text)


def _value(place: re.Match[str], scope: Scope) -> Any:
    return dig(scope.get(place[1]) or {}, place[2])


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | Decimal):
        return str(value)
    raise GiveUp("a template names an object or a list, where a text is wanted", code="bad_template")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
