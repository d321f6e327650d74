"""A server that does what servers should not: each has a name, costs little, and the checkpoint stays right."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from bees.core.address import AddressPolicy, Allowed
from bees.core.cursors import instant
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.http import HttpClient
from bees.core.http_verdict import verdict
from bees.rest import RestBee
from nectar.batch import Batch

CANARY = "Ada Abara of 12 Mill Lane"
PAGE = {"type": "page", "page_param": "page"}


class Hostile:
    """Answers with raw bytes: `pages` by number; what is not there is an empty list."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.pages: dict[int, bytes | Callable[[socket.socket], None]] = {}
        self.asked: list[int] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            raw = b""
            while b"\r\n\r\n" not in raw:
                piece = connection.recv(65_536)
                if not piece:
                    return
                raw += piece
            number = int(raw.split(b"page=")[1].split()[0]) if b"page=" in raw else 1
            self.asked.append(number)
            told = self.pages.get(number, answer(b"[]"))
            with contextlib.suppress(OSError):  # who asked has seen enough
                told(connection) if callable(told) else connection.sendall(told)

    def close(self) -> None:
        self._listener.close()

    def bee(self, **given: Any) -> RestBee:
        source = given.pop("source", {})
        streams = {"x": {"path": "/x", "key": "id", "pagination": PAGE, **given}}
        return RestBee.from_options(
            {"base_url": self.url, "allow_private": True, "timeout": 3, **source, "streams": streams}
        )

    def read(self, after: Any = None, /, **given: Any) -> list[Batch]:
        with self.bee(**given) as bee:
            return list(bee.collect_nectar("x", after))


def answer(body: bytes, *headers: str, length: int | None = None, status: str = "200 OK") -> bytes:
    told = [
        f"HTTP/1.1 {status}",
        "Connection: close",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join([*told, "", ""]).encode() + body


def ids(batches: list[Batch]) -> list[Any]:
    return [row["id"] for batch in batches for row in batch.table.to_pylist()]


@pytest.fixture
def server() -> Iterator[Hostile]:
    found = Hostile()
    yield found
    found.close()


def drips(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[")
    for _ in range(100):
        connection.sendall(b" ")
        threading.Event().wait(0.1)


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


BOMB = gzip.compress(b"[" + b" " * (128 << 20), 1)
DEEP = b"[" * 10_000 + b"]" * 10_000
MANY = b"[" + b"{}," * (5 << 20) + b"{}]"


@pytest.mark.parametrize(
    ("told", "kind", "code"),
    [
        (answer(f"<html>{CANARY}</html>".encode()), GiveUp, "not_json"),
        (answer(b'[{"id": 2}', length=5000), RetryLater, "connection_lost"),
        (answer(b'[{"id": 2}, {"id": 3}]', length=12), GiveUp, "not_json"),
        (answer(b"", "X-Long: " + "a" * (1 << 20)), GiveUp, "headers_too_large"),
        (answer(b"", *(f"X-{n}: {'a' * 1000}" for n in range(1000))), GiveUp, "headers_too_large"),
        (answer(b"[]", "Content-Encoding: gzip"), GiveUp, "bad_encoding"),
        (answer(b"[]", "Content-Encoding: br"), GiveUp, "bad_encoding"),
        (answer(BOMB, "Content-Encoding: gzip"), GiveUp, "body_too_large"),
        (answer(gzip.compress(b"[]")[:-6], "Content-Encoding: gzip"), GiveUp, "bad_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n[]\r\n", RetryLater, "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]", RetryLater, "connection_lost"),
        (b"220 mail.example ESMTP\r\n", RetryLater, "connection_lost"),
        (drips, RetryLater, "timeout"),
        (resets, RetryLater, "connection_lost"),
        (answer(DEEP), GiveUp, "not_json"),
        (answer(MANY), GiveUp, "too_many_values"),
        (answer(b"[" + b"0," * 50_000 + b"0]"), GiveUp, "no_records"),
        (answer(json.dumps({"error": CANARY, "data": None}).encode()), GiveUp, "error_inside"),
        (answer(json.dumps({"told": CANARY, "data": None}).encode()), GiveUp, "no_records"),
        (answer(json.dumps({"errors": [CANARY]}).encode()), GiveUp, "error_inside"),
        (answer(CANARY.encode(), status="401 Unauthorized"), GiveUp, "denied"),
        (answer(b"", status="304 Not Modified"), GiveUp, "unexpected_status"),
        (answer(b"", "Location: http://169.254.169.254/latest", status="302 Found"), GiveUp, "forbidden_address"),
        (answer(b"", "Location: file:///etc/passwd", status="302 Found"), GiveUp, "redirect_refused"),
        (answer(b"", "Retry-After: 99999999999", status="503 No"), RetryLater, "unavailable"),
    ],
)
def test_each_mishap_has_a_name_and_the_page_before_it_is_kept(
    server: Hostile, told: bytes, kind: type, code: str
) -> None:
    server.pages = {1: answer(b'[{"id": 1}]'), 2: told}
    found: list[Batch] = []
    with server.bee() as bee, pytest.raises(SourceError) as error:
        found.extend(bee.collect_nectar("x", None))
    server.pages[2] = answer(b'[{"id": 2}]')
    found += server.read(found[-1].cursor)

    assert (type(error.value), error.value.code) == (kind, code)
    assert error.value.where
    assert CANARY not in "".join(traceback.format_exception(error.value))
    assert ids(found) == [1, 2]


@pytest.mark.parametrize(
    "told",
    [
        answer(BOMB, "Content-Encoding: gzip"),
        answer(DEEP),
        answer(MANY),
        answer(b"", "X-Long: " + "a" * (8 << 20)),
    ],
)
def test_what_is_too_large_does_not_cost_its_size(server: Hostile, told: bytes) -> None:
    me = psutil.Process()
    server.pages = {1: told}
    with pytest.raises(SourceError):
        server.read()
    before = me.memory_info().rss
    for _ in range(3):
        with pytest.raises(SourceError):
            server.read()

    assert me.memory_info().rss - before < 64 << 20


def test_odd_values_arrive_as_they_are_or_are_set_aside(server: Hostile) -> None:
    odd = (
        b'[{"id": 1, "n": 123456789012345678901234567890, "d": 0.1000000000000000055511151231257827},'
        b'{"id": 2, "id": 3, "n": 1}, {"id": 4, "s": "\\ud800"}, {"id": 5, "s": "a\\u0000b", "n": -0.0}, null, [], {}]'
    )
    server.pages = {1: answer(odd)}
    batch = server.read()[0]

    assert batch.table["id"].to_pylist() == [1, 3, 5]
    assert batch.table["n"].to_pylist()[:2] == ["123456789012345678901234567890", "1"]
    assert batch.table["d"].to_pylist()[0] == "0.1000000000000000055511151231257827"
    assert [r.code for r in batch.rejects] == ["bad_unicode", "not_object", "not_object", "empty_object"]


def test_204_is_an_empty_page(server: Hostile) -> None:
    server.pages = {1: b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"}

    assert ids(server.read()) == []


def test_pages_that_overlap_or_shrink_lose_nothing_and_those_that_repeat_end(server: Hostile) -> None:
    server.pages = {
        1: answer(b'[{"id": 1}, {"id": 2}]'),
        2: answer(b'[{"id": 2}, {"id": 3}]'),
        3: answer(b'[{"id": 4}]'),
    }
    assert ids(server.read()) == [1, 2, 2, 3, 4]

    server.pages = dict.fromkeys(range(1, 9), answer(b'[{"id": 1}]'))
    with pytest.raises(GiveUp) as error:
        server.read()
    assert error.value.code == "pagination_loop"


@pytest.mark.parametrize(
    "link", ["http://169.254.169.254/latest", "http://evil.example/x", "//evil.example/x", "http://127.0.0.1:1/x"]
)
def test_a_next_link_leads_nowhere_else(server: Hostile, link: str) -> None:
    server.pages = {1: answer(b'[{"id": 1}]', f'Link: <{link}>; rel="next"')}
    with pytest.raises(GiveUp) as error:
        server.read(pagination={"type": "link"})

    assert error.value.code == "foreign_link"
    assert "evil" not in str(error.value)


def test_a_name_that_changes_its_address_is_looked_at_for_each_connection(server: Hostile) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    port = server.url.rpartition(":")[2]
    client = HttpClient(f"http://desk.example:{port}", allow_private=True, resolve=lambda *_: next(answers))

    assert client.get(f"http://desk.example:{port}/x?page=1", where="x").status == 200
    with pytest.raises(GiveUp) as error:
        client.get(f"http://desk.example:{port}/x?page=2", where="x")
    client.close()
    assert error.value.code == "forbidden_address"
    assert server.asked == [1]


class TestNetworks:
    NAMED = frozenset({("https", "erp.example", 8443)})

    def check(self, address: str, *networks: str, port: int = 8443) -> str:
        policy = AddressPolicy(self.NAMED, True, lambda *_: [address], tuple(map(Allowed.of, networks)))
        try:
            policy.addresses("erp.example", port)
        except GiveUp as error:
            return error.code
        return "dialled"

    @pytest.mark.parametrize(
        ("address", "networks", "found"),
        [
            ("10.20.3.4", ("10.20.0.0/16",), "dialled"),
            ("10.20.3.4", ("10.20.3.4:8443",), "dialled"),
            ("10.20.3.4", ("10.20.0.0/16:443",), "private_address"),
            ("10.21.0.1", ("10.20.0.0/16", "192.168.0.0/16"), "private_address"),
            ("fd12::7", ("[fd12::/16]:8443",), "dialled"),
            ("fd13::7", ("fd12::/16",), "private_address"),
            ("::ffff:10.20.0.1", ("10.20.0.0/16",), "forbidden_address"),
            ("64:ff9b::a14:1", ("10.20.0.0/16",), "dialled"),
            ("64:ff9b::a15:1", ("10.20.0.0/16",), "private_address"),
            ("169.254.169.254", ("0.0.0.0/0",), "forbidden_address"),
            ("::ffff:169.254.169.254", ("0.0.0.0/0", "::/0"), "forbidden_address"),
            ("64:ff9b::a9fe:a9fe", ("0.0.0.0/0",), "forbidden_address"),
            ("64:ff9b:1::a14:1", ("10.20.0.0/16", "::/0"), "forbidden_address"),
            ("::a9fe:a9fe", ("::/0",), "forbidden_address"),
            ("fd00:ec2::254", ("::/0",), "forbidden_address"),
            ("93.184.215.14", ("10.20.0.0/16",), "dialled"),
        ],
    )
    def test_private_addresses_are_those_that_are_listed(
        self, address: str, networks: tuple[str, ...], found: str
    ) -> None:
        assert self.check(address, *networks) == found

    @pytest.mark.parametrize("text", ["10.0.0.0/40", "10.0.0.1/8", "desk", "10.0.0.0/8:0", "[::1]:99999", "::1]", ""])
    def test_what_is_no_network_is_told(self, text: str) -> None:
        with pytest.raises(ValueError, match="is written as"):
            Allowed.of(text)

    def test_a_bee_takes_them_as_options(self, server: Hostile) -> None:
        server.pages = {1: answer(b'[{"id": 1}]')}
        here = {"allow_private": False, "allow_networks": [f"127.0.0.1:{server.url.rpartition(':')[2]}"]}

        assert ids(server.read(source=here)) == [1]
        with pytest.raises(GiveUp) as error:
            server.read(source={"allow_networks": ["10.0.0.0/8"]})
        assert "allow_networks" in error.value.advice


@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [
        (
            403,
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225660", "date": "Thu, 01 Jan 2026 00:00:00 GMT"},
            60.0,
        ),
        (429, {"x-ratelimit-reset": "30"}, 30.0),
        (429, {"retry-after": "7", "x-ratelimit-reset": "30"}, 7.0),
        (403, {"x-ratelimit-remaining": "55", "retry-after": "60"}, 60.0),
    ],
)
def test_a_budget_that_is_used_up_is_no_refusal(status: int, headers: dict[str, str], after: float) -> None:
    error = verdict(status, headers, "x")

    assert isinstance(error, RetryLater)
    assert (error.code, error.after) == ("rate_limited", after)


@pytest.mark.parametrize("value", ["Mon, 99 Jan 2026 00:00:00 GMT", "x", "", None, "9" * 30, "-1", "NaN", "0001-01-01"])
def test_what_is_no_instant_is_none_or_one(value: Any) -> None:
    found = instant(value)

    assert found is None or found.year == 1
