"""Following a table through the server's own log of changes: first the rows that are there, then every change.

The slot is made first; it tells every change from its place in the log on. Then the table is read by key, in as many
legs as it takes, and then come the changes from that place on. What changed while the table was read comes twice, the
second time in the order of commits, so each record ends as the source has it. Nothing is compared and no lock taken.
Changes that do not tell the key that the table has now (another index identified its rows then, or the key had another
type) let the table be read anew, and followed from behind them.

A cursor is, while the table is read,   {"slot", "lsn", "table", "place": {...}}
and then                                {"slot", "lsn", "table", "final", "read", "at"}

    lsn     in the log, `16/B374D848`: everything before it is with the hive, and the server may forget it
    table   the table's own number: another table of its name has other rows, of which the log says nothing
    parts   its partitions' numbers with those of their files; none of a table without
    published  what is another one once the publication was changed: what happens in between is not sent
    final   the transaction in whose middle a batch ended (its commit's place), and `read` how many changes of it were
            sealed; both 0 between transactions. The server sends such a transaction again, from its beginning
    at      when the last transaction was committed, in microseconds since 1970
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psycopg

from bees.core.errors import GiveUp
from bees.core.sql.postgres import catalog, decoded, slots
from bees.core.sql.postgres.decoded import Row, UntoldError
from bees.core.sql.postgres.feed import Feed, lsn_number, lsn_text
from bees.core.sql.postgres.pgoutput import UNCHANGED, Begin, Commit, Delete, Insert, Relation, Truncate, Update
from nectar.batch import Batch, Cursor

if TYPE_CHECKING:
    from bees.core.sql.postgres.pgoutput import Message, RelationColumn, Values
    from bees.core.sql.postgres.select import Reading

_TYPES = """
SELECT a.attname::text, a.atttypid FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = %s::bigint::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
"""
_TICK = 0.05
_LINGER = 0.2
"""Seconds for which changes are gathered before they are handed on."""
_HURRY = 3
"""Empty batches right behind one with rows: the hive joins batches until the next one comes."""
_IDLE = 5.0
"""Seconds after which an empty batch says how far the log was read without a change of this table."""

Asking = Callable[[], AbstractContextManager[psycopg.Connection]]


@dataclass(frozen=True)
class Stand:
    """Where following stands; the cursor without the slot's name."""

    lsn: int
    final: int = 0
    read: int = 0
    at: int = 0

    def cursor(self, slot: str) -> Cursor:
        told = {"slot": slot, "lsn": lsn_text(self.lsn), "final": lsn_text(self.final), "read": self.read}
        return told | {"at": self.at}


def stand_of(cursor: Cursor) -> Stand:
    return Stand(
        lsn_number(str(cursor["lsn"])),
        lsn_number(str(cursor.get("final") or "0/0")),
        int(cursor.get("read") or 0),
        int(cursor.get("at") or 0),
    )


@dataclass
class Follower:
    """Reads one stream's changes from one slot. `reading` is as the catalog has it now.

    What was committed before `stand` is passed over. Raises UntoldError where only another reading of the table helps.
    """

    stream: str
    slot: str
    asking: Asking
    reading: Reading
    table: tuple[str, str]
    batch_rows: int
    batch_bytes: int
    wait: float
    feed: Feed
    stand: Stand
    settle: Callable[[], Reading]
    """The reading as the catalog has it by now."""
    number: int | None = None
    """The table's own number: it keeps it under another name, and others that had its name have another one."""
    _oid: int = 0
    _shape: tuple[RelationColumn, ...] | None = None
    _places: tuple[int | None, ...] = ()
    _gone: str | None = None
    """A column of the key by now that the table had not then."""
    _tells_key: bool = True
    """Updates and deletes say which row they are of; `_tells_new`: inserts do."""
    _tells_new: bool = True
    _past: bool = False
    """The transaction was committed before `stand`: all of it was seen when the table was read."""
    _rows: list[Row] = field(default_factory=list)
    _bytes: int = 0
    _final: int = 0
    _count: int = 0
    _at: int = 0
    _skip: int = 0
    _since: float = 0.0

    def batches(self) -> Iterator[Batch]:
        """Changes until the log's end as it was at the beginning; then for `wait` seconds more after each change."""
        with self.asking() as connection:
            until = slots.position(connection)
        moved = told = time.monotonic()
        asked, empties = 0.0, 0
        self._skip, begun = self.stand.read, self.stand.cursor(self.slot)
        while True:
            message = self.feed.next(_TICK)
            now = time.monotonic()
            if message is not None:
                if isinstance(message, Relation) and self._is_mine(message):
                    if self._rows:
                        yield from self._flush()
                    self._learn(message)
                elif self._take(message):
                    moved = now
            full = len(self._rows) >= self.batch_rows or self._bytes >= self.batch_bytes
            if self._rows and (full or (message is None and now - self._since >= _LINGER) or now - self._since > 1):
                yield from self._flush()
                told, empties = time.monotonic(), _HURRY
                continue
            if message is not None:
                continue
            if self._heard() >= until and not self._rows and now - moved >= self.wait:
                break
            if self.wait and now - told >= (_LINGER if empties else _IDLE):
                yield self._nothing()
                told, empties = now, max(0, empties - 1)
            elif now - asked > (_TICK if self.stand.lsn < until else 1):
                self.feed.ask()
                asked = now
        if self._nothing().cursor != begun:
            yield self._nothing()

    def _heard(self) -> int:
        """Up to where the log was read; a sign of life between transactions moves it."""
        if not self._final and not self._rows:
            heard = max(self.stand.lsn, self.feed.heard)
            over = heard >= self.stand.final
            self.stand = replace(self.stand, lsn=heard, **({"final": 0, "read": 0} if over else {}))
        return self.stand.lsn

    def _nothing(self) -> Batch:
        self._heard()
        return Batch(self.stream, decoded.empty(self.reading), self.stand.cursor(self.slot))

    def _flush(self) -> Iterator[Batch]:
        rows, self._rows, self._bytes = self._rows, [], 0
        with self.asking() as connection:
            cut = list(decoded.tables(connection, self.reading, rows))
        for table, last in cut:
            yield Batch(self.stream, table, Stand(*last.mark).cursor(self.slot))
        self.stand = Stand(*rows[-1].mark) if self._final else self.stand

    def _take(self, message: Message) -> bool:
        """Take one message in; whether it changes this table."""
        if isinstance(message, Begin):
            self._final, self._count, self._at = message.final, 0, message.at
            self._past = message.final < self.stand.lsn
            if message.final != self.stand.final:
                self._skip = 0
        elif isinstance(message, Commit):
            self.stand = Stand(max(message.end, self.stand.lsn), at=message.at)
            self._final, self._skip = 0, 0
            if self._rows:
                # Behind its last change a transaction is over.
                self._rows[-1] = replace(self._rows[-1], mark=(message.end, 0, 0, message.at))
        elif self._past or isinstance(message, Relation):
            return False
        elif isinstance(message, Truncate):
            if self._oid in message.relations:
                self._add("truncate", (None,) * len(self.reading.columns))
                return True
        elif message.relation == self._oid:
            self._be_told(message)
            self._change(message)
            return True
        return False

    def _change(self, message: Insert | Update | Delete) -> None:
        if isinstance(message, Delete):
            self._add("delete", self._key_alone(self._chosen(message.old)))
            return
        new = self._chosen(message.new)
        if isinstance(message, Update) and message.old is not None:
            old = self._chosen(message.old)
            key = {n for n, c in enumerate(self.reading.columns) if c in self.reading.key}
            new = tuple(
                o if v is UNCHANGED and (message.whole or n in key) else v
                for n, (o, v) in enumerate(zip(old, new, strict=True))
            )
            if any(old[n] != new[n] for n in key):
                self._add("delete", self._key_alone(old))
        self._add("upsert", new)

    def _chosen(self, values: Values) -> Values:
        """The values of the columns that are read; one that the table did not have then is read as it is by now.

        So is one that had another type: its text may be a text of the new one, too, and mean something else.
        """
        return tuple(UNCHANGED if place is None else values[place] for place in self._places)

    def _key_alone(self, values: Values) -> Values:
        return tuple(v if c in self.reading.key else None for c, v in zip(self.reading.columns, values, strict=True))

    def _add(self, op: str, values: Values) -> None:
        self._count += 1
        if self._count <= self._skip:
            return
        if not self._rows:
            self._since = time.monotonic()
        self._rows.append(Row(op, values, (self.stand.lsn, self._final, self._count, self._at)))
        self._bytes += sum(len(v) for v in values if isinstance(v, bytes))

    def _is_mine(self, message: Relation) -> bool:
        if self.number is None:
            return (message.schema, message.name) == self.table
        return message.oid == self.number

    def _learn(self, message: Relation) -> None:
        """The table looks like this from here on, and perhaps did not before: the catalog is asked what is read now."""
        if self._shape is not None and self._shape != message.columns:
            self.reading = self.settle()
        self._oid, self._shape = message.oid, message.columns
        with self.asking() as connection:
            now: dict[str, int] = dict(connection.execute(_TYPES.encode(), (message.oid,)).fetchall())
        there = {
            c.name: place
            for place, c in enumerate(message.columns)
            if decoded.reads_alike(c.type_oid, now.get(c.name, c.type_oid))
        }
        self._places = tuple(there.get(c.name) for c in self.reading.columns)
        logged = {c.name: c for c in message.columns}
        key = [c.name for c in self.reading.key]
        self._gone = next((name for name in key if name not in logged), None)
        # Even an update without a former key may have changed ours, where another one identified rows.
        self._tells_key = all(name in there and (message.identity == "f" or logged[name].identity) for name in key)
        self._tells_new = all(name in there for name in key)

    def _be_told(self, change: Insert | Update | Delete) -> None:
        """Raises UntoldError or GiveUp where the change does not say which row of the table as it is now it is of."""
        if self._gone is not None:
            raise GiveUp(
                f"the table {self.table[1]!r} had no column {self._gone!r} when these changes were made",
                code="no_column",
                where=f"streams.{self.stream}.key",
                advice="fly the bee with --full-refresh: the changes before that cannot be told apart",
            )
        if not (self._tells_new if isinstance(change, Insert) else self._tells_key):
            raise UntoldError


def table_of(relation: catalog.Relation) -> tuple[str, str]:
    """(schema, name) of a table's relation."""
    parts: Any = relation.origin
    schema, name = parts._obj  # noqa: SLF001 - psycopg's Identifier tells its parts in no other way
    return schema, name
