"""Files of a real WebDAV server."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bees.core.errors import GiveUp
from bees.core.http import HttpClient
from bees.webdav import WebdavStorage, _read
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk, read
from tests.servers.troubled import Relay, troubled
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


@pytest.fixture
def unsized(disk: FolderDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[dict[str, Any], Relay]]:
    """The server behind a relay that takes sizes out of its listings. A range has 16 KiB."""
    monkeypatch.setattr(WebdavStorage, "block", 16 << 10)
    monkeypatch.setattr("bees.core.storage.web.SMALL", 16 << 10)

    def without(method: str, _: str, __: dict[str, str], data: bytes) -> bytes:
        return re.sub(b"<[^/>]*getcontentlength>[0-9]*</[^>]*>", b"", data) if method == "PROPFIND" else data

    with troubled(disk.options["url"].removesuffix("/files/")) as relay:
        relay.change = without
        yield disk.options | {"url": f"{relay.url}/files/"}, relay


def test_of_a_file_of_unknown_size_no_more_than_a_range_is_asked_for_at_once(
    disk: FolderDisk, unsized: tuple[dict[str, Any], Relay]
) -> None:
    options, relay = unsized
    texts = {f"{n}.txt": b"%d " % n * (n * 12_000) for n in range(8)} | {"empty.txt": b""}
    for name, text in texts.items():
        disk.put(name, text)
    relay.harm = lambda _, path, headers: (416, {}, b"") if "empty" in path and "range" in headers else None
    disk.put("rows.csv", b"id\n" + b"".join(b"%d\n" % n for n in range(20_000)))

    found = {row["path"]: row["content"] for row in rows(read("webdav", options))}
    table = [row["id"] for row in rows(read("webdav", options, "records"))]

    assert found == texts
    assert table == [str(n) for n in range(20_000)]
    parts = [h.get("Range", "") for (m, path), h in zip(relay.seen, relay.headers, strict=True) if m == "GET"]
    asked = [[int(n) for n in part.removeprefix("bytes=").split("-")] for part in parts if part]
    assert max(last - first for first, last in asked) < 16 << 10
    assert parts.count("") == 1, "the empty one has no first byte"


def test_files_of_unknown_size_whose_server_gives_no_parts_are_read_in_their_turn(
    disk: FolderDisk, unsized: tuple[dict[str, Any], Relay]
) -> None:
    options, relay = unsized
    texts = {f"{n}.txt": b"%d " % n * (n * 20_000) for n in range(4)}
    for name, text in texts.items():
        disk.put(name, text)
    relay.without = ("range",)

    found = {row["path"]: row["content"] for row in rows(read("webdav", options))}

    assert found == texts
