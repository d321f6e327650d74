"""A collection's changes as they happen: a whole read first, then the change stream from a token taken before it.

A change that is read twice, or that the whole read has seen already, only says the same again: each carries the whole
document as it is now (`updateLookup`), or its deletion. Change streams need a replica set; with no such server at
hand, the tests hold this against a scripted peer that speaks the same protocol.
https://www.mongodb.com/docs/manual/changeStreams/
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import bson
import pyarrow as pa
from bson.codec_options import CodecOptions
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument

from bees.core.errors import GiveUp
from bees.core.mongo.place import Place
from bees.core.mongo.read import read
from bees.core.mongo.values import CODEC, ID, tables
from nectar.batch import Batch

if TYPE_CHECKING:
    from bees.core.mongo.read import Reading
    from bees.core.mongo.session import Server

BY = ("changes",)
_WAIT_MS = 250
"""How long the server holds an answer back when nothing has changed."""
_UPSERTS = {"insert", "replace", "update"}
_ENDS = {"drop", "rename", "dropDatabase", "invalidate"}


@dataclass
class _Pile:
    """Changes of the next batch, in their order."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, document: dict[str, Any], op: str, size: int) -> None:
        self.documents.append(document)
        self.ops.append(op)
        self.size += size


def follow(reading: Reading, server: Server, cursor_place: Place | None, idle: float) -> Iterator[Batch]:
    """A whole read where there was none, then the changes until none came for `idle` seconds."""
    place = cursor_place
    if place is None:
        with server.judged(reading.where):
            place = Place(BY, "all", token=_token(reading), seen=reading.seen)
    if place.phase == "all":
        yield from _whole(reading, server, place)
        place = Place(BY, "changes", token=place.token, texts=place.texts)
    yield from _changes(reading, server, place, idle)


def _whole(reading: Reading, server: Server, place: Place) -> Iterator[Batch]:
    """The documents as they are, each an upsert; afterwards the place is at the start of the changes."""
    token = place.token
    plain = replace(reading, cursor=None)
    begins = place.id is None
    for batch in read(plain, server, replace(place, by=plain.by)):
        told = batch.cursor
        done = Place(BY, "changes", token=token, texts=place.texts)
        at = done if told["done"] else replace(done, phase="all", seen=place.seen)
        cursor = dict(at.cursor()) | ({} if told["done"] or "id" not in told else {"id": told["id"]})
        ops = pa.array(["upsert"] * batch.table.num_rows, pa.string())
        table = batch.table.append_column("_op", ops) if batch.table.num_rows else batch.table
        # Read anew, the collection tells what is gone; what changes meanwhile comes behind and is newer.
        yield replace(batch, table=table, cursor=cursor, begins=begins)
        begins = False


def _token(reading: Reading) -> Any:
    with reading.collection.watch(
        _stages(reading), full_document="updateLookup", max_await_time_ms=1, session=reading.session
    ) as stream:
        stream.try_next()
        token = stream.resume_token
    if token is None:
        message = "the server gives no resume token to begin with"
        raise GiveUp(message, code="no_changes", where=reading.where, advice="it must be MongoDB 4.2 or later")
    return token


def _changes(reading: Reading, server: Server, place: Place, idle: float) -> Iterator[Batch]:
    collection = reading.collection.with_options(_raw(reading.collection.codec_options))
    pile = _Pile()
    token = place.token
    with server.judged(reading.where), _watched(collection, reading, token) as stream:
        quiet_since = time.monotonic()
        while True:
            change = stream.try_next()
            if change is not None:
                quiet_since = time.monotonic()
                _take(pile, bson.decode(change.raw, CODEC), len(change.raw), reading)
            full = len(pile.ops) >= reading.batch_rows or pile.size >= reading.batch_bytes
            if pile.ops and (full or change is None):
                token = stream.resume_token
                yield _batch(reading, pile, replace(place, token=token))
                pile = _Pile()
                quiet_since = time.monotonic()
            elif change is None and time.monotonic() - quiet_since >= idle:
                break
        last = stream.resume_token
    if last != token:  # other collections' changes moved the token on: a quiet one must not fall out of the oplog
        yield Batch(reading.stream, pa.table({}), replace(place, token=last).cursor())


def _watched(collection: Any, reading: Reading, token: Any) -> Any:
    try:
        return collection.watch(
            _stages(reading),
            full_document="updateLookup",
            start_after=token,
            max_await_time_ms=_WAIT_MS,
            session=reading.session,
        )
    except InvalidDocument:
        message = "the stored resume token is not one of this server"
        raise GiveUp(message, code="bad_cursor", where=reading.where, advice="use --full-refresh") from None


def _raw(options: CodecOptions[Any]) -> CodecOptions[Any]:
    return options.with_options(document_class=RawBSONDocument)


def _stages(reading: Reading) -> list[dict[str, Any]]:
    """The projection, applied to the document inside of a change."""
    if not reading.projection:
        return []
    inner = {f"fullDocument.{name}": said for name, said in reading.projection.items()}
    if 0 in reading.projection.values():
        return [{"$project": inner}]
    return [{"$project": {"operationType": 1, "documentKey": 1, f"fullDocument.{ID}": 1, **inner}}]


def _take(pile: _Pile, change: dict[str, Any], size: int, reading: Reading) -> None:
    kind = change.get("operationType")
    if kind in _ENDS:
        message = "the collection was dropped or renamed while its changes were followed"
        advice = "read everything anew with --full-refresh once it is what it should be"
        raise GiveUp(message, code="collection_gone", where=reading.where, advice=advice)
    if kind == "delete":
        pile.add({ID: change["documentKey"][ID]}, "delete", size)
    elif kind in _UPSERTS and change.get("fullDocument") is not None:
        pile.add(change["fullDocument"], "upsert", size)
    # An update without a document: it is gone by now, and its deletion comes behind.


def _batch(reading: Reading, pile: _Pile, place: Place) -> Batch:
    made, done = [], 0
    for number, table in tables(pile.documents, plain_text_ids=place.texts):
        ops = pa.array(pile.ops[done : done + number], pa.string())
        made.append(table.append_column("_op", ops))
        done += number
    joined = made[0] if len(made) == 1 else pa.concat_tables(made, promote_options="default")
    return Batch(reading.stream, joined, place.cursor())
