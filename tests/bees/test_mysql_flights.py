"""Whole flights of the MySQL bee through the hive: what a jar holds is what the table holds, also after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bees.core.pool import shared
from tests.bees.mysql_source import Database
from tests.hive.nest import Nest, make_nest, nest
from tests.servers.mariadb import MariaDB

__all__ = ["make_nest", "nest"]
pytestmark = pytest.mark.servers


@pytest.fixture
def db(mariadb: MariaDB) -> Iterator[Database]:
    database = Database(mariadb)
    database.run(
        f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{database.user}'@'%'",
        "CREATE TABLE people (id int PRIMARY KEY, total decimal(9,2), at datetime)",
        "INSERT INTO people SELECT seq, seq / 4, '2024-01-01' FROM seq_1_to_40",
    )
    yield database
    database.close()
    shared().close()


def truth(db: Database) -> dict[str, float]:
    return {str(key): float(total) for key, total in db.rows("SELECT id, total FROM people")}


def held(nest: Nest) -> dict[str, float]:
    return {key: float(data["total"]) for key, data in nest.jar("shop").items()}


def register(nest: Nest, db: Database, **more: Any) -> None:
    source = db.options(batch_rows=7, streams={"people": {}}, **more)
    nest.hive.register_worker("mysql", {"name": "shop", "source": source})


def test_changes_and_deletes_land(nest: Nest, db: Database) -> None:
    register(nest, db, cdc={})
    first = nest.land("shop")
    assert (first.state, held(nest)) == ("complete", truth(db))

    db.run("DELETE FROM people WHERE id <= 10", "UPDATE people SET total = 1.5 WHERE id = 20")
    db.run("INSERT INTO people VALUES (50, 12.34, NULL)", "UPDATE people SET id = 60 WHERE id = 30")
    second = nest.land("shop")

    assert (second.state, second.records_quarantined) == ("complete", 0)
    assert second.records_deleted == 11
    assert held(nest) == truth(db)
    assert nest.land("shop").records_read == 0


def test_what_was_deleted_while_nobody_followed_goes_with_a_full_refresh(nest: Nest, db: Database) -> None:
    register(nest, db, cdc={})
    nest.land("shop")
    db.run("DELETE FROM people WHERE id <= 3", "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW()")

    again = nest.land("shop", full_refresh=True)

    assert (again.state, again.records_deleted) == ("complete", 3)
    assert held(nest) == truth(db)


@pytest.mark.parametrize("more", [{"cdc": {}}, {}])
def test_a_worker_that_dies_loses_and_doubles_nothing(nest: Nest, db: Database, more: dict[str, Any]) -> None:
    register(nest, db, **more)
    nest.fly("shop")
    for _ in range(2):
        nest.drain(kinds=("plan", "process"))
        for task in nest.due("collect"):
            nest.crash(task)
    nest.drain()
    assert held(nest) == truth(db)

    db.run("UPDATE people SET total = total + 1", "UPDATE people SET total = total + 1 WHERE id % 2")
    nest.fly("shop")
    nest.drain(kinds=("plan",))
    for task in nest.due("collect"):
        nest.crash(task)
    nest.drain(order=lambda tasks: tasks[::-1])

    assert held(nest) == truth(db)
