"""One text for each value that means the same in every run, on every machine and with every version of a library.

Hashes of keys and contents are made over this form, so it may never change; tests hold a golden file against it.

    value   -> tag, length in bytes, ":", text       s text, j number or boolean, n object or list, t instant in
                                                     microseconds, d days, b hex
    record  -> for each column that is not null, by name: length of the name, ":", name, value
    key     -> the values of the key columns in the key's order

A null is left out of a record, so a new column without values changes no hash.

The form follows the value, never the type that a batch found for it: a source without types gives 1 on one page and
1.50 beside it on the next, an object that is a struct alone and JSON text beside another.
  * A number is its exact decimal value, `1.0` and `1e0` are `1`; a float is the shortest decimal that gives it back.
    From 0.00001 up to 38 digits it is written out, beyond that as `1.5e-6`.
  * An object has its keys sorted; a null inside is not a missing field. Equal keys: the last one holds.
  * JSON text that is none, or is nested deeper than DEEPEST, stands for itself.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from nectar.batch import FEW, LITTLE, mark_of

_STEP = 1 << 20
DEEPEST = 100
"""Levels of an object or list that are put in order; far from where Python's stack ends, wherever this is called."""

_NUMBER = re.compile(r"[+-]?(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,400}))?", re.ASCII)
_PLAIN = r"^(?:0|-?(?:[1-9][0-9]{0,37}(?:\.[0-9]+)?|0\.0{0,4}[1-9][0-9]*))$"
"""Numbers that are in their form already, once zeros at the end are gone."""
_NOT_QUICK = re.compile(r"[0-9][.eE]|-0(?![0-9])|[0-9]{16}")
"""What may be a number that must be brought into its form; it may also be text that looks so."""
_NAMES = {"nan": "NaN", "inf": "Infinity", "+inf": "Infinity", "infinity": "Infinity", "-inf": "-Infinity",
          "-infinity": "-Infinity"}  # fmt: skip


def records(table: pa.Table) -> pl.Series:
    """The canonical text of each row of a table, without its reserved columns."""
    names = sorted(n for n in table.column_names if not n.startswith("_"))
    if not names:
        return pl.Series([""] * table.num_rows, dtype=pl.String)
    if table.num_rows <= FEW and table.nbytes <= LITTLE:
        heads = [f"{len(name.encode())}:{name}" for name in names]
        rows = zip(*[_values(table, name) for name in names], strict=True)
        return pl.Series(
            ["".join([h + v for h, v in zip(heads, row, strict=True) if v is not None]) for row in rows],
            dtype=pl.String,
        )
    columns = _Columns(table, names)
    parts = [
        pl.concat_str(pl.lit(f"{len(name.encode())}:{name}"), value).fill_null("")
        for name, value in zip(names, columns.values, strict=True)
    ]
    return columns.together(parts)


def is_heavy(table: pa.Table) -> bool:
    """Whether columns hold many bytes, such as documents, which as text are twice as long, or few rows much text.

    Their text is copied often.
    """
    held = sum(column.nbytes for column in table.columns if _is_bytes(column.type))
    return bool(held > _STEP or (table.num_rows <= FEW and table.nbytes > LITTLE))


def pieces(table: pa.Table) -> Iterator[Iterator[bytes | memoryview]]:
    """The same as `records` gives, row by row in pieces: a long text is never copied as a whole."""
    names = sorted(n for n in table.column_names if not n.startswith("_"))
    columns = [
        (
            f"{len(name.encode())}:{name}".encode(),
            table[name] if _is_bytes(table.schema.field(name).type) or _is_plain(table, name) else _values(table, name),
        )
        for name in names
    ]
    return (_pieces(columns, row) for row in range(table.num_rows))


def _pieces(columns: Sequence[tuple[bytes, Any]], row: int) -> Iterator[bytes | memoryview]:
    for head, column in columns:
        value = column[row]
        if not isinstance(value, pa.Scalar):
            yield head + value.encode() if value is not None else b""
        elif value.is_valid:
            data = memoryview(value.as_buffer())
            if not _is_bytes(value.type):
                yield head + b"s%d:" % len(data)
                yield data
                continue
            yield head + b"b%d:" % (2 * len(data))
            yield from (binascii.hexlify(data[at : at + _STEP]) for at in range(0, len(data), _STEP))


def _is_plain(table: pa.Table, name: str) -> bool:
    """Texts that stand for themselves."""
    field = table.schema.field(name)
    return bool(field.type == pa.string() and mark_of(field) is None)


def _is_bytes(kind: pa.DataType) -> bool:
    of = pa.types
    return bool(of.is_binary(kind) or of.is_large_binary(kind) or of.is_fixed_size_binary(kind))


def keys(table: pa.Table, key: Sequence[str]) -> pl.Series:
    """The canonical text of each row's key; null where a part of the key is null."""
    if table.num_rows <= FEW:
        rows = zip(*[_values(table, name) for name in key], strict=True)
        return pl.Series([None if None in row else "".join(row) for row in rows], dtype=pl.String)
    columns = _Columns(table, key)
    return columns.together(columns.values)


def _values(table: pa.Table, name: str) -> list[str | None]:
    """The tagged values of a column; what `_Columns` does for many rows."""
    column, field = table[name], table.schema.field(name)
    tag: str | pl.Series
    if _is_plain(table, name) or (field.type == pa.int64() and mark_of(field) is None):
        tag = "s" if field.type == pa.string() else "j"
        texts = [None if v is None else str(v) for v in column.to_pylist()]
    else:
        tag, series = _text(column, field)
        texts = series.to_list()
    tags = [tag] * len(texts) if isinstance(tag, str) else tag.to_list()
    return [None if v is None else _tagged(t, v) for t, v in zip(tags, texts, strict=True)]


def key_of(values: Sequence[str | int]) -> str:
    """The canonical text of one key, as `keys` gives it for a row of a table."""
    return "".join([_tagged("s" if isinstance(value, str) else "j", str(value)) for value in values])


def _tagged(tag: str, text: str) -> str:
    return f"{tag}{len(text.encode())}:{text}"


class _Columns:
    """Columns as flat text, and an expression for each that tags it; evaluated all at once."""

    def __init__(self, table: pa.Table, names: Sequence[str]) -> None:
        self._held: dict[str, pl.Series] = {}
        self.values = [
            self._tagged(f"{n}", *_text(table[name], table.schema.field(name))) for n, name in enumerate(names)
        ]

    def together(self, parts: Sequence[pl.Expr]) -> pl.Series:
        return pl.DataFrame(self._held).select(pl.concat_str(parts)).to_series()

    def _tagged(self, name: str, tag: str | pl.Series, text: pl.Series) -> pl.Expr:
        self._held[name] = text
        spoken: pl.Expr = pl.lit(tag) if isinstance(tag, str) else pl.col(f"{name} tag")
        if not isinstance(tag, str):
            self._held[f"{name} tag"] = tag
        value = pl.col(name)
        return pl.concat_str(spoken, value.str.len_bytes(), pl.lit(":"), value)


def _text(column: pa.ChunkedArray, field: pa.Field) -> tuple[str | pl.Series, pl.Series]:
    """(tag, or the tag of each row; text)"""
    kind, mark = field.type, mark_of(field)
    if pa.types.is_nested(kind):
        write = _quickly if _has_no_fractions(kind) else spelled
        return "n", pl.Series([None if v is None else write(v) for v in column.to_pylist()], dtype=pl.String)
    series = to_polars(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        if mark == "json":
            return _documents(series)
        return ("j", _numbers(series)) if mark == "number" else ("s", series)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "j", series.cast(pl.String)
    if pa.types.is_decimal(kind):
        return "j", _numbers(series.cast(pl.String))
    if pa.types.is_floating(kind):
        return "j", _floats(series)
    if pa.types.is_timestamp(kind):
        return "t", series.dt.timestamp("us").cast(pl.String)
    if pa.types.is_date(kind):
        return "d", series.cast(pl.Date).cast(pl.Int32).cast(pl.String)
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        return "t", series.cast(pl.Int64).cast(pl.String)
    if pa.types.is_null(kind):
        return "s", series.cast(pl.String)
    if _is_bytes(kind):
        return "b", series.cast(pl.Binary).bin.encode("hex")
    return "s", pl.Series([None if v is None else str(v) for v in column.to_pylist()], dtype=pl.String)


def to_polars(column: pa.ChunkedArray) -> pl.Series:
    """A flat Arrow column as a polars series."""
    found = pl.from_arrow(column)
    assert isinstance(found, pl.Series)
    return found


def exact(text: str) -> str:
    """The one form of a number's decimal text; what is no number stays as it is."""
    found = _NUMBER.fullmatch(text)
    if found is None or not (found[1] or found[2]):
        return _NAMES.get(text.lower(), text)
    fraction = found[2] or ""
    digits = (found[1] + fraction).lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return "0"
    sign = "-" if text.startswith("-") else ""
    first = int(found[3] or 0) - len(fraction) + len(digits) - 1  # the power of ten of the first digit
    if not -5 <= first < 38:
        return f"{sign}{kept[0]}{'.' + kept[1:] if kept[1:] else ''}e{first}"
    if first < 0:
        return f"{sign}0.{'0' * (-first - 1)}{kept}"
    whole, rest = kept[: first + 1].ljust(first + 1, "0"), kept[first + 1 :]
    return f"{sign}{whole}.{rest}" if rest else sign + whole


def spelled(value: Any, depth: int = 0) -> str:
    """The one form of a plain Python value at any depth. Raises TooDeep."""
    if depth > DEEPEST:
        raise TooDeep
    if isinstance(value, _Literal):
        return exact(value)
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float) and 1e-4 <= abs(value) < 1e16:  # Python writes these without an exponent
        return repr(value).removesuffix(".0")
    if isinstance(value, int | float | Decimal):
        return exact(str(value))
    if isinstance(value, dict):
        members = [f"{_quoted(key)}:{spelled(value[key], depth + 1)}" for key in sorted(value)]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([spelled(item, depth + 1) for item in value]) + "]"
    return _quoted(value.hex() if isinstance(value, bytes) else str(value))


def _quickly(value: Any) -> str:
    """As `spelled`, for what holds neither fractions nor other odd numbers; a test holds the two together."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _has_no_fractions(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_has_no_fractions(field.type) for field in kind)
    if pa.types.is_list(kind):
        return _has_no_fractions(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind))


class TooDeep(ValueError):
    """A value is nested deeper than DEEPEST."""


class _Literal(str):
    """A number of a JSON document in its own digits."""

    __slots__ = ()


def _quoted(text: str) -> str:
    plain = encode_basestring(text)
    try:
        plain.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return encode_basestring_ascii(text)
    return plain


def _numbers(texts: pl.Series) -> pl.Series:
    """Decimal texts in their one form. Ordinary ones are done by column, one by one only what is odd."""
    value = pl.col("v")
    bare = value.str.strip_chars_end("0").str.strip_suffix(".")
    frame = pl.DataFrame({"v": texts}).select(
        pl.when(value.str.contains(r"^[^eE]*\.[^eE]*$")).then(bare).otherwise(value).alias("v")
    )
    return _one_by_one(frame["v"], ~frame["v"].str.contains(_PLAIN))


def _floats(series: pl.Series) -> pl.Series:
    # polars writes the shortest text that gives the float back, with an exponent from 1e16 on and below 1e-5.
    wide = series.cast(pl.Float64)
    texts = wide.cast(pl.String).str.strip_suffix(".0")
    if (wide.abs() >= 1e16).any():
        texts = _written_out(texts)
    return _one_by_one(texts, ~wide.is_finite() | (texts == "-0"))


def _written_out(texts: pl.Series) -> pl.Series:
    """Floats as polars writes them, those like 1.5e+16 with all their digits."""
    parts = pl.col("v").str.extract_groups(r"^(?<sign>-?)(?<one>\d)(?:\.(?<more>\d+))?e\+(?<power>\d+)$")
    power = pl.col("power").cast(pl.Int32)
    digits = pl.concat_str("one", pl.col("more").fill_null(""), pl.lit("0" * 38)).str.slice(0, power + 1)
    form = (
        pl.when(power.is_null())
        .then("v")
        .when(power < 38)
        .then(pl.concat_str("sign", digits))
        .otherwise(pl.col("v").str.replace("e+", "e", literal=True))
    )
    return pl.DataFrame({"v": texts}).with_columns(parts.alias("parts")).unnest("parts").select(form).to_series()


def _one_by_one(texts: pl.Series, odd: pl.Series) -> pl.Series:
    if not odd.any():
        return texts
    distinct = texts.filter(odd).unique().drop_nulls()
    forms = pl.Series([exact(text) for text in distinct], dtype=pl.String)
    return texts.replace(distinct, forms)


def _documents(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Tag and text of what JSON texts say: a string, number or boolean is the same as in a column of its own."""
    forms: dict[str | None, tuple[str | None, str | None]] = {None: (None, None)}
    values = texts.to_list()
    for text in values:
        if text not in forms:
            forms[text] = _document(text)
    tags, said = zip(*[forms[text] for text in values], strict=True) if values else ((), ())
    return pl.Series(tags, dtype=pl.String), pl.Series(said, dtype=pl.String)


def _document(text: str) -> tuple[str, str]:
    if text[:1] in ("{", "[") and text.count("[") + text.count("{") <= DEEPEST and not _NOT_QUICK.search(text):
        with contextlib.suppress(orjson.JSONDecodeError):
            return "n", _quickly(orjson.loads(text))
    try:
        value = json.loads(text, parse_int=_Literal, parse_float=_Literal)
        if isinstance(value, str) and not isinstance(value, _Literal):
            value.encode()
            return "s", value
        return ("n" if isinstance(value, dict | list) else "j"), spelled(value)
    except (ValueError, RecursionError):  # no JSON, too deep, or half of a surrogate pair
        return "j", text
