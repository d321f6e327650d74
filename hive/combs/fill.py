"""Putting parameters into a comb: each as a value, never as text that is read for anything again.

    {{ param.NAME }} alone        the value in its type; without a value what stands there is left out
    text {{ param.NAME }} text    the value as text, percent-encoded inside a path or an address; as above without one
    in a query                    a literal of SQL, or a quoted name if it is an `identifier`; not in `body` or `params`

A `${...}` or `{{ vault ... }}` inside a value is not followed, nor one that a value makes with what stands beside it.
A secret is put in as a reference to the vault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hive.combs.parameters import parts_of
from hive.config.problems import ConfigProblems, Problem
from hive.config.references import BadReference, joined

_PLACE = re.compile(r"\{\{\s*param\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_BROKEN = re.compile(r"\{\{\s*param\b")
_QUERIES = ("query", "query_template")
_ADDRESSES = ("path", "url", "base_url", "health", "vault_path")
_SQL = re.compile(
    r"(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*(?:'|$)|'(?:[^']|'')*(?:'|$)|\"(?:[^\"]|\"\")*(?:\"|$)"
    r"|(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|$)|--[^\n]*|/\*.*",
    re.DOTALL,
)
"""Where a placeholder would be no value: in quotes and comments."""
_MYSQL = re.compile(
    r"'(?:[^'\\]|\\.|'')*(?:'|$)|\"(?:[^\"\\]|\\.|\"\")*(?:\"|$)|`(?:[^`]|``)*(?:`|$)|#[^\n]*|--[^\n]*|/\*.*", re.DOTALL
)
_OUTSIDE = {"postgresql": _SQL, "mysql": _MYSQL}
"""By connector."""
_ABSENT = object()


@dataclass(frozen=True)
class Value:
    """A parameter's value. `identifier`: a name of the source; `reference`: where the vault has it, if it is secret."""

    value: Any
    identifier: bool = False
    reference: str = ""


def fill(template: Any, values: Mapping[str, Value], comb: str, dialect: str) -> Any:
    """A copy of `template` with every placeholder filled; `dialect`: its connector. Raises ConfigProblems."""
    filled = _Filler(values, comb, dialect).fill(template, ())
    return None if filled is _ABSENT else filled


def placeholders(template: Any) -> set[str]:
    """Names of the parameters that a comb uses."""
    return {name for _, text in _texts(template) for name in _PLACE.findall(text)}


def faults(template: Any, dialect: str) -> Iterator[tuple[tuple[object, ...], str]]:
    """(place, what is wrong) of placeholders that cannot be filled, whatever the values are."""
    for place, text in _texts(template):
        if len(_BROKEN.findall(text)) != len(_PLACE.findall(text)):
            yield place, "holds what is no placeholder: write {{ param.NAME }}"
        elif _is_query(place) and _PLACE.search(text):
            outside = _OUTSIDE.get(dialect)
            if outside is None:
                yield place, "has parameters in a query, which is known for postgresql and mysql alone"
            elif any(_PLACE.search(found[0]) or found[0].startswith("/*") for found in outside.finditer(text)):
                yield (
                    place,
                    "has a parameter in quotes or beside a block comment: it is a whole value, write it without quotes",
                )


def _is_query(place: tuple[object, ...]) -> bool:
    """Whether SQL stands here; what is sent to an API under the name `query` is none."""
    return place[-1:] != () and place[-1] in _QUERIES and not {"body", "params", "first_params"} & {*place}


def _texts(value: Any, place: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], str]]:
    """(place, text) of every string inside; the place of a key ends in nothing."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                yield (*place, key, ""), key
            yield from _texts(item, (*place, key))
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from _texts(item, (*place, n))


@dataclass(frozen=True)
class _Filler:
    values: Mapping[str, Value]
    comb: str
    dialect: str

    def fill(self, template: Any, place: tuple[object, ...]) -> Any:
        if isinstance(template, str):
            return self._text(template, place)
        if isinstance(template, Mapping):
            pairs = [(self._text(str(k), ()), self.fill(v, (*place, k))) for k, v in template.items()]
            return {k: v for k, v in pairs if k is not _ABSENT and v is not _ABSENT}
        if isinstance(template, list | tuple):
            items = [self.fill(item, (*place, n)) for n, item in enumerate(template)]
            return [item for item in items if item is not _ABSENT]
        return template

    def _text(self, text: str, place: tuple[object, ...]) -> Any:
        names = _PLACE.findall(text)
        if not names:
            return text
        key = place[-1] if place else ""
        if _is_query(place):
            return self._joined(text, self._literal)
        if any(self.values[name].value is None for name in names):
            return _ABSENT
        if _PLACE.fullmatch(text.strip()):
            return self._whole(names[0])
        address = key in _ADDRESSES or "://" in text
        return self._joined(text, lambda name: self._part(name, address=address))

    def _joined(self, text: str, part: Callable[[str], str]) -> str:
        """The text with `part` of each name in its place: harmless each, and here they stand side by side."""
        pieces = _PLACE.split(text)  # text and names in turn
        try:
            return joined([part(piece) if n % 2 else piece for n, piece in enumerate(pieces)])
        except BadReference as error:
            names = ", ".join(repr(name) for name in dict.fromkeys(pieces[1::2]))
            told = f"comb {self.comb!r}, text with the parameter {names}: {error.reason}"
            raise ConfigProblems([Problem(told, expected="a value that ends no reference and begins none")]) from None

    def _whole(self, name: str) -> Any:
        found = self.values[name]
        if found.reference:
            return found.reference
        if isinstance(found.value, list):
            return [self._plain(name, word) for word in found.value]
        return self._plain(name, found.value) if isinstance(found.value, str) else found.value

    def _part(self, name: str, *, address: bool) -> str:
        found = self.values[name]
        if found.reference:
            if address:
                raise self._problem(name, "is secret, and an address is no place for a secret")
            return found.reference
        text = ",".join(found.value) if isinstance(found.value, list) else _spelled(found.value)
        if not address:
            return self._plain(name, text)
        if text in (".", "..") or not text:
            raise self._problem(name, "is no part of a path")
        return quote(text, safe="")

    def _literal(self, name: str) -> str:
        """The value in a query."""
        found = self.values[name]
        if found.reference:
            raise self._problem(name, "is secret, and a query is no place for a secret")
        if found.value is None:
            return "NULL"
        if found.identifier:
            return self._plain(name, _quoted(parts_of(found.value), self.dialect))
        words = found.value if isinstance(found.value, list) else [found.value]
        if not words:
            return "NULL"
        return self._plain(name, ", ".join(_written(word, self.dialect) for word in words))

    def _plain(self, name: str, text: str) -> str:
        """A value that the references' reader leaves as it is."""
        if re.search(r"\{\{\s*vault\b", text):
            raise self._problem(name, "refers to the vault, which only a secret parameter may")
        return text.replace("${", "$${")

    def _problem(self, name: str, message: str) -> ConfigProblems:
        return ConfigProblems([Problem(f"comb {self.comb!r}, parameter {name!r} {message}")])


def _quoted(names: list[str], dialect: str) -> str:
    """The name of a table or column."""
    if dialect == "mysql":
        from bees.core.sql.mysql.forms import name_of

        return name_of(*names)
    from psycopg import sql

    return sql.Identifier(*names).as_string(None)


def _written(value: Any, dialect: str) -> str:
    """A value as a literal."""
    if dialect == "mysql":
        from bees.core.sql.parameters import literal

        return literal(value, "mysql")
    from psycopg import sql

    return sql.Literal(value).as_string(None).strip()


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
