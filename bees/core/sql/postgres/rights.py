"""What a role may do besides reading, as the server's catalog says it.

A role counts with every role that it is a member of: what is not inherited is one SET ROLE away. Grants to PUBLIC
count as well. Looked at are the attributes of these roles, the built-in roles that reach files, programs and other
sessions, what they own in this database, and every grant on tables, columns, sequences, schemas, the database,
tablespaces, foreign servers and large objects that is no right to read.

Rights of other databases of the same server are not looked at, and neither is what a SECURITY DEFINER function does:
the guard of queries lets none of them through that is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import GiveUp

if TYPE_CHECKING:
    import psycopg

_SHOWN = 5
_PARAMETERS = 150000
"""From this version on, the right to set a parameter can be granted."""

_MINE = """
WITH mine AS MATERIALIZED (
    SELECT r.* FROM pg_catalog.pg_roles r
     WHERE CASE WHEN (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
                THEN r.rolname = current_user ELSE pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') END
), held (privilege, object, grantee) AS (
    SELECT a.privilege_type, CASE c.relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.oid::pg_catalog.regclass,
           a.grantee
      FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
     WHERE a.privilege_type <> 'SELECT' AND (c.oid >= 16384 OR a.grantee <> 0)
    UNION ALL
    SELECT a.privilege_type, 'column ' || t.attname || ' of ' || t.attrelid::pg_catalog.regclass, a.grantee
      FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a
     WHERE t.attacl IS NOT NULL AND a.privilege_type <> 'SELECT'
    UNION ALL
    SELECT a.privilege_type, 'schema ' || n.nspname, a.grantee
      FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a WHERE a.privilege_type = 'CREATE'
    UNION ALL
    SELECT a.privilege_type, 'database ' || d.datname, a.grantee
      FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
     WHERE d.datname = pg_catalog.current_database() AND a.privilege_type = 'CREATE'
    UNION ALL
    SELECT a.privilege_type, 'tablespace ' || s.spcname, a.grantee
      FROM pg_catalog.pg_tablespace s, pg_catalog.aclexplode(s.spcacl) a
    UNION ALL
    SELECT a.privilege_type, 'foreign server ' || f.srvname, a.grantee
      FROM pg_catalog.pg_foreign_server f, pg_catalog.aclexplode(f.srvacl) a
    UNION ALL
    SELECT a.privilege_type, 'large object ' || l.oid, a.grantee
      FROM pg_catalog.pg_largeobject_metadata l, pg_catalog.aclexplode(l.lomacl) a WHERE a.privilege_type <> 'SELECT'
    {parameters}
)
"""
_PARAMETER_GRANTS = """
    UNION ALL
    SELECT a.privilege_type, 'parameter ' || p.parname, a.grantee
      FROM pg_catalog.pg_parameter_acl p, pg_catalog.aclexplode(p.paracl) a WHERE a.privilege_type = 'ALTER SYSTEM'
"""
_FOUND = """
SELECT said FROM (
    SELECT 1, w.said || CASE WHEN m.rolname = current_user THEN '' ELSE ' as member of ' || m.rolname END
      FROM mine m, LATERAL (VALUES
          (m.rolsuper, 'is a superuser'), (m.rolbypassrls, 'has BYPASSRLS'), (m.rolcreaterole, 'has CREATEROLE'),
          (m.rolcreatedb, 'has CREATEDB'), (m.rolreplication AND NOT %(replicates)s, 'has REPLICATION')
      ) AS w (has, said) WHERE w.has
    UNION ALL
    SELECT 2, 'is a member of ' || rolname FROM mine
     WHERE rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program',
                       'pg_write_all_data', 'pg_signal_backend', 'pg_checkpoint', 'pg_maintain',
                       'pg_create_subscription', 'pg_database_owner', 'pg_signal_autovacuum_worker')
       AND rolname <> current_user
    UNION ALL
    (SELECT 3, 'owns ' || coalesce(pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid), 'an object')
       FROM pg_catalog.pg_shdepend s JOIN mine m ON m.oid = s.refobjid
      WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'
        AND s.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
      LIMIT %(most)s)
    UNION ALL
    (SELECT 4, 'has ' || h.privilege || ' on ' || h.object || CASE WHEN h.grantee = 0 THEN ' as PUBLIC' ELSE '' END
       FROM held h WHERE h.grantee = 0 OR h.grantee IN (SELECT oid FROM mine)
      LIMIT %(most)s)
) AS found (kind, said)
ORDER BY kind LIMIT %(most)s
"""
_MAY_SPILL = "SELECT pg_catalog.has_parameter_privilege(current_user, 'temp_file_limit', 'SET')"
_MAY_SPILL_BEFORE = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"


@dataclass(frozen=True)
class Rights:
    """What the role may do beyond reading, in words ("has INSERT on table orders"); empty: it only reads."""

    beyond: tuple[str, ...]
    sets_temp_file_limit: bool

    @property
    def told(self) -> str:
        shown = ", ".join(self.beyond[:_SHOWN])
        return f"{shown}, and more" if len(self.beyond) > _SHOWN else shown


def rights(connection: psycopg.Connection, *, replicates: bool = False) -> Rights:
    """Ask the catalog. `replicates`: the role needs REPLICATION, so it is no fault."""
    version = connection.info.server_version
    statement = _MINE.format(parameters=_PARAMETER_GRANTS if version >= _PARAMETERS else "") + _FOUND
    found = connection.execute(statement.encode(), {"replicates": replicates, "most": _SHOWN + 1}).fetchall()
    spill = _MAY_SPILL if version >= _PARAMETERS else _MAY_SPILL_BEFORE
    row = connection.execute(spill.encode()).fetchone()
    said = tuple(told for (told,) in found)
    # A superuser's other rights say nothing more.
    return Rights(said[:1] if said and said[0] == "is a superuser" else said, bool(row and row[0]))


def too_much(user: str, found: Rights) -> GiveUp:
    return GiveUp(
        f"the role {user!r} can do more than read: it {found.told}",
        code="writable_role",
        where="user",
        advice="use a role that has SELECT and nothing else, REVOKE what is named here, or accept it with "
        "`allow_writable_role: true`",
    )
