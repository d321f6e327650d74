"""A tap as a process of its own: bounded lines out of its pipe, killed with its group, its words never repeated.

The pipe is the brake: what is not taken from it stops the tap. Of what the tap says on stderr only levels, the class
of an exception and the numbers of its metrics are passed on, since its text may hold values and secrets.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import structlog

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.singer.pace import Pace

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK = 1 << 18
_PIPE = 1 << 20
"""Bytes that a tap may be ahead, so that it need not stand still while a batch is made."""
_HEAD = 1 << 16
_GRACE = 3.0
"""Seconds between asking a tap to end and killing it."""
_LOOK = 0.5
"""Seconds of silence after which one looks whether the tap is still there."""
_EXCEPTION = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Timeout|Exit|Interrupt|Warning|Failure))\b")
_LEVEL = re.compile(r"\b(CRITICAL|ERROR|WARNING|INFO|DEBUG)\b")
_METRIC = re.compile(r"METRIC:\s*(\{.*\})")
_NAME = re.compile(r"[\w.:-]{1,100}")
_NEEDS_A_PERSON = re.compile(r"Config|Auth|Unauthori[sz]ed|Forbidden|Credential|InvalidGrant|Permission|ModuleNotFound")
_MOST_STDERR_LINE = 1 << 16
log = structlog.get_logger()


class TooLong(Exception):
    """A line above the limit; `head` is how it begins."""

    def __init__(self, head: bytes) -> None:
        super().__init__("a line is too long")
        self.head = head


class Tap:
    """One run of a tap, from start to the last of its processes. A context manager: leaving it ends them all."""

    def __init__(
        self,
        command: Sequence[str],
        files: Mapping[str, Any],
        *,
        flags: Sequence[str] = (),
        environment: Mapping[str, str],
        silence: float,
        line_limit: int,
        gate: object = None,
    ) -> None:
        """`files` are written for this run alone, by the option that names each: {"--config": {...}}.

        `gate`: a budget of the requests that the tap tells of; see `bees.core.singer.pace`.
        """
        self._command = command
        self._files = files
        self._flags = flags
        self._environment = environment
        self._silence = silence
        self._limit = line_limit
        self._buffer = bytearray()
        self._pace = Pace(gate, silence)
        self.exception = ""
        self.levels: Counter[str] = Counter()

    def __enter__(self) -> Self:
        executable = shutil.which(self._command[0])
        if executable is None:
            raise GiveUp(
                f"the command {self._command[0]!r} is not there, or cannot be executed",
                code="no_command",
                where="command",
                advice="install the tap in an environment of its own, and give the path of its command",
            )
        if "--discover" not in self._flags:
            self._pace.begin()
        self._folder = Path(tempfile.mkdtemp(prefix="tap-"))  # 0700: nobody else looks into it
        try:
            arguments = [executable, *self._command[1:], *self._flags, *self._written()]
            self._process = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=self._environ(executable),
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            message = f"the command {self._command[0]!r} cannot be started ({type(error).__name__})"
            advice = "check that it is a program for this machine"
            raise GiveUp(message, code="no_command", where="command", advice=advice) from None
        self._pace.group = self._process.pid
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        with contextlib.suppress(OSError):  # the system may allow no more than it gave
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _PIPE)
        self._listener = threading.Thread(target=self._listen, name="tap-stderr", daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)
        name = Path(self._command[0]).name
        if self._pace.is_blind and not error and "--discover" not in self._flags:
            log.warning("tap_tells_no_requests", tap=name, advice="its `limits.rate` bounds nothing")
        if self.levels:
            log.info("tap_said", tap=name, **{k.lower(): n for k, n in self.levels.items()})

    def blocks(self) -> Iterator[list[bytes | TooLong]]:
        """Whole lines of its output, without their ends, as they come in, until it closes it.

        Raises RetryLater when it is silent too long.
        """
        while self._fill():
            end = self._buffer.rfind(b"\n")
            if end >= 0:
                yield self._cut(end)
            if len(self._buffer) > self._limit:
                yield [self._skip()]
        if self._buffer:
            yield self._cut(len(self._buffer) - self._buffer.endswith(b"\n"))

    def lines(self) -> Iterator[bytes | TooLong]:
        """The same, one by one."""
        for block in self.blocks():
            yield from block

    def _cut(self, end: int) -> list[bytes | TooLong]:
        """Take the lines up to `end` out of the buffer."""
        lines = bytes(self._buffer[:end]).split(b"\n")
        del self._buffer[: end + 1]
        if end <= self._limit:
            return list(lines)
        return [line if len(line) <= self._limit else TooLong(line[:_HEAD]) for line in lines]

    def finish(self) -> None:
        """Wait for its end. Raises what its exit code means."""
        try:
            code = self._process.wait(self._silence)
        except subprocess.TimeoutExpired:
            raise self._silent() from None
        self._listener.join(_GRACE)
        if code == 0:
            return
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raised = f" after {self.exception}" if self.exception else ""
        message = f"the tap {how}{raised}"
        advice = f"run {Path(self._command[0]).name} by hand to see what it says: its text is not repeated here"
        kind: type[SourceError] = GiveUp if _NEEDS_A_PERSON.search(self.exception) else RetryLater
        raise kind(message, code="tap_failed", where="command", advice=advice)

    def _written(self) -> list[str]:
        arguments = []
        for option, content in self._files.items():
            path = self._folder / f"{option.strip('-')}.json"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content if isinstance(content, str) else json.dumps(content))
            arguments += [option, str(path)]
        return arguments

    def _environ(self, executable: str) -> dict[str, str]:
        """Nothing of ours: the hive's own variables hold keys and passwords."""
        folder = str(self._folder)
        path = os.pathsep.join((str(Path(executable).parent), os.defpath))
        usual = {"PATH": path, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"}
        return usual | dict(self._environment)

    def _fill(self) -> bool:
        """More bytes, or False at the end: the output is closed, or only what a tap forked before its end has it."""
        ends = time.monotonic() + self._silence
        while not select.select([self._out], [], [], _LOOK)[0]:
            if self._pace.problem is not None:
                raise self._pace.problem
            if self._pace.stopped:
                ends = time.monotonic() + self._silence
            if self._process.poll() is not None and not select.select([self._out], [], [], 0)[0]:
                return False
            if time.monotonic() >= ends:
                raise self._silent()
        more = os.read(self._out, _CHUNK)
        self._buffer += more
        return bool(more)

    def _skip(self) -> TooLong:
        """Read on to the end of a line that is too long, and keep its head only."""
        head = bytes(self._buffer[:_HEAD])
        while (end := self._buffer.find(b"\n")) < 0:
            self._buffer.clear()
            if not self._fill():
                return TooLong(head)
        del self._buffer[: end + 1]
        return TooLong(head)

    def _silent(self) -> RetryLater:
        message = f"the tap said nothing for {self._silence:g} seconds"
        return RetryLater(message, code="tap_hangs", where="command", advice="raise `silence` if it needs so long")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while line := self._process.stderr.readline(_MOST_STDERR_LINE):
                self._heard(line.decode("utf-8", "replace"))

    def _heard(self, line: str) -> None:
        if level := _LEVEL.search(line[:200]):
            self.levels[level[1]] += 1
        if found := _EXCEPTION.match(line):
            self.exception = found[1].rsplit(".", 1)[-1]
        if metric := _METRIC.search(line):
            with contextlib.suppress(ValueError, AttributeError):
                told = json.loads(metric[1])
                name, value = told.get("metric"), told.get("value")
                if isinstance(name, str) and _NAME.fullmatch(name) and isinstance(value, int | float):
                    self._pace.heard(name, value)
                    log.info("tap_metric", metric=name, value=value)

    def _end(self) -> None:
        """The whole group, also what the tap has started itself and left behind."""
        group = self._process.pid
        self._pace.end()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGTERM)
            os.killpg(group, signal.SIGCONT)  # one that stands still hears nothing
        ends = time.monotonic() + _GRACE
        while self._process.poll() is None and time.monotonic() < ends:
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._listener.join(_GRACE)
        if not self._listener.is_alive():
            assert self._process.stderr is not None
            self._process.stderr.close()
