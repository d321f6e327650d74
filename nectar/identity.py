"""Who a record is (key hash) and what it says (content hash), computed on columns."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import polars as pl
import polars_hash as plh
import pyarrow as pa

from nectar import canonical
from nectar.batch import FEW

BITS = 128


def key_hashes(table: pa.Table, key: Sequence[str], secret: bytes) -> pl.Series:
    """HMAC-SHA-256 of each row's canonical key, its first 128 bits as hex; null where a part of the key is null.

    `secret` never rotates: it names records for ever. Raises KeyError for a key column that the table lacks.
    """
    return _keyed(canonical.keys(table, key), secret)


def key_hash(key: Sequence[str | int], secret: bytes) -> str:
    """The same of one key whose values are at hand, without a table around them."""
    return _digest(canonical.key_of(key), secret.hex().encode())


def content_hashes(table: pa.Table, secret: bytes) -> pl.Series:
    """HMAC-SHA-256 of each row's canonical content, its first 128 bits as hex."""
    if not canonical.is_heavy(table):
        return _keyed(canonical.records(table), secret)
    digests = []
    for pieces in canonical.pieces(table):
        made = hmac.new(secret.hex().encode(), digestmod="sha256")
        for piece in pieces:
            made.update(piece)
        digests.append(made.hexdigest()[: BITS // 4])
    return pl.Series(digests, dtype=pl.String)


def _keyed(texts: pl.Series, secret: bytes) -> pl.Series:
    if len(texts) <= FEW:
        key = secret.hex().encode()
        return pl.Series([None if t is None else _digest(t, key) for t in texts.to_list()], dtype=pl.String)
    digest = plh.col("text").chash.hmac_sha256(key=secret.hex())
    return pl.DataFrame({"text": texts}).select(digest.str.slice(0, BITS // 4)).to_series()


def _digest(text: str, key: bytes) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()[: BITS // 4]
