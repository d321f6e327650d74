"""A second look at a rewritten query, by another way than it was made: no table may stand outside of its fence."""

# mypy: disable-error-code="arg-type, assignment, index, union-attr"
# pglast types each part of a tree as optional; the grammar says which ones are there.

from __future__ import annotations

from typing import TYPE_CHECKING

from pglast import ast, parse_sql

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.rows.keys import TableName
from bees.core.sql.rows.scope import children, path

if TYPE_CHECKING:
    from collections.abc import Mapping

_FENCE: ast.SelectStmt = parse_sql("SELECT * FROM t WHERE true OFFSET 0")[0].stmt


def prove(tree: ast.Node, fences: Mapping[TableName, ast.Node | None]) -> None:
    """Raise SecurityViolation unless each table of `tree` is open, or the only one of a SELECT that is its fence."""
    waiting: list[tuple[ast.Node, ...]] = [(tree,)]
    while waiting:
        way = waiting.pop()
        if isinstance(way[-1], ast.RangeVar) and not _harmless(way[-1], way[:-1], fences):
            raise SecurityViolation("a table is left without its filter", code="not_proved", where=str(way[-1].relname))
        waiting += [(*way, child) for child in children(way[-1])]


def _harmless(table: ast.RangeVar, above: tuple[ast.Node, ...], fences: Mapping[TableName, ast.Node | None]) -> bool:
    if table.catalogname:
        return False
    if not table.schemaname:
        return _is_cte(table.relname, above)
    name = TableName(table.schemaname, table.relname)
    if name not in fences:
        return False
    condition = fences[name]
    return condition is None or (table.alias is None and _is_fence(above[-1], table, condition))


def _is_fence(statement: ast.Node, table: ast.RangeVar, condition: ast.Node) -> bool:
    """`SELECT * FROM table WHERE condition OFFSET 0`, or the same with the row as one value."""
    if not isinstance(statement, ast.SelectStmt) or statement.fromClause != (table,):
        return False
    rest = set(statement) - {"fromClause", "whereClause", "targetList"}
    row = [table.relname, "*"], [table.schemaname, table.relname]
    return (
        statement.whereClause == condition
        and (statement.targetList == _FENCE.targetList or _row(statement.targetList[0].val) == row)
        and len(statement.targetList) == 1
        and all(getattr(statement, name) == getattr(_FENCE, name) for name in rest)
    )


def _row(value: ast.Node) -> tuple[list[str], list[str]] | None:
    """The column and the type of `ROW(t.*)::schema.t`."""
    if not isinstance(value, ast.TypeCast) or not isinstance(value.arg, ast.RowExpr) or len(value.arg.args) != 1:
        return None
    names, star = path(value.arg.args[0]) if isinstance(value.arg.args[0], ast.ColumnRef) else ([], False)
    return [*names, "*"] if star else names, [part.sval for part in value.typeName.names]


def _is_cte(name: str, above: tuple[ast.Node, ...]) -> bool:
    """Whether a WITH above has brought `name` into view at this place."""
    for node, below in zip(above, (*above[1:], None), strict=True):
        clause = node.withClause if isinstance(node, ast.SelectStmt) else None
        if clause is None:
            continue
        names = [cte.ctename for cte in clause.ctes]
        if below is clause and not clause.recursive:
            names = names[: next(i for i, cte in enumerate(clause.ctes) if any(cte is one for one in above))]
        if name in names:
            return True
    return False
