"""The two kinds of connections that the PostgreSQL bee keeps in the pool."""

from __future__ import annotations

import select
import threading
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from bees.core.sql.postgres.patience import MORE, Session, cut, with_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bees.core.sql.postgres.session import Server


class _Alone(psycopg.Cursor[Any]):
    """Sends each statement by the extended protocol, which takes one at a time, and gives none a name.

    Names would be lost when the session is cleaned, and mean nothing in the next session that a pooler gives.
    """

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Any:
        return super().execute(query, params, prepare=prepare, binary=binary is not False)


class Questions:
    """Sessions of psycopg: read only, and every statement is sent by itself, so it can only be one."""

    name: ClassVar[str] = "postgresql"

    def __init__(self, server: Server) -> None:
        self._server = server

    def open(self) -> psycopg.Connection[Any]:
        self._server.resolve()
        try:
            connection = Session.connect(self._server.conninfo(), prepare_threshold=None)
        except psycopg.Error as error:
            raise self._server.login_verdict(str(error)) from None
        connection.patience = self._server.statement_timeout + MORE
        connection.read_only = True
        connection.cursor_factory = _Alone
        return connection

    def clean(self, connection: psycopg.Connection[Any]) -> bool:
        if connection.closed or connection.broken:
            return False
        connection.rollback()
        if not self._server.transaction_pooling:
            connection.autocommit = True
            connection.execute("DISCARD ALL")
            connection.autocommit = False
        return True

    def alive(self, connection: psycopg.Connection[Any], timeout: float) -> bool:
        if select.select([connection.fileno()], [], [], 0)[0]:
            return False  # nothing was asked: what waits there is the session's end
        if timeout:
            with _within(timeout, lambda: cut(connection.fileno())):
                connection.execute("SELECT 1")
                connection.rollback()
        return True

    def close(self, connection: psycopg.Connection[Any]) -> None:
        connection.close()


class Data:
    """Sessions of ADBC. They lie in the pool without a transaction."""

    name: ClassVar[str] = "postgresql-data"

    def __init__(self, server: Server) -> None:
        self._server = server

    def open(self) -> Any:
        from adbc_driver_postgresql import dbapi

        self._server.resolve()
        conninfo = self._server.conninfo()
        try:
            connection, handle = with_socket(lambda: dbapi.connect(conninfo, autocommit=True), self._server.port)
        except dbapi.Error as error:
            raise self._server.login_verdict(str(error)) from None
        if handle is not None:
            _handles[connection] = handle
        return connection

    def clean(self, connection: Any) -> bool:
        connection.adbc_connection.set_autocommit(True)
        if not self._server.transaction_pooling:
            with connection.cursor() as cursor:
                cursor.execute("DISCARD ALL")
        return True

    def alive(self, connection: Any, timeout: float) -> bool:
        if timeout:
            handle = handle_of(connection)
            with connection.cursor() as cursor:
                otherwise = partial(cut, handle) if handle else cursor.adbc_cancel
                with _within(timeout, otherwise):
                    cursor.execute("SELECT 1")
                    cursor.fetchone()
        return True

    def close(self, connection: Any) -> None:
        connection.close()


_handles: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
"""The sockets of ADBC's connections, as far as they are known."""


def handle_of(connection: Any) -> int | None:
    return _handles.get(connection)


@contextmanager
def _within(seconds: float, otherwise: Callable[[], None]) -> Iterator[None]:
    alarm = threading.Timer(seconds, otherwise)
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()
