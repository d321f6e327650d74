"""`pattern_match` deletes nothing and `bucket_snapshot` remembers nothing, on every file system of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nectar.batch import Batch
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, cut_short, read
from tests.bees.test_azure_blob import ContainerDisk
from tests.bees.test_ftp import disk as ftp
from tests.bees.test_gcs import BucketDisk
from tests.bees.test_google_drive import disk as google_drive
from tests.bees.test_http_index import disk as http_index
from tests.bees.test_sftp import disk as sftp
from tests.bees.test_smb import disk as smb
from tests.bees.test_webdav import disk as webdav
from tests.servers.azure import azurite
from tests.servers.drive import drive_mock
from tests.servers.ftp import ftp_folder
from tests.servers.gcs import gcs_url
from tests.servers.s3 import S3Server, s3_server
from tests.servers.sftp import sftp_server
from tests.servers.smb import smb_server

pytestmark = pytest.mark.servers
__all__ = [
    "azurite", "drive_mock", "ftp", "ftp_folder", "gcs_url", "google_drive", "http_index", "s3_server", "sftp",
    "sftp_server", "smb", "smb_server", "webdav",
]  # fmt: skip
SYSTEMS = ("azure_blob", "ftp", "gcs", "google_drive", "http_index", "s3", "sftp", "smb", "webdav")
STREAMS = ("documents", "records")


class S3Disk(Disk):
    def __init__(self, server: S3Server) -> None:
        self._bucket: Any = server.bucket("modes", {})
        self.options = server.options("modes")

    def put(self, path: str, data: bytes) -> None:
        self._bucket.put_object(Bucket="modes", Key=path, Body=data)

    def remove(self, path: str) -> None:
        self._bucket.delete_object(Bucket="modes", Key=path)

    def files(self) -> dict[str, bytes]:
        raise NotImplementedError


@pytest.fixture
def azure_blob(azurite: str) -> Disk:
    return ContainerDisk(azurite)


@pytest.fixture
def gcs(gcs_url: str) -> Disk:
    return BucketDisk(gcs_url)


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[Disk]:
    yield S3Disk(s3_server)
    s3_server.reset()


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> tuple[str, Disk]:
    return request.param, request.getfixturevalue(request.param)


def look(system: tuple[str, Disk], mode: str, stream: str, cursor: Any = None, **more: Any) -> list[Batch]:
    connector, disk = system
    return read(connector, disk.options, stream, cursor, mode=mode, **more)


def told(batches: list[Batch], stream: str) -> list[str]:
    """What came, by path, or by the number that stands in the row; a deletion ends with a sign of its own."""
    found = (row["path"] if stream == "documents" else row["id"] for row in rows(batches))
    gone = (row.get("_op") == "delete" for row in rows(batches))
    return [name + " -" * is_gone for name, is_gone in zip(found, gone, strict=True)]


def fill(disk: Disk, files: dict[str, str]) -> None:
    """Documents that hold their number, and tables with one row of it."""
    for name, number in files.items():
        disk.put(f"{name}.txt", number.encode())
        disk.put(f"{name}.csv", f"id\n{number}\n".encode())


def named(stream: str, files: dict[str, str]) -> list[str]:
    return [f"{name}.txt" for name in files] if stream == "documents" else list(files.values())


def test_a_match_brings_what_is_new_or_changed_and_deletes_nothing(system: tuple[str, Disk]) -> None:
    before = {"a": "1", "b": "2", "c": "3", "in/d": "4"}
    fill(system[1], before)
    first = {stream: look(system, "pattern_match", stream) for stream in STREAMS}
    fill(system[1], {"b": "22", "in/e": "5"})
    for name in ("a.txt", "a.csv", "c.txt", "c.csv"):
        system[1].remove(name)

    for stream in STREAMS:
        second = look(system, "pattern_match", stream, first[stream][-1].cursor)
        third = look(system, "pattern_match", stream, second[-1].cursor)

        assert told(first[stream], stream) == named(stream, before)
        assert told(second, stream) == named(stream, {"b": "22", "in/e": "5"})
        assert not [batch.complete for batch in second if batch.complete], "what it did not meet stays"
        assert not [s for batch in (*first[stream], *second) for s in batch.sections]
        assert not [r for batch in (*first[stream], *second) for r in batch.rejects]
        assert third == []


def test_a_snapshot_brings_everything_each_time_and_its_end_is_complete(system: tuple[str, Disk]) -> None:
    before = {"a": "1", "b": "2", "in/c": "3"}
    fill(system[1], before)
    first = {stream: look(system, "bucket_snapshot", stream) for stream in STREAMS}
    again = {stream: look(system, "bucket_snapshot", stream, first[stream][-1].cursor) for stream in STREAMS}
    for name in ("a.txt", "a.csv"):
        system[1].remove(name)

    for stream in STREAMS:
        less = look(system, "bucket_snapshot", stream, again[stream][-1].cursor)

        assert told(first[stream], stream) == told(again[stream], stream) == named(stream, before)
        assert told(less, stream) == named(stream, {"b": "2", "in/c": "3"})
        ends = [batches[-1] for batches in (first[stream], again[stream], less)]
        assert [(end.complete, end.cursor) for end in ends] == [(True, {"whole": True})] * 3
        assert not [s for batch in (*first[stream], *less) for s in batch.sections]


@pytest.mark.parametrize("mode", ["pattern_match", "bucket_snapshot"])
def test_a_leg_goes_on_where_the_one_before_ended(
    system: tuple[str, Disk], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bees.core.file_pass.SMALL", 1000)
    fill(system[1], {"a": "-1", "c": "-3", "in/d": "-4"})
    system[1].put("b.csv", b"\n".join([b"id,text", *(b"%d,%s" % (n, b"x" * 30) for n in range(900)), b""]))
    table = [str(n) for n in range(900)]

    documents = look(system, mode, "documents", batch_rows=1)
    others = look(system, mode, "documents", documents[0].cursor, batch_rows=1)
    records = look(system, mode, "records", batch_rows=300)
    rest = look(system, mode, "records", records[1].cursor, batch_rows=300)

    assert told(documents, "documents") == ["a.txt", "c.txt", "in/d.txt"]
    assert told(others, "documents") == ["c.txt", "in/d.txt"]
    assert told(records, "records") == ["-1", *table, "-3", "-4"]
    assert told(rest, "records") == [*table[300:], "-3", "-4"]
    assert documents[-1].cursor == others[-1].cursor
    assert [b[-1].complete for b in (documents, others, records, rest)] == [True] * 4, "they began from nothing"


@pytest.mark.parametrize("stream", STREAMS)
def test_a_snapshot_that_left_out_a_file_is_not_complete(
    system: tuple[str, Disk], stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "b.txt" if stream == "documents" else "b.csv"
    fill(system[1], {"a": "1", "c": "3"})
    system[1].put(name, b"id\n2\n4\n6\n")
    with monkeypatch.context() as broken:
        cut_short(broken, b"id\n2\n4\n6\n")
        first = look(system, "bucket_snapshot", stream)
    mended = look(system, "bucket_snapshot", stream, first[-1].cursor)

    assert told(first, stream) == named(stream, {"a": "1", "c": "3"}), "the others come"
    assert not first[-1].complete
    assert len(rows(mended)) == (3 if stream == "documents" else 5)
    assert mended[-1].complete
