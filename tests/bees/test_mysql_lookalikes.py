"""Keys that MariaDB's collations hold equal."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from bees.core.sql.mysql import catalog
from bees.core.sql.mysql.session import Questions
from bees.core.sql.mysql.settle import settle
from bees.core.sql.options import StreamOptions
from tests.bees.lookalikes import Lookalikes, cases
from tests.bees.mysql_source import Database, source_database  # noqa: F401 - the fixture `db`

pytestmark = pytest.mark.servers


class TestMySQL(Lookalikes):
    analyze = "ANALYZE TABLE {} PERSISTENT FOR ALL"
    kinds: ClassVar = {
        "general_ci": ("varchar(40) COLLATE utf8mb4_general_ci", cases("abcdefg")),
        "latin1": ("varchar(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci", cases("xyzétuv")),
        "padded": ("varchar(200) COLLATE utf8mb4_bin", ["a" + " " * n for n in range(128)]),
    }

    @pytest.fixture(autouse=True)
    def _fill(self, db: Database) -> None:
        db.fill = db.many  # type: ignore[attr-defined]

    @pytest.fixture(params=sorted(kinds))
    def kind(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


@pytest.mark.parametrize(
    ("made", "key", "ties"),
    [
        ("k varchar(9) PRIMARY KEY", "k", []),
        ("k varchar(9) UNIQUE, n int", ("k", "n"), []),
        ("k varchar(9), n int, UNIQUE (k(3))", "k", ["k"]),
        ("k varchar(9), n char(9), UNIQUE (k, n)", "k", ["k"]),
        ("k varchar(9), n char(9)", ("n", "k"), ["n", "k"]),
        ("k int, n datetime, u varbinary(9), v enum('a', 'b')", ("k", "n", "u", "v"), []),
    ],
)
def test_the_bytes_are_compared_where_they_may_differ_and_no_index_rules_it_out(
    db: Database, made: str, key: Any, ties: list[str]
) -> None:
    db.run(f"CREATE TABLE t ({made})")
    relation = catalog.table(Questions(db.owner), "t", db.name, "t")
    assert [column.name for column in settle("t", StreamOptions(key=key), relation).ties] == ties
