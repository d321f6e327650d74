"""A tap under a budget: what it asks is counted as it tells of it, and it stands still while the budget is used up."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from bees.core.errors import RetryLater
from bees.core.resilience.gate import BudgetGate
from bees.core.resilience.quota import MemoryBudget, Quota
from bees.core.singer.pace import Pace
from bees.singer import SingerWorkerBee
from hive.limits.fleet import endpoint_of, print_of
from nectar.batch import Batch
from tests.bees.contract import rows
from tests.bees.test_resilience import most_in
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]

TAP = Path(__file__).parent / "taps" / "asking.py"


class Asked:
    """A server that notes when it was asked."""

    def __init__(self) -> None:
        self.at: list[float] = []
        asked = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.at.append(time.monotonic())
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.server.shutdown()
    made.server.server_close()


def bee(asked: Asked, budget: MemoryBudget | None, count: int, **config: Any) -> SingerWorkerBee:
    told = {"url": asked.url, "count": count, **config}
    made = SingerWorkerBee.from_options({"command": [sys.executable, str(TAP)], "config": told, "silence": 20})
    made.through(BudgetGate(budget))
    return made


def read(made: SingerWorkerBee, cursor: Any = None, into: list[Batch] | None = None) -> list[Batch]:
    found = [] if into is None else into
    with made:
        found.extend(made.collect_nectar("rows", cursor))
    return found


def test_a_tap_stands_still_while_its_budget_is_used_up(asked: Asked) -> None:
    batches = read(bee(asked, MemoryBudget(Quota(5, 1.0)), 16, pause=0.05))

    assert [row["id"] for row in rows(batches)] == list(range(1, 17))
    assert len(asked.at) == 16
    assert asked.at[-1] - asked.at[0] > 1.9
    assert most_in(asked.at, 0.99) <= 11, "unbounded it is 16; a tap is ahead of what it tells on a busy machine"


def test_two_taps_of_one_credential_share_the_budget(asked: Asked) -> None:
    budget = MemoryBudget(Quota(6, 1.0))
    threads = [threading.Thread(target=read, args=(bee(asked, budget, 8, pause=0.1),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(asked.at) == 16
    assert asked.at[-1] - asked.at[0] > 1.3, "alone each would be done in 0.8 seconds"


def test_a_budget_of_hours_gives_what_was_read_and_comes_back(asked: Asked) -> None:
    budget, found = MemoryBudget(Quota(4, 3600)), []
    made = bee(asked, budget, 200, pause=0.05)
    with pytest.raises(RetryLater) as error:
        read(made, into=found)

    done = [row["id"] for row in rows(found)]
    assert (error.value.code, error.value.after is not None and error.value.after > 3000) == ("rate_limited", True)
    assert done == list(range(1, len(done) + 1))
    assert 2 <= len(done) < 100
    states = [{"state": f'{{"last":{last}}}'} for last in (done[-1], done[-1] - 1)]
    assert found[-1].cursor in states, "the next leg goes on from there; a tap may be stopped between record and state"
    assert not any(str(TAP) in (told.info["cmdline"] or []) for told in _ours())
    asked.at.clear()
    with pytest.raises(RetryLater):
        read(bee(asked, budget, 10), found[-1].cursor)
    assert asked.at == [], "where nothing is left, the tap is not started"


def test_a_tap_that_tells_of_no_requests_is_named_in_the_log(asked: Asked) -> None:
    with capture_logs() as told:
        read(bee(asked, MemoryBudget(Quota(2, 60.0)), 5, metric=False))
        read(bee(asked, None, 5, metric=False))

    assert [line["tap"] for line in told if line["event"] == "tap_tells_no_requests"] == [Path(sys.executable).name]


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ([("http_request_duration", 0.1)] * 3, 3),
        ([("http_request_count", 5)], 5),
        ([("http_request_duration", 0.1), ("http_request_count", 5)], 1),
        ([("record_count", 7), ("http_request_count", float("nan")), ("http_request_count", -3)], 0),
        ([("http_request_count", 1e300)], 10_000),
    ],
)
def test_requests_are_counted_once(told: list[tuple[str, float]], counted: int) -> None:
    pace = Pace(BudgetGate(MemoryBudget(Quota(1_000_000, 60.0))), 1)
    for metric, value in told:
        pace.heard(metric, value)

    assert pace.counted == counted


def test_bees_with_the_same_configuration_have_one_budget(asked: Asked) -> None:
    same = [bee(asked, None, 1, token="a"), bee(asked, None, 1, token="a"), bee(asked, None, 1, token="b")]
    first, second, other = (print_of(b"k" * 32, made, endpoint_of(1, made)) for made in same)

    assert first == second != other


def _ours() -> list[psutil.Process]:
    return list(psutil.process_iter(["cmdline"]))


@pytest.mark.servers
def test_a_hive_s_budget_bounds_its_taps_and_says_until_when(nest: Nest, asked: Asked) -> None:
    source = {"command": [sys.executable, str(TAP)], "config": {"url": asked.url, "count": 9}, "silence": 20}
    nest.hive.register_worker("singer", {"name": "quick", "source": source, "limits": {"rate": 20, "burst": 4}})
    slow = {**source, "config": {"url": asked.url, "count": 200, "pause": 0.05}}
    nest.hive.register_worker("singer", {"name": "slow", "source": slow, "limits": {"rate": "4/h"}})
    landed = nest.land("quick")
    began = len(asked.at)
    flight = nest.fly("slow")
    nest.drain()

    assert (landed.state, landed.records_landed, began) == ("complete", 9, 9)
    assert nest.hive.flight(flight).state == "running"
    assert 1 <= len(nest.jar("slow")) <= len(asked.at) - began < 100, "it was stopped long before its end"
    waiting = nest.rows("SELECT name, retry_at > clock_timestamp() + interval '10 minutes' FROM hive.bee ORDER BY name")
    assert waiting == [("quick", None), ("slow", True)]
