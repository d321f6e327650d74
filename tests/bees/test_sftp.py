"""Files of a real OpenSSH server."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import asyncssh
import pydantic
import pytest

from bees.core.errors import GiveUp, RetryLater
from bees.sftp import SftpBee, SftpStorage
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk, read
from tests.servers.cable import cable
from tests.servers.relay import until
from tests.servers.sftp import SftpServer, sftp_server

pytestmark = pytest.mark.servers
__all__ = ["sftp_server"]


@pytest.fixture
def disk(sftp_server: SftpServer) -> Iterator[FolderDisk]:
    made = FolderDisk(sftp_server.root)
    made.options = sftp_server.options()
    made.unreachable = made.options | {"port": free_port()}
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    made.denied = made.options | {"auth": {"username": "bee", "private_key": other}}
    made.secrets = (sftp_server.client_key.export_private_key().decode().splitlines()[2],)
    yield made
    shutil.rmtree(made.folder)
    made.folder.mkdir()
    made.folder.chmod(0o755)


class TestSftp(FileSystemContract):
    connector = "sftp"
    odd_names = (*FileSystemContract.odd_names, "new\nline.txt", "back\\slash.txt")

    @pytest.fixture
    def disk(self, disk: Disk) -> Disk:
        return disk


def test_another_host_key_is_refused_and_an_unknown_one_is_told(disk: FolderDisk, sftp_server: SftpServer) -> None:
    shown = sftp_server.host_key.get_fingerprint()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    for key, code in (("SHA256:other", "host_key_changed"), (other, "host_key_changed"), ((), "host_key_unknown")):
        with SftpBee.from_options(disk.options | {"host_key": key}) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert (error.value.code, error.value.where) == (code, "host_key")
        assert shown in error.value.advice
    with SftpBee.from_options(disk.options | {"host_key": ["SHA256:other", shown]}) as bee:
        bee.validate_flight_path()


def test_no_link_is_followed_and_nothing_but_files_is_read(disk: FolderDisk) -> None:
    secret = disk.folder.parent / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "s.txt").write_text("outside")
    secret.chmod(0o755)
    disk.put("a.txt", b"inside")
    (disk.folder / "file").symlink_to(secret / "s.txt")
    (disk.folder / "folder").symlink_to(secret)
    (disk.folder / "loop").symlink_to(disk.folder)
    os.mkfifo(disk.folder / "pipe")

    assert [r["path"] for r in rows(read("sftp", disk.options))] == ["a.txt"]


def test_a_file_that_becomes_a_link_after_the_listing_is_not_read(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = disk.folder.parent / "outside.txt"
    outside.write_text("outside")
    disk.put("a.txt", b"inside.")
    disk.put("b.txt", b"b")
    real = SftpStorage.ahead

    def swapped(self: Any, entry: Any) -> Any:
        if entry.path == "a.txt":
            (disk.folder / "a.txt").unlink()
            (disk.folder / "a.txt").symlink_to(outside)
        return real(self, entry)

    monkeypatch.setattr(SftpStorage, "ahead", swapped)

    assert [r["path"] for r in rows(read("sftp", disk.options))] == ["b.txt"]


def test_one_file_without_rights_is_set_aside_and_a_closed_folder_deletes_nothing(disk: FolderDisk) -> None:
    for name in ("a.txt", "b.txt", "in/c.txt", "z.txt"):
        disk.put(name, name.encode())
    first = read("sftp", disk.options)
    (disk.folder / "a.txt").chmod(0)
    disk.put("b.txt", b"changed")
    os.utime(disk.folder / "a.txt", (5, 5))
    (disk.folder / "in").chmod(0)
    disk.remove("z.txt")

    second = read("sftp", disk.options, cursor=first[-1].cursor)

    if os.geteuid() == 0:  # the server runs as nobody, who owns nothing here
        assert [(r.position, r.code) for b in second for r in b.rejects] == [
            ("a.txt", "unreadable"),
            ("in", "unreadable"),
        ]
        assert [(r["path"], r.get("_op")) for r in rows(second)] == [("b.txt", None), ("z.txt", "delete")]
    (disk.folder / "in").chmod(0o755)


def test_a_young_file_is_looked_at_again(disk: FolderDisk) -> None:
    """The server's clock may differ from ours: what changed a moment ago may change again without showing it."""
    disk.put("a.txt", b"one")
    os.utime(disk.folder / "a.txt")
    times = (disk.folder / "a.txt").stat()
    first = read("sftp", disk.options)

    (disk.folder / "a.txt").write_bytes(b"eno")
    os.utime(disk.folder / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))

    assert [r["content"] for r in rows(read("sftp", disk.options, cursor=first[-1].cursor))] == [b"eno"]


@pytest.mark.parametrize("bare", ["listing", "everything"])
def test_a_server_that_tells_no_types_sizes_and_times_is_read(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch, bare: str
) -> None:
    """All attributes are optional in the protocol; a name without a type is a file or a folder, and not nothing."""
    disk.put("a.txt", b"one")
    disk.put("in/b.txt", b"two")
    first = read("sftp", disk.options)
    real, looked = asyncssh.SFTPClient.scandir, asyncssh.SFTPClient.lstat

    async def scandir(self: Any, path: Any) -> Any:
        async for item in real(self, path):
            item.attrs = asyncssh.SFTPAttrs()
            yield item

    async def lstat(self: Any, path: Any) -> Any:
        return asyncssh.SFTPAttrs() if bare == "everything" else await looked(self, path)

    monkeypatch.setattr(asyncssh.SFTPClient, "scandir", scandir)
    monkeypatch.setattr(asyncssh.SFTPClient, "lstat", lstat)
    second = read("sftp", disk.options, cursor=first[-1].cursor)
    anew = read("sftp", disk.options)

    assert [row for row in rows(second) if "_op" in row] == []
    assert {row["path"]: row["content"] for row in rows(anew)} == {"a.txt": b"one", "in/b.txt": b"two"}


def test_a_name_that_vanishes_while_it_is_looked_at_takes_no_other_with_it(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in/a.txt", "in/b.txt", "in/c.txt"):
        disk.put(name, name.encode())
    first = read("sftp", disk.options)
    real = asyncssh.SFTPClient.scandir

    async def scandir(self: Any, path: Any) -> Any:
        async for item in real(self, path):
            if item.filename == b"b.txt":
                (disk.folder / "in/b.txt").unlink()
            item.attrs = asyncssh.SFTPAttrs()
            yield item

    monkeypatch.setattr(asyncssh.SFTPClient, "scandir", scandir)
    second = read("sftp", disk.options, cursor=first[-1].cursor)

    assert [row["path"] for row in rows(second) if row.get("_op")] == ["in/b.txt"]


def test_a_file_that_the_server_fails_on_keeps_the_connection(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that those which are read beside it do not fail with it."""
    for number in range(9):
        disk.put(f"{number}.txt", b"text")
    real = SftpStorage._part

    async def failing(self: SftpStorage, entry: Any, start: int, size: int) -> Any:
        if entry.path == "4.txt":
            raise asyncssh.SFTPFailure("input/output error")
        return await real(self, entry, start, size)

    monkeypatch.setattr(SftpStorage, "_part", failing)
    with SftpBee.from_options(disk.options) as bee:
        bee.validate_flight_path()
        before = bee._storage._connection
        found = list(bee.collect_nectar("documents", None))
        assert bee._storage._connection is before

    assert [row["path"] for row in rows(found)] == [f"{n}.txt" for n in range(9) if n != 4]


def test_a_server_that_hangs_ends_in_time(disk: FolderDisk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held: list[Any] = []
        threading.Thread(target=lambda: held.append(silent.accept()), daemon=True).start()
        options = disk.options | {"port": silent.getsockname()[1], "timeout": 0.5}
        with SftpBee.from_options(options) as bee, pytest.raises(RetryLater):
            bee.validate_flight_path()
        for connection, _ in held:
            connection.close()


def test_a_connection_that_broke_is_made_anew(disk: FolderDisk, sftp_server: SftpServer) -> None:
    disk.put("a.txt", b"one")
    with SftpBee.from_options(disk.options) as bee:
        bee.validate_flight_path()
        sftp_server.stop()
        bee._storage._drop()
        with pytest.raises(RetryLater):
            bee.validate_flight_path()
        sftp_server.start()
        assert [r["path"] for r in rows(list(bee.collect_nectar("documents", None)))] == ["a.txt"]


def test_a_connection_that_ended_while_it_was_idle_is_made_anew(disk: FolderDisk) -> None:
    disk.put("a.txt", b"one")
    with cable(disk.options["port"]) as wire, SftpBee.from_options(disk.options | {"port": wire.port}) as bee:
        for made in (1, 2, 3):
            assert [r["path"] for r in rows(list(bee.collect_nectar("documents", None)))] == ["a.txt"]
            assert wire.made == made
            before = bee._storage._connection
            wire.cut()
            until(before.is_closed)


def test_a_connection_that_is_there_when_nobody_waits_any_more_is_closed(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free, made = threading.Event(), threading.Event(), socket.socket()

    def dialled(*_: object) -> socket.socket:
        begun.set()
        free.wait(30)
        return made

    monkeypatch.setattr("bees.core.storage.dial.dial", dialled)
    bee = SftpBee.from_options(disk.options)

    def read_on() -> None:
        with suppress(Exception, CancelledError):  # whatever a reader is told whose bee was closed
            list(bee.collect_nectar("documents", None))

    reading = threading.Thread(target=read_on)
    reading.start()
    assert begun.wait(30)
    threading.Timer(0.3, free.set).start()
    bee.close()
    reading.join(30)

    assert made.fileno() == -1


def test_who_asks_must_be_proven() -> None:
    with pytest.raises(pydantic.ValidationError, match="private_key"):
        SftpBee.from_options({"host": "h", "auth": {"username": "u"}})
