"""Foreign keys through which other tables change the rows of one: the engine does so without a word in the binlog.

InnoDB deletes the rows that refer to a deleted one (ON DELETE CASCADE), or writes null or the new key into them (SET
NULL, ON UPDATE CASCADE), below the level that writes the log: https://bugs.mysql.com/bug.php?id=32506. What such a
change did to a table is only in the table itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import GiveUp
from bees.core.sql.mysql import binlog
from bees.core.sql.mysql.catalog import logged_columns
from bees.core.sql.mysql.forms import name_of
from bees.core.sql.mysql.logged import Unreadable, images, readers
from bees.core.sql.mysql.verdict import number_of

if TYPE_CHECKING:
    from bees.core.sql.mysql.logged import Column, Read
    from bees.core.sql.mysql.session import Questions

Place = tuple[str, str]
_NAMES = r"((?:`(?:[^`]|``)+`(?:, ?)?)+)"
_KEY = re.compile(
    rf"^  (?:CONSTRAINT `(?:[^`]|``)+` )?FOREIGN KEY (?:`(?:[^`]|``)+` )?\({_NAMES}\)"
    rf" REFERENCES (?:{_NAMES}\.)?{_NAMES} \({_NAMES}\)([^\n]*)$",
    re.MULTILINE,
)
"""A foreign key as SHOW CREATE TABLE writes it: on a line of its own, in which no text of a person stands."""
_NAME = re.compile(r"`((?:[^`]|``)+)`")
_RULE = re.compile(r"ON (DELETE|UPDATE) (CASCADE|SET NULL|SET DEFAULT)")
_NO_SUCH_TABLE, _DENIED = 1146, (1142, 1143, 1044)
_UNCHECKED = 2
"""Of an event of rows: foreign keys were not looked at when they were changed."""


@dataclass(frozen=True)
class Origin:
    """A table whose changes reach the followed one: by deletes, and by changes of these columns."""

    place: Place
    deletes: bool
    changes: frozenset[str]
    columns: tuple[Column, ...]


class Cascades:
    """Tells from the log whether another table's change changed the followed one."""

    def __init__(self, origins: tuple[Origin, ...]) -> None:
        self._origins: dict[Place, list[Origin]] = {}
        for origin in origins:
            self._origins.setdefault(origin.place, []).append(origin)
        self._mapped: dict[int, tuple[binlog.Table, list[Origin]]] = {}

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(self._origins)

    def map(self, table: binlog.Table) -> None:
        found = self._origins.get((table.schema, table.name))
        if found:
            self._mapped[table.number] = table, found
        else:
            self._mapped.pop(table.number, None)

    def reach(self, event: binlog.Event) -> bool:
        """Whether rows that changed there changed rows of the followed table, or may have."""
        known = self._mapped.get(binlog.table_number(event.body))
        if known is None or binlog.flags(event.body) & _UNCHECKED:
            return False
        table, origins = known
        rows = binlog.rows_of(event)
        if rows.deleted:
            return any(origin.deletes for origin in origins)
        return rows.twice and any(origin.changes and _touches(event, rows, table, origin) for origin in origins)


def _touches(event: binlog.Event, rows: binlog.Rows, table: binlog.Table, origin: Origin) -> bool:
    """Whether an update changed one of the columns; yes where that cannot be told."""
    names = [column.name for column in origin.columns]
    if not rows.whole or len(table.types) != len(names) or table.names not in ((), tuple(names)):
        return True
    try:
        reads: list[Read] = readers(table, origin.columns)
        found = images(event.body, rows, reads)
    except Unreadable:
        return True
    places = [number for number, name in enumerate(names) if name in origin.changes]
    pairs = zip(found[::2], found[1::2], strict=True)
    return any(before[place] != after[place] for before, after in pairs for place in places)


def origins(questions: Questions, place: Place, where: str) -> tuple[Origin, ...]:
    """Every table from which a foreign key's rule leads to `place`, over however many tables between.

    Raises GiveUp where such a table may not be looked at: what leads to it from further on could not be seen.
    """
    found: list[Origin] = []
    seen, ahead = {place}, [place]
    while ahead:
        for parent, deletes, changes in _keys(questions, ahead.pop(), where):
            found.append(Origin(parent, deletes, changes, tuple(logged_columns(questions, parent))))
            if parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    return tuple(found)


def _keys(questions: Questions, place: Place, where: str) -> list[tuple[Place, bool, frozenset[str]]]:
    """(table, whether its deletes come through, columns whose changes do) of each foreign key that changes rows."""
    from pymysql.err import Error

    try:
        told = str(questions.rows(f"SHOW CREATE TABLE {name_of(*place)}")[0][1])
    except Error as error:
        if number_of(error) == _NO_SUCH_TABLE:
            return []
        if number_of(error) not in _DENIED:
            raise
        raise GiveUp(
            f"the table is changed through a foreign key by the table {place[1]!r}, which `user` may not read, and the"
            " log does not tell such changes", code="hidden_cascade", where=where,
            advice=f"GRANT SELECT on {place[1]!r} too, or read the stream by a `query` instead of following it",
        ) from None  # fmt: skip
    found = []
    for _, schema, name, columns, rest in _KEY.findall(told):
        rules = {deed for deed, _ in _RULE.findall(rest)}
        if rules:
            parent = (_names(schema)[0] if schema else place[0], _names(name)[0])
            found.append((parent, "DELETE" in rules, frozenset(_names(columns) if "UPDATE" in rules else ())))
    return found


def _names(text: str) -> list[str]:
    return [name.replace("``", "`") for name in _NAME.findall(text)]
