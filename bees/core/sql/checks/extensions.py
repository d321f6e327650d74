"""Functions of well-known extensions of a PostgreSQL source that only compute.

The packaged list knows `pg_catalog` alone. A function of an extension counts where its entry in `pg_proc` belongs to
one of those below and is not VOLATILE; a name without a schema, where no other function has that name in any schema,
because arguments could choose the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

HARMLESS = (
    "citext", "cube", "earthdistance", "fuzzystrmatch", "hstore", "intarray", "isn", "ltree", "pg_trgm", "seg",
    "unaccent", "uuid-ossp",
)  # fmt: skip
"""They run no text as a query, and reach no file, table or server that their arguments name."""
_FUNCTIONS = """
WITH machinery AS (
    SELECT array_agg(oid) AS types FROM pg_catalog.pg_type
     WHERE typtype = 'p' AND typname ~ 'internal|cstring|trigger|handler|pg_ddl_command'
), named AS (
    SELECT p.proname::text AS name, n.nspname::text AS space,
           p.provolatile <> 'v' AND p.prokind <> 'p' AND EXISTS (
               SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                  AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND e.extname = ANY (%s)) AS harmless
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace CROSS JOIN machinery m
     WHERE NOT (p.prorettype = ANY (m.types) OR p.proargtypes::oid[] && m.types)
)
SELECT name, array_agg(DISTINCT space), bool_and(harmless), array_agg(DISTINCT space) FILTER (WHERE NOT harmless)
  FROM named GROUP BY name HAVING bool_or(harmless)
"""


def of_extensions(connection: psycopg.Connection) -> set[str]:
    """Names as the guard takes them: `schema.name`, and `name` where it means nothing else."""
    found: set[str] = set()
    for name, spaces, alone, others in connection.execute(_FUNCTIONS, (list(HARMLESS),)):
        found |= {_written(space, name) for space in set(spaces) - set(others or ())}
        found |= {_written(name)} if alone else set()
    return found


def _written(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
