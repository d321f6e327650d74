"""All streams as they were at one moment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bees.core.errors import RetryLater
from tests.bees.contract import rows
from tests.bees.postgresql_source import Database, ids, source_database  # noqa: F401 - the fixture `db`


@pytest.fixture(autouse=True)
def _tables(db: Database) -> None:
    for name in ("a", "b"):
        db.run(f"CREATE TABLE {name} (id int PRIMARY KEY)", f"INSERT INTO {name} SELECT generate_series(1, 20)")


def test_what_is_written_after_its_beginning_is_not_read(db: Database) -> None:
    with db.bee(consistent=True) as bee:
        moment = bee.one_moment()
        assert moment is not None
        with moment:
            first = rows(list(bee.collect_nectar("a", None)))
            db.run("INSERT INTO a VALUES (21)", "INSERT INTO b VALUES (21)", "DELETE FROM b WHERE id = 1")
            second = rows(list(bee.collect_nectar("b", None)))
        after = rows(list(bee.collect_nectar("b", None)))
    assert ids(first) == ids(second) == list(range(1, 21))
    assert ids(after) == list(range(2, 22))


def test_nothing_stays_open_behind_it(db: Database) -> None:
    with db.bee(consistent=True) as bee:
        moment = bee.one_moment()
        assert moment is not None
        with moment:
            list(bee.collect_nectar("a", None))
            assert db.sessions() == 1
    assert db.sessions() == 0
    assert db.rows("SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND usename <> 'hive'") == [
        (0,)
    ]


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


def test_a_bee_that_was_not_asked_for_it_has_none(db: Database) -> None:
    with db.bee() as bee:
        assert bee.one_moment() is None


def test_large_tables_are_not_cut(db: Database) -> None:
    with db.bee(consistent=True, slice_rows=1) as bee:
        assert not bee.slices("a", None)


def test_changes_are_of_no_one_moment(db: Database) -> None:
    with pytest.raises(ValidationError, match="consistent"):
        db.bee(consistent=True, cdc={"slot": "s", "publication": "p"})
