"""A whole hive as `hive up` runs it, on a folder of its own, and what belongs to that folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis

from hive.settings import Settings
from tests.processes import left_behind
from tests.servers import short_folder

ROOT = Path(__file__).parents[2]
HIVE = (sys.executable, "-m", "hive")
PATIENCE = 40.0


class RunningHive:
    """Starts `hive up` on `<folder>/data` and runs other commands beside it, each as a process of its own."""

    def __init__(self, folder: Path, **chosen: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.settings = Settings(data_dir=self.data)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HIVE_")},
            "HIVE_DATA_DIR": str(self.data),
            "HIVE_GATEWAY_PORT": "0",
            "HIVE_FLOWER_PORT": "0",
            "PYTHONPATH": str(ROOT),
            **chosen,
        }

    def run(self, *arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
        """A command from its start to its end."""
        return subprocess.run(
            [*HIVE, *map(str, arguments)],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=90, **how,
        )  # fmt: skip

    def begin(self, *arguments: object, **more: str) -> subprocess.Popen[str]:
        """A command in a process group of its own, as a terminal gives it."""
        return subprocess.Popen(
            [*HIVE, *map(str, arguments)],
            env=self.environment | more, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def up(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`hive up --detach`, which comes back when the hive is ready."""
        done = self.run("up", "--detach", *arguments)
        assert done.returncode == 0, done.stderr
        return done

    def ready(self) -> bool:
        return bool(self.settings.running().get("ready"))

    def left_behind(self) -> list[psutil.Process]:
        """Every process that belongs to the folder, by its arguments, its working folder or its environment."""
        return left_behind(self.folder)

    def texts(self) -> dict[str, bytes]:
        """Every file that people and tools read, and all that the broker holds."""
        files = [path for path in self.data.rglob("*") if path.is_file() and path.suffix in (".log", ".json", ".1")]
        found = {str(path): path.read_bytes() for path in files}
        with redis.Redis.from_url(self.settings.redis()) as broker:
            found |= {f"redis {key!r}": key + (broker.dump(key) or b"") for key in broker.scan_iter()}
        appended = [path for path in (self.data / "valkey").rglob("*") if path.is_file() and path.suffix == ".aof"]
        return found | {str(path): path.read_bytes() for path in appended}

    def close(self) -> None:
        """End the hive; whatever is left is killed, each process by its number."""
        self.run("down")
        for process in self.left_behind():
            process.kill()


@contextmanager
def hive_folder(**chosen: str) -> Iterator[RunningHive]:
    with short_folder() as folder:
        hive = RunningHive(folder, **chosen)
        try:
            yield hive
        finally:
            hive.close()


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C: the signal goes to the whole foreground group. Gives what the command said."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=30)


def wait_until(condition: Callable[[], Any], what: str = "it", limit: float = PATIENCE) -> Any:
    """What `condition` gives, once that is true."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {limit:.0f} seconds"
        time.sleep(0.02)
    return found
