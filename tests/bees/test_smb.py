"""Files of a real Samba server."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.header import SMB2HeaderResponse
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
)

from bees.core.errors import GiveUp, RetryLater
from bees.core.storage.base import Entry
from bees.smb import SmbBee, SmbStorage
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk, read
from tests.servers.cable import cable
from tests.servers.smb import PASSWORD, SmbServer, smb_server

pytestmark = pytest.mark.servers
__all__ = ["smb_server"]


@pytest.fixture
def disk(smb_server: SmbServer) -> Iterator[FolderDisk]:
    made = FolderDisk(smb_server.root)
    made.options = smb_server.options()
    made.unreachable = made.options | {"port": free_port()}
    made.denied = made.options | {"auth": {"username": "bee", "password": "wrong-secret"}}
    made.secrets = (PASSWORD, "wrong-secret")
    yield made
    for inner in made.folder.iterdir():
        shutil.rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()


class TestSmb(FileSystemContract):
    connector = "smb"
    odd_names = ("sp ace & per%cent+plus#hash.txt", "ümläut.txt", "x" * 250 + ".txt")

    @pytest.fixture
    def disk(self, disk: Disk) -> Disk:
        return disk


def test_no_link_leads_outside(disk: FolderDisk) -> None:
    disk.put("a.txt", b"inside")
    outside = disk.folder.parent / "outside.txt"
    outside.write_text("outside")
    (disk.folder / "file").symlink_to(outside)
    (disk.folder / "loop").symlink_to(disk.folder)
    os.mkfifo(disk.folder / "pipe")

    found = read("smb", disk.options)

    assert "outside" not in str(rows(found))
    assert "a.txt" in [r["path"] for r in rows(found)]


def test_one_file_without_rights_is_set_aside_and_the_rest_comes(disk: FolderDisk) -> None:
    for name in ("a.txt", "b.txt", "in/c.txt"):
        disk.put(name, name.encode())
    (disk.folder / "a.txt").chmod(0)
    (disk.folder / "in").chmod(0)

    batches = read("smb", disk.options)

    assert [r["path"] for r in rows(batches)] == ["b.txt"]
    assert [(r.position, r.code) for b in batches for r in b.rejects] == [("a.txt", "unreadable"), ("in", "unreadable")]
    (disk.folder / "in").chmod(0o755)


def test_a_name_that_the_protocol_does_not_carry_is_told_and_never_leads_elsewhere(disk: FolderDisk) -> None:
    """Samba shows such names as others unless it is told not to."""
    for name in ("a.txt", "in/b.txt", "dot.", "st*ar.txt", "a.txt:b", "in\\b.txt", "wh?at/c.txt"):
        disk.put(name, name.encode())
    options = disk.options | {"share": "unmangled"}

    first = read("smb", options)

    assert [r["path"] for r in rows(first)] == ["a.txt", "dot.", "in/b.txt"]
    told = {(r.position, r.code) for b in first for r in b.rejects}
    assert told == {(n, "bad_name") for n in ("st*ar.txt", "a.txt:b", "in\\b.txt", "wh?at")}
    assert read("smb", options, cursor=first[-1].cursor) == []
    assert len(rows(read("smb", disk.options))) == 7


def test_a_file_that_another_program_holds_open_is_told_as_that(disk: FolderDisk) -> None:
    """As spreadsheets are on a network drive while somebody writes in them."""
    disk.put("a.csv", b"id\n1\n")
    disk.put("b.csv", b"id\n2\n")
    with SmbBee.from_options(disk.options) as other:
        held = Open(other._opened()._share(), "a.csv")
        held.create(
            ImpersonationLevel.Impersonation, FilePipePrinterAccessMask.FILE_READ_DATA, 0, 0,
            CreateDisposition.FILE_OPEN, CreateOptions.FILE_NON_DIRECTORY_FILE,
        )  # fmt: skip
        first = read("smb", disk.options, "records")
        held.close()
    later = read("smb", disk.options, "records", first[-1].cursor)

    assert [row["id"] for row in rows(first)] == ["2"]
    assert [(r.position, r.code) for b in first for r in b.rejects] == [("a.csv", "in_use")]
    assert [row["id"] for row in rows(later)] == ["1"]


def test_a_share_that_is_not_there_is_named(disk: FolderDisk) -> None:
    with SmbBee.from_options(disk.options | {"share": "nothing"}) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    assert (error.value.code, error.value.where) == ("no_folder", "share")


def test_a_share_that_hangs_ends_in_time(disk: FolderDisk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held: list[Any] = []
        threading.Thread(target=lambda: held.append(silent.accept()), daemon=True).start()
        options = disk.options | {"port": silent.getsockname()[1], "timeout": 0.5}
        with SmbBee.from_options(options) as bee, pytest.raises(RetryLater):
            bee.validate_flight_path()
        for connection, _ in held:
            connection.close()


def test_a_connection_that_ended_while_it_was_idle_is_made_anew(disk: FolderDisk) -> None:
    disk.put("a.txt", b"one")
    with cable(disk.options["port"]) as wire, SmbBee.from_options(disk.options | {"port": wire.port}) as bee:
        for made in (1, 2, 3):
            assert [r["path"] for r in rows(list(bee.collect_nectar("documents", None)))] == ["a.txt"]
            assert wire.made == made
            wire.cut()


def test_a_connection_that_breaks_while_files_are_read_loses_none(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        disk.put(f"{number:02}.txt", b"text")
    real, cuts = SmbStorage._part, [1]
    with cable(disk.options["port"]) as wire, SmbBee.from_options(disk.options | {"port": wire.port}) as bee:

        def cutting(self: SmbStorage, entry: Entry, start: int, size: int) -> tuple[bytes, bool]:
            if entry.path == "05.txt" and cuts:
                cuts.pop()
                wire.cut()
            return real(self, entry, start, size)

        monkeypatch.setattr(SmbStorage, "_part", cutting)
        found = list(bee.collect_nectar("documents", None))

    assert [r["path"] for r in rows(found)] == [f"{n:02}.txt" for n in range(20)]
    assert [r for batch in found for r in batch.rejects] == []


@pytest.mark.parametrize(("status", "kept"), [(0xC0000185, True), (0xC0000203, False)], ids=["of a file", "logged out"])
def test_a_file_that_the_server_fails_on_keeps_the_connection(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch, status: int, kept: bool
) -> None:
    """So that those which are read beside it do not fail with it; a session that ended is begun anew."""
    for number in range(9):
        disk.put(f"{number}.txt", b"text")
    real, failed = SmbStorage._part, []

    def failing(self: SmbStorage, entry: Entry, start: int, size: int) -> tuple[bytes, bool]:
        if entry.path == "4.txt" and (kept or not failed):
            failed.append(entry.path)
            header = SMB2HeaderResponse()
            header["status"].set_value(status)
            raise SMBResponseException(header)
        return real(self, entry, start, size)

    monkeypatch.setattr(SmbStorage, "_part", failing)
    with SmbBee.from_options(disk.options) as bee:
        bee.validate_flight_path()
        before = bee._storage._connection
        found = list(bee.collect_nectar("documents", None))
        assert (bee._storage._connection is before) == kept

    assert [row["path"] for row in rows(found)] == [f"{n}.txt" for n in range(9) if n != 4 or not kept]


@contextmanager
def stalling(port: int) -> Iterator[tuple[int, threading.Event]]:
    """A relay to a server, and what makes it say nothing more, with its connections open."""
    stalled, ended = threading.Event(), threading.Event()
    opened: list[socket.socket] = []

    def hand_on(source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                if stalled.is_set():
                    ended.wait(60)
                to.sendall(some)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                opened.extend([client, server])
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=hand_on, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        try:
            yield listener.getsockname()[1], stalled
        finally:
            ended.set()
            for one in opened:
                one.close()


def test_a_share_that_hangs_in_the_middle_ends_in_time(disk: FolderDisk) -> None:
    disk.put("a.txt", b"text")
    with (
        stalling(disk.options["port"]) as (port, stalled),
        SmbBee.from_options(disk.options | {"port": port, "timeout": 2}) as bee,
    ):
        bee.validate_flight_path()
        stalled.set()
        began = time.monotonic()
        with pytest.raises(RetryLater) as error:
            list(bee.collect_nectar("documents", None))

    assert error.value.code == "timeout"
    assert time.monotonic() - began < 40
