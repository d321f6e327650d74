"""Records that could not land: kept sealed, with their reason, until somebody decides.

Where a source put what could not be read is sealed with it: file names hold names of people and their addresses. The
column `place` says only what kind of file it was and which line, page or item (`shown_place`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hive.jars.land import Place
from hive.ledger.db import Transaction
from hive.vault.envelope import open_, seal

REASONS = {
    "null_key": "a part of its key is null or missing",
    "too_large": "a value is above HIVE_VALUE_LIMIT",
    "text_too_long": "a text has more than 16,777,216 characters, and no longer one is searched for personal data",
    "killed_worker": "a worker died each time it worked on this record",
    "dead_batch": "this part of a batch failed at every try",
}

HEADER_BYTES = 4
"""In front of a sealed record: the length of its place, then the place itself."""

_FORMATS = (
    "avro|bmp|bz2|cfg|conf|csv|doc|docx|eml|feather|gif|gz|htm|html|ini|jpeg|jpg|json|jsonl|log|md|msg|ndjson|odp|ods"
    "|odt|orc|parquet|pdf|png|ppt|pptx|rst|rtf|sql|svg|tar|tex|tgz|tif|tiff|toml|tsv|txt|vcf|webp|xls|xlsx|xml|xz|yaml"
    "|yml|zip|zst"
)
_FILE = re.compile(rf"(?i)(?P<suffix>(?:\.(?:{_FORMATS})){{1,2}})(?::(?P<line>\d{{1,12}}))?(?P<rest>(?:, \w+ \d+)*)$")
_LINE = re.compile(r":(\d{1,6})$")
_COUNT = re.compile(r"(?:^|, )((?:line|row|page|item|record|part|byte) \d{1,9})(?=, |$)")


@dataclass(frozen=True)
class Bad:
    """A record on its way to quarantine. `raw` and `place` are sealed; `records` counts more than one."""

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
            bytes.fromhex(b.key_hash) if b.key_hash else None, b.code, b.reason,
            shown_place(b.place), seal(secret, _packed(b), _aad(checkpoint, place.seq, b.row)), key_id,
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
    return open_entry(secret, checkpoint, seq, row, body)[1]


def open_entry(secret: bytes, checkpoint: int, seq: int, row: int, body: bytes) -> tuple[str, bytes]:
    """(the place as the source named it, the raw bytes) of a quarantined record."""
    packed = open_(secret, body, _aad(checkpoint, seq, row))
    end = HEADER_BYTES + int(struct.unpack_from(">I", packed)[0])
    return packed[HEADER_BYTES:end].decode("utf-8", "surrogatepass"), packed[end:]


def shown_place(place: str) -> str:
    """What may be shown of a place: "*.csv, line 7" of "jane.doe@example.com.csv:7"; "page 3, item 2" as it is.

    Nothing is detected here, for those who read and clear up carry no recognisers: a suffix that is a known format and
    small numbers with a known word pass, all else is "*". No place stays none.
    """
    if not place:
        return ""
    file = _FILE.search(place)
    counts = [found[1] for found in _COUNT.finditer(place if file is None else file["rest"])]
    if file is not None:
        line = [f"line {file['line']}"] if file["line"] else []
        return ", ".join([f"*{file['suffix'].lower()}", *line, *counts])
    if bare := _LINE.search(place):
        return f"*, line {bare[1]}"
    return ", ".join(counts) or "*"


def _packed(bad: Bad) -> bytes:
    place = bad.place.encode("utf-8", "surrogatepass")
    return struct.pack(">I", len(place)) + place + bad.raw


def _aad(checkpoint: int, seq: int, row: int) -> bytes:
    return b"quarantine|" + struct.pack(">qqq", checkpoint, seq, row)
