"""The guard for MySQL and MariaDB: a reader of its own for the shape of queries, that takes nothing it does not know.

It follows clauses, table references and the scope of WITH; within expressions it follows brackets, lets in names and
the reserved words that expressions are made of, and looks up every name before a bracket. Tokens are printed again
as they were read, so what runs is what was read: a printer that rewrites MySQL into its own idea of it could not
promise that. sqlglot takes a second look at the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from bees.core.sql.checks import mysql_words as words
from bees.core.sql.checks.functions import packaged
from bees.core.sql.checks.mysql_text import Token, printed, tokens
from bees.core.sql.checks.parse import place
from bees.core.sql.checks.second_look import Seen, compare, is_plain
from bees.core.sql.errors import SecurityViolation

Scope = frozenset[str]

_END = Token("end", "", "", 0, spaced=False)
_NO_READ = "only SELECT, VALUES, TABLE, WITH, EXPLAIN, DESCRIBE and SHOW are let in"


@dataclass
class _Policy:
    tables: frozenset[tuple[str, str]] | None
    functions: frozenset[str]

    @classmethod
    def of(cls, tables: Iterable[str] | None, functions: Iterable[str] | None) -> _Policy:
        return cls(
            None if tables is None else frozenset(_parts(t) for t in tables),
            packaged("mysql_functions")
            if functions is None
            else frozenset(".".join(_parts(f)).lstrip(".").lower() for f in functions),
        )


def _parts(written: str) -> tuple[str, str]:
    named = [_name(t) for t in tokens(written) if t.kind in ("word", "name", "number")]
    return (named[-2] if len(named) > 1 else "", named[-1] if named else "")


def checked(sql: str, tables: Iterable[str] | None, functions: Iterable[str] | None) -> str:
    """The printed text of a harmless query; SecurityViolation for any other."""
    try:
        read = tokens(sql)
        while read and read[-1].text == ";":
            read.pop()
        if not read:
            raise SecurityViolation("the query is empty", code="no_statement")
        reader = _Reader(sql, read, _Policy.of(tables, functions))
        explained = reader.statement()
        text = printed(read)
        if [t[:3] for t in tokens(text)] != [t[:3] for t in read]:
            raise SecurityViolation("the query cannot be printed so that it says the same", code="print_differs")
    except RecursionError:
        raise SecurityViolation("the query is nested too deeply", code="too_deep", advice="split it by WITH") from None
    if explained is not None and not is_plain(text):
        compare(printed(read[explained:]), "mysql", reader.seen)
    return text


def _name(token: Token) -> str:
    return token.text[1:-1].replace("``", "`") if token.kind == "name" else token.text


def _told(token: Token) -> str:
    """The token as a message may repeat it: no value."""
    return {"string": "a string", "number": "a number"}.get(token.kind) or token.word or token.text


def _folded(name: str) -> str:
    """As the server compares names of its schemas: without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()


class _Reader:
    """Reads one statement from its first token to its last. Each method reads one part and stops behind it."""

    def __init__(self, sql: str, read: list[Token], policy: _Policy) -> None:
        self._sql = sql
        self._read = read
        self._policy = policy
        self._at = 0
        self.seen = Seen()

    # -- tokens

    def _peek(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        return self._read[at] if at < len(self._read) else _END

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
        what = _told(token)
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
        return place(self._sql, len(self._sql) if token is _END else token.at)

    # -- statements

    def statement(self) -> int | None:
        """Read all; where the query begins that a second parser may read too, None if there is none."""
        word = self._peek().word
        start: int | None = 0
        if word in words.QUERIES or self._peek().text == "(":
            self._query(frozenset())
        elif word in ("EXPLAIN", "DESCRIBE", "DESC"):
            start = self._explain()
        elif word == "SHOW":
            start = None
            self._show()
        else:
            raise SecurityViolation(
                f"{_told(self._peek())} is no read",
                code="wrong_root",
                where=self._where(self._peek()),
                advice=_NO_READ,
            )
        if self._peek() is not _END:
            raise self._odd()
        return start

    def _explain(self) -> int | None:
        self._next()
        while self._takes("EXTENDED", "PARTITIONS", "ANALYZE"):
            pass
        if self._peek().word == "FORMAT" and self._peek(1).text == "=":
            self._at += 3
        start = self._at
        word = self._peek().word
        if word in words.QUERIES or self._peek().text == "(":
            self._query(frozenset())
            return start
        if word in words.RESERVED:
            raise SecurityViolation(
                f"EXPLAIN of {word} is no read", code="wrong_root", where=self._where(self._peek()), advice=_NO_READ
            )
        self._table(frozenset())
        if self._peek().kind in ("word", "name", "string"):
            self._next()
        return None

    def _show(self) -> None:
        self._next()
        self._takes("GLOBAL", "SESSION", "LOCAL")
        self._takes("EXTENDED")
        self._takes("FULL")
        word = self._next()
        following = words.SHOWN.get(word.word)
        if following is None or (following and self._next().word not in following):
            raise SecurityViolation(f"SHOW {word.text} is not let in", code="wrong_root", where=self._where(word))
        if self._policy.tables is not None:
            raise SecurityViolation("SHOW reads names of other tables", code="table", where=self._where(word))
        while self._peek() is not _END and self._peek().word != "WHERE":
            token = self._next()
            if _folded(_name(token)) in words.CATALOGS:
                raise self._catalog(_name(token), token)
            if token.kind not in ("word", "name", "string", "number") and token.text not in (".", ","):
                raise self._odd(token)
        if self._takes("WHERE"):
            self._expression(frozenset())

    # -- queries

    def _query(self, scope: Scope) -> None:
        if self._takes("WITH"):
            scope = self._with(scope)
        self._primary(scope)
        self._rest_of_query(scope)

    def _rest_of_query(self, scope: Scope) -> None:
        while self._takes(*words.SETS):
            self._takes("ALL", "DISTINCT")
            self._primary(scope)
        self._tail(scope)

    def _with(self, scope: Scope) -> Scope:
        recursive = self._takes("RECURSIVE")
        while True:
            name = _name(self._identifier())
            if self._peek().text == "(":
                self._list_of_names()
            if not self._takes("AS"):
                raise self._odd()
            self._expect("(")
            self._query(scope | {name.lower()} if recursive else scope)
            self._expect(")")
            if self._takes("CYCLE"):
                self._names()
                if not self._takes("RESTRICT"):
                    raise self._odd()
            scope |= {name.lower()}
            self.seen.others.add(name)
            if not self._takes_sign(","):
                return scope

    def _primary(self, scope: Scope) -> None:
        if self._takes_sign("("):
            self._query(scope)
            self._expect(")")
        elif self._takes("SELECT"):
            self._select(scope)
        elif self._takes("VALUES"):
            self._expression(scope)
        elif self._takes("TABLE"):
            self._table(scope)
        else:
            raise self._odd()

    def _select(self, scope: Scope) -> None:
        while self._takes(*words.MODIFIERS):
            pass
        self._expression(scope)
        if self._takes("FROM"):
            self._table_references(scope)
        for clause in ("WHERE", "GROUP", "HAVING", "WINDOW"):
            if self._takes(clause):
                if clause == "GROUP" and not self._takes("BY"):
                    raise self._odd()
                self._expression(scope)

    def _tail(self, scope: Scope) -> None:
        while word := self._peek().word:
            if word not in ("ORDER", "LIMIT", "OFFSET", "FETCH"):
                return
            self._next()
            if word == "ORDER" and not self._takes("BY"):
                raise self._odd()
            self._expression(scope)

    # -- table references

    def _table_references(self, scope: Scope) -> None:
        self._factor(scope)
        self._joined(scope)

    def _joined(self, scope: Scope) -> None:
        """What follows a table reference, as far as the list of them goes."""
        while True:
            if self._takes("ON"):
                self._expression(scope, stop=words.JOINS | {"ON", "USING"})
            elif self._takes("USING"):
                self._list_of_names()
            elif self._takes_sign(","):
                self._factor(scope)
            elif self._takes(*words.JOINS):
                while self._takes(*words.JOINS, "OUTER"):
                    pass
                self._factor(scope)
            else:
                return

    def _factor(self, scope: Scope) -> None:
        if self._takes("LATERAL") and self._peek().text != "(":
            raise self._odd()
        if self._takes_sign("("):
            self._bracketed_reference(scope)
            self._expect(")")
            self._after_derived()
        elif self._takes_sign("{"):  # ODBC's way to write an outer join
            if not self._takes("OJ"):
                raise self._odd()
            self._table_references(scope)
            self._expect("}")
        elif self._peek().word == "JSON_TABLE" and self._peek(1).text == "(":
            self._next()
            self._brackets(scope, "json_table")
            self._after_derived()
        elif self._peek().word == "DUAL":
            self.seen.tables.add(self._next().text)
        else:
            self._table(scope)
            self._after_table(scope)

    def _bracketed_reference(self, scope: Scope) -> bool:
        """What stands between brackets after FROM; whether it is a query, as opposed to a list of references."""
        if self._query_begins():
            self._query(scope)
            return True
        if self._peek().text != "(":
            self._table_references(scope)
            return False
        self._expect("(")
        is_query = self._bracketed_reference(scope)
        self._expect(")")
        if is_query and self._peek().word in (*words.SETS, "ORDER", "LIMIT"):
            self._rest_of_query(scope)
            return True
        if is_query and self._peek().text == ")":
            return True
        self._after_derived()
        self._joined(scope)
        return False

    def _query_begins(self) -> bool:
        return self._peek().word in words.QUERIES

    def _after_derived(self) -> None:
        if self._alias() and self._peek().text == "(":
            self._list_of_names()

    def _after_table(self, scope: Scope) -> None:
        if self._takes("PARTITION"):
            self._list_of_names()
        if self._peek().word == "FOR" and self._peek(1).word == "SYSTEM_TIME":
            self._at += 2
            if not self._takes("ALL"):
                self._takes("AS")
                self._takes("OF", "FROM", "BETWEEN")
                self._expression(scope, stop=words.JOINS | words.HINTS | {"AS", "ON", "USING"})
        self._alias()
        while self._peek().word in words.HINTS:
            self._index_hint()
            if self._peek(1).word in words.HINTS:
                self._takes_sign(",")

    def _index_hint(self) -> None:
        self._next()
        if not self._takes("INDEX", "KEY"):
            raise self._odd()
        if self._takes("FOR") and not self._takes("JOIN"):
            self._takes("ORDER", "GROUP")
            if not self._takes("BY"):
                raise self._odd()
        self._list_of_names()

    def _alias(self) -> bool:
        named = self._takes("AS")
        token = self._peek()
        plain = token.kind == "word" and token.word not in words.NOT_ALIAS
        if not (named or plain or token.kind in ("name", "string")):
            return False
        if token.kind not in ("word", "name", "string") or (token.kind == "word" and not plain):
            raise self._odd()
        self.seen.others.add(_name(self._next()))
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
        database, name = "", _name(token)
        if self._takes_sign("."):
            database, name = name, _name(self._part_after_dot())
        self.seen.tables.add(name)
        if not database and name.lower() in scope:
            return
        listed = self._policy.tables
        if listed is not None and (database, name) in listed:
            return
        if _folded(database) in words.CATALOGS:
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

    # -- expressions

    def _expression(
        self, scope: Scope, *, stop: AbstractSet[str] | None = None, inside: str | None = None, before: Token = _END
    ) -> None:
        """Up to a clause, a set operation, a closing bracket or the end.

        `stop` are further words to stop at, for a condition of a join, which a comma ends too. `inside` the brackets of
        a function, which it names, the words of clauses belong to the expression.
        """
        while True:
            token = self._peek()
            if token is _END or (token.kind == "sign" and token.text in ");}"):
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
                if before.text == "." and _name(token).lower() == "nextval":  # a call where sql_mode is ORACLE
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
        if token.text == "%" and (before is _END or (before.kind == "sign" and before.text not in (")", "?", "}"))):
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
            name = _name(token).lower()
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
        parts = [_name(self._read[self._at - 1])]
        at = self._at - 2
        while at > 0 and self._read[at].text == ".":
            parts.append(_name(self._read[at - 1]))
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
