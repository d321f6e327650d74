"""When bees fly: slots, what is due, jitter, and the words of a schedule."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from hive.config.schedule import Schedule, check_cron, check_timezone, due, jitter_of, next_slot, seconds_of


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(schedule: Schedule, start: str, end: str) -> list[str]:
    found = []
    slot = next_slot(schedule, at(start))
    while slot < at(end):
        found.append(slot.strftime("%d %H:%M"))
        slot = next_slot(schedule, slot)
    return found


class TestSlots:
    daily = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")

    def test_a_time_that_the_clocks_skip_runs_once_right_after_the_gap(self):
        assert slots(self.daily, "2025-03-28T12:00", "2025-04-01T00:00") == ["29 01:30", "30 01:00", "31 00:30"]

    def test_a_time_that_comes_twice_runs_once(self):
        assert slots(self.daily, "2025-10-24T12:00", "2025-10-28T00:00") == ["25 00:30", "26 00:30", "27 01:30"]

    @pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26"])
    def test_from_whatever_minute_one_asks_the_slot_of_that_day_is_one(self, day):
        found = {next_slot(self.daily, at(day) + timedelta(minutes=n)) for n in range(-60, 600)}

        assert len(found) == 2

    def test_the_next_slot_is_always_later(self):
        for minute in range(0, 3 * 1440, 7):
            after = at("2025-10-25T00:00") + timedelta(minutes=minute, microseconds=1)
            for cron in ("30 2 * * *", "*/30 * * * *", "15 2,3 * * *", "0 * * * *"):
                assert next_slot(Schedule(cron=cron, timezone="Europe/Berlin"), after) > after

    def test_stars_follow_real_time_through_the_repeated_hour(self):
        half_hours = Schedule(cron="*/30 * * * *", timezone="Europe/Berlin")

        assert len(slots(half_hours, "2025-10-25T21:59", "2025-10-26T23:00")) == 25 * 2
        assert len(slots(half_hours, "2025-03-29T22:59", "2025-03-30T22:00")) == 23 * 2

    def test_a_leap_day_comes_every_four_years(self):
        leap = Schedule(cron="0 12 29 2 *")

        assert next_slot(leap, at("2025-01-01")) == at("2028-02-29T12:00")
        assert next_slot(leap, at("2096-03-01")) == at("2104-02-29T12:00")

    def test_intervals_are_aligned_whenever_one_asks(self):
        five = Schedule(every=300)

        assert next_slot(five, at("2025-01-01T10:03:20")) == at("2025-01-01T10:05")
        assert next_slot(five, at("2025-01-01T10:05")) == at("2025-01-01T10:10")
        assert next_slot(Schedule(every=0.5), at("2025-01-01T10:00:00.2")) == at("2025-01-01T10:00:00.5")

    def test_an_instant_without_a_zone_is_refused(self):
        with pytest.raises(ValueError, match="time zone"):
            next_slot(self.daily, datetime(2025, 1, 1))  # noqa: DTZ001

    def test_any_zone_of_the_asker_gives_the_same_slot(self):
        after = at("2025-06-01T00:00")
        shifted = after.astimezone(datetime.strptime("+0500", "%z").tzinfo)

        assert next_slot(self.daily, after) == next_slot(self.daily, shifted)
        assert next_slot(self.daily, shifted).tzinfo is UTC


class TestDue:
    @pytest.mark.parametrize("schedule", [Schedule(every=300), Schedule(cron="*/5 * * * *", timezone="Europe/Berlin")])
    def test_are_the_latest_slots_oldest_first(self, schedule):
        since, now = at("2025-10-20T00:00"), at("2025-10-27T00:00")

        assert due(schedule, since, now, 3) == [at(f"2025-10-2{time}") for time in ("6T23:50", "6T23:55", "7T00:00")]
        assert len(due(schedule, since, now, 10_000)) == 7 * 288
        assert len(due(schedule, since, now)) == schedule.catch_up_limit
        assert due(schedule, now, now) == due(schedule, now, since) == due(schedule, since, now, 0) == []

    def test_the_slot_of_since_is_not_due_again(self):
        five = Schedule(every=300)

        assert due(five, at("2025-01-01T10:00"), at("2025-01-01T10:09")) == [at("2025-01-01T10:05")]

    def test_years_of_missed_seconds_cost_nothing(self):
        for schedule in (Schedule(every=1), Schedule(cron="* * * * * *")):
            assert len(due(schedule, at("1990-01-01"), at("2025-01-01"))) == 100

    def test_rare_slots_are_found_however_long_ago(self):
        assert len(due(Schedule(cron="0 0 1 1 *"), at("2000-06-01"), at("2025-06-01"))) == 25


class TestJitter:
    def test_is_the_same_everywhere_and_within_bounds(self):
        schedule, slot = Schedule(every=300, jitter=30), at("2025-01-01T10:05")
        other_zone = slot.astimezone(datetime.strptime("+0500", "%z").tzinfo)

        assert jitter_of(schedule, "a", slot) == jitter_of(schedule, "a", other_zone)
        found = [jitter_of(schedule, f"bee-{n}", slot) for n in range(200)]
        assert 0 <= min(found) < 5
        assert 25 < max(found) < 30
        assert jitter_of(Schedule(every=300), "a", slot) == 0


class TestWords:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("5m", 300),
            ("30s", 30),
            ("1h30m", 5400),
            ("1 h 30 m", 5400),
            ("2d", 172800),
            ("90", 90),
            (1.5, 1.5),
            (60, 60),
        ],
    )
    def test_intervals(self, text, seconds):
        assert seconds_of(text) == seconds

    @pytest.mark.parametrize(
        "text",
        ["", "0", 0, -1, "m", "5x", "5m3h", "1h30", "-5m", None, True, float("nan"), float("inf"), "9999d", "9" * 999],
    )
    def test_what_is_no_interval(self, text):
        with pytest.raises(ValueError, match="is no interval"):
            seconds_of(text)

    @pytest.mark.parametrize(
        "text", ["", "* * * *", "60 * * * *", "@daily", "0 0 30 2 *", "* * * * * * *", "a b c d e"]
    )
    def test_what_is_no_cron(self, text):
        with pytest.raises(ValueError, match="cron expression"):
            check_cron(text)

    @pytest.mark.parametrize("name", ["", "Mars", "../etc/passwd", "europe/berlin"])
    def test_what_is_no_time_zone(self, name):
        with pytest.raises(ValueError, match="is no time zone"):
            check_timezone(name)

    def test_a_schedule_survives_json(self):
        schedule = Schedule(name="a", cron="0 1 * * *", timezone="Asia/Tokyo", overlap="allow", jitter=5)

        assert Schedule.of(json.loads(json.dumps(schedule.spec()))) == schedule
