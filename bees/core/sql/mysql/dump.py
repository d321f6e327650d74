"""The binlog as a server sends it to a replica: asked for from a stand on, event by event.

A stand is a GTID set (MySQL with gtid_mode, every MariaDB) or a file and a position in it. Whatever it is, it names the
end of a transaction: reading begins with the next one. Other servers have the same transactions in files of the same
names, at other positions: a file means something at its own server alone.
"""

from __future__ import annotations

import secrets
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bees.core.errors import GiveUp, RetryLater
from bees.core.sql.mysql import binlog
from bees.core.sql.mysql.session import Questions
from bees.core.sql.mysql.verdict import number_of, verdict

if TYPE_CHECKING:
    from pymysql.connections import Connection

    from bees.core.sql.mysql.session import Server

Flavour = Literal["mariadb", "mysql", "file"]
TICK = 0.2
"""Seconds after which a server that has nothing to tell says so."""
_DUMP, _DUMP_GTID = 0x12, 0x1E
_ONLY_WHAT_IS_THERE, _BY_GTID = 1, 4
_SETTLES = 1.0
"""Seconds between a place at the log's end and the reading of rows: MySQL writes a transaction into its log, waits for
the disk and perhaps for a replica, and shows it then. Its GTID is told only after that."""
_FATAL = 1236
_REFUSED = (1227, 1045)
_MADE_UP = (binlog.ROTATE, binlog.HEARTBEAT)


@dataclass(frozen=True)
class Stand:
    """Behind which transaction we stand. `gtid` is empty where the server has none yet, or tells files only.

    server  whose file it is; empty where it does not matter, or was not told
    """

    flavour: Flavour
    gtid: str
    file: str
    at: int
    server: str = ""

    def told(self) -> dict[str, Any]:
        told = {"by": self.flavour, "gtid": self.gtid, "file": self.file, "at": self.at}
        return told | ({"server": self.server} if self.server else {})

    @classmethod
    def of(cls, told: dict[str, Any]) -> Stand:
        file, server = str(told["file"]), str(told.get("server", ""))
        return cls(told["by"], str(told["gtid"]), file, int(told["at"]), server)

    def behind(self, gtids: Iterable[tuple[Any, ...]], file: str, at: int) -> Stand:
        """The stand once these transactions are read, the last of which ends there."""
        text = self.gtid
        if self.flavour == "mysql":
            text = binlog.gtid_added(text, gtids)
        elif self.flavour == "mariadb":
            domains = {int(part.split("-", 1)[0]): part for part in text.split(",") if part}
            domains |= {gtid[0]: "-".join(str(part) for part in gtid) for gtid in gtids}
            text = ",".join(domains[domain] for domain in sorted(domains))
        return replace(self, gtid=text, file=file, at=at)


def now(questions: Questions, position: str, where: str, database: str) -> Stand:
    """Where the log stands. Raises GiveUp if there is none, or it does not hold whole rows of the database's tables."""
    told = dict(
        questions.rows(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', 'gtid_mode',"
            " 'gtid_executed', 'gtid_binlog_pos', 'binlog_row_value_options', 'server_uuid', 'server_id',"
            " 'log_slave_updates', 'log_replica_updates')"
        )
    )
    wanted = {"log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL"}
    wrong = [f"{name} = {value}" for name, value in wanted.items() if str(told.get(name, value)).upper() != value]
    if told.get("binlog_row_value_options"):
        wrong.append("binlog_row_value_options = ''")
    if wrong:
        raise GiveUp(
            "the server's binlog does not tell whole rows", code="no_row_log", where=where,
            advice=f"set {', '.join(wrong)} at the server",
        )  # fmt: skip
    from pymysql.err import Error

    status = "SHOW MASTER STATUS" if questions.mariadb or not _is_new(questions) else "SHOW BINARY LOG STATUS"
    try:
        file, at, chosen, left_out = questions.rows(status)[0][:4]
    except Error as error:
        if number_of(error) in _REFUSED:
            raise _may_not(where) from None
        raise
    if (chosen and database not in chosen.split(",")) or database in left_out.split(","):
        raise GiveUp(
            f"the server's binlog leaves out the database {database!r}", code="not_logged", where=where,
            advice="change binlog_do_db or binlog_ignore_db at the server, or read the stream by a `cursor`",
        )  # fmt: skip
    if "OFF" in (told.get("log_slave_updates"), told.get("log_replica_updates")) and _replicates(questions):
        raise GiveUp(
            "the server is a replica, and its binlog leaves out what comes from its primary", code="not_logged",
            where=where, advice="set log_slave_updates = ON at the server, or follow the primary",
        )  # fmt: skip
    flavour: Flavour = "file"
    if position != "file" and questions.mariadb:
        flavour = "mariadb"
    elif position != "file" and str(told.get("gtid_mode", "")).upper() == "ON":
        flavour = "mysql"
    elif position == "gtid":
        raise GiveUp(
            "the server keeps no GTIDs", code="no_gtid", where="cdc.position",
            advice="set gtid_mode = ON at the server, or `cdc.position: file`",
        )  # fmt: skip
    gtid = str(told.get("gtid_executed", "")).replace("\n", "") if flavour == "mysql" else ""
    if questions.mariadb:
        file, at, gtid = _committed(questions) or (file, at, str(told.get("gtid_binlog_pos", "")))
    elif flavour == "file":
        time.sleep(_SETTLES)
    server = _named(told) if flavour == "file" else ""
    return Stand(flavour, gtid if flavour != "file" else "", str(file), int(at), server)


def _committed(questions: Questions) -> tuple[str, int, str] | None:
    """(file, position, GTIDs) of MariaDB up to where transactions can be seen: the log's end is further on.

    None where that is in a file that is gone: the log went on without a transaction.
    """
    told = dict(questions.rows("SHOW GLOBAL STATUS LIKE 'binlog_snapshot_%'"))
    file, at = str(told.get("Binlog_snapshot_file", "")), int(told.get("Binlog_snapshot_position", 0))
    gtid = questions.rows("SELECT BINLOG_GTID_POS(%s, %s)", (file, at))[0][0] if file else None
    return None if gtid is None else (file, at, str(gtid))


def _named(variables: dict[str, Any]) -> str:
    """The server's own name among servers: MySQL makes itself one, MariaDB has the number that its owner gave it."""
    return str(variables.get("server_uuid") or variables.get("server_id") or "")


def _replicates(questions: Questions) -> bool:
    if questions.mariadb:
        return any(int(running) for _, running in questions.rows("SHOW GLOBAL STATUS LIKE 'Slaves_running'"))
    return bool(questions.rows(f"SHOW {'REPLICA' if _is_new(questions) else 'SLAVE'} STATUS"))


def _is_new(questions: Questions) -> bool:
    """MySQL 8.4 and later call it another name."""
    version = str(questions.connection.get_server_info()).split(".")
    return [int("".join(c for c in part if c.isdigit()) or 0) for part in version[:2]] >= [8, 4]


class Dump:
    """A session that is sent the log. It ends at the log's end, or (`waits`) tells None each `TICK` of silence."""

    def __init__(self, server: Server, stand: Stand, where: str, *, waits: bool) -> None:
        self._server, self._stand, self._where, self._waits = server, stand, where, waits
        self._connection: Connection[Any] | None = None
        self._summed = False

    def events(self) -> Iterator[binlog.Event | None]:
        from pymysql.err import Error

        try:
            self._connection = self._asked()
            yield from self._read(self._connection)
        except Error as error:
            raise self._verdict(error) from None
        except OSError:
            raise verdict(None, self._where) from None

    def _read(self, connection: Connection[Any]) -> Iterator[binlog.Event | None]:
        summed = by_server = self._summed
        while True:
            packet = connection._read_packet()  # noqa: SLF001
            if packet.is_eof_packet():
                return
            raw = packet.get_all_data()
            kind, logged = binlog.kind_of(raw)
            sums = summed if logged or kind not in _MADE_UP else by_server
            if kind == binlog.FORMAT:  # each file says of itself how its events are summed
                sums, summed = False, binlog.is_summed(raw)
            elif sums and zlib.crc32(memoryview(raw)[1:-4]) != int.from_bytes(raw[-4:], "little"):
                raise RetryLater("an event of the binlog arrived broken", code="broken_event", where=self._where)
            event = binlog.event_of(raw, summed=sums)
            if event.kind == binlog.HEARTBEAT:
                yield None
            elif event.kind == binlog.PAYLOAD:
                yield from (replace(inner, end=event.end) for inner in self._unpacked(event))
            else:
                yield _inflated(event)

    def _asked(self) -> Connection[Any]:
        """A session of its own, in which the dump was asked for: it can do nothing else any more."""
        connection = self._server.open()
        try:
            for name, value in (
                ("master_binlog_checksum", "@@global.binlog_checksum"),
                ("source_binlog_checksum", "@@global.binlog_checksum"),
                ("mariadb_slave_capability", "4"),
                ("master_heartbeat_period", str(int(TICK * 1e9))),
                ("source_heartbeat_period", str(int(TICK * 1e9))),
            ):
                connection.query(f"SET @{name} = {value}")
            self._meet(Questions(connection))
            self._summed = Questions(connection).rows("SELECT @@global.binlog_checksum")[0][0] != "NONE"
            number, flags = secrets.randbelow(2**31) + 2**31 - 1, 0 if self._waits else _ONLY_WHAT_IS_THERE
            stand = self._stand
            if stand.flavour == "mariadb":
                connection.query(f"SET @slave_connect_state = {connection.escape(stand.gtid)}")
                connection.query("SET @slave_gtid_strict_mode = 1")
            if stand.flavour == "mysql":
                told = binlog.gtid_bytes(stand.gtid)
                body = struct.pack("<HIIQI", flags | _BY_GTID, number, 0, 4, len(told)) + told
                connection._execute_command(_DUMP_GTID, body)  # noqa: SLF001
            else:
                file, at = (stand.file, stand.at) if stand.flavour == "file" else ("", 4)
                body = struct.pack("<IHI", at, flags, number) + file.encode()
                connection._execute_command(_DUMP, body)  # noqa: SLF001
        except BaseException:
            connection.close()
            raise
        return connection

    def _meet(self, questions: Questions) -> None:
        """Raises GiveUp where our file is another server's."""
        if not self._stand.server:
            return
        who = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_id')"
        if _named(dict(questions.rows(who))) != self._stand.server:
            raise GiveUp(
                "another server answers than the one whose binlog was followed, and its files hold other positions",
                code="another_server", where=self._where,
                advice="fly this bee with --full-refresh; `cdc.position: gtid` outlives a failover",
            )  # fmt: skip

    def _unpacked(self, event: binlog.Event) -> list[binlog.Event]:
        try:
            return list(binlog.unpacked(event.body))
        except ImportError:
            raise GiveUp(
                "the server packs its binlog by zstd, and the module zstandard is not installed",
                code="missing_driver", where=self._where, advice="pip install 'worker-bees[mysql]'",
            ) from None  # fmt: skip

    def _verdict(self, error: BaseException) -> GiveUp | RetryLater | Any:
        number = number_of(error)
        if number == _FATAL:
            return GiveUp(
                "the server no longer has the part of its binlog that comes next, or cannot read it",
                code="log_purged", where=self._where,
                advice="keep the log for longer (binlog_expire_logs_seconds), and fly this bee with --full-refresh",
            )  # fmt: skip
        if number in _REFUSED:
            return _may_not(self._where)
        return verdict(number, self._where)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._force_close()  # noqa: SLF001


def _inflated(event: binlog.Event) -> binlog.Event:
    """MariaDB packs statements and rows where log_bin_compress is on: all behind the row bitmaps, by zlib."""
    if event.kind not in binlog.COMPRESSED:
        return event
    if event.kind == binlog.COMPRESSED[0]:
        length, status = event.body[8], struct.unpack_from("<H", event.body, 11)[0]
        start, kind = 13 + status + length + 1, binlog.QUERY
    else:
        kind = event.kind - 166 + (23 if event.kind < 169 else 27)
        start = binlog.rows_of(replace(event, kind=kind)).start
    size = event.body[start] & 7
    body = event.body[:start] + zlib.decompress(event.body[start + 1 + size :])
    return replace(event, kind=kind, body=body)


def _may_not(where: str) -> GiveUp:
    return GiveUp(
        "the user may not read the binlog", code="no_permission", where=where,
        advice="GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* to `user`",
    )  # fmt: skip
