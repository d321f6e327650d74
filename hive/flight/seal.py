"""Sealed batches: Arrow IPC, compressed, then AES-256-GCM under the flight's key, bound to its place.

What a later step needs to know of the records travels in the schema's metadata, inside the seal: nothing readable is
written between the source and the scrubber.
"""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from hive.errors import Unreadable
from hive.vault.envelope import Unsealable, open_, seal, unwrap
from hive.vault.key import HiveKey
from nectar.batch import Reject

_META = b"hive.batch"


@dataclass(frozen=True)
class Meta:
    """What is known of a batch beside its rows."""

    stream: str
    key: tuple[str, ...]
    collected_at: str
    document: bool = False
    kinds: dict[str, str] = field(default_factory=dict)
    """Column -> nectar.pollen kind, where the source told more than Arrow knows."""
    whole: bool = False
    """Each reading of the stream is of the whole stream."""
    sections: tuple[tuple[str, int, int], ...] = ()
    """Name, first row and the row behind the last one of each section of the stream that the batch has rows of."""
    distinct_from: int | None = None
    """The seq at which a run of batches began, this one among them, in which no key comes twice; None: not known."""


def pack(table: pa.Table, meta: Meta, rejects: Sequence[Reject]) -> bytes:
    """Records, rejects and metadata as compressed Arrow IPC."""
    told = dict(meta.__dict__)
    about = {
        "distinct_from": told.pop("distinct_from"),  # beside: a worker of an older version knows no such word
        "meta": told,
        "rejects": [[r.position, r.code, r.reason, base64.b64encode(r.raw).decode()] for r in rejects],
    }
    schema = table.schema.with_metadata({**(table.schema.metadata or {}), _META: json.dumps(about).encode()})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4" if table.nbytes > 4096 else None)  # below, lz4 only costs
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: bytes) -> tuple[pa.Table, Meta, list[Reject]]:
    table = pa.ipc.open_stream(packed).read_all()
    about: dict[str, Any] = json.loads(table.schema.metadata[_META])
    told = about["meta"]
    sections = tuple((name, start, stop) for name, start, stop in told.get("sections", ()))
    known = {"key": tuple(told["key"]), "sections": sections, "distinct_from": about.get("distinct_from")}
    meta = Meta(**(told | known))
    rejects = [Reject(p, c, r, base64.b64decode(raw)) for p, c, r, raw in about["rejects"]]
    kept = {k: v for k, v in table.schema.metadata.items() if k != _META}
    return table.replace_schema_metadata(kept or None), meta, rejects


def place(flight: uuid.UUID, checkpoint: int, seq: int) -> bytes:
    """What a sealed batch is bound to: moved anywhere else, it does not open."""
    return flight.bytes + struct.pack(">qq", checkpoint, seq)


def flight_key(key: HiveKey, wrapped: bytes | None, flight: uuid.UUID) -> bytes:
    """The flight's data key. Raises Unreadable when the flight was closed or another hive key made it."""
    if wrapped is None:
        raise Unreadable("the flight's key was destroyed when it closed", advice="fly the bee again")
    try:
        return unwrap(key.key, wrapped, flight.bytes)
    except Unsealable as error:
        raise Unreadable(
            "the hive key of this worker does not open this flight", advice="give every worker the same HIVE_KEY"
        ) from error


def seal_batch(data_key: bytes, packed: bytes, aad: bytes) -> bytes:
    return seal(data_key, packed, aad)


def open_batch(data_key: bytes, body: bytes | None, aad: bytes) -> bytes:
    """The packed batch. Raises Unreadable for one that is missing or was changed."""
    if body is None:
        raise Unreadable("the sealed batch is missing", advice="fly the bee with --full-refresh")
    try:
        return open_(data_key, body, aad)
    except Unsealable as error:
        raise Unreadable(
            "the sealed batch does not open: it was changed or moved", advice="fly the bee again"
        ) from error
