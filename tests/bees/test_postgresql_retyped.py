"""Tables whose order changes in the middle of a reading, or behind a mark: nothing is left out, and nothing fails."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import GiveUp
from tests.bees.contract import rows
from tests.bees.postgresql_source import Database, fly, ids, source_database  # noqa: F401 - the fixture `db`
from tests.bees.sliced import LARGE

if TYPE_CHECKING:
    from nectar.batch import Batch

BY_N: dict[str, Any] = {"streams": {"t": {"cursor": "n", "lookback": 0}}}


def begun(db: Database, **options: Any) -> Any:
    """The cursor after the first batch of a flight, through JSON."""
    with db.bee(**options) as bee, closing(bee.collect_nectar("t", None)) as batches:  # type: ignore[type-var]
        return json.loads(json.dumps(next(batches).cursor))


def rest(db: Database, cursor: Any, **options: Any) -> list[Batch]:
    with db.bee(**options) as bee:
        return list(bee.collect_nectar("t", cursor))


def older(cursor: dict[str, Any]) -> dict[str, Any]:
    """As versions wrote it that did not tell types and table."""
    return {name: value for name, value in cursor.items() if name not in ("types", "table")}


@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        ("int", "ALTER COLUMN id TYPE text"),
        ("text", "ALTER COLUMN id TYPE int USING id::int"),
        ("text", 'ALTER COLUMN id TYPE text COLLATE "C"'),
        ("numeric(10,2)", "ALTER COLUMN id TYPE int"),
    ],
)
def test_a_key_retyped_in_the_middle_of_a_reading_begins_it_anew(db: Database, kind: str, deed: str) -> None:
    db.run(f"CREATE TABLE t (id {kind} PRIMARY KEY)", "INSERT INTO t SELECT i FROM generate_series(1, 30) AS i")
    cursor = begun(db, batch_rows=9)
    db.run(f"ALTER TABLE t {deed}")
    batches = rest(db, cursor, batch_rows=9)
    assert {int(n) for n in ids(rows(batches))} == set(range(1, 31))
    assert batches[-1].complete


@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        ("int", "ALTER COLUMN id TYPE bigint"),
        ("bigint", "ALTER COLUMN id TYPE int"),
        ("varchar(9)", "ALTER COLUMN id TYPE text"),
        ("int", "ADD COLUMN w int"),
    ],
)
def test_a_key_of_the_same_order_goes_on(db: Database, kind: str, deed: str) -> None:
    db.run(f"CREATE TABLE t (id {kind} PRIMARY KEY)", "INSERT INTO t SELECT i FROM generate_series(11, 40) AS i")
    cursor = begun(db, batch_rows=9)
    db.run(f"ALTER TABLE t {deed}")
    assert [int(n) for n in ids(rows(rest(db, cursor)))] == list(range(20, 41))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_number_below_a_mark_that_the_shrunken_type_does_not_hold_is_compared(db: Database, legacy: bool) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)", "INSERT INTO t VALUES (1, 5), (2, 70000)")
    _, cursor = fly(db.bee(**BY_N), "t")
    db.run("DELETE FROM t WHERE id = 2", "ALTER TABLE t ALTER COLUMN n TYPE smallint")
    found, _ = fly(db.bee(**BY_N), "t", older(cursor) if legacy else cursor)
    assert ids(found) == [1], "the mark is above all rows: the source is behind it"


@pytest.mark.parametrize(
    ("kind", "deed", "value"),
    [
        ("int", "text", "'100'"),
        ("numeric(9,2)", "bigint", "100"),
        ("int", "uuid USING gen_random_uuid()", "gen_random_uuid()"),
        ("varchar(9)", 'varchar(9) COLLATE "C"', "'100'"),
    ],
)
def test_a_cursor_column_retyped_begins_anew(db: Database, kind: str, deed: str, value: str) -> None:
    db.run(f"CREATE TABLE t (id int PRIMARY KEY, n {kind} NOT NULL)", "INSERT INTO t VALUES (1, 8), (2, 30), (3, 9)")
    _, cursor = fly(db.bee(**BY_N), "t")
    db.run(f"ALTER TABLE t ALTER COLUMN n TYPE {deed}", f"INSERT INTO t VALUES (4, {value})")
    found, cursor = fly(db.bee(**BY_N), "t", cursor)
    assert sorted(ids(found)) == [1, 2, 3, 4]
    again, _ = fly(db.bee(**BY_N), "t", cursor)
    assert len(again) < 4, "the new mark holds"


def test_a_place_of_an_older_version_is_taken_as_it_is(db: Database) -> None:
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)",
        "INSERT INTO t SELECT i, i FROM generate_series(1, 30) AS i",
    )
    assert ids(rows(rest(db, older(begun(db, batch_rows=9)), batch_rows=9))) == list(range(10, 31))
    _, cursor = fly(db.bee(**BY_N), "t")
    found, then = fly(db.bee(**BY_N), "t", older(cursor))
    assert len(found) < 30
    assert then == cursor, "it tells its types from now on"


def test_an_older_mark_that_is_no_value_of_its_column_begins_anew(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, n numeric(9,2) NOT NULL)", "INSERT INTO t VALUES (1, 8), (2, 30)")
    _, cursor = fly(db.bee(**BY_N), "t")
    db.run("ALTER TABLE t ALTER COLUMN n TYPE bigint")
    assert ids(fly(db.bee(**BY_N), "t", older(cursor))[0]) == [1, 2]


@pytest.mark.parametrize("streams", [{}, BY_N["streams"]])
def test_a_word_of_an_enum_that_was_renamed_begins_anew(db: Database, streams: dict[str, Any]) -> None:
    db.run("CREATE TYPE mood AS ENUM ('a', 'b', 'c')", "CREATE TABLE t (n mood PRIMARY KEY, id int)")
    db.run("INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
    cursor = begun(db, streams=streams, batch_rows=2)
    db.run("ALTER TYPE mood RENAME VALUE 'b' TO 'bb'")
    assert ids(rows(rest(db, cursor, streams=streams))) == [1, 2, 3]


def test_an_enum_made_anew_in_another_order_begins_anew(db: Database) -> None:
    db.run("CREATE TYPE mood AS ENUM ('a', 'b', 'c')", "CREATE TABLE t (n mood PRIMARY KEY, id int)")
    db.run("INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
    cursor = begun(db, batch_rows=2)
    db.run(
        "ALTER TYPE mood RENAME TO old", "CREATE TYPE mood AS ENUM ('c', 'b', 'a')",
        "ALTER TABLE t ALTER COLUMN n TYPE mood USING n::text::mood",
    )  # fmt: skip
    assert ids(rows(rest(db, cursor))) == [3, 2, 1]


def test_another_table_of_the_same_name_is_read_from_its_first_row(db: Database) -> None:
    by_id = {"streams": {"t": {"cursor": "id", "lookback": 0}}, "batch_rows": 9}
    made = ("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT i FROM generate_series(1, {}) AS i")
    db.run(made[0], made[1].format(30))
    _, cursor = fly(db.bee(**by_id), "t")
    midway = begun(db, batch_rows=9)
    db.run("DROP TABLE t", made[0], made[1].format(40))
    found, then = fly(db.bee(**by_id), "t", cursor)
    assert ids(found) == list(range(1, 41))
    assert ids(rows(rest(db, midway))) == list(range(1, 41))
    assert ids(fly(db.bee(**by_id), "t", then)[0]) == [40], "the new table's own mark holds"


def test_a_table_made_anew_while_its_parts_are_read_is_read_again_behind_them(db: Database) -> None:
    how = LARGE | {"streams": {"t": {"cursor": "id", "lookback": 0}}}
    made = ("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT i FROM generate_series(1, 400) AS i")
    db.run(*made, "ANALYZE t")
    with db.bee(**how) as bee:
        parts = list(bee.slices("t", None))
        assert rows(list(bee.collect_nectar("t", None, parts[0])))
        db.run("DROP TABLE t", *made)
        assert rows(list(bee.collect_nectar("t", None, parts[1])))
        cursor = json.loads(json.dumps(bee.after_slices("t", parts)))
    assert ids(fly(db.bee(**how), "t", cursor)[0]) == list(range(1, 401))


def test_a_view_made_anew_goes_on(db: Database) -> None:
    how = {"streams": {"v": {"cursor": "id", "key": "id", "lookback": 0}}}
    view = "CREATE VIEW v AS SELECT * FROM t"
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT i FROM generate_series(1, 9) AS i", view)
    _, cursor = fly(db.bee(**how), "v")
    db.run("DROP VIEW v", view)
    assert ids(fly(db.bee(**how), "v", cursor)[0]) == [9]


def test_parts_of_a_table_whose_key_was_retyped_are_refused_by_name(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT i FROM generate_series(1, 400) AS i")
    db.run("ANALYZE t")
    with db.bee(**LARGE) as bee:
        parts = list(bee.slices("t", None))
        db.run("ALTER TABLE t ALTER COLUMN id TYPE text")
        with pytest.raises(GiveUp, match="'t'") as refused:
            list(bee.collect_nectar("t", None, parts[1]))
    assert refused.value.code == "wrong_slice"
    with db.bee(**LARGE) as bee:
        assert len(rows(list(bee.collect_nectar("t", None)))) == 400


@pytest.mark.parametrize(
    ("deed", "found"),
    [
        (["ALTER TABLE t DROP COLUMN v"], [{"id": 1, "n": 1}]),
        (["ALTER TABLE t RENAME COLUMN id TO k"], [{"k": 1, "v": "a", "n": 1}]),
        (["ALTER TABLE t ALTER COLUMN n TYPE text"], [{"id": 1, "v": "a", "n": "1"}]),
        (["DROP TABLE t", "CREATE TABLE t (k int PRIMARY KEY)", "INSERT INTO t VALUES (5)"], [{"k": 5}]),
    ],
)
@pytest.mark.parametrize("streams", [{"t": {}}, BY_N["streams"]])
def test_a_bee_that_lives_on_sees_at_once_what_became_of_a_table(
    db: Database, deed: list[str], found: list[dict[str, Any]], streams: dict[str, Any]
) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, v text, n int NOT NULL)", "INSERT INTO t VALUES (1, 'a', 1)")
    with db.bee(streams=streams) as bee:
        cursor = list(bee.collect_nectar("t", None))[-1].cursor
        db.run(*deed)
        if streams["t"] and "k" in found[0] and "n" not in found[0]:
            with pytest.raises(GiveUp) as error:
                list(bee.collect_nectar("t", cursor))
            assert (error.value.code, error.value.where) == ("no_column", "streams.t.cursor")
            return
        assert rows(list(bee.collect_nectar("t", cursor))) == found


def test_a_bee_that_is_checked_looks_at_the_table_of_now(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
    with db.bee() as bee:
        bee.validate_flight_path()
        db.run("ALTER TABLE t DROP COLUMN v")
        bee.validate_flight_path()


def test_what_is_gone_is_named_at_once(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, n int)")
    with db.bee(streams={"t": {}}) as bee:
        list(bee.collect_nectar("t", None))
        db.run("ALTER TABLE t RENAME TO tt")
        with pytest.raises(GiveUp, match="did you mean 'tt'") as error:
            list(bee.collect_nectar("t", None))
    assert (error.value.code, error.value.where) == ("no_table", "streams.t.table")
