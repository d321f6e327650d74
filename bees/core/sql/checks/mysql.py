"""The guard for MySQL and MariaDB: a reader of its own for the shape of queries, that takes nothing it does not know.

It follows clauses, table references and the scope of WITH; within expressions it follows brackets, lets in names and
the reserved words that expressions are made of, and looks up every name before a bracket. Tokens are printed again
as they were read, so what runs is what was read: a printer that rewrites MySQL into its own idea of it could not
promise that. sqlglot takes a second look at the text.
"""

from __future__ import annotations

from collections.abc import Iterable

from bees.core.sql.checks import mysql_words as words
from bees.core.sql.checks.mysql_expressions import Expressions
from bees.core.sql.checks.mysql_text import printed, tokens
from bees.core.sql.checks.mysql_tokens import END, Policy, Scope, folded, name_of, told
from bees.core.sql.checks.second_look import compare, is_plain
from bees.core.sql.errors import SecurityViolation

_NO_READ = "only SELECT, VALUES, TABLE, WITH, EXPLAIN, DESCRIBE and SHOW are let in"


def checked(sql: str, tables: Iterable[str] | None, functions: Iterable[str] | None) -> str:
    """The printed text of a harmless query; SecurityViolation for any other."""
    try:
        read = tokens(sql)
        while read and read[-1].text == ";":
            read.pop()
        if not read:
            raise SecurityViolation("the query is empty", code="no_statement")
        reader = _Reader(sql, read, Policy.of(tables, functions))
        explained = reader.statement()
        text = printed(read)
        if [t[:3] for t in tokens(text)] != [t[:3] for t in read]:
            raise SecurityViolation("the query cannot be printed so that it says the same", code="print_differs")
    except RecursionError:
        raise SecurityViolation("the query is nested too deeply", code="too_deep", advice="split it by WITH") from None
    if explained is not None and not is_plain(text):
        compare(printed(read[explained:]), "mysql", reader.seen)
    return text


class _Reader(Expressions):
    """Reads one statement from its first token to its last."""

    # -- statements

    def statement(self) -> int | None:
        """Read all; where the query begins that a second parser may read too, None if there is none."""
        word = self._peek().word
        start: int | None = 0
        if word in words.QUERIES or self._peek().text == "(":
            self._query(frozenset())
        elif word in ("EXPLAIN", "DESCRIBE", "DESC"):
            start = self._explain()
        elif word == "ANALYZE" and self._peek(1).word in ("FORMAT", "SELECT", "WITH"):  # MariaDB's EXPLAIN ANALYZE
            start = self._analyze()
        elif word == "SHOW":
            start = None
            self._show()
        else:
            raise SecurityViolation(
                f"{told(self._peek())} is no read",
                code="wrong_root",
                where=self._where(self._peek()),
                advice=_NO_READ,
            )
        if self._peek() is not END:
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

    def _analyze(self) -> int:
        self._next()
        if self._takes("FORMAT"):
            self._expect("=")
            self._next()
        start = self._at
        if self._peek().word not in ("SELECT", "WITH"):
            raise SecurityViolation(
                f"ANALYZE of {told(self._peek())} is no read",
                code="wrong_root",
                where=self._where(self._peek()),
                advice=_NO_READ,
            )
        self._query(frozenset())
        return start

    def _show(self) -> None:
        self._next()
        self._takes("GLOBAL", "SESSION", "LOCAL")
        self._takes("EXTENDED")
        self._takes("FULL")
        word = self._next()
        if word.word == "COUNT":
            for sign in ("(", "*", ")"):
                self._expect(sign)
            word = self._next()
            following: set[str] | None = set() if word.word in ("WARNINGS", "ERRORS") else None
        else:
            following = words.SHOWN.get(word.word)
        if following is None or (following and self._next().word not in following):
            raise SecurityViolation(f"SHOW {word.text} is not let in", code="wrong_root", where=self._where(word))
        if self._policy.tables is not None and word.word not in words.SHOWN_OF_NO_TABLE:
            raise SecurityViolation("SHOW reads names of other tables", code="table", where=self._where(word))
        if word.word == "GRANTS" and self._takes("FOR"):
            self._own_grants()
            return
        while self._peek() is not END and self._peek().word != "WHERE":
            token = self._next()
            if folded(name_of(token)) in words.CATALOGS:
                raise self._catalog(name_of(token), token)
            if token.word in words.RESERVED:
                raise self._odd(token)
            if token.kind not in ("word", "name", "string", "number") and token.text not in (".", ","):
                raise self._odd(token)
        if self._takes("WHERE"):
            self._expression(frozenset())

    def _own_grants(self) -> None:
        """SHOW GRANTS FOR CURRENT_USER: nobody else's."""
        if not self._takes("CURRENT_USER"):
            raise self._odd()
        if self._takes_sign("("):
            self._expect(")")

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
            name = name_of(self._identifier())
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
