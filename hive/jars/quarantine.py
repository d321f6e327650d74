"""Records that could not land: kept sealed, with their reason, until somebody decides."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hive.jars.land import Place
from hive.ledger.db import Transaction
from hive.vault.envelope import open_, seal

REASONS = {
    "null_key": "a part of its key is null or missing",
    "too_large": "a value is above HIVE_VALUE_LIMIT",
    "killed_worker": "a worker died each time it worked on this record",
    "dead_batch": "this part of a batch failed at every try",
}


@dataclass(frozen=True)
class Bad:
    """A record on its way to quarantine. `raw` is sealed before it is written; `records` counts more than one."""

    row: int
    code: str
    reason: str
    raw: bytes
    place: str = ""
    key_hash: str | None = None
    records: int = 1


def quarantine(tx: Transaction, key: tuple[str, bytes], place: Place, checkpoint: int, bad: Sequence[Bad]) -> None:
    """Write bad records down; `key` is the keyring's `quarantine` key."""
    key_id, secret = key
    rows = [
        (
            place.jar, place.bee, place.stream, place.flight, checkpoint, place.epoch, place.seq, b.row, b.records,
            bytes.fromhex(b.key_hash) if b.key_hash else None, b.code, b.reason, b.place,
            seal(secret, b.raw, _aad(checkpoint, place.seq, b.row)), key_id,
        )
        for b in bad
    ]  # fmt: skip
    with tx.psycopg.cursor() as cursor:
        cursor.executemany(
            'INSERT INTO hive.quarantine (jar, bee, stream, flight, checkpoint, epoch, seq, "row", records, key_hash,'
            " code, reason, place, body, key_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


def open_record(secret: bytes, checkpoint: int, seq: int, row: int, body: bytes) -> bytes:
    """The raw bytes of a quarantined record."""
    return open_(secret, body, _aad(checkpoint, seq, row))


def _aad(checkpoint: int, seq: int, row: int) -> bytes:
    return b"quarantine|" + struct.pack(">qqq", checkpoint, seq, row)
