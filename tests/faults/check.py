"""The checker: SQL over the ledger and the sources' log decides what is wrong, and a search decides what leaked."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString, cast
from urllib.parse import quote

import psycopg
from psycopg import sql

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
        return all(self.count(kind, **self._values(kind, since, before)) == 0 for kind in SETTLED)

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
        words = [PERSON, CARDS, *self._fleet.secrets()]
        pattern = "|".join(sorted({re.escape(dress) for word in words for dress in dresses(word)}))
        wanted = re.compile(pattern.encode())
        found = [place for place, text in self._texts() if wanted.search(text)]
        return found + self._tables(pattern)

    def _values(self, kind: str, since: float, before: float) -> dict[str, Any]:
        given: dict[str, dict[str, Any]] = {
            "slots": {"since": since, "until": before, "every": EVERY, "undue": json.dumps(self._fleet.undue)},
            "stuck": {"before": dt.datetime.fromtimestamp(before, dt.UTC)},
            "dup": {"repeated": self._fleet.sources.api.repeated},
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

    def _texts(self) -> Iterator[tuple[str, bytes]]:
        """Logs, what the gateway tells, all that the broker holds, and all that it ever wrote down."""
        for path in self._fleet.log_files():
            yield path.name, path.read_bytes()
        for path in ("healthz", "status", "metrics"):
            yield f"gateway /{path}", self._fleet.ask_gateway(path)[1]
        yield from self._fleet.told.items()
        for path in self._fleet.valkey.data_path.rglob("*.aof"):
            yield f"redis {path.name}", path.read_bytes()
        with self._fleet.redis() as client:
            for key in client.scan_iter(count=1000):
                yield f"redis {key!r}", key + repr(_value(client, key)).encode()

    def _tables(self, pattern: str) -> list[str]:
        """Tables of the ledger with a row that matches, jars included; what is binary shows there as hexadecimal."""
        with self._connect() as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'hive'::regnamespace AND relkind IN ('r', 'p')"
                " AND NOT relispartition ORDER BY 1"
            ).fetchall()
            return [
                f"table {name}"
                for (name,) in tables
                if connection.execute(
                    sql.SQL("SELECT EXISTS (SELECT FROM hive.{0} WHERE {0}::text ~ %s)").format(sql.Identifier(name)),
                    [pattern],
                ).fetchone()
                != (False,)
            ]


def _value(client: Any, key: bytes) -> Any:
    readers = {
        b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
        b"list": lambda k: client.lrange(k, 0, -1), b"zset": lambda k: client.zrange(k, 0, -1),
    }  # fmt: skip
    kind = client.type(key)
    return readers[kind](key) if kind in readers else b""


def dresses(word: str) -> set[str]:
    """A text as it is and in capitals, digits in groups; in base64 wherever it may begin in it (for URLs, too), URL
    encoded and hexadecimal."""
    raw = word.encode()
    found = {word, word.upper(), quote(word, safe=""), raw.hex(), raw.hex().upper()}
    found |= {"".join(f"%{byte:{case}}" for byte in raw) for case in ("02x", "02X")}
    if word.isdigit():
        groups = [word[at : at + 4] for at in range(0, len(word), 4)]
        found |= {" ".join(groups), "-".join(groups), quote(" ".join(groups)), "+".join(groups)}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode()
        part = text[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        found |= {part, part.replace("+", "-").replace("/", "_")}
    return found
