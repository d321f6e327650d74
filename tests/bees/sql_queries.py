"""Random reads in PostgreSQL's and MySQL's SQL, made from a grammar; `hole` stands where an unsafe piece may go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hypothesis import strategies as st

_FILES = Path(__file__).parents[1] / "data" / "sql"
HOLE = "/*hole*/1"
_TABLES = ("orders", "customers", "items")
_COMMON = {"orders": ("id", "customer_id"), "customers": ("id",), "items": ("order_id", "quantity")}
_TEXTS = {"orders": ("status", "note"), "customers": ("name", "region"), "items": ("sku",)}
_LITERALS = ("'x'", "'it''s; DROP TABLE orders'", "'-- no comment'", "'/* no comment */'", "'größe'", "''", "NULL")


def statements(name: str) -> list[str]:
    """The lines of a file of statements."""
    return [line for line in (_FILES / f"{name}.txt").read_text().splitlines() if line.strip()]


def schema() -> str:
    return (_FILES / "postgres_schema.sql").read_text()


Dialect = Literal["postgres", "mysql"]
Scope = tuple[tuple[str, str], ...]  # (alias, table)


@st.composite
def numbers(draw: st.DrawFn, dialect: Dialect, scope: Scope, depth: int, *, hole: bool = False) -> str:
    """An expression that is a number."""
    if hole and depth <= 0:
        return HOLE
    kind = draw(st.integers(0, 11 if depth > 0 else 2))

    def number(*, with_hole: bool = False) -> str:
        return draw(numbers(dialect, scope, depth - 1, hole=with_hole))

    def text() -> str:
        return draw(texts(dialect, scope, depth - 1))

    if hole:
        kind = draw(st.sampled_from([3, 4, 5, 6, 7, 9, 10, 11]))
    inner = number(with_hole=hole) if kind > 2 else ""
    if kind <= 1 and scope:
        alias, table = draw(st.sampled_from(scope))
        return f"{alias}.{draw(st.sampled_from(_COMMON[table]))}"
    if kind <= 2:
        return str(draw(st.integers(0, 99)))
    simple = {
        3: f"({inner} {draw(st.sampled_from(['+', '-', '*']))} {number()})",
        4: f"abs({inner})",
        5: f"CASE WHEN {draw(conditions(dialect, scope, depth - 1))} THEN {inner} ELSE {number()} END",
        6: f"coalesce({inner}, {number()})",
        7: f"(SELECT max({inner}) FROM customers AS s{depth})",
        8: f"length({text()})",
        9: f"- {inner}",
        10: f"CAST({inner} AS {'int' if dialect == 'postgres' else 'SIGNED'})",
    }
    return simple.get(kind) or f"greatest({number()}, {inner}, {number()})"


@st.composite
def texts(draw: st.DrawFn, dialect: Dialect, scope: Scope, depth: int) -> str:
    """An expression that is a text."""
    kind = draw(st.integers(0, 6 if depth > 0 else 2))
    if kind == 0 and scope:
        alias, table = draw(st.sampled_from(scope))
        return f"{alias}.{draw(st.sampled_from(_TEXTS[table]))}"
    if kind <= 2:
        return draw(st.sampled_from(_LITERALS))
    inner = draw(texts(dialect, scope, depth - 1))
    if kind == 3:
        return f"upper({inner})"
    if kind == 4:
        return f"concat({inner}, {draw(texts(dialect, scope, depth - 1))})"
    if kind == 5:
        return f"replace({inner}, 'a', 'b')"
    return f"trim(both ' ' from {inner})"


@st.composite
def conditions(draw: st.DrawFn, dialect: Dialect, scope: Scope, depth: int) -> str:
    kind = draw(st.integers(0, 6 if depth > 0 else 1))
    number = draw(numbers(dialect, scope, depth - 1))
    if kind == 0:
        return f"{number} < {draw(numbers(dialect, scope, depth - 1))}"
    if kind == 1:
        return f"{draw(texts(dialect, scope, depth - 1))} LIKE 'n%'"
    if kind == 2:
        return f"{number} IN (SELECT id FROM orders AS i{depth})"
    if kind == 3:
        return f"EXISTS (SELECT 1 FROM items AS e{depth} WHERE e{depth}.order_id = {number})"
    if kind == 4:
        return f"{number} BETWEEN 1 AND 50"
    if kind == 5:
        return f"{draw(texts(dialect, scope, depth - 1))} IS NOT NULL"
    joined = draw(st.sampled_from([" AND ", " OR "]))
    return f"({draw(conditions(dialect, scope, depth - 1))}{joined}NOT {draw(conditions(dialect, scope, depth - 1))})"


@st.composite
def selects(draw: st.DrawFn, dialect: Dialect, depth: int = 2, *, hole: bool = False) -> str:
    """A SELECT of two columns over one to three tables; with `hole` one expression of it, anywhere, is the hole."""
    count = draw(st.integers(1, 3))
    scope: Scope = tuple((f"t{i}", draw(st.sampled_from(_TABLES))) for i in range(count))
    place = draw(st.sampled_from(["column", "join", "where", "having", "order", "window", "derived"])) if hole else ""

    def number(at: str) -> str:
        return draw(numbers(dialect, scope, depth, hole=at == place))

    source = f"{scope[0][1]} AS t0"
    for alias, table in scope[1:]:
        kind = draw(st.sampled_from(["JOIN", "LEFT JOIN", "CROSS JOIN"]))
        on = "" if kind == "CROSS JOIN" else f" ON {draw(conditions(dialect, scope, 1))}"
        source += f" {kind} {table} AS {alias}{on}"
    if place == "join":
        source += f" JOIN orders AS tj ON {number('join')} = tj.id"
    if place == "derived":
        source += f" CROSS JOIN (SELECT {number_without(draw, dialect, depth)} AS d) AS dd"
    grouped = place == "having" or (not hole and draw(st.booleans()))
    where = f" WHERE {draw(conditions(dialect, scope, depth))}" if draw(st.booleans()) else ""
    if place == "where":
        where = f" WHERE {number('where')} > 0"
    if grouped:
        having = f" HAVING max({number('having')}) > 0" if place == "having" else ""
        columns = f"count(*) AS c0, max({number('column')}) AS c1"
        return f"SELECT {columns} FROM {source}{where} GROUP BY t0.{_COMMON[scope[0][1]][0]}{having} ORDER BY 1, 2"
    window = number("window") if place == "window" else f"t0.{_COMMON[scope[0][1]][0]}"
    ranked = f"count(*) OVER (PARTITION BY {window}) AS c1"
    order = f" ORDER BY {number('order')} + 0, 1, 2" if place == "order" else " ORDER BY 1, 2"
    return f"SELECT {number('column')} AS c0, {ranked} FROM {source}{where}{order} LIMIT 50"


def number_without(draw: st.DrawFn, dialect: Dialect, depth: int) -> str:
    return draw(numbers(dialect, (), depth, hole=True))


@st.composite
def reads(draw: st.DrawFn, dialect: Dialect, *, hole: bool = False) -> str:
    """A query: plain, with WITH, as one side of a set operation, or as a derived table."""
    inner = draw(selects(dialect, hole=hole))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return f"WITH q AS ({inner}), r (c0, c1) AS (SELECT c0, c1 FROM q) SELECT * FROM r ORDER BY 1, 2"
    if kind == 1:
        return f"({inner}) UNION ALL (SELECT 1, 2) ORDER BY 1, 2"
    if kind == 2:
        return f"SELECT * FROM ({inner}) AS q ORDER BY 1, 2"
    if kind == 3:
        counted = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3)"
        return f"{counted} SELECT q.*, n.i FROM n CROSS JOIN ({inner}) AS q ORDER BY 1, 2, 3"
    return inner
