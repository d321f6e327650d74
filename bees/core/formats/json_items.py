"""JSON text cut into its items by brackets and commas alone, so that one that is no JSON costs no other."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from nectar.extract.text import Encoding

_SIGNS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
"""A text, or a sign; a quotation mark alone begins a text that does not end here."""
_STEP = 1 << 18
_PAIRS = {b"}": b"{", b"]": b"["}


class CutOffError(ValueError):
    """Nobody can tell where the next item begins."""


class TooLongError(ValueError):
    """An item goes on for too long."""


def cut(file: BinaryIO, at: int, most: int) -> Iterator[bytes]:
    """The items of arrays, and objects one after another, from a byte on, as they stand there; some are no JSON.

    Raises CutOffError where brackets do not match or the file ends within an item, TooLongError above `most` bytes.
    """
    file.seek(at)
    yield from _Cut(file, most).items()


class _Cut:
    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self._held, self._begins, self._at = b"", 0, 0

    def items(self) -> Iterator[bytes]:
        open_: list[bytes] = []
        array = given = False
        while (sign := self._sign()) is not None:
            mark, start, end = sign
            if open_:
                if mark in _PAIRS and open_.pop() != _PAIRS[mark]:
                    raise CutOffError
                if mark in (b"[", b"{"):
                    open_.append(mark)
                if not open_ and not array:
                    yield self._taken(end)
            elif array and mark in (b",", b"]"):
                item = self._taken(start)
                if item.strip() or given or mark == b",":
                    yield item
                array, given, self._begins = mark == b",", mark == b",", end
            elif mark == b"[" and not array:
                self._blank(start)
                array, given, self._begins = True, False, end
            elif mark in (b"[", b"{"):
                if not array:
                    self._blank(start)
                open_.append(mark)
            elif not array or mark in _PAIRS:
                raise CutOffError
        if open_ or array:
            raise CutOffError
        self._blank(len(self._held))

    def _taken(self, end: int) -> bytes:
        item, self._begins = self._held[self._begins : end], end
        return item

    def _blank(self, end: int) -> None:
        if self._taken(end).strip():
            raise CutOffError

    def _sign(self) -> tuple[bytes, int, int] | None:
        """The next bracket, comma or text; None at the end of the file."""
        while True:
            found = _SIGNS.search(self._held, self._at)
            if found and found[0] != b'"':
                self._at = found.end()
                return found[0], found.start(), found.end()
            more = self._file.read(_STEP)
            if not more:
                if found:
                    raise CutOffError
                return None
            if len(self._held) - self._begins > self._most:
                raise TooLongError
            # A text that is cut here is looked at again from its beginning.
            self._at = (found.start() if found else len(self._held)) - self._begins
            self._held, self._begins = self._held[self._begins :] + more, 0


class Recoded:
    """A file of another encoding as UTF-8. It ends in a byte that is none where its own bytes are not in theirs."""

    def __init__(self, file: BinaryIO, encoding: Encoding) -> None:
        self._file, self._encoding = file, encoding
        self.seek(0)

    def seek(self, at: int) -> None:
        """To a byte of what is read, which are all read again up to there."""
        self._file.seek(self._encoding.bom)
        self._decoder = codecs.getincrementaldecoder(self._encoding.name)()
        self._held, self._ended = b"", False
        self.read(at)

    def read(self, size: int, /) -> bytes:
        while len(self._held) < size and not self._ended:
            data = self._file.read(_STEP)
            self._ended = not data
            try:
                self._held += self._decoder.decode(data, not data).encode("utf-8", "surrogatepass")
            except UnicodeDecodeError:
                self._held, self._ended = self._held + b"\xff", True
        made, self._held = self._held[:size], self._held[size:]
        return made
