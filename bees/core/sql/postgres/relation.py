"""What stands behind a stream: a table or a checked query, with the rows held back that may not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from psycopg import sql

from bees.core.errors import GiveUp
from bees.core.sql.errors import SecurityViolation
from bees.core.sql.parameters import bound
from bees.core.sql.postgres import catalog

if TYPE_CHECKING:
    import psycopg

    from bees.core.sql.options import StreamOptions

log = structlog.get_logger()


@dataclass(frozen=True)
class Held:
    """`filters`: the rows that may be read, by table. `policies`: without them those of the source must hold."""

    schema: str
    filters: Mapping[str, str | bool | None] | None
    policies: bool


def relation_of(connection: psycopg.Connection, name: str, chosen: StreamOptions, held: Held) -> catalog.Relation:
    """Raises GiveUp for what is not there or nothing holds back, SecurityViolation for a query that is no read."""
    return _query(connection, name, chosen, held) if chosen.query else _table(connection, name, chosen, held)


def _query(connection: psycopg.Connection, name: str, chosen: StreamOptions, held: Held) -> catalog.Relation:
    where = f"streams.{name}.query"
    if held.filters is None and held.policies:
        raise _not_held(where, "give `row_filters`: what a query reads is known only to them")
    try:
        text = _checked(connection, chosen) if held.filters is None else _filtered(chosen.query or "", held)
    except SecurityViolation as error:
        raise error.within(where) from None
    return catalog.query(connection, bound(text, chosen.parameters, "postgres", f"streams.{name}"), where)


def _table(connection: psycopg.Connection, name: str, chosen: StreamOptions, held: Held) -> catalog.Relation:
    where = f"streams.{name}.table"
    relation = catalog.table(connection, chosen.table or name, held.schema, where)
    if held.filters is not None:
        try:
            text = _filtered(sql.SQL("TABLE {}").format(relation.origin).as_string(None), held)
        except SecurityViolation as error:
            raise error.within(where) from None
        return replace(relation, origin=sql.SQL("({})").format(sql.SQL(text)))
    if held.policies and not catalog.held_by_policies(connection, relation):
        raise _not_held(where, "give `row_filters`, or a policy at the source and a role that it binds")
    if held.policies:
        log.info("rows_held_back", stream=name, by="policies of the source")
    return relation


def _filtered(query: str, held: Held) -> str:
    from bees.core.sql.row_filter import apply_row_level_security

    log.info("rows_held_back", by="row_filters")
    return apply_row_level_security(query, held.filters or {}, default_schema=held.schema)


def _checked(connection: psycopg.Connection, chosen: StreamOptions) -> str:
    """The text of the stream's query that is run, once it is known to be a harmless read.

    Where it calls what the packaged list does not have, the source is asked for functions of extensions that count too.
    """
    from bees.core.sql.checks.extensions import of_extensions
    from bees.core.sql.guard import check_query, harmless_functions

    more = {*harmless_functions(), *chosen.functions} if chosen.functions else None
    try:
        return check_query(chosen.query or "", functions=more)
    except SecurityViolation as error:
        found = of_extensions(connection) if error.code == "function" else None
        if not found:
            raise
    return check_query(chosen.query or "", functions={*harmless_functions(), *chosen.functions, *found})


def _not_held(where: str, advice: str) -> GiveUp:
    return GiveUp(
        "row_level_security is asked for, and nothing holds the rows back",
        code="no_row_filter",
        where=where,
        advice=advice,
    )
