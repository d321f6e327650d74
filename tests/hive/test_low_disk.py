"""Where the embedded database's disk is nearly full nothing is read, what was read lands, and then it goes on."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest

from hive.doctor.machine import examine_machine
from hive.runtime import Runtime
from hive.settings import Settings
from tests.hive.nest import KEY, make_nest, nest

__all__ = ["make_nest", "nest"]

PEOPLE = [{"id": number, "name": f"Ada {number}"} for number in range(1, 4)]


@pytest.fixture
def disk(monkeypatch):
    """Bytes that any disk has free."""
    free = [10 << 30]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    return free


@pytest.fixture
def people(make_nest):
    """One record a batch; its database is an embedded one as far as it knows."""
    people = make_nest(batch_rows=1)
    (people.register() / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PEOPLE))
    people.settings.data_dir.mkdir(exist_ok=True)
    backlog = people.rt.backlog
    backlog._disk, backlog._reserve = people.settings.data_dir, people.settings.disk_reserve
    return people


def test_nothing_is_read_until_there_is_room_again(people, disk):
    disk[0] = 1 << 20
    flight = people.fly()
    people.drain()
    assert people.one("SELECT count(*)::int FROM hive.batch") == 0
    assert people.hive.flight(flight).state in ("queued", "running")

    disk[0] = 10 << 30
    people.run("UPDATE hive.task SET available_at = clock_timestamp() WHERE state = 'queued'")
    people.drain()

    assert people.hive.flight(flight).records_landed == len(PEOPLE)


def test_a_leg_ends_at_its_next_batch_and_what_it_read_lands(people, disk):
    flight = people.fly()
    people.rt.send = lambda _: disk.__setitem__(0, 1 << 20)  # with the first batch the disk is full
    people.work(people.due()[0])
    assert people.one("SELECT count(*)::int FROM hive.batch") == 1

    people.rt.send = people.sent.extend
    people.drain(kinds=["process"])
    assert people.hive.flight(flight).records_landed == 1

    disk[0] = 10 << 30
    people.run("UPDATE hive.task SET available_at = clock_timestamp() WHERE state = 'queued'")
    people.drain()
    assert people.hive.flight(flight).records_landed == len(PEOPLE)


def test_only_the_disk_of_an_embedded_database_counts(people, disk, tmp_path):
    disk[0] = 1 << 20
    theirs = Settings(database_url=people.rt.settings.database_url, key=KEY, data_dir=tmp_path)
    assert not Runtime(theirs, people.rt.db, people.rt.key).backlog.is_low()
    ours = Settings(key=KEY, data_dir=tmp_path)
    assert Runtime(ours, people.rt.db, people.rt.key).backlog.is_low()


def test_the_doctor_says_that_reading_stands_still(disk, tmp_path):
    disk[0] = 1 << 20
    chosen = Settings(key=KEY, data_dir=tmp_path)
    (found,) = [one for one in examine_machine(chosen) if one.what == "the disk is nearly full"]
    assert "HIVE_DISK_RESERVE" in found.why
