"""What a name means at a place of a PostgreSQL query: common table expressions by position, aliases by level."""

# mypy: disable-error-code="arg-type, assignment, index, return-value, union-attr"
# pglast types each part of a tree as optional; the grammar says which ones are there.

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pglast import ast

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.rows.keys import TableName

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shadowed(SecurityViolation):
    """`schema.table.column` stands where the bare name of the table means another thing, or no such table is there.

    `place` is where the table stands in the text, if it is there: under another alias it could be told apart.
    """

    def __init__(self, table: TableName, place: int | None) -> None:
        super().__init__(
            "a column is named with its schema, and the name is not certain here",
            code="ambiguous_column",
            where=str(table),
            advice="give the table an alias and name its columns with that",
        )
        self.place = place


@dataclass
class Item:
    """One thing in FROM. `table`: it is a base table; `fenced`: rows of it are hidden; `bare`: it has no alias."""

    name: str
    table: TableName | None = None
    bare: bool = False
    fenced: bool = False
    # The alias it gets in the rewritten text, where its own name would mean another thing too.
    renamed: str | None = None
    # Where it stands in the query's text; None in a filter.
    place: int | None = None


@dataclass
class Level:
    """The FROM of one SELECT."""

    items: list[Item]

    def __post_init__(self) -> None:
        # PostgreSQL lets `a.orders` and `b.orders` stand side by side without aliases, but not two subqueries so named.
        for item in self.items:
            same = [other for other in self.items if other.bare and other.name == item.name]
            if item.bare and item.fenced and len({other.table for other in same}) > 1:
                item.renamed = str(item.table)

    @property
    def fenced(self) -> bool:
        return any(item.fenced for item in self.items)

    def named(self, name: str) -> list[Item]:
        return [item for item in self.items if item.name == name]


@dataclass(frozen=True)
class Scope:
    """The common table expressions and the levels that are visible, innermost last."""

    ctes: frozenset[str] = frozenset()
    levels: tuple[Level, ...] = ()
    # Names that ORDER BY takes for output columns before it looks into the tables.
    outputs: frozenset[str] = field(default=frozenset())

    def with_ctes(self, names: frozenset[str]) -> Scope:
        return replace(self, ctes=self.ctes | names)

    def inside(self, level: Level) -> Scope:
        return replace(self, levels=(*self.levels, level), outputs=frozenset())

    def items(self, name: str) -> list[Item]:
        """What an alias may mean: what bears it in the innermost FROM that has it. More than one is an error there."""
        return next((found for level in reversed(self.levels) if (found := level.named(name))), [])

    def item(self, name: str) -> Item | None:
        return next(iter(self.items(name)), None)

    def relation(self, table: TableName) -> Item:
        """The table that `schema.table.column` means: it has no alias, and its bare name must mean nothing else."""
        shadowed, meant = False, []
        for level in reversed(self.levels):
            meant = [item for item in level.items if item.bare and item.table == table]
            namesakes = [item for item in level.named(table.name) if item not in meant]
            if meant and (meant[0].renamed or not meant[0].fenced or not (shadowed or namesakes)):
                return meant[0]
            if meant:
                break
            shadowed = shadowed or bool(namesakes)
        raise Shadowed(table, next((item.place for item in meant), None))


def children(node: Any) -> Iterator[ast.Node]:
    """The nodes right below `node`."""
    if isinstance(node, ast.Node):
        for name in node:
            value = getattr(node, name)
            if isinstance(value, ast.Node):
                yield value
            elif isinstance(value, tuple):
                yield from _members(value)


def _members(value: tuple[Any, ...]) -> Iterator[ast.Node]:
    for member in value:
        if isinstance(member, ast.Node):
            yield member
        elif isinstance(member, tuple):
            yield from _members(member)


def walk(node: Any) -> Iterator[ast.Node]:
    """`node` and every node below it."""
    waiting = [node]
    while waiting:
        yield (one := waiting.pop())
        waiting.extend(children(one))


def names_in_from(statement: ast.SelectStmt) -> frozenset[str]:
    """The names that the FROM of a statement brings into view, those of deeper statements left out."""
    found: set[str] = set()
    waiting: list[Any] = list(statement.fromClause or ())
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinExpr):
            waiting += [node.larg, node.rarg]
            found |= {node.join_using_alias.aliasname} if node.join_using_alias else set()
        if alias := getattr(node, "alias", None):
            found.add(alias.aliasname)
        elif isinstance(node, ast.RangeVar):
            found.add(node.relname)
        elif isinstance(node, ast.RangeFunction) and isinstance(node.functions[0][0], ast.FuncCall):
            found.add(node.functions[0][0].funcname[-1].sval)
    return frozenset(found)


def path(column: ast.ColumnRef) -> tuple[list[str], bool]:
    """The names of a column reference, and whether it ends in a star."""
    names = [part.sval for part in column.fields if isinstance(part, ast.String)]
    return names, isinstance(column.fields[-1], ast.A_Star)
