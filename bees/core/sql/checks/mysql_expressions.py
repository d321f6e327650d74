"""Expressions of MySQL and MariaDB: brackets are followed, and every name before one is looked up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet

from bees.core.sql.checks import mysql_words as words
from bees.core.sql.checks.mysql_text import Token
from bees.core.sql.checks.mysql_tokens import END, Scope, Tokens, name_of
from bees.core.sql.errors import SecurityViolation


class Expressions(Tokens, ABC):
    """Reads expressions; what stands in their brackets may be a query."""

    @abstractmethod
    def _query(self, scope: Scope) -> None: ...

    def _query_begins(self) -> bool:
        return self._peek().word in words.QUERIES

    def _expression(
        self, scope: Scope, *, stop: AbstractSet[str] | None = None, inside: str | None = None, before: Token = END
    ) -> None:
        """Up to a clause, a set operation, a closing bracket or the end.

        `stop` are further words to stop at, for a condition of a join, which a comma ends too. `inside` the brackets of
        a function, which it names, the words of clauses belong to the expression.
        """
        while True:
            token = self._peek()
            if token is END or (token.kind == "sign" and token.text in ");}"):
                return
            if token.kind == "sign":
                if token.text == "," and stop is not None:
                    return
                self._sign(token, before, scope)
            elif token.kind == "word" and before.text != ".":
                if self._stops(token, before, stop, inside):
                    return
                self._check_word(token, before, inside)
                self._next()
                self._call(token, before, scope, inside)
            else:
                if before.text == "." and name_of(token).lower() == "nextval":  # a call where sql_mode is ORACLE
                    raise SecurityViolation("NEXTVAL moves a sequence", code="function", where=self._where(token))
                self._next()
                if token.kind in ("name", "word"):
                    self._call(token, before, scope, inside)
            before = self._read[self._at - 1]

    def _stops(self, token: Token, before: Token, stop: AbstractSet[str] | None, inside: str | None) -> bool:
        word = token.word
        if word in words.SETS:
            return word != "MINUS" or self._peek(1).word in ("SELECT", "ALL", "DISTINCT")
        if stop and word in stop and not (word in ("LEFT", "RIGHT") and self._peek(1).text == "("):
            return True
        if word == "WINDOW" and self._peek(2).word != "AS":  # a column of MariaDB
            return False
        if word == "FROM" and self._peek(1).word in ("FIRST", "LAST"):  # NTH_VALUE(a, 2) FROM FIRST OVER w
            return self._peek(2).word not in ("RESPECT", "OVER")
        return inside is None and (word in words.CLAUSES or word == "FROM") and before.word != "WITHIN"

    def _sign(self, token: Token, before: Token, scope: Scope) -> None:
        if token.text == ":=":
            raise self._odd()
        if token.text == "%" and (before is END or (before.kind == "sign" and before.text not in (")", "?", "}"))):
            raise SecurityViolation(
                "%s is no parameter here", code="parameter", where=self._where(token), advice="write parameters as ?"
            )
        if token.text == "(":
            self._brackets(scope, "")
        elif self._takes_sign("{"):
            self._expression(scope, inside="")
            self._expect("}")
        else:
            self._next()

    def _brackets(self, scope: Scope, inside: str) -> None:
        """From an opening bracket to its end: a query, an expression, or one that begins with a query."""
        self._expect("(")
        if self._query_begins():
            self._query(scope)
        while True:
            self._expression(scope, inside=inside, before=self._read[self._at - 1])
            if self._takes_sign(")"):
                return
            if not self._takes(*words.SETS):
                raise self._odd()
            self._takes("ALL", "DISTINCT")
            self._query(scope)

    def _check_word(self, token: Token, before: Token, inside: str | None) -> None:
        word = token.word
        following = self._peek(1)
        if word == "FROM" and inside is not None and inside not in words.WITH_FROM:
            raise self._odd(token)
        if word not in words.RESERVED and word != "NEXT":
            return
        if word in ("INSERT", "REPLACE") and following.text == "(":
            return
        if word == "SET" and before.word in ("CHARACTER", "CHAR"):
            return
        if word == "FOR" and inside and following.word not in ("UPDATE", "SHARE"):
            return
        if word == "WITH" and (following.word in ("ROLLUP", "TIES") or inside):
            return
        if word == "NEXT" and following.word == "VALUE":
            raise SecurityViolation("NEXT VALUE moves a sequence", code="function", where=self._where(token))
        if word != "NEXT":
            raise self._odd(token)

    def _call(self, token: Token, before: Token, scope: Scope, inside: str | None) -> None:
        """Look up what is called if a bracket follows, and read the bracket."""
        if self._peek().text != "(" or self._peek().kind != "sign":
            return
        word = token.word
        if before.text == ".":
            name = self._qualified_before()
        elif token.kind == "word" and (word in words.BEFORE_BRACKET or self._is_syntax(word, before, inside)):
            self.seen.others.add(word)
            self._brackets(scope, inside if inside == "json_table" else word.lower())
            return
        else:
            name = name_of(token).lower()
        if name not in self._policy.functions:
            raise SecurityViolation(
                f"the function {name} is not on the list of harmless ones",
                code="function",
                where=self._where(token),
                advice="leave it away, or list it for this source if it only computes",
            )
        if name == "last_insert_id" and self._peek(1).text != ")":
            raise SecurityViolation("LAST_INSERT_ID of a value sets it", code="function", where=self._where(token))
        self.seen.functions.add(name.rpartition(".")[2])
        self._brackets(scope, name)

    def _qualified_before(self) -> str:
        """The name `database.function` whose last part has just been read."""
        parts = [name_of(self._read[self._at - 1])]
        at = self._at - 2
        while at > 0 and self._read[at].text == ".":
            parts.append(name_of(self._read[at - 1]))
            at -= 2
        return ".".join(reversed(parts)).lower()

    def _is_syntax(self, word: str, before: Token, inside: str | None) -> bool:
        if word in words.AFTER:
            return (before.word or before.text) in words.AFTER[word]
        if word in ("AGAINST", "ESCAPE"):  # behind a value, where nothing can be called
            return before.text == ")" or (
                before.kind not in ("sign", "end") and before.word not in words.BEFORE_BRACKET
            )
        typed = before.word in ("AS", "RETURNING") or (inside == "convert" and before.text == ",")
        return word in words.TYPES and (typed or inside == "json_table")
