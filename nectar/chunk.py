"""Cut long text into pieces that can be indexed and embedded, without losing a character.

Where a piece ends is decided by what stands there, not by what was counted up to there. Between any two blocks (a
heading, a paragraph, a row of a table, an item of a list) is a border with a weight: its kind first (a page or a large
heading parts more than a paragraph), then a hash of the two blocks, and where these are like others, such as the foot
and head of each page, one of what stands around them. A text that is too large is parted at its heaviest
border, and its parts again, until each fits. So a changed paragraph changes the pieces it stands in, and hardly ever
another one, wherever in the text it is: what was embedded before stays what it was.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

TOKENS = 500
"""Tokens of a piece, unless told otherwise."""

BYTES_PER_TOKEN = 4
"""Bytes of UTF-8 that a token of a language model takes, about: four letters of English, a character of Chinese."""

LIMIT = 256 << 10
"""Bytes of UTF-8 that no piece passes: a tsvector ends at 1 MiB, and holds up to four times its text."""

_HEADING = re.compile(r"(#{1,6})[ \t]+\S")
_BORDERS = re.compile(r"\n[ \t]*\n+|\n(?=[ \t]*[-*+|][ \t])|\n(?=[^\n]* \| )|\n?\f\n?|(?<=\n)(?=#{1,6}[ \t])")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[\u3002\uff01\uff1f])|\n")
_SPACE = re.compile(r"\s+")
_PAGE, _PARAGRAPH, _ROW, _SENTENCES, _WORDS, _ANYWHERE, _BELOW_HEADING = 70, 40, 30, 20, 10, 5, 0
_SMALL = 8
"""A piece below this part of the budget joins a neighbour."""
_WIDE = 500
"""Characters on each side of a border that tell it from one between like blocks."""
_GROUP = 32
"""Words are joined to this part of the budget at most, in characters."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text` is the whole text from `start` to `end`, in code points, end exclusive.

    own   where its own text begins: what stands before it is the end of the piece before, where overlap is asked for
    page  the page on which it begins, counted from 1; None in a text without pages
    """

    start: int
    end: int
    text: str
    own: int = 0
    page: int | None = None


@dataclass(frozen=True, slots=True)
class _Block:
    start: int
    end: int
    size: int
    weight: tuple[int, int, int]
    """Of the border before it."""


def chunks(text: str, *, tokens: int = TOKENS, overlap: int = 0) -> list[Chunk]:
    """Pieces of at most `tokens` (see BYTES_PER_TOKEN), without `overlap`; joined they are the text. No text, no piece.

    With `overlap` each piece begins with up to so many tokens of the one before, from the beginning of a sentence or
    word on. The same text and sizes always give the same pieces.
    """
    budget = tokens * BYTES_PER_TOKEN
    if tokens < 1 or not 0 <= overlap < tokens or budget + overlap * BYTES_PER_TOKEN > LIMIT:
        raise ValueError("tokens must be 1 or more, overlap less, and both together fit into 256 KiB")
    if not text:
        return []
    blocks = list(_blocks(text, budget))
    found = _joined([(b[0].start, b[-1].end, sum(x.size for x in b)) for b in _parted(blocks, budget)], text, budget)
    pages = [at.start() for at in re.finditer("\f", text)]
    made = []
    page = 0
    for start, end, _ in found:
        while page < len(pages) and pages[page] < start:
            page += 1
        first = _overlapping(text, start, overlap * BYTES_PER_TOKEN) if overlap and start else start
        made.append(Chunk(first, end, text[first:end], start, page + 1 if pages else None))
    return made


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _blocks(text: str, budget: int) -> Iterator[_Block]:
    """The text in blocks that fit, each with the weight of the border before it."""
    start, before, kind = 0, "", _PARAGRAPH
    for end, after in _ends(text):
        block = text[start:end]
        heading = _HEADING.match(block.lstrip("\n\f"))
        level = kind
        if heading:
            level = 60 - 2 * len(heading[1]) if kind < _PAGE else _PAGE
        elif _HEADING.match(before):
            level = _BELOW_HEADING
        size = _bytes(block)
        weight = (level, _hash(before, block), _around(text, start))
        if size <= budget:
            yield _Block(start, end, size, weight)
        else:
            yield from _fitting(text, start, end, budget, weight)
        start, before, kind = end, block.strip("\n\f"), after


def _hash(before: str, after: str) -> int:
    """The same on every machine, and unlike for like borders."""
    return _print(f"{before[-200:]}\0{after.strip()[:200]}")


def _around(text: str, place: int) -> int:
    return _print(text[max(0, place - _WIDE) : place + _WIDE])


def _print(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _ends(text: str) -> Iterator[tuple[int, int]]:
    """Where blocks end, with the kind of the border there."""
    last = 0
    for found in _BORDERS.finditer(text):
        if found.end() in (last, len(text)):  # a heading is found again where a paragraph ended before it
            continue
        last = found.end()
        kind = _PAGE if "\f" in found[0] else _PARAGRAPH if found[0].count("\n") > 1 or not found[0] else _ROW
        yield found.end(), kind
    yield len(text), _PARAGRAPH


def _fitting(text: str, start: int, end: int, budget: int, weight: tuple[int, int, int]) -> Iterator[_Block]:
    """A block that is too large, as sentences; a sentence that is, as words; a word that is, wherever it fits."""
    for first, last, kind in _cut(text, start, end, budget, _SENTENCES):
        piece = text[first:last]
        yield _Block(
            first,
            last,
            _bytes(piece),
            weight if first == start else (kind, _print(piece[:200]), _around(text, first)),
        )


def _cut(text: str, start: int, end: int, budget: int, kind: int) -> Iterator[tuple[int, int, int]]:
    pattern = _SENTENCE if kind == _SENTENCES else _SPACE
    at = start
    for found in pattern.finditer(text, start, end):
        if found.end() > at:
            yield from _small(text, at, found.end(), budget, kind)
            at = found.end()
    if at < end:
        yield from _small(text, at, end, budget, kind)


def _small(text: str, start: int, end: int, budget: int, kind: int) -> Iterator[tuple[int, int, int]]:
    if _bytes(text[start:end]) <= budget:
        yield start, end, kind
    elif kind == _SENTENCES:
        words = _cut(text, start, end, budget, _WORDS)
        yield from _grouped(text, ((a, b, min(k, _WORDS)) for a, b, k in words), budget)
    else:
        step = max(1, budget // 4)  # characters: four bytes at most each
        yield from ((at, min(at + step, end), _ANYWHERE) for at in range(start, end, step))


def _grouped(text: str, words: Iterable[tuple[int, int, int]], budget: int) -> Iterator[tuple[int, int, int]]:
    """Neighbouring words as one, up to one in sixteen that their own letters choose: an edit moves no border far away.

    A text of ten million words without a full stop would be as many blocks, and take minutes.
    """
    start = end = -1
    kind = _WORDS
    for first, last, its in words:
        if start >= 0 and (its != _WORDS or (last - start) * _GROUP > budget):
            yield start, end, kind
            start = -1
        if start < 0:
            start, kind = first, its
        end = last
        if its != _WORDS or _print(text[first:last]) % 16 == 0:
            yield start, end, kind
            start = -1
    if start >= 0:
        yield start, end, kind


def _parted(blocks: list[_Block], budget: int) -> Iterator[list[_Block]]:
    """Runs of blocks that fit, in order. Of borders of one weight the one nearest to the middle parts."""
    waiting = [(0, len(blocks))]
    sizes = [0]
    for block in blocks:
        sizes.append(sizes[-1] + block.size)
    while waiting:
        low, high = waiting.pop()
        if high - low == 1 or sizes[high] - sizes[low] <= budget:
            yield blocks[low:high]
            continue
        heaviest = max(blocks[n].weight for n in range(low + 1, high))
        equal = [n for n in range(low + 1, high) if blocks[n].weight == heaviest]
        middle = (sizes[low] + sizes[high]) // 2
        at = min(equal, key=lambda n: abs(sizes[n] - middle))
        waiting += [(at, high), (low, at)]


def _joined(pieces: list[tuple[int, int, int]], text: str, budget: int) -> list[tuple[int, int, int]]:
    """Small pieces go with the one before; one that begins with a heading waits for the one after."""
    made: list[tuple[int, int, int]] = []
    for start, end, size in pieces:
        if made:
            first, _, before = made[-1]
            few = min(size, before) * _SMALL < budget
            alone = _HEADING.match(text[start : start + 200].lstrip()) and before * _SMALL >= budget
            if few and size + before <= budget and not alone:
                made[-1] = (first, end, size + before)
                continue
        made.append((start, end, size))
    return made


def _overlapping(text: str, start: int, most: int) -> int:
    """The beginning of a sentence or word within the last `most` bytes before a place."""
    low = start
    while low > 0 and start - low < most and _bytes(text[low - 1 : start]) <= most:
        low = max(0, low - 1)
    for pattern in (_SENTENCE, _SPACE):
        for found in pattern.finditer(text, low, start):
            if found.end() < start:
                return found.end()
    return start
