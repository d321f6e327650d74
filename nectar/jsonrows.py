"""JSON records -> an Arrow table, without changing one value.

    value = parse(raw)                              # or SkipRecord: no JSON
    rows, rejects = sift(value, "page 1")           # what cannot be a row is set aside, with its bytes
    table(rows)

How a column is typed
  * all booleans, all text, all integers of 64 bits: bool, string, int64; a column of nulls is text
  * numbers with a fraction: float64 if every one comes back from a double as it was written, else text marked `number`
  * integers and fractions in one column, or larger integers: text marked `number`, in the digits of the source
  * objects with the same fields, lists of one kind: struct and list; anything else is JSON text marked `json`

Names: columns that start with `_` are reserved, so a field that is empty, starts with `_` or starts with `underscore`
gets `underscore` in front: `_id` is `underscore_id`. What no database takes, and what nobody reads, is cleaned: see
`clean_name`. No two fields can meet, whatever they are called, and a field's column never depends on the other rows.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from decimal import Decimal
from itertools import accumulate, chain
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
import pyarrow as pa

from nectar.batch import Reject, marked
from nectar.errors import SkipRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAME_LENGTH = 200
"""Characters of a column's name at most."""

_REPLACEMENT = "\ufffd"
_UNCLEAN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")
_PREFIX = "underscore"
_NUMBERS = {int, float, Decimal}
_MAX_NESTING = 16  # Arrow's files refuse schemas deeper than 64; people stop reading long before
_INTEGER, _FRACTION = 4000, 16_000
"""Digits in front of the point, and behind it: Python reads no integer with some more, PostgreSQL no such fraction."""
_DEEPEST = 254
"""Levels of one record: orjson writes no more, and neither does anything behind it."""
_VAST = Decimal("1E+999999999")
"""Stands for a number whose exponent has too many digits; `sift` takes neither."""
_CUT = 300
_SIGNS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{}]', re.DOTALL)
"""A text, or a bracket; a quotation mark alone begins a text that does not end."""
_MAX_FIELDS = 256  # an object with more is a map of ids, not a structure


def escape(name: str) -> str:
    """The column that a JSON field becomes."""
    return clean_name(_PREFIX + name if not name or name.startswith(("_", _PREFIX)) else name)


def clean_name(name: str) -> str:
    """A field's name without control characters (each is U+FFFD), of at most NAME_LENGTH characters.

    A name that had to be changed ends in a hash of what it was, so that two names stay two; one that looks as if it had
    been changed counts as such.
    """
    if len(name) < NAME_LENGTH and not _UNCLEAN.search(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_UNCLEAN.sub(_REPLACEMENT, name)[: NAME_LENGTH - 13]}_{digest}"


def parse(raw: bytes | str) -> Any:
    """Read one JSON document; fractions come as Decimal, in the digits of the source. Of equal keys the last one wins.

    Raises SkipRecord (`not_json`) that names the place and never the text. NaN and Infinity are no JSON.
    """
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        problem = f"no JSON at line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError as error:
        problem = f"no UTF-8 at byte {error.start}"
    except RecursionError:
        problem = "JSON nested too deep"
        with suppress(ValueError, RecursionError):
            if "{" in (shallow := _cut(raw)):  # there is a record that others may stand beside
                return json.loads(shallow, parse_float=_fraction, parse_int=_whole, parse_constant=_refuse)
    except (ValueError, ArithmeticError):
        problem = "a number that JSON does not have, or one that is too long"
        with suppress(ValueError):  # numbers so long that Python takes none of them
            return json.loads(raw, parse_float=_fraction, parse_int=_whole, parse_constant=_refuse)
    raise SkipRecord(problem, code="not_json")


def _cut(raw: bytes | str) -> str:
    """A document without what stands deeper than `_CUT`: more than any record may have, so that `sift` refuses it.

    Raises ValueError for one with a text that does not end.
    """
    text = raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw), "surrogatepass")
    kept: list[str] = []
    depth = start = 0
    for sign in _SIGNS.finditer(text):
        if sign[0] in "[{":
            depth += 1
            if depth == _CUT + 1:
                kept.append(text[start : sign.start()])
        elif sign[0] in "]}":
            depth -= 1
            if depth == _CUT:
                kept.append("0")
                start = sign.end()
        elif sign[0] == '"':
            raise ValueError
    return "".join([*kept, text[start:] if depth <= _CUT else ""])


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INTEGER else Decimal(text)


def _fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        return _VAST


def _refuse(_: str) -> NoReturn:
    raise ValueError


def sift(items: Iterable[Any], position: str, first: int = 1) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Part the rows from what cannot be one; `first` is the number of the first item in `position`."""
    given = items if isinstance(items, list) else list(items)
    if _all_fit(given):
        return given, []
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for number, item in enumerate(given, first):
        where = f"{position}, item {number}"
        if not isinstance(item, dict):
            rejects.append(Reject(where, "not_object", f"expected an object, got {_name_of(item)}", _raw(item)))
        elif fault := _fault(item):
            rejects.append(Reject(where, *fault, _raw(item)))
        else:
            rows.append(item)
    return rows, rejects


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One row an object, fields in the order of their first appearance. A missing field is null.

    An object has at least one field, and its text can be written as UTF-8; `sift` sees to both.
    """
    names = list(rows[0]) if rows else []
    if all(list(row) == names for row in rows):  # most pages: one shape throughout
        values = [list(map(itemgetter(name), rows)) for name in names]
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        values = [[row.get(name) for row in rows] for name in names]
    if not names:
        return pa.table({})
    columns = [_column(escape(name), found) for name, found in zip(names, values, strict=True)]
    return pa.Table.from_arrays([array for _, array in columns], schema=pa.schema([field for field, _ in columns]))


def text(value: Any) -> str:
    """A value as JSON text, numbers in the digits they came in."""
    try:
        return orjson.dumps(value, default=_fragment).decode()
    except TypeError:
        return _spelled(value)  # an integer above 64 bits somewhere inside


def _column(name: str, values: list[Any]) -> tuple[pa.Field, pa.Array]:
    array = _array(values, 0)
    if array is not None:
        return pa.field(name, array.type), array
    kinds = set(map(type, values)) - {NoneType}
    mark = "number" if kinds <= _NUMBERS else "json"
    write = str if mark == "number" else text
    return marked(name, pa.string(), mark), pa.array([None if v is None else write(v) for v in values], pa.string())


def _array(values: list[Any], depth: int) -> pa.Array | None:
    """The values in an Arrow type that holds each exactly, or None where there is none."""
    kinds = set(map(type, values)) - {NoneType}
    if kinds <= {str}:
        return pa.array(values, pa.string())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int}:
        try:
            return pa.array(values, pa.int64())
        except OverflowError:
            return None
    if kinds <= {float, Decimal}:
        return _floats(values)
    if depth < _MAX_NESTING and kinds == {dict}:
        return _struct(values, depth)
    if depth < _MAX_NESTING and kinds == {list}:
        return _list(values, depth)
    return None


def _floats(values: list[Any]) -> pa.Array | None:
    if Decimal not in set(map(type, values)):
        return pa.array(values, pa.float64(), from_pandas=False)
    floats = [None if v is None else float(v) for v in values]
    exact = all(type(v) is not Decimal or Decimal(repr(f)) == v for v, f in zip(values, floats, strict=True))
    return pa.array(floats, pa.float64(), from_pandas=False) if exact else None


def _struct(values: list[Any], depth: int) -> pa.Array | None:
    names = list(next(v for v in values if v is not None))
    same, gaps = set(names), None in values
    if not 0 < len(names) <= _MAX_FIELDS or any(v is not None and v.keys() != same for v in values):
        return None  # a field that is missing here and null there are two things: a struct would make them one
    children = []
    for name in names:
        inner = [None if v is None else v[name] for v in values] if gaps else list(map(itemgetter(name), values))
        child = _array(inner, depth + 1)
        if child is None:
            return None
        children.append(child)
    mask = pa.array([v is None for v in values], pa.bool_()) if gaps else None
    fields = [pa.field(name, child.type) for name, child in zip(names, children, strict=True)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=mask)


def _list(values: list[Any], depth: int) -> pa.Array | None:
    gaps = None in values
    filled = [v or () for v in values] if gaps else values
    child = _array(list(chain.from_iterable(filled)), depth + 1)
    if child is None:
        return None
    offsets = pa.array(accumulate(map(len, filled), initial=0), pa.int32())
    mask = pa.array([v is None for v in values], pa.bool_()) if gaps else None
    return pa.ListArray.from_arrays(offsets, child, mask=mask)


def _all_fit(items: list[Any]) -> bool:
    """Whether every item is a row, found out in one go: most pages hold nothing else."""
    if not all(type(item) is dict and item for item in items):
        return False
    try:
        orjson.dumps(items, default=_fragment)
    except TypeError:
        return False
    return True


def _fault(item: dict[str, Any]) -> tuple[str, str] | None:
    """Why an object cannot be kept: code and reason. orjson looks at every text in a fraction of Python's time."""
    if not item:
        return "empty_object", "an object without fields"
    try:
        orjson.dumps(item, default=_fragment)
    except TypeError:  # half a surrogate pair, an integer above 64 bits or too much nesting
        if fault := _unfit(item):
            return fault
        try:
            _spelled(item).encode()
        except UnicodeEncodeError:
            return "bad_unicode", "a text holds half of a surrogate pair"
    return None


def _raw(item: Any) -> bytes:
    """The item's bytes for quarantine, in ASCII: what cannot be written otherwise stays visible."""
    return _spelled(item, ascii_only=True).encode()


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal) and not _is_vast(value):
        return orjson.Fragment(str(value))
    raise TypeError


def _is_vast(value: Decimal) -> bool:
    return not -_FRACTION < value.adjusted() < _INTEGER or len(str(value)) > _FRACTION


def _spelled(value: Any, *, ascii_only: bool = False) -> str:
    """Like `text`, for what orjson refuses: integers of any length, halves of surrogate pairs, any depth."""
    parts: list[str] = []
    rest: list[Any] = [value]
    while rest:
        found = rest.pop()
        if isinstance(found, _Sign):
            parts.append(found)
        elif isinstance(found, dict):
            rest.append(_Sign("}"))
            for number, (name, inner) in reversed(list(enumerate(found.items()))):
                rest += [inner, _Sign(f"{',' if number else ''}{json.dumps(name, ensure_ascii=ascii_only)}:")]
            rest.append(_Sign("{"))
        elif isinstance(found, list):
            rest.append(_Sign("]"))
            for number, inner in reversed(list(enumerate(found))):
                rest += [inner, _Sign(",")] if number else [inner]
            rest.append(_Sign("["))
        else:
            parts.append(str(found) if isinstance(found, Decimal) else json.dumps(found, ensure_ascii=ascii_only))
    return "".join(parts)


class _Sign(str):
    """What stands between two values."""

    __slots__ = ()


def _unfit(item: Any) -> tuple[str, str] | None:
    """Whether a record is deeper than anything takes, or holds a number that nothing reads: code and reason."""
    level = [item]
    for _ in range(_DEEPEST):
        inner = [v for one in level for v in (one.values() if isinstance(one, dict) else one)]
        if any(isinstance(v, Decimal) and _is_vast(v) for v in inner):
            return "number_too_long", f"a number has more than {_INTEGER} digits, or {_FRACTION} of a fraction"
        level = [v for v in inner if isinstance(v, dict | list)]
        if not level:
            return None
    return "too_deep", "nested too deep"


def _name_of(item: Any) -> str:
    names = {NoneType: "null", bool: "a boolean", str: "a text", list: "a list"}
    return names.get(type(item), "a number")
