"""Buckets of a real S3 server: every version of every object comes once, and an unchanged bucket is not read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.s3 import S3Bee, S3Storage
from nectar.batch import Batch
from tests.bees.contract import BeeContract, Source, rows
from tests.servers.s3 import KEYS, S3Server, free_port, s3_server

pytestmark = pytest.mark.servers
__all__ = ["s3_server"]


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[Any]:
    yield s3_server.bucket("papers", {})
    s3_server.reset()


def read(server: S3Server, stream: str = "documents", cursor: Any = None, **options: Any) -> list[Batch]:
    with S3Bee.from_options(server.options("papers", **options)) as bee:
        return list(bee.collect_nectar(stream, json.loads(json.dumps(cursor)) if cursor else cursor))


def put(bucket: Any, **files: str) -> None:
    for name, text in files.items():
        bucket.put_object(Bucket="papers", Key=name.replace("__", "/").replace("_", "."), Body=text.encode())


class TestContract(BeeContract):
    connector = "s3"

    @pytest.fixture
    def source(self, s3_server: S3Server, bucket: Any) -> Source:
        put(bucket, in__a_md="# A", in__b__c_txt="C", in__b_txt="B", in__z_txt="Z", out_txt="outside")
        return Source(
            options=s3_server.options("papers", path="/in", batch_rows=1), stream="documents",
            keys={"a.md", "b/c.txt", "b.txt", "z.txt"}, key_of=lambda row: row["path"],
            unreachable=s3_server.options("papers") | {"endpoint": f"http://127.0.0.1:{free_port()}"},
            secrets=tuple(KEYS.values()),
            fingerprint=lambda: [o["ETag"] for o in bucket.list_objects_v2(Bucket="papers")["Contents"]],
        )  # fmt: skip


def test_what_changed_comes_what_is_gone_is_deleted_and_a_new_name_tells_the_old_one(
    s3_server: S3Server, bucket: Any
) -> None:
    put(bucket, a_txt="one", b_txt="two", c_txt="three")
    first = read(s3_server)
    assert first[-1].complete
    put(bucket, b_txt="two, changed", d_txt="three")
    bucket.delete_object(Bucket="papers", Key="c.txt")
    bucket.delete_object(Bucket="papers", Key="a.txt")

    second = read(s3_server, cursor=first[-1].cursor)

    assert [(r["path"], r["moved_from"]) for r in rows(second[:1])] == [("b.txt", None), ("d.txt", "c.txt")]
    assert rows(second[1:]) == [{"path": "a.txt", "_op": "delete"}, {"path": "c.txt", "_op": "delete"}]
    assert read(s3_server, cursor=second[-1].cursor) == []


def test_an_unchanged_bucket_is_listed_and_not_read(
    s3_server: S3Server, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, a_txt="one", b_csv="id\n1\n2\n", c__d_txt="x")
    ends = {stream: read(s3_server, stream)[-1].cursor for stream in ("documents", "records")}
    asked: list[str] = []
    real = S3Storage.read
    monkeypatch.setattr(S3Storage, "read", lambda self, entry, *at: asked.append(entry.path) or real(self, entry, *at))

    for stream, end in ends.items():
        assert read(s3_server, stream, end) == []
    assert asked == []


def test_other_modes_delete_nothing_and_remember_nothing(s3_server: S3Server, bucket: Any) -> None:
    put(bucket, a_txt="one", b_txt="two")
    matched = read(s3_server, mode="pattern_match")[-1].cursor
    whole = read(s3_server, mode="bucket_snapshot", batch_rows=1)
    bucket.delete_object(Bucket="papers", Key="a.txt")

    assert rows(read(s3_server, cursor=matched, mode="pattern_match")) == []
    again = read(s3_server, cursor=whole[-1].cursor, mode="bucket_snapshot")
    assert [r["path"] for r in rows(again)] == ["b.txt"]
    assert again[-1].complete
    assert max(len(json.dumps(b.cursor)) for b in whole) < 100
    rest = read(s3_server, cursor=again[0].cursor | {"pos": "YS50eHQ="}, mode="bucket_snapshot")
    assert [r["path"] for r in rows(rest)] == ["b.txt"], "an interrupted pass goes on from its place"


def test_rows_of_a_large_object_are_read_by_ranges_and_resumed(
    s3_server: S3Server, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bees.core.file_pass.SMALL", 1000)
    monkeypatch.setattr(S3Storage, "block", 4096)
    lines = [f"{n},{'x' * 40}" for n in range(9000)]
    put(bucket, big_csv="\n".join(["id,text", *lines, ""]))
    batches = read(s3_server, "records", batch_rows=500)
    asked: list[int] = []
    real = S3Storage.read
    monkeypatch.setattr(
        S3Storage, "read", lambda self, e, start, size: asked.append(start) or real(self, e, start, size)
    )

    rest = read(s3_server, "records", batches[15].cursor, batch_rows=500)

    assert [r["id"] for r in rows(batches)] == [str(n) for n in range(9000)]
    assert [r["id"] for r in rows(rest)] == [str(n) for n in range(8000, 9000)]
    assert not [at for at in asked if 150_000 < at < 300_000], "what was read before is not fetched again"


def test_strange_names_are_names(s3_server: S3Server, bucket: Any) -> None:
    names = ["x/..y.txt", "é" * 120 + ".txt", "sp ace+%41.txt", "tail/"]
    for name in names:
        bucket.put_object(Bucket="papers", Key=name, Body=name.encode())

    found = {row["path"]: row["content"].decode() for row in rows(read(s3_server, batch_rows=2))}

    assert found == {name: name for name in names[:-1]}


def test_one_refused_object_is_set_aside_and_a_vanished_one_left_out(
    s3_server: S3Server, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, a_txt="one", b_txt="two", c_txt="three")
    real = S3Storage.read

    def reading(self: S3Storage, entry: Any, start: int, size: int) -> bytes:
        if entry.path == "a.txt":
            bucket.delete_object(Bucket="papers", Key="a.txt")
        if entry.path == "b.txt":
            bucket.put_object(Bucket="papers", Key="b.txt", Body=b"two, changed after the listing")
        return real(self, entry, start, size)

    monkeypatch.setattr(S3Storage, "read", reading)
    first = read(s3_server)
    monkeypatch.undo()
    second = read(s3_server, cursor=first[-1].cursor)

    assert [r["path"] for r in rows(first)] == ["c.txt"]
    assert [r["content"] for r in rows(second) if "content" in r] == [b"two, changed after the listing"]
    assert [r["path"] for r in rows(second) if "_op" in r] == ["a.txt"], "an older reading may have brought it"


def test_throttling_in_mid_flight_keeps_what_was_read(
    s3_server: S3Server, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, **{f"f{n}_txt": f"text {n}" for n in range(6)})
    real = S3Storage.read

    def slow(self: S3Storage, entry: Any, start: int, size: int) -> bytes:
        if entry.path >= "f3":
            raise RetryLater("slow down", code="rate_limited")
        return real(self, entry, start, size)

    got: list[Batch] = []
    with monkeypatch.context() as patch, S3Bee.from_options(s3_server.options("papers")) as bee:
        patch.setattr(S3Storage, "read", slow)
        with pytest.raises(RetryLater):
            got.extend(bee.collect_nectar("documents", None))  # what comes before the error is kept

    assert [r["path"] for r in rows(got)] == ["f0.txt", "f1.txt", "f2.txt"]
    rest = read(s3_server, cursor=got[-1].cursor)
    last = read(s3_server, cursor=rest[-1].cursor)
    assert {r["path"] for r in rows(rest) + rows(last)} == {"f3.txt", "f4.txt", "f5.txt"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bucket": "no-such-bucket"}, "no_folder"),
        ({"allow_private": False}, "private_address"),
        ({"endpoint": "http://169.254.169.254"}, "forbidden_address"),
        ({"auth": {"method": "keys"}}, "no_credentials"),
        ({"endpoint": "http://no-such-host.invalid"}, "unknown_host"),
    ],
)
def test_what_a_person_must_mend_is_named(s3_server: S3Server, bucket: Any, change: dict[str, Any], code: str) -> None:
    with S3Bee.from_options(s3_server.options("papers") | change) as bee, pytest.raises(SourceError) as error:
        bee.validate_flight_path()
    assert error.value.code == code
    assert isinstance(error.value, GiveUp) == (code != "unknown_host")
    assert error.value.advice


def test_a_listing_in_pages_that_name_no_next_one_is_read_to_its_end(
    s3_server: S3Server, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of some servers that are like S3: what is cut is no end."""
    put(bucket, **{f"{n}_txt": "a text" for n in range(5)})
    whole = S3Storage._page

    def cut(self: S3Storage, after: bytes, delimiter: str, token: str) -> Any:
        page = whole(self, after, delimiter, token)
        found = page.get("Contents", [])
        return {**page, "Contents": found[:2], "IsTruncated": len(found) > 2, "NextContinuationToken": ""}

    monkeypatch.setattr(S3Storage, "_page", cut)

    assert sorted(row["path"] for row in rows(read(s3_server))) == [f"{n}.txt" for n in range(5)]
