"""Files of a real FTP server, plain and over TLS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bees.core.errors import GiveUp
from bees.ftp import FtpBee
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk, read, sections
from tests.servers.cable import cable
from tests.servers.ftp import PASSWORD, FTPHandler, ftp_folder, ftps_server, serving

pytestmark = pytest.mark.servers
__all__ = ["ftp_folder", "ftps_server"]


def made(folder: Path, port: int, **more: Any) -> FolderDisk:
    disk = FolderDisk(folder)
    auth = {"username": "bee", "password": PASSWORD}
    disk.options = {"host": "127.0.0.1", "port": port, "allow_private": True, "tls": "none", "auth": auth, **more}
    disk.unreachable = disk.options | {"port": free_port()}
    disk.denied = disk.options | {"auth": {"username": "bee", "password": "wrong-secret"}}
    disk.secrets = (PASSWORD, "wrong-secret")
    return disk


@pytest.fixture
def disk(ftp_folder: Path) -> Iterator[Disk]:
    with serving(ftp_folder) as port:
        yield made(ftp_folder, port)


class TestFtp(FileSystemContract):
    connector = "ftp"

    @pytest.fixture
    def disk(self, disk: Disk) -> Disk:
        return disk


class TestFtps(FileSystemContract):
    connector = "ftp"

    @pytest.fixture
    def disk(self, ftps_server: tuple[Path, int]) -> Iterator[Disk]:
        folder, port = ftps_server
        yield made(folder, port, tls="explicit", ca=(folder.parent / "ca.pem").read_text(), path=str(folder))
        for inner in folder.iterdir():
            shutil.rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()

    def test_a_certificate_that_nobody_trusts_is_refused(self, disk: Disk) -> None:
        with FtpBee.from_options(disk.options | {"ca": ""}) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert error.value.code == "bad_certificate"

    def test_links_and_files_without_rights(self, disk: FolderDisk) -> None:
        disk.put("a.txt", b"inside")
        disk.put("b.txt", b"closed")
        outside = disk.folder.parent / "outside.txt"
        outside.write_text("outside")
        (disk.folder / "link.txt").symlink_to(outside)
        (disk.folder / "loop").symlink_to(disk.folder)
        (disk.folder / "b.txt").chmod(0)
        if os.geteuid() == 0:
            os.chown(disk.folder / "b.txt", 0, 0)

        batches = read("ftp", disk.options)

        assert [r["path"] for r in rows(batches)] == ["a.txt"]
        assert [(r.position, r.code) for b in batches for r in b.rejects] == [("b.txt", "unreadable")]


def test_a_server_without_tls_is_not_spoken_to_in_clear(disk: Disk) -> None:
    with FtpBee.from_options(disk.options | {"tls": "explicit"}) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    assert (error.value.code, error.value.where) == ("no_tls", "tls")


def test_a_server_that_cannot_list_exactly_is_named(ftp_folder: Path) -> None:
    commands = {name: what for name, what in FTPHandler.proto_cmds.items() if name not in ("MLSD", "MLST")}
    with serving(ftp_folder, type("Old", (FTPHandler,), {"proto_cmds": commands})) as port:
        disk = made(ftp_folder, port)
        with FtpBee.from_options(disk.options) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
    assert error.value.code == "no_mlsd"


@pytest.mark.parametrize("most", [1, 3])
def test_a_server_that_lets_few_connections_in_is_read_with_those(ftp_folder: Path, most: int) -> None:
    with serving(ftp_folder, most=most) as port:
        disk = made(ftp_folder, port)
        for number in range(30):
            disk.put(f"{number:02}.txt", b"text")
        found = read("ftp", disk.options)

    assert [r["path"] for r in rows(found)] == [f"{n:02}.txt" for n in range(30)]
    assert found[-1].complete


def test_who_is_refused_beside_others_of_the_same_name_waits(ftp_folder: Path) -> None:
    """Some servers answer to one connection too many as to a wrong password."""

    class Few(FTPHandler):  # type: ignore[misc]
        most = 2

        def ftp_PASS(self, line: str) -> str | None:  # noqa: N802 - the protocol's word
            others = [one for one in self.ioloop.socket_map.values() if isinstance(one, FTPHandler) and one is not self]
            if sum(one.authenticated for one in others) >= self.most:
                self.respond("530 Sorry, the maximum number of clients (2) for this user already connected.")
                return None
            return str(super().ftp_PASS(line))

    with serving(ftp_folder, Few) as port:
        disk = made(ftp_folder, port)
        for number in range(30):
            disk.put(f"{number:02}.txt", b"text")
        found = read("ftp", disk.options)

    assert [r["path"] for r in rows(found)] == [f"{n:02}.txt" for n in range(30)]


def test_connections_that_ended_while_they_were_idle_are_made_anew(disk: FolderDisk) -> None:
    for number in range(20):
        disk.put(f"{number:02}.txt", b"text")
    with cable(disk.options["port"]) as wire, FtpBee.from_options(disk.options | {"port": wire.port}) as bee:
        for _ in range(2):
            found = list(bee.collect_nectar("documents", None))
            assert [r["path"] for r in rows(found)] == [f"{n:02}.txt" for n in range(20)]
            wire.cut()


@pytest.mark.parametrize("left_out", [b"size", b"modify", b"type"])
def test_a_server_that_tells_less_is_read(ftp_folder: Path, left_out: bytes) -> None:
    """A file of which it leaves out a fact is there; it is not gone."""

    class Scant(FTPHandler.abstracted_fs):  # type: ignore[misc]
        bare = False

        def format_mlsx(self, *given: Any, **more: Any) -> Iterator[bytes]:
            for line in super().format_mlsx(*given, **more):
                facts, _, name = line.partition(b" ")
                kept = [f for f in facts.split(b";") if not (type(self).bare and f.startswith(left_out + b"="))]
                yield b";".join(kept) + b" " + name

    with serving(ftp_folder, type("Handler", (FTPHandler,), {"abstracted_fs": Scant})) as port:
        disk = made(ftp_folder, port)
        disk.put("a.txt", b"one")
        disk.put("b.csv", b"id\n1\n2\n")
        cursors = {stream: read("ftp", disk.options, stream)[-1].cursor for stream in ("documents", "records")}
        Scant.bare = True
        later = {stream: read("ftp", disk.options, stream, cursor) for stream, cursor in cursors.items()}
        anew = {stream: rows(read("ftp", disk.options, stream)) for stream in cursors}

    assert [row for found in later.values() for row in rows(found) if "_op" in row] == []
    assert [row["content"] for row in anew["documents"]] == [b"one"]
    assert [row["id"] for row in anew["records"]] == ["1", "2"]


def test_two_files_that_the_server_calls_the_same_are_told(disk: FolderDisk) -> None:
    for name in (b"caf\xe9.txt", b"caf\xe8.txt"):
        (disk.folder / os.fsdecode(name)).write_bytes(name)

    batches = read("ftp", disk.options)

    assert [r["path"] for r in rows(batches)] == []
    assert [(r.position, r.code) for b in batches for r in b.rejects] == [("caf?.txt", "same_name")]


@pytest.mark.parametrize("name", [b"new\nline.txt", b"caf\xe9.txt"], ids=["line break", "no text"])
def test_a_file_that_cannot_be_asked_for_is_told(disk: FolderDisk, name: bytes) -> None:
    """The server lists the one in two lines, and the other under a name that it does not know itself."""
    disk.put("a.txt", b"one")
    at = disk.folder / os.fsdecode(name)
    at.write_bytes(b"two")
    os.utime(at, (5, 5))
    first = read("ftp", disk.options)
    second = read("ftp", disk.options, cursor=first[-1].cursor)

    assert [r["path"] for r in rows(first) + rows(second)] == ["a.txt"]
    assert [r.code for b in second for r in b.rejects] == ["not_there"]


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.parametrize("how", ["chdir", "listdir"])
def test_a_folder_that_may_not_be_listed_is_not_empty(ftp_folder: Path, how: str, looks: bool) -> None:
    """What may not be seen and what is not there are one answer: 550."""

    class Fenced(FTPHandler.abstracted_fs):  # type: ignore[misc]
        fenced = False

        def chdir(self, path: str) -> None:
            self._pass(path, "chdir")
            super().chdir(path)

        def listdir(self, path: str) -> list[str]:
            self._pass(path, "listdir")
            return list(super().listdir(path))

        def lstat(self, path: str) -> os.stat_result:
            if not looks:
                self._pass(path, how)
            return os.lstat(path)

        def _pass(self, path: str, asked: str) -> None:
            if type(self).fenced and asked == how and Path(path).name == "in":
                raise PermissionError(13, "denied")

    with serving(ftp_folder, type("Handler", (FTPHandler,), {"abstracted_fs": Fenced})) as port:
        disk = made(ftp_folder, port)
        disk.put("a.txt", b"one")
        disk.put("in/b.txt", b"two")
        disk.put("in/c.csv", b"id\n1\n")
        cursors = {stream: read("ftp", disk.options, stream)[-1].cursor for stream in ("documents", "records")}
        Fenced.fenced = True
        found = {stream: read("ftp", disk.options, stream, cursor) for stream, cursor in cursors.items()}
        shutil.rmtree(ftp_folder / "in")
        gone = {stream: read("ftp", disk.options, stream, found[stream][-1].cursor) for stream in cursors}

    for stream, batches in found.items():
        assert [(r.position, r.code) for b in batches for r in b.rejects] == [("in", "unreadable")], stream
    assert rows(found["documents"]) == []
    assert sections(found["records"]) == []
    assert rows(gone["documents"]) == [{"path": "in/b.txt", "_op": "delete"}]
    assert sections(gone["records"]) == [("in/c.csv", 0, True, True)]
