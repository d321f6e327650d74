"""Which verdict a PostgreSQL error carries, by its SQLSTATE; the server's own words are never repeated."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from bees.core.errors import GiveUp, RetryLater, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LATER = {
    "08": ("unreachable", "the connection to the server was lost"),
    "53": ("overloaded", "the server has no room left (connections, memory or disk)"),
    "53300": (
        "overloaded",
        "the server has no connection left: max_connections, a limit of the role, or max_wal_senders for `cdc`",
    ),
    "53400": ("limit", "a limit of the server is reached, such as temp_file_limit or max_replication_slots"),
    "57P": ("restarting", "the server is starting or shutting down, or ended this session"),
    "57014": ("statement_timeout", "the statement was cancelled, or took longer than `statement_timeout`"),
    "57": ("interrupted", "the server was interrupted"),
    "40": ("conflict", "the statement was in conflict with the server's other work"),
    "55P03": ("lock_timeout", "a lock was not given in time"),
    "25P": ("session_timeout", "the server ended a session that waited or ran too long"),
    "58": ("server_trouble", "the server has trouble with its own storage"),
    "XX": ("server_trouble", "the server has internal trouble"),
}
_ONE_SELECT = "check that `query` is one SELECT that writes nothing"
_ENCODING = "mend the text at the source, or leave the column out with `columns`"
_POOLER = (
    "session",
    "a pooler hands the session to others between two transactions",
    "set `transaction_pooling: true`, or reach the server without it",
)
_NEVER = {
    "28": ("denied", "the server refuses this login", "check `user`, `password` and the server's pg_hba.conf"),
    "3D": ("no_database", "the server knows no such database", "check `database`"),
    "3F": ("no_schema", "the server knows no such schema", "check `schema`"),
    "42501": (
        "no_permission",
        "the role lacks a permission",
        "GRANT `user` CONNECT on the database, USAGE on the schema, SELECT on the table, or set `columns`",
    ),
    "42P01": ("no_table", "a table does not exist", "check `query`, and `schema` for names without one"),
    "42702": ("ambiguous", "a column name is not unique", "name each column of `query` with AS"),
    "42703": ("no_column", "a column does not exist", "check `query`, `key`, `cursor` and `columns`"),
    "42883": ("not_sortable", "a type has no order, or a function does not exist", "choose another `key` or `cursor`"),
    "42": ("wrong_query", "the server refuses the statement", _ONE_SELECT),
    "0A": ("wrong_query", "the server does not support the statement", _ONE_SELECT),
    "26": _POOLER,
    "42P05": _POOLER,
    "55000": (
        "not_ready",
        "what is read is not ready, such as a materialized view without rows",
        "REFRESH MATERIALIZED VIEW at the source, or look into the server's log",
    ),
    "25006": ("writes", "the statement writes, and a bee only reads", _ONE_SELECT),
    "22021": ("encoding", "a text is no valid UTF-8", _ENCODING),
    "22P05": ("encoding", "a text has no form in UTF-8", _ENCODING),
    "22": ("wrong_data", "the server cannot compute the statement on this data", "check the expressions of `query`"),
}
POOLER = "08P01"
"""With which pgbouncer says whatever is wrong: that a login is, or that the server behind it is not there for now."""
_REFUSES = re.compile(
    r"password|authentication|SASL|SCRAM|no such|startup param|not allowed|SSL|disabled", re.IGNORECASE
)


def verdict(sqlstate: str | None, where: str) -> SourceError:
    """The error to raise for an SQLSTATE; None means that the connection broke before the server could say why."""
    if sqlstate is None:
        return RetryLater("the connection to the server was lost", code="unreachable", where=where)
    for length in (5, 3, 2):
        if found := _NEVER.get(sqlstate[:length]):
            code, message, advice = found
            return GiveUp(f"{message} (SQLSTATE {sqlstate})", code=code, where=where, advice=advice)
        if later := _LATER.get(sqlstate[:length]):
            return RetryLater(f"{later[1]} (SQLSTATE {sqlstate})", code=later[0], where=where)
    message = f"the server refuses the work (SQLSTATE {sqlstate})"
    return GiveUp(message, code="refused", where=where, advice="look into the server's log")


def pooled(text: str, where: str) -> SourceError:
    """The error to raise for a login that a pooler did not let in. `text`: its reason, which is not repeated."""
    if _REFUSES.search(text):
        return GiveUp(
            f"a pooler refuses the login or a parameter of the session (SQLSTATE {POOLER})",
            code="session",
            where=where,
            advice="check `user` and `password`; behind pgbouncer in transaction mode set `transaction_pooling: true`",
        )
    return RetryLater(
        f"a pooler has no session of the server for now (SQLSTATE {POOLER})",
        code="unreachable",
        where=where,
        advice="check that the server behind the pooler runs, and has room for the pooler's sessions",
    )


@contextmanager
def judged(where: str) -> Iterator[None]:
    """Turn psycopg's errors into verdicts that name `where`."""
    try:
        yield
    except psycopg.Error as error:
        raise verdict(error.sqlstate, where) from None
