"""One table that is followed: the rows that are there, then the changes behind them, out of the binlog.

The log's stand is taken first, then the rows are read by key, then every change since that stand: a change that the
rows had in them already comes again and does no harm, none is lost. A cursor is

    log     the stand behind the last transaction that was read whole
    skip    changes of this table that were read of the transaction behind it: so a large one may be cut
    place   where the reading of the rows stands, as long as they are not all read
    seen    and how far the server had come that told `log`: a replica whose rows are read must have come as far
    shape   the table's columns by then, so that changes of an older shape are read as they were made

or {"anew": true}: the rows are to be read anew, from wherever the log stands then.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
import structlog

from bees.core.errors import GiveUp
from bees.core.sql.leg import Leg
from bees.core.sql.mysql import binlog, dump, progress
from bees.core.sql.mysql.cascades import Cascades, origins
from bees.core.sql.mysql.catalog import SourceColumn, logged_columns, of_log
from bees.core.sql.mysql.forms import Form
from bees.core.sql.mysql.logged import Column, Undecoded, Unreadable, images, readers
from bees.core.sql.mysql.reading import begin, read, table_of
from bees.core.sql.mysql.statements import Statement
from bees.core.sql.names import replaced
from bees.core.sql.progress import await_progress
from nectar.batch import Batch, Cursor, Reject

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bees.core.sql.mysql.logged import Read
    from bees.core.sql.mysql.select import Reading
    from bees.core.sql.mysql.session import Questions, Server, Stream

log = structlog.get_logger()
Change = tuple[bytes, list[bytes | None]]
"""What was done to a row (`_op`), and the row's values."""
_OP = SourceColumn("_op", Form("varchar", "text", "text"), "varchar")
_WORD = re.compile(r"\s*(?:/\*.*?\*/\s*|(?:--|#)[^\n]*\n\s*)*([A-Za-z]+)", re.DOTALL)
_SILENCE = 5.0
"""Seconds of reading others' changes after which the place is told, so that it is not lost and the caller may stop."""
_HURRY = 3
"""Empty batches right behind changes: the hive joins batches until the next one comes."""


@dataclass
class Following:
    """`settle` gives the reading as the catalog has it by now; `opened` holds the data sessions that are open."""

    stream: str
    columns: tuple[str, ...]
    position: str
    wait: float
    batch_rows: int
    batch_bytes: int
    server: Server
    asking: Callable[[], AbstractContextManager[Questions]]
    settle: Callable[[], Reading]
    opened: list[Stream]
    _dump: dump.Dump | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        return f"streams.{self.stream}"

    def learn(self, place: tuple[str, str]) -> list[Column]:
        with self.asking() as questions:
            return logged_columns(questions, place)

    def batches(self, cursor: Cursor | None) -> Iterator[Batch]:
        """What comes behind `cursor`: the rest of the rows that were there, then changes.

        Where the log says that rows changed and not which, the rows are read anew, as they are by then.
        """
        reading = self.settle()
        told: dict[str, Any] = dict(cursor or {})
        for _ in range(2):  # who must read anew a second time does so in the next flight
            if "log" not in told:
                told = self._start(reading)
            if "place" in told:
                yield from self._rows(reading, told)
            changes = self._changes(reading, told)
            try:
                yield from changes.batches(self._dumped(changes.stand))
            finally:
                self.close()
            if not changes.anew:
                return
            log.warning("read_anew", stream=self.stream, because=changes.anew)
            reading, told = self.settle(), {}

    def _changes(self, reading: Reading, told: dict[str, Any]) -> Changes:
        columns = [Column(*column) for column in told["shape"]]
        with self.asking() as questions:
            folds = str(questions.rows("SELECT @@lower_case_table_names")[0][0]) != "0"
            cascades = Cascades(origins(questions, self._place(reading), self.where))
        stand = dump.Stand.of(told["log"])
        return Changes(self, reading, stand, int(told.get("skip") or 0), columns, cascades, folds=folds)

    def _dumped(self, stand: dump.Stand) -> dump.Dump:
        self._dump = dump.Dump(self.server, stand, self.where, waits=self.wait > 0)
        return self._dump

    def _place(self, reading: Reading) -> tuple[str, str]:
        if reading.relation.place is None or reading.relation.view:
            raise GiveUp(
                "only the changes of a table are told by the binlog", code="not_a_table", where=self.where,
                advice="name a table, or give the stream a `cursor`",
            )  # fmt: skip
        if reading.relation.versioned:
            raise GiveUp(
                "the binlog tells a system-versioned table's history as if it were rows of today",
                code="system_versioned", where=self.where, advice="read the table by a `cursor` or a `query`",
            )  # fmt: skip
        return reading.relation.place

    def check(self, questions: Questions, reading: Reading) -> None:
        """Raises GiveUp for what stands in the way of following the table."""
        place = self._place(reading)
        origins(questions, place, self.where)
        stand = dump.now(questions, self.position, self.where, place[0])
        asked = dump.Dump(self.server, stand, self.where, waits=False)
        try:
            next(asked.events(), None)
        finally:
            asked.close()

    def _start(self, reading: Reading) -> dict[str, Any]:
        """Where the log stands, and the columns that the table has there."""
        place = self._place(reading)
        while True:
            before = self.learn(place)
            with self.asking() as questions:
                stand = dump.now(questions, self.position, self.where, place[0])
                seen = progress.told(questions.rows(progress.ASKED))
            if self.learn(place) == before:
                return {"log": stand.told(), "place": {}, "shape": shape_of(before), "seen": seen}

    def _rows(self, reading: Reading, told: dict[str, Any]) -> Iterator[Batch]:
        """The rows that are there, by key, with the cursor that goes on behind each batch."""
        with self.asking() as questions:
            begun = begin(questions, self.stream, reading, told["place"] or None)
        after = {name: value for name, value in told.items() if name not in ("place", "seen")}
        begins = not begun.after and begun.phase == reading.first_place().phase  # a place of another order is void
        with self.server.stream(self.batch_bytes, self.batch_rows) as data:
            self.opened.append(data)
            try:
                if seen := told.get("seen"):
                    # Rows of a replica that is behind the log would be without changes that nobody tells.
                    await_progress(partial(progress.compared, data, seen, self.where), self.where)
                for batch in read(Leg(self.stream, reading), data, begun):
                    done = bool(batch.cursor.get("done"))
                    mark = after if done else {**told, "place": dict(batch.cursor)}
                    # Read anew, the table tells what is gone; what changes meanwhile comes behind and is newer.
                    yield replace(batch, cursor=mark, begins=begins)
                    begins = False
            finally:
                self.opened.remove(data)

    def close(self) -> None:
        """End the session that is sent the log."""
        asked, self._dump = self._dump, None
        if asked is not None:
            asked.close()


def shape_of(columns: Sequence[Column]) -> list[list[Any]]:
    return [[c.name, c.word, c.type_name, c.charset, c.document] for c in columns]


class Changes:
    """Turns events into batches. `skip` changes of the first transaction are in the hive already."""

    def __init__(
        self,
        following: Following,
        reading: Reading,
        stand: dump.Stand,
        skip: int,
        columns: list[Column],
        cascades: Cascades,
        *,
        folds: bool,
    ) -> None:
        self._of, self.stand, self._skip = following, stand, skip
        self._cascades, self._folds = cascades, folds
        self.anew = ""
        """Why the rows must be read anew; empty: they need not be."""
        assert reading.relation.place is not None
        self._table = reading.relation.place
        self._tables: dict[int, tuple[binlog.Table, list[Read]]] = {}
        self._map = b""
        """The last map of a table: the next one is mostly the same."""
        self._file = stand.file
        self._end_file, self._end = stand.file, stand.at
        """Where the last transaction ended."""
        self._gtid: tuple[Any, ...] | None = None
        self._ends: list[tuple[Any, ...]] = []
        """Transactions that ended since the stand."""
        self._open = False
        self._reached = False
        """A foreign key's rule may have changed rows of the table in the transaction that is being read."""
        self._seen = 0
        """Changes of the table in the transaction that is being read."""
        self._rows: list[Change] = []
        self._bytes = 0
        self._full = False
        """What is gathered must be handed out before anything else."""
        self._shaped(reading, columns)

    def _shaped(self, reading: Reading, columns: list[Column]) -> None:
        """From here on rows have these columns."""
        self._columns = columns
        names = [c.name for c in columns]
        key = [c.name for c in reading.key]
        chosen = [*dict.fromkeys([*(self._of.columns or names), *key])]
        if missing := [name for name in chosen if name not in names]:
            self._none_of(missing[0])
        self._key = [names.index(name) for name in key]
        self._picked = [names.index(name) for name in chosen]
        self._map = b""
        self._told = (*(of_log(columns[place]) for place in self._picked), _OP)
        self._tables.clear()

    def _none_of(self, name: str) -> NoReturn:
        raise self._cannot(
            f"the table had no column {name!r} when the change was made",
            "schema_changed",
            "fly this bee with --full-refresh",
        )

    def batches(self, source: dump.Dump) -> Iterator[Batch]:
        quiet = flushed = time.monotonic()
        empties = 0
        for event in source.events():
            now = time.monotonic()
            if event is None:
                if self._rows or empties or now - flushed >= _SILENCE:
                    empties = _HURRY if self._rows else max(0, empties - 1)
                    yield self._batch()
                    flushed = now
                if now - quiet >= self._of.wait:
                    return
                continue
            for _ in self._taken(event):
                if self._full or len(self._rows) >= self._of.batch_rows or self._bytes >= self._of.batch_bytes:
                    yield self._batch()
                    flushed = quiet = now
                    empties = _HURRY
            if self.anew:
                break
            if self._rows:
                quiet, empties = now, _HURRY
            if now - flushed >= (dump.TICK if self._rows and self._of.wait else _SILENCE):
                yield self._batch()
                flushed = now
        yield self._batch()

    def _batch(self) -> Batch:
        rows, self._rows, self._bytes, self._full = self._rows, [], 0, False
        self.stand, self._ends = self.stand.behind(self._ends, self._end_file, self._end), []
        rows, undecoded = self._decoded(rows)
        raw = [pa.array([row[place] for _, row in rows], pa.binary()) for place in self._picked]
        raw.append(pa.array([op for op, _ in rows], pa.binary()))
        table, rejects = table_of(self._told, raw, self._of.where)
        table = table.rename_columns([*table.column_names[:-1], _OP.name])  # the only one that is ours
        cursor: dict[str, Any] = {"log": self.stand.told(), "shape": shape_of(self._columns)}
        if self.anew:
            cursor = {"anew": True}
        elif self._seen:
            cursor["skip"] = self._seen
        return Batch(self._of.stream, table, cursor, rejects=(*undecoded, *rejects))

    def _decoded(self, rows: list[Change]) -> tuple[list[Change], list[Reject]]:
        """The changes that can be told, and the others for quarantine. Of a deleted row the key is enough."""
        kept: list[Change] = []
        rejects = []
        for number, (op, row) in enumerate(rows, 1):
            if Undecoded not in map(type, row):
                kept.append((op, row))
                continue
            needed = self._key if op == b"delete" else self._picked
            broken = next((place for place in needed if isinstance(row[place], Undecoded)), None)
            if broken is None:
                kept.append((op, [None if isinstance(value, Undecoded) else value for value in row]))
                continue
            name = self._columns[broken].name
            reason = f"the column {name!r} holds bytes that stand for nothing in its type or character set"
            position = f"change {number} of {len(rows)} in its batch"
            rejects.append(Reject(position, "unreadable_value", reason, self._line(row)))
        return kept, rejects

    def _line(self, row: list[bytes | None]) -> bytes:
        """The row as one line of JSON; bytes that are no text are written as hexadecimal escapes."""
        told = {}
        for place in self._picked:
            value = row[place]
            codec = "ascii" if isinstance(value, Undecoded) else "utf-8"
            told[self._columns[place].name] = None if value is None else value.decode(codec, "backslashreplace")
        return json.dumps(told, ensure_ascii=False).encode()

    def _taken(self, event: binlog.Event) -> Iterator[None]:
        """Read one event; tells after each of its rows that there is one more."""
        kind = event.kind
        if kind == binlog.ROTATE:
            self._file = binlog.rotated(event.body)[0]
        elif kind == binlog.MARIADB_GTID:
            domain, server, number, alone = binlog.mariadb_gtid(event.body, event.server)
            self._gtid, self._open = (domain, server, number), not alone
        elif kind == binlog.GTID:
            self._gtid, self._open = binlog.mysql_gtid(event.body), False
        elif kind == binlog.TAGGED and self.stand.flavour == "mysql":
            raise self._cannot("the server tags its GTIDs", "tagged_gtid", "set `cdc.position: file`")
        elif kind == binlog.TABLE_MAP:
            if event.body != self._map:
                self._mapped(binlog.table_of(event.body))
                self._map = event.body
        elif kind in binlog.ROWS:
            yield from self._changed(event)
            self._reached = self._reached or self._cascades.reach(event)
        elif kind == binlog.PARTIAL_UPDATE:
            if binlog.table_number(event.body) in self._tables:
                raise self._cannot("the binlog tells parts of JSON", "no_row_log", "set binlog_row_value_options = ''")
        elif kind == binlog.XA_PREPARE and (self._seen or self._reached):
            advice = "keep XA transactions away from this table"
            raise self._cannot("an XA transaction changed the table before it was sure", "xa_transaction", advice)
        elif kind == binlog.XID:
            self._ended(event)
        elif kind == binlog.INCIDENT:
            advice = "fly this bee with --full-refresh"
            raise self._cannot("the server says that its binlog lost changes", "log_incident", advice)
        elif kind == binlog.QUERY:
            yield from self._said(event)

    def _ended(self, event: binlog.Event) -> None:
        """A transaction is whole."""
        if self._skip > 0:
            raise self._cannot(
                "the log holds less than was read of it", "log_changed", "fly this bee with --full-refresh"
            )
        if self._gtid is not None:
            self._ends.append(self._gtid)
        if self._reached:
            self.anew = "a foreign key's rule changed rows of the table, and the log does not tell which"
        self._end_file, self._end = self._file, event.end or self._end
        self._gtid, self._open, self._seen, self._reached = None, False, 0, False

    def _mapped(self, table: binlog.Table) -> None:
        self._cascades.map(table)
        if (table.schema, table.name) != self._table:
            self._tables.pop(table.number, None)
            return
        known = self._tables.get(table.number)
        if known is not None and known[0] == table:
            return
        names = [c.name for c in self._columns]
        fits = len(table.types) == len(names) and table.names in ((), tuple(names))
        if not fits:
            raise self._cannot(
                "the table had other columns when the change was made",
                "schema_changed",
                "fly this bee with --full-refresh; binlog_row_metadata = FULL at the server tells the columns",
            )
        try:
            self._tables[table.number] = table, readers(table, self._columns)
        except Unreadable as error:
            raise self._cannot(
                str(error), "unreadable_column", "leave the table to a `cursor`, without `cdc`"
            ) from None

    def _changed(self, event: binlog.Event) -> Iterator[None]:
        known = self._tables.get(binlog.table_number(event.body))
        if known is None:
            return
        rows = binlog.rows_of(event)
        if not rows.whole:
            raise self._cannot("the binlog does not tell whole rows", "no_row_log", "set binlog_row_image = FULL")
        found = images(event.body, rows, known[1])
        if rows.twice:
            for before, after in zip(found[::2], found[1::2], strict=True):
                moved = [(b"delete", before)] if any(before[k] != after[k] for k in self._key) else []
                yield from self._add([*moved, (b"upsert", after)])
            return
        for row in found:
            yield from self._add([(b"delete" if rows.deleted else b"upsert", row)])

    def _add(self, changes: list[Change]) -> Iterator[None]:
        for change in changes:
            self._seen += 1
            if self._skip > 0:
                self._skip -= 1
                continue
            self._rows.append(change)
            self._bytes += sum(len(value) for value in change[1] if value is not None)
            yield

    def _said(self, event: binlog.Event) -> Iterator[None]:
        """A statement: the frame of a transaction, a change of a table's shape, or one that is not told by rows."""
        database, statement = binlog.query(event.body)
        found = _WORD.match(statement)
        word = found[1].upper() if found else ""
        if word == "BEGIN":
            self._open = True
            return
        if word in ("COMMIT", "ROLLBACK"):
            if "TO" not in statement.upper().split()[1:2]:  # ROLLBACK TO a savepoint goes on
                self._ended(event)
            return
        if word == "SAVEPOINT":
            return
        yield from self._done(Statement(database, statement, folds=self._folds))
        if not self._open:
            self._ended(event)

    def _done(self, statement: Statement) -> Iterator[None]:
        """What a statement did to the table, or to those whose changes reach it."""
        deed = statement.deed(self._table)
        if deed == "emptied":
            yield from self._add([(b"truncate", [None] * len(self._columns))])
        elif deed == "replaced":
            self._of.settle()  # it may be gone altogether
            raise replaced(self._of.stream, self._of.where)
        elif deed == "unlogged":
            raise self._cannot(
                "a statement changed the table without its rows", "no_row_log", "set binlog_format = ROW"
            )
        elif deed == "rewritten":
            self.anew = "a statement changed its rows or its foreign keys, and the log does not tell which"
        elif deed == "reshaped":
            yield from self._reshaped()
        if any(statement.deed(place) in ("replaced", "rewritten", "unlogged") for place in self._cascades.places):
            self.anew = "a table to which it has a foreign key was changed, and the log does not tell its rows"

    def _reshaped(self) -> Iterator[None]:
        """Hand out what was read of the old shape, then look at the catalog anew."""
        reading = self._of.settle()
        columns = self._of.learn(self._table)
        if columns == self._columns:
            return
        if self._rows:
            self._full = True
            yield
        log.info("table_changed_its_shape", stream=self._of.stream)
        self._shaped(reading, columns)

    def _cannot(self, message: str, code: str, advice: str) -> GiveUp:
        return GiveUp(message, code=code, where=self._of.where, advice=advice)
