"""Documents of MongoDB collections (4.4 and later): exact, in order, resumable after any batch.

A stream without `cursor` is read whole in each flight, by `_id`. One with a cursor is read whole once, and from then on
from the greatest cursor value that was there before the last flight, less the look-back: documents are written late,
and the repeat costs nothing, because the hive recognises them by their hash. Documents whose cursor field is missing or
of another type come in each flight, so they are not lost either; what was deleted is found where everything is read
anew, as with --full-refresh. With `mode: cdc` the change stream of a replica set is followed, deletions too.

`_id` is called `underscore_id`, since columns that begin with `_` are reserved. A filter is data: whatever would run a
script on the server or write is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import structlog
from pydantic import Field, SecretStr, field_validator, model_validator

from bees.core.address import AddressPolicy
from bees.core.bee import BeeOptions, BeeType, Columns, KeyColumns, Name, Seconds, StreamName, Words, WorkerBee
from bees.core.errors import GiveUp
from bees.core.offered import offered
from nectar import pollen
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from pymongo.synchronous.database import Database

    from bees.core.mongo.read import Reading
    from bees.core.mongo.session import Server
    from nectar.batch import Batch, Cursor

_MORE = 15.0
"""Seconds that a server has, beyond `statement_timeout`, to say that a command took too long."""
log = structlog.get_logger()
_ID = "_id"


class StreamOptions(BeeOptions):
    """What to read as one stream."""

    collection: Name | None = Field(None, description="collection or view; the stream's name if unset")
    mode: Literal["read", "cdc"] = Field(
        "read", description="read: as `cursor` says; cdc: everything once, then each change, by the change stream"
    )
    filter: dict[str, Any] = Field(
        default_factory=dict, description='which documents, as `find` takes it; {"$date": ...} and {"$oid": ...} work'
    )
    pipeline: tuple[dict[str, Any], ...] = Field(
        (), description="stages of an aggregation that only reads, instead of a filter; its documents need an `_id`"
    )
    fields: Columns = Field((), description="fields to read, all if unset; `_id`, key and cursor are always read")
    exclude: Columns = Field((), description="fields to leave out, instead of `fields`")
    key: KeyColumns = Field((), description="fields that identify a record; `_id` if unset")
    cursor: Name | None = Field(
        None,
        description="field that grows with each change, a dotted path if it lies deeper; it needs an index. `_id` "
        "itself for collections that only grow; unset: all documents in each flight",
    )
    lookback: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="how far back flights begin: seconds for dates and ObjectIds (unset: 60), steps for numbers "
        "(unset: 1000)",
    )
    idle: Seconds = Field(1.0, description="cdc: seconds without a change after which the flight ends")

    @model_validator(mode="after")
    def _fits(self) -> StreamOptions:
        if self.fields and self.exclude:
            raise ValueError("a stream has `fields` or `exclude`, not both")
        if self.pipeline and (self.filter or self.fields or self.exclude):
            raise ValueError("a `pipeline` filters and projects by itself: use $match and $project in it")
        if self.mode == "cdc" and (self.filter or self.pipeline or self.cursor or (self.key and self.key != (_ID,))):
            raise ValueError("mode: cdc takes no filter, pipeline, cursor or key: deletions tell nothing but `_id`")
        if deep := [name for name in self.key if "." in name]:
            raise ValueError(f"a key is a field of the document itself, and {deep[0]!r} lies deeper: lift it by a $set")
        hidden = {name for name in (*self.key, self.cursor) if name is not None} | {_ID}
        if any(f"{name}.".startswith(f"{left}.") for name in hidden for left in self.exclude):
            raise ValueError("`_id`, key and cursor cannot be left out, nor what they lie in")
        return self


class MongoDBWorkerBee(WorkerBee):
    """Reads one database. The driver is loaded when it is first needed."""

    bee_type: ClassVar[BeeType] = "database"

    class Options(BeeOptions):
        hosts: Words = Field(description="server, or servers, each `name` or `name:port`; all members of a replica set")
        port: int = Field(27017, ge=1, le=65535, description="port of hosts without one")
        database: Name = Field(description="database name")
        user: Name | None = Field(None, description="login that reads; the role `read` is enough. Unset: none")
        password: SecretStr = Field(SecretStr(""), description="the login's password")
        auth_source: Name = Field("admin", description="database that knows the login")
        auth_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "MONGODB-X509"] | None = Field(
            None, description="how to log in; unset: SCRAM, as the server likes it"
        )
        allow_writable_role: bool = Field(
            False, description="read with a login that may write; without it such a login is refused"
        )
        tls: bool = Field(False, description="encrypted connection; set it outside of a trusted network")
        tls_ca: str | None = Field(None, description="file of trusted roots; unset: the system's")
        tls_certificate: str | None = Field(None, description="file with the client's certificate and key")
        tls_certificate_password: SecretStr | None = Field(None, description="password of that key")
        replica_set: Name | None = Field(None, description="name of the replica set; unset: one server, or mongos")
        read_preference: Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"] = Field(
            "primary", description="which members of the replica set are read; a secondary may be behind"
        )
        connect_timeout: float = Field(10, ge=0.1, le=600, description="seconds to find a server and connect")
        statement_timeout: Seconds = Field(300, description="seconds until the server ends a command (maxTimeMS)")
        batch_bytes: int = Field(2**20, ge=1024, description="size at which a batch is closed")
        batch_rows: int = Field(10_000, ge=1, le=1_000_000, description="documents asked for at a time")
        streams: dict[StreamName, StreamOptions] = Field(
            default_factory=dict, description="what to read, by name; unset: each collection"
        )

        @field_validator("hosts")
        @classmethod
        def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            if not value or any(not one or any(c.isspace() or c in "/@,?\0" for c in one) for one in value):
                raise ValueError("a host is a name or an address, with `:port` if need be; no URI")
            for one in value:
                _place(one, 27017)
            return value

        @field_validator("streams", mode="before")
        @classmethod
        def _bare_names(cls, value: Any) -> Any:
            return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, Mapping) else value

        @model_validator(mode="after")
        def _fits(self) -> MongoDBWorkerBee.Options:
            if self.read_preference != "primary" and self.replica_set is None:
                raise ValueError("read_preference needs replica_set")
            if (self.tls_ca or self.tls_certificate) and not self.tls:
                raise ValueError("tls_ca and tls_certificate need tls: true")
            if self.auth_mechanism == "MONGODB-X509" and not self.tls_certificate:
                raise ValueError("MONGODB-X509 needs tls_certificate")
            return self

    options: Options

    def __init__(self, options: Any, policy: AddressPolicy | None = None) -> None:
        super().__init__(options)
        self._hosts = tuple(_place(one, self.options.port) for one in self.options.hosts)
        named = frozenset(("mongodb", host, port) for host, port in self._hosts)
        self._policy = policy or AddressPolicy(named=named, allow_private=True)  # whom the operator names may be near
        self._server: Server | None = None

    def validate_flight_path(self) -> None:
        server, database = self.server, self._opened()
        self._refuse_writers(server)
        names = self._names(server, database)
        if not names:
            raise GiveUp(
                f"the database {self.options.database!r} has no collection that this login may read",
                code="nothing_to_read",
                where="database",
                advice="check `database`, grant the role `read`, or name what to read in `streams`",
            )
        for name in names:
            reading = self._reading(name, self._known(server, database))
            self._warn_of_no_index(server, reading)
            with server.judged(reading.where):
                from bees.core.mongo.sample import sample

                sample(reading)

    def get_pollen_schema(self) -> Sequence[pollen.Stream]:
        server, database = self.server, self._opened()
        return offered(self._names(server, database), partial(self._offered, self._known(server, database)))

    def _offered(self, known: dict[str, str] | None, name: str) -> pollen.Stream:
        from bees.core.mongo.sample import columns, cursors, sample

        reading, chosen = self._reading(name, known), self._chosen(name)
        with self.server.judged(reading.where):
            documents = sample(reading)
        return pollen.Stream(
            name=name,
            columns=columns(documents),
            key=tuple(map(escape, chosen.key or (_ID,))),
            versions=chosen.mode == "cdc" or chosen.cursor is not None,
            cursors=cursors(documents),
            cursor=chosen.cursor,
            comment=f"as {len(documents)} documents from both ends of the collection show",
        )

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """Read from `cursor` on. `query` may hold `limit`, the most documents; such a reading is never complete."""
        from bees.core.mongo import changes, read
        from bees.core.mongo.place import place_of

        limit = _limit(query)
        server, database = self.server, self._opened()
        known = self._known(server, database)
        if stream not in (names := self._names(server, database)):
            advice = f"there are: {', '.join(sorted(names)[:20])}"
            raise GiveUp(f"no stream is named {stream!r}", code="unknown_stream", where="streams", advice=advice)
        reading = self._reading(stream, known)
        follows = self._chosen(stream).mode == "cdc" and limit is None
        place = place_of(cursor, changes.BY if follows else reading.by)
        with server.causal(place.seen.held if place and place.seen else None) as session:
            reading = replace(reading, session=session)
            if follows:
                yield from changes.follow(reading, server, place, self._chosen(stream).idle)
            else:
                yield from read.read(reading, server, read.begin(reading, server, place), limit)

    def dance_instructions(self) -> dict[str, Any]:
        return super().dance_instructions() | {"nectar_sources": sorted(self.options.streams)}

    def source_identity(self) -> str:
        o = self.options
        hosts = o.replica_set or ",".join(f"{host}:{port}" for host, port in sorted(self._hosts))
        return f"mongodb {hosts}/{o.database}"

    def stream_identity(self, stream: str) -> str:
        """The collection and what is asked of it."""
        chosen = self._chosen(stream)
        asked = [chosen.collection or stream, chosen.mode, chosen.filter, list(chosen.pipeline)]
        return json.dumps(asked, default=str)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def server(self) -> Server:
        if self._server is None:
            from bees.core.mongo.session import Server

            o = self.options
            self._server = Server(self._hosts, o.database, self._settings(), o.connect_timeout, self._policy)
        return self._server

    def _settings(self) -> dict[str, Any]:
        o = self.options
        told: dict[str, Any] = {"tls": o.tls, "tlsCAFile": o.tls_ca, "tlsCertificateKeyFile": o.tls_certificate}
        told["socketTimeoutMS"] = int((o.statement_timeout + _MORE) * 1000)
        if o.tls_certificate_password is not None:
            told["tlsCertificateKeyFilePassword"] = o.tls_certificate_password.get_secret_value()
        if o.user is not None or o.auth_mechanism == "MONGODB-X509":
            told |= {"username": o.user, "authSource": o.auth_source, "authMechanism": o.auth_mechanism}
            told["password"] = o.password.get_secret_value() or None
            if o.auth_mechanism == "MONGODB-X509":
                told |= {"authSource": "$external", "password": None}
        if o.replica_set is not None:
            # What only the primary has may be rolled back when it fails; what the majority has stays.
            told |= {"replicaSet": o.replica_set, "readPreference": o.read_preference, "readConcernLevel": "majority"}
        elif len(self._hosts) == 1:
            told["directConnection"] = True
        return {name: value for name, value in told.items() if value is not None}

    def _opened(self) -> Database[dict[str, Any]]:
        return self.server.open()

    def _refuse_writers(self, server: Server) -> None:
        writing = server.writing_actions()
        if writing is None:
            log.warning("login_not_proven", source=server.address, result="the server does not say what it may do")
        elif writing and not self.options.allow_writable_role:
            raise GiveUp(
                f"this login may do more than read: {', '.join(writing[:5])}",
                code="login_may_write",
                where="user",
                advice="give `user` the role `read` only, or set allow_writable_role: true",
            )

    def _known(self, server: Server, database: Database[dict[str, Any]]) -> dict[str, str] | None:
        """Collections by name, with their type; None where this login may not list them."""
        from pymongo.errors import PyMongoError

        try:
            asked = {"listCollections": 1, "nameOnly": True, "authorizedCollections": True}
            found = database.cursor_command(asked, read_preference=database.read_preference)
            return {one["name"]: one.get("type", "collection") for one in found}
        except PyMongoError as error:
            if getattr(error, "code", None) == 13:
                return None
            raise server.verdict(error, server.address) from None

    def _names(self, server: Server, database: Database[dict[str, Any]]) -> list[str]:
        if self.options.streams:
            return list(self.options.streams)
        known = self._known(server, database) or {}
        return sorted(n for n, kind in known.items() if kind == "collection" and not n.startswith("system."))

    def _chosen(self, name: str) -> StreamOptions:
        return self.options.streams.get(name) or StreamOptions.model_validate({})

    def _reading(self, name: str, known: Mapping[str, str] | None) -> Reading:
        from bees.core.mongo.queries import data, refuse_stages
        from bees.core.mongo.read import Reading

        chosen, o, where = self._chosen(name), self.options, f"streams.{name}"
        collection = chosen.collection or name
        if known is not None and collection not in known:
            near = ", ".join(sorted(known)[:20]) or "none"
            advice = f"check `{where}.collection`; there are: {near}"
            raise GiveUp(f"no collection is named {collection!r}", code="no_collection", where=where, advice=advice)
        pipeline = data(list(chosen.pipeline), f"{where}.pipeline")
        refuse_stages(pipeline, f"{where}.pipeline")
        always = (*chosen.key, *([chosen.cursor] if chosen.cursor else []))
        projection = dict.fromkeys(_outermost((*chosen.fields, *always)), 1) if chosen.fields else {}
        return Reading(
            stream=name,
            collection=self._opened()[collection],
            filter=data(chosen.filter, f"{where}.filter"),
            projection=projection or dict.fromkeys(_outermost(chosen.exclude), 0),
            pipeline=pipeline,
            cursor=chosen.cursor,
            lookback=chosen.lookback,
            batch_bytes=o.batch_bytes,
            batch_rows=o.batch_rows,
            most_time=o.statement_timeout,
        )

    def _warn_of_no_index(self, server: Server, reading: Reading) -> None:
        if reading.cursor in (None, _ID) or reading.pipeline:
            return
        with server.judged(reading.where):
            at = reading.collection.database
            asked = {"listIndexes": reading.collection.name}
            indexes = list(at.cursor_command(asked, read_preference=at.read_preference))
        if not any(next(iter(index["key"]), None) == reading.cursor for index in indexes):
            advice = f"create one on {{{reading.cursor}: 1, _id: 1}}: without it each flight looks at every document"
            log.warning("cursor_without_index", stream=reading.stream, field=reading.cursor, advice=advice)


def _outermost(names: Sequence[str]) -> list[str]:
    """Each once, without those that lie in another one: a server refuses to be told both."""
    found = dict.fromkeys(names)
    return [name for name in found if not any(name.startswith(f"{other}.") for other in found)]


def _place(text: str, port: int) -> tuple[str, int]:
    """`name`, `name:port`, `::1` or `[::1]:port`."""
    host, told = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        told = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, told = text.split(":")
    if not host or (told and not (told.isdigit() and 0 < int(told) < 65536)):
        raise ValueError("a host is a name or an address, with `:port` if need be; no URI")
    return host.lower(), int(told) if told else port


def _limit(query: Mapping[str, Any] | None) -> int | None:
    strange = set(query or {}) - {"limit"}
    limit = (query or {}).get("limit")
    if strange or (limit is not None and (type(limit) is not int or limit < 0)):
        raise GiveUp("the query is not understood", code="wrong_query", where="query", advice='give {"limit": 100}')
    return limit
