r"""Text that is not ASCII, as patterns for ASCII see it, and as a reader sees it.

`as_ascii` stands one ASCII character in for each character, so that the prefilter's `\w`, `\d`, `\s` and `\b` mean what
they mean to the recognisers, and places stay what they are.

`plain` writes a text as it reads: compatibility forms as what they stand for (NFKC, character by character: full-width
and mathematical letters and digits, circled numbers), digits of all scripts as ASCII digits, dashes as hyphens, spaces
as spaces, and nothing for what cannot be seen (zero-width characters, soft hyphens, marks of direction, variation
selectors, combining marks). Personal data that is hidden by such characters is found there.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import regex

_EVERY = 0x110000
_BMP = 0x10000
_BLOCK = 32

_PHONE_PUNCTUATION = (
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\uff0d\uff0f"
    "\u200b\u2060\u00ad\uff08\uff09\uff3b\uff3d\uff0e\uff5e\u2053\u223c"
)
"""What phonenumbers takes for punctuation inside a number, beside ASCII and spaces."""

_WIDE_PLUS = 0xFF0B
_FOLDED = {"\u017f": "s", "\u212a": "k", "\u0131": "i", "\u0130": "i"}
"""Letters that equal an ASCII letter where case does not matter."""

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that show nothing."""

_DOTS = frozenset("\u3002\uff61")
"""Full stops that domain names take for a dot (IDNA)."""


_CHANGED = regex.compile(rf"[\p{{Cf}}\p{{Mn}}\p{{Me}}\p{{Nd}}\p{{Pd}}\p{{Zs}}\u2212{''.join(_BLANK | _DOTS)}]")
"""What `_simple` writes otherwise."""


def as_ascii(text: str) -> bytes:
    """One ASCII byte for each code point: digits as digits, letters as `_`, spaces as spaces, others as byte 1."""
    if text.isascii():
        return text.encode("ascii")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    stood_in: bytes = _classes()[points].tobytes()
    return stood_in


@lru_cache(maxsize=1)
def _classes() -> Any:
    """The ASCII character that stands in for each code point."""
    every = _characters(0, _EVERY)
    classes = np.full(_EVERY, 1, dtype=np.uint8)
    for found in regex.finditer(r"\w+", every):
        classes[found.start() : found.end()] = ord("_")
    for found in regex.finditer(r"\s", every):
        classes[found.start()] = ord(" ")
    for found in regex.finditer(r"\d", every):
        classes[found.start()] = ord("0") + unicodedata.decimal(found[0], 0)
    for character in _PHONE_PUNCTUATION:
        classes[ord(character)] = ord("-")
    classes[_WIDE_PLUS] = ord("+")
    for character, letter in _FOLDED.items():
        classes[ord(character)] = ord(letter)
    classes[:128] = np.arange(128)
    return classes


@dataclass(frozen=True)
class View:
    """A text as it reads, and where its characters stand in the original."""

    original: str
    text: str

    @cached_property
    def _steps(self) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Stretches of the view: where each begins, and (its begin, its begin in the original, and 1 where all of it
        stands for one character there or 0 where characters stand one for one).
        """
        begins, steps = [0], [(0, 0, 0)]
        at = 0
        last = 0
        for found in _special().finditer(self.original):
            new = _plain(found[0])
            if new == found[0]:
                continue
            at += found.start() - last
            last = found.end()
            if len(new) > 1:
                begins.append(at)
                steps.append((at, found.start(), 1))
            at += len(new)
            begins.append(at)
            steps.append((at, last, 0))
        return begins, steps

    def back(self, start: int, end: int) -> tuple[int, int]:
        """A stretch of the view, not empty, as one of the original."""
        return self._origin(start), self._origin(end - 1) + 1

    def _origin(self, place: int) -> int:
        begins, steps = self._steps
        begin, origin, replaced = steps[bisect_right(begins, place) - 1]
        return origin if replaced else origin + place - begin


def plain(text: str) -> View | None:
    """The text as it reads; None where it stands so already."""
    if text.isascii() or _special().search(text) is None:
        return None
    new = _special().sub(lambda found: _plain(found[0]), text)
    return None if new == text else View(text, new)


@lru_cache(maxsize=1)
def _special() -> re.Pattern[str]:
    """Finds every character that `plain` may change. All beyond the first plane are asked one by one."""
    points = [
        point
        for block in range(128, _BMP, _BLOCK)
        if not _is_plain(_characters(block, block + _BLOCK))
        for point in range(block, block + _BLOCK)
        if _written(chr(point)) != chr(point)
    ]
    ranges = []
    for first, last in _ranges(points):
        ranges.append(rf"\u{first:04x}-\u{last:04x}")
    return re.compile(rf"[{''.join(ranges)}\U00010000-\U0010ffff]")


def _characters(first: int, end: int) -> str:
    return np.arange(first, end, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _is_plain(text: str) -> bool:
    return unicodedata.is_normalized("NFKC", text) and _CHANGED.search(text) is None


def _ranges(points: list[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for point in points:
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1] = (ranges[-1][0], point)
        else:
            ranges.append((point, point))
    return ranges


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    return _written(character)


def _written(character: str) -> str:
    """A character as it reads: others in its place, or none."""
    return "".join(map(_simple, unicodedata.normalize("NFKC", character)))


def _simple(character: str) -> str:
    if character.isascii():
        return character
    kind = unicodedata.category(character)
    if kind in {"Cf", "Mn", "Me"} or character in _BLANK:
        return ""
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if kind == "Pd" or character == "\u2212":
        return "-"
    if kind == "Zs":
        return " "
    return "." if character in _DOTS else character
