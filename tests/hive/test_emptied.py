"""A source that says that it emptied a stream (`_op` truncate): what is older goes, what comes after stays."""

from __future__ import annotations

import importlib
import json
import sys

import psycopg
import pytest

import bees
from hive.flight import process
from hive.flight.work import work
from hive.jars.search import search
from tests.hive.nest import make_nest, nest

__all__ = ["make_nest", "nest"]

TOLD = '''
"""A log of changes, in one file: each line is a batch."""

import json
from pathlib import Path

import pyarrow as pa

from bees.core.bee import BeeOptions, WorkerBee
from nectar.batch import Batch
from nectar.pollen import Stream

SHAPE = pa.schema([("id", pa.int64()), ("name", pa.string()), ("_op", pa.string())])


class ToldBee(WorkerBee):
    bee_type = "file"

    class Options(BeeOptions):
        place: str

    def validate_flight_path(self): ...
    def source_identity(self): return "told"
    def get_pollen_schema(self): return [Stream("rows", key=("id",), cursor="at", columns=())]

    def collect_nectar(self, stream, cursor, slice=None, query=None):
        at = cursor["at"] if cursor else 0
        for line in Path(self.options.place).read_text().splitlines()[at:]:
            at += 1
            yield Batch(stream, pa.Table.from_pylist(json.loads(line), SHAPE), {"at": at})
'''


def is_(number, name="Ada"):
    return {"id": number, "name": name, "_op": "upsert"}


def gone(number):
    return {"id": number, "name": None, "_op": "delete"}


EMPTIED = {"id": None, "name": None, "_op": "truncate"}


@pytest.fixture
def tell(make_nest, tmp_path, monkeypatch):
    """Flies what is told, batch by batch; gives the flight's result and the nest."""
    folder = tmp_path / "connectors"
    folder.mkdir()
    (folder / "told.py").write_text(TOLD)
    monkeypatch.setattr(bees, "__path__", [*bees.__path__, str(folder)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    nest = make_nest(batch_rows=1)
    file = tmp_path / "log"
    file.write_text("")
    nest.hive.register_worker("told", {"name": "people", "source": {"place": str(file)}})

    def fly(*batches, drain=nest.drain):
        with file.open("a") as out:
            out.writelines(json.dumps(batch) + "\n" for batch in batches)
        flight = nest.fly()
        drain()
        return nest.hive.flight(flight), nest

    yield fly
    sys.modules.pop("bees.told", None)
    vars(bees).pop("told", None)


def test_what_was_there_goes_and_what_comes_after_stays(tell):
    tell([is_(1), is_(2)], [is_(3)])
    result, nest = tell([is_(4), EMPTIED, is_(2), is_(5)], [is_(6)])

    assert result.state == "complete"
    assert (result.records_landed, result.records_superseded, result.records_quarantined) == (3, 1, 0)
    assert result.records_deleted == 1 + 3
    assert sorted(nest.jar()) == ["2", "5", "6"]
    assert sorted(hit["key"] for hit in search(nest.rt.db, "people", "ada")) == ["2", "5", "6"]


def test_an_unchanged_record_that_comes_again_after_it_is_there(tell):
    tell([is_(1), is_(2)])
    _, nest = tell([EMPTIED, is_(1)])

    assert sorted(nest.jar()) == ["1"]


def test_twice_in_one_batch_the_last_one_counts(tell):
    tell([is_(1)])
    result, nest = tell([EMPTIED, is_(2), EMPTIED, is_(3), gone(3), is_(4)])

    assert sorted(nest.jar()) == ["4"]
    assert result.state == "complete"


def test_it_waits_for_what_was_sealed_before_it(tell):
    """Batches may land in any order; older records that land later must not come after the emptying."""

    def backwards():
        nest_of.drain(kinds=["plan", "collect"])
        tasks = nest_of.due("process")
        assert [work(day, number, "process", nest_of.rt) for day, number, _ in reversed(tasks)] == [True] * 4
        told.append(len(nest_of.jar()))
        nest_of.rows("UPDATE hive.task SET available_at = clock_timestamp() WHERE state = 'queued' RETURNING 1")
        nest_of.drain()

    told = []
    _, nest_of = tell([is_(1)])
    result, nest = tell([is_(2)], [is_(3)], [EMPTIED], [is_(4)], drain=backwards)

    assert result.state == "complete"
    assert told == [4]  # the emptying had not landed yet
    assert sorted(nest.jar()) == ["4"]


def test_nobody_seals_or_compares_while_what_is_older_goes(tell, monkeypatch):
    """Checkpoint first, then what quarantine holds: in the other order two landings would wait for each other."""
    _, nest = tell([is_(1)])
    met, real = [], process.empty

    def watched(*given):
        other = nest.runtime("other:1:1")
        with pytest.raises(psycopg.errors.LockNotAvailable), other.db.transaction() as tx:
            tx.psycopg.execute("SELECT FROM hive.checkpoint FOR UPDATE NOWAIT")
        met.append(True)
        return real(*given)

    monkeypatch.setattr(process, "empty", watched)
    result, nest = tell([EMPTIED])

    assert (result.state, met) == ("complete", [True])
