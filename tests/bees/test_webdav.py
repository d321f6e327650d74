"""Files of a real WebDAV server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bees.core.errors import GiveUp
from bees.core.http import HttpClient
from bees.webdav import _read
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk, read
from tests.servers.webdav import PASSWORD, webdav

pytestmark = pytest.mark.servers


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FolderDisk]:
    with webdav(tmp_path) as url:
        made = FolderDisk(tmp_path)
        auth = {"method": "basic", "username": "bee", "password": PASSWORD}
        made.options = {"url": url, "allow_private": True, "auth": auth}
        made.unreachable = made.options | {"url": f"http://127.0.0.1:{free_port()}/files/"}
        made.denied = made.options | {"auth": auth | {"password": "wrong-secret"}}
        made.secrets = (PASSWORD, "wrong-secret")
        yield made


class TestWebdav(FileSystemContract):
    connector = "webdav"

    @pytest.fixture
    def disk(self, disk: Disk) -> Disk:
        return disk


@pytest.mark.parametrize("behind", [0, 3600, -3600])
def test_a_young_file_is_looked_at_again_by_the_servers_clock(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    """Its ETag is made of size and time: what changed a moment ago may change again and keep it."""
    monkeypatch.setattr(HttpClient, "skew", property(lambda _: -float(behind)))
    at = (int(time.time()) - behind) * 10**9
    for name in ("a.txt", "old.txt"):
        disk.put(name, b"one")
    os.utime(disk.folder / "a.txt", ns=(at, at))
    first = read("webdav", disk.options)
    for name in ("a.txt", "old.txt"):
        times = (disk.folder / name).stat()
        (disk.folder / name).write_bytes(b"eno")
        os.utime(disk.folder / name, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert [r["content"] for r in rows(read("webdav", disk.options, cursor=first[-1].cursor))] == [b"eno"]


@pytest.mark.parametrize(
    "page", [b"<a", b"", b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a/>']
)  # fmt: skip
def test_a_listing_that_is_no_xml_or_declares_entities_is_refused(page: bytes) -> None:
    with pytest.raises(GiveUp) as error:
        _read(page, lambda _: None)
    assert error.value.code == "no_webdav"
