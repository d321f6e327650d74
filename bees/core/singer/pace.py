"""A tap under a budget of requests: it is stopped while the budget is used up, and goes on when it is not.

Its requests pass no gate of ours, so they are counted by what it tells of them: METRIC lines of http_request_duration,
one for each request, or of http_request_count, as singer-python and the Singer SDK write them. A token is held for the
request that runs and for the next one, since a tap is a moment ahead of what it tells. A tap that tells of none is not
bounded; its log line `tap_tells_no_requests` says so.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, runtime_checkable

from bees.core.errors import RetryLater

_AHEAD = 2
_STEP = 0.2
"""Seconds between two looks whether the tap is wanted at all."""
_MOST = 10_000
"""Requests of one message."""
_PATIENCE = 5.0
"""Seconds of waiting before a tap is started; after that its leg comes back later."""


@runtime_checkable
class Bound(Protocol):
    """A gate that can be asked without being waited in front of."""

    @property
    def bounds(self) -> int:
        """Requests of a whole window; 0: there is no budget."""

    def take(self) -> float:
        """Seconds to wait; 0: a token was taken."""


class Pace:
    """Of one run of a tap. `heard` is called by the thread that reads what the tap tells."""

    def __init__(self, gate: object, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`longest`: seconds that the tap may stand still; then the run ends, and its leg comes back later."""
        self._gate = gate if isinstance(gate, Bound) and gate.bounds else None
        self._longest = longest
        self._clock = clock
        self._over = threading.Event()
        self.group = 0
        self._each = False
        self.counted = 0
        self.stopped = False
        """It stands still just now."""
        self.problem: RetryLater | None = None

    @property
    def is_blind(self) -> bool:
        """There is a budget, and nothing that could be counted."""
        return self._gate is not None and not self.counted

    def begin(self) -> None:
        """Take the first requests' tokens. Raises RetryLater (`rate_limited`) where there are none for a while."""
        for _ in range(min(_AHEAD, self._gate.bounds) if self._gate else 0):
            self._take(_PATIENCE)
            if self.problem is not None:
                raise self.problem

    def heard(self, metric: str, value: float) -> None:
        """The tap told of something; returns when it may go on."""
        if metric == "http_request_duration":
            requests, self._each = 1, True
        elif metric == "http_request_count" and not self._each and math.isfinite(value):
            requests = max(0, min(_MOST, int(value)))
        else:
            return
        self.counted += requests
        for _ in range(requests):
            if self.problem is None and not self._over.is_set():
                self._take(self._longest)

    def end(self) -> None:
        """Nobody waits any more."""
        self._over.set()

    def _take(self, longest: float) -> None:
        if self._gate is None:
            return
        began = self._clock()
        self._signal(signal.SIGSTOP)  # first of all: a question to the ledger takes as long as a quick request
        self.stopped = True
        wait = self._asked(self._gate)
        while wait > 0 and not self._over.wait(min(wait, _STEP)):
            wait = self._asked(self._gate)
            if self._clock() - began + wait > longest:
                message = "what may be asked with these credentials is used up for now"
                self.problem = RetryLater(message, after=wait, code="rate_limited", where="command")
                return  # and stays stopped: whoever runs it ends it
        self.stopped = False
        self._signal(signal.SIGCONT)

    def _asked(self, gate: Bound) -> float:
        try:
            return gate.take()
        except Exception:  # noqa: BLE001 - the ledger is away: nobody knows what the others send, so nothing is sent
            return 1.0

    def _signal(self, number: int) -> None:
        if self.group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, number)
