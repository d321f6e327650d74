"""How a part of the hive is started: forked from the fork server while that is there, executed otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Any, Protocol

import structlog

from hive.embedded import process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_log = structlog.get_logger("hive.supervisor")

_LONGEST_LOAD = 20.0
"""Seconds that parts wait for a fork server which loads its code; after that they are executed."""
_LONGEST_ANSWER = 5.0
"""Seconds until a fork server that says nothing counts as lost."""
_WAIT = 1.0
"""Seconds before a fork server that ended is started again."""
_UNTOLD = 2.0
"""Seconds after which the end of a part is believed that its fork server says nothing of."""


class Running(Protocol):
    """A part that was started, in a session of its own."""

    @property
    def pid(self) -> int: ...

    @property
    def code(self) -> int: ...

    def exited(self) -> bool:
        """Whether it ended; what it left in its session is killed then."""

    def signal(self, signum: int) -> None: ...

    def kill(self) -> None:
        """Kill it and all that it started, without waiting."""


class Executed:
    """A part as a process of its own program."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> None:
        self._process = process.spawn(argv, log=log, env=environment, death_signal=signal.SIGTERM)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int:
        return self._process.returncode

    def exited(self) -> bool:
        return process.exited(self._process)

    def signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    def kill(self) -> None:
        if self._process.returncode is None:
            process.signal_group(self._process, signal.SIGKILL)


class Forked:
    """A part that the fork server made. It may live longer than that, so its end is seen here."""

    def __init__(self, server: ForkServer, pid: int, handle: int) -> None:
        self.pid = pid
        self.code = -signal.SIGKILL
        self._server = server
        self._handle = handle
        self._over = False
        self._ended_at: float | None = None

    def exited(self) -> bool:
        if self._over or not select.select([self._handle], [], [], 0)[0]:
            return self._over
        code = self._server.code_of(self.pid)
        self._ended_at = self._ended_at or time.monotonic()
        if code is None and self._server.listens() and time.monotonic() - self._ended_at < _UNTOLD:
            return False  # the server has not buried it yet
        self.code = self.code if code is None else code
        self._over = True
        if code is None:
            self._kill_group()
        os.close(self._handle)
        return True

    def signal(self, signum: int) -> None:
        if not self._over:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signum)

    def kill(self) -> None:
        if not self._over:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class ForkServer:
    """The supervisor's side of `hive.forkserver`. It never waits long: whoever cannot be forked is executed."""

    def __init__(self, environment: Mapping[str, str], log_path: Path) -> None:
        self._environment = environment
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._since = 0.0
        self._loaded = False
        self._stale = False
        self._codes: dict[int, int] = {}

    def start(self) -> None:
        self._since = time.monotonic()
        self._loaded = self._stale = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as unless_started:
            unless_started.enter_context(ours)
            with theirs, process.open_log(self._log_path) as log, process.undisturbed():
                # No arguments: the part's are written over them, and seen whole if they are longer.
                self._process = process.spawn(
                    [sys.executable, "-m", "hive"],
                    log=log, env={**self._environment, "HIVE_FORK_SOCKET": str(theirs.fileno())},
                    death_signal=signal.SIGKILL, pass_fds=[theirs.fileno()],
                )  # fmt: skip
            unless_started.pop_all()
        self._channel = ours

    def tend(self) -> None:
        """Start it again where it ended."""
        self._listen()
        if self._process is not None and process.exited(self._process):
            _log.warning("process ended", process="forkserver", code=self._process.returncode, log=str(self._log_path))
            self._drop()
        if self._process is None and time.monotonic() - self._since > _WAIT:
            try:
                self.start()
            except OSError as error:  # no process, file or room on a disk: parts are executed meanwhile
                _log.error("process does not start", process="forkserver", reason=error.strerror)

    def is_loading(self) -> bool:
        """Whether it is worth waiting for."""
        self._listen()
        return (
            not self._loaded and not self._stale and self.listens() and time.monotonic() - self._since < _LONGEST_LOAD
        )

    def listens(self) -> bool:
        return self._channel is not None

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Forked | None:
        """A part that runs this command of `hive`; None where it must be executed instead."""
        self._listen()
        if self._channel is None or not self._loaded:
            return None
        asked = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        try:
            socket.send_fds(self._channel, [asked], [log.fileno()])
        except OSError:
            self._drop()
            return None
        end = time.monotonic() + _LONGEST_ANSWER
        while self._channel is not None and time.monotonic() < end:
            told, handles = self._hear(end - time.monotonic())
            if "pid" in told:
                return Forked(self, int(told["pid"]), handles[0])
            if "stale" in told:
                return None
        self._drop()
        return None

    def code_of(self, pid: int) -> int | None:
        """How a fork ended, once; None while it is not known."""
        self._listen()
        return self._codes.pop(pid, None)

    def stop(self) -> None:
        """End it. What it forked and lives on is told so by the kernel, and ends too."""
        self._drop()

    def abandon(self) -> None:
        """Kill it, for a supervisor that is about to exit."""
        if self._process is not None and self._process.returncode is None:
            process.signal_group(self._process, signal.SIGKILL)

    def _listen(self) -> None:
        while self._channel is not None and self._hear(0)[0]:
            pass

    def _hear(self, patience: float) -> tuple[dict[str, Any], list[int]]:
        """One message and its descriptors; nothing where none came in time or the server is gone."""
        assert self._channel is not None
        if not select.select([self._channel], [], [], max(0.0, patience))[0]:
            return {}, []
        try:
            data, handles, _, _ = socket.recv_fds(self._channel, 4096, 1)
        except OSError:
            data, handles = b"", []
        if not data:
            self._drop()
            return {}, []
        told: dict[str, Any] = json.loads(data)
        if "code" in told:
            self._codes[int(told["of"])] = int(told["code"])
        self._stale |= "stale" in told
        self._loaded = (self._loaded or "loaded" in told) and not self._stale
        return told, handles

    def _drop(self) -> None:
        """Forget it. What it forked is told by the kernel that its parent is gone, and ends."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None and not process.exited(self._process):
            process.signal_group(self._process, signal.SIGKILL)
            self._process.wait()
        self._channel = self._process = None
        self._loaded = False
        self._since = time.monotonic()
