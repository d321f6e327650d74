"""The prefilter's work for a few short texts, in plain Python: there the calls of numpy cost more than the texts.

It names the same places, or whole lines where `prefilter` names a part of one; recognisers find the same in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nectar.scrub.find.view import as_ascii

if TYPE_CHECKING:
    from nectar.scrub.find.prefilter import Candidate, Prefilter

CHARACTERS = 512
"""Of all texts together, up to which this is faster."""

_DIGITS = b"0123456789"
_FEWEST = 4
"""Digits of the shortest number that any recogniser finds."""


def candidates(found: Prefilter, texts: Sequence[str]) -> Iterator[Candidate]:
    """Every stretch that a recogniser must judge, once for each recogniser."""
    for number, text in enumerate(texts):
        if text:
            written = as_ascii(text)
            yield from _numbers(found, number, written)
            yield from _addresses(found, number, written)
            yield from _matches(found, number, written)


def _lines(written: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while (end := written.find(b"\n", start)) >= 0:
        yield start, end
        start = end + 1
    yield start, len(written)


def _numbers(found: Prefilter, number: int, written: bytes) -> Iterator[Candidate]:
    if not found.screened or len(written) - len(written.translate(None, _DIGITS)) < _FEWEST:
        return
    for start, end in _lines(written):
        line = written[start:end]
        digits = len(line) - len(line.translate(None, _DIGITS))
        if digits >= _FEWEST:
            for owner, how, always in found.screened:
                if digits >= how.fewest:
                    yield number, start, end, owner, how.strong or always


def _addresses(found: Prefilter, number: int, written: bytes) -> Iterator[Candidate]:
    from nectar.scrub.find.prefilter import word_round

    for owner in found.addresses:
        place = written.find(b"@")
        while place >= 0:
            line = written.rfind(b"\n", 0, place) + 1
            last = written.find(b"\n", place) % (len(written) + 1)
            start, stop = word_round(written, place, line, last)
            if stop - start > 2:
                yield number, max(start - 1, line), min(stop + 1, last), owner, True
            place = written.find(b"@", stop)


def _matches(found: Prefilter, number: int, written: bytes) -> Iterator[Candidate]:
    if found.patterns is None:
        return
    named: dict[tuple[int, int, int], bool] = {}
    for owner, strong, whole, end in found.patterns.matches(written):
        place = max(end - 1, 0)
        if whole:
            start, stop = 0, len(written)
        else:
            start = written.rfind(b"\n", 0, place) + 1
            stop = written.find(b"\n", place) % (len(written) + 1)
        key = (start, stop, owner)
        named[key] = named.get(key, False) or strong
    for (start, stop, owner), strong in named.items():
        yield number, start, stop, owner, strong
