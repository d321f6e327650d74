"""Rows of MySQL and MariaDB tables, views and queries (MySQL 8, MariaDB 10.4 and later): exact, in order, resumable.

A stream without `cursor` is read whole in each flight, by key. A stream with one is read from the greatest cursor
value seen so far, less the look-back: rows commit late, and the repeat costs nothing, because the hive recognises
unchanged rows by their hash. Rows whose cursor is null are read first in each flight, so they are not lost either, and
before them rows with a null in their key, which the hive sets aside.
Values in the source's future (such as 9999-12-31) come in each flight and never move the mark. Sessions are in UTC; a
cursor of the type datetime should hold UTC; where local clocks are set back, give a `lookback` of more than that hour.
A row in whose text are bytes that are no text goes to quarantine; the others of its batch come.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import structlog
from pydantic import Field, SecretStr, field_validator, model_validator

from bees.core.bee import BeeOptions, BeeType, Name, WorkerBee
from bees.core.errors import GiveUp
from bees.core.offered import offered
from bees.core.pool import SourceKey, shared
from bees.core.sql.errors import SecurityViolation
from bees.core.sql.leg import Leg
from bees.core.sql.mysql import catalog, select
from bees.core.sql.mysql.follow import Following
from bees.core.sql.mysql.order import sorts, table
from bees.core.sql.mysql.parts import Table
from bees.core.sql.mysql.progress import compared
from bees.core.sql.mysql.reading import begin, opening, read
from bees.core.sql.mysql.rights import rights, too_much
from bees.core.sql.mysql.session import Server, Stream
from bees.core.sql.mysql.settle import settle
from bees.core.sql.mysql.verdict import judged
from bees.core.sql.names import unknown
from bees.core.sql.options import ServerOptions, StreamOptions
from bees.core.sql.parameters import bound
from bees.core.sql.parts import after_parts, begins_in_parts, part_of, parts_of
from bees.core.sql.place import Place
from bees.core.sql.progress import await_progress
from bees.core.sql.rows.keys import chosen_filters
from bees.core.sql.settle import up_to_date
from nectar import pollen
from nectar.batch import Batch, Cursor
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from bees.core.sql.mysql.session import Questions

_PROVEN = 600.0
"""Seconds after which a user's grants are looked at again."""
_SETTLED = 5.0
"""Seconds for which the catalog's word on a stream is taken: from a flight's plan to its first leg."""
log = structlog.get_logger()


class CdcOptions(BeeOptions):
    """How changes are followed."""

    position: Literal["auto", "gtid", "file"] = Field(
        "auto",
        description="what a place in the binlog is: a GTID set, which outlives a failover, or a file and a number",
    )
    wait: float = Field(
        0,
        ge=0,
        le=86_400,
        description="seconds to wait for more changes before a flight ends; 0: it ends at the log's end",
    )


class MySQLWorkerBee(WorkerBee):
    bee_type: ClassVar[BeeType] = "database"

    class Options(ServerOptions):
        host: Name = Field(description="server name, address, or file of its socket")
        port: int = Field(3306, ge=1, le=65535, description="server port")
        database: Name = Field(description="database of names without one")
        user: Name = Field(description="user that reads; it needs SELECT and nothing else")
        password: SecretStr = Field(SecretStr(""), description="the user's password")
        cdc: CdcOptions | None = Field(
            None,
            description="follow the changes of tables in the binlog: of every stream without `cursor` and `query`; "
            "`cdc: {}` does. `user` needs REPLICATION SLAVE and REPLICATION CLIENT",
        )

        @field_validator("host")
        @classmethod
        def _address(cls, value: str) -> str:
            socket = value.startswith("/")
            if any(c.isspace() if not socket else not c.isprintable() for c in value):
                raise ValueError("a host is a name or an address, without white space, or the file of a socket")
            return value

        @model_validator(mode="after")
        def _all_rows_or_none(self) -> Any:
            if self.cdc and (self.row_level_security or self.row_filters is not None):
                raise ValueError(
                    "the log tells of every row: `cdc` goes without `row_filters` and `row_level_security`"
                )
            return self

    options: Options

    def __init__(self, options: Any) -> None:
        _driver()
        super().__init__(options)
        self._readings: dict[str, tuple[float, select.Reading]] = {}
        self._open: list[Stream] = []
        self._followed: dict[str, Following] = {}
        self._proven_at: float | None = None
        self._moment: Stream | None = None
        self._joined: SourceKey | None = None
        self._leave: weakref.finalize[Any, Any] | None = None

    @property
    def server(self) -> Server:
        o = self.options
        return Server(
            host=o.host,
            port=o.port,
            database=o.database,
            user=o.user,
            password=o.password.get_secret_value(),
            ssl_mode=o.ssl_mode,
            ssl_root_cert=o.ssl_root_cert,
            ssl_cert=o.ssl_cert,
            ssl_key=o.ssl_key,
            ssl_key_password=o.ssl_key_password.get_secret_value(),
            connect_timeout=o.connect_timeout,
            statement_timeout=o.statement_timeout,
        )

    @contextmanager
    def _asking(self) -> Iterator[Questions]:
        """A session for questions, of a user that was found harmless lately."""
        self._join()
        with self.server.questions() as questions:
            if self._proven_at is None or time.monotonic() - self._proven_at > _PROVEN:
                self._prove(questions)
            yield questions

    def _join(self) -> None:
        """While this bee lives its process keeps connections for it."""
        key = self.server.key()
        if self._leave is None or self._joined != key:
            self._part()
            self._joined = key
            self._leave = weakref.finalize(self, shared().leave, shared().join(key))

    def _part(self) -> None:
        if self._leave is not None:
            self._leave()
            self._leave = None

    def _prove(self, questions: Questions) -> None:
        """Raises GiveUp for a user that can do more than read, unless that was accepted."""
        o = self.options
        found = rights(questions)
        if found.beyond and not o.allow_writable_role:
            raise too_much(o.user, found)
        if found.beyond:
            log.warning("role_can_write", role=o.user, rights=found.told)
        self._proven_at = time.monotonic()

    def validate_flight_path(self) -> None:
        self._proven_at = None
        self._readings.clear()
        with self._asking() as questions:
            names = self._names(questions)
            if not names:
                raise GiveUp(
                    f"the database {self.options.database!r} has no table with a primary key that this user may read",
                    code="nothing_to_read",
                    where="database",
                    advice="check `database`, GRANT SELECT to `user`, or name what to read in `streams`",
                )
            for name in names:
                with judged(f"streams.{name}"):
                    reading = self._settled(questions, name)
                    for phase in reading.phases:
                        questions.described(select.rows_from(reading, Place(reading.by, phase), limit=0))
                    if self._follows(name):
                        self._following(name).check(questions, reading)

    def get_pollen_schema(self) -> Sequence[pollen.Stream]:
        with self._asking() as questions:
            return offered(self._names(questions), partial(self._offered, questions))

    def _offered(self, questions: Questions, name: str) -> pollen.Stream:
        chosen = self._chosen(name)
        with judged(f"streams.{name}"):
            reading = self._asked(questions, name, chosen, keyless=True)
        if reading.key:
            self._readings[name] = time.monotonic(), reading
        rows = reading.relation.rows
        return pollen.Stream(
            name=name,
            columns=tuple(
                pollen.Column(escape(c.name), c.form.told, c.nullable, c.comment, c.type_name) for c in reading.columns
            ),
            key=tuple(escape(c.name) for c in reading.key),
            replaces=reading.by_content,
            versions=self._follows(name) or chosen.cursor is not None,
            cursors=tuple(map(escape, reading.relation.cursors())),
            cursor=chosen.cursor and escape(chosen.cursor),
            comment=reading.relation.comment,
            labels={} if rows is None else {"estimated_rows": str(rows)},
        )

    def slices(self, stream: str, cursor: Cursor | None) -> Sequence[str]:
        """Ranges of the key of a large table that is read whole, or for the first time."""
        o = self.options
        if not begins_in_parts(o, stream, cursor) or self._follows(stream):
            return ()
        reading = self._settled_lately(stream)
        if reading is None:
            with self._asking() as questions, judged(f"streams.{stream}"):
                reading = self._settled(questions, stream)
        if reading.relation.view or reading.doubtful or (reading.relation.rows or 0) < o.slice_rows:
            return ()
        word = None
        if reading.cursor is not None:
            with self._asking() as questions, judged(f"streams.{stream}"):
                word = opening(questions, reading, None)
        with self.server.stream(o.batch_bytes, o.batch_rows) as data:
            return parts_of(reading, Table(data, stream, reading, word.cap if word else None), o.slices)

    def after_slices(self, stream: str, slices: Sequence[str]) -> Cursor | None:  # noqa: ARG002
        return after_parts(slices)

    def one_moment(self) -> AbstractContextManager[None] | None:
        """What the tables hold together when it is entered; only of engines that keep versions of rows."""
        return self._as_of_now() if self.options.consistent else None

    @contextmanager
    def _as_of_now(self) -> Iterator[None]:
        o = self.options
        with self._asking():
            pass  # whoever may not read is told so before anything is kept for him
        with self.server.stream(o.batch_bytes, o.batch_rows, moment=True) as moment:
            self._moment = moment
            try:
                yield
            finally:
                self._moment = None

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """Read from `cursor` on. `query` may hold `limit`, the most rows to read; such a reading is never complete."""
        limit = _limit(query)
        if limit is None and self._follows(stream):
            yield from self._following(stream).batches(cursor)
            return
        if slice is not None or (cursor and not cursor.get("done")):
            self._readings.pop(stream, None)  # in the middle of a reading only the catalog of now will do
        yield from up_to_date(self._readings, stream, lambda: self._leg(stream, cursor, slice, limit))

    def _leg(self, stream: str, cursor: Cursor | None, part: str | None, limit: int | None) -> Generator[Batch]:
        o = self.options
        with self._asking() as questions:
            if stream not in (names := self._names(questions)):
                raise unknown("stream", stream, names, "streams")
            with judged(f"streams.{stream}"):
                reading = self._settled(questions, stream)
                reading, span = part_of(part, reading, stream)
                place = begin(questions, stream, reading, cursor, span)
        with self.server.stream(o.batch_bytes, o.batch_rows, within=self._moment) as data:
            self._open.append(data)
            try:
                if span and span.seen:
                    where = f"streams.{stream}"
                    await_progress(partial(compared, data, span.seen, where), where)
                yield from read(Leg(stream, reading, limit, o.max_rows, span), data, place)
            finally:
                self._open.remove(data)

    def _follows(self, name: str) -> bool:
        chosen = self._chosen(name)
        return self.options.cdc is not None and not chosen.cursor and not chosen.query

    def _following(self, stream: str) -> Following:
        def settled() -> select.Reading:
            self._readings.pop(stream, None)
            with self._asking() as questions, judged(f"streams.{stream}"):
                if stream not in (names := self._names(questions)):
                    raise unknown("stream", stream, names, "streams")
                return self._settled(questions, stream)

        o = self.options
        assert o.cdc is not None
        if stream not in self._followed:
            self._followed[stream] = Following(
                stream,
                self._chosen(stream).columns,
                o.cdc.position,
                o.cdc.wait,
                o.batch_rows,
                o.batch_bytes,
                self.server,
                self._asking,
                settled,
                self._open,
            )
        return self._followed[stream]

    def dance_instructions(self) -> dict[str, Any]:
        return super().dance_instructions() | {"nectar_sources": sorted(self.options.streams)}

    def source_identity(self) -> str:
        return self.server.address

    def stream_identity(self, stream: str) -> str:
        """The table or query. Other filters show other rows: behind the mark may be some that were never read."""
        chosen = self._chosen(stream)
        read = (
            ["query", chosen.query, *map(str, chosen.parameters)] if chosen.query else ["table", chosen.table or stream]
        )
        held = [] if self.options.row_filters is None else [sorted(self.options.row_filters.items())]
        return json.dumps([*read, *held, *(["cdc"] if self._follows(stream) else [])])

    def close(self) -> None:
        for data in list(self._open):
            data.close()
        for following in self._followed.values():
            following.close()
        self._part()

    def _names(self, questions: Questions) -> list[str]:
        o = self.options
        tables = list(o.streams) or catalog.tables_with_key(questions, o.database)
        if o.streams or o.row_filters is None:
            return tables
        filtered = chosen_filters(o.row_filters, "mysql", o.database)
        return [name for name in tables if (o.database, name) in filtered]

    def _chosen(self, name: str) -> StreamOptions:
        return self.options.chosen(name)

    def _relation(self, questions: Questions, name: str, chosen: StreamOptions) -> catalog.Relation:
        o = self.options
        where = f"streams.{name}.{'query' if chosen.query else 'table'}"
        if o.row_filters is None and o.row_level_security:
            raise GiveUp(
                "row_level_security is asked for, and nothing holds the rows back",
                code="no_row_filter",
                where=where,
                advice="give `row_filters`: this server has no policies of its own",
            )
        try:
            if chosen.query:
                text = _checked(chosen) if o.row_filters is None else self._filtered(chosen.query)
                return catalog.query(questions, bound(text, chosen.parameters, "mysql", f"streams.{name}"))
            relation = catalog.table(questions, chosen.table or name, o.database, where)
            if o.row_filters is None:
                return relation
            return replace(relation, origin=f"({self._filtered(f'SELECT * FROM {relation.origin}')})")  # noqa: S608
        except SecurityViolation as error:
            raise error.within(where) from None

    def _filtered(self, query: str) -> str:
        from bees.core.sql.row_filter import apply_row_level_security

        log.info("rows_held_back", by="row_filters")
        return apply_row_level_security(
            query, self.options.row_filters or {}, "mysql", default_schema=self.options.database
        )

    def _settled(self, questions: Questions, name: str) -> select.Reading:
        """The stream as the catalog has it, or had it a moment ago: a table may change while this bee lives on."""
        reading = self._settled_lately(name)
        if reading is None:
            reading = self._asked(questions, name, self._chosen(name))
            self._readings[name] = time.monotonic(), reading
        return reading

    def _asked(
        self, questions: Questions, name: str, chosen: StreamOptions, *, keyless: bool = False
    ) -> select.Reading:
        relation = self._relation(questions, name, chosen)
        reading = settle(name, chosen, relation, keyless=keyless)
        return replace(reading, sorts=sorts(questions, relation), table=table(questions, relation))

    def _settled_lately(self, name: str) -> select.Reading | None:
        settled, reading = self._readings.get(name, (0.0, None))
        return reading if time.monotonic() - settled <= _SETTLED else None


def _checked(chosen: StreamOptions) -> str:
    """The text of the stream's query that is run, once it is known to be a harmless read."""
    from bees.core.sql.guard import check_query, harmless_functions

    more = {*harmless_functions("mysql"), *chosen.functions} if chosen.functions else None
    return check_query(chosen.query or "", "mysql", functions=more)


def _limit(query: Mapping[str, Any] | None) -> int | None:
    strange = set(query or {}) - {"limit"}
    limit = (query or {}).get("limit")
    if strange or (limit is not None and (type(limit) is not int or limit < 0)):
        raise GiveUp("the query is not understood", code="wrong_query", where="query", advice='give {"limit": 100}')
    return limit


def _driver() -> None:
    try:
        import pymysql  # noqa: F401
    except ImportError:
        raise GiveUp(
            "the driver of MySQL is not installed", code="missing_driver", advice="pip install 'worker-bees[mysql]'"
        ) from None
