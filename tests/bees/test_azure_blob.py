"""Containers of azurite, Microsoft's own emulator."""

from __future__ import annotations

import itertools
import socket
import time
from typing import Any

import pytest

from bees.azure_blob import AzureBlobBee
from bees.core.errors import GiveUp, RetryLater, SourceError
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, read
from tests.bees.test_file_troubles import peer
from tests.servers.azure import ACCOUNT, KEY, azurite

pytestmark = pytest.mark.servers
__all__ = ["azurite"]
_number = itertools.count(1)
OTHER = "b3RoZXItc2VjcmV0LWtleQ=="


class ContainerDisk(Disk):
    def __init__(self, url: str) -> None:
        from azure.storage.blob import ContainerClient

        name = f"container-{next(_number)}"
        self._container: Any = ContainerClient(url, name, credential={"account_name": ACCOUNT, "account_key": KEY})
        self._container.create_container()
        auth = {"method": "account_key", "account_key": KEY}
        self.options = {
            "account": ACCOUNT, "container": name, "endpoint": url, "allow_private": True, "auth": auth, "path": "/top",
            "timeout": 5,
        }  # fmt: skip
        self.unreachable = self.options | {"endpoint": f"http://127.0.0.1:{free_port()}/{ACCOUNT}"}
        self.denied = self.options | {"auth": auth | {"account_key": OTHER}}
        self.secrets = (KEY, OTHER)

    def put(self, path: str, data: bytes) -> None:
        self._container.upload_blob(f"top/{path}", data, overwrite=True)

    def remove(self, path: str) -> None:
        self._container.delete_blob(f"top/{path}")

    def files(self) -> dict[str, bytes]:
        return {blob.name: self._container.download_blob(blob.name).readall() for blob in self._container.list_blobs()}


class TestAzureBlob(FileSystemContract):
    connector = "azure_blob"

    @pytest.fixture
    def disk(self, azurite: str) -> Disk:
        return ContainerDisk(azurite)

    def test_a_folder_that_is_not_there_is_named(self, disk: Disk) -> None:
        """Containers have no folders, but they have names."""
        bee = AzureBlobBee.from_options(disk.options | {"container": "nothing"})
        with bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert (error.value.code, error.value.where) == ("no_folder", "container")


@pytest.mark.parametrize("recursive", [True, False])
def test_names_are_in_order_whichever_way_the_service_counts(
    azurite: str, monkeypatch: pytest.MonkeyPatch, recursive: bool
) -> None:
    """Azurite goes by UTF-16, where rare characters and pictures come before full-width signs."""
    monkeypatch.setattr("bees.azure_blob._PAGE", 2)
    disk = ContainerDisk(azurite)
    names = ["a.txt", "b\uff01.txt", "b\U00020bb7.txt", "b\U0001f600.txt", "c.txt", "\uff01.txt", "\U0001f600.txt"]
    names.sort(key=str.encode)
    for name in names:
        disk.put(name, b"text")
    options = {"batch_rows": 1, "recursive": recursive}
    whole = read("azure_blob", disk.options, **options)

    assert [row["path"] for row in rows(whole)] == names
    for at in range(len(names)):  # wherever reading stops, the rest comes, and nothing counts as gone
        rest = read("azure_blob", disk.options, cursor=whole[at].cursor, **options)
        assert [row["path"] for row in rows(rest)] == names[at + 1 :]


def test_a_name_that_no_request_can_carry_leads_to_no_other_blob() -> None:
    told = "<Etag>one</Etag><Content-Length>4</Content-Length><BlobType>BlockBlob</BlobType>"
    blob = f"<Blob><Name>top/../{{}}</Name><Properties>{told}</Properties></Blob>"
    page = "<?xml version='1.0'?><EnumerationResults><Blobs>{}</Blobs><NextMarker/></EnumerationResults>"
    listing = page.format(blob.format("../up.txt") + blob.format("secret.txt")).encode()
    asked: list[str] = []

    def service(path: str, given: dict[str, str]) -> tuple[int, bytes]:
        asked.extend([] if "comp" in given else [path])
        return 200, listing if "comp" in given else b"text"

    with peer(service, media_type="application/xml") as url:
        options = {"account": "one", "container": "papers", "endpoint": f"{url}/one", "allow_private": True}
        found = read("azure_blob", options | {"path": "/top", "auth": {"method": "anonymous"}})

    assert (rows(found), asked) == ([], [])
    assert {r.code for batch in found for r in batch.rejects} == {"bad_name"}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_service_that_hangs_ends_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/one"
        options = {"account": "one", "container": "papers", "endpoint": url, "allow_private": True, "timeout": 0.5}
        began = time.monotonic()
        bee = AzureBlobBee.from_options(options | {"auth": {"method": "anonymous"}})
        with bee, pytest.raises(RetryLater) as error:
            bee.validate_flight_path()

    assert error.value.code == "timeout"
    assert time.monotonic() - began < 60


def test_credentials_that_are_missing_are_named() -> None:
    with AzureBlobBee.from_options({"account": "a", "container": "c"}) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    assert (error.value.code, error.value.where) == ("no_credentials", "auth")


@pytest.mark.parametrize("body", [b"", b"<html><body><p>Sign in</p></body></html>", b'{"a": 1}', b"<html><br>"])
def test_another_answer_is_no_empty_container(body: bytes) -> None:
    with peer(lambda *_: (200, body)) as url:
        options = {"account": "one", "container": "papers", "endpoint": f"{url}/one", "allow_private": True}
        bee = AzureBlobBee.from_options(options | {"auth": {"method": "anonymous"}, "timeout": 1})
        with bee, pytest.raises(SourceError) as error:
            list(bee.collect_nectar("documents", None))

    assert error.value.code == "bad_answer"


@pytest.mark.parametrize("recursive", [True, False])
@pytest.mark.parametrize("markers", [("again",), ("one", "two"), ("one", "two", "three")])
def test_a_listing_that_goes_round_in_circles_ends(markers: tuple[str, ...], recursive: bool) -> None:
    turns = itertools.cycle(markers)
    page = "<?xml version='1.0'?><EnumerationResults><Blobs></Blobs><NextMarker>{}</NextMarker></EnumerationResults>"
    with peer(lambda *_: (200, page.format(next(turns)).encode()), media_type="application/xml") as url:
        options = {"account": "one", "container": "papers", "endpoint": f"{url}/one", "allow_private": True}
        options |= {"auth": {"method": "anonymous"}, "timeout": 1, "recursive": recursive}
        with AzureBlobBee.from_options(options) as bee:
            for ask in (bee.validate_flight_path, lambda: list(bee.collect_nectar("documents", None))):
                with pytest.raises(SourceError) as error:
                    ask()
                assert error.value.code == "bad_listing"
