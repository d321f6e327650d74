"""A query without a key: the jar shows what its newest complete reading gave."""

from __future__ import annotations

import pytest

from tests.hive.nest import make_nest, nest
from tests.hive.test_slices import Table

__all__ = ["make_nest", "nest"]


class Report(Table):
    """A query over 400 rows that names no key."""

    most = 0.3

    def register(self, **changed):
        source = {**self.options, **changed}
        streams = {"report": {"query": "SELECT name, count(*) AS rows FROM shop.people GROUP BY name"}}
        block = {"name": "people", "source": source, "streams": streams, "limits": {"max_deleted": self.most}}
        self.nest.hive.register_worker("postgresql", block)

    def jar(self):
        return sorted((data["name"], data["rows"]) for data in self.nest.jar().values())

    def there(self):
        return sorted(self.source.execute("SELECT name, count(*) FROM shop.people GROUP BY name").fetchall())


@pytest.fixture
def report(make_nest, database_url):
    made = Report(make_nest(batch_rows=50), database_url)
    with made.source:
        yield made


def test_each_reading_takes_the_place_of_the_one_before(report):
    first = report.nest.land()
    report.run("UPDATE shop.people SET name = name || ' more'")  # every row is another one
    second = report.nest.land()
    report.run("DELETE FROM shop.people WHERE id > 200")
    third = report.nest.land()

    assert (first.records_landed, first.records_deleted) == (400, 0)
    assert (second.state, second.records_landed, second.records_deleted) == ("complete", 400, 400)
    assert (third.records_landed, third.records_unchanged, third.records_deleted) == (0, 200, 200)
    assert report.jar() == report.there()


def test_one_that_gives_nothing_at_all_waits_for_a_person(report):
    report.nest.land()
    before = report.jar()
    report.run("DELETE FROM shop.people")
    told = report.nest.land()
    assert (told.state, told.records_deleted) == ("complete", 0)
    assert report.jar() == before

    report.most = 1.0
    report.register()
    told = report.nest.land()
    assert (told.state, told.records_deleted) == ("complete", 400)
    assert report.jar() == []


def test_a_crash_in_the_middle_leaves_no_row_twice(report):
    flight = report.nest.fly()
    report.nest.crash(report.nest.due("plan")[0])
    report.nest.drain()
    assert report.nest.hive.flight(flight).records_landed == 400
    assert report.jar() == report.there()
