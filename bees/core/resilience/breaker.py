"""A circuit breaker: a source that fails again and again is left alone for a while, by everybody.

    closed      all may ask; so many failures in a row open it
    open        nobody may ask, for `cool_down` seconds
    half-open   so many probes may ask; one that succeeds closes it, one that fails opens it again

A probe that nobody hears of again is forgotten after another `cool_down`, and the next one may go.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Literal, Protocol

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True)
class BreakerPolicy:
    """`failures` in a row open it for `cool_down` seconds; then `probes` may ask at once."""

    failures: int = 5
    cool_down: float = 30.0
    probes: int = 1


@dataclass(frozen=True)
class Breaker:
    """Where a breaker stands. `until`: the end of the cool-down, or of the probes in flight; seconds of one clock."""

    state: State = "closed"
    failures: int = 0
    until: float = 0.0
    probes: int = 0


def enter(policy: BreakerPolicy, breaker: Breaker, now: float) -> tuple[Breaker, float]:
    """The breaker after somebody wants to ask, and how many seconds they have to wait; 0: they may ask now."""
    if breaker.state == "closed":
        return breaker, 0.0
    over = now >= breaker.until
    if breaker.state == "open" and not over:
        return breaker, breaker.until - now
    flying = 0 if over or breaker.state == "open" else breaker.probes
    if flying >= policy.probes:
        return breaker, max(0.0, breaker.until - now)
    return replace(breaker, state="half_open", probes=flying + 1, until=now + policy.cool_down), 0.0


def succeeded(breaker: Breaker) -> Breaker:
    """After an answer. One that was asked for before it opened says nothing of now, and does not close an open one."""
    return breaker if breaker.state == "open" else Breaker()


def failed(policy: BreakerPolicy, breaker: Breaker, now: float) -> Breaker:
    """After a failure."""
    failures = breaker.failures + 1
    if breaker.state == "open":  # somebody asked before it opened: the cool-down stays as it is
        return replace(breaker, failures=failures)
    if breaker.state == "half_open" or failures >= policy.failures:
        return Breaker("open", failures, now + policy.cool_down)
    return replace(breaker, failures=failures)


def released(breaker: Breaker) -> Breaker:
    """After a probe that ended without a word about the source: another one may go at once."""
    return replace(breaker, probes=max(0, breaker.probes - 1)) if breaker.state == "half_open" else breaker


class BreakerState(Protocol):
    """The breaker of one source, shared by all who read it."""

    def enter(self) -> float:
        """Seconds to wait; 0: ask now, and tell what came of it."""

    def succeeded(self) -> None:
        """The source has answered."""

    def failed(self, code: str) -> None:
        """It has not; `code` is the error's."""

    def released(self) -> None:
        """What came of it says nothing about the source."""


class MemoryBreaker:
    """A breaker within one process."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self.breaker = Breaker()

    def enter(self) -> float:
        with self._lock:
            self.breaker, wait = enter(self._policy, self.breaker, time.monotonic())
        return wait

    def succeeded(self) -> None:
        with self._lock:
            self.breaker = succeeded(self.breaker)

    def failed(self, code: str) -> None:  # noqa: ARG002 - who asks in one process has seen the error
        with self._lock:
            self.breaker = failed(self._policy, self.breaker, time.monotonic())

    def released(self) -> None:
        with self._lock:
            self.breaker = released(self.breaker)
