"""A worker that takes no messages any more, though the broker holds some and its processes have nothing to do, ends.

After a connection that broke half way Celery's consumer was seen not to come back, and nothing tells: the process
lives and its children beat. Whoever keeps the worker running (`hive up`, systemd) starts it again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from hive.settings import Settings
from hive.watch import Board

log = structlog.get_logger()

LOOK = 2.0
"""Seconds between two looks."""
LIMIT = 20.0
"""Seconds in which a worker that hears takes a message: it takes one within milliseconds."""
_TIMEOUT = 3.0
EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


class Ear:
    """One look is `look`. Any of these at one look, and the worker hears: a message taken, no message, work in hand.

    waiting   messages in the worker's queues
    taken     tasks that the worker has taken so far
    idle      its processes, if all of them have nothing to do
    """

    def __init__(self, waiting: Callable[[], int], taken: Callable[[], int], idle: Callable[[], list[int]]) -> None:
        self._waiting, self._taken, self._idle = waiting, taken, idle
        self._had = taken()
        self._since = self._last = time.monotonic()

    def look(self, now: float) -> list[int]:
        """The idle processes of a worker that is deaf; none of one that hears."""
        asleep = now - self._last > LIMIT / 2  # this process itself was: it is given its time anew
        self._last = now
        taken, idle = self._taken(), self._idle()
        if asleep or taken != self._had or not idle or not self._waiting():
            self._had, self._since = taken, now
            return []
        return idle if now - self._since > LIMIT else []


def start(board: Board, settings: Settings, queues: Callable[[], Sequence[str]], taken: Callable[[], int]) -> None:
    """In the parent of a pool: listen from now on, in the background.

    queues  what it consumes from now
    taken   tasks that it has taken so far
    """
    ear = Ear(messages(settings, queues), taken, lambda: board.idle(time.monotonic()))
    threading.Thread(target=_listen, args=(ear,), name="ear", daemon=True).start()


def messages(settings: Settings, queues: Callable[[], Sequence[str]]) -> Callable[[], int]:
    """What tells how many wait in these queues; none where the broker does not answer."""
    import redis  # not sooner: hive.celery sees to it that it leaves OpenTelemetry alone

    broker = redis.Redis.from_url(settings.redis(), socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)

    def waiting() -> int:
        try:
            return sum(int(broker.llen(queue)) for queue in queues())
        except redis.RedisError:
            return 0

    return waiting


def _listen(ear: Ear) -> None:
    while True:
        time.sleep(LOOK)
        if idle := ear.look(time.monotonic()):
            log.error(
                "worker.deaf", seconds=LIMIT, advice="nothing, where something keeps it running; else start it again"
            )
            for pid in idle:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(EXIT_CODE)
