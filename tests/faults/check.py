"""The checker: SQL over the ledger and the sources' log decides what is wrong, and a search decides what leaked."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from tests.faults.dresses import Search
from tests.faults.fleet import EVERY, Fleet
from tests.faults.source import CARDS, PERSON

KINDS = ("lost", "dup", "ghost", "corrupt", "gap", "stuck", "leak", "slots")
SETTLED = ("lost", "stuck", "slots")
"""What must be 0 before the rest is worth asking."""


def statements() -> dict[str, LiteralString]:
    parts = re.split(r"^-- (\w+) --$", Path(__file__).with_name("check.sql").read_text(), flags=re.MULTILINE)
    return cast("dict[str, LiteralString]", dict(zip(parts[1::2], parts[2::2], strict=True)))


class Checker:
    """Asks one fleet. What it counts is since the fleet's start, so that one run's harm cannot hide in the next."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._sql = statements()
        self._known = 0
        self._searched: dict[Path, tuple[int, bytes, bool]] = {}
        with self._connect() as connection:
            connection.execute(self._sql["prepare"])

    def count(self, name: str, **values: Any) -> float:
        """What one statement of `check.sql` gives."""
        with self._connect() as connection:
            self._bring_log(connection)
            row = connection.execute(self._sql[name], values or None).fetchone()
        assert row is not None
        return float(row[0] or 0)

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """What one statement gives, for a person."""
        with self._connect() as connection:
            return connection.execute(self._sql[name]).fetchall()

    def drained(self, since: float, before: float) -> bool:
        """Whether all of a time has landed, and nothing of it is open."""
        try:
            return all(self.count(kind, **self._values(kind, since, before)) == 0 for kind in SETTLED)
        except psycopg.OperationalError:  # the server is on its way back
            return False

    def verdict(self, since: float, before: float) -> dict[str, int]:
        """Kind -> count, of what was there before one instant; slots are those since another one."""
        values = {kind: self._values(kind, since, before) for kind in KINDS if kind in self._sql}
        found = {kind: int(self.count(kind, **given)) for kind, given in values.items()}
        found["leak"] = len(self.leaks())
        return {kind: found[kind] for kind in KINDS}

    def first_landing(self, at: float) -> float | None:
        found = self.count("first_landing", at=at)
        return found or None

    def leaks(self) -> list[str]:
        """Places where a value or a password of a source was found, plain or in another dress."""
        search = Search([PERSON, CARDS, *self._fleet.secrets()])
        return [*search.places(self._told()), *self._files(search), *search.places(self._tables())]

    def _values(self, kind: str, since: float, before: float) -> dict[str, Any]:
        given: dict[str, dict[str, Any]] = {
            "slots": {"since": since, "until": before, "every": EVERY, "undue": json.dumps(self._fleet.undue)},
            "stuck": {"before": dt.datetime.fromtimestamp(before, dt.UTC), "flown": list(self._fleet.flown)},
            "lost": {"flown": list(self._fleet.flown)},
        }
        return given.get(kind, {})

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._fleet.database, autocommit=True, connect_timeout=5)

    def _bring_log(self, connection: psycopg.Connection[Any]) -> None:
        log = self._fleet.sources.log
        upto = len(log)
        if upto == self._known:
            return
        with connection.cursor() as cursor, cursor.copy("COPY faults.offered FROM STDIN") as copy:
            for offer in log[self._known : upto]:
                copy.write_row((offer.stream, offer.id, offer.v, offer.mark, offer.at))
        self._known = upto

    def _told(self) -> Iterator[tuple[str, bytes]]:
        """What the gateway tells anybody and who has logged in, what views told, and all that the broker holds."""
        for path in ("healthz", "status", "metrics"):
            yield f"gateway /{path}", self._fleet.ask_gateway(path)[1]
        for path, text in self._fleet.pages().items():
            yield f"page /{path}", text
        yield from self._fleet.told.items()
        with self._fleet.redis() as client:
            for key in client.scan_iter(count=1000):
                yield f"redis {key!r}", b"\n".join([key, *_pieces(_value(client, key))])

    def _files(self, search: Search) -> Iterator[str]:
        """Logs, all that the broker ever wrote down, and the hive's own folder. Of one that grew, what is new."""
        kept = [path for path in (self._fleet.home / "data").rglob("*") if path.is_file()]
        for path in [*self._fleet.log_files(), *self._fleet.valkey.data_path.rglob("*.aof"), *kept]:
            upto, end, leaked = self._searched.get(path, (0, b"", False))
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # the broker writes its own anew
                file.seek(upto - len(end))
                if file.read(len(end)) != end:  # another one of this name
                    upto, end, leaked = file.seek(0), b"", False
                text = end + file.read()
                leaked = leaked or text in search
                self._searched[path] = (upto - len(end) + len(text), text[-search.longest :], leaked)
            if leaked:
                yield str(path.relative_to(self._fleet.home))

    def _tables(self) -> Iterator[tuple[str, bytes]]:
        """All tables of the ledger, jars included: bytes as they are, and as text what else they would not show."""
        with self._connect() as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'hive'::regnamespace AND relkind IN ('r', 'p')"
                " AND NOT relispartition ORDER BY 1"
            ).fetchall()
            for (name,), form in product(tables, ("binary", "text")):
                copying = sql.SQL("COPY (SELECT * FROM hive.{}) TO STDOUT (FORMAT {})")
                with connection.cursor().copy(copying.format(sql.Identifier(name), sql.SQL(form))) as copy:
                    yield f"table {name}", b"".join(copy)


def _value(client: Any, key: bytes) -> Any:
    readers = {
        b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
        b"list": lambda k: client.lrange(k, 0, -1), b"zset": lambda k: client.zrange(k, 0, -1),
    }  # fmt: skip
    kind = client.type(key)
    return readers[kind](key) if kind in readers else b""


def _pieces(value: Any) -> list[bytes]:
    """The bytes of what a client gives, one after the other."""
    if isinstance(value, bytes):
        return [value]
    inside = (*value, *value.values()) if isinstance(value, dict) else value
    return [piece for one in inside for piece in _pieces(one)] if isinstance(inside, list | tuple | set) else []
