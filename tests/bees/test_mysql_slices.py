"""Parts of large MySQL tables."""

from __future__ import annotations

import pytest

from bees.core.sql.mysql import parts
from tests.bees.mysql_source import Database, source_database  # noqa: F401 - the fixture `db`
from tests.bees.sliced import LARGE, SlicedReading, legs

pytestmark = pytest.mark.servers


class TestMySQL(SlicedReading):
    analyze = "ANALYZE TABLE {} PERSISTENT FOR ALL"
    stamped = "datetime(6)"

    @pytest.fixture(autouse=True)
    def _fill(self, db: Database) -> None:
        db.fill = db.many  # type: ignore[attr-defined]

    def test_a_very_large_table_is_cut_along_the_values_of_its_key(
        self, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parts, "PASSED", 10)
        self.made(db, "id int", [(n,) for n in range(-3000, 0, 7)])
        found = [legs(db, "t", part, **LARGE) for part in self.parts(db.bee(**LARGE))]

        assert [row["id"] for part in found for row in part] == list(range(-3000, 0, 7))
        assert [90 < len(part) < 130 for part in found] == [True] * 4

    def test_a_table_is_not_cut_at_a_key_that_is_no_text(self, db: Database) -> None:
        db.run("CREATE TABLE t (id varchar(9) CHARACTER SET cp1251 PRIMARY KEY)")
        db.run("INSERT INTO t SELECT CONCAT(_cp1251 X'98', seq) FROM seq_1_to_200")
        db.run(self.analyze.format("t"))
        assert len(self.parts(db.bee(**LARGE))) < 2
