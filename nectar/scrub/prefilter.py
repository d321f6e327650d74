r"""Where to look: one pass over all texts that names the lines a recogniser may match, and misses none.

Hyperscan compiles the recognisers' own patterns with PREFILTER: what it cannot express it widens, so its matches are a
superset. It works on ASCII (`\b`, `\w`, `\d` mean bytes to it); other lines go to the recognisers directly. No pattern
of ours matches across a line break, so a document is judged line by line.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from nectar.scrub.recognisers import Recogniser, recognisers

hyperscan: Any
try:
    import hyperscan
except ImportError:  # no wheel for this machine: the recognisers look at every line, with the same results
    hyperscan = None


Piece = tuple[int, int, str]
"""Number of a text, where in it the piece begins, and the piece: whole lines."""


Candidate = tuple[int, int, int, int, bool]
"""Number of a text, start and end of one line in it, number of the recogniser that may match there, and whether its
hits can do without a context word. A plain tuple, because there are millions of them."""


@dataclass
class Prefilter:
    """A compiled database for some recognisers. Threads share the database; each has its own scratch space."""

    owners: Any
    strong: Any
    database: Any
    local: threading.local

    def scan(self, pieces: Sequence[Piece]) -> Iterable[Candidate]:
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

    def _candidates(self, joined: bytes, pieces: Sequence[Piece], ids: Any, ends: Any) -> Iterable[Candidate]:
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
        return zip(*(c.tolist() for c in columns), strict=True)


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


def look_up(texts: Sequence[str], entities: frozenset[str], threshold: float) -> Iterable[Candidate]:
    """Every line that a recogniser must judge."""
    database = prefilter(entities, threshold)
    plain: list[Piece] = []
    others: list[Piece] = []
    for number, text in enumerate(texts):
        if database is None:
            others.append((number, 0, text))
        elif text.isascii():
            plain.append((number, 0, text))
        else:
            for piece in _lines(number, text):
                (plain if piece[2].isascii() else others).append(piece)
    direct = (candidate for piece in others for candidate in every_line(piece, entities, threshold))
    return chain(database.scan(plain), direct) if database is not None and plain else direct


def _lines(number: int, text: str) -> Iterator[Piece]:
    start = 0
    for line in text.split("\n"):
        yield (number, start, line)
        start += len(line) + 1


def every_line(piece: Piece, entities: frozenset[str], threshold: float) -> Iterator[Candidate]:
    """All lines of a piece for all recognisers: what is looked at without a prefilter."""
    number, base, text = piece
    who = [(i, recogniser.best() >= threshold) for i, recogniser in enumerate(chosen(entities))]
    for _, start, line in _lines(number, text):
        if line:
            yield from ((number, base + start, base + start + len(line), i, strong) for i, strong in who)
