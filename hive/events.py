"""Events make bees fly: another bee's flight, a changed jar, a file, a webhook.

    event row --tell--> listener rows of the bees that wait for it --answer--> flight `event:<id>`

The event is written in the transaction of what it tells of (the close of a flight, the inbox row of a webhook). Telling
marks it and its listeners in one step, answering makes the flight and clears the listeners in one step, and one
scheduler at a time does both: whoever dies in the middle has done nothing.

A bee flies once for all that it heard. While one of its flights is under way it waits for the end, unless its overlap
is `allow`: what came meanwhile may have come too late for that flight. `debounce` waits until nothing more came for so
long, ten times as long at most.
"""

from __future__ import annotations

import datetime as dt
import glob
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from hive.config.model import BeeConfig
from hive.config.problems import ConfigProblems, Problem, did_you_mean
from hive.config.triggers import cycles, endless
from hive.errors import trail
from hive.flight.create import Bee, create_flight
from hive.flight.told import tell_created
from hive.ledger.db import UNREACHABLE, Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime

log = structlog.get_logger()

RECORDS = ("webhook", "records")
"""Kind and subject of a listener whose messages are its records: they wait for it, also while it is disabled."""
_MOST_ROUNDS = 20
_PATIENCE = 10.0
"""A bee that is told without end flies after so many times its `debounce`."""

SETTLED = 1.0
"""A file that nobody changed for so many seconds is whole."""
_LOOK = 1.0
_SHARE = 20.0
"""A look at the files that takes long is followed by a rest of so many times that."""


def tick(rt: Runtime, now: dt.datetime | None = None) -> int:
    """Tell the listeners what happened, and fly those that waited for it. Gives how many flights were made.

    `now` is for simulations: the database's clock decides where it is not given.
    """
    for _ in range(_MOST_ROUNDS):
        with rt.db.transaction() as tx:
            if not _is_mine(tx):
                return 0
            told = tx.run("tell_listeners").fetchone()
        if told is None or not told.events:
            break
    hints: list[Hint] = []
    flown = 0
    with rt.db.transaction() as tx:
        if not _is_mine(tx):
            return 0
        for row in tx.run("waiting_listeners", now=now).fetchall():
            if not _is_ready(row):
                continue
            try:
                with tx.psycopg.transaction():
                    hints += _answer(tx, rt, row)
                flown += 1
            except UNREACHABLE:
                raise
            except Exception as error:  # noqa: BLE001 - one bee that cannot fly must not stop the others
                log.error("event.failed", bee=row.name, kind=type(error).__name__, trail=trail(error))
    rt.send(hints)
    return flown


def _is_mine(tx: Transaction) -> bool:
    row = tx.run("one_at_a_time").fetchone()
    return row is not None and bool(row.mine)


def _is_ready(row: Any) -> bool:
    """Whether a bee has heard what it waits for, long enough ago."""
    after = row.after_told and not (row.needs_all and row.silent)
    if not (after or row.on_told):
        return False
    if row.flies and row.overlap != "allow":
        return False
    # Less than nothing: the clock was set back, and nobody knows how long ago it was.
    return bool(row.quiet < 0 or row.quiet >= row.debounce or row.waited >= row.debounce * _PATIENCE)


def _answer(tx: Transaction, rt: Runtime, row: Any) -> list[Hint]:
    """The flight for all that a bee heard. Its slot is named after the newest of the events."""
    bee = Bee(row.id, row.name, row.tenant, row.queue, row.config_version, row.jar)
    key = f"event:{row.event}"
    made = create_flight(tx, rt, bee, key)
    tx.run("answered", bees=[bee.id])
    tx.run("empty_inbox", bee=bee.id, slot_key=key)
    if made is None:
        return []
    tell_created(made.flight, bee.name, key)
    return made.hints


def listen(tx: Transaction, bees: Mapping[int, BeeConfig]) -> None:
    """Let bees listen to what their configuration says, and to nothing else. What they heard already stays heard."""
    wanted = [
        (bee, *heard)
        for bee, config in bees.items()
        for heard in _listens(config)
        if config.enabled or heard == RECORDS
    ]
    tx.run(
        "listen",
        all=list(bees),
        bees=[bee for bee, _, _ in wanted],
        kinds=[kind for _, kind, _ in wanted],
        subjects=[subject for _, _, subject in wanted],
    )


def _listens(config: BeeConfig) -> set[tuple[str, str]]:
    found = {("after", name) for name in (config.after.bees if config.after else ())}
    for on in config.on:
        if on.jar is not None:
            found.add(("jar", on.jar))
        elif on.file is not None:
            found.add(("file", on.file))
        elif config.type != "webhook":
            found.add(("webhook", ""))
    if config.type == "local" and config.source.get("watch") in (True, "true"):
        found.add(("folder", str(config.source.get("path", config.source.get("source_path", "")))))
    return found | ({RECORDS} if config.type == "webhook" else set())


def refuse_impossible(tx: Transaction, *, where: str = "") -> None:
    """Raises ConfigProblems if bees of the ledger fly after themselves, or after bees that nobody knows.

    Called before the commit of a change: it sees bees of the file and registered ones together.
    """
    listeners = tx.psycopg.execute(
        "SELECT b.name, l.kind, l.subject FROM hive.listener l JOIN hive.bee b ON b.id = l.bee"
        " WHERE l.kind IN ('after', 'jar') AND b.enabled ORDER BY b.name, l.subject"
    ).fetchall()
    if not listeners:
        return
    bees = tx.psycopg.execute(
        "SELECT name, coalesce(config -> 'honey_jar' ->> 'name', config ->> 'honey_jar', name) FROM hive.bee"
        " WHERE enabled OR name = ANY (%s)",
        [[subject for _, kind, subject in listeners if kind == "after"]],
    ).fetchall()
    names = {name for name, _ in bees}
    watched = {subject for _, kind, subject in listeners if kind == "jar"}
    graph: dict[str, list[str]] = {}
    problems = []
    for name, jar in bees:
        if jar in watched:
            graph.setdefault(name, []).append(f"jar {jar}")
    for name, kind, subject in listeners:
        graph.setdefault(subject if kind == "after" else f"jar {subject}", []).append(name)
        if kind == "after" and subject not in names:
            hint = did_you_mean(subject, names)
            problems.append(Problem(f"no bee is named {subject!r}{hint}", file=where, bee=name, field="after"))
    problems += [endless(way, where) for way in cycles(graph)]
    if problems:
        raise ConfigProblems(problems)


class FileWatch:
    """Looks for new files in a thread of its own: a folder that does not answer must hold up no slot.

    A file has arrived when nobody changed it for a second. Files that lie there at the first look count too. Which were
    seen is known by their change time (a copy with an old date and a renamed file are new as well), in the ledger: of
    several schedulers on a machine one tells, and none that starts anew tells again.
    """

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        rest = _LOOK
        while not self._stop.wait(rest):
            began = time.monotonic()
            try:
                look_at_files(self._rt)
            except UNREACHABLE:
                log.warning("database.unreachable", where="files")
            except Exception as error:  # noqa: BLE001 - the next look may do better
                log.error("files.failed", kind=type(error).__name__, trail=trail(error))
            rest = max(_LOOK, _SHARE * (time.monotonic() - began))


def look_at_files(rt: Runtime) -> int:
    """One look at all files that bees wait for; gives how many bees were told."""
    with rt.db.single() as tx:
        listeners = tx.run("file_listeners").fetchall()
    told = 0
    for row in listeners:
        mark = newest_file(row.subject, time.time_ns())
        if mark > row.mark:
            with rt.db.single() as tx:
                told += len(tx.run("files_arrived", bee=row.bee, subject=row.subject, mark=mark).fetchall())
    return told


def newest_file(pattern: str, now: int) -> int:
    """Change time, in ns, of the newest whole file that a path or pattern names; -1: there is none."""
    newest = -1
    limit = now - int(SETTLED * 1e9)
    for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207 - an absolute pattern
        try:
            found = Path(path).stat()
        except OSError:
            continue  # gone meanwhile, or not ours to read
        if stat.S_ISREG(found.st_mode) and newest < found.st_ctime_ns <= limit:
            newest = found.st_ctime_ns
    return newest
