"""Regular expressions over digits, asked about many strings at once.

`re` needs two microseconds for one string and a numbering plan; here each step of all strings is one look into a table,
for every string together. The table is that of a deterministic automaton, whose states are what an expression leaves to
be matched behind some digits (Brzozowski's derivatives, 1964: they know "and" and "not", which is what look-aheads
are). A transition is worked out when a string first takes it.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Iterable
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np
import pyarrow as pa

Numbers = Any
"""A numpy array of integers or booleans."""

_DIGITS = b"0123456789"
_EVERY_DIGIT = (1 << 10) - 1
_UNKNOWN = -1
_END = 2
"""The first two states are the end of every search: nothing can match any more, or whatever follows matches."""
_MOST = 50_000
"""States, beyond which an automaton begins anew: some 20 MB."""

_REMEMBERED = 10_000
"""Derivatives of parts, which come again while a state is worked out."""

_Term = tuple[Any, ...]
"""What is to be matched: a kind and its parts, which are numbers of other terms."""

_numbering = threading.Lock()


def _in_a_child() -> None:
    """Another thread may have held the lock when this process was forked off."""
    global _numbering  # noqa: PLW0603
    _numbering = threading.Lock()


os.register_at_fork(after_in_child=_in_a_child)

_NONE, _EMPTY, _ALL = range(3)
"""Terms that are always there: nothing matches, only the empty string does, every string does."""


class _Terms:
    """Terms, each known by its number: equal ones have the same."""

    def __init__(self) -> None:
        self.terms: list[_Term] = []
        self.nullable: list[bool] = []
        self._numbers: dict[_Term, int] = {}
        self._derived: dict[int, int] = {}
        for kind, nullable in (("none", False), ("empty", True), ("all", True)):
            self._term((kind,), nullable=nullable)

    def _term(self, term: _Term, *, nullable: bool) -> int:
        number = self._numbers.get(term)
        if number is None:
            number = len(self.terms)
            self.nullable[number:] = [nullable]
            self.terms.append(term)
            self._numbers[term] = number  # last: whatever breaks off before it leaves nothing wrong
        return number

    def digit(self, allowed: int) -> int:
        """One of these digits, given as bits."""
        return self._term(("lead", allowed, _EMPTY), nullable=False) if allowed else _NONE

    def then(self, first: int, second: int) -> int:
        if _NONE in (first, second):
            return _NONE
        if _EMPTY in (first, second):
            return second if first == _EMPTY else first
        if first == _ALL == second:
            return _ALL
        kind, *parts = self.terms[first]
        if kind == "lead":
            return self._term(("lead", parts[0], self.then(parts[1], second)), nullable=False)
        if kind == "then":
            return self.then(parts[0], self.then(parts[1], second))
        return self._term(("then", first, second), nullable=self.nullable[first] and self.nullable[second])

    def either(self, parts: Iterable[int]) -> int:
        flat: set[int] = set()
        for part in parts:
            flat.update(self.terms[part][1] if self.terms[part][0] == "either" else (part,))
        flat.discard(_NONE)
        if _ALL in flat:
            return _ALL
        if len(flat) < 2:
            return flat.pop() if flat else _NONE
        return self._term(("either", frozenset(flat)), nullable=any(self.nullable[part] for part in flat))

    def both(self, first: int, second: int) -> int:
        if _NONE in (first, second):
            return _NONE
        if first == second or _ALL in (first, second):
            return second if first == _ALL else first
        nullable = self.nullable[first] and self.nullable[second]
        if _EMPTY in (first, second):
            return _EMPTY if nullable else _NONE
        return self._term(("both", min(first, second), max(first, second)), nullable=nullable)

    def but(self, term: int) -> int:
        """All but this."""
        if term in (_NONE, _ALL):
            return _ALL if term == _NONE else _NONE
        if self.terms[term][0] == "but":
            return int(self.terms[term][1])
        return self._term(("but", term), nullable=not self.nullable[term])

    def times(self, term: int, fewest: int, most: int | None) -> int:
        """So many times; `most` None: without end."""
        if most == 0 or term == _EMPTY:
            return _EMPTY
        if term == _NONE:
            return _NONE if fewest else _EMPTY
        if fewest == most == 1:
            return term
        nullable = not fewest or self.nullable[term]
        return self._term(("times", term, fewest, most), nullable=nullable)

    def derived(self, number: int, digit: int) -> int:
        """What is left to be matched behind this digit."""
        term = self.terms[number]
        if term[0] == "lead":  # most of an expression is of this kind: no need to remember it
            return term[2] if term[1] >> digit & 1 else _NONE
        known = self._derived.get(number * 10 + digit)
        if known is None:
            if len(self._derived) > _REMEMBERED:
                self._derived.clear()
            known = self._derived[number * 10 + digit] = self._derive(term, digit)
        return known

    def _derive(self, term: _Term, digit: int) -> int:
        match term:
            case ("all",):
                return _ALL
            case ("then", first, second):
                behind = self.then(self.derived(first, digit), second)
                return self.either((behind, self.derived(second, digit))) if self.nullable[first] else behind
            case ("either", parts):
                return self.either([self.derived(part, digit) for part in parts])
            case ("both", first, second):
                return self.both(self.derived(first, digit), self.derived(second, digit))
            case ("but", part):
                return self.but(self.derived(part, digit))
            case ("times", part, fewest, most):
                left = self.times(part, max(fewest - 1, 0), None if most is None else most - 1)
                return self.then(self.derived(part, digit), left)
        return _NONE

    def parsed(self, tokens: Any, rest: int) -> int:
        """An expression as `re` parses it, followed by a term."""
        for kind, given in reversed(list(tokens)):
            rest = self._parsed(kind, given, rest)
        return rest

    def _parsed(self, kind: Any, given: Any, rest: int) -> int:
        if kind in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
            return self.then(self.digit(_allowed(kind, given)), rest)
        if kind is op.SUBPATTERN:
            return self.parsed(given[3], rest)
        if kind is op.BRANCH:
            return self.either([self.parsed(branch, rest) for branch in given[1]])
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            fewest, most, part = given
            repeated = self.times(self.parsed(part, _EMPTY), fewest, None if most is op.MAXREPEAT else most)
            return self.then(repeated, rest)
        if kind in (op.ASSERT, op.ASSERT_NOT) and given[0] == 1:
            ahead = self.parsed(given[1], _ALL)
            return self.both(ahead if kind is op.ASSERT else self.but(ahead), rest)
        if kind is op.AT and given in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
            return rest  # right only where the expression begins
        if kind is op.AT and given in (op.AT_END, op.AT_END_STRING):
            return self.both(_EMPTY, rest)
        raise ValueError(f"an expression over digits cannot have {kind}; write it without")


def _allowed(kind: Any, given: Any) -> int:
    """The digits that one character of an expression stands for, as bits."""
    if kind is op.ANY:
        return _EVERY_DIGIT
    if kind in (op.LITERAL, op.NOT_LITERAL):
        one = 1 << (given - 48) if given in _DIGITS else 0
        return one if kind is op.LITERAL else one ^ _EVERY_DIGIT
    bits, negated = 0, False
    for item, value in given:
        if item is op.NEGATE:
            negated = True
        elif item is op.RANGE:
            bits |= sum(1 << (code - 48) for code in _DIGITS if value[0] <= code <= value[1])
        elif item is op.CATEGORY:
            bits |= _EVERY_DIGIT if value in (op.CATEGORY_DIGIT, op.CATEGORY_WORD) else 0
        else:
            bits |= _allowed(item, value)
    return bits ^ _EVERY_DIGIT if negated else bits


class Automaton:
    """Whether an expression matches at the beginning of strings of ASCII digits, as `re.match` says.

    A look-ahead may not stand in what is repeated. Threads may share one.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._begin()

    def _begin(self) -> None:
        terms = _Terms()
        start = terms.parsed(_parser.parse(self._pattern), _ALL)
        numbers = list(dict.fromkeys((_NONE, _ALL, start)))
        self._tables = _Tables(terms, numbers, numbers.index(start))

    def matches(self, written: Numbers, offsets: Numbers, sizes: Numbers) -> Numbers:
        """For each stretch of `written` (bytes of digits), given by its first place and its size."""
        if len(self._tables.states) > _MOST:
            self._begin()
        tables = self._tables
        found = np.zeros(len(sizes), dtype=bool)
        asked = np.arange(len(sizes))
        state = np.full(len(sizes), tables.start, dtype=np.int32)
        step = 0
        while len(asked):
            over = (sizes == step) | (state < _END)
            if over.any():
                found[asked[over]] = tables.accepting[state[over]]
                left = ~over
                asked, state, offsets, sizes = asked[left], state[left], offsets[left], sizes[left]
            state = tables.after(state, written[offsets + step] - 48)
            step += 1
        return found

    def learn(self, sizes: Iterable[int], each: int) -> None:
        """Work out the transitions that random strings of these sizes take, so that later ones find most of them."""
        chance = np.random.default_rng(0)  # always the same
        for size in sizes:
            digits = chance.integers(48, 58, each * size, dtype=np.uint8)
            self.matches(digits, np.arange(each) * size, np.full(each, size))

    def match(self, digits: str) -> bool:
        """For one string of ASCII digits."""
        tables = self._tables
        state = tables.start
        for digit in digits.encode():
            if state < _END:
                return state == 1
            state = tables.following(state * 10 + digit - 48)
        return bool(tables.accepting[state])

    def matches_strings(self, strings: pa.Array) -> Numbers:
        """For each of some strings, which hold ASCII digits and nothing else."""
        strings = strings.cast(pa.large_string())
        if not len(strings):
            return np.zeros(0, dtype=bool)
        _, places, written = strings.buffers()
        ends = np.frombuffer(places, dtype=np.int64)[strings.offset : strings.offset + len(strings) + 1]
        digits = np.frombuffer(written or b"", dtype=np.uint8)
        return self.matches(digits, ends[:-1], np.diff(ends))


class _Tables:
    """states     of each state its term
    accepting  of each state whether its term takes the empty string
    """

    def __init__(self, terms: _Terms, states: list[int], start: int) -> None:
        self.terms, self.states, self.start = terms, states, start
        self._numbers = {term: number for number, term in enumerate(states)}
        self._flat = array("i")
        self._grow()

    def _grow(self) -> None:
        room = max(256, len(self.states) * 2)
        # An array and numpy's view of it: one number of it is read three times as fast.
        flat = self._flat + array("i", [_UNKNOWN]) * (room * 10 - len(self._flat))
        accepting = np.zeros(room, dtype=bool)
        accepting[: len(self.states)] = [self.terms.nullable[term] for term in self.states]
        # In this order: who finds a new state in the last of them has room for it in the others.
        self.accepting = accepting
        self._next = np.frombuffer(flat, dtype=np.int32)
        self._flat = flat

    def after(self, state: Numbers, digit: Numbers) -> Numbers:
        """The state that follows each of these with its digit."""
        places = state * 10 + digit
        following = self._next[places]
        new = following == _UNKNOWN
        if new.any():
            for place in np.unique(places[new]).tolist():
                self.following(place)
            following = self._next[places]
        return following

    def following(self, place: int) -> int:
        """The state behind a state and a digit (`state * 10 + digit`)."""
        number = self._flat[place]
        return number if number != _UNKNOWN else self._learnt(place)

    def _learnt(self, place: int) -> int:
        """Two threads may not number at once: terms or states would get each other's numbers."""
        with _numbering:
            return self._worked_out(place)

    def _worked_out(self, place: int) -> int:
        term = self.terms.derived(self.states[place // 10], place % 10)
        known = self._numbers.get(term)
        if known is None:
            known = len(self.states)
            self.states.append(term)
            if known >= len(self.accepting):
                self._grow()
            self.accepting[known] = self.terms.nullable[term]
            self._numbers[term] = known  # last, as in `_Terms`
        self._flat[place] = known
        return known
