"""A replication session: what a slot's output plugin sends, as it comes, and the word that it is safe.

Format: PostgreSQL documentation, "Streaming Replication Protocol". psycopg's connections do not speak it; its `pq`
does, below them. A place in the log (LSN) is a number here and `16/B374D848` in a cursor.
"""

from __future__ import annotations

import re
import select
import struct
import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from bees.core.errors import GiveUp, RetryLater
from bees.core.sql.postgres.patience import MORE, WATCH, cut
from bees.core.sql.postgres.pgoutput import EPOCH, MalformedError, Message, decode
from bees.core.sql.postgres.verdict import verdict

if TYPE_CHECKING:
    from bees.core.sql.postgres.session import Server

_DATA = struct.Struct(">cQQq")
_ALIVE = struct.Struct(">cQqB")
_STATUS = struct.Struct(">cQQQqB")
_QUIET = 10.0
"""Seconds after which the server is told again how far we are; it ends sessions that are silent for 60."""


def lsn_text(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


class Feed:
    """One open replication session. `acknowledged` is what the server may forget, `heard` what it has sent all of."""

    def __init__(self, server: Server, slot: str, publication: str, start: int) -> None:
        """Raises RetryLater while another session has the slot, GiveUp if there is none. `start` is safe already."""
        self._where = f"slot {slot} of {server.address}"
        self._connection = _session(server)
        self.slot = slot
        self.acknowledged = start
        self.heard = 0
        self._told = 0.0
        self._patience = server.statement_timeout + MORE
        self._silent = 0.0
        """Seconds of waiting in which nothing came, though the server was asked."""
        try:
            names = '"' + publication.replace('"', '""') + '"'
            self._run(
                f'START_REPLICATION SLOT "{slot}" LOGICAL {lsn_text(start)}'
                f" (proto_version '1', publication_names {_quoted(names)})"
            )
            self.acknowledge(start)
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        return self._connection.status == pq.ConnStatus.OK

    def _run(self, command: str) -> None:
        with WATCH.within(self._patience, lambda: cut(self._connection.socket)):
            result = self._connection.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise self._verdict(result)

    def _verdict(self, result: pq.abc.PGresult | None) -> GiveUp | RetryLater:
        told = result.error_field(pq.DiagnosticField.SQLSTATE) if result else None
        state = told.decode() if told else None
        if state == "55006":
            return RetryLater("another session reads the slot", code="slot_busy", where=self._where)
        if state == "42704":
            return no_slot(self._where)
        if state == "55000":
            return GiveUp(
                "the slot can be read no more: the server has removed what it had not read yet",
                code="slot_lost",
                where=self._where,
                advice="drop it, raise the server's max_slot_wal_keep_size, and fly the bee with --full-refresh",
            )
        found = verdict(state, self._where)
        assert isinstance(found, GiveUp | RetryLater)
        return found

    def next(self, patience: float) -> Message | None:
        """The next message, or None: nothing came for `patience` seconds, or only a sign of life."""
        ends = time.monotonic() + patience
        while True:
            if time.monotonic() - self._told > _QUIET:
                self._tell(ask=False)
            size, data = self._get()
            if size < 0:
                raise self._verdict(self._connection.get_result())
            if size:
                raw = bytes(data)
                if raw[:1] == b"w":
                    found = self._decoded(raw[_DATA.size :])
                    if found is not None:
                        return found
                elif raw[:1] == b"k":
                    _, end, _, asked = _ALIVE.unpack(raw)
                    self.heard = max(self.heard, end)
                    if asked:
                        self._tell(ask=False)
                    return None
                continue
            now = time.monotonic()
            if now >= ends:
                return None
            if not select.select([self._connection.socket], [], [], ends - now)[0]:
                self._waited(time.monotonic() - now)
                return None
            self._silent = 0.0
            self._consume()

    def _waited(self, seconds: float) -> None:
        """Raises RetryLater for a server that has hung: it keeps the connection open, and would never say so."""
        self._silent += seconds
        if self._silent > self._patience:
            raise RetryLater("the server has sent nothing for too long", code="unreachable", where=self._where)

    def _get(self) -> tuple[int, memoryview]:
        try:
            return self._connection.get_copy_data(1)
        except psycopg.Error:
            raise self._verdict(self._connection.get_result()) from None

    def _consume(self) -> None:
        try:
            self._connection.consume_input()
        except psycopg.Error:
            raise RetryLater("the connection to the server was lost", code="unreachable", where=self._where) from None

    def _decoded(self, raw: bytes) -> Message | None:
        try:
            return decode(raw)
        except MalformedError:
            raise GiveUp(
                "the server sends what is no message of pgoutput",
                code="wrong_plugin",
                where=self._where,
                advice="drop the slot and let the bee make it, or make it with the plugin pgoutput",
            ) from None

    def acknowledge(self, lsn: int) -> None:
        """The server may forget what lies before `lsn`."""
        self.acknowledged = max(self.acknowledged, lsn)
        self._tell(ask=False)

    def ask(self) -> None:
        """Ask how far the server is; the answer comes as a sign of life."""
        self._tell(ask=True)

    def _tell(self, *, ask: bool) -> None:
        now = time.time_ns() // 1000 - EPOCH
        safe = self.acknowledged
        try:
            self._connection.put_copy_data(_STATUS.pack(b"r", safe, safe, safe, now, ask))
            self._connection.flush()
        except psycopg.Error:
            raise RetryLater("the connection to the server was lost", code="unreachable", where=self._where) from None
        self._told = time.monotonic()

    def close(self) -> None:
        """End the session; the slot stays."""
        self._connection.finish()


def no_slot(where: str) -> GiveUp:
    return GiveUp(
        "the slot that this stream was read from is gone, and with it what was written since",
        code="slot_lost",
        where=where,
        advice="fly the bee with --full-refresh: everything is read again, behind a new slot",
    )


def _session(server: Server) -> pq.abc.PGconn:
    server.resolve()
    settings = re.sub(r"-c (default_transaction_read_only|statement_timeout|lock_timeout)=\S+ ?", "", server.options())
    conninfo = make_conninfo(server.conninfo(), replication="database", options=settings)
    connection = pq.PGconn.connect(conninfo.encode())
    if connection.status != pq.ConnStatus.OK:
        told = connection.error_message.decode(errors="replace")
        connection.finish()
        raise server.login_verdict(told, conninfo)
    connection.nonblocking = 0
    return connection


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
