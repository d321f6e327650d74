"""Bees with steps of their own, flown: every record has one fate, and nothing gets past the scrubber."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from hive.config.problems import ConfigProblems
from hive.flight.retry import retry
from hive.jars.index import catch_up
from nectar.transform.steps import _text_hash
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]

STEPS = """
    from nectar.transform import records

    @records
    def greet(record, word="Hello"):
        if record["name"] == "Bad":
            raise ValueError(record["name"])
        if record["name"] == "Gone":
            return None
        return {**record, "greeting": f"{word} {record['name']}, write to {record['name'].lower()}@example.com"}

    def loud(table):
        return table.set_column(1, "name", [[name.upper() for name in table["name"].to_pylist()]])

    def nothing(table):
        return None
"""
MAIL = {"custom_rules": [{"pattern": r"[a-z]+@example\.com", "action": "replace"}]}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of a user's own that workers can import."""
    path = tmp_path / "flight_steps.py"
    path.write_text(dedent(STEPS))
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("flight_steps", None)
    _text_hash.cache_clear()


def people(*names: str) -> list[dict[str, object]]:
    return [{"id": number, "name": name} for number, name in enumerate(names, 1)]


def fates(result) -> dict[str, int]:
    counts = {
        "landed": result.records_landed, "unchanged": result.records_unchanged, "deleted": result.records_deleted,
        "superseded": result.records_superseded, "quarantined": result.records_quarantined,
    }  # fmt: skip
    assert sum(counts.values()) == result.records_read
    return {name: count for name, count in counts.items() if count}


def test_records_land_transformed_and_scrubbed_and_each_has_one_fate(nest, module):
    folder = nest.register(transform=["flight_steps:greet", "flight_steps:loud"], scrubbing=MAIL)
    write(folder / "a.jsonl", people("Ada", "Bad", "Gone", "Bob"))

    result = nest.land()

    assert result.state == "complete"
    assert fates(result) == {"landed": 2, "deleted": 1, "quarantined": 1}
    assert nest.jar() == {
        "1": {"id": 1, "name": "ADA", "greeting": "Hello Ada, write to <REDACTED>"},
        "4": {"id": 4, "name": "BOB", "greeting": "Hello Bob, write to <REDACTED>"},
    }
    assert nest.rows("SELECT code, reason FROM hive.quarantine") == [
        ("transform_failed", "the transformer 'flight_steps:greet' raised ValueError")
    ]
    catch_up(nest.rt.db)
    assert nest.rows("SELECT text FROM hive.chunk ORDER BY n, text") == [
        ("ADA\nHello Ada, write to <REDACTED>",), ("BOB\nHello Bob, write to <REDACTED>",)
    ]  # fmt: skip


def test_a_second_flight_changes_nothing_that_landed(nest, module):
    folder = nest.register(transform=["flight_steps:greet"])
    write(folder / "a.jsonl", people("Ada", "Gone"))
    nest.land()
    before = nest.rows("SELECT record_key, data, written_seq FROM hive.honey WHERE deleted_at IS NULL")

    result = nest.land(full_refresh=True)

    assert fates(result) == {"unchanged": 2}
    assert nest.rows("SELECT record_key, data, written_seq FROM hive.honey WHERE deleted_at IS NULL") == before


def test_a_record_that_a_step_now_leaves_out_leaves_the_jar_and_may_come_back(nest, module):
    folder = nest.register(transform=["flight_steps:greet"])
    write(folder / "a.jsonl", people("Ada", "Bob"))
    nest.land()

    write(folder / "a.jsonl", people("Ada", "Gone"))
    gone = nest.land()
    left = sorted(nest.jar())
    write(folder / "a.jsonl", people("Ada", "Bob"))
    back = nest.land()

    assert (fates(gone), left) == ({"unchanged": 1, "deleted": 1}, ["1"])
    assert (fates(back), sorted(nest.jar())) == ({"unchanged": 1, "landed": 1}, ["1", "2"])
    assert nest.one("SELECT count(*) FROM hive.honey WHERE data::text LIKE '%%Gone%%'") == 0


@pytest.mark.parametrize("order", [list, lambda tasks: tasks[::-1]])
def test_records_that_are_left_out_again_have_one_fate_in_whatever_order_batches_land(make_nest, module, order):
    nest = make_nest(batch_rows=1)
    folder = nest.register(transform=["flight_steps:greet"])
    write(folder / "a.jsonl", people("Gone", "Ada", "Gone", "Bad", "Bob"))
    flights = []
    for _ in range(3):
        flight = nest.fly(full_refresh=True)
        nest.drain(kinds=["plan", "collect"])
        nest.drain(order)
        flights.append(nest.hive.flight(flight))

    assert fates(flights[0]) == {"landed": 2, "deleted": 2, "quarantined": 1}
    assert all(result.state == "complete" and fates(result)["quarantined"] == 1 for result in flights)
    assert sorted(nest.jar()) == ["2", "5"]
    assert nest.rows("SELECT count(*), count(data) FROM hive.honey") == [(4, 2)]


def test_the_record_on_which_a_function_hangs_is_set_aside_and_the_others_land(nest, module):
    module.write_text(
        "def wait(table):\n    while 'Ada' in table['name'].to_pylist():\n        sum(range(1000))\n    return table\n"
    )
    folder = nest.register(transform=[{"use": "flight_steps:wait", "timeout": 0.2}])
    write(folder / "a.jsonl", people("Bob", "Ada", "Eve"))

    result = nest.land()

    assert (result.state, fates(result)) == ("complete", {"landed": 2, "quarantined": 1})
    assert nest.rows("SELECT code, reason FROM hive.quarantine") == [
        ("transform_failed", "the transformer 'flight_steps:wait' did not end in time")
    ]


def test_other_options_write_every_record_anew(nest, module):
    folder = nest.register(transform=["flight_steps:greet"])
    write(folder / "a.jsonl", people("Ada"))
    nest.land()
    nest.register(transform=[{"use": "flight_steps:greet", "options": {"word": "Hej"}}])

    result = nest.land()

    assert fates(result) == {"landed": 1}
    assert nest.jar()["1"]["greeting"].startswith("Hej Ada")


def test_another_text_of_the_module_writes_every_record_anew(nest, module):
    folder = nest.register(transform=["flight_steps:greet"])
    write(folder / "a.jsonl", people("Ada"))
    nest.land()
    module.write_text(dedent(STEPS).replace("Hello", "Hej, hej"))
    sys.modules.pop("flight_steps")
    _text_hash.cache_clear()
    nest.rt.scrubbers = type(nest.rt.scrubbers)()  # as a worker that was started again

    result = nest.land()

    assert fates(result) == {"landed": 1}
    assert nest.jar()["1"]["greeting"].startswith("Hej, hej Ada")


def test_a_quarantined_record_lands_once_the_step_takes_it(nest, module):
    folder = nest.register(transform=["flight_steps:greet"])
    write(folder / "a.jsonl", people("Bad", "Ada"))
    nest.land()
    module.write_text(dedent(STEPS).replace('"Bad"', '"Worse"'))
    sys.modules.pop("flight_steps")
    _text_hash.cache_clear()
    nest.rt.scrubbers = type(nest.rt.scrubbers)()

    done = retry(nest.rt, nest.one("SELECT id FROM hive.quarantine"))

    assert (done.landed, done.failed) == (1, 0)
    assert nest.jar()["1"]["greeting"].startswith("Hello Bad")


def test_documents_are_transformed_as_text(nest, module):
    module.write_text(
        "from nectar.transform import records\n\n@records\ndef shout(record):\n"
        "    return {**record, 'text': record['text'].upper(), 'title': None}\n"
    )
    folder = nest.folder / "papers"
    folder.mkdir()
    (folder / "a.txt").write_text("hello from ada@example.com\n")
    block = {
        "name": "papers", "source": {"path": str(folder)}, "streams": {"papers": {"patterns": "*.txt"}},
        "transform": ["flight_steps:shout"],
        "scrubbing": {"custom_rules": [{"pattern": "ADA@[A-Z.]+", "action": "replace"}]},
    }  # fmt: skip
    nest.hive.register_worker("local", block)

    assert fates(nest.land("papers")) == {"landed": 1}
    (data,) = nest.jar("papers").values()
    assert data["text"].strip() == "HELLO FROM <REDACTED>"


def test_a_function_that_gives_no_table_fails_the_flight_and_says_so(nest, module):
    folder = nest.register(transform=["flight_steps:nothing"])
    write(folder / "a.jsonl", people("Ada"))

    result = nest.land()

    assert result.state == "failed"
    assert result.error["code"] == "bad_transform"
    assert result.error["message"] == (
        "the transformer 'flight_steps:nothing' gave a NoneType, expected a pyarrow Table"
    )
    assert fates(result) == {"quarantined": 1}


def test_a_module_that_a_worker_lacks_ends_the_flight_before_anything_is_read(nest, module, monkeypatch):
    folder = nest.register(transform=["flight_steps:greet"])
    write(folder / "a.jsonl", people("Ada"))
    module.unlink()
    sys.modules.pop("flight_steps", None)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(module.parent)])

    result = nest.land()

    assert (result.state, result.records_read) == ("failed", 0)
    assert "no module is named 'flight_steps': install its package" in result.error["message"]


def test_steps_that_cannot_be_used_are_refused_with_the_bee_and_the_field(nest, module):
    with pytest.raises(ConfigProblems) as caught:
        nest.register(
            transform=["flight_steps:gret", {"use": "flight_steps:greet", "options": {"wort": "x"}}, {"us": 1}]
        )

    told = str(caught.value)
    assert "bee 'people', field 'transform.0': the module 'flight_steps' has no function 'gret'" in told
    assert "did you mean 'greet'" in told
    assert (
        "field 'transform.1': 'flight_steps:greet' is called with a record and its options: got an unexpected" in told
    )
    assert "field 'transform.2.us': is no known option; did you mean 'use'?" in told
    assert "field 'transform.2.use': is missing" in told


def test_a_view_follows_what_a_step_makes_of_a_column(nest, module):
    module.write_text(
        "import pyarrow as pa\n\ndef tidy(table):\n"
        "    return table.append_column('n', pa.array([len(n) for n in table['name'].to_pylist()]))\n"
    )
    folder = nest.register(transform=["flight_steps:tidy"])
    write(folder / "a.jsonl", people("Ada", "Bo"))

    nest.land()

    assert nest.rows("SELECT name, n FROM jars.people__rows ORDER BY n") == [("Bo", 2), ("Ada", 3)]
