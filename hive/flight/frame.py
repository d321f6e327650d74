"""The records of a batch in the form that the jar takes, and what stands beside each of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from nectar.batch import FEW
from nectar.canonical import to_polars
from nectar.encode import Marks, encode, texts
from nectar.pipeline import Refined


def searched(table: pa.Table, *, document: bool) -> tuple[str, ...]:
    """A document's text; of other records all that is plain text."""
    names = tuple(name for name, _ in texts(table))
    return ("text",) if document and "text" in names else names


def frame_of(refined: Refined, kept: pl.DataFrame, key: Sequence[str], first: int) -> pl.DataFrame:
    """The records that were kept, as `land.write` takes them. `first`: the place of the first row in its batch."""
    objects, inexact = encode(refined.table)
    keys = record_keys(refined.table, key, kept["key_hash"])
    return pl.DataFrame(
        {
            "key_hash": kept["key_hash"],
            "content_hash": kept["content_hash"],
            "record_key": keys,
            "row": kept["at"] + first,
            "data": objects,
            "marks": marks(refined.removed, inexact, refined.table.num_rows),
            "deleted": pl.Series([False] * kept.height, dtype=pl.Boolean),
        }
    )


def tombstones(gone: pl.DataFrame, first: int) -> pl.DataFrame:
    """A delete of a record that was never seen is written too: an older version that comes later must not land."""
    nothing = pl.Series([None] * gone.height, dtype=pl.String)
    return pl.DataFrame(
        {
            "key_hash": gone["key_hash"],
            "content_hash": gone["content_hash"],
            "record_key": gone["key_hash"],
            "row": gone["at"] + first,
            "data": nothing,
            "marks": nothing,
            "deleted": gone["deleted"],
        }
    )


def record_keys(table: pa.Table, key: Sequence[str], hashes: pl.Series) -> pl.Series:
    """The scrubbed key as text, for people: a JSON array if it has several columns, the hash where it was removed."""
    columns = [c for c in key if c in table.column_names]
    if len(columns) == 1 and table.num_rows > FEW and _reads_alike(table[columns[0]].type):
        told = to_polars(table[columns[0]]).cast(pl.String).str.replace_all("\x00", "\ufffd", literal=True)
        return told.zip_with(told.is_not_null(), hashes.cast(pl.String))
    if len(columns) > 1 and table.num_rows > FEW and all(_reads_alike(table[c].type) for c in columns):
        quoted = [_quoted(to_polars(table[c])) for c in columns]
        told = pl.select(pl.format("[{}]", pl.concat_str(quoted, separator=", "))).to_series()
        return told.zip_with(told.is_not_null(), hashes.cast(pl.String))
    words: list[str] = []
    for values, fallback in zip(zip(*[table[c].to_pylist() for c in columns], strict=True), hashes, strict=False):
        if any(v is None for v in values):
            words.append(fallback)
        else:
            parts = [v if isinstance(v, str) else str(v) for v in values]
            words.append(parts[0] if len(parts) == 1 else json.dumps(parts, ensure_ascii=False))
    return pl.Series([w.replace("\x00", "\ufffd") for w in words] or hashes.to_list(), dtype=pl.String)


def _quoted(column: pl.Series) -> pl.Series:
    """Texts or integers as JSON's texts; null stays null."""
    if column.dtype != pl.String:
        return pl.select(pl.format('"{}"', column.cast(pl.String))).to_series()
    distinct = column.drop_nulls().unique().to_list()
    written = [json.dumps(text, ensure_ascii=False) for text in distinct]
    return column.replace_strict(distinct, written, default=None, return_dtype=pl.String)


def _reads_alike(kind: pa.DataType) -> bool:
    """Whether polars writes its values as Python does."""
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def marks(removed: pa.Table, inexact: Marks, rows: int) -> pl.Series:
    """Per record: what was removed from which field (kinds and counts), and which fields could not be held exactly."""
    if removed.num_rows <= FEW:
        return pl.Series(marks_of(removed, inexact, rows), dtype=pl.String)
    lines = pl.DataFrame(pl.from_arrow(removed.select(["row", "field", "kind", "count"])))
    kinds = pl.concat_str(_as_json(lines["kind"]), pl.lit(": "), pl.col("count"))
    fields = lines.select("row", pl.col("field"), kinds=kinds).group_by("row", "field", maintain_order=True)
    told = fields.agg(pl.col("kinds").str.join(", "))
    told = told.select("row", line=pl.concat_str(_as_json(told["field"]), pl.lit(": {"), "kinds", pl.lit("}")))
    whole = pl.concat_str(pl.lit('{"removed": {'), pl.col("line").str.join(", "), pl.lit("}}"))
    told = told.group_by("row").agg(whole.first().alias("marks"))
    written = pl.repeat(None, rows, dtype=pl.String, eager=True).scatter(told["row"].to_list(), told["marks"].to_list())
    if inexact:
        odd = list(inexact)
        both = marks_of(removed.filter(pc.is_in(removed["row"], pa.array(odd, removed["row"].type))), inexact, rows)
        written = written.scatter(odd, [both[n] for n in odd])
    return written


def _as_json(names: pl.Series) -> pl.Series:
    """Texts of which few are distinct, as JSON."""
    distinct = names.unique().to_list()
    return names.replace_strict(distinct, [json.dumps(name, ensure_ascii=False) for name in distinct])


def marks_of(removed: pa.Table, inexact: Marks, rows: int) -> list[str | None]:
    """The same, record by record."""
    found: dict[int, dict[str, dict[str, Any]]] = {}
    lines = zip(*[removed[c].to_pylist() for c in ("row", "field", "kind", "count")], strict=True)
    for row, name, kind, count in lines:
        found.setdefault(row, {}).setdefault("removed", {}).setdefault(name, {})[kind] = count
    for row, names in inexact.items():
        found.setdefault(row, {})["inexact"] = dict(names)
    return [json.dumps(found[n], ensure_ascii=False) if n in found else None for n in range(rows)]
