"""Rows of a change log as Arrow: the texts that `pgoutput` sends, in the very form in which a full read carries them.

What the server would write otherwise in a full read (arrays and composites as JSON, an address with its mask) is asked
of the server, once a batch and column. A large value that an update left as it was is read from the table; where the
row is gone by now the column is absent from its batch, which is not null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
from psycopg import sql

from bees.core.sql.postgres.pgoutput import UNCHANGED
from nectar.batch import marked
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from bees.core.sql.postgres.catalog import SourceColumn
    from bees.core.sql.postgres.pgoutput import Values
    from bees.core.sql.postgres.select import Reading

TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bytea": pa.binary(),
}
_PLAIN = {"numeric", "json", "jsonb", "uuid", "time", "timetz", "interval", "varbit", "bit", "tsvector", "macaddr"}
"""Types whose text is the same whether it is sent or cast."""
_PARSERS: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text == "t",
    "int2": int,
    "int4": int,
    "int8": int,
    "float4": float,
    "float8": float,
    "bytea": lambda text: bytes.fromhex(text[2:]),
}
_SAME_TEXT = {(21, 23), (21, 20), (23, 20), (25, 1043), (1043, 25)}
"""(logged, now), numbers of types: each text of the first is the same value of the second one."""
_MOMENT = re.compile(r"^(\S+) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?")


class UntoldError(Exception):
    """Changes were logged without the key that the table has now, so which rows they change is not known."""


@dataclass(frozen=True)
class Row:
    """One change. `op` is upsert, delete or truncate, `mark` the cursor after it; values in the reading's order."""

    op: str
    values: Values
    mark: tuple[int, int, int, int]


def reads_alike(logged: int, now: int) -> bool:
    """Whether values that were logged as the type `logged` can be taken for ones of the type `now`."""
    return logged == now or (logged, now) in _SAME_TEXT


def tables(connection: psycopg.Connection, reading: Reading, rows: Sequence[Row]) -> Iterator[tuple[pa.Table, Row]]:
    """(rows as a table, the last of them), in order; more than one where columns are absent from some.

    Raises UntoldError for a key that its column's type does not have any more, such as an enum's former value.
    """
    columns = [_values(connection, column, [row.values[n] for row in rows]) for n, column in enumerate(reading.columns)]
    if any(c in reading.key and UNCHANGED in columns[n] for n, c in enumerate(reading.columns)):
        raise UntoldError
    _fill(connection, reading, rows, columns)
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop < len(rows) and _absent(columns, stop) == _absent(columns, start):
            continue
        yield _table(reading, rows[start:stop], [c[start:stop] for c in columns]), rows[stop - 1]
        start = stop


def empty(reading: Reading) -> pa.Table:
    return _schema(reading.columns).empty_table()


def _absent(columns: list[list[Any]], row: int) -> tuple[int, ...]:
    return tuple(n for n, column in enumerate(columns) if column[row] is UNCHANGED)


def _table(reading: Reading, rows: Sequence[Row], columns: list[list[Any]]) -> pa.Table:
    there = [n for n, column in enumerate(columns) if column[0] is not UNCHANGED]
    schema = _schema([reading.columns[n] for n in there])
    arrays = [pa.array(columns[n], schema.field(i).type) for i, n in enumerate(there)]
    table = pa.Table.from_arrays(arrays, schema=schema)
    if all(row.op == "upsert" for row in rows):
        return table
    return table.append_column("_op", pa.array([row.op for row in rows], pa.string()))


def _schema(columns: Sequence[SourceColumn]) -> pa.Schema:
    found = []
    for column in columns:
        kind = TYPES.get(column.form.name, pa.string()) if column.form.shape == "as_is" else pa.string()
        mark = column.form.mark
        name = escape(column.name)
        found.append(marked(name, kind, mark) if mark else pa.field(name, kind))
    return pa.schema(found)


def _values(connection: psycopg.Connection, column: SourceColumn, sent: Sequence[Any]) -> list[Any]:
    """The column's values in their own form; null and UNCHANGED stay."""
    form = column.form
    if form.shape == "as_is":
        return _parsed(_PARSERS.get(form.name, str), sent)
    texts = [v.decode() if isinstance(v, bytes) else v for v in sent]
    if form.shape == "moment":
        return [moment(t) if isinstance(t, str) else t for t in texts]
    if form.shape == "text" and form.name in _PLAIN:
        return texts
    return _asked(connection, column, texts)


def _parsed(parse: Callable[[str], Any], sent: Sequence[Any]) -> list[Any]:
    """A text that is none of the type was written before the column was retyped: it counts as UNCHANGED."""
    try:
        return [parse(v.decode()) if isinstance(v, bytes) else v for v in sent]
    except ValueError:
        found: list[Any] = []
        for value in sent:
            try:
                found.append(parse(value.decode()) if isinstance(value, bytes) else value)
            except ValueError:
                found.append(UNCHANGED)
        return found


def moment(text: str) -> str:
    """ISO 8601 as PostgreSQL's JSON has it, from the DateStyle ISO in UTC; infinity and years before Christ too."""
    return _MOMENT.sub(lambda m: f"{m[1]}T{m[2]}{'+00:00' if m[3] else ''}", text)


def _asked(connection: psycopg.Connection, column: SourceColumn, texts: Sequence[Any]) -> list[Any]:
    different = sorted({t for t in texts if isinstance(t, str)})
    if not different:
        return list(texts)
    value = sql.SQL("CAST(v AS {})").format(column.form.type())
    question = sql.SQL("SELECT v, {} FROM pg_catalog.unnest(%s::text[]) AS u (v)").format(column.form.select(value))
    try:
        with connection.transaction():
            told: dict[str, Any] = dict(connection.execute(question, (different,)).fetchall())
    except psycopg.DataError:  # written before the column was retyped
        return [UNCHANGED if isinstance(t, str) else t for t in texts]
    return [told[t] if isinstance(t, str) else t for t in texts]


def _fill(connection: psycopg.Connection, reading: Reading, rows: Sequence[Row], columns: list[list[Any]]) -> None:
    """Read what updates left out from the table, as it is by now: later changes follow."""
    wanting = [n for n in range(len(rows)) if any(column[n] is UNCHANGED for column in columns)]
    if not wanting:
        return
    which = [i for i, column in enumerate(columns) if any(column[n] is UNCHANGED for n in wanting)]
    places = [[c.name for c in reading.columns].index(k.name) for k in reading.key]
    keys = [[_text(rows[n].values[p]) for n in wanting] for p in places]
    question = sql.SQL(
        "SELECT k.n, {} FROM ROWS FROM (pg_catalog.unnest(%s::int[]), {}) AS k (n, {}) JOIN {} AS t ON {}"
    ).format(
        sql.SQL(", ").join([reading.columns[i].form.select(_of(reading.columns[i])) for i in which]),
        sql.SQL(", ").join([sql.SQL("pg_catalog.unnest(%s::text[])")] * len(keys)),
        sql.SQL(", ").join([sql.Identifier(f"k{i}") for i in range(len(keys))]),
        reading.relation.origin,
        sql.SQL(" AND ").join(
            [
                sql.SQL("{} = CAST({} AS {})").format(_of(c), sql.Identifier("k", f"k{i}"), c.form.type())
                for i, c in enumerate(reading.key)
            ]
        ),
    )
    for n, *values in connection.execute(question, (wanting, *keys)):
        for i, value in zip(which, values, strict=True):
            if columns[i][n] is UNCHANGED:
                columns[i][n] = value


def _of(column: SourceColumn) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(column.name))


def _text(value: Any) -> str:
    assert isinstance(value, bytes), "a key is never null, and never stored aside in part"
    return value.decode()
