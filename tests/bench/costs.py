"""What does the fleet's own bookkeeping cost: each statement of the ledger, a pooled connection, a breaker, and in all?

In one process, without Celery, so that nothing but the asked thing is timed. The last question flies a table through
the whole protocol, and then takes the same batches through the same code without ledger, seal and fence.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nests
import psutil
from load import PROFILE, grow
from report import Figure

from bees.core.pool import SourceKey, shared
from bees.core.resilience.breaker import BreakerPolicy
from hive.demo import source as shop
from hive.flight.gather import gather
from hive.flight.process import Work, land_frame, prepare
from hive.flight.seal import Meta
from hive.flight.task import Task
from hive.flight.warm import warm_up
from hive.flight.work import bee_of, claim, find_room, work
from hive.jars import jar
from hive.jars.land import Place
from hive.ledger.db import Transaction
from hive.limits.breaker import LedgerBreaker, guarded
from hive.worker import begin

if TYPE_CHECKING:
    from hive.flight.bees import OpenBee
    from hive.ledger.hints import Hint
    from hive.manager import HiveManager
    from hive.runtime import Runtime

FLIGHTS = 300
ROWS, QUICK_ROWS = 300_000, 60_000
_TOLD = {
    "claim": "claim", "beat": "heartbeat", "seal": "seal a batch", "complete_part": "complete a landing",
    "close_flight": "close a flight",
}  # fmt: skip


def measure(*, quick: bool) -> list[Figure]:
    with nests.folder() as home, nests.servers(home) as (database, _), nests.manager() as hive:
        rt = hive._rt
        beat = begin(rt, ["bees.database", "bees.file", "nectar"])
        warm_up(rt, ["nectar"])
        try:
            figures = _statements(hive, rt, home, 60 if quick else FLIGHTS)
            figures += _overhead(hive, rt, database, QUICK_ROWS if quick else ROWS, 2 if quick else 4)
        finally:
            beat.stop()
    return figures


def _statements(hive: HiveManager, rt: Runtime, home: Path, flights: int) -> list[Figure]:
    """Small flights; the milliseconds of each of their statements, as the worker waits for them."""
    hive.register_worker("local", {"name": "small", **nests.local_bee(home / "small", PROFILE)})
    for n in range(20):
        _fly_small(hive, rt, home, n)
    with _timed() as spent:
        for n in range(flights):
            _fly_small(hive, rt, home, 100 + n)
            with rt.db.single() as tx:
                tx.run("beat", id=rt.owner, host="bench", pid=1, queues=[], lease=60, rss=0)
    figures = [Figure(f"{told}: one statement", "ms", spent[name], held="p95") for name, told in _TOLD.items()]
    return [*figures, _pool(), _breaker(rt)]


def _fly_small(hive: HiveManager, rt: Runtime, home: Path, n: int) -> None:
    nests.write_rows(home / "small" / "a.jsonl", [{"id": 1, "email": f"ada{n}@example.com"}])
    with _collected(rt) as hints:
        hive.fly("small")
        _work(hints, rt)


@contextlib.contextmanager
def _collected(rt: Runtime) -> Iterator[list[Hint]]:
    """Hints that would go to the broker."""
    hints: list[Hint] = []
    send, rt.send = rt.send, hints.extend
    try:
        yield hints
    finally:
        rt.send = send


def _work(hints: list[Hint], rt: Runtime) -> None:
    while hints:
        hint = hints.pop(0)
        work(hint.day, hint.id, "process" if hint.kind == "process" else "collect", rt)


@contextlib.contextmanager
def _timed() -> Iterator[dict[str, list[float]]]:
    spent: dict[str, list[float]] = defaultdict(list)
    run = Transaction.run

    def timed(self: Transaction, name: str, /, **values: Any) -> Any:
        began = time.perf_counter()
        cursor = run(self, name, **values)
        spent[name].append((time.perf_counter() - began) * 1000)
        return cursor

    Transaction.run = timed  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Transaction.run = run  # type: ignore[method-assign]


def _pool() -> Figure:
    """How long one is waited for that lies in the pool."""

    class Nothing:
        """A connection that costs nothing to make: only the pool's own work is left."""

        def open(self) -> object:
            return object()

        def clean(self, _: Any) -> bool:
            return True

        def alive(self, _: Any, timeout: float) -> bool:
            return timeout >= 0

        def close(self, _: Any) -> None:
            pass

    pool, key = shared(), SourceKey("bench", "digest", "reader")
    user, waited = pool.join(key), []
    for _ in range(1000):
        began = time.perf_counter()
        connection = pool.get_connection(key, "bench", Nothing())
        waited.append((time.perf_counter() - began) * 1000)
        pool.return_connection(connection, key, "bench")
    pool.leave(user)
    return Figure("a connection that lies in the pool", "ms", waited, held="p95", at_most=1.0)


def _breaker(rt: Runtime) -> Figure:
    """Entering and leaving a closed breaker, as each task does."""
    breaker, samples = LedgerBreaker(rt.db, "bench:1", BreakerPolicy()), []
    for _ in range(1000):
        began = time.perf_counter()
        with guarded(breaker):
            pass
        samples.append((time.perf_counter() - began) * 1000)
    return Figure("breaker check of a task", "ms", samples, held="p95", at_most=1.0)


def _overhead(hive: HiveManager, rt: Runtime, database: str, rows: int, times: int) -> list[Figure]:
    """Processor time of ours and of the server's for the same table, with the protocol and without it, in turns."""
    source = shop.fill(database, customers=1_000, orders=0)
    grow(source, rows)
    place = {"host": source.host, "port": source.port, "database": source.database, "user": source.user}
    stream = {"customers": {"table": "customers"}}
    block = {"source": {**place, "password": source.password}, "streams": stream, "scrubbing": {"profile": PROFILE}}
    with rt.db.single() as tx:
        server = psutil.Process(tx.psycopg.info.backend_pid).parent()
    assert server is not None
    whole, bare = [], []
    for n in range(times + 1):
        hive.register_worker("postgresql", {"name": f"load-{n}", **block})
        with _collected(rt) as hints:
            began = _spent(server)
            hive.fly(f"load-{n}")
            task, bee = _first(hints, rt)
            _work(hints, rt)
            whole.append(_spent(server) - began)
        began = _spent(server)
        _bare(task, bee, rt)
        bare.append(_spent(server) - began)
    reused = _reuse(hive, rt, block)
    ratios = [w / b - 1 for w, b in zip(whole[1:], bare[1:], strict=True)]
    return [
        Figure("ledger, seal and fence, beside the same without", "more", ratios, at_most=0.1),
        Figure("a record with them", "us", [w / rows * 1e6 for w in whole[1:]]),
        Figure("a record without", "us", [b / rows * 1e6 for b in bare[1:]]),
        Figure("connections that were used again, of 40 flights", "share", [reused], at_least=0.9),
        Figure("median against median", "more", [statistics.median(whole[1:]) / statistics.median(bare[1:]) - 1]),
    ]


def _reuse(hive: HiveManager, rt: Runtime, block: dict[str, Any]) -> float:
    """Of the connections that flights asked for, those that lay in the pool."""
    stream = {"customers": {"query": "SELECT id, email FROM customers WHERE id <= 10", "key": "id"}}
    hive.register_worker("postgresql", {"name": "often", **block, "streams": stream})
    before = _checkouts()
    for _ in range(40):
        with _collected(rt) as hints:
            hive.fly("often")
            _work(hints, rt)
    checkouts, reused = (after - had for after, had in zip(_checkouts(), before, strict=True))
    return reused / checkouts


def _checkouts() -> tuple[int, int]:
    """(connections that were asked for, those of them that lay in the pool), of all pools so far."""
    told = [status["metrics"] for status in shared().get_pool_status().values()]
    return sum(metrics["checkouts"] for metrics in told), sum(metrics["reused"] for metrics in told)


def _first(hints: list[Hint], rt: Runtime) -> tuple[Task, OpenBee]:
    """Claim the flight's first task to know it, and give it back."""
    task = claim(hints[0].day, hints[0].id, rt)
    assert task is not None
    assert find_room(task, rt)
    bee = bee_of(task, rt)
    with rt.db.transaction() as tx:
        tx.run("requeue", day=task.day, id=task.id, given_back=1, crashed=0, after=0.0, error=None)
    return task, bee


def _bare(task: Task, bee: OpenBee, rt: Runtime) -> None:
    """Read, hash, scrub and write into a jar of its own: what the protocol is around."""
    with rt.db.transaction() as tx:
        row = tx.psycopg.execute("SELECT nextval('hive.part')::int").fetchone()
        assert row is not None
        part = row[0]
        jar.make_tables(tx, part)
        stream_id = tx.psycopg.execute("SELECT max(id) FROM hive.stream").fetchone()
    assert stream_id is not None
    [stream] = bee.pollen()
    limits = rt.settings
    batches = gather(
        bee.bee.collect_nectar(stream.name, None, None),
        most_bytes=limits.batch_bytes, most_rows=limits.batch_rows, wait=limits.batch_wait,
    )  # fmt: skip
    for seq, (batch, _) in zip(count(1), batches):
        meta = Meta(stream.name, tuple(stream.key), "2026-01-01T00:00:00+00:00")
        place = Place(
            part, task.jar, task.bee, stream_id[0], 1, seq, task.flight, 1, meta.collected_at
        )  # fmt: skip
        one = Work(task, rt, place, 0, True, True, batch.table, 0, meta, [])
        prepare(one, set(), ask_all=False)
        with rt.db.transaction() as tx:
            land_frame(tx, one)
    with rt.db.transaction() as tx:
        jar.drop_tables(tx, part)
        tx.psycopg.execute("DELETE FROM hive.unindexed")


def _spent(server: psutil.Process) -> float:
    """Seconds of processor time of this process and of the database server, ended sessions included."""
    times = server.cpu_times()
    mine = time.process_time() + times.user + times.system + times.children_user + times.children_system
    for one in server.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            its = one.cpu_times()
            mine += its.user + its.system
    return mine
