"""A warm child process that reads untrusted files, so that a hostile file kills nobody but itself.

The child gets an open file and a request, and answers with frames over a socket pair. It may not open files, make
sockets or start programs (where the system knows seccomp), has no environment and no secrets, and its memory, time and
output are bounded. Whatever happens to it, the next request has a new one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Self

FRAME = struct.Struct(">cI")
DATA, DONE, FAILED = b"d", b"e", b"x"
MAX_FRAME = 256 << 20
_USES = 500
"""Requests after which a child is replaced: what it may have gathered in memory goes with it."""
_SPOILT = {"timeout", "memory", "crashed", "output"}
_HELD = 64 << 20
"""Bytes of a stream that are handed over in memory; more go through an unnamed file."""


@dataclass(frozen=True)
class Limits:
    """memory   bytes that the child may take beside what it has when it begins
    seconds  until the next frame of an answer
    output   bytes of its answer
    only     modules that it loads instead of all readers of documents and tables
    """

    memory: int = 1 << 30
    seconds: float = 60.0
    output: int = 1 << 30
    only: tuple[str, ...] = ()


class SandboxError(Exception):
    """Why there is no answer: `timeout`, `memory`, `crashed`, `output`, or a code that the child gave."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Sandbox:
    """One child of one process, started when it is first asked. Requests stand in line."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._owner = 0
        self._uses = 0

    def ask(self, request: Mapping[str, Any], file: BinaryIO | bytes) -> Generator[bytes, None, None]:
        """The frames of the answer. Raises SandboxError; OSError of `file` passes through.

        An iterator that is closed early ends the child.
        """
        with self._lock, _handed(file) as handle:
            whole = False
            try:
                yield from self._ask(request, handle)
                whole = True
            except SandboxError as error:
                whole = error.code not in _SPOILT  # the child told what is the matter, and is as good as before
                raise
            except (OSError, EOFError):
                raise SandboxError("crashed") from None
            finally:
                if not whole or self._uses >= _USES:
                    self.close()

    def _ask(self, request: Mapping[str, Any], handle: int) -> Iterator[bytes]:
        connection = self._ready()
        self._uses += 1
        until = time.monotonic() + self.limits.seconds
        body = json.dumps(dict(request)).encode()
        connection.settimeout(self.limits.seconds)
        try:
            socket.send_fds(connection, [struct.pack(">I", len(body)) + body], [handle])
            size = 0
            while True:
                kind, data = _frame(connection, until)
                size += len(data)
                if size > self.limits.output:
                    raise SandboxError("output")
                if kind == FAILED:
                    raise SandboxError(data.decode("ascii", "replace"))
                if kind == DONE:
                    return
                yield data
                until = time.monotonic() + self.limits.seconds  # a long table has many frames, each in its time
        except TimeoutError:
            raise SandboxError("timeout") from None

    def _ready(self) -> socket.socket:
        """The way to a child that lives and is ours; a fork has none of its parent's."""
        if self._socket is not None and self._owner == os.getpid() and self._child and self._child.poll() is None:
            return self._socket
        self.close()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "bees.core.sandbox.child", str(theirs.fileno())]
        command.append(json.dumps(asdict(self.limits)))
        with theirs:
            # Neither keys nor settings of ours: the environment is made new.
            self._child = subprocess.Popen(  # noqa: S603
                command, env={"PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8",
                              "ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"},
                cwd="/", pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._socket, self._owner, self._uses = ours, os.getpid(), 0
        ours.settimeout(_START)
        try:
            if ours.recv(1) != b"r":
                raise SandboxError("crashed")
        except TimeoutError:
            raise SandboxError("timeout") from None
        return ours

    def close(self) -> None:
        """End the child. The next request starts another one."""
        child, connection = self._child, self._socket
        self._child = self._socket = None
        if connection is not None:
            connection.close()
        if child is not None and self._owner == os.getpid():
            child.kill()
            child.wait()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


_START = 60.0
"""Seconds in which a child must be ready; it loads its libraries before it is shut in."""


def _frame(connection: socket.socket, until: float) -> tuple[bytes, bytes]:
    kind, size = FRAME.unpack(_exactly(connection, FRAME.size, until))
    if size > MAX_FRAME:
        raise SandboxError("output")
    return kind, _exactly(connection, size, until)


def _exactly(connection: socket.socket, size: int, until: float) -> bytes:
    made = bytearray(size)
    view, at = memoryview(made), 0
    while at < size:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        read = connection.recv_into(view[at:])
        if not read:
            raise EOFError
        at += read
    return bytes(made)


@contextlib.contextmanager
def _handed(file: BinaryIO | bytes) -> Iterator[int]:
    """A descriptor of the file's bytes from their beginning: its own, or one of a copy without a name."""
    if not isinstance(file, bytes):
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            handle = os.dup(file.fileno())
            try:
                os.lseek(handle, 0, os.SEEK_SET)
                yield handle
            finally:
                os.close(handle)
            return
    with _Copy() as copy:
        if isinstance(file, bytes):
            copy.write(file)
        else:
            file.seek(0)
            while block := file.read(1 << 20):
                copy.write(block)
        copy.flush()
        os.lseek(copy.fileno(), 0, os.SEEK_SET)
        yield copy.fileno()


def _in_memory() -> BinaryIO:
    return os.fdopen(os.memfd_create("document"), "w+b")


def _on_disk() -> BinaryIO:
    """A file without a name: it ends with its last descriptor."""
    made: Any = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    return made  # type: ignore[no-any-return]


class _Copy:
    """Bytes in memory where the system can, and in an unnamed file once they are many."""

    def __init__(self) -> None:
        self._file = _in_memory() if hasattr(os, "memfd_create") else _on_disk()
        self._size = 0

    def write(self, data: bytes) -> None:
        if self._size <= _HELD < self._size + len(data):
            larger = _on_disk()
            self._file.seek(0)
            while block := self._file.read(1 << 20):
                larger.write(block)
            self._file.close()
            self._file = larger
        self._size += len(data)
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def fileno(self) -> int:
        return int(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
