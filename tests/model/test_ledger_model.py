"""The protocol holds whatever happens between two steps; and each of its guards is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.model.ledger import (
    CLAIM,
    CLOCK,
    CLOSE,
    FENCE,
    GUARDS,
    ORDER,
    POSITION,
    PURGE,
    RECEIPT,
    SLOT,
    WATERMARK,
    Ledger,
)

WORKERS = 3
numbers = st.integers(0, 99)


class Fleet(RuleBasedStateMachine):
    """Workers that stop between any two steps, die, are taken for dead, and get every hint any number of times."""

    guards = frozenset(GUARDS)

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(self.guards)
        self.at_work: dict[int, tuple[str, Iterator[None]]] = {}
        self.births = 0

    @initialize(keys=st.lists(st.integers(0, 3), max_size=6))
    def begin(self, keys: list[int]) -> None:
        for key in keys:
            self.ledger.offer(key)

    @rule(key=st.integers(0, 3))
    def offer(self, key: int) -> None:
        self.ledger.offer(key)

    @rule(slot=st.integers(0, 3))
    def a_scheduler_finds_a_slot_due(self, slot: int) -> None:
        self.ledger.fly(slot)

    @precondition(lambda self: self.ledger.tasks and len(self.at_work) < WORKERS)
    @rule(which=numbers)
    def a_hint_comes(self, which: int) -> None:
        """About any task there ever was: late, twice, or for nothing."""
        self.births += 1
        place = next(n for n in range(WORKERS) if n not in self.at_work)
        owner = f"worker {self.births}"
        self.at_work[place] = (owner, self.ledger.work(which % len(self.ledger.tasks), owner))
        self._step(place)

    @precondition(lambda self: self.at_work)
    @rule(which=numbers)
    def a_worker_goes_on(self, which: int) -> None:
        self._step(self._chosen(which))

    @precondition(lambda self: self.at_work)
    @rule(which=numbers)
    def a_worker_dies(self, which: int) -> None:
        owner, _ = self.at_work.pop(self._chosen(which))
        self.ledger.fall_silent(owner)
        self.ledger.expire()

    @precondition(lambda self: self.at_work)
    @rule(which=numbers)
    def a_worker_is_taken_for_dead(self, which: int) -> None:
        """It stood still longer than its lease, and will go on."""
        self.ledger.fall_silent(self.at_work[self._chosen(which)][0])
        self.ledger.expire()

    @rule()
    def the_janitor_closes(self) -> None:
        for number in range(len(self.ledger.flights)):
            self.ledger.close(number)

    def _chosen(self, which: int) -> int:
        return sorted(self.at_work)[which % len(self.at_work)]

    def _step(self, place: int) -> None:
        try:
            next(self.at_work[place][1])
        except StopIteration:
            del self.at_work[place]

    def shown(self, damage: list[str]) -> list[str]:
        return damage

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.shown(self.ledger.damage()) == []

    def teardown(self) -> None:
        """Nobody dies any more: everything comes to its end."""
        while self.at_work:
            self._step(min(self.at_work))
        for _ in range(len(self.ledger.source) + len(self.ledger.flights) + 1):
            for number in range(len(self.ledger.tasks)):
                for _ in self.ledger.work(number, "the last worker"):
                    pass
        self.the_janitor_closes()
        assert self.shown(self.ledger.damage_at_rest()) == []


class FleetInTime(Fleet):
    """The same with clocks, heartbeats and days that are over."""

    def __init__(self) -> None:
        super().__init__()
        self.clocks: dict[str, int] = {}
        """Worker -> how much its own clock is fast."""

    @precondition(lambda self: self.at_work)
    @rule(which=numbers, seconds=st.sampled_from([-3600, 3600]))
    def a_workers_clock_is_set(self, which: int, seconds: int) -> None:
        owner = self.at_work[self._chosen(which)][0]
        self.clocks[owner] = self.clocks.get(owner, 0) + seconds

    @precondition(lambda self: self.at_work)
    @rule(which=numbers)
    def a_worker_beats(self, which: int) -> None:
        """Also one that was taken for dead: its task is not its own any more."""
        owner = self.at_work[self._chosen(which)][0]
        self.ledger.beat(owner, self.ledger.now + self.clocks.get(owner, 0))

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.ledger.now += seconds
        self.ledger.expire()

    @rule()
    def an_old_day_is_forgotten(self) -> None:
        self.ledger.purge()


LONG = settings(
    max_examples=400, stateful_step_count=40, deadline=None, derandomize=True, database=None, print_blob=False,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_nothing_is_lost_doubled_or_stuck_whatever_happens():
    run_state_machine_as_test(FleetInTime, settings=LONG)


def run_without(*gone: str, watched: str = "", examples: int = 5000) -> None:
    class Unguarded(Fleet):
        guards = frozenset(GUARDS) - set(gone)

        def shown(self, damage: list[str]) -> list[str]:
            return [one for one in damage if watched in one]

    many = settings(LONG, max_examples=examples, phases=[Phase.generate], report_multiple_bugs=False)
    run_state_machine_as_test(Unguarded, settings=many)


@pytest.mark.parametrize(
    ("guard", "damage"),
    [
        (CLAIM, "stolen"),
        (FENCE, "zombie"),
        (ORDER, "dup: two batches"),
        (POSITION, "lost: the jar"),
        (WATERMARK, "gap"),
        (CLOSE, "lost: a closed flight"),
        (SLOT, "dup: a slot"),
    ],
)
def test_without_a_guard_there_is_damage(guard, damage):
    with pytest.raises(AssertionError, match=damage):
        run_without(guard)


def test_a_receipt_holds_where_the_fence_fails():
    twice = "a batch landed twice"
    run_without(FENCE, watched=twice, examples=400)
    with pytest.raises(AssertionError, match=twice):
        run_without(FENCE, RECEIPT, watched=twice)


def go_on(ledger: Ledger, number: int, owner: str) -> None:
    for _ in ledger.work(number, owner):
        pass


@pytest.mark.parametrize("gone", [frozenset(), frozenset({PURGE})])
def test_what_the_watermark_has_not_passed_is_not_forgotten(gone):
    ledger = Ledger(frozenset(GUARDS) - gone)
    for key in range(3):
        ledger.offer(key)
    ledger.fly(0)
    go_on(ledger, 0, "a reader")
    go_on(ledger, 2, "who lands the second batch")
    ledger.purge()
    go_on(ledger, 1, "who lands the first one")

    assert ledger.damage_at_rest() == (["gap: the watermark stays behind"] if gone else [])


@pytest.mark.parametrize("gone", [frozenset(), frozenset({CLOCK})])
def test_a_worker_whose_clock_is_slow_keeps_its_task(gone):
    ledger = Ledger(frozenset(GUARDS) - gone)
    ledger.fly(0)
    next(ledger.work(0, "slow"))
    ledger.beat("slow", ledger.now - 3600)
    ledger.expire()

    assert ledger.damage() == (["robbed: a task was taken from a worker that lives"] if gone else [])
