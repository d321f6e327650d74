"""Documents of one collection in the order in which they can be resumed, through as many cursors as it takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import bson
import pyarrow as pa
import structlog
from pymongo import errors

from bees.core.errors import GiveUp, RetryLater
from bees.core.mongo import mixed, queries, quick
from bees.core.mongo.place import Place, Value
from bees.core.mongo.values import CODEC, ID, decode, slices, tables
from bees.core.mongo.verdict import is_momentary
from bees.core.spans import query
from nectar.batch import Batch, Reject

if TYPE_CHECKING:
    import datetime as dt

    from pymongo.synchronous.client_session import ClientSession
    from pymongo.synchronous.collection import Collection

    from bees.core.mongo.session import Server

_ATTEMPTS = 3
"""Cursors in a row that give nothing before their error is told."""
_GONE = "gone"
log = structlog.get_logger()


@dataclass(frozen=True)
class Reading:
    """One stream, as it is read. `pipeline` stands instead of filter and projection; `cursor` is a dotted path."""

    stream: str
    collection: Collection[dict[str, Any]]
    filter: queries.Query
    projection: dict[str, int]
    pipeline: Sequence[queries.Query]
    cursor: str | None
    lookback: float | None
    batch_bytes: int
    batch_rows: int
    most_time: float
    session: ClientSession | None = None

    @property
    def where(self) -> str:
        return f"streams.{self.stream}"

    @property
    def by(self) -> tuple[str, ...]:
        return (self.cursor, ID) if self.cursor else (ID,)

    @property
    def seen(self) -> Value | None:
        """What the members have come to, as far as this session was told."""
        session = self.session
        if session is None or session.operation_time is None or session.cluster_time is None:
            return None
        return Value({"operation": session.operation_time, "cluster": dict(session.cluster_time)})

    def sort(self, place: Place) -> list[tuple[str, int]]:
        return [(name, 1) for name in dict.fromkeys(self.by if place.phase == "rows" else (ID,))]

    def wanted(self, place: Place, kind: str | None) -> queries.Query:
        """What is still to be read in this phase."""
        if place.phase == "rows":
            assert self.cursor is not None
            assert kind is not None
            assert place.start is not None
            at = (place.value, place.id) if place.value is not None and place.id is not None else None
            return queries.both(self.filter, queries.rows(self.cursor, kind, place.start.held, at))
        rest = queries.after(ID, place.id.held) if place.id is not None else {}
        if place.phase == "odd":
            assert self.cursor is not None
            assert kind is not None
            return queries.both(self.filter, queries.odd(self.cursor, kind), rest)
        return queries.both(self.filter, rest)

    def raw(self, place: Place, kind: str | None) -> Iterator[bytes]:
        """Answers of the server, each some documents one after another."""
        wanted, sort = self.wanted(place, kind), self.sort(place)
        most = int(self.most_time * 1000)
        if self.pipeline:
            stages = [*self.pipeline, *([{"$match": wanted}] if wanted else []), {"$sort": dict(sort)}]
            found: Any = self.collection.aggregate_raw_batches(
                stages, session=self.session, batchSize=self.batch_rows, maxTimeMS=most
            )
        else:
            found = self.collection.find_raw_batches(
                wanted,
                self.projection or None,
                session=self.session,
                sort=sort,
                batch_size=self.batch_rows,
                max_time_ms=most,
            )
        with found:
            yield from found


def begin(reading: Reading, server: Server, place: Place | None) -> Place:
    """Where this leg begins: in the middle of a flight, or at the start of a new one."""
    made = _made(reading, server)
    if place is not None and None not in (place.made, made) and place.made != made:
        log.warning("collection_made_anew", stream=reading.stream, result="reading starts from the beginning")
        place = None
    if place is not None and not place.done:
        return place
    with server.judged(reading.where):
        texts = place.texts if place else not _holds_object_ids(reading)
        if reading.cursor is None:
            return Place(reading.by, texts=texts, made=made)
        now = server.now()
        high = place.high if place else None
        if high is not None and queries.kind_of(high.held) is None:
            high = None  # an older version followed Decimal128's NaN, behind which the server finds no number
        if high is not None and _is_behind(reading, high):
            # The document at the mark is gone: deleted, or the source was restored. What came since may be below it.
            log.warning("source_behind_its_mark", stream=reading.stream, result="reading starts from the beginning")
            high = None
        if high is not None:
            start = Value(queries.less(high.held, _lookback(reading, high.held)))
            return Place(reading.by, "odd", start=start, high=high, mark=high, texts=texts, made=made)
        # Everything by `_id`, which always has an index: whatever changes meanwhile stands behind the mark.
        mark = _greatest(reading, now)
        return Place(reading.by, mark=mark, texts=texts, seen=reading.seen, made=made)


def read(reading: Reading, server: Server, place: Place, limit: int | None = None) -> Iterator[Batch]:
    """Batches from `place` on. One is held back until it is known to be the last, or not.

    Of a stream with a cursor a reading of everything says where it begins, too: at its end it met all there is. What
    changes meanwhile has a cursor value behind the mark, and comes in the next flight.
    """
    now = server.now() if reading.cursor else None
    held: Batch | None = None
    left, at = limit, place
    begins = reading.cursor is not None and place.phase == "all" and place.id is None
    while True:
        for moved, batch in _phase(reading, server, at, now):
            if held:
                yield held
            held, at, begins = replace(batch, begins=begins), moved, False
            if left is not None:
                left -= batch.table.num_rows
                if left <= 0:
                    yield replace(held, table=held.table.slice(0, held.table.num_rows + left))
                    return
        if at.phase != "odd":
            break
        at = at.at("rows")
    if limit is not None:
        if held:
            yield held
        return
    made = _made(reading, server)
    if made == _GONE or (None not in (made, place.made) and made != place.made):
        raise RetryLater(
            "the collection was dropped, and perhaps made anew, while it was read",
            code="collection_gone",
            where=reading.where,
        )
    last = held or Batch(reading.stream, _no_rows(), {}, begins=begins)
    yield replace(last, cursor=at.finished().cursor(), complete=place.phase == "all", ends=True)


def _phase(reading: Reading, server: Server, place: Place, now: dt.datetime | None) -> Iterator[tuple[Place, Batch]]:
    """(place after it, batch) until the phase has no more. A cursor that breaks is followed by another one."""
    kind = queries.kind_of(place.mark.held) if place.mark else None
    failures = 0
    while True:
        try:
            answers = iter(reading.raw(place, kind))
            with query(f"read {reading.stream}", "mongodb"):
                first = next(answers, None)
            for raw in () if first is None else itertools.chain((first,), answers):
                for piece in slices(raw, reading.batch_bytes):
                    for batch, moved in _batches(reading, place, kind, piece, now):
                        failures, place = 0, moved
                        yield place, batch
        except errors.PyMongoError as error:
            failures += 1
            if failures >= _ATTEMPTS or not is_momentary(error):
                raise server.verdict(error, reading.where) from None
            log.info("cursor_opened_again", stream=reading.stream, because=type(error).__name__)
        else:
            return


def _batches(
    reading: Reading, place: Place, kind: str | None, raw: bytes, now: dt.datetime | None
) -> Iterator[tuple[Batch, Place]]:
    if quickly := _alike(reading, place, kind, raw, now):
        yield quickly
        return
    documents, rejects = decode(raw, reading.stream)
    if not documents:
        yield _rejected(reading, rejects, place), place
        return
    done = 0
    for number, table in tables(documents, plain_text_ids=place.texts):
        place = _after(reading, place, kind, documents[done : done + number], now)
        done += number
        yield Batch(reading.stream, table, place.cursor(), rejects=tuple(rejects)), place
        rejects = []


def _alike(
    reading: Reading, place: Place, kind: str | None, raw: bytes, now: dt.datetime | None
) -> tuple[Batch, Place] | None:
    """The same for documents whose fields can be read all at once; None for others."""
    found = quick.table(raw, plain_text_ids=place.texts) or mixed.table(raw, plain_text_ids=place.texts)
    if found is None:
        return None
    table, piece = found
    last = bson.decode(piece, CODEC)
    if place.phase == "rows":
        assert reading.cursor is not None
        assert now is not None
        value = queries.dig(last, reading.cursor)
        if queries.kind_of(value) != kind or not queries.not_later(value, now):
            return None  # one before it tells where reading stands
    moved = _after(reading, place, kind, [last], now)
    return Batch(reading.stream, table, moved.cursor()), moved


def _after(
    reading: Reading, place: Place, kind: str | None, documents: list[dict[str, Any]], now: dt.datetime | None
) -> Place:
    """The place once these documents are sealed."""
    if ID not in documents[-1]:
        message = "a document has no _id, so reading cannot be resumed after it"
        advice = "let `pipeline` keep `_id`, or name one with $set"
        raise GiveUp(message, code="no_id", where=reading.where, advice=advice)
    if place.phase != "rows":
        return replace(place, id=Value(documents[-1][ID]))
    assert reading.cursor is not None
    assert now is not None
    for document in reversed(documents):
        value = queries.dig(document, reading.cursor)
        if queries.kind_of(value) != kind:
            continue  # an array: the server found it by one of its members, and may find it again
        place = replace(place, id=Value(document[ID]), value=Value(value))
        break
    for document in reversed(documents):
        value = queries.dig(document, reading.cursor)
        if queries.kind_of(value) == kind and queries.not_later(value, now):
            return replace(place, mark=Value(value))
    return place


def _rejected(reading: Reading, rejects: list[Reject], place: Place) -> Batch:
    return Batch(reading.stream, _no_rows(), place.cursor(), rejects=tuple(rejects))


def _no_rows() -> pa.Table:
    return pa.table({})


def _greatest(reading: Reading, now: dt.datetime) -> Value | None:
    """The greatest value of the cursor field that is not in the future; None where there is none to follow."""
    assert reading.cursor is not None
    for kind, types in queries.KINDS.items():
        condition = {"$type": list(types), "$not": {"$type": "array"}, **queries.cap(kind, now)}
        document = _first(reading, {reading.cursor: condition}, [(reading.cursor, -1)])
        value = queries.dig(document, reading.cursor) if document else None
        if queries.kind_of(value) == kind:
            return Value(value)
    return None


def _made(reading: Reading, server: Server) -> str | None:
    """The UUID of the collection, or `_GONE`; None where the server does not tell this login, as of a view."""
    database, name = reading.collection.database, reading.collection.name
    asked = {"listCollections": 1, "filter": {"name": name}}
    try:
        found = list(database.cursor_command(asked, read_preference=database.read_preference))
    except errors.OperationFailure:
        return None
    except errors.PyMongoError as error:
        raise server.verdict(error, reading.where) from None
    if not found:
        return _GONE
    told = found[0].get("info", {}).get("uuid")
    return told.hex() if isinstance(told, bytes) else None


def _is_behind(reading: Reading, high: Value) -> bool:
    assert reading.cursor is not None
    return _first(reading, {reading.cursor: {"$gte": high.held}}, [(reading.cursor, 1)]) is None


def _holds_object_ids(reading: Reading) -> bool:
    texts = _first(reading, {ID: {"$type": "string"}}, [(ID, 1)])
    return texts is None or _first(reading, {ID: {"$type": "objectId"}}, [(ID, 1)]) is not None


def _first(reading: Reading, condition: queries.Query, sort: list[tuple[str, int]]) -> dict[str, Any] | None:
    most = int(reading.most_time * 1000)
    if reading.pipeline:
        stages = [*reading.pipeline, {"$match": condition}, {"$sort": dict(sort)}, {"$limit": 1}]
        return next(iter(reading.collection.aggregate(stages, session=reading.session, maxTimeMS=most)), None)
    asked = queries.both(reading.filter, condition)
    return reading.collection.find_one(asked, session=reading.session, sort=sort, max_time_ms=most)


def _lookback(reading: Reading, value: Any) -> float:
    if reading.lookback is not None:
        return reading.lookback
    return {"number": 1000.0, "string": 0.0}.get(queries.kind_of(value) or "", 60.0)
