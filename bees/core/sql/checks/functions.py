"""The functions and operators that a query may call: lists packaged beside this file, and the rule that makes them.

Harmless is what changes nothing, reads no file, opens no connection, waits for nothing, and reads no table besides
those that the query names. For PostgreSQL that is decided from `pg_proc`: what is not VOLATILE, less the traps that
read whole schemas, run text as a query or take a transaction id although they are called STABLE, and with the few
VOLATILE ones that only look at a clock, a generator or a counter. A name counts only if every function of it does.
MySQL has no such catalog; its list was written down and held against the built-ins of a MariaDB 10.11.

    python -m bees.core.sql.checks.functions "host=... dbname=..."    writes PostgreSQL's lists anew from that server
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import psycopg

Kind = Literal["postgres_functions", "postgres_dotted", "postgres_operators", "mysql_functions"]
_LISTS = Path(__file__).parent / "allowed"

# STABLE or IMMUTABLE for the planner, and yet no plain computation: they read what they are told to, take a transaction
# id, tell of other sessions, or read files.
_TRAPS = (
    r"(table|schema|database|query|cursor)_to_xml.*|dblink.*|lo_.*|loread|lowrite|txid_current|pg_current_xact_id"
    r"|pg_stat_.*|pg_show_.*|pg_cursor|pg_prepared_statement|pg_get_replication_slots|pg_event_trigger_.*"
    r"|pg_config|pg_available_extension.*|pg_extension_update_paths|pg_timezone_names|pg_tablespace_.*"
    r"|pg_read_.*|pg_ls_.*|binary_upgrade_.*"
)
# VOLATILE, and yet nothing happens: clocks, generators, the session's own memory, sizes, the state of replication.
_HARMLESS = """
    array_sample array_shuffle clock_timestamp current_query currval gen_random_uuid lastval random random_normal
    timeofday uuidv4 uuidv7 pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_database_size
    pg_indexes_size pg_is_in_recovery pg_is_wal_replay_paused pg_jit_available pg_last_wal_receive_lsn
    pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_partition_ancestors pg_partition_tree pg_relation_size
    pg_table_size pg_total_relation_size pg_xact_commit_timestamp
"""
_FUNCTIONS = """
WITH known AS (
    SELECT p.proname::text AS name,
           NOT (p.prorettype = ANY(machinery) OR p.proargtypes::oid[] && machinery) AS callable,
           p.pronargs BETWEEN 1 AND 1 + p.pronargdefaults AS dotted,
           p.prokind <> 'p' AND (p.provolatile <> 'v' OR p.proname = ANY(%(harmless)s))
               AND p.proname !~ ('^(' || %(traps)s || ')$') AS harmless
      FROM pg_catalog.pg_proc p
      CROSS JOIN (SELECT array_agg(oid) AS machinery FROM pg_catalog.pg_type
                   WHERE typtype = 'p' AND typname ~ 'internal|cstring|trigger|handler|pg_ddl_command') AS m
     WHERE p.pronamespace = 'pg_catalog'::regnamespace
)
SELECT name, bool_and(harmless), bool_or(dotted)
  FROM known WHERE callable GROUP BY name
"""
_TYPES = """
SELECT typname::text FROM pg_catalog.pg_type
 WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typname !~ '^_' AND typarray <> 0
"""
_OPERATORS = """
SELECT o.oprname::text
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
 WHERE o.oprnamespace = 'pg_catalog'::regnamespace
 GROUP BY o.oprname HAVING bool_and(p.provolatile <> 'v')
"""


@functools.cache
def packaged(kind: Kind) -> frozenset[str]:
    """The names of one list: PostgreSQL's as the catalog spells them, MySQL's in lower case."""
    lines = (_LISTS / f"{kind}.txt").read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("# "))


def postgres_lists(connection: psycopg.Connection) -> dict[Kind, set[str]]:
    """The lists as this server's catalog makes them.

    Functions, with the types that may be called like one (`date('2026-01-01')`); operators; and under "dotted" the
    functions that are *not* harmless and take one value, because PostgreSQL calls them for `value.pg_sleep` too.
    """
    found = connection.execute(_FUNCTIONS, {"harmless": _HARMLESS.split(), "traps": _TRAPS}).fetchall()
    functions = {name for name, harmless, _ in found if harmless}
    types = {name for (name,) in connection.execute(_TYPES)}
    harmful = {name for name, harmless, _ in found if not harmless}
    return {
        "postgres_functions": functions | (types - harmful),
        "postgres_dotted": {name for name, _, dotted in found if dotted} & harmful,
        "postgres_operators": {name for (name,) in connection.execute(_OPERATORS)},
    }


def _write(kind: Kind, names: Iterable[str], source: str) -> None:
    (_LISTS / f"{kind}.txt").write_text(f"# From {source}\n" + "".join(f"{name}\n" for name in sorted(names)))


def _main(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        major = connection.info.server_version // 10000
        for kind, names in postgres_lists(connection).items():
            _write(kind, names, f"pg_catalog of PostgreSQL {major}")


if __name__ == "__main__":
    _main(sys.argv[1])
