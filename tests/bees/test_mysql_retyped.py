"""Tables whose order changes in the middle of a reading, or behind a mark: nothing is left out, and nothing fails."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import bees.mysql
from bees.core.errors import GiveUp
from tests.bees.contract import rows
from tests.bees.mysql_source import Database, fly, ids, source_database  # noqa: F401 - the fixture `db`
from tests.bees.sliced import LARGE

if TYPE_CHECKING:
    from nectar.batch import Batch

pytestmark = pytest.mark.servers
BY_N: dict[str, Any] = {"streams": {"t": {"cursor": "n", "lookback": 0}}}


def begun(db: Database, **options: Any) -> Any:
    """The cursor after the first batch of a flight, through JSON."""
    with db.bee(**options) as bee, closing(bee.collect_nectar("t", None)) as batches:  # type: ignore[type-var]
        return json.loads(json.dumps(next(batches).cursor))


def rest(db: Database, cursor: Any, **options: Any) -> list[Batch]:
    with db.bee(**options) as bee:
        return list(bee.collect_nectar("t", cursor))


def older(cursor: dict[str, Any]) -> dict[str, Any]:
    """As versions wrote it that did not tell types."""
    return {name: value for name, value in cursor.items() if name != "types"}


@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        ("int", "MODIFY id varchar(20)"),
        ("varchar(20)", "MODIFY id int"),
        ("varchar(20) COLLATE utf8mb4_general_ci", "MODIFY id varchar(20) COLLATE utf8mb4_bin"),
        ("decimal(9,2)", "MODIFY id bigint"),
    ],
)
def test_a_key_retyped_in_the_middle_of_a_reading_begins_it_anew(db: Database, kind: str, deed: str) -> None:
    db.run(f"CREATE TABLE t (id {kind} PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_30")
    cursor = begun(db, batch_rows=9)
    db.run(f"ALTER TABLE t {deed}")
    batches = rest(db, cursor, batch_rows=9)
    assert {int(n) for n in ids(rows(batches))} == set(range(1, 31))
    assert batches[-1].complete


@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        ("int", "MODIFY id bigint unsigned"),
        ("bigint", "MODIFY id tinyint"),
        ("varchar(9)", "MODIFY id varchar(99)"),
        ("int", "ADD COLUMN w int, ALGORITHM=COPY"),
    ],
)
def test_a_key_of_the_same_order_goes_on(db: Database, kind: str, deed: str) -> None:
    db.run(f"CREATE TABLE t (id {kind} PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_11_to_40")
    cursor = begun(db, batch_rows=9)
    db.run(f"ALTER TABLE t {deed}")
    assert [int(n) for n in ids(rows(rest(db, cursor)))] == list(range(20, 41))


@pytest.mark.parametrize(
    ("kind", "deed", "value"),
    [
        ("int", "varchar(20)", "'100'"),
        ("decimal(9,2)", "bigint", "100"),
        ("varchar(9) COLLATE utf8mb4_bin", "varchar(9) COLLATE utf8mb4_general_ci", "'100'"),
        ("varchar(9)", "varbinary(9)", "'100'"),
    ],
)
def test_a_cursor_column_retyped_begins_anew(db: Database, kind: str, deed: str, value: str) -> None:
    db.run(f"CREATE TABLE t (id int PRIMARY KEY, n {kind} NULL)", "INSERT INTO t VALUES (1, 8), (2, 30), (3, 9)")
    _, cursor = fly(db.bee(**BY_N), "t")
    db.run(f"ALTER TABLE t MODIFY n {deed}", f"INSERT INTO t VALUES (4, {value})")
    found, cursor = fly(db.bee(**BY_N), "t", cursor)
    assert sorted(ids(found)) == [1, 2, 3, 4]
    again, _ = fly(db.bee(**BY_N), "t", cursor)
    assert len(again) < 4, "the new mark holds"


def test_a_place_of_an_older_version_is_taken_as_it_is(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)", "INSERT INTO t SELECT seq, seq FROM seq_1_to_30")
    assert ids(rows(rest(db, older(begun(db, batch_rows=9)), batch_rows=9))) == list(range(10, 31))
    _, cursor = fly(db.bee(**BY_N), "t")
    found, then = fly(db.bee(**BY_N), "t", older(cursor))
    assert ids(found) == [30]
    assert then == cursor, "it tells its types from now on"


def test_an_older_mark_that_is_no_value_of_its_column_begins_anew(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, n decimal(9,2) NOT NULL)", "INSERT INTO t VALUES (1, 8), (2, 30)")
    _, cursor = fly(db.bee(**BY_N), "t")
    db.run("ALTER TABLE t MODIFY n bigint")
    assert ids(fly(db.bee(**BY_N), "t", older(cursor))[0]) == [1, 2]


def test_parts_of_a_table_whose_key_was_retyped_are_refused_by_name(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_400")
    db.run("ANALYZE TABLE t PERSISTENT FOR ALL")
    with db.bee(**LARGE) as bee:
        parts = list(bee.slices("t", None))
        db.run("ALTER TABLE t MODIFY id varchar(20)")
        with pytest.raises(GiveUp, match="'t'") as refused:
            list(bee.collect_nectar("t", None, parts[1]))
    assert refused.value.code == "wrong_slice"


@pytest.mark.parametrize(
    ("deed", "found"),
    [
        (["ALTER TABLE t DROP COLUMN v"], [{"id": 1, "n": 1}]),
        (["ALTER TABLE t RENAME COLUMN id TO k"], [{"k": 1, "v": "a", "n": 1}]),
        (["DROP TABLE t", "CREATE TABLE t (k int PRIMARY KEY)", "INSERT INTO t VALUES (5)"], [{"k": 5}]),
    ],
)
def test_a_bee_that_lives_on_sees_at_once_what_became_of_a_table(
    db: Database, deed: list[str], found: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bees.mysql, "_SETTLED", 600.0)  # however slow the server is with its tables
    db.run("CREATE TABLE t (id int PRIMARY KEY, v text, n int NOT NULL)", "INSERT INTO t VALUES (1, 'a', 1)")
    with db.bee() as bee:
        cursor = list(bee.collect_nectar("t", None))[-1].cursor
        db.run(*deed)
        assert rows(list(bee.collect_nectar("t", cursor))) == found


def test_a_bee_that_is_checked_looks_at_the_table_of_now(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
    with db.bee() as bee:
        bee.validate_flight_path()
        db.run("ALTER TABLE t DROP COLUMN v")
        bee.validate_flight_path()


def test_a_key_retyped_while_the_rows_of_a_followed_table_are_read_begins_them_anew(db: Database) -> None:
    db.run(f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{db.user}'@'%'")
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_30")
    cursor = begun(db, cdc={}, batch_rows=9)
    db.run("ALTER TABLE t MODIFY id varchar(20)")
    assert {r["id"] for r in rows(rest(db, cursor, cdc={}))} == {str(n) for n in range(1, 31)}
