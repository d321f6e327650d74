r"""Text that is not ASCII, as patterns for ASCII see it, and as a reader sees it.

`as_ascii` stands one ASCII character in for each character, so that the prefilter's `\w`, `\d`, `\s` and `\b` mean what
they mean to the recognisers, and places stay what they are.

`plain` writes a text as it reads: compatibility forms as what they stand for (NFKC, character by character: full-width
and mathematical letters and digits, circled numbers), digits of all scripts as ASCII digits, dashes as hyphens, spaces
as spaces, and nothing for what cannot be seen (zero-width characters, soft hyphens, marks of direction, variation
selectors, combining marks). Personal data that is hidden by such characters is found there.
"""

from __future__ import annotations

import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import regex

_EVERY = 0x110000
_BMP = 0x10000
_LAST_ASCII = 127
_PART = 1 << 20
"""Characters that are looked at together: as code points they take four times the memory."""
_BLOCK = 32

_PHONE_PUNCTUATION = (
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\uff0d\uff0f"
    "\u200b\u2060\u00ad\uff08\uff09\uff3b\uff3d\uff0e\uff5e\u2053\u223c"
)
"""What phonenumbers takes for punctuation inside a number, beside ASCII and spaces."""

_PHONE_SPACES = " \xa0\u3000"
"""The spaces among it: another one ends a number."""

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
    """One ASCII byte for each code point: of digits and letters (`_`), of spaces (some as form feeds); 1 for others."""
    if text.isascii():
        return text.encode("ascii")
    return b"".join(_stood_in(text[first : first + _PART]) for first in range(0, len(text), _PART))


def _stood_in(text: str) -> bytes:
    points = _points(text)
    if points.dtype == np.uint8:
        latin: bytes = points.tobytes().translate(_latin())
        return latin
    stood_in = points.astype(np.uint8)
    others = np.flatnonzero(points > _LAST_ASCII)
    stood_in[others] = _classes()[points[others]]
    made: bytes = stood_in.tobytes()
    return made


def _points(text: str) -> Any:
    """The code points of a text: bytes where none is above 255, else 32 bits each."""
    try:
        return np.frombuffer(text.encode("latin-1"), dtype=np.uint8)
    except UnicodeEncodeError:
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


@lru_cache(maxsize=1)
def _latin() -> bytes:
    table: bytes = _classes()[:256].tobytes()
    return table


@lru_cache(maxsize=1)
def _classes() -> Any:
    """The ASCII character that stands in for each code point."""
    classes = np.full(_EVERY, 1, dtype=np.uint8)
    for first in range(0, _EVERY, _BMP):  # a plane at a time, because all of them together take memory
        plane = _characters(first, first + _BMP)
        for found in regex.finditer(r"\w+", plane):
            classes[first + found.start() : first + found.end()] = ord("_")
        for found in regex.finditer(r"\s", plane):
            classes[first + found.start()] = ord(" " if found[0] in _PHONE_SPACES else "\f")
        for found in regex.finditer(r"\d", plane):
            classes[first + found.start()] = ord("0") + unicodedata.decimal(found[0], 0)
    for character in _PHONE_PUNCTUATION:
        classes[ord(character)] = ord("/")  # not a hyphen: phonenumbers divides numbers at all others
    classes[_WIDE_PLUS] = ord("+")
    for character, letter in _FOLDED.items():
        classes[ord(character)] = ord(letter)
    classes[:128] = np.arange(128)
    return classes


@dataclass(frozen=True)
class View:
    """A text as it reads, and where its characters stand in the original.

    begins    where each stretch of the view begins
    origins   where it begins in the original
    replaced  1 where all of it stands for one character there, 0 where characters stand one for one
    """

    text: str
    begins: Sequence[int]
    origins: Sequence[int]
    replaced: Sequence[int]

    def back(self, start: int, end: int) -> tuple[int, int]:
        """A stretch of the view, not empty, as one of the original."""
        return self._origin(start), self._origin(end - 1) + 1

    def _origin(self, place: int) -> int:
        stretch = bisect_right(self.begins, place) - 1
        origin = self.origins[stretch]
        return origin if self.replaced[stretch] else origin + place - self.begins[stretch]


def plain(text: str) -> View | None:
    """The text as it reads; None where it stands so already."""
    if text.isascii():
        return None
    begins, origins, replaced = array("q", [0]), array("q", [0]), bytearray(1)
    parts: list[str] = []
    grown, changed = 0, False
    for first in range(0, len(text), _PART):
        part = text[first : first + _PART]
        written: list[str] = []
        last = 0
        for place in _special(part):
            new = _plain(part[place])
            if new == part[place]:
                continue
            written += (part[last:place], new)
            last = place + 1
            if len(new) > 1:
                begins.append(first + place + grown)
                origins.append(first + place)
                replaced.append(1)
            if len(new) != 1:
                grown += len(new) - 1
                begins.append(first + last + grown)
                origins.append(first + last)
                replaced.append(0)
        parts.append("".join((*written, part[last:])))
        changed = changed or last > 0
    return View("".join(parts), begins, origins, replaced) if changed else None


def _special(text: str) -> list[int]:
    """Where the characters are that `plain` may write otherwise."""
    points = _points(text)
    others = np.flatnonzero(points > _LAST_ASCII)
    places: list[int] = others[_may_change()[np.minimum(points[others].astype(np.uint32), _BMP)]].tolist()
    return places


@lru_cache(maxsize=1)
def _may_change() -> Any:
    """For each code point of the first plane whether `plain` writes it otherwise; the last entry is for all beyond."""
    table = np.zeros(_BMP + 1, dtype=bool)
    table[_BMP] = True
    for block in range(128, _BMP, _BLOCK):
        if not _is_plain(_characters(block, block + _BLOCK)):
            table[block : block + _BLOCK] = [_written(chr(p)) != chr(p) for p in range(block, block + _BLOCK)]
    return table


def _characters(first: int, end: int) -> str:
    return np.arange(first, end, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _is_plain(text: str) -> bool:
    return unicodedata.is_normalized("NFKC", text) and _CHANGED.search(text) is None


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
