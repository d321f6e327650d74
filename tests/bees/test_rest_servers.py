"""The `rest` bee against servers that others wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bees.core.errors import GiveUp, RetryLater
from bees.rest import RestBee
from nectar.batch import Batch
from tests.bees.contract import BeeContract, Source
from tests.servers.web import httpbin, json_server, pocketbase, pouchdb_server

pytestmark = pytest.mark.servers

POSTS = [{"id": n, "title": f"post {n}", "at": f"2026-01-{n:02}T00:00:00Z"} for n in range(1, 26)]
COMMENTS = [{"id": n, "postId": n % 25 + 1, "body": f"c{n}"} for n in range(1, 61)]


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with json_server(tmp_path_factory.mktemp("json-server"), {"posts": POSTS, "comments": COMMENTS}) as url:
        yield url


@pytest.fixture(scope="module")
def bin_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with httpbin(tmp_path_factory.mktemp("httpbin")) as url:
        yield url


def options(url: str, **streams: Any) -> dict[str, Any]:
    return {"base_url": url, "allow_private": True, "streams": streams}


def read(given: dict[str, Any], stream: str, cursor: Any = None) -> list[Batch]:
    with RestBee.from_options(given) as bee:
        return list(bee.collect_nectar(stream, cursor))


def ids(batches: list[Batch]) -> list[int]:
    return [row["id"] for batch in batches for row in batch.table.to_pylist()]


class TestJsonServer(BeeContract):
    """json-server: Link headers, X-Total-Count, ETag."""

    connector = "rest"

    @pytest.fixture
    def source(self, posts: str) -> Source:
        listing = {"path": "/posts", "key": "id", "params": {"_page": 1},
                   "pagination": {"type": "link", "size": 7, "size_param": "_limit"}}  # fmt: skip
        return Source(
            options=options(posts, posts=listing),
            stream="posts",
            keys=set(range(1, 26)),
            key_of=lambda row: row["id"],
            unreachable=options("http://127.0.0.1:9", posts=listing),
        )

    def test_the_listing_is_complete_and_a_second_pass_reads_its_end_alone(self, source: Source) -> None:
        first = read(dict(source.options), "posts")
        second = read(dict(source.options), "posts", first[-1].cursor)

        assert first[-1].complete
        assert len(first) == 4
        assert ids(second) == list(range(22, 26)), "three pages are unchanged; the last one may have got a successor"

    def test_a_cursor_and_page_numbers(self, posts: str) -> None:
        listing = {"path": "/posts", "key": "id", "cursor": "id", "cursor_param": "id_gte",
                   "params": {"_sort": "id"}, "start": 20,
                   "pagination": {"type": "page", "page_param": "_page",
                                  "size": 3, "size_param": "_limit"}}  # fmt: skip

        assert ids(read(options(posts, posts=listing), "posts")) == list(range(20, 26))

    def test_comments_of_each_post(self, posts: str) -> None:
        streams = {
            "posts": {"path": "/posts", "key": "id", "params": {"_page": 1, "_limit": 10}},
            "comments": {"path": "/posts/{{ parent.id }}/comments", "key": "id", "parent": {"stream": "posts"},
                         "fields": {"post": "{{ parent.title }}"}},
        }  # fmt: skip
        batches = read(options(posts, **streams), "comments")

        assert sorted(ids(batches)) == list(range(1, 61))
        rows = [row for batch in batches for row in batch.table.to_pylist()]
        assert all(row["post"] == f"post {row['postId']}" for row in rows)


class TestHttpbin:
    @pytest.mark.parametrize(
        ("path", "auth"),
        [
            ("/basic-auth/ada/s3cret", {"method": "basic", "username": "ada", "password": "s3cret"}),
            ("/bearer", {"method": "bearer", "token": "t1"}),
        ],
    )
    def test_logins(self, bin_: str, path: str, auth: dict[str, Any]) -> None:
        good = {**options(bin_, x={"path": path, "records": "$"}), "auth": auth}
        wrong = {**auth, "password": "no"} if "password" in auth else {"method": "none"}

        assert read(good, "x")[0].table["authenticated"].to_pylist() == [True]
        with pytest.raises(GiveUp) as error:
            read({**good, "auth": wrong}, "x")
        assert error.value.code == "denied"

    @pytest.mark.parametrize(
        ("listing", "count"),
        [
            ({"path": "/gzip", "records": "$"}, 1),
            ({"path": "/json", "records": "slideshow.slides"}, 2),
            ({"path": "/xml", "format": "xml", "records": "slideshow.slide"}, 2),
        ],
    )
    def test_bodies_in_each_dress(self, bin_: str, listing: dict[str, Any], count: int) -> None:
        assert read(options(bin_, x=listing), "x")[0].table.num_rows == count

    @pytest.mark.parametrize(
        ("path", "kind", "code"),
        [
            ("/status/404", GiveUp, "not_found"),
            ("/status/418", GiveUp, "unexpected_status"),
            ("/status/503", RetryLater, "unavailable"),
            ("/status/429", RetryLater, "rate_limited"),
            ("/html", GiveUp, "not_json"),
            ("/redirect/9", GiveUp, "too_many_redirects"),
            ("/drip?duration=9&numbytes=9&delay=0", RetryLater, "timeout"),
            ("/deflate", GiveUp, "bad_encoding"),
            ("/stream-bytes/2000", GiveUp, "body_too_large"),
        ],
    )
    def test_what_goes_wrong_has_a_name(self, bin_: str, path: str, kind: type, code: str) -> None:
        most = 1_000 if "bytes" in path else 20_000
        given = {**options(bin_, x={"path": path}), "timeout": 1.0, "max_body_bytes": most}
        with pytest.raises((GiveUp, RetryLater)) as error:
            read(given, "x")

        assert (type(error.value), error.value.code) == (kind, code)

    def test_a_redirect_to_itself_and_posted_searches(self, bin_: str) -> None:
        listing = {"path": "/post", "method": "POST", "body": {"q": ["a"]}, "records": "$.json"}
        moved = {"path": "/relative-redirect/3", "records": "$"}

        assert read(options(bin_, x=listing), "x")[0].table["q"].to_pylist() == [["a"]]
        assert read(options(bin_, x=moved), "x")[0].table["url"].to_pylist() == [f"{bin_}/get"]


def test_the_changes_of_a_couchdb_are_followed_by_its_own_token(tmp_path: Path) -> None:
    feed = {
        "path": "/desk/_changes",
        "params": {"include_docs": True},
        "records": "results",
        "key": "id",
        "token_path": "last_seq",
        "cursor_param": "since",
        "pagination": {"type": "cursor", "cursor_path": "last_seq", "cursor_param": "since", "size": 4,
                       "size_param": "limit"},
    }  # fmt: skip
    with pouchdb_server(tmp_path) as url, httpx.Client(base_url=url, trust_env=False) as couch:
        couch.put("/desk").raise_for_status()
        for n in range(10):
            couch.put(f"/desk/d{n}", json={"n": n}).raise_for_status()
        first = read(options(url, changes=feed), "changes")
        revision = couch.get("/desk/d3").json()["_rev"]
        couch.put("/desk/d3", json={"n": 33, "_rev": revision}).raise_for_status()
        couch.put("/desk/late", json={"n": 99}).raise_for_status()
        second = read(options(url, changes=feed), "changes", json.loads(json.dumps(first[-1].cursor)))
        third = read(options(url, changes=feed), "changes", second[-1].cursor)

    assert sorted(ids(first)) == [f"d{n}" for n in range(10)]
    assert sorted(ids(second)) == ["d3", "late"]
    assert ids(third) == []


def test_a_pocketbase_is_read_by_what_changed(tmp_path: Path) -> None:
    things = {
        "path": "/api/collections/things/records",
        "params": {"sort": "updated,id", "filter": "updated >= '{{ state.since }}'"},
        "records": "items",
        "key": "id",
        "cursor": "updated",
        "start": "2000-01-01 00:00:00.000Z",
        "pagination": {"type": "page", "page_param": "page", "size": 7, "size_param": "perPage"},
    }
    with pocketbase(tmp_path) as (url, client):
        for n in range(20):
            client.post("/api/collections/things/records", json={"n": n, "title": f"thing {n}"}).raise_for_status()
        given = options(url, things=things)
        auth = {"method": "api_key", "header": "Authorization", "key": client.headers["Authorization"]}
        first = read({**given, "auth": auth}, "things")
        changed = first[0].table.to_pylist()[3]["id"]
        time.sleep(0.01)
        client.patch(f"/api/collections/things/records/{changed}", json={"title": "new"}).raise_for_status()
        second = read({**given, "auth": auth}, "things", json.loads(json.dumps(first[-1].cursor)))
        with pytest.raises(GiveUp) as error:
            read(given, "things")

    assert [batch.table.num_rows for batch in first][:3] == [7, 7, 6]
    assert len(set(ids(first))) == 20
    rows = [row for batch in second for row in batch.table.to_pylist()]
    assert (rows[-1]["id"], rows[-1]["title"]) == (changed, "new")
    assert len(rows) < 4
    assert error.value.code == "denied"
