"""Values of PostgreSQL queries."""

from __future__ import annotations

import pytest

from tests.bees.parametered import Parametered
from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`


@pytest.fixture(autouse=True)
def _fill(db: Database) -> None:
    db.fill = lambda statement, rows: db.owner.cursor().executemany(statement, rows)  # type: ignore[attr-defined]


class TestPostgreSQL(Parametered):
    marks = ("$1", "$2")

    def test_a_place_may_be_named_twice_and_in_any_order(self, db: Database) -> None:
        assert self.found(db, "SELECT id FROM t WHERE id = $2::int OR id = $1 OR id + 1 = $2", 1, "4") == [1, 3, 4]
