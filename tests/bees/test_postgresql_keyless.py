"""PostgreSQL queries without a key."""

from __future__ import annotations

import pytest

from tests.bees.keyless import Keyless
from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`


@pytest.fixture(autouse=True)
def _fill(db: Database) -> None:
    db.fill = lambda statement, rows: db.owner.cursor().executemany(statement, rows)  # type: ignore[attr-defined]


class TestPostgreSQL(Keyless):
    """All of it."""
