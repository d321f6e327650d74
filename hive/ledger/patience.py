"""A limit on waiting for a database that says nothing while its network still answers: a frozen server, or a balancer
before one that died. Keepalives are acknowledged then, no time-out of the server runs, a client would wait for ever.

A thread of the process looks at the connections in use and shuts the socket of one that waits too long. Whoever
waits for its answer is told that the server left, and goes on as after any other loss.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from psycopg.pq import TransactionStatus

log = structlog.get_logger()

LOOK = 1.0
"""Seconds between two looks."""


@dataclass
class _Use:
    """A connection that somebody took from the pool. `since`: it was found waiting, and at each look from then on."""

    connection: psycopg.Connection[Any]
    limit: float
    since: float | None = None


class Patience:
    """Of one engine: a connection in use may wait for so many seconds without a pause."""

    def __init__(self, engine: sa.Engine, limit: float) -> None:
        self._limit = limit
        self._used: dict[Any, _Use] = {}
        self._looker = 0
        """The process in which the thread runs: a fork does not take it along."""
        sa.event.listen(engine, "checkout", self._taken)
        sa.event.listen(engine, "checkin", self._given_back)

    def extend(self, pooled: Any, limit: float) -> None:
        """Another limit for this use of a connection."""
        self._used[pooled._connection_record] = _Use(pooled.driver_connection, limit)  # noqa: SLF001

    def look(self, now: float) -> int:
        """Cut what waits for too long. Gives how many."""
        late = 0
        for use in list(self._used.values()):
            if not waits(use.connection):
                use.since = None
            elif use.since is None:
                use.since = now
            elif now - use.since >= use.limit:
                log.warning("database.silent", limit=use.limit, setting="HIVE_ANSWER_LIMIT")
                cut(use.connection)
                late += 1
        return late

    def _taken(self, connection: psycopg.Connection[Any], record: Any, _proxy: object) -> None:
        self._used[record] = _Use(connection, self._limit)
        if self._looker != os.getpid():
            self._looker = os.getpid()
            threading.Thread(target=self._run, name="patience", daemon=True).start()

    def _given_back(self, _connection: object, record: Any) -> None:
        self._used.pop(record, None)

    def _run(self) -> None:
        while True:
            time.sleep(LOOK)
            self.look(time.monotonic())


def waits(connection: psycopg.Connection[Any]) -> bool:
    """Whether a statement was sent whose answer has not come."""
    with contextlib.suppress(psycopg.Error):
        return connection.pgconn.transaction_status == TransactionStatus.ACTIVE
    return False


def cut(connection: psycopg.Connection[Any]) -> None:
    """End both directions of the socket; the descriptor stays the connection's own, for the thread that waits on it."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as same:
        same.shutdown(socket.SHUT_RDWR)
