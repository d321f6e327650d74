"""The guard and the row filters of PostgreSQL, with a scratch server that says what is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.guard import check_query
from hive.embedded import EmbeddedPostgres
from tests.bees.row_filter_queries import FILTERS, SCHEMA, Queries
from tests.bees.sql_queries import schema, statements
from tests.bees.test_row_filter_server import Source
from tests.bees.test_sql_guard_server import state
from tests.fuzz.findings import Findings
from tests.fuzz.mutants import Mutants

_EVERY = 100
"""Statements that were let in between two looks at what the database holds."""
_LIMIT = "SET statement_timeout = '3s'; SET lock_timeout = '1s'; SET client_min_messages = error"
_LEFT = """
SELECT pg_current_xact_id_if_assigned() IS NOT NULL,
       EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND (locktype = 'advisory' OR mode = 'RowShareLock'))
"""
_REFUSED = {"ambiguous_column", "parsers_disagree"}
"""Refusals of a row filter that are no fault: it cannot be sure, and says so."""


class Guarded:
    """A scratch database, an owner who may do everything, and a reader."""

    def __init__(self, url: str) -> None:
        self.owner = psycopg.connect(url, autocommit=True)
        self.owner.execute(schema().encode())
        self.owner.execute("CREATE SEQUENCE counter; CREATE ROLE fuzz_reader")
        self.owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO fuzz_reader")
        self._url = url
        self.reader = self._reader()
        self.watcher = psycopg.connect(url, autocommit=True)
        self.owner.execute(_LIMIT)
        self.before = state(self.watcher)
        self.let_in: list[str] = []

    def _reader(self) -> psycopg.Connection[Any]:
        reader = psycopg.connect(self._url, autocommit=True)
        reader.execute(_LIMIT)
        reader.execute("SET ROLE fuzz_reader")
        return reader

    def close(self) -> None:
        for connection in (self.reader, self.watcher, self.owner):
            connection.close()

    def answer(self, text: str) -> Any:
        """What a reader gets in a transaction that may only read, and whether the server ran it."""
        try:
            self.reader.execute("BEGIN READ ONLY")
            found = self.reader.execute(text.encode())
            rows = sorted(map(repr, found.fetchall())) if found.description else []
            return [d.name for d in found.description or ()], rows
        except psycopg.Error as error:
            return error.sqlstate or "no answer"
        finally:
            try:
                self.reader.execute("ROLLBACK; SET ROLE fuzz_reader; RESET search_path")
            except psycopg.Error:  # COPY and the like: the session is of no more use
                self.reader.close()
                self.reader = self._reader()

    def effects(self, text: str) -> str | None:
        """What a statement does for one who may do everything."""
        self.owner.execute("BEGIN")
        try:
            found = self.owner.execute(text.encode())
            if found.description:
                found.fetchall()
            written, locked = self.owner.execute(_LEFT).fetchone() or (False, False)
        except psycopg.Error:
            return None
        else:
            return "writes" if written else "locks" if locked else None
        finally:
            if not self.owner.closed:
                self.owner.execute("ROLLBACK")

    def changed(self) -> str | None:
        """The statement since the last look after which the database is another one."""
        if state(self.watcher) == self.before:
            self.let_in = []
            return None
        suspects, self.let_in = self.let_in, []
        self.before = state(self.watcher)
        for text in suspects:
            self.effects(text)
            if state(self.watcher) != self.before:
                self.before = state(self.watcher)
                return text
        return " ;; ".join(suspects)


def fuzz_guard(server: EmbeddedPostgres, seed: int, until: Callable[[int], bool], found: Findings) -> int:
    reads, writes = statements("postgres_reads"), statements("postgres_writes")
    scratch = Guarded(server.create_database("fuzz_guard"))
    number = 0
    while until(number):
        made = Mutants(reads, writes, seed + number)
        text = made.one()
        number += 1
        try:
            printed = check_query(text)
        except SecurityViolation as refusal:
            if not isinstance(scratch.answer(text), str):
                found.counts[f"refused, and a reader may run it: {refusal.code}"] += 1
            else:
                found.counts["refused"] += 1
            continue
        found.counts["let in"] += 1
        if (effect := scratch.effects(printed)) is not None:
            found.add(f"let in, and {effect}", text)
        scratch.let_in.append(printed)
        _compare(scratch, text, printed, found)
        if len(scratch.let_in) >= _EVERY and (culprit := scratch.changed()) is not None:
            found.add("let in, and leaves a trace", culprit)
    if (culprit := scratch.changed()) is not None:
        found.add("let in, and leaves a trace", culprit)
    scratch.close()
    return number


def _compare(scratch: Guarded, text: str, printed: str, found: Findings) -> None:
    plain = scratch.answer(text)
    other = scratch.answer(printed)
    if plain == other or (isinstance(plain, str) and isinstance(other, str)) or _by_chance(text):
        return
    if scratch.answer(text) != plain or scratch.answer(printed) != other:
        found.counts["answers another thing each time"] += 1
        return
    found.add("printed, it answers otherwise", text)


def _by_chance(text: str) -> bool:
    return any(word in text.lower() for word in ("tablesample", "random", "uuid", "clock", "explain"))


def fuzz_filters(server: EmbeddedPostgres, seed: int, until: Callable[[int], bool], found: Findings) -> int:
    source = Source(server.create_database("fuzz_filters"), "fuzz", SCHEMA, FILTERS)
    number = 0
    while until(number):
        query = Queries(seed + number).query()
        number += 1
        expected = source.native(query)
        if isinstance(expected, psycopg.Error):
            found.counts["no valid query"] += 1
            continue
        try:
            check_query(query)
        except SecurityViolation as refusal:
            if refusal.code not in _REFUSED:
                found.add(f"a read of the grammar is refused as {refusal.code}", query)
        answered = source.rewritten(query)
        if isinstance(answered, SecurityViolation):
            found.counts[f"refused: {answered.code}"] += 1
            if answered.code not in _REFUSED:
                found.add("a read of the grammar is refused by its row filter", query)
        elif isinstance(answered, psycopg.Error):
            # A column that depends on a key that is grouped by, where that cannot be seen for certain.
            found.counts[f"refused by the server: {type(answered).__name__}"] += 1
        elif answered != expected:
            more = bool(answered - expected)
            found.add("A ROW TOO MANY" if more else "another answer than native row-level security", query)
        else:
            found.counts["the same rows"] += 1
    source.close()
    return number
