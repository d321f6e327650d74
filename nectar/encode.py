"""Rows of a table as JSON documents that PostgreSQL's jsonb takes, each value exact or marked.

What JSON or jsonb cannot hold is changed in the one way that loses least, and the field gets a mark:

    nul      U+0000, which jsonb refuses, became U+FFFD; in the name of a member too
    base64   bytes became base64 text
    text     NaN and infinities, numbers that no JSON can write, became their names as text
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from nectar.batch import FEW, mark_of
from nectar.canonical import to_polars
from nectar.jsonrows import text as json_text

Marks = dict[int, dict[str, str]]
"""Row -> field -> mark."""

_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?$"
_IS_NUMBER = re.compile(_NUMBER.strip("^$"))
_SIMPLE = (pl.String, pl.Boolean)
_UNSAFE = r"\\u0000|\\u[dD][89a-fA-F]"
"""Escapes inside JSON text that jsonb may refuse: NUL and surrogates."""


def encode(table: pa.Table) -> tuple[pl.Series, Marks]:
    """(JSON object of each row, marks). Columns whose name starts with "_" are left out."""
    marks: Marks = {}
    plain: list[pl.Series] = []
    raw: list[pl.Series] = []
    for name in table.column_names:
        if name.startswith("_"):
            continue
        column, is_json = _column(table[name], table.schema.field(name), marks)
        (raw if is_json else plain).append(column.alias(name))
    return _objects(_without_nul(plain, marks), raw, table.num_rows), marks


def _without_nul(columns: list[pl.Series], marks: Marks) -> list[pl.Series]:
    """PostgreSQL's text holds no NUL. All columns are looked through at once: hardly ever is there one."""
    texts = [c for c in columns if c.dtype == pl.String]
    if not texts:
        return columns
    if len(texts[0]) <= FEW:
        held = {c.name for c in texts if any(v is not None and "\x00" in v for v in c.to_list())}
        return [_text(c, c.name, marks) if c.name in held else c for c in columns]
    found = pl.DataFrame(texts).select(pl.all().str.contains("\x00", literal=True).any()).row(0, named=True)
    return [_text(c, c.name, marks) if found.get(c.name) else c for c in columns]


def _objects(plain: list[pl.Series], raw: list[pl.Series], rows: int) -> pl.Series:
    """Join plain columns (which polars writes as JSON) and columns that are JSON already."""
    if rows <= FEW and all(column.dtype in _SIMPLE or column.dtype.is_integer() for column in plain):
        return _few_objects(plain, raw, rows)
    parts: list[pl.Expr] = []
    frame: dict[str, pl.Series] = {}
    if plain:
        written = pl.DataFrame(plain).select(pl.struct(pl.all()).struct.json_encode()).to_series()
        if not raw:
            return written
        frame["plain"] = written
        parts.append(pl.col("plain").str.slice(1).str.strip_suffix("}"))
    for n, column in enumerate(raw):
        frame[str(n)] = column.fill_null("null")
        comma = "," if parts else ""
        parts += [pl.lit(f"{comma}{json.dumps(column.name, ensure_ascii=False)}:"), pl.col(str(n))]
    if not frame:
        return pl.Series(["{}"] * rows, dtype=pl.String)
    return pl.DataFrame(frame).select(pl.concat_str(pl.lit("{"), *parts, pl.lit("}"))).to_series()


def _few_objects(plain: list[pl.Series], raw: list[pl.Series], rows: int) -> pl.Series:
    """The same for few rows of texts, integers and booleans."""
    names = [column.name for column in (*plain, *raw)]
    columns = [column.to_list() for column in plain]
    columns += [[None if v is None else orjson.Fragment(v) for v in column.to_list()] for column in raw]
    lines = zip(*columns, strict=True) if columns else [()] * rows
    written = [orjson.dumps(dict(zip(names, line, strict=True))).decode() for line in lines]
    return pl.Series(written, dtype=pl.String)


def _column(column: pa.ChunkedArray, field: pa.Field, marks: Marks) -> tuple[pl.Series, bool]:
    """(series, whether its values are JSON text already)."""
    kind, mark = field.type, mark_of(field)
    if pa.types.is_nested(kind):
        return _nested(column, field.name, marks), True
    series = to_polars(column)
    if series.dtype == pl.String:
        if mark == "json":
            return _json(series, field.name, marks), True
        if mark == "number":
            return _number(series, field.name, marks), True
        return series, False
    if pa.types.is_decimal(kind):
        return _number(series.cast(pl.String), field.name, marks), True
    if pa.types.is_floating(kind):
        return _float(series, field.name, marks)
    if series.dtype == pl.Binary or pa.types.is_fixed_size_binary(kind):
        _note(marks, field.name, "base64", series.is_not_null())
        return series.cast(pl.Binary).bin.encode("base64"), False
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return series, False
    if pa.types.is_null(kind):
        return series.cast(pl.String), False
    return pl.Series([None if v is None else str(v) for v in column.to_pylist()], dtype=pl.String), False


def _note(marks: Marks, name: str, mark: str, where: pl.Series) -> None:
    for row in where.fill_null(value=False).arg_true():
        marks.setdefault(int(row), {})[name] = mark


def _text(series: pl.Series, name: str, marks: Marks) -> pl.Series:
    _note(marks, name, "nul", series.str.contains("\x00", literal=True))
    return series.str.replace_all("\x00", "�", literal=True)


def _number(series: pl.Series, name: str, marks: Marks) -> pl.Series:
    if len(series) <= FEW and all(v is None or _IS_NUMBER.fullmatch(v) for v in series.to_list()):
        return series
    fits = series.str.contains(_NUMBER)
    if fits.all():
        return series
    _note(marks, name, "text", ~fits)
    quoted = pl.Series([None if v is None else json.dumps(v) for v in series.to_list()], dtype=pl.String)
    chosen = pl.when("fits").then("v").otherwise("q")
    return pl.DataFrame({"v": series, "q": quoted, "fits": fits}).select(chosen).to_series()


def _float(series: pl.Series, name: str, marks: Marks) -> tuple[pl.Series, bool]:
    finite = series.is_finite()
    if finite.all():
        return series, False
    odd = (~finite).fill_null(value=False)
    _note(marks, name, "text", odd)
    names = {"NaN": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
    return series.cast(pl.String).replace(names), True


def _json(series: pl.Series, name: str, marks: Marks) -> pl.Series:
    if len(series) <= FEW and not any("\\u" in v for v in series.to_list() if v is not None):
        return series
    unsafe = series.str.contains(_UNSAFE)
    if not unsafe.any():
        return series
    texts = series.to_list()
    for row in unsafe.fill_null(value=False).arg_true():
        value, changed = clean(json.loads(texts[row], parse_float=Decimal))
        texts[row] = json_text(value)
        if changed:
            marks.setdefault(int(row), {})[name] = "nul"
    return pl.Series(texts, dtype=pl.String)


def _nested(column: pa.ChunkedArray, name: str, marks: Marks) -> pl.Series:
    texts: list[str | None] = []
    for row, value in enumerate(column.to_pylist()):
        if value is None:
            texts.append(None)
            continue
        tidy, changed = clean(value)
        if changed:
            marks.setdefault(row, {})[name] = "nul"
        texts.append(json.dumps(tidy, ensure_ascii=False, default=str))
    return pl.Series(texts, dtype=pl.String)


def clean(value: Any) -> tuple[Any, bool]:
    """A nested value without what jsonb refuses; and whether anything was changed."""
    if isinstance(value, str):
        tidy = value.replace("\x00", "�").encode("utf-8", "replace").decode() if _odd(value) else value
        return tidy, tidy != value
    if isinstance(value, dict):
        cleaned = {k: clean(v) for k, v in value.items()}
        names, renamed = _names(list(cleaned))
        return dict(zip(names, (v for v, _ in cleaned.values()), strict=True)), renamed or any(
            changed for _, changed in cleaned.values()
        )
    if isinstance(value, list | tuple):
        items = [clean(v) for v in value]
        return [v for v, _ in items], any(c for _, c in items)
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)], True
    if isinstance(value, bytes):
        return base64.b64encode(value).decode(), True
    return value, False


def _names(names: list[Any]) -> tuple[list[str], bool]:
    """Names of an object's members that jsonb takes; one that came to equal another gets a number, nothing is lost."""
    cleaned = [clean(str(name)) for name in names]
    if not any(changed for _, changed in cleaned):
        return [name for name, _ in cleaned], False
    used = {name for name, changed in cleaned if not changed}
    found = []
    for plain, changed in cleaned:
        name, count = plain, 1
        while changed and name in used:
            count += 1
            name = f"{plain}#{count}"
        used.add(name)
        found.append(name)
    return found, True


def _odd(text: str) -> bool:
    return "\x00" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def searchable(table: pa.Table) -> Iterator[str]:
    """The columns of a scrubbed table that people would search: plain text, in the table's order."""
    for field in table.schema:
        if not field.name.startswith("_") and mark_of(field) is None and pa.types.is_string(field.type):
            yield field.name
