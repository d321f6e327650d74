"""Followed tables whose rows come and go with partitions, heirs or a publication's filter: what no log tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import GiveUp
from tests.bees.contract import rows
from tests.bees.test_postgresql_cdc import CDC, applied, bee, followed_database
from tests.hive.nest import Nest, make_nest, nest
from tests.servers.logical import logical_postgres

if TYPE_CHECKING:
    from tests.bees.postgresql_source import Database

__all__ = ["followed_database", "logical_postgres", "make_nest", "nest"]
pytestmark = pytest.mark.servers
STREAMS: dict[str, Any] = {"p": {}}


@pytest.fixture
def parted(db: Database) -> Database:
    db.run(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)",
        "ALTER PUBLICATION told ADD TABLE p",
        "ALTER PUBLICATION told SET (publish_via_partition_root = true)",
        "INSERT INTO p SELECT i, 'old' FROM generate_series(95, 104) AS i",
    )
    return db


def fly(db: Database, jar: dict[Any, Any], cursor: Any = None) -> tuple[dict[Any, Any], Any, bool]:
    """(jar, cursor, whether the table was read anew) after one flight."""
    met: dict[Any, Any] = {}
    reads = False
    with bee(db, streams=STREAMS) as one:
        for batch in one.collect_nectar("p", cursor):
            one.sealed(batch.cursor)
            met = {} if batch.begins else met
            reads = reads or batch.begins
            jar, met = applied(jar, rows([batch])), applied(met, rows([batch]))
            jar = dict(met) if batch.complete else jar
            cursor = json.loads(json.dumps(batch.cursor))
    return jar, cursor, reads


@pytest.mark.parametrize(
    ("deeds", "anew"),
    [
        (["DROP TABLE p1"], True),
        (["ALTER TABLE p DETACH PARTITION p1"], True),
        (["TRUNCATE p1"], True),
        (["TRUNCATE p"], True),
        (["CREATE TABLE p3 (LIKE p INCLUDING ALL)", "INSERT INTO p3 VALUES (201, 'came')",
          "ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (200) TO (300)"], True),
        (["BEGIN", "CREATE TABLE p3 (LIKE p INCLUDING ALL)", "INSERT INTO p3 VALUES (201, 'came')",
          "ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (200) TO (300)", "COMMIT"], True),
        (["CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300)", "INSERT INTO p VALUES (202, 'new')"], False),
        (["UPDATE p SET id = id + 50 WHERE id = 99", "DELETE FROM p WHERE id = 100"], False),
        (["INSERT INTO p1 VALUES (1, 'direct')", "VACUUM p", "ANALYZE p"], False),
    ],
)  # fmt: skip
def test_rows_that_come_and_go_with_partitions(parted: Database, deeds: list[str], *, anew: bool) -> None:
    jar, cursor, _ = fly(parted, {})
    parted.run(*deeds)
    jar, cursor, first = fly(parted, jar, cursor)
    parted.run("INSERT INTO p VALUES (150, 'later')")
    jar, cursor, second = fly(parted, jar, cursor)

    assert (first, second) == (anew, False)
    assert jar == dict(parted.rows("SELECT id, v FROM p"))


def test_the_first_partition_may_come_with_rows(db: Database) -> None:
    db.run("CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)", "ALTER PUBLICATION told ADD TABLE p")
    db.run("ALTER PUBLICATION told SET (publish_via_partition_root = true)")
    jar, cursor, _ = fly(db, {})
    db.run("CREATE TABLE p1 (LIKE p INCLUDING ALL)", "INSERT INTO p1 VALUES (1, 'came')")
    db.run("ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (100)")
    jar, _, _ = fly(db, jar, cursor)
    assert jar == {1: "came"}


def test_a_partition_that_the_role_may_not_look_at_counts_as_attached(parted: Database) -> None:
    jar, cursor, _ = fly(parted, {})
    parted.run("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300)", "INSERT INTO p VALUES (202, 'new')")
    parted.run(f'REVOKE ALL ON p3 FROM "{parted.role}"')
    jar, _, anew = fly(parted, jar, cursor)
    assert anew
    assert jar == dict(parted.rows("SELECT id, v FROM p"))


@pytest.mark.parametrize(
    ("deeds", "code"),
    [
        (["CREATE TABLE heir () INHERITS (t)"], "inherited"),
        (
            ["ALTER PUBLICATION told DROP TABLE t", "ALTER PUBLICATION told ADD TABLE t WHERE (id > 5)"],
            "no_publication",
        ),
    ],
)
def test_a_table_of_which_the_log_tells_a_part_is_refused(db: Database, deeds: list[str], code: str) -> None:
    db.run(*deeds)
    with bee(db) as one, pytest.raises(GiveUp) as error:
        one.validate_flight_path()
    assert error.value.code == code
    assert error.value.advice


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("ALTER PUBLICATION told DROP TABLE p", "ALTER PUBLICATION told ADD TABLE p"),
        ("ALTER PUBLICATION told SET (publish = 'insert')",
         "ALTER PUBLICATION told SET (publish = 'insert, update, delete, truncate')"),
    ],
)  # fmt: skip
def test_what_changed_while_the_publication_left_it_out_is_read(parted: Database, away: str, back: str) -> None:
    jar, cursor, _ = fly(parted, {})
    parted.run(away, "DELETE FROM p WHERE id = 100", "INSERT INTO p VALUES (150, 'unseen')", back)
    jar, cursor, first = fly(parted, jar, cursor)
    parted.run("INSERT INTO p VALUES (151, 'seen')")
    jar, _, second = fly(parted, jar, cursor)

    assert (first, second) == (True, False)
    assert jar == dict(parted.rows("SELECT id, v FROM p"))


def test_a_publication_that_gets_other_tables_is_the_same(parted: Database) -> None:
    jar, cursor, _ = fly(parted, {})
    parted.run("CREATE TABLE other (id int PRIMARY KEY)", "ALTER PUBLICATION told ADD TABLE other", "ANALYZE")
    _, _, anew = fly(parted, jar, cursor)
    assert not anew


def test_an_unlogged_partition_is_refused(parted: Database) -> None:
    parted.run("CREATE UNLOGGED TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300)")
    with bee(parted, streams=STREAMS) as one, pytest.raises(GiveUp, match="'p3'") as error:
        one.validate_flight_path()
    assert error.value.code == "not_logged"


def test_rows_of_a_dropped_partition_leave_the_jar(nest: Nest, parted: Database) -> None:
    block = {"source": parted.options(cdc=CDC), "streams": STREAMS, "limits": {"max_deleted": 0.6}}
    nest.hive.register_worker("postgresql", {"name": "shop", **block})
    nest.land("shop")
    parted.run("DROP TABLE p1", "INSERT INTO p VALUES (180, 'new')")
    second, third = nest.land("shop"), nest.land("shop")

    assert (second.state, second.records_deleted, third.records_read) == ("complete", 5, 0)
    assert {record["id"] for record in nest.jar("shop").values()} == {100, 101, 102, 103, 104, 180}


def test_rows_deleted_while_another_key_told_them_apart_leave_the_jar(nest: Nest, db: Database) -> None:
    db.run(
        "ALTER TABLE t ADD COLUMN code int", "UPDATE t SET code = id", "ALTER TABLE t ALTER COLUMN code SET NOT NULL"
    )
    db.run("CREATE UNIQUE INDEX coded ON t (code)", "INSERT INTO t SELECT i, 'old', i FROM generate_series(1, 9) AS i")
    block = {"source": db.options(cdc=CDC), "streams": {"t": {}}, "limits": {"max_deleted": 0.6}}
    nest.hive.register_worker("postgresql", {"name": "shop", **block})
    nest.land("shop")
    db.run("INSERT INTO t VALUES (10, 'new', 10)", "ALTER TABLE t REPLICA IDENTITY USING INDEX coded")
    db.run("DELETE FROM t WHERE id < 3", "UPDATE t SET id = 30 WHERE id = 3", "ALTER TABLE t REPLICA IDENTITY DEFAULT")
    second, third = nest.land("shop"), nest.land("shop")

    assert (second.state, second.records_deleted, third.records_read) == ("complete", 3, 0)
    assert {record["id"] for record in nest.jar("shop").values()} == {4, 5, 6, 7, 8, 9, 10, 30}
