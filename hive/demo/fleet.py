"""The demo's processes: a hive and the sample API, on free ports and a folder of their own, and gone at the end."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from hive.embedded import places
from hive.running import down
from hive.settings import Settings, environment

UP = (sys.executable, "-m", "hive", "up")
_START_LIMIT = 120.0
_SMALL_BATCHES = {"HIVE_BATCH_ROWS": "2000", "HIVE_BATCH_BYTES": str(512 << 10)}
"""Small batches: all processors have work, and what a killed worker had in hand is little."""


class DemoFailed(RuntimeError):
    """The demo cannot go on."""


@contextlib.contextmanager
def folder(*, keep: bool) -> Iterator[Path]:
    """A data folder with a short path, removed at the end."""
    made = places.make_folder(Path(tempfile.gettempdir()) / f"hive-{secrets.token_hex(4)}")
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def sample_api() -> Iterator[str]:
    """The sample API in a process of its own; gives its address."""
    command = [sys.executable, "-m", "hive.demo.api", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as api:  # noqa: S603
        try:
            assert api.stdout is not None
            address = api.stdout.readline().strip()
            if not address:
                raise DemoFailed("the sample API did not start")
            yield address
        finally:
            api.kill()


@contextlib.contextmanager
def running_hive(data: Path, config: Path) -> Iterator[Mapping[str, Any]]:
    """`hive up` on a folder; gives the state once it is ready, ends it and waits for it whatever happens."""
    own = _environment() | {"HIVE_GATEWAY_PORT": "0", "HIVE_FLOWER_PORT": "0", **_SMALL_BATCHES}
    settings = demo_settings(data)
    log = data / "demo.log"
    with log.open("wb") as output:
        hive = subprocess.Popen(  # noqa: S603 - our own program
            [*UP, "--data", str(data), "--config", str(config)],
            env=own, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _START_LIMIT
        while not settings.running().get("ready"):
            if hive.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"the hive did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield settings.running()
    finally:
        _end(hive, settings)


def command(data: Path, *arguments: str) -> dict[str, Any]:
    """The JSON that a command of `hive` prints about the demo's hive. Raises DemoFailed where it fails."""
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "hive", *arguments],
        env=_environment() | {"HIVE_DATA_DIR": str(data)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if ended.returncode:
        raise DemoFailed(f"hive {' '.join(arguments)} ended with {ended.returncode}: {ended.stderr.strip()}")
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def _environment() -> dict[str, str]:
    """Our environment without settings of another hive."""
    return {name: value for name, value in environment().items() if not name.startswith("HIVE_")}


def _end(hive: subprocess.Popen[bytes], settings: Settings) -> None:
    """Nothing may stay, also when the user is impatient: a second Ctrl-C waits for the end like the first."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if hive.poll() is None:
            hive.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                hive.wait(timeout=25)
        if hive.poll() is None:
            down(settings, timeout=5)
            hive.kill()
            hive.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def demo_settings(data: Path) -> Settings:
    """Settings of the demo's own hive, whatever the environment says of another."""
    return Settings(data_dir=data, database_url=None, redis_url=None, config=None, key=None, key_file=None)


def is_nectar_child(pid: int, supervisor: int) -> bool:
    """Whether `pid` is a pool process of the worker that scrubs and lands."""
    with contextlib.suppress(psutil.NoSuchProcess):
        worker = psutil.Process(pid).parent()
        ours = psutil.Process(supervisor).children(recursive=True)
        return worker in ours and "nectar" in worker.cmdline()
    return False
