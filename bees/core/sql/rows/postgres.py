"""Row filters for PostgreSQL, on the tree of the server's own grammar."""

# mypy: disable-error-code="arg-type, assignment, index, union-attr"
# pglast types each part of a tree as optional; the grammar says which ones are there.

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from pglast import ast, parse_sql, scan
from pglast.enums import LimitOption, SetOperation
from pglast.parser import ParseError
from pglast.stream import RawStream

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.rows.grouping import complete_grouping
from bees.core.sql.rows.keys import Filter, TableName
from bees.core.sql.rows.proof import prove
from bees.core.sql.rows.scope import Item, Level, Scope, Shadowed, children, names_in_from, path, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Columns that every table has and that `SELECT *` leaves out.
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
# Functions that tell how much there is of a table, hidden rows included, or what holds them back.
_TELLING = frozenset(
    ("pg_relation_size", "pg_table_size", "pg_total_relation_size", "pg_indexes_size", "row_security_active")
)
# Functions and casts that take a row of any type, and give the same for it.
_ANY_ROW = """
    concat concat_ws count format json_agg json_agg_strict json_build_array json_build_object json_object_agg jsonb_agg
    jsonb_agg_strict jsonb_build_array jsonb_build_object jsonb_object_agg num_nonnulls num_nulls pg_column_size
    row_to_json to_json to_jsonb
"""
_OF_ANY_ROW = frozenset(_ANY_ROW.split())
_TEXTS = frozenset({"text", "varchar", "bpchar"})
_REFUSED = {
    ast.LockingClause: "it locks rows",
    ast.IntoClause: "it makes a table",
    ast.CurrentOfExpr: "it refers to a cursor",
    ast.RangeVar: "a table is named at an unexpected place",
}


def filtered(sql: str, filters: Mapping[TableName, Filter], default_schema: str) -> str:
    """`sql`, one checked statement, with each table behind its filter. Raises SecurityViolation."""
    try:
        rewriter, tree = _rewritten(sql, filters, default_schema)
        text = RawStream()(tree)
        prove(_read_again(text, tree), rewriter.fences)
    except ParseError:
        raise SecurityViolation("the query cannot be read", code="syntax", where="query") from None
    except RecursionError:
        raise SecurityViolation("the query is nested too deeply", code="too_deep", where="query") from None
    return str(text)


def _read_again(text: str, tree: ast.SelectStmt) -> Any:
    """What the printed text says; refused if that is not what the tree says."""
    try:
        printed = parse_sql(text)
    except ParseError:
        printed = ()
    if len(printed) != 1 or printed[0].stmt != tree:
        _refuse("the filtered query does not survive being written as text", "print_differs")
    return printed[0].stmt


@dataclass
class _Found:
    """What is learnt of the tables on the way, by their places in the text; each time it begins anew."""

    # Its own name would mean another thing too.
    renamed: set[int] = field(default_factory=set)
    # Its whole row is used where its type matters.
    typed: set[int] = field(default_factory=set)


def _rewritten(sql: str, filters: Mapping[TableName, Filter], default_schema: str) -> tuple[_Rewriter, ast.SelectStmt]:
    """The rewritten tree, and what rewrote it."""
    found = _Found()
    while True:
        statements = parse_sql(sql)
        if len(statements) != 1 or not isinstance(statements[0].stmt, ast.SelectStmt):
            _refuse("only one SELECT can be filtered", "wrong_root")
        rewriter = _Rewriter(filters, default_schema, found)
        known = len(found.typed)
        try:
            tree = rewriter.select(statements[0].stmt, Scope())
        except Shadowed as why:
            if why.place is None or why.place in found.renamed:
                raise
            found.renamed.add(why.place)
        else:
            if len(found.typed) == known:
                return rewriter, tree


@dataclass
class _Seen:
    """Passes items on and keeps them."""

    source: Iterator[Item]
    items: list[Item] = field(default_factory=list)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        self.items.append(item := next(self.source))
        return item


class _Rewriter:
    """Rewrites trees in place. Filters are read when their table is met, each once."""

    def __init__(self, filters: Mapping[TableName, Filter], default_schema: str, found: _Found) -> None:
        self._filters = filters
        self._found = found
        self._default_schema = default_schema
        self._reading: list[TableName] = []
        # By table the condition of its fence; None for a table that is open.
        self.fences: dict[TableName, ast.Node | None] = {}

    def select(self, statement: ast.SelectStmt, scope: Scope) -> ast.SelectStmt:
        if statement.lockingClause or statement.intoClause:
            _refuse("it locks rows or makes a table", "construct")
        scope = self._with(statement.withClause, scope)
        if statement.op != SetOperation.SETOP_NONE:
            self.select(statement.larg, scope)
            self.select(statement.rarg, scope)
            self._visit(statement.sortClause, scope)
        else:
            scope = self._level(statement, scope)
        self._visit(statement.limitOffset, scope)
        self._visit(statement.limitCount, scope)
        return statement

    def _with(self, clause: ast.WithClause | None, scope: Scope) -> Scope:
        """The scope after WITH: an expression sees those before it, with RECURSIVE all of its list."""
        if clause is None:
            return scope
        names = frozenset(cte.ctename for cte in clause.ctes)
        if clause.recursive:
            scope = scope.with_ctes(names)
        for cte in clause.ctes:
            if not isinstance(cte.ctequery, ast.SelectStmt):
                _refuse("a WITH holds a statement that is no SELECT", "wrong_root")
            self.select(cte.ctequery, scope)
            self._visit(cte.cycle_clause, scope)
            scope = scope.with_ctes(frozenset({cte.ctename}))
        return scope

    def _level(self, statement: ast.SelectStmt, scope: Scope) -> Scope:
        level = Level([item for node in statement.fromClause or () for item in self._items(node, scope)])
        scope = scope.inside(level)
        # Groups are completed first: it compares expressions, and these must be as they were written.
        complete_grouping(statement, level)
        if statement.fromClause:
            items = iter(level.items)
            statement.fromClause = tuple(self._from(node, scope, items) for node in statement.fromClause)
        for part in ("distinctClause", "targetList", "whereClause", "groupClause", "havingClause", "windowClause"):
            self._visit(getattr(statement, part), scope)
        self._visit(statement.valuesLists, scope)
        outputs = frozenset(name for target in statement.targetList or () if (name := _output(target)))
        for key in statement.sortClause or ():
            if not _is_output(key.node, outputs):
                self._visit(key, scope)
        return scope

    # What stands in FROM

    def _items(self, node: ast.Node, scope: Scope) -> list[Item]:  # noqa: RET503 - what is unknown is refused
        """The things that `node` of a FROM brings into view, in the order of the text."""
        alias = getattr(node, "alias", None)
        match node:
            case ast.JoinExpr():
                inner = [*self._items(node.larg, scope), *self._items(node.rarg, scope)]
                using = [Item(node.join_using_alias.aliasname)] if node.join_using_alias else []
                return [*inner, *using, *([Item(alias.aliasname)] if alias else [])]
            case ast.RangeVar():
                if _is_cte(node, scope):
                    return [Item(alias.aliasname if alias else node.relname)]
                table = self._table(node)
                fenced = self._fence(table) is not None
                item = Item(alias.aliasname if alias else table.name, table, bare=not alias, fenced=fenced)
                item.place = None if self._reading else node.location
                item.renamed = str(table) if item.place in self._found.renamed else None
                return [item]
            case ast.RangeFunction():
                call = node.functions[0][0]
                last = call.funcname[-1].sval if isinstance(call, ast.FuncCall) else ""
                return [Item(alias.aliasname if alias else last)]
            case ast.RangeSubselect() | ast.RangeTableFunc() | ast.JsonTable():
                return [Item(alias.aliasname if alias else "")]
            case ast.RangeTableSample():
                _refuse("TABLESAMPLE would draw from hidden rows", "table_sample")
            case _:
                _refuse("something in FROM is unknown", "construct")

    def _from(self, node: ast.Node, scope: Scope, items: Iterator[Item]) -> ast.Node:
        match node:
            case ast.JoinExpr():
                node.larg = self._from(node.larg, scope, seen := _Seen(items))
                node.rarg = self._from(node.rarg, scope, seen)
                # A join's condition sees what is joined, and nothing beside it.
                self._visit(node.quals, replace(scope, levels=(*scope.levels[:-1], Level(seen.items))))
                for _ in range(bool(node.join_using_alias) + bool(node.alias)):
                    next(items)
                return node
            case ast.RangeVar():
                item = next(items)
                return self._fenced(node, item) if item.table else node
            case _:
                next(items)
                if isinstance(node, ast.RangeSubselect) and not node.lateral:
                    scope = replace(scope, levels=scope.levels[:-1])  # it sees nothing beside it
                for child in children(node):
                    self._visit(child, scope)
                return node

    def _table(self, node: ast.RangeVar) -> TableName:
        if node.catalogname:
            _refuse("a table is named with its database", "unknown_table", f"{node.catalogname}.{node.schemaname}")
        return TableName(node.schemaname or self._default_schema, node.relname)

    def _fence(self, table: TableName) -> ast.Node | None:
        """The condition on `table`, its own tables behind their filters; None if it is open."""
        if table not in self.fences:
            if table not in self._filters:
                raise SecurityViolation(
                    "the table has no row filter, so it may not be read",
                    code="unknown_table",
                    where=str(table),
                    advice='add it to the filters; "true" opens it',
                )
            given = self._filters[table]
            if table in self._reading:
                way = " -> ".join(str(t) for t in (*self._reading[self._reading.index(table) :], table))
                raise given.refused(f"it needs itself: {way}", code="filter_cycle")
            self._reading.append(table)
            self.fences[table] = self._condition(table, given)
            self._reading.pop()
        return self.fences[table]

    def _condition(self, table: TableName, given: Filter) -> Any:
        condition = _expression(given)
        if isinstance(condition, ast.A_Const) and isinstance(condition.val, ast.Boolean) and condition.val.boolval:
            return None
        scope = Scope().inside(Level([Item(table.name, table, bare=True)]))
        try:
            self._visit(condition, scope)
        except SecurityViolation as why:
            if why.code in {"filter_cycle", "bad_filter"}:
                raise
            raise given.refused(f"{why.args[0]} ({why.where})") from None
        _tie(condition, table, given)
        return condition

    def _fenced(self, node: ast.RangeVar, item: Item) -> Any:
        """The table behind its filter, in its place; an open one with its schema."""
        assert item.table is not None
        if item.fenced:
            alias = node.alias or ast.Alias(aliasname=item.renamed or item.name)
            fence = _fence_of_rows(item.table) if item.place in self._found.typed else _fence_of_columns(item.table)
            select = next(n for n in walk(fence) if isinstance(n, ast.SelectStmt))
            select.whereClause = self.fences[item.table]
            select.fromClause[0].inh = node.inh
            fence.alias = alias
            return fence
        node.schemaname = item.table.schema
        return node

    # Everything else

    def _visit(self, node: Any, scope: Scope) -> None:
        if isinstance(node, tuple):
            for member in node:
                self._visit(member, scope)
            return
        match node:
            case None:
                return
            case ast.SelectStmt():
                self.select(node, scope)
                return
            case ast.ColumnRef():
                self._column(node, scope)
            case ast.FuncCall():
                self._call(node, scope)
                return
            case ast.A_Indirection() if isinstance(node.arg, ast.ColumnRef):
                self._column(node.arg, scope, row=False)
                self._visit(node.indirection, scope)
                return
            case ast.NullTest() | ast.TypeCast() if isinstance(node.arg, ast.ColumnRef):
                typed = isinstance(node, ast.TypeCast) and node.typeName.names[-1].sval not in _TEXTS
                self._column(node.arg, scope, row=typed)
                return
            case _ if type(node) in _REFUSED:
                _refuse(_REFUSED[type(node)], "construct")
        for child in children(node):
            self._visit(child, scope)

    def _column(self, node: ast.ColumnRef, scope: Scope, *, row: bool = True) -> None:
        """A column, or a whole row: `row` says whether its type would matter then."""
        names, star = path(node)
        if row and len(names) == 1 and not star:
            meant = scope.items(names[0])
            self._found.typed |= {item.place for item in meant if item.fenced and item.place is not None}
        match [*names, "*"] if star else names:
            case [name]:
                if name in _SYSTEM_COLUMNS and any(level.fenced for level in scope.levels):
                    _refuse_system(name)
                if any(item.renamed for item in scope.items(name)):
                    _refuse("the name may mean one of several tables", "ambiguous_column", name)
            case [qualifier, name]:
                items = scope.items(qualifier)
                if name in _SYSTEM_COLUMNS and any(item.fenced for item in items):
                    _refuse_system(name)
                if any(item.renamed for item in items):
                    if len(items) > 1:
                        _refuse("the name may mean one of several tables", "ambiguous_column", qualifier)
                    node.fields = (ast.String(sval=items[0].renamed), node.fields[-1])
            case [schema, table, name]:
                item = scope.relation(TableName(schema, table))
                if item.fenced:
                    if name in _SYSTEM_COLUMNS:
                        _refuse_system(name)
                    node.fields = (ast.String(sval=item.renamed or item.name), node.fields[-1])
            case ["*"]:
                pass
            case _:
                _refuse("a column is named with its database", "ambiguous_column", ".".join(names))

    def _call(self, node: ast.FuncCall, scope: Scope) -> None:
        name = node.funcname[-1].sval
        if name in _TELLING or name.startswith("pg_stat_get_"):
            _refuse("it tells of a table with its hidden rows", "function", name)
        for child in children(node):
            if not isinstance(child, ast.ColumnRef):
                self._visit(child, scope)
                continue
            self._column(child, scope, row=name not in _OF_ANY_ROW)
            if name not in _OF_ANY_ROW and len(child.fields) == 2 and path(child)[1]:
                self._column(ast.ColumnRef(fields=child.fields[:1]), scope)  # f(t.*) is f(t)


def _fence_of_columns(table: TableName) -> Any:
    return _from_clause(f"(SELECT * FROM {_quoted(table)} WHERE true OFFSET 0)")  # noqa: S608 - a quoted name


def _fence_of_rows(table: TableName) -> Any:
    """A fence whose whole row has the table's own type: the server builds it in memory, so only where it is needed."""
    row = f"ROW({_quoted(table.name)}.*)::{_quoted(table)}"
    rows = f"SELECT {row} FROM {_quoted(table)} WHERE true OFFSET 0"  # noqa: S608 - quoted names
    return _from_clause(f"pg_catalog.unnest(ARRAY({rows}))")


def _from_clause(item: str) -> Any:
    return parse_sql(f"SELECT * FROM {item} AS t")[0].stmt.fromClause[0]  # noqa: S608


def _quoted(name: TableName | str) -> str:
    parts = [name] if isinstance(name, str) else name
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _expression(given: Filter) -> Any:
    """The one expression that a filter is. Read with brackets and without: only what stays the same is one."""
    try:
        if any(token.name in ("SQL_COMMENT", "C_COMMENT") for token in scan(given.text)):
            raise given.refused("it holds a comment")
        bare = parse_sql(f"SELECT {given.text}\n")
        bracketed = parse_sql(f"SELECT ({given.text}\n)")
    except (ParseError, ValueError):
        raise given.refused("it is no expression that PostgreSQL can read") from None
    except RecursionError:
        raise given.refused("it is nested too deeply") from None
    if len(bare) != 1 or bare[0].stmt != bracketed[0].stmt or len(bracketed) != 1:
        raise given.refused("it is not one expression")
    statement = bare[0].stmt
    plain = isinstance(statement, ast.SelectStmt) and statement.limitOption == LimitOption.LIMIT_OPTION_DEFAULT
    used = {name for name in statement if isinstance(getattr(statement, name), ast.Node | tuple)} - {"targetList"}
    if not plain or used or len(statement.targetList) != 1 or statement.targetList[0].name:
        raise given.refused("it is not one expression")
    condition = statement.targetList[0].val
    if isinstance(condition, ast.ColumnRef) and path(condition)[1]:
        raise given.refused("it is no condition")
    return condition


def _tie(condition: ast.Node, table: TableName, given: Filter) -> None:
    """Tie the condition's own columns to the table, so that none can be taken from the query round it."""

    def tie(node: ast.Node, aliases: frozenset[str], *, own: bool) -> None:
        if isinstance(node, ast.ColumnRef):
            names, star = path(node)
            if own and len(names) == 1 and not star:
                if names[0] == table.name:  # a name that no column has would be looked for outside
                    advice = f"write {table.name}.{names[0]} if a column is meant"
                    raise given.refused("it uses the whole row", advice=advice)
                node.fields = (ast.String(sval=table.name), ast.String(sval=names[0]))
            elif len(names) + star > 1 and names[0] not in aliases and len(names) + star < 3:
                raise given.refused(f"nothing in it is named {names[0]!r}")
            return
        if isinstance(node, ast.SelectStmt):
            aliases, own = aliases | names_in_from(node), False
        for child in children(node):
            tie(child, aliases, own=own)

    tie(condition, frozenset({table.name}), own=True)


def _is_cte(node: ast.RangeVar, scope: Scope) -> bool:
    return node.schemaname is None and node.catalogname is None and node.relname in scope.ctes


def _output(target: ast.ResTarget) -> str | None:
    if target.name:
        return str(target.name)
    names, star = path(target.val) if isinstance(target.val, ast.ColumnRef) else ([], True)
    return None if star else names[-1]


def _is_output(node: ast.Node, outputs: frozenset[str]) -> bool:
    names = path(node)[0] if isinstance(node, ast.ColumnRef) else []
    return len(names) == 1 and names[0] in outputs


def _refuse(why: str, code: str, where: str = "query") -> NoReturn:
    raise SecurityViolation(f"the query cannot be filtered: {why}", code=code, where=where)


def _refuse_system(name: str) -> NoReturn:
    _refuse("a system column is read of a table with a filter", "system_column", name)
