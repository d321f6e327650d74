"""Cut long text into pieces that can be indexed and embedded, without losing a character."""

from __future__ import annotations

from dataclasses import dataclass

SIZE = 2_000
"""Characters of a piece, unless told otherwise: about 500 tokens of English prose."""

LIMIT = 256 << 10
"""Bytes of UTF-8 that no piece passes: a tsvector ends at 1 MiB, and holds up to four times its text."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text` is the whole text from `start` to `end`, in code points, end exclusive."""

    start: int
    end: int
    text: str


def chunks(text: str, *, size: int = SIZE, limit: int = LIMIT) -> list[Chunk]:
    """Pieces of at most `size` characters and `limit` bytes of UTF-8; joined they are the text. No text, no piece.

    A piece ends after a paragraph where it can, else after a line, else after a word, else anywhere; places in its
    second half are tried first, so that a heading does not become a piece of its own. The same text and sizes
    always give the same pieces.
    """
    if size < 1 or limit < 4:
        raise ValueError("size must be 1 or more, and limit 4 or more: room for one character")
    found: list[Chunk] = []
    start = 0
    while start < len(text):
        end = _furthest(text, start, size, limit)
        if end < len(text):
            end = _break(text, start, end)
        found.append(Chunk(start, end, text[start:end]))
        start = end
    return found


def _furthest(text: str, start: int, size: int, limit: int) -> int:
    """The last place at which a piece may end."""
    end = min(start + size, len(text))
    if (end - start) * 4 <= limit or _bytes(text[start:end]) <= limit:
        return end
    fits, too_far = start + 1, end
    while too_far - fits > 1:
        middle = (fits + too_far) // 2
        if _bytes(text[start:middle]) <= limit:
            fits = middle
        else:
            too_far = middle
    return fits


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _break(text: str, start: int, end: int) -> int:
    """The best place to end a piece that may not pass `end`."""
    middle = start + (end - start) // 2
    for low, high in ((middle, end), (start, middle)):
        for mark in ("\n\n", "\n"):
            at = text.rfind(mark, low, high)
            if at >= 0:
                return at + len(mark)
        for at in range(high - 1, low - 1, -1):
            if text[at].isspace():
                return at + 1
    return end
