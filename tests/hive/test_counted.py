"""What scrubbing took out is counted once for each record that a flight landed, and no value is told."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa
import pytest

from hive.errors import StaleFence
from hive.flight import process
from hive.flight.close import FIELDS, close_if_done
from hive.flight.counted import counted, merged
from hive.flight.retry import retry
from nectar.scrub.shapes.columns import REMOVED
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

RULES = [{"field": "badge", "action": "mask_partial"}, {"pattern": "K-[0-9]{4}", "action": "remove"}]
SCRUBBING = {"profile": "gdpr_compliant", "custom_rules": RULES}
ADA = {"id": 1, "mail": "ada@example.com", "badge": "B-77412", "note": "call 202-555-0143 or 202-555-0198, K-1234"}
BEN = {"id": 2, "mail": "ben@example.com", "badge": "B-77413", "note": "sells honey"}
SUMS = [
    ("badge", "rule", "mask_partial", 2),
    ("mail", "EMAIL_ADDRESS", "hash_with_salt", 2),
    ("note", "PHONE_NUMBER", "remove", 2),
    ("note", "rule", "remove", 1),
]
SECRETS = ("ada@", "ben@", "555-0", "B-7741", "K-1234")
"""An id of a flight may hold some digits of them: as much of each as none does by chance."""


def scrubbed(nest: Nest, flight: str) -> list[tuple[str, str, str, int]]:
    return [tuple(line.values()) for line in nest.hive.flight(flight).scrubbed or ()]


@pytest.fixture
def people(nest):
    write(nest.register(scrubbing=SCRUBBING) / "a.jsonl", [ADA, BEN])
    return nest


def test_a_flight_tells_field_kind_action_and_count(people):
    assert scrubbed(people, people.land().flight) == SUMS


def test_no_value_is_told_in_the_counts(people):
    people.land()

    told = str(people.rows("SELECT scrubbed FROM hive.flight")) + str(people.rows("SELECT scrubbed FROM hive.receipt"))
    assert "EMAIL_ADDRESS" in told
    assert not [secret for secret in SECRETS if secret in told]


def test_records_that_did_not_change_are_not_counted_again(people):
    people.land()
    write(people.folder / "people" / "b.jsonl", [BEN, {**ADA, "id": 3}])

    second = people.land()

    assert second.records_unchanged == 1
    assert scrubbed(people, second.flight) == [(*line[:3], line[3] - (line[0] in ("badge", "mail"))) for line in SUMS]


def test_a_task_that_is_done_twice_counts_once(people):
    flight = people.fly()
    people.drain(kinds=["plan", "collect"])
    (task,) = people.due("process")
    claimed = people.claim(task)
    twice = [process.load(claimed, people.rt) for _ in range(2)]
    for one in twice:
        process.prepare(one, ())

    process._land(twice[0])
    with pytest.raises(StaleFence):
        process._land(twice[1])
    close_if_done(people.rt.db, claimed.flight, claimed.day)

    assert scrubbed(people, flight) == SUMS


def test_a_landing_that_was_rolled_back_counts_nothing(people, monkeypatch):
    flight = people.fly()
    people.drain(kinds=["plan", "collect"])
    real, failed = process.complete_part, []

    def stumble(*values, **named):
        done = real(*values, **named)
        if not failed:
            failed.append(named["scrubbed"])
            raise TimeoutError
        return done

    monkeypatch.setattr(process, "complete_part", stumble)
    people.drain()
    people.hurry()
    people.drain()

    assert failed[0]
    assert scrubbed(people, flight) == SUMS


def test_parts_of_a_batch_that_land_alone_are_summed(people):
    flight = people.fly()
    people.drain(kinds=["plan", "collect"])
    for _ in range(2):
        people.crash(people.due("process")[0])
    people.drain()

    assert people.one("SELECT count(*) FROM hive.receipt") == 2
    assert scrubbed(people, flight) == SUMS


def test_a_record_that_a_newer_version_beat_is_not_counted(make_nest):
    nest = make_nest(batch_rows=1)
    write(nest.register(scrubbing=SCRUBBING) / "a.jsonl", [ADA, {**ADA, "note": "nothing"}])

    flight = nest.fly()
    nest.drain(lambda tasks: tasks[::-1])

    assert nest.hive.flight(flight).records_superseded == 1
    assert scrubbed(nest, flight) == [("badge", "rule", "mask_partial", 1), (*SUMS[1][:3], 1)]


def test_a_record_out_of_quarantine_counts_for_its_flight(make_nest, monkeypatch):
    nest = make_nest(value_limit=60)
    write(nest.register(scrubbing=SCRUBBING) / "a.jsonl", [ADA, {**BEN, "note": "n" * 100}])
    flight = nest.land().flight
    before = scrubbed(nest, flight)
    monkeypatch.setattr(nest.rt, "settings", nest.settings.model_copy(update={"value_limit": 1000}))

    retry(nest.rt, nest.one("SELECT id FROM hive.quarantine"))

    assert before == [("badge", "rule", "mask_partial", 1), (*SUMS[1][:3], 1), *SUMS[2:]]
    assert scrubbed(nest, flight) == SUMS


def test_a_record_out_of_quarantine_counts_also_while_its_flight_is_open(make_nest, monkeypatch):
    nest = make_nest(value_limit=60, batch_rows=1)
    write(nest.register(scrubbing=SCRUBBING) / "a.jsonl", [{**BEN, "note": "n" * 100}, ADA])
    flight = nest.fly()
    nest.drain(kinds=["plan", "collect"])
    nest.work(nest.due("process")[0])
    monkeypatch.setattr(nest.rt, "settings", nest.settings.model_copy(update={"value_limit": 1000}))
    retry(nest.rt, nest.one("SELECT id FROM hive.quarantine"))
    assert nest.hive.flight(flight).state == "running"

    nest.drain()

    assert scrubbed(nest, flight) == SUMS


def test_the_view_shows_the_counts_of_all_flights(people):
    flight = people.land().flight

    rows = people.rows("SELECT flight::text, bee, field, kind, action, count FROM hive.scrubbed ORDER BY field, kind")

    assert rows == [(flight, "people", *line) for line in sorted(SUMS)]


def test_very_many_fields_are_told_up_to_a_bound(nest):
    members = {f"m{n:04}": f"person{n}@example.com" for n in range(FIELDS + 20)}
    write(nest.register(scrubbing=SCRUBBING) / "a.jsonl", [{"id": 1, "all": members}])

    found = scrubbed(nest, nest.land().flight)

    assert len(found) == FIELDS + 1
    assert found[0] == ("*", "EMAIL_ADDRESS", "hash_with_salt", 20)
    assert sum(line[3] for line in found) == FIELDS + 20


@pytest.mark.parametrize("rows", [3, 300])
def test_few_and_many_are_counted_alike(rows):
    lines = [(row, "mail", "EMAIL_ADDRESS", 1 + row % 2) for row in range(rows)]
    removed = pa.table([pa.array(c, f.type) for c, f in zip(zip(*lines, strict=True), REMOVED, strict=True)], REMOVED)
    keys = pl.Series([f"k{row}" for row in range(rows)])
    written = {f"k{row}" for row in range(1, rows)}

    found = counted(removed, keys, written, lambda _field, _kind: "remove")

    count = sum(line[3] for line in lines[1:])
    assert found == [{"field": "mail", "kind": "EMAIL_ADDRESS", "action": "remove", "count": count}]
    assert merged(found, found)[0]["count"] == 2 * count
    assert merged(None, []) == []


class TestCommand:
    def test_the_newest_flight_of_a_bee_is_shown_with_what_was_taken_out(self, people, hive):
        flight = people.land().flight

        by_name, by_id = hive("flight", "people"), hive("flight", flight, "--json")

        assert by_id.json["scrubbed"] == [
            dict(zip(("field", "kind", "action", "count"), line, strict=True)) for line in SUMS
        ]
        assert flight in by_name.out
        assert "hash_with_salt" in by_name.out
        assert not [secret for secret in SECRETS if secret in by_name.out + json.dumps(by_id.json)]

    def test_a_bee_that_never_flew_says_so(self, people, hive):
        said = hive("flight", "people")

        assert said.code == 2
        assert "has not flown yet" in said.err
