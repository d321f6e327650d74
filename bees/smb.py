"""Files of a network drive (SMB 2 and 3: Windows, Samba, NAS): documents and tables.

Only the server and the share that the options name are spoken to: referrals to others (DFS) are not followed, nor are
links within the share.
"""

from __future__ import annotations

import functools
import io
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, ClassVar, TypeVar, cast

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
_FOLDER, _REPARSE, _DEVICE, _OFFLINE = 0x10, 0x400, 0x40, 0x1000
_NO_FOLDER, _LOCKED, _LEAVING = 0xC0000103, 0xC0000054, 0xC0000056
"""STATUS_NOT_A_DIRECTORY, STATUS_FILE_LOCK_CONFLICT, STATUS_DELETE_PENDING"""
_ENDED = {0xC0000203, 0xC00000C9, 0xC000035C, 0xC000020C}
"""STATUS_USER_SESSION_DELETED, _NETWORK_NAME_DELETED, _NETWORK_SESSION_EXPIRED, _CONNECTION_DISCONNECTED"""
_IN_USE = "another program holds the file open and lets nobody read it: each flight tries it again"
_BAD_NAME = 'its name has a sign that the protocol does not carry (one of \\ : * ? " < > |): rename it there'
_EPOCH = 11_644_473_600  # seconds from 1601, where Windows' time begins, to 1970


class SmbAuth(BeeOptions):
    """Who asks."""

    username: Name = Field(description="as `user`, `DOMAIN\\user` or `user@domain`")
    password: SecretStr


class SmbOptions(RemoteOptions):
    host: Name
    port: int = Field(445, ge=1, le=65_535)
    share: Name = Field(pattern=r"^[^\\/]+$", description="the share's name; `path` is the folder in it")
    auth: SmbAuth
    encrypt: bool = Field(False, description="refuse a server that cannot encrypt; all are made to sign")


class SmbBee(FileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = SmbOptions
    extra = "smb"

    def connect(self) -> Storage:
        return SmbStorage(self.options)

    def source_identity(self) -> str:
        given = self.options
        return f"smb://{given.auth.username}@{given.host}:{given.port}/{given.share}/{given.path.strip('/')}"


class SmbStorage(Storage):
    block = 1 << 20

    def __init__(self, options: SmbOptions) -> None:
        import smbprotocol  # noqa: F401  - a missing driver is told when the bee is opened

        super().__init__(options.concurrency)
        self._options = options
        self._lock = threading.Lock()
        self._connection: Any = None
        self._tree: Any = None

    def check(self) -> None:
        rooted(self._list)

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        return walk(self._list, after, recursive=recursive)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        return self._ask(lambda: self._part(entry, start, size)[0])

    def fetch(self, entry: Entry) -> Opened:
        data, same = self._ask(lambda: self._part(entry, 0, entry.size))
        self.check_size(entry, data, same=same)
        return Opened(cast("BinaryIO", io.BytesIO(data)), entry, lambda: same)

    def look(self, path: str) -> Entry | None:
        try:
            return self._ask(lambda: self._stat(path))
        except Gone:
            return None

    def _list(self, path: str) -> tuple[Pile, list[str]]:
        return self._ask(lambda: self._entries(path))

    def _entries(self, path: str) -> tuple[Pile, list[str]]:
        from smbprotocol.exceptions import NoMoreFiles, NoSuchFile
        from smbprotocol.file_info import FileInformationClass
        from smbprotocol.open import CreateOptions, QueryDirectoryFlags

        files = Pile()
        folders: list[str] = []
        folder = self._open(path, CreateOptions.FILE_DIRECTORY_FILE)
        flags = QueryDirectoryFlags.SMB2_RESTART_SCANS
        try:
            while True:
                kind = FileInformationClass.FILE_ID_FULL_DIRECTORY_INFORMATION
                try:
                    found = folder.query_directory("*", kind, flags=flags, max_output=1 << 16)
                except (NoMoreFiles, NoSuchFile):
                    return files, folders
                flags = 0
                for item in found:
                    name = item["file_name"].get_value().decode("utf-16-le", "replace")
                    attributes = item["file_attributes"].get_value()
                    if not safe_name(name) or attributes & (_REPARSE | _DEVICE):
                        continue
                    if attributes & _FOLDER:
                        folders.append(joined(path, name))
                    else:
                        entry = _entry(joined(path, name), item["end_of_file"], item["last_write_time"])
                        files.append(entry)
        finally:
            folder.close()

    def _part(self, entry: Entry, start: int, size: int) -> tuple[bytes, bool]:
        """Bytes of the file, and whether it is the listed version still: it cannot change while we hold it open."""
        from smbprotocol.open import CreateOptions

        file = self._open(entry.path, CreateOptions.FILE_NON_DIRECTORY_FILE)
        try:
            made = bytearray()
            most = min(file.connection.max_read_size, self.block)
            while len(made) < size and (piece := _piece(file, start + len(made), min(most, size - len(made)))):
                made += piece
            now = _of(entry.path, file)
        finally:
            file.close()
        return bytes(made), now.version == entry.version

    def _stat(self, path: str) -> Entry:
        from smbprotocol.open import CreateOptions

        file = self._open(path, CreateOptions.FILE_NON_DIRECTORY_FILE)
        try:
            return _of(path, file)
        finally:
            file.close()

    def _open(self, path: str, kind: int) -> Any:
        """Opened as it is: a link within the share is opened itself, and refused."""
        from smbprotocol.exceptions import ObjectNameInvalid
        from smbprotocol.open import (
            CreateDisposition,
            CreateOptions,
            DirectoryAccessMask,
            FilePipePrinterAccessMask,
            ImpersonationLevel,
            Open,
            ShareAccess,
        )

        if "\\" in path or ":" in path:  # it would lead elsewhere: to a folder, or to a stream of another file
            raise Unreadable("bad_name", _BAD_NAME)
        inside = "\\".join(part for part in (*self._options.path.split("/"), *path.split("/")) if part)
        made = Open(self._share(), inside)
        folder = kind == CreateOptions.FILE_DIRECTORY_FILE
        names = DirectoryAccessMask if folder else FilePipePrinterAccessMask
        read = names.FILE_LIST_DIRECTORY if folder else names.FILE_READ_DATA
        shared = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE
        how = kind | CreateOptions.FILE_OPEN_REPARSE_POINT
        wanted = read | names.FILE_READ_ATTRIBUTES
        try:
            made.create(ImpersonationLevel.Impersonation, wanted, 0, shared, CreateDisposition.FILE_OPEN, how)
        except ObjectNameInvalid:
            if path:
                raise Unreadable("bad_name", _BAD_NAME) from None
            raise  # of the bee's own folder
        if made.file_attributes & _REPARSE:
            made.close()
            raise Gone
        return made

    def _share(self) -> Any:
        with self._lock:
            if self._tree is not None and not self._connection.transport.connected:
                self._connection = self._tree = None  # ended while nobody asked anything
            if self._tree is None:
                self._connect()
            return self._tree

    def _connect(self) -> None:
        from smbprotocol.connection import Connection
        from smbprotocol.session import Session
        from smbprotocol.tree import TreeConnect

        given = self._options
        policy = dial.policy_for("smb", given.host, given.port, allow_private=given.allow_private)
        address = dial.addresses(policy, given.host, given.port, "host")[0]
        connection = Connection(uuid.uuid4(), address, given.port, require_signing=True)
        self._connection = connection
        connection.connect(timeout=given.timeout)
        # The library waits for each answer for ever where nobody says how long.
        connection.receive = functools.partial(connection.receive, timeout=given.timeout)
        session = Session(
            connection, given.auth.username, given.auth.password.get_secret_value(),
            require_encryption=given.encrypt, auth_protocol="ntlm",
        )  # fmt: skip
        session.connect()
        tree = TreeConnect(session, rf"\\{address}\{given.share}")
        tree.connect()
        self._tree = tree

    def _ask(self, request: Callable[[], T]) -> T:
        """What the server gives; asked once more over a new connection where one that stood before broke."""
        used = self._connection
        try:
            return self._asked(request)
        except RetryLater as error:
            stood = used is not None and self._connection is not used
            if error.code != "connection_lost" or not stood:
                raise
        return self._asked(request)

    def _asked(self, request: Callable[[], T]) -> T:
        from smbprotocol import exceptions as smb

        problem: Exception
        used: Any = None
        try:
            used = self._share().session.connection
            return request()
        except (SourceError, NotReadError):
            raise
        except (smb.LogonFailure, smb.SMBAuthenticationError, smb.PasswordExpired):
            problem = dial.denied()
        except smb.BadNetworkName:
            problem = GiveUp("the share is not there", code="no_folder", where="share", advice="correct `share`")
        except (smb.ObjectNameNotFound, smb.ObjectPathNotFound, smb.FileIsADirectory):
            problem = Gone()
        except (smb.StoppedOnSymlink, smb.ObjectNameInvalid):
            problem = Gone()
        except smb.SharingViolation:
            problem = Unreadable("in_use", _IN_USE)
        except smb.AccessDenied:
            problem = Unreadable() if self._tree is not None else dial.denied("share")
        except (smb.SMBException, OSError, ValueError) as error:
            status = getattr(error, "status", 0)
            if status in (_NO_FOLDER, _LEAVING):
                problem = Gone()
            elif status == _LOCKED:
                problem = Unreadable("in_use", _IN_USE)
            elif self._tree is not None and isinstance(error, smb.SMBResponseException) and status not in _ENDED:
                message = "the server could not do what was asked"  # of one file; what is read beside it goes on
                raise RetryLater(message, code="server_error", where="host") from None
            else:
                problem = _lost(error, connected=self._tree is not None or used is not None)
        if not isinstance(problem, NotReadError):
            self._drop(used)
        raise problem

    def _drop(self, used: Any = None) -> None:
        """The next request connects anew. Of a connection that was used: unless another took its place already."""
        with self._lock:
            if used is not None and self._connection is not used:
                return
            connection, self._connection, self._tree = self._connection, None, None
        if connection is not None:
            _closed(connection)

    def close(self) -> None:
        super().close()
        self._drop()


def _closed(connection: Any) -> None:
    from contextlib import suppress

    with suppress(Exception):  # it may be broken already, and says so in many ways
        connection.disconnect(close=False)


def _piece(file: Any, start: int, size: int) -> bytes:
    from smbprotocol.exceptions import EndOfFile

    try:
        return bytes(file.read(start, size))
    except EndOfFile:
        return b""


def _of(path: str, file: Any) -> Entry:
    """As the server told it when the file was opened."""
    return _made(path, file.end_of_file, file.last_write_time)


def _entry(path: str, size: Any, written: Any) -> Entry:
    return _made(path, size.get_value(), written.get_value())


def _made(path: str, size: int, written: Any) -> Entry:
    at = int(written.timestamp() * 1_000_000) if hasattr(written, "timestamp") else int(written) // 10 - _EPOCH * 10**6
    return Entry(path, size, f"{size} {at}", at, at * 1000)


def _lost(error: Exception, *, connected: bool) -> SourceError:
    from smbprotocol.exceptions import SMBResponseException

    # What a server answered says nothing of waiting, and not all that it says can be read.
    said = "" if isinstance(error, SMBResponseException) else f"{type(error).__name__} {error}".lower()
    if isinstance(error, TimeoutError) or "timeout" in said:
        return RetryLater("the server does not answer in time", code="timeout", where="host")
    if not connected:
        return dial.unreachable("host")
    return RetryLater("the connection broke", code="connection_lost", where="host")
