"""A MariaDB database of the test's own, and flights of the MySQL bee over it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.pool import shared
from bees.mysql import MySQLWorkerBee
from tests.bees.contract import rows
from tests.servers.mariadb import MariaDB, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database", "fly", "ids", "legs", "source_database"]


class Database(Source):
    def bee(self, **changed: Any) -> MySQLWorkerBee:
        return MySQLWorkerBee.from_options(self.options(**changed))


@pytest.fixture(name="db")
def source_database(mariadb: MariaDB) -> Iterator[Database]:
    database = Database(mariadb)
    yield database
    database.close()
    shared().close()


def fly(bee: MySQLWorkerBee, stream: str, cursor: Any = None) -> tuple[list[dict[str, Any]], Any]:
    """One whole flight: what came, and the cursor after it, through JSON as the hive keeps it."""
    with bee:
        batches = list(bee.collect_nectar(stream, cursor))
    return rows(batches), json.loads(json.dumps(batches[-1].cursor))


def legs(db: Database, stream: str, **options: Any) -> list[dict[str, Any]]:
    """A flight in legs of one batch, each by a new bee."""
    seen: list[dict[str, Any]] = []
    cursor = None
    while not (cursor and cursor["done"]):
        with db.bee(**options) as bee, closing(bee.collect_nectar(stream, cursor)) as batches:  # type: ignore[type-var]
            batch = next(batches)
        seen += batch.table.to_pylist()
        cursor = json.loads(json.dumps(batch.cursor))
    return seen


def ids(records: list[dict[str, Any]]) -> list[Any]:
    return [r["id"] for r in records]
