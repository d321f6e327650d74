"""The guard for PostgreSQL, on the tree that the server's own grammar makes of the text (pglast, PostgreSQL 18).

Functions of the packaged list are printed as `pg_catalog.name`, so that no function of the source with the same name
is called in their place. What is printed is parsed again, and both trees must be one, but for places in the text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pglast import parser
from pglast.stream import RawStream

from bees.core.sql.checks.functions import packaged
from bees.core.sql.checks.parse import place, place_of_byte
from bees.core.sql.checks.second_look import Seen, compare, is_plain
from bees.core.sql.errors import SecurityViolation

Fields = dict[str, Any]
Scope = frozenset[str]

# Parts of the language that hold no harm by themselves; functions, operators and tables in them are looked up.
_PARTS = """
    A_ArrayExpr A_Const A_Expr A_Indices A_Indirection A_Star Alias BitString BoolExpr Boolean BooleanTest
    CTECycleClause CTESearchClause CaseExpr CaseWhen CoalesceExpr CollateClause ColumnDef ColumnRef CommonTableExpr
    Float FuncCall GroupingFunc GroupingSet Integer JoinExpr JsonAggConstructor JsonArgument JsonArrayAgg
    JsonArrayConstructor JsonArrayQueryConstructor JsonBehavior JsonFormat JsonFuncExpr JsonIsPredicate JsonKeyValue
    JsonObjectAgg JsonObjectConstructor JsonOutput JsonParseExpr JsonReturning JsonScalarExpr JsonSerializeExpr
    JsonTable JsonTableColumn JsonTablePathSpec JsonValueExpr List MinMaxExpr NamedArgExpr NullTest ParamRef
    RangeFunction RangeSubselect RangeTableFunc RangeTableFuncCol RangeTableSample RangeVar ResTarget RowExpr
    SQLValueFunction SelectStmt SortBy String SubLink TypeCast TypeName WindowDef WithClause XmlExpr XmlSerialize
"""
_HARMLESS = frozenset(_PARTS.split())
# Fields whose value is a node without its name around it.
_KINDS = {
    "larg": "SelectStmt",
    "rarg": "SelectStmt",
    "withClause": "WithClause",
    "intoClause": "IntoClause",
    "typeName": "TypeName",
    "over": "WindowDef",
    "alias": "Alias",
    "join_using_alias": "Alias",
    "collClause": "CollateClause",
    "search_clause": "CTESearchClause",
    "cycle_clause": "CTECycleClause",
    "context_item": "JsonValueExpr",
    "formatted_expr": "JsonValueExpr",
    "output": "JsonOutput",
    "returning": "JsonReturning",
    "format": "JsonFormat",
    "pathspec": "JsonTablePathSpec",
    "on_empty": "JsonBehavior",
    "on_error": "JsonBehavior",
    "constructor": "JsonAggConstructor",
    "value": "JsonValueExpr",
}
_KINDS_BY_PARENT = {
    ("JsonObjectAgg", "arg"): "JsonKeyValue",
    ("JsonArrayAgg", "arg"): "JsonValueExpr",
    ("JsonParseExpr", "expr"): "JsonValueExpr",
    ("JsonSerializeExpr", "expr"): "JsonValueExpr",
    ("JsonArgument", "val"): "JsonValueExpr",
}
_DATA_CHANGES = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
_LEAVES = {"A_Const", "Alias", "String", "Integer", "Float", "Boolean", "BitString", "ParamRef"}
_EXPLAIN = "analyze verbose costs settings generic_plan buffers serialize wal timing summary memory format"
_EXPLAIN_OPTIONS = frozenset(_EXPLAIN.split())
_SAMPLING = {"bernoulli", "system"}
_ARITY = {"ts_rewrite": 3}  # with two arguments it runs the second as a query
_ESCAPES = {"like_escape", "similar_to_escape"}  # how the grammar writes LIKE ... ESCAPE
_WORDS = {"AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"}  # operators by name only
_NO_PREFIX = {"unnest"}  # with several arguments it is syntax, known by the bare name only
_PLACE = r'"(?:\w*location|stmt_len|(?:rexpr_)?list_(?:start|end))":-?\d+'
_PLACES = re.compile(f",{_PLACE}|{_PLACE},?")
_BARE_CALL = re.compile(r'"funcname":\[\{"String":\{"sval":("(?:[^"\\]|\\.)*")\}\}\]')
_PSYCOPG = re.compile(r"%(?:\(\w+\))?[sbt]\b")
_EXPLAINED = re.compile(r"^(?:EXPLAIN (?:\((?:[^()'\"]|\"[^\"]*\")*\) |ANALYZE |VERBOSE )*|SHOW .*)")
_NO_READ = "only SELECT, VALUES, TABLE, WITH, EXPLAIN and SHOW are let in"


@dataclass
class _Policy:
    """What may be read and called; `bare` are the functions that get their schema in print."""

    tables: frozenset[tuple[str, str]] | None
    functions: frozenset[str]
    bare: frozenset[str]
    arity: Mapping[str, int]

    @classmethod
    def of(cls, tables: Iterable[str] | None, functions: Iterable[str] | None) -> _Policy:
        own = packaged("postgres_functions")
        if functions is None:
            return cls(_tables(tables), own, _bare(), _ARITY)
        listed = frozenset(".".join(names(f)) for f in functions)
        return cls(_tables(tables), listed, (listed & own) - _NO_PREFIX, {})


@functools.cache
def _bare() -> frozenset[str]:
    return (packaged("postgres_functions") | set(_ARITY)) - _NO_PREFIX


def _tables(tables: Iterable[str] | None) -> frozenset[tuple[str, str]] | None:
    if tables is None:
        return None
    split = [names(t) for t in tables]
    return frozenset((parts[-2] if len(parts) > 1 else "public", parts[-1]) for parts in split if parts)


def names(written: str) -> list[str]:
    """The parts of `schema.table` as the catalog spells them: folded to lower case unless quoted."""
    parts = re.findall(r'"((?:[^"]|"")*)"|([^".]+)', written)
    return [quoted.replace('""', '"') if quoted else plain.strip().lower() for quoted, plain in parts]


def checked(sql: str, tables: Iterable[str] | None, functions: Iterable[str] | None) -> str:
    """The printed text of a harmless query; SecurityViolation for any other."""
    try:
        return _checked(sql, _Policy.of(tables, functions))
    except RecursionError:
        raise _too_deep() from None


def _checked(sql: str, policy: _Policy) -> str:
    first = _parsed(sql)
    looked = _look(sql, _only_statement(sql, first), policy)
    qualified = _spliced(sql, looked.splices)
    tree = _without_places(_parsed(qualified) if looked.splices else first)
    if tree != _qualified(_without_places(first), policy.bare):
        raise _differs()
    text = _printed(qualified, tree)
    if not is_plain(text):
        compare(_EXPLAINED.sub("", text), "postgres", looked.seen)
    return text


def _parsed(sql: str) -> str:
    try:
        return parser.parse_sql_json(sql)
    except parser.ParseError as error:
        message = str(error.args[0]) if error.args else ""
        if "memory exhausted" in message or "depth" in message or "deeply" in message:
            raise _too_deep() from None
        offset = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
        raise _not_understood(sql, offset) from None


def _too_deep() -> SecurityViolation:
    return SecurityViolation("the query is nested too deeply", code="too_deep", advice="split it by WITH")


def _not_understood(sql: str, offset: int) -> SecurityViolation:
    if _PSYCOPG.search(sql):
        return SecurityViolation("%s is no parameter here", code="parameter", advice="write parameters as $1, $2")
    return SecurityViolation(
        "this is not PostgreSQL's SQL", code="syntax", where=place(sql, offset), advice="try it in psql"
    )


def _differs() -> SecurityViolation:
    return SecurityViolation(
        "the query cannot be printed so that it says the same", code="print_differs", advice="write it more plainly"
    )


def _only_statement(sql: str, parsed: str) -> Fields:
    try:
        statements = orjson.loads(parsed).get("stmts", [])
    except orjson.JSONDecodeError:
        raise _too_deep() from None
    if not statements:
        raise SecurityViolation("the query is empty", code="no_statement")
    if len(statements) > 1:
        raise SecurityViolation(
            "the query holds more than one statement",
            code="many_statements",
            where=place_of_byte(sql, statements[1].get("stmt_location", 0)),
        )
    statement: Fields = statements[0]["stmt"]
    return statement


def _without_places(parsed: str) -> str:
    # A quote inside of a value is escaped, so these patterns meet nothing but fields.
    return _PLACES.sub("", parsed)


def _qualified(tree: str, bare: frozenset[str]) -> str:
    def with_schema(call: re.Match[str]) -> str:
        if orjson.loads(call[1]) not in bare:
            return call[0]
        return f'"funcname":[{{"String":{{"sval":"pg_catalog"}}}},{{"String":{{"sval":{call[1]}}}}}]'

    return _BARE_CALL.sub(with_schema, tree)


def _spliced(sql: str, places: list[int]) -> str:
    if not places:
        return sql
    raw = sql.encode()
    pieces = []
    start = 0
    for at in sorted(places):
        pieces += [raw[start:at], b"pg_catalog."]
        start = at
    return b"".join([*pieces, raw[start:]]).decode()


def _printed(sql: str, tree: str) -> str:
    """By the C printer; where that one loses something, by the Python one."""
    for printer in (_print_quickly, _print_slowly):
        try:
            text = printer(sql)
            if _without_places(parser.parse_sql_json(text)) == tree:
                return text
        except (parser.ParseError, parser.DeparseError, NotImplementedError, AttributeError, KeyError, TypeError):
            continue
    raise _differs()


def _print_quickly(sql: str) -> str:
    text: str = parser.deparse_protobuf(parser.parse_sql_protobuf(sql))
    return text


def _print_slowly(sql: str) -> str:
    text: str = RawStream()(sql)
    return text


def _look(sql: str, statement: Fields, policy: _Policy) -> _Look:
    look = _Look(sql, policy)
    ((kind, root),) = statement.items()
    if kind == "VariableShowStmt":
        return look
    if kind == "ExplainStmt":
        for option in root.get("options", []):
            name = option["DefElem"]["defname"]
            if name not in _EXPLAIN_OPTIONS:
                raise SecurityViolation(f"EXPLAIN has no harmless option {name!r}", code="construct")
        ((kind, root),) = root["query"].items()
    if kind != "SelectStmt":
        raise SecurityViolation(f"{kind.removesuffix('Stmt')} is no read", code="wrong_root", advice=_NO_READ)
    look.through(root)
    return look


class _Look:
    """One walk through a tree. No recursion: a tree may be deeper than Python's stack."""

    def __init__(self, sql: str, policy: _Policy) -> None:
        self._sql = sql
        self._policy = policy
        self.seen = Seen()
        self.splices: list[int] = []  # where a name needs its schema
        self._checks = {
            "SelectStmt": self._select,
            "FuncCall": self._function,
            "RangeVar": self._table,
            "A_Expr": self._operator,
            "SubLink": self._operator,
            "SortBy": self._operator,
            "ColumnRef": self._column,
            "A_Indirection": self._column,
            "TypeName": self._type,
            "RangeTableSample": self._sample,
            "ColumnDef": self._column_definition,
        }

    def through(self, root: Fields) -> None:
        stack: list[tuple[str, Fields, Scope]] = [("SelectStmt", root, frozenset())]
        while stack:
            kind, fields, scope = stack.pop()
            if kind not in _HARMLESS:
                raise self._refused_construct(kind, fields)
            if kind == "Alias":
                self.seen.others.add(fields.get("aliasname", ""))
            if kind in _LEAVES:
                continue
            if check := self._checks.get(kind):
                check(fields, scope)
            if kind == "SelectStmt" and "withClause" in fields:
                scope = self._with(fields["withClause"], scope, stack)
                fields = {name: value for name, value in fields.items() if name != "withClause"}
            stack.extend((k, f, scope) for k, f in self._children(kind, fields))

    def _with(self, clause: Fields, scope: Scope, stack: list[tuple[str, Fields, Scope]]) -> Scope:
        """Put the queries of a WITH clause on the stack, each with the names it sees; the scope of what comes after.

        Without RECURSIVE a query sees the ones before it; with it, all of its clause.
        """
        every = [c["CommonTableExpr"] for c in clause["ctes"]]
        names = {c["ctename"] for c in every}
        self.seen.others |= names
        if clause.get("recursive"):
            scope |= names
        for expression in every:
            stack.append(("CommonTableExpr", expression, scope))
            scope |= {expression["ctename"]}
        return scope

    def _children(self, parent: str, fields: Fields) -> Iterator[tuple[str, Fields]]:
        for name, value in fields.items():
            if isinstance(value, list):
                for item in value:
                    yield from self._node(item)
            elif isinstance(value, dict):
                kind = _KINDS_BY_PARENT.get((parent, name)) or _KINDS.get(name)
                if len(value) == 1 and next(iter(value))[0].isupper():
                    yield from self._node(value)
                elif kind:
                    yield kind, value
                else:
                    raise self._refused_construct(f"{parent}.{name}", value)

    def _node(self, wrapped: Any) -> Iterator[tuple[str, Fields]]:
        if wrapped:  # an empty one stands for "nothing here"
            ((kind, fields),) = wrapped.items()
            yield kind, fields

    def _where(self, fields: Fields) -> str:
        return place_of_byte(self._sql, fields.get("location", 0))

    def _refused_construct(self, kind: str, fields: Fields) -> SecurityViolation:
        if kind in _DATA_CHANGES:
            verb = kind.removesuffix("Stmt").upper()
            return SecurityViolation(
                f"{verb} stands inside of the query", code="data_change", where=self._where(fields)
            )
        if kind == "IntoClause":
            return SecurityViolation("SELECT INTO makes a table", code="into", advice="leave INTO away")
        if kind == "LockingClause":
            return SecurityViolation("FOR UPDATE and its like lock rows", code="locking", advice="leave FOR away")
        return SecurityViolation(f"{kind} is not on the list of harmless parts of a query", code="construct")

    def _select(self, fields: Fields, _scope: Scope) -> None:
        for clause, kind in (("lockingClause", "LockingClause"), ("intoClause", "IntoClause")):
            if clause in fields:
                raise self._refused_construct(kind, {})

    def _function(self, fields: Fields, _scope: Scope) -> None:
        parts = _strings(fields["funcname"])
        name = parts[-1]
        if not self._may_call(parts, fields):
            raise SecurityViolation(
                f"the function {'.'.join(parts)} is not on the list of harmless ones",
                code="function",
                where=self._where(fields),
                advice="leave it away, or list it for this source if it only computes",
            )
        self.seen.functions.add(name)
        if len(parts) == 1 and name in self._policy.bare:
            self.splices.append(fields.get("location", 0))

    def _may_call(self, parts: list[str], fields: Fields) -> bool:
        name, schema = parts[-1], parts[:-1]
        listed = self._policy.functions
        if ".".join(parts) in listed:
            return True
        if schema == ["pg_catalog"] and (fields.get("funcformat") == "COERCE_SQL_SYNTAX" or name in _ESCAPES):
            return name in packaged("postgres_functions")
        if schema not in ([], ["pg_catalog"]):
            return False
        counted = self._policy.arity.get(name) == len(fields.get("args", [])) and "func_variadic" not in fields
        return counted or name in listed

    def _table(self, fields: Fields, scope: Scope) -> None:
        schema, name = fields.get("schemaname"), fields["relname"]
        self.seen.tables.add(name)
        if schema is None and name in scope:
            return
        key = (schema or "public", name)
        listed = self._policy.tables
        if listed is not None and key in listed:
            return
        if (schema or name).startswith("pg_") or schema == "information_schema":
            raise self._refused_table("catalog", fields, "is the server's own")
        if listed is not None:
            raise self._refused_table("table", fields, "is not on the list")

    def _refused_table(self, code: str, fields: Fields, why: str) -> SecurityViolation:
        name = ".".join(filter(None, (fields.get("schemaname"), fields["relname"])))
        return SecurityViolation(
            f"the table {name} {why}", code=code, where=self._where(fields), advice="read another, or have it listed"
        )

    def _operator(self, fields: Fields, _scope: Scope) -> None:
        for written in ("name", "operName", "useOp"):
            parts = _strings(fields.get(written, []))
            if not parts or fields.get("kind") in _WORDS:
                continue
            if parts[-1] not in packaged("postgres_operators") or parts[:-1] not in ([], ["pg_catalog"]):
                raise SecurityViolation(
                    f"the operator {'.'.join(parts)} is not PostgreSQL's own",
                    code="operator",
                    where=self._where(fields),
                    advice="use built-in operators",
                )

    def _column(self, fields: Fields, _scope: Scope) -> None:
        """`value.pg_sleep` calls the function where no column has that name."""
        parts = fields.get("indirection") or fields.get("fields", [])[1:]
        for name in _strings(parts):
            if name in packaged("postgres_dotted"):
                raise SecurityViolation(
                    f"after a dot, {name} may be a call of that function",
                    code="function",
                    where=self._where(fields),
                    advice="give the column another name in a view",
                )

    def _type(self, fields: Fields, _scope: Scope) -> None:
        self.seen.others.update(_strings(fields.get("names", [])))
        if fields.get("pct_type") or fields.get("setof"):
            raise SecurityViolation(
                "%TYPE and SETOF are no types of values", code="construct", where=self._where(fields)
            )

    def _sample(self, fields: Fields, _scope: Scope) -> None:
        method = _strings(fields["method"])
        self.seen.functions.add(method[-1])
        if method[-1] not in _SAMPLING or method[:-1] not in ([], ["pg_catalog"]):
            raise SecurityViolation(
                f"the sampling method {'.'.join(method)} is not PostgreSQL's own",
                code="function",
                where=self._where(fields),
            )

    def _column_definition(self, fields: Fields, _scope: Scope) -> None:
        if not fields.keys() <= {"colname", "typeName", "is_local", "location", "collClause"}:
            raise SecurityViolation("this is no column of a function", code="construct", where=self._where(fields))


def _strings(nodes: list[Fields]) -> list[str]:
    return [node["String"]["sval"] for node in nodes if "String" in node]
