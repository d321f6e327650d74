"""What no server at hand offers, against a scripted peer: logins, rights, replica sets, TLS, change streams.

The peer speaks the wire protocol and gives the answers that MongoDB's documentation shows; it is no MongoDB.
"""

from __future__ import annotations

import itertools
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.timestamp import Timestamp

from bees.core.address import AddressPolicy
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.mongodb import MongoDBWorkerBee
from nectar.batch import Batch
from tests.bees.certificates import certificate
from tests.bees.contract import rows
from tests.servers.mongo import ScriptedMongo, failure, free_port, page

SPACE = "shop.items"
PASSWORD = "made-up-word-4711"
OWN_WORDS = "the server's own words"

Reply = Callable[[dict[str, Any]], dict[str, Any] | None]


def bee_for(port: int, **more: Any) -> MongoDBWorkerBee:
    options = {"hosts": "127.0.0.1", "port": port, "database": "shop", "connect_timeout": 2, **more}
    return MongoDBWorkerBee.from_options(options)


def usual(**told: Reply | dict[str, Any]) -> Reply:
    """A server with one collection of two documents; `told` answers some commands otherwise."""

    def answer(command: dict[str, Any]) -> dict[str, Any] | None:
        name = next(iter(command))
        if name in told:
            chosen = told[name]
            return chosen if isinstance(chosen, dict) else chosen(command)
        if name == "listCollections":
            return page("shop.$cmd.listCollections", [{"name": "items", "type": "collection"}])
        if name == "listIndexes":
            return page(SPACE, [{"name": "_id_", "key": {"_id": 1}}])
        if name == "find":
            return page(SPACE, [{"_id": 1, "n": 1}, {"_id": 2, "n": 2}][: command.get("limit") or 9])
        return {"ok": 1.0}

    return answer


def refused(bee: MongoDBWorkerBee) -> SourceError:
    with bee, pytest.raises(SourceError) as error:
        bee.validate_flight_path()
    text = "".join(traceback.format_exception(error.value))
    assert PASSWORD not in text
    assert OWN_WORDS not in text
    return error.value


class TestLogin:
    def test_a_wrong_password_is_for_a_person_to_mend(self):
        with ScriptedMongo(usual(saslStart=failure(18, "AuthenticationFailed"))) as peer:
            error = refused(bee_for(peer.port, user="hive", password=PASSWORD))

        assert isinstance(error, GiveUp)
        assert error.code == "denied"
        assert "auth_source" in error.advice
        assert peer.commands("saslStart")[0]["$db"] == "admin"

    def test_a_missing_right_is_named(self):
        with ScriptedMongo(usual(find=failure(13, "Unauthorized"))) as peer:
            error = refused(bee_for(peer.port))

        assert (error.code, error.where) == ("no_permission", "streams.items")

    @pytest.mark.parametrize(
        ("accepted", "actions"),
        [(False, ["find", "insert"]), (True, ["find", "insert"]), (False, ["find"])],
    )
    def test_a_login_that_may_write_is_refused_unless_it_is_accepted(self, accepted, actions):
        resource = {"db": "shop", "collection": ""}
        about = {
            "authenticatedUsers": [{"user": "hive", "db": "admin"}],
            "authenticatedUserPrivileges": [{"resource": resource, "actions": actions}],
        }
        with ScriptedMongo(usual(connectionStatus={"ok": 1.0, "authInfo": about})) as peer:
            bee = bee_for(peer.port, allow_writable_role=accepted)
            if accepted or actions == ["find"]:
                with bee:
                    assert bee.validate_flight_path() is None
            else:
                error = refused(bee)
                assert error.code == "login_may_write"
                assert "insert" in str(error)

    def test_no_secret_shows(self):
        bee = bee_for(1, user="hive", password=PASSWORD)
        shown = [repr(bee), repr(bee.options), str(bee.dance_instructions()), bee.source_identity(), repr(bee.server)]

        assert not [text for text in shown if PASSWORD in text]


class TestAnswers:
    @pytest.mark.parametrize(
        ("reply", "kind", "code"),
        [
            (failure(292, "QueryExceededMemoryLimitNoDiskUseAllowed"), GiveUp, "no_index"),
            (failure(2, "BadValue"), GiveUp, "refused"),
            (failure(50, "MaxTimeMSExpired"), RetryLater, "statement_timeout"),
            (failure(43, "CursorNotFound"), RetryLater, "cursor_gone"),
            (failure(11602, "InterruptedDueToReplStateChange"), RetryLater, "restarting"),
            (failure(134, "ReadConcernMajorityNotAvailableYet"), RetryLater, "restarting"),
            (failure(133, "FailedToSatisfyReadPreference"), RetryLater, "restarting"),
            (failure(13388, "StaleConfig"), RetryLater, "restarting"),
            (failure(246, "SnapshotUnavailable"), RetryLater, "conflict"),
            (failure(262, "ExceededTimeLimit"), RetryLater, "statement_timeout"),
            (None, RetryLater, "unreachable"),
        ],
    )
    def test_each_error_has_its_verdict(self, reply, kind, code):
        with ScriptedMongo(usual(find=lambda _: reply)) as peer, bee_for(peer.port) as bee:
            with pytest.raises(kind) as error:
                list(bee.collect_nectar("items", None))
            assert error.value.code == code
            assert OWN_WORDS not in str(error.value)

    def test_a_cursor_that_is_lost_is_followed_by_another_from_the_same_place(self):
        pages = [page(SPACE, [{"_id": n} for n in range(3)], cursor=7), page(SPACE, [{"_id": n} for n in range(3, 5)])]
        asked: list[Any] = []

        def find(command: dict[str, Any]) -> dict[str, Any]:
            if command.get("limit"):
                return page(SPACE, [])
            asked.append(command["filter"])
            return pages.pop(0)

        with ScriptedMongo(usual(find=find, getMore=failure(43, "CursorNotFound"))) as peer, bee_for(peer.port) as bee:
            found = rows(list(bee.collect_nectar("items", None)))

        assert [row["underscore_id"] for row in found] == list(range(5))
        assert asked[0] == {}
        assert {"_id": {"$gt": 2}} in asked[1]["$or"]

    def test_each_command_has_its_limit_of_time(self):
        with ScriptedMongo(usual()) as peer, bee_for(peer.port, statement_timeout=7) as bee:
            list(bee.collect_nectar("items", None))
            assert {command["maxTimeMS"] for command in peer.commands("find")} == {7000}

    def test_a_server_that_falls_silent_is_for_later(self, monkeypatch):
        """Its own limit of time says nothing where it hangs as a whole."""
        monkeypatch.setattr("bees.mongodb._MORE", 0.2)
        over = threading.Event()

        def silent(_: dict[str, Any]) -> None:
            over.wait(20)

        with ScriptedMongo(usual(getMore=silent, find=page(SPACE, [{"_id": 1}], cursor=7))) as peer:
            with bee_for(peer.port, statement_timeout=1) as bee, pytest.raises(RetryLater) as error:
                list(bee.collect_nectar("items", None))
            over.set()

        assert error.value.code == "timeout"
        assert len(peer.commands("getMore")) <= 2  # the driver asks a second time

    def test_a_peer_that_is_no_mongodb_is_named(self):
        with ScriptedMongo(usual(), hello={"ok": 0.0, "code": 59, "errmsg": OWN_WORDS}) as peer:
            error = refused(bee_for(peer.port, connect_timeout=0.3))
        assert error.advice


class TestReplicaSet:
    @staticmethod
    def hello(port: int, *others: str, **more: Any) -> dict[str, Any]:
        mine = f"127.0.0.1:{port}"
        return {"setName": "rs0", "hosts": [mine, *others], "primary": mine, "me": mine, "setVersion": 1, **more}

    def test_a_member_that_nobody_named_is_not_dialled(self):
        stranger = free_port()
        with ScriptedMongo(usual()) as other, ScriptedMongo(usual()) as peer:
            peer.hello = self.hello(peer.port, f"localhost:{other.port}", "169.254.169.254:80", f"127.0.0.2:{stranger}")
            with bee_for(peer.port, replica_set="rs0") as bee:
                assert len(rows(list(bee.collect_nectar("items", None)))) == 2
            assert peer.seen
            assert not other.seen
            assert peer.commands("find")[0]["readConcern"] == {"level": "majority"}

    def test_a_set_whose_members_are_forbidden_says_so(self):
        with ScriptedMongo(usual()) as peer:
            peer.hello = self.hello(1) | {
                "isWritablePrimary": False,
                "secondary": True,
                "hosts": ["169.254.169.254:80"],
            }
            peer.hello |= {"primary": "169.254.169.254:80", "me": "169.254.169.254:80"}
            error = refused(bee_for(peer.port, replica_set="rs0", connect_timeout=1))
        assert error.code == "forbidden_address"

    def test_a_secondary_is_read_where_it_is_asked_for(self):
        with ScriptedMongo(usual()) as peer:
            peer.hello = self.hello(peer.port) | {"isWritablePrimary": False, "secondary": True}
            del peer.hello["primary"]
            with bee_for(peer.port, replica_set="rs0", read_preference="secondary") as bee:
                list(bee.collect_nectar("items", None))
            assert peer.commands("find")[0]["$readPreference"]["mode"] == "secondary"

    def test_the_checked_address_is_dialled_not_the_name(self):
        with ScriptedMongo(usual()) as peer:
            options = MongoDBWorkerBee.Options(
                hosts="mongo.example", port=peer.port, database="shop", connect_timeout=2
            )
            named = frozenset({("mongodb", "mongo.example", peer.port)})
            policy = AddressPolicy(named, allow_private=True, resolve=lambda *_: ["127.0.0.1"])
            with MongoDBWorkerBee(options, policy) as bee:
                assert len(rows(list(bee.collect_nectar("items", None)))) == 2


class TestTls:
    @pytest.mark.parametrize(
        ("name", "trusted"),
        [("mongo.example", True), ("other.example", True), ("mongo.example", False)],
    )
    def test_a_certificate_is_checked_against_the_name(self, tmp_path: Path, name, trusted):
        files = certificate(tmp_path, "mongo.example")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files)
        with ScriptedMongo(usual(), tls=context) as peer:
            told = {"hosts": name, "port": peer.port, "database": "shop", "connect_timeout": 1, "tls": True}
            options = MongoDBWorkerBee.Options.model_validate(told | ({"tls_ca": str(files)} if trusted else {}))
            policy = AddressPolicy(frozenset({("mongodb", name, peer.port)}), True, lambda *_: ["127.0.0.1"])
            bee = MongoDBWorkerBee(options, policy)
            if name == "mongo.example" and trusted:
                with bee:
                    assert len(rows(list(bee.collect_nectar("items", None)))) == 2
            else:
                error = refused(bee)
                assert error.code == "bad_certificate"
                assert ("another host name" if trusted else "authority") in str(error)

    def test_a_missing_file_is_for_a_person_to_mend(self):
        assert refused(bee_for(1, tls=True, tls_ca="/no/such/file")).code == "bad_options"


class Feed:
    """A collection whose changes come by a stream, as a replica set gives them."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self.documents = documents
        self.changes: list[dict[str, Any]] = []
        self.opened: list[dict[str, Any]] = []
        self.lost = False
        self._cursors: dict[int, int] = {}
        self._left: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)

    def change(self, kind: str, one: Any, document: dict[str, Any] | None = None) -> None:
        token = {"_data": f"82{len(self.changes) + 1:06}"}
        told = {"_id": token, "operationType": kind, "documentKey": {"_id": one}, "ns": {"db": "shop", "coll": "items"}}
        if kind in ("insert", "update", "replace"):
            told["fullDocument"] = document
        self.changes.append(told)

    def find(self, command: dict[str, Any]) -> dict[str, Any]:
        """Pages of two; the bee goes on behind an `_id`."""
        behind = command["filter"]["$or"][0]["_id"]["$gt"] if "$or" in command["filter"] else -1
        found = [] if "_id" in command["filter"] else [d for d in self.documents if d["_id"] > behind]
        size = command.get("limit") or command["batchSize"]
        number = next(self._numbers) if len(found) > size else 0
        self._left = found[size:]
        return page(SPACE, found[:size], cursor=number)

    def watch(self, command: dict[str, Any]) -> dict[str, Any]:
        told = command["pipeline"][0]["$changeStream"]
        self.opened.append(command)
        if self.lost:
            return failure(286, "ChangeStreamHistoryLost")
        token = told.get("startAfter") or told.get("resumeAfter")
        number = 1000 + next(self._numbers)
        self._cursors[number] = int(token["_data"][2:]) if token else len(self.changes)
        return self._next(number, first=True)

    def more(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["getMore"] not in self._cursors:
            return page(SPACE, self._left, first=False)
        return self._next(int(command["getMore"]), first=False)

    def _next(self, number: int, *, first: bool) -> dict[str, Any]:
        at = self._cursors[number]
        found = [] if first else self.changes[at : at + 3]
        self._cursors[number] = at + len(found)
        token = {"_data": f"82{at + len(found):06}"}
        return page(SPACE, found, cursor=number, first=first, postBatchResumeToken=token)


@pytest.fixture
def feed() -> Feed:
    return Feed([{"_id": n, "v": n} for n in range(4)])


@pytest.fixture
def peer(feed: Feed) -> Iterator[ScriptedMongo]:
    with ScriptedMongo(usual(find=feed.find, aggregate=feed.watch, getMore=feed.more)) as made:
        made.hello = TestReplicaSet.hello(made.port)
        yield made


class TestChanges:
    def read(self, peer: ScriptedMongo, cursor: Any = None, **stream: Any) -> list[Batch]:
        told = {"mode": "cdc", "idle": 0.3, **stream}
        with bee_for(peer.port, replica_set="rs0", batch_rows=2, streams={"items": told}) as bee:
            return list(bee.collect_nectar("items", cursor))

    @staticmethod
    def told(batches: list[Batch]) -> list[tuple[Any, ...]]:
        return [(row["_op"], row["underscore_id"], row.get("v")) for row in rows(batches)]

    def test_everything_once_and_then_each_change(self, feed, peer):
        first = self.read(peer)
        assert self.told(first) == [("upsert", n, n) for n in range(4)]

        feed.change("insert", 9, {"_id": 9, "v": 99})
        feed.change("update", 1, {"_id": 1, "v": 11})
        feed.change("delete", 2)
        feed.change("update", 3, None)  # it is gone by now
        feed.change("delete", 3)
        second = self.read(peer, first[-1].cursor)

        assert self.told(second) == [("upsert", 9, 99), ("upsert", 1, 11), ("delete", 2, None), ("delete", 3, None)]
        assert self.told(self.read(peer, second[-1].cursor)) == []
        assert [batch.begins for batch in first] == [True, *[False] * (len(first) - 1)]
        read = [batch for batch in first if batch.table.num_rows]
        assert [batch for batch in first if batch.complete] == read[-1:]
        assert not any(batch.begins or batch.complete for batch in second)

    def test_what_changes_during_the_whole_read_comes_after_it(self, feed, peer):
        told = {"mode": "cdc", "idle": 0.3}
        with bee_for(peer.port, replica_set="rs0", batch_rows=2, streams={"items": told}) as bee:
            reading = bee.collect_nectar("items", None)
            seen = [next(reading)]
            feed.change("update", 0, {"_id": 0, "v": 100})
            seen.extend(reading)

        assert self.told(seen)[-1] == ("upsert", 0, 100)

    def test_resuming_after_any_batch_loses_no_change(self, feed, peer):
        start = self.read(peer)[-1].cursor
        for n in range(11):
            feed.change("insert", 100 + n, {"_id": 100 + n, "v": n})
        batches = self.read(peer, start)
        assert len(batches) >= 3
        for stop in range(len(batches)):
            rest = self.read(peer, batches[stop].cursor)
            assert self.told([*batches[: stop + 1], *rest]) == [("upsert", 100 + n, n) for n in range(11)]

    def test_a_whole_read_is_resumed_with_the_token_from_before_it(self, feed, peer):
        told = {"mode": "cdc", "idle": 0.3}
        with bee_for(peer.port, replica_set="rs0", batch_rows=2, streams={"items": told}) as bee:
            first = next(bee.collect_nectar("items", None))
        feed.change("update", 0, {"_id": 0, "v": 100})
        rest = self.read(peer, first.cursor)

        assert self.told([first, *rest]) == [*[("upsert", n, n) for n in range(4)], ("upsert", 0, 100)]

    def test_fields_are_chosen_inside_of_the_change(self, feed, peer):
        self.read(peer, fields="v")
        project = feed.opened[-1]["pipeline"][1]["$project"]

        assert project == {"operationType": 1, "documentKey": 1, "fullDocument._id": 1, "fullDocument.v": 1}

    def test_a_stream_that_has_lost_its_history_says_so(self, feed, peer):
        last = self.read(peer)[-1].cursor
        feed.lost = True
        with pytest.raises(GiveUp) as error:
            self.read(peer, last)
        assert error.value.code == "history_lost"
        assert "--full-refresh" in error.value.advice

    @pytest.mark.parametrize("kind", ["drop", "rename", "invalidate"])
    def test_a_collection_that_is_dropped_says_so_after_what_came_before(self, feed, peer, kind):
        last = self.read(peer)[-1].cursor
        feed.change("insert", 9, {"_id": 9, "v": 9})
        feed.change(kind, 0)
        seen: list[Batch] = []
        told = {"mode": "cdc", "idle": 0.3}
        options = {"replica_set": "rs0", "batch_rows": 50, "streams": {"items": told}}
        with bee_for(peer.port, **options) as bee, pytest.raises(GiveUp, match="dropped or renamed"):
            seen.extend(bee.collect_nectar("items", last))
        assert seen == [] or self.told(seen) == [("upsert", 9, 9)]

    @pytest.mark.parametrize("stream", [{"mode": "cdc", "idle": 0.3}, {"cursor": "v"}])
    def test_a_member_that_is_behind_waits_until_it_has_what_another_one_told(self, feed, peer, stream):
        """Also in the next leg, in another process: what is below the mark, or before the token, is read once."""
        times = itertools.count(1)
        inner = peer.answer

        def answer(command: dict[str, Any]) -> dict[str, Any] | None:
            now = Timestamp(1000, next(times))
            signature = {"hash": b"\0" * 20, "keyId": bson.Int64(7)}
            return (inner(command) or {}) | {
                "operationTime": now,
                "$clusterTime": {"clusterTime": now, "signature": signature},
            }

        peer.answer = answer
        peer.hello |= {"isWritablePrimary": False, "secondary": True, "logicalSessionTimeoutMinutes": 30}
        del peer.hello["primary"]
        options = {"replica_set": "rs0", "read_preference": "secondary", "batch_rows": 2, "streams": {"items": stream}}
        with bee_for(peer.port, **options) as bee:
            cursor = next(iter(bee.collect_nectar("items", None))).cursor
        first = [command["readConcern"] for command in peer.commands("find") if "batchSize" in command]
        before = len(peer.seen)
        with bee_for(peer.port, **options) as bee:
            last = list(bee.collect_nectar("items", cursor))[-1].cursor
        again = next(c["readConcern"] for c in peer.seen[before:] if next(iter(c)) == "find" and "batchSize" in c)

        assert first[0]["level"] == again["level"] == "majority"
        assert first[0]["afterClusterTime"] == again["afterClusterTime"]
        assert "seen" in cursor
        assert "seen" not in last

    def test_a_server_without_change_streams_says_so(self):
        streams = {"items": {"mode": "cdc"}}
        with (
            ScriptedMongo(usual(aggregate=failure(40573, "Location40573"))) as peer,
            bee_for(peer.port, streams=streams) as bee,
            pytest.raises(GiveUp) as error,
        ):
            list(bee.collect_nectar("items", None))
        assert error.value.code == "no_changes"

    def test_a_token_is_kept_as_it_is(self, feed, peer):
        cursor = self.read(peer)[-1].cursor
        self.read(peer, cursor)
        sent = feed.opened[-1]["pipeline"][0]["$changeStream"]["startAfter"]

        assert bson.encode(sent) == bson.encode({"_data": "82000000"})
