"""Parts of large PostgreSQL tables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`
from tests.bees.sliced import LARGE, SlicedReading, legs


@pytest.fixture(autouse=True)
def _fill(db: Database) -> None:
    db.fill = lambda statement, rows: db.owner.cursor().executemany(statement, rows)  # type: ignore[attr-defined]


class TestPostgreSQL(SlicedReading):
    def test_a_table_in_partitions_is_cut_as_a_whole(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
            "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)",
            "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (1000)",
            "INSERT INTO t SELECT generate_series(0, 399)",
        )
        with db.bee(**LARGE, streams={"t": {}}) as bee:
            assert int(bee.get_pollen_schema()[0].labels["estimated_rows"]) >= 160
            parts = bee.slices("t", None)
        assert [row["id"] for part in parts for row in legs(db, "t", part, **LARGE)] == list(range(400))

    def test_the_rows_of_a_table_are_estimated_as_the_server_plans_with_them(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 5000)", "ANALYZE t")
        db.run("CREATE VIEW v AS SELECT * FROM t")
        with db.bee(streams={"t": {}, "v": {"key": "id"}}) as bee:
            labels: list[dict[str, Any]] = [dict(stream.labels) for stream in bee.get_pollen_schema()]
        assert labels == [{"estimated_rows": "5000"}, {}]
