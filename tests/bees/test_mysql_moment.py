"""All streams as they were at one moment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.bees.contract import rows
from tests.bees.mysql_source import Database, ids, source_database  # noqa: F401 - the fixture `db`

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def _tables(db: Database) -> None:
    for name in ("a", "b"):
        db.run(f"CREATE TABLE {name} (id int PRIMARY KEY)", f"INSERT INTO {name} SELECT seq FROM seq_1_to_20")


def test_what_is_written_after_its_beginning_is_not_read(db: Database) -> None:
    with db.bee(consistent=True, batch_rows=3) as bee:
        moment = bee.one_moment()
        assert moment is not None
        with moment:
            first = rows(list(bee.collect_nectar("a", None)))
            db.run("INSERT INTO a VALUES (21)", "INSERT INTO b VALUES (21)", "DELETE FROM b WHERE id = 1")
            second = rows(list(bee.collect_nectar("b", None)))
            third = rows(list(bee.collect_nectar("a", None)))
        after = rows(list(bee.collect_nectar("b", None)))
    assert ids(first) == ids(second) == ids(third) == list(range(1, 21))
    assert ids(after) == list(range(2, 22))


def test_nothing_stays_open_behind_it(db: Database) -> None:
    with db.bee(consistent=True) as bee:
        moment = bee.one_moment()
        assert moment is not None
        with moment:
            list(bee.collect_nectar("a", None))
    assert db.rows("SELECT COUNT(*) FROM information_schema.INNODB_TRX") == [(0,)]


def test_a_bee_that_was_not_asked_for_it_has_none(db: Database) -> None:
    with db.bee() as bee:
        assert bee.one_moment() is None


def test_changes_are_of_no_one_moment(db: Database) -> None:
    with pytest.raises(ValidationError, match="consistent"):
        db.bee(consistent=True, cdc={})
