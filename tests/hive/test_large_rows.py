"""A row of 200 MB in a source: it is set aside by name, and the rows beside it land."""

from __future__ import annotations

import pytest

from tests.hive.nest import make_nest, nest
from tests.hive.test_slices import Table

__all__ = ["make_nest", "nest"]


@pytest.fixture
def table(make_nest, database_url):
    made = Table(make_nest(), database_url, slices=1)
    with made.source:
        yield made


def test_a_row_of_200_mb_is_set_aside_and_the_others_land(table):
    table.run("UPDATE shop.people SET name = repeat('honey ', 35000000) WHERE id = 200")
    told = table.nest.land()
    again = table.nest.land()

    assert (told.state, told.records_landed, told.records_quarantined) == ("complete", 399, 1)
    assert (again.state, again.records_landed, again.records_unchanged) == ("complete", 0, 399)
    assert sorted(table.jar()) == [n for n in range(1, 401) if n != 200]
    assert set(table.nest.rows("SELECT code FROM hive.quarantine")) == {("too_large",)}
