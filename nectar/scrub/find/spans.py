"""From findings that may overlap to pieces of text that do not."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nectar.scrub.find.findings import Hit, are_apart


class Piece(NamedTuple):
    """A stretch of text with one owner. `whole` is false where a better finding took a part of it."""

    start: int
    end: int
    hit: Hit
    whole: bool


def by_worth(hit: Hit, order: Mapping[str, int]) -> tuple[int, int, int, int]:
    """Sort key, best first: a rule, check digits, context, form; then the longest; then the profile's order."""
    return (-hit.strength, hit.start - hit.end, order.get(hit.entity, len(order)), hit.start)


def pieces(hits: Iterable[Hit], order: Mapping[str, int]) -> list[Piece]:
    """Share the text out among the hits, best first, in the order of the text.

    What sticks out of a beaten hit stays personal data: it becomes a piece of its own.
    """
    if not isinstance(hits, list):
        hits = list(hits)
    if not are_apart(hits):
        hits = _not_within_stronger(hits)
    if are_apart(hits):
        return [Piece(hit.start, hit.end, hit, whole=True) for hit in hits]
    taken: list[Piece] = []
    for hit in sorted(hits, key=lambda h: by_worth(h, order)):
        # What is taken does not overlap, so starts and ends both ascend: only the neighbours need a look.
        first = bisect_right(taken, hit.start, key=lambda piece: piece.end)
        last = bisect_left(taken, hit.end, lo=first, key=lambda piece: piece.start)
        beaten_by = taken[first:last]
        free = [(hit.start, hit.end)]
        for piece in beaten_by:
            free = [part for start, end in free for part in _without(start, end, piece)]
        new = [Piece(start, end, hit, whole=not beaten_by) for start, end in free]
        taken[first:last] = sorted([*beaten_by, *new], key=lambda piece: piece.start)
    return taken


def _not_within_stronger(hits: list[Hit]) -> list[Hit]:
    """Without those that get nothing: all of them lies in one that is believed for a better reason.

    Of the hits that overlap most are names of hosts in e-mail addresses.
    """
    best = max([hit.strength for hit in hits], default=0)
    strong = [hit for hit in hits if hit.strength == best]
    if len(strong) > _FEW:
        return hits
    kept = []
    for hit in hits:
        _, start, end, _, strength = hit
        if strength < best:
            for other in strong:
                if other.start <= start and end <= other.end:
                    break
            else:
                kept.append(hit)
        else:
            kept.append(hit)
    return kept


_FEW = 8
"""Each of the others is compared with so many at most."""


def _without(start: int, end: int, piece: Piece) -> list[tuple[int, int]]:
    if piece.end <= start or end <= piece.start:
        return [(start, end)]
    parts = ((start, min(end, piece.start)), (max(start, piece.end), end))
    return [(a, b) for a, b in parts if a < b]
