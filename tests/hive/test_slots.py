"""What people see and say of slots: what comes, what was left out and why, pauses and back-fills. And a whole day."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from psycopg.types.json import Jsonb

from hive import scheduler
from hive.config.schedule import Schedule, next_slot
from hive.ledger import db
from hive.ledger.db import DatabaseAway
from hive.scheduler import TooMany, tick
from tests.hive import slot_reference as reference
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

HOUR = timedelta(hours=1)


def bee(nest: Nest, name: str = "people", **block: Any) -> None:
    write(nest.register(name, **block) / "a.jsonl", [{"id": 1}])


def hours_ago(nest: Nest, hours: int) -> datetime:
    found: datetime = nest.one("SELECT date_trunc('hour', clock_timestamp())")
    return found.astimezone(UTC) - hours * HOUR


def due_since(nest: Nest, hours: int) -> datetime:
    """The oldest slot that was not flown is so many hours old."""
    since = hours_ago(nest, hours)
    nest.run("UPDATE hive.schedule SET next_slot = %s, settled = %s", since, since - timedelta(minutes=1))
    return since


def outcomes(nest: Nest) -> dict[str, int]:
    return dict(nest.rows("SELECT outcome, count(*)::int FROM hive.slot GROUP BY outcome"))


class TestWhatWasLeftOut:
    @pytest.mark.parametrize(
        ("rhythm", "expected"),
        [
            ({}, {"flown": 1, "skipped:catch_up": 3}),
            ({"catch_up": "all"}, {"flown": 4}),
            ({"catch_up": "all", "overlap": "buffer_one"}, {"flown": 4}),
            ({"catch_up": "all", "catch_up_limit": 3}, {"flown": 3, "skipped:catch_up": 1}),
            ({"catch_up": "all", "overlap": "allow"}, {"flown": 4}),
            ({"catch_up": "all", "catch_up_limit": 2, "overlap": "allow"}, {"flown": 2, "skipped:catch_up": 2}),
        ],
    )
    def test_the_reason_is_written_down(self, nest, rhythm, expected):
        bee(nest, schedules=[{"every": "1h", **rhythm}])
        due_since(nest, 3)

        tick(nest.rt)

        assert outcomes(nest) == expected

    def test_what_is_caught_up_lands_one_after_the_other(self, nest):
        bee(nest, schedules=[{"every": "1h", "catch_up": "all"}])
        due_since(nest, 2)
        tick(nest.rt)
        tick(nest.rt)
        for _ in range(20):
            nest.hurry()
            nest.drain()

        assert nest.rows("SELECT state, count(*)::int FROM hive.flight GROUP BY state") == [("complete", 3)]

    def test_and_so_is_a_blackout_once_it_ends(self, nest):
        now = hours_ago(nest, 0)
        dark = {"from": (now - 4 * HOUR).strftime("%H:%M"), "to": (now - HOUR).strftime("%H:%M")}
        bee(nest, schedules=[{"every": "1h", "blackout": dark, "catch_up": "all", "overlap": "allow"}])
        due_since(nest, 5)

        tick(nest.rt)

        assert outcomes(nest) == {"flown": 3, "skipped:blackout": 3}
        assert nest.one("SELECT missed FROM hive.schedule") == 0

    def test_people_are_told(self, nest):
        bee(nest, schedules=[{"every": "1h", "name": "often", "catch_up": "all"}])
        bee(nest, "other")
        since = due_since(nest, 1)
        nest.fly()
        tick(nest.rt)

        found = nest.hive.slots("people").missed

        assert [(one.schedule, one.slot, one.why) for one in found] == [
            ("often", since + HOUR, "overlap"),
            ("often", since, "overlap"),
        ]
        assert found[0].meaning == "a flight was still open"
        assert nest.hive.slots("other").missed == []


class TestWhatComes:
    def test_the_next_of_all_bees_in_order_of_time(self, nest):
        bee(nest, "a", schedules=[{"every": "1h", "jitter": 600}, {"name": "daily", "every": "1d"}])
        bee(nest, "b", every="20m")
        bee(nest, "c", every="5m", enabled=False)

        found = nest.hive.slots(most=9).next

        assert [one.slot for one in found] == sorted(one.slot for one in found)
        assert len(found) == 9
        assert {one.bee for one in found} <= {"a", "b"}
        assert sum(one.bee == "b" for one in found) >= 6
        late = [one.starts_at - one.slot for one in found if one.bee == "a" and one.schedule == "default"]
        assert all(timedelta() < wait < timedelta(seconds=600) for wait in late)

    def test_a_bee_of_every_minute_hides_none_of_every_day(self, nest):
        nest.register("often", every=60)
        nest.register("daily", every=86_400)

        found = nest.hive.slots(most=5).next

        assert sorted(one.bee for one in found) == ["daily"] + ["often"] * 4

    def test_a_schedule_that_ended_has_none(self, nest):
        end = hours_ago(nest, 0) + timedelta(minutes=90)
        bee(nest, schedules=[{"every": "1h", "end": end.isoformat()}])

        assert [one.slot for one in nest.hive.slots().next] == [hours_ago(nest, -1)]
        tick(nest.rt, now=end + HOUR)
        assert nest.hive.slots().next == []
        assert nest.one("SELECT count(*) FROM hive.flight") == 1
        assert tick(nest.rt, now=end + 5 * HOUR) == 0


class TestPause:
    def test_a_paused_bee_stays_at_home_and_is_shown(self, nest):
        bee(nest, every="1h")
        due_since(nest, 0)

        done = [nest.hive.pause("people") for _ in range(2)]

        assert done == [True, False]
        assert tick(nest.rt) == 0
        assert list(nest.hive.slots().paused) == ["people"]
        assert nest.hive.slots().next == []
        assert nest.hive.bees()[0]["paused_at"] is not None

    def test_a_change_of_its_block_does_not_wake_it(self, nest):
        bee(nest, every="1h")
        nest.hive.pause("people")

        bee(nest, every="2h", schedules=None)
        due_since(nest, 0)

        assert tick(nest.rt) == 0

    @pytest.mark.parametrize(("catch_up", "flown"), [("none", 0), ("last", 1), ("all", 4)])
    def test_resumed_it_catches_up_as_it_is_told(self, nest, catch_up, flown):
        bee(nest, schedules=[{"every": "1h", "catch_up": catch_up, "overlap": "allow"}])
        due_since(nest, 4)
        nest.run("UPDATE hive.schedule SET spec = jsonb_set(spec, '{every}', '3600')")
        nest.hive.pause("people")
        at = hours_ago(nest, 0) - timedelta(minutes=30)  # between two slots

        with nest.rt.db.transaction() as tx:
            assert scheduler.resume(tx, nest.one("SELECT id FROM hive.bee"), now=at)
            assert not scheduler.resume(tx, nest.one("SELECT id FROM hive.bee"), now=at)
        tick(nest.rt, now=at)

        missed = 4 - flown
        assert outcomes(nest) == {key: n for key, n in (("flown", flown), ("skipped:paused", missed)) if n}
        assert nest.one("SELECT missed FROM hive.schedule") == missed

    def test_a_slot_that_was_to_be_flown_at_the_resume_was_still_paused_at_its_time(self, nest):
        """A later one came due before the next tick, and the rule flies the latest only."""
        bee(nest, schedules=[{"every": "1h", "name": "often"}])
        since = due_since(nest, 3)
        nest.hive.pause("people")
        with nest.rt.db.transaction() as tx:
            scheduler.resume(tx, nest.one("SELECT id FROM hive.bee"), now=since + 1.5 * HOUR)

        tick(nest.rt, now=since + 2 * HOUR)

        left_out = {one.slot: one.meaning for one in nest.hive.slots().missed}
        assert left_out == dict.fromkeys([since, since + HOUR], "the bee was paused")

    def test_people_may_fly_it_all_the_same(self, nest):
        bee(nest, every="1h")
        nest.hive.pause("people")

        assert nest.land().state == "complete"


class TestReload:
    def test_a_slot_that_is_due_is_not_lost_when_the_schedule_changes(self, nest):
        bee(nest, every="1h")
        due_since(nest, 0)

        bee(nest, schedules=[{"every": "1h", "jitter": 5}])

        assert tick(nest.rt) == 1
        assert outcomes(nest) == {"flown": 1}

    def test_an_unchanged_schedule_keeps_its_next_slot_and_a_changed_one_does_not(self, nest):
        bee(nest, every="1h")
        later = hours_ago(nest, -50)
        nest.run("UPDATE hive.schedule SET next_slot = %s", later)
        bee(nest, every="1h", leg=5)
        assert nest.one("SELECT next_slot FROM hive.schedule") == later

        bee(nest, every="2h")

        assert nest.one("SELECT next_slot FROM hive.schedule") < later


class TestBackfill:
    def test_each_slot_of_the_range_flies_once_however_often_it_is_said(self, nest):
        bee(nest, every="1h")
        first = hours_ago(nest, 5)

        made = [nest.hive.backfill("people", first, first + 3 * HOUR) for _ in range(2)]

        assert made == [[f"default@{(first + n * HOUR).isoformat()}" for n in range(4)], []]
        assert nest.rows("SELECT slot_key FROM hive.flight ORDER BY created_at, slot_key") == [
            (key,) for key in made[0]
        ]
        tasks = nest.rows("SELECT f.slot_key FROM hive.task t JOIN hive.flight f ON f.id = t.flight ORDER BY t.id")
        assert tasks == [(key,) for key in made[0]]

    def test_what_was_left_out_is_flown_and_what_was_flown_is_not(self, nest):
        bee(nest, schedules=[{"every": "1h"}])
        first = due_since(nest, 3)
        tick(nest.rt)
        assert outcomes(nest) == {"flown": 1, "skipped:catch_up": 3}

        made = nest.hive.backfill("people", first, first + 3 * HOUR)

        assert len(made) == 3
        assert outcomes(nest) == {"flown": 4}
        nest.drain()
        assert nest.rows("SELECT DISTINCT state FROM hive.flight") == [("complete",)]

    def test_of_one_schedule_alone(self, nest):
        bee(nest, schedules=[{"name": "a", "every": "1h"}, {"name": "b", "every": "30m"}])
        first = hours_ago(nest, 2)

        assert [key[:2] for key in nest.hive.backfill("people", first, first + HOUR, schedule="b")] == ["b@"] * 3
        assert [key[:2] for key in nest.hive.backfill("people", first, first + HOUR)] == ["a@"] * 2

    def test_snapshots_have_a_jar_each(self, nest):
        bee(nest, schedules=[{"every": "1h", "mode": "snapshot"}])
        first = hours_ago(nest, 2)

        assert [len(nest.hive.backfill("people", first, first + HOUR)) for _ in range(2)] == [2, 0]
        names = [name for (name,) in nest.rows("SELECT name FROM hive.jar WHERE kind = 'snapshot' ORDER BY name")]
        assert names == [f"people_snapshot_{slot:%Y%m%dT%H%M%SZ}" for slot in (first, first + HOUR)]
        flights = {flight.json()["slot"]: flight.json()["jar"] for flight in nest.hive.flights()}
        assert flights == {f"default@{first.isoformat()}": names[0], f"default@{(first + HOUR).isoformat()}": names[1]}

    @pytest.mark.parametrize(
        ("since", "until", "more", "told"),
        [
            (0, -1, {}, "still to come"),
            (1, 1, {}, "not later"),
            (50, 1, {"most": 10}, "more than 10 slots"),
            (2, 1, {"schedule": "nightly"}, "no schedule 'nightly': it has default"),
        ],
    )
    def test_what_is_refused(self, nest, since, until, more, told):
        bee(nest, every="1h")

        with pytest.raises((ValueError, LookupError, TooMany), match=told):
            nest.hive.backfill("people", hours_ago(nest, since), hours_ago(nest, until), **more)

        assert nest.one("SELECT count(*) FROM hive.slot") == 0


class TestCommands:
    @pytest.fixture
    def there(self, hive, tmp_path):
        file = tmp_path / "hive.yml"
        (tmp_path / "in").mkdir()
        source = f"source: {{path: {tmp_path / 'in'}}}, streams: {{rows: {{patterns: '*.jsonl', key: id}}}}"
        file.write_text(f"bees: {{people: {{type: local, {source}, every: 1h}}}}\n")
        assert hive("reload", "--config", file).code == 0 or hive("reload", file).code == 0
        return hive

    def test_slots_pause_and_resume(self, there):
        assert there("pause", "people").code == 0
        told = there("slots", "--json").json
        assert [one["bee"] for one in told["paused"]] == ["people"]
        assert told["next"] == []
        assert there("resume", "people").code == 0

        told = there("slots", "people", "-n", 2, "--json").json

        assert [(one["bee"], one["schedule"]) for one in told["next"]] == [("people", "default")] * 2
        assert told["missed"] == told["paused"] == []
        assert "people" in there("slots").out

    def test_backfill(self, there):
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        span = ("--from", (now - 3 * HOUR).isoformat(), "--to", (now - HOUR).replace(tzinfo=None).isoformat())

        made = there("backfill", "people", *span, "--json").json["slots"]

        assert len(made) == 3
        assert there("backfill", "people", *span, "--json").json["slots"] == []

    @pytest.mark.parametrize(
        ("command", "told"),
        [
            (("pause", "poeple"), "did you mean 'people'"),
            (("backfill", "people", "--from", "yesterday", "--to", "2026-01-01"), "'yesterday' is no instant"),
            (("backfill", "people", "--from", "2026-01-02", "--to", "2026-01-01"), "not later"),
            (("backfill", "people", "--from", "2020-01-02", "--to", "2026-01-01"), "more than 1000 slots"),
            (
                ("backfill", "people", "--from", "2025-01-01", "--to", "2025-01-02", "--schedule", "x"),
                "no schedule 'x'",
            ),
        ],
    )
    def test_wrong_use(self, there, command, told):
        said = there(*command)

        assert said.code == 2
        assert told in " ".join(said.err.replace("│", " ").split())


class TestADay:
    """Two schedulers, a broker that comes and goes, kills, a clock that jumps, and the change of the clocks."""

    RHYTHMS = (
        ("30 2 * * *", "Europe/Berlin"),
        ("*/30 * * * *", "Europe/Berlin"),
        ("15 1,2,3 * * *", "Europe/Berlin"),
        ("0 * * * *", "America/New_York"),
        ("45 */2 * * *", "Australia/Lord_Howe"),
        ("7 */6 * * 0,1", "Asia/Kathmandu"),
    )

    @pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-04-05"])
    @pytest.mark.parametrize("seed", [1, 2])
    def test_no_slot_is_lost_or_doubled(self, nest, monkeypatch, day, seed):
        chance = random.Random(seed)
        start = datetime.fromisoformat(f"{day}T00:00:00+00:00") - 4 * HOUR
        end = start + 28 * HOUR
        for n, (cron, zone) in enumerate(self.RHYTHMS * 2):
            schedule = Schedule(cron=cron, timezone=zone, catch_up="all", overlap="allow")
            bee(nest, f"bee-{n}")
            nest.run(
                "INSERT INTO hive.schedule (bee, name, spec, next_slot) SELECT id, 'default', %s, %s FROM hive.bee"
                " WHERE name = %s",
                Jsonb(schedule.spec()), next_slot(schedule, start), f"bee-{n}",
            )  # fmt: skip
        schedulers = [nest.runtime(f"scheduler:{n}:1") for n in range(2)]
        for rt in schedulers:
            rt.send = lambda _: self.broker(chance)
        run = db.Transaction.run

        def dies(tx: db.Transaction, name: str, /, **values: Any) -> Any:
            found = run(tx, name, **values)
            if chance.random() < 0.05:
                raise DatabaseAway if chance.random() < 0.5 else KeyboardInterrupt
            return found

        died = 0
        at = start
        with monkeypatch.context() as patch:
            patch.setattr(db.Transaction, "run", dies)
            while at < end:
                # Mostly a few minutes on; now and then nobody is there for hours, or a clock is set back.
                step = chance.choices((4, 11, 150, -45), (70, 20, 3, 7))[0]
                at = max(start, at + timedelta(minutes=step, seconds=chance.randrange(60)))
                for rt in chance.sample(schedulers, chance.choice((1, 2))):
                    try:
                        tick(rt, now=min(at, end))
                    except (KeyboardInterrupt, DatabaseAway, OSError):
                        died += 1
        tick(nest.rt, now=end)

        expected = sorted(
            (f"bee-{n}", f"default@{slot.isoformat()}")
            for n, (cron, zone) in enumerate(self.RHYTHMS * 2)
            for slot in reference.slots(cron, ZoneInfo(zone), start, end)
        )
        flown = "SELECT b.name, f.slot_key FROM hive.flight f JOIN hive.bee b ON b.id = f.bee ORDER BY 1, 2"
        assert nest.rows(flown) == expected
        assert outcomes(nest) == {"flown": len(expected)}
        assert nest.one("SELECT count(*) FROM hive.task") == len(expected)
        assert died > 5

    @staticmethod
    def broker(chance: random.Random) -> None:
        if chance.random() < 0.3:
            raise ConnectionError


class TestManyAtOnce:
    def test_more_than_one_transaction_holds_are_all_settled_in_one_tick(self, nest):
        nest.run(
            "INSERT INTO hive.bee (name, connector, queue, config, config_version, origin)"
            " SELECT 'bee-' || n, 'local', 'bees.file', '{}', 1, 'registered' FROM generate_series(1, 2500) n"
        )
        spec = Schedule(cron="0 * * * *", timezone="Europe/Berlin").spec()
        nest.run(
            "INSERT INTO hive.schedule (bee, name, spec, next_slot) SELECT id, 'default',"
            " CASE WHEN id %% 1000 = 0 THEN '{}' ELSE %s END, date_trunc('hour', clock_timestamp()) FROM hive.bee",
            Jsonb(spec),
        )

        assert tick(nest.rt) == 2500

        assert nest.one("SELECT count(*) FROM hive.flight") == 2498  # two schedules cannot be read
        assert len(nest.sent) == nest.settings.hints_per_queue
        assert tick(nest.rt) == 2
