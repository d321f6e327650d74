"""Crash points for tests: `HIVE_CRASH_AT=<name>` kills this process, as `kill -9` would, at a named step.

With `HIVE_CRASH_ONCE=<file>` only the first process that gets there dies: the file is made first, and its being there
prevents a second crash. Names are `<stage>:<step>`, listed in POINTS; a test runs each of them.
"""

from __future__ import annotations

import os
import signal

from hive.settings import settings

POINTS = (
    "message:taken",
    "collect:before-claim",
    "collect:after-claim",
    "collect:before-seal-commit",
    "collect:after-seal-commit",
    "collect:before-ack",
    "process:before-claim",
    "process:after-claim",
    "process:mid-write",
    "process:before-commit",
    "process:after-commit",
    "process:before-ack",
    "create:after-commit",
    "schedule:after-commit",
)


def point(name: str) -> None:
    """Die here if this step was chosen."""
    chosen = settings()
    if chosen.crash_at != name:
        return
    if chosen.crash_once is not None:
        try:
            os.close(os.open(chosen.crash_once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
