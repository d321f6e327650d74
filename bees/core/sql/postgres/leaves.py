"""The partitions of a followed table: what comes and goes with them is told by no log.

A partition that is dropped or detached takes its rows along, one that is attached brings some, and a TRUNCATE of one
alone is not sent where changes are published by the root (pgoutput leaves such relations out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from bees.core.errors import GiveUp

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

_LEAVES = """
SELECT c.oid::bigint, c.relfilenode::bigint, c.relkind = 'r' AND c.relpersistence = 'p',
       p.level = 1 AND i.xmin = t.xmin AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       i.xmin::text, n.nspname::text, c.relname::text
  FROM pg_catalog.pg_partition_tree(%s::bigint::pg_catalog.oid::pg_catalog.regclass) AS p
  JOIN pg_catalog.pg_class c ON c.oid = p.relid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
  JOIN pg_catalog.pg_type t ON t.oid = c.reltype
 WHERE p.isleaf AND p.level > 0
"""
_CHILDREN = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent
                WHERE i.inhparent = %s::bigint::pg_catalog.oid AND c.relkind <> 'p')
"""


@dataclass(frozen=True)
class Leaf:
    """One partition with rows. `file` is another one once it was emptied or rewritten.

    born    it was made as a partition, as far as the catalog tells; `by` the transaction that did so
    """

    file: int
    born: bool
    by: str
    name: tuple[str, str]


def leaves(connection: psycopg.Connection, table: int, where: str) -> dict[str, Leaf]:
    """The partitions of a table by their numbers; none of a table without. Raises GiveUp for what no log tells."""
    found: dict[str, Leaf] = {}
    for oid, file, logged, born, by, *name in connection.execute(_LEAVES.encode(), (table,)):
        if not logged:
            raise GiveUp(
                f"the partition {name[1]!r} is a foreign or an unlogged table, whose changes are in no log",
                code="not_logged",
                where=where,
                advice="detach it, or read the table by a `cursor`",
            )
        found[str(oid)] = Leaf(file, born, by, (name[0], name[1]))
    row = connection.execute(_CHILDREN.encode(), (table,)).fetchone()
    if row is not None and row[0]:
        raise GiveUp(
            "other tables inherit from this one, and the log tells their rows as rows of their own",
            code="inherited",
            where=where,
            advice="follow each table by itself, or read this one by a `query`: SELECT ... FROM ONLY ...",
        )
    return found


def told(found: Mapping[str, Leaf]) -> dict[str, int]:
    """What a cursor keeps of them."""
    return {oid: leaf.file for oid, leaf in found.items()}


def came_and_went(connection: psycopg.Connection, before: Mapping[str, int], found: Mapping[str, Leaf]) -> str:
    """What happened to the partitions since `before` that no log tells; empty: nothing."""
    if set(before) - set(found):
        return "a partition was dropped or detached"
    if any(found[oid].file != file for oid, file in before.items()):
        return "a partition was emptied or rewritten"
    new = [leaf for oid, leaf in found.items() if oid not in before]
    if not all(leaf.born and _began_empty(connection, leaf) for leaf in new):
        return "a partition was attached"
    return ""


def _began_empty(connection: psycopg.Connection, leaf: Leaf) -> bool:
    """Whether no row of it is of the transaction that made it a partition: those the log told as another table's."""
    question = sql.SQL("SELECT EXISTS (SELECT FROM ONLY {} WHERE xmin = {}::pg_catalog.xid)")
    row = connection.execute(question.format(sql.Identifier(*leaf.name), sql.Literal(leaf.by))).fetchone()
    return row is not None and not row[0]
