"""Marks of where time goes: requests to sources, statements, runs. Free where nobody collects them.

    with span("connector.rest.request", {"http.method": "GET"}) as told:
        ...
        told({"http.status_code": 200})

Whoever wants them says so once for each process (`install`); the hive does where an OTLP endpoint is set. Attributes
hold words of options, codes and counts: never a URL with its query, a value of a record or a server's text. A statement
goes in as its shape (`shape`).
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    Attributes = Mapping[str, str | int | float | bool]
    Tell = Callable[[Attributes], None]
    """Adds attributes to the span."""

LONGEST = 2000
"""Characters of a statement's shape."""

_TOKENS = r"""
    (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
  | (?P<text>(?:\b[eE])?TEXT
           |\$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z))
  | (?P<quoted>"(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z))
  | (?P<number>(?<![\w.$])[-+]?\d[\w.]*)
"""
# An unended text goes to the end: better too much left out than too little.
_ESCAPED = r"'(?:[^'\\]|''|\\.)*(?:'|\Z)"
_PLAIN = r"(?:(?<=[eE])'(?:[^'\\]|''|\\.)*|'(?:[^']|'')*)(?:'|\Z)"
_POSTGRES = re.compile(_TOKENS.replace("TEXT", _PLAIN), re.DOTALL | re.VERBOSE)
_MYSQL = re.compile(
    _TOKENS.replace("TEXT", _ESCAPED).replace("--[^\\n]*|", "(?:--|\\#)[^\\n]*|"), re.DOTALL | re.VERBOSE
)


class Collector(Protocol):
    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Tell]: ...


def _nothing(attributes: Attributes) -> None:
    """Nobody collects."""


_NOTHING = nullcontext(_nothing)
_collector: Collector | None = None


def install(collector: Collector | None) -> None:
    """Give all spans of this process to `collector`; None: to nobody."""
    global _collector  # noqa: PLW0603 - one per process is the point
    _collector = collector


def wanted() -> bool:
    """Whether somebody collects: for attributes that cost something to make."""
    return _collector is not None


def span(name: str, attributes: Attributes | None = None) -> AbstractContextManager[Tell]:
    """A span around a block, which gets what adds attributes to it. An error that leaves the block marks it failed."""
    return _NOTHING if _collector is None else _collector.span(name, attributes or {})


def query(statement: str | bytes, system: str) -> AbstractContextManager[Tell]:
    """The span of a statement; `system` is postgresql, mysql, mongodb, ..."""
    if _collector is None:
        return _NOTHING
    text = statement.decode(errors="replace") if isinstance(statement, bytes) else str(statement)
    told = {"db.system": system, "db.statement": shape(text, mysql=system == "mysql")}
    return _collector.span("connector.database.query", told)


def shape(statement: str, *, mysql: bool = False) -> str:
    """A statement without its literals and comments, which may hold values of records: ? stands for each literal.

    mysql  a backslash escapes, "..." is a text and # begins a comment
    """

    def left(found: re.Match[str]) -> str:
        if found["comment"]:
            return " "
        quoted = found["quoted"]
        return quoted if quoted and (quoted[0] == "`" or not mysql) else "?"

    return " ".join((_MYSQL if mysql else _POSTGRES).sub(left, statement).split())[:LONGEST]
