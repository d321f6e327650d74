"""What the pages show, asked of the ledger. Each question is one short statement with a time limit of its own."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from psycopg.rows import dict_row

from hive.config.model import UnknownBee
from hive.jars.listing import FoundJar, find_jar
from hive.ledger.db import Database, Transaction, statements
from hive.status import bees
from hive.versions import refused

STATES = (
    "stuck", "failing", "misconfigured", "late", "lagging", "quiet", "waiting", "breaker_open", "rate_limited",
    "paused", "flying", "healthy", "new", "disabled",
)  # fmt: skip
"""Those of `hive.condition`, in the order in which a person must look."""
HOURS = 24
STEP, SPANS = 10, 60
"""Seconds of one step of the records' rate, and how many are shown."""
PATIENCE = 5.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Bees:
    """Bees, the worst first, and of how many states there are how many."""

    rows: Sequence[Row]
    counts: Mapping[str, int]

    def chosen(self, state: str | None, name: str) -> list[Row]:
        """Those of one state, whose name contains these letters."""
        wanted = name.strip().lower()
        return [bee for bee in self.rows if state in (None, bee["state"]) and wanted in bee["name"].lower()]


class Look:
    """Questions to one database."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def ask(self, statement: str, /, *, patience: float = PATIENCE, **values: Any) -> list[Row]:
        """The rows of a named statement. Raises UNREACHABLE, or QueryCanceled after `patience` seconds."""
        with self.db.transaction() as tx:
            limit(tx, patience)
            return tx.psycopg.cursor(row_factory=dict_row).execute(statements()[statement], values).fetchall()

    def one(self, statement: str, /, **values: Any) -> Row:
        return self.ask(statement, **values)[0]

    def bees(self) -> Bees:
        with self.db.transaction() as tx:
            limit(tx, PATIENCE)
            found = bees(tx)
        found.sort(key=lambda bee: STATES.index(bee["state"]))  # of a state they stay in the order of their names
        return Bees(found, Counter(bee["state"] for bee in found))

    def refused(self) -> Row:
        """A changed configuration that was not taken into use, see `hive.versions.refused`; empty: none."""
        with self.db.transaction() as tx:
            limit(tx, PATIENCE)
            return refused(tx) or {}

    def flights(self, most: int = 12) -> list[Row]:
        return self.ask("dash_flights", most=most)

    def bee(self, name: str) -> Row:
        """Everything about one bee, but its history; `id` is 0 for one that is left out, as it cannot fly.

        Raises UnknownBee.
        """
        with self.db.transaction() as tx:
            limit(tx, PATIENCE)
            shown = bees(tx, name)
            gone = not shown and tx.psycopg.execute("SELECT 1 FROM hive.bee WHERE name = %s", [name]).fetchone()
        if gone:
            text = "is gone from the configuration: its flights, its records and its quarantine stay"
            raise UnknownBee(f"the bee {name!r} {text}")
        if not shown:
            raise UnknownBee(f"no bee is named {name!r}")
        bee = next(iter(self.ask("dash_bee", name=name)), _LEFT_OUT | {"jar": name})
        return {
            **bee,
            **shown[0],
            "schedules": self.ask("dash_schedules", bee=bee["id"]),
            "checkpoints": self.ask("dash_checkpoints", bee=bee["id"]),
            "last_failures": self.ask("dash_failed", bee=bee["id"]),
        }

    def schema(self, bee: int) -> list[Row]:
        """Each stream of a bee: {stream, columns, version, since, changes}, see `changed`."""
        versions: dict[str, list[Row]] = {}
        for row in self.ask("dash_pollen", bee=bee):
            versions.setdefault(row["stream"], []).append(row)
        return [
            {
                "stream": stream, "columns": found[0]["columns"], "version": found[0]["version"],
                "since": found[0]["created_at"],
                "changes": [changed(new, old) for new, old in pairwise(found)],
            }
            for stream, found in versions.items()
        ]  # fmt: skip

    def expected(self, flight: str) -> int | None:
        """About how many records an open flight will read; None: it is closed, or nobody knows."""
        found = self.ask("dash_expected", flight=uuid.UUID(flight))
        return found[0]["expected"] if found else None

    def tasks(self, flight: str) -> list[Row]:
        return self.ask("dash_tasks", flight=uuid.UUID(flight))

    def rate(self) -> list[float]:
        """Records settled per second in each step, oldest first; the running step, which is not over, is left out."""
        found = {row["ago"]: row["records"] for row in self.ask("dash_settled", step=STEP, span=STEP * (SPANS + 1))}
        return [found.get(ago, 0) / STEP for ago in range(SPANS, 0, -1)]

    def hours(self) -> dict[str, list[int]]:
        """complete, failed, cancelled, landed -> the number of each of the last hours, oldest first."""
        rows = {row["ago"]: row for row in self.ask("dash_hours")}
        return {
            name: [int(rows[ago][name] or 0) if ago in rows else 0 for ago in range(HOURS - 1, -1, -1)]
            for name in ("complete", "failed", "cancelled", "landed")
        }

    def scrubbed(self, most: int = 6) -> list[tuple[str, int, list[int]]]:
        """(kind, sum, by hour) of what was taken out in the last hours, the largest first."""
        return by_hour((row["kind"], row["ago"], row["count"]) for row in self.ask("dash_scrubbed"))[:most]

    def growth(self) -> dict[str, list[int]]:
        """Jar -> records that landed there, by hour."""
        rows = self.ask("dash_jar_growth")
        return {name: hours for name, _, hours in by_hour((row["name"], row["ago"], row["landed"]) for row in rows)}

    def jar_counts(self) -> dict[str, int]:
        """Jar -> its records. Reads an index of all that landed: asked seldom, and not answered where it takes long."""
        return {row["name"]: row["records"] for row in self.ask("dash_jar_counts", patience=3.0)}

    def jar(self, name: str) -> tuple[FoundJar, Row, list[Row]]:
        """(where it is, what it is, its streams). Raises LookupError, also for a snapshot that is not complete."""
        with self.db.transaction() as tx:
            limit(tx, PATIENCE)
            place = find_jar(tx, name)
            rows = tx.psycopg.cursor(row_factory=dict_row)
            about = rows.execute(
                "SELECT name, kind, description, owner, tags, created_at, updated_at FROM hive.jar WHERE id = %s",
                [place.id],
            ).fetchone()
            streams = rows.execute(statements()["dash_jar_streams"], {"jar": place.id}).fetchall()
        if about is None or not place.visible:
            raise LookupError(f"the jar {name!r} is a snapshot that is not complete yet")
        return place, about, streams

    def records(self, place: FoundJar, stream: Row, after: bytes | None, most: int = 25) -> list[Row]:
        where = {"part": place.part, "jar": place.id, "bee": stream["bee_id"], "stream": stream["id"]}
        return self.ask("dash_records", **where, after=after, most=most)

    def count(self, place: FoundJar, stream: Row) -> int:
        """Raises QueryCanceled where counting takes more than a moment."""
        where = {"part": place.part, "jar": place.id, "bee": stream["bee_id"], "stream": stream["id"]}
        found: int = self.ask("dash_jar_records", patience=0.5, **where)[0]["records"]
        return found


_LEFT_OUT: Row = {
    "id": 0, "profile": None, "rules": 0,
    **dict.fromkeys(("complete", "failed", "cancelled", "records_read", "bytes_read"), 0),
}  # fmt: skip


def limit(tx: Transaction, patience: float) -> None:
    tx.psycopg.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(patience * 1000)}ms"])


def by_hour(rows: Any) -> list[tuple[str, int, list[int]]]:
    """(name, hours ago, number) -> (name, sum, number of each hour, oldest first), the largest first."""
    found: dict[str, list[int]] = {}
    for name, ago, number in rows:
        if 0 <= ago < HOURS:
            found.setdefault(name, [0] * HOURS)[HOURS - 1 - ago] += int(number or 0)
    return sorted(((name, sum(hours), hours) for name, hours in found.items()), key=lambda one: (-one[1], one[0]))


def changed(new: Row, old: Row) -> Row:
    """What a version of a schema has that the one before it had not, by name of column."""
    before, after = dict(old["columns"]), dict(new["columns"])
    return {
        "at": new["created_at"],
        "version": new["version"],
        "added": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "other": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
    }
