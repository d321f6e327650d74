"""Sessions with a PostgreSQL server: read only, in UTC, with limits; psycopg for questions, ADBC for data.

Behind a pooler that hands its sessions round by transaction (`transaction_pooling`) nothing is set for a session: each
transaction begins by setting for itself what a session has elsewhere, and what it asks is never prepared by name.
"""

from __future__ import annotations

import hashlib
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
from bees.core.pool import SourceKey, shared
from bees.core.spans import query
from bees.core.sql.certificate import distrusted, of_postgresql
from bees.core.sql.postgres.links import Data, Questions, handle_of
from bees.core.sql.postgres.patience import MORE, WATCH, cut
from bees.core.sql.postgres.verdict import POOLER, judged, pooled, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_ONE_GO = """
SELECT pg_catalog.set_config(name, CASE name WHEN 'statement_timeout' THEN '0' ELSE '10s' END, true) AS s
  FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'client_connection_check_interval')
"""
"""A table that is read as of one moment is one statement, which takes as long as those do who take its rows. So the
limit is on each wait for rows alone, and the server looks for itself whether anybody still waits (PostgreSQL 14)."""
_PRINT_KEY = os.urandom(32)
"""Of this process: a digest of credentials tells nobody what they are."""


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
    ssl_cert: str | None = None
    ssl_key: str | None = None
    ssl_key_password: str = field(default="", repr=False)
    transaction_pooling: bool = False
    temp_file_limit: int | None = None
    """Bytes; only a role that may set it can ask for it."""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    def key(self) -> SourceKey:
        """Sessions of another password, certificate or setting are other sessions."""
        told = hashlib.blake2b(self.conninfo().encode(), key=_PRINT_KEY, digest_size=12).hexdigest()
        return SourceKey(self.address, told, self.user)

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
            "options": "" if self.transaction_pooling else self.options(),
            # A server that vanished without a word is noticed within a minute.
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        }
        if self.ssl_root_cert or self.ssl_mode == "verify-full":
            parameters["sslrootcert"] = self.ssl_root_cert or "system"
        if self.ssl_cert:
            parameters |= {"sslcert": self.ssl_cert, "sslkey": self.ssl_key, "sslpassword": self.ssl_key_password}
        else:
            parameters["sslcertmode"] = "disable"  # no file of the account that this happens to run under
        return make_conninfo(**parameters)

    def settings(self) -> dict[str, str]:
        """What holds in every session and transaction."""
        settings = {
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
        if self.temp_file_limit is not None:
            settings["temp_file_limit"] = f"{max(1, self.temp_file_limit // 1024)}kB"
        return settings

    def options(self) -> str:
        """The settings as libpq's `options` takes them."""
        settings = {"default_transaction_read_only": "on", "default_transaction_isolation": "read committed"}
        settings |= self.settings()
        return " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items())

    def opening(self) -> str:
        """What a transaction begins with where sessions are not its own."""
        settings = {"transaction_read_only": "on"} | self.settings()
        return "SELECT " + ", ".join(
            f"pg_catalog.set_config({_quoted(name)}, {_quoted(value)}, true) AS s{number}"
            for number, (name, value) in enumerate(settings.items())
        )

    @contextmanager
    def questions(self) -> Iterator[psycopg.Connection]:
        """A short session for the catalog, in which every statement can only be one statement."""
        pool, key, link = shared(), self.key(), Questions(self)
        connection = pool.get_connection(key, link.name, link)
        try:
            with judged(self.address):
                if self.transaction_pooling:
                    connection.execute(self.opening().encode())
                yield connection
        finally:
            pool.return_connection(connection, key, link.name)

    @contextmanager
    def moment(self) -> Iterator[str]:
        """A transaction that keeps what the server holds now; gives the name by which sessions see the same."""
        with self.questions() as connection:
            connection.rollback()
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                if self.transaction_pooling:
                    connection.execute(self.opening().encode())
                # It does nothing while others read by it.
                connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                row = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
                yield str(row[0] if row else "")

    @contextmanager
    def stream(self, batch_bytes: int, moment: str | None = None) -> Iterator[Stream]:
        """A session for data. Leaving it before the last row ends the statement and the session on the server.

        `moment`: what the server held when that was exported; unset: now.
        """
        stream = Stream(self, batch_bytes, moment)
        try:
            yield stream
        finally:
            stream.close()

    def resolve(self) -> None:
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

    def login_verdict(self, message: str, conninfo: str = "") -> SourceError:
        """Why no session came about. libpq has no SQLSTATE of a refused login, only text in some language.

        conninfo  how it was asked for, where that was another way than `conninfo()`
        """
        if "Connection refused" not in message and "timeout" not in message:
            sqlstate = refused_login(conninfo or self.conninfo(), self.connect_timeout)
            if sqlstate == POOLER:
                return pooled(message.rpartition("FATAL:")[2], self.address)
            if sqlstate:
                return verdict(sqlstate, self.address)
        if "no password supplied" in message:
            return GiveUp("the server asks for a password", code="denied", where="password", advice="set `password`")
        if "private key" in message:
            return GiveUp(
                "the client's key cannot be used",
                code="no_tls",
                where="ssl_key",
                advice="check that the file is there, that its owner alone may read it, and `ssl_key_password`",
            )
        if "SSL" in message or "certificate" in message:
            return self._distrusted() or GiveUp(
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

    def _distrusted(self) -> GiveUp | None:
        """What is wrong with the server's certificate, where one is asked for."""
        proved = self.ssl_mode in ("verify-ca", "verify-full")
        if not proved and not (self.ssl_mode == "require" and self.ssl_root_cert):
            return None  # libpq verifies in the mode `require` as soon as it has authorities
        named = self.ssl_mode == "verify-full"
        try:
            found = of_postgresql(self.host, self.port, self.ssl_root_cert, self.connect_timeout, named=named)
        except GiveUp as error:
            return error
        return distrusted(*found, ("host", "ssl_root_cert")) if found else None


class Stream:
    """One data session: statements one after the other, each as Arrow batches."""

    def __init__(self, server: Server, batch_bytes: int, moment: str | None = None) -> None:
        self._server = server
        self._moment = moment
        self._key, self._link = server.key(), Data(server)
        self._connection = shared().get_connection(self._key, self._link.name, self._link)
        self._batch_bytes = batch_bytes
        self._cursor: Any = None
        self._reader: Any = None
        self._whole = True
        """The last statement was read to its end."""
        self._silent = False
        """The server answered nothing for too long, and the connection was cut."""
        try:
            self._begin()
        except BaseException:
            self._whole = False
            self.close()
            raise

    def _begin(self) -> None:
        from adbc_driver_postgresql import dbapi

        try:
            self._connection.adbc_connection.set_autocommit(False)
        except dbapi.Error as error:
            raise self._verdict(error, "a transaction") from None
        if self._moment is not None:
            self._take(self._moment)
        if self._server.transaction_pooling:
            _, rows = self.read(self._server.opening(), "a transaction")
            list(rows)
        if self._moment is not None and handle_of(self._connection) is not None:
            _, rows = self.read(_IN_ONE_GO, "a transaction")
            list(rows)

    def _take(self, moment: str) -> None:
        """See what the server held at another session's moment. Raises RetryLater where that session is gone."""
        from adbc_driver_postgresql import dbapi

        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute(f"SET TRANSACTION SNAPSHOT {_quoted(moment)}")
        except dbapi.Error as error:
            if _sqlstate(error) in ("22023", "42704"):
                raise RetryLater(
                    "the moment as of which the streams are read is gone: its session ended",
                    code="moment_gone",
                    where=self._server.address,
                ) from None
            raise self._verdict(error, "a transaction") from None

    def read(self, statement: str, where: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The statement's columns, and its rows as they arrive by COPY, in batches of about `batch_bytes`."""
        from adbc_driver_manager._reader import AdbcRecordBatchReader
        from adbc_driver_postgresql import StatementOptions, dbapi

        self._finish()
        self._whole = False
        hint = {StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(self._batch_bytes)}
        try:
            self._cursor = self._connection.cursor(adbc_stmt_kwargs=hint)
            with query(statement, "postgresql"), self._patience():
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
                with self._patience():
                    batch = reader.read_next_batch()
            except StopIteration:
                self._whole = True
                return
            except (dbapi.Error, pa.ArrowException, OSError) as error:
                raise self._verdict(error, where) from None
            yield batch

    @contextmanager
    def _patience(self) -> Iterator[None]:
        handle = handle_of(self._connection)
        if handle is None:
            yield
            return

        def give_up() -> None:
            self._silent = True
            cut(handle)

        with WATCH.within(self._server.statement_timeout + MORE, give_up):
            yield

    def _verdict(self, error: BaseException, where: str) -> SourceError:
        state = "57014" if self._silent else _sqlstate(error)
        return verdict(state, f"{where} of {self._server.address}")

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
            if self._cursor is not None and not self._whole and not self._silent:
                self._cursor.adbc_cancel()
            self._finish()
        except (dbapi.Error, pa.ArrowException, OSError):
            self._whole = False  # The server is gone, and its session with it.
        finally:
            shared().return_connection(connection, self._key, self._link.name, sound=self._whole)


def _sqlstate(error: BaseException) -> str | None:
    found = getattr(error, "sqlstate", None)
    return found if isinstance(found, str) and re.fullmatch(r"[0-9A-Z]{5}", found) else None


def _unknown_host(host: str) -> GiveUp:
    return GiveUp(f"the host {host!r} has no address", code="unknown_host", where="host", advice="check `host`")


def _quoted(value: str) -> str:
    # A setting's value may hold a quote (a schema's name); backslashes mean nothing in a standard string.
    return "'" + value.replace("'", "''") + "'"


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
    # A server says V before C, a pooler does not; both say the text, which may hold anything, behind them.
    found = re.search(rb'ErrorResponse\t[^"\n]*"[^"\n]*" (?:V "[A-Z]+" )?C "([0-9A-Z]{5})"', told)
    return found.group(1).decode() if found else None


def _log_in(connection: pq.abc.PGconn, until: float) -> None:
    polled = pq.PollingStatus
    while (state := connection.connect_poll()) not in (polled.OK, polled.FAILED):
        wait = [connection.socket]
        sides = (wait, []) if state == polled.READING else ([], wait)
        if not any(select.select(*sides, [], max(0.0, until - time.monotonic()))):
            return
