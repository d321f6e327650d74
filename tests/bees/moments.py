"""What holds of every bee that reads all its streams as of one moment; `db` has the tables a and b of 20 rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from tests.bees.contract import rows

if TYPE_CHECKING:
    from collections.abc import Callable


class MomentContract:
    """Subclasses give `cdc`, the options by which the bee would follow changes, `numbers`, and `open_transactions`."""

    cdc: dict[str, Any]
    numbers: str
    """What the server selects the numbers n from 1 to 20,000 from."""

    def open_transactions(self, db: Any) -> int:
        """Transactions of anybody's that keep a moment at the server."""
        raise NotImplementedError

    def test_what_is_written_after_its_beginning_is_not_read(self, db: Any) -> None:
        with db.bee(consistent=True, batch_rows=3) as bee:
            moment = bee.one_moment()
            assert moment is not None
            with moment:
                first = rows(list(bee.collect_nectar("a", None)))
                db.run("INSERT INTO a VALUES (21)", "INSERT INTO b VALUES (21)", "DELETE FROM b WHERE id = 1")
                second = rows(list(bee.collect_nectar("b", None)))
                third = rows(list(bee.collect_nectar("a", None)))
            after = rows(list(bee.collect_nectar("b", None)))
        assert first == second == third == [{"id": n} for n in range(1, 21)]
        assert after == [{"id": n} for n in range(2, 22)]

    def test_nothing_stays_open_behind_it(self, db: Any) -> None:
        with db.bee(consistent=True) as bee:
            moment = bee.one_moment()
            assert moment is not None
            with moment:
                list(bee.collect_nectar("a", None))
                self._wait_for(lambda: self.open_transactions(db) >= 1)
        self._wait_for(lambda: self.open_transactions(db) == 0)

    def _wait_for(self, done: Callable[[], bool]) -> None:
        """MySQL tells of its transactions as it last did, unless it was not asked for a tenth of a second."""
        until = time.monotonic() + 10
        while not done():
            assert time.monotonic() < until
            time.sleep(0.2)

    def test_who_takes_a_table_slowly_gets_all_of_it(self, db: Any) -> None:
        """It is one statement, which takes as long as those do who take its rows: the limit is on silence."""
        db.run(
            "CREATE TABLE wide (id int PRIMARY KEY, v varchar(2000) NOT NULL)",
            f"INSERT INTO wide SELECT n, repeat('x', 1000) FROM {self.numbers}",
        )
        with db.bee(consistent=True, statement_timeout=3, batch_bytes=65536, batch_rows=500) as bee:
            moment = bee.one_moment()
            assert moment is not None
            with moment:
                batches = bee.collect_nectar("wide", None)
                read = [next(batches).table.num_rows]
                time.sleep(4)
                read += [batch.table.num_rows for batch in batches]
        assert sum(read) == 20_000

    def test_a_bee_that_was_not_asked_for_it_has_none(self, db: Any) -> None:
        with db.bee() as bee:
            assert bee.one_moment() is None

    def test_large_tables_are_not_cut(self, db: Any) -> None:
        with db.bee(consistent=True, slice_rows=1) as bee:
            assert not bee.slices("a", None)

    def test_changes_are_of_no_one_moment(self, db: Any) -> None:
        with pytest.raises(ValidationError, match="consistent"):
            db.bee(consistent=True, cdc=self.cdc)
