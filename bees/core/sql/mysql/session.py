"""Sessions with a MySQL or MariaDB server: read only, in UTC, with a fixed sql_mode, with limits.

The address is looked up once, checked, and dialled as it was checked. Passwords go only into exchanges that do not
show them, unless the server has proved who it is (`verify-full`, `verify-ca`).
"""

from __future__ import annotations

import hashlib
import math
import os
import select
import socket
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bees.core.address import AddressPolicy
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.pool import SourceKey, shared
from bees.core.spans import query
from bees.core.sql.certificate import distrusted
from bees.core.sql.mysql import wire
from bees.core.sql.mysql.verdict import judged, number_of, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymysql.connections import Connection

_PRINT_KEY = os.urandom(32)
_PATIENCE = 15.0
"""Seconds that we wait longer than the server has been told to."""
_CANCEL_SECONDS = 5
_SHOWS_PASSWORD = ("mysql_clear_password", "dialog", "mysql_old_password")
_AUTH_UNKNOWN = 2059
_TLS_FAILED = 2026


class _Refused:
    """A way to log in that would show the password to whoever answers."""

    def __init__(self, _connection: Any) -> None:
        pass

    def authenticate(self, _packet: Any) -> Any:
        from pymysql.err import OperationalError

        raise OperationalError(_AUTH_UNKNOWN)


@dataclass(frozen=True)
class Server:
    """Where and how to log in. The password shows in no repr."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    ssl_mode: str
    ssl_root_cert: str | None
    ssl_cert: str | None
    ssl_key: str | None
    ssl_key_password: str = field(repr=False)
    connect_timeout: int
    statement_timeout: float

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    def key(self) -> SourceKey:
        """Sessions of another password, certificate or setting are other sessions."""
        told = repr([getattr(self, name) for name in self.__dataclass_fields__]).encode()
        return SourceKey(self.address, hashlib.blake2b(told, key=_PRINT_KEY, digest_size=12).hexdigest(), self.user)

    @contextmanager
    def questions(self) -> Iterator[Questions]:
        """A short session for the catalog, in a transaction that only reads."""
        pool, key, link = shared(), self.key(), Link(self)
        connection = pool.get_connection(key, link.name, link)
        sound = False
        try:
            with judged(self.address):
                connection.query("START TRANSACTION READ ONLY")
                yield Questions(connection)
            sound = True
        except SourceError:
            sound = connection.open  # an answer of the server leaves its session as it was
            raise
        finally:
            pool.return_connection(connection, key, link.name, sound=sound)

    @contextmanager
    def stream(
        self, batch_bytes: int, batch_rows: int, *, moment: bool = False, within: Stream | None = None
    ) -> Iterator[Stream]:
        """A session for data. Leaving it before the last row ends the statement and the session on the server.

        `moment`: all that is read in it is as it was when it began. `within`: read in such a session, and leave it
        open.
        """
        if within is not None:
            yield within
            within.end_reading()
            return
        stream = Stream(self, batch_bytes, batch_rows, moment=moment)
        try:
            yield stream
        finally:
            stream.close()

    def open(self) -> Connection[Any]:
        """A new session. Raises a SourceError that says why there is none."""
        import pymysql

        connection: Connection[Any] = pymysql.connect(**self.login(), defer_connect=True)
        address = self._dial()
        try:
            connection.connect(address)
            self._settle(connection)
        except (pymysql.Error, OSError, ssl.SSLError) as error:
            raise self._login_verdict(error) from None
        return connection

    def login(self) -> dict[str, Any]:
        """What pymysql takes, besides the socket."""
        proved = self.ssl_mode in ("verify-ca", "verify-full")
        context = self._tls()
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password.encode(),
            "database": self.database,
            "charset": "utf8mb4",
            "autocommit": True,
            "local_infile": False,
            "connect_timeout": self.connect_timeout,
            "read_timeout": self.connect_timeout,
            "write_timeout": self.connect_timeout,
            "program_name": "worker-bees",
            "auth_plugin_map": {} if proved else dict.fromkeys(_SHOWS_PASSWORD, _Refused),
            "ssl_disabled": self.ssl_mode == "disable",
        } | ({"ssl": context} if context else {})

    def _tls(self) -> ssl.SSLContext | None:
        """What an encrypted session must be; None: none, or whichever the server offers."""
        if self.ssl_mode in ("disable", "allow", "prefer") and not self.ssl_cert:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_root_cert)
            if self.ssl_mode != "verify-full":
                context.check_hostname = False
            if self.ssl_mode not in ("verify-ca", "verify-full"):
                context.verify_mode = ssl.CERT_NONE
            if self.ssl_cert:
                context.load_cert_chain(self.ssl_cert, self.ssl_key, self.ssl_key_password)
        except OSError:  # SSLError is one
            raise self._no_tls() from None
        return context

    def _dial(self) -> socket.socket:
        if self.host.startswith("/"):
            return self._dial_file()
        policy = AddressPolicy(named=frozenset({("mysql", self.host, self.port)}), allow_private=True, resolve=_resolve)
        for address in policy.addresses(self.host, self.port):
            with suppress(OSError):
                found = socket.create_connection((address, self.port), self.connect_timeout)
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                # A server that vanished without a word is noticed within a minute.
                for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
                    if hasattr(socket, name):
                        found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
                return found
        raise self._silent()

    def _dial_file(self) -> socket.socket:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.settimeout(self.connect_timeout)
            found.connect(self.host)
        except OSError:
            found.close()
            raise self._silent() from None
        return found

    def _settle(self, connection: Connection[Any]) -> None:
        """What holds in the whole session."""
        seconds = self.statement_timeout
        connection.query(
            "SET SESSION sql_mode = '', time_zone = '+00:00', lock_wait_timeout = 30, innodb_lock_wait_timeout = 30,"
            " net_write_timeout = 600, net_read_timeout = 600, wait_timeout = 3600, max_sort_length = 8192,"
            f" sql_select_limit = DEFAULT, {limit(connection, seconds)}"
        )
        connection.query("SET SESSION TRANSACTION READ ONLY")
        # From here on the server ends what takes too long; this is for one that says nothing any more.
        connection._read_timeout = seconds + _PATIENCE  # noqa: SLF001

    def cancel(self, thread: int) -> None:
        """End what a session is doing, from another one."""
        import pymysql

        with suppress(SourceError, pymysql.Error, OSError):
            other: Connection[Any] = pymysql.connect(**self.login(), defer_connect=True)
            address = self._dial()
            other._read_timeout = _CANCEL_SECONDS  # noqa: SLF001
            try:
                other.connect(address)
                other.query(f"KILL {int(thread)}")
            finally:
                other.close()

    def _login_verdict(self, error: BaseException) -> SourceError:
        cause = getattr(error, "original_exception", error)
        number = number_of(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return distrusted(cause.verify_code, f"{self.host}:{self.port}", ("host", "ssl_root_cert"))
        if isinstance(cause, ssl.SSLError) or number == _TLS_FAILED:
            return self._no_tls()
        return self._silent() if number in (None, 2003, 2013) else verdict(number, self.address)

    def _no_tls(self) -> GiveUp:
        return GiveUp(
            f"no encrypted connection in the mode {self.ssl_mode!r} came about",
            code="no_tls",
            where="ssl_mode",
            advice="check `ssl_mode`, `ssl_root_cert`, `ssl_cert` and `ssl_key` against what the server offers",
        )

    def _silent(self) -> RetryLater:
        return RetryLater(
            "the server does not answer",
            code="unreachable",
            where=self.address,
            advice="check `host` and `port`, and that the server runs",
        )


class Questions:
    """Asks the catalog, one statement at a time."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection

    @property
    def mariadb(self) -> bool:
        return "mariadb" in str(self.connection.get_server_info()).lower()

    def rows(self, statement: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def described(self, statement: str) -> list[wire.Described]:
        """The columns of a statement that gives no rows."""
        found = wire.ask(self.connection, statement)
        for _ in wire.pieces(self.connection, len(found), 1 << 16, 1000):
            pass
        return found


class Link:
    """How the pool makes and looks after sessions."""

    name: ClassVar[str] = "mysql"

    def __init__(self, server: Server) -> None:
        self._server = server

    def open(self) -> Connection[Any]:
        return self._server.open()

    def clean(self, connection: Connection[Any]) -> bool:
        if not connection.open:
            return False
        connection.rollback()
        return True

    def alive(self, connection: Connection[Any], timeout: float) -> bool:
        handle = connection._sock  # noqa: SLF001
        if select.select([handle], [], [], 0)[0]:
            return False  # nothing was asked: what waits there is the session's end
        if timeout:
            usual = connection._read_timeout  # noqa: SLF001
            connection._read_timeout = timeout  # noqa: SLF001
            connection.ping(reconnect=False)
            connection._read_timeout = usual  # noqa: SLF001
        return True

    def close(self, connection: Connection[Any]) -> None:
        connection.close()


class Stream:
    """One data session: statements one after the other, each as pieces of rows."""

    def __init__(self, server: Server, batch_bytes: int, batch_rows: int, *, moment: bool = False) -> None:
        self._server = server
        self._keeps = moment
        self._most = (batch_bytes, batch_rows)
        self._key, self._link = server.key(), Link(server)
        self._connection = shared().get_connection(self._key, self._link.name, self._link)
        self._reading = False
        try:
            with judged(server.address):
                if moment:
                    # A table is one statement then, which takes as long as those do who take its rows: the limit is
                    # on each wait for rows alone.
                    self._connection.query(f"SET SESSION {limit(self._connection, 0)}")
                    self._connection.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                kept = "WITH CONSISTENT SNAPSHOT, " if moment else ""
                self._connection.query(f"START TRANSACTION {kept}READ ONLY")
        except BaseException:
            self.close()
            raise

    def read(self, statement: str, where: str) -> tuple[list[wire.Described], Iterator[wire.Piece]]:
        """The statement's columns, and its rows as they arrive."""
        self._reading = True
        with judged(f"{where} of {self._server.address}"), query(statement, "mysql"):
            columns = wire.ask(self._connection, statement)
        return columns, self._pieces(len(columns), f"{where} of {self._server.address}")

    def _pieces(self, width: int, where: str) -> Iterator[wire.Piece]:
        source = wire.pieces(self._connection, width, *self._most)
        while True:
            if self._connection is None:
                raise RetryLater("the session was closed while it was read", code="closed", where=where)
            with judged(where):
                piece = next(source, None)
            if piece is None:
                self._reading = False
                return
            yield piece

    def end_reading(self) -> None:
        """Done with a stream: a session that keeps a moment stays open for the next, unless rows are on their way."""
        if self._reading or not self._keeps:
            self.close()

    def close(self) -> None:
        """End whatever still runs. May be called twice, and after the server went away."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._reading and connection.open:
            self._server.cancel(connection.thread_id())
        # A session without its limit is no other reader's.
        sound = not self._reading and not self._keeps
        shared().return_connection(connection, self._key, self._link.name, sound=sound)


def limit(connection: Connection[Any], seconds: float) -> str:
    """The setting of how long a statement may take, as this server calls it; 0: for ever."""
    if "mariadb" in str(connection.get_server_info()).lower():
        return f"max_statement_time = {seconds}"
    return f"max_execution_time = {math.ceil(seconds * 1000)}"


def _resolve(host: str, port: int) -> list[str]:
    """Every address of a host. Raises what a person can act on."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise RetryLater("names are not resolved for now", code="no_address", where="host") from None
        raise _unknown_host(host) from None
    except UnicodeError:
        raise _unknown_host(host) from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _unknown_host(host: str) -> GiveUp:
    return GiveUp(f"the host {host!r} has no address", code="unknown_host", where="host", advice="check `host`")
