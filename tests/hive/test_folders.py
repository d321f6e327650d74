"""A bee that watches its folder flies when something in it changes, and only then."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from hive import events
from hive.folders import FolderWatch, folders
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["make_nest", "nest"]


def until(seen: Callable[[], bool], seconds: float = 10) -> float:
    """Seconds until `seen`, or a failure."""
    began = time.monotonic()
    while not seen():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def watching(nest: Nest, name: str = "people", **source: object) -> None:
    folder = nest.folder / name
    folder.mkdir(exist_ok=True)
    nest.hive.register_worker(
        "local",
        {
            "name": name,
            "source": {"path": str(folder), "watch": True, **source},
            "streams": {"rows": {"patterns": "*.jsonl", "key": "id"}},
        },
    )


@pytest.fixture
def watch(nest: Nest) -> Iterator[FolderWatch]:
    made = FolderWatch(nest.rt)
    yield made
    made.stop()
    made._thread.join(10)


def told(nest: Nest) -> int:
    return int(nest.one("SELECT count(*) FROM hive.event WHERE kind = 'folder'"))


def test_what_changes_is_told_at_once_and_lands(nest: Nest, watch: FolderWatch) -> None:
    watching(nest)
    watch.start()
    until(lambda: told(nest) == 1)  # the watch begins with a flight
    assert events.tick(nest.rt) == 1
    nest.drain()
    watch.told.clear()

    write(nest.folder / "people" / "a.jsonl", [{"id": 1}])
    assert watch.told.wait(1.0), "a change is told within a second"
    assert events.tick(nest.rt) == 1
    nest.drain()
    assert nest.one("SELECT count(*) FROM hive.honey") == 1
    time.sleep(0.6)
    assert events.tick(nest.rt) == 0, "reading is no change"

    (nest.folder / "people" / "deep").mkdir()
    write(nest.folder / "people" / "deep" / "b.jsonl", [{"id": 2}])
    (nest.folder / "people" / "a.jsonl").unlink()
    until(lambda: told(nest) > 2)
    time.sleep(0.6)
    assert events.tick(nest.rt) == 1, "a bee flies once for all that it heard"
    nest.drain()
    assert nest.one("SELECT count(*) FROM hive.honey") == 2


def test_only_bees_that_watch_are_told_and_each_of_its_own_folder(nest: Nest, watch: FolderWatch) -> None:
    watching(nest, "one")
    watching(nest, "two")
    nest.register("three")
    watch.start()
    until(lambda: told(nest) == 2)
    events.tick(nest.rt)

    write(nest.folder / "two" / "a.jsonl", [{"id": 1}])
    write(nest.folder / "three" / "a.jsonl", [{"id": 1}])
    until(lambda: told(nest) == 3)

    last = "SELECT b.name FROM hive.event e JOIN hive.bee b ON b.id = e.bee WHERE e.kind = 'folder' ORDER BY e.id DESC"
    assert nest.rows(last)[0] == ("two",)


def test_a_folder_that_comes_later_is_watched_then(
    nest: Nest, watch: FolderWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hive.folders._LOOK", 0.2)
    watching(nest)
    shutil.rmtree(nest.folder / "people")
    assert folders(nest.rt) == {}
    watch.start()
    time.sleep(0.5)
    assert told(nest) == 0

    write_into = nest.folder / "people"
    write_into.mkdir()
    until(lambda: told(nest) == 1)
    nest.hive.pause("people")
    until(lambda: not watch.watching)


def test_without_watches_left_the_folder_is_looked_at(
    nest: Nest, watch: FolderWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hive import folders as module

    real = module.watch

    def refusing(*paths: str, **more: object) -> object:
        if not more["force_polling"]:
            raise OSError(28, "No space left on device")
        return real(*paths, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "watch", refusing)
    watching(nest)
    watch.start()
    until(lambda: told(nest) == 1)
    write(nest.folder / "people" / "a.jsonl", [{"id": 1}])
    until(lambda: told(nest) >= 2)


def test_a_beat_waits_no_longer_than_for_the_change(nest: Nest, watch: FolderWatch) -> None:
    assert watch.rest(0.7) == 0.7, "nothing is watched: the beat sleeps as it does"
    watching(nest)
    watch.start()
    until(lambda: watch.watching and watch.told.is_set())
    assert watch.rest(5.0) == 0.0
    began = time.monotonic()
    assert watch.rest(0.2) == 0.0
    assert 0.15 < time.monotonic() - began < 2


def test_a_folder_that_another_takes_the_place_of_is_watched_on(
    nest: Nest, watch: FolderWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hive.folders._LOOK", 0.2)
    watching(nest)
    folder = nest.folder / "people"
    watch.start()
    until(lambda: told(nest) == 1)
    fresh = nest.folder / "fresh"
    fresh.mkdir()
    write(fresh / "a.jsonl", [{"id": 1}])

    folder.rename(nest.folder / "old")
    fresh.rename(folder)
    until(lambda: told(nest) >= 2)  # what came with it
    time.sleep(1.5)
    before = told(nest)
    write(folder / "b.jsonl", [{"id": 2}])

    until(lambda: told(nest) > before)
