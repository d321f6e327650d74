"""Bees that fly in the test's own process, without a broker: a test chooses which task runs next, and who runs it.

A test module imports the fixtures `nest` and `make_nest` by name.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hive.flight.task import Task
from hive.flight.work import claim, find_room, work
from hive.janitor import expire
from hive.ledger.hints import Hint
from hive.manager import FlightResult, HiveManager
from hive.runtime import Runtime, open_runtime
from hive.settings import Settings

__all__ = ["Nest", "make_nest", "nest", "rows_of"]

KEY = "5a" * 32
KINDS = ("plan", "collect", "process")
DUE = "SELECT day, id, kind FROM hive.task WHERE state = 'queued' AND available_at <= clock_timestamp() ORDER BY id"

Order = Callable[[list[tuple[dt.date, int, str]]], Sequence[tuple[dt.date, int, str]]]


class Nest:
    """A hive of one process: a runtime, a worker's row without a heartbeat, and a folder for each bee to read."""

    def __init__(self, url: str, folder: Path, **chosen: Any) -> None:
        self.folder = folder
        self.settings = Settings(database_url=url, key=KEY, data_dir=folder / "data", **chosen)
        self.sent: list[Hint] = []
        self._runtimes: list[Runtime] = []
        self.rt = self.runtime("nest:1:1")
        self.rt.send = self.sent.extend
        self.hive = HiveManager(rt=self.rt)

    def runtime(self, owner: str) -> Runtime:
        """A worker of its own, alive for as long as nobody buries it; it is closed with the nest."""
        rt = open_runtime(self.settings, owner=owner, kept_plans=True)
        self._runtimes.append(rt)
        with rt.db.transaction() as tx:
            tx.run("beat", id=owner, host="nest", pid=1, queues=[], lease=3600, rss=0)
        return rt

    def register(self, name: str = "people", **block: Any) -> Path:
        """A bee that reads rows with the key `id` from the folder it gives, into a jar of its own name."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        stream = {"patterns": "*.jsonl", "key": "id"}
        source = {"path": str(folder), "batch_rows": self.settings.batch_rows}
        self.hive.register_worker("local", {"name": name, "source": source, "streams": {"rows": stream}, **block})
        return folder

    def fly(self, name: str = "people", **how: Any) -> str:
        """A flight whose tasks wait for `drain`; gives its id."""
        return self.hive.fly(name, **how).id

    def land(self, name: str = "people", **how: Any) -> FlightResult:
        """A whole flight."""
        flight = self.fly(name, **how)
        self.drain()
        return self.hive.flight(flight)

    def due(self, kind: str | None = None) -> list[tuple[dt.date, int, str]]:
        """Tasks that may be claimed now, oldest first."""
        return [row for row in self.rows(DUE) if kind in (None, row[2])]

    def drain(self, order: Order = list, *, kinds: Sequence[str] = KINDS, rounds: int = 200) -> None:
        """Work what is due, round after round, until nothing is. `order` arranges each round."""
        for _ in range(rounds):
            tasks = [task for task in self.due() if task[2] in kinds]
            if not tasks:
                return
            for task in order(tasks):
                self.work(task)
        raise AssertionError(f"tasks are still due after {rounds} rounds: {self.due()}")

    def work(self, task: tuple[dt.date, int, str], rt: Runtime | None = None) -> bool:
        """What a message about this task leads to."""
        day, number, kind = task
        return work(day, number, "process" if kind == "process" else "collect", rt or self.rt)

    def claim(self, task: tuple[dt.date, int, str], rt: Runtime | None = None) -> Task:
        """Take a task as a worker does, and do nothing with it yet."""
        claimed = claim(task[0], task[1], rt or self.rt)
        assert claimed is not None
        assert find_room(claimed, rt or self.rt)
        return claimed

    def hurry(self) -> None:
        """Let the time pass that tasks wait before they are tried again."""
        self.run("UPDATE hive.task SET available_at = clock_timestamp() WHERE state = 'queued'")

    def crash(self, task: tuple[dt.date, int, str]) -> None:
        """A worker claims the task and dies, and the janitor finds out."""
        rt = self.runtime(f"doomed:{task[1]}:1")
        self.claim(task, rt)
        self.bury(rt.owner)
        assert expire(self.rt) == 1
        self.hurry()

    def bury(self, owner: str) -> None:
        """This worker has stopped beating, and its lease is over."""
        with self.rt.db.transaction() as tx:
            tx.run("bury", id=owner)

    def run(self, query: str, *values: Any) -> None:
        with self.rt.db.transaction() as tx:
            tx.psycopg.execute(query.encode(), values)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.rt.db.transaction() as tx:
            return tx.psycopg.execute(query.encode(), values).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        """The only value of the only row."""
        ((value,),) = self.rows(query, *values)
        return value

    def jar(self, name: str = "people") -> dict[str, Any]:
        """What a reader finds in a jar: record key -> data."""
        return dict(
            self.rows(
                "SELECT h.record_key, h.data FROM hive.honey h JOIN hive.jar j ON j.id = h.jar"
                " WHERE j.name = %s AND j.visible AND h.deleted_at IS NULL",
                name,
            )
        )

    def everything(self) -> list[list[tuple[Any, ...]]]:
        """All rows that a second delivery must leave as they are, times included."""
        tables = ("honey", "chunk", "receipt", "batch", "payload", "quarantine", "checkpoint", "flight", "task")
        return [self.rows(f"SELECT x::text FROM hive.{table} x ORDER BY 1") for table in tables]

    def close(self) -> None:
        for rt in self._runtimes:
            rt.close()


def rows_of(*files: Path) -> dict[str, Any]:
    """The source's own truth: the last row of each key, as the jar must hold it."""
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return {str(row["id"]): row for row in rows}


def write(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows as JSON Lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def make_nest(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Nest]]:
    """Nests with settings of their own, on one database."""
    made: list[Nest] = []

    def make(**chosen: Any) -> Nest:
        made.append(Nest(database_url, tmp_path, **chosen))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def nest(make_nest: Callable[..., Nest]) -> Nest:
    return make_nest()
