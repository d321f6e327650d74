"""What landed is searchable: taken up after the landing, by a search itself or beside the scheduler."""

from __future__ import annotations

import threading
import time

import pytest
from structlog.testing import capture_logs

from hive.doctor.work import unindexed
from hive.flight import process
from hive.jars import index, land, wire
from hive.jars.index import Indexer, Pace, catch_up, look
from hive.jars.search import search
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]


def found(nest, text, jar="people"):
    return sorted(hit["key"] for hit in search(nest.rt.db, jar, text, top_k=100))


def chunks(nest):
    return nest.rows("SELECT n, text, encode(text_hash, 'hex'), words FROM hive.chunk ORDER BY text, n")


def rows(count, note="plain words", first=1):
    return [{"id": n, "name": f"Ada {n}", "note": note} for n in range(first, first + count)]


def test_a_search_finds_what_has_just_landed(nest):
    write(nest.register() / "a.jsonl", rows(3, "melissa honey"))
    nest.land()

    assert nest.one("SELECT count(*) FROM hive.chunk") == 0
    assert found(nest, "melissa") == ["1", "2", "3"]
    assert nest.one("SELECT count(*) FROM hive.unindexed") == 0


@pytest.mark.parametrize("many", [0, 1_000])
def test_a_record_is_found_by_its_newest_words_only(nest, monkeypatch, many):
    monkeypatch.setattr(index, "MANY", many)
    folder = nest.register()
    write(folder / "a.jsonl", rows(3, "first version"))
    nest.land()
    catch_up(nest.rt.db)
    write(folder / "a.jsonl", [*rows(2, "first version"), {"id": 3, "name": "Eve", "note": "second edition"}])
    nest.land()

    assert found(nest, "edition") == ["3"]
    assert found(nest, "version") == ["1", "2"]
    assert found(nest, "ada") == ["1", "2"]


def test_two_versions_that_wait_together_leave_the_newer(nest):
    folder = nest.register()
    for note in ("first", "second", "third"):
        write(folder / "a.jsonl", rows(2, note))
        nest.land()

    assert found(nest, "third") == ["1", "2"]
    assert found(nest, "first") == found(nest, "second") == []


def test_few_and_many_records_are_indexed_alike(make_nest, monkeypatch):
    told = [
        {"id": 1, "note": "a b c", "more": None},
        {"id": 2, "note": None, "more": "only this"},
        {"id": 3, "note": "", "more": ""},
        {"id": 4, "note": "word " * 40_000, "more": "end"},
        {"id": 5, "note": "100 % of {braces} and 'quotes'", "more": "%s"},
    ]
    seen = []
    for many in (0, 1_000):
        monkeypatch.setattr(index, "MANY", many)
        nest = make_nest()
        write(nest.register() / "a.jsonl", told)
        nest.land()
        catch_up(nest.rt.db)
        seen.append(chunks(nest))

    assert seen[0] == seen[1]
    assert len(seen[0]) > len(told)
    assert "only this" in [text for _, text, *_ in seen[0]]


def test_odd_names_of_fields_are_searched_too(nest, monkeypatch):
    monkeypatch.setattr(index, "MANY", 0)
    write(nest.register() / "a.jsonl", [{"id": 1, '100% {of} it\'s "this"': "melissa"}])
    nest.land()

    assert found(nest, "melissa") == ["1"]


def test_documents_are_cut_into_chunks(nest):
    folder = nest.register(streams={"rows": {"format": "document", "patterns": "*.txt"}})
    (folder / "a.txt").write_text("first paragraph\n\n" * 200 + "melissa at the end")
    nest.land()

    assert len(found(nest, "melissa")) == 1
    assert nest.one("SELECT count(*) FROM hive.chunk") > 1
    assert nest.one("SELECT string_agg(text, '' ORDER BY n) FROM hive.chunk").endswith("melissa at the end")


def test_what_cannot_be_indexed_keeps_nothing_else_from_it(nest, monkeypatch):
    """One record of five: the others are found, and the log says which landing is not."""
    folder = nest.register()
    plain = index.chunks

    def refuses(text):
        if "odd" in text:
            raise RecursionError
        return plain(text)

    monkeypatch.setattr(index, "chunks", refuses)
    for n in range(5):
        write(folder / f"{n}.jsonl", [{"id": n, "text": f"{'odd' if n == 2 else 'melissa'} " + "word " * 15_000}])
        nest.land()
    with capture_logs() as logs:
        catch_up(nest.rt.db)

    assert [line["kind"] for line in logs if line["event"] == "index.left_out"] == ["RecursionError"]
    assert found(nest, "melissa") == ["0", "1", "3", "4"]
    assert nest.one("SELECT count(*) FROM hive.unindexed") == 0


def test_the_thread_takes_up_what_waits(nest):
    write(nest.register() / "a.jsonl", rows(3))
    indexer = Indexer(nest.rt.db)
    indexer.start()
    try:
        nest.land()
        until = time.monotonic() + 20
        while nest.one("SELECT count(*) FROM hive.chunk") < 3 and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        indexer.stop()

    assert nest.one("SELECT count(*) FROM hive.chunk") == 3
    assert nest.one("SELECT count(*) FROM hive.unindexed") == 0


def test_a_look_takes_small_landings_together_and_leaves_what_comes_meanwhile(nest, monkeypatch):
    """One step for five landings; the sixth, which lands while they are indexed, waits for the next look."""
    folder = nest.register()
    for n in range(5):
        write(folder / f"{n}.jsonl", rows(1, "melissa", first=n))
        nest.land()
    steps, plain = [], index._index

    def meanwhile(tx, part, notes):
        steps.append(len(notes))
        plain(tx, part, notes)
        if len(steps) == 1:
            write(folder / "late.jsonl", rows(1, "late", first=9))
            nest.land()

    monkeypatch.setattr(index, "_index", meanwhile)

    assert look(nest.rt.db, Pace(), threading.Event()) == 5
    assert nest.one("SELECT count(*) FROM hive.unindexed") == 1
    assert look(nest.rt.db, Pace(), threading.Event()) == 1
    assert steps == [5, 1]
    assert found(nest, "melissa") == ["0", "1", "2", "3", "4"]
    assert found(nest, "late") == ["9"]


@pytest.mark.parametrize(("queue", "state"), [("nectar", "queued"), ("bees.file", "running")])
def test_flights_go_before_words_for_a_while(nest, monkeypatch, queue, state):
    folder = nest.register()
    write(folder / "a.jsonl", rows(1, "melissa"))
    nest.land()
    nest.run(
        "INSERT INTO hive.task (day, flight, bee, kind, queue, priority, state, hinted_at)"
        " SELECT day, flight, bee, 'process', %s, 0, %s, clock_timestamp() FROM hive.task LIMIT 1",
        queue, state,
    )  # fmt: skip

    assert look(nest.rt.db, Pace(), threading.Event()) == 0
    assert found(nest, "melissa") == ["1"]  # who searches does not wait

    write(folder / "b.jsonl", rows(1, "later", first=2))
    nest.land()
    monkeypatch.setattr(index, "YIELDS", 0.0)
    assert look(nest.rt.db, Pace(), threading.Event()) == 1


def test_a_look_takes_all_of_a_long_queue(nest):
    folder = nest.register()
    for n in range(3):
        write(folder / f"{n}.jsonl", rows(1, "melissa", first=n))
        nest.land()

    assert look(nest.rt.db, Pace(notes=1), threading.Event()) == 3
    assert nest.one("SELECT count(*) FROM hive.unindexed") == 0


def test_many_at_once_write_each_record_once(nest):
    folder = nest.register()
    for turn in range(4):
        write(folder / "a.jsonl", rows(50, f"turn {turn}"))
        nest.land()
    threads = [threading.Thread(target=catch_up, args=(nest.rt.db,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert nest.rows("SELECT count(*), count(DISTINCT key_hash) FROM hive.chunk") == [(50, 50)]
    assert len(found(nest, "turn")) == 50


def test_without_search_nothing_is_noted(make_nest):
    nest = make_nest(search=False)
    write(nest.register() / "a.jsonl", rows(3))
    nest.land()

    assert nest.one("SELECT count(*) FROM hive.unindexed") == 0


def test_what_waits_for_a_part_that_is_gone_is_dropped(nest):
    write(nest.register() / "a.jsonl", rows(3))
    nest.land()
    with nest.rt.db.transaction() as tx:
        tx.psycopg.execute("UPDATE hive.unindexed SET part = 999")

    assert catch_up(nest.rt.db) == 3
    assert nest.one("SELECT count(*) FROM hive.unindexed") == 0


class TestFresh:
    """Records of which the jar seems to hold none go straight into it."""

    @pytest.fixture(autouse=True)
    def _from_two_records_on(self, monkeypatch):
        monkeypatch.setattr(land, "MANY", 2)
        monkeypatch.setattr(process, "SAMPLE", 1)
        self.copied = []
        straight = land._copy_fresh

        def copy(tx, place, frame):
            self.copied.append(frame.height)
            return straight(tx, place, frame)

        monkeypatch.setattr(land, "_copy_fresh", copy)

    def test_new_records_are_copied_into_the_jar(self, nest):
        odd = [
            {"id": n, "note": t} for n, t in enumerate(["tab\there", "line\nfeed", "back\\slash", "\\N", "ü € 𝄞", ""])
        ]
        write(nest.register() / "a.jsonl", odd)
        result = nest.land()

        assert (result.records_landed, self.copied) == (6, [6])
        assert nest.jar() == {str(row["id"]): row for row in odd}

    def test_a_copied_record_is_in_all_as_a_compared_one(self, nest, monkeypatch):
        monkeypatch.setattr(wire, "_AT_ONCE", 3)
        some = [{"id": n, "note": f"a{n}@example.org" if n % 3 else "plain", "ü": "𝄞" * n} for n in range(8)]
        landed = []
        for name, least in (("copied", 2), ("compared", 1_000)):
            monkeypatch.setattr(land, "MANY", least)
            folder = nest.register(name, scrubbing={"profile": "gdpr_compliant"})
            write(folder / "a.jsonl", some)
            flight = nest.land(name)
            landed.append(
                nest.rows(
                    "SELECT epoch, seq, h.row, written_seq, scrub_version, deleted_at, encode(key_hash, 'hex'),"
                    " encode(content_hash, 'hex'), record_key, data::text, marks::text,"
                    " collected_at BETWEEN f.created_at AND clock_timestamp()"
                    " FROM hive.honey h JOIN hive.flight f ON f.id = h.flight WHERE f.id = %s ORDER BY h.row",
                    flight.flight,
                )
            )

        assert self.copied == [8]
        assert landed[0] == landed[1]
        assert [line[-1] for line in landed[0]] == [True] * 8
        assert [line[-2] is None for line in landed[0]] == [n % 3 == 0 for n in range(8)]

    def test_one_that_is_there_after_all_is_compared(self, nest):
        folder = nest.register()
        write(folder / "a.jsonl", rows(3))
        nest.land()
        write(
            folder / "b.jsonl", [{"id": 9, "name": "new", "note": ""}, *rows(2), {"id": 3, "name": "Eve", "note": ""}]
        )
        result = nest.land()

        assert self.copied == [3, 4]
        assert (result.records_landed, result.records_unchanged) == (2, 2)
        assert nest.jar()["3"]["name"] == "Eve"
        assert sorted(nest.jar()) == ["1", "2", "3", "9"]

    def test_known_records_are_compared_at_once(self, nest):
        folder = nest.register()
        write(folder / "a.jsonl", rows(3))
        nest.land()
        write(folder / "b.jsonl", rows(4))
        result = nest.land()

        assert self.copied == [3]
        assert (result.records_landed, result.records_unchanged) == (1, 3)

    def test_a_record_twice_in_a_batch_lands_once(self, nest):
        write(nest.register() / "a.jsonl", [*rows(2), *rows(2, "newer")])
        result = nest.land()

        assert (result.records_landed, result.records_superseded) == (2, 2)
        assert nest.jar()["1"]["note"] == "newer"


def test_the_doctor_tells_of_text_that_nobody_indexes(nest):
    write(nest.register() / "a.jsonl", rows(3))
    nest.land()
    nest.rows("UPDATE hive.unindexed SET landed_at = landed_at - interval '1 hour' RETURNING 1")
    with nest.rt.db.transaction() as tx:
        (finding,) = unindexed(tx)
        assert "3 records" in finding.why
    catch_up(nest.rt.db)
    with nest.rt.db.transaction() as tx:
        assert unindexed(tx) == []
