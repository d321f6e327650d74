"""Another configuration for a hive that runs: by signal, by watching, by command, under load."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest
import yaml

from tests.fleet.running import RunningHive, hive_folder, wait_until
from tests.fleet.test_processes import servers
from tests.hive.nest import rows_of, write

pytestmark = pytest.mark.fleet

BEES = 4


@pytest.fixture(scope="module")
def running(postgres, valkey, migrated_template) -> Iterator[RunningHive]:
    with hive_folder(**servers(postgres, valkey, migrated_template)) as hive:
        configure(hive, every="1d")
        process = hive.begin("up", "--config", "hive.yaml", "--watch")
        wait_until(lambda: hive.ready() or process.poll() is not None, "the hive's start")
        assert process.poll() is None, process.communicate()
        hive.process = process
        yield hive
        hive.process.send_signal(signal.SIGTERM)
        hive.process.communicate(timeout=30)


def configure(hive: RunningHive, every: str, **more: dict[str, object]) -> None:
    bees = {}
    for n in range(BEES):
        folder = hive.folder / f"source-{n}"
        folder.mkdir(exist_ok=True)
        stream = {"patterns": "*.jsonl", "key": "id"}
        bees[f"bee-{n}"] = {
            "type": "local", "every": every, "source": {"path": str(folder)}, "streams": {"rows": stream}
        }  # fmt: skip
    new = hive.folder / "hive.yaml.new"
    new.write_text(yaml.safe_dump({"bees": {**bees, **more}}))
    new.replace(hive.folder / "hive.yaml")


def history(hive: RunningHive) -> list[dict[str, object]]:
    return json.loads(hive.run("config", "history", "--json").stdout)


def rows(hive: RunningHive, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(hive.settings.database()) as connection:
        return connection.execute(query.encode()).fetchall()


def test_sighup_takes_a_changed_file_into_use_and_ends_nothing(running):
    before = history(running)[0]["version"]
    configure(running, every="2h")

    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: history(running)[0]["version"] > before, "the new version")

    assert running.process.poll() is None
    assert rows(running, "SELECT DISTINCT spec ->> 'every' FROM hive.schedule") == [("7200.0",)]


def test_a_bad_version_changes_nothing_and_says_why(running):
    before = history(running)
    configure(running, every="3h", odd={"type": "locl", "evry": 1})

    said = running.run("reload")
    time.sleep(3)  # watching finds it too

    assert said.returncode == 2
    assert "bee 'odd', field 'type': no connector is named 'locl'; did you mean 'local'?" in said.stderr
    assert "bee 'odd', field 'evry'" in said.stderr
    assert history(running) == before
    configure(running, every="2h")


def test_a_storm_of_versions_under_load_loses_and_doubles_nothing(running):
    """Intervals, profiles, bees that come and go, and every fourth version is broken, while rows are added."""
    seed = random.Random(20261121)
    ends = time.monotonic() + 15
    number = 0
    offered = {n: [] for n in range(BEES)}
    while time.monotonic() < ends:
        number += 1
        for n in range(BEES):
            offered[n].append({"id": number, "note": f"row {number} of {n}"})
            write(running.folder / f"source-{n}" / "a.jsonl", offered[n])
        extra = {"guest": {"type": "local", "every": "1s", "source": {"path": str(running.folder)}}}
        broken = {"broken": {"type": "nothing"}}
        configure(running, seed.choice(["1s", "2s", "3s"]), **seed.choice([{}, extra, extra, broken]))
        if number % 3 == 0:
            running.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
    configure(running, every="1s")
    assert running.run("reload").returncode == 0

    def landed() -> bool:
        counted = dict(
            rows(
                running,
                "SELECT b.name, count(h.*) FROM hive.bee b LEFT JOIN hive.honey h ON h.bee = b.id GROUP BY b.name",
            )
        )
        return all(counted[f"bee-{n}"] == number for n in range(BEES))

    wait_until(landed, "every row")
    held = rows(
        running,
        "SELECT b.name, h.record_key, h.data FROM hive.honey h JOIN hive.bee b ON b.id = h.bee"
        " WHERE b.name LIKE 'bee-%'",
    )
    for n in range(BEES):
        truth = rows_of(running.folder / f"source-{n}" / "a.jsonl")
        assert {key: data for name, key, data in held if name == f"bee-{n}"} == truth
    assert rows(running, "SELECT count(*) FROM hive.flight WHERE state = 'failed'") == [(0,)]
    assert len(history(running)) > 5


def test_a_beat_by_itself_takes_a_changed_file_into_use_on_sighup(postgres, valkey, migrated_template):
    with hive_folder(**servers(postgres, valkey, migrated_template)) as hive:
        configure(hive, every="1d")
        ready = hive.folder / "ready"
        beat = hive.begin("beat", HIVE_CONFIG=str(hive.folder / "hive.yaml"), HIVE_READY_FILE=str(ready))
        try:
            wait_until(ready.exists, "the beat's start")

            beat.send_signal(signal.SIGHUP)

            wait_until(lambda: history(hive), "the first version")
            assert beat.poll() is None
        finally:
            beat.terminate()
            beat.communicate(timeout=20)
