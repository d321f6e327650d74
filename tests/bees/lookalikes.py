"""Keys that the server holds equal although they differ, where no index says that each comes once: a suite for `db`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bees.sliced import LARGE, legs


def cases(word: str) -> list[str]:
    """A word in all its upper and lower letters."""
    found = [""]
    for letter in word:
        found = [start + form for start in found for form in (letter.lower(), letter.upper())]
    return found


class Lookalikes:
    kinds: dict[str, tuple[str, list[str]]]
    """Name -> a type, and texts that it takes as values and holds equal."""
    analyze = "ANALYZE {}"

    @pytest.fixture
    def keys(self, db: Any, kind: str) -> list[str]:
        """The table t, whose key `k` has these values, all with one `n`; rows without a number stand around them."""
        word, values = self.kinds[kind]
        db.run(f"CREATE TABLE t (k {word} NOT NULL, n int NULL)")
        rows = [(value, None if place % 3 == 1 else 7) for place, value in enumerate(values)]
        db.fill("INSERT INTO t VALUES (%s, %s)", rows)
        db.run(self.analyze.format("t"))
        return values

    @pytest.mark.parametrize("stream", [{"key": "k"}, {"key": "k", "cursor": "n"}, {"key": ("n", "k"), "cursor": "n"}])
    def test_each_of_them_comes_once_through_all_legs(self, db: Any, keys: list[str], stream: dict[str, Any]) -> None:
        how = {"streams": {"t": stream}, "batch_rows": 23}
        found = [str(row["k"]) for row in legs(db, "t", None, **how)]
        assert sorted(found) == sorted(keys)

    def test_each_of_them_comes_once_through_all_parts(self, db: Any, keys: list[str]) -> None:
        how = LARGE | {"streams": {"t": {"key": "k"}}}
        with db.bee(**how) as bee:
            parts = list(bee.slices("t", None))
        found = [str(row["k"]) for part in parts for row in legs(db, "t", part, **how)]
        assert len(parts) > 1
        assert sorted(found) == sorted(keys)

    def test_a_query_with_such_a_key_gives_each_of_them(self, db: Any, keys: list[str]) -> None:
        how = {"streams": {"t": {"query": "SELECT k, n FROM t", "key": "k"}}, "batch_rows": 23}
        assert sorted(str(row["k"]) for row in legs(db, "t", None, **how)) == sorted(keys)

    def test_keys_that_are_the_same_to_the_last_byte_end_no_reading(self, db: Any, keys: list[str]) -> None:
        db.run("INSERT INTO t SELECT k, n FROM t")
        how = {"streams": {"t": {"key": "k"}}, "batch_rows": 23}
        assert {str(row["k"]) for row in legs(db, "t", None, **how)} == set(keys)
