"""The records of a batch in the form that the jar takes, and what stands beside each of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from nectar.batch import FEW
from nectar.canonical import to_polars
from nectar.encode import Marks, encode, searchable
from nectar.pipeline import Refined

_BITS = 52
"""Of which a sum of different powers of two is exact."""
_MOST_SETS = 4
"""Passes over all lines, beyond which record by record is as quick."""
_TABLED = 1 << 20
"""Numbers below it are looked up in a table, others sorted."""


def searched(table: pa.Table, *, document: bool) -> tuple[str, ...]:
    """A document's text; of other records all that is plain text."""
    names = tuple(searchable(table))
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
    found = _sorts(removed, rows)
    if found is None:
        return pl.Series(marks_of(removed, inexact, rows), dtype=pl.String)
    owners, sorts, lines = found
    one_of_each = marks_of(lines, {}, int(sorts.max()) + 1)
    which = np.full(rows, len(one_of_each))
    which[owners] = sorts
    written = pl.Series([*one_of_each, None], dtype=pl.String).gather(which)
    if inexact:
        odd = list(inexact)
        both = marks_of(removed.filter(pc.is_in(removed["row"], pa.array(odd, removed["row"].type))), inexact, rows)
        written = written.scatter(odd, [both[n] for n in odd])
    return written


def _sorts(removed: pa.Table, rows: int) -> tuple[Any, Any, pa.Table] | None:
    """Which rows something was removed from, of which sort each is, and the lines of one row of each sort.

    Rows of which the same was removed are of one sort: there are few, however many rows. None where there are many, as
    with fields that are named for each row. In the lines returned the sort's number stands in the place of the row's.
    `removed` has one line at most for each row, field and kind.
    """
    of = removed["row"].to_numpy()
    codes = removed["count"].to_numpy().astype(np.int64)
    for column in ("field", "kind"):
        named = removed[column].combine_chunks().dictionary_encode()
        codes = codes * len(named.dictionary) + named.indices.to_numpy()
    codes = _small(codes)
    if codes.max() >= _MOST_SETS * _BITS:
        return None
    owners = np.flatnonzero(np.bincount(of, minlength=rows))
    sorts = np.zeros(len(owners), dtype=np.int64)
    for low in range(0, int(codes.max()) + 1, _BITS):
        some = (codes >= low) & (codes < low + _BITS)
        # A row has one line at most of each code, so this sum is a set of codes.
        sets = np.bincount(of[some], np.ldexp(1.0, codes[some] - low), minlength=rows)[owners]
        told = np.unique(sets, return_inverse=True)[1]
        sorts = _small(sorts * (int(told.max()) + 1) + told)
    firsts = np.unique(sorts, return_index=True)[1]
    numbers = np.full(rows, -1)
    numbers[owners[firsts]] = np.arange(len(firsts))
    numbers = numbers[of]
    lines = removed.filter(pa.array(numbers >= 0))
    return owners, sorts, lines.set_column(0, "row", pa.array(numbers[numbers >= 0]))


def _small(codes: Any) -> Any:
    """Numbers from zero on in the place of these: equal ones where they are equal."""
    if codes.max() >= _TABLED:
        return np.unique(codes, return_inverse=True)[1]
    there = np.bincount(codes) > 0
    return (np.cumsum(there) - 1)[codes]


def marks_of(removed: pa.Table, inexact: Marks, rows: int) -> list[str | None]:
    """The same, record by record."""
    found: dict[int, dict[str, dict[str, Any]]] = {}
    lines = zip(*[removed[c].to_pylist() for c in ("row", "field", "kind", "count")], strict=True)
    for row, name, kind, count in lines:
        found.setdefault(row, {}).setdefault("removed", {}).setdefault(name, {})[kind] = count
    for row, names in inexact.items():
        found.setdefault(row, {})["inexact"] = dict(names)
    return [json.dumps(found[n], ensure_ascii=False) if n in found else None for n in range(rows)]
