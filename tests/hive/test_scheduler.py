"""Due schedules become flights, each slot once, however many schedulers tick."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

import hive.scheduler
from hive.config.schedule import Schedule
from hive.ledger import db
from hive.scheduler import slots_to_fly, tick
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["make_nest", "nest"]

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FLOWN = "SELECT slot_key FROM hive.flight ORDER BY slot_key"


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


class TestSlotsToFly:
    """Five minutes apart; `now` is 12:00:10, and the oldest slot that was not flown is due at `since`."""

    now = NOON + timedelta(seconds=10)

    def fly(self, catch_up: str, since: datetime, **more):
        return slots_to_fly(Schedule(every=300, catch_up=catch_up, **more), since, self.now)

    @pytest.mark.parametrize("catch_up", ["none", "last", "all"])
    def test_a_slot_that_is_due_just_now_always_flies(self, catch_up):
        assert self.fly(catch_up, NOON) == ([NOON], [])

    @pytest.mark.parametrize("catch_up", ["none", "last", "all"])
    def test_nothing_is_due_before_its_time(self, catch_up):
        assert self.fly(catch_up, NOON + minutes(5)) == ([], [])

    @pytest.mark.parametrize("catch_up", ["none", "last"])
    def test_of_missed_slots_only_the_one_that_is_due_now_flies(self, catch_up):
        assert self.fly(catch_up, NOON - minutes(20)) == ([NOON], [NOON - minutes(n) for n in (20, 15, 10, 5)])

    def test_all_are_flown_oldest_first(self):
        assert self.fly("all", NOON - minutes(10)) == ([NOON - minutes(10), NOON - minutes(5), NOON], [])

    def test_all_means_the_latest_up_to_the_limit(self):
        slots, missed = self.fly("all", NOON - minutes(500), catch_up_limit=3)

        assert slots == [NOON - minutes(10), NOON - minutes(5), NOON]
        assert missed == [NOON - minutes(5 * n) for n in range(22, 2, -1)]

    @pytest.mark.parametrize(("catch_up", "flown"), [("none", 0), ("last", 1), ("all", 1)])
    def test_a_single_slot_that_was_missed_long_ago_is_a_missed_one(self, catch_up, flown):
        daily = Schedule(cron="0 2 * * *", catch_up=catch_up)

        slots, missed = slots_to_fly(daily, NOON - timedelta(hours=10), self.now)

        assert (len(slots), len(missed)) == (flown, 1 - flown)


def due(nest: Nest, name: str = "people", **rhythm: object) -> None:
    """A bee of which this hour's slot is due, and those of the `hours` before."""
    hours = rhythm.pop("hours", 0)
    write(nest.register(name, schedules=[{"name": "often", "every": "1h", **rhythm}]) / "a.jsonl", [{"id": 1}])
    nest.run("UPDATE hive.schedule SET next_slot = date_trunc('hour', clock_timestamp()) - %s", timedelta(hours=hours))


class TestTick:
    def test_a_due_slot_becomes_one_flight_and_moves_on(self, nest):
        due(nest)

        ticks = [tick(nest.rt) for _ in range(3)]

        assert ticks == [1, 0, 0]
        assert len(nest.rows(FLOWN)) == 1
        assert nest.one("SELECT next_slot > clock_timestamp() FROM hive.schedule")

    def test_two_schedulers_at_once_give_one_flight(self, nest):
        for n in range(8):
            due(nest, f"bee-{n}")
        others = [nest.runtime(f"scheduler:{n}:1") for n in range(2)]
        together = threading.Barrier(len(others))

        def ticks(rt):
            together.wait()
            tick(rt)

        threads = [threading.Thread(target=ticks, args=[rt]) for rt in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        tick(nest.rt)

        assert nest.rows("SELECT bee FROM hive.flight ORDER BY 1") == [(n + 1,) for n in range(8)]
        assert nest.rows("SELECT count(*)::int FROM hive.task") == [(8,)]

    def test_a_disabled_bee_stays_at_home(self, nest):
        due(nest)
        nest.run("UPDATE hive.bee SET enabled = false")

        assert tick(nest.rt) == 0

    @pytest.mark.parametrize(("overlap", "flights"), [("skip", 1), ("buffer_one", 2), ("allow", 4)])
    def test_overlap_decides_how_many_wait(self, nest, overlap, flights):
        due(nest, overlap=overlap, hours=3)
        now = nest.one("SELECT clock_timestamp()")

        for hours in (3, 2, 1, 0):
            tick(nest.rt, now - timedelta(hours=hours))

        assert len(nest.rows(FLOWN)) == flights
        outcomes = nest.rows("SELECT count(*) FILTER (WHERE outcome = 'flown')::int, count(*)::int FROM hive.slot")
        assert outcomes[0][0] == flights

    def test_a_bee_with_an_open_flight_leaves_the_slot_out_and_says_so(self, nest):
        due(nest)
        nest.fly()

        tick(nest.rt)

        assert nest.one("SELECT count(*) FROM hive.flight") == 1
        assert nest.one("SELECT outcome FROM hive.slot WHERE starts_with(slot_key, 'often@')") == "skipped:overlap"

    def test_jitter_delays_the_first_task(self, nest):
        due(nest, jitter=3600.0)

        tick(nest.rt)

        assert nest.one("SELECT available_at > clock_timestamp() AND hinted_at IS NULL FROM hive.task")
        assert nest.sent == []


class TestClockThatRanAhead:
    """A tick two days early, and then the clock is right again."""

    @pytest.fixture
    def ahead(self, nest):
        """A bee that flew its slot of now; and then somebody's clock went two days ahead for one tick."""
        due(nest)
        nest.now = nest.one("SELECT clock_timestamp()")
        tick(nest.rt, nest.now)
        nest.drain()
        tick(nest.rt, nest.now + timedelta(days=2))
        nest.drain()
        assert nest.one("SELECT next_slot > clock_timestamp() + interval '2 days' FROM hive.schedule")
        assert nest.one("SELECT count(*)::int FROM hive.slot WHERE outcome = 'skipped:catch_up'") > 10
        return nest

    def flown(self, nest, hours: int) -> int:
        """How many flights the ticks of the next hours make."""
        before = len(nest.rows(FLOWN))
        for hour in range(1, hours + 1):
            tick(nest.rt, nest.now + timedelta(hours=hour))
            nest.drain()
        return len(nest.rows(FLOWN)) - before

    def test_every_slot_flies_when_it_comes(self, ahead):
        assert tick(ahead.rt, ahead.now + timedelta(seconds=1)) == 0

        soon, settled, missed = ahead.rows("SELECT next_slot, settled, missed FROM hive.schedule")[0]
        assert ahead.now < soon <= ahead.now + timedelta(hours=1)
        assert settled == ahead.now + timedelta(seconds=1)
        assert ahead.one("SELECT count(*)::int FROM hive.slot WHERE flight IS NULL") == 0
        assert missed == 0
        assert self.flown(ahead, 47) == 47

    def test_what_was_flown_ahead_of_time_is_not_flown_twice(self, ahead):
        tick(ahead.rt, ahead.now)

        assert self.flown(ahead, 49) == 48

    def test_a_scheduler_looks_for_it_at_once_and_then_now_and_then(self, ahead, monkeypatch):
        monkeypatch.setattr(hive.scheduler, "_looked", float("-inf"))
        settled = "SELECT settled > clock_timestamp() FROM hive.schedule"
        tick(ahead.rt)
        assert ahead.one(settled) is False

        ahead.run("UPDATE hive.schedule SET settled = clock_timestamp() + interval '2 days'")
        tick(ahead.rt)
        assert ahead.one(settled) is True
        monkeypatch.setattr(hive.scheduler, "_LOOK", 0.0)
        tick(ahead.rt)
        assert ahead.one(settled) is False

    def test_a_clock_that_is_corrected_by_seconds_changes_nothing(self, nest):
        due(nest)
        now = nest.one("SELECT clock_timestamp()")
        tick(nest.rt, now)
        before = nest.rows("SELECT x::text FROM hive.schedule x")

        tick(nest.rt, now - timedelta(seconds=50))

        assert nest.rows("SELECT x::text FROM hive.schedule x") == before

    def test_one_that_ended_meanwhile_flies_again(self, nest):
        end = nest.one("SELECT clock_timestamp()") + timedelta(days=1)
        due(nest, end=end.isoformat())
        nest.now = nest.one("SELECT clock_timestamp()")
        tick(nest.rt, nest.now + timedelta(days=2))
        nest.drain()
        assert nest.one("SELECT enabled FROM hive.schedule") is False

        tick(nest.rt, nest.now)

        assert nest.one("SELECT enabled FROM hive.schedule") is True
        assert self.flown(nest, 20) == 20


class TestTheSlot:
    """What keeps two schedulers apart where the row lock does not, because one of them stood still meanwhile."""

    @staticmethod
    def tick_again(nest: Nest) -> None:
        """A second scheduler that read the schedule before the first one moved it."""
        due(nest, overlap="allow")
        before = nest.one("SELECT next_slot FROM hive.schedule")
        tick(nest.rt)
        nest.run("UPDATE hive.schedule SET next_slot = %s", before)
        tick(nest.rt)

    def test_it_is_taken_once(self, nest):
        self.tick_again(nest)

        assert nest.one("SELECT count(*) FROM hive.flight") == nest.one("SELECT count(*) FROM hive.task") == 1

    def test_without_the_conflict_rule_the_second_scheduler_fails(self, nest, monkeypatch):
        text = db.statements()["create_flights"]
        assert "    ON CONFLICT DO NOTHING\n" in text
        monkeypatch.setitem(db.statements(), "create_flights", text.replace("    ON CONFLICT DO NOTHING\n", ""))

        with capture_logs() as logs:
            self.tick_again(nest)

        assert [line["kind"] for line in logs if line["event"] == "schedule.failed"] == ["UniqueViolation"]

    def test_without_the_unique_key_there_are_two_flights(self, nest):
        nest.run("ALTER TABLE hive.slot DROP CONSTRAINT slot_pkey")

        self.tick_again(nest)

        assert nest.one("SELECT count(*) FROM hive.flight") == 2

    def test_a_request_that_comes_twice_is_one_flight(self, nest):
        write(nest.register() / "a.jsonl", [{"id": 1}])

        assert len({nest.fly(request="once") for _ in range(3)}) == 1
