"""Keys that MariaDB's collations hold equal."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from bees.core.sql.mysql import catalog
from bees.core.sql.mysql.session import Questions
from bees.core.sql.mysql.settle import settle
from bees.core.sql.options import StreamOptions
from tests.bees.lookalikes import Lookalikes, cases
from tests.bees.mysql_source import Database, fly, ids, source_database  # noqa: F401 - the fixture `db`
from tests.bees.sliced import legs

pytestmark = pytest.mark.servers


class TestMySQL(Lookalikes):
    analyze = "ANALYZE TABLE {} PERSISTENT FOR ALL"
    kinds: ClassVar = {
        "general_ci": ("varchar(40) COLLATE utf8mb4_general_ci", cases("abcdefg")),
        "latin1": ("varchar(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci", cases("xyzétuv")),
        "padded": ("varchar(200) COLLATE utf8mb4_bin", ["a" + " " * n for n in range(128)]),
        "long": ("mediumtext", ["é" * 6000 + f"{n * 37 % 128:03d}" for n in range(128)]),
        "long in latin1": ("varchar(20000) CHARACTER SET latin1", ["é" * 9000 + f"{n * 37 % 128}" for n in range(128)]),
    }

    @pytest.fixture(autouse=True)
    def _fill(self, db: Database) -> None:
        db.fill = db.many  # type: ignore[attr-defined]

    @pytest.fixture(params=sorted(kinds))
    def kind(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


@pytest.mark.parametrize("stream", [{}, {"cursor": "k"}])
def test_long_bytes_are_told_apart_behind_what_the_server_sorts_by(db: Database, stream: dict[str, Any]) -> None:
    """The server sorts by no more of a value than `max_sort_length`; a unique hash proves that the rows differ."""
    keys = [b"\xff" * 9000 + bytes([n * 37 % 128]) for n in range(128)]
    db.run("CREATE TABLE t (k mediumblob NOT NULL, UNIQUE (k))")
    db.many("INSERT INTO t VALUES (%s)", [(key,) for key in keys])
    found = [row["k"] for row in legs(db, "t", None, batch_rows=23, streams={"t": stream})]
    assert sorted(found) == sorted(keys)


@pytest.mark.parametrize("word", ["mediumtext CHARACTER SET latin1", "mediumblob"])
def test_a_long_column_is_followed(db: Database, word: str) -> None:
    db.run(f"CREATE TABLE t (id int PRIMARY KEY, k {word})", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    options = {"streams": {"t": {"cursor": "k"}}}
    _, cursor = fly(db.bee(**options), "t")
    db.run("INSERT INTO t VALUES (3, 'c'), (4, 'aa')")
    records, cursor = fly(db.bee(**options), "t", cursor)
    assert ids(records) == [2, 3]
    db.run("DELETE FROM t WHERE id > 1")
    assert ids(fly(db.bee(**options), "t", cursor)[0]) == [1]  # the table fell behind the mark


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
