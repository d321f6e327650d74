"""A file that is read by ranges, some of them ahead and side by side, as one seekable file.

A range that breaks off is asked for again a few times, and by smaller parts if need be: so a file of many ranges is
read over a network that breaks now and then, and through a proxy that ends each answer after so many bytes.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future

from bees.core.errors import RetryLater

CUT_SHORT = "cut_short"
AHEAD = 3
"""Ranges that are fetched before they are asked for, once reading goes on in order."""
PAUSES = (0.1, 0.5, 2.0)
"""Seconds before what broke off is asked for again."""
_BROKEN = (CUT_SHORT, "connection_lost")
_PARTS = 4
_SMALLEST = 64 << 10


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
        self._held: dict[int, Future[bytes]] = {}
        self._last = -1
        self._closed = threading.Event()

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
            wanted = range(number, number + (AHEAD if in_order and number else 0) + 1)
            for one in wanted:
                self._ask(one)
            others = [one for one in self._held if one not in wanted]
            for one in others[: max(len(self._held) - AHEAD - 2, 0)]:
                self._held.pop(one).cancel()
        return self._held[number].result()

    def _ask(self, number: int) -> None:
        start = number * self._block
        if start < self._size and number not in self._held:
            self._held[number] = self._pool.submit(self._range, start, min(start + self._block, self._size))

    def _range(self, start: int, end: int) -> bytes:
        """Called in threads of the pool."""
        pieces: list[bytes] = []
        at, step, failures = start, end - start, 0
        while at < end:
            size = min(step, end - at)
            try:
                piece = self._read(at, size)
                if len(piece) < size:
                    raise cut_short()
            except RetryLater as error:
                again = error.code in _BROKEN and error.after is None and failures < len(PAUSES)
                if not again or self._closed.wait(PAUSES[failures]):
                    raise
                failures += 1
                if failures > 1:
                    step = max(-(-size // _PARTS), min(_SMALLEST, size))
            else:
                pieces.append(piece if len(piece) == size else piece[:size])
                at += size
                failures = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        self._closed.set()
        for future in self._held.values():
            future.cancel()
        self._held.clear()
        super().close()


class Later(io.RawIOBase):
    """A file that is read whole once something of it is asked for."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        super().__init__()
        self._read = read
        self._inner: io.BytesIO | None = None

    @property
    def _whole(self) -> io.BytesIO:
        if self._inner is None:
            self._inner = io.BytesIO(self._read())
        return self._inner

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._whole.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._whole.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._whole.readinto(buffer)
