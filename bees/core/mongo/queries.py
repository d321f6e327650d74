"""What is asked of the server: filters as data, pipelines that only read, and "everything after this document".

MongoDB compares within one type only (`{_id: {$gt: 5}}` finds no text), while it sorts across all of them. So what
comes after a value is: greater ones of its own type, and everything of the types that sort behind it.
Order of types: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bson import json_util
from bson.binary import UuidRepresentation
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from bees.core.errors import GiveUp

if TYPE_CHECKING:
    from bees.core.mongo.place import Value

Query = dict[str, Any]

_SCRIPTS = {"$where", "$function", "$accumulator", "mapReduce", "mapreduce", "$eval"}
_INTERNAL = "$_internal"
"""How operators begin that servers keep to themselves, some of which run scripts (`$_internalJsEmit`)."""
_WRITES = {"$out", "$merge"}
STAGES = frozenset(
    {
        "$addFields", "$bucket", "$bucketAuto", "$count", "$densify", "$facet", "$fill", "$geoNear", "$graphLookup",
        "$group", "$limit", "$lookup", "$match", "$project", "$redact", "$replaceRoot", "$replaceWith", "$sample",
        "$set", "$setWindowFields", "$skip", "$sort", "$sortByCount", "$unionWith", "$unset", "$unwind",
    }
)  # fmt: skip
"""Stages that read documents. Everything else is refused: what writes, and what tells of the server itself."""

_ORDER: tuple[tuple[str, ...], ...] = (
    ("minKey",),
    ("null",),
    ("double", "int", "long", "decimal"),
    ("string", "symbol"),
    ("object",),
    ("array",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
    ("javascript",),
    ("javascriptWithScope",),
    ("maxKey",),
)
_PLACE = {name: number for number, group in enumerate(_ORDER) for name in group}

KINDS: dict[str, tuple[str, ...]] = {
    "date": ("date",),
    "timestamp": ("timestamp",),
    "objectId": ("objectId",),
    "number": _ORDER[2],
    "string": ("string",),
}
"""What a cursor field may hold; of a field that holds several, the first of these is followed."""


def data(value: Any, where: str) -> Any:
    """A filter or pipeline of a configuration as the driver takes it; Extended JSON in it is understood.

    Raises GiveUp for anything that would run a script or write.
    """
    refuse_scripts(value, where)
    options = json_util.JSONOptions(uuid_representation=UuidRepresentation.UNSPECIFIED, tz_aware=False)
    try:
        read = json_util.loads(json_util.dumps(value), json_options=options)
    except (TypeError, ValueError, OverflowError):
        message = "a value is neither JSON nor Extended JSON"
        advice = 'write dates as {"$date": "2026-01-31T00:00:00Z"} and ids as {"$oid": "..."}'
        raise GiveUp(message, code="wrong_filter", where=where, advice=advice) from None
    refuse_scripts(read, where)
    return read


def refuse_scripts(value: Any, where: str) -> None:
    """Raises GiveUp where JavaScript would run on the server, or something would be written, however deep it stands."""
    if isinstance(value, Code):
        raise _refused("JavaScript", "script", where)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _SCRIPTS or str(name).startswith(_INTERNAL):
                raise _refused(name, "script", where)
            if name in _WRITES:
                raise _refused(name, "writes", where)
            refuse_scripts(inner, where)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            refuse_scripts(inner, where)


def refuse_stages(pipeline: Sequence[Mapping[str, Any]], where: str) -> None:
    """Raises GiveUp for a stage that is not known to read documents only, also inside of other stages."""
    for number, stage in enumerate(pipeline):
        place = f"{where}[{number}]"
        name = next(iter(stage)) if len(stage) == 1 else ""
        if name not in STAGES:
            shown = f"the stage {name}" if name.startswith("$") else "a stage"
            advice = f"a stage has one name, of these: {', '.join(sorted(STAGES))}"
            raise GiveUp(f"{shown} is not one that only reads", code="wrong_stage", where=place, advice=advice)
        inner = stage[name]
        if name == "$facet" and isinstance(inner, Mapping):
            for branch in inner.values():
                refuse_stages(branch, place)
        elif isinstance(inner, Mapping) and isinstance(inner.get("pipeline"), list):
            refuse_stages(inner["pipeline"], place)


def _refused(name: str, code: str, where: str) -> GiveUp:
    what = "runs a script on the server" if code == "script" else "writes"
    advice = "a bee only reads: say it with operators such as $expr, $regexMatch or $match"
    return GiveUp(f"{name} {what}", code=code, where=where, advice=advice)


def both(*conditions: Query) -> Query:
    """All of them; empty ones say nothing."""
    said = [condition for condition in conditions if condition]
    return {"$and": said} if len(said) > 1 else said[0] if said else {}


def after(field: str, value: Any) -> Query:
    """Everything that sorts behind a value of the field."""
    later = later_types(value)
    conditions: list[Query] = [{field: {"$type": later}}] if later else []
    if _is_nan(value):
        conditions.insert(0, {field: {"$gte": -math.inf}})  # NaN is the least number, and compares with nothing
    elif not isinstance(value, MinKey | MaxKey) and value is not None:
        conditions.insert(0, {field: {"$gt": value}})
    if not conditions:
        return {field: {"$in": []}}  # nothing sorts behind the greatest key
    return {"$or": conditions} if len(conditions) > 1 else conditions[0]


def later_types(value: Any) -> list[str]:
    return [name for group in _ORDER[_PLACE[type_of(value)] + 1 :] for name in group]


def rows(field: str, kind: str, start: Any, place: tuple[Value, Value] | None) -> Query:
    """Documents whose field holds a value of the kind, from `start` on, or after (value, id)."""
    if place is None:
        return {field: {"$gte": start}}
    value, last = place[0].held, place[1].held
    if field == "_id":
        return {field: {"$gt": value}}
    later = later_types(last)
    ties = [{field: value, **condition} for condition in _parts(after("_id", last))] if later else []
    return both({field: {"$type": list(KINDS[kind])}}, {"$or": [{field: {"$gt": value}}, *ties]})


def _parts(condition: Query) -> list[Query]:
    parts: list[Query] = condition.get("$or", [condition])
    return parts


def odd(field: str, kind: str) -> Query:
    """Documents that `rows` can never find: the field is missing, null, of another type, or NaN."""
    others = [name for group in _ORDER for name in group if name not in (*KINDS[kind], "null")]
    conditions: list[Query] = [{field: None}, {field: {"$type": others}}]
    return {"$or": [*conditions, {field: math.nan}] if kind == "number" else conditions}


def type_of(value: Any) -> str:
    """BSON's name of a value's type, as `$type` takes it."""
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    return "null"


_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (Int64, "long"),
    (int, "int"),
    (float, "double"),
    (Code, "javascript"),
    (str, "string"),
    (DBRef, "object"),
    (dict, "object"),
    (list, "array"),
    (bytes, "binData"),
    (ObjectId, "objectId"),
    (dt.datetime, "date"),
    (DatetimeMS, "date"),
    (Decimal128, "decimal"),
    (Timestamp, "timestamp"),
    (Regex, "regex"),
    (MinKey, "minKey"),
    (MaxKey, "maxKey"),
)


def kind_of(value: Any) -> str | None:
    """Which kind of cursor value this is; None for one that cannot be followed."""
    if _is_nan(value):
        return None
    name = type_of(value)
    return next((kind for kind, names in KINDS.items() if name in names), None)


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return value.to_decimal().is_nan()
    return isinstance(value, float) and math.isnan(value)


def less(value: Any, back: float) -> Any:
    """A cursor value less the look-back: seconds of a time, steps of a number; texts as they are."""
    if isinstance(value, dt.datetime | DatetimeMS):
        return DatetimeMS(_millis(value) - int(back * 1000))
    if isinstance(value, Timestamp):
        return Timestamp(max(0, value.time - math.ceil(back)), 0)
    if isinstance(value, ObjectId):
        seconds = int.from_bytes(value.binary[:4], "big")
        return ObjectId(max(0, seconds - math.ceil(back)).to_bytes(4, "big") + bytes(8)) if back else value
    if isinstance(value, Decimal128):
        return Decimal128(value.to_decimal() - int(back)) if value.to_decimal().is_finite() else value
    if isinstance(value, int) and not isinstance(value, bool):
        return Int64(max(-(2**63), value - int(back)))
    return value - back if isinstance(value, float) else value


def not_later(value: Any, now: dt.datetime) -> bool:
    """Whether a cursor value is not in the source's future, so that it may move the mark; `now` in UTC, no zone."""
    if isinstance(value, dt.datetime | DatetimeMS):
        return _millis(value) <= _millis(now)
    seconds = int(now.replace(tzinfo=dt.UTC).timestamp())
    if isinstance(value, Timestamp):
        return value.time <= seconds
    if isinstance(value, ObjectId):
        return int.from_bytes(value.binary[:4], "big") <= seconds
    return True


def cap(kind: str, now: dt.datetime) -> Query:
    """The same as a condition, for kinds that tell a time."""
    seconds = int(now.replace(tzinfo=dt.UTC).timestamp())
    if kind == "date":
        return {"$lte": now}
    if kind == "timestamp":
        return {"$lte": Timestamp(seconds, 2**32 - 1)}
    return {"$lte": ObjectId(seconds.to_bytes(4, "big") + b"\xff" * 8)} if kind == "objectId" else {}


def dig(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None where it does not lead to one value."""
    found: Any = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _millis(value: dt.datetime | DatetimeMS) -> int:
    return int(value) if isinstance(value, DatetimeMS) else int(DatetimeMS(value))
