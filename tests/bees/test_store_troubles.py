"""Object stores behind a relay that throttles, redirects and cuts: what it means for a flight, for each of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.storage import dial
from tests.bees.contract import bee_class, rows
from tests.bees.file_systems import read
from tests.bees.test_azure_blob import ContainerDisk
from tests.bees.test_gcs import BucketDisk
from tests.servers.azure import ACCOUNT, azurite
from tests.servers.gcs import gcs_url
from tests.servers.s3 import S3Server, s3_server
from tests.servers.troubled import HALF, Relay, Trouble, troubled

pytestmark = pytest.mark.servers
__all__ = ["azurite", "gcs_url", "s3_server"]
_number = itertools.count(1)
_LISTS = {"s3": r"list-type=2", "gcs": r"/o\?", "azure_blob": r"comp=list"}
FILES = [f"{n}.txt" for n in range(4)]


@dataclass
class Store:
    connector: str
    options: dict[str, Any]
    relay: Relay

    def is_list(self, path: str) -> bool:
        return re.search(_LISTS[self.connector], path) is not None


@pytest.fixture(params=["s3", "gcs", "azure_blob"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    connector = request.param
    if connector == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        name = f"troubled-{next(_number)}"
        server.bucket(name, dict.fromkeys(FILES, b"text"))
        options, url, path = server.options(name, timeout=5), server.url, ""
    else:
        kind, fixture = {"gcs": (BucketDisk, "gcs_url"), "azure_blob": (ContainerDisk, "azurite")}[connector]
        url = request.getfixturevalue(fixture)
        disk = kind(url)
        for file in FILES:
            disk.put(file, b"text")
        options, path = disk.options, "" if connector == "gcs" else f"/{ACCOUNT}"
    with troubled(url.removesuffix(path)) as relay:
        yield Store(connector, options | {"endpoint": relay.url + path}, relay)


@pytest.mark.parametrize("status", [429, 503])
def test_a_store_that_asks_to_wait_is_asked_again_when_it_says(store: Store, status: int) -> None:
    """Its own library tries again a few times, and then wraps what the store said in an error of its own."""
    store.relay.trouble = lambda _, path: (status, {"Retry-After": "7"}, b"") if store.is_list(path) else None

    with pytest.raises(RetryLater) as error:
        read(store.connector, store.options | {"timeout": 1})

    assert (error.value.code, error.value.after) == ("rate_limited", 7.0)


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("what", ["list", "file"])
def test_nobody_is_asked_but_the_store_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch, status: int, what: str
) -> None:
    """A redirect would take a request with its signature to another server, and bring another's listing back."""
    monkeypatch.setattr(dial, "addresses", lambda *_: ["127.0.0.1"])
    with troubled(store.relay.url) as other:

        def elsewhere(_: str, path: str) -> Trouble | None:
            to = other.url.replace("127.0.0.1", "elsewhere.example") + path
            asked = store.is_list(path) if what == "list" else ".txt" in path and not store.is_list(path)
            return (status, {"Location": to}, b"") if asked else None

        store.relay.trouble = elsewhere
        with bee_class(store.connector).from_options(store.options) as bee:
            if what == "list":
                with pytest.raises(GiveUp) as error:
                    list(bee.collect_nectar("documents", None))
                assert error.value.code in ("redirected", "bad_request")
            else:
                found = list(bee.collect_nectar("documents", None))
                assert rows(found) == []
                assert {r.code for batch in found for r in batch.rejects} == {"refused"}
        assert other.seen == []


def test_a_store_that_redirects_everything_is_told_as_that(store: Store) -> None:
    store.relay.trouble = lambda *_: (302, {"Location": "/login"}, b"")

    with bee_class(store.connector).from_options(store.options) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()

    assert error.value.code == "redirected"
    assert error.value.advice


def test_a_listing_that_is_cut_deletes_nothing_and_goes_on_where_it_was(store: Store) -> None:
    cursor = read(store.connector, store.options)[-1].cursor
    store.relay.trouble = lambda _, path: HALF if store.is_list(path) else None
    with pytest.raises(SourceError) as error:
        read(store.connector, store.options | {"timeout": 1}, cursor=cursor)
    store.relay.trouble = lambda *_: None

    assert isinstance(error.value, RetryLater)
    assert read(store.connector, store.options, cursor=cursor) == []
