"""Bees that read a folder of this machine fly when something in it changes: `source: {path: ..., watch: true}`.

The system tells of changes (inotify, by watchfiles); where it cannot, as with too few watches, the folders are looked
at instead. What changed while nobody watched is found by the flight with which a watch begins. A network mount tells
nothing of what others change on it: give its bee a schedule too.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import structlog
from watchfiles import watch

from hive.config.references import BadReference, MissingReference, resolve
from hive.errors import trail
from hive.ledger.db import UNREACHABLE
from hive.runtime import Runtime
from hive.settings import environment

log = structlog.get_logger()

_STEP = 40
"""Milliseconds in which nothing more may change before it is told."""
_LONGEST = 400
"""Milliseconds after which changes that do not cease are told all the same."""
_LOOK = 2.0
"""Seconds between two looks at which folders there are to watch."""
_REST = 10.0
"""Seconds after which a system that refused to watch is asked again."""
_POLL = 300

Listeners = Mapping[str, tuple[tuple[int, str], ...]]
"""Folder -> (bee, what its configuration calls the folder)."""


class FolderWatch:
    """A thread beside a beat. `told` is set whenever a bee has something to fly for."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._stop = threading.Event()
        self._known: set[str] = set()
        self._polling_until = 0.0
        self.told = threading.Event()
        self.watching = False
        self._thread = threading.Thread(target=self._run, name="folders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.told.set()

    def rest(self, seconds: float) -> float:
        """Wait until something was told, for so long at most; gives what is left to wait for by other means."""
        if not self.watching:
            return seconds
        if self.told.wait(seconds):
            self.told.clear()
        return 0.0

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                listeners = folders(self._rt)
                self.watching = bool(listeners)
                if listeners:
                    self._watch(listeners)
                else:
                    self._known.clear()
                    self._stop.wait(_LOOK)
            except UNREACHABLE:
                log.warning("database.unreachable", where="folders")
                self._stop.wait(_LOOK)
            except OSError as error:  # no watches left, or a folder that went away just now
                log.warning("folders.unwatched", error=error.strerror, advice="raise fs.inotify.max_user_watches")
                self._polling_until = time.monotonic() + _REST
                self._stop.wait(_POLL / 1000)
            except Exception as error:  # noqa: BLE001 - the next look may do better
                log.error("folders.failed", kind=type(error).__name__, trail=trail(error))
                self._stop.wait(_LOOK)

    def _watch(self, listeners: Listeners) -> None:
        """Until there are other folders to watch, or another one stands in the place of one."""
        seen_as = _identities(listeners)
        polling = time.monotonic() < self._polling_until
        looked = time.monotonic()
        changes = watch(
            *listeners, watch_filter=None, debounce=_LONGEST, step=_STEP, stop_event=self._stop, rust_timeout=500,
            yield_on_timeout=True, raise_interrupt=False, force_polling=polling, poll_delay_ms=_POLL,
            ignore_permission_denied=True,
        )  # fmt: skip
        for seen in changes:
            self._begun(listeners)  # only now changes are seen
            self._tell(listeners, {path for _, path in seen})
            if time.monotonic() - looked >= _LOOK:
                looked = time.monotonic()
                now = _identities(listeners)
                self._known -= {folder for folder in listeners if now.get(folder) != seen_as.get(folder)}
                others = folders(self._rt) != listeners or now != seen_as
                if others or (polling and looked >= self._polling_until):
                    return

    def _begun(self, listeners: Listeners) -> None:
        fresh = set(listeners) - self._known
        self._known = set(listeners)
        if fresh:
            self._tell({folder: listeners[folder] for folder in fresh}, fresh)

    def _tell(self, listeners: Listeners, paths: set[str]) -> None:
        for folder, bees in listeners.items():
            if any(path == folder or path.startswith(folder.rstrip("/") + "/") for path in paths):
                for bee, subject in bees:
                    with self._rt.db.single() as tx:
                        tx.run("folder_changed", bee=bee, subject=subject, mark=time.time_ns())
                self.told.set()


def _identities(listeners: Listeners) -> dict[str, tuple[int, int]]:
    """Which folder stands at each path: the system goes on watching one that was moved away."""
    found = {}
    for folder in listeners:
        with contextlib.suppress(OSError):
            status = Path(folder).stat()
            found[folder] = (status.st_dev, status.st_ino)
    return found


def folders(rt: Runtime) -> Listeners:
    """The folders that are there, and who reads them. One that is missing, or whose name is not known, is left out."""
    with rt.db.single() as tx:
        rows = tx.run("folder_listeners").fetchall()
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        try:
            path = resolve(row.subject, environ=environment(), vault=_closed)
        except (MissingReference, BadReference):
            continue  # the bee's own flights tell it
        if path and Path(path).is_dir():
            found.setdefault(os.path.realpath(path), []).append((row.bee, row.subject))
    return {folder: tuple(bees) for folder, bees in found.items()}


def _closed(path: str) -> str:
    """A folder's name is no secret, and who watches needs no key."""
    raise LookupError(path)
