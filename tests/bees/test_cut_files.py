"""Large files whose transfer is cut in the middle, over every store: each row comes once, and reading goes on there."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud.storage.retry import DEFAULT_RETRY

from bees.core.errors import RetryLater, SourceError
from bees.core.storage.base import Storage
from bees.core.storage.ranges import AHEAD, RangeReader
from nectar.batch import Batch
from tests.bees.contract import bee_class, rows
from tests.bees.file_systems import Disk, FolderDisk, sections
from tests.bees.test_azure_blob import ContainerDisk
from tests.bees.test_gcs import BucketDisk
from tests.bees.test_google_drive import DriveDisk
from tests.servers.azure import ACCOUNT, azurite
from tests.servers.drive import VALID, drive_mock, tokens
from tests.servers.gcs import gcs_url
from tests.servers.s3 import S3Server, s3_server
from tests.servers.troubled import Cut, Relay, Trouble, troubled
from tests.servers.webdav import PASSWORD, webdav

pytestmark = pytest.mark.servers
__all__ = ["azurite", "drive_mock", "gcs_url", "s3_server"]
_number = itertools.count(1)
KINDS = ["s3", "gcs", "azure_blob", "google_drive", "webdav"]
CUTS = (Cut(), Cut(0), Cut(1000, told=True), Cut(3000, reset=True))


@dataclass
class Store:
    """A bucket with a large table between two small ones, behind a relay.

    `bad` is one of its blocks, `asked` where its ranges began.
    """

    connector: str
    options: dict[str, Any]
    relay: Relay
    name: str = "big.csv"
    rows: int = 6000
    block: int = 16 << 10
    bad: int = 13
    asked: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, path: str, headers: dict[str, str]) -> int | None:
        """Where a read of the large table begins; None for other requests."""
        if self.name not in path:
            return None
        found = re.search(r"bytes=(\d+)-", headers.get("range", headers.get("x-ms-range", "")))
        return int(found[1]) if found else None

    def harmed(self, harm: Callable[[int, int], Cut | Trouble | None]) -> None:
        """Harm the reads of the large table, by their block and how often something of it was asked for."""
        counts: Counter[int] = Counter()

        def found(_: str, path: str, headers: dict[str, str]) -> Cut | Trouble | None:
            at = self.at(path, headers)
            if at is None:
                return None
            with self.lock:
                self.asked.append(at)
                counts[at // self.block] += 1
                return harm(at // self.block, counts[at // self.block])

        self.relay.harm = found

    def leg(self, cursor: Any = None, **more: Any) -> tuple[list[Batch], SourceError | None]:
        got: list[Batch] = []
        self.asked.clear()
        told = json.loads(json.dumps(cursor))
        with bee_class(self.connector).from_options({**self.options, "batch_rows": 200, **more}) as bee:
            try:
                got.extend(bee.collect_nectar("records", told))  # what comes before the error is kept
            except SourceError as error:
                return got, error
        return got, None

    @property
    def big(self) -> bytes:
        return files(self.rows)["big.csv"]

    @property
    def every_row(self) -> list[int]:
        return [-1, *range(self.rows), -2]


def files(count: int) -> dict[str, bytes]:
    big = b"id,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * 40) for n in range(count))
    return {"a.csv": b"id\n-1\n", "big.csv": big, "z.csv": b"id\n-2\n"}


def put(disk: Disk, count: int = Store.rows) -> None:
    for name, data in files(count).items():
        disk.put(name, data)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    block = 8 << 10 if request.param == "google_drive" else Store.block
    for place in ("bees.core.file_pass", "bees.google_drive"):
        monkeypatch.setattr(f"{place}.SMALL", block)
    monkeypatch.setattr(Storage, "block", block)
    monkeypatch.setattr("bees.core.formats.csv_blocks.BLOCK", 20_000)
    monkeypatch.setattr("bees.core.storage.ranges.PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr("azure.storage.blob._download.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr("bees.gcs._retry", lambda seconds: DEFAULT_RETRY.with_timeout(seconds).with_delay(0.05, 0.3))
    get: Callable[[str], Any] = request.getfixturevalue
    kind, path, more = request.param, "", dict[str, Any]()
    with tokens(VALID) as (token_url, _), webdav(tmp_path) as dav:
        disk: Disk
        if kind == "s3":
            server: S3Server = get("s3_server")
            name = f"cut-{next(_number)}"
            server.bucket(name, files(Store.rows))
            options, url = server.options(name), server.url
        elif kind == "google_drive":
            disk = DriveDisk(get("drive_mock"), token_url)
            put(disk, 1800)  # the mock takes no more than 100 KB
            more = {"name": disk.ids["big.csv"], "rows": 1800, "block": block, "bad": 9}
            options, url = disk.options, disk.server.url
        elif kind == "webdav":
            put(FolderDisk(tmp_path))
            auth = {"method": "basic", "username": "bee", "password": PASSWORD}
            options, url, path = {"allow_private": True, "auth": auth}, dav.removesuffix("/files/"), "/files/"
        else:
            made, fixture = {"gcs": (BucketDisk, "gcs_url"), "azure_blob": (ContainerDisk, "azurite")}[kind]
            url = get(fixture)
            disk = made(url)
            put(disk)
            options, path = disk.options, "" if kind == "gcs" else f"/{ACCOUNT}"
        with troubled(url.removesuffix(path)) as relay:
            relay.ranges = kind == "google_drive"
            where = {"url" if kind == "webdav" else "endpoint": relay.url + path}
            yield Store(kind, options | where | {"timeout": 0.5 if kind == "gcs" else 5}, relay, **more)


def ids(*legs: list[Batch]) -> list[int]:
    return [int(row["id"]) for batches in legs for row in rows(batches)]


def refused(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(reject.position, reject.code) for batch in batches for reject in batch.rejects]


def test_a_file_that_is_cut_in_many_places_comes_whole(store: Store) -> None:
    """In the middle of a range, at its first byte, with another length, by a reset: each goes on in the same leg."""
    store.harmed(lambda block, count: CUTS[block % 4] if block < 5 and count == 1 else None)

    got, error = store.leg()

    assert (ids(got), error, refused(got)) == (store.every_row, None, [])
    assert ("big.csv", True) in {(name, ends) for name, _, _, ends in sections(got)}
    assert len(store.asked) <= 4 * len(store.big) / store.block, (
        "the file's beginning is looked at, and then it is read"
    )
    assert store.leg(got[-1].cursor)[0] == [], "it is known as read"


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv.gz"])
@pytest.mark.parametrize("store", ["webdav"], indirect=True)
def test_tables_of_other_kinds_that_are_cut_come_whole(store: Store, tmp_path: Path, kind: str) -> None:
    count = 5000
    texts = [random.Random(n).randbytes(20).hex() for n in range(count)]
    at = tmp_path / f"other.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"id": list(range(count)), "text": texts}), at, row_group_size=500)
    elif kind == "jsonl":
        at.write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)))
    else:
        lines = (f"{n},{text}\n" for n, text in enumerate(texts))
        at.write_bytes(gzip.compress(b"id,text\n" + "".join(lines).encode()))
    assert at.stat().st_size > 7 * store.block
    store.name = at.name
    store.harmed(lambda block, count: CUTS[block % 4] if count == 1 else None)

    got, error = store.leg(patterns=["other.*"])

    assert (ids(got), error, refused(got)) == (list(range(count)), None, [])


@pytest.mark.parametrize("store", ["webdav"], indirect=True)
def test_a_proxy_that_ends_each_answer_after_so_many_bytes_is_read_through(store: Store) -> None:
    store.harmed(lambda *_: Cut(5000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bees.core.storage.ranges._SMALLEST", 4000)
        got, error = store.leg()

    assert (ids(got), error) == (store.every_row, None)


def test_a_file_that_stays_cut_keeps_its_place_or_is_told_and_keeps_no_other_from_being_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bees.core.storage.ranges.PAUSES", (0.01,))
    store.harmed(lambda block, _: Cut(1) if block == store.bad else None)
    first, error = store.leg()

    assert isinstance(error, RetryLater)
    assert (error.code, error.after) in (("connection_lost", None), ("cut_short", None))
    assert ids(first) == store.every_row[: len(ids(first))]
    assert 600 < len(ids(first)) < store.rows
    again, error = store.leg(first[-1].cursor)
    assert (ids(again), error) == ([-2], None)
    assert refused(again) == [("big.csv", "unavailable")]
    assert re.search("connection_lost|cut_short", again[0].rejects[0].reason)
    store.harmed(lambda *_: None)
    rest, error = store.leg(first[-1].cursor)

    assert (ids(first, rest), error) == (store.every_row, None)
    behind = {at // store.block for at in store.asked} & set(range(8, store.bad - 2))
    assert not behind, "what was read before is not asked for again"


@pytest.mark.parametrize("store", ["gcs", "google_drive"], indirect=True)
def test_a_store_that_asks_to_wait_in_the_middle_of_a_file_is_asked_again_there(store: Store) -> None:
    store.harmed(lambda block, _: (503, {"Retry-After": "7"}, b"") if block == store.bad else None)
    first, error = store.leg()
    again, later = store.leg(first[-1].cursor)
    store.harmed(lambda *_: None)
    rest, _ = store.leg((again or first)[-1].cursor)

    for told in (error, later):
        assert isinstance(told, RetryLater)
        assert told.after == 7
    assert 600 < len(ids(first)) < store.rows
    assert (ids(first, again, rest), refused(again)) == (store.every_row, [])


@pytest.mark.parametrize("store", ["gcs"], indirect=True)
def test_errors_that_a_library_leaves_unread_use_up_no_connections(store: Store) -> None:
    """Google's asks again many times, and waited for ever for one that was free."""
    store.harmed(lambda *_: (503, {}, b"busy"))
    got, error = store.leg(concurrency=2, timeout=3)

    assert isinstance(error, RetryLater)
    assert (error.code, ids(got)) == ("rate_limited", [-1])
    assert len(store.asked) > 4


@pytest.mark.parametrize("store", ["s3", "gcs", "azure_blob"], indirect=True)
def test_a_server_that_sends_all_of_a_file_in_place_of_a_part_is_told(store: Store) -> None:
    """The beginning of the file must not pass for its middle, nor a file of any size fill the memory."""
    named = {
        "x-goog-stored-content-length": str(len(store.big)),
        "ETag": '"own"',
        "x-ms-blob-type": "BlockBlob",
    }
    store.harmed(lambda *_: (200, named, store.big))

    got, error = store.leg()

    assert (ids(got), error) == ([-1, -2], None)
    assert refused(got) == [("big.csv", "no_ranges")]


class Gateway:
    """Lists one ETag, and gives the files under another, as of parts that were put together. `own` may change."""

    def __init__(self, store: Store) -> None:
        self.own: Callable[[], str] = lambda: '"own-2"'
        store.relay.without = ("if-match",)
        store.relay.harm = self.harm
        store.relay.change = self.change

    def harm(self, method: str, path: str, headers: dict[str, str]) -> Trouble | None:
        given = headers.get("if-match")
        return (412, {}, b"") if method == "GET" and ".csv" in path and given not in (None, self.own()) else None

    def change(self, method: str, path: str, headers: dict[str, str], data: bytes) -> bytes:
        if method == "GET" and ".csv" in path:
            for name in [name for name in headers if name.lower() == "etag"]:
                del headers[name]
            headers["ETag"] = self.own()
        return data


@pytest.mark.parametrize("store", ["s3", "azure_blob", "webdav"], indirect=True)
def test_files_that_are_given_under_another_etag_than_the_listed_one_are_read_by_it(store: Store) -> None:
    Gateway(store)
    if store.connector == "azure_blob":
        store.relay.without = ()  # it is part of what is signed
        store.relay.harm = lambda *given: Gateway.harm(Gateway(store), *given)
    first, error = store.leg()

    assert (ids(first), error, refused(first)) == (store.every_row, None, [])
    assert [ends for *_, ends in sections(first)][-1]
    second, error = store.leg(first[-1].cursor)
    assert (rows(second), error, refused(second)) == ([], None, [])


@pytest.mark.parametrize("store", ["s3", "webdav"], indirect=True)
def test_a_file_whose_own_etag_changes_while_it_is_read_is_left_for_the_next_flight(store: Store) -> None:
    gateway, turns = Gateway(store), itertools.count()
    gateway.own = lambda: f'"own-{next(turns) // 8}"'
    first, error = store.leg()

    assert error is None
    assert refused(first) == []
    assert not first[-1].complete
    assert ("big.csv", True) not in {(name, ends) for name, _, _, ends in sections(first)}
    gateway.own = lambda: '"own"'
    second, error = store.leg(first[-1].cursor)
    assert [n for n in ids(second) if n >= 0] == list(range(store.rows))
    assert (error, refused(second)) == (None, [])


def test_a_reader_of_ranges_holds_few_of_them_however_often_they_break_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bees.core.storage.ranges.PAUSES", (0.0, 0.0, 0.0))
    block, blocks, turns = 64 << 10, 64, itertools.count()

    def read(start: int, size: int) -> bytes:
        if next(turns) % 3 == 0:
            raise RetryLater("broke", code="connection_lost")
        return bytes([start // block]) * (size // 2 if next(turns) % 4 == 1 else size)

    with ThreadPoolExecutor(4) as pool:
        reader = RangeReader(read, blocks * block, pool, block)
        tracemalloc.start()
        try:
            for number in range(blocks):
                piece = bytearray(block)
                assert reader.readinto(memoryview(piece)) == block
                assert piece == bytes([number]) * block
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        reader.close()

    assert most < (AHEAD + 2 + 6) * block


def test_a_reader_of_ranges_goes_back_and_forth() -> None:
    """As readers of tables do: a range that is wanted is among those that were fetched ahead long ago."""
    block, data, chance = 10, random.Random(1).randbytes(400), random.Random(2)

    with ThreadPoolExecutor(2) as pool:
        reader = RangeReader(lambda start, size: data[start : start + size], len(data), pool, block)
        for _ in range(2000):
            at = chance.choice([chance.randrange(len(data)), reader.tell(), max(reader.tell() - 25, 0)])
            reader.seek(at)
            assert reader.read(9) == data[at : min(at + 9, at - at % block + block)]
            assert len(reader._held) <= AHEAD + 2
        reader.close()


@pytest.mark.parametrize("after", [None, 5.0])
def test_only_what_broke_off_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, after: float | None) -> None:
    monkeypatch.setattr("bees.core.storage.ranges.PAUSES", (0.0, 0.0, 0.0))
    asked: list[int] = []

    def read(start: int, _: int) -> bytes:
        asked.append(start)
        raise RetryLater("no", code="connection_lost" if after else "timeout", after=after)

    with ThreadPoolExecutor(1) as pool, pytest.raises(RetryLater):
        RangeReader(read, 10, pool, 10).read(10)

    assert asked == [0]
