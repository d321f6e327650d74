"""What the fleet may ask of a source: budgets by credential and breakers by source, on the real ledger."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bees.core.resilience.breaker import BreakerPolicy
from bees.core.resilience.quota import Back, Quota
from hive.cli import bees
from hive.config.load import examine
from hive.config.model import BeeConfig, UnknownBee
from hive.ledger.db import Database
from hive.limits.breaker import BreakerOpen, LedgerBreaker
from hive.limits.budget import LedgerBudget
from hive.limits.policies import breaker_of, quota_of, retry_of
from hive.metrics.families import Page
from hive.metrics.figures import figures
from hive.status import left_alone, look
from tests.bees.test_resilience import most_in
from tests.hive.nest import make_nest, nest
from tests.servers.counting import arrivals

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers


@pytest.fixture
def db(database_url):
    made = Database(database_url)
    yield made
    made.close()


class TestBudget:
    def test_eight_processes_keep_a_quota_in_every_window_and_use_it(self, database_url):
        """A hundred requests in six seconds, two windows long, as a server sees them; `make bench` is strict."""
        times = arrivals(database_url, Quota(100, 6.0), workers=8, most=201, limit=120)

        assert most_in(times, 6.0 - 0.25) <= 100
        assert 200 / (times[200] - times[0]) >= 0.8 * 100 / 6

    def test_credentials_do_not_share(self, db):
        first, second = (LedgerBudget(db, name, Quota(2, 60)) for name in "ab")

        assert [first.draw(5).tokens, first.draw(5).tokens, second.draw(1).tokens] == [2, 0, 1]

    def test_what_was_not_used_is_there_for_others(self, db, database_url):
        other = Database(database_url)
        mine, theirs = (LedgerBudget(one, "desk", Quota(4, 60)) for one in (db, other))
        block = mine.draw(4)
        refused = theirs.draw(1)
        mine.draw(0, Back(block.until, 3))

        assert (refused.tokens, theirs.draw(9).tokens) == (0, 3)
        assert 55 < refused.wait < 65
        other.close()


class TestBreaker:
    policy = BreakerPolicy(failures=3, cool_down=1.5)

    def test_the_fleet_shares_one(self, db, database_url):
        other = Database(database_url)
        mine, theirs = (LedgerBreaker(one, "rest https://desk", self.policy) for one in (db, other))
        mine.failed("timeout"), mine.failed("timeout"), theirs.failed("server_error")

        with pytest.raises(BreakerOpen) as told:
            theirs.check()
        assert told.value.whole
        assert 1 < told.value.after <= 1.5

        time.sleep(1.6)
        assert theirs.enter() == 0.0  # the probe
        with pytest.raises(BreakerOpen) as told:
            mine.check()
        assert not told.value.whole

        theirs.succeeded()
        time.sleep(1.0)
        mine.check()
        other.close()

    def test_many_who_try_at_once_are_one_probe(self, database_url):
        made = [Database(database_url) for _ in range(6)]
        breakers = [LedgerBreaker(one, "x", BreakerPolicy(1, 0.3)) for one in made]
        breakers[0].failed("timeout")
        time.sleep(0.4)
        with ThreadPoolExecutor(6) as pool:
            waits = list(pool.map(LedgerBreaker.enter, breakers))
        for one in made:
            one.close()

        assert waits.count(0.0) == 1

    def test_a_look_is_kept_for_a_second_and_costs_nothing(self, db):
        breaker = LedgerBreaker(db, "x", self.policy)
        breaker.check()
        began = time.process_time()
        for _ in range(1000):
            breaker.check()

        assert (time.process_time() - began) / 1000 < 0.001


KEYS = st.sampled_from(
    ["maxRetries", "retryConfig", "baseDelayMs", "maxDelayMs", "jitterRatio", "retry_policy", "max_retries", "backoff",
     "type", "base_ms", "multiplier", "increment_ms", "jitter", "circuit_breaker", "threshold", "timeout_ms"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["linear", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)


class TestPolicies:
    def test_the_keys_of_both_documents(self):
        third = {"maxRetries": 2, "retryConfig": {"baseDelayMs": 150, "maxDelayMs": 10000, "jitterRatio": 0.1}}
        steps = {"type": "exponential", "base_ms": 100, "multiplier": 2.0, "max_delay_ms": 10000}
        fourth = {
            "retry_policy": {"max_retries": 3, "backoff": steps},
            "circuit_breaker": {"threshold": 5, "timeout_ms": 30000},
        }
        one, two = (retry_of({"extras": extras}, 5) for extras in (third, fourth))

        assert (one.attempts, one.first, one.most, one.jitter) == (3, 0.15, 10.0, 0.1)
        assert (two.attempts, two.kind, two.first, two.factor, two.most) == (4, "exponential", 0.1, 2.0, 10.0)
        assert breaker_of({"extras": fourth}) == BreakerPolicy(5, 30.0)
        assert breaker_of({"extras": third}) is None

    def test_fixed_and_linear_of_document_four(self):
        fixed = {"backoff": {"type": "fixed", "delay_ms": 500, "jitter": False}}
        linear = {"backoff": {"type": "linear", "base_ms": 100, "increment_ms": 50}, "jitter": True}
        one, two = (retry_of({"extras": {"retry_policy": policy}}, 5) for policy in (fixed, linear))

        assert [one.wait(n) for n in (1, 4)] == [0.5, 0.5]
        assert [two.wait(n, lambda: 0.5) for n in (1, 2, 3)] == pytest.approx([0.1, 0.15, 0.2])
        assert two.jitter == 0.25

    @given(st.dictionaries(KEYS, VALUES))
    def test_whatever_stands_in_extras_does_no_harm(self, extras):
        policy, breaker = retry_of({"extras": extras}, 5), breaker_of({"extras": extras})

        assert policy.attempts >= 1
        assert all(0 <= policy.wait(n) <= 86_400 for n in (1, 2, 1000))
        assert breaker is None or (breaker.failures >= 1 and breaker.cool_down > 0)

    def test_the_native_form(self):
        block = {
            "type": "rest",
            "limits": {"rate": "100/min", "breaker": {"failures": 2, "cool_down": "1m"}},
            "retry": {"attempts": 9, "backoff": "fixed", "first": "2s", "on": ["timeout"]},
            "extras": {"maxRetries": 1},
        }
        config = BeeConfig.model_validate(block).block()

        assert quota_of(config) == Quota(100, 60.0)
        assert breaker_of(config) == BreakerPolicy(2, 60.0)
        assert (retry_of(config, 5).attempts, retry_of(config, 5).first) == (9, 2.0)
        assert quota_of({"limits": {"concurrency": 2}}) is None


class Desk:
    """An API of one page that answers as it is told: (status, headers) of the next answers, then 200."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.always: tuple[int, dict[str, str]] = (200, {})
        self.asked = 0
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                desk.asked += 1
                status, headers = desk.answers.pop(0) if desk.answers else desk.always
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
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def register(nest, desk):
    def registered(name, token="a", path="", **block):
        auth = {"method": "bearer", "token": token}
        options = {"base_url": desk.url + path, "allow_private": True, "auth": auth, "request_attempts": 1}
        streams = {"rows": {"path": "rows", "key": "id"}}
        nest.hive.register_worker("rest", {"name": name, "source": options, "streams": streams, **block})

    return registered


def waiting(nest):
    return dict(nest.rows("SELECT name, retry_at > clock_timestamp() + interval '20 seconds' FROM hive.bee"))


class TestFlights:
    def test_a_rate_limit_holds_for_all_bees_of_the_credential(self, nest, desk, register):
        for name, token, path in (("one", "a", "/v1"), ("two", "a", "/v2"), ("other", "b", "/v1")):
            register(name, token, path)
            assert nest.land(name).records_landed == 1
        desk.answers = [(429, {"Retry-After": "60"})]
        flights = [nest.fly(name) for name in ("one", "two", "other")]
        asked = desk.asked
        nest.drain()

        assert waiting(nest) == {"one": True, "two": True, "other": None}
        assert [nest.hive.flight(flight).state for flight in flights] == ["running", "queued", "complete"]
        assert desk.asked == asked + 2
        prints = nest.rows("SELECT credential, endpoint FROM hive.bee ORDER BY name")
        assert prints[0] == prints[2] != prints[1]
        assert {endpoint for _, endpoint in prints} == {f"rest {desk.url}"}

    def test_a_bee_opened_later_waits_with_the_others(self, nest, desk, register):
        register("one"), register("two")
        desk.answers = [(429, {"Retry-After": "60"})]
        nest.fly("one")
        nest.drain()
        nest.rt.bees.get(
            nest.one("SELECT id FROM hive.bee WHERE name = 'two'"), 0, "two", "default",
            lambda: ("rest", nest.hive.block("two")),
        )  # fmt: skip

        assert waiting(nest) == {"one": True, "two": True}

    def test_a_spent_budget_is_heeded_before_the_server_refuses(self, nest, desk, register):
        register("one")
        desk.always = (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"})
        assert nest.land("one").records_landed == 1
        asked = desk.asked
        flight = nest.fly("one")
        nest.drain()

        assert desk.asked == asked
        assert nest.hive.flight(flight).error["code"] == "rate_limited"
        assert waiting(nest) == {"one": True}

    def test_the_bees_of_a_credential_share_its_budget(self, nest, desk, register):
        for name in ("one", "two"):
            register(name, limits={"rate": "3/h"})
        for name in ("one", "two", "one"):
            assert nest.land(name).state == "complete"
        flight = nest.fly("two")
        nest.drain()

        assert desk.asked == 3
        assert nest.hive.flight(flight).state == "running"
        assert waiting(nest) == {"one": True, "two": True}
        assert nest.one("SELECT attempt FROM hive.task WHERE flight = %s AND state = 'queued'", flight) == 0

    def test_an_open_breaker_lets_flights_wait_and_one_probe_through(self, nest, desk, register):
        breaker = {"failures": 2, "cool_down": 1.2}
        for name, path in (("one", "/v1"), ("two", "/v2")):
            register(name, path=path, limits={"breaker": breaker})
        desk.always = (500, {})
        flights = [nest.fly(name) for name in ("one", "two")]
        nest.drain()
        nest.hurry()
        nest.drain()

        assert desk.asked == 2
        assert nest.rows("SELECT state, failures, last_failure FROM hive.breaker") == [("open", 2, "server_error")]
        assert [nest.hive.flight(flight).state for flight in flights] == ["running", "running"]

        desk.always = (200, {})
        time.sleep(1.3)
        for _ in range(4):
            nest.run("UPDATE hive.bee SET retry_at = NULL")
            nest.hurry()
            nest.drain()

        assert [nest.hive.flight(flight).state for flight in flights] == ["complete", "complete"]
        assert nest.rows("SELECT state, failures, last_failure FROM hive.breaker") == [("closed", 0, "server_error")]

    def test_a_bees_own_attempts_decide(self, nest, desk, register):
        register("one", retry={"attempts": 2}), register("two", retry={"on": ["timeout"]})
        desk.always = (500, {})
        flights = [nest.fly(name) for name in ("one", "two")]
        for _ in range(6):
            nest.drain()
            nest.hurry()

        assert [nest.hive.flight(flight).state for flight in flights] == ["failed", "failed"]
        assert desk.asked == 3


class TestSeen:
    def test_the_breaker_and_the_wait_are_shown(self, nest, desk, register):
        register("one", limits={"breaker": {"failures": 1, "cool_down": "1h"}})
        desk.always = (500, {})
        nest.fly("one")
        nest.drain()
        nest.hurry()
        nest.drain()
        (bee,) = nest.hive.bees()
        (row,) = look(nest.rt.db)["bees"]

        assert (bee["breaker"]["state"], bee["breaker"]["last_failure"]) == ("open", "server_error")
        assert bee["retry_at"] is not None
        assert left_alone(bee) == left_alone(row) == "breaker open"
        assert desk.asked == 1

    def test_the_breaker_is_a_metric(self, nest, desk, register):
        for name in ("one", "two"):
            register(name, path=f"/{name}")
            nest.land(name)
        before = Page().text(figures(nest.rt.db, patience=5))
        LedgerBreaker(nest.rt.db, f"rest {desk.url}", BreakerPolicy(1, 60)).failed("timeout")
        page = Page().text(figures(nest.rt.db, patience=5))

        assert "hive_circuit_breaker_state{bee=" not in before
        assert [f'hive_circuit_breaker_state{{bee="{name}"}} 2' in page for name in ("one", "two")] == [True, True]

    def test_a_rate_limit_is_shown_until_it_is_over(self, nest, desk, register):
        register("one")
        desk.answers = [(429, {"Retry-After": "60"})]
        nest.fly("one")
        nest.drain()
        assert left_alone(nest.hive.bees()[0]) == "rate-limited"

        nest.run("UPDATE hive.bee SET retry_at = clock_timestamp() - interval '1 second'")
        assert left_alone(nest.hive.bees()[0]) is None

    def test_one_bee_is_shown_with_its_state(self, nest, desk, register, capsys):
        register("one")
        desk.answers = [(429, {"Retry-After": "60"})]
        nest.fly("one")
        nest.drain()
        capsys.readouterr()
        found = nest.hive.bees()
        bees._one("one", found, json=False)
        text = capsys.readouterr().out
        bees._one("one", found, json=True)
        told = json.loads(capsys.readouterr().out)

        assert "rate-limited until 20" in text
        assert (told["name"], told["breaker"]) == ("one", None)
        with pytest.raises(UnknownBee, match="did you mean 'one'"):
            bees._one("onne", found, json=False)

    def test_what_nobody_uses_any_more_is_forgotten(self, nest, db):
        LedgerBudget(db, "old", Quota(1, 0.1)).draw(1)
        LedgerBudget(db, "counts still", Quota(1, 100)).draw(1)
        LedgerBreaker(db, "old", BreakerPolicy(1, 0.1)).failed("timeout")
        time.sleep(0.5)
        with nest.rt.db.transaction() as tx:
            tx.run("forget_rates")
            tx.run("forget_breakers")

        assert nest.rows("SELECT credential FROM hive.rate") == [("counts still",)]
        assert nest.rows("SELECT endpoint FROM hive.breaker") == []

    def test_a_rate_that_bounds_nothing_is_warned_of(self, tmp_path):
        block = {
            "type": "local",
            "source": {"path": str(tmp_path)},
            "streams": {"x": {}},
            "limits": {"rate": "100/min"},
        }
        (tmp_path / "hive.yaml").write_text(json.dumps({"bees": {"a": block}}))
        found = examine(tmp_path / "hive.yaml", environ={})

        assert [(w.bee, w.field) for w in found.warnings] == [("a", "limits.rate")]

    def test_a_backoff_of_no_known_type_is_refused(self, tmp_path):
        policy = {"max_retries": 3, "backoff": {"type": "exponentail"}}
        entry = {
            "name": "a",
            "connector_type": "rest",
            "retry_policy": policy,
            "config_data": {"base_url": "https://x"},
        }
        (tmp_path / "c.json").write_text(json.dumps({"connectors": [entry]}))
        found = examine(tmp_path / "c.json", environ={})

        assert [p.field for p in found.problems] == ["retry_policy.backoff"]
