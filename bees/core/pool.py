"""Connections that outlive the reading they were made for: one pool a process, for every bee in it.

    pool = shared()
    user = pool.join(SourceKey("db:5432/shop", digest, "reader"))     a bee says that it will want connections
    with pool.lend(key, "postgresql", link) as connection: ...        or get_connection and return_connection
    pool.leave(user)                                                  the last one out closes what is idle

A connection belongs to source, credential version and role (`SourceKey`), and to the kind of bee that made it; none is
ever lent to another. It is cleaned when it comes back, tested before it is lent again if it lay for more than a second,
and closed after `idle_timeout`, after `lifetime`, or when a health check fails. Limits hold per process: a fleet's
limit for one source is the bee's own `limits.concurrency`. A child that was forked begins with an empty pool and leaves
its parent's connections alone.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bees.core.errors import RetryLater
from bees.core.pool_limits import ConnectionMetrics, PoolLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FRESH = 1.0
"""Seconds for which a connection that came back is lent again without a test."""


_PAUSES = (0.02, 0.1, 0.3)
_MANY = 256
"""Pools whose counts are kept after their last connection."""


class SourceKey(NamedTuple):
    """Whose connection it is. `credentials` is a digest that changes with the password; it tells nobody what it is."""

    source: str
    credentials: str
    role: str

    def __str__(self) -> str:
        return f"{self.source}:{self.role}:{self.credentials[:8]}"


class Link(Protocol):
    """How connections of one kind are made and looked after. Errors of `open` go to who asked."""

    def open(self) -> Any: ...

    def clean(self, connection: Any) -> bool:
        """Bring it back to what it was when it was new; False or an error: it is closed."""
        ...

    def alive(self, connection: Any, timeout: float) -> bool:
        """Ask the server for a sign of life, for `timeout` seconds; with 0 only look, without asking."""
        ...

    def close(self, connection: Any) -> None: ...


@dataclass
class _Idle:
    connection: Any
    made: float
    since: float
    checked: float


@dataclass
class _Pool:
    key: SourceKey
    link: Link
    idle: deque[_Idle] = field(default_factory=deque)
    lent: dict[int, tuple[Any, float]] = field(default_factory=dict)
    """id of the connection -> the connection, and when it was made."""
    opening: int = 0
    failures: int = 0
    metrics: ConnectionMetrics = field(default_factory=ConnectionMetrics)

    @property
    def size(self) -> int:
        return len(self.idle) + len(self.lent) + self.opening


class HiveConnectionPool:
    """All connections of this process. Every method may be called from any thread."""

    def __init__(
        self,
        max_connections: int = 100,
        limits: PoolLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.limits = limits or PoolLimits(max_total=max_connections)
        self._users = itertools.count(1)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self.pools: dict[str, _Pool] = {}
        self._members: dict[int, SourceKey] = {}
        self._keeper: threading.Thread | None = None

    def configure(self, hive_connection_pool: Mapping[str, Any]) -> None:
        """Obey a `connection-pool.yml` from now on; connections above a lower limit go when they come back."""
        self.limits = PoolLimits.of_document(hive_connection_pool)

    def join(self, key: SourceKey) -> int:
        """Say that connections of `key` will be wanted; gives what `leave` takes."""
        self._forked()
        with self._changed:
            user = next(self._users)
            self._members[user] = key
            return user

    def leave(self, user: int) -> None:
        """Want them no more. What is idle is closed with the last user of its key. May be called twice."""
        if self._process != os.getpid():
            return
        with self._changed:
            key = self._members.pop(user, None)
            gone = [] if key is None or key in self._members.values() else self._drain(key)
            if len(self.pools) > _MANY:
                wanted = set(self._members.values())
                self.pools = {n: p for n, p in self.pools.items() if p.size or p.key in wanted}
        self._close(gone)
        self._dismiss()

    @contextmanager
    def lend(self, key: SourceKey, bee_type: str, link: Link) -> Iterator[Any]:
        """A connection for a block. One that leaves the block by an error is closed."""
        connection = self.get_connection(key, bee_type, link)
        sound = False
        try:
            yield connection
            sound = True
        finally:
            self.return_connection(connection, key, bee_type, sound=sound)

    def get_connection(self, source_id: SourceKey, bee_type: str, link: Link) -> Any:
        """One that lay idle, or a new one. Raises RetryLater if none came free within `connection_timeout`."""
        self._forked()
        name = f"{source_id}:{bee_type}"
        ends = self._clock() + self.limits.connection_timeout
        while True:
            with self._changed:
                pool = self.pools.setdefault(name, _Pool(source_id, link))
                pool.link = link
                found = self._take(pool, ends)
            if found is None:
                return self._opened(pool)
            fresh = self._clock() - found.since < FRESH
            if self._answers(pool, found.connection, 0 if fresh else self.limits.timeout):
                with self._changed:
                    pool.lent[id(found.connection)] = (found.connection, found.made)
                    pool.opening -= 1
                    pool.metrics.record_checkout(reused=True)
                return found.connection
            self._lost(pool, found.connection)

    def counts(self) -> dict[str, list[int]]:
        """Kind of bee -> how many connections there are, lie idle and are lent, of all sources; none where none is."""
        found: dict[str, list[int]] = {}
        if self._process != os.getpid():
            return found
        with self._changed:
            for name, pool in self.pools.items():
                if pool.size:
                    kind = found.setdefault(name.rpartition(":")[2], [0, 0, 0])
                    for n, count in enumerate((pool.size, len(pool.idle), pool.size - len(pool.idle))):
                        kind[n] += count
        return found

    def _take(self, pool: _Pool, ends: float) -> _Idle | None:
        """The idle one that came back last, or None: there is room for a new one. Either is counted as `opening`."""
        started = self._clock()
        while True:
            if pool.idle:
                pool.opening += 1
                return pool.idle.pop()
            if self._has_room(pool):
                pool.opening += 1
                pool.metrics.waited_seconds += self._clock() - started
                return None
            left = ends - self._clock()
            if left <= 0:
                pool.metrics.exhausted += 1
                raise RetryLater(
                    f"all {pool.size} connections to {pool.key.source} are in use",
                    code="pool_exhausted",
                    where=pool.key.source,
                    after=self.limits.connection_timeout,
                    advice="let fewer bees fly at once, or raise `max_connections` of `hive_connection_pool`",
                )
            self._changed.wait(left)

    def _has_room(self, pool: _Pool) -> bool:
        of_source = sum(p.size for p in self.pools.values() if p.key.source == pool.key.source)
        if of_source >= self.limits.of(pool.key.source)[0]:
            return self._evict(lambda p: p.key.source == pool.key.source)
        if sum(p.size for p in self.pools.values()) >= self.limits.max_total:
            return self._evict(lambda _: True)
        return True

    def _evict(self, which: Callable[[_Pool], bool]) -> bool:
        """Close what lay idle longest in another pool, to make room."""
        idle = [(p.idle[0].since, n) for n, p in self.pools.items() if p.idle and which(p)]
        if not idle:
            return False
        pool = self.pools[min(idle)[1]]
        self._close([(pool, pool.idle.popleft().connection)])
        return True

    def _opened(self, pool: _Pool) -> Any:
        try:
            connection = self._made(pool)
        except BaseException:
            with self._changed:
                pool.opening -= 1
                pool.metrics.failed += 1
                pool.failures += 1
                self._changed.notify()
            raise
        with self._changed:
            pool.opening -= 1
            pool.failures = 0
            pool.lent[id(connection)] = (connection, self._clock())
            pool.metrics.record_checkout(reused=False)
        return connection

    def _made(self, pool: _Pool) -> Any:
        """A new connection; where the source has no room for it, what lies idle there gives way."""
        for pause in _PAUSES:
            try:
                return pool.link.open()
            except RetryLater as error:
                if error.code != "overloaded":
                    raise
                with self._changed:
                    idle = [p for p in self.pools.values() if p.key.source == pool.key.source]
                    gone = [(p, one.connection) for p in idle for one in p.idle]
                    for one in idle:
                        one.idle.clear()
                if not gone and pause == _PAUSES[0]:
                    raise
                self._close(gone)
                time.sleep(pause)  # the server takes a moment to see that a session has ended
        return pool.link.open()

    def return_connection(self, connection: Any, source_id: SourceKey, bee_type: str, *, sound: bool = True) -> None:
        """Take it back. One that is not `sound`, too old or that cannot be cleaned is closed."""
        pool = self.pools.get(f"{source_id}:{bee_type}") if self._process == os.getpid() else None
        if pool is None or id(connection) not in pool.lent:
            return  # lent before a fork, or given back already
        kept = sound and _does(pool.link.clean, connection)
        now = self._clock()
        with self._changed:
            _, made = pool.lent.pop(id(connection))
            pool.metrics.record_checkin()
            wanted = source_id in self._members.values() and now - made < self.limits.lifetime
            within = sum(p.size for p in self.pools.values()) < self.limits.max_total
            kept = kept and wanted and within and self.limits.idle_timeout > 0
            if kept:
                pool.idle.append(_Idle(connection, made, now, now))
                self._keep()
            self._changed.notify_all()
        if not kept:
            self._close([(pool, connection)])

    def get_pool_status(self) -> dict[str, dict[str, Any]]:
        """{pool: {size, available, in_use, healthy, metrics}}."""
        with self._changed:
            return {
                name: {
                    "size": pool.size,
                    "available": len(pool.idle),
                    "in_use": pool.size - len(pool.idle),
                    "healthy": pool.failures < self.limits.failure_threshold,
                    "metrics": pool.metrics.get_pool_metrics(),
                }
                for name, pool in self.pools.items()
            }

    def close(self) -> None:
        """Close whatever is idle; what is lent is closed when it comes back."""
        if self._process != os.getpid():
            return
        with self._changed:
            self._members.clear()
            gone = [one for pool in self.pools.values() for one in self._drain(pool.key)]
        self._close(gone)
        self._dismiss()

    def _drain(self, key: SourceKey) -> list[tuple[_Pool, Any]]:
        gone = []
        for pool in self.pools.values():
            if pool.key == key:
                gone += [(pool, one.connection) for one in pool.idle]
                pool.idle.clear()
        return gone

    def _close(self, gone: list[tuple[_Pool, Any]]) -> None:
        for pool, connection in gone:
            pool.metrics.closed += 1
            _does(pool.link.close, connection)

    def _answers(self, pool: _Pool, connection: Any, timeout: float) -> bool:
        return _does(lambda c: pool.link.alive(c, timeout), connection)

    def _lost(self, pool: _Pool, connection: Any) -> None:
        """A connection gave no sign of life. After `failure_threshold` of them in a row none of its kind is trusted."""
        with self._changed:
            pool.opening -= 1
            pool.failures += 1
            gone = [(pool, connection)]
            if pool.failures >= self.limits.failure_threshold:
                gone += [(pool, one.connection) for one in pool.idle]
                pool.idle.clear()
            self._changed.notify_all()
        self._close(gone)

    def _forked(self) -> None:
        """In a child: what was the parent's is kept untouched, lest closing it would end the parent's sessions."""
        if self._process != os.getpid():
            _inherited.append(self.pools)
            self._begin()

    def _keep(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._watch, name="connection-pool", daemon=True)
            self._keeper.start()

    def _dismiss(self) -> None:
        """Wait for the keeper to end if it has nothing left to look after."""
        with self._changed:
            keeper = self._keeper if not any(p.idle or p.opening for p in self.pools.values()) else None
            self._changed.notify_all()
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(self.limits.timeout)

    def _watch(self) -> None:
        """Close what is idle or old, and ask the others for a sign of life, until nothing is idle."""
        while True:
            with self._changed:
                if not any(p.idle for p in self.pools.values()):
                    self._keeper = None
                    return
                gone, doubtful = self._due()
                if not gone and not doubtful:
                    self._changed.wait(self._pause())
                    continue
            self._close(gone)
            for pool, one in doubtful:
                self._check(pool, one)

    def _due(self) -> tuple[list[tuple[_Pool, Any]], list[tuple[_Pool, _Idle]]]:
        now, gone, doubtful = self._clock(), [], []
        for pool in self.pools.values():
            fewest = self.limits.of(pool.key.source)[1]
            for one in list(pool.idle):
                spare = len(pool.idle) > fewest and now - one.since >= self.limits.idle_timeout
                if spare or now - one.made >= self.limits.lifetime:
                    pool.idle.remove(one)
                    gone.append((pool, one.connection))
                elif now - one.checked >= self.limits.interval:
                    pool.idle.remove(one)
                    pool.opening += 1
                    doubtful.append((pool, one))
        return gone, doubtful

    def _check(self, pool: _Pool, one: _Idle) -> None:
        if not self._answers(pool, one.connection, self.limits.timeout):
            self._lost(pool, one.connection)
            return
        with self._changed:
            pool.opening -= 1
            pool.failures = 0
            one.checked = self._clock()
            wanted = pool.key in self._members.values()
            if wanted:
                pool.idle.appendleft(one)
            self._changed.notify_all()
        if not wanted:  # its last user left meanwhile
            self._close([(pool, one.connection)])

    def _pause(self) -> float:
        limits = self.limits
        shortest = min(limits.idle_timeout, limits.lifetime, limits.interval)
        return min(max(shortest / 4, 0.02), 15.0)


_inherited: list[Any] = []
# Short, because each process of a fleet has a pool, and a source's connections are few; a file may say otherwise.
_shared = HiveConnectionPool(limits=PoolLimits(idle_timeout=30.0))
atexit.register(_shared.close)


def shared() -> HiveConnectionPool:
    """The pool of this process."""
    return _shared


def _does(deed: Callable[[Any], Any], connection: Any) -> bool:
    """Whether the deed went well; a driver's error of whatever class means that the connection is of no use."""
    try:
        return deed(connection) is not False
    except Exception:  # noqa: BLE001 - of any driver
        return False
