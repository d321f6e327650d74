"""So many requests in so many seconds, in no window more, whoever sends them.

Tokens are handed out in blocks. A block may be used for `Quota.lease` seconds, a request may be on its way for
`Quota.travel`, and what the block held counts until a whole window after both: so any two requests that come in closer
together than a window were both counted when the later one's block was drawn, and no sliding window ever holds more
than the quota, by the server's clock either. The price is that a quota which is always wanted is used to
`seconds / (seconds + lease + travel + cell)` at least: 96.6 % of windows of 14 s and more, less of shorter ones.

    quota 100 in 60 s:   0 s      a block of 3 is drawn
                         0.1 s    its third token is used
                        61.88 s   the 3 tokens are free again: 60 s, 0.9 s of lease and 0.3 s, rounded up to a cell

Tokens that were drawn and not used go back with the next draw of who has them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

_CELLS = 64
"""Steps that a window's ends are rounded up to: this bounds what has to be kept of a quota."""
_LEASE = 0.015
_TRAVEL = 0.005
_SHORTEST_LEASE = 0.2
"""Seconds; a shorter one would be over before a busy database has answered."""


@dataclass(frozen=True)
class Quota:
    """At most `most` requests in any `seconds`."""

    most: int
    seconds: float

    def __post_init__(self) -> None:
        if self.most < 1 or not 0 < self.seconds < math.inf:
            raise ValueError("a quota is at least one request in a time above zero")

    @classmethod
    def of(cls, rate: float, burst: int | None = None) -> Quota:
        """`rate` requests a second on the average, `burst` at once after a rest: so many in `burst / rate` s."""
        most = burst or max(1, int(rate))
        return cls(most, most / rate)

    @property
    def lease(self) -> float:
        """Seconds for which a block may be used."""
        return max(_SHORTEST_LEASE, self.seconds * _LEASE)

    @property
    def travel(self) -> float:
        """Seconds that a request may be on its way: some are slower than those behind them."""
        return self.seconds * _TRAVEL

    @property
    def cell(self) -> float:
        """Seconds between two ends of what counts."""
        return self.seconds / _CELLS


Held = Mapping[float, int]
"""What counts: the instant until which it does, in seconds, and how many tokens."""


@dataclass(frozen=True)
class Drawn:
    """`held` is the new state. `tokens` 0: `wait` seconds from now there is one. `until` names the block."""

    held: Held
    tokens: int
    until: float
    wait: float


@dataclass(frozen=True)
class Back:
    """Tokens of the block that was named `until`, which were not used."""

    until: float
    tokens: int


def draw(quota: Quota, held: Held, now: float, wanted: int, back: Back | None = None) -> Drawn:
    """Up to `wanted` tokens of a quota at the instant `now` (seconds, of one clock for all who share the state)."""
    live = {until: count for until, count in held.items() if until > now and count > 0}
    if back is not None and back.until in live:
        live[back.until] -= min(back.tokens, live[back.until])
        live = {until: count for until, count in live.items() if count}
    free = quota.most - sum(live.values())
    tokens = max(0, min(wanted, free))
    if not tokens:
        return Drawn(live, 0, 0.0, _wait(live, free, now))
    until = math.ceil((now + quota.lease + quota.travel + quota.seconds) / quota.cell) * quota.cell
    live[until] = live.get(until, 0) + tokens
    return Drawn(live, tokens, until, 0.0)


def _wait(live: Held, free: int, now: float) -> float:
    """Seconds until one token is free."""
    for until in sorted(live):
        free += live[until]
        if free > 0:
            return until - now
    return 0.0


@dataclass(frozen=True)
class Block:
    """Tokens in the hand of one process, good for `lease` seconds from when they were asked for; see `Drawn`."""

    tokens: int
    until: float
    lease: float
    wait: float


class RateBudget(Protocol):
    """The requests that all who use one credential may send. May be asked by threads."""

    @property
    def most(self) -> int:
        """Of the whole window."""

    def draw(self, wanted: int, back: Back | None = None) -> Block:
        """A block, at once, perhaps of no token; gives back what was not used of an earlier one."""


class MemoryBudget:
    """A budget within one process."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._held: Held = {}
        self._lock = threading.Lock()

    @property
    def most(self) -> int:
        return self._quota.most

    def draw(self, wanted: int, back: Back | None = None) -> Block:
        with self._lock:
            drawn = draw(self._quota, self._held, time.monotonic(), wanted, back)
            self._held = drawn.held
        return Block(drawn.tokens, drawn.until, self._quota.lease, drawn.wait)
