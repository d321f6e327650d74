"""The tables that filters are given for: `orders`, `public.orders`, `public."Orders"`, with backticks in MySQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bees.core.sql.errors import SecurityViolation

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = r"[^\W\d][\w$]*"
_KEYS = {
    "postgres": re.compile(rf'(?:({_PLAIN}|"(?:[^"\0]|"")+")\.)?({_PLAIN}|"(?:[^"\0]|"")+")'),
    "mysql": re.compile(r"(?:([\w$]+|`(?:[^`\0]|``)+`)\.)?([\w$]+|`(?:[^`\0]|``)+`)"),
}
_LONGEST = {"postgres": 63, "mysql": 64}
_FOLDED = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})


class TableName(NamedTuple):
    """A table as the server stores its name."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Filter:
    """The filter of one table, as it was given."""

    key: str
    text: str

    def refused(self, why: str, *, code: str = "bad_filter", advice: str = "") -> SecurityViolation:
        advice = advice or "give one expression over the table's own columns"
        return SecurityViolation(f"the filter cannot be kept: {why}", code=code, where=self.key, advice=advice)


def chosen_filters(
    filters: Mapping[str, str | bool | None], dialect: str, default_schema: str
) -> dict[TableName, Filter]:
    """The filter of each table. Raises SecurityViolation for keys that are no tables, or name one table twice."""
    if dialect not in _KEYS:
        raise SecurityViolation(
            f"no filters are known for the dialect {dialect!r}",
            code="unknown_dialect",
            where="dialect",
            advice=f"give one of {', '.join(_KEYS)}",
        )
    found: dict[TableName, Filter] = {}
    for key, given in filters.items():
        table = _table(key, dialect, default_schema)
        # Servers on some systems fold the case of MySQL's names, so two spellings may be one table.
        twice = [t for t in found if t == table or (dialect == "mysql" and _same_folded(t, table))]
        if twice:
            raise _bad_key(key, f"it means the same table as {found[twice[0]].key!r}")
        found[table] = Filter(key, _text(key, given))
    return found


def _same_folded(one: TableName, other: TableName) -> bool:
    return [part.casefold() for part in one] == [part.casefold() for part in other]


def _table(key: str, dialect: str, default_schema: str) -> TableName:
    parts = _KEYS[dialect].fullmatch(key.strip()) if isinstance(key, str) else None
    if parts is None:
        raise _bad_key(key, "it is no name of a table")
    names = [default_schema if part is None else _stored(part, dialect) for part in parts.groups()]
    if any(len(name.encode()) > _LONGEST[dialect] for name in names):
        raise _bad_key(key, "a name in it is longer than the server keeps")
    return TableName(*names)


def _stored(part: str, dialect: str) -> str:
    """The name as the server stores it: PostgreSQL folds A to Z where there are no quotes."""
    if part[0] in '"`':
        return part[1:-1].replace(part[0] * 2, part[0])
    return part.translate(_FOLDED) if dialect == "postgres" else part


def _text(key: str, given: str | bool | None) -> str:
    if given is None or given is False:
        return "false"
    if given is True:
        return "true"
    if not isinstance(given, str) or not given.strip():
        raise Filter(str(key), "").refused("it is empty", advice='write "true" to open the table, "false" to close it')
    return given


def _bad_key(key: object, why: str) -> SecurityViolation:
    advice = 'write `table`, `schema.table`, or `schema."Table"` for a name with upper case'
    return SecurityViolation(f"a filter has a wrong key: {why}", code="bad_filter_key", where=str(key), advice=advice)
