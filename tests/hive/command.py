"""The command line in the test's own process: `hive(...)` does what the program does, from its arguments to its exit.

A test module imports the fixture `hive` by name.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import hive.celery
from hive.cli import main
from hive.settings import settings
from tests.hive.nest import KEY

__all__ = ["Command", "Said", "bare_hive", "broker", "hive_command"]


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document that standard output must be."""
        return json.loads(self.out)


class Command:
    """Runs commands with the environment that the test gives."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: object, stdin: str = "") -> Said:
        self._monkeypatch.setattr(sys, "argv", ["hive", *map(str, arguments)])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        settings.cache_clear()
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    def set(self, environment: Mapping[str, object]) -> None:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, str(value))


@pytest.fixture
def bare_hive(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Commands in a folder where no hive runs and nothing is set."""
    for name in [name for name in os.environ if name.startswith("HIVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield Command(capsys, monkeypatch)
    settings.cache_clear()


@pytest.fixture(name="hive")
def hive_command(
    bare_hive: Command, database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """Commands on the test's database and broker. No worker listens there: what is due waits for the test."""
    places = {"HIVE_DATABASE_URL": database_url, "HIVE_REDIS_URL": redis_url, "HIVE_DATA_DIR": tmp_path / "data"}
    bare_hive.set({**places, "HIVE_KEY": KEY})
    with broker(redis_url, monkeypatch):
        yield bare_hive


@contextmanager
def broker(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hints of this process go to this broker."""
    app = Celery("test", broker=url, set_as_current=False)
    app.conf.update(task_queues=hive.celery.app.conf.task_queues, task_ignore_result=True)
    with monkeypatch.context() as patch:
        patch.setattr(hive.celery, "app", app)
        yield
    app.close()
