r"""Where to look: one pass over all texts that names the lines a recogniser may match, and misses none.

Hyperscan compiles the recognisers' own patterns with PREFILTER: what it cannot express it widens, so its matches are a
superset. It works on ASCII (`\b`, `\w`, `\d` mean bytes to it); other lines go to the recognisers directly. No pattern
of ours matches across a line break, so a document is judged line by line.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from nectar.scrub.recognisers import Recogniser, recognisers

hyperscan: Any
try:
    import hyperscan
except ImportError:  # no wheel for this machine: the recognisers look at every line, with the same results
    hyperscan = None


Piece = tuple[int, int, str]
"""Number of a text, where in it the piece begins, and the piece: whole lines."""


class Candidate(NamedTuple):
    """Recogniser number `who` may match in text number `text`, between `start` and `end` (one line)."""

    text: int
    start: int
    end: int
    who: int
    strong: bool


@dataclass
class Prefilter:
    """A compiled database for some recognisers. Threads share the database; each has its own scratch space."""

    owners: Any
    strong: Any
    database: Any
    local: threading.local

    def scan(self, pieces: Sequence[Piece]) -> list[Candidate]:
        """Candidate lines of ASCII pieces of texts, each line and recogniser once."""
        joined = "\n".join([piece for _, _, piece in pieces]).encode("ascii")
        ids: list[int] = []
        ends: list[int] = []

        def seen(which: int, _start: int, end: int, _flags: int, _context: object) -> None:
            ids.append(which)
            ends.append(end)

        self.database.scan(joined, match_event_handler=seen, scratch=self._scratch())
        if not ids:
            return []
        return self._candidates(joined, pieces, np.array(ids), np.array(ends))

    def _scratch(self) -> Any:
        if not hasattr(self.local, "scratch"):
            self.local.scratch = hyperscan.Scratch(self.database)
        return self.local.scratch

    def _candidates(self, joined: bytes, pieces: Sequence[Piece], ids: Any, ends: Any) -> list[Candidate]:
        breaks = np.flatnonzero(np.frombuffer(joined, dtype=np.uint8) == 10)
        # A match ends behind its last character, so the line is that of the character before.
        lines = np.searchsorted(breaks, np.maximum(ends - 1, 0), side="left")
        many = len(self.owners) + 1
        packed = np.unique((lines * many + self.owners[ids]) * 2 + (1 - self.strong[ids]))
        keys, strong = packed // 2, packed % 2 == 0
        first = np.ones(len(keys), dtype=bool)
        first[1:] = keys[1:] != keys[:-1]
        keys, strong = keys[first], strong[first]
        lines, owners = keys // many, keys % many
        starts = np.concatenate(([0], breaks + 1))[lines]
        stops = np.concatenate((breaks, [len(joined)]))[lines]
        numbers, bases, sizes = np.array([(number, base, len(piece) + 1) for number, base, piece in pieces]).T
        begins = np.concatenate(([0], np.cumsum(sizes)))
        rows = np.searchsorted(begins, starts, side="right") - 1
        offsets = begins[rows] - bases[rows]
        columns = (numbers[rows], starts - offsets, stops - offsets, owners, strong)
        return [Candidate(*values) for values in zip(*(c.tolist() for c in columns), strict=True)]


def chosen(entities: frozenset[str]) -> tuple[Recogniser, ...]:
    return tuple(recogniser for recogniser in recognisers() if recogniser.entity in entities)


@lru_cache(maxsize=64)
def prefilter(entities: frozenset[str], threshold: float) -> Prefilter | None:
    """The database for these entities, compiled at first use; None where hyperscan is missing.

    A form is strong where its hits reach the threshold without a context word.
    """
    if hyperscan is None:
        return None
    forms = [(form, who, score >= threshold) for who, r in enumerate(chosen(entities)) for form, score in r.forms]
    flags = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_DOTALL | hyperscan.HS_FLAG_MULTILINE
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[form.encode() for form, _, _ in forms],
        ids=list(range(len(forms))),
        flags=[flags | hyperscan.HS_FLAG_PREFILTER] * len(forms),
    )
    owners = np.array([who for _, who, _ in forms])
    strong = np.array([1 if good else 0 for _, _, good in forms])
    return Prefilter(owners, strong, database, threading.local())


def look_up(texts: Sequence[str], entities: frozenset[str], threshold: float) -> list[Candidate]:
    """Every line that a recogniser must judge."""
    database = prefilter(entities, threshold)
    if database is None:
        return [found for i, text in enumerate(texts) for found in every_line(i, 0, text, entities, threshold)]
    pieces: list[Piece] = []
    candidates: list[Candidate] = []
    for number, text in enumerate(texts):
        if text.isascii():
            pieces.append((number, 0, text))
            continue
        start = 0
        for line in text.split("\n"):
            if line.isascii():
                pieces.append((number, start, line))
            else:
                candidates += every_line(number, start, line, entities, threshold)
            start += len(line) + 1
    return candidates + (database.scan(pieces) if pieces else [])


def every_line(number: int, start: int, piece: str, entities: frozenset[str], threshold: float) -> list[Candidate]:
    """All lines of a piece of text for all recognisers: what is looked at without a prefilter."""
    candidates = []
    who = [(i, r.best() >= threshold) for i, r in enumerate(chosen(entities))]
    for line in piece.split("\n"):
        if line:
            candidates += [Candidate(number, start, start + len(line), i, strong) for i, strong in who]
        start += len(line) + 1
    return candidates
