"""Where digits stand, found in numpy before any Python object is made: most personal data of pattern kinds is digits.

Digits with nothing but separators between them form a cluster. Each screen says which clusters its recogniser may
match in; a cluster that no screen wants costs nothing more. A screen lets too many through, never too few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nectar.scrub.phones.numbering import closer

Numbers = Any
"""A numpy array of integers or booleans."""

SEPARATORS = b"-xX ()[]./~"
"""What may stand between the digits of one number; phonenumbers' punctuation is the widest of all recognisers."""

_FEWEST = 4
"""Digits of the shortest number that any screen wants."""

_GAP = 4
"""Separators between two runs of digits, at most: phonenumbers' limit."""

_LONGEST_PHONE = 26
"""Digits. The longest numbers have 17 with their country code; what stands before it has up to seven."""

_LEAD = 11
"""Characters between a plus sign and the digits that it may belong to."""

_EXTENSION = 24
"""Characters between a number and its extension."""

_BEGINS_EXTENSION = np.zeros(256, dtype=bool)
_BEGINS_EXTENSION[list(b"xXtT#~_")] = True
"""One of these stands before each extension: `x`, `ext`, `int`, `anexo`, `#`, or a word in another script."""

_IS_T = np.zeros(256, dtype=bool)
_IS_T[list(b"tT")] = True

_IN_EXTENSION = _BEGINS_EXTENSION.copy()
_IN_EXTENSION[list(b" \t,;:.=-eEnNsSiIoOaA")] = True
"""All that stands between a number and its extension."""

_PART = 1 << 20

_APART = re.compile(rb"[^-0-9xX ()\[\]./~tT#_\t,;:=eEnNsSiIoOaA+]")
"""Stands in no number, between no number and its extension, and in no lead."""

_LISTED = re.compile(rb"(?<=[0-9])[,;:](?=[^xXtT#~_]{24})")
"""Between two numbers, none of which is the other's extension."""

_MANY = 200
"""Runs in one cluster beyond which it is wanted unasked: asking about all their sequences would take memory."""

_IS_SEPARATOR = np.zeros(256, dtype=bool)
_IS_SEPARATOR[list(SEPARATORS)] = True
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_IS_LETTER = np.zeros(256, dtype=bool)
_IS_LETTER[list(_LETTERS)] = True
"""No phone number begins behind a Latin letter."""

_ENDS_NONE = _IS_LETTER.copy()
_ENDS_NONE[list(b"xXeEiIaA")] = False
"""None ends before one, unless it begins an extension (`x`, `ext`, `int`, `anexo`)."""

_WIDE_CARD = np.full(256, 255, dtype=np.int64)
_WIDE_CARD[list(b"0123456")] = [12, 15, 15, 14, 19, 12, 12]
"""By its first digit: how many a card has at least that presidio's pattern leaves out."""

_LEADS = np.zeros(256, dtype=bool)
_LEADS[list(b"([+")] = True
"""What belongs to a number that it stands before, with nothing but separators between."""

_BRACKETS = np.zeros(256, dtype=bool)
_BRACKETS[list(b"([")] = True

_DIVIDES_SOCIAL, _DIVIDES_DATES, _DIVIDES_YEARS = np.zeros((3, 256), dtype=bool)
_DIVIDES_SOCIAL[list(b"-. ")] = True
_DIVIDES_DATES[list(b"-./ ")] = True
_DIVIDES_YEARS[list(b"- /")] = True
"""What stands between the parts of what is no telephone number (`likely` says the same)."""

_DIVIDES_TIMES = np.zeros(256, dtype=bool)
_DIVIDES_TIMES[list(b"-/")] = True

_HOURLY = ((4, ord("2")), (2, ord("1")), (2, ord("3")), (2, ord("2")))
"""Year, month, day and hour: how many digits they have, and up to what the first one is."""

_TOUCHES = _IS_LETTER.copy()
_TOUCHES[list(b"_#@\\%$&*^<")] = True
"""What is no number to dial because of what stands before it (`likely.touches` says the same, and more)."""


@dataclass
class Runs:
    """The runs of digits of a text (bytes, one for each code point), and the clusters that they form.

    starts, stops  of each run; `sizes` is their difference
    before         where the run before each one stops (0 for the first), also where that one is left out
    ascii          so many bytes, the first ones, stand for themselves, and not for other characters
    joined         for each run but the last: the next one belongs to the same cluster
    """

    text: Numbers
    starts: Numbers
    stops: Numbers
    before: Numbers
    ascii: int

    @cached_property
    def sizes(self) -> Numbers:
        return self.stops - self.starts

    @cached_property
    def gaps(self) -> Numbers:
        return self.starts[1:] - self.stops[:-1]

    @cached_property
    def joined(self) -> Numbers:
        joined = self.gaps <= _GAP
        for place in range(_GAP):
            at = np.minimum(self.stops[:-1] + place, len(self.text) - 1)
            joined &= (place >= self.gaps) | _IS_SEPARATOR[self.text[at]]
        return joined

    @cached_property
    def firsts(self) -> Numbers:
        """The number of the first run of each cluster."""
        return np.flatnonzero(np.concatenate(([True], ~self.joined)))

    @cached_property
    def clusters(self) -> Numbers:
        """The number of the cluster of each run."""
        return np.cumsum(np.concatenate(([0], ~self.joined)))

    @cached_property
    def digits(self) -> Numbers:
        """How many digits each cluster has."""
        return np.add.reduceat(self.sizes, self.firsts)

    @cached_property
    def written(self) -> Numbers:
        """All digits of the text and nothing else."""
        ends = np.cumsum(self.sizes)
        return self.text[np.arange(ends[-1]) + np.repeat(self.starts - (ends - self.sizes), self.sizes)]

    @cached_property
    def spans(self) -> tuple[Numbers, Numbers, Numbers]:
        """Where each cluster starts and stops, and where the one before it stops (0 for the first)."""
        lasts = np.concatenate((self.firsts[1:], [len(self.starts)])) - 1
        return self.starts[self.firsts], self.stops[lasts], self.before[self.firsts]

    @cached_property
    def linked(self) -> Numbers:
        """For each cluster but the last whether the next one may be its extension (`x 12`, `ext. 12`, `#12`)."""
        starts, stops, _ = self.spans
        linked = np.zeros(len(starts) - 1, dtype=bool)
        gaps = starts[1:] - stops[:-1]
        left = np.flatnonzero(gaps <= _EXTENSION)
        begun = np.zeros(len(left), dtype=bool)
        for place in range(_EXTENSION + 1):
            over = gaps[left] <= place
            linked[left[over & begun]] = True
            left, begun = left[~over], begun[~over]
            if not len(left):
                break
            between = self.text[stops[left] + place]
            goes_on = _IN_EXTENSION[between]
            left, begun, between = left[goes_on], begun[goes_on], between[goes_on]
            # `int` and `ext` do not begin with a T, but the time of day behind a date does.
            begun |= _BEGINS_EXTENSION[between] & ~(_IS_T[between] & (place == 0))
        return linked

    @cached_property
    def chains(self) -> tuple[Numbers, Numbers, Numbers]:
        """`spans` of each cluster together with those that it is linked with."""
        starts, stops, before = self.spans
        heads = np.concatenate(([True], ~self.linked))
        chain = np.cumsum(heads) - 1
        first = np.flatnonzero(heads)
        last = np.concatenate((first[1:], [len(starts)])) - 1
        return starts[first][chain], stops[last][chain], before[first][chain]

    @cached_property
    def extended(self) -> Numbers:
        """Clusters of which a part may be an extension: what is left of their digits is another number."""
        inside = np.zeros(len(self.starts), dtype=bool)
        near = np.flatnonzero(self.joined)
        stops, gaps = self.stops[near], self.gaps[near]
        for place in range(int(gaps.max(initial=0))):
            between = self.text[np.minimum(stops + place, len(self.text) - 1)]
            inside[near + 1] |= (place < gaps) & _BEGINS_EXTENSION[between]
        return self.with_runs(inside) | np.concatenate(([False], self.linked))

    def of_some_size(self) -> Runs:
        """These without the clusters of a few digits that no recogniser finds, of which most texts are full.

        An extension is as short, so those that may be one stay, with what they belong to.
        """
        small = self.sizes < _FEWEST
        small[1:] &= ~self.joined
        small[:-1] &= ~self.joined
        tied = np.concatenate(([False], self.linked))
        small &= ~(tied | np.append(self.linked, False))[self.clusters]
        if not small.any():
            return self
        kept = np.flatnonzero(~small)
        some = Runs(self.text, self.starts[kept], self.stops[kept], self.before[kept], self.ascii)
        some.joined = np.concatenate(([False], self.joined))[kept][1:]
        some.linked = tied[self.clusters[kept[some.firsts]]][1:] if len(kept) else tied[:0]
        return some

    def with_runs(self, wanted: Numbers) -> Numbers:
        """For each cluster whether it holds one of these runs."""
        return np.logical_or.reduceat(wanted, self.firsts)

    def sequence(self, *sizes: int) -> Numbers:
        """For each run whether runs of these sizes begin there, each one character behind the other."""
        found = self.sizes == sizes[0]
        for place, size in enumerate(sizes[1:], 1):
            follows = np.zeros(len(found), dtype=bool)
            if len(found) > place:
                near = self.joined[place - 1 :] & (self.gaps[place - 1 :] == 1)
                follows[:-place] = near & (self.sizes[place:] == size)
            found = found & follows
        return found


def runs_in(text: Numbers, ascii_: int = 0) -> Runs | None:
    """The digits of a text that may be a number, given as an array of bytes; None where there are none.

    `ascii_`: how many of the first bytes stand for themselves.
    """
    is_digit = np.empty(len(text) + 2, dtype=bool)
    is_digit[0] = is_digit[-1] = False
    np.less(text - np.uint8(48), 10, out=is_digit[1:-1])
    edges = np.flatnonzero(is_digit[1:] != is_digit[:-1])
    if not len(edges):
        return None
    starts, stops = edges[0::2], edges[1::2]
    runs = Runs(text, starts, stops, np.concatenate(([0], stops[:-1])), ascii_).of_some_size()
    return runs if len(runs.starts) else None


def parts(text: bytes) -> Iterator[tuple[int, int, bool]]:
    """A text in parts of a megabyte or so, each by where it starts and ends, and whether its digits may be looked at.

    No number reaches over an end, nor does what belongs to it. A line of nothing but digits and separators has no such
    place: what is left of it is one part, to be judged whole, because its numbers would take a hundred times its size.
    """
    start = 0
    while len(text) - start > 2 * _PART:
        near, far = start + _PART, start + 2 * _PART
        place = _APART.search(text, near, far) or _LISTED.search(text, near, far)
        line = text.rfind(b"\n", start, near) + 1
        if place is not None or line:
            stop = place.start() if place is not None else line
        else:
            stop = text.find(b"\n", far) % (len(text) + 1)
        yield start, stop, place is not None or line > 0
        start = stop
    yield start, len(text), True


Screen = Callable[[Runs], tuple[Numbers, Numbers]]
"""For each cluster: whether the recogniser may match in it, and whether with a score that needs no context word."""


def at_least(digits: int, *, strong: bool) -> Screen:
    """Clusters of so many digits."""

    def look(runs: Runs) -> tuple[Numbers, Numbers]:
        wanted = runs.digits >= digits
        return wanted, wanted & strong

    return look


def wide_cards(runs: Runs) -> tuple[Numbers, Numbers]:
    """Clusters with enough digits from a first one that presidio's pattern leaves out.

    Those are Maestro's (12), Diners Club's in fours (14), JCB's (15), Mastercard's and dotted ones (16), and Visa's
    longest (19).
    """
    taken = np.cumsum(np.concatenate(([0], runs.sizes)))
    ends = taken[np.concatenate((runs.firsts[1:], [len(runs.sizes)]))]
    left = ends[runs.clusters] - taken[:-1]
    needed = _WIDE_CARD[runs.text[runs.starts]]
    dotted = np.zeros(len(runs.starts), dtype=bool)
    dotted[:-1] = runs.text[runs.stops[:-1]] == ord(".")
    behind_hyphen = runs.text[np.maximum(runs.starts - 1, 0)] == ord("-")  # where its patterns begin no card
    enough = (left >= needed) | (dotted & (left >= 15))  # American Express
    wanted = runs.with_runs(enough & ~behind_hyphen)
    return wanted, wanted


def social_security(runs: Runs) -> tuple[Numbers, Numbers]:
    """Three, two and four digits; weak without separators or with one."""
    strong = runs.with_runs(runs.sequence(3, 2, 4))
    weak = (runs.sizes == 9) | runs.sequence(5, 4) | runs.sequence(3, 6)
    return strong | runs.with_runs(weak), strong


def one_run(fewest: int, most: int) -> Screen:
    """Clusters with so many digits in a row; weak."""

    def look(runs: Runs) -> tuple[Numbers, Numbers]:
        wanted = runs.with_runs((runs.sizes >= fewest) & (runs.sizes <= most))
        return wanted, np.zeros(len(wanted), dtype=bool)

    return look


def phones(regions: Iterable[str], *, believed: bool = False) -> Screen:
    """Clusters of which some neighbouring runs together are a number by the plan of one of the regions.

    And those that may be one of any country: with a plus sign; weak are those that are long enough if their text
    presents them as one, or their field (`believed`: whatever they touch there).
    """
    plans = closer(tuple(regions))

    def look(runs: Runs) -> tuple[Numbers, Numbers]:
        abroad = _after_plus(runs)
        wanted = (
            (runs.extended & (runs.digits > _FEWEST))
            | abroad
            | (np.diff(np.append(runs.firsts, len(runs.sizes))) > _MANY)
        )
        taken = np.cumsum(np.concatenate(([0], runs.sizes)))
        divided, clusters = _divided(runs), runs.clusters
        begins = np.concatenate(([True], divided)) & ~_IS_LETTER[runs.text[np.maximum(runs.starts - 1, 0)]]
        ends = np.concatenate((divided, [True])) & ~_ENDS_NONE[runs.text[np.minimum(runs.stops, len(runs.text) - 1)]]
        first = last = np.flatnonzero(begins & ~wanted[clusters])
        asked: list[tuple[Numbers, Numbers, Numbers]] = []
        while len(first):
            sizes = taken[last + 1] - taken[first]
            fewer = sizes <= _LONGEST_PHONE
            first, last, sizes = first[fewer], last[fewer], sizes[fewer]
            whole = (sizes >= _FEWEST) & ends[last]
            asked.append((clusters[first[whole]], taken[first[whole]], sizes[whole]))
            goes_on = last + 1 < len(runs.sizes)
            goes_on[goes_on] = runs.joined[last[goes_on]]
            first, last = first[goes_on], last[goes_on] + 1
        if asked:
            of_cluster, offsets, sizes = map(np.concatenate, zip(*asked, strict=True))
            wanted[of_cluster[plans.matches(runs.written, offsets, sizes)]] = True
        times = _times(runs)
        times = times[~(abroad | np.concatenate(([False], runs.linked)))[times]]
        wanted[times] = False
        return wanted | _dialled(runs, touching=believed), wanted

    return look


def _times(runs: Runs) -> Numbers:
    """The clusters that are a date and an hour with minutes behind it (`2026-08-25 23:11`).

    phonenumbers leaves them out, too (`_TIME_STAMPS`), though the plan of Washington takes most of this decade's; but
    those only that are written in ASCII.
    """
    text, last = runs.text, len(runs.text) - 1
    clusters = np.flatnonzero(np.diff(np.append(runs.firsts, len(runs.starts))) == len(_HOURLY))
    clusters = clusters[runs.stops[runs.firsts[clusters] + len(_HOURLY) - 1] + 2 < runs.ascii]
    for place, (size, most) in enumerate(_HOURLY):
        run = runs.firsts[clusters] + place
        clusters = clusters[(runs.sizes[run] == size) & (text[runs.starts[run]] <= most)]
    year = runs.firsts[clusters]
    dated = text[runs.starts[year]] >= ord("1")
    for run in (year, year + 1):
        dated &= (runs.gaps[run] == 1) & _DIVIDES_TIMES[text[runs.stops[run]]]
    for place in range(_GAP):
        between = text[np.minimum(runs.stops[year + 2] + place, last)]
        dated &= (place >= runs.gaps[year + 2]) | (between == ord(" "))
    stops = runs.stops[year + 3]
    minute = text[stops + 1]
    dated &= text[stops] == ord(":")
    dated &= (minute >= ord("0")) & (minute <= ord("5")) & (text[stops + 2] - np.uint8(48) < 10)
    return clusters[dated]


def _divided(runs: Runs) -> Numbers:
    """For each run but the last whether a number may end there and another one begin: not at a lone hyphen.

    phonenumbers looks for smaller numbers at every other punctuation. `-12#` is an extension.
    """
    hyphen = (runs.gaps == 1) & (runs.text[runs.stops[:-1]] == ord("-"))
    return ~hyphen | (runs.text[np.minimum(runs.stops[1:], len(runs.text) - 1)] == ord("#"))


def _dialled(runs: Runs, *, touching: bool) -> Numbers:
    """Clusters of seven to fifteen digits and an extension, but no dates, decimals and social security numbers.

    `touching`: also where a sign stands right before them that belongs to no number.
    """
    extended = np.zeros(len(runs.starts), dtype=bool)
    extended[1:] = runs.joined & (runs.gaps > 1)
    most = np.where(runs.with_runs(extended), 22, 15)
    found = (runs.digits >= 7) & (runs.digits <= most)
    if not touching:
        found &= ~_TOUCHES[runs.text[np.maximum(runs.starts[runs.firsts] - 1, 0)]]
    asked = np.flatnonzero(found)
    others, dates = _others(runs, asked)
    asked, dates = asked[others], dates[others]
    found[asked[_alone(runs, asked, dates)]] = False
    return found


def _others(runs: Runs, clusters: Numbers) -> tuple[Numbers, Numbers]:
    """Which of these clusters are written as what `likely` takes for no telephone number, and which as a date.

    A decimal, an American social security number, an IPv4 address, a date that begins with its year (whatever is
    behind it) or ends with it, or two years (`2009-2014`).
    """
    first, text = runs.firsts[clusters], runs.text
    count = np.diff(np.append(runs.firsts, len(runs.starts)))[clusters]
    found = np.zeros(len(clusters), dtype=bool)
    two = count == 2
    pair = first[two]
    dot = (runs.gaps[pair] == 1) & (text[runs.stops[pair]] == ord("."))
    found[two] = dot | (_year(runs, pair) & _year(runs, pair + 1) & _spaced(runs, pair))
    three = count >= 3
    head = first[three]
    marks = [text[runs.stops[run]] for run in (head, head + 1)]
    single = (runs.gaps[head] == 1) & (runs.gaps[head + 1] == 1)
    alone = count[three] == 3
    social = alone & runs.sequence(3, 2, 4)[head] & _DIVIDES_SOCIAL[marks[0]] & _DIVIDES_SOCIAL[marks[1]]
    day, month = head + 1, head + 2
    begun = _year(runs, head) & _two(runs, day) & _two(runs, month)
    ended = alone & _two(runs, head) & _two(runs, day) & _year(runs, month)
    dates = np.zeros(len(clusters), dtype=bool)
    dates[three] = single & (begun | ended) & (marks[0] == marks[1]) & _DIVIDES_DATES[marks[0]]
    found[three] = dates[three] | (single & social)
    four = count == 4
    head = first[four]
    dotted = np.ones(len(head), dtype=bool)
    for run in (head, head + 1, head + 2):
        dotted &= (runs.gaps[run] == 1) & (text[runs.stops[run]] == ord(".")) & (runs.sizes[run] <= 3)
    found[four] |= dotted & (runs.sizes[head + 3] <= 3)
    return found, dates


def _year(runs: Runs, run: Numbers) -> Numbers:
    """Which of these runs are years of the last century or of this one."""
    start = runs.starts[run]
    century = runs.text[start] * np.int64(256) + runs.text[np.minimum(start + 1, len(runs.text) - 1)]
    return (runs.sizes[run] == 4) & ((century == 0x3139) | (century == 0x3230))  # 19 or 20


def _two(runs: Runs, run: Numbers) -> Numbers:
    """Which of these runs are two digits that may be a day or a month."""
    return (runs.sizes[run] == 2) & (runs.text[runs.starts[run]] <= ord("3"))


def _spaced(runs: Runs, run: Numbers) -> Numbers:
    """Whether nothing but hyphens, spaces and slashes stands between these runs and the next."""
    found = runs.gaps[run] > 0
    for place in range(_GAP):
        between = runs.text[np.minimum(runs.stops[run] + place, len(runs.text) - 1)]
        found &= (place >= runs.gaps[run]) | _DIVIDES_YEARS[between]
    return found


def _alone(runs: Runs, clusters: Numbers, dates: Numbers) -> Numbers:
    """Which clusters have nothing before or behind them that is read along.

    That is an extension behind, and a bracket or plus sign before; but a date stays one in a bracket.
    """
    starts = runs.starts[runs.firsts[clusters]]
    led, goes_on = np.zeros(len(clusters), dtype=bool), np.ones(len(clusters), dtype=bool)
    for place in range(1, _LEAD + 2):
        at = starts - place
        before = runs.text[np.maximum(at, 0)]
        bracketed = dates & _BRACKETS[before] & (place == 1)
        led |= goes_on & (at >= 0) & _LEADS[before] & ~bracketed
        goes_on &= _IS_SEPARATOR[before]
    return ~led & ~np.append(runs.linked, False)[clusters]


def _after_plus(runs: Runs) -> Numbers:
    """Clusters with a plus sign shortly before one of their runs."""
    found = np.zeros(len(runs.starts), dtype=bool)
    signs = np.flatnonzero(runs.text == ord("+"))
    following = np.searchsorted(runs.starts, signs)
    while len(signs):
        near = following < len(found)
        near[near] = runs.starts[following[near]] - signs[near] <= _LEAD
        signs, following = signs[near], following[near]
        found[following] = True
        following = following + 1
    return runs.with_runs(found) & (runs.digits >= _FEWEST)  # not the hours of a time zone
