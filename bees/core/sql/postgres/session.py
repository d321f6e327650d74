"""Sessions with a PostgreSQL server: read only, in UTC, with limits; psycopg for questions, ADBC for data."""

from __future__ import annotations

import os
import re
import select
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
from psycopg import pq
from psycopg.conninfo import make_conninfo

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.sql.postgres.verdict import judged, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Server:
    """Where and how to log in. The password shows in no repr, and travels only inside libpq's own memory."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    ssl_mode: str
    ssl_root_cert: str | None
    connect_timeout: int
    statement_timeout: float
    search_path: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    def conninfo(self) -> str:
        """One string that both drivers take. All is said here, so that no PG* variable is asked."""
        parameters: dict[str, Any] = {
            "host": self.host,
            "hostaddr": "",
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": self.ssl_mode,
            "connect_timeout": self.connect_timeout,
            "client_encoding": "UTF8",
            "application_name": "worker-bees",
            "options": self._settings(),
            # A server that vanished without a word is noticed within a minute.
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        }
        if self.ssl_root_cert or self.ssl_mode == "verify-full":
            parameters["sslrootcert"] = self.ssl_root_cert or "system"
        return make_conninfo(**parameters)

    def _settings(self) -> str:
        settings = {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{round(self.statement_timeout * 1000)}ms",
            "lock_timeout": "30s",
            "idle_in_transaction_session_timeout": "5min",
            "search_path": self.search_path,
            "TimeZone": "UTC",
            "DateStyle": "ISO,YMD",
            "IntervalStyle": "iso_8601",
            "extra_float_digits": "1",
            "bytea_output": "hex",
            "xmloption": "content",
            "standard_conforming_strings": "on",
        }
        return " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items())

    @contextmanager
    def questions(self) -> Iterator[psycopg.Connection]:
        """A short session for the catalog. Every statement in it is prepared, so it can only be one statement."""
        self._resolve()
        try:
            connection = psycopg.connect(self.conninfo(), prepare_threshold=0)
        except psycopg.Error as error:
            raise self._login_verdict(str(error)) from None
        try:
            with judged(self.address):
                connection.read_only = True
                yield connection
        finally:
            connection.close()

    @contextmanager
    def stream(self, batch_bytes: int) -> Iterator[Stream]:
        """A session for data. Leaving it, however early, ends the statement and the session on the server."""
        from adbc_driver_postgresql import dbapi

        self._resolve()
        try:
            connection = dbapi.connect(self.conninfo())
        except dbapi.Error as error:
            raise self._login_verdict(str(error)) from None
        stream = Stream(self, connection, batch_bytes)
        try:
            yield stream
        finally:
            stream.close()

    def _resolve(self) -> None:
        for host in self.host.split(","):
            if host.startswith("/"):
                continue
            try:
                socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
            except socket.gaierror as error:
                if error.errno == socket.EAI_AGAIN:
                    raise RetryLater("names are not resolved for now", code="no_address", where="host") from None
                raise _unknown_host(host) from None
            except UnicodeError:
                raise _unknown_host(host) from None

    def _login_verdict(self, message: str) -> SourceError:
        """Why no session came about. libpq has no SQLSTATE of a refused login, only text in some language."""
        if "Connection refused" not in message and "timeout" not in message:
            sqlstate = refused_login(self.conninfo(), self.connect_timeout)
            if sqlstate:
                return verdict(sqlstate, self.address)
        if "no password supplied" in message:
            return GiveUp("the server asks for a password", code="denied", where="password", advice="set `password`")
        if "SSL" in message or "certificate" in message:
            return GiveUp(
                f"no encrypted connection in the mode {self.ssl_mode!r} came about",
                code="no_tls",
                where="ssl_mode",
                advice="check `ssl_mode` and `ssl_root_cert` against what the server offers",
            )
        return RetryLater(
            "the server does not answer",
            code="unreachable",
            where=self.address,
            advice="check `host` and `port`, and that the server runs",
        )


class Stream:
    """One data session: statements one after the other, each as Arrow batches."""

    def __init__(self, server: Server, connection: Any, batch_bytes: int) -> None:
        self._server = server
        self._connection = connection
        self._batch_bytes = batch_bytes
        self._cursor: Any = None
        self._reader: Any = None

    def read(self, statement: str, where: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The statement's columns, and its rows as they arrive by COPY, in batches of about `batch_bytes`."""
        from adbc_driver_manager._reader import AdbcRecordBatchReader
        from adbc_driver_postgresql import StatementOptions, dbapi

        self._finish()
        hint = {StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(self._batch_bytes)}
        try:
            self._cursor = self._connection.cursor(adbc_stmt_kwargs=hint)
            self._cursor.execute(statement)
            handle = self._cursor.fetch_arrow()
            # The driver's own reader: pyarrow's would turn an error in the middle into text without its SQLSTATE.
            self._reader = AdbcRecordBatchReader._import_from_c(handle.address)  # noqa: SLF001
            schema = self._reader.schema
        except (dbapi.Error, pa.ArrowException, OSError) as error:
            raise self._verdict(error, where) from None
        return schema, self._batches(self._reader, where)

    def _batches(self, reader: Any, where: str) -> Iterator[pa.RecordBatch]:
        from adbc_driver_postgresql import dbapi

        while True:
            if self._connection is None:  # a closed reader must not be asked: it would look into freed memory
                raise RetryLater("the session was closed while it was read", code="closed", where=where)
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (dbapi.Error, pa.ArrowException, OSError) as error:
                raise self._verdict(error, where) from None
            yield batch

    def _verdict(self, error: BaseException, where: str) -> SourceError:
        return verdict(_sqlstate(error), f"{where} of {self._server.address}")

    def _finish(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._cursor is not None:
            self._cursor.close()
        self._reader = self._cursor = None

    def close(self) -> None:
        """End whatever still runs. May be called twice, and after the server went away."""
        from adbc_driver_postgresql import dbapi

        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if self._cursor is not None:
                self._cursor.adbc_cancel()
            self._finish()
        except (dbapi.Error, pa.ArrowException, OSError):
            pass  # The server is gone, and its session with it.
        finally:
            connection.close()


def _sqlstate(error: BaseException) -> str | None:
    found = getattr(error, "sqlstate", None)
    return found if isinstance(found, str) and re.fullmatch(r"[0-9A-Z]{5}", found) else None


def _unknown_host(host: str) -> GiveUp:
    return GiveUp(f"the host {host!r} has no address", code="unknown_host", where="host", advice="check `host`")


def _escaped(value: str) -> str:
    # libpq splits `options` at white space; a backslash keeps the next character.
    return re.sub(r"([\\\s])", r"\\\1", value)


def refused_login(conninfo: str, patience: float) -> str | None:
    """The SQLSTATE with which the server refuses this login, or None: it does not refuse, or does not answer.

    Read from libpq's trace of the protocol, the only place that has it; the trace lives in memory and is dropped here.
    """
    trace = os.memfd_create("login")
    try:
        connection = pq.PGconn.connect_start(conninfo.encode())
        try:
            if connection.status == pq.ConnStatus.BAD:
                return None
            connection.trace(trace)
            _log_in(connection, time.monotonic() + patience)
            connection.untrace()
        finally:
            connection.finish()
        told = os.pread(trace, 1 << 20, 0)
    finally:
        os.close(trace)
    found = re.search(rb'ErrorResponse\t[^"]*"[^"]*" V "[A-Z]+" C "([0-9A-Z]{5})"', told)
    return found.group(1).decode() if found else None


def _log_in(connection: pq.abc.PGconn, until: float) -> None:
    polled = pq.PollingStatus
    while (state := connection.connect_poll()) not in (polled.OK, polled.FAILED):
        wait = [connection.socket]
        sides = (wait, []) if state == polled.READING else ([], wait)
        if not any(select.select(*sides, [], max(0.0, until - time.monotonic()))):
            return
