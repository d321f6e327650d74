"""Retries, quotas, breakers and what servers say of their limits: the rules, without a clock or a database."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bees.core.errors import GiveUp, RetryLater
from bees.core.resilience import breaker
from bees.core.resilience.breaker import Breaker, BreakerPolicy, MemoryBreaker
from bees.core.resilience.gate import BudgetGate
from bees.core.resilience.quota import Back, MemoryBudget, Quota, draw
from bees.core.resilience.retry import RetryPolicy
from bees.core.resilience.spent import reset, spent


def most_in(times: list[float], seconds: float) -> int:
    """The most instants that any window of this length holds, its end excluded."""
    best, first = 0, 0
    times = sorted(times)
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        best = max(best, last - first + 1)
    return best


class TestRetry:
    def test_three_ways_to_wait_longer(self):
        waits = {
            kind: [RetryPolicy(kind=kind, first=0.1, most=1.0, jitter=0).wait(n) for n in range(1, 7)]
            for kind in ("fixed", "linear", "exponential")
        }

        assert waits["fixed"] == pytest.approx([0.1] * 6)
        assert waits["linear"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        assert waits["exponential"] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])

    def test_a_linear_wait_may_grow_by_a_step_of_its_own(self):
        assert RetryPolicy(kind="linear", first=1, step=0.5, jitter=0).wait(3) == pytest.approx(2.0)

    def test_jitter_is_a_quarter_to_either_side(self):
        policy = RetryPolicy(first=8.0, kind="fixed")
        waits = [policy.wait(1) for _ in range(2000)]

        assert (policy.wait(1, lambda: 0.0), policy.wait(1, lambda: 1.0)) == (6.0, 10.0)
        assert min(waits) < 6.2
        assert max(waits) > 9.8

    @given(st.integers(1, 10_000), st.floats(0, 1))
    def test_no_wait_is_longer_than_the_longest(self, attempt, chance):
        assert 0 <= RetryPolicy(most=60).wait(attempt, lambda: chance) <= 60

    def test_the_predicate_decides(self):
        usual = RetryPolicy(attempts=3)
        picky = RetryPolicy(attempts=3, when=lambda error: getattr(error, "code", "") == "timeout")

        assert usual.again(RetryLater("x"), 2)
        assert not usual.again(RetryLater("x"), 3)
        assert not usual.again(GiveUp("x"), 1)
        assert picky.again(RetryLater("x", code="timeout"), 1)
        assert not picky.again(RetryLater("x", code="server_error"), 1)


class TestQuota:
    def test_rate_and_burst_are_a_quota(self):
        assert Quota.of(100 / 60, 100).most == 100
        assert Quota.of(100 / 60, 100).seconds == pytest.approx(60)
        assert Quota.of(10) == Quota(10, 1)
        assert Quota.of(0.5) == Quota(1, 2)
        with pytest.raises(ValueError, match="at least one request"):
            Quota(0, 1)

    @given(
        st.integers(1, 40),
        st.floats(0.5, 100),
        st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9), st.floats(0, 1)), max_size=120),
    )
    def test_no_window_ever_holds_more(self, most, seconds, steps):
        """Tokens are used at any time within the lease, requests are on their way for a while; some give back."""
        quota, held, now, used = Quota(most, seconds), {}, 1e9, []
        for rest, wanted, late in steps:
            now += rest * seconds / 4
            drawn = draw(quota, held, now, wanted)
            held = drawn.held
            kept = drawn.tokens - (drawn.tokens // 2 if late > 0.9 else 0)
            used += [now + late * (quota.lease + quota.travel)] * kept
            if kept < drawn.tokens:
                held = draw(quota, held, now + 1e-3, 0, Back(drawn.until, drawn.tokens - kept)).held

        assert most_in(used, seconds * (1 - 1e-6)) <= most

    def test_a_fleet_that_always_wants_uses_nearly_all(self):
        quota, held, now, used = Quota(100, 60), {}, 1e9, 0
        end = now + 3600
        while now < end:
            drawn = draw(quota, held, now, 3)
            held, used = drawn.held, used + drawn.tokens
            now += drawn.wait + 0.02

        assert 0.95 * 6000 <= used <= 6000 + 100

    def test_what_is_kept_is_bounded(self):
        quota, held = Quota(5000, 3600), {}
        for n in range(20_000):
            held = draw(quota, held, 1e9 + n, 1).held
            assert len(held) <= 70

    def test_a_wait_is_as_long_as_it_takes(self):
        quota = Quota(2, 10)
        held = draw(quota, {}, 100.0, 5).held
        refused = draw(quota, held, 101.0, 1)

        assert refused.tokens == 0
        assert draw(quota, held, 101.0 + refused.wait, 1).tokens == 1
        assert draw(quota, held, 101.0 + refused.wait - 0.01, 1).tokens == 0

    def test_a_quota_that_was_made_smaller_holds_at_once(self):
        held = draw(Quota(50, 10), {}, 100.0, 50).held
        refused = draw(Quota(5, 10), held, 101.0, 1)

        assert (refused.tokens, draw(Quota(5, 10), held, 101.0 + refused.wait, 1).tokens) == (0, 1)


class TestGate:
    def test_threads_that_share_a_budget_keep_it_and_use_it(self):
        budget, sent, end = MemoryBudget(Quota(60, 2.0)), [], time.monotonic() + 5.0

        def work() -> None:
            gate = BudgetGate(budget, patience=60)
            while time.monotonic() < end:
                gate.enter("page")
                sent.append(time.monotonic())

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert most_in(sent, 2.0) <= 60
        assert len(sent) >= 60 * 2

    def test_a_long_wait_is_for_another_time(self):
        budget, slept = MemoryBudget(Quota(1, 600)), []
        gate = BudgetGate(budget, sleep=slept.append)
        gate.enter("page 1")

        with pytest.raises(RetryLater) as told:
            gate.enter("page 2")

        assert (told.value.code, told.value.where, slept) == ("rate_limited", "page 2", [])
        assert told.value.after == pytest.approx(609 + 600 / 64, abs=600 / 64 + 1)

    def test_tokens_that_are_too_old_go_back(self):
        now, budget = [0.0], MemoryBudget(Quota(640, 1000))
        gate = BudgetGate(budget, clock=lambda: now[0])
        for _ in range(7):  # blocks of 1, 2 and 4
            gate.enter("page")
        gate.enter("page")  # one of 8
        now[0] = 20.0
        gate.enter("page")

        with_others = budget.draw(1000)

        assert with_others.tokens == 640 - 9

    def test_what_the_source_says_holds_without_a_budget(self):
        gate = BudgetGate(None)
        gate.enter("page 1")
        gate.leave(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "40"})

        with pytest.raises(RetryLater) as told:
            gate.enter("page 2")

        assert told.value.after == pytest.approx(40, abs=1)


class TestBreaker:
    policy = BreakerPolicy(failures=3, cool_down=10.0)

    def test_so_many_failures_in_a_row_open_it(self):
        found = Breaker()
        for state in ("closed", "closed", "open"):
            found = breaker.failed(self.policy, found, 0.0)
            assert found.state == state

        assert breaker.enter(self.policy, found, 4.0)[1] == 6.0

    def test_a_success_between_begins_anew(self):
        found = Breaker()
        for _ in range(9):
            found = breaker.succeeded(breaker.failed(self.policy, breaker.failed(self.policy, found, 0.0), 0.0))

        assert found == Breaker()

    def test_half_open_lets_so_many_probes_through(self):
        policy = BreakerPolicy(3, 10.0, probes=2)
        found, waits = Breaker("open", 3, 10.0), []
        for _ in range(3):
            found, wait = breaker.enter(policy, found, 10.0)
            waits.append(wait)

        assert found.state == "half_open"
        assert waits == [0.0, 0.0, 10.0]
        assert breaker.succeeded(found) == Breaker()
        assert breaker.failed(policy, found, 11.0) == Breaker("open", 4, 21.0)

    def test_a_probe_that_never_comes_back_is_forgotten(self):
        probing, _ = breaker.enter(self.policy, Breaker("open", 3, 10.0), 10.0)

        assert breaker.enter(self.policy, probing, 19.0)[1] == 1.0
        assert breaker.enter(self.policy, probing, 20.0)[1] == 0.0
        assert breaker.enter(self.policy, breaker.released(probing), 11.0)[1] == 0.0

    def test_an_old_answer_neither_closes_it_nor_makes_it_wait_longer(self):
        opened = Breaker("open", 3, 10.0)

        assert breaker.succeeded(opened) == opened
        assert breaker.failed(self.policy, opened, 9.0).until == 10.0

    def test_the_twin_in_memory(self):
        made = MemoryBreaker(BreakerPolicy(2, 0.05))
        for _ in range(2):
            assert made.enter() == 0
            made.failed("timeout")
        assert made.enter() > 0
        time.sleep(0.06)
        assert [made.enter() > 0 for _ in range(2)] == [False, True]
        made.succeeded()
        assert made.enter() == 0


DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
NOON = 1795262400


class TestSpent:
    @pytest.mark.parametrize(
        ("headers", "wait"),
        [
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOON + 30)}, 30.0),
            ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(NOON + 31)}, 31.0),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12.0),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOON + 5}000"}, 5.0),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-11-21T12:01Z"}, 60.0),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "1.25"}, 1.25),
            ({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 7.0),
            ({"ratelimit": "limit=100, remaining=0, reset=8"}, 8.0),
            ({"ratelimit": '"default";r=0;t=9'}, 9.0),
            ({"x-hubspot-ratelimit-remaining": "0", "x-hubspot-ratelimit-interval-milliseconds": "10000"}, 10.0),
            ({"x-shopify-shop-api-call-limit": "40/40"}, 0.5),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOON - 5)}, 0.0),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9999999999"}, 86_400.0),
            ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "12"}, None),
            ({"ratelimit": '"default";r=1;t=9'}, None),
            ({"x-shopify-shop-api-call-limit": "39/40"}, None),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, None),
            ({"x-ratelimit-remaining": "-", "ratelimit": "=;=,"}, None),
            ({}, None),
        ],
    )
    def test_headers_of_the_common_apis(self, headers, wait):
        assert spent({**headers, "date": DATE}) == (None if wait is None else pytest.approx(wait))

    @given(
        st.dictionaries(st.sampled_from(["x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "date"]), st.text())
    )
    def test_whatever_a_server_writes_is_survived(self, headers):
        for found in (spent(headers), reset(headers)):
            assert found is None or 0 <= found <= 86_400

    def test_the_counter_of_windows_counts(self):
        assert most_in(list(itertools.chain(range(10), range(10))), 3) == 6
