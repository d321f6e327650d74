"""The rows that a followed table has before its changes come, where it is changed while they are read."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.bees.contract import rows
from tests.bees.test_postgresql_cdc import bee, followed_database  # noqa: F401 - the fixture `db`
from tests.servers.logical import logical_postgres  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from tests.bees.postgresql_source import Database

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(("deed", "first"), [("ALTER COLUMN id TYPE text", 1), ("ALTER COLUMN id TYPE bigint", 4)])
def test_a_key_retyped_meanwhile_begins_them_anew_if_it_has_another_order(db: Database, deed: str, first: int) -> None:
    db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 30) AS i")
    with bee(db, batch_rows=3) as one, closing(one.collect_nectar("t", None)) as batches:  # type: ignore[type-var]
        cursor = json.loads(json.dumps(next(batches).cursor))
    db.run(f"ALTER TABLE t {deed}")
    with bee(db) as one:
        found = rows(list(one.collect_nectar("t", cursor)))
    assert {int(r["id"]) for r in found} == set(range(first, 31))
