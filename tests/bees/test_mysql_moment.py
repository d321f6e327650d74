"""All streams as they were at one moment."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.bees.moments import MomentContract
from tests.bees.mysql_source import Database, source_database  # noqa: F401 - the fixture `db`

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def _tables(db: Database) -> None:
    for name in ("a", "b"):
        db.run(f"CREATE TABLE {name} (id int PRIMARY KEY)", f"INSERT INTO {name} SELECT seq FROM seq_1_to_20")


class TestMoments(MomentContract):
    cdc: ClassVar[dict[str, Any]] = {}
    numbers = "(SELECT seq AS n FROM seq_1_to_20000) AS s"

    def open_transactions(self, db: Database) -> int:
        return int(db.rows("SELECT COUNT(*) FROM information_schema.INNODB_TRX")[0][0])
