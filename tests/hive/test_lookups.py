"""Who goes to a jar for some records reads those, whatever the server believes of the stream they are in.

A stream that grew since the server last counted it is of one record to its planner, which then would read all of it, or
compare everything with everything.
"""

from __future__ import annotations

import polars as pl
import pytest

from hive.flight import missed, sections
from hive.flight.process import hold_landing
from hive.jars import index, land
from hive.jars.index import catch_up
from hive.jars.jar import STREAM, partition
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]

MANY, FEW = 3_000, 20
READ = (
    "SELECT coalesce(sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0)), 0)::int"
    " FROM pg_stat_xact_user_tables WHERE schemaname = 'hive' AND relname = ANY (%s)"
)


def rows(count, note):
    return [{"id": n, "name": f"Ada {n}", "note": f"{note} {n}"} for n in range(count)]


class Grown:
    """Two jars in one part: the server has counted the first, and never saw the second."""

    def __init__(self, nest):
        self.nest = nest
        same = "SELECT 'jar' || n FROM generate_series(1, 999) n WHERE abs(hashtext('jar' || n)) %% 16 = 3 LIMIT 2"
        (one,), (self.name,) = nest.rows(same)
        tables = ["honey_3", "chunk_3"]
        write(nest.register(one) / "a.jsonl", rows(200, "seen"))
        nest.land(one)
        catch_up(nest.rt.db)
        with nest.rt.db.transaction() as tx:
            for table in tables:
                tx.psycopg.execute(f"ALTER TABLE hive.{table} SET (autovacuum_enabled = off)".encode())
                tx.psycopg.execute(f"ANALYZE hive.{table}".encode())
        self.folder = nest.register(self.name)
        write(self.folder / "a.jsonl", rows(MANY, "first"))
        nest.land(self.name)
        catch_up(nest.rt.db)

    def place(self):
        found = self.nest.rows(
            "SELECT part, jar, bee, stream, epoch, max(seq) + 1, (array_agg(flight))[1], max(scrub_version), 'now'"
            " FROM hive.honey WHERE jar = (SELECT id FROM hive.jar WHERE name = %s) GROUP BY 1, 2, 3, 4, 5",
            self.name,
        )
        return land.Place(*found[0])

    def some(self):
        """(key, content hash) of some records, as hex."""
        return self.nest.rows(
            "SELECT encode(key_hash, 'hex'), encode(content_hash, 'hex') FROM hive.honey"
            " WHERE jar = (SELECT id FROM hive.jar WHERE name = %s) ORDER BY key_hash LIMIT %s",
            self.name, FEW,
        )  # fmt: skip

    def read(self, tx, table="honey_3"):
        """Records of the table that were read so far."""
        return tx.psycopg.execute(READ, [[table]]).fetchone()[0]


@pytest.fixture
def grown(make_nest):
    return Grown(make_nest())


def test_a_landing_reads_what_it_asks_for(grown):
    place, some = grown.place(), grown.some()
    keys, contents = [key for key, _ in some], [content for _, content in some]
    asked = [pl.Series([*keys, "00" * 16]), pl.Series([contents[0], contents[0], *contents[2:], contents[0]])]
    with grown.nest.rt.db.transaction() as tx:
        before = grown.read(tx)
        standing = land.standing(tx, place, *asked)
        older = land.older(tx, place, dict.fromkeys(keys, 1))
        raised = land.raise_pos(tx, place, keys, range(FEW), contents)
        newer = land.older(tx, place, dict.fromkeys(keys, 0))

        assert standing == "so" + "s" * (FEW - 2) + "n"
        assert older == raised == set(keys)
        assert newer == set()
        assert FEW <= grown.read(tx) - before <= 6 * FEW


def test_of_many_records_each_has_its_own_letter(grown, monkeypatch):
    monkeypatch.setattr(land, "FEW", 0)
    place, some = grown.place(), grown.some()
    strange = [("00" * 16, some[0][1]), ("ff" * 16, some[0][1]), (some[3][0], some[4][1])]
    asked = [some[7], strange[1], some[2], strange[0], strange[2], some[0]]
    with grown.nest.rt.db.transaction() as tx:
        letters = land.standing(tx, place, pl.Series([k for k, _ in asked]), pl.Series([c for _, c in asked]))

    assert letters == "snsnos"


def test_nor_does_it_read_what_quarantine_holds_for_each_of_them(grown):
    place, some, held = grown.place(), grown.some(), 500
    asked = [pl.Series([key for key, _ in some]), pl.Series([content for _, content in some])]
    entry = (
        'INSERT INTO hive.quarantine (jar, bee, stream, flight, checkpoint, epoch, seq, "row", code, reason, body,'
        " key_id, key_hash) SELECT %(jar)s, %(bee)s, %(stream)s, %(flight)s, 1, 0, 1, n, 'null_key', '', '', '',"
        " CASE WHEN n %% 2 = 0 THEN decode(lpad(n::text, 32, '0'), 'hex') END FROM generate_series(1, %(held)s) n"
    )
    with grown.nest.rt.db.transaction() as tx:
        tx.psycopg.execute(entry, {**place.__dict__, "held": held})
        before = grown.read(tx, "quarantine")
        assert land.standing(tx, place, *asked) == "s" * FEW
        assert grown.read(tx, "quarantine") - before <= 2 * held


def test_only_what_is_older_and_the_same_is_raised(grown):
    place, some = grown.place(), grown.some()
    keys, contents = [key for key, _ in some], [content for _, content in some]
    with grown.nest.rt.db.transaction() as tx:
        assert land.raise_pos(tx, place, keys[:2], [5, 5], contents[:2]) == set(keys[:2])
        assert land.raise_pos(tx, place, keys[:3], [4, 6, 7], [contents[0], contents[1], contents[0]]) == {keys[1]}
        assert land.raise_pos(tx, place, ["00" * 16], [9], contents[:1]) == set()


def test_deletes_read_what_they_delete(grown):
    place, keys = grown.place(), [key for key, _ in grown.some()]
    where = {**place.__dict__, "high": place.seq, "epoch": place.epoch}
    query = sections._LIVING.format(honey=partition("honey", 3), here=STREAM)
    with grown.nest.rt.db.transaction() as tx:
        before = grown.read(tx)
        living = tx.psycopg.execute(query, {**where, "keys": [*keys, "00" * 16]}).fetchall()
        retire = missed._RETIRE.format(honey=partition("honey", 3), here=STREAM)
        gone = tx.psycopg.execute(retire, {**where, "keys": keys}).rowcount

        assert sorted(living) == [(key,) for key in sorted(keys)]
        assert gone == FEW
        assert FEW <= grown.read(tx) - before <= 4 * FEW
        assert tx.psycopg.execute(query, {**where, "keys": keys}).fetchall() == []


@pytest.mark.parametrize("many", [1, 1_000])
def test_words_of_changed_records_are_taken_out_one_by_one(grown, monkeypatch, many):
    monkeypatch.setattr(index, "MANY", many)
    read, plain = [], index._run

    def counted(tx, part, statement, values, **more):
        before = grown.read(tx, "chunk_3")
        plain(tx, part, statement, values, **more)
        read.append(grown.read(tx, "chunk_3") - before)

    monkeypatch.setattr(index, "_run", counted)
    changed = [*rows(FEW, "second"), *rows(MANY, "first")[FEW:]]
    write(grown.folder / "a.jsonl", changed)
    grown.nest.land(grown.name)
    catch_up(grown.nest.rt.db)

    assert FEW <= sum(read) <= 4 * FEW
    texts = grown.nest.rows(
        "SELECT text FROM hive.chunk WHERE jar = (SELECT id FROM hive.jar WHERE name = %s)", grown.name
    )
    assert len(texts) == MANY
    assert sum("second" in text for (text,) in texts) == FEW


def test_a_plan_that_is_kept_from_when_a_jar_was_empty_goes_by_index(nest):
    """What a worker's connection prepares is planned once; the jar may have grown to millions since."""
    write(nest.register() / "a.jsonl", rows(1, "first"))
    nest.fly()
    nest.drain(kinds=["plan", "collect"])
    task = nest.claim(nest.due("process")[0])
    place = land.Place(task.part, task.jar, task.bee, 1, 1, 1, task.flight, 1, "2026-01-01")
    with nest.rt.db.transaction() as tx:
        hold_landing(tx, task, 60.0)
        assert land.raise_pos(tx, place, ["00" * 16], [1], ["00" * 16]) == set()
        used = "SELECT name, cardinality(parameter_types), generic_plans, custom_plans FROM pg_prepared_statements"
        asked = f"{used} WHERE statement LIKE %s".encode()
        ((name, parameters, *plans),) = tx.psycopg.execute(asked, ["%WITH aimed%"]).fetchall()
        nothing = ", ".join(["NULL"] * parameters)
        lines = [line for (line,) in tx.psycopg.execute(f"EXPLAIN EXECUTE {name}({nothing})".encode())]

    assert plans == [1, 0]
    assert any("Tid Scan" in line for line in lines)
    assert not any("Seq Scan" in line for line in lines)
