"""Taps as bees: a scripted one that misbehaves in every way, and one that is built with the Singer SDK."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.singer import SingerWorkerBee
from nectar.batch import Batch, mark_of
from tests.bees.contract import BeeContract, Source, rows

TAPS = Path(__file__).parent / "taps"
SECRET = "secret-token-4711"


def options(config: dict[str, Any], tap: str = "scripted", **more: Any) -> dict[str, Any]:
    told = {"token": SECRET, **config} if tap == "scripted" else config
    return {"command": [sys.executable, str(TAPS / f"{tap}.py")], "config": told, "silence": 20, **more}


def read(config: dict[str, Any], cursor: Any = None, stream: str = "rows", **more: Any) -> list[Batch]:
    with SingerWorkerBee.from_options(options(config, **more)) as bee:
        return list(bee.collect_nectar(stream, cursor))


def ids(batches: list[Batch]) -> list[int]:
    return [row["id"] for row in rows(batches)]


class TestContract(BeeContract):
    connector = "singer"

    @pytest.fixture
    def source(self) -> Source:
        return Source(
            options=options({"count": 25, "state_every": 5}, batch_rows=6, environment={"WORD": SECRET}),
            stream="rows",
            keys=set(range(1, 26)),
            key_of=lambda row: row["id"],
            unreachable=options({}) | {"command": "/no/such/tap"},
            denied=options({"discover": "fails"}),
            secrets=(SECRET,),
        )


class TestBuilt:
    def test_streams_keys_and_types_come_from_the_catalog(self):
        with SingerWorkerBee.from_options(options({}, "built")) as bee:
            days, towns = bee.get_pollen_schema()

        assert (days.key, days.cursor, days.resumes) == (("id",), "changed", "none")
        assert {c.name: c.kind for c in days.columns} == {"id": "integer", "changed": "timestamptz", "weather": "json"}
        assert (towns.key, towns.cursor) == (("name",), None)

    def test_its_state_is_the_cursor(self):
        first = read({"count": 20}, tap="built", stream="days")
        again = read({"count": 22}, first[-1].cursor, tap="built", stream="days")

        assert ids(first) == list(range(1, 21))
        assert ids(again) == [20, 21, 22]
        assert not any(batch.complete for batch in [*first, *again])

    def test_a_whole_read_is_complete_each_time(self):
        first = read({}, tap="built", stream="towns")
        again = read({}, first[-1].cursor, tap="built", stream="towns")

        assert [len(rows(some)) for some in (first, again)] == [7, 7]
        assert (first[-1].complete, again[-1].complete) == (True, True)

    def test_fields_are_selected(self):
        chosen = {"streams": {"days": {"fields": "changed"}}}
        found = rows(read({"count": 1}, tap="built", stream="days", **chosen))

        assert found == [{"id": 1, "changed": "2026-03-01T00:00:01+00:00"}]

    def test_the_method_can_be_chosen(self):
        chosen = {"streams": {"days": {"method": "FULL_TABLE"}}}
        batches = read({"count": 5}, tap="built", stream="days", **chosen)

        assert batches[-1].complete

    @pytest.mark.parametrize("compression", ["gzip", "none"])
    def test_batch_files_are_read_and_removed(self, tmp_path, compression):
        config = {"encoding": {"format": "jsonl", "compression": compression}, "batch_size": 30}
        config["storage"] = {"root": tmp_path.as_uri()}
        batches = read({"count": 100, "batch_config": config}, tap="built", stream="days", batch_rows=40)

        assert ids(batches) == list(range(1, 101))
        assert len(batches) >= 3
        assert not list(tmp_path.iterdir())

    def test_a_limit_ends_the_tap(self):
        with SingerWorkerBee.from_options(options({"count": 1000}, "built", batch_rows=4)) as bee:
            assert ids(list(bee.collect_nectar("days", None, query={"limit": 6}))) == list(range(1, 7))
        assert not children()


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds; one that nobody reaps counts as ended."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if "taps" in " ".join(p.cmdline())]


class TestWhatATapSees:
    def test_it_gets_private_files_and_nothing_of_our_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HIVE_KEY", "5a" * 32)
        note = tmp_path / "note.json"
        read({"count": 3, "note": str(note)}, environment={"EXTRA": "1"}, state={"last": 1})
        seen = json.loads(note.read_text())

        assert set(seen["environ"]) <= {"PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "PYTHONUNBUFFERED", "EXTRA"}
        assert seen["mode"] == "0o600"
        assert not Path(seen["cwd"]).exists(), "the folder is removed"
        assert SECRET not in " ".join(seen["argv"])
        assert seen["state"] == {"last": 1}
        assert seen["chosen"] == ["rows"]

    def test_its_words_are_not_passed_on(self, capfd):
        with pytest.raises(SourceError) as error:
            read({"count": 5, "die_at": 3})
        told = "".join(traceback.format_exception(error.value)) + "".join(capfd.readouterr())

        assert "HTTPError" in str(error.value)
        assert "exit code 3" in str(error.value)
        assert SECRET not in told
        assert "jane@example.com" not in told


class TestState:
    def test_a_cursor_never_covers_what_was_not_given(self):
        batches = read({"count": 50, "state_every": 7}, batch_rows=5)
        for number, batch in enumerate(batches):
            given = max(ids(batches[: number + 1]))
            assert json.loads(batch.cursor.get("state", '{"last": 0}'))["last"] <= given

    def test_a_tap_that_tells_its_state_at_the_end_begins_anew(self):
        batches = read({"count": 20}, batch_rows=6)

        assert batches[0].cursor == {}
        assert ids(read({"count": 20}, batches[0].cursor)) == list(range(1, 21))
        assert json.loads(batches[-1].cursor["state"]) == {"last": 20}

    def test_a_state_comes_back_in_its_own_digits(self):
        value = '{"at":1.10,"big":123456789012345678901234567890,"text":"\\u00e9"}'
        batches = read({"lines": ['{"type": "STATE", "value": ' + value + "}"], "state_at_end": False})

        assert batches[-1].cursor["state"].replace("é", "\\u00e9") == value

    def test_what_came_before_a_death_is_given_and_covered(self):
        seen: list[Batch] = []
        bee = SingerWorkerBee.from_options(options({"count": 50, "state_every": 4, "die_at": 31}, batch_rows=7))
        with bee, pytest.raises(RetryLater):
            seen.extend(bee.collect_nectar("rows", None))
        rest = read({"count": 50, "state_every": 4}, seen[-1].cursor)

        assert ids(seen) == list(range(1, 31))
        assert ids(rest) == list(range(29, 51))


class TestMisbehaviour:
    def test_garbage_between_messages_is_set_aside(self):
        lines = ["Starting!", "{broken", '"text"', "[1]", '{"no": "type"}', '{"type": "RECORD", "stream": "rows"}', ""]
        lines += ['{"type": "RECORD", "stream": "rows", "record": {"id": 9, "v": NaN}}', '{"type":"LOG","x":1}', "\xff"]
        batches = read({"count": 2, "lines": lines})
        rejects = [reject for batch in batches for reject in batch.rejects]

        assert ids(batches) == [1, 2]
        assert [r.code for r in rejects].count("not_json") == 4
        assert {r.code for r in rejects} == {"not_json", "not_singer", "not_object"}
        assert len(rejects) == 8
        assert b"{broken" in {r.raw for r in rejects}

    def test_a_command_that_is_no_tap_is_named(self):
        with pytest.raises(GiveUp, match="no Singer messages"):
            read({"lines": ["hello world"] * 3000})

    def test_a_line_that_is_too_long_is_set_aside(self):
        long = json.dumps({"type": "RECORD", "stream": "rows", "record": {"id": 5, "t": "x" * 3_000_000}})
        batches = read(
            {"count": 3, "lines": [long, '{"type":"RECORD","stream":"rows","record":{"id":6}}']}, line_limit=100_000
        )

        assert ids(batches) == [1, 2, 3, 6]
        assert [r.code for b in batches for r in b.rejects] == ["line_too_long"]

    def test_a_tap_that_hangs_is_ended(self):
        started = time.monotonic()
        seen: list[Batch] = []
        with (
            SingerWorkerBee.from_options(
                options({"count": 9, "state_every": 2, "hang_at": 6}, batch_rows=2) | {"silence": 2}
            ) as bee,
            pytest.raises(RetryLater) as error,
        ):
            seen.extend(bee.collect_nectar("rows", None))
        assert error.value.code == "tap_hangs"
        assert time.monotonic() - started < 30
        assert not children()

    def test_a_tap_that_is_killed_says_so(self):
        with pytest.raises(RetryLater, match="signal 9"):
            read({"count": 5, "kill_at": 3})

    @pytest.mark.parametrize("early", [True, False])
    def test_what_it_forked_dies_with_it(self, tmp_path, early):
        note = tmp_path / "pid"
        with SingerWorkerBee.from_options(options({"count": 500, "fork": str(note)}, batch_rows=5)) as bee:
            reading = bee.collect_nectar("rows", None)
            next(reading)
            if not early:
                assert ids(list(reading))[-1] == 500
            reading.close()
        assert gone(int(note.read_text()))
        assert not children()

    def test_a_catalog_that_is_none_is_named(self):
        with pytest.raises(GiveUp, match="what stands for a catalog is none"):
            read({"discover": "garbage"})

    def test_a_catalog_of_a_file(self, tmp_path):
        file = tmp_path / "catalog.json"
        file.write_text(json.dumps({"streams": [{"tap_stream_id": "rows", "schema": {}, "key_properties": ["id"]}]}))

        assert ids(read({"count": 2, "discover": "fails"}, catalog=str(file))) == [1, 2]

    def test_the_pipe_is_the_brake(self):
        with SingerWorkerBee.from_options(options({"count": 200_000}, batch_rows=10)) as bee:
            reading = bee.collect_nectar("rows", None)
            next(reading)
            me = psutil.Process(os.getpid())
            before = me.memory_info().rss
            time.sleep(1)
            assert me.memory_info().rss - before < 8 << 20
            assert children()[0].status() in ("sleeping", "disk-sleep")
            reading.close()


def test_numbers_keep_their_digits():
    record = '{"type":"RECORD","stream":"rows","record":{"id":1,"v":0.1234567890123456789,"w":12345678901234567890123}}'
    (batch,) = read({"lines": [record]})

    assert rows([batch]) == [{"id": 1, "v": "0.1234567890123456789", "w": "12345678901234567890123"}]
    assert mark_of(batch.table.schema.field("v")) == "number"


@pytest.mark.parametrize("command", [[], "", ["a\0b"]])
def test_a_command_is_needed(command):
    with pytest.raises(ValidationError):
        SingerWorkerBee.from_options({"command": command})
