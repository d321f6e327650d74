"""Connections of a GraphQL API: every node once, nothing cut off in silence, errors named and never quoted."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.graphql import BadQuery, parse
from bees.core.graphql_answer import wait_of
from bees.graphql import GraphqlBee
from nectar.batch import Batch
from tests.bees.contract import BeeContract, Source, rows
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]

TOKEN = "made-up-token-4711"
TICKETS = """
query Tickets($first: Int = 10, $after: String, $since: DateTime, $queue: String) {  # by the desk
  desk { tickets(first: $first, after: $after, updatedSince: $since, queue: $queue) {
    pageInfo { hasNextPage endCursor }
    nodes { ...Ticket comments(first: 2) { pageInfo { hasNextPage endCursor } nodes { id body } } }
  } }
  rateLimit { cost remaining resetAt }
}
fragment Ticket on Ticket { id updatedAt total: amount open }
"""
COMMENTS = """query Comments($id: ID!, $after: String) { node(id: $id) { ... on Ticket {
 comments(first: 2, after: $after) { pageInfo { hasNextPage endCursor } edges { node { id body } } } } } }"""
PEOPLE = """query People($after: String) { people(after: $after) {
 pageInfo { hasNextPage endCursor } edges { node { id } } } }"""
STREAMS: dict[str, Any] = {
    "tickets": {
        "query": TICKETS,
        "connection": "desk.tickets",
        "key": "id",
        "cursor": "updatedAt",
        "cursor_variable": "since",
        "nested": {"comments": {"query": COMMENTS, "connection": "node.comments"}},
    },
    "people": {"query": PEOPLE, "connection": "people", "key": "id"},
    "queues": {"query": "query Queues { queues { name } }", "connection": "queues", "key": "name"},
}
COUNT = 35
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

Answer = Any
Handler = Callable[[dict[str, Any]], Answer]


def connected(items: list[Any], first: int, after: str | None, *, edges: bool = False) -> dict[str, Any]:
    """A page of a list as Relay has it; a cursor is opaque to who reads it."""
    start = int(after.removeprefix("c:")) if after else 0
    page, more = items[start : start + first], start + first < len(items)
    told = {"edges": [{"node": node} for node in page]} if edges else {"nodes": page}
    return {"pageInfo": {"hasNextPage": more, "endCursor": f"c:{start + len(page)}"}, **told}


def scalar(name: str, *, required: bool = False) -> dict[str, Any]:
    inner = {"kind": "SCALAR", "name": name}
    return {"kind": "NON_NULL", "name": None, "ofType": inner} if required else inner


def object_(name: str, kind: str = "OBJECT") -> dict[str, Any]:
    return {"kind": kind, "name": name}


TYPES: dict[str, dict[str, Any]] = {
    "Query": {"desk": object_("Desk"), "people": object_("People")},
    "Desk": {"tickets": {"kind": "NON_NULL", "name": None, "ofType": object_("Tickets")}},
    "Tickets": {"nodes": {"kind": "LIST", "name": None, "ofType": object_("Ticket")}},
    "Ticket": {
        "id": scalar("ID", required=True),
        "updatedAt": scalar("DateTime"),
        "amount": scalar("Float"),
        "open": scalar("Boolean", required=True),
        "comments": object_("Comments"),
        "notAskedFor": scalar("Int"),
    },
}


class Desk:
    """A GraphQL server: an answer for each query by its name. `broken` replaces one."""

    def __init__(self) -> None:
        self.renew()
        desk = self

        class Handles(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet: the second would wait for the first one's ACK
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers, body = desk.answer(told, self.headers.get("Authorization"))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handles)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/graphql"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def renew(self) -> None:
        self.tickets = [self.ticket(n) for n in range(COUNT)]
        self.asked: list[dict[str, Any]] = []
        self.busy = 0
        self.token = TOKEN
        self.introspects = True
        self.broken: dict[str, Handler] = {}

    @staticmethod
    def ticket(n: int) -> dict[str, Any]:
        comments = [{"id": f"{n}-{c}", "body": f"words {c}"} for c in range(n % 6)]
        at = (NOON + timedelta(minutes=n)).isoformat()
        return {"id": f"T{n}", "updatedAt": at, "total": n + 0.5, "open": n % 2 == 0, "comments": comments}

    def answer(self, told: dict[str, Any], login: str | None) -> tuple[int, dict[str, str], bytes]:
        if login != f"Bearer {self.token}":
            return 401, {}, b'{"message": "Bad credentials"}'
        if self.busy:
            self.busy -= 1
            return 429, {"Retry-After": "2"}, b"slow down"
        self.asked.append(told)
        name = told["query"].split("(")[0].split("{")[0].replace("query", "").strip()
        found = self.broken.get(name, getattr(self, f"_{name.lower()}", self._types))(told["variables"])
        return (
            200,
            {"Content-Type": "application/json"},
            found if isinstance(found, bytes) else json.dumps(found).encode(),
        )

    def _tickets(self, v: dict[str, Any]) -> Answer:
        wanted = [t for t in self.tickets if t["updatedAt"] >= v.get("since", "")]
        page = connected(wanted, v.get("first", 10), v.get("after"))
        page["nodes"] = [{**t, "comments": connected(t["comments"], 2, None)} for t in page["nodes"]]
        return {
            "data": {"desk": {"tickets": page}, "rateLimit": {"cost": 1, "remaining": 4000, "resetAt": "2026-03-01"}}
        }

    def _comments(self, v: dict[str, Any]) -> Answer:
        (ticket,) = (t for t in self.tickets if t["id"] == v["id"])
        return {"data": {"node": {"comments": connected(ticket["comments"], 2, v["after"], edges=True)}}}

    def _people(self, v: dict[str, Any]) -> Answer:
        return {"data": {"people": connected([{"id": n} for n in range(COUNT)], 10, v.get("after"), edges=True)}}

    def _queues(self, _: dict[str, Any]) -> Answer:
        return {"data": {"queues": [{"name": "red"}, {"name": "blue"}]}}

    def _types(self, v: dict[str, Any]) -> Answer:
        if not self.introspects:
            return {"errors": [{"message": "introspection is off"}], "data": None}
        if "name" not in v:
            return {"data": {"__schema": {"queryType": {"name": "Query"}}}}
        fields = TYPES.get(v["name"])
        return {"data": {"__type": fields and {"fields": [{"name": n, "type": t} for n, t in fields.items()]}}}

    def options(self, **more: Any) -> dict[str, Any]:
        auth = {"method": "bearer", "token": TOKEN}
        return {"url": self.url, "auth": auth, "allow_private": True, "streams": STREAMS, **more}

    def bee(self, sleep: Callable[[float], None] | None = None, **more: Any) -> GraphqlBee:
        made = GraphqlBee.Options.model_validate(self.options(**more))
        return GraphqlBee(made, sleep=sleep) if sleep else GraphqlBee(made)

    def read(self, stream: str = "tickets", cursor: Any = None, query: Any = None, **more: Any) -> list[Batch]:
        with self.bee(**more) as bee:
            return list(bee.collect_nectar(stream, cursor, query=query))

    def failure(self, stream: str = "tickets", **more: Any) -> SourceError:
        with self.bee(**more) as bee, pytest.raises(SourceError) as error:
            list(bee.collect_nectar(stream, None))
        shown = "".join(traceback.format_exception(error.value))
        assert TOKEN not in shown
        assert "Jane" not in shown
        return error.value

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def served() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.fixture
def desk(served: Desk) -> Desk:
    served.renew()
    return served


class TestContract(BeeContract):
    connector = "graphql"

    @pytest.fixture(params=["tickets", "people"])
    def source(self, request: pytest.FixtureRequest, desk: Desk) -> Source:
        with closing(socket.create_server(("127.0.0.1", 0))) as gone:
            nowhere = f"http://127.0.0.1:{gone.getsockname()[1]}/graphql"
        good = desk.options(rate_limit_wait=2, streams={request.param: STREAMS[request.param]})
        return Source(
            options=good,
            stream=request.param,
            keys={f"T{n}" if request.param == "tickets" else n for n in range(COUNT)},
            key_of=lambda row: row["id"],
            unreachable={**good, "url": nowhere},
            denied={**good, "auth": {"method": "bearer", "token": "wrong-token-9d1c"}},
            secrets=(TOKEN, "wrong-token-9d1c"),
            fingerprint=lambda: json.dumps(desk.tickets),
        )


class TestPages:
    def test_records_come_whole_with_all_that_their_inner_connections_hold(self, desk: Desk) -> None:
        found = desk.read()

        assert [batch.table.num_rows for batch in found] == [10, 10, 10, 5]
        assert found[-1].complete
        for row, ticket in zip(rows(found), desk.tickets, strict=True):
            inner = json.loads(row["comments"]) if isinstance(row["comments"], str) else row["comments"]
            assert {**row, "comments": inner} == ticket

    def test_a_plain_list_is_one_page(self, desk: Desk) -> None:
        (batch,) = desk.read("queues")
        assert batch.table.to_pylist() == [{"name": "red"}, {"name": "blue"}]
        assert batch.complete

    def test_the_next_flight_asks_from_the_highest_cursor_on(self, desk: Desk) -> None:
        last = desk.read()[-1].cursor
        desk.tickets.append(desk.ticket(99))
        desk.asked.clear()

        again = desk.read(cursor=last)

        assert [row["id"] for row in rows(again)] == ["T34", "T99"]
        assert desk.asked[0]["variables"] == {"since": (NOON + timedelta(minutes=34)).isoformat()}
        assert not again[-1].complete

    def test_lookback_begins_earlier(self, desk: Desk) -> None:
        streams = {"tickets": {**STREAMS["tickets"], "lookback": 120}}
        last = desk.read()[-1].cursor
        assert [row["id"] for row in rows(desk.read(cursor=last, streams=streams))] == ["T32", "T33", "T34"]

    def test_variables_of_the_stream_and_of_one_read_are_sent(self, desk: Desk) -> None:
        streams = {"tickets": {**STREAMS["tickets"], "variables": {"queue": "red", "first": 30}}}
        found = desk.read(streams=streams, query={"first": 20})
        assert [batch.table.num_rows for batch in found] == [20, 15]
        assert desk.asked[0]["variables"] == {"queue": "red", "first": 20}
        assert not found[-1].complete

    def test_an_inner_connection_that_nobody_described_is_not_cut_off(self, desk: Desk) -> None:
        streams = {"tickets": {**STREAMS["tickets"], "nested": {}}}
        error = desk.failure(streams=streams)
        assert (error.code, "comments" in str(error)) == ("truncated", True)

    @pytest.mark.parametrize(
        ("page", "code"),
        [
            ({"nodes": [{"id": "a"}], "pageInfo": {"hasNextPage": True, "endCursor": "c:0"}}, "pagination_loop"),
            ({"nodes": [{"id": "a"}], "pageInfo": {"hasNextPage": True, "endCursor": None}}, "bad_cursor"),
            ({"nodes": [{"id": "a"}], "pageInfo": {"hasNextPage": "no"}}, "no_page_info"),
            ({"nodes": [{"id": "a"}]}, "no_page_info"),
            ({"pageInfo": {"hasNextPage": False}}, "no_records"),
            (None, "no_records"),
            ("text", "no_records"),
        ],
    )
    def test_pages_that_lead_nowhere_are_named(self, desk: Desk, page: Any, code: str) -> None:
        desk.broken["Tickets"] = lambda _: {"data": {"desk": {"tickets": page}}}
        assert desk.failure().code == code

    def test_pages_without_records_do_not_go_on_for_ever(self, desk: Desk) -> None:
        counter = iter(range(10_000))
        info = lambda: {"hasNextPage": True, "endCursor": f"c:{next(counter)}"}  # noqa: E731 - a new one each time
        desk.broken["People"] = lambda _: {"data": {"people": {"edges": [], "pageInfo": info()}}}

        assert desk.failure("people").code == "pagination_loop"
        assert len(desk.asked) == 100

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"<html>Jane</html>", "not_json"),
            (b"", "not_json"),
            (b"[" * 100_000, "not_json"),
            (b"[1]", "not_graphql"),
            (b"{}", "not_graphql"),
            (b'{"data": 7}', "not_graphql"),
            (b'{"data": null, "errors": "Jane"}', "not_graphql"),
            (b'{"data": null, "errors": []}', "not_graphql"),
        ],
    )
    def test_what_is_no_graphql_is_named_and_not_quoted(self, desk: Desk, body: bytes, code: str) -> None:
        desk.broken["Tickets"] = lambda _: body
        assert desk.failure().code == code

    def test_nodes_that_are_no_records_are_set_aside(self, desk: Desk) -> None:
        nodes = b'[null, 7, {"id": "\\ud800"}, {"id": "a", "n": 123456789012345678901234567890, "id": "b"}]'
        desk.broken["People"] = lambda _: (
            b'{"data": {"people": {"nodes": ' + nodes + b', "pageInfo": {"hasNextPage": false}}}}'
        )
        (batch,) = desk.read("people")
        assert [reject.code for reject in batch.rejects] == ["not_object", "not_object", "bad_unicode"]
        assert batch.table.to_pylist() == [{"id": "b", "n": "123456789012345678901234567890"}]


class TestErrors:
    def test_errors_beside_data_go_to_quarantine_and_the_data_lands(self, desk: Desk) -> None:
        def partial(v: dict[str, Any]) -> Answer:
            told = desk._tickets(v)
            told["data"]["desk"]["tickets"]["nodes"][3] = None
            path = ["desk", "tickets", "nodes", 3, "Jane Roe's"]
            return {**told, "errors": [{"message": "Jane Roe", "type": "FORBIDDEN", "path": path}]}

        desk.broken["Tickets"] = partial
        found = desk.read()

        assert len(rows(found)) == COUNT - len(found)
        reject = found[0].rejects[0]
        assert (reject.code, reject.reason) == ("graphql_error", "FORBIDDEN at desk.tickets.nodes.3")
        assert b"Jane Roe" in reject.raw
        assert not found[-1].complete
        del desk.broken["Tickets"]
        assert len(rows(desk.read(cursor=found[-1].cursor))) == COUNT, "what was missing is asked for again"

    @pytest.mark.parametrize(
        ("error", "kind", "code"),
        [
            ({"type": "RATE_LIMITED"}, RetryLater, "rate_limited"),
            ({"extensions": {"code": "THROTTLED"}}, RetryLater, "rate_limited"),
            ({"extensions": {"code": "UNAUTHENTICATED"}}, GiveUp, "denied"),
            ({"extensions": {"code": "INTERNAL_SERVER_ERROR"}}, RetryLater, "server_error"),
            ({"extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}, GiveUp, "graphql_error"),
            ({"extensions": {"code": "Jane"}, "type": ["Jane"]}, GiveUp, "graphql_error"),
            ("Jane", GiveUp, "graphql_error"),
        ],
    )
    def test_errors_without_data_fail_the_page_with_their_verdict(
        self, desk: Desk, error: Any, kind: type, code: str
    ) -> None:
        told = {**error, "message": "Jane Roe"} if isinstance(error, dict) else error
        desk.broken["Tickets"] = lambda _: {"data": None, "errors": [told]}
        failure = desk.failure()
        assert (type(failure), failure.code) == (kind, code)
        desk.broken["Tickets"] = lambda _: {"data": {"desk": None}, "errors": [told]}
        assert desk.failure().code == code

    def test_a_record_whose_inner_pages_fail_lands_with_what_came(self, desk: Desk) -> None:
        desk.broken["Comments"] = lambda _: {"data": {"node": {"comments": {"nodes": [], "pageInfo": {
            "hasNextPage": False}}}}, "errors": [{"type": "NOT_FOUND"}]}  # fmt: skip
        found = desk.read()
        assert len(rows(found)) == COUNT
        assert {reject.reason for batch in found for reject in batch.rejects} == {"NOT_FOUND"}

    def test_a_login_that_ends_in_the_middle_fails_clearly_after_what_came(self, desk: Desk) -> None:
        def expire(v: dict[str, Any]) -> Answer:
            desk.token = "another"
            return desk._tickets(v)

        desk.broken["Tickets"] = expire
        taken: list[Batch] = []
        plain = [desk.ticket(6 * n) for n in range(COUNT)]  # without comments
        with desk.bee() as bee:
            desk.tickets = plain
            with pytest.raises(GiveUp) as error:
                taken.extend(bee.collect_nectar("tickets", None))
        assert (error.value.code, len(taken)) == ("denied", 1)
        assert "auth.token" in error.value.advice
        desk.renew()
        desk.tickets = plain
        assert len(rows(desk.read(cursor=taken[0].cursor))) == COUNT - 10


class TestRate:
    def test_a_busy_server_is_sat_out_within_the_option(self, desk: Desk) -> None:
        desk.busy = 1
        slept: list[float] = []
        with desk.bee(sleep=slept.append, rate_limit_wait=3) as bee:
            assert len(rows(list(bee.collect_nectar("people", None)))) == COUNT
        assert slept == [2.0]

        desk.busy = 1
        failure = desk.failure("people")
        assert isinstance(failure, RetryLater)
        assert failure.after == 2.0

    def test_a_budget_that_is_used_up_ends_the_leg_after_the_page_that_came(self, desk: Desk) -> None:
        reset = (datetime.now(UTC) + timedelta(seconds=900)).isoformat()

        def poor(v: dict[str, Any]) -> Answer:
            told = desk._tickets(v)
            return {"data": {**told["data"], "rateLimit": {"cost": 5, "remaining": 4, "resetAt": reset}}}

        desk.broken["Tickets"] = poor
        taken: list[Batch] = []
        with desk.bee() as bee, pytest.raises(RetryLater) as error:
            taken.extend(bee.collect_nectar("tickets", None))  # keeps what came before the error
        assert error.value.after == pytest.approx(900, abs=10)
        assert [batch.table.num_rows for batch in taken] == [10]

    @pytest.mark.parametrize(
        ("answer", "wait"),
        [
            ({}, 0),
            ({"data": {"rateLimit": {"cost": 1, "remaining": 1, "resetAt": "2026-03-01T12:00:30Z"}}}, 0),
            ({"data": {"rateLimit": {"cost": 2, "remaining": 1, "resetAt": "2026-03-01T12:00:30Z"}}}, 30),
            ({"data": {"rateLimit": {"remaining": 0, "resetAt": "soon"}}}, 60),
            ({"data": {"rateLimit": {"remaining": "none"}}}, 0),
            ({"extensions": {"cost": {"requestedQueryCost": 101, "throttleStatus": {
                "maximumAvailable": 1000, "currentlyAvailable": 1, "restoreRate": 50}}}}, 2),
            ({"extensions": {"cost": {"requestedQueryCost": 10, "throttleStatus": {
                "currentlyAvailable": 990, "restoreRate": 50}}}}, 0),
            ({"extensions": {"cost": 7}, "data": {"rateLimit": []}}, 0),
        ],
    )  # fmt: skip
    def test_what_is_left_is_told_in_two_forms(self, answer: Mapping[str, Any], wait: float) -> None:
        assert wait_of(answer, NOON.timestamp()) == wait


class TestSchema:
    def test_columns_have_the_types_that_the_api_tells(self, desk: Desk) -> None:
        with desk.bee() as bee:
            found = {stream.name: stream for stream in bee.get_pollen_schema()}
            asked = len(desk.asked)
            bee.get_pollen_schema()
            assert len(desk.asked) == asked, "it is asked once"

        kinds = {column.name: (column.kind, column.nullable) for column in found["tickets"].columns}
        assert kinds == {
            "id": ("text", False),
            "updatedAt": ("timestamptz", True),
            "total": ("float", True),
            "open": ("boolean", False),
            "comments": ("json", True),
        }
        assert (found["tickets"].key, found["tickets"].cursor) == (("id",), "updatedAt")
        assert found["queues"].columns == ()

    def test_an_api_that_tells_no_types_is_read_all_the_same(self, desk: Desk) -> None:
        desk.introspects = False
        with desk.bee() as bee:
            assert {stream.columns for stream in bee.get_pollen_schema()} == {()}
        with desk.bee(introspect=False) as bee:
            desk.asked.clear()
            bee.get_pollen_schema()
        assert desk.asked == []

    def test_another_query_is_another_stream_and_a_variable_shows_nowhere(self, desk: Desk) -> None:
        streams = {"tickets": {**STREAMS["tickets"], "variables": {"queue": "jane-roe"}}}
        with desk.bee() as one, desk.bee(streams=streams) as other:
            assert one.stream_identity("tickets") != other.stream_identity("tickets")
            assert "jane-roe" not in other.stream_identity("tickets")
            assert one.source_identity() == other.source_identity()


class TestFlight:
    def test_connections_land_typed_and_a_second_flight_finds_nothing_new(self, desk: Desk, nest: Nest) -> None:
        streams = {name: STREAMS[name] for name in ("tickets", "people")}
        source = {name: value for name, value in desk.options().items() if name != "streams"}
        source["auth"] = {"method": "bearer", "token": "{{ vault:desk/token }}"}
        nest.rt.vault().set("desk/token", TOKEN)
        nest.hive.register_worker("graphql", {"name": "desk", "source": source, "streams": streams})

        first, second = nest.land("desk"), nest.land("desk")

        assert (first.state, first.records_landed) == ("complete", 2 * COUNT)
        assert (second.state, second.records_landed) == ("complete", 0)
        landed = nest.jar("desk")
        assert len(landed) == 2 * COUNT
        assert nest.one("SELECT data -> 'comments' FROM hive.honey WHERE data ->> 'id' = 'T11'") == [
            {"id": f"11-{c}", "body": f"words {c}"} for c in range(5)
        ]


class TestQuery:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"connection": "desk.tickts"}, "asks for nothing at 'desk.tickts'"),
            ({"key": "number"}, "does not ask for 'number'"),
            ({"cursor": "changedAt"}, "does not ask for 'changedAt'"),
            ({"cursor": None}, "cursor_variable needs cursor"),
            ({"cursor_variable": "from"}, r"must use \$from"),
            ({"after_variable": "cursor"}, r"must use \$cursor"),
            ({"variables": {"quue": 1}}, r"no variable \$quue"),
            ({"query": TICKETS.replace("pageInfo { hasNextPage endCursor }\n", "")}, "must ask for pageInfo"),
            ({"query": "mutation { desk { close } }"}, "sends no mutation"),
            ({"query": "{ a } { b }"}, "2 queries"),
            ({"query": "{ a "}, "ends before"),
            ({"nested": {"remarks": {"query": COMMENTS, "connection": "node.comments"}}}, "does not ask for 'remarks'"),
        ],
    )
    def test_what_cannot_work_is_said_before_anything_is_asked(
        self, desk: Desk, change: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(ValidationError, match=words):
            desk.bee(streams={"tickets": {**STREAMS["tickets"], **change}})

    def test_fields_are_known_by_the_names_under_which_they_come(self) -> None:
        asked = parse(
            'query Q($a: [ID!]! = ["}"], $b: In = {x: 1}) @d(s: """ " } """) { top: shop(f: {a: {b: $a}}) @i(if: $b) '
            "{ ...F ... on Shop @skip(if: false) { n: name } ... { plain } } }\n"
            "fragment F on Shop { deep ...G } fragment G on Shop { deeper { x } ...F }"
        )
        assert asked.variables == {"a", "b"}
        assert asked.at("top.n") is not None
        assert {"n", "plain", "deep", "deeper"} == asked.at("top").selection.keys()  # type: ignore[union-attr]
        assert asked.at("top.deeper.x.y") is None
        assert asked.at("shop") is None

    @pytest.mark.parametrize(
        "text", ["", "{", "}", "{}}", "{" * 500, "query", "{ a(", '{ a: "b" }', "{ a } %", "subscription { a }", "\0"]
    )
    def test_what_is_no_query_is_refused(self, text: str) -> None:
        with pytest.raises(BadQuery):
            parse(text)

    @given(st.text(alphabet='{}()[]:$@!.="#\\ \nabq_1', max_size=60))
    def test_no_text_makes_the_parser_fail_in_another_way(self, text: str) -> None:
        with contextlib.suppress(BadQuery):
            assert parse(f"query Q {text}").root.name == "query"
