"""A table as records and back, for functions that take one record. What a function left alone stays as it was.

A record is a dict by field. Numbers that Arrow cannot hold exactly are int or Decimal, JSON is what it says, all else
is what Arrow gives: str, int, float, bool, bytes, Decimal, date, time, datetime, list, dict, None.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

import pyarrow as pa

from nectar import jsonrows
from nectar.batch import mark_of
from nectar.jsonrows import clean_name

_JSON = {str, bool, int, float, Decimal, dict, list}
_OTHER = {bytes, dt.datetime, dt.date, dt.time, dt.timedelta}
_INTEGER = re.compile(r"-?[0-9]{1,4000}")


def to_records(table: pa.Table) -> list[dict[str, Any]]:
    """Each row as a dict of its own."""
    columns = [_values(table[name], table.schema.field(name)) for name in table.column_names]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def fault(before: Mapping[str, Any], after: Mapping[Any, Any]) -> str:
    """Why a record that a function gave cannot be kept: of a name or the kind of a value. Empty: it can."""
    for name, value in after.items():
        if not isinstance(name, str):
            return f"a name of a field is of type {type(name).__name__}, expected text"
        if value is before.get(name) and name in before and type(value) not in (dict, list):
            continue
        if name not in before and (not name or name.startswith("_") or clean_name(name) != name):
            return 'a new field is named with "_" in front, not at all, too long, or with control characters'
        if not _holds(value):
            return f"a value is of type {type(value).__name__}, or holds one, which no jar takes"
    return ""


def to_table(records: Sequence[Mapping[str, Any]], source: pa.Table) -> pa.Table:
    """Records as a table; `source` holds the rows that they were made of, in the same order."""
    names = [name for name in source.column_names if any(name in record for record in records)]
    names += [name for name in dict.fromkeys(n for record in records for n in record) if name not in set(names)]
    columns, fields = [], []
    for name in names:
        values = [record.get(name) for record in records]
        if name in source.column_names and _untouched(values, source[name], source.schema.field(name)):
            columns.append(source[name])
            fields.append(source.schema.field(name))
        else:
            made = _column(values)
            columns.append(made.column(0))
            fields.append(made.schema.field(0).with_name(name))
    return pa.table(columns, schema=pa.schema(fields))


def _values(column: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    values: list[Any] = column.to_pylist()
    mark = mark_of(field)
    if mark == "json":
        return [None if v is None else _parsed(v) for v in values]
    if mark == "number":
        return [None if v is None else _number(v) for v in values]
    return values


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return text


def _number(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        found = Decimal(text)
    except ArithmeticError:
        return text
    return found if found.is_finite() else text


def _untouched(values: list[Any], column: pa.ChunkedArray, field: pa.Field) -> bool:
    """Whether the values are still those of the column; lists and dicts may have been changed where they are."""
    return all(map(_same, values, _values(column, field)))


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Decimal):
        return str(one) == str(other)  # 1.0 and 1 are the same number, in other digits
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124 - NaN is no change


def _holds(value: Any) -> bool:
    """Whether a jar can hold the value."""
    if isinstance(value, str):
        return _is_utf8(value)
    if isinstance(value, dict | list | tuple):
        try:
            return _is_utf8(jsonrows.text(value))
        except (TypeError, ValueError, RecursionError):
            return False
    return isinstance(value, (NoneType, bool, int, float, Decimal, UUID, *_OTHER))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(values: list[Any]) -> pa.Table:
    """A table of one column, in the type that holds all values exactly, or as JSON text that does."""
    kinds = set(map(type, values)) - {NoneType}
    if len(kinds) == 1 and kinds <= _OTHER:
        try:
            return pa.table({"values": pa.array(values, from_pandas=False)})
        except pa.ArrowException:
            pass  # times with and without a zone, or beyond what Arrow counts
    return jsonrows.table([{"values": value if type(value) in _JSON else _as_json(value)} for value in values])


def _as_json(value: Any) -> Any:
    """A value as JSON has it: of subclasses, such as those of numpy, the plain value."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return list(value)
    plain: tuple[type[Any], ...] = (int, float, str, dict, list)
    for kind in plain:
        if isinstance(value, kind):
            return kind(value)
    return value if value is None else str(value)
