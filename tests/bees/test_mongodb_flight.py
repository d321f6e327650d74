"""Documents and changes all the way into a jar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from bson import Decimal128, ObjectId

from tests.bees.test_mongodb import Shop, shop
from tests.bees.test_mongodb_peer import Feed, feed, peer
from tests.hive.nest import Nest, make_nest, nest
from tests.servers.mongo import ScriptedMongo, brisk

__all__ = ["brisk", "feed", "make_nest", "nest", "peer", "shop"]
pytestmark = pytest.mark.servers

NOON = dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as the driver gives them


def register(nest: Nest, source: dict[str, Any], stream: dict[str, Any], **block: Any) -> None:
    told = {"name": "shop", "source": source, "streams": {"items": stream}, **block}
    nest.hive.register_worker("mongodb", told)


def test_documents_land_and_only_changed_ones_again(nest: Nest, shop: Shop) -> None:
    one, two = ObjectId(), ObjectId()
    shop.database.items.insert_many(
        [
            {"_id": one, "at": NOON, "price": Decimal128("1.10"), "who": {"mail": "a.b@example.com", "tags": [1, "a"]}},
            {"_id": two, "at": NOON, "price": 2, "who": None},
        ]
    )
    register(nest, shop.options(), {"cursor": "at"}, scrubbing={"profile": "gdpr_compliant"})
    first = nest.land("shop")
    shop.database.items.update_one({"_id": two}, {"$set": {"price": 3, "at": NOON + dt.timedelta(minutes=1)}})
    second = nest.land("shop")
    jar = nest.jar("shop")

    assert (first.state, first.records_landed, second.records_read, second.records_landed) == ("complete", 2, 2, 1)
    assert jar[str(two)] == {"underscore_id": str(two), "at": "2026-03-01T12:01:00.000+00:00", "price": 3, "who": None}
    assert jar[str(one)]["price"] == 1.1
    assert jar[str(one)]["who"]["tags"] == [1, "a"]
    assert "a.b@example.com" not in str(jar)


def test_changes_and_deletions_land(nest: Nest, feed: Feed, peer: ScriptedMongo) -> None:
    source = {"hosts": "127.0.0.1", "port": peer.port, "database": "shop", "replica_set": "rs0", "connect_timeout": 2}
    register(nest, source, {"mode": "cdc", "idle": 0.3})
    nest.land("shop")
    feed.change("update", 1, {"_id": 1, "v": 11})
    feed.change("delete", 2)
    nest.land("shop")

    assert {key: row["v"] for key, row in nest.jar("shop").items()} == {"0": 0, "1": 11, "3": 3}


@pytest.mark.parametrize("pieces", [{}, {"leg": 0, "batch_rows": 2}])
def test_what_was_deleted_while_nobody_followed_goes_with_a_full_refresh(
    make_nest: Callable[..., Nest], feed: Feed, peer: ScriptedMongo, pieces: dict[str, int]
) -> None:
    """The resume token is lost: no change tells of the deletions, so the collection itself must."""
    nest = make_nest(**pieces)
    source = {"hosts": "127.0.0.1", "port": peer.port, "database": "shop", "replica_set": "rs0", "connect_timeout": 2}
    register(nest, source | {"batch_rows": 2}, {"mode": "cdc", "idle": 0.3}, limits={"max_deleted": 0.5})
    nest.land("shop")
    feed.documents = [{"_id": 0, "v": 0}, {"_id": 3, "v": 33}, {"_id": 9, "v": 9}]
    feed.lost = True
    failed = nest.land("shop")
    feed.lost = False
    again = nest.land("shop", full_refresh=True)
    feed.change("update", 0, {"_id": 0, "v": 1})
    after = nest.land("shop")

    assert failed.state == "failed"
    assert (again.state, again.records_deleted) == ("complete", 2)
    assert (after.state, after.records_landed, after.records_deleted) == ("complete", 1, 0)
    assert {key: row["v"] for key, row in nest.jar("shop").items()} == {"0": 1, "3": 33, "9": 9}


@pytest.mark.parametrize("pieces", [{}, {"leg": 0, "batch_rows": 2}])
@pytest.mark.parametrize("cursor", ["at", "_id"])
def test_a_full_refresh_of_a_collection_with_a_cursor_deletes_what_is_gone(
    make_nest: Callable[..., Nest], shop: Shop, pieces: dict[str, int], cursor: str
) -> None:
    nest = make_nest(**pieces)
    items = shop.database.items
    items.insert_many([{"_id": n, "at": NOON + dt.timedelta(minutes=n)} for n in range(9)])
    items.insert_one({"_id": 9, "at": None})
    register(nest, shop.options(batch_rows=2), {"cursor": cursor, "lookback": 60}, limits={"max_deleted": 1.0})
    nest.land("shop")
    items.delete_many({"_id": {"$in": [2, 9]}})
    items.insert_one({"_id": 10, "at": NOON + dt.timedelta(minutes=10)})

    usual = nest.land("shop")
    assert (usual.records_landed, usual.records_deleted) == (1, 0)  # what is followed tells of no deletes
    anew = nest.land("shop", full_refresh=True)
    assert (anew.state, anew.records_deleted) == ("complete", 2)
    assert sorted(map(int, nest.jar("shop"))) == [0, 1, *range(3, 9), 10]
    items.insert_one({"_id": 11, "at": NOON + dt.timedelta(minutes=11)})
    assert nest.land("shop").records_deleted == 0
    assert sorted(map(int, nest.jar("shop"))) == [0, 1, *range(3, 9), 10, 11]


def test_what_all_documents_come_to_has_the_id_null_and_lands(nest: Nest, shop: Shop) -> None:
    shop.database.items.insert_many([{"_id": n, "group": None if n < 2 else n % 2} for n in range(9)])
    register(nest, shop.options(), {"pipeline": [{"$group": {"_id": "$group", "n": {"$sum": 1}}}]})

    result = nest.land("shop")

    assert (result.state, result.records_landed, result.records_quarantined) == ("complete", 3, 0)
    assert {str(row["underscore_id"]): row["n"] for row in nest.jar("shop").values()} == {
        "{'$null': 1}": 2, "0": 4, "1": 3
    }  # fmt: skip


def test_a_collection_with_a_cursor_that_was_made_anew_leaves_none_of_the_old_one(nest: Nest, shop: Shop) -> None:
    def fill(*numbers: int) -> None:
        shop.database.items.insert_many([{"_id": n, "at": NOON + dt.timedelta(hours=n)} for n in numbers])

    fill(*range(9))
    register(nest, shop.options(), {"cursor": "at"}, limits={"max_deleted": 1.0})
    nest.land("shop")
    shop.database.drop_collection("items")
    fill(2, 20, 8, 30)

    nest.land("shop")

    assert sorted(map(int, nest.jar("shop"))) == [2, 8, 20, 30]
