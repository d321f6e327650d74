"""The lock and the state file of a running hive, and what other commands do with them: wait for it, or end it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from hive.embedded import places, process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hive.settings import Settings


class AlreadyRunning(RuntimeError):
    """Another process runs a hive on this data folder."""


class StartFailed(RuntimeError):
    """The hive did not come up; the message ends with what was said last."""


class StopFailed(RuntimeError):
    """A hive runs on this data folder and could not be ended."""


def log_folder(settings: Settings) -> Path:
    return places.make_folder(places.make_folder(settings.data_dir) / "logs")


@contextlib.contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the data folder's lock. A state file that is there by then is of a hive that was killed: it goes."""
    folder = places.make_folder(settings.data_dir)
    try:
        descriptor = places.lock(_lock_path(settings))
    except places.LockHeld as held:
        raise AlreadyRunning(
            f"a hive already runs on the data folder {folder} (process {held.holder or 'unknown'}): "
            "stop it with `hive down`, or give this one another folder with --data"
        ) from None
    try:
        forget_state(settings)
        yield
    finally:
        forget_state(settings)
        os.close(descriptor)


def killed(settings: Settings) -> int | None:
    """The process that the state file names, where it is gone: that hive was killed, or runs in another container."""
    pid = settings.running().get("pid")
    return pid if isinstance(pid, int) and not os.path.exists(f"/proc/{pid}") else None  # noqa: PTH110 - no pathlib


def write_state(settings: Settings, state: Mapping[str, Any]) -> None:
    """Tell the other commands of this machine; mode 0600, since the addresses hold passwords."""
    places.write_secret(settings.state_path, json.dumps(state, indent=1))


def forget_state(settings: Settings) -> None:
    settings.state_path.unlink(missing_ok=True)


def down(settings: Settings, *, timeout: float = 30.0) -> bool:
    """End the hive of this data folder and wait until it is gone; False where none ran.

    What a killed hive left in the state file is removed. Raises StopFailed after `timeout` seconds.
    """
    if not settings.data_dir.is_dir():
        return False
    deadline = time.monotonic() + timeout
    asked: str | None = None
    while (holder := _holder(settings)) is not None:
        if asked is None and holder:
            _ask_to_end(settings, int(holder))
            asked = holder
        elif asked is not None and holder != asked:
            return True  # the one we ended is gone, and somebody started the next
        if time.monotonic() > deadline:
            raise StopFailed(
                f"the hive on {settings.data_dir} (process {holder or 'unknown'}) has not ended after {timeout:.0f} s; "
                "a second `hive down` makes it end at once"
            )
        time.sleep(0.05)
    return asked is not None


def detach(settings: Settings, argv: list[str], *, timeout: float = 120.0) -> dict[str, Any]:
    """Run `argv`, a `hive up` on this data folder, in the background; gives its state as soon as it is ready.

    Its output goes to `<data>/logs/hive.log`. Raises StartFailed with the end of it when the process ends instead, or
    is not ready in time; nothing is left running then.
    """
    path = log_folder(settings) / "hive.log"
    with process.open_log(path) as log:
        since = os.fstat(log.fileno()).st_size
        environment = {**os.environ, "HIVE_DATA_DIR": str(settings.data_dir.resolve())}
        output = [(os.POSIX_SPAWN_DUP2, log.fileno(), descriptor) for descriptor in (1, 2)]
        silence = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        # A session of its own: closing the terminal does not end it.
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=[silence, *output], setsid=True)
    try:
        deadline = time.monotonic() + timeout
        while not _ready(settings, pid):
            if os.waitpid(pid, os.WNOHANG)[0]:
                said = process.last_lines(path, since=since, lines=20).splitlines()
                why = "\n".join(line for line in said if not line.startswith("hive: warning: "))
                raise StartFailed(f"the hive did not start: {why.removeprefix('hive: ')}")
            if time.monotonic() > deadline:
                _end_detached(pid)
                raise StartFailed(f"the hive was not ready after {timeout:.0f} s; its log is {path}")
            time.sleep(0.05)
    except KeyboardInterrupt:
        _end_detached(pid)
        raise
    return settings.running()


def _end_detached(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)


def _ready(settings: Settings, pid: int) -> bool:
    state = settings.running()
    return state.get("pid") == pid and bool(state.get("ready"))


def _lock_path(settings: Settings) -> Path:
    return settings.data_dir / "hive.lock"


def _holder(settings: Settings) -> str | None:
    """Who holds the lock; empty while the holder has not written its number yet, None if nobody does."""
    try:
        with only_one(settings):
            return None
    except AlreadyRunning:
        return _lock_path(settings).read_text().strip()


def _ask_to_end(settings: Settings, pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        if _holder(settings) == str(pid):
            raise StopFailed(
                f"the hive on {settings.data_dir} is process {pid} of another container: run `hive down` there"
            ) from None
    except PermissionError:
        raise StopFailed(f"the hive on {settings.data_dir} is process {pid} of another user: stop it as that") from None
