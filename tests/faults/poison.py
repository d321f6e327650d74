"""A connector that hurts the process which reads with it, for `tests/faults`: `source: {how: ..., place: FOLDER}`.

Each reading leaves a file in `place`, so that the runs can be counted. With `how: serve` it is harmless, and gives the
records that the step `touchy` stumbles over; with `how: trickle` it is harmless and slow.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pyarrow as pa
from pydantic import Field

from bees.core.bee import BeeOptions, WorkerBee
from nectar.batch import Batch
from nectar.pollen import Stream

SPACE = 1 << 30
PIECE = 32 << 20
SERVED = 40
TOUCHY = 27
TRICKLED, TRICKLE = 24, 0.25
"""Batches of a bee that reads slowly, and the seconds that each takes."""


class PoisonOptions(BeeOptions):
    how: str = Field(description="one of HURTS")
    place: str = Field(description="folder in which each run leaves a file")


class Unspeakable(Exception):
    """Its pickle cannot be made, its repr raises, and it takes more arguments than Exception gives back."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(one)
        self.lock = two

    def __reduce__(self) -> Any:
        raise TypeError("no pickle")

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __repr__


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    kill()


def abort() -> None:
    os.abort()


def allocate() -> None:
    """Under a limit on the address space, as an operator sets it, so that the machine is unharmed."""
    limit = psutil.Process().memory_info().vms + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    held = []
    while True:
        held.append(bytearray(64 << 20))


def recurse() -> None:
    recurse()


def unspeakable() -> None:
    raise Unspeakable(object(), time)


def leave() -> None:
    raise SystemExit(3)


def interrupt() -> None:
    raise KeyboardInterrupt


def loop() -> None:
    while True:
        pass


def loop_in_c() -> None:
    """A search that takes longer than anybody lives, and never gives the interpreter to another thread."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def sleep() -> None:
    threading.Event().wait()


def hoard() -> None:
    """Memory that is used, piece by piece, without an end."""
    held = []
    while True:
        held.append(b"x" * PIECE)
        time.sleep(0.02)


def touchy(table: pa.Table) -> pa.Table:
    """A step that kills its process where a batch holds one certain record."""
    if TOUCHY in table.column("id").to_pylist():
        os.kill(os.getpid(), signal.SIGKILL)
    return table


HURTS = {
    hurt.__name__: hurt
    for hurt in (
        kill,
        kill_parent,
        abort,
        allocate,
        recurse,
        unspeakable,
        leave,
        interrupt,
        loop,
        loop_in_c,
        sleep,
        hoard,
    )
}


class PoisonBee(WorkerBee):
    bee_type: ClassVar = "file"
    Options: ClassVar = PoisonOptions

    def validate_flight_path(self) -> None:
        """There is nothing to reach."""

    def get_pollen_schema(self) -> list[Stream]:
        return [Stream("rows", key=("id",))]

    def collect_nectar(self, stream: str, cursor: Any, slice: Any = None, query: Any = None) -> Any:  # noqa: A002
        if self.options.how == "trickle":
            yield from self._trickle(stream, cursor)
            return
        (Path(self.options.place) / f"{time.time_ns()}").touch()
        if self.options.how != "serve":
            HURTS[self.options.how]()
        yield Batch(stream, pa.table({"id": list(range(SERVED))}), cursor={})

    def _trickle(self, stream: str, cursor: Any) -> Iterator[Batch]:
        """Batch after batch; each time that one is read, it leaves a file with its number."""
        for number in range((cursor or {}).get("number", -1) + 1, TRICKLED):
            time.sleep(TRICKLE)
            (Path(self.options.place) / f"{number}-{time.time_ns()}").touch()
            ids = list(range(number * SERVED, (number + 1) * SERVED))
            yield Batch(stream, pa.table({"id": ids}), cursor={"number": number})
