"""Large jars get tables of their own, and nobody who reads or lands notices."""

from __future__ import annotations

import pytest

import hive.flight.retry as retrying
from hive.jars import own
from hive.jars.index import catch_up
from hive.jars.search import search
from hive.ledger.db import DatabaseAway
from hive.ledger.tables import SHARED_PARTS
from tests.hive.nest import make_nest, nest, rows_of, write

__all__ = ["make_nest", "nest"]

ROWS = [{"id": n, "word": f"wort{n}"} for n in range(600)]


@pytest.fixture
def landed(nest, monkeypatch):
    """A nest whose jar `people` holds ROWS, indexed, beside a second jar in the same partition; pieces are small."""
    monkeypatch.setattr(own, "_PIECE", 50)
    write(nest.register() / "a.jsonl", ROWS)
    write(nest.register("others") / "a.jsonl", ROWS[:5])
    flights = [nest.fly(), nest.fly("others")]
    nest.run("UPDATE hive.jar SET part = 3")
    nest.drain()
    assert [nest.hive.flight(flight).records_landed for flight in flights] == [len(ROWS), 5]
    catch_up(nest.rt.db)
    return nest


def part_of(nest, name="people"):
    return nest.one("SELECT part FROM hive.jar WHERE name = %s", name)


def tables(nest):
    return {name for (name,) in nest.rows("SELECT tablename FROM pg_tables WHERE tablename ~ '^(honey|chunk)_[0-9]+$'")}


def behind(nest):
    """Rows of the jar that no reader sees."""
    query = "SELECT count(*) FROM hive.{} h JOIN hive.jar j ON j.id = h.jar WHERE h.part <> j.part"
    return sum(nest.one(query.format(table)) for table in ("honey", "chunk"))


class TestMove:
    def test_everything_is_there_after_it_and_the_other_jar_stays(self, landed):
        before = (landed.jar(), landed.rows("SELECT * FROM jars.people__rows ORDER BY id"))

        assert own.move_now(landed.rt.db, "people")

        assert part_of(landed) >= SHARED_PARTS > part_of(landed, "others")
        assert (landed.jar(), landed.rows("SELECT * FROM jars.people__rows ORDER BY id")) == before
        assert [found["key"] for found in search(landed.rt.db, "people", "wort77")] == ["77"]
        assert behind(landed) == 0
        assert len(landed.jar("others")) == 5

    def test_a_second_one_does_nothing(self, landed):
        own.move_now(landed.rt.db, "people")
        there = tables(landed)

        assert own.move_now(landed.rt.db, "people") is False
        assert tables(landed) == there

    def test_flights_go_on_where_they_were(self, landed):
        own.move_now(landed.rt.db, "people")
        rows = [*ROWS[1:300], {"id": 300, "word": "new"}, *ROWS[301:], {"id": 1000, "word": "wort1000"}]
        file = write(landed.folder / "people" / "a.jsonl", rows)
        assert landed.land().records_landed == 2
        catch_up(landed.rt.db)

        assert landed.jar().items() >= rows_of(file).items()
        assert [found["key"] for found in search(landed.rt.db, "people", "wort1000")] == ["1000"]
        assert behind(landed) == 0

    def test_a_view_that_others_build_on_stays(self, landed):
        landed.run("CREATE VIEW jars.mine AS SELECT id FROM jars.people__rows WHERE id < 3")

        own.move_now(landed.rt.db, "people")

        assert landed.one("SELECT count(*) FROM jars.mine") == 3


class TestBusy:
    def test_a_jar_into_which_something_flies_stays(self, landed):
        there = tables(landed)
        landed.fly()

        with pytest.raises(own.Busy, match="flies"):
            own.move_now(landed.rt.db, "people")
        assert (part_of(landed), tables(landed)) == (3, there)

    def test_what_landed_during_the_copy_is_not_lost(self, landed, monkeypatch):
        """The copy is thrown away: the next look makes another one."""
        there, switch = tables(landed), own._switch
        file = write(landed.folder / "people" / "b.jsonl", [{"id": 5000, "word": "late"}])

        def late(*arguments):
            landed.land()
            catch_up(landed.rt.db)
            switch(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(own, "_switch", late)
            with pytest.raises(own.Busy):
                own.move_now(landed.rt.db, "people")
        assert (part_of(landed), tables(landed)) == (3, there)
        assert landed.jar()["5000"] == rows_of(file)["5000"]

        assert own.move_now(landed.rt.db, "people")
        assert landed.jar()["5000"] == rows_of(file)["5000"]

    @pytest.mark.parametrize("error", [DatabaseAway("cut"), KeyboardInterrupt()])
    def test_a_switch_whose_answer_got_lost_has_happened(self, landed, monkeypatch, error):
        before, switch = landed.jar(), own._switch

        def lost(*arguments):
            switch(*arguments)
            raise error

        monkeypatch.setattr(own, "_switch", lost)
        if isinstance(error, DatabaseAway):
            assert own.move_now(landed.rt.db, "people")
        else:
            with pytest.raises(KeyboardInterrupt):
                own.move_now(landed.rt.db, "people")
        own.look(landed.rt.db, 0)

        assert part_of(landed) >= SHARED_PARTS
        assert landed.jar() == before
        assert landed.one("SELECT count(*) FROM jars.people__rows") == len(ROWS)

    def test_a_record_that_is_retried_meanwhile_lands_where_the_jar_is(self, landed, monkeypatch):
        write(landed.folder / "people" / "b.jsonl", [{"id": 7000, "word": "x" * 2000}])
        small = landed.rt.settings.model_copy(update={"value_limit": 1000})
        with monkeypatch.context() as patch:
            patch.setattr(landed.rt, "settings", small)
            assert landed.land().records_quarantined == 1
        number = landed.one("SELECT id FROM hive.quarantine WHERE state = 'open'")
        prepare = retrying.prepare

        def slowly(work, forced):
            prepare(work, forced)
            if part_of(landed) == 3:
                assert own.move_now(landed.rt.db, "people")

        monkeypatch.setattr(retrying, "prepare", slowly)
        assert retrying.retry(landed.rt, number).landed == 1
        assert "7000" in landed.jar()
        assert behind(landed) == 0


class TestLook:
    def test_only_large_jars_move(self, landed):
        landed.run("ANALYZE hive.honey")

        assert own.look(landed.rt.db, 1000) == 0
        assert own.look(landed.rt.db, len(ROWS)) == 1
        assert part_of(landed) >= SHARED_PARTS > part_of(landed, "others")
        assert own.look(landed.rt.db, len(ROWS)) == 0

    def test_none_does_where_that_is_turned_off(self, landed):
        assert own.look(landed.rt.db, 0) == 0
        assert part_of(landed) == 3

    def test_one_at_a_time(self, landed):
        with own.alone(landed.rt.db) as mine:
            assert mine
            assert own.look(landed.rt.db, 1) == 0
            with pytest.raises(own.Busy, match="another jar"):
                own.move_now(landed.rt.db, "people")

    def test_whoever_died_in_the_middle_leaves_nothing(self, landed, monkeypatch):
        class Killed(BaseException):
            """Nothing of ours catches it."""

        there = tables(landed)

        def dies(*_):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(own, "_switch", dies)
            patch.setattr(own, "drop_tables", lambda *_: None)
            with pytest.raises(Killed):
                own.move_now(landed.rt.db, "people")
        assert tables(landed) > there

        with monkeypatch.context() as patch:
            patch.setattr(own, "clear", dies)
            with pytest.raises(Killed):
                own.move_now(landed.rt.db, "people")
        assert behind(landed) == 2 * len(ROWS)

        own.look(landed.rt.db, 0)
        assert behind(landed) == 0
        assert len(tables(landed)) == len(there) + 2
        assert len(landed.jar()) == len(ROWS)

    def test_a_snapshot_that_flies_keeps_its_tables(self, landed):
        landed.fly(mode="snapshot")

        own.look(landed.rt.db, 0)
        landed.drain()

        name = landed.one("SELECT name FROM hive.jar WHERE kind = 'snapshot' AND visible")
        assert len(landed.jar(name)) == len(ROWS)
