"""When bees fly: slots, what is due, jitter, and the words of a schedule."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hive.config.schedule import (
    Schedule,
    blacked_out,
    check_cron,
    check_timezone,
    due,
    jitter_of,
    next_slot,
    seconds_of,
)
from tests.hive import slot_reference as reference


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
        assert next_slot(Schedule(every=1.5), at("2025-01-01T10:00:00.2")) == at("2025-01-01T10:00:01.5")

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
        assert Schedule(every=60, jitter=text).jitter == seconds if seconds <= 86400 else True

    @pytest.mark.parametrize(
        "text",
        ["", "0", 0, -1, "m", "5x", "5m3h", "1h30", "-5m", None, True, float("nan"), float("inf"), "9999d", "9" * 999],
    )
    def test_what_is_no_interval(self, text):
        with pytest.raises(ValueError, match="is no interval"):
            seconds_of(text)

    @pytest.mark.parametrize(
        "text",
        ["", "* * * *", "60 * * * *", "@reboot", "@dialy", "0 0 30 2 *", "0 0 31 2 *", "* * * * * * *", "a b c d e"],
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

    def test_and_so_does_one_with_all_its_words(self):
        schedule = Schedule(
            name="a", every="5m", timezone="Asia/Tokyo", blackout=[{"from": 1320, "to": "06:00", "days": ["fri-mon"]}],
            blackout_then="run_after", start="2026-01-01", end="2027-01-01T00:00:00+02:00",
        )  # fmt: skip

        assert Schedule.of(json.loads(json.dumps(schedule.spec()))) == schedule
        assert schedule.start == at("2025-12-31T15:00")
        assert schedule.end == at("2026-12-31T22:00")
        assert schedule.blackout[0].days == ("mon", "fri", "sat", "sun")


class TestNicknamesAndSeconds:
    @pytest.mark.parametrize(
        ("nickname", "first"),
        [
            ("@hourly", "2026-03-04T06:00"),
            ("@daily", "2026-03-05T00:00"),
            ("@Midnight", "2026-03-05T00:00"),
            ("@weekly", "2026-03-08T00:00"),
            ("@monthly", "2026-04-01T00:00"),
            ("@yearly", "2027-01-01T00:00"),
            ("@annually", "2027-01-01T00:00"),
        ],
    )
    def test_nicknames(self, nickname, first):
        assert next_slot(Schedule(cron=nickname), at("2026-03-04T05:06")) == at(first)

    def test_names_of_days_and_months(self):
        assert next_slot(Schedule(cron="0 12 * jan mon"), at("2026-03-04")) == at("2027-01-04T12:00")

    def test_a_sixth_field_in_front_holds_seconds(self):
        assert next_slot(Schedule(cron="*/20 5 * * * *"), at("2026-03-04T05:05:21")) == at("2026-03-04T05:05:40")

    @pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26"])
    def test_with_seconds_a_daily_job_runs_once_on_the_days_of_the_change_too(self, day):
        daily = Schedule(cron="15 30 2 * * *", timezone="Europe/Berlin")
        found = due(daily, at(day) - timedelta(hours=3), at(day) + timedelta(hours=21), 10)

        plain = next_slot(Schedule(cron="30 2 * * *", timezone="Europe/Berlin"), at(day) - timedelta(hours=3))
        assert found == [plain + timedelta(seconds=15)]

    @pytest.mark.parametrize(
        ("written", "told"),
        [
            ({"cron": "0 0 31 2 *"}, "never fires"),
            ({"cron": "0 0 0 31 2,4 *"}, "never fires"),
            ({"cron": "@dialy"}, "did you mean '@daily'"),
            ({"cron": "@reboot"}, "there are @hourly"),
            ({"every": 0}, "is no interval"),
            ({"every": 0.001}, "the shortest interval between flights is 1s"),
            ({"every": "0.9s"}, "the shortest interval between flights is 1s"),
            ({"every": 60, "jitter": "soon"}, "a number of seconds such as 30, or 5m"),
            ({"cron": "@daily", "timezone": "Europe/Belin"}, "did you mean 'Europe/Berlin'"),
            ({"every": 60, "start": "2026-01-02", "end": "2026-01-02"}, "`end` that is not later than its `start`"),
            ({"cron": "@yearly", "start": "2026-02-01", "end": "2026-12-31"}, "no slot lies between"),
            ({"every": 60, "blackout": {}}, "`blackout` covers every slot"),
            ({"every": 60, "blackout": {}, "blackout_then": "run_after"}, "`blackout` covers every slot"),
            ({"cron": "0 23 * * *", "blackout": {"from": "22:00", "to": "06:00"}}, "`blackout` covers every slot"),
            ({"every": 60, "blackout": {"from": "24:01"}}, "is no time of day"),
            ({"every": 60, "blackout": {"days": ["mon-frog"]}}, "holds what is no day"),
            ({"every": 60, "blackout": {"days": []}}, "holds no day"),
            ({"every": 60, "blackout": {"form": "06:00"}}, "Unexpected keyword"),
        ],
    )
    def test_what_can_never_be_flown_is_refused_in_words(self, written, told):
        with pytest.raises(ValidationError) as refused:
            Schedule(**written)

        assert told in str(refused.value)


class TestBlackout:
    nightly = ({"from": "22:00", "to": "06:00", "days": "mon-fri"},)

    def test_slots_inside_are_left_out(self):
        hourly = Schedule(cron="0 * * * *", timezone="Europe/Berlin", blackout=self.nightly)

        # Friday's night ends on Saturday, and Sunday has none.
        assert slots(hourly, "2026-03-06T19:30", "2026-03-07T07:00") == ["06 20:00", "07 05:00", "07 06:00"]
        assert len(slots(hourly, "2026-03-07T22:30", "2026-03-08T22:30")) == 24

    def test_or_flown_once_at_its_end(self):
        at_twenty_past = Schedule(cron="20 */4 * * *", blackout=self.nightly, blackout_then="run_after")

        assert slots(at_twenty_past, "2026-03-02T20:00", "2026-03-03T09:00") == ["02 20:20", "03 06:00", "03 08:20"]

    def test_one_that_held_no_slot_brings_none_at_its_end(self):
        noon = Schedule(cron="0 12 * * *", blackout=self.nightly, blackout_then="run_after")

        assert slots(noon, "2026-03-02T00:00", "2026-03-04T00:00") == ["02 12:00", "03 12:00"]

    def test_what_it_takes_is_known(self):
        hourly = Schedule(cron="0 * * * *", blackout=self.nightly)
        now = at("2026-03-03T07:00")

        assert blacked_out(hourly, at("2026-03-02T20:30"), now, 100) == [
            at("2026-03-02T22:00") + timedelta(hours=n) for n in range(8)
        ]
        assert blacked_out(hourly, at("2000-01-01"), now, 3) == [at(f"2026-03-03T0{n}:00") for n in (3, 4, 5)]

    def test_start_is_the_first_instant_and_end_is_none(self):
        schedule = Schedule(cron="0 * * * *", start="2026-03-02T10:00Z", end="2026-03-02T12:00Z")

        assert due(schedule, at("2026-01-01"), at("2027-01-01")) == [at("2026-03-02T10:00"), at("2026-03-02T11:00")]
        assert next_slot(schedule, at("2026-03-02T11:00")) is None


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, high).map(lambda n: f"*/{n}")
    lists = st.lists(number, min_size=2, max_size=4).map(lambda ns: ",".join(map(str, ns)))
    return st.one_of(st.just("*"), number.map(str), spans, steps, lists)


CRONS = st.tuples(
    field(0, 59),
    field(0, 23),
    st.one_of(st.just("*"), field(1, 28)),
    st.just("*"),
    st.one_of(st.just("*"), field(0, 6)),
).map(" ".join)
ZONES = st.sampled_from(
    [
        "UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kathmandu", "America/Sao_Paulo",
        "America/Havana", "Asia/Beirut", "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Apia",
    ]
)  # fmt: skip
CHANGES = (
    "2011-12-30",
    "2018-11-04",
    "2024-03-31",
    "2024-10-27",
    "2025-03-09",
    "2025-04-06",
    "2025-10-05",
    "2025-11-02",
)
DAYS = st.one_of(
    st.sampled_from(CHANGES).map(lambda day: datetime.fromisoformat(day).replace(tzinfo=UTC)),
    st.integers(0, 37 * 365 * 1440).map(lambda minutes: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)),
)
BLACKOUTS = st.lists(
    st.tuples(
        st.integers(0, 1439), st.integers(0, 1440), st.sets(st.sampled_from(reference.DAYS), min_size=1).map(tuple)
    ),
    min_size=1, max_size=2,
)  # fmt: skip


class TestAgainstAWalkMinuteByMinute:
    """Three days around any day from 2000 on, and around days on which clocks were changed."""

    @staticmethod
    def walked(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
        found = []
        slot = next_slot(schedule, start)
        while slot is not None and slot <= end:
            found.append(slot)
            slot = next_slot(schedule, slot)
        return found

    @settings(max_examples=100, deadline=None)
    @given(cron=CRONS, zone=ZONES, day=DAYS)
    @example(cron="* 0 * * *", zone="Australia/Lord_Howe", day=datetime(2025, 4, 6, tzinfo=UTC))
    def test_the_slots_are_the_same(self, cron, zone, day):
        start, end = day - timedelta(days=1, minutes=7), day + timedelta(days=2)

        assert self.walked(Schedule(cron=cron, timezone=zone), start, end) == reference.slots(
            cron, ZoneInfo(zone), start, end
        )

    @settings(max_examples=60, deadline=None)
    @given(cron=CRONS, zone=ZONES, day=DAYS, minute=st.integers(0, 3 * 1440))
    def test_whenever_one_asks_the_next_slot_is_the_same(self, cron, zone, day, minute):
        schedule = Schedule(cron=cron, timezone=zone)
        start, end = day - timedelta(days=1), day + timedelta(days=3)
        asked = start + timedelta(minutes=minute)
        later = [slot for slot in self.walked(schedule, start, end) if slot > asked]

        if later:
            assert next_slot(schedule, asked) == later[0]

    @settings(max_examples=30, deadline=None)
    @given(cron=CRONS, zone=ZONES, day=DAYS, blackouts=BLACKOUTS, run_after=st.booleans())
    @example(
        cron="0 3 * * *",
        zone="Europe/Berlin",
        day=datetime(2024, 3, 31, tzinfo=UTC),
        blackouts=[(60, 150, ("sun",))],
        run_after=True,
    )
    @example(
        cron="15 2 * * *",
        zone="Europe/Berlin",
        day=datetime(2024, 10, 27, tzinfo=UTC),
        blackouts=[(60, 150, ("sun",))],
        run_after=True,
    )
    def test_blackouts_leave_out_the_same(self, cron, zone, day, blackouts, run_after):
        written = [{"from": first, "to": last, "days": days} for first, last, days in blackouts]
        then = "run_after" if run_after else "skip"
        try:
            schedule = Schedule(cron=cron, timezone=zone, blackout=written, blackout_then=then)
        except ValidationError:
            return  # it covers every slot
        start, end = day - timedelta(days=1), day + timedelta(days=2)
        before = start - timedelta(days=8)  # a blackout that began before may end within
        every = reference.slots(cron, ZoneInfo(zone), before, end)
        expected = reference.outside(every, ZoneInfo(zone), blackouts, run_after=run_after)

        assert self.walked(schedule, start, end) == [slot for slot in expected if start < slot <= end]

    @settings(max_examples=100, deadline=None)
    @given(every=st.integers(1, 100_000), day=DAYS, seconds=st.integers(0, 86400))
    def test_intervals_are_multiples_since_the_epoch(self, every, day, seconds):
        after = day + timedelta(seconds=seconds)
        slot = next_slot(Schedule(every=every), after)

        assert slot.timestamp() % every == 0
        assert 0 < (slot - after).total_seconds() <= every
