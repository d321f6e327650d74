"""Whether the broker answers, and how soon: asked once and without patience, over a connection of its own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from hive.settings import NotRunning, Settings
from hive.telemetry.switch import keep_redis_from_it

if TYPE_CHECKING:
    import redis

_PATIENCE = 1.0
"""Seconds. Celery's own connection would try for long."""


class Broker:
    """The broker of one hive, for any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: redis.Redis | None = None
        self._one = threading.Lock()

    def latency(self) -> float | None:
        """Seconds of a round trip; None where nobody answers, or no broker is known."""
        keep_redis_from_it()
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        with self._one:
            try:
                if self._client is None:
                    patience = {"socket_connect_timeout": _PATIENCE, "socket_timeout": _PATIENCE}
                    self._client = redis.Redis.from_url(self._settings.redis(), retry=Retry(NoBackoff(), 0), **patience)
                    self._client.ping()
                began = time.perf_counter()
                self._client.ping()
                return time.perf_counter() - began
            except (redis.RedisError, OSError, NotRunning):
                self._forget()
                return None

    def answers(self) -> bool | None:
        """None: no broker is known."""
        try:
            self._settings.redis()
        except NotRunning:
            return None
        return self.latency() is not None

    def close(self) -> None:
        with self._one:
            self._forget()

    def _forget(self) -> None:
        """The address may be another one the next time: a hive that comes up again has a new port."""
        if self._client is not None:
            self._client.close()
        self._client = None
