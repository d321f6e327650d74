"""The gate before every HTTP request of a bee: a token of its credential's budget, and no request too many."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bees.core.bee import WorkerBee
from bees.core.errors import RetryLater
from bees.core.resilience.quota import Back, RateBudget
from bees.core.resilience.spent import spent

if TYPE_CHECKING:
    from bees.core.http import Gate
    from bees.core.rest.tokens import TokenStore

PATIENCE = 5.0
"""Seconds of sleep before one request: a bee that is told to stop does so within seconds."""
_SHORTEST = 0.5
"""Seconds; a source that says "wait 0 seconds" is not asked in a tight loop."""
_SHARE = 32
"""A block is this part of a quota at most, so that every worker gets some."""


class GatedBee(WorkerBee):
    """A bee that sends HTTP requests, each of them through a gate if it was given one."""

    @abstractmethod
    def through(self, gate: Gate) -> None:
        """Send every request through this gate. Called before the bee is first used."""


class BudgetGate:
    """Lets requests through as a budget allows and as the source's own headers say. A bee's threads share one.

    budget   None: only what the source says counts
    tokens   where those who share a refresh token keep what it gave; None: nobody shares one
    """

    def __init__(
        self,
        budget: RateBudget | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
        tokens: TokenStore | None = None,
    ) -> None:
        self.tokens = tokens
        self._budget = budget
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._tokens = 0
        self._good_until = 0.0
        self._name = 0.0
        self._size = 0
        self._told_until = 0.0
        self._lock = threading.Lock()

    @property
    def bounds(self) -> int:
        """Requests of a whole window; 0: there is no budget."""
        return 0 if self._budget is None else self._budget.most

    def take(self) -> float:
        """Seconds to wait before a request may go out; 0: it may, and its token was taken."""
        return self._next()

    def enter(self, where: str) -> None:
        """Returns when a request may go out; sleeps for some seconds. Raises RetryLater for a longer wait."""
        waited = 0.0
        while (wait := self._next()) > 0:
            waited += wait
            if waited > self._patience:
                message = "what may be asked with these credentials is used up for now"
                raise RetryLater(message, after=wait, code="rate_limited", where=where)
            self._sleep(wait)

    def leave(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer that came in and says that it was the last one for a while."""
        wait = spent(headers) if 200 <= status < 400 else None
        if wait is not None:
            self._told_until = self._clock() + max(wait, _SHORTEST)

    def _next(self) -> float:
        """Seconds to wait; 0: a token was taken."""
        with self._lock:
            now = self._clock()
            if now < self._told_until:
                return self._told_until - now
            if self._budget is None:
                return 0.0
            if self._tokens and now < self._good_until:
                self._tokens -= 1
                return 0.0
            return self._drawn(self._budget, now)

    def _drawn(self, budget: RateBudget, now: float) -> float:
        back = Back(self._name, self._tokens) if self._tokens else None
        # Whoever used a block up in its time gets twice as much, whoever did not gets less.
        self._size = max(1, self._size - self._tokens if self._tokens else min(2 * self._size, budget.most // _SHARE))
        block = budget.draw(self._size, back)
        self._tokens, self._name, self._good_until = block.tokens, block.until, now + block.lease
        if not block.tokens:
            return max(block.wait, 0.01)
        if self._clock() >= self._good_until:
            return 0.01  # the answer was so long in coming that the tokens are old: they go back
        self._tokens -= 1
        return 0.0
