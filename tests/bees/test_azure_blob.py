"""Containers of azurite, Microsoft's own emulator."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bees.azure_blob import AzureBlobBee
from bees.core.errors import GiveUp, SourceError
from hive.embedded.places import free_port
from tests.bees.file_systems import Disk, FileSystemContract
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
