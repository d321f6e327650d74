"""When a configuration is taken into use again: on SIGHUP, and where it is watched, when its files changed.

The process that may do this looks often (`look`), and is not held up: the work is done in a thread. What is wrong in
the new version is logged, and the hive flies on with what it had.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hive.config.problems import ConfigProblems
from hive.errors import trail

if TYPE_CHECKING:
    from hive.versions import Change

log = structlog.get_logger()

Stamp = tuple[tuple[str, int, int], ...]
_MOST_TOLD = 20


class Reloader:
    """`apply` takes the configuration of these files and folders into use and says what changed."""

    def __init__(self, paths: Sequence[Path], apply: Callable[[], Change], *, watch: bool = False) -> None:
        self._paths = tuple(paths)
        self._name = ", ".join(map(str, paths))
        self._apply = apply
        self._watch = watch
        self._asked = False
        self._used = self._seen = self._stamp() if watch else ()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Reload soon. Does so little that a signal handler may call it."""
        self._asked = True

    def look(self) -> None:
        """Begin to reload if that was asked for, or if the files changed and then stayed as they are for one look."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._watch:
            stamp, before = self._stamp(), self._seen
            self._seen = stamp
            if stamp and stamp == before and stamp != self._used:
                self._asked = True
        if self._asked:
            self._asked, self._used = False, self._seen
            self._thread = threading.Thread(target=self._reload, name="reload", daemon=True)
            self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Until a reload that has begun is done."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _reload(self) -> None:
        try:
            change = self._apply()
        except ConfigProblems as error:
            told = [str(problem) for problem in error.problems[:_MOST_TOLD]]
            log.error("config.refused", config=self._name, problems=told, count=len(error.problems))
        except Exception as error:  # noqa: BLE001 - whatever it was, the hive flies on with what it had
            log.error("config.failed", config=self._name, kind=type(error).__name__, trail=trail(error))
        else:
            counts = {word: len(bees) for word, bees in change.diff.items() if bees}
            log.info("config.reloaded", config=self._name, version=change.version, **counts)

    def _stamp(self) -> Stamp:
        return tuple(sorted(self._files()))

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """Name, time of change and size of each file; nothing for what cannot be read just now."""
        try:
            for path in self._paths:
                for file in [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]:
                    state = file.stat()
                    yield str(file), state.st_mtime_ns, state.st_size
        except OSError:
            return
