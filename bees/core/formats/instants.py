"""Times, spans and days of Arrow as text, exactly.

Not by Arrow's own values: for nanoseconds these are those of pandas, which is loaded for it, and for a zone they look
into its file. Behind the wall there is neither.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa

_MICROSECONDS = {"s": 1_000_000, "ms": 1000, "us": 1}
_DAY = 86_400 * 1_000_000
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a zone is told beside it


def texts(column: pa.ChunkedArray) -> list[str | None]:
    """A column of times of the day, or of spans."""
    unit, spelled = column.type.unit, _span if pa.types.is_duration(column.type) else _time
    kind = pa.int32() if pa.types.is_time32(column.type) else pa.int64()
    return [
        None if value is None else spelled(value, unit)
        for chunk in column.chunks
        for value in chunk.view(kind).to_pylist()
    ]


def is_plain(kind: pa.DataType) -> bool:
    """Whether Arrow's own values will do: nothing within is of nanoseconds or of a zone."""
    of = pa.types
    if of.is_timestamp(kind):
        return kind.tz is None and kind.unit != "ns"
    if of.is_time(kind) or of.is_duration(kind):
        return bool(kind.unit != "ns")
    return all(is_plain(kind.field(n).type) for n in range(kind.num_fields))


def value_of(scalar: Any) -> Any:
    """A value within others, with its moments as text; an object as a dict, the pairs of a map as tuples."""
    if isinstance(scalar, pa.ExtensionScalar):
        scalar = scalar.value
    if scalar is None or not scalar.is_valid:
        return None
    kind, of = scalar.type, pa.types
    if of.is_map(kind):
        return [tuple(pair.values()) for pair in map(value_of, scalar.values)]
    if hasattr(scalar, "values") and not of.is_struct(kind):
        return [value_of(one) for one in scalar.values]
    if of.is_struct(kind):
        return {kind.field(n).name: value_of(scalar[n]) for n in range(kind.num_fields)}
    if of.is_dictionary(kind):
        return value_of(scalar.as_py())
    if of.is_timestamp(kind):
        return _instant(scalar)
    if of.is_time(kind) or of.is_duration(kind):
        return (_span if of.is_duration(kind) else _time)(scalar.value, kind.unit)
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):  # a day that Python has no word for
        return scalar.cast(pa.string()).as_py()


def _time(value: int, unit: str) -> str:
    micros, rest = _split(value, unit)
    if not 0 <= micros < _DAY:
        return f"{value} {unit}"
    return _with(str((_EPOCH + dt.timedelta(microseconds=micros)).time()), rest)


def _span(value: int, unit: str) -> str:
    micros, rest = _split(value, unit)
    try:
        return _with(str(dt.timedelta(microseconds=micros)), rest)
    except OverflowError:
        return f"{value} {unit}"


def _instant(scalar: Any) -> str:
    kind = scalar.type
    micros, rest = _split(scalar.value, kind.unit)
    try:
        made = _with((_EPOCH + dt.timedelta(microseconds=micros)).isoformat(), rest)
    except OverflowError:
        made = str(pa.scalar(scalar.value, pa.int64()).cast(pa.timestamp(kind.unit)).cast(pa.string()).as_py())
    return made + ("+00:00" if kind.tz else "")


def _split(value: int, unit: str) -> tuple[int, int]:
    """Microseconds, and the nanoseconds beyond them."""
    return divmod(value, 1000) if unit == "ns" else (value * _MICROSECONDS[unit], 0)


def _with(text: str, nanoseconds: int) -> str:
    if not nanoseconds:
        return text
    return f"{text}{'' if '.' in text else '.000000'}{nanoseconds:03}"
