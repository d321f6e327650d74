"""What a GraphQL query asks for, as far as a reader must know it: its fields, by the names under which they come.

    asked = parse("query($after: String) { shop { orders(after: $after) { nodes { id } } } }")
    asked.variables                      # {"after"}
    asked.at("shop.orders.nodes.id")     # a Field, or None

This is no validator: the server is one. Strings, comments, arguments and directives are passed over; fragments are put
in their places.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r'"""(?:\\"""|[^\\]|\\(?!"""))*?"""|"(?:\\.|[^"\\\n])*"'  # texts
    r"|\#[^\n]*|[\s,\ufeff]+"  # what means nothing
    r"|\.\.\.|[!$()\[\]{}:=@|&]|-?[0-9][0-9.eE+-]*|[_A-Za-z][_0-9A-Za-z]*"
)
_DEEPEST = 50
_LONGEST = 100_000


class BadQuery(ValueError):
    """The text is no query that a bee can send; the message says why."""


@dataclass
class Field:
    """`name` is the server's; `selection` holds what is asked of it, by response name."""

    name: str
    selection: dict[str, Field] = field(default_factory=dict)


@dataclass
class Asked:
    """One query operation."""

    root: Field
    variables: frozenset[str]

    def at(self, path: str) -> Field | None:
        """The field at a dotted path of response names."""
        found: Field | None = self.root
        for part in path.split("."):
            found = found.selection.get(part) if found else None
        return found


def parse(text: str) -> Asked:
    """Raises BadQuery for anything but a document of one query and its fragments."""
    if len(text) > _LONGEST:
        raise BadQuery(f"it is longer than {_LONGEST} characters")
    return _Parser(_tokens(text)).document()


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise BadQuery(f"it cannot be read at line {text.count(chr(10), 0, at) + 1}")
        if not re.match(r"[\s,\ufeff#]", token[0]):
            found.append(token[0])
        at = token.end()
    return found


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._spreads: list[tuple[Field, str]] = []

    def document(self) -> Asked:
        operations: list[Field] = []
        fragments: dict[str, Field] = {}
        while self._peek():
            kind = self._next() if self._peek() != "{" else "query"
            if kind == "fragment":
                name = self._next()
                self._expect("on")
                self._next()
                fragments[name] = self._body(name)
            elif kind == "query":
                operations.append(self._body("query"))
            else:
                raise BadQuery("a bee only reads: it sends no mutation or subscription" if _is_name(kind) else _BROKEN)
        if len(operations) != 1:
            raise BadQuery(f"it holds {len(operations)} queries, expected one")
        self._fill(fragments)
        marks = zip(self._tokens, self._tokens[1:], strict=False)
        return Asked(operations[0], frozenset(name for mark, name in marks if mark == "$"))

    def _body(self, name: str) -> Field:
        """What stands between here and the end of the next selection: a name, variables, directives."""
        found = Field(name)
        while self._peek() not in ("{", ""):
            self._skip()
        self._selection(found, 0)
        return found

    def _selection(self, parent: Field, depth: int) -> None:
        if depth > _DEEPEST:
            raise BadQuery("it is nested too deep")
        self._expect("{")
        while self._peek() != "}":
            name = alias = self._next()
            if name == "...":
                self._fragment(parent, depth)
                continue
            if self._peek() == ":":
                self._next()
                name = self._next()
            if not (_is_name(alias) and _is_name(name)):
                raise BadQuery(_BROKEN)
            found = parent.selection.setdefault(alias, Field(name))
            self._passed()
            if self._peek() == "{":
                self._selection(found, depth + 1)
        self._expect("}")

    def _fragment(self, parent: Field, depth: int) -> None:
        if _is_name(self._peek()) and self._peek() != "on":
            self._spreads.append((parent, self._next()))
            self._passed()
            return
        if self._peek() == "on":
            self._next()
            self._next()
        self._passed()
        self._selection(parent, depth + 1)

    def _passed(self) -> None:
        """Go past arguments and directives."""
        while self._peek() in ("(", "@"):
            if self._peek() == "@":
                self._next()
            self._skip()

    def _skip(self) -> None:
        """One token, or all between two parentheses."""
        if self._next() != "(":
            return
        depth = 1
        while depth:
            depth += {"(": 1, ")": -1}.get(self._next(), 0)

    def _fill(self, fragments: dict[str, Field]) -> None:
        """Put fragments where they are spread: as often as they may stand in each other."""
        for _ in fragments:
            for parent, name in self._spreads:
                for alias, found in list(fragments.get(name, Field(name)).selection.items()):
                    parent.selection.setdefault(alias, found)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise BadQuery("it ends before its last brace or parenthesis")
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise BadQuery(_BROKEN)


_BROKEN = "its braces and names do not make a query"


def _is_name(token: str) -> bool:
    return bool(re.fullmatch(r"[_A-Za-z][_0-9A-Za-z]*", token))
