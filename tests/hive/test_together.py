"""A bee that reads all its streams as of one moment."""

from __future__ import annotations

import threading

import pytest

from hive.flight import collect
from tests.hive.nest import make_nest, nest
from tests.hive.test_slices import Table

__all__ = ["make_nest", "nest"]


class Bank(Table):
    """Two tables whose sums belong together."""

    def register(self, **changed):
        self.run("CREATE TABLE IF NOT EXISTS shop.sums (id int PRIMARY KEY, sum bigint)")
        self.run("INSERT INTO shop.sums SELECT 1, sum(id) FROM shop.people ON CONFLICT DO NOTHING")
        source = {**self.options, "consistent": True, "slices": 1, "batch_rows": 20, **changed}
        streams = {"people": {"table": "shop.people"}, "sums": {"table": "shop.sums"}}
        self.nest.hive.register_worker("postgresql", {"name": "people", "source": source, "streams": streams})

    def more(self, number):
        self.run(f"INSERT INTO shop.people VALUES ({number}, 'x'); UPDATE shop.sums SET sum = sum + {number}")

    def told(self):
        found = self.nest.rows(
            "SELECT s.name, h.data FROM hive.honey h JOIN hive.stream s ON s.id = h.stream WHERE h.deleted_at IS NULL"
        )
        people = [data["id"] for name, data in found if name == "people"]
        return sum(people), next(data["sum"] for name, data in found if name == "sums")


@pytest.fixture
def bank(make_nest, database_url):
    made = Bank(make_nest(batch_rows=20), database_url)
    with made.source:
        yield made


def test_what_changes_while_it_is_read_is_in_neither_table(bank, monkeypatch):
    """A row and its sum are written after the first batch of the first table was sealed."""
    plain, numbers = collect.Leg._seal, iter(range(1000, 2000))

    def seal(self, batch, *, last):
        plain(self, batch, last=last)
        bank.more(next(numbers))

    monkeypatch.setattr(collect.Leg, "_seal", seal)
    flight = bank.nest.fly()
    bank.nest.drain()
    told = bank.nest.hive.flight(flight)

    assert (told.state, told.records_read) == ("complete", 401)
    assert bank.told() == (80_200, 80_200)
    assert bank.nest.rows("SELECT count(*) FROM hive.task WHERE kind <> 'process'") == [(1,)]
    assert bank.nest.rows("SELECT count(*) FROM hive.lease WHERE task IS NOT NULL") == [(0,)]


def test_the_next_flight_shows_the_next_moment(bank):
    bank.nest.land()
    bank.more(1000)
    bank.run("DELETE FROM shop.people WHERE id = 5; UPDATE shop.sums SET sum = sum - 5")
    second = bank.nest.land()
    assert (second.state, second.records_landed, second.records_deleted, second.records_unchanged) == (
        "complete", 2, 1, 399
    )  # fmt: skip
    assert bank.told() == (81_195, 81_195)


def test_a_crash_begins_all_of_them_anew(bank, monkeypatch):
    """It dies between two batches; what changed before that is in both tables now."""
    plain, sealed = collect.Leg._seal, []

    def seal(self, batch, *, last):
        plain(self, batch, last=last)
        sealed.append(self.stream.name)
        if len(sealed) == 5:
            bank.more(1000)
        if len(sealed) == 10:
            raise threading.BrokenBarrierError

    monkeypatch.setattr(collect.Leg, "_seal", seal)
    flight = bank.nest.fly()
    bank.nest.drain(kinds=["plan", "collect"])
    bank.nest.hurry()
    bank.nest.drain()
    bank.nest.hurry()
    bank.nest.drain()
    told = bank.nest.hive.flight(flight)

    assert told.state == "complete"
    assert (len(sealed), sealed.count("sums")) == (10 + 22, 2)
    assert bank.told() == (81_200, 81_200)


def test_reading_waits_while_too_much_waits_to_be_landed(bank, monkeypatch):
    """One batch is too much here, so each is landed before the next one is sealed."""
    plain, asked = collect.Leg._too_much_waits, []
    waiting = "SELECT count(*) FROM hive.task WHERE kind = 'process' AND state NOT IN ('done', 'failed')"
    monkeypatch.setattr(collect, "_LOOK", 0.01)
    lander = bank.nest.runtime("lander:1:1")

    def too_much_waits(self):
        [(batches,)] = bank.nest.rows(waiting)
        asked.append(batches)
        if batches:
            for task in bank.nest.due("process"):
                bank.nest.work(task, lander)
        return batches > 0 or plain(self)

    monkeypatch.setattr(collect.Leg, "_too_much_waits", too_much_waits)
    told = bank.nest.land()

    assert (told.state, told.records_read) == ("complete", 401)
    assert asked[1::2] == [0] * 20
    assert max(asked) == 2  # a batch of each table


def test_a_worker_that_stops_leaves_it_to_another(bank):
    flight = bank.nest.fly()
    bank.nest.rt.stopping.set()
    bank.nest.work(bank.nest.due("plan")[0])
    bank.nest.rt.stopping.clear()
    assert bank.nest.rows("SELECT attempt FROM hive.task WHERE kind = 'collect'") == [(0,)]
    bank.nest.hurry()
    bank.nest.drain()
    assert bank.nest.hive.flight(flight).state == "complete"
    assert bank.told() == (80_200, 80_200)


def test_a_stream_that_was_read_in_parts_is_whole_then(bank):
    bank.register(consistent=False, slices=4)
    bank.nest.land()
    bank.register()
    again = bank.nest.land()
    assert (again.state, again.records_unchanged) == ("complete", 401)
