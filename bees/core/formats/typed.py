"""Values of typed formats as columns that are carried exactly: rows of Python values, or whole Arrow tables."""

from __future__ import annotations

import base64
import datetime as dt
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bees.core.formats import instants
from bees.core.tabular import unique
from nectar.batch import marked
from nectar.jsonrows import clean_name, escape, table, text

_TYPES = {
    dt.datetime: pa.timestamp("us"), dt.date: pa.date32(), bytes: pa.binary(),
}  # fmt: skip


def rows_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows whose names are columns already, as a table: instants, days and bytes in their own types, the rest as JSON
    values are.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields, arrays = [], []
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        kind = _TYPES.get(next(iter(kinds))) if len(kinds) == 1 else None
        if kinds == {dt.datetime}:
            zones = {value.tzinfo is None for value in values if value is not None}
            kind = None if len(zones) > 1 else pa.timestamp("us") if zones == {True} else pa.timestamp("us", "UTC")
        if kind is not None:
            fields.append(pa.field(name, kind))
            arrays.append(pa.array(values, kind))
            continue
        plain = table([{"v": _plain(value), "n": 0} for value in values])
        fields.append(plain.schema.field("v").with_name(name))
        arrays.append(plain["v"])
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields)) if names else pa.table({})


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dt.timedelta | uuid.UUID):
        return str(value)
    return value


def house(read: pa.Table) -> pa.Table:
    """The table in types that are carried exactly, its columns under names that may land."""
    names = unique([escape(name) for name in read.column_names])
    fields, columns = [], []
    for name, column in zip(names, read.columns, strict=True):
        field, made = _column(clean_name(name), column)
        fields.append(field)
        columns.append(made)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def is_sound(batch: pa.RecordBatch) -> bool:
    """Whether nothing is wrong with a batch; False where it is texts alone that are not UTF-8, see `undecodable`.

    Raises pa.ArrowException for any other damage: such a batch must not be looked at.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for column in batch.columns:
            plain = column.storage if isinstance(column, pa.ExtensionArray) else column
            plain.view(_as_bytes(plain.type)).validate(full=True)
        return False
    return True


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The type with bytes where it has texts, in the same buffers."""
    of = pa.types
    if of.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _as_bytes(kind.value_type), kind.ordered)
    if of.is_struct(kind):
        return pa.struct([_field_as_bytes(inner) for inner in kind])
    if of.is_map(kind):
        return pa.map_(_field_as_bytes(kind.key_field), _field_as_bytes(kind.item_field), kind.keys_sorted)
    if of.is_fixed_size_list(kind):
        return pa.list_(_field_as_bytes(kind.value_field), kind.list_size)
    if of.is_list(kind) or of.is_large_list(kind):
        return (pa.list_ if of.is_list(kind) else pa.large_list)(_field_as_bytes(kind.value_field))
    return _BYTES.get(kind, kind)


def _field_as_bytes(inner: pa.Field) -> pa.Field:
    return inner.with_type(_as_bytes(inner.type))


_BYTES = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}


def undecodable(read: pa.Table) -> set[int]:
    """Rows with a text that is not UTF-8."""
    odd: set[int] = set()
    for column in read.columns:
        if not _holds_text(column.type):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            odd.update(row for row, value in enumerate(column) if not _is_text(value))
    return odd


def _holds_text(kind: pa.DataType) -> bool:
    of = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _holds_text(kind.storage_type)
    if of.is_dictionary(kind):
        return _holds_text(kind.value_type)
    inner = [kind.field(n).type for n in range(kind.num_fields)]
    return bool(of.is_string(kind) or of.is_large_string(kind) or kind == pa.string_view()) or any(
        map(_holds_text, inner)
    )


def _is_text(value: pa.Scalar) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return False
    except (ValueError, OverflowError):  # of another member, such as a year that Python does not know
        return True
    return True


def _column(name: str, column: pa.ChunkedArray) -> tuple[pa.Field, pa.ChunkedArray | pa.Array]:
    kind, of = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([c.storage for c in column.chunks], kind.storage_type)
        kind = column.type
    if of.is_dictionary(kind):
        return _column(name, column.cast(kind.value_type))
    if of.is_run_end_encoded(kind):
        return _column(name, pc.run_end_decode(column))
    if of.is_large_string(kind) or kind == pa.string_view():
        return pa.field(name, pa.string()), column.cast(pa.string())
    if of.is_large_binary(kind) or of.is_fixed_size_binary(kind) or kind == pa.binary_view():
        return pa.field(name, pa.binary()), column.cast(pa.binary())
    if of.is_decimal(kind) or of.is_float16(kind) or (of.is_integer(kind) and kind == pa.uint64()):
        spelled = [None if v is None else str(v) for v in column.to_pylist()]
        return marked(name, pa.string(), "number"), pa.array(spelled, pa.string())
    if of.is_timestamp(kind):
        return _timestamp(name, column)
    if of.is_date64(kind):
        return pa.field(name, pa.date32()), column.cast(pa.date32(), safe=False)
    if of.is_null(kind):
        return pa.field(name, pa.string()), column.cast(pa.string())
    carried = (
        of.is_string(kind) or of.is_binary(kind) or of.is_boolean(kind) or of.is_integer(kind) or of.is_date32(kind)
    )
    if carried or of.is_floating(kind) or _plain_nested(kind):
        return pa.field(name, kind), column
    if of.is_time(kind) or of.is_duration(kind):
        return pa.field(name, pa.string()), pa.array(instants.texts(column), pa.string())
    spelled = [None if v is None else text(_plain(v)) for v in _values(column)]
    return marked(name, pa.string(), "json"), pa.array(spelled, pa.string())


def _values(column: pa.ChunkedArray) -> list[Any]:
    if instants.is_plain(column.type):
        try:
            return list(column.to_pylist(maps_as_pydicts=None))
        except (ValueError, OverflowError):  # a year that Python does not know
            pass
    return [instants.value_of(scalar) for scalar in column]


def _timestamp(name: str, column: pa.ChunkedArray) -> tuple[pa.Field, pa.ChunkedArray | pa.Array]:
    """In microseconds; text where that would lose something: nanoseconds, years that Python does not know."""
    # Seen as numbers and without its zone: Arrow would look a zone up, and behind the wall no file can be opened.
    zone, unit = column.type.tz, column.type.unit
    plain = pa.chunked_array([c.view(pa.int64()).view(pa.timestamp(unit)) for c in column.chunks], pa.timestamp(unit))
    try:
        made = plain.cast(pa.timestamp("us"))
        made.to_pylist()
    except (pa.ArrowInvalid, ValueError, OverflowError):
        return pa.field(name, pa.string()), pc.binary_join_element_wise(
            plain.cast(pa.string()), "Z" if zone else "", ""
        )
    if not zone:
        return pa.field(name, pa.timestamp("us")), made
    kind = pa.timestamp("us", "UTC")
    return pa.field(name, kind), pa.chunked_array([c.view(kind) for c in made.chunks], kind)


def _plain_nested(kind: pa.DataType) -> bool:
    """Lists and objects of what JSON has: text, booleans, integers, doubles."""
    of = pa.types
    if of.is_list(kind):
        return _simple(kind.value_type) or _plain_nested(kind.value_type)
    if of.is_struct(kind):
        return kind.num_fields > 0 and all(_simple(f.type) or _plain_nested(f.type) for f in kind)
    return False


def _simple(kind: pa.DataType) -> bool:
    of = pa.types
    return bool(
        of.is_string(kind)
        or of.is_boolean(kind)
        or kind in {pa.int64(), pa.int32(), pa.int16(), pa.int8(), pa.float64()}
    )
