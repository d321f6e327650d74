"""Whole flights in one process: what a jar holds afterwards, held against the files that were read."""

from __future__ import annotations

import shutil

import pytest

from bees.core.formats import json_blocks
from bees.core.tabular import JsonRows
from hive.flight.close import close_if_done
from tests.hive.nest import Nest, make_nest, nest, rows_of, write

__all__ = ["make_nest", "nest"]


def people(first: int, last: int, **more: object) -> list[dict[str, object]]:
    return [{"id": n, "name": f"person {n}", "age": n % 90, **more} for n in range(first, last)]


def counts(result) -> tuple[int, ...]:
    """read, landed, unchanged, superseded, deleted, quarantined"""
    names = ("read", "landed", "unchanged", "superseded", "deleted", "quarantined")
    return tuple(getattr(result, f"records_{name}") for name in names)


def put_aside(nest: Nest) -> list[tuple[str, int, int]]:
    """(code, rows it stands for, number) of what is in quarantine."""
    return nest.rows("SELECT code, records, count(*)::int FROM hive.quarantine GROUP BY 1, 2 ORDER BY 1, 2")


class TestContinuous:
    def test_everything_lands(self, nest):
        file = write(nest.register() / "a.jsonl", people(0, 300))

        result = nest.land()

        assert result.state == "complete"
        assert counts(result) == (300, 300, 0, 0, 0, 0)
        assert nest.jar() == rows_of(file)

    def test_a_second_flight_over_the_same_file_lands_nothing(self, nest):
        file = write(nest.register() / "a.jsonl", people(0, 300))
        nest.land()
        before = nest.rows("SELECT h::text FROM hive.honey h ORDER BY 1")

        result = nest.land()

        assert (result.state, result.records_landed) == ("complete", 0)
        assert nest.rows("SELECT h::text FROM hive.honey h ORDER BY 1") == before
        assert nest.jar() == rows_of(file)

    def test_of_a_changed_file_only_the_changes_land(self, nest):
        file = nest.register() / "a.jsonl"
        write(file, people(0, 300))
        first = nest.land()
        write(file, [*people(0, 299), {"id": 299, "name": "renamed", "age": 1}, *people(300, 302)])

        result = nest.land()

        assert counts(result) == (302, 3, 299, 0, 0, 0)
        assert nest.jar() == rows_of(file)
        touched = nest.rows("SELECT record_key FROM hive.honey WHERE flight <> %s::uuid ORDER BY 1", first.flight)
        assert touched == [("299",), ("300",), ("301",)]

    def test_a_full_refresh_reads_all_and_writes_what_differs(self, nest):
        file = write(nest.register() / "a.jsonl", people(0, 50))
        nest.land()

        result = nest.land(full_refresh=True)

        assert result.state == "complete"
        assert result.records_read == 50 == result.records_landed + result.records_unchanged
        assert nest.jar() == rows_of(file)
        assert nest.one("SELECT epoch FROM hive.checkpoint") == 2

    def test_many_small_batches_land_as_one_large_one(self, make_nest):
        nest = make_nest(batch_rows=7)
        file = write(nest.register() / "a.jsonl", people(0, 100))

        result = nest.land()

        assert counts(result) == (100, 100, 0, 0, 0, 0)
        assert nest.jar() == rows_of(file)
        assert nest.rows("SELECT sealed_seq, landed_seq FROM hive.checkpoint") == [(15, 15)]
        assert nest.one("SELECT count(*) FROM hive.payload") == 0

    def test_a_leg_that_is_told_to_stop_hands_over_and_nothing_is_lost(self, make_nest):
        nest = make_nest(batch_rows=10, leg=0.0)
        file = write(nest.register() / "a.jsonl", people(0, 100))

        result = nest.land()

        assert counts(result) == (100, 100, 0, 0, 0, 0)
        assert nest.jar() == rows_of(file)
        assert nest.one("SELECT count(*) FROM hive.task WHERE kind = 'collect'") >= 10


class TestQuarantine:
    def test_a_broken_line_is_put_aside_and_the_rest_lands(self, nest):
        file = nest.register() / "a.jsonl"
        lines = write(file, people(0, 20)).read_text().splitlines(keepends=True)
        file.write_text("".join([*lines[:10], '{"id": 99, "name": \n', *lines[10:]]))

        result = nest.land()

        assert result.state == "complete"
        assert counts(result) == (21, 20, 0, 0, 0, 1)
        assert nest.jar() == {str(row["id"]): row for row in people(0, 20)}
        ((_, records, number),) = put_aside(nest)
        assert (records, number) == (1, 1)

    @pytest.mark.parametrize("who", ["the bee", "the hive"])
    def test_a_row_whose_key_is_null_is_put_aside_with_that_reason(self, nest, monkeypatch, who):
        write(nest.register() / "a.jsonl", [*people(0, 5), {"id": None, "name": "nobody", "age": 3}])
        if who == "the hive":
            monkeypatch.setattr(json_blocks, "JsonRows", lambda lines, file, key: JsonRows(lines, file, ()))

        result = nest.land()

        assert counts(result) == (6, 5, 0, 0, 0, 1)
        assert put_aside(nest) == [("null_key" if who == "the hive" else "no_key", 1, 1)]
        assert nest.jar().keys() == {str(n) for n in range(5)}

    def test_what_is_put_aside_is_sealed(self, nest):
        write(nest.register() / "a.jsonl", [{"id": None, "name": "a very secret name"}])

        nest.land()

        body, reason, place = nest.rows("SELECT body, reason, place FROM hive.quarantine")[0]
        assert b"secret" not in bytes(body)
        assert "secret" not in reason + place


class TestFailure:
    def test_a_folder_that_is_not_there_fails_the_flight_with_advice(self, nest):
        shutil.rmtree(nest.register())

        result = nest.land()

        assert result.state == "failed"
        assert result.error["code"]
        assert result.error["advice"]
        assert nest.rows("SELECT 1 FROM hive.task WHERE state IN ('queued', 'running')") == []

    def test_after_a_failure_the_next_flight_finds_the_stream_free(self, nest):
        folder = nest.register()
        shutil.rmtree(folder)
        nest.land()
        folder.mkdir()
        file = write(folder / "a.jsonl", people(0, 5))

        result = nest.land()

        assert result.state == "complete"
        assert nest.jar() == rows_of(file)

    def test_a_failed_flight_destroys_its_key_too(self, nest):
        shutil.rmtree(nest.register())

        nest.land()

        assert nest.rows("SELECT data_key FROM hive.flight") == [(None,)]


class TestSnapshot:
    def test_a_snapshot_is_invisible_until_it_is_complete(self, make_nest):
        nest = make_nest(batch_rows=10)
        file = write(nest.register() / "a.jsonl", people(0, 30))
        flight = nest.fly(mode="snapshot")
        name = nest.hive.flight(flight).jar
        nest.drain(kinds=("plan", "collect"))
        for task in nest.due("process")[:-1]:
            nest.work(task)

        assert nest.one("SELECT visible FROM hive.jar WHERE name = %s", name) is False
        assert nest.rows("SELECT 1 FROM hive.honey") == []

        nest.drain()

        assert nest.hive.flight(flight).state == "complete"
        assert nest.jar(name) == rows_of(file)
        about = nest.one("SELECT metadata FROM hive.jar WHERE name = %s", name)
        assert about == {"source_comb": "people", "scrubbing_applied": True}

    def test_a_snapshot_that_fails_leaves_no_table(self, nest):
        shutil.rmtree(nest.register())

        result = nest.land(mode="snapshot")

        assert result.state == "failed"
        assert snapshot_tables(nest) == []
        assert nest.rows("SELECT visible, status FROM hive.jar WHERE name = %s", result.jar) == [(False, "archived")]

    def test_each_snapshot_is_whole_and_the_continuous_jar_untouched(self, nest):
        file = write(nest.register() / "a.jsonl", people(0, 10))
        nest.land()

        results = [nest.land(mode="snapshot") for _ in range(2)]

        assert len({result.jar for result in results}) == 2
        assert [nest.jar(result.jar) for result in results] == [rows_of(file)] * 2
        assert nest.jar() == rows_of(file)

    def test_a_request_that_comes_twice_makes_one_snapshot_and_one_jar(self, nest):
        write(nest.register() / "a.jsonl", people(0, 10))

        flights = {nest.fly(mode="snapshot", request="once") for _ in range(3)}
        nest.drain()

        assert len(flights) == 1
        assert nest.one("SELECT count(*) FROM hive.jar") == 1
        assert len(snapshot_tables(nest)) == 2


def snapshot_tables(nest: Nest) -> list[str]:
    """Tables of honey and chunks that no ordinary jar shares."""
    found = nest.rows("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^(honey|chunk)_[0-9]+$'")
    return [name for (name,) in found if int(name.rsplit("_", 1)[1]) >= 16]


class TestTotals:
    @pytest.mark.parametrize("batch_rows", [1000, 4])
    def test_every_record_that_was_read_is_accounted_for(self, make_nest, batch_rows):
        nest = make_nest(batch_rows=batch_rows)
        file = nest.register() / "a.jsonl"
        write(file, people(0, 12))
        nest.land()
        lines = [*people(0, 6), *people(3, 9, city="Berlin"), {"id": None}, *people(12, 14)]
        write(file, lines)
        with file.open("a") as more:
            more.write("not json\n")

        result = nest.land()

        assert result.state == "complete"
        assert result.records_read == len(lines) + 1 == sum(counts(result)[1:])
        assert result.records_quarantined == 2
        expected = {str(r["id"]): r for r in [*people(0, 12), *people(3, 9, city="Berlin"), *people(12, 14)]}
        assert clean(nest.jar()) == expected

    def test_records_that_went_missing_fail_the_flight(self, make_nest):
        nest = make_nest(batch_rows=10)
        write(nest.register() / "a.jsonl", people(0, 30))
        flight = nest.fly()
        nest.drain(kinds=("plan", "collect"))
        first, *rest = nest.due("process")
        nest.run("UPDATE hive.task SET state = 'done' WHERE id = %s", first[1])
        for task in rest:
            nest.work(task)

        result = nest.hive.flight(flight)

        assert (result.state, result.error["code"]) == ("failed", "unbalanced")

    def test_two_who_close_at_once_close_once(self, nest):
        write(nest.register() / "a.jsonl", people(0, 5))
        flight = nest.land()
        finished = nest.one("SELECT finished_at FROM hive.flight")
        day = nest.one("SELECT day FROM hive.flight")

        assert close_if_done(nest.rt.db, flight.flight, day) is None
        assert nest.one("SELECT finished_at FROM hive.flight") == finished


def clean(jar: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """A row that lacks a field, in a batch where others have it, comes with null there."""
    return {key: {name: value for name, value in row.items() if value is not None} for key, row in jar.items()}
