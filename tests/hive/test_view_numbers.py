"""Numbers in the typed views: no value is null there because an earlier one was smaller."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from hive.jars.views import kinds_of
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]


def test_whole_numbers_beyond_64_bits_come_into_a_column_of_smaller_ones(nest):
    folder = nest.register()
    write(folder / "a.jsonl", [{"id": 1, "n": 7}])
    nest.land()
    assert nest.one("SELECT pg_typeof(n)::text FROM jars.people__rows") == "bigint"

    write(folder / "b.jsonl", [{"id": 2, "n": 2**64 - 1}, {"id": 3, "n": 3}])
    nest.land()
    assert nest.rows("SELECT id, n, _unreadable FROM jars.people__rows ORDER BY id") == [
        (1, Decimal(7), []),
        (2, Decimal(2**64 - 1), []),
        (3, Decimal(3), []),
    ]


@pytest.mark.parametrize(
    ("kind", "known"), [(pa.uint64(), "number"), (pa.uint32(), "integer"), (pa.int64(), "integer")]
)
def test_a_type_that_goes_beyond_bigint_is_a_number(kind, known):
    assert kinds_of(pa.table({"n": pa.array([1], kind)}), {}) == {"n": known}
