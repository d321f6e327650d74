"""A stream that can only be read forward, with enough of its past kept to step back by one block."""

from __future__ import annotations

import io
from typing import BinaryIO, Protocol

KEPT = 24 << 20
"""Bytes of the past that stay: more than the largest row and a block together."""
_STEP = 1 << 18


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Window(io.RawIOBase):
    """Reads `source` once. `seek` goes forward by reading, and back as far as `KEPT` bytes.

    Further back it raises `io.UnsupportedOperation`, which tells a mistake of the reader, not of the file.
    """

    def __init__(self, source: Readable, kept: int = KEPT) -> None:
        self._source = source
        self._kept = kept
        self._held = bytearray()
        self._base = 0  # of the file, where `_held` begins
        self._at = 0  # within `_held`
        self._ended = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._base + self._at

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            while self._more():
                pass
        else:
            while len(self._held) - self._at < size and self._more():
                pass
        end = len(self._held) if size is None or size < 0 else self._at + size
        made = bytes(self._held[self._at : end])
        self._at += len(made)
        self._forget()
        return made

    def readline(self, size: int | None = -1, /) -> bytes:
        limit = -1 if size is None else size
        looked = self._at
        while True:
            end = self._held.find(b"\n", looked) + 1
            if end or (0 <= limit <= len(self._held) - self._at):
                break
            looked = len(self._held)
            if not self._more():
                end = len(self._held)
                break
        stop = end or len(self._held)
        return self.read(stop - self._at if limit < 0 else min(stop - self._at, limit))

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:
            while self.read(_STEP):
                pass
            return self.tell()
        target = offset + (self.tell() if whence == io.SEEK_CUR else 0)
        if target < self._base:
            raise io.UnsupportedOperation("the stream cannot step back so far")
        while target > self._base + len(self._held):
            self._at = len(self._held)
            self._forget()
            if not self._more():
                break
        self._at = min(target - self._base, len(self._held))
        return self.tell()

    def _more(self) -> bool:
        if self._ended:
            return False
        read = self._source.read(_STEP)
        self._held += read
        self._ended = not read
        return bool(read)

    def _forget(self) -> None:
        if self._at > self._kept + self._kept // 4:
            gone = self._at - self._kept
            del self._held[:gone]
            self._base += gone
            self._at -= gone


def windowed(source: Readable) -> BinaryIO:
    """A window onto the source, in the type that readers take."""
    return Window(source)  # type: ignore[return-value]


class _Newlines(io.RawIOBase):
    """A file whose lines end as those of old Macs did, with newlines in the same places."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data.replace(b"\r", b"\n")
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()


def with_newlines(source: BinaryIO) -> BinaryIO:
    """Carriage returns read as newlines; every byte keeps its place."""
    return io.BufferedReader(_Newlines(source), _STEP)
