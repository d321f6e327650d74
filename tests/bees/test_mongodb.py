"""Documents of a real server: all of them, in order, however reading is cut; what is no MongoDB says so."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from pydantic import ValidationError

from bees.core.errors import GiveUp, RetryLater
from bees.core.mongo.place import Value, pack
from bees.mongodb import MongoDBWorkerBee
from nectar.batch import Batch
from tests.bees.contract import BeeContract, Source, rows
from tests.servers.mongo import BriskServer, brisk, free_port

__all__ = ["brisk"]
pytestmark = pytest.mark.servers

NOON = dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as the driver gives them
_number = itertools.count(1)


class Shop:
    """A database of its own for each test, on the real server."""

    def __init__(self, server: BriskServer) -> None:
        self.server = server
        self.name = f"shop{next(_number)}"
        self.client = server.client()
        self.database = self.client[self.name]

    def options(self, **more: Any) -> dict[str, Any]:
        return {"hosts": "127.0.0.1", "port": self.server.port, "database": self.name, "connect_timeout": 5, **more}

    def everything(self) -> list[str]:
        with self.server.client() as client:
            return [str(document) for document in client[self.name].items.find().sort("_id", 1)]

    def bee(self, **more: Any) -> MongoDBWorkerBee:
        return MongoDBWorkerBee.from_options(self.options(**more))

    def read(self, stream: str = "items", cursor: Any = None, **more: Any) -> list[Batch]:
        with self.bee(**more) as bee:
            return list(bee.collect_nectar(stream, cursor))


@pytest.fixture
def shop(brisk: BriskServer) -> Iterator[Shop]:
    brisk.start()
    made = Shop(brisk)
    yield made
    brisk.start()
    made.client.close()
    with brisk.client() as client:
        for name in client[made.name].list_collection_names():  # the server holds a limited number of them
            client[made.name].drop_collection(name)


def items(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"_id": n, "name": f"item {n}", "group": n % 3, "changed": NOON + dt.timedelta(seconds=n)}
        for n in range(first, first + count)
    ]


def ids(batches: list[Batch]) -> list[Any]:
    return [row["underscore_id"] for row in rows(batches)]


class TestContract(BeeContract):
    connector = "mongodb"

    @pytest.fixture(params=["cursor", "pipeline", "mixed ids"])
    def source(self, shop: Shop, request: pytest.FixtureRequest) -> Source:
        documents = items(25)
        stream: dict[str, Any] = {}
        if request.param == "cursor":
            stream = {"cursor": "changed"}
        if request.param == "pipeline":
            stream = {"pipeline": [{"$match": {"group": {"$gte": 0}}}]}
        if request.param == "mixed ids":
            some = [
                *range(4),
                0.5,
                "b",
                "a",
                "65f000000000000000000000",
                Int64(2**40),
                Decimal128("7.5"),
                b"\x01",
                True,
            ]
            some += [ObjectId("65f000000000000000000000"), ObjectId(), NOON, {"part": 1}, Binary(b"1", 128), False]
            documents = [{"_id": one, "group": 1} for one in some]
        shop.database.items.insert_many(documents)
        told = {str(row["underscore_id"]) for row in rows(shop.read(streams={"items": stream}))}
        assert len(told) == len(documents)
        shop.client.close()  # its threads and connections are not the bee's
        return Source(
            options=shop.options(streams={"items": stream}, batch_rows=5),
            stream="items",
            keys=told,
            key_of=lambda row: str(row["underscore_id"]),
            unreachable=shop.options() | {"port": free_port(), "connect_timeout": 0.3},
            fingerprint=shop.everything,
        )


FOLLOWED: dict[str, Any] = {"items": {"cursor": "changed", "lookback": 0}}


class TestIncremental:
    def test_a_second_flight_reads_what_changed_since(self, shop):
        shop.database.items.insert_many(items(20))
        last = shop.read(streams=FOLLOWED)[-1].cursor
        shop.database.items.update_one({"_id": 3}, {"$set": {"changed": NOON + dt.timedelta(seconds=50)}})
        shop.database.items.insert_many(items(2, first=60))

        assert ids(shop.read(cursor=last, streams=FOLLOWED)) == [19, 3, 60, 61]

    def test_documents_that_are_written_late_come_within_the_look_back(self, shop):
        shop.database.items.insert_many(items(20))
        last = shop.read(streams=FOLLOWED)[-1].cursor
        shop.database.items.insert_one({"_id": "late", "changed": NOON + dt.timedelta(seconds=15)})
        streams = {"items": {"cursor": "changed", "lookback": 5}}

        assert set(ids(shop.read(cursor=last, streams=streams))) == {'"late"', *map(str, range(14, 20))}

    def test_many_with_one_cursor_value_are_told_apart_by_their_ids(self, shop):
        shop.database.items.insert_many(items(3))
        first = shop.read(streams=FOLLOWED)[-1].cursor
        shop.database.items.insert_many(
            [{"_id": f"t{n:02}", "changed": NOON + dt.timedelta(days=1)} for n in range(16)]
        )
        batches = shop.read(cursor=first, streams=FOLLOWED, batch_rows=4)
        assert len(batches) > 4
        for stop in range(len(batches)):
            rest = shop.read(cursor=batches[stop].cursor, streams=FOLLOWED, batch_rows=4)
            seen = {str(one).strip('"') for one in ids([*batches[: stop + 1], *rest])}
            assert {f"t{n:02}" for n in range(16)} <= seen

    @pytest.mark.parametrize("odd", [None, "yesterday", 5, [], [NOON, NOON], {"day": 1}, True])
    def test_a_document_without_a_fit_cursor_value_comes_in_each_flight(self, shop, odd):
        shop.database.items.insert_many([*items(3), {"_id": 99, "changed": odd}, {"_id": 98}])
        first = shop.read(streams=FOLLOWED)
        again = shop.read(cursor=first[-1].cursor, streams=FOLLOWED)

        assert set(ids(first)) == {0, 1, 2, 98, 99}
        assert 98 in ids(again)
        assert 2 in ids(again)
        if odd != [NOON, NOON]:  # found by its members as long as they are new enough
            assert 99 in ids(again)

    def test_a_value_in_the_future_never_moves_the_mark(self, shop):
        future = dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0) + dt.timedelta(days=400)
        shop.database.items.insert_many(
            [*items(3), {"_id": "f", "changed": future}, {"_id": "g", "changed": DatetimeMS(2**52)}]
        )
        first = shop.read(streams=FOLLOWED)
        shop.database.items.insert_many(items(1, first=10))
        again = shop.read(cursor=first[-1].cursor, streams=FOLLOWED)

        assert {str(one) for one in ids(again)} == {"2", "10", '"f"', '"g"'}
        assert {str(one) for one in ids(shop.read(cursor=again[-1].cursor, streams=FOLLOWED))} == {
            "10",
            '"f"',
            '"g"',
        }

    def test_a_source_behind_its_mark_is_read_from_the_beginning(self, shop):
        shop.database.items.insert_many(items(9))
        last = shop.read(streams=FOLLOWED)[-1].cursor
        shop.database.items.delete_many({"_id": {"$gte": 5}})

        assert set(ids(shop.read(cursor=last, streams=FOLLOWED))) == set(range(5))

    @pytest.mark.parametrize(
        ("values", "more"),
        [
            ([1, 2, 3], 4),
            ([1.5, 2, Int64(3)], Decimal128("3.5")),
            (["a", "b"], "c"),
            ([ObjectId(f"65f00000000000000000000{n}") for n in range(3)], ObjectId("65f000010000000000000000")),
        ],
    )
    def test_numbers_texts_and_ids_are_followed_too(self, shop, values, more):
        shop.database.items.insert_many([{"_id": n, "v": value} for n, value in enumerate(values)])
        streams = {"items": {"cursor": "v", "lookback": 0}}
        first = shop.read(streams=streams)
        shop.database.items.insert_one({"_id": 77, "v": more})

        assert ids(shop.read(cursor=first[-1].cursor, streams=streams))[-1] == 77
        assert len(ids(shop.read(cursor=first[-1].cursor, streams=streams))) == 2

    @pytest.mark.parametrize("older", [False, True])
    def test_what_is_no_number_is_never_the_mark(self, shop, older):
        shop.database.items.insert_many([{"_id": 1, "changed": Decimal128("NaN")}])
        last = dict(shop.read(streams=FOLLOWED)[-1].cursor)
        if older:
            last["high"] = pack(Value(Decimal128("NaN")))
        shop.database.items.insert_many([{"_id": n, "changed": Decimal128(f"{n}.5")} for n in range(2, 9)])

        found = shop.read(cursor=last, streams=FOLLOWED)
        assert {*map(str, range(2, 9))} <= {str(n) for n in ids(found)}

    def test_the_id_itself_can_be_followed(self, shop):
        shop.database.items.insert_many(items(10))
        streams = {"items": {"cursor": "_id", "lookback": 2}}
        first = shop.read(streams=streams)
        shop.database.items.insert_many(items(10, first=10))
        batches = shop.read(cursor=first[-1].cursor, streams=streams, batch_rows=3)

        assert ids(batches) == list(range(7, 20))
        assert ids(shop.read(cursor=batches[1].cursor, streams=streams)) == list(range(13, 20))

    def test_a_path_leads_into_a_document(self, shop):
        shop.database.items.insert_many([{"_id": n, "meta": {"at": NOON + dt.timedelta(hours=n)}} for n in range(5)])
        streams = {"items": {"cursor": "meta.at", "lookback": 0}}
        first = shop.read(streams=streams)
        shop.database.items.insert_one({"_id": 9, "meta": {"at": NOON + dt.timedelta(hours=9)}})

        assert ids(shop.read(cursor=first[-1].cursor, streams=streams)) == [4, 9]

    def test_another_cursor_field_starts_from_the_beginning(self, shop):
        shop.database.items.insert_many(items(5))
        last = shop.read(streams=FOLLOWED)[-1].cursor

        assert len(ids(shop.read(cursor=last, streams={"items": {"cursor": "group"}}))) == 5


class TestWhatIsAsked:
    def test_filter_and_fields(self, shop):
        shop.database.items.insert_many(items(9))
        stream = {"filter": {"group": 1, "changed": {"$gte": {"$date": "2026-03-01T12:00:02Z"}}}, "fields": "name"}

        assert rows(shop.read(streams={"items": stream})) == [
            {"underscore_id": 4, "name": "item 4"},
            {"underscore_id": 7, "name": "item 7"},
        ]

    def test_fields_left_out(self, shop):
        shop.database.items.insert_many(items(1))

        assert rows(shop.read(streams={"items": {"exclude": ["name", "changed"]}})) == [
            {"underscore_id": 0, "group": 0}
        ]

    @pytest.mark.parametrize(
        ("stream", "wanted"),
        [
            ({"cursor": "meta.at", "fields": ["meta"]}, {"_id", "meta"}),
            ({"cursor": "meta.at", "fields": ["meta.a", "meta.a.b", "x"]}, {"_id", "meta", "x"}),
            ({"exclude": ["meta.a", "meta"]}, {"_id", "x"}),
        ],
    )
    def test_a_field_and_what_it_lies_in_are_asked_for_once(self, shop, stream, wanted):
        """A server refuses to be told both."""
        shop.database.items.insert_one({"_id": 1, "x": 1, "meta": {"at": NOON, "a": {"b": 2}}})

        (row,) = rows(shop.read(streams={"items": stream}))
        assert set(row) == {"underscore_id"} | wanted - {"_id"}

    @pytest.mark.parametrize(
        "stream",
        [
            {"cursor": "meta.at", "exclude": ["meta"]},
            {"cursor": "meta.at.day", "exclude": ["meta.at"]},
            {"key": "code", "exclude": ["code"]},
            {"key": "meta.code"},
        ],
    )
    def test_what_rows_are_known_or_followed_by_must_come(self, shop, stream):
        with pytest.raises(ValidationError, match=r"cannot be left out|lies deeper"):
            shop.bee(streams={"items": stream})

    def test_one_collection_as_two_streams(self, shop):
        shop.database.items.insert_many(items(6))
        streams = {"a": {"collection": "items", "filter": {"group": 0}}, "b": {"collection": "items", "key": "name"}}

        with shop.bee(streams=streams) as bee:
            assert [s.key for s in bee.get_pollen_schema()] == [("underscore_id",), ("name",)]
            assert ids(list(bee.collect_nectar("a", None))) == [0, 3]

    def test_a_limit_bounds_the_reading(self, shop):
        shop.database.items.insert_many(items(30))
        with shop.bee(batch_rows=4) as bee:
            found = list(bee.collect_nectar("items", None, query={"limit": 10}))

        assert ids(found) == list(range(10))
        assert not any(batch.complete for batch in found)

    def test_a_whole_read_says_that_it_was_complete(self, shop):
        shop.database.items.insert_many(items(7))

        assert [batch.complete for batch in shop.read(batch_rows=3)] == [False, False, True]

    def test_with_a_cursor_only_the_reading_of_everything_does(self, shop):
        shop.database.items.insert_many(items(7))
        first = shop.read(streams=FOLLOWED, batch_rows=3)
        later = shop.read(streams=FOLLOWED, cursor=first[-1].cursor)

        assert [(batch.begins, batch.complete) for batch in first] == [(True, False), (False, False), (False, True)]
        assert later
        assert not any(batch.begins or batch.complete for batch in later)

    @pytest.mark.parametrize("stream", [{}, {"cursor": "changed"}])
    @pytest.mark.parametrize("anew", [False, True])
    def test_a_collection_that_is_dropped_meanwhile_was_not_read_completely(self, shop, stream, anew):
        shop.database.items.insert_many(items(9))
        options = {"streams": {"items": stream}, "batch_rows": 2}
        with shop.bee(**options) as bee:
            batches = bee.collect_nectar("items", None)
            first = next(batches)
            shop.database.drop_collection("items")
            if anew:
                shop.database.items.insert_many(items(3))
            with pytest.raises(RetryLater, match="dropped"):
                list(batches)

        if anew:
            again = shop.read(cursor=first.cursor, **options)
            assert ids(again) == [0, 1, 2]
            assert again[-1].complete
        else:
            with pytest.raises(GiveUp, match="no collection is named 'items'"):
                shop.read(cursor=first.cursor, **options)

    def test_an_empty_collection_is_complete_too(self, shop):
        shop.database.create_collection("items")

        (only,) = shop.read()
        assert only.complete
        assert only.table.num_rows == 0

    @pytest.mark.parametrize(
        ("stream", "code"),
        [
            ({"filter": {"$where": "sleep(1e9)"}}, "script"),
            (
                {"filter": {"$or": [{"a": 1}, {"$expr": {"$function": {"body": "f", "args": [], "lang": "js"}}}]}},
                "script",
            ),
            ({"filter": {"a": {"$code": "function() {}"}}}, "script"),
            ({"filter": {"$expr": {"$_internalJsEmit": {"this": "$$ROOT", "eval": "function() {}"}}}}, "script"),
            ({"pipeline": [{"$group": {"_id": 1, "n": {"$accumulator": {}}}}]}, "script"),
            ({"pipeline": [{"$match": {}}, {"$out": "other"}]}, "writes"),
            ({"pipeline": [{"$merge": {"into": "other"}}]}, "writes"),
            ({"pipeline": [{"$lookup": {"from": "a", "pipeline": [{"$merge": "b"}], "as": "c"}}]}, "writes"),
            ({"pipeline": [{"$facet": {"a": [{"$currentOp": {}}]}}]}, "wrong_stage"),
            ({"pipeline": [{"$unionWith": {"coll": "a", "pipeline": [{"$indexStats": {}}]}}]}, "wrong_stage"),
            ({"pipeline": [{"$collStats": {}}]}, "wrong_stage"),
            ({"pipeline": [{"$match": {}, "$limit": 1}]}, "wrong_stage"),
        ],
    )
    def test_scripts_and_writes_are_refused(self, shop, stream, code):
        shop.database.items.insert_many(items(2))
        with shop.bee(streams={"items": stream}) as bee:
            for ask in (bee.validate_flight_path, lambda: list(bee.collect_nectar("items", None))):
                with pytest.raises(GiveUp) as error:
                    ask()
                assert error.value.code == code
                assert "streams.items" in error.value.where

    @pytest.mark.parametrize(
        "stream",
        [
            {"fields": "a", "exclude": "b"},
            {"pipeline": [{"$match": {}}], "filter": {"a": 1}},
            {"exclude": "_id"},
            {"mode": "cdc", "filter": {"a": 1}},
            {"lookback": -1},
        ],
    )
    def test_options_that_do_not_fit_are_refused(self, shop, stream):
        with pytest.raises(ValidationError):
            shop.bee(streams={"items": stream})

    @pytest.mark.parametrize("hosts", ["mongodb://user:pw@h", "a b", "", [], "h:99999", "h:x", "user@h"])
    def test_a_uri_is_no_host(self, shop, hosts):
        with pytest.raises(ValidationError):
            shop.bee(hosts=hosts)


class TestTrouble:
    def test_a_missing_collection_is_named(self, shop):
        shop.database.items.insert_many(items(1))
        with shop.bee(streams={"itmes": {}}) as bee:
            for ask in (bee.validate_flight_path, lambda: list(bee.collect_nectar("itmes", None))):
                with pytest.raises(GiveUp, match=r"'itmes'.*there are: items"):
                    ask()

    def test_an_empty_database_has_nothing_to_read(self, shop):
        with shop.bee() as bee, pytest.raises(GiveUp, match="no collection that this login may read"):
            bee.validate_flight_path()

    def test_an_unknown_host_is_named(self, shop):
        with shop.bee(hosts="no-such-host.invalid") as bee, pytest.raises(RetryLater) as error:
            bee.validate_flight_path()
        assert error.value.code == "unknown_host"

    @pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[fd00:ec2::254]:27017"])
    def test_metadata_addresses_are_never_dialled(self, shop, host):
        with shop.bee(hosts=host) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert error.value.code == "forbidden_address"

    def test_a_killed_server_costs_nothing_but_time(self, shop, brisk):
        shop.database.items.insert_many(items(40))
        with shop.bee(batch_rows=5, connect_timeout=0.5) as bee:
            reading = bee.collect_nectar("items", None)
            seen = [next(reading), next(reading)]
            brisk.kill()
            with pytest.raises(RetryLater) as error:
                seen.extend(reading)
            assert error.value.code == "unreachable"
        brisk.start()

        assert sorted(ids([*seen, *shop.read(cursor=seen[-1].cursor)])) == list(range(40))

    def test_a_cursor_that_is_killed_is_opened_again(self, shop):
        shop.database.items.insert_many(items(60))
        with shop.bee(batch_rows=5) as bee:
            reading = bee.collect_nectar("items", None)
            seen = [next(reading), next(reading)]
            brisk_was = shop.server
            brisk_was.kill()
            brisk_was.start()  # the same port and documents, none of the cursors
            seen.extend(reading)

        assert ids(seen) == list(range(60))

    def test_memory_is_bounded_by_a_batch(self, shop):
        for first in range(0, 1000, 500):
            shop.database.items.insert_many([{"_id": n, "text": "x" * 2000} for n in range(first, first + 500)])
        with shop.bee(batch_bytes=50_000, batch_rows=200) as bee:
            sizes = [batch.table.nbytes for batch in bee.collect_nectar("items", None)]

        assert max(sizes) < 60_000
        assert len(sizes) >= 30


def test_the_schema_shows_what_a_sample_holds(shop):
    shop.database.items.insert_many(
        [
            {"_id": ObjectId(), "n": n, "big": Int64(2**40), "at": NOON, "m": n if n % 2 else "x", "d": {"a": 1}}
            for n in range(6)
        ]
    )
    with shop.bee() as bee:
        (stream,) = bee.get_pollen_schema()
    told = {column.name: (column.kind, column.source_type) for column in stream.columns}

    assert stream.key == ("underscore_id",)
    assert stream.cursors == ("_id", "n", "big", "at")
    assert told == {
        "underscore_id": ("text", "objectId"),
        "n": ("integer", "int"),
        "big": ("integer", "long"),
        "at": ("timestamptz", "date"),
        "m": ("json", "string, int"),
        "d": ("json", "object"),
    }


def test_streams_are_all_collections_where_none_is_named(shop):
    shop.database.b.insert_one({"_id": 1})
    shop.database.a.insert_one({"_id": 1})
    with shop.bee() as bee:
        assert [stream.name for stream in bee.get_pollen_schema()] == ["a", "b"]
