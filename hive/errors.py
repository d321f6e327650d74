"""Errors of the hive itself.

HiveError            a message that is safe to keep and to show, and names the next step
  StaleFence         this worker was taken for dead; another one has the task
  LeaseHeld          another flight reads this stream just now
  Superseded         a newer configuration reads this stream now
  Unreadable         a sealed batch cannot be opened: a person must look
  Unbalanced         a flight's records do not add up
"""

from __future__ import annotations

import traceback


class HiveError(Exception):
    """`code` is a stable word for counting, `advice` the next step; `final` means that trying again cannot help."""

    code = "hive"
    final = False

    def __init__(self, message: str, *, code: str | None = None, advice: str = "") -> None:
        super().__init__(message)
        self.code = code or self.code
        self.advice = advice


class StaleFence(HiveError):
    code = "stale_fence"


class LeaseHeld(HiveError):
    code = "lease_held"


class TooEarly(HiveError):
    """An earlier batch of the stream has not landed, and this one says what becomes of its records."""

    code = "too_early"


class Superseded(HiveError):
    code = "superseded"


class Unreadable(HiveError):
    code = "unreadable_batch"
    final = True


class Unbalanced(HiveError):
    code = "unbalanced"
    final = True


def trail(error: BaseException) -> list[str]:
    """Where an error came from, as `module:line` from the outermost of our frames to the innermost of all.

    What a log may hold of an error that is not ours: its message may repeat what a server or a record said.
    """
    frames = [
        (str(frame.f_globals.get("__name__", "")), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [f"{name}:{line}" for name, line in frames if name.partition(".")[0] in ("hive", "bees", "nectar")]
    last = [f"{name}:{line}" for name, line in frames[-1:]]
    return list(dict.fromkeys(ours + last))
