"""Row filters for MySQL and MariaDB, on sqlglot's tree.

The fence is `(SELECT * FROM db.t WHERE (filter) LIMIT 18446744073709551615) AS t`: with a LIMIT the server neither
merges the subquery into the query round it nor moves conditions into it. sqlglot's printer would turn some of MySQL
into its own idea of it (RLIKE into REGEXP_LIKE, which MariaDB has not), so the fences are put into the text as it is,
and the result is read again and compared with the rewritten tree. The text is read as in the sql_mode that the bees
set: double quotes make strings, backslashes are escapes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.rows.keys import Filter, TableName
from bees.core.sql.rows.scope import Item, Level, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NO_LIMIT = "18446744073709551615"
# What may stand on a table's name; the rest is unknown to the fence, or no MySQL.
_ON_A_TABLE = frozenset({"this", "db", "alias", "hints", "partition", "joins"})
_REFUSED = (exp.Lock, exp.Into, exp.TableSample, exp.DML, exp.DDL, exp.Command)
_COLUMN_PARTS = 3
_TABLE_STATEMENT = re.compile(r"\bTABLE\s*\Z", re.IGNORECASE)


class _Edit(NamedTuple):
    """`text` instead of the characters from `start` up to `end`."""

    start: int
    end: int
    text: str


def filtered(sql: str, filters: Mapping[TableName, Filter], default_schema: str) -> str:
    """`sql`, one checked statement, with each table behind its filter. Raises SecurityViolation."""
    try:
        rewriter = _Rewriter(filters, default_schema)
        tree, text = rewriter.rewrite(_read(sql), sql, Scope())
        printed = _read(text)
        if printed != tree:
            _refuse("the filtered query does not survive being written as text", "print_differs")
        _prove(printed, rewriter.fences)
    except SqlglotError:
        raise SecurityViolation("the query cannot be read", code="syntax", where="query") from None
    except RecursionError:
        raise SecurityViolation("the query is nested too deeply", code="too_deep", where="query") from None
    return text


def _read(sql: str) -> exp.Expr:
    statements = sqlglot.parse(sql, dialect="mysql")
    if len(statements) != 1 or not isinstance(statements[0], exp.Query | exp.Values):
        _refuse("only one SELECT can be filtered", "wrong_root")
    return statements[0]


class _Rewriter:
    """Rewrites trees in place, and says how their text changes. Filters are read when their table is met, each once."""

    def __init__(self, filters: Mapping[TableName, Filter], default_schema: str) -> None:
        self._filters = filters
        self._default_schema = default_schema
        self._reading: list[TableName] = []
        self._text = ""
        self._edits: list[_Edit] = []
        # By table the condition of its fence; None for a table that is open.
        self.fences: dict[TableName, exp.Expr | None] = {}
        self._conditions: dict[TableName, str] = {}

    def rewrite(self, root: exp.Expr, text: str, scope: Scope) -> tuple[exp.Expr, str]:
        """The root with all below it rewritten, and its text."""
        around = self._text, self._edits
        self._text, self._edits = text, []
        # A parent of its own for the time, so that the root can be replaced.
        holder = exp.Paren(this=root)
        self._visit(root, scope)
        root = holder.this.pop()
        for edit in sorted(self._edits, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        self._text, self._edits = around
        return root, text

    def _visit(self, node: exp.Expr, scope: Scope) -> None:
        if isinstance(node, _REFUSED):
            _refuse("it does more than read", "construct")
        if common := node.args.get("with_"):
            scope = self._with(common, scope)
        if isinstance(node, exp.Select):
            scope = scope.inside(self._level(node, scope))
        if isinstance(node, exp.Column):
            self._column(node, scope)
        for child in [c for c in node.iter_expressions() if not isinstance(c, exp.With)]:
            self._visit(child, scope)
        if isinstance(node, exp.Table):
            self._fenced(node, scope)

    def _with(self, common: exp.With, scope: Scope) -> Scope:
        """The scope after WITH: an expression sees those before it, with RECURSIVE itself too."""
        names = [cte.alias for cte in common.expressions]
        for place, cte in enumerate(common.expressions):
            own = frozenset({cte.alias})
            if common.recursive:
                # MariaDB lets an expression see later ones, MySQL does not.
                later = set(names[place + 1 :])
                if any(not t.db and t.name in later for t in cte.this.find_all(exp.Table)):
                    _refuse("a WITH RECURSIVE refers to a later part", "ambiguous_table", cte.alias)
            self._visit(cte.this, scope.with_ctes(own) if common.recursive else scope)
            scope = scope.with_ctes(own)
        return scope

    def _level(self, select: exp.Select, scope: Scope) -> Level:
        level = Level([item for node in _sources(select) for item in self._items(node, scope)])
        for item in level.items:
            if item.renamed:
                _refuse("two tables of one name need aliases", "ambiguous_column", item.name)
        return level

    def _items(self, node: exp.Expr, scope: Scope) -> Iterator[Item]:
        joins = [join.this for join in node.args.get("joins") or ()]
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            if self._is_cte(node, scope) or _is_dual(node):
                yield Item(node.alias or node.name)
            else:
                table = self._table(node)
                fenced = self._fence(table) is not None
                yield Item(node.alias or table.name, table, bare=not node.alias, fenced=fenced)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and not node.alias:
            joins.insert(0, node.this)
        elif isinstance(node, exp.Subquery | exp.Lateral | exp.Values) or isinstance(node.this, exp.JSONTable):
            yield Item(node.alias)
        else:
            _refuse("something in FROM is unknown", "construct")
        for join in joins:
            yield from self._items(join, scope)

    def _is_cte(self, node: exp.Table, scope: Scope) -> bool:
        if node.db or node.catalog:
            return False
        if node.name in scope.ctes:
            return True
        if node.name.casefold() in {name.casefold() for name in scope.ctes}:
            # Whether case counts is a setting of the server.
            _refuse("the name differs from a WITH only in its case", "ambiguous_table", node.name)
        return False

    def _table(self, node: exp.Table) -> TableName:
        if node.catalog:
            _refuse("a table's name has too many parts", "unknown_table", node.name)
        strange = {name for name, value in node.args.items() if value} - _ON_A_TABLE
        if strange or node.alias_column_names:
            _refuse("something stands on a table's name that no filter can be kept with", "construct", node.name)
        return TableName(node.db or self._default_schema, node.name)

    def _fence(self, table: TableName) -> exp.Expr | None:
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

    def _condition(self, table: TableName, given: Filter) -> exp.Expr | None:
        condition, text = _expression(given)
        if isinstance(condition, exp.Boolean) and condition.this:
            return None
        _tie(condition, table, given)
        try:
            level = Level([Item(table.name, table, bare=True)])
            condition, text = self.rewrite(condition, text, Scope().inside(level))
        except SecurityViolation as why:
            if why.code in {"filter_cycle", "bad_filter"}:
                raise
            raise given.refused(f"{why.args[0]} ({why.where})") from None
        self._conditions[table] = text.removeprefix("SELECT ").strip()
        return condition

    def _fenced(self, node: exp.Table, scope: Scope) -> None:
        """Put the table behind its filter, in its place; an open one gets its schema."""
        if not isinstance(node.this, exp.Identifier):
            if not isinstance(node.this, exp.JSONTable):
                _refuse("a function stands in FROM", "function")
            return
        if self._is_cte(node, scope) or _is_dual(node):
            return
        if not isinstance(node.parent, exp.From | exp.Join | exp.Subquery):
            _refuse("a table is named at an unexpected place", "construct", node.name)
        table = self._table(node)
        start, end = _start(node.parts[0]), _end(node.parts[-1])
        node.set("this", _quoted(table.name))
        node.set("db", _quoted(table.schema))
        named = f"{node.args['db'].sql('mysql')}.{node.this.sql('mysql')}"
        condition = self._fence(table)
        if condition is None:
            self._edits.append(_Edit(start, end, named))
            return
        if node.args.get("partition"):
            last = self._closing(end)
            named, end = named + self._text[end:last], last
        alias, joins = node.args.get("alias"), node.args.get("joins")
        name = alias.this.copy() if alias else _quoted(table.name)
        short = _TABLE_STATEMENT.search(self._text, 0, start)
        if short:  # TABLE t is short for a SELECT
            start = short.start()
        kept = self._conditions[table]
        text = f"(SELECT * FROM {named} WHERE ({kept}) LIMIT {_NO_LIMIT})"  # noqa: S608 - texts that were read
        if short:
            text = f"SELECT * FROM {text}"  # noqa: S608
        self._edits.append(_Edit(start, end, text if alias else f"{text} AS {name.sql('mysql')}"))
        if node.args.get("hints"):
            # A fence has no index to choose; which one serves its filter is for the server to say.
            first = last = _end(name) if alias else end
            for _ in node.args["hints"]:
                last = self._closing(last)
            self._edits.append(_Edit(first, last, ""))
        inner = node.copy()
        for part in ("alias", "joins", "hints"):
            inner.set(part, None)
        fence = exp.select("*").from_(inner).where(_bracketed(condition), dialect="mysql")
        fence.set("limit", exp.Limit(expression=exp.Literal.number(_NO_LIMIT)))
        subquery = exp.Subquery(this=fence, alias=exp.TableAlias(this=name))
        if joins:
            subquery.set("joins", [join.copy() for join in joins])
        node.replace(subquery)

    def _closing(self, after: int) -> int:
        """The end of the next pair of brackets in the text."""
        depth = 0
        for token in sqlglot.tokenize(self._text[after:], read="mysql"):
            depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
            if depth == 0 and token.token_type == TokenType.R_PAREN:
                return after + token.end + 1
        raise AssertionError("sqlglot has read these brackets")

    def _column(self, node: exp.Column, scope: Scope) -> None:
        parts = node.parts
        if len(parts) > _COLUMN_PARTS or isinstance(node.parent, exp.Dot):
            _refuse("a column's name has too many parts", "ambiguous_column", node.name)
        if node.name.casefold() == "_rowid" and any(level.fenced for level in scope.levels):
            _refuse("a system column is read of a table with a filter", "system_column", node.name)
        if len(parts) == _COLUMN_PARTS and scope.relation(TableName(node.db, node.table)).fenced:
            self._edits.append(_Edit(_start(parts[0]), _start(parts[1]), ""))
            node.set("db", None)
        if node.meta.get("tied"):
            self._edits.append(_Edit(_start(node.this), _start(node.this), f"{node.args['table'].sql('mysql')}."))


def _sources(select: exp.Select) -> list[exp.Expr]:
    start = select.args.get("from_")
    rest = [*(select.args.get("joins") or ()), *(select.args.get("laterals") or ())]
    return [node.this if isinstance(node, exp.From | exp.Join) else node for node in [start, *rest] if node]


def _quoted(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _start(name: exp.Expr) -> int:
    """Where a name begins in the text it was read from."""
    return int(name.meta["start"])


def _end(name: exp.Expr) -> int:
    return int(name.meta["end"]) + 1


def _is_dual(node: exp.Table) -> bool:
    """DUAL is a word of the language, and no table, unless it is quoted."""
    plain = isinstance(node.this, exp.Identifier) and not node.this.args.get("quoted")
    return plain and node.name.casefold() == "dual" and not node.db


def _bracketed(condition: exp.Expr) -> exp.Expr:
    return exp.Subquery(this=condition.copy()) if isinstance(condition, exp.Subquery) else exp.paren(condition)


def _expression(given: Filter) -> tuple[exp.Expr, str]:
    """The one expression that a filter is, and the text that its places count in.

    It is read with brackets and without: only what stays the same is one.
    """
    text = f"SELECT {given.text}\n"
    try:
        tokens = sqlglot.tokenize(given.text, read="mysql")
        if any(t.comments or t.token_type in (TokenType.SEMICOLON, TokenType.HINT) for t in tokens):
            raise given.refused("it holds a comment or a semicolon")
        bare = _only_expression(sqlglot.parse(text, dialect="mysql"))
        bracketed = _only_expression(sqlglot.parse(f"SELECT ({given.text}\n)", dialect="mysql"))
    except SqlglotError:
        raise given.refused("it is no expression that can be read as MySQL") from None
    except RecursionError:
        raise given.refused("it is nested too deeply") from None
    if bare is None or not isinstance(bracketed, exp.Paren | exp.Subquery) or bracketed.this != bare:
        raise given.refused("it is not one expression")
    return bare.pop(), text


def _only_expression(statements: list[exp.Expr | None]) -> exp.Expr | None:
    statement = statements[0] if len(statements) == 1 else None
    if not isinstance(statement, exp.Select) or len(statement.expressions) != 1:
        return None
    if {name for name, value in statement.args.items() if value} != {"expressions"}:
        return None
    expression = statement.expressions[0]
    return None if isinstance(expression, exp.Alias | exp.Star) or expression.is_star else expression


def _tie(condition: exp.Expr, table: TableName, given: Filter) -> None:
    """Tie the condition's own columns to the table, so that none can be taken from the query round it."""

    def tie(node: exp.Expr, aliases: frozenset[str], *, own: bool) -> None:
        if isinstance(node, exp.Column):
            if own and not node.table:
                node.set("table", _quoted(table.name))
                node.meta["tied"] = True
            elif node.table and not node.db and node.table not in aliases:
                raise given.refused(f"nothing in it is named {node.table!r}")
            return
        if isinstance(node, exp.Select):
            found = {source.alias_or_name for top in _sources(node) for source in _joined(top)}
            aliases, own = aliases | found, False
        for child in node.iter_expressions():
            tie(child, aliases, own=own)

    tie(condition, frozenset({table.name}), own=True)


def _joined(node: exp.Expr) -> Iterator[exp.Expr]:
    yield node
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table):
        yield from _joined(node.this)
    for join in node.args.get("joins") or ():
        yield from _joined(join.this)


def _prove(tree: exp.Expr, fences: Mapping[TableName, exp.Expr | None]) -> None:
    """Look a second time, from each table upwards: it must be open, or the only one of a SELECT that is its fence."""
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and not _harmless(table, fences):
            raise SecurityViolation("a table is left without its filter", code="not_proved", where=table.name)


def _harmless(table: exp.Table, fences: Mapping[TableName, exp.Expr | None]) -> bool:
    if not table.db:
        return _is_dual(table) or _in_a_with(table)
    name = TableName(table.db, table.name)
    if name not in fences or table.catalog:
        return False
    condition = fences[name]
    if condition is None:
        return True
    select = table.parent.parent if isinstance(table.parent, exp.From) else None
    if not isinstance(select, exp.Select) or table.alias or table.args.get("joins"):
        return False
    used = {arg: value for arg, value in select.args.items() if value}
    where: Any = used.get("where")
    return (
        set(used) == {"expressions", "from_", "where", "limit"}
        and used["expressions"] == [exp.Star()]
        and where.this == _bracketed(condition)
        and used["limit"].expression == exp.Literal.number(_NO_LIMIT)
    )


def _in_a_with(table: exp.Table) -> bool:
    """Whether a WITH above has brought the name into view at this place."""
    below: exp.Expr = table
    node = table.parent
    while node is not None:
        if isinstance(node, exp.With):
            # Inside of WITH itself: those before, and with RECURSIVE the own one.
            before = [cte.alias for cte in node.expressions[: (below.index or 0) + bool(node.recursive)]]
            if table.name in before:
                return True
            below, node = node.parent or node, node.parent.parent if node.parent else None
            continue
        common = node.args.get("with_")
        if common is not None and table.name in [cte.alias for cte in common.expressions]:
            return True
        below, node = node, node.parent
    return False


def _refuse(why: str, code: str, where: str = "query") -> NoReturn:
    raise SecurityViolation(f"the query cannot be filtered: {why}", code=code, where=where)
