"""BSON documents as Arrow tables, without changing one value.

How a value travels depends on it alone, never on other documents beside it, so that none is taken for changed, or for
another key, because it was read with others (but NaN, infinities and plain binary, which JSON text cannot hold):

    text, booleans, integers, doubles, plain binary   typed columns
    numbers of several types, Decimal128              text, marked `number` (NaN and infinities stay text)
    dates                                             ISO 8601 text in UTC, also far outside of Python's years
    ObjectId, UUID (subtype 4)                        their usual text
    documents, arrays, fields of mixed types          JSON text, marked `json`; what neither JSON nor this list has, and
                                                      what lies deeper, is written as MongoDB's Extended JSON:
                                                      {"$timestamp": ...}, {"at": {"$date": ...}}

Extended JSON: https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md
Two types that only old drivers wrote come as the driver reads them: symbols as text, `undefined` as null.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
import re
from types import NoneType
from typing import TYPE_CHECKING, Any

import bson
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from nectar.batch import Reject, marked
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
"""Decodes so that encoding again gives the same bytes; dates that Python does not have come as DatetimeMS."""

ID = "_id"
ID_COLUMN = escape(ID)

NO_ID = object()
"""Stands where a document has no `_id`."""

_MOST_CELLS = 4_000_000
_NUMBERS = {int, Int64, float, Decimal128}
_DATES = {dt.datetime, DatetimeMS}
_LOOKS_LIKE_ID = re.compile(r"[0-9a-f]{24}")
_OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
_DAY = 86_400_000
_CYCLE_DAYS = 146_097
"""Days of 400 years, after which the calendar repeats itself."""
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - times without a zone are UTC here, as the driver gives them


def decode(raw: bytes, where: str) -> tuple[list[dict[str, Any]], list[Reject]]:
    """The documents that lie one after another in `raw`; one that is no BSON is set aside with its bytes."""
    try:
        return list(bson.decode_all(raw, CODEC)), []
    except (bson.errors.InvalidBSON, RecursionError, UnicodeError, ValueError, OverflowError):
        pass
    documents, rejects = [], []
    for number, piece in enumerate(pieces(raw), 1):
        try:
            documents.append(bson.decode(piece, CODEC))
        except (bson.errors.InvalidBSON, RecursionError, UnicodeError, ValueError, OverflowError):
            reason = "the document is not valid BSON: a text that is no UTF-8, or nested too deep"
            rejects.append(Reject(f"{where}, document {number}", "not_bson", reason, piece))
    return documents, rejects


def pieces(raw: bytes) -> Iterator[bytes]:
    """Each document's bytes."""
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        yield raw[at : at + size]
        at += size


def slices(raw: bytes, most: int) -> Iterator[bytes]:
    """The documents in runs of about `most` bytes, so that few of them are Python objects at a time."""
    start = at = 0
    while at < len(raw):
        at += int.from_bytes(raw[at : at + 4], "little")
        if at - start >= most:
            yield raw[start:at]
            start = at
    if at > start:
        yield raw[start:at]


def tables(documents: Sequence[dict[str, Any]], *, plain_text_ids: bool = False) -> Iterator[tuple[int, pa.Table]]:
    """(number of documents, their table), in order. More than one where the documents have little in common."""
    names: dict[str, None] = {}
    for document in documents:
        names.update(dict.fromkeys(document))
    if len(documents) > 1 and len(names) * len(documents) > _MOST_CELLS:
        half = len(documents) // 2
        yield from tables(documents[:half], plain_text_ids=plain_text_ids)
        yield from tables(documents[half:], plain_text_ids=plain_text_ids)
        return
    fields, arrays = [], []
    for name in names:
        if name == ID:
            field, array = id_column([document.get(ID, NO_ID) for document in documents], plain_text_ids)
        else:
            field, array = column(escape(name), [document.get(name) for document in documents])
        fields.append(field)
        arrays.append(array)
    yield len(documents), pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def column(name: str, values: list[Any]) -> tuple[pa.Field, pa.Array]:
    """The values of one field, exact, in the plainest type that holds them all."""
    kinds = set(map(type, values)) - {NoneType}
    array = _typed(kinds, values)
    if array is not None:
        return pa.field(name, array.type), array
    if kinds <= _NUMBERS:
        digits = [None if v is None else _digits(v) for v in values]
        return marked(name, pa.string(), "number"), pa.array(digits, pa.string())
    texts = [None if v is None else json_text(_as_alone(v)) for v in values]
    return marked(name, pa.string(), "json"), pa.array(texts, pa.string())


def _as_alone(value: Any) -> Any:
    """What a field of this type alone would hold, where that is a text."""
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, dt.datetime | DatetimeMS):
        return iso(value)
    return str(value.as_uuid()) if isinstance(value, Binary) and _is_uuid(value) else value


def _typed(kinds: set[type], values: list[Any]) -> pa.Array | None:
    if kinds <= {str}:
        return pa.array(values, pa.string())
    if kinds <= {int, Int64}:
        return pa.array(values, pa.int64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {float}:
        return pa.array(values, pa.float64(), from_pandas=False)
    if kinds <= _DATES:
        return _moments(values, kinds)
    if kinds == {ObjectId}:
        return pa.array([None if v is None else v.binary.hex() for v in values], pa.string())
    if kinds == {bytes}:
        return pa.array(values, pa.binary())
    if kinds == {Binary} and all(v is None or _is_uuid(v) for v in values):
        return pa.array([None if v is None else str(v.as_uuid()) for v in values], pa.string())
    return None


def id_column(values: list[Any], plain_text_ids: bool) -> tuple[pa.Field, pa.Array]:
    """The `_id`s: two that differ at the source differ here, and each has the same form in every batch.

    None is the `_id` null, as `$group` gives it: {"$null": 1}. `NO_ID`: the document has none.

    ObjectIds are their 24 digits, and a text that looks like one is {"$string": ...}; with `plain_text_ids`, for
    collections that began without ObjectIds, such a text is itself, and an ObjectId is {"$oid": ...}.
    """
    kinds = set(map(type, values))
    if kinds == {ObjectId} and not plain_text_ids:
        return column(ID_COLUMN, values)
    own_form = kinds == {str} and (plain_text_ids or not any(map(_LOOKS_LIKE_ID.fullmatch, values)))
    if own_form or kinds <= {int, Int64}:
        return column(ID_COLUMN, values)
    return _json_ids(values, plain_text_ids)


def _json_ids(values: list[Any], plain_text_ids: bool) -> tuple[pa.Field, pa.Array]:
    texts = [None if v is NO_ID else orjson.dumps(_id_form(v, plain_text_ids)).decode() for v in values]
    return marked(ID_COLUMN, pa.string(), "json"), pa.array(texts, pa.string())


def _id_form(value: Any, plain_text_ids: bool) -> Any:
    if value is None:
        return {"$null": 1}
    if isinstance(value, ObjectId):
        return {"$oid": str(value)} if plain_text_ids else str(value)
    if type(value) is str:
        return {"$string": value} if not plain_text_ids and _LOOKS_LIKE_ID.fullmatch(value) else value
    return orjson.Fragment(json_text(value))


def json_text(value: Any) -> str:
    """A value as JSON text, what JSON does not have as Extended JSON."""
    written = orjson.dumps(value, default=_extended, option=_OPTIONS)
    if b"null" in written and _has_odd_float(value):  # orjson writes NaN as null
        written = orjson.dumps(_with_named_floats(value), default=_extended, option=_OPTIONS)
    return written.decode()


def iso(value: dt.datetime | DatetimeMS) -> str:
    """ISO 8601 in UTC with milliseconds, as PostgreSQL writes and reads it: a year before 1 ends in ` BC`."""
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="milliseconds") + "+00:00"
    days, rest = divmod(int(value), _DAY)
    cycles, day = divmod(days, _CYCLE_DAYS)
    near = _EPOCH + dt.timedelta(days=day, milliseconds=rest)  # in 1970 to 2369, the same calendar
    year = near.year + 400 * cycles
    era = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04d}{near.isoformat(timespec='milliseconds')[4:]}+00:00{era}"


def _moments(values: list[Any], kinds: set[type]) -> pa.Array:
    if kinds != {dt.datetime}:
        return pa.array([None if v is None else iso(v) for v in values], pa.string())
    return moment_text(pa.array(values, pa.timestamp("ms")))


def moment_text(moments: pa.Array) -> pa.Array:
    """Milliseconds in Python's years as `iso` writes them."""
    spelled = moments.cast(pa.string())  # 2024-01-31 12:00:00.000
    return pc.binary_join_element_wise(pc.replace_substring(spelled, " ", "T"), "+00:00", "")


def _digits(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return _odd_name(value)
    return str(int(value)) if isinstance(value, int) else str(value)


def _is_uuid(value: Binary) -> bool:
    return value.subtype == UUID_SUBTYPE and len(value) == 16


def _odd_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _has_odd_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_odd_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_odd_float, value))
    return isinstance(value, float) and not math.isfinite(value)


def _with_named_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_named_floats(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_named_floats(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$numberDouble": _odd_name(value)}
    return value


def _extended(value: Any) -> Any:
    write = _WRITE.get(type(value))
    if write is None:
        raise TypeError
    return write(value)


def _decimal(value: Decimal128) -> Any:
    text = str(value)
    return (
        {"$numberDecimal": text} if text.lstrip("-").lower() in ("nan", "snan", "infinity") else orjson.Fragment(text)
    )


def _binary(value: bytes) -> Any:
    kind = value.subtype if isinstance(value, Binary) else 0
    if isinstance(value, Binary) and _is_uuid(value):
        return {"$uuid": str(value.as_uuid())}
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{kind:02x}"}}


def _code(value: Code) -> Any:
    scope = {} if value.scope is None else {"$scope": value.scope}
    return {"$code": str(value), **scope}


def _reference(value: DBRef) -> Any:
    return dict(value.as_doc())


_WRITE: dict[type, Callable[[Any], Any]] = {
    Int64: int,
    ObjectId: lambda v: {"$oid": str(v)},
    Decimal128: _decimal,
    dt.datetime: lambda v: {"$date": iso(v)},
    DatetimeMS: lambda v: {"$date": iso(v)},
    bytes: _binary,
    Binary: _binary,
    Regex: lambda v: {"$regularExpression": {"pattern": v.pattern, "options": _flags(v.flags)}},
    Code: _code,
    Timestamp: lambda v: {"$timestamp": {"t": v.time, "i": v.inc}},
    DBRef: _reference,
    MinKey: lambda _: {"$minKey": 1},
    MaxKey: lambda _: {"$maxKey": 1},
}


def _flags(flags: int) -> str:
    """The options of a regular expression, as BSON spells them: in alphabetical order."""
    known = {re.IGNORECASE: "i", re.LOCALE: "l", re.MULTILINE: "m", re.DOTALL: "s", re.UNICODE: "u", re.VERBOSE: "x"}
    return "".join(letter for flag, letter in known.items() if flags & flag)
