"""What a statement of the binlog does to the rows of one table, besides what rows in the log tell.

Servers log what defines tables as text, as somebody wrote it. The statement is cut into words and names, and read as
far as it takes: https://mariadb.com/docs/server/reference/sql-statements/data-definition and
https://dev.mysql.com/doc/refman/8.4/en/sql-data-definition-statements.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Deed = Literal["nothing", "emptied", "replaced", "rewritten", "reshaped", "unlogged"]
"""
nothing     the statement is about something else, or leaves the table as it is
emptied     no row is left
replaced    the table is gone; another one may have its name
rewritten   rows came or went without a word in the log, or may from now on
reshaped    the table's columns may be others
unlogged    it wrote rows of the table, which the log should have told one by one
"""

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|--(?=\s|\Z)[^\n]*|/\*(?!M?!).*?(?:\*/|\Z)|/\*M?!\d*|\*/
    |`(?P<quoted>(?:[^`]|``)*)`|"(?P<double>(?:[^"\\]|""|\\.)*)"|'(?:[^'\\]|''|\\.)*'
    |(?P<word>[\w$]+)|(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
"""What stands in comments of the form /*! is part of the statement."""
_WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL"}
_MOST = 2**18
"""Characters that are cut into words: a table's definition is shorter, and rows in a statement may be very many."""
_KEEPS_NAME = {"COLUMN", "INDEX", "KEY"}
_LESS_PARTITION = {"DROP", "TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT", "CONVERT"}


@dataclass(frozen=True)
class _Token:
    """`word` is empty for a name in quotes, `name` for a sign."""

    word: str = ""
    name: str = ""
    sign: str = ""


class Statement:
    """One statement, in whose session `database` was chosen. `folds`: to its server `T` and `t` are one table."""

    def __init__(self, database: str, text: str, *, folds: bool) -> None:
        self._database, self._folds = database, folds
        self._tokens = list(_tokens(text[:_MOST]))
        self._rest = text[_MOST:].casefold()
        self._at = 0

    def deed(self, table: tuple[str, str]) -> Deed:
        """What it does to a table, which is (database, name)."""
        self._at = 0
        if self._take("SET") and self._take("STATEMENT"):  # SET STATEMENT ... FOR the statement itself
            while self._tokens[self._at :] and not self._take("FOR"):
                self._at += 1
        else:
            self._at = 0
        found = {"TRUNCATE": self._truncate, "DROP": self._drop, "RENAME": self._rename, "CREATE": self._create,
                 "ALTER": self._alter}.get(self._word())  # fmt: skip
        if found is not None:
            self._at += 1
            return found(table)
        return self._written(table) if self._word() in _WRITES else "nothing"

    def is_about(self, table: tuple[str, str]) -> bool:
        """Whether it may write the table: its name is there, and its database is there or was chosen.

        What is written is named at the beginning, unless a WITH stands before it.
        """
        rest = self._rest if self._word() == "WITH" else ""
        schema, name = (part.casefold() for part in table)
        names = {token.name.casefold() for token in self._tokens}
        there = name in names or name in rest
        return there and (schema == self._database.casefold() or schema in names or schema in rest)

    def _written(self, table: tuple[str, str]) -> Deed:
        start = self._at
        if self._take("DELETE") and self._take("FROM") and self._name() == self._known(table) and self._is_over():
            return "emptied"  # as MySQL says that a table in memory is gone with its server
        self._at = start
        return "unlogged" if self.is_about(table) else "nothing"

    def _truncate(self, table: tuple[str, str]) -> Deed:
        self._take("TABLE")
        return "emptied" if self._name() == self._known(table) else "nothing"

    def _drop(self, table: tuple[str, str]) -> Deed:
        if self._take("DATABASE") or self._take("SCHEMA"):
            self._if_exists()
            name = self._part()
            return "replaced" if name == self._known(table)[0] else "nothing"
        if not (self._take("TABLE") or self._take("TABLES")):  # of TEMPORARY ones, too, the log tells nothing else
            return "nothing"
        self._if_exists()
        return "replaced" if self._known(table) in self._names() else "nothing"

    def _rename(self, table: tuple[str, str]) -> Deed:
        if not (self._take("TABLE") or self._take("TABLES")):
            return "nothing"
        return "replaced" if self._known(table) in self._names() else "nothing"

    def _create(self, table: tuple[str, str]) -> Deed:
        if self._take("OR"):
            self._at += 1
        if not self._take("TABLE"):
            return "nothing"
        perhaps = self._if_exists()
        if self._name() != self._known(table):
            return "nothing"
        return "reshaped" if perhaps else "replaced"  # it is there while it is followed, so it was dropped before

    def _alter(self, table: tuple[str, str]) -> Deed:
        self._take("ONLINE")
        ignoring = self._take("IGNORE")
        if not self._take("TABLE"):
            return "nothing"
        self._if_exists()
        mine = self._name() == self._known(table)
        if not self._take("NOWAIT") and self._take("WAIT"):
            self._at += 1
        deeds = {self._part_of_alter(table, mine=mine) for _ in self._parts()}
        if ignoring and mine:
            deeds.add("rewritten")  # rows that repeat a new key go
        order: tuple[Deed, ...] = ("replaced", "rewritten", "reshaped")
        return next((deed for deed in order if deed in deeds), "nothing")

    def _part_of_alter(self, table: tuple[str, str], *, mine: bool) -> Deed:
        """What one of the parts does, at which we stand."""
        first, second = self._word(), self._word(1)
        if first == "RENAME" and second not in _KEEPS_NAME:
            self._at += 1
            _ = self._take("TO") or self._take("AS") or self._sign("=")
            return "replaced" if mine or self._name() == self._known(table) else "nothing"
        if first == "CONVERT" and second == "TABLE":
            self._at += 2
            return "rewritten" if mine else "replaced" if self._name() == self._known(table) else "nothing"
        words = [token.word for token in self._part_tokens()]
        if first in _LESS_PARTITION and second == "PARTITION":
            if mine:
                return "rewritten"
            while words and not self._take("TABLE"):
                self._at, words = self._at + 1, words[1:]
            other = bool(words) and self._name() == self._known(table)
            return "nothing" if not other else "rewritten" if first == "EXCHANGE" else "replaced"
        keyed = {"FOREIGN", "REFERENCES"} & set(words) or (first == "DROP" and second == "CONSTRAINT")
        space = first in ("DISCARD", "IMPORT") and second == "TABLESPACE"
        # A foreign key that came or went changes who else may change rows of this table.
        return "nothing" if not mine else "rewritten" if keyed or space else "reshaped"

    def _parts(self) -> Iterator[None]:
        """Stand at the beginning of each part between commas."""
        depth, begins = 0, [self._at]
        for place in range(self._at, len(self._tokens)):
            sign = self._tokens[place].sign
            depth += (sign == "(") - (sign == ")")
            if sign == "," and not depth:
                begins.append(place + 1)
        for begin in begins:
            self._at = begin
            yield

    def _part_tokens(self) -> list[_Token]:
        found, depth = [], 0
        for token in self._tokens[self._at :]:
            depth += (token.sign == "(") - (token.sign == ")")
            if token.sign == "," and not depth:
                break
            found.append(token)
        return found

    def _known(self, table: tuple[str, str]) -> tuple[str, str]:
        return self._folded(table[0]), self._folded(table[1])

    def _folded(self, name: str) -> str:
        return name.casefold() if self._folds else name

    def _word(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._tokens[place].word if place < len(self._tokens) else ""

    def _take(self, word: str) -> bool:
        found = self._word() == word
        self._at += found
        return found

    def _sign(self, sign: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at].sign == sign
        self._at += found
        return found

    def _if_exists(self) -> bool:
        found = self._take("IF")
        return found and (self._take("NOT") or True) and self._take("EXISTS")

    def _part(self) -> str:
        """A name, or a part of one."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else _Token()
        self._at += bool(token.name)
        return self._folded(token.name)

    def _name(self) -> tuple[str, str]:
        first = self._part()
        return (first, self._part()) if self._sign(".") else (self._folded(self._database), first)

    def _names(self) -> list[tuple[str, str]]:
        """The names that stand from here on, before and behind whatever words."""
        found = []
        while self._at < len(self._tokens):
            before = self._at
            found.append(self._name())
            self._at += self._at == before
        return found

    def _is_over(self) -> bool:
        return all(token.sign == ";" for token in self._tokens[self._at :])


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        if (quoted := found["quoted"]) is not None:
            yield _Token(name=quoted.replace("``", "`"))
        elif (double := found["double"]) is not None:  # a name where the session had ANSI_QUOTES
            yield _Token(name=double.replace('""', '"'))
        elif (word := found["word"]) is not None:
            yield _Token(word=word.upper(), name=word)
        elif (sign := found["sign"]) is not None:
            yield _Token(sign=sign)
