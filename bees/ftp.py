"""Files of an FTP server, over TLS unless told otherwise: documents and tables.

The server must list by MLSD (RFC 3659), which tells size and time of each file exactly. What is a link is the
server's secret: it alone keeps its folders closed.
"""

from __future__ import annotations

import datetime as dt
import ftplib
import io
import os
import re
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty, LifoQueue
from typing import BinaryIO, ClassVar, Literal, TypeVar, cast

from pydantic import Field, SecretStr

from bees.core.bee import BeeOptions, BeeType, Name
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.filebee import FileBee, RemoteOptions
from bees.core.storage import dial
from bees.core.storage.base import (
    Entry,
    Gone,
    Listed,
    NotReadError,
    Opened,
    Pile,
    Storage,
    Unreadable,
    joined,
    rooted,
    safe_name,
    walk,
)

T = TypeVar("T")


class FtpAuth(BeeOptions):
    """Who asks; unset: an anonymous guest."""

    username: Name = "anonymous"
    password: SecretStr = Field(SecretStr("guest"))


class FtpOptions(RemoteOptions):
    host: Name
    port: int = Field(21, ge=1, le=65_535)
    auth: FtpAuth = FtpAuth()
    tls: Literal["explicit", "implicit", "none"] = Field("explicit", description="none: password and files go in clear")
    ca: str = Field(
        "", description="PEM text of the authority that signed the server's certificate; unset: the system's"
    )


class FtpBee(FileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = FtpOptions

    def connect(self) -> Storage:
        return FtpStorage(self.options)

    def source_identity(self) -> str:
        given = self.options
        return f"ftp://{given.auth.username}@{given.host}:{given.port}{given.path}"


class _Tls(ftplib.FTP_TLS):
    """Data connections resume the session of the control connection: many servers ask for it."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - who wants FTP has no better
        session = cast("ssl.SSLSocket", self.sock).session
        return self.context.wrap_socket(data, server_hostname=self.host, session=session), size


class FtpStorage(Storage):
    """A connection for each read at once. Names are bytes: they travel as Latin-1, which keeps them as they are."""

    def __init__(self, options: FtpOptions) -> None:
        super().__init__(options.concurrency)
        self._options = options
        self._idle: LifoQueue[ftplib.FTP] = LifoQueue()
        self._lock = threading.Lock()
        self._open, self._most = 0, sys.maxsize  # connections: ours, and those that the server lets in, once it said so

    def check(self) -> None:
        rooted(self._list)

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        return walk(self._list, after, recursive=recursive)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        return self._ask(entry.path, lambda ftp: self._part(ftp, entry, start, size))

    def fetch(self, entry: Entry) -> Opened:
        def ask(ftp: ftplib.FTP) -> tuple[bytes, bool]:
            data = self._part(ftp, entry, 0, entry.size)
            now = self._stat(ftp, entry.path)
            return data, now is not None and now.version == entry.version

        data, same = self._ask(entry.path, ask)
        self.check_size(entry, data, same=same)
        whole = entry if entry.size >= 0 else replace(entry, size=len(data))
        return Opened(cast("BinaryIO", io.BytesIO(data)), whole, lambda: same)

    def look(self, path: str) -> Entry | None:
        return self._ask(path, lambda ftp: self._stat(ftp, path))

    def _list(self, path: str) -> tuple[Pile, list[str]]:
        def ask(ftp: ftplib.FTP) -> tuple[Pile, list[str]]:
            ftp.cwd(self._at(path))  # MLSD of a file is no error everywhere
            files, folders = Pile(), []

            def take(line: str) -> None:
                facts, _, name = line.partition(" ")
                plain, told = _name(name), _told(facts)
                if not safe_name(plain):
                    return
                kind, inner = told.get("type", ""), joined(path, plain)
                if kind == "dir":
                    folders.append(inner)
                elif kind == "file" or (not kind and "size" in told):
                    files.append(_entry(inner, told))

            ftp.retrlines("MLSD", take)  # line by line: ftplib's own reader holds them all
            return files, folders

        return self._ask(path, ask)

    def _part(self, ftp: ftplib.FTP, entry: Entry, start: int, size: int) -> bytes:
        if not size:
            return b""
        ftp.voidcmd("TYPE I")
        data, made = ftp.transfercmd(f"RETR {self._at(entry.path)}", rest=start or None), bytearray()
        with data:
            most = size if size >= 0 else sys.maxsize  # the listing told no size: all of it
            while len(made) < most and (piece := data.recv(min(most - len(made), 1 << 18))):
                made += piece
            more = len(made) >= most and start + size < entry.size
        with suppress(*((ftplib.error_temp, ftplib.error_perm) if more else ())):
            ftp.voidresp()  # 226; 426 or 451 where we hung up in the middle
        return bytes(made)

    def _stat(self, ftp: ftplib.FTP, path: str) -> Entry | None:
        try:
            answer = ftp.sendcmd(f"MLST {self._at(path)}")
        except ftplib.error_perm:
            return None
        line = next((line.strip() for line in answer.splitlines()[1:] if "=" in line), "")
        facts = _told(line.split(" ", 1)[0])
        return _entry(path, facts) if facts.get("type") == "file" else None

    def _at(self, path: str) -> str:
        whole = f"{self._options.path.rstrip('/')}/{path}" if path else self._options.path
        if "\n" in whole or "\r" in whole:
            raise Unreadable("bad_name", "the name holds a line break, which FTP cannot ask for")
        return os.fsencode(whole).decode("latin-1")

    def _ask(self, path: str, request: Callable[[ftplib.FTP], T]) -> T:
        problem: Exception
        try:
            with self._connection() as ftp:
                return request(ftp)
        except (SourceError, NotReadError):
            raise
        except ftplib.error_perm as error:
            problem = self._refused(str(error)[:3], path)
        except ftplib.error_temp as error:
            busy = str(error)[:3] in ("421", "450", "452")
            problem = RetryLater("the server is busy", code="rate_limited" if busy else "server_error", where="host")
        except ssl.SSLCertVerificationError:
            advice = "give `ca`, or name the server as its certificate does"
            message = "the server's certificate is not trusted"
            problem = GiveUp(message, code="bad_certificate", where="host", advice=advice)
        except TimeoutError:
            problem = RetryLater("the server does not answer in time", code="timeout", where="host")
        except (OSError, EOFError, ftplib.Error):
            problem = RetryLater("the connection broke", code="connection_lost", where="host")
        raise problem

    def _refused(self, status: str, path: str) -> Exception:
        if status in ("530", "532"):
            return dial.denied()
        if status == "550":
            # The one answer to what is not there and to what may not be read; who sees it listed knows which.
            with suppress(Exception), self._connection() as ftp:
                return Unreadable() if self._stat(ftp, path) else Gone()
            return Gone()
        if status in ("500", "502", "504"):
            message = "the server knows no MLSD, by which files are listed"
            return GiveUp(message, code="no_mlsd", where="host", advice="read it over SFTP or HTTP")
        return Unreadable()

    @contextmanager
    def _connection(self) -> Iterator[ftplib.FTP]:
        """An idle connection or a new one. One that failed is closed."""
        ftp = self._taken()
        try:
            yield ftp
        except ftplib.error_perm:
            self._idle.put(ftp)
            raise
        except BaseException:
            self._hang_up(ftp)
            raise
        else:
            self._idle.put(ftp)

    def _taken(self) -> ftplib.FTP:
        """A connection; where the server lets no more of them in, one of ours that becomes free."""
        ends = time.monotonic() + self._options.timeout * 10
        while time.monotonic() < ends:
            full = 0 < self._open >= self._most
            with suppress(Empty):
                ftp = self._idle.get(block=full, timeout=0.2)
                if not _ended(ftp):
                    return ftp
                self._hang_up(ftp)
                continue
            if not full and (made := self._made()) is not None:
                return made
        advice = "set it to what the server allows, or ask for more there"
        raise RetryLater("the server lets no more connections in", code="busy", where="concurrency", advice=advice)

    def _made(self) -> ftplib.FTP | None:
        """A new connection; None where it is one too many, beside others of ours that were let in."""
        try:
            made = self._connect()
        except (ftplib.error_temp, ftplib.error_perm) as error:
            if not self._open or str(error)[:3] not in ("421", "530"):
                raise
            self._most = self._open
            return None
        with self._lock:
            self._open += 1
        return made

    def _hang_up(self, ftp: ftplib.FTP) -> None:
        ftp.close()
        with self._lock:
            self._open -= 1

    def _connect(self) -> ftplib.FTP:
        given = self._options
        policy = dial.policy_for("ftp", given.host, given.port, allow_private=given.allow_private)
        context = ssl.create_default_context(cadata=given.ca or None)
        sock = dial.dial(policy, given.host, given.port, given.timeout)
        ftp = ftplib.FTP(encoding="latin-1") if given.tls == "none" else _Tls(context=context, encoding="latin-1")  # noqa: S321
        try:
            if given.tls == "implicit":
                sock = context.wrap_socket(sock, server_hostname=given.host)
            ftp.sock, ftp.af, ftp.host, ftp.timeout = sock, sock.family, given.host, given.timeout
            ftp.file = sock.makefile("r", encoding="latin-1")
            ftp.welcome = ftp.getresp()
            if given.tls == "explicit":
                _secured(cast("_Tls", ftp))
            ftp.login(given.auth.username, given.auth.password.get_secret_value())
            if isinstance(ftp, _Tls):
                ftp.prot_p()
        except BaseException:
            ftp.close()
            sock.close()
            raise
        return ftp

    def close(self) -> None:
        super().close()
        while True:
            try:
                self._hang_up(self._idle.get_nowait())
            except Empty:
                return


def _ended(ftp: ftplib.FTP) -> bool:
    """Whether the server hung up, or said something that nobody asked for, while the connection lay idle."""
    waiting = select.poll()
    waiting.register(cast("socket.socket", ftp.sock), select.POLLIN)
    return bool(waiting.poll(0))


def _secured(ftp: _Tls) -> None:
    try:
        ftp.auth()
    except ftplib.error_perm:
        advice = "set `tls: implicit` for a server that speaks TLS from the start, or `none` on a trusted network"
        raise GiveUp("the server refuses TLS", code="no_tls", where="tls", advice=advice) from None


def _name(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))


def _told(facts: str) -> dict[str, str]:
    """`type=file;size=3;` as a dict."""
    return dict(fact.lower().split("=", 1) for fact in facts.split(";") if "=" in fact)


def _entry(path: str, facts: dict[str, str]) -> Entry:
    """A file whose size or time is not told is a file: it is read in each flight."""
    told, time = facts.get("size", ""), re.fullmatch(r"(\d{14})(?:\.(\d+))?", facts.get("modify", ""))
    size = int(told) if told.isdecimal() else -1
    if time is not None:
        with suppress(ValueError):
            at = dt.datetime.strptime(time[1] + "+0000", "%Y%m%d%H%M%S%z")
            modified = int(at.timestamp()) * 1_000_000 + int((time[2] or "0").ljust(6, "0")[:6])
            return Entry(path, size, f"{size} {modified}", modified, modified * 1000 if size >= 0 else 2**63)
    return Entry(path, size, f"{size}", None, 2**63)
