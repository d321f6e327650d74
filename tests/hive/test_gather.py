"""Which batches of a source are sealed together, by a clock that the test turns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from hive.flight.gather import gather
from nectar.batch import Batch


class Source:
    """Gives batches of one row, each after so many seconds of its clock."""

    def __init__(self, *pauses: float, fails: bool = False) -> None:
        self.now = 0.0
        self._pauses = pauses
        self._fails = fails

    def clock(self) -> float:
        return self.now

    def batches(self):
        for number, pause in enumerate(self._pauses):
            self.now += pause
            yield Batch("rows", pa.table({"id": [number]}), {"at": number})
        if self._fails:
            raise ConnectionResetError

    def sealed(self, **bounds):
        """[ids of a sealed batch, whether it is said to be the last]"""
        bounds = {"most_bytes": 1 << 20, "most_rows": 1000, "wait": 0.5, **bounds}
        for batch, last in gather(self.batches(), clock=self.clock, **bounds):
            yield batch.table["id"].to_pylist(), last


def test_what_comes_at_once_is_one_batch():
    assert list(Source(0.1, 0.1, 0.1).sealed()) == [([0, 1, 2], True)]


def test_none_is_kept_waiting_for_longer_than_it_may():
    assert list(Source(0.1, 0.3, 0.3, 0.1).sealed()) == [([0, 1, 2], False), ([3], True)]


def test_one_that_took_long_is_sealed_before_the_next_is_asked_for():
    source = Source(20, 20, 0.1)
    sealed = source.sealed()

    assert next(sealed) == ([0], False)
    assert source.now == 20
    assert list(sealed) == [([1], False), ([2], True)]


def test_the_time_of_who_seals_is_not_the_sources():
    source = Source(0.1, 0.1, 0.1)
    sealed = source.sealed(most_rows=2)

    assert next(sealed) == ([0, 1], False)
    source.now += 60
    assert list(sealed) == [([2], True)]


def test_what_came_before_a_failure_is_sealed():
    source = Source(0.1, 0.1, fails=True)
    sealed = source.sealed()

    assert next(sealed) == ([0, 1], False)
    with pytest.raises(ConnectionResetError):
        next(sealed)


def test_a_batch_without_rows_joins_no_two_that_do_not_fit():
    tables = [pa.table({"id": [1]}), pa.table({}), pa.table({"other": ["x"]}), pa.table({}), pa.table({"other": ["y"]})]
    batches = (Batch("rows", table, {"at": n}) for n, table in enumerate(tables))

    found = list(gather(batches, most_bytes=1 << 20, most_rows=1000, wait=0.5, clock=lambda: 0.0))

    assert [(batch.table.column_names, batch.table.num_rows, last) for batch, last in found] == [
        (["id"], 1, False), (["other"], 2, True)
    ]  # fmt: skip


def test_nothing_comes_of_nothing():
    assert list(Source().sealed()) == []
