"""A connector's next version: it renames options and changes its cursors, and old bees fly on where they were."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

import bees
from bees.core.errors import GiveUp
from hive.config.problems import ConfigProblems
from hive.registry import connectors
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]

FIRST = '''
"""Lines of one file, counted from the first."""
import json
from pathlib import Path
import pyarrow as pa
from bees.core.bee import BeeOptions, WorkerBee
from nectar.batch import Batch
from nectar.pollen import Stream


class Lines(BeeOptions):
    take: int = 2


class LinesBee(WorkerBee):
    bee_type = "file"

    class Options(BeeOptions):
        place: str
        streams: dict[str, Lines] = {}

    def validate_flight_path(self): ...
    def source_identity(self): return f"lines of {self.options.place}"
    def get_pollen_schema(self): return [Stream(name, key=("id",), columns=()) for name in self.options.streams]

    def collect_nectar(self, stream, cursor, slice=None, query=None):
        at = cursor["at"] if cursor else 0
        rows = [json.loads(line) for line in Path(self.options.place).read_text().splitlines()]
        for row in rows[at:]:
            at += 1
            yield Batch(stream, pa.Table.from_pylist([row]), {"at": at})
'''
RENAMED = (
    FIRST.replace("place: str", "path: str").replace("options.place", "options.path").replace("take: int", "count: int")
    .replace('cursor["at"]', 'cursor["from"]["line"]').replace('{"at": at}', '{"from": {"line": at}}')
    .replace('bee_type = "file"', 'bee_type = "file"\n    version = 2')
)  # fmt: skip
HOOKS = """
    @classmethod
    def migrate_options(cls, options, from_version):
        assert from_version == 1
        streams = {name: {"count": one.get("take", 2)} for name, one in options.pop("streams").items()}
        return {"path": options["place"], "streams": streams}

    @classmethod
    def migrate_cursor(cls, cursor, from_version):
        assert from_version == 1
        return {"from": {"line": cursor["at"]}}
"""
SECOND = RENAMED + HOOKS


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a version of the connector `lines` in the place of another; the workers are new processes then."""
    folder = tmp_path / "connectors"
    folder.mkdir()
    monkeypatch.setattr(bees, "__path__", [*bees.__path__, str(folder)])

    def forget() -> None:
        sys.modules.pop("bees.lines", None)
        vars(bees).pop("lines", None)

    def put(text: str, nest) -> None:
        (folder / "lines.py").write_text(text)
        forget()
        importlib.invalidate_caches()
        nest.rt.bees.close()

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield put
    forget()


@pytest.fixture
def old(nest, tmp_path, install):
    """A bee of version 1 that has landed two records, and a third one to come."""
    install(FIRST, nest)
    nest.file = write(tmp_path / "a.jsonl", [{"id": 1}, {"id": 2}])
    nest.hive.register_worker("lines", first(nest))
    nest.land()
    write(nest.file, [{"id": 1}, {"id": 2}, {"id": 3}])
    return nest


def first(nest) -> dict[str, object]:
    return {"name": "people", "source": {"place": str(nest.file)}, "streams": {"rows": {"take": 2}}}


def second(nest, **source: object) -> dict[str, object]:
    return {"name": "people", "source": {"path": str(nest.file), **source}, "streams": {"rows": {"count": 2}}}


def stored(nest) -> dict[str, object]:
    return nest.one("SELECT config FROM hive.bee WHERE name = 'people'")


def test_a_bee_of_the_old_version_flies_on_without_reading_again(old, install):
    install(SECOND, old)

    result = old.land()

    assert (result.state, result.records_read, result.records_landed) == ("complete", 1, 1)
    assert set(old.jar()) == {"1", "2", "3"}
    write(old.file, [{"id": n} for n in range(1, 6)])
    assert old.land().records_read == 2
    assert old.one("SELECT epoch FROM hive.checkpoint") == 1


def test_the_same_options_in_the_new_shape_are_no_change(old, install):
    install(SECOND, old)

    old.hive.register_worker("lines", second(old))

    assert stored(old)["source"] == {"place": str(old.file)}
    assert old.land().records_read == 1


def test_a_file_that_says_its_version_may_keep_the_old_shape(old, install, tmp_path):
    install(SECOND, old)
    block = {"type": "lines", "connector_version": 1, **{k: v for k, v in first(old).items() if k != "name"}}
    file = tmp_path / "hive.json"
    file.write_text(json.dumps({"bees": {"others": block}}))

    old.hive.apply(file)
    result = old.land("others")

    assert (result.state, result.records_landed) == ("complete", 3)
    assert old.one("SELECT config ->> 'connector_version' FROM hive.bee WHERE name = 'others'") == "2"
    assert old.one("SELECT config #>> '{source,path}' FROM hive.bee WHERE name = 'others'") == str(old.file)


def test_a_new_bee_carries_the_version_of_its_connector(nest, tmp_path, install):
    install(SECOND, nest)
    nest.file = write(tmp_path / "a.jsonl", [{"id": 1}])

    nest.hive.register_worker("lines", second(nest))

    assert stored(nest)["connector_version"] == connectors()["lines"].version == 2
    assert nest.land().records_landed == 1
    write(nest.file, [{"id": 1}, {"id": 2}])
    assert nest.land().records_read == 1


def test_old_names_without_a_version_are_named_as_mistakes(old, install):
    install(SECOND, old)

    with pytest.raises(ConfigProblems, match="place"):
        old.hive.register_worker("lines", first(old))


def test_a_connector_without_a_migration_says_so_and_reads_nothing(old, install):
    install(RENAMED, old)

    result = old.land()

    assert (result.state, result.records_read, result.error["code"]) == ("failed", 0, "connector_version")
    assert "version 1" in result.error["message"]


def test_a_migration_that_stumbles_tells_no_value(old, install):
    install(RENAMED + HOOKS.replace('cursor["at"]', 'cursor["canary-42ab"]'), old)

    result = old.land()

    assert (result.state, result.error["code"]) == ("failed", "connector_version")
    assert "cannot read its checkpoints of version 1 (KeyError)" in result.error["message"]
    assert "canary" not in str(result)


def test_an_older_connector_does_not_guess_what_a_newer_one_wrote(nest, tmp_path, install):
    install(SECOND, nest)
    nest.file = write(tmp_path / "a.jsonl", [{"id": 1}])
    nest.hive.register_worker("lines", second(nest))
    nest.land()
    install(FIRST, nest)

    with pytest.raises(GiveUp, match="written for version 2"):
        nest.hive.open_bee("people")
    result = nest.land()
    assert (result.state, result.error["code"]) == ("failed", "connector_version")
