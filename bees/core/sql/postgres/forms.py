"""How a value of each PostgreSQL type travels, so that none arrives changed.

What Arrow holds exactly stays typed; everything else becomes text that the server itself writes:

    bool, int2/4/8, float4/8, text, varchar, bpchar, bytea    as they are
    numeric                                                   text, marked `number` (NaN and infinities stay text)
    date, timestamp, timestamptz                              ISO 8601 text in UTC; infinity, BC and year 294276 survive
    json, jsonb, arrays, composites                           text, marked `json`
    arrays with a lower bound other than 1                    a JSON text of PostgreSQL's own, "[0:1]={1,2}"; inside of
                                                              a composite a list, as any other array
    all others (uuid, inet, ranges, interval, enum, ...)      the type's own text

Domains travel as the type below them. Dates stay text because Arrow wraps `infinity` into a number; typed timestamps
with a guard were twice as quick (1.6 against 0.8 million rows a second), which is far above what landing takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg import sql

if TYPE_CHECKING:
    from nectar.pollen import Kind

Shape = Literal["as_is", "text", "moment", "document"]

_AS_IS: dict[str, Kind] = {
    "bool": "boolean",
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "float4": "float",
    "float8": "float",
    "text": "text",
    "varchar": "text",
    "bpchar": "text",
    "bytea": "binary",
}
_MOMENTS: dict[str, Kind] = {"date": "date", "timestamp": "timestamp", "timestamptz": "timestamptz"}
_NAMED: dict[str, Kind] = {"numeric": "number", "json": "json", "jsonb": "json", "uuid": "uuid", "time": "time"}
_EXACT = {
    "bool", "int2", "int4", "int8", "oid", "bytea", "bit", "varbit", "name", "char", "uuid", "date", "time", "timetz",
    "timestamp", "timestamptz", "money", "inet", "cidr", "macaddr", "macaddr8", "pg_lsn", "tid",
}  # fmt: skip
_NOT_REALLY_ARRAYS = {"int2vector", "oidvector"}  # their own text form is what every tool shows


@dataclass(frozen=True)
class Form:
    """`cast` is the server's quoted name of the type, without modifiers: a literal cast to it compares like it."""

    name: str
    cast: str
    kind: Kind
    shape: Shape
    domain: bool = False
    exact: bool = False
    """Values that compare equal are the same; texts are, too, where their collation says so."""
    elsewhere: str = ""
    """The schema of its operators where a session does not look there: rows are sorted by them, and compared by others
    that fit (a citext as a text)."""
    array: bool = False

    @property
    def mark(self) -> str | None:
        return self.kind if self.kind in ("number", "json") else None

    @property
    def moment(self) -> bool:
        return self.shape == "moment"

    def type(self) -> sql.Composable:
        # The server's own format_type() wrote it, quotes included.
        return sql.SQL(self.cast)

    def literal(self, text: str) -> sql.Composable:
        return sql.SQL("CAST({} AS {})").format(sql.Literal(text), self.type())

    def tie(self, value: sql.Composable) -> sql.Composable:
        """What tells two values apart that compare equal. Blanks at the end of a bpchar are in no text made of it."""
        if self.name == "bpchar":
            return sql.SQL("pg_catalog.bpcharsend({})").format(value)
        return sql.SQL('CAST({} AS pg_catalog.text) COLLATE pg_catalog."C"').format(value)

    def select(self, column: sql.Composable) -> sql.Composable:
        """The expression that carries the column exactly."""
        if self.domain:
            column = sql.SQL("CAST({} AS {})").format(column, self.type())
        if self.shape == "as_is":
            return column
        if self.shape == "moment":
            return sql.SQL("(pg_catalog.to_json({}) OPERATOR(pg_catalog.#>>) '{{}}')").format(column)
        if self.array:
            column = sql.SQL(
                "CASE WHEN pg_catalog.array_dims({0}) OPERATOR(pg_catalog.~) '\\[(?!1:)'"
                " THEN pg_catalog.to_json(CAST({0} AS pg_catalog.text)) ELSE pg_catalog.to_json({0}) END"
            ).format(column)
        elif self.shape == "document":
            column = sql.SQL("pg_catalog.to_json({})").format(column)
        return sql.SQL("CAST({} AS pg_catalog.text)").format(column)


def form_of(
    *, name: str, schema: str, letter: str, category: str, cast: str, domain: bool, visible: bool = True
) -> Form:
    """The form of a type from its row in pg_type: `letter` is typtype, `category` is typcategory."""
    if letter in ("c", "p") or (category == "A" and name not in _NOT_REALLY_ARRAYS):
        return Form(name, cast, "json", "document", domain, array=cast.endswith("[]"))
    own = schema == "pg_catalog"
    exact = letter == "e" or (own and name in _EXACT)
    if own and name in _AS_IS:
        return Form(name, cast, _AS_IS[name], "as_is", domain, exact)
    if own and name in _MOMENTS:
        return Form(name, cast, _MOMENTS[name], "moment", domain, exact)
    if own and name in _NAMED:
        return Form(name, cast, _NAMED[name], "text", domain, exact)
    elsewhere = schema if letter == "b" and not (own or visible) else ""
    return Form(name, cast, "text", "text", domain, exact, elsewhere)
