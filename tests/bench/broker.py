"""How much does the broker hold: the largest message, and its memory while a large source passes?"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import nests
import psutil
import redis
from report import Figure

from hive.supervisor import QUEUES

if TYPE_CHECKING:
    from hive.manager import Flight, HiveManager

SEED = 7
PASSING = 1_000_000
SMALL = 20
MIB = 1 << 20


def measure(*, quick: bool) -> list[Figure]:
    with nests.folder() as home:
        few, many = home / "few", home / "many"
        nests.write_rows(few / "a.jsonl", [{"id": n} for n in range(3)])
        nests.write_rows(many / "a.jsonl", [{"id": -1}])
        bees = {f"few-{n}": nests.local_bee(few) for n in range(SMALL)} | {"many": nests.local_bee(many)}
        with nests.whole_hive(home, bees) as nest, nests.manager() as hive:
            nest.wait_for({"beat", *(f"worker {queue}" for queue in QUEUES)})
            with redis.Redis.from_url(nest.state["redis_url"]) as client:
                sizes = _messages(nest, hive, client)
                memory, rate = _passing(hive, client, many, 100_000 if quick else PASSING)
    start = memory[0]
    return [
        Figure("largest message", "bytes", sizes, held="max", at_most=1023),
        Figure("used_memory, growth while records pass", "MiB", [(m - start) / MIB for m in memory], "max", 2.0),
        Figure("used_memory at the start", "MiB", [start / MIB]),
        Figure("used_memory at the end", "MiB", [memory[-1] / MIB]),
        Figure("records landed, by the way", "1/s", [rate]),
    ]


def _messages(nest: nests.Nest, hive: HiveManager, client: redis.Redis) -> list[float]:
    """Bytes of the messages that wait: those of reading while all workers stand still, then those of landing."""
    flights: list[Flight] = []
    with _stopped(nest, "worker nectar"):
        with _stopped(nest, "worker bees.file"):
            flights += [hive.fly(f"few-{n}") for n in range(SMALL)]
            sizes = _sizes(client, "bees.file")
        sizes += _sizes(client, "nectar")
    for flight in flights:
        nests.landed(flight, 30)
    return sizes


@contextlib.contextmanager
def _stopped(nest: nests.Nest, role: str) -> Iterator[None]:
    """The processes of one worker stand still; shorter than a lease, lest the janitor takes them for dead."""
    held = [p for p in psutil.Process(nest.supervisor).children(recursive=True) if _is(p, role, nest.supervisor)]
    for one in held:
        one.suspend()
    try:
        yield
    finally:
        for one in held:
            one.resume()


def _is(one: psutil.Process, role: str, supervisor: int) -> bool:
    return nests.role(one.pid, supervisor) == role


def _sizes(client: redis.Redis, queue: str) -> list[float]:
    """Most messages of a queue; a worker that stands still may hold one or two in its hand."""
    nests.wait(f"messages in {queue}", lambda: client.llen(queue) >= SMALL // 2, limit=5)
    messages: list[Any] = client.lrange(queue, 0, -1)  # type: ignore[assignment]
    return [float(len(message)) for message in messages]


def _passing(hive: HiveManager, client: redis.Redis, source: Path, rows: int) -> tuple[list[float], float]:
    """`used_memory` each second from before a flight of `rows` records to its end, and records landed in a second."""
    for n in range(4):
        nests.write_rows(source / "a.jsonl", [{"id": -1, "n": n}])
        nests.landed(hive.fly("many"), 30)
    nests.write_rows(source / "a.jsonl", _rows(rows))
    time.sleep(3)
    with _Sampler(client) as sampler:
        began = time.monotonic()
        result = nests.landed(hive.fly("many"), 420)
        seconds = time.monotonic() - began
    if result.records_landed != rows:
        raise RuntimeError(f"{result.records_landed} of {rows} records landed")
    return sampler.samples, rows / seconds


def _rows(rows: int) -> Iterator[dict[str, Any]]:
    for n in range(rows):
        yield {"id": n, "name": f"thing {n * SEED % 9973}", "amount": n % 1000}


class _Sampler:
    """Notes `used_memory` in bytes when it begins, each second, and when it ends."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[float] = []

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(1):
            self._look()

    def _look(self) -> None:
        self.samples.append(float(self._client.info("memory")["used_memory"]))  # type: ignore[index]
