from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import traceback
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from bees.core.errors import GiveUp, RetryLater
from bees.rest import RestBee
from hive.demo import api
from tests.bees.contract import BeeContract, Source, rows
from tests.bees.rest_source import COUNT, SIZE, STREAMS, Demo, one, options, sample_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request

    from nectar.batch import Batch


@pytest.fixture(scope="module")
def process() -> Iterator[str]:
    """The sample API as `make demo` starts it; its second pages are busy once."""
    command = [sys.executable, "-m", "hive.demo.api", "--count", str(COUNT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.terminate()


class TestRest(BeeContract):
    connector = "rest"

    @pytest.fixture(params=sorted(STREAMS))
    def source(self, request: pytest.FixtureRequest, process: str) -> Source:
        with closing(socket.create_server(("127.0.0.1", 0))) as gone:
            nowhere = f"http://127.0.0.1:{gone.getsockname()[1]}"
        name = request.param
        key = "sku" if name == "items" else "id"
        made = api.app(count=COUNT).state.world.rows[name]
        good = options(process, rate_limit_wait=2, streams={name: STREAMS[name]})
        return Source(
            options=good,
            stream=name,
            keys={row[key] for row in made},
            key_of=lambda row: row[key],
            unreachable=options(nowhere, streams={name: STREAMS[name]}),
            denied={**good, "auth": {"method": "bearer", "token": "wrong-token-9d1c"}},
            secrets=(api.TOKEN, "wrong-token-9d1c"),
        )


@pytest.fixture(scope="module")
def served() -> Iterator[Demo]:
    with sample_api() as made:
        yield made


@pytest.fixture
def demo(served: Demo) -> Demo:
    served.renew()
    return served


@pytest.mark.parametrize("stream", sorted(STREAMS))
def test_records_come_as_the_source_has_them(demo: Demo, stream: str) -> None:
    found = demo.read(stream)

    assert [batch.table.num_rows for batch in found if batch.table.num_rows] == [20, 20, 20, 10]
    first = found[0].table.to_pylist()[0]
    for name, value in demo.world.rows[stream][0].items():
        assert first[name] == value or json.loads(first[name]) == value


@pytest.mark.parametrize(
    "auth",
    [
        {"method": "bearer", "token": api.TOKEN},
        {"method": "basic", "username": api.USER, "password": api.PASSWORD},
        {"method": "api_key", "key": api.KEY},
        {"method": "api_key", "key": api.KEY, "query_param": "api_key"},
    ],
)
def test_each_way_to_log_in_reads_and_a_wrong_secret_names_its_option(demo: Demo, auth: dict[str, str]) -> None:
    secret = next(name for name in ("token", "password", "key") if name in auth)
    assert len(rows(demo.read("tickets", auth=auth))) == COUNT

    with demo.bee(auth={**auth, secret: "not-the-secret"}) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()

    assert f"auth.{secret}" in error.value.advice
    assert "not-the-secret" not in "".join(traceback.format_exception(error.value)) + repr(bee) + repr(bee.options)


def test_headers_of_the_operator_are_sent_and_kept_secret(demo: Demo) -> None:
    with demo.bee(auth={}, headers={"X-Api-Key": api.KEY}) as bee:
        assert len(list(bee.collect_nectar("tickets", None))) == 4
        assert api.KEY not in repr(bee.options)


def test_a_rate_limit_is_sat_out_within_the_option(demo: Demo) -> None:
    demo.world.wait = "3"
    slept: list[float] = []

    with demo.bee(sleep=slept.append, rate_limit_wait=5) as bee:
        assert len(rows(list(bee.collect_nectar("tickets", None)))) == COUNT
    assert slept == [3.0]


def test_a_longer_rate_limit_sends_the_caller_away_until_then(demo: Demo) -> None:
    demo.world.wait = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    taken: list[Batch] = []

    with demo.bee(rate_limit_wait=5) as bee, pytest.raises(RetryLater) as error:
        taken.extend(bee.collect_nectar("tickets", None))  # keeps what came before the error

    assert error.value.after == pytest.approx(100, abs=5)
    assert error.value.where == "stream tickets, page 2"
    assert len(rows(demo.read("tickets", taken[-1].cursor))) == COUNT - SIZE


def test_a_source_that_is_always_busy_is_not_waited_for_forever(demo: Demo) -> None:
    demo.world.wait = "2"
    slept: list[float] = []

    def forget(seconds: float) -> None:
        slept.append(seconds)
        demo.world.told.clear()

    with demo.bee(sleep=forget, rate_limit_wait=5) as bee, pytest.raises(RetryLater):
        list(bee.collect_nectar("tickets", None))
    assert slept == [2.0, 2.0]


def test_a_wait_that_would_hold_up_a_stop_is_left_to_the_caller(demo: Demo) -> None:
    demo.world.wait = "6"
    slept: list[float] = []

    with demo.bee(sleep=slept.append, rate_limit_wait=60) as bee, pytest.raises(RetryLater) as error:
        list(bee.collect_nectar("tickets", None))
    assert (slept, error.value.after) == ([], 6.0)


def test_short_waits_for_one_page_do_not_hold_up_a_stop_either(demo: Demo) -> None:
    demo.world.wait = "2"
    slept: list[float] = []

    def forget(seconds: float) -> None:
        slept.append(seconds)
        demo.world.told.clear()

    with demo.bee(sleep=forget, rate_limit_wait=60) as bee, pytest.raises(RetryLater):
        list(bee.collect_nectar("tickets", None))
    assert slept == [2.0, 2.0]


@pytest.mark.parametrize("wait", ["0", "-3", "", "soon"])
def test_a_source_that_says_no_time_is_given_half_a_second(demo: Demo, wait: str) -> None:
    demo.world.wait = wait
    slept: list[float] = []

    with demo.bee(sleep=slept.append, rate_limit_wait=1) as bee:
        assert len(rows(list(bee.collect_nectar("tickets", None)))) == COUNT
    assert slept == [0.5]


def test_a_source_that_is_busy_after_every_third_page_is_read_leg_by_leg() -> None:
    asked: list[int] = []

    async def listing(request: Request) -> Response:
        asked.append(int(request.query_params["page"]))
        if len(asked) % 4 == 0:
            return Response("busy", 429, {"Retry-After": "1"})
        return Response(f'[{{"id": {asked[-1]}}}]' if asked[-1] < 9 else "[]")

    found: list[Batch] = []
    waits: list[tuple[float | None, int]] = []
    with api.running(Starlette(routes=[Route("/x", listing)])) as url:
        given = {
            "base_url": url,
            "allow_private": True,
            "streams": {"x": {"path": "x", "pagination": {"type": "page"}}},
        }
        for _ in range(2):
            with RestBee.from_options(given) as bee, pytest.raises(RetryLater) as error:
                found.extend(bee.collect_nectar("x", found[-1].cursor if found else None))
            waits.append((error.value.after, len(found)))
        with RestBee.from_options(given) as bee:
            found.extend(bee.collect_nectar("x", found[-1].cursor))

    assert waits == [(1.0, 3), (1.0, 6)]
    assert asked == [1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9]
    assert [row["id"] for row in rows(found)] == list(range(1, 9))


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ({"streams": one(path="/items")}, True),
        ({"base_url": "http://desk.example/v2"}, True),
        ({"streams": one(params={"tenant": "b"})}, True),
        ({"streams": one(path="/tickets?tenant=b")}, True),
        ({"streams": one(path="/tickets?api_key=another")}, False),
        ({"streams": one(params={"accessToken": "another"})}, False),
        ({"headers": {"X-Tenant": "b", "X-Api-Key": "one"}}, True),
        ({"headers": {"X-Tenant": "a", "X-Api-Key": "another"}}, False),
        ({"auth": {"method": "bearer", "token": "another"}}, False),
        ({"timeout": 5}, False),
    ],
)
def test_what_a_stream_reads_is_known_by_all_but_its_credentials(changed: dict[str, Any], other: bool) -> None:
    good = options("http://desk.example/v1", headers={"X-Tenant": "a", "X-Api-Key": "one"})

    first = RestBee.from_options(good).stream_identity("tickets")
    second = RestBee.from_options({**good, **changed}).stream_identity("tickets")

    assert (first != second) is other
    assert "another" not in second


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("not_json", GiveUp, "not_json"),
        ("[NaN]", GiveUp, "not_json"),
        ('{"message": "Ada was here"}', GiveUp, "no_records"),
        ('{"a": [], "b": []}', GiveUp, "no_records"),
        ("denied", GiveUp, "denied"),
        ("fails_once", RetryLater, "server_error"),
        ("loop", GiveUp, "pagination_loop"),
        ("foreign_link", GiveUp, "foreign_link"),
    ],
)
def test_a_broken_page_is_named_by_stream_and_number(demo: Demo, fault: str, kind: type, code: str) -> None:
    demo.world.faults["tickets", 2] = fault

    error = demo.fails("tickets", request_attempts=1)

    assert (type(error), error.code) == (kind, code)
    assert error.where.startswith("stream tickets, page ")
    assert "198.51.100.7" not in str(error)


def test_a_records_path_that_leads_nowhere_is_named(demo: Demo) -> None:
    error = demo.fails("tickets", streams=one(records="data.tickets"))

    assert error.code == "no_records"
    assert "data.tickets" in str(error)


def test_a_slow_page_ends_with_the_time_limit(demo: Demo) -> None:
    demo.world.faults["tickets", 2] = "slow"

    assert demo.fails("tickets", timeout=0.5).code == "timeout"


def test_a_page_above_the_limit_of_bytes_is_refused(demo: Demo) -> None:
    assert demo.fails("tickets", max_body_bytes=500).code == "body_too_large"


def test_loopback_without_the_option_is_refused_and_the_option_is_named(demo: Demo) -> None:
    error = demo.fails("tickets", allow_private=False)

    assert (error.code, "allow_private" in error.advice) == ("private_address", True)


def test_items_that_are_no_objects_go_to_quarantine_and_the_rest_comes(demo: Demo) -> None:
    demo.world.faults["tickets", 1] = '[{"id": 1}, 7, {}, {"id": 2, "id": 3}]'

    (batch,) = demo.read("tickets")

    assert batch.table.to_pylist() == [{"id": 1}, {"id": 3}]
    assert [(r.position, r.code, r.raw) for r in batch.rejects] == [
        ("page 1, item 2", "not_object", b"7"),
        ("page 1, item 3", "empty_object", b"{}"),
    ]


def test_reserved_names_are_escaped_also_where_they_are_the_key(demo: Demo) -> None:
    demo.world.faults["tickets", 1] = '[{"_id": 1, "_op": "delete"}]'
    streams = one(key="_id")

    (batch,) = demo.read("tickets", streams=streams)

    assert batch.table.column_names == ["underscore_id", "underscore_op"]
    with demo.bee(streams=streams) as bee:
        assert bee.get_pollen_schema()[0].key == ("underscore_id",)


def test_the_documents_short_form_names_streams_by_their_last_segment(demo: Demo) -> None:
    endpoints = {"health": "/health", "data": ["/tickets", "/items"]}
    with demo.bee(streams={}, endpoints=endpoints) as bee:
        bee.validate_flight_path()
        assert [stream.name for stream in bee.get_pollen_schema()] == ["tickets", "items"]
        assert len(rows(list(bee.collect_nectar("tickets", None)))) == COUNT, "Link headers are followed unasked"
    assert demo.world.asked[0][0] == "/tickets?", "asked when read, not when the health endpoint answers"


def test_a_flight_path_is_tried_with_one_row_a_stream(demo: Demo) -> None:
    with demo.bee() as bee:
        bee.validate_flight_path()

    assert [path for path, _ in demo.world.asked] == [
        "/tickets?per_page=1", "/events?size=1&page=1", "/items?limit=1", "/people?limit=1&offset=0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"base_url": "ftp://x"}, "http and https"),
        ({"base_url": "http://u:hunter2@x"}, "auth"),
        ({"base_url": "http://x/?key=hunter2"}, "params"),
        ({"auth": {"method": "bearer"}}, "needs token"),
        ({"auth": {"token": "hunter2"}}, "set method"),
        ({"auth": {"method": "basic", "password": "hunter2"}}, "username"),
        ({"streams": {}}, "nothing to read"),
        ({"streams": {"x": {"path": "https://elsewhere.example/x"}}}, "under base_url"),
        ({"streams": {"x": {"path": "/x", "cursor_param": "since"}}}, "needs cursor"),
        ({"streams": {"x": {"path": "/x", "pagination": {"type": "cursor"}}}}, "cursor_path"),
        ({"streams": {"x": {"path": "/x", "pagination": {"size": 5}}}}, "size_param"),
        ({"endpoints": {"data": ["/a/x", "/b/x"]}}, "two streams"),
        ({"endpoints": {"data": [""]}}, "missing"),
        ({"timeout": float("inf")}, "finite|less than"),
        ({"timeout": float("nan")}, "finite|greater than"),
        ({"timeout": 0}, "greater than 0"),
        ({"timeout": -1}, "greater than 0"),
        ({"rate_limit_wait": float("inf")}, "finite"),
        ({"headers": {"": "hunter2"}}, "such as X-Tenant"),
        ({"headers": {"X Tenant": "hunter2"}}, "such as X-Tenant"),
        ({"streams": {"a\nb": {"path": "/x"}}}, "control characters"),
        ({"streams": {"": {"path": "/x"}}}, "missing"),
        ({"streams": {"x": {"path": ""}}}, "missing"),
        ({"streams": {"x": {"path": "/x", "key": ["id", "id"]}}}, "more than once"),
        ({"streams": {"x": {"path": "/x", "lookback": 5}}}, "needs cursor_param"),
        ({"streams": {"x": {"path": "/x", "cursor": ""}}}, "missing"),
        ({"streams": {"x": {"path": "/x", "pagination": {"page_param": ""}}}}, "missing"),
    ],
)
def test_wrong_options_say_what_to_set_and_show_no_secret(wrong: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        RestBee.from_options({**options("http://x.example"), **wrong})

    assert re.search(said, str(error.value))
    assert "hunter2" not in str(error.value)
