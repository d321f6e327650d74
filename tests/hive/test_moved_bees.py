"""A bee that was moved to another server owes nothing to the old one, and reading that waits for a source is quiet."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hive.janitor import Janitor
from hive.ledger.hints import choose
from hive.status import left_alone
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

LIMITED: tuple[int, dict[str, str]] = (429, {"Retry-After": "600"})
BROKEN: tuple[int, dict[str, str]] = (500, {})
WELL: tuple[int, dict[str, str]] = (200, {})


class Desk:
    """An API of one page for each path, which answers 200 where it was told nothing else."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        self.asked: list[str] = []
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("/")[1]
                desk.asked.append(path)
                status, headers = desk.answers.get(path, WELL)
                body = json.dumps([{"id": 1}]).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def make_desk() -> Iterator[Callable[[], Desk]]:
    made: list[Desk] = []

    def make() -> Desk:
        made.append(Desk())
        return made[-1]

    yield make
    for desk in made:
        desk.server.shutdown()
        desk.server.server_close()


def register(nest: Nest, desk: Desk, name: str, **block: Any) -> None:
    """A bee that asks the desk for the path of its name; all of a desk share one credential."""
    auth = {"method": "bearer", "token": "a"}
    source = {"base_url": f"{desk.url}/{name}", "allow_private": True, "auth": auth, "request_attempts": 1}
    streams = {"rows": {"path": "rows", "key": "id"}}
    nest.hive.register_worker("rest", {"name": name, "source": source, "streams": streams, **block})


def waiting(nest: Nest) -> set[str]:
    """The bees whose source wants to be left alone."""
    return {name for (name,) in nest.rows("SELECT name FROM hive.bee WHERE retry_at > clock_timestamp()")}


def again(nest: Nest) -> None:
    """Whoever waits for another try has it now."""
    nest.hurry()
    nest.drain()


def endpoint(nest: Nest, name: str) -> str:
    return str(nest.one("SELECT endpoint FROM hive.bee WHERE name = %s", name))


class TestMoved:
    def test_an_older_flight_does_not_bring_the_old_address_back(self, nest, make_desk):
        old, new = make_desk(), make_desk()
        old.answers = {"limited": LIMITED, "failing": BROKEN}
        register(nest, old, "limited"), register(nest, old, "failing")
        older = nest.fly("failing")
        nest.drain()
        register(nest, new, "failing")
        nest.hive.open_bee("failing").close()

        again(nest)  # the older flight goes on asking where it began
        assert old.asked == ["failing", "failing"]
        assert nest.hive.flight(older).state == "running"
        assert endpoint(nest, "failing") == f"rest {new.url}"
        nest.fly("limited")
        nest.drain()

        assert waiting(nest) == {"limited"}
        assert nest.land("failing").state == "complete"
        told = {bee["name"]: left_alone(bee) for bee in nest.hive.bees()}
        assert told == {"limited": "rate-limited", "failing": None}

    def test_what_the_old_address_asks_of_an_older_flight_holds_for_that_flight_alone(self, nest, make_desk):
        old, new = make_desk(), make_desk()
        old.answers = {"moved": BROKEN}
        for name in ("moved", "neighbour"):
            register(nest, old, name)
        older = nest.fly("moved")
        nest.drain()
        for name in ("moved", "neighbour"):
            register(nest, new, name)
            nest.hive.open_bee(name).close()
        old.answers = {"moved": LIMITED}
        again(nest)

        assert waiting(nest) == set()
        assert nest.hive.flight(older).state == "running"
        later = "SELECT available_at > clock_timestamp() + interval '9 minutes' FROM hive.task WHERE state = 'queued'"
        assert nest.rows(later) == [(True,)]
        assert nest.land("moved").state == "complete"

    def test_the_new_address_may_ask_for_patience_too(self, nest, make_desk):
        old, new = make_desk(), make_desk()
        old.answers = {"moved": BROKEN}
        register(nest, old, "moved")
        nest.fly("moved")
        nest.drain()
        register(nest, new, "moved"), register(nest, new, "neighbour")
        assert nest.land("neighbour").state == "complete"
        new.answers = {"moved": LIMITED}
        nest.fly("moved")
        nest.drain()

        assert waiting(nest) == {"moved", "neighbour"}

    def test_a_wait_that_another_address_asked_for_ends_where_the_new_one_is_known(self, nest, make_desk):
        """The block may be the same: an address that is a reference is moved in the environment."""
        desk = make_desk()
        register(nest, desk, "moved")
        nest.run(
            "UPDATE hive.bee SET endpoint = 'rest http://127.0.0.1:9', credential = 'of the old address',"
            " retry_at = clock_timestamp() + interval '10 minutes'"
        )
        nest.hive.open_bee("moved").close()

        assert endpoint(nest, "moved") == f"rest {desk.url}"
        assert waiting(nest) == set()

    def test_a_change_that_moves_nothing_leaves_the_wait(self, nest, make_desk):
        desk = make_desk()
        desk.answers = {"limited": LIMITED}
        register(nest, desk, "limited"), register(nest, desk, "neighbour")
        assert nest.land("neighbour").state == "complete"
        nest.fly("limited")
        register(nest, desk, "limited", every="1h")
        nest.drain()

        assert waiting(nest) == {"limited", "neighbour"}


class TestQuiet:
    """A waiting task is no news to anybody until the wait is over."""

    @pytest.fixture
    def flown(self, nest: Nest, make_desk: Callable[[], Desk]) -> Nest:
        """One flight was refused for ten minutes, and another one waits with it; its first hint came too early."""
        desk = make_desk()
        desk.answers = {"limited": LIMITED}
        register(nest, desk, "limited")
        nest.fly("limited")
        nest.drain()
        nest.fly("limited")
        nest.drain()
        nest.sent.clear()
        return nest

    def second_later(self, nest: Nest) -> list[int]:
        """The janitor's next pass, a second after the last; gives the tasks that were hinted."""
        nest.run(
            "UPDATE hive.task SET available_at = available_at - interval '1 second',"
            " hinted_at = hinted_at - interval '1 second' WHERE state = 'queued'"
        )
        nest.sent.clear()
        Janitor(nest.rt).tick()
        return [hint.id for hint in nest.sent]

    def test_nobody_is_told_of_it_again_and_again(self, flown):
        assert [self.second_later(flown) for _ in range(20)] == [[]] * 20
        assert flown.due() == []

    def test_it_is_due_in_no_figure(self, flown):
        for _ in range(5):
            self.second_later(flown)
            oldest = "SELECT max(clock_timestamp() - available_at) < interval '1 second' FROM hive.task"
            assert flown.one(oldest + " WHERE state = 'queued'")

    @pytest.mark.parametrize("ends", ["NULL", "clock_timestamp()"])
    def test_it_is_told_of_once_when_the_wait_is_over(self, flown, ends):
        self.second_later(flown)
        flown.run(f"UPDATE hive.bee SET retry_at = {ends}")
        (task,) = self.second_later(flown)

        assert flown.one("SELECT last_error IS NULL FROM hive.task WHERE id = %s", task)
        assert self.second_later(flown) == []

    def test_a_worker_that_ends_a_task_does_not_tell_of_it_either(self, flown):
        flown.hurry()
        with flown.rt.db.transaction() as tx:
            assert choose(tx, "bees.api", 8) == []

    def test_what_was_read_lands_all_the_same(self, flown):
        flown.run("UPDATE hive.task SET kind = 'process', available_at = clock_timestamp() WHERE state = 'queued'")

        assert len(self.second_later(flown)) == 1

    def test_other_bees_are_told_of(self, flown, make_desk):
        register(flown, make_desk(), "other")
        flown.fly("other")
        other = flown.one("SELECT t.id FROM hive.task t JOIN hive.bee b ON b.id = t.bee WHERE b.name = 'other'")
        flown.run("UPDATE hive.task SET hinted_at = NULL WHERE id = %s", other)

        assert self.second_later(flown) == [other]


class TestUnopened:
    def test_a_bee_that_was_moved_waits_for_nobody_of_the_old_place_before_it_is_opened(self, nest, make_desk):
        old, new = make_desk(), make_desk()
        old.answers = {"limited": LIMITED}
        for name in ("limited", "moved"):
            register(nest, old, name)
        assert nest.land("moved").state == "complete"
        register(nest, new, "moved")
        nest.fly("limited")
        nest.drain()

        assert waiting(nest) == {"limited"}
        assert nest.land("moved").state == "complete"
