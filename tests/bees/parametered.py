"""What holds for values that a query is given, whatever its server: a suite for a fixture `db` and the place `mark`."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from bees.core.errors import GiveUp

NASTY = [
    "x' OR '1'='1",
    "\\",
    "\\' OR 1=1 --",
    "'; DROP TABLE t; --",
    "%s",
    "$1",
    "?",
    "ü''",
    "",
    '"',
    "`",
    "/*",
    "{0}",
    "\n",
]


class Parametered:
    marks: tuple[str, str]
    types = ("int", "decimal(20, 5)", "date", "timestamp")

    @pytest.fixture(autouse=True)
    def _table(self, db: Any) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(40), n decimal(20, 5), d date, b boolean)")
        rows = [(n, text, Decimal(n) / 4 - 2, dt.date(2024, 1, 1 + n), n % 2 == 0) for n, text in enumerate(NASTY)]
        db.fill("INSERT INTO t VALUES (%s, %s, %s, %s, %s)", rows)

    def found(self, db: Any, query: str, *values: Any) -> list[int]:
        first, second = self.marks
        stream = {"query": query.format(first, second), "key": "id", "parameters": list(values)}
        with db.bee(streams={"q": stream}) as bee:
            bee.validate_flight_path()
            return [row["id"] for batch in bee.collect_nectar("q", None) for row in batch.table.to_pylist()]

    @pytest.mark.parametrize("number", range(len(NASTY)))
    def test_a_text_is_that_text_and_nothing_else(self, db: Any, number: int) -> None:
        assert self.found(db, "SELECT id FROM t WHERE v = {}", NASTY[number]) == [number]

    def test_values_of_every_kind_keep_their_type(self, db: Any) -> None:
        assert self.found(db, "SELECT id FROM t WHERE id > {} AND id <= {}", 2, 4) == [3, 4]
        assert self.found(db, "SELECT id FROM t WHERE n < {} AND n >= {}", Decimal("-1.5"), -1.75) == [1]
        assert self.found(db, "SELECT id FROM t WHERE 3 - {} = id", -2) == [5]
        assert self.found(db, "SELECT id FROM t WHERE d = {}", dt.date(2024, 1, 4)) == [3]
        assert self.found(db, "SELECT id FROM t WHERE d = {}", "2024-01-04") == [3]
        assert self.found(db, "SELECT id FROM t WHERE b = {} AND id < {}", True, 5) == [0, 2, 4]
        assert self.found(db, "SELECT id FROM t WHERE v IS NULL OR {} IS NULL AND id = {}", None, 6) == [6]

    def test_a_place_in_a_text_or_a_comment_is_none(self, db: Any) -> None:
        first = self.marks[0]
        assert self.found(db, f"SELECT id FROM t WHERE v = '{first}' /* {first} */") == [NASTY.index(first)]

    def test_other_values_are_another_stream(self, db: Any) -> None:
        told = []
        for value in ("a", "b"):
            stream = {"query": f"SELECT id FROM t WHERE v = {self.marks[0]}", "key": "id", "parameters": [value]}
            with db.bee(streams={"q": stream}) as bee:
                told.append(bee.stream_identity("q"))
        assert told[0] != told[1]

    @pytest.mark.parametrize("values", [(), ("a", "b")])
    def test_too_few_and_too_many_are_refused_by_name(self, db: Any, values: tuple[str, ...]) -> None:
        with pytest.raises(GiveUp, match=r"streams\.q\.parameters") as refused:
            self.found(db, "SELECT id FROM t WHERE v = {}", *values)
        assert refused.value.code == "wrong_parameters"

    @pytest.mark.parametrize("wrong", [{"table": "t", "parameters": [1]}, {"query": "SELECT 1", "parameters": ["\0"]}])
    def test_what_cannot_be_a_value_is_refused(self, db: Any, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=r"`query`|NUL"):
            db.bee(streams={"q": wrong})

    def test_rows_are_held_back_beside_values(self, db: Any) -> None:
        stream = {"query": f"SELECT id FROM t WHERE id > {self.marks[0]}", "key": "id", "parameters": [3]}
        with db.bee(streams={"q": stream}, row_filters={"t": "id < 6"}) as bee:
            batches = list(bee.collect_nectar("q", None))
        assert [row["id"] for batch in batches for row in batch.table.to_pylist()] == [4, 5]
