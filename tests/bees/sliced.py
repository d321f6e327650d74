"""What holds for a large table that is read in parts, whatever its server: a suite for a fixture `db`."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from typing import Any

import pytest

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp

LARGE = {"slices": 4, "slice_rows": 50, "batch_rows": 25}


def legs(db: Any, stream: str, part: str, **options: Any) -> list[dict[str, Any]]:
    """A part in legs of one batch, each by a new bee; the last one says that the part is complete."""
    seen: list[dict[str, Any]] = []
    cursor = None
    while not (cursor and cursor["done"]):
        with db.bee(**options) as bee, closing(bee.collect_nectar(stream, cursor, part)) as batches:
            batch = next(batches)
        seen += batch.table.to_pylist()
        cursor = json.loads(json.dumps(batch.cursor))
    assert batch.complete
    return seen


class SlicedReading:
    analyze = "ANALYZE {}"
    stamped = "timestamp"

    def made(self, db: Any, key: str, rows: list[tuple[Any, ...]]) -> None:
        """The table t with the columns `key` names and types."""
        marks = ", ".join(["%s"] * len(rows[0])) if rows else ""
        names = ", ".join(part.split()[0] for part in key.split(","))
        db.run(f"CREATE TABLE t ({key}, PRIMARY KEY ({names}))")
        db.fill(f"INSERT INTO t VALUES ({marks})", rows)
        db.run(self.analyze.format("t"))

    def parts(self, bee: WorkerBee) -> list[str]:
        with bee:
            return list(bee.slices("t", None))

    @pytest.mark.parametrize(
        ("key", "rows"),
        [
            ("id int", [(n,) for n in range(-100, 400)]),
            ("id bigint", [(n * n * n,) for n in range(400)]),
            ("id varchar(40)", [(str(uuid.UUID(int=n * 7919)),) for n in range(300)]),
            ("a int, b varchar(10)", [(n // 40, f"{n % 40:03}") for n in range(400)]),
        ],
    )
    def test_parts_hold_every_row_once_in_order(self, db: Any, key: str, rows: list[tuple[Any, ...]]) -> None:
        self.made(db, key, rows)
        parts = self.parts(db.bee(**LARGE))
        found = [legs(db, "t", part, **LARGE) for part in parts]

        assert len(parts) == 4
        assert all(found)
        together = [tuple(row.values()) for part in found for row in part]
        assert together == sorted(rows)
        assert max(len(part) for part in found) < len(rows) / 2

    def test_rows_that_come_and_go_between_the_legs_change_no_bound(self, db: Any) -> None:
        self.made(db, "id int", [(n,) for n in range(0, 400, 2)])
        parts = self.parts(db.bee(**LARGE))
        db.run("DELETE FROM t WHERE id BETWEEN 90 AND 110")
        db.fill("INSERT INTO t VALUES (%s)", [(n,) for n in (-5, 99, 201, 500)])
        found = sorted(row["id"] for part in parts for row in legs(db, "t", part, **LARGE))
        assert found == sorted([*(n for n in range(0, 400, 2) if not 90 <= n <= 110), -5, 99, 201, 500])

    @pytest.mark.parametrize(
        "changed",
        [
            {"slices": 1},
            {"slice_rows": 1_000_000},
            {"max_rows": 10},
            {"row_filters": {"t": "id > 3"}},
            {"streams": {"t": {"query": "SELECT id FROM t", "key": "id"}}},
        ],
    )
    def test_a_table_that_is_small_or_read_in_another_way_is_one_part(self, db: Any, changed: dict[str, Any]) -> None:
        self.made(db, "id int", [(n,) for n in range(200)])
        assert self.parts(db.bee(**{**LARGE, **changed})) == []

    def test_the_first_reading_by_a_cursor_falls_into_parts_and_the_next_goes_on_behind_them(self, db: Any) -> None:
        """Changes made while the parts are read come in the next flight, and so do rows that the mark never passes."""
        stamp, future = "2026-01-01 00:00:{:02}.5", "9999-12-31 00:00:00"
        db.run(f"CREATE TABLE t (id int PRIMARY KEY, at {self.stamped} NULL)")
        rows = [(n, None if n % 50 == 7 else future if n == 250 else stamp.format(n * 7 % 60)) for n in range(300)]
        db.fill("INSERT INTO t VALUES (%s, %s)", rows)
        db.run(self.analyze.format("t"))
        how = LARGE | {"batch_rows": 30, "streams": {"t": {"cursor": "at", "lookback": "2s"}}}
        with db.bee(**how) as bee:
            parts = list(bee.slices("t", None))
            cursor = json.loads(json.dumps(bee.after_slices("t", parts)))
            assert bee.slices("t", cursor) == ()
        first = [legs(db, "t", part, **how) for part in parts[:2]]
        db.run("UPDATE t SET at = '2026-01-01 00:01:00.000001' WHERE id IN (3, 299)")
        first += [legs(db, "t", part, **how) for part in parts[2:]]
        with db.bee(**how) as bee:
            then = [row for batch in bee.collect_nectar("t", cursor) for row in batch.table.to_pylist()]

        assert len(parts) == 4
        assert [row["id"] for part in first for row in part] == list(range(300))
        assert cursor["high"].startswith("2026-01-01T00:00:59.5") or cursor["high"].startswith("2026-01-01 00:00:59.5")
        late = {n for n, at in rows if at is None or at == future or at >= stamp.format(57)}
        assert {row["id"] for row in then} == late | {3, 299}

    @pytest.mark.parametrize("none", ["DELETE FROM t", "UPDATE t SET at = NULL"])
    def test_where_nothing_can_be_the_mark_the_next_reading_begins_at_the_beginning(self, db: Any, none: str) -> None:
        db.run(f"CREATE TABLE t (id int PRIMARY KEY, at {self.stamped} NULL)")
        db.fill("INSERT INTO t VALUES (%s, '2026-01-01')", [(n,) for n in range(200)])
        db.run(self.analyze.format("t"))
        how = LARGE | {"streams": {"t": {"cursor": "at"}}}
        with db.bee(**how) as bee:
            bee.get_pollen_schema()
            db.run(none)
            parts = list(bee.slices("t", None))
            cursor = bee.after_slices("t", parts)
            db.run("DELETE FROM t", "INSERT INTO t VALUES (1, '2001-01-01')")
            assert [row for batch in bee.collect_nectar("t", cursor) for row in batch.table.to_pylist()]

    def test_after_parts_of_a_table_that_is_read_whole_nothing_is_known(self, db: Any) -> None:
        self.made(db, "id int", [(n,) for n in range(200)])
        with db.bee(**LARGE) as bee:
            assert bee.after_slices("t", bee.slices("t", None)) is None

    def test_a_view_is_one_part(self, db: Any) -> None:
        self.made(db, "id int", [(n,) for n in range(200)])
        db.run("CREATE VIEW v AS SELECT * FROM t")
        with db.bee(**LARGE, streams={"v": {"key": "id"}}) as bee:
            assert not bee.slices("v", None)

    def test_a_part_of_another_key_is_refused_by_name(self, db: Any) -> None:
        self.made(db, "id int", [(n,) for n in range(200)])
        for part in (
            '{"by": ["other"], "after": ["1"], "upto": []}',
            "nonsense",
            '{"by": ["id"], "after": ["1", "2"]}',
        ):
            with db.bee(**LARGE) as bee, pytest.raises(GiveUp, match="'t'") as refused:
                list(bee.collect_nectar("t", None, part))
            assert refused.value.code == "wrong_slice"
