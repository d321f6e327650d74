"""Full text: what of a record people can search, and the search itself."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
import polars_hash as plh
import pyarrow as pa

from hive.jars.listing import find_jar
from hive.ledger.db import Database
from nectar.batch import FEW
from nectar.chunk import chunks
from nectar.encode import texts

_PIECES = {"key_hash": pl.String, "n": pl.Int32, "text": pl.String, "text_hash": pl.String}
_ONE_CHUNK = 64_000
"""Characters that surely fit into one chunk's 256 KiB of UTF-8."""


def pieces(table: pa.Table, keys: pl.Series, *, document: bool) -> pl.DataFrame:
    """(key_hash, n, text, text_hash) of scrubbed records: documents in chunks, other records as one text."""
    columns = dict(texts(table))
    if not columns:
        return _hashed(pl.DataFrame(schema={"key_hash": pl.String, "n": pl.Int32, "text": pl.String}))
    if document and "text" in columns:
        return _hashed(_split(keys, columns["text"].fill_null("")))
    if table.num_rows <= FEW:
        return _of_few(keys, columns)
    joined = pl.concat_str(pl.all().fill_null(""), separator="\n").str.strip_chars("\n")
    plain = joined.str.replace_all("\x00", " ", literal=True).alias("text")
    found = pl.DataFrame(columns).select(plain, plain.str.len_chars().alias("length")).with_columns(key_hash=keys)
    long = found.filter(pl.col("length") > _ONE_CHUNK)
    short = found.filter((pl.col("length") <= _ONE_CHUNK) & (pl.col("length") > 0))
    whole = short.select("key_hash", pl.lit(0, dtype=pl.Int32).alias("n"), "text")
    return _hashed(pl.concat([whole, _split(long["key_hash"], long["text"])]) if long.height else whole)


def _of_few(keys: pl.Series, columns: dict[str, pl.Series]) -> pl.DataFrame:
    found = []
    rows = zip(*[column.to_list() for column in columns.values()], strict=True)
    for key, row in zip(keys.to_list(), rows, strict=True):
        text = "\n".join([value or "" for value in row]).strip("\n").replace("\x00", " ")
        cut = [text] if len(text) <= _ONE_CHUNK else [chunk.text for chunk in chunks(text)]
        found += [
            (key, n, piece, hashlib.sha256(piece.encode()).hexdigest()[:32])
            for n, piece in enumerate(cut)
            if piece.strip() or (piece and len(cut) == 1)
        ]
    return pl.DataFrame(found, schema=_PIECES, orient="row")


def _split(keys: pl.Series, values: pl.Series) -> pl.DataFrame:
    rows = [
        (key, n, chunk.text.replace("\x00", " "))
        for key, text in zip(keys, values, strict=True)
        for n, chunk in enumerate(chunks(text or ""))
        if chunk.text.strip()
    ]
    return pl.DataFrame(rows, schema={"key_hash": pl.String, "n": pl.Int32, "text": pl.String}, orient="row")


def _hashed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(text_hash=plh.col("text").chash.sha2_256().str.slice(0, 32))


def search(db: Database, jar: str, text: str, *, top_k: int = 10) -> list[dict[str, Any]]:
    """The best matching records of a jar, by full text. `text` is what people type: words, "phrases", -not.

    Raises LookupError where there is no such jar.
    """
    with db.transaction() as tx:
        find_jar(tx, jar)
        found = tx.psycopg.execute(
            "WITH q AS (SELECT websearch_to_tsquery('english', %(text)s) AS query), best AS ("
            " SELECT c.part, c.jar, c.bee, c.stream, c.key_hash, max(ts_rank_cd(c.words, q.query)) AS rank,"
            "        (array_agg(c.text ORDER BY ts_rank_cd(c.words, q.query) DESC))[1] AS text"
            "   FROM q, hive.jar j JOIN hive.chunk c ON c.part = j.part AND c.jar = j.id"
            "  WHERE j.name = %(jar)s AND j.visible AND c.words @@ q.query GROUP BY 1, 2, 3, 4, 5"
            "  ORDER BY rank DESC LIMIT %(top_k)s)"
            " SELECT b.name, s.name, h.record_key, best.rank,"
            "        ts_headline('english', left(best.text, 100000), q.query, 'MaxFragments=1,MaxWords=20,MinWords=5')"
            "   FROM q, best JOIN hive.honey h USING (part, jar, bee, stream, key_hash)"
            "   JOIN hive.bee b ON b.id = best.bee JOIN hive.stream s ON s.id = best.stream"
            "  WHERE h.deleted_at IS NULL ORDER BY best.rank DESC",
            {"jar": jar, "text": text, "top_k": top_k},
        ).fetchall()
    return [{"bee": b, "stream": s, "key": k, "rank": float(r), "text": t} for b, s, k, r, t in found]
