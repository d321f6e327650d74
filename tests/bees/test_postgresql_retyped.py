"""Tables of PostgreSQL that change in the middle of a reading, or behind a mark: nothing is left out, nothing fails."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from bees.core.errors import GiveUp
from tests.bees.contract import rows
from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`
from tests.bees.retyped import BY_N, Retyped, begun, flown, without


class TestPostgreSQL(Retyped):
    numbers = "INSERT INTO t SELECT i FROM generate_series({}, {}) AS i"
    retype = "ALTER TABLE t ALTER COLUMN {0} TYPE {1}"
    other_orders: ClassVar = [
        ("int", "text"),
        ("text", "int USING id::int"),
        ("text", 'text COLLATE "C"'),
        ("numeric(10,2)", "int"),
    ]
    same_orders: ClassVar = [
        ("int", "bigint"),
        ("bigint", "int"),
        ("varchar(9)", "text"),
        ("int", "int, ADD COLUMN w int"),
    ]
    other_cursors: ClassVar = [
        ("int", "text", "'100'"),
        ("numeric(9,2)", "bigint", "100"),
        ("int", "uuid USING gen_random_uuid()", "gen_random_uuid()"),
        ("varchar(9)", 'varchar(9) COLLATE "C"', "'100'"),
    ]


@pytest.mark.parametrize("legacy", [False, True])
def test_a_number_below_a_mark_that_the_shrunken_type_does_not_hold_is_compared(db: Database, legacy: bool) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)", "INSERT INTO t VALUES (1, 5), (2, 70000)")
    _, cursor = flown(db, **BY_N)
    db.run("DELETE FROM t WHERE id = 2", "ALTER TABLE t ALTER COLUMN n TYPE smallint")
    found, _ = flown(db, without(cursor, "types", "table") if legacy else cursor, **BY_N)
    assert found == [1], "the mark is above all rows: the source is behind it"


@pytest.mark.parametrize("streams", [{}, BY_N["streams"]])
def test_a_word_of_an_enum_that_was_renamed_begins_anew(db: Database, streams: dict[str, Any]) -> None:
    db.run("CREATE TYPE mood AS ENUM ('a', 'b', 'c')", "CREATE TABLE t (n mood PRIMARY KEY, id int)")
    db.run("INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
    cursor = begun(db, streams=streams, batch_rows=2)
    db.run("ALTER TYPE mood RENAME VALUE 'b' TO 'bb'")
    assert flown(db, cursor, streams=streams)[0] == [1, 2, 3]


@pytest.mark.parametrize("streams", [{}, BY_N["streams"]])
def test_a_domain_over_an_enum_is_an_order(db: Database, streams: dict[str, Any]) -> None:
    db.run("CREATE TYPE mood AS ENUM ('c', 'b', 'a')", "CREATE DOMAIN shown AS mood")
    db.run("CREATE TABLE t (n shown PRIMARY KEY, id int)", "INSERT INTO t VALUES ('c', 1), ('b', 2), ('a', 3)")
    cursor = begun(db, streams=streams, batch_rows=2)
    assert flown(db, cursor, streams=streams)[0] == [3]


def test_an_enum_made_anew_in_another_order_begins_anew(db: Database) -> None:
    db.run("CREATE TYPE mood AS ENUM ('a', 'b', 'c')", "CREATE TABLE t (n mood PRIMARY KEY, id int)")
    db.run("INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
    cursor = begun(db, batch_rows=2)
    db.run(
        "ALTER TYPE mood RENAME TO old", "CREATE TYPE mood AS ENUM ('c', 'b', 'a')",
        "ALTER TABLE t ALTER COLUMN n TYPE mood USING n::text::mood",
    )  # fmt: skip
    assert flown(db, cursor)[0] == [3, 2, 1]


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
