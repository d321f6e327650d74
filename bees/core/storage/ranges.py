"""A file that is read by ranges, some of them ahead and side by side, as one seekable file."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future

from bees.core.errors import RetryLater

CUT_SHORT = "cut_short"
AHEAD = 3
"""Ranges that are fetched before they are asked for, once reading goes on in order."""


def cut_short() -> RetryLater:
    return RetryLater("a file ended before its size", code=CUT_SHORT, where="path")


class RangeReader(io.RawIOBase):
    """Holds `AHEAD` + 2 ranges at most. Raises what `read` raises; bytes that are missing at the end are RetryLater."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, pool: Executor, block: int) -> None:
        super().__init__()
        self._read = read
        self._size = size
        self._pool = pool
        self._block = block
        self._at = 0
        self._held: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._last = -1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._size or not len(buffer):
            return 0
        number, within = divmod(self._at, self._block)
        data = self._bytes(number)
        piece = data[within : within + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _bytes(self, number: int) -> bytes:
        if number != self._last:
            in_order = number == self._last + 1
            self._last = number
            for wanted in range(number, number + (AHEAD if in_order and number else 0) + 1):
                self._ask(wanted)
            while len(self._held) > AHEAD + 2:
                self._held.popitem(last=False)[1].cancel()
        data = self._held[number].result()
        expected = min(self._block, self._size - number * self._block)
        if len(data) < expected:
            raise cut_short()
        return data[:expected]

    def _ask(self, number: int) -> None:
        start = number * self._block
        if start < self._size and number not in self._held:
            self._held[number] = self._pool.submit(self._read, start, min(self._block, self._size - start))

    def close(self) -> None:
        for future in self._held.values():
            future.cancel()
        self._held.clear()
        super().close()
