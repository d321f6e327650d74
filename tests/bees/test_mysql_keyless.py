"""MySQL queries without a key."""

from __future__ import annotations

import pytest

from tests.bees.keyless import Keyless
from tests.bees.mysql_source import Database, source_database  # noqa: F401 - the fixture `db`

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def _fill(db: Database) -> None:
    db.fill = db.many  # type: ignore[attr-defined]


class TestMySQL(Keyless):
    """All of it."""
