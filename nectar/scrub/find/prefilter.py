r"""Where to look: one pass over all texts that names the stretches a recogniser must judge, and misses none.

Three passes, all over many texts at once and none with a Python object for each character or word:

- clusters of digits (`digits`), for recognisers of numbers,
- at signs, for e-mail addresses,
- for all others hyperscan, which compiles the recognisers' own patterns with PREFILTER: what it cannot express it
  widens, so its matches are a superset. RE2 does the same, a line at a time, where hyperscan is missing.

They work on ASCII, so other characters are stood in for (`view`). What is named is a cluster or a word with its
neighbours where the recogniser looks no further, and a whole line otherwise: no pattern of ours crosses a line break,
unless its recogniser says that it needs the whole text.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from nectar.scrub.find import digits, few
from nectar.scrub.find.entities import PHONE_NUMBER
from nectar.scrub.find.findings import DOUBTED
from nectar.scrub.find.helped import Helped
from nectar.scrub.find.view import as_ascii
from nectar.scrub.find.widened import widened
from nectar.scrub.phones.phones import REGIONS
from nectar.scrub.recognisers import Recogniser, of_whole_values, recognisers

hyperscan: Any
try:
    import hyperscan
except ImportError:  # no wheel for this machine
    hyperscan = None

Candidate = tuple[int, int, int, int, bool]
"""Number of a text, start and end of a stretch of it, number of the recogniser that may match there, and whether its
hits can do without a context word. A plain tuple, because there are millions of them."""

_CHUNK = 1 << 20
"""Characters of texts that are looked at together."""

_AT_ONCE = 1 << 14
"""Places that become Python's objects together."""

_WORD = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_ADDRESS = _WORD + b"!#$%&'*+-/=?^`{|}~.@"
"""All that may stand in an e-mail address."""

_REACH = 256
"""Characters on each side of an at sign in which the ends of an address are looked for first."""


@dataclass(frozen=True)
class _Screened:
    """How a recogniser's numbers are found.

    before, after  the characters beside a cluster that it is given
    extended       a cluster comes together with what may be an extension
    weak           the score of what is weak; 0 if words decide, whatever the threshold
    fewest         digits that it needs at least
    strong         some of its hits can do without a context word
    """

    screen: digits.Screen
    before: int = 2
    after: int = 2
    extended: bool = False
    weak: float = 0.05
    fewest: int = 4
    strong: bool = False


@lru_cache(maxsize=2)
def _screens(*, phones: bool) -> Mapping[str, _Screened]:
    """By the recogniser's name; those that are not here are left to hyperscan. `phones`: in a field of that name."""
    dialled = digits.phones(REGIONS, believed=phones)
    return {
        # Before the number a lead (`+(`) and punctuation; what stands behind it the recogniser looks at by itself.
        "PhoneRecognizer": _Screened(dialled, before=12, after=0, extended=True, weak=0, strong=True),
        "CreditCardRecognizer": _Screened(digits.at_least(12, strong=True), fewest=12, strong=True),
        "WideCard": _Screened(digits.wide_cards, fewest=12, strong=True),
        "UsSsnRecognizer": _Screened(digits.social_security, fewest=9, strong=True),
        "UsBankRecognizer": _Screened(digits.one_run(8, 17), fewest=8),
        "AccountRecognizer": _Screened(digits.at_least(6, strong=False), fewest=6),
        "AbaRoutingRecognizer": _Screened(digits.at_least(9, strong=False), fewest=9),
    }


_BY_AT_SIGN = frozenset({"EmailRecognizer"})


@dataclass(frozen=True)
class _Chunk:
    """Texts that are looked at together: `text` is an ASCII character for each of theirs, a line break between two.

    numbers  of the texts
    begins   where each begins in `text`, and where one more would begin
    ascii    up to where `text` is what the texts themselves say
    helped   which weak stretches a word may help
    weak     of each recogniser the entity whose words its weak hits need; None: they need none
    """

    text: bytes
    numbers: Any
    begins: Any
    ascii: int
    helped: Helped
    weak: Sequence[str | None]

    def candidates(self, starts: Any, stops: Any, owners: Any, strong: Any) -> Iterator[Candidate]:
        """Stretches of this chunk as candidates, cut to the text in which each starts; without hopeless ones."""
        rows = np.searchsorted(self.begins, starts, side="right") - 1
        stops = np.minimum(stops, self.begins[rows + 1] - 1)
        bases = self.begins[rows]
        columns = [self.numbers[rows], starts - bases, stops - bases, owners, strong]
        kept = strong.astype(bool)
        for owner in np.unique(owners[~kept]).tolist():
            at = np.flatnonzero(~kept & (owners == owner))
            entity = self.weak[owner]
            kept[at] = entity is None or self.helped.may_help(entity, starts[at], stops[at], bases[at])
        return zip(*(c[kept].tolist() for c in columns), strict=True)


@dataclass(frozen=True)
class Prefilter:
    """What is looked for, for some recognisers. Threads share it; each has its own scratch space.

    screened   numbers of recognisers, how their numbers are found, and whether even the weakest need no context word
    addresses  numbers of those that look for at signs
    """

    who: tuple[Recogniser, ...]
    screened: tuple[tuple[int, _Screened, bool], ...]
    addresses: tuple[int, ...]
    patterns: _Patterns | None

    def scan(self, chunk: _Chunk) -> Iterator[Candidate]:
        """Every stretch that a recogniser must judge, once for each recogniser."""
        if self.screened:
            text = np.frombuffer(chunk.text, dtype=np.uint8)
            for start, stop, looked_at in digits.parts(chunk.text):
                if looked_at:
                    runs = digits.runs_in(text[start:stop], min(chunk.ascii, stop) - start)
                    if runs is not None:
                        yield from self._numbers(chunk, runs, start)
                else:
                    owners = np.array([owner for owner, _, _ in self.screened])
                    one = np.ones_like(owners)
                    yield from chunk.candidates(start * one, stop * one, owners, one.astype(bool))
        for owner in self.addresses:
            yield from _at_signs(chunk, owner)
        if self.patterns is not None:
            yield from self.patterns.scan(chunk)

    def _numbers(self, chunk: _Chunk, runs: digits.Runs, base: int) -> Iterator[Candidate]:
        """`base`: where the runs' text starts in the chunk's."""
        for owner, how, always in self.screened:
            wanted, strong = how.screen(runs)
            at = np.flatnonzero(wanted)
            if not len(at):
                continue
            starts, stops, before = runs.chains if how.extended else runs.spans
            if how.extended:  # several clusters of one chain are one stretch, strong where one of them is
                at = at[np.unique(starts[at], return_index=True)[1]]
                strong = strong | np.isin(starts, starts[strong])
            rows = np.searchsorted(chunk.begins, starts[at] + base, side="right") - 1
            # Not into the digits before it: a part of them would be another number.
            least = np.maximum(chunk.begins[rows], before[at] + base)
            begins = np.maximum(starts[at] + base - how.before, least)
            yield from chunk.candidates(
                begins, stops[at] + base + how.after, np.full(len(at), owner), strong[at] | always
            )


def _at_signs(chunk: _Chunk, owner: int) -> Iterator[Candidate]:
    """The word round each at sign."""
    text, stop = chunk.text, 0
    every = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("@")).astype(np.int32)
    for some in range(0, len(every), _AT_ONCE):
        at = every[some : some + _AT_ONCE]
        texts = np.searchsorted(chunk.begins, at, side="right") - 1
        for number, place in zip(texts.tolist(), at.tolist(), strict=True):
            if place < stop:
                continue  # in the same word as the last one
            first, last = int(chunk.begins[number]), int(chunk.begins[number + 1]) - 1
            start, stop = word_round(text, place, first, last)
            if stop - start > 2:  # a name, the sign and a domain
                window = (max(start - 1, first) - first, min(stop + 1, last) - first)
                yield (int(chunk.numbers[number]), *window, owner, True)


def word_round(text: bytes, place: int, first: int, last: int) -> tuple[int, int]:
    """Where the characters of an address begin and end round a place, no further than `first` and `last`."""
    reach = _REACH
    while True:
        low = max(first, place - reach)
        before = text[low:place]
        start = low + len(before.rstrip(_ADDRESS))
        if start > low or low == first:
            break
        reach *= 8
    reach = _REACH
    while True:
        high = min(last, place + reach)
        after = text[place:high]
        stop = high - len(after.lstrip(_ADDRESS))
        if stop < high or high == last:
            return start, stop
        reach *= 8


@dataclass(frozen=True)
class _Patterns:
    """The forms of the recognisers that have no faster way. `owners` and `strong`: of each form."""

    owners: Any
    strong: Any
    whole: Any
    database: Any
    lines: Any
    local: threading.local = field(default_factory=threading.local)

    def scan(self, chunk: _Chunk) -> Iterator[Candidate]:
        ids, ends = self._matches(chunk.text)
        return self._candidates(chunk, np.array(ids), np.array(ends)) if ids else iter(())

    def matches(self, text: bytes) -> Iterator[tuple[int, bool, bool, int]]:
        """Each form that matches: its owner, whether it is strong, whether that judges whole texts, and up to where."""
        ids, ends = self._matches(text)
        for which, end in zip(ids, ends, strict=True):
            yield *self.forms[which], end

    @cached_property
    def forms(self) -> list[tuple[int, bool, bool]]:
        columns = (self.owners.tolist(), self.strong.astype(bool).tolist(), self.whole.tolist())
        return list(zip(*columns, strict=True))

    def _matches(self, text: bytes) -> tuple[list[int], list[int]]:
        """Which form matches up to where."""
        ids: list[int] = []
        ends: list[int] = []
        if self.database is None:
            at = 0
            for line in text.split(b"\n"):
                found = self.lines.Match(line) if line else None
                ids += found or ()
                ends += [at + len(line)] * len(found or ())
                at += len(line) + 1
            return ids, ends

        behind: dict[int, int] = {}

        def seen(which: int, _start: int, end: int, _flags: int, _context: object) -> None:
            if end <= behind.get(which, 0):
                return  # one match of a form names its line
            ids.append(which)
            ends.append(end)
            behind[which] = text.find(b"\n", end - 1) % (len(text) + 1)

        if not hasattr(self.local, "scratch"):
            self.local.scratch = hyperscan.Scratch(self.database)
        self.database.scan(text, match_event_handler=seen, scratch=self.local.scratch)
        return ids, ends

    def _candidates(self, chunk: _Chunk, ids: Any, ends: Any) -> Iterator[Candidate]:
        breaks = np.flatnonzero(np.frombuffer(chunk.text, dtype=np.uint8) == ord("\n"))
        # A match ends behind its last character, so the line is that of the character before.
        places = np.maximum(ends - 1, 0)
        texts = np.searchsorted(chunk.begins, places, side="right") - 1
        after = np.searchsorted(breaks, places, side="left")
        whole = self.whole[ids]
        starts = np.where(whole, chunk.begins[texts], np.concatenate(([0], breaks + 1))[after])
        stops = np.where(whole, chunk.begins[texts + 1] - 1, np.concatenate((breaks, [len(chunk.text)]))[after])
        # Once for each stretch and recogniser, and strong where one of its forms is.
        many = int(self.owners.max()) + 1
        packed = np.unique((starts * many + self.owners[ids]) * 2 + (1 - self.strong[ids]), return_index=True)
        keys, places = packed[0] // 2, packed[1]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = keys[1:] != keys[:-1]
        places = places[first]
        strong = packed[0][first] % 2 == 0
        return chunk.candidates(starts[places], stops[places], self.owners[ids][places], strong)


@lru_cache(maxsize=64)
def chosen(entities: frozenset[str]) -> tuple[Recogniser, ...]:
    return recognisers(entities)


@lru_cache(maxsize=64)
def prefilter(entities: frozenset[str], threshold: float, *, phones: bool = False) -> Prefilter:
    """What to look for, for these entities; compiled at first use. `phones`: in a field of telephone numbers.

    A form is strong where its hits reach the threshold without a context word.
    """
    who = chosen(entities)
    screens = _screens(phones=phones)
    rest = [i for i, r in enumerate(who) if r.name not in screens and r.name not in _BY_AT_SIGN]
    return Prefilter(
        who,
        tuple((i, screens[r.name], screens[r.name].weak >= threshold) for i, r in enumerate(who) if r.name in screens),
        tuple(i for i, r in enumerate(who) if r.name in _BY_AT_SIGN),
        _compiled([(form, i, score >= threshold) for i in rest for form, score in who[i].forms], who) if rest else None,
    )


def _compiled(forms: Sequence[tuple[str, int, bool]], who: Sequence[Recogniser]) -> _Patterns:
    owners = np.array([owner for _, owner, _ in forms])
    strong = np.array([int(good) for _, _, good in forms])
    whole = np.array([who[owner].whole for owner in owners.tolist()])
    if hyperscan is None:
        return _Patterns(owners, strong, whole, None, widened([form for form, _, _ in forms]))
    flags = hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_DOTALL | hyperscan.HS_FLAG_MULTILINE
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[form.encode() for form, _, _ in forms],
        ids=list(range(len(forms))),
        flags=[flags | (hyperscan.HS_FLAG_CASELESS if who[owner].caseless else 0) for _, owner, _ in forms],
    )
    return _Patterns(owners, strong, whole, database, None)


def look_up(
    texts: Sequence[str], entities: frozenset[str], threshold: float, lifted: frozenset[str] = frozenset()
) -> Iterable[Candidate]:
    """Every stretch that a recogniser must judge, of texts of any length. `lifted`: what their field's name says."""
    found = prefilter(entities, threshold, phones=PHONE_NUMBER in lifted)
    if sum(map(len, texts)) <= few.CHARACTERS:
        yield from few.candidates(found, texts)
        return
    weak = [None if recogniser.entity in lifted else recogniser.entity for recogniser in found.who]
    for numbers in _together(texts):
        yield from found.scan(_chunk(texts, numbers, weak, loosely=threshold <= DOUBTED))


def _together(texts: Sequence[str]) -> Iterator[list[int]]:
    """Numbers of the texts that are looked at together."""
    waiting: list[int] = []
    size = 0
    for number, text in enumerate(texts):
        waiting.append(number)
        size += len(text) + 1
        if size > _CHUNK:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


def _chunk(texts: Sequence[str], numbers: list[int], weak: Sequence[str | None], *, loosely: bool) -> _Chunk:
    """Those that are ASCII come first, because the others take another step."""
    ascii_ = [number for number in numbers if texts[number].isascii()]
    others = [number for number in numbers if not texts[number].isascii()] if len(ascii_) < len(numbers) else []
    numbers = ascii_ + others
    sizes = np.fromiter((len(texts[number]) + 1 for number in numbers), dtype=np.int64, count=len(numbers))
    parts = [as_ascii("\n".join([texts[number] for number in part])) for part in (ascii_, others) if part]
    begins = np.concatenate(([0], np.cumsum(sizes)))
    text, exact = b"\n".join(parts), int(begins[len(ascii_)])
    return _Chunk(text, np.array(numbers), begins, exact, Helped(text, exact, loosely), weak)


def whole_values(texts: Sequence[str], entities: frozenset[str], lifted: frozenset[str]) -> Iterator[Candidate]:
    """Each text as a whole, for those that judge whole values of fields; their numbers follow those of the others."""
    first = len(chosen(entities))
    numbers = range(first, first + len(of_whole_values(lifted)))
    return ((i, 0, len(text), n, True) for n in numbers for i, text in enumerate(texts) if text and "\n" not in text)
