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
    except (ValueError, ArithmeticError):
        problem = "a number that JSON does not have, or one that is too long"
    raise SkipRecord(problem, code="not_json")


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
        try:
            _spelled(item).encode()
        except UnicodeEncodeError:
            return "bad_unicode", "a text holds half of a surrogate pair"
        except RecursionError:
            return "too_deep", "nested too deep"
    return None


def _raw(item: Any) -> bytes:
    """The item's bytes for quarantine, in ASCII: what cannot be written otherwise stays visible."""
    try:
        return _spelled(item, ascii_only=True).encode()
    except RecursionError:
        return b""


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def _spelled(value: Any, *, ascii_only: bool = False) -> str:
    """Like `text`, for what orjson refuses: integers of any length, halves of surrogate pairs."""
    if isinstance(value, dict):
        pairs = [(json.dumps(k, ensure_ascii=ascii_only), _spelled(v, ascii_only=ascii_only)) for k, v in value.items()]
        return "{" + ",".join(f"{key}:{item}" for key, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_spelled(item, ascii_only=ascii_only) for item in value) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=ascii_only)


def _name_of(item: Any) -> str:
    names = {NoneType: "null", bool: "a boolean", str: "a text", list: "a list"}
    return names.get(type(item), "a number")
