"""What a Singer tap writes, in a jar: the Singer SDK's own suite for targets, and what happens when somebody dies."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import pytest

from hive import events
from hive.singer_target import ROW, BadInput, Target
from tests.hive.nest import KEY, Nest, make_nest, nest

__all__ = ["make_nest", "nest"]

SCHEMA = {"type": "SCHEMA", "stream": "days", "schema": {"properties": {"id": {}, "v": {}}}, "key_properties": ["id"]}


def lines(*messages: dict[str, Any]) -> list[bytes]:
    return [json.dumps(message).encode() + b"\n" for message in messages]


def record(number: Any, value: Any = None, stream: str = "days") -> dict[str, Any]:
    return {"type": "RECORD", "stream": stream, "record": {"id": number, "v": value}}


def state(value: Any) -> dict[str, Any]:
    return {"type": "STATE", "value": value}


def take(nest: Nest, sent: Iterable[bytes], **config: Any) -> list[Any]:
    """The states that came out; afterwards everything has landed."""
    out = io.StringIO()
    try:
        Target(nest.rt, {"name": "tap", **config}, out).listen(sent)
    finally:
        fly(nest)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def fly(nest: Nest) -> None:
    while events.tick(nest.rt):
        nest.drain()


def test_records_land_once_by_their_key(nest):
    sent = lines(SCHEMA, record(1, "a"), record(2, "b"), state({"at": 2}), record(1, "c"))

    assert take(nest, sent) == [{"at": 2}]
    assert nest.jar("tap") == {"1": {"id": 1, "v": "c"}, "2": {"id": 2, "v": "b"}}


def test_what_is_sent_again_is_known(nest):
    sent = lines(SCHEMA, *[record(n, n) for n in range(20)], state(1))
    take(nest, sent)
    before = nest.everything()[0]
    take(nest, sent)

    assert len(nest.jar("tap")) == 20
    assert nest.everything()[0] == before, "not one row of the jar was written again"


def test_a_stream_without_a_key_is_told_apart_by_place_and_content(nest):
    schema = {**SCHEMA, "key_properties": []}
    sent = lines(schema, state(1), record(1, "same"), record(1, "same"), state(2), record(1, "same"))
    take(nest, sent)
    take(nest, sent)

    found = list(nest.jar("tap").values())
    assert [(row["id"], row["v"]) for row in found] == [(1, "same")] * 3
    assert len({row[ROW] for row in found}) == 3


def test_a_state_is_passed_on_only_when_its_records_are_committed(nest):
    out = io.StringIO()
    told: list[tuple[int, str]] = []

    def sent() -> Iterable[bytes]:
        for n in range(12_000):
            yield from lines(record(n, "x" * 100)) if n else lines(SCHEMA, record(0))
            if n % 3000 == 2999:
                yield from lines(state(n))
            if n % 1000 == 0:
                (count,) = nest.rows("SELECT count(*) FROM hive.inbox")[0]
                told.append((count, out.getvalue()))

    Target(nest.rt, {"name": "tap"}, out).listen(sent())

    assert told[0] == (0, "")
    assert told[-1][0] >= 2, "it is written as it comes"
    assert out.getvalue() == "11999\n"


class Gone(Exception):
    pass


def test_a_death_in_the_middle_loses_and_doubles_nothing(nest):
    out = io.StringIO()
    sent = lines(SCHEMA, *[record(n, n) for n in range(10)], state(9), *[record(n, n) for n in range(10, 20)])
    target = Target(nest.rt, {"name": "tap"}, out)
    for number, line in enumerate(sent, 1):
        target._take(line, number)
        if number == 13:
            break
    assert out.getvalue() == ""
    fly(nest)
    assert nest.rows("SELECT count(*) FROM hive.honey") == [(0,)]
    take(nest, sent)

    assert set(nest.jar("tap")) == {str(n) for n in range(20)}


def test_personal_data_is_scrubbed_and_no_value_lies_open(nest):
    take(nest, lines(SCHEMA, record(1, "jane@example.com")), jar="people", scrubbing={"profile": "gdpr_compliant"})

    assert "jane@example.com" not in str(nest.jar("people"))
    assert "jane@example.com" not in str(nest.rows("SELECT body, event_id FROM hive.inbox"))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (record(1, stream="other"), "line 2: .* no SCHEMA message"),
        (record(None), "line 2: .* lacks a field of its key"),
        ({"type": "RECORD", "stream": "days", "record": []}, "line 2: a record is no object"),
        ({"type": "SCHEMA", "stream": "x", "schema": {}}, "line 2: .* no `properties`"),
        ("jane@example.com", "line 2: no Singer message"),
    ],
)
def test_what_is_not_singer_is_named_without_its_value(nest, message, reason):
    with pytest.raises(BadInput, match=reason) as error:
        take(nest, lines(SCHEMA, message))
    assert "jane" not in str(error.value)


def test_a_new_key_is_a_new_epoch(nest):
    take(nest, lines(SCHEMA, record(1, "a"), record(2, "b")))
    take(nest, lines({**SCHEMA, "key_properties": ["v"]}, record(3, "a")))

    assert "a" in nest.jar("tap")


STREAMS = files("singer_sdk.testing.target_test_streams")
REFUSED = {"invalid_schema", "record_before_schema", "record_missing_key_property"}
"""What the SDK's own suite for targets expects an error of."""


@pytest.mark.parametrize(
    "name", sorted(f.name.removesuffix(".singer") for f in STREAMS.iterdir() if f.name.endswith(".singer"))
)
def test_the_streams_of_the_sdk_s_suite_for_targets(nest, name):
    raw = (STREAMS / f"{name}.singer").read_bytes()
    sent = [line + b"\n" for line in raw.splitlines()]
    if name in REFUSED:
        with pytest.raises(BadInput):
            take(nest, sent)
        return
    told = [json.loads(line) for line in raw.splitlines() if line.strip()]
    states = take(nest, sent, name="sdk")
    wanted = expected(told)

    assert states[-1:] == [one["value"] for one in told if one["type"] == "STATE"][-1:]
    landed = nest.rows("SELECT count(*) FROM hive.honey WHERE deleted_at IS NULL")[0][0]
    assert (landed, nest.rows("SELECT count(*) FROM hive.quarantine")[0][0]) == (wanted, 0)


def expected(messages: list[dict[str, Any]]) -> int:
    """How many records a target holds in the end."""
    keys: dict[str, list[str]] = {}
    found: set[Any] = set()
    for number, one in enumerate(messages):
        if one["type"] == "SCHEMA":
            keys[one["stream"]] = one.get("key_properties", [])
        elif one["type"] == "RECORD":
            key = [one["record"][name] for name in keys[one["stream"]]] or [number]
            found.add((one["stream"], json.dumps(key)))
    return len(found)


class TestCommand:
    """`target-hive` as a process of its own."""

    @staticmethod
    def run(nest: Nest, sent: list[bytes], *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        told = {
            "HIVE_DATABASE_URL": nest.settings.database_url.get_secret_value(),
            "HIVE_KEY": KEY,
            "HIVE_DATA_DIR": str(nest.folder),
        }
        return subprocess.run(
            [sys.executable, "-m", "hive.singer_target", *arguments],
            input=b"".join(sent),
            capture_output=True,
            env={"PATH": os.defpath, **told, **environment},
            timeout=60,
            check=False,
        )

    def test_states_come_out_and_nothing_else(self, nest, tmp_path):
        config = tmp_path / "target.json"
        config.write_text(json.dumps({"name": "tap", "jar": "house"}))
        done = self.run(nest, lines(SCHEMA, record(1, "a"), state({"at": 1})), "--config", str(config))
        fly(nest)

        assert (done.returncode, done.stdout) == (0, b'{"at":1}\n')
        assert nest.jar("house") == {"1": {"id": 1, "v": "a"}}

    def test_what_goes_wrong_has_an_exit_code_and_no_value(self, nest, tmp_path):
        done = self.run(nest, lines(SCHEMA, record(1, "a"), {"jane@example.com": 1}))
        wrong = self.run(nest, [], "--config", str(tmp_path / "none.json"))
        fly(nest)

        assert done.returncode == 1
        assert b"line 3" in done.stderr
        assert b"jane" not in done.stderr
        assert (wrong.returncode, nest.jar("singer")) == (2, {"1": {"id": 1, "v": "a"}})
