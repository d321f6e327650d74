"""What holds for a query that names no key, whatever its server: a suite for a fixture `db`."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from bees.core.errors import GiveUp

QUERY = {"query": "SELECT a, b FROM t"}


def fly(db: Any, cursor: Any = None, stream: Any = None) -> tuple[dict[tuple[str, int], tuple[Any, ...]], Any]:
    """One flight: key -> row, and the cursor after it."""
    found = {}
    with db.bee(streams={"q": stream or QUERY}) as bee:
        batches = list(bee.collect_nectar("q", cursor))
    for row in [row for batch in batches for row in batch.table.to_pylist()]:
        key = (row.pop("row_hash"), row.pop("row_copy"))
        assert key not in found
        found[key] = tuple(row.values())
    assert [batch.complete for batch in batches] == [*[False] * (len(batches) - 1), True]
    return found, json.loads(json.dumps(batches[-1].cursor))


class Keyless:
    @pytest.fixture(autouse=True)
    def _table(self, db: Any) -> None:
        db.run("CREATE TABLE t (a int, b varchar(20))")
        db.fill("INSERT INTO t VALUES (%s, %s)", self.rows)

    rows = ((1, "x"), (1, "x"), (1, "x"), (2, "y"), (None, "z"), (3, None), (None, None), (4, ""), (12, "3"), (1, "23"))

    def test_every_row_comes_once_equal_ones_too(self, db: Any) -> None:
        found, _ = fly(db)
        assert sorted(map(repr, found.values())) == sorted(map(repr, self.rows))

    def test_it_goes_on_after_any_row(self, db: Any) -> None:
        whole, cursor, seen = fly(db)[0], None, []
        while not (cursor and cursor["done"]):
            with db.bee(streams={"q": QUERY}, batch_rows=1) as bee, closing(bee.collect_nectar("q", cursor)) as batches:
                batch = next(batches)
            seen += [(row["a"], row["b"]) for row in batch.table.to_pylist()]
            cursor = json.loads(json.dumps(batch.cursor))
        assert sorted(map(repr, seen)) == sorted(map(repr, whole.values()))

    def test_what_stays_keeps_its_key_and_what_changes_has_another(self, db: Any) -> None:
        first, cursor = fly(db)
        db.run("UPDATE t SET b = 'other' WHERE a = 2", "DELETE FROM t WHERE a = 4", "INSERT INTO t VALUES (1, 'x')")
        second, _ = fly(db, cursor)

        assert {row for key, row in first.items() if key not in second} == {(2, "y"), (4, "")}
        assert {row for key, row in second.items() if key not in first} == {(2, "other"), (1, "x")}

    def test_another_stream_has_another_hash_of_the_same_row(self, db: Any) -> None:
        first, cursor = fly(db)
        assert fly(db)[0].keys().isdisjoint(first)
        assert fly(db, cursor)[0] == first
        assert len(cursor["salt"]) == 32

    def test_it_is_offered_with_its_key(self, db: Any) -> None:
        with db.bee(streams={"q": QUERY}) as bee:
            bee.validate_flight_path()
            [stream] = bee.get_pollen_schema()
        assert (stream.key, stream.replaces) == (("row_hash", "row_copy"), True)
        assert {column.name: column.kind for column in stream.columns} == {
            "a": "integer", "b": "text", "row_hash": "text", "row_copy": "integer"
        }  # fmt: skip

    @pytest.mark.parametrize(
        "stream", [{"query": "SELECT a AS row_hash FROM t"}, {**QUERY, "cursor": "a"}, {"table": "t"}]
    )
    def test_what_has_no_key_otherwise_is_refused(self, db: Any, stream: dict[str, Any]) -> None:
        with db.bee(streams={"q": stream}) as bee, pytest.raises(GiveUp) as refused:
            bee.validate_flight_path()
        assert refused.value.code == "no_key"
