"""What becomes of a task that failed: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.resilience.retry import RetryPolicy
from hive.errors import HiveError
from hive.limits.policies import anything
from nectar.errors import NectarError

MAX_BACKOFF = 300.0
SHORTEST_WAIT = 1.0
"""Seconds; a source that says "come back at once" would else be asked without end."""
WRONG_KEY_WAIT = 5.0
"""Seconds; another worker has the right key."""
CREDENTIALS = ("denied", "no_permission")
"""Codes of a source that refuses who asks, or what they may do."""


@dataclass(frozen=True)
class Verdict:
    """`retry`: the task goes back to its queue after so many seconds; else it is dead.

    counts   the attempt counts against the task's limit (a rate limit or a stop does not)
    source   the source itself asked for this wait: other flights of the bee wait, too, and bees of its credential
    whole    so do all bees of that source: its breaker is open
    bare     only the task's row is touched: working out more than that has failed
    error    what is written down: class, code, place, advice; never a server's text, never a value
    """

    retry: bool
    after: float
    counts: bool
    error: dict[str, Any]
    source: bool = False
    whole: bool = False
    bare: bool = False


def describe(error: BaseException) -> dict[str, Any]:
    """An error as the ledger keeps it.

    The messages of our own errors are safe by their contract; of any other error only the class is kept, because its
    text may hold whatever a server or a record said.
    """
    told = {"class": type(error).__name__, "code": getattr(error, "code", None) or "internal"}
    if isinstance(error, SourceError):
        return told | {"message": Exception.__str__(error), "place": error.where, "advice": error.advice}
    if isinstance(error, NectarError | HiveError):
        return told | {"message": str(error), "place": "", "advice": getattr(error, "advice", "")}
    place = _place(error)
    return told | {
        "code": "internal",
        "message": f"an unexpected {type(error).__name__}",
        "place": place,
        "advice": "the worker's log has the traceback",
    }


def refuses_credentials(error: BaseException) -> bool:
    return isinstance(error, GiveUp) and error.code in CREDENTIALS


def judge(
    error: BaseException,
    *,
    attempt: int,
    max_attempts: int,
    renewed: bool = False,
    policy: RetryPolicy | None = None,
) -> Verdict:
    """What to do after the `attempt`-th try (counted from 1) ended in `error`.

    `policy` is the bee's own; without one there are `max_attempts`, with waits of 1, 2, 4, 8 ... seconds, more or less.
    `renewed`: the source refused credentials that were changed since the bee was opened, so the new ones are tried.
    """
    told = describe(error)
    policy = policy or RetryPolicy(max_attempts, when=anything)
    if renewed:
        told["advice"] = "nothing: they were changed meanwhile, and the new ones are tried"
        return Verdict(retry=True, after=SHORTEST_WAIT, counts=False, error=told)
    if isinstance(error, RetryLater):
        if error.after is not None:
            return Verdict(retry=True, after=max(SHORTEST_WAIT, error.after), counts=False, error=told, source=True)
        return Verdict(retry=policy.again(error, attempt), after=policy.wait(attempt), counts=True, error=told)
    if told["code"] == "wrong_hive_key":
        return Verdict(retry=True, after=WRONG_KEY_WAIT, counts=False, error=told)
    if isinstance(error, GiveUp | SourceError | NectarError) or getattr(error, "final", False):
        return Verdict(retry=False, after=0, counts=True, error=told)
    return Verdict(retry=policy.again(error, attempt), after=policy.wait(attempt), counts=True, error=told)


def backoff(attempt: int) -> float:
    """Seconds before the next try: 1, 2, 4, 8 ... at most five minutes."""
    return float(min(MAX_BACKOFF, 2 ** max(0, attempt - 1)))


def _place(error: BaseException) -> str:
    """File and line of our own innermost frame."""
    place, trace = "", error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in ("hive", "bees", "nectar"):
            place = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
