"""What holds where the table of a stream changes in the middle of a reading, or behind a mark: a suite for `db`."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from bees.core.errors import GiveUp
from tests.bees.contract import rows
from tests.bees.sliced import LARGE

if TYPE_CHECKING:
    from nectar.batch import Batch

BY_N: dict[str, Any] = {"streams": {"t": {"cursor": "n", "lookback": 0}}}
BY_ID: dict[str, Any] = {"streams": {"t": {"cursor": "id", "lookback": 0}}}


def begun(db: Any, **options: Any) -> Any:
    """The cursor after the first batch of a flight, through JSON."""
    with db.bee(**options) as bee, closing(bee.collect_nectar("t", None)) as batches:
        return json.loads(json.dumps(next(batches).cursor))


def rest(db: Any, cursor: Any, **options: Any) -> list[Batch]:
    with db.bee(**options) as bee:
        return list(bee.collect_nectar("t", cursor))


def flown(db: Any, cursor: Any = None, **options: Any) -> tuple[list[Any], Any]:
    """One whole flight: the ids that came, and the cursor after it, through JSON as the hive keeps it."""
    batches = rest(db, cursor, **options)
    return [row["id"] for row in rows(batches)], json.loads(json.dumps(batches[-1].cursor))


def without(cursor: dict[str, Any], *names: str) -> dict[str, Any]:
    """As versions wrote it that did not tell these."""
    return {name: value for name, value in cursor.items() if name not in names}


class Retyped:
    numbers: str
    """Fills t with the whole numbers from one to another."""
    retype: str
    """Gives a column another type."""
    other_orders: ClassVar[list[tuple[str, str]]]
    """Types of a key of which the second has another order."""
    same_orders: ClassVar[list[tuple[str, str]]]
    other_cursors: ClassVar[list[tuple[str, str, str]]]
    """Types of a cursor, and a value that the second takes for 100."""
    analyze = "ANALYZE t"

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for name in {"other_order", "same_order", "other_cursor"} & set(metafunc.fixturenames):
            metafunc.parametrize(name, getattr(self, f"{name}s"))

    def made(self, db: Any, low: int, high: int, columns: str = "id int PRIMARY KEY") -> None:
        db.run(f"CREATE TABLE t ({columns})", self.numbers.format(low, high))

    def anew(self, db: Any, high: int) -> None:
        """Another table of the same name."""
        db.run("DROP TABLE t")
        self.made(db, 1, high)

    def test_a_key_retyped_in_the_middle_of_a_reading_begins_it_anew(
        self, db: Any, other_order: tuple[str, str]
    ) -> None:
        kind, deed = other_order
        self.made(db, 1, 30, f"id {kind} PRIMARY KEY")
        cursor = begun(db, batch_rows=9)
        db.run(self.retype.format("id", deed))
        batches = rest(db, without(cursor, "table"), batch_rows=9)
        assert {int(row["id"]) for row in rows(batches)} == set(range(1, 31))
        assert batches[-1].complete

    def test_a_key_of_the_same_order_goes_on(self, db: Any, same_order: tuple[str, str]) -> None:
        kind, deed = same_order
        self.made(db, 11, 40, f"id {kind} PRIMARY KEY")
        cursor = without(begun(db, batch_rows=9), "table")
        db.run(self.retype.format("id", deed))
        assert [int(n) for n in flown(db, cursor)[0]] == list(range(20, 41))

    def test_a_cursor_column_retyped_begins_anew(self, db: Any, other_cursor: tuple[str, str, str]) -> None:
        kind, deed, value = other_cursor
        db.run(f"CREATE TABLE t (id int PRIMARY KEY, n {kind})", "INSERT INTO t VALUES (1, '8'), (2, '30'), (3, '9')")
        _, cursor = flown(db, **BY_N)
        db.run(self.retype.format("n", deed), f"INSERT INTO t VALUES (4, {value})")
        found, cursor = flown(db, without(cursor, "table"), **BY_N)
        assert sorted(found) == [1, 2, 3, 4]
        assert len(flown(db, cursor, **BY_N)[0]) < 4, "the new mark holds"

    def test_a_place_of_an_older_version_is_taken_as_it_is(self, db: Any) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
        midway = without(begun(db, batch_rows=2), "types", "table")
        assert flown(db, midway, batch_rows=2)[0] == [3]
        _, cursor = flown(db, **BY_N)
        found, then = flown(db, without(cursor, "types", "table"), **BY_N)
        assert found == [3]
        assert then == cursor, "it tells its types and its table from now on"

    def test_an_older_mark_that_is_no_value_of_its_column_begins_anew(self, db: Any) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, n decimal(9,2))", "INSERT INTO t VALUES (1, 8), (2, 30)")
        _, cursor = flown(db, **BY_N)
        db.run(self.retype.format("n", "bigint"))
        assert flown(db, without(cursor, "types", "table"), **BY_N)[0] == [1, 2]

    def test_parts_of_a_table_whose_key_was_retyped_are_refused_by_name(self, db: Any) -> None:
        self.made(db, 1, 400)
        db.run(self.analyze)
        with db.bee(**LARGE) as bee:
            parts = list(bee.slices("t", None))
            db.run(self.retype.format("id", "varchar(20)"))
            with pytest.raises(GiveUp, match="'t'") as refused:
                list(bee.collect_nectar("t", None, parts[1]))
        assert refused.value.code == "wrong_slice"
        assert len(flown(db, **LARGE)[0]) == 400

    def test_another_table_of_the_same_name_is_read_from_its_first_row(self, db: Any) -> None:
        self.made(db, 1, 30)
        _, cursor = flown(db, **BY_ID)
        midway = begun(db, batch_rows=9)
        self.anew(db, 40)
        found, then = flown(db, cursor, **BY_ID)
        assert found == list(range(1, 41))
        assert flown(db, midway)[0] == list(range(1, 41))
        assert flown(db, then, **BY_ID)[0] == [40], "the new table's own mark holds"

    def test_a_table_made_anew_while_its_parts_are_read_is_read_again_behind_them(self, db: Any) -> None:
        how = LARGE | BY_ID
        self.made(db, 1, 400)
        db.run(self.analyze)
        with db.bee(**how) as bee:
            parts = list(bee.slices("t", None))
            assert rows(list(bee.collect_nectar("t", None, parts[0])))
            self.anew(db, 400)
            assert rows(list(bee.collect_nectar("t", None, parts[1])))
            cursor = json.loads(json.dumps(bee.after_slices("t", parts)))
        assert flown(db, cursor, **how)[0] == list(range(1, 401))

    def test_a_view_made_anew_goes_on(self, db: Any) -> None:
        how = {"streams": {"t": {"table": "v", "cursor": "id", "key": "id", "lookback": 0}}}
        view = "CREATE VIEW v AS SELECT * FROM t"
        self.made(db, 1, 9)
        db.run(view)
        _, cursor = flown(db, **how)
        db.run("DROP VIEW v", view)
        assert flown(db, cursor, **how)[0] == [9]

    def test_a_bee_that_is_checked_looks_at_the_table_of_now(self, db: Any) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
        with db.bee() as bee:
            bee.validate_flight_path()
            db.run("ALTER TABLE t DROP COLUMN v")
            bee.validate_flight_path()

    @pytest.mark.parametrize(("streams", "where"), [({"t": {}}, "streams.t.table"), ({}, "streams")])
    def test_a_table_that_was_dropped_is_named_with_the_next_step(
        self, db: Any, streams: dict[str, Any], where: str
    ) -> None:
        self.made(db, 1, 9)
        db.run("CREATE TABLE quite_another (id int PRIMARY KEY)")
        with db.bee(streams=streams) as bee:
            cursor = list(bee.collect_nectar("t", None))[-1].cursor
            db.run("DROP TABLE t")
            with pytest.raises(GiveUp) as error:
                list(bee.collect_nectar("t", cursor))
        assert error.value.where == where
        assert all(word in str(error.value) for word in ("'t'", "dropped", f"`{where}`", "`hive schema`"))

    def test_what_is_gone_is_named_at_once(self, db: Any) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, n int)")
        with db.bee(streams={"t": {}}) as bee:
            list(bee.collect_nectar("t", None))
            db.run("ALTER TABLE t RENAME TO tt")
            with pytest.raises(GiveUp, match="did you mean 'tt'") as error:
                list(bee.collect_nectar("t", None))
        assert (error.value.code, error.value.where) == ("no_table", "streams.t.table")
