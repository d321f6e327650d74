"""What hurts a fleet in `make faults` tells whom it met: a fault that met nobody does not count as borne."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import socketserver
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.faults import clock, registry, run
from tests.faults.fleet import Fleet, Proxy, wait
from tests.faults.registry import Broken, misbehave
from tests.faults.root import Skipped
from tests.faults.source import PAGE, Api

LIMIT = 20.0
MOODS: dict[str, dict[str, Any]] = {
    "refuse": {},
    "reset": {"seconds": 0.1},
    "hang": {},
    "vanish": {},
    "delay": {"seconds": 0.01},
    "half": {},
    "cut": {"bytes": 2},
    "lose": {"word": "COMMIT"},
}


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while said := self.request.recv(100):
                self.request.sendall(said)


@pytest.fixture
def proxy(tmp_path) -> Iterator[Proxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        made = Proxy(server.server_address[1], tmp_path / "proxy.out")
        yield made
        made.close()
        server.shutdown()


@contextlib.contextmanager
def client(proxy: Proxy) -> Iterator[socket.socket]:
    """Connected through the proxy, to a server that answered it."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=LIMIT) as made:
        made.sendall(b"one")
        assert made.recv(100) == b"one"
        yield made


@pytest.mark.parametrize("mode", MOODS)
def test_it_tells_whom_each_mood_harmed(proxy, mode):
    with client(proxy) as talker:
        assert proxy.tell(mode, **MOODS[mode]) == 0
        with contextlib.suppress(OSError):
            talker.sendall(b"COMMIT")
        wait("harm", proxy.hurt, limit=LIMIT)

        assert proxy.tell() > 0
        assert proxy.tell() == 0


@pytest.mark.parametrize("mode", MOODS)
def test_without_connections_none_is_harmed(proxy, mode):
    proxy.tell(mode, **MOODS[mode])

    assert (proxy.links(), proxy.hurt()) == (0, 0)


def test_a_statement_that_is_not_the_one_is_not_lost(proxy):
    with client(proxy) as talker:
        proxy.tell("lose", word="COMMIT")
        talker.sendall(b"SELECT")

        assert talker.recv(100) == b"SELECT"
        assert proxy.hurt() == 0


def test_what_a_hanging_network_kept_arrives_afterwards(proxy):
    with client(proxy) as talker:
        proxy.tell("hang")
        talker.sendall(b"late")
        wait("harm", proxy.hurt, limit=LIMIT)
        proxy.tell()

        assert talker.recv(100) == b"late"


class TestFault:
    def test_it_goes_on_until_somebody_was_harmed(self, proxy):
        said: list[str] = []
        fleet = cast("Fleet", SimpleNamespace(say=said.append))
        with client(proxy) as talker:
            threading.Timer(0.5, talker.sendall, [b"COMMIT"]).start()
            misbehave(fleet, proxy, "lose", 0.0, word="COMMIT")

        assert said == ["lose: 1 connections or pieces were hurt"]

    def test_one_that_met_nobody_is_broken(self, proxy, monkeypatch):
        monkeypatch.setattr(registry, "LONGEST", 0.1)
        fleet = cast("Fleet", SimpleNamespace(say=print))

        with pytest.raises(Broken, match="met nobody"):
            misbehave(fleet, proxy, "lose", 0.0, word="COMMIT")

        with client(proxy):  # and the network is well again
            assert proxy.hurt() == 0


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api("token", lambda rows: None)
    yield made
    made.close()


def asked(api: Api, query: str = "", token: str = "token") -> tuple[int, Any]:
    request = urllib.request.Request(f"{api.url}/rows?{query}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "v": 1} for number in range(count)]


class TestSource:
    def test_requests_are_counted_that_met_its_mood(self, api):
        api.misbehave("busy", random.Random(1))
        assert asked(api)[0] == 429
        assert api.answered["busy"] == 0  # there was nothing to give

        api.give(rows(3))
        assert asked(api)[0] == 429
        assert api.answered["busy"] == 1

        api.misbehave("revoked", random.Random(1))
        assert asked(api)[0] == 401
        assert dict(api.answered) == {"revoked": 1}

    def test_the_same_seed_gives_the_same_answers(self, api):
        api.give(rows(3))
        found = []
        for seed in (1, 1, 2):
            api.misbehave("broken", random.Random(seed))
            found.append([asked(api)[0] for _ in range(20)])

        assert found[0] == found[1] != found[2]

    def test_a_page_may_be_given_twice_before_the_next_one(self, api):
        api.give(rows(PAGE + 5))
        api.misbehave("page_twice", random.Random(1))
        pages, after = [], "0"
        while after is not None:
            _, body = asked(api, f"after={after}")
            pages.append([row["id"] for row in body["rows"]])
            after = body["next"]

        first, second = list(range(PAGE)), list(range(PAGE, PAGE + 5))
        assert pages == [first, first, second, second]


class TestReadiness:
    """What the gateway says while a server is away, and when all is well again."""

    @staticmethod
    def saying(*told: tuple[int, int] | None) -> Fleet:
        """A fleet whose gateway says one after the other, and the last for ever."""
        left = [*told, *[told[-1]] * 1000]
        return cast("Fleet", SimpleNamespace(tells=lambda: left.pop(0), ask_gateway=lambda _: (404, b"")))

    def test_without_the_ledger_it_lives_and_is_not_ready(self, monkeypatch):
        monkeypatch.setattr(registry, "LONGEST", 0.5)
        registry.away(self.saying((0, 0), (200, 200), (200, 503)), 0.0, ready=503)
        registry.away(self.saying(None), 0.0, ready=503)  # there is no gateway

        for wrong in ((200, 200), (503, 503)):
            with pytest.raises(Broken, match="/readyz"):
                registry.away(self.saying(wrong), 0.0, ready=503)

    def test_when_all_is_well_it_is_ready(self):
        assert run._tells_the_truth(self.saying((200, 200))) == ""
        assert "/readyz" in run._tells_the_truth(self.saying((200, 503)))


class TestClock:
    def test_without_a_compiler_it_is_skipped_by_name(self, tmp_path, monkeypatch):
        monkeypatch.setattr(clock, "compiler", lambda: None)

        with pytest.raises(Skipped, match="compiler"):
            clock.library(tmp_path)

    @pytest.mark.skipif(clock.compiler() is None, reason="no C compiler")
    @pytest.mark.parametrize("shift", [3600, -3600])
    def test_a_process_lives_at_another_time(self, tmp_path, shift):
        library = clock.library(tmp_path)

        told = clock.told({"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)})

        assert abs(told - time.time() - shift) < 60


@pytest.mark.parametrize("pid", [1, 0, -1])
def test_no_fault_signals_every_process_of_the_machine(tmp_path, monkeypatch, pid):
    sent = []
    monkeypatch.setattr("os.killpg", lambda *given: sent.append(given))

    with pytest.raises(ValueError, match="no part"):
        Fleet(tmp_path, 1, 0.1).kill_group(pid)

    assert sent == []
