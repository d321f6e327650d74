"""One process of the hive: started, restarted when it dies, ended."""

from __future__ import annotations

import enum
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from hive.embedded import process
from hive.starter import Executed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hive.starter import ForkServer, Running

_log = structlog.get_logger("hive.supervisor")

SHORTEST_WAIT = 0.2
LONGEST_WAIT = 5.0
LONGEST_START = 10.0
"""Seconds for which a process that does not answer yet counts as starting."""
_PAUSE = 0.01
_STEADY = 30.0
"""Seconds of life after which earlier deaths are forgotten."""


class Ends(enum.IntEnum):
    """The order of ending: first nothing new is scheduled, then the work stops, then the views of it."""

    FIRST = 0
    WITH_THE_WORK = 1
    LAST = 2


@dataclass(frozen=True)
class Command:
    """What to run: arguments of `hive`, and what the supervisor must know of it."""

    name: str
    arguments: tuple[str, ...]
    ends: Ends
    listens: tuple[str, int] | None = None
    """An address that answers once the process is ready; None: it makes the file HIVE_READY_FILE when it is."""


class Child:
    """Keeps one command running. It never waits: the caller asks it again and again, and owns the clock."""

    def __init__(
        self,
        command: Command,
        argv: list[str],
        environment: Mapping[str, str],
        log_path: Path,
        forks: ForkServer | None = None,
    ) -> None:
        """`argv` runs the command; `forks` does it sooner while it can."""
        self.command = command
        self.log_path = log_path
        self._ready_file = log_path.with_suffix(".ready")
        self.deaths = 0
        """Deaths in a row, without a steady life in between."""
        self._argv = argv
        self._environment = {**environment, "HIVE_READY_FILE": str(self._ready_file)}
        self._forks = forks
        self._process: Running | None = None
        self._since = 0.0
        self._again_at: float | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self, now: float) -> None:
        self._again_at = None
        self._since = now
        self._ready_file.unlink(missing_ok=True)
        with process.open_log(self.log_path) as log, process.undisturbed():
            forked = self._forks and self._forks.fork(self.command.arguments, self._environment, log)
            self._process = forked or Executed(self._argv, self._environment, log)

    def try_to_start(self, now: float) -> None:
        """As `start`; where the machine has no process, file or room on a disk to give, that counts as a death."""
        try:
            self.start(now)
        except OSError as error:
            wait = self._wait_on(now)
            _log.error("process does not start", process=self.command.name, reason=error.strerror, again_in=wait)

    def tend(self, now: float, *, room: bool = True) -> None:
        """Start the process again if it died and its wait is over: 0.2 s at first, doubled up to 5 s.

        Without `room` it waits on: others that are wanted first are starting.
        """
        if self._process is not None and self._process.exited():
            self._mourn(now, self._process.code)
        room = room and not (self._forks and self._forks.is_loading())
        if room and self._again_at is not None and now >= self._again_at:
            self.try_to_start(now)

    def is_starting(self, now: float) -> bool:
        """Whether it was started a moment ago and does not work yet."""
        return self._process is not None and now - self._since < LONGEST_START and not self.answers()

    def answers(self) -> bool:
        """Whether it works: it listens where it should, or has said that it does."""
        if self._process is None or self._process.exited():
            return False
        if self.command.listens is None:
            return self._ready_file.exists()
        try:
            socket.create_connection(self.command.listens, timeout=1).close()
        except OSError:
            return False
        return True

    def signal(self, signum: int) -> None:
        """Signal the process itself; it knows what to do with its own children."""
        if self._process is not None and not self._process.exited():
            self._process.signal(signum)

    def ended(self) -> bool:
        return self._process is None or self._process.exited()

    def kill(self) -> None:
        """Kill the process and all that it started, and wait for it."""
        if self._process is not None and not self._process.exited():
            self._process.kill()
            while not self._process.exited():
                time.sleep(_PAUSE)

    def abandon(self) -> None:
        """Kill as `kill` does and wait for nothing: for a supervisor that is about to exit."""
        if self._process is not None:
            self._process.kill()

    def _mourn(self, now: float, code: int) -> None:
        wait = self._wait_on(now)
        _log.warning("process ended", process=self.command.name, code=code, again_in=wait, log=str(self.log_path))

    def _wait_on(self, now: float) -> float:
        """Seconds until it is tried again."""
        self._process = None
        self.deaths = 1 if now - self._since > _STEADY else self.deaths + 1
        wait: float = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** (self.deaths - 1))
        self._again_at = now + wait
        return wait
