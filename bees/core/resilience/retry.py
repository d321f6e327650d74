"""How often something that failed is tried again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bees.core.errors import RetryLater

Kind = Literal["fixed", "linear", "exponential"]


def later(error: BaseException) -> bool:
    """The usual predicate: the error itself says that another time may be better."""
    return isinstance(error, RetryLater)


@dataclass(frozen=True)
class RetryPolicy:
    """Times are seconds.

    attempts   tries in all, the first one included
    first      the wait before the second try
    kind       what the waits after that are: `fixed` the same, `linear` longer by `step` each time, `exponential`
               times `factor` each time
    step       None: the same as `first`
    most       no wait is longer, jitter included
    jitter     share by which a wait may be shorter or longer, so that those who failed together do not come together
    when       predicate: whether an error is worth another try; what it refuses is final
    """

    attempts: int = 5
    first: float = 1.0
    kind: Kind = "exponential"
    factor: float = 2.0
    step: float | None = None
    most: float = 300.0
    jitter: float = 0.25
    when: Callable[[BaseException], bool] = later

    def wait(self, attempt: int, chance: Callable[[], float] = random.random) -> float:
        """Seconds after the `attempt`-th try, counted from 1. `chance` gives numbers from 0 to 1."""
        before = max(0, attempt - 1)
        if self.kind == "fixed":
            plain = self.first
        elif self.kind == "linear":
            plain = self.first + before * (self.first if self.step is None else self.step)
        else:
            plain = self.first * self.factor ** min(before, 64)
        spread = 1 + self.jitter * (2 * chance() - 1)
        return float(max(0.0, min(self.most, min(self.most, plain) * spread)))

    def again(self, error: BaseException, attempt: int) -> bool:
        """Whether there is another try after the `attempt`-th ended in `error`."""
        return attempt < self.attempts and self.when(error)
