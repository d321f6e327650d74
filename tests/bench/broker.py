"""How much does the broker hold: the largest message, and its memory while a large source passes?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import nests
import redis
from report import Figure

SEED = 7
PASSING = 1_000_000
MIB = 1 << 20


def measure(*, quick: bool) -> list[Figure]:
    with nests.folder() as home:
        sizes = _messages(home)
    with nests.folder() as home:
        memory, rate = _passing(home, 100_000 if quick else PASSING)
    start = memory[0]
    return [
        Figure("largest message", "bytes", sizes, held="max", at_most=1023),
        Figure("used_memory, growth while records pass", "MiB", [(m - start) / MIB for m in memory], "max", 2.0),
        Figure("used_memory at the start", "MiB", [start / MIB]),
        Figure("used_memory at the end", "MiB", [memory[-1] / MIB]),
        Figure("records landed, by the way", "1/s", [rate]),
    ]


def _messages(home: Path) -> list[float]:
    """Bytes of each message: those of reading while no worker runs, then those of landing while none lands."""
    source = home / "source"
    nests.write_rows(source / "a.jsonl", [{"id": n} for n in range(3)])
    with nests.servers(home) as (_, valkey), redis.Redis.from_url(valkey.url()) as client, nests.manager() as hive:
        for n in range(20):
            hive.register_worker("local", {"name": f"bee-{n}", **nests.local_bee(source)})
            hive.fly(f"bee-{n}")
        sizes = _sizes(client, "bees.file", 20)
        with nests.part(home, "worker", "worker", "--queues", "bees.file"):
            nests.wait("messages to land", lambda: client.llen("nectar") == 20)
            sizes += _sizes(client, "nectar", 20)
    return sizes


def _sizes(client: redis.Redis, queue: str, expected: int) -> list[float]:
    messages: list[Any] = client.lrange(queue, 0, -1)  # type: ignore[assignment]
    if len(messages) != expected:
        raise RuntimeError(f"{len(messages)} messages in {queue}, {expected} were sent")
    return [float(len(message)) for message in messages]


def _passing(home: Path, rows: int) -> tuple[list[float], float]:
    """`used_memory` each second from before a flight of `rows` records to its end, and records landed in a second."""
    source = home / "source"
    nests.write_rows(source / "a.jsonl", [{"id": -1}])
    with nests.whole_hive(home, {"many": nests.local_bee(source)}) as nest, nests.manager() as hive:
        nest.wait_for({"beat", "worker bees.file", "worker nectar", "worker nectar.embed", "worker bees.stream"})
        for n in range(4):
            nests.write_rows(source / "a.jsonl", [{"id": -1, "n": n}])
            nests.landed(hive.fly("many"), 30)
        nests.write_rows(source / "a.jsonl", _rows(rows))
        time.sleep(3)
        with redis.Redis.from_url(nest.state["redis_url"]) as client, _Sampler(client) as sampler:
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
