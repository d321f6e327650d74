"""Files of a server that speaks SFTP: documents and tables.

The server is known by its host key, which the options hold; another one is refused. Nothing of this machine's SSH
settings, keys or agent is used. No link is followed: each path is resolved by the server and must be what it was.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, BinaryIO, ClassVar, TypeVar, cast

from pydantic import Field, SecretStr, model_validator

from bees.core.bee import BeeOptions, BeeType, Name, Words
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
    rooted,
    safe_name,
    walk,
)

T = TypeVar("T")
_BLOCK = 1 << 20
_CIPHERS = "^aes256-gcm@openssh.com,aes128-gcm@openssh.com"
"""Asked for first: processors know AES, and the library makes up ChaCha20-Poly1305 out of four steps a packet."""
_FILE, _FOLDER, _UNTOLD = 1, 2, 5
"""Types of names, as the protocol numbers them."""
_ONE = 32 << 10
"""Bytes that every server gives at one request."""


class SftpAuth(BeeOptions):
    """Who asks: a password, a private key, or both."""

    username: Name
    password: SecretStr = Field(SecretStr(""))
    private_key: SecretStr = Field(SecretStr(""), description="text of an OpenSSH or PEM key")
    passphrase: SecretStr = Field(SecretStr(""), description="of the private key")

    @model_validator(mode="after")
    def _proves(self) -> SftpAuth:
        if not self.password.get_secret_value() and not self.private_key.get_secret_value():
            raise ValueError("give a `password` or a `private_key`")
        return self


class SftpOptions(RemoteOptions):
    host: Name
    port: int = Field(22, ge=1, le=65_535)
    auth: SftpAuth
    host_key: Words = Field(
        (), description="of the server: `ssh-ed25519 AAAA...` as ssh-keyscan prints it, or `SHA256:...`; any of several"
    )


class SftpBee(FileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = SftpOptions
    extra = "sftp"

    def connect(self) -> Storage:
        return SftpStorage(self.options)

    def source_identity(self) -> str:
        given = self.options
        return f"sftp://{given.auth.username}@{given.host}:{given.port}{given.path}"


class SftpStorage(Storage):
    """One connection, on an event loop in a thread of its own; threads of the pool wait for their answers."""

    block = _BLOCK

    def __init__(self, options: SftpOptions) -> None:
        import asyncssh  # noqa: F401  - a missing driver is told when the bee is opened

        super().__init__(options.concurrency)
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True)
        self._thread.start()
        self._lock = asyncio.Lock()
        self._turns = asyncio.Semaphore(self.concurrency)
        self._connection: Any = None
        self._sftp: Any = None
        self._root = b""

    def check(self) -> None:
        rooted(self._folder)

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        return walk(self._folder, after, recursive=recursive)

    def _folder(self, path: str) -> tuple[Pile, list[str]]:
        return self._run(self._list(path))

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        return self._run(self._part(entry, start, size))[0]

    def fetch(self, entry: Entry) -> Opened:
        return self._run(self._fetched(entry))

    def ahead(self, entry: Entry) -> Future[Opened]:
        """On the loop itself: a thread that waits for each file costs as much as the file."""
        return asyncio.run_coroutine_threadsafe(self._in_turn(entry), self._loop)

    async def _in_turn(self, entry: Entry) -> Opened:
        async with self._turns:
            return await self._told(self._fetched(entry))

    async def _fetched(self, entry: Entry) -> Opened:
        data, same = await self._part(entry, 0, entry.size)
        self.check_size(entry, data, same=same)
        return Opened(cast("BinaryIO", io.BytesIO(data)), entry, lambda: same)

    def look(self, path: str) -> Entry | None:
        try:
            return self._run(self._stat(path))
        except Gone:
            return None

    async def _list(self, path: str) -> tuple[Pile, list[str]]:
        sftp = await self._opened()
        folder = self._at(path)
        if path and await sftp.realpath(folder) != folder:
            raise Gone  # a link by now
        files, folders = Pile(), []
        async for item in sftp.scandir(folder):
            name = os.fsdecode(item.filename)
            if not safe_name(name):
                continue
            inner = f"{path}/{name}" if path else name
            if item.attrs.type == _UNTOLD:
                try:
                    item.attrs = await sftp.lstat(self._at(inner))
                except _gone():
                    continue  # it vanished, and the folder did not
            kind = _kind(item)
            if kind == _FOLDER:
                folders.append(inner)
            elif kind == _FILE:
                files.append(_entry(inner, item.attrs))
        return files, folders

    async def _part(self, entry: Entry, start: int, size: int) -> tuple[bytes, bool]:
        """Bytes of the file, and whether it is the listed version still, looked at after reading."""
        sftp = await self._opened()
        path = self._at(entry.path)
        block = 0 if 0 <= size <= _ONE else -1  # 0: one request, without the machinery of many
        asked: Any = await asyncio.gather(
            sftp.realpath(path), sftp.open(path, "rb", block_size=block), return_exceptions=True
        )
        real, handle = asked
        if isinstance(handle, BaseException):
            raise handle
        try:
            if isinstance(real, BaseException):
                raise real
            if real != path:
                raise Gone
            # Requests for one handle are answered as if in their order: all are sent at once.
            data, now = await asyncio.gather(handle.read(size, start) if size else _nothing(), handle.stat())
            while len(data) < size and block == 0 and (more := await handle.read(size - len(data), start + len(data))):
                data += more
        finally:
            await handle.close()
        found = _entry(entry.path, now)
        bare = entry.modified is None and entry.size in (-1, found.size)  # the listing told no more
        return data, bare or found.version == entry.version

    async def _stat(self, path: str) -> Entry:
        sftp = await self._opened()
        found = await sftp.lstat(self._at(path))
        if found.type not in (_FILE, _UNTOLD):
            raise Gone
        return _entry(path, found)

    def _at(self, path: str) -> bytes:
        return self._root.rstrip(b"/") + b"/" + os.fsencode(path) if path else self._root

    async def _opened(self) -> Any:
        async with self._lock:
            if self._connection is not None and self._connection.is_closed():
                self._connection = self._sftp = None  # ended while nobody asked anything
            if self._sftp is None:
                self._connection = await self._connect()
                self._sftp = await self._connection.start_sftp_client()
                self._root = await self._sftp.realpath(os.fsencode(self._options.path))
        return self._sftp

    async def _connect(self) -> Any:
        import asyncssh

        given, auth = self._options, self._options.auth
        policy = dial.policy_for("sftp", given.host, given.port, allow_private=given.allow_private)
        dialling = self._loop.run_in_executor(None, dial.dial, policy, given.host, given.port, given.timeout)
        try:
            sock = await asyncio.shield(dialling)
        except asyncio.CancelledError:
            dialling.add_done_callback(_hung_up)
            raise
        seen: list[str] = []
        keys, secret = None, auth.private_key.get_secret_value()
        try:
            if secret:
                keys = [asyncssh.import_private_key(secret, auth.passphrase.get_secret_value() or None)]
            chosen = _algorithms(given.host_key)
            return await asyncssh.connect(
                given.host, given.port, sock=sock, config=None, username=auth.username, client_keys=keys,
                password=auth.password.get_secret_value() or None, known_hosts=([], [], []), agent_path=None,
                client_factory=lambda: _known(given.host_key, seen), login_timeout=given.timeout,
                connect_timeout=given.timeout, keepalive_interval=given.timeout / 2, gss_host=None,
                x509_trusted_certs=None, encryption_algs=_CIPHERS,
                **({"server_host_key_algs": chosen} if chosen else {}),
            )  # fmt: skip
        except asyncssh.HostKeyNotVerifiable:
            sock.close()
            raise _other_key(seen, known=bool(given.host_key)) from None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            sock.close()
            message = "the private key cannot be read"
            raise GiveUp(
                message, code="bad_key", where="auth.private_key", advice="check it and `passphrase`"
            ) from None
        except BaseException:
            sock.close()
            raise

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(self._told(work), self._loop).result()

    async def _told(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives, in time, or what its failure means."""
        import asyncssh

        problem: Exception
        answered = False
        try:
            async with asyncio.timeout(self._options.timeout * 2):
                return await work
        except (SourceError, NotReadError):
            raise
        except TimeoutError:
            problem = RetryLater("the server does not answer in time", code="timeout", where="host")
        except asyncssh.PermissionDenied:
            problem = dial.denied()
        except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost, asyncssh.DisconnectError, OSError):
            problem = RetryLater("the connection broke", code="connection_lost", where="host")
        except _gone():
            problem = Gone()
        except asyncssh.SFTPPermissionDenied:
            problem = Unreadable()
        except (asyncssh.SFTPError, asyncssh.Error) as error:
            answered = isinstance(error, asyncssh.SFTPFailure)  # of one file; what is read beside it goes on
            problem = RetryLater("the server could not do what was asked", code="server_error", where="host")
        if isinstance(problem, RetryLater) and not answered:
            self._drop()
        raise problem

    def _drop(self) -> None:
        """The next request connects anew."""
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            self._loop.call_soon_threadsafe(connection.abort)

    def close(self) -> None:
        super().close()
        if not self._loop.is_closed():
            connection = self._connection
            self._drop()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.run_until_complete(_ended(asyncio.all_tasks(self._loop), connection))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


def _hung_up(dialled: asyncio.Future[socket.socket]) -> None:
    """Nobody waits for this connection any more."""
    if dialled.exception() is None:
        dialled.result().close()


async def _nothing() -> bytes:
    return b""


async def _ended(tasks: set[asyncio.Task[Any]], connection: Any) -> None:
    if connection is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(connection.wait_closed(), 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _gone() -> tuple[type[Exception], ...]:
    """With what the server says that there is nothing of a name."""
    import asyncssh

    return asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath


def _kind(item: Any) -> int | None:
    """What a name is: as its attributes tell, else as its line in the long listing begins."""
    known: int = item.attrs.type
    line = item.longname if isinstance(item.longname, bytes) else str(item.longname or "").encode()
    return known if known != _UNTOLD else {b"d": _FOLDER, b"-": _FILE}.get(line[:1])


def _entry(path: str, attrs: Any) -> Entry:
    """All that a server tells of a file may be missing; one without a time is read in each flight."""
    size = -1 if attrs.size is None else attrs.size
    if attrs.mtime is None:
        return Entry(path, size, f"{attrs.size}", None, 2**63)
    stamp = attrs.mtime * 10**9 + (attrs.mtime_ns or 0)
    return Entry(path, size, f"{attrs.size} {stamp}", stamp // 1000, stamp)


def _algorithms(keys: tuple[str, ...]) -> list[str]:
    """The kinds of host keys to ask for: those that are known, where all are known in full."""
    kinds = [key.split()[-2] if len(key.split()) > 1 else "" for key in keys]
    if not all(kinds):
        return []
    return [name for kind in kinds for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))]


def _known(keys: tuple[str, ...], seen: list[str]) -> Any:
    import asyncssh

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
            print_, line = key.get_fingerprint(), key.export_public_key().decode().split()
            seen.append(print_)
            return any(
                known == print_ or known.split()[-2:] == line[:2] or known.split()[:2] == line[:2] for known in keys
            )

    return Client()


def _other_key(seen: list[str], *, known: bool) -> GiveUp:
    found = seen[0] if seen else "of an unknown kind"
    if known:
        message = "the server shows another host key than `host_key`: another server may answer in its place"
        advice = f"ask its administrator whether its key is now {found}; if so, write that into `host_key`"
        return GiveUp(message, code="host_key_changed", where="host_key", advice=advice)
    advice = f"the server shows {found}: compare it with what its administrator says, and write it into `host_key`"
    return GiveUp("the server's host key is not known", code="host_key_unknown", where="host_key", advice=advice)
