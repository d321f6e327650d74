"""Entries of quarantine that end by themselves: a newer version of their record landed, so they tell of nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from bees.core.tabular import PLACE
from hive.jars.land import Place
from hive.jars.quarantine import Bad
from hive.ledger.db import Transaction
from nectar.batch import Reject
from nectar.identity import key_hash, key_hashes

_PATH = ("path",)
_LINE = re.compile(r"(?s)(.+)(?::|, item )([0-9]{1,18})")
_WITHIN = re.compile(r", (?:row group|batch|row) [0-9]+$")
_WHOLE = 0
"""The line of what is wrong with a file as a whole."""
_SETTLE = """
    UPDATE hive.quarantine q SET state = 'dropped', body = ''
     WHERE q.stream = %(stream)s AND q.state = 'open' AND (q.epoch, q.seq) < (%(epoch)s, %(seq)s)
       AND q.key_hash = ANY (SELECT decode(k, 'hex') FROM unnest(%(keys)s::text[]) k)
"""


def rejected(rejects: Sequence[tuple[int, Reject]], key: Sequence[str], secret: bytes) -> list[Bad]:
    """What the bee could not understand, by the rows it stands at; with its key where that is known."""
    keys = _keys_of([reject for _, reject in rejects], key, secret)
    return [
        Bad(row, r.code, r.reason, r.raw, r.position, key_hash)
        for (row, r), key_hash in zip(rejects, keys, strict=True)
    ]


def place_of(table: pa.Table, at: int, *, document: bool) -> str:
    """Which file a record of files is, and which line of it; nothing for other records."""
    names = _PATH if document else PLACE
    if not set(names) <= set(table.column_names):
        return ""
    return ":".join(str(table[name][at].as_py()) for name in names)


def _keys_of(rejects: Sequence[Reject], key: Sequence[str], secret: bytes) -> list[str | None]:
    """The key hash of what each reject stands for, where its place tells the key: a document's path, a row's line."""
    if not rejects:
        return []
    if tuple(key) == _PATH:
        return key_hashes(pa.table({"path": [reject.position for reject in rejects]}), _PATH, secret).to_list()
    if tuple(key) != PLACE:
        return [None] * len(rejects)
    found = [_LINE.fullmatch(reject.position) for reject in rejects]
    files = [f[1] if f else _WITHIN.sub("", r.position) for f, r in zip(found, rejects, strict=True)]
    lines = [int(f[2]) if f else _WHOLE for f in found]
    places = pa.table({PLACE[0]: pa.array(files, pa.string()), PLACE[1]: pa.array(lines, pa.int64())})
    return key_hashes(places, PLACE, secret).to_list()


def settle(tx: Transaction, place: Place, keys: Iterable[str]) -> None:
    """End what older batches put aside of these records, which were written or found as they are."""
    where = {"stream": place.stream, "epoch": place.epoch, "seq": place.seq}
    tx.execute(_SETTLE, {**where, "keys": list(keys)})


def keys_above(paths: Sequence[str], secret: bytes) -> list[str]:
    """The key hashes of the archives and folders that these documents are in: from one that is read, they come."""
    above = {path[:end] for path in paths for end, sign in enumerate(path) if sign == "/" and end}
    return [key_hash((path,), secret) for path in sorted(above)]


def keys_of_files(names: Sequence[str], secret: bytes) -> list[str]:
    """The key hashes (hex) under which files as a whole are put aside."""
    return [key_hash((name, _WHOLE), secret) for name in names]
