"""All streams as they were at one moment."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from bees.core.errors import RetryLater
from tests.bees.moments import MomentContract
from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`


@pytest.fixture(autouse=True)
def _tables(db: Database) -> None:
    for name in ("a", "b"):
        db.run(f"CREATE TABLE {name} (id int PRIMARY KEY)", f"INSERT INTO {name} SELECT generate_series(1, 20)")


class TestMoments(MomentContract):
    cdc: ClassVar[dict[str, Any]] = {"slot": "s", "publication": "p"}
    numbers = "generate_series(1, 20000) AS n"

    def open_transactions(self, db: Database) -> int:
        held = "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()"
        return int(db.rows(f"{held} AND datname = current_database()")[0][0])


def test_a_moment_whose_session_ended_is_tried_again_later(db: Database) -> None:
    end = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE state = 'idle in transaction' AND datname = current_database()"
    )
    with db.bee(consistent=True) as bee:
        moment = bee.one_moment()
        assert moment is not None
        moment.__enter__()
        assert db.rows(end) == [(1,)]
        with pytest.raises(RetryLater) as refused:
            list(bee.collect_nectar("a", None))
    assert refused.value.code == "moment_gone"
