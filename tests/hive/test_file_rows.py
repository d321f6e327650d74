"""Rows of tables in a jar: what a file no longer holds, and all of a file that is gone, leaves it."""

from __future__ import annotations

import json
import random
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hive.flight import sections
from hive.flight.collect import Leg
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]


def folder(nest: Nest, *, key: str = "", zips: bool = False, **source: Any) -> Path:
    root = nest.folder / "rows"
    rows = {"patterns": "*.zip", "format": "csv"} if zips else {"patterns": ["*.csv", "*.jsonl", "*.parquet"]}
    rows |= {"key": key} if key else {}
    limits = {"max_deleted": source.get("max_deleted", 0.3)}  # of the bee's files, and of the hive's records
    given = {"path": str(root), "batch_rows": 5000} | source
    return nest.register("rows", streams={"rows": rows}, source=given, limits=limits)


def held(nest: Nest) -> list[dict[str, Any]]:
    found = nest.rows("SELECT data FROM hive.honey WHERE deleted_at IS NULL ORDER BY record_key")
    return [data for (data,) in found]


def ids(nest: Nest) -> list[int]:
    return sorted(int(row["id"]) for row in held(nest))


def table(*numbers: int) -> str:
    return "id,name\n" + "".join(f"{n},thing {n}\n" for n in numbers)


def left(nest: Nest) -> tuple[int, int]:
    """Readings that wait to be compared, and keys that are written down."""
    return nest.rows(
        "SELECT (SELECT count(*) FROM hive.section_read WHERE to_seq IS NOT NULL),"
        " (SELECT coalesce(sum(cardinality(keys)), 0)::int FROM hive.section_keys)"
    )[0]


def test_rows_of_a_shortened_file_and_of_a_deleted_one_leave_the_jar(nest: Nest) -> None:
    root = folder(nest, max_deleted=1.0)
    (root / "a.csv").write_text(table(*range(1, 31)))
    (root / "b.csv").write_text(table(101, 102))
    (root / "c.jsonl").write_text('{"id": 201}\n{"id": 202}\n')
    first = nest.land("rows")
    assert (first.records_read, first.records_landed, first.records_deleted) == (34, 34, 0)
    assert left(nest) == (0, 34)

    (root / "a.csv").write_text(table(1, 2, 3))
    shorter = nest.land("rows")
    assert (shorter.state, shorter.records_read, shorter.records_unchanged, shorter.records_deleted) == (
        "complete", 3, 3, 27
    )  # fmt: skip
    assert ids(nest) == [1, 2, 3, 101, 102, 201, 202]

    (root / "b.csv").unlink()
    (root / "c.jsonl").unlink()
    gone = nest.land("rows")
    assert (gone.state, gone.records_read, gone.records_deleted) == ("complete", 0, 4)
    assert ids(nest) == [1, 2, 3]
    assert nest.land("rows").records_read == 0
    assert left(nest) == (0, 3)

    (root / "b.csv").write_text(table(101, 102))
    assert nest.land("rows").records_landed == 2
    assert ids(nest) == [1, 2, 3, 101, 102]


@pytest.mark.parametrize("key", ["", "id"])
def test_where_nothing_is_missed_the_landing_itself_forgets_the_older_reading(
    nest: Nest, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    root = folder(nest, key=key)
    compared: list[Any] = []
    real = sections.retire_left

    def watched(*given: Any) -> bool:
        compared.append(left(nest))
        return real(*given)

    monkeypatch.setattr(sections, "retire_left", watched)
    (root / "a.csv").write_text(table(1, 2, 3))
    (root / "b.csv").write_text(table(4))
    nest.land("rows")
    (root / "a.csv").write_text(table(1, 2, 3, 5).replace("thing 2", "another"))
    more = nest.land("rows")
    assert (more.records_landed, more.records_unchanged, more.records_deleted) == (2, 2, 0)
    assert (compared, left(nest)) == ([], (0, 5))

    (root / "a.csv").write_text(table(1, 2, 5))
    less = nest.land("rows")
    assert (less.records_landed, less.records_deleted) == ((1, 1) if key else (2, 1))
    assert (compared, left(nest)) == ([(1, 8)], (0, 4))
    assert ids(nest) == [1, 2, 4, 5]


def test_many_sections_are_compared_at_the_flights_end_only(nest: Nest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "_AT_ONCE", 2)
    root = folder(nest)
    for name in "abc":
        (root / f"{name}.csv").write_text(table(ord(name)))
    nest.fly("rows")
    nest.drain(kinds=["plan", "collect"])
    with monkeypatch.context() as patch:
        patch.setattr(sections, "retire_left", lambda *_: False)
        nest.drain()
    assert left(nest) == (3, 3)

    (root / "c.csv").write_text(table(1))
    assert nest.land("rows").records_landed == 1
    assert left(nest) == (0, 3)


def test_a_flight_whose_rows_land_before_its_last_batch_without_any_is_closed(
    make_nest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nest = make_nest(batch_rows=2)
    root = folder(nest, batch_rows=2, max_deleted=1.0)
    (root / "a.csv").write_text(table(1, 2))
    (root / "b.csv").write_text(table(3))
    nest.land("rows")
    (root / "a.csv").write_text(table(4, 5))
    (root / "b.csv").unlink()
    seal, rows = Leg._seal, []

    def watched(leg: Leg, batch: Any, *, last: bool) -> None:
        seal(leg, batch, last=last)
        rows.append((batch.table.num_rows, last))
        if not last:
            nest.drain(kinds=["process"])

    monkeypatch.setattr(Leg, "_seal", watched)
    flight = nest.fly("rows")
    nest.drain()

    assert rows[-1] == (0, True)
    assert sum(count for count, _ in rows) == 2
    assert nest.hive.flight(flight).state == "complete"
    assert ids(nest) == [4, 5]


@pytest.mark.parametrize("stream", ["rows", "documents"])
def test_files_that_are_gone_at_once_leave_the_jar_over_many_legs(make_nest: Any, stream: str) -> None:
    nest = make_nest(leg=0.0)
    if stream == "rows":
        root = folder(nest, key="id", max_deleted=1.0, batch_rows=2)
        names = [f"{n}.csv" for n in range(9)]
    else:
        source = {"path": str(nest.folder / "rows"), "batch_rows": 2, "max_deleted": 1}
        streams = {"rows": {"patterns": "*.txt", "format": "document"}}
        root = nest.register("rows", streams=streams, source=source, limits={"max_deleted": 1.0})
        names = [f"{n}.txt" for n in range(9)]
    for number, name in enumerate(names):
        (root / name).write_text(table(number, 100))
    nest.land("rows")
    for name in names[1:]:
        (root / name).unlink()

    gone = nest.land("rows")

    assert (gone.state, gone.records_deleted) == ("complete", 8)
    assert [row.get("id") or row["path"] for row in held(nest)] == (["0", "100"] if stream == "rows" else ["0.txt"])
    assert nest.land("rows").records_deleted == 0


def test_a_record_that_another_file_holds_too_stays(nest: Nest) -> None:
    root = folder(nest, key="id")
    (root / "a.csv").write_text(table(1, 2, 3))
    (root / "b.csv").write_text(table(3, 4))
    nest.land("rows")
    (root / "a.csv").write_text(table(1))
    nest.land("rows")
    assert ids(nest) == [1, 3, 4]

    (root / "c.csv").write_text(table(4))
    (root / "b.csv").unlink()
    moved = nest.land("rows")

    assert (moved.records_read, moved.records_deleted) == (1, 1)
    assert ids(nest) == [1, 4]


def test_a_renamed_table_comes_under_its_new_name_only(nest: Nest) -> None:
    root = folder(nest)
    (root / "a.csv").write_text(table(1, 2))
    nest.land("rows")
    (root / "a.csv").rename(root / "z.csv")
    nest.land("rows")

    assert [(row["source_file"], row["id"]) for row in held(nest)] == [("z.csv", "1"), ("z.csv", "2")]


def test_a_file_that_was_not_read_whole_deletes_nothing(nest: Nest) -> None:
    root = folder(nest)
    (root / "a.csv").write_text(table(*range(1, 9)))
    pq.write_table(pa.table({"id": [11, 12]}), root / "b.parquet")
    nest.land("rows")
    (root / "a.csv").write_text('id,name\n1,thing 1\n2,"never closed\n')
    (root / "b.parquet").write_bytes(b"PAR1" + bytes(100))

    broken = nest.land("rows")

    assert (broken.records_deleted, broken.records_quarantined) == (0, 2)
    assert ids(nest) == [*range(1, 9), 11, 12]
    (root / "a.csv").write_text(table(1))
    pq.write_table(pa.table({"id": [11]}), root / "b.parquet")
    assert nest.land("rows").records_deleted == 8
    assert ids(nest) == [1, 11]
    assert nest.rows("SELECT DISTINCT state FROM hive.quarantine") == [("dropped",)]


def test_a_row_that_is_set_aside_stays_as_it_was_and_the_missing_ones_go(nest: Nest) -> None:
    root = folder(nest)
    (root / "a.csv").write_text(table(1, 2, 3, 4))
    nest.land("rows")
    (root / "a.csv").write_text("id,name\n1,thing 1\n2\n3,thing 3\n")

    result = nest.land("rows")

    assert (result.records_quarantined, result.records_deleted) == (1, 1)
    assert ids(nest) == [1, 2, 3]


def test_a_batch_that_could_not_land_makes_the_knowledge_partial(nest: Nest) -> None:
    root = folder(nest)
    (root / "a.csv").write_text(table(1, 2, 3))
    nest.land("rows")
    (root / "a.csv").write_text(table(7))
    flight = nest.fly("rows")
    nest.drain(kinds=["plan", "collect"])
    nest.run("UPDATE hive.payload SET body = '\\x00'::bytea || body")
    nest.drain()

    assert (nest.hive.flight(flight).state, nest.hive.flight(flight).records_deleted) == ("failed", 0)
    assert ids(nest) == [1, 2, 3]


def test_what_leaves_an_archive_leaves_the_jar(nest: Nest) -> None:
    root = folder(nest, zips=True)

    def pack(**members: str) -> None:
        with zipfile.ZipFile(root / "all.zip", "w") as made:
            for name, text in members.items():
                made.writestr(f"{name}.csv", text)

    pack(a=table(1, 2), b=table(3, 4))
    nest.land("rows")
    pack(b=table(4))
    nest.land("rows")
    assert ids(nest) == [4]
    (root / "all.zip").unlink()
    nest.land("rows")
    assert ids(nest) == []


def test_too_many_rows_at_once_wait_for_a_person(nest: Nest) -> None:
    """The beginning of an upload in the place of a table."""
    root = folder(nest)
    (root / "a.csv").write_text(table(*range(1, 31)))
    (root / "b.csv").write_text(table(101))
    nest.land("rows")

    (root / "a.csv").write_text(table())
    broken = nest.land("rows")
    assert (broken.state, broken.records_deleted) == ("complete", 0)
    assert ids(nest) == [*range(1, 31), 101]
    assert nest.one("SELECT held_deletes FROM hive.checkpoint") == 30

    (root / "a.csv").write_text(table(*range(1, 29)))
    mended = nest.land("rows")
    assert (mended.state, mended.records_deleted) == ("complete", 2)
    assert ids(nest) == [*range(1, 29), 101]
    assert nest.one("SELECT held_deletes FROM hive.checkpoint") == 0


_PAGE = b"<!DOCTYPE html>\n<html><body>\n<p>Sign in, please</p>\n</body></html>\n"


@pytest.mark.parametrize("key", ["", "id"])
@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("a.csv", b""), ("a.jsonl", b""), ("a.csv", b"\xef\xbb\xbf\r\n"), ("a.jsonl", b" \n"), ("a.csv", bytes(5000)),
        ("a.jsonl", bytes(5000)), ("a.csv", b'{"message": "Forbidden"}\n'), ("a.csv", b"Service Unavailable\n"),
        ("a.jsonl", b"Service Unavailable\n"), ("a.csv", _PAGE), ("a.jsonl", _PAGE),
        ("a.csv", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        ("a.csv", b"id,name\n1,thing 1\n" + bytes(500)),
    ],
)  # fmt: skip
def test_what_is_no_table_any_more_deletes_nothing_and_is_told(nest: Nest, now: bytes, name: str, key: str) -> None:
    root = folder(nest, key=key)
    rows = "".join(f'{{"id": {n}}}\n' for n in range(1, 6)) if name == "a.jsonl" else table(*range(1, 6))
    (root / name).write_text(rows)
    (root / "b.csv").write_text(table(101))
    nest.land("rows")

    (root / name).write_bytes(now)
    told = nest.land("rows")
    assert (told.state, told.records_deleted, told.records_quarantined > 0) == ("complete", 0, True)
    assert ids(nest) == [1, 2, 3, 4, 5, 101]

    (root / name).write_text(rows)
    mended = nest.land("rows")
    assert (mended.records_deleted, ids(nest)) == (0, [1, 2, 3, 4, 5, 101])
    assert nest.rows("SELECT DISTINCT state FROM hive.quarantine") == [("dropped",)]


@pytest.mark.parametrize("way", ["full refresh", "max_deleted"])
def test_a_table_that_is_meant_to_be_empty_can_be(nest: Nest, way: str) -> None:
    root = folder(nest)
    (root / "a.jsonl").write_text('{"id": 1}\n')
    (root / "b.csv").write_text(table(101))
    nest.land("rows")
    (root / "a.jsonl").write_bytes(b"")
    nest.land("rows")
    assert ids(nest) == [1, 101]
    if way == "max_deleted":
        folder(nest, max_deleted=1.0)
    nest.land("rows", full_refresh=way == "full refresh")

    assert ids(nest) == [101]
    assert nest.rows("SELECT count(*) FROM hive.quarantine WHERE state = 'open'") == [(0,)]


@pytest.mark.parametrize("key", ["", "id"])
@pytest.mark.parametrize("fault", ["row", "file", "none"])
def test_a_full_refresh_deletes_what_is_gone_though_a_row_or_a_file_is_bad(nest: Nest, key: str, fault: str) -> None:
    root = folder(nest, key=key, max_deleted=1.0)
    (root / "a.csv").write_text(table(1, 2))
    (root / "b.csv").write_text(table(3))
    pq.write_table(pa.table({"id": [11, 12]}), root / "c.parquet")
    nest.land("rows")

    (root / "b.csv").unlink()
    if fault == "row":
        (root / "a.csv").write_text("id,name\n1,thing 1\n2\n")
    if fault == "file":
        (root / "c.parquet").write_bytes(b"PAR1" + bytes(100))
    result = nest.land("rows", full_refresh=True)

    assert (result.state, result.records_deleted) == ("complete", 1)
    assert ids(nest) == [1, 2, 11, 12]
    (root / "c.parquet").unlink()
    nest.land("rows")
    assert ids(nest) == [1, 2]


def test_very_many_rows_that_are_gone_are_deleted_some_at_a_time(nest: Nest, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(nest, max_deleted=1.0)
    (root / "a.csv").write_text(table(0))
    (root / "b.csv").write_text(table(1))
    nest.land("rows")
    many = 100_000
    nest.run(
        "INSERT INTO hive.honey SELECT (jsonb_populate_record(h, jsonb_build_object("
        "    'key_hash', '\\x' || md5(n::text), 'record_key', n))).* FROM hive.honey h, generate_series(1, %s) n"
        "  WHERE h.data ->> 'id' = '0'",
        many,
    )
    nest.run(
        "UPDATE hive.section_keys s SET keys = s.keys || k.keys FROM hive.honey h,"
        "  (SELECT array_agg(decode(md5(n::text), 'hex')) AS keys FROM generate_series(1, %s) n) k"
        "  WHERE h.data ->> 'id' = '0' AND length(h.record_key) > 7 AND h.key_hash = ANY (s.keys)",
        many,
    )
    monkeypatch.setattr("hive.flight.missed.SOME", 5_000)
    (root / "a.csv").unlink()

    tracemalloc.start()
    nest.land("rows")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert ids(nest) == [1]
    assert nest.one("SELECT sum(deleted)::int FROM hive.receipt") == many + 1
    assert nest.rows("SELECT records, keys IS NULL FROM hive.unindexed ORDER BY id DESC LIMIT 1") == [(many + 1, True)]
    assert peak < 100 * many


def test_reading_in_many_legs_deletes_at_its_end_only(nest: Nest, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(nest, batch_rows=5, max_deleted=1.0)
    (root / "a.csv").write_text(table(*range(1, 41)))
    (root / "b.csv").write_text(table(101))
    monkeypatch.setattr("hive.flight.collect.Leg._is_over", lambda *_: True)
    nest.land("rows")
    assert len(ids(nest)) == 41
    (root / "a.csv").write_text(table(*range(11, 31)))

    result = nest.land("rows")

    assert (result.records_read, result.records_deleted) == (20, 20)
    assert ids(nest) == [*range(11, 31), 101]


@pytest.mark.parametrize("mode", ["file_monitor", "bucket_snapshot"])
def test_a_full_refresh_and_a_snapshot_of_the_bucket_meet_what_there_is(nest: Nest, mode: str) -> None:
    root = folder(nest, mode=mode)
    (root / "a.csv").write_text(table(1, 2, 3))
    (root / "b.csv").write_text(table(4))
    nest.land("rows")
    (root / "a.csv").write_text(table(1, 2))
    (root / "b.csv").unlink()
    nest.land("rows", full_refresh=mode == "file_monitor")

    assert ids(nest) == [1, 2]


@pytest.mark.parametrize("key", ["", "id"])
@pytest.mark.parametrize("mode", ["file_monitor", "bucket_snapshot"])
@pytest.mark.parametrize("others", [True, False], ids=["beside another", "alone"])
def test_rows_of_a_table_without_any_leave_the_jar_in_each_mode(nest: Nest, mode: str, key: str, others: bool) -> None:
    root = folder(nest, mode=mode, key=key)
    (root / "a.csv").write_text(table(1, 2, 3))
    if others:
        (root / "b.csv").write_text(table(4))
    nest.land("rows")
    (root / "a.csv").write_text(table())
    nest.land("rows")

    assert ids(nest) == [4] * others
    (root / "a.csv").write_text(table(1))
    nest.land("rows")
    assert ids(nest) == [1] + [4] * others


def test_pattern_match_deletes_nothing(nest: Nest) -> None:
    root = folder(nest, mode="pattern_match")
    (root / "a.csv").write_text(table(1, 2, 3))
    nest.land("rows")
    (root / "a.csv").write_text(table(1))
    nest.land("rows")
    (root / "a.csv").unlink()
    nest.land("rows")

    assert ids(nest) == [1, 2, 3]
    assert left(nest) == (0, 0)


def test_when_very_many_files_are_gone_a_person_is_asked(nest: Nest) -> None:
    root = folder(nest)
    for number in range(30):
        (root / f"{number}.csv").write_text(table(number))
    nest.land("rows")
    for number in range(25):
        (root / f"{number}.csv").unlink()
    held_back = nest.land("rows")

    assert (held_back.records_deleted, held_back.records_quarantined, len(ids(nest))) == (0, 1, 30)
    assert nest.rows("SELECT code FROM hive.quarantine") == [("too_many_gone",)]


def test_the_ledger_names_no_file(nest: Nest) -> None:
    root = folder(nest)
    (root / "jane.doe@example.com.csv").write_text(table(1))
    nest.land("rows")

    told = nest.rows("SELECT encode(section, 'escape'), length(section) FROM hive.section_keys")
    assert [size for _, size in told] == [16]
    assert "jane" not in json.dumps(told)


@pytest.mark.parametrize("key", ["", "id"])
@pytest.mark.parametrize("bad", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_changes_and_wherever_reading_stops_the_jar_holds_what_the_files_hold(
    nest: Nest, monkeypatch: pytest.MonkeyPatch, seed: int, key: str, bad: float
) -> None:
    """`bad`: how often a file has a line that is no row; in the end it is mended."""
    chance = random.Random(seed)
    root = folder(nest, key=key, batch_rows=chance.choice([3, 5000]), max_deleted=1.0)
    monkeypatch.setattr("hive.flight.collect.Leg._is_over", lambda *_: chance.random() < 0.5)
    files: dict[str, list[int]] = {}

    def change() -> None:
        name = chance.choice(["a.csv", "b.csv", "c.csv", "d/e.csv"])
        if name in files and chance.random() < 0.3:
            (root / name).unlink()
            del files[name]
            return
        files[name] = chance.sample(range(20), chance.randrange(15))
        (root / name).parent.mkdir(exist_ok=True)
        lines = table(*files[name]).splitlines(keepends=True)
        if chance.random() < bad:
            lines.insert(chance.randrange(1, len(lines) + 1), "no row\n")
        (root / name).write_text("".join(lines))

    for _ in range(8):
        for _ in range(chance.randrange(3)):
            change()
        flight = nest.fly("rows", full_refresh=chance.random() < 0.15)
        if chance.random() < 0.25:
            for _ in range(chance.randrange(1, 4)):
                for task in chance.sample(nest.due(), min(1, len(nest.due()))):
                    nest.work(task)
            change()
            if nest.hive.flight(flight).state in ("queued", "running") and chance.random() < 0.5:
                nest.hive.cancel(flight)
        nest.drain(order=lambda tasks: chance.sample(tasks, len(tasks)))
    for name, numbers in files.items():
        (root / name).write_text(table(*numbers))
    for _ in range(2):
        nest.land("rows")

    if key:
        assert ids(nest) == sorted({n for numbers in files.values() for n in numbers})
    else:
        found = sorted((row["source_file"], int(row["id"])) for row in held(nest))
        assert found == sorted((name, n) for name, numbers in files.items() for n in numbers)
    distinct = nest.one("SELECT count(DISTINCT k) FROM hive.section_keys, unnest(keys) k")
    assert distinct == len(ids(nest))
    if not bad:  # else a reading of everything may not have been complete, and what it met is forgotten later
        assert nest.one("SELECT count(*) FROM hive.seen") == 0
    assert nest.rows("SELECT count(*) FROM hive.quarantine WHERE state = 'open'") == [(0,)]
