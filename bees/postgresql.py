"""Rows of PostgreSQL tables, views and queries (13 and later): exact, in order, resumable after any row.

A stream without `cursor` is read whole in each flight, by key. A stream with one is read from the greatest cursor
value seen so far, less the look-back: rows commit late, and the repeat costs nothing, because the hive recognises
unchanged rows by their hash. Rows whose cursor is null are read first in each flight, so they are not lost either, and
before them rows with a null in their key, which the hive sets aside.
Values in the source's future (such as 9999-12-31 or infinity) come in each flight and never move the mark. A cursor of
times without a zone should hold UTC; where local clocks are set back, give a `lookback` of more than that hour.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
import structlog
from psycopg import sql
from pydantic import Field, SecretStr, field_validator, model_validator

from bees.core.bee import BeeOptions, BeeType, Columns, KeyColumns, Name, Seconds, StreamName, WorkerBee
from bees.core.errors import GiveUp
from bees.core.sql.errors import SecurityViolation
from bees.core.sql.postgres import catalog, select
from bees.core.sql.postgres.place import Place, place_of
from bees.core.sql.postgres.session import Server, Stream
from bees.core.sql.postgres.verdict import judged
from bees.core.sql.rows.keys import chosen_filters
from nectar import pollen
from nectar.batch import Batch, Cursor

if TYPE_CHECKING:
    import psycopg

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LOOKBACK = re.compile(r"(\d+)\s*([smhdw])")
log = structlog.get_logger()


class StreamOptions(BeeOptions):
    """What to read as one stream."""

    table: Name | None = Field(None, description="table or view, `schema.table` elsewhere; the stream's name if unset")
    query: str | None = Field(None, max_length=65536, description="one SELECT statement, instead of a table")
    key: KeyColumns = Field((), description="columns that identify a record; the primary key if unset")
    cursor: Name | None = Field(None, description="column that grows with each change; unset: all rows in each flight")
    lookback: float | str | None = Field(
        None,
        description='how far back flights begin, for rows that commit late: seconds or "5m" for times (unset: 60), '
        "steps for numbers (unset: 1000); free of cost, because the hive knows unchanged rows by their hash; 0: none",
    )
    columns: Columns = Field((), description="columns to read, all if unset; key and cursor are always read")
    functions: Columns = Field(
        (), description="functions of the source that `query` may call besides PostgreSQL's harmless ones"
    )

    @field_validator("query")
    @classmethod
    def _plain_text(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", value)):
            raise ValueError("a query is text without control characters")
        return value

    @field_validator("lookback")
    @classmethod
    def _length(cls, value: float | str | None) -> float | str | None:
        fits = _LOOKBACK.fullmatch(value) if isinstance(value, str) else value is None or 0 <= value < math.inf
        if not fits:
            raise ValueError('a look-back is a number that is not negative, or a time such as "5m" or "2h"')
        return value

    @model_validator(mode="after")
    def _table_or_query(self) -> StreamOptions:
        if self.table and self.query:
            raise ValueError("a stream reads a `table` or a `query`, not both")
        return self


class PostgreSQLWorkerBee(WorkerBee):
    bee_type: ClassVar[BeeType] = "database"

    class Options(BeeOptions):
        host: Name = Field(description="server name, address, or folder of its socket")
        port: int = Field(5432, ge=1, le=65535, description="server port")
        database: Name = Field(description="database name")
        user: Name = Field(description="role that reads; it needs SELECT and nothing else")
        password: SecretStr = Field(SecretStr(""), description="the role's password")
        ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
            "prefer", description="encryption, as libpq's sslmode says; verify-full outside a trusted network"
        )
        ssl_root_cert: str | None = Field(None, description="file of trusted roots; unset: the system's")
        schema_: Name = Field("public", alias="schema", description="schema of names without one")
        connect_timeout: int = Field(10, ge=2, le=600, description="seconds to wait for a session")
        statement_timeout: Seconds = Field(300, description="seconds until the server ends a statement")
        row_filters: dict[Name, str | bool | None] | None = Field(
            None,
            description="the rows that may be read, by table: `orders: region = 'EU'`, true for all of them; "
            "what is not named may not be read",
        )
        row_level_security: bool = Field(
            False, description="read nothing that neither `row_filters` nor a policy of the source holds down"
        )
        batch_bytes: int = Field(16 * 2**20, ge=1024, description="size at which a batch is closed")
        batch_rows: int = Field(50_000, ge=1, description="rows at which a batch is closed")
        streams: dict[StreamName, StreamOptions] = Field(
            default_factory=dict, description="what to read, by name; unset: each table with a primary key"
        )

        @field_validator("host")
        @classmethod
        def _address(cls, value: str) -> str:
            socket = value.startswith("/")
            if any(c.isspace() if not socket else not c.isprintable() for c in value):
                raise ValueError("a host is a name or an address, without white space, or the folder of a socket")
            return value

        @field_validator("streams", mode="before")
        @classmethod
        def _bare_names(cls, value: Any) -> Any:
            return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, Mapping) else value

    options: Options

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._readings: dict[str, select.Reading] = {}
        self._open: list[Stream] = []

    @property
    def server(self) -> Server:
        o = self.options
        schema = o.schema_.replace('"', '""')
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
            search_path=f'"{schema}",public',
        )

    def validate_flight_path(self) -> None:
        with self.server.questions() as connection:
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
                    for phase in reading.phases:
                        connection.execute(select.rows_from(reading, Place(reading.by, phase), limit=0))

    def get_pollen_schema(self) -> Sequence[pollen.Stream]:
        with self.server.questions() as connection:
            return [self._offered(connection, name) for name in self._names(connection)]

    def _offered(self, connection: psycopg.Connection, name: str) -> pollen.Stream:
        chosen = self._chosen(name)
        with judged(f"streams.{name}"):
            reading = _settle(name, chosen, self._relation(connection, name, chosen), keyless=True)
        return pollen.Stream(
            name=name,
            columns=tuple(
                pollen.Column(c.name, c.form.kind, c.nullable, c.comment, c.type_name) for c in reading.columns
            ),
            key=tuple(c.name for c in reading.key),
            cursors=reading.relation.cursors(),
            cursor=chosen.cursor,
            comment=reading.relation.comment,
        )

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """Read from `cursor` on. `query` may hold `limit`, the most rows to read; such a reading is never complete."""
        limit = _limit(query)
        with self.server.questions() as connection:
            if stream not in (names := self._names(connection)):
                raise catalog.unknown("stream", stream, names, "streams")
            with judged(f"streams.{stream}"):
                reading = self._settled(connection, stream)
                place = _begin(connection, stream, reading, cursor)
        with self.server.stream(self.options.batch_bytes) as data:
            self._open.append(data)
            try:
                yield from _read(_Leg(stream, reading, self.options.batch_rows, limit), data, place)
            finally:
                self._open.remove(data)

    def dance_instructions(self) -> dict[str, Any]:
        return super().dance_instructions() | {"nectar_sources": sorted(self.options.streams)}

    def source_identity(self) -> str:
        return self.server.address

    def stream_identity(self, stream: str) -> str:
        """The table or query with the schema that unqualified names are looked for in."""
        chosen = self._chosen(stream)
        read = ["query", chosen.query] if chosen.query else ["table", chosen.table or stream]
        # Other filters show other rows: behind the mark of the last flight there may be some that were never read.
        held = [] if self.options.row_filters is None else [sorted(self.options.row_filters.items())]
        return json.dumps([self.options.schema_, *read, *held])

    def close(self) -> None:
        for data in self._open:
            data.close()

    def _names(self, connection: psycopg.Connection) -> list[str]:
        o = self.options
        tables = list(o.streams) or catalog.tables_with_key(connection, o.schema_)
        if o.streams or o.row_filters is None:
            return tables
        filtered = chosen_filters(o.row_filters, "postgres", o.schema_)
        return [name for name in tables if (o.schema_, name) in filtered]

    def _chosen(self, name: str) -> StreamOptions:
        return self.options.streams.get(name) or StreamOptions.model_validate({})

    def _relation(self, connection: psycopg.Connection, name: str, chosen: StreamOptions) -> catalog.Relation:
        o = self.options
        if chosen.query:
            if o.row_filters is None and o.row_level_security:
                raise _not_held(f"streams.{name}.query", "give `row_filters`: what a query reads is known only to them")
            try:
                text = _checked(chosen) if o.row_filters is None else self._filtered(chosen.query)
            except SecurityViolation as error:
                raise error.within(f"streams.{name}.query") from None
            return catalog.query(connection, text, f"streams.{name}.query")
        where = f"streams.{name}.table"
        relation = catalog.table(connection, chosen.table or name, o.schema_, where)
        if o.row_filters is not None:
            try:
                text = self._filtered(sql.SQL("TABLE {}").format(relation.origin).as_string(None))
            except SecurityViolation as error:
                raise error.within(where) from None
            return replace(relation, origin=sql.SQL("({})").format(sql.SQL(text)))
        if o.row_level_security and not catalog.held_by_policies(connection, relation):
            raise _not_held(where, "give `row_filters`, or a policy at the source and a role that it binds")
        if o.row_level_security:
            log.info("rows_held_back", stream=name, by="policies of the source")
        return relation

    def _filtered(self, query: str) -> str:
        from bees.core.sql.row_filter import apply_row_level_security

        log.info("rows_held_back", by="row_filters")
        return apply_row_level_security(query, self.options.row_filters or {}, default_schema=self.options.schema_)

    def _settled(self, connection: psycopg.Connection, name: str) -> select.Reading:
        if name not in self._readings:
            chosen = self._chosen(name)
            self._readings[name] = _settle(name, chosen, self._relation(connection, name, chosen))
        return self._readings[name]


def _checked(chosen: StreamOptions) -> str:
    """The text of the stream's query that is run, once it is known to be a harmless read."""
    from bees.core.sql.guard import check_query, harmless_functions

    more = {*harmless_functions(), *chosen.functions} if chosen.functions else None
    return check_query(chosen.query or "", functions=more)


def _not_held(where: str, advice: str) -> GiveUp:
    return GiveUp(
        "row_level_security is asked for, and nothing holds the rows back",
        code="no_row_filter",
        where=where,
        advice=advice,
    )


def _settle(name: str, chosen: StreamOptions, relation: catalog.Relation, *, keyless: bool = False) -> select.Reading:
    where = f"streams.{name}"
    key = tuple(relation.column(k, f"{where}.key") for k in chosen.key or relation.key)
    if not key and not keyless:
        raise GiveUp(
            f"the stream {name!r} has no key, so its records cannot be told apart",
            code="no_key",
            where=where,
            advice=f"set `{where}.key` to the columns that identify a record",
        )
    cursor = relation.column(chosen.cursor, f"{where}.cursor") if chosen.cursor else None
    columns = {c: relation.column(c, f"{where}.columns") for c in chosen.columns} or relation.columns
    for column in (*key, *([cursor] if cursor else [])):
        if column.form.shape == "document" or column.form.kind == "json":
            raise GiveUp(
                f"the column {column.name!r} is of the type {column.type_name}, by which rows cannot be resumed",
                code="not_sortable",
                where=where,
                advice="choose a `key` and a `cursor` of plain types",
            )
        columns = columns | {column.name: column}
    return select.Reading(relation, tuple(columns.values()), key, cursor, _lookback(chosen.lookback, cursor, where))


def _lookback(asked: float | str | None, cursor: catalog.SourceColumn | None, where: str) -> float:
    """The look-back in seconds for a time, in steps for a number."""
    moment = cursor is not None and cursor.form.moment
    number = cursor is not None and cursor.form.kind in ("integer", "number")
    if asked is None:
        return 60.0 if moment else 1000.0 if number else 0.0
    timed = _LOOKBACK.fullmatch(asked) if isinstance(asked, str) else None
    fits = moment or (number and timed is None)
    if asked and not fits:
        raise GiveUp(
            "this look-back does not fit the cursor",
            code="wrong_lookback",
            where=f"{where}.lookback",
            advice='give "5m" or seconds for a cursor of times, a number for one of numbers, nothing for others',
        )
    return float(timed[1]) * _SECONDS[timed[2]] if timed else float(asked)


def _limit(query: Mapping[str, Any] | None) -> int | None:
    strange = set(query or {}) - {"limit"}
    limit = (query or {}).get("limit")
    if strange or (limit is not None and (type(limit) is not int or limit < 0)):
        raise GiveUp("the query is not understood", code="wrong_query", where="query", advice='give {"limit": 100}')
    return limit


def _begin(connection: psycopg.Connection, stream: str, reading: select.Reading, cursor: Cursor | None) -> Place:
    """Where this leg begins: in the middle of a flight, or at the start of a new one."""
    place = place_of(cursor, reading.by)
    if place and not place.done:
        # The catalog may have ruled out the phase in which the last leg stopped.
        return place if place.phase in reading.phases else reading.after_phase(place) or place
    if cursor and place is None:
        log.warning("cursor_of_another_order", stream=stream, result="reading starts from the beginning")
    high = place.high if place else None
    place = replace(reading.first_place(), high=high)
    if question := select.opening(reading, high):
        start, cap, behind = connection.execute(question).fetchone() or (None, None, False)
        place = replace(place, start=None if start is None else select.less(reading, start), cap=cap)
        if behind:
            # The row at the mark is gone: deleted, or the source was restored. Whatever came since may stand below it.
            log.warning("source_behind_its_mark", stream=stream, result="reading starts from the beginning")
            place = replace(place, start=None, high=None)
    return place


@dataclass(frozen=True)
class _Leg:
    stream: str
    reading: select.Reading
    batch_rows: int
    limit: int | None

    def statement(self, place: Place, left: int | None) -> str:
        return select.rows_from(self.reading, place, left).as_string(None)


def _read(leg: _Leg, data: Stream, place: Place) -> Iterator[Batch]:
    """Batches from `place` on. One is held back until it is known to be the last, or not."""
    held: Batch | None = None
    left = leg.limit
    while True:
        sent, pieces = data.read(leg.statement(place, left), f"streams.{leg.stream}")
        schema = select.fields(leg.reading, sent)
        for piece in _cut(pieces, leg.batch_rows):
            place = _after(leg, place, piece)
            if held:
                yield held
            held = Batch(leg.stream, _table(piece, schema), place.cursor())
            left = None if left is None else left - piece.num_rows
        following = leg.reading.after_phase(place)
        if following is None:
            break
        place = following
    data.close()
    if leg.limit is not None:
        if held:
            yield held
        return
    whole = leg.reading.cursor is None
    last = held or Batch(leg.stream, schema.empty_table(), {})
    yield replace(last, cursor=place.finished().cursor(), complete=whole)


def _cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _table(piece: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays(piece.columns[:-1], schema=schema)


def _after(leg: _Leg, place: Place, piece: pa.RecordBatch) -> Place:
    """The place once this piece is sealed: after its last row, the mark at its last row that may move it."""
    if place.phase == "keyless":
        return place.moved((piece.columns[-1][-1].as_py(),), None)
    values = dict(zip((c.name for c in leg.reading.columns), piece.columns[:-1], strict=True))
    after = tuple(select.exact_text(values[c.name][-1].as_py()) for c in leg.reading.order(place.phase))
    high = None
    if leg.reading.cursor is not None:
        # Rows come in the cursor's order, so the last one that may move the mark has the greatest value.
        may = values[leg.reading.cursor.name].filter(piece.columns[-1])
        high = select.exact_text(may[-1].as_py()) if len(may) else None
    return place.moved(after, high)
