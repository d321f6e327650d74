"""When a configuration is taken into use again: when asked, and when watched files changed and came to rest."""

from __future__ import annotations

import os
import threading

import pytest
from structlog.testing import capture_logs

from hive.config.problems import ConfigProblems, Problem
from hive.reloader import Reloader
from hive.versions import Change


class Applied:
    """Counts how often the configuration was taken into use."""

    def __init__(self, *errors: Exception) -> None:
        self.times = 0
        self.errors = list(errors)

    def __call__(self) -> Change:
        self.times += 1
        if self.errors:
            raise self.errors.pop(0)
        return Change(self.times, ("a",), added=("a",))


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "hive.yaml"
    made.write_text("bees: {}\n")
    return made


def looks(reloader: Reloader, times: int = 3) -> None:
    for _ in range(times):
        reloader.look()
        reloader.wait()


def test_nothing_is_done_unless_asked(file):
    applied = Applied()
    reloader = Reloader([file], applied)
    file.write_text("bees: {a: {}}\n")

    looks(reloader)
    assert applied.times == 0
    reloader.ask()
    looks(reloader)
    assert applied.times == 1


def test_a_watched_file_is_used_once_it_rests(file):
    applied = Applied()
    reloader = Reloader([file], applied, watch=True)

    looks(reloader)
    assert applied.times == 0
    file.write_text("bees: {a: {}}\n")
    looks(reloader, 1)
    assert applied.times == 0
    looks(reloader)
    assert applied.times == 1


def test_a_file_that_was_replaced_by_one_of_the_same_size_is_noticed(file):
    applied = Applied()
    reloader = Reloader([file], applied, watch=True)
    other = file.with_suffix(".new")
    other.write_text("bees: []\n")
    os.utime(other, ns=(1, 1))
    other.replace(file)

    looks(reloader)

    assert applied.times == 1


def test_a_folder_is_watched_with_all_its_files(tmp_path, file):
    applied = Applied()
    reloader = Reloader([tmp_path], applied, watch=True)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.yaml").write_text("bees: {}\n")

    looks(reloader)

    assert applied.times == 1


def test_a_file_that_is_gone_for_a_moment_is_waited_for(file):
    applied = Applied()
    reloader = Reloader([file], applied, watch=True)
    file.unlink()
    looks(reloader)
    assert applied.times == 0

    file.write_text("bees: {}\n\n")
    looks(reloader)
    assert applied.times == 1


def test_what_is_wrong_is_told_and_the_next_version_is_tried(file):
    wrong = ConfigProblems([Problem("is no known option", file="hive.yaml", line=3, bee="a", field="evry")])
    applied = Applied(wrong, RuntimeError("a value"))
    reloader = Reloader([file], applied)
    with capture_logs() as logs:
        for _ in range(3):
            reloader.ask()
            looks(reloader, 1)

    assert [entry["event"] for entry in logs] == ["config.refused", "config.failed", "config.reloaded"]
    assert logs[0]["problems"] == ["hive.yaml:3: bee 'a', field 'evry': is no known option"]
    assert "a value" not in str(logs)
    assert (logs[2]["version"], logs[2]["added"]) == (3, 1)


def test_a_wish_during_a_reload_is_done_after_it(file):
    begun, go_on = threading.Event(), threading.Event()
    applied = Applied()

    def slowly() -> Change:
        begun.set()
        go_on.wait(10)
        return applied()

    reloader = Reloader([file], slowly)
    reloader.ask()
    reloader.look()
    begun.wait(10)
    reloader.ask()
    reloader.look()
    assert applied.times == 0
    go_on.set()
    looks(reloader)

    assert applied.times == 2
