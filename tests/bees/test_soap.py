"""SOAP services: a server that others wrote, and one that says what it should not."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from pydantic import ValidationError

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.http import Answer
from bees.core.paging import Reading
from bees.soap import SoapBee
from nectar.batch import Batch
from tests.bees.contract import BeeContract, Source, rows
from tests.bees.test_resilience_http import Counting
from tests.hive.nest import Nest, make_nest, nest
from tests.servers.soap import PASSWORD, WSDL, soap_server

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

COUNT = 10
ORDERS = [
    {
        "orderId": n, "title": f"order {n}", "amount": "0.12345678901234567890",
        "changedAt": f"2026-01-{n + 1:02d}T10:00:00Z", "open": "true", "day": "2026-01-31", "seal": "AAEC",
    }
    for n in range(COUNT)
]  # fmt: skip
STREAM = {
    "operation": "FindOrders",
    "arguments": {"company": 10, "changedSince": "{{ state.since }}"},
    "records": "orders.order",
    "key": "orderId",
    "cursor": "changedAt",
    "pagination": {"type": "page", "page_param": "paging.page", "size": 4, "size_param": "paging.size"},
}


def options(url: str, stream: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    plain = {"wsdl": f"{url}/orders?wsdl", "allow_private": True, "request_attempts": 1}
    return {**plain, "streams": {"orders": {**STREAM, **(stream or {})}}, **more}


def read(given: dict[str, Any], cursor: Any = None) -> list[Batch]:
    with SoapBee.from_options(given) as bee:
        return list(bee.collect_nectar("orders", cursor))


def ids(batches: list[Batch]) -> list[int]:
    return [row["orderId"] for row in rows(batches)]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with soap_server(tmp_path_factory.mktemp("soap"), ORDERS) as url:
        yield url


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with soap_server(tmp_path_factory.mktemp("closed"), ORDERS, password=PASSWORD) as url:
        yield url


class TestContract(BeeContract):
    connector = "soap"

    @pytest.fixture
    def source(self, closed: str) -> Source:
        with closing(socket.create_server(("127.0.0.1", 0))) as gone:
            nowhere = f"http://127.0.0.1:{gone.getsockname()[1]}"
        token = {"username": "reader", "password": PASSWORD}
        wrong = {"username": "reader", "password": "wrong-word-9d1c"}
        return Source(
            options=options(closed, token=token),
            stream="orders",
            keys=set(range(COUNT)),
            key_of=lambda row: row["orderId"],
            unreachable=options(nowhere, token=token),
            denied=options(closed, token=wrong),
            secrets=(PASSWORD, "wrong-word-9d1c"),
        )


def test_values_come_in_their_described_types_to_the_last_digit(orders: str) -> None:
    found = read(options(orders))

    assert [batch.table.num_rows for batch in found] == [4, 4, 2, 0]
    assert ids(found) == list(range(COUNT))
    assert found[-1].complete
    assert rows(found)[0] == {
        "orderId": 0, "title": "order 0", "amount": "0.12345678901234567890", "changedAt": "2026-01-01T10:00:00+00:00",
        "open": True, "day": "2026-01-31", "seal": "AAEC",
    }  # fmt: skip


def test_a_second_pass_asks_from_the_highest_cursor_on(orders: str) -> None:
    first = read(options(orders))
    second = read(options(orders), json.loads(json.dumps(first[-1].cursor)))

    assert ids(second) == [COUNT - 1]
    assert not second[-1].complete


def test_a_read_may_be_taken_up_after_any_page(orders: str) -> None:
    with SoapBee.from_options(options(orders)) as bee:
        first = next(bee.collect_nectar("orders", None))

    assert ids([first]) + ids(read(options(orders), first.cursor)) == list(range(COUNT))


@pytest.mark.parametrize("style", ["page", "offset"])
@pytest.mark.parametrize("followed", [True, False])
def test_rows_that_move_up_between_two_pages_are_not_lost(
    style: str, followed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first order is deleted behind the first page."""
    held = list(range(1, 12))

    def page(bee: SoapBee, stream: Any, reading: Reading, *_: Any, footing: Any = None, **__: Any) -> Any:
        place = footing.place(reading) if footing else reading.at
        at = int(place or 0) if style == "offset" else (int(place or 1) - 1) * 4
        found = [{"orderId": n, "changedAt": f"2026-01-{n:02}"} for n in held[at : at + 4]]
        if at == 0 and 1 in held:
            held.remove(1)
        return found, Answer(200, httpx.Headers(), json.dumps(found).encode(), httpx.URL("http://x")), found

    monkeypatch.setattr(SoapBee, "_page", page)
    given: dict[str, Any] = {"pagination": {"type": style}}
    if not followed:
        given |= {"arguments": {"company": 1}, "cursor": None}
    first = read(options("http://x", given))
    second = read(options("http://x", given), first[-1].cursor)

    assert not first[-1].complete or set(held) <= set(ids(first))
    assert set(held) <= {*ids(first), *ids(second)}
    assert second[-1].complete is not followed


@pytest.mark.parametrize("style", ["page", "offset"])
def test_a_service_that_heeds_no_place_is_not_asked_for_ever(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer has another time in its head."""
    asked: list[str] = []

    def page(*_: Any, **__: Any) -> Any:
        asked.append(f"answer {len(asked)}")
        assert len(asked) < 20
        found = [{"orderId": n, "changedAt": f"2026-01-{n:02}"} for n in range(1, 5)]
        return found, Answer(200, httpx.Headers(), asked[-1].encode(), httpx.URL("http://x")), found

    monkeypatch.setattr(SoapBee, "_page", page)
    taken: list[Batch] = []
    given = options("http://x", {"pagination": {"type": style}})
    with SoapBee.from_options(given) as bee, pytest.raises(GiveUp) as error:
        taken.extend(bee.collect_nectar("orders", None))

    assert error.value.code == "pagination_loop"
    assert taken[-1].cursor == {}, "whoever went on from there would come round again"


def test_without_pages_all_comes_at_once(orders: str) -> None:
    (found,) = read(options(orders, {"pagination": {"type": "none"}}))

    assert found.table.num_rows == COUNT


@pytest.mark.parametrize(
    ("stream", "kind", "code"),
    [
        ({"arguments": {"company": 13}}, GiveUp, "error_inside"),
        ({"arguments": {"company": 14}}, RetryLater, "server_error"),
        ({"arguments": {"firm": 1}}, GiveUp, "bad_arguments"),
        ({"arguments": {}}, GiveUp, "bad_arguments"),
        ({"operation": "DropOrders"}, GiveUp, "no_operation"),
        ({"records": "orders.entry"}, GiveUp, "no_records"),
    ],
)
def test_what_goes_wrong_has_a_name(orders: str, stream: dict[str, Any], kind: type, code: str) -> None:
    given = {"cursor": None, **stream} if "arguments" in stream else stream
    with pytest.raises(SourceError) as error:
        read(options(orders, given))

    assert (type(error.value), error.value.code) == (kind, code)
    assert "Ada" not in str(error.value)
    assert error.value.__context__ is None


def test_who_asks_without_the_token_is_refused(closed: str) -> None:
    with pytest.raises(SourceError):
        read(options(closed))

    assert ids(read(options(closed, token={"username": "reader", "password": PASSWORD}))) == list(range(COUNT))


def test_a_description_may_name_an_address_that_nobody_reaches(tmp_path: Path) -> None:
    with soap_server(tmp_path, ORDERS, address="http://erp.internal.example") as url:
        with pytest.raises(GiveUp) as error:
            read(options(url))
        found = read(options(url, address=f"{url}/orders"))

    assert error.value.code == "foreign_link"
    assert "address" in error.value.advice
    assert ids(found) == list(range(COUNT))


def test_each_request_passes_the_gate(orders: str) -> None:
    gate = Counting()
    with SoapBee.from_options(options(orders)) as bee:
        bee.through(gate)
        list(bee.collect_nectar("orders", None))

    assert gate.entered[0] == "wsdl"
    assert len(gate.left) == 1 + 4 + 3, "the description, four pages, and three of them once more behind the next one"


def test_orders_land(nest: Nest, orders: str) -> None:
    nest.hive.register_worker(
        "soap", {"name": "erp", "source": {k: v for k, v in options(orders).items() if k != "streams"},
                 "streams": {"orders": STREAM}}
    )  # fmt: skip
    result = nest.land("erp")

    assert (result.state, result.records_landed) == ("complete", COUNT)
    assert set(nest.jar("erp")) == {str(n) for n in range(COUNT)}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"wsdl": "ftp://erp.example"}, "only http"),
        ({"streams": {}}, "at least 1"),
        ({"streams": {"orders": {**STREAM, "cursor": None}}}, "needs cursor"),
        ({"streams": {"orders": {**STREAM, "pagination": {"type": "link"}}}}, "no links"),
        ({"streams": {"orders": {**STREAM, "arguments": {"a": "{{ parent.id }}"}}}}, "cannot stand here"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SoapBee.from_options({**options("http://erp.example"), **changed})


class Liar:
    """Serves the description, and answers calls with whatever it is told."""

    def __init__(self, wsdl: str = WSDL) -> None:
        self.answer: tuple[int, str, bytes] = (200, "text/xml", b"")
        self.asked: list[str] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                liar.asked.append(self.path)
                self._send(200, "text/xml", wsdl.replace("ADDRESS", liar.url).encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._send(*liar.answer)

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def said(order: str, head: str = "") -> tuple[int, str, bytes]:
    inner = (
        f'<FindOrdersResponse xmlns="urn:orders:types"><total>1</total><orders>{order}</orders></FindOrdersResponse>'
    )
    envelope = '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{}</e:Body></e:Envelope>'
    return 200, "text/xml", (head + envelope.format(inner)).encode()


ORDER = "<order><orderId>{}</orderId><title>t</title><amount>1</amount><changedAt>2026-01-01T00:00:00Z</changedAt><open>true</open></order>"  # noqa: E501
BOMB = '<!DOCTYPE e [<!ENTITY a "' + "x" * 1000 + '"><!ENTITY b "' + "&a;" * 1000 + '">]>'
PLAIN = {"pagination": {"type": "none"}, "arguments": {"company": 1}, "cursor": None}


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ((200, "text/html", b"<html><body>Log in, Ada</body>"), GiveUp, "not_soap"),
        ((500, "text/html", b"<html>no</html>"), RetryLater, "server_error"),
        ((503, "text/xml", b""), RetryLater, "unavailable"),
        ((401, "text/xml", b""), GiveUp, "denied"),
        ((200, "text/xml", b""), GiveUp, "not_soap"),
        ((200, "text/xml", b"<a>" * 5000), GiveUp, "not_soap"),
        (said(ORDER.format(1), BOMB), GiveUp, "not_soap"),
        (said(ORDER.format("Ada")), GiveUp, "unfit_value"),
        (said("<odd>1</odd>"), GiveUp, "not_soap"),
        ((200, "text/xml", b"x" * 2_000_000), GiveUp, "body_too_large"),
    ],
)
def test_answers_that_are_none(answer: Any, kind: type, code: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Liar() as liar:
        liar.answer = answer
        with pytest.raises(SourceError) as error:
            read(options(liar.url, PLAIN, max_body_bytes=1_000_000))

    assert (type(error.value), error.value.code) == (kind, code)
    assert "Ada" not in str(error.value)
    assert "Ada" not in caplog.text


def test_an_answer_of_more_elements_than_are_allowed_is_refused_before_it_is_read() -> None:
    with Liar() as liar:
        liar.answer = said("".join(ORDER.format(n) for n in range(20)))
        with pytest.raises(GiveUp) as error:
            read(options(liar.url, PLAIN, max_elements=100))
        (found,) = read(options(liar.url, PLAIN, max_elements=200))

    assert error.value.code == "too_many_values"
    assert "100 elements" in str(error.value)
    assert "max_elements" in error.value.advice
    assert found.table.num_rows == 20


def test_a_value_that_does_not_fit_may_be_read_as_null() -> None:
    with Liar() as liar:
        liar.answer = said(ORDER.format("Ada") + ORDER.format(2))
        (found,) = read(options(liar.url, PLAIN, unfit_values="null"))

    assert found.table["orderId"].to_pylist() == [None, 2]


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest", "http://elsewhere.example/x.xsd", "file:///etc/passwd"]
)
def test_a_description_leads_nowhere_else(place: str) -> None:
    stranger = WSDL.replace(
        'elementFormDefault="qualified">',
        f'elementFormDefault="qualified"><xsd:import namespace="urn:x" schemaLocation="{place}"/>',
    )
    with Liar(stranger) as liar, pytest.raises(GiveUp) as error:
        read(options(liar.url, PLAIN))

    assert error.value.code in ("foreign_link", "bad_url")
    assert "passwd" not in str(error.value)


def test_the_server_of_others_saw_plain_arguments(orders: str) -> None:
    read(options(orders, {"start": "2026-01-09T00:00:00Z"}))
    asked = httpx.get(f"{orders}/_asked", trust_env=False).json()

    assert {"company": 10, "changedSince": "2026-01-09T00:00:00.000Z", "paging": {"page": 1, "size": 4}} in asked
