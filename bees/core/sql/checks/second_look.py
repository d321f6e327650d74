"""A second opinion on a printed query, by the tokens of another library (sqlglot).

The first reader decides what the query is; this one must not find a statement, a call or a table in the text that the
first did not see. Such a disagreement means that one of the two is wrong about where a literal or a name ends, and is
a refusal. Only tokens are compared: to parse 2 KiB by a second grammar takes longer than all the rest together, and
sqlglot's trees rename functions (IFNULL becomes COALESCE), so that a comparison of trees would refuse harmless reads.

Most queries need no second opinion: where a text holds nothing that lexers have ever disagreed about (`is_plain`), its
tokens are the same to each of them.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Literal

from pglast import keywords
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from bees.core.sql.errors import SecurityViolation

_NAMES = {TokenType.VAR, TokenType.IDENTIFIER}
_TABLES_FOLLOW = {TokenType.FROM, TokenType.JOIN}
# Words that no function is called by without quotes, or that stand before a bracket of another sort.
_SYNTAX = frozenset(
    word
    for group in (
        keywords.COL_NAME_KEYWORDS,
        keywords.RESERVED_KEYWORDS,
        keywords.TYPE_FUNC_NAME_KEYWORDS,
        keywords.UNRESERVED_KEYWORDS,
        (
            "against",
            "member",
            "of",
            "oj",
            "signed",
            "unsigned",
            "high_priority",
            "straight_join",
            "distinctrow",
            "sql_cache",
        ),
        ("sql_no_cache", "sql_small_result", "sql_big_result", "sql_buffer_result", "sql_calc_found_rows"),
    )
    for word in group
)


# ASCII, and literals and quoted names without a backslash; no comment, no semicolon, no dollar but a parameter's.
_PLAIN = re.compile(
    r"""(?:[\ \n!%&()*+,.0-9:<=>?@A-Z\[\]^_a-z{|}~]++|'[^'\\]*+'|"[^"\\]*+"|`[^`\\]*+`|-(?!-)|/(?!\*)|\$(?=\d))*+""",
)


def is_plain(text: str) -> bool:
    """Whether every reader of SQL cuts this text into the same tokens, so that a second look could show nothing."""
    return _PLAIN.fullmatch(text) is not None


@dataclass
class Seen:
    """What the first reader saw, without schemas: tables, functions, other names (aliases, types, queries of WITH)."""

    tables: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)


@functools.cache
def _dialect(name: Literal["postgres", "mysql"]) -> Dialect:
    return Dialect.get_or_raise(name)


def compare(text: str, dialect: Literal["postgres", "mysql"], seen: Seen) -> None:
    """Refuse if the second reader sees what the first did not. What it cannot read, it does not judge."""
    try:
        tokens = _dialect(dialect).tokenize(text)
    except SqlglotError:
        return
    tables = {name.lower() for name in seen.tables | seen.others}
    called = {name.lower() for name in seen.functions | seen.others}
    brackets: list[bool] = []  # of each open one: whether it belongs to a call
    last = len(tokens) - 1
    for at, token in enumerate(tokens):
        kind = token.token_type
        if kind is TokenType.SEMICOLON:
            raise _disagreement("a second statement")
        if kind is TokenType.L_PAREN:
            before = tokens[at - 1] if at else None
            brackets.append(before is not None and _is_call(before))
            if before is not None and before.token_type in _NAMES:
                name = before.text.lower()
                if name not in called and (name not in _SYNTAX or before.token_type is TokenType.IDENTIFIER):
                    raise _disagreement(f"the function {before.text}")
        elif kind is TokenType.R_PAREN and brackets:
            brackets.pop()
        elif kind is TokenType.SELECT and brackets:
            brackets[-1] = False
        elif kind in _TABLES_FOLLOW and at < last and not (brackets and brackets[-1]):
            _same_table(tokens, at, tables, called)


def _is_call(token: Token) -> bool:
    text = token.text
    return text[:1].isalpha() or text[:1] == "_" or token.token_type is TokenType.IDENTIFIER


def _same_table(tokens: list[Token], at: int, tables: set[str], called: set[str]) -> None:
    if tokens[at - 1].token_type is TokenType.DISTINCT:  # IS DISTINCT FROM
        return
    last = at + 1
    while last + 2 < len(tokens) and tokens[last + 1].token_type is TokenType.DOT:
        last += 2
    token = tokens[last]
    name = token.text.lower()
    if token.token_type in _NAMES and name not in tables and name not in called and name not in _SYNTAX:
        raise _disagreement(f"the table {token.text}")


def _disagreement(what: str) -> SecurityViolation:
    return SecurityViolation(
        f"a second reader sees {what} in the query", code="parsers_disagree", advice="write it more plainly"
    )
