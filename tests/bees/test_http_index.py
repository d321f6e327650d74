"""Files that a real web server lists in pages of links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk, read
from tests.servers.webdav import web_index

pytestmark = pytest.mark.servers


class TestHttpIndex(FileSystemContract):
    connector = "http_index"

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Disk]:
        with web_index(tmp_path) as url:
            made = FolderDisk(tmp_path)
            made.options = {"url": url, "allow_private": True}
            made.unreachable = {"url": f"http://127.0.0.1:{free_port()}/", "allow_private": True}
            yield made

    def test_links_that_lead_elsewhere_are_not_followed(self, tmp_path: Path, disk: Disk) -> None:
        disk.put("root/a.txt", b"a")
        disk.put("out.txt", b"outside")
        links = [
            "a.txt",
            "../out.txt",
            "/out.txt",
            "//127.0.0.1:1/b.txt",
            "http://127.0.0.1:1/c.txt",
            "a.txt?x=1",
            "%2e%2e/",
            ".",
        ]
        page = "".join(f'<a href="{link}">x</a>' for link in links)
        disk.put("root/index.html", page.encode())

        found = read("http_index", disk.options | {"path": "/root"})

        assert [(r["path"], r["content"]) for r in rows(found)] == [("a.txt", b"a")]
