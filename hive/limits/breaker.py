"""The circuit breaker of a source, one for the fleet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bees.core.errors import RetryLater
from bees.core.resilience import breaker
from bees.core.resilience.breaker import Breaker, BreakerPolicy
from hive.ledger.db import Database, Transaction

FRESH = 1.0
"""Seconds for which a process believes what it last saw."""
PROBING = 1.0
"""Seconds after which is looked again whether the probe came back."""


class BreakerOpen(RetryLater):
    """The source is left alone just now. `whole`: by all until then; else somebody has just gone to try it."""

    def __init__(self, after: float, *, whole: bool) -> None:
        super().__init__(
            "the source failed again and again, and is left alone for a while",
            after=after,
            code="breaker_open",
            advice="nothing: it is tried again by itself; `hive bees --json` tells when, and how it failed",
        )
        self.whole = whole


class LedgerBreaker:
    """A `BreakerState` whose state is one row of hive.breaker; a look at it is kept for a second."""

    def __init__(self, db: Database, endpoint: str, policy: BreakerPolicy) -> None:
        self._db = db
        self._endpoint = endpoint
        self._policy = policy
        self._seen = Breaker()
        self._seen_at = -FRESH
        self._ahead = 0.0

    @property
    def state(self) -> breaker.State:
        """As it was seen last."""
        return self._seen.state

    def enter(self) -> float:
        """Seconds to wait; 0: go. Only a process that may be the probe writes."""
        now = time.monotonic()
        if now - self._seen_at >= FRESH:
            self._look()
        after, wait = breaker.enter(self._policy, self._seen, time.time() + self._ahead)
        if after == self._seen:
            return wait
        waited: list[float] = []

        def tried(found: Breaker, at: float) -> Breaker:
            found, wait = breaker.enter(self._policy, found, at)
            waited.append(wait)
            return found

        self._change(tried)
        return waited[0]

    def check(self) -> None:
        """Raises BreakerOpen where the source is not to be asked now."""
        wait = self.enter()
        if wait > 0:
            whole = self.state == "open"
            raise BreakerOpen(wait if whole else min(wait, PROBING), whole=whole)

    def succeeded(self) -> None:
        if self._seen == Breaker() and time.monotonic() - self._seen_at < FRESH:
            return
        self._look()
        if self._seen != Breaker():
            self._change(lambda found, _: breaker.succeeded(found))

    def failed(self, code: str) -> None:
        self._change(lambda found, at: breaker.failed(self._policy, found, at), code)

    def released(self) -> None:
        if self._seen.state == "half_open":
            self._change(lambda found, _: breaker.released(found))

    def _look(self) -> None:
        with self._db.single() as tx:
            self._take(tx.run("breaker_seen", endpoint=self._endpoint).fetchone())

    def _take(self, row: Any) -> float:
        """Keep what was seen; gives the database's clock."""
        self._seen_at = time.monotonic()
        if row is None:
            self._seen = Breaker()
            return time.time() + self._ahead
        self._seen = Breaker(row.state, row.failures, row.until, row.probes)
        self._ahead = row.now - time.time()
        return float(row.now)

    def _change(self, step: Callable[[Breaker, float], Breaker], code: str | None = None) -> None:
        with self._db.transaction() as tx:
            at = self._take(self._held(tx))
            after = step(self._seen, at)
            if after != self._seen or code is not None:
                tx.run("breaker_keep", endpoint=self._endpoint, code=code, **after.__dict__)
        self._seen = after

    def _held(self, tx: Transaction) -> Any:
        row = tx.run("breaker_held", endpoint=self._endpoint).fetchone()
        if row is None:
            tx.run("breaker_begin", endpoint=self._endpoint)
            row = tx.run("breaker_held", endpoint=self._endpoint).fetchone()
        return row


@contextmanager
def guarded(breaker: LedgerBreaker | None) -> Iterator[None]:
    """Around what asks the source of a breaker. Raises BreakerOpen, and whatever is raised inside.

    A failure is one that the source may get over and has set no time for: a rate limit is none, nor are credentials
    that it refuses.
    """
    if breaker is None:
        yield
        return
    breaker.check()
    try:
        yield
    except RetryLater as error:
        if error.after is None and error.code != "rate_limited":
            breaker.failed(error.code)
        else:
            breaker.released()
        raise
    except BaseException:
        breaker.released()
        raise
    breaker.succeeded()
