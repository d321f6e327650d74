"""Buckets of fake-gcs-server."""

from __future__ import annotations

import itertools
import traceback
from typing import Any

import pytest

from bees.core.errors import GiveUp, SourceError
from bees.gcs import GcsBee
from hive.embedded.places import free_port
from tests.bees.file_systems import Disk, FileSystemContract
from tests.bees.test_file_troubles import peer
from tests.servers.gcs import gcs_client, gcs_url

pytestmark = pytest.mark.servers
__all__ = ["gcs_url"]
_number = itertools.count(1)


class BucketDisk(Disk):
    def __init__(self, url: str) -> None:
        name = f"bucket-{next(_number)}"
        self._bucket: Any = gcs_client(url).create_bucket(name)
        auth = {"method": "anonymous"}
        self.options = {
            "bucket": name,
            "endpoint": url,
            "allow_private": True,
            "auth": auth,
            "path": "/top",
            "timeout": 2,
        }
        self.unreachable = self.options | {"endpoint": f"http://127.0.0.1:{free_port()}"}

    def put(self, path: str, data: bytes) -> None:
        self._bucket.blob(f"top/{path}").upload_from_string(data)

    def remove(self, path: str) -> None:
        self._bucket.blob(f"top/{path}").delete()

    def files(self) -> dict[str, bytes]:
        return {blob.name: blob.download_as_bytes() for blob in self._bucket.list_blobs()}


class TestGcs(FileSystemContract):
    connector = "gcs"

    @pytest.fixture
    def disk(self, gcs_url: str) -> Disk:
        return BucketDisk(gcs_url)

    def test_a_folder_that_is_not_there_is_named(self, disk: Disk) -> None:
        """Buckets have no folders, but they have names."""
        with GcsBee.from_options(disk.options | {"bucket": "no-such-bucket"}) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert (error.value.code, error.value.where) == ("no_folder", "bucket")


def test_a_key_that_is_none_is_named_and_not_repeated() -> None:
    options = {"bucket": "b", "auth": {"key": '{"private_key": "very-secret"}'}}
    with GcsBee.from_options(options) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    assert (error.value.code, error.value.where) == ("bad_key", "auth.key")
    assert "very-secret" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("body", [b"{}", b'{"message": "sign in"}', b"<html></html>"])
def test_another_answer_is_no_empty_bucket(body: bytes) -> None:
    with peer(lambda *_: (200, body)) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "anonymous"}}
        with GcsBee.from_options(options | {"timeout": 1}) as bee, pytest.raises(SourceError) as error:
            list(bee.collect_nectar("documents", None))

    assert error.value.code in ("no_gcs", "bad_answer")


@pytest.mark.parametrize("tokens", [("again",), ("one", "two"), ("one", "two", "three")])
def test_a_listing_that_goes_round_in_circles_ends(tokens: tuple[str, ...]) -> None:
    turns = itertools.cycle(tokens)
    with peer(lambda *_: (200, b'{"kind": "storage#objects", "nextPageToken": "%s"}' % next(turns).encode())) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "anonymous"}}
        with GcsBee.from_options(options | {"timeout": 1}) as bee, pytest.raises(SourceError) as error:
            list(bee.collect_nectar("documents", None))

    assert error.value.code == "bad_listing"
