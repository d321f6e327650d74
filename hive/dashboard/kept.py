"""Answers that are kept for a while, so that many who look cost the ledger no more than one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

import psycopg
import structlog

from hive.errors import trail
from hive.ledger.db import UNREACHABLE

T = TypeVar("T")

log = structlog.get_logger()

NO_ANSWER = (*UNREACHABLE, psycopg.errors.QueryCanceled)
SHARE = 20
"""A question that takes long is asked seldom: at most this part of the time is spent on it."""
OLD = 5
"""Times its age at which an answer is renewed, after which one waits for the new one rather than see it."""
_SHORT = 0.1
"""Seconds that one always waits for the new one."""


class Kept(Generic[T]):
    """The answer to one question, renewed in the background. Belongs to one event loop."""

    def __init__(self, ask: Callable[[], T], threads: Executor, *, least: float, share: float = SHARE) -> None:
        """`least`: seconds for which an answer counts as fresh; longer where it takes long to get: see SHARE."""
        self._ask = ask
        self._threads = threads
        self._least = least
        self._share = share
        self._lasts = least
        self._value: T | None = None
        self._at = float("-inf")
        self.away = False
        """Whether the ledger could not be reached when it was asked last."""
        self.took = 0.0
        """Seconds of the last answer."""
        self._begun = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def get(self, wait: float) -> T | None:
        """The answer; None where there is none within `wait` seconds, or the ledger gave none."""
        age = time.monotonic() - self._at
        if age >= self._lasts:
            if self._asking is None or self._asking.done():
                self._begun = time.monotonic()
                self._asking = asyncio.get_running_loop().create_task(self._renew())
            await asyncio.wait({self._asking}, timeout=wait if age >= OLD * self._lasts else min(wait, _SHORT))
        return self._value

    def overdue(self) -> float:
        """Seconds for which the question under way has had no answer; 0: none is."""
        return 0.0 if self._asking is None or self._asking.done() else time.monotonic() - self._begun

    async def _renew(self) -> None:
        try:
            self._value = await asyncio.get_running_loop().run_in_executor(self._threads, self._ask)
            self.away = False
        except NO_ANSWER as error:
            self._value, self.away = None, isinstance(error, UNREACHABLE)
        except Exception as error:  # noqa: BLE001 - one number less on the page, and the log says where
            log.error("page.question", kind=type(error).__name__, at=trail(error))
            self._value = None
        self._at = time.monotonic()
        self.took = self._at - self._begun
        self._lasts = max(self._least, self._share * self.took)
