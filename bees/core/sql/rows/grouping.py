"""GROUP BY a primary key, for a table behind a fence.

PostgreSQL lets a query that groups by a table's primary key use the table's other columns: they are the same in all
rows of a group. Of a subquery it knows no key. So these columns are added to GROUP BY, which makes no group smaller.
That is only certain for columns outside of aggregates, and of no expression that is itself grouped by; the rest is left
for the server to judge.
"""

# mypy: disable-error-code="arg-type, assignment, index, union-attr"
# pglast types each part of a tree as optional; the grammar says which ones are there.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pglast import ast

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.rows.scope import children, names_in_from, path, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bees.core.sql.rows.scope import Level

_BUILT_IN = """
    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp cume_dist
    dense_rank every json_agg json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique
    json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict
    jsonb_object_agg_unique jsonb_object_agg_unique_strict max min mode percent_rank percentile_cont percentile_disc
    range_agg range_intersect_agg rank regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
    regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance xmlagg
"""
AGGREGATES = frozenset(_BUILT_IN.split())
_JSON_AGGREGATES = (ast.JsonObjectAgg, ast.JsonArrayAgg)


def complete_grouping(statement: ast.SelectStmt, level: Level) -> None:
    """Add to GROUP BY the columns that depend on the key of a fenced table. Changes `statement`."""
    if not statement.groupClause or not level.fenced:
        return
    plain, computed = _grouped(statement)
    if not plain:
        return
    keys = {_qualifier(names) for names in plain}
    outputs = {target.name for target in statement.targetList if target.name}
    # ORDER BY and DISTINCT ON look at the output columns first.
    sorted_by = [key.node for key in statement.sortClause or ()] + list(statement.distinctClause or ())
    used: list[Any] = [statement.targetList, statement.havingClause, statement.windowClause]
    used += [node for node in sorted_by if not (_is_plain(node) and path(node)[0][-1] in outputs)]
    for target in statement.targetList:
        if isinstance(target.val, ast.A_Indirection) and isinstance(target.val.indirection[-1], ast.A_Star):
            _refuse_star(path(target.val.arg)[0] if _is_plain(target.val.arg) else [], level)
    # A column that stands alone is no part of a computed group, though its name may be in one.
    alone = {id(target.val) for target in statement.targetList} | {id(node) for node in sorted_by}
    added: dict[tuple[str, ...], ast.ColumnRef] = {}
    for column in _loose(tuple(node for node in used if node is not None)):
        names, star = path(column)
        if star:
            _refuse_star(names, level)
            continue
        qualifier = _qualifier(names)
        whole = [item for item in level.items if item.name == names[-1] and len(names) == 1]
        if (names[-1] in computed and id(column) not in alone) or (whole and not whole[0].fenced):
            continue
        if qualifier is not None and not any(item.fenced and item.name == qualifier for item in level.items):
            continue
        if qualifier is None or None in keys or qualifier in keys:
            added[tuple(names)] = column
    new = [column for names, column in added.items() if list(names) not in plain]
    statement.groupClause = (*statement.groupClause, *(ast.ColumnRef(fields=column.fields) for column in new))


def _grouped(statement: ast.SelectStmt) -> tuple[list[list[str]], set[str]]:
    """The plain columns of GROUP BY, and the names of all columns that stand in its other expressions."""
    named = {target.name: target.val for target in statement.targetList if target.name}
    plain: list[list[str]] = []
    computed: set[str] = set()
    for node in statement.groupClause:
        meant = [node]
        if isinstance(node, ast.A_Const) and isinstance(node.val, ast.Integer):
            place = (node.val.ival or 0) - 1
            meant = [statement.targetList[place].val] if place in range(len(statement.targetList)) else []
        elif _is_plain(node) and len(path(node)[0]) == 1 and path(node)[0][0] in named:
            # It is an input column of that name, or else the output: whichever, both are kept as they are.
            meant.append(named[path(node)[0][0]])
        for one in meant:
            if _is_plain(one):
                plain.append(path(one)[0])
            else:
                computed |= {path(inner)[0][-1] for inner in walk(one) if _is_plain(inner)}
    return plain, computed


def _loose(node: Any, inner: frozenset[Any] | None = None) -> Iterator[ast.ColumnRef]:
    """The columns under `node` that stand outside of aggregates. In subqueries, whose names in view are `inner`, only
    those that are named with a table of this level.
    """
    if isinstance(node, tuple):
        for member in node:
            yield from _loose(member, inner)
        return
    if isinstance(node, ast.ColumnRef):
        names, star = path(node)
        if inner is None or (not star and len(names) > 1 and not _shadowed(names, inner)):
            yield node
        return
    if isinstance(node, ast.GroupingFunc) or (_is_aggregate(node) and not _belongs_to(node, inner or frozenset())):
        return
    if isinstance(node, ast.SelectStmt):
        inner = (inner or frozenset()) | names_in_from(node) | _bare_tables(node)
    for child in children(node):
        yield from _loose(child, inner)


def _bare_tables(statement: ast.SelectStmt) -> frozenset[tuple[str, str]]:
    """The tables without alias that anything below FROM may have, as (schema or nothing, name)."""
    nodes: list[Any] = [node for item in statement.fromClause or () for node in walk(item)]
    return frozenset((n.schemaname or "", str(n.relname)) for n in nodes if isinstance(n, ast.RangeVar) and not n.alias)


def _shadowed(names: list[str], inner: frozenset[Any]) -> bool:
    """Whether a column's table may be one of `inner`, the names and the bare tables of the subqueries round it."""
    if len(names) == 2:
        return names[0] in inner
    return not inner.isdisjoint({(names[0], names[1]), ("", names[1])})


def _belongs_to(aggregate: ast.Node, inner: frozenset[Any]) -> bool:
    """Whether an aggregate in a subquery is that subquery's own for certain: a column of it stands inside."""
    nodes = list(walk(aggregate))
    columns = [path(node)[0] for node in nodes if _is_plain(node)]
    return not any(isinstance(node, ast.SelectStmt) for node in nodes) and any(_qualifier(c) in inner for c in columns)


def _qualifier(names: list[str]) -> str | None:
    return names[-2] if len(names) > 1 else None


def _is_aggregate(node: Any) -> bool:
    if isinstance(node, _JSON_AGGREGATES):
        return node.constructor.over is None
    if not isinstance(node, ast.FuncCall) or node.over:
        return False
    marked = node.agg_star or node.agg_distinct or node.agg_within_group or node.agg_filter or node.agg_order
    return bool(marked) or node.funcname[-1].sval in AGGREGATES


def _is_plain(node: Any) -> bool:
    return isinstance(node, ast.ColumnRef) and not path(node)[1]


def _refuse_star(names: list[str], level: Level) -> None:
    if any(item.fenced and (not names or item.name == names[-1]) for item in level.items):
        raise SecurityViolation(
            "the query cannot be filtered: it takes all columns of a table that it groups by the key",
            code="group_by_key",
            where=".".join([*names, "*"]),
            advice="name the columns",
        )
