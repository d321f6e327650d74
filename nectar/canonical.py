"""One text for each value that means the same in every run, on every machine and with every version of a library.

Hashes of keys and contents are made over this form, so it may never change; tests hold a golden file against it.

    value   -> tag, length in bytes, ":", text       s text, j JSON literal (integers, booleans, exact numbers), f bits
                                                     of a float, t instant in microseconds, d days, b hex, n nested
    record  -> for each column that is not null, by name: length of the name, ":", name, value
    key     -> the values of the key columns in the key's order

A null is left out of a record, so a new column without values changes no hash.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from nectar.batch import mark_of


def values(column: pa.ChunkedArray, field: pa.Field) -> pl.Series:
    """The canonical text of each value of a column; null stays null."""
    tag, text = _text(column, field)
    value = pl.col("v")
    if tag == "j" and mark_of(field) == "json":
        return _mixed(text)
    tagged = pl.concat_str(pl.lit(tag), value.str.len_bytes(), pl.lit(":"), value)
    return pl.DataFrame({"v": text}).select(tagged).to_series()


def _mixed(texts: pl.Series) -> pl.Series:
    """JSON texts: one that is a string stands as the string does in a column of nothing but strings.

    A source without types gives "a7" among strings in one page and beside numbers in the next: it is the same key.
    """
    value = pl.col("v")
    quoted = value.str.starts_with('"')
    plain = pl.when(quoted).then(value.str.slice(1, value.str.len_chars() - 2)).otherwise(value)
    frame = pl.DataFrame({"v": texts}).select(quoted.alias("quoted"), plain.alias("v"))
    escaped = frame["quoted"].fill_null(value=False) & frame["v"].str.contains("\\", literal=True).fill_null(
        value=False
    )
    if escaped.any():
        spelled = [json.loads(f'"{v}"') if e else v for v, e in zip(frame["v"], escaped, strict=True)]
        frame = frame.with_columns(v=pl.Series(spelled, dtype=pl.String))
    tag = pl.when("quoted").then(pl.lit("s")).otherwise(pl.lit("j"))
    return frame.select(pl.concat_str(tag, value.str.len_bytes(), pl.lit(":"), value)).to_series()


def records(table: pa.Table) -> pl.Series:
    """The canonical text of each row of a table, without its reserved columns."""
    names = sorted(n for n in table.column_names if not n.startswith("_"))
    parts = []
    for name in names:
        prefix = f"{len(name.encode())}:{name}"
        column = values(table[name], table.schema.field(name))
        part = pl.concat_str(pl.lit(prefix), pl.col("v")).fill_null("")
        parts.append(pl.DataFrame({"v": column}).select(part).to_series())
    if not parts:
        return pl.Series([""] * table.num_rows, dtype=pl.String)
    frame = pl.DataFrame([s.alias(str(n)) for n, s in enumerate(parts)])
    return frame.select(pl.concat_str(pl.all())).to_series()


def keys(table: pa.Table, key: Sequence[str]) -> pl.Series:
    """The canonical text of each row's key; null where a part of the key is null."""
    frame = pl.DataFrame([values(table[name], table.schema.field(name)).alias(str(n)) for n, name in enumerate(key)])
    return frame.select(pl.concat_str(pl.all())).to_series()


def _text(column: pa.ChunkedArray, field: pa.Field) -> tuple[str, pl.Series]:
    kind, mark = field.type, mark_of(field)
    if pa.types.is_nested(kind):
        return "n", _nested(column)
    series = to_polars(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return ("j" if mark else "s"), series
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return "j", series.cast(pl.String)
    if pa.types.is_floating(kind):
        return "f", _bits(series)
    if pa.types.is_timestamp(kind):
        return "t", series.dt.timestamp("us").cast(pl.String)
    if pa.types.is_date(kind):
        return "d", series.cast(pl.Date).cast(pl.Int32).cast(pl.String)
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return "t", series.cast(pl.Int64).cast(pl.String)
    if pa.types.is_null(kind):
        return "s", series.cast(pl.String)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "b", series.cast(pl.Binary).bin.encode("hex")
    return "s", pl.Series([None if v is None else str(v) for v in column.to_pylist()], dtype=pl.String)


def to_polars(column: pa.ChunkedArray) -> pl.Series:
    """A flat Arrow column as a polars series."""
    found = pl.from_arrow(column)
    assert isinstance(found, pl.Series)
    return found


def _bits(series: pl.Series) -> pl.Series:
    wide = series.cast(pl.Float64)
    bits = pl.Series(wide.fill_null(0.0).to_numpy().view(np.int64)).cast(pl.String)
    return pl.DataFrame({"v": bits, "there": wide.is_not_null()}).select(pl.when("there").then("v")).to_series()


def _nested(column: pa.ChunkedArray) -> pl.Series:
    texts = [
        None if v is None else json.dumps(v, sort_keys=True, ensure_ascii=False, default=_plain)
        for v in column.to_pylist()
    ]
    return pl.Series(texts, dtype=pl.String)


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
