"""One statement of MySQL or MariaDB, token by token: what stands here, what is no read, which names are read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from bees.core.sql.checks import mysql_words as words
from bees.core.sql.checks.functions import packaged
from bees.core.sql.checks.mysql_text import Token, tokens
from bees.core.sql.checks.parse import place
from bees.core.sql.checks.second_look import Seen
from bees.core.sql.errors import SecurityViolation

Scope = frozenset[str]

END = Token("end", "", "", 0, spaced=False)


@dataclass
class Policy:
    """What may be read and called: (database, table) in the catalog's letters, functions in lower case."""

    tables: frozenset[tuple[str, str]] | None
    functions: frozenset[str]

    @classmethod
    def of(cls, tables: Iterable[str] | None, functions: Iterable[str] | None) -> Policy:
        return cls(
            None if tables is None else frozenset(_parts(t) for t in tables),
            packaged("mysql_functions")
            if functions is None
            else frozenset(".".join(_parts(f)).lstrip(".").lower() for f in functions),
        )


def _parts(written: str) -> tuple[str, str]:
    named = [name_of(t) for t in tokens(written) if t.kind in ("word", "name", "number")]
    return (named[-2] if len(named) > 1 else "", named[-1] if named else "")


def name_of(token: Token) -> str:
    """A name without its backticks."""
    return token.text[1:-1].replace("``", "`") if token.kind == "name" else token.text


def told(token: Token) -> str:
    """The token as a message may repeat it: no value."""
    return {"string": "a string", "number": "a number"}.get(token.kind) or token.word or token.text


def folded(name: str) -> str:
    """As the server compares names of its schemas: without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()


class Tokens:
    """The tokens of one statement and where its reading stands. Each method reads one part and stops behind it."""

    def __init__(self, sql: str, read: list[Token], policy: Policy) -> None:
        self._sql = sql
        self._read = read
        self._policy = policy
        self._at = 0
        self.seen = Seen()

    def _peek(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        return self._read[at] if at < len(self._read) else END

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _takes(self, *any_of: str) -> bool:
        if self._peek().word in any_of:
            self._at += 1
            return True
        return False

    def _takes_sign(self, sign: str) -> bool:
        if self._peek().text == sign and self._peek().kind == "sign":
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._takes_sign(sign):
            raise self._odd()

    def _odd(self, token: Token | None = None) -> SecurityViolation:
        token = token or self._peek()
        what = told(token)
        if what == ";":
            return SecurityViolation(
                "the query holds more than one statement", code="many_statements", where=self._where(token)
            )
        if what == ":=":
            return SecurityViolation("the query sets a variable", code="assignment", where=self._where(token))
        if code := words.ACTS.get(token.word):
            return SecurityViolation(f"{what} stands inside of the query", code=code, where=self._where(token))
        if token.word in words.RESERVED:
            return SecurityViolation(
                f"{what} is not on the list of harmless parts of a query", code="construct", where=self._where(token)
            )
        return SecurityViolation(
            f"{what} is not understood here" if token.kind != "end" else "the query ends too early",
            code="syntax",
            where=self._where(token),
        )

    def _where(self, token: Token) -> str:
        return place(self._sql, len(self._sql) if token is END else token.at)

    def _alias(self) -> bool:
        named = self._takes("AS")
        token = self._peek()
        plain = token.kind == "word" and token.word not in words.NOT_ALIAS
        if not (named or plain or token.kind in ("name", "string")):
            return False
        if token.kind not in ("word", "name", "string") or (token.kind == "word" and not plain):
            raise self._odd()
        self.seen.others.add(name_of(self._next()))
        return True

    def _list_of_names(self) -> None:
        self._expect("(")
        self._names()
        self._expect(")")

    def _names(self) -> None:
        """Names with commas between them, perhaps none."""
        while self._peek().kind in ("word", "name"):
            if self._peek().word in words.RESERVED:
                raise self._odd()
            self._next()
            if not self._takes_sign(","):
                return

    def _identifier(self) -> Token:
        token = self._peek()
        if token.kind not in ("word", "name") or token.word in words.NOT_ALIAS:
            raise self._odd()
        return self._next()

    def _table(self, scope: Scope) -> None:
        token = self._identifier()
        database, name = "", name_of(token)
        if self._takes_sign("."):
            database, name = name, name_of(self._part_after_dot())
        self.seen.tables.add(name)
        if not database and name.lower() in scope:
            return
        listed = self._policy.tables
        if listed is not None and (database, name) in listed:
            return
        if folded(database) in words.CATALOGS:
            raise self._catalog(f"{database}.{name}", token)
        if listed is not None:
            raise SecurityViolation(
                f"the table {f'{database}.' if database else ''}{name} is not on the list",
                code="table",
                where=self._where(token),
                advice="read another, or have it listed",
            )

    def _part_after_dot(self) -> Token:
        token = self._peek()
        if token.kind not in ("word", "name", "number"):
            raise self._odd()
        return self._next()

    def _catalog(self, name: str, token: Token) -> SecurityViolation:
        return SecurityViolation(
            f"{name} is the server's own", code="catalog", where=self._where(token), advice="read another table"
        )
