"""MySQL's and MariaDB's text, cut into tokens as their servers cut it, and put together again without comments.

Every sort of comment that a server would run is refused. Strings come out in single quotes with no backslash before a
quote, so that they end at the same place whether NO_BACKSLASH_ESCAPES or ANSI_QUOTES is set or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from bees.core.sql.checks.parse import place
from bees.core.sql.errors import SecurityViolation


class Token(NamedTuple):
    """`kind` is word, name (in backticks), string, number, variable, sign; `word` is a word in upper case, else ""."""

    kind: str
    text: str
    word: str
    at: int
    spaced: bool  # something stood between it and the token before


_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\n\v\f\r]+)
    | (?P<comment>\#[^\n]*|--(?=[ \t\n\v\f\r]|$)[^\n]*|/\*(?![!M+]|M!).*?\*/|/\*M(?!!).*?\*/)
    | (?P<hint>/\*\+.*?\*/)
    | (?P<trap>/\*M?!)
    | (?P<bits>[xX]'[0-9A-Fa-f]*'|[bB]'[01]*')
    | (?P<string>[nN]?'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    | (?P<name>`(?:[^`]|``)*`)
    | (?P<variable>@@?(?:[\w$.\u0080-\uffff]+|`(?:[^`]|``)*`|'[^'\\]*'|"[^"\\]*"))
    | (?P<number>(?:\d+\.\d*|(?<![\w$`])\.\d+)(?:[eE][-+]?\d+)?(?![\w$])|\d+[eE][-+]?\d+(?![\w$]))
    | (?P<word>[\w$\u0080-\uffff]+|\\N(?![\w$]))
    | (?P<sign><=>|->>|->|:=|<<|>>|<>|!=|<=|>=|\|\||&&|/(?!\*)|[-+*%=<>!~^&|(),.;?{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_NOTHING = {"space", "comment", "hint"}
_DIGITS = re.compile(r"\d+|0x[0-9a-fA-F]+|0b[01]+")
_ESCAPED = re.compile(r"\\(.)|''", re.DOTALL)
_DOUBLE = re.compile(r"\\(.)|\"\"|'", re.DOTALL)


def tokens(sql: str) -> list[Token]:
    """The query's tokens without comments; SecurityViolation at what no server reads or what only a server would."""
    found: list[Token] = []
    end = 0
    spaced = False
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or ""
        at = match.start()
        if at != end or kind == "trap":
            raise _unreadable(sql, end)
        end = match.end()
        if kind in _NOTHING:
            if kind == "hint" and "SET_VAR" in match[0].upper():
                raise _hidden(sql, at)
            spaced = True
            continue
        text = match[0]
        word = ""
        if kind == "word":
            if _DIGITS.fullmatch(text):
                kind = "number"
            else:
                word = text.upper()
        elif kind == "string":
            text = _single_quoted(text)
        elif kind == "bits":
            kind = "number"
        found.append(Token(kind, text, word, at, spaced))
        spaced = False
    if end != len(sql):
        raise _unreadable(sql, end)
    return found


def _single_quoted(text: str) -> str:
    if text[0] == '"':
        inner = _DOUBLE.sub(lambda m: {'""': '"', "'": "''"}.get(m[0]) or _escape(m[1]), text[1:-1])
        return f"'{inner}'"
    if "\\" not in text:
        return text
    start = text.index("'") + 1
    return text[:start] + _ESCAPED.sub(lambda m: "''" if m[0] == "''" else _escape(m[1]), text[start:-1]) + "'"


def _escape(letter: str) -> str:
    return {"'": "''", '"': '"'}.get(letter, f"\\{letter}")


def _unreadable(sql: str, at: int) -> SecurityViolation:
    if sql.startswith(("/*!", "/*M!"), at):
        return _hidden(sql, at)
    return SecurityViolation(
        "this is not MySQL's SQL", code="syntax", where=place(sql, at), advice="try it in the mysql client"
    )


def _hidden(sql: str, at: int) -> SecurityViolation:
    return SecurityViolation(
        "the server would run what stands in this comment", code="hidden_code", where=place(sql, at), advice="remove it"
    )


def printed(found: Iterable[Token]) -> str:
    """The tokens as text: a space where something stood between them, and between signs that could run together."""
    pieces: list[str] = []
    before = ""
    for token in found:
        if pieces and (token.spaced or (before in "-/" and token.text[0] in "-*")):
            pieces.append(" ")
        pieces.append(token.text)
        before = token.text
    return "".join(pieces)
