"""What a tap tells of deletes: versions of a table, records that are gone; and what its whole reads did not meet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.singer.pile import Bounds, Pile
from bees.core.singer.versions import Versions
from nectar.batch import Batch
from tests.bees.test_singer import ids, read
from tests.bees.test_singer_flight import register
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]


def records(version: Any, *numbers: int, **more: Any) -> list[str]:
    told = {"type": "RECORD", "stream": "rows", **({"version": version} if version is not None else {})}
    return [json.dumps({**told, "record": {"id": n, "v": n, **more}}) for n in numbers]


def activate(version: Any, stream: str = "rows") -> str:
    return json.dumps({"type": "ACTIVATE_VERSION", "stream": stream, "version": version})


def state(value: Any) -> str:
    return json.dumps({"type": "STATE", "value": {"at": value}})


class Tap:
    """A scripted tap in a hive: each flight it writes other lines."""

    def __init__(self, nest: Nest, tmp_path: Path, method: str = "FULL_TABLE", **more: Any) -> None:
        self.nest = nest
        self.script = tmp_path / "script.json"
        chosen = {"rows": {"method": method, **({"replication_key": "at"} if method == "INCREMENTAL" else {})}}
        config = {"count": 0, "state_at_end": False, "script": str(self.script)}
        self.write()
        register(nest, config, streams=chosen, **more)

    def write(self, *lines: str, **more: Any) -> None:
        self.script.write_text(json.dumps({"lines": lines, **more}))

    def fly(self, *lines: str) -> set[int]:
        """What the jar holds afterwards."""
        self.write(*lines)
        self.nest.land("tap")
        return self.jar()

    def jar(self) -> set[int]:
        return {int(key) for key in self.nest.jar("tap")}


@pytest.fixture
def tap(nest: Nest, tmp_path: Path) -> Tap:
    return Tap(nest, tmp_path)


@pytest.mark.parametrize("method", ["FULL_TABLE", "INCREMENTAL", "LOG_BASED"])
def test_an_active_version_takes_the_place_of_the_one_before(nest: Nest, tmp_path: Path, method: str) -> None:
    tap = Tap(nest, tmp_path, method)
    assert tap.fly(*records(1, 1, 2, 3, 4), activate(1), state(1)) == {1, 2, 3, 4}
    assert tap.fly(*records(2, 2, 3, 5), activate(2), state(2)) == {2, 3, 5}
    assert nest.one("SELECT records_deleted FROM hive.flight ORDER BY started_at DESC LIMIT 1") == 2


def test_one_that_is_activated_in_front_of_its_records_counts_when_the_tap_ends_well(tap: Tap) -> None:
    assert tap.fly(activate(1), *records(1, 1, 2, 3)) == {1, 2, 3}
    tap.write(activate(2), *records(2, 1), exit=3)
    tap.nest.fly("tap")
    tap.nest.drain()
    assert tap.jar() == {1, 2, 3}, "half of it was read"
    tap.write(activate(3), *records(3, 1, 2))
    tap.nest.run("UPDATE hive.task SET available_at = clock_timestamp() WHERE state = 'queued'")
    tap.nest.drain()
    assert tap.jar() == {1, 2}


def test_the_same_version_deletes_nothing(nest: Nest, tmp_path: Path) -> None:
    tap = Tap(nest, tmp_path, "INCREMENTAL")
    assert tap.fly(activate(7), *records(7, 1, 2), activate(7), state(1)) == {1, 2}
    assert tap.fly(activate(7), *records(7, 3), activate(7), state(2)) == {1, 2, 3}
    assert tap.fly(activate(7), state(2)) == {1, 2, 3}


def test_a_version_that_is_never_activated_deletes_nothing(tap: Tap) -> None:
    assert tap.fly(*records(1, 1, 2), activate(1)) == {1, 2}
    assert tap.fly(*records(2, 2)) == {1, 2}
    assert tap.fly(*records(2, 3), activate(2)) == {2, 3}, "it went on in the next flight"


def test_a_version_without_records_empties_the_table(tap: Tap) -> None:
    assert tap.fly(*records(1, 1, 2), activate(1)) == {1, 2}
    assert tap.fly(activate(2)) == set()
    assert tap.fly(*records(3, 2), activate(3)) == {2}


def test_records_without_a_version_beside_one_delete_nothing(tap: Tap) -> None:
    tap.fly(*records(1, 1, 2, 3), activate(1))
    assert tap.fly(activate(2), *records(None, 4), activate(2)) == {1, 2, 3, 4}


def test_what_is_told_in_front_of_another_version_is_not_told_of_it() -> None:
    """A tap that dies here goes on with version 3, and 2 has no records."""
    pile = Pile("rows", {"rows"}, Bounds(1000, 1 << 20, 1 << 20))
    taken = [*pile.take([line.encode() for line in (activate(2), state(1), *records(3, 4))], None), *pile.flush()]
    assert Versions.of(taken[-1].cursor).told is None


def test_a_version_of_another_stream_says_nothing(tap: Tap) -> None:
    assert tap.fly(*records(1, 1, 2), activate(1)) == {1, 2}
    assert tap.fly(*records(1, 3), activate(2, "others")) == {1, 2, 3}


def test_it_goes_on_where_a_state_was_told(make_nest: Any, tmp_path: Path) -> None:
    nest = make_nest(batch_rows=2, leg=0.0)
    tap = Tap(nest, tmp_path, "LOG_BASED", batch_rows=2)
    assert tap.fly(*records(1, *range(1, 9)), activate(1), state(1)) == set(range(1, 9))
    lines = [*records(2, 1, 2), state(2), *records(2, 3, 4), activate(2), state(3), *records(2, 9), state(4)]
    assert tap.fly(*lines) == {1, 2, 3, 4, 9}


@pytest.mark.parametrize("told", ["2026-01-01T00:00:00Z", 1])
def test_a_record_that_was_deleted_goes(nest: Nest, tmp_path: Path, told: Any) -> None:
    tap = Tap(nest, tmp_path, "LOG_BASED")
    assert tap.fly(*records(None, 1, 2, 3, _sdc_deleted_at=None), state(1)) == {1, 2, 3}
    assert tap.fly(*records(None, 2, _sdc_deleted_at=told), *records(None, 4), state(2)) == {1, 3, 4}
    assert tap.fly(*records(None, 2), state(3)) == {1, 2, 3, 4}, "it came back"
    gone_and_back = [*records(None, 1, _sdc_deleted_at=told), *records(None, 1), *records(None, 3)]
    assert tap.fly(*gone_and_back, *records(None, 3, _sdc_deleted_at=told)) == {1, 2, 4}


def test_a_whole_read_without_versions_deletes_what_it_missed(tap: Tap) -> None:
    assert tap.fly(*records(None, 1, 2, 3)) == {1, 2, 3}
    assert tap.fly(*records(None, 1, 3)) == {1, 3}


def test_a_tap_of_the_sdk_activates_its_versions(nest: Nest) -> None:
    for towns in (7, 4):
        config = {"towns": towns, "emit_activate_version_messages": True}
        register(nest, config, "built", streams={"towns": {}})
        nest.land("tap")

    assert set(nest.jar("tap")) == {"Town 0", "Town 1", "Town 2", "Town 3"}


def test_batches_of_two_versions_are_two() -> None:
    lines = [*records(1, 1, 2), *records(2, 3), activate(2)]
    found = read({"lines": lines, "state_at_end": False})

    assert [(ids([batch]), batch.begins, batch.complete) for batch in found] == [
        ([1, 2], True, False), ([3], True, True)
    ]  # fmt: skip
    assert found[-1].cursor["versions"] == {"active": 2}


class Ledger:
    """What the hive makes of batches: records by place, and a reading of everything from where one begins."""

    def __init__(self) -> None:
        self.jar: dict[int, int] = {}
        self.place = 0
        self.begun: int | None = None
        self.cursor: dict[str, Any] | None = None

    def seal(self, batch: Batch) -> None:
        self.place += 1
        if batch.begins:
            self.begun = self.place
        for number in ids([batch]):
            self.jar[number] = self.place
        if batch.complete and self.begun is not None:
            self.jar = {number: place for number, place in self.jar.items() if place >= self.begun}
            self.begun = None
        self.cursor = dict(batch.cursor)


RUNS = st.lists(
    st.tuples(
        st.booleans(),  # a new version, or the one before
        st.lists(st.integers(1, 9), max_size=6),
        st.sampled_from(["", "first", "last", "both"]),
        st.integers(0, 7),  # records in front of a state; behind the last one comes none
        st.booleans(),  # it dies
    ),
    max_size=7,
)


@settings(deadline=None)
@given(RUNS, st.integers(1, 4))
def test_what_stays_is_what_singer_says(runs: list[tuple[bool, list[int], str, int, bool]], size: int) -> None:
    """A target that tags rows with their version, and deletes the others when one is activated, has the same rows."""
    ledger, tagged, version, told, safe = Ledger(), dict[int, int](), 1, 0, 0
    for new, numbers, when, at, dies in runs:
        version, active = version + new, Versions.of(ledger.cursor).active
        lines = [activate(version)] * (when in ("first", "both"))
        lines += [line for n in numbers for line in records(version, n)]
        lines += [activate(version)] * (when in ("last", "both"))
        lines.insert(at, state(len(lines)))
        pile = Pile("rows", {"rows"}, Bounds(size, 1 << 20, 1 << 20), None, Versions.of(ledger.cursor))
        told = safe
        for line in lines:
            message = json.loads(line)
            if message["type"] == "STATE":
                safe = told
            elif message["type"] == "ACTIVATE_VERSION":
                told = 0 if version == active else version
            elif version != told:
                told = 0
            for batch in pile.take([line.encode()], None):
                ledger.seal(batch)
        tagged |= dict.fromkeys(numbers, version)
        if dies:
            for batch in pile.flush():
                ledger.seal(batch)
            safe = (ledger.cursor or {}).get("versions", {}).get("told", 0)
            continue
        for batch in pile.last():
            ledger.seal(batch)
        if told:
            tagged = {number: v for number, v in tagged.items() if v == told}
        told = safe = 0

        assert set(ledger.jar) == set(tagged)
