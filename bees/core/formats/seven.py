"""7z archives, unpacked behind the wall: the format's readers are many, and what they read was written by others.

Frames of an answer: `f` and a path begins a member, `d` and bytes go on with it, `x` and a code leaves one out.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from bees.core.formats.archives import Found, TooMuchError, most_of, numbered, told, unsafe
from bees.core.sandbox import Limits, Sandbox, SandboxError
from nectar.batch import Reject

LIMITS = Limits(memory=1 << 30, seconds=120.0, output=1 << 42, only=("bees.core.formats.seven", "py7zr", "psutil"))
_STEP = 1 << 20
_WAITING = 8
"""Pieces that wait to be sent: the reader unpacks no further ahead."""


def of_seven(file: BinaryIO, name: str) -> Iterator[Found]:
    """The members in the order of the archive, each to be read before the next is asked for."""
    with contextlib.closing(Sandbox(LIMITS)) as sandbox, contextlib.closing(sandbox.ask({"do": "7z"}, file)) as frames:
        answer = _Answer(frames, most_of(file.seek(0, io.SEEK_END)))
        while (head := answer.next_head()) is not None:
            path = head[1:].decode()
            if head[:1] == b"x":
                yield told(name, path)
            else:
                yield f"{name}/{path}", lambda: answer
        if answer.failure == "reader_missing":
            yield Reject(
                name, "reader_missing", "the library py7zr is not installed: pip install worker-bees[documents]"
            )
        elif answer.failure:
            code = answer.failure if answer.failure == "password_protected" else "broken_archive"
            yield told(name, code)


class _Answer:
    """The child's frames; read, they are the bytes of the member that was begun last."""

    def __init__(self, frames: Generator[bytes, None, None], most: int) -> None:
        self._frames, self._left = frames, most
        self._head: bytes | None = None
        self.failure = ""

    def next_head(self) -> bytes | None:
        while self._head is None and (frame := self._frame()):
            self._head = frame if frame[:1] != b"d" else None
        head, self._head = self._head, None
        return head

    def read(self, _size: int, /) -> bytes:
        """A piece of the member, longer perhaps than was asked for. Raises EOFError where the archive breaks."""
        if self._head is not None:
            return b""
        frame = self._frame()
        if frame[:1] == b"d":
            return frame[1:]
        if not frame and self.failure:
            raise EOFError
        self._head = frame or None
        return b""

    def _frame(self) -> bytes:
        try:
            frame = next(self._frames, b"")
        except SandboxError as error:
            self.failure = error.code
            return b""
        self._left -= len(frame)
        if self._left < 0:  # of members that nobody wants, too
            raise TooMuchError
        return frame


def answer_members(handle: int) -> Iterator[bytes]:
    """The child's side. Raises what carries a `code` for an archive that cannot be read."""
    made: queue.Queue[bytes | Exception | None] = queue.Queue(_WAITING)
    thread = threading.Thread(target=_unpack, args=(handle, made), daemon=True)
    thread.start()
    while (frame := made.get()) is not None:
        if isinstance(frame, Exception):
            raise frame
        yield frame


class _LeftError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _unpack(handle: int, made: queue.Queue[bytes | Exception | None]) -> None:
    """In a thread: the library pushes what it unpacks."""
    try:
        import py7zr
        from py7zr.exceptions import PasswordRequired
    except ImportError:
        made.put(_LeftError("reader_missing"))
        return
    try:
        with os.fdopen(os.dup(handle), "rb") as file, py7zr.SevenZipFile(file) as archive:
            if archive.needs_password():
                made.put(_LeftError("password_protected"))
                return
            files = [info for info in archive.list() if not info.is_directory and not info.is_symlink]
            for _ in (info for info in files if unsafe(info.filename)):
                made.put(b"xunsafe_name")
            wanted = [info.filename for info in files if not unsafe(info.filename)]
            if wanted:
                archive.extract(targets=wanted, factory=_writers(made, _own_names(wanted)))
        made.put(None)
    except PasswordRequired:
        made.put(_LeftError("password_protected"))
    except Exception as error:  # noqa: BLE001 - it is the parent's to judge
        made.put(error)


def _own_names(paths: Sequence[str]) -> dict[str, str]:
    """What the library calls members whose name an earlier one has, `a.csv_0`, and what they are called here."""
    again: Counter[str] = Counter()
    names, taken = dict[str, str](), dict[str, int]()
    for path in paths:
        own = numbered(path, taken)
        if again[path]:
            names[f"{path}_{again[path] - 1}"] = own
        again[path] += 1
    return names


def _writers(made: queue.Queue[bytes | Exception | None], names: Mapping[str, str]) -> Any:
    from py7zr.io import Py7zIO, WriterFactory

    class Writer(Py7zIO):
        def __init__(self, name: str) -> None:
            self._size = 0
            made.put(b"f" + names.get(name, name).encode("utf-8", "replace"))

        def write(self, data: bytes | bytearray) -> int:
            for at in range(0, len(data), _STEP):
                made.put(b"d" + bytes(data[at : at + _STEP]))
            self._size += len(data)
            return len(data)

        def read(self, size: int | None = None) -> bytes:  # noqa: ARG002 - nothing is kept
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
            return 0

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return self._size

    class Writers(WriterFactory):
        def create(self, filename: str) -> Any:
            return Writer(filename)

    return Writers()
