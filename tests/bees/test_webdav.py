"""Files of a real WebDAV server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bees.core.errors import GiveUp
from bees.webdav import _read
from hive.embedded.places import free_port
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk
from tests.servers.webdav import PASSWORD, webdav

pytestmark = pytest.mark.servers


class TestWebdav(FileSystemContract):
    connector = "webdav"

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Disk]:
        with webdav(tmp_path) as url:
            made = FolderDisk(tmp_path)
            auth = {"method": "basic", "username": "bee", "password": PASSWORD}
            made.options = {"url": url, "allow_private": True, "auth": auth}
            made.unreachable = made.options | {"url": f"http://127.0.0.1:{free_port()}/files/"}
            made.denied = made.options | {"auth": auth | {"password": "wrong-secret"}}
            made.secrets = (PASSWORD, "wrong-secret")
            yield made


@pytest.mark.parametrize(
    "page", [b"<a", b"", b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a/>']
)  # fmt: skip
def test_a_listing_that_is_no_xml_or_declares_entities_is_refused(page: bytes) -> None:
    with pytest.raises(GiveUp) as error:
        _read(page, lambda _: None)
    assert error.value.code == "no_webdav"
