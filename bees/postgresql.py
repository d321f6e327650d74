"""Rows of PostgreSQL tables, views and queries (13 and later): exact, in order, resumable after any row.

A stream without `cursor` is read whole in each flight, by key. A stream with one is read from the greatest cursor
value seen so far, less the look-back: rows commit late, and the repeat costs nothing, because the hive recognises
unchanged rows by their hash. Rows whose cursor is null are read first in each flight, so they are not lost either, and
before them rows with a null in their key, which the hive sets aside.
Values in the source's future (such as 9999-12-31 or infinity) come in each flight and never move the mark. A cursor of
times without a zone should hold UTC; where local clocks are set back, give a `lookback` of more than that hour.

With `cdc` a table without `cursor` is read whole once and then followed through the server's log: inserts, updates and
deletes in the order of their commits (bees/core/sql/postgres/cdc.py says how).

Before anything is read the role is proven harmless: one that can do more than read is refused unless
`allow_writable_role` accepts it. Sessions are read only all the same, and come from the pool of the process.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from pydantic import Field, SecretStr, field_validator, model_validator

from bees.core.bee import BeeType, Columns, Name, WorkerBee
from bees.core.errors import GiveUp
from bees.core.offered import offered
from bees.core.pool import SourceKey, shared
from bees.core.sql.leg import Leg
from bees.core.sql.names import unknown
from bees.core.sql.options import ServerOptions, StreamOptions
from bees.core.sql.parts import after_parts, begins_in_parts, part_of, parts_of
from bees.core.sql.place import Place
from bees.core.sql.postgres import catalog, select, slots
from bees.core.sql.postgres.following import Following
from bees.core.sql.postgres.options import CdcOptions
from bees.core.sql.postgres.parts import Table
from bees.core.sql.postgres.progress import compared
from bees.core.sql.postgres.reading import begin, opening, read
from bees.core.sql.postgres.relation import Held, relation_of
from bees.core.sql.postgres.rights import Rights, rights, too_much
from bees.core.sql.postgres.session import Server, Stream
from bees.core.sql.postgres.settle import refuse_unordered, settle
from bees.core.sql.postgres.verdict import judged
from bees.core.sql.progress import await_progress
from bees.core.sql.rows.keys import chosen_filters
from bees.core.sql.settle import up_to_date
from nectar import pollen
from nectar.batch import Batch, Cursor
from nectar.jsonrows import escape

if TYPE_CHECKING:
    import psycopg

_PROVEN = 600.0
"""Seconds after which a role is looked at again."""
_SETTLED = 5.0
"""Seconds for which the catalog's word on a stream is taken: from a flight's plan to its first leg."""
log = structlog.get_logger()


class PostgreSQLWorkerBee(WorkerBee):
    bee_type: ClassVar[BeeType] = "database"

    class Options(ServerOptions):
        host: Name = Field(description="server name, address, or folder of its socket")
        port: int = Field(5432, ge=1, le=65535, description="server port")
        database: Name = Field(description="database name")
        user: Name = Field(description="role that reads; it needs SELECT and nothing else")
        password: SecretStr = Field(SecretStr(""), description="the role's password")
        schema_: Name = Field("public", alias="schema", description="schema of names without one")
        schemas: Columns = Field(
            (), description="more schemas, searched after `schema`; without `streams` their tables are read as well"
        )
        transaction_pooling: bool = Field(
            False, description="the server is reached through a pooler in transaction mode, such as pgbouncer"
        )
        temp_file_limit: int | None = Field(
            None, ge=1024, description="bytes of disk a statement may use at the server, where the role may set it"
        )
        cdc: CdcOptions | None = Field(
            None,
            description="follow tables that have no `cursor` through the server's log: each change, deletes included",
        )

        @field_validator("host")
        @classmethod
        def _address(cls, value: str) -> str:
            socket = value.startswith("/")
            if any(c.isspace() if not socket else not c.isprintable() for c in value):
                raise ValueError("a host is a name or an address, without white space, or the folder of a socket")
            return value

        @model_validator(mode="after")
        def _log_is_open(self) -> Any:
            if self.cdc and self.transaction_pooling:
                raise ValueError(
                    "changes are followed in a session of its own: `cdc` goes without `transaction_pooling`"
                )
            if self.cdc and (self.row_level_security or self.row_filters is not None):
                raise ValueError(
                    "the log tells of every row: `cdc` goes without `row_filters` and `row_level_security`"
                )
            return self

    options: Options

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._readings: dict[str, tuple[float, select.Reading]] = {}
        self._open: list[Stream] = []
        self._followed: dict[str, Following] = {}
        self._rights: Rights | None = None
        self._moment: str | None = None
        self._proven_at = 0.0
        self._joined: SourceKey | None = None
        self._leave: weakref.finalize[Any, Any] | None = None

    @property
    def server(self) -> Server:
        o = self.options
        searched = dict.fromkeys((o.schema_, *o.schemas, "public"))
        spills = self._rights is not None and self._rights.sets_temp_file_limit
        return Server(
            host=o.host,
            port=o.port,
            database=o.database,
            user=o.user,
            password=o.password.get_secret_value(),
            ssl_mode=o.ssl_mode,
            ssl_root_cert=o.ssl_root_cert,
            connect_timeout=o.connect_timeout,
            statement_timeout=o.statement_timeout,
            search_path=",".join('"' + schema.replace('"', '""') + '"' for schema in searched),
            ssl_cert=o.ssl_cert,
            ssl_key=o.ssl_key,
            ssl_key_password=o.ssl_key_password.get_secret_value(),
            transaction_pooling=o.transaction_pooling,
            temp_file_limit=o.temp_file_limit if spills else None,
        )

    @contextmanager
    def _asking(self) -> Iterator[psycopg.Connection]:
        """A session for questions, of a role that was found harmless lately."""
        self._join()
        with self.server.questions() as connection:
            if self._rights is None or time.monotonic() - self._proven_at > _PROVEN:
                self._prove(connection)
                self._join()
            yield connection

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

    def _prove(self, connection: psycopg.Connection) -> None:
        """Raises GiveUp for a role that can do more than read, unless that was accepted."""
        o = self.options
        found = rights(connection, replicates=o.cdc is not None)
        if found.beyond and not o.allow_writable_role:
            raise too_much(o.user, found)
        if found.beyond:
            log.warning("role_can_write", role=o.user, rights=found.told)
        if o.temp_file_limit is not None and not found.sets_temp_file_limit:
            log.warning("temp_file_limit_not_set", role=o.user, result="the server's own limit holds")
        self._rights, self._proven_at = found, time.monotonic()

    def validate_flight_path(self) -> None:
        self._rights = None
        self._readings.clear()
        with self._asking() as connection:
            names = self._names(connection)
            if not names:
                raise GiveUp(
                    f"the schema {self.options.schema_!r} has no table with a primary key that this role may read",
                    code="nothing_to_read",
                    where="schema",
                    advice="check `schema`, GRANT SELECT to `user`, or name what to read in `streams`",
                )
            for name in names:
                with judged(f"streams.{name}"):
                    reading = self._settled(connection, name)
                    if self._follows(name):
                        self._following(name).check(connection, reading)
                    for phase in reading.phases:
                        connection.execute(select.rows_from(reading, Place(reading.by, phase), limit=0))

    def get_pollen_schema(self) -> Sequence[pollen.Stream]:
        with self._asking() as connection:
            names = self._names(connection)
            if self.options.cdc is None:
                return offered(names, partial(self._offered, connection))
            slots.tell_of_unread(connection, self.options.cdc.slot, self._slots(names))
            return offered(names, partial(self._offered_followed, connection))

    def _slots(self, names: Sequence[str]) -> dict[str, str]:
        """The streams that are followed, by the names of their slots."""
        return {self._following(name).slot: name for name in names if self._follows(name)}

    def _offered_followed(self, connection: psycopg.Connection, name: str) -> pollen.Stream:
        try:
            return self._offered(connection, name)
        except GiveUp as error:
            if not self._follows(name):
                raise
            raise slots.held_back(connection, self._following(name).slot, name, error) from None

    def _offered(self, connection: psycopg.Connection, name: str) -> pollen.Stream:
        chosen = self._chosen(name)
        with judged(f"streams.{name}"), connection.transaction():
            reading = self._asked(connection, name, chosen, keyless=True)
        if reading.key:
            self._readings[name] = time.monotonic(), reading
        return pollen.Stream(
            name=name,
            columns=tuple(
                pollen.Column(escape(c.name), c.form.kind, c.nullable, c.comment, c.type_name) for c in reading.columns
            ),
            key=tuple(escape(c.name) for c in reading.key),
            replaces=reading.by_content,
            versions=self._follows(name) or chosen.cursor is not None,
            cursors=tuple(map(escape, reading.relation.cursors())),
            cursor=chosen.cursor and escape(chosen.cursor),
            comment=reading.relation.comment,
            labels={} if reading.relation.rows is None else {"estimated_rows": str(reading.relation.rows)},
        )

    def slices(self, stream: str, cursor: Cursor | None) -> Sequence[str]:
        """Ranges of the key of a large table that is read whole, or for the first time."""
        o = self.options
        if not begins_in_parts(o, stream, cursor) or self._follows(stream):
            return ()
        reading = self._settled_lately(stream)
        if reading is None:
            with self._asking() as connection, judged(f"streams.{stream}"):
                reading = self._settled(connection, stream)
        if reading.relation.sampled is None or reading.doubtful or (reading.relation.rows or 0) < o.slice_rows:
            return ()
        word = None
        if reading.cursor is not None:
            with self._asking() as connection, judged(f"streams.{stream}"):
                word = opening(connection, reading, None)
        with self.server.stream(o.batch_bytes) as data:
            return parts_of(reading, Table(data, stream, reading, word.cap if word else None), o.slices)

    def after_slices(self, stream: str, slices: Sequence[str]) -> Cursor | None:  # noqa: ARG002
        return after_parts(slices)

    def one_moment(self) -> AbstractContextManager[None] | None:
        """What the tables hold together when it is entered, for as long as it lasts."""
        return self._as_of_now() if self.options.consistent else None

    @contextmanager
    def _as_of_now(self) -> Iterator[None]:
        with self._asking():
            pass  # whoever may not read is told so before anything is kept for him
        with self.server.moment() as moment:
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
        with self._asking() as connection:
            if stream not in (names := self._names(connection)):
                raise unknown("stream", stream, names, "streams")
            with judged(f"streams.{stream}"):
                reading = self._settled(connection, stream)
                reading, span = part_of(part, reading, stream)
                place = begin(connection, stream, reading, cursor, span)
        with self.server.stream(self.options.batch_bytes, self._moment) as data:
            self._open.append(data)
            try:
                if span and span.seen:
                    where = f"streams.{stream}"
                    await_progress(partial(compared, data, span.seen, where), where)
                yield from read(
                    Leg(stream, reading, limit, self.options.max_rows, span), self.options.batch_rows, data, place
                )
            finally:
                self._open.remove(data)

    def _follows(self, name: str) -> bool:
        chosen = self._chosen(name)
        return self.options.cdc is not None and not chosen.cursor and not chosen.query

    def _following(self, stream: str) -> Following:
        def settled() -> select.Reading:
            self._readings.pop(stream, None)
            with self._asking() as connection, judged(f"streams.{stream}"):
                if stream not in (names := self._names(connection)):
                    raise unknown("stream", stream, names, "streams")
                return self._settled(connection, stream)

        o = self.options
        if stream not in self._followed:
            if o.cdc is None:
                raise _not_followed(repr(stream))
            self._followed[stream] = Following(
                stream, o.cdc, o.batch_rows, o.batch_bytes, lambda: self.server, self._asking, settled, self._open
            )
        return self._followed[stream]

    def sealed(self, cursor: Cursor) -> None:
        """Let the server forget the changes before `cursor`."""
        for following in self._followed.values():
            if cursor.get("slot") == following.slot:
                following.sealed(cursor)

    def lag(self, stream: str, cursor: Cursor | None = None) -> slots.Lag | None:
        """How far a followed stream is behind its source; `cursor`: its last one. None if it has no slot."""
        with self._asking() as connection:
            return slots.lag(connection, self._following(stream).slot, (cursor or {}).get("at") or None)

    def replication(self) -> dict[str, tuple[str | None, slots.Lag | None]]:
        """Each slot of this bee: the stream that is followed by it, None of one that nothing reads any more; its lag.

        A stream that was never read has a name for its slot, and no lag. Raises GiveUp where nothing is followed.
        """
        if self.options.cdc is None:
            raise _not_followed("its streams")
        with self._asking() as connection:
            streams = self._slots(self._names(connection))
            found = slots.slots_of(connection, self.options.cdc.slot)
            named = dict.fromkeys([*streams, *found])
            return {slot: (streams.get(slot), slots.lag(connection, slot, None)) for slot in named}

    def drop_slot(self, name: str) -> bool:
        """Drop the slot of a stream, or one that `replication` lists by its name; False if there is none.

        The server frees the log that it kept for it, and the stream can only be read anew.
        """
        known = self.replication()
        slot = next((slot for slot, (stream, _) in known.items() if name in (slot, stream)), None)
        if slot is None:
            raise unknown(
                "slot or stream",
                name,
                [n for slot, (stream, _) in known.items() for n in (slot, stream) if n],
                "cdc.slot",
            )
        with self._asking() as connection, judged(f"the slot {slot}"):
            return slots.drop_slot(connection, slot)

    def dance_instructions(self) -> dict[str, Any]:
        return super().dance_instructions() | {"nectar_sources": sorted(self.options.streams)}

    def source_identity(self) -> str:
        return self.server.address

    def stream_identity(self, stream: str) -> str:
        """The table or query with the schema that unqualified names are looked for in."""
        chosen = self._chosen(stream)
        read = (
            ["query", chosen.query, *map(str, chosen.parameters)] if chosen.query else ["table", chosen.table or stream]
        )
        # Other filters show other rows: behind the mark of the last flight there may be some that were never read.
        held = [] if self.options.row_filters is None else [sorted(self.options.row_filters.items())]
        followed = [self._following(stream).slot] if self._follows(stream) else []
        return json.dumps([self.options.schema_, *self.options.schemas, *read, *held, *followed])

    def close(self) -> None:
        for data in self._open:
            data.close()
        for following in self._followed.values():
            following.close()
        self._part()

    def _names(self, connection: psycopg.Connection) -> list[str]:
        o = self.options
        if o.streams:
            return list(o.streams)
        found = [(s, t) for s in (o.schema_, *o.schemas) for t in catalog.tables_with_key(connection, s)]
        if o.row_filters is not None:
            filtered = chosen_filters(o.row_filters, "postgres", o.schema_)
            found = [one for one in found if one in filtered]
        return [table if schema == o.schema_ else catalog.full_name(schema, table) for schema, table in found]

    def _chosen(self, name: str) -> StreamOptions:
        return self.options.chosen(name)

    def _relation(self, connection: psycopg.Connection, name: str, chosen: StreamOptions) -> catalog.Relation:
        o = self.options
        return relation_of(connection, name, chosen, Held(o.schema_, o.row_filters, policies=o.row_level_security))

    def _settled(self, connection: psycopg.Connection, name: str) -> select.Reading:
        """The stream as the catalog has it, or had it a moment ago: a table may change while this bee lives on."""
        reading = self._settled_lately(name)
        if reading is None:
            chosen = self._chosen(name)
            reading = self._asked(connection, name, chosen)
            if reading.cursor and reading.relation.key and reading.cursor.name not in reading.relation.indexed:
                log.warning("cursor_without_index", stream=name, cursor=reading.cursor.name, result="slow flights")
            key = tuple(c.name for c in reading.key)
            if key == reading.relation.key and not any(columns <= {*key} for columns in reading.relation.unique):
                # Its index holds no row of the tables that inherit from this one.
                log.warning("key_may_repeat", stream=name, key=key, result="rows with one key land as one record")
            self._readings[name] = time.monotonic(), reading
        return reading

    def _asked(
        self, connection: psycopg.Connection, name: str, chosen: StreamOptions, *, keyless: bool = False
    ) -> select.Reading:
        reading = settle(name, chosen, self._relation(connection, name, chosen), keyless=keyless)
        refuse_unordered(connection, name, reading)
        return reading

    def _settled_lately(self, name: str) -> select.Reading | None:
        settled, reading = self._readings.get(name, (0.0, None))
        return reading if time.monotonic() - settled <= _SETTLED else None


def _not_followed(what: str) -> GiveUp:
    return GiveUp(f"the changes of {what} are not followed", code="no_cdc", where="cdc", advice="set `cdc`")


def _limit(query: Mapping[str, Any] | None) -> int | None:
    strange = set(query or {}) - {"limit"}
    limit = (query or {}).get("limit")
    if strange or (limit is not None and (type(limit) is not int or limit < 0)):
        raise GiveUp("the query is not understood", code="wrong_query", where="query", advice='give {"limit": 100}')
    return limit
