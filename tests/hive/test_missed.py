"""What a complete read of a table does not meet is deleted from the jar, and only then."""

from __future__ import annotations

import pytest

from hive.doctor.bees import held_deletes
from hive.flight import missed
from hive.flight.missed import retire_missed
from hive.flight.retry import NotRetriable, retry
from hive.jars.search import search
from tests.hive.nest import make_nest, nest
from tests.hive.shop import ShopTable, maker

__all__ = ["make_nest", "nest"]


class Table(ShopTable):
    def __init__(self, nest, url, **block):
        super().__init__(nest, url)
        self.block = {"source": self.options, "streams": {"people": {"table": "shop.people"}}, **block}
        self.register(**self.block)

    def add(self, *ids, name="Ada"):
        self.source.cursor().executemany("INSERT INTO shop.people VALUES (%s, %s)", [(n, f"{name} {n}") for n in ids])

    def remove(self, *ids):
        self.source.execute("DELETE FROM shop.people WHERE id = ANY(%s)", [list(ids)])

    def ids(self):
        return sorted(int(key) for key in self.nest.jar())


make_table = maker(Table, batch_rows=5)


@pytest.fixture
def table(make_table):
    return make_table()


def test_what_is_gone_at_the_source_goes_from_the_jar(table):
    table.add(*range(1, 21))
    first = table.nest.land()
    table.remove(3, 11)
    table.add(21)
    second = table.nest.land()

    assert (first.records_landed, first.records_deleted) == (20, 0)
    assert (second.state, second.records_landed, second.records_unchanged, second.records_deleted) == (
        "complete", 1, 18, 2
    )  # fmt: skip
    assert table.ids() == [n for n in range(1, 22) if n not in (3, 11)]
    assert table.nest.rows("SELECT count(*) FROM hive.seen") == [(0,)]
    assert table.nest.rows("SELECT data, marks FROM hive.honey WHERE deleted_at IS NOT NULL") == [(None, None)] * 2


def test_one_that_comes_back_lands_again(table):
    table.add(1, 2, 3)
    table.nest.land()
    table.remove(2)
    table.nest.land()
    table.add(2)
    third = table.nest.land()

    assert third.records_landed == 1
    assert table.ids() == [1, 2, 3]


def test_a_search_does_not_find_what_is_gone(table):
    table.add(1, 2)
    table.nest.land()
    assert len(search(table.nest.rt.db, "people", "ada")) == 2
    table.remove(2)
    table.nest.land()

    assert [hit["key"] for hit in search(table.nest.rt.db, "people", "ada")] == ["1"]
    assert table.nest.one("SELECT count(*) FROM hive.chunk") == 1


def test_a_second_comparison_finds_nothing_to_do(table):
    table.add(1, 2, 3)
    table.nest.land()
    table.remove(3)
    table.nest.land()
    ((flight, day),) = table.nest.rows("SELECT id, day FROM hive.flight ORDER BY created_at DESC LIMIT 1")

    assert retire_missed(table.nest.rt.db, flight, day) == 0
    assert table.nest.one("SELECT sum(deleted)::int FROM hive.receipt") == 1


def test_a_read_that_broke_off_deletes_nothing(table, monkeypatch):
    """The next flight goes on where it stopped, and its end is the end of the whole reading."""
    table.add(*range(1, 21))
    table.nest.land()
    table.remove(2, 19)
    table.nest.fly()
    task = table.nest.due()[0]
    assert table.nest.claim(task) is not None  # a worker that dies at once
    table.nest.rows(
        "UPDATE hive.task SET state = 'dead', finished_at = clock_timestamp() WHERE state = 'running' RETURNING 1"
    )
    table.nest.drain()
    assert len(table.ids()) == 20
    table.nest.land()

    assert table.ids() == [n for n in range(1, 21) if n not in (2, 19)]


def test_too_many_wait_for_a_person(table, monkeypatch):
    monkeypatch.setattr(missed, "FEW", 3)
    table.add(*range(1, 21))
    table.nest.land()
    table.remove(*range(1, 9))
    held = table.nest.land()
    with table.nest.rt.db.transaction() as tx:
        (finding,) = held_deletes(tx)

    assert (held.state, held.records_deleted, len(table.ids())) == ("complete", 0, 20)
    assert "8 records" in finding.why
    assert "max_deleted" in finding.next

    table.nest.hive.register_worker("postgresql", {"name": "people", **table.block, "limits": {"max_deleted": 0.5}})
    allowed = table.nest.land()
    with table.nest.rt.db.transaction() as tx:
        assert held_deletes(tx) == []
    assert (allowed.records_deleted, len(table.ids())) == (8, 12)


def test_an_emptied_table_is_no_exception(make_table):
    table = make_table(limits={"max_deleted": 1.0})
    table.add(*range(1, 21))
    table.nest.land()
    table.remove(*range(1, 21))
    result = table.nest.land()

    assert (result.state, result.records_deleted, table.ids()) == ("complete", 20, [])


def test_a_record_that_could_not_land_makes_the_knowledge_partial(table, monkeypatch):
    table.add(*range(1, 11))
    table.nest.land()
    table.remove(4)
    table.nest.rows("UPDATE hive.checkpoint SET pass_from = NULL RETURNING 1")
    table.nest.fly()
    table.nest.drain(kinds=["plan", "collect"])
    table.nest.rows(
        'INSERT INTO hive.quarantine (jar, bee, stream, flight, checkpoint, epoch, seq, "row", records, code, reason,'
        " body, key_id) SELECT c.jar, c.bee, c.stream, gen_random_uuid(), c.id, c.epoch, c.sealed_seq, 0, 1,"
        " 'unreadable', '', '', '' FROM hive.checkpoint c RETURNING 1"
    )
    table.nest.drain()

    assert 4 in table.ids()
    assert table.nest.one("SELECT whole_to FROM hive.checkpoint") is None


def test_a_record_set_aside_that_is_gone_since_is_not_landed_again(table, monkeypatch):
    table.add(1, 2)
    table.add(3, 4, name="x" * 200)
    small = table.nest.settings.model_copy(update={"value_limit": 100})
    monkeypatch.setattr(table.nest.rt, "settings", small)
    assert table.nest.land().records_quarantined == 2
    entries = [number for (number,) in table.nest.rows("SELECT id FROM hive.quarantine ORDER BY id")]

    table.remove(3)
    assert table.nest.land().records_quarantined == 1
    monkeypatch.setattr(table.nest.rt, "settings", table.nest.settings)
    (again,) = table.nest.rows("SELECT id FROM hive.quarantine WHERE state = 'open'")

    for entry in entries:
        with pytest.raises(NotRetriable):
            retry(table.nest.rt, entry)
    assert retry(table.nest.rt, *again).landed == 1
    assert table.ids() == [1, 2, 4]


def test_keys_of_an_idle_reading_are_forgotten_and_so_is_its_knowledge(table):
    table.add(*range(1, 11))
    table.nest.land()
    table.remove(4)
    table.nest.rows("UPDATE hive.checkpoint SET pass_from = sealed_seq + 1 RETURNING 1")
    table.nest.rows(
        "INSERT INTO hive.seen (checkpoint, seq, row_from, keys, seen_at) SELECT id, sealed_seq, 99, '{}',"
        " clock_timestamp() - interval '3 days' FROM hive.checkpoint RETURNING 1"
    )
    with table.nest.rt.db.transaction() as tx:
        tx.run("forget_seen")
    table.nest.land()
    assert 4 in table.ids()
    table.nest.land()

    assert 4 not in table.ids()


def test_records_of_an_older_key_go_with_the_first_complete_read(table):
    table.add(*range(1, 31))
    table.nest.land()
    streams = {"people": {"table": "shop.people", "key": "name"}}
    table.nest.hive.register_worker("postgresql", {"name": "people", **table.block, "streams": streams})
    result = table.nest.land()

    assert (result.records_landed, result.records_deleted) == (30, 30)
    assert sorted(table.nest.jar()) == sorted(f"Ada {n}" for n in range(1, 31))


def test_a_full_refresh_of_a_table_that_lost_its_rows_deletes_nothing(table):
    table.add(*range(1, 31))
    table.nest.land()
    table.remove(*range(5, 31))
    result = table.nest.land(full_refresh=True)

    assert (result.records_deleted, len(table.ids())) == (0, 30)


def test_records_without_a_key_are_in_quarantine_once_however_often_they_are_read(make_table):
    table = make_table(streams={"people": {"table": "shop.people", "key": "name"}})
    table.add(*range(1, 21))
    table.source.execute("UPDATE shop.people SET name = NULL WHERE id <= 7")
    for _ in range(3):
        table.nest.land()

    open_ = "SELECT count(*)::int FROM hive.quarantine WHERE state = 'open'"
    assert table.nest.one(open_) == 7

    table.source.execute("UPDATE shop.people SET name = 'Ada' WHERE id = 7")
    table.nest.land()
    assert table.nest.one(open_) == 6
    assert table.nest.hive.flights("people")[0].records_quarantined == 6
