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


def records(table: pa.Table) -> pl.Series:
    """The canonical text of each row of a table, without its reserved columns."""
    names = sorted(n for n in table.column_names if not n.startswith("_"))
    if not names:
        return pl.Series([""] * table.num_rows, dtype=pl.String)
    columns = _Columns(table, names)
    parts = [
        pl.concat_str(pl.lit(f"{len(name.encode())}:{name}"), value).fill_null("")
        for name, value in zip(names, columns.values, strict=True)
    ]
    return columns.together(parts)


def keys(table: pa.Table, key: Sequence[str]) -> pl.Series:
    """The canonical text of each row's key; null where a part of the key is null."""
    columns = _Columns(table, key)
    return columns.together(columns.values)


class _Columns:
    """Columns as flat text, and an expression for each that tags it; evaluated all at once."""

    def __init__(self, table: pa.Table, names: Sequence[str]) -> None:
        self._held: dict[str, pl.Series] = {}
        self.values = [
            self._tagged(f"{n}", *_text(table[name], table.schema.field(name)), mark_of(table.schema.field(name)))
            for n, name in enumerate(names)
        ]

    def together(self, parts: Sequence[pl.Expr]) -> pl.Series:
        return pl.DataFrame(self._held).select(pl.concat_str(parts)).to_series()

    def _tagged(self, name: str, tag: str, text: pl.Series, mark: str | None) -> pl.Expr:
        spoken: pl.Expr = pl.lit(tag)
        if tag == "j" and mark == "json":
            quoted, text = _unquoted(text)
            self._held[f"{name} is a string"] = quoted
            spoken = pl.when(f"{name} is a string").then(pl.lit("s")).otherwise(pl.lit("j"))
        self._held[name] = text
        value = pl.col(name)
        return pl.concat_str(spoken, value.str.len_bytes(), pl.lit(":"), value)


def _unquoted(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Of JSON texts: which are strings, and all of them with those as what they say.

    A source without types gives "a7" among strings in one page and beside numbers in the next: it is the same key.
    """
    value = pl.col("v")
    quoted = value.str.starts_with('"')
    plain = pl.when(quoted).then(value.str.slice(1, value.str.len_chars() - 2)).otherwise(value)
    escaped = (quoted & plain.str.contains("\\", literal=True)).fill_null(value=False)
    frame = pl.DataFrame({"v": texts}).select(quoted.alias("quoted"), plain.alias("v"), escaped.alias("escaped"))
    if frame["escaped"].any():
        spelled = [json.loads(f'"{v}"') if e else v for v, e in zip(frame["v"], frame["escaped"], strict=True)]
        return frame["quoted"], pl.Series(spelled, dtype=pl.String)
    return frame["quoted"], frame["v"]


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
