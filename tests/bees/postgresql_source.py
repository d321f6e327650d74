"""A PostgreSQL database of the test's own, with a role that may only read it."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.conninfo
import pytest
from psycopg import sql

from bees.postgresql import PostgreSQLWorkerBee
from tests.bees.contract import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "corr ect'horse\\%&@:/"
numbers = itertools.count(1)


class Database:
    """A database of the test's own, and a role that may only read it."""

    def __init__(self, url: str) -> None:
        self.owner = psycopg.connect(url, autocommit=True)
        self.role = f"reader {next(numbers)}"
        self.login = psycopg.conninfo.conninfo_to_dict(url)
        self.run(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(self.role), sql.Literal(PASSWORD)),
            sql.SQL("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {}").format(sql.Identifier(self.role)),
            sql.SQL("ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {}").format(sql.Identifier(self.role)),
        )

    def run(self, *statements: Any) -> None:
        for statement in statements:
            self.owner.execute(statement)

    def rows(self, statement: str) -> list[Any]:
        return self.owner.execute(statement).fetchall()

    def options(self, **changed: Any) -> dict[str, Any]:
        plain = {"host": self.login["host"], "port": int(self.login["port"]), "database": self.login["dbname"]}
        return plain | {"user": self.role, "password": PASSWORD, "batch_rows": 3} | changed

    def bee(self, **changed: Any) -> PostgreSQLWorkerBee:
        return PostgreSQLWorkerBee.from_options(self.options(**changed))

    def sessions(self) -> int:
        """Sessions of the bee that do anything; those that lie in its pool do not count."""
        busy = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state <> 'idle'"
        return int(self.owner.execute(busy, (self.role,)).fetchone()[0])

    def close(self) -> None:
        if self.owner.closed or self.owner.broken:
            return
        self.run("RESET ROLE", sql.SQL("DROP OWNED BY {}").format(sql.Identifier(self.role)))
        self.run(sql.SQL("DROP ROLE {}").format(sql.Identifier(self.role)))
        self.owner.close()


@pytest.fixture(name="db")
def source_database(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def fly(bee: PostgreSQLWorkerBee, stream: str, cursor: Any = None) -> tuple[list[dict[str, Any]], Any]:
    """One whole flight: what came, and the cursor after it, through JSON as the hive keeps it."""
    with bee:
        batches = list(bee.collect_nectar(stream, cursor))
    return rows(batches), json.loads(json.dumps(batches[-1].cursor))


def ids(records: list[dict[str, Any]]) -> list[Any]:
    return [r["id"] for r in records]
