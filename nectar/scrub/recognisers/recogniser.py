"""What every recogniser is here, and how one of presidio's becomes it: called alone, judging single lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex

from nectar.scrub.find import patience
from nectar.scrub.find.findings import CHECKSUM, DOUBTED, PATTERN, THRESHOLD, Hit, ScanError, without_contained
from nectar.scrub.recognisers.library import PatternRecognizer

_JUDGED = 256
"""Several patterns of one recogniser match the same characters: it judges them once."""

SECONDS = 10.0
"""Longest time for one pattern on one line; beyond it the text counts as not scanned."""


class _StrictRegex:
    """A compiled pattern that fails where presidio would skip: a time-out must not read as "nothing found"."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def finditer(self, text: str, timeout: float | None = None) -> Iterator[Any]:  # noqa: ARG002  presidio's own
        try:
            yield from self.compiled.finditer(text, timeout=patience.seconds(SECONDS))
        except TimeoutError as error:
            raise ScanError("scan_timed_out") from error


@dataclass(frozen=True)
class Recogniser:
    """One source of hits for one entity.

    forms     expressions whose matches include every match (for the prefilter), each with the best score it can give
    hint      a character without which nothing matches; empty: none
    unproven  the score of a hit without context, where a checksum alone proves too little (one number in ten)
    caseless  the forms match in upper and lower case
    whole     a hit may reach over several lines: it judges whole texts in which a form matches
    around    instead of `find`, for one that looks at what stands around a line: the text, the line's start and end,
              and whether the field's name speaks for the entity
    """

    name: str
    entity: str
    forms: tuple[tuple[str, float], ...]
    find: Callable[[str], list[Hit]]
    hint: str = ""
    unproven: float | None = None
    caseless: bool = True
    whole: bool = False
    around: Callable[[str, int, int, bool], list[Hit]] | None = None

    def best(self) -> float:
        """The highest score that a hit can have without a context word."""
        return max(score for _, score in self.forms)

    def judge(self, text: str, start: int, end: int, *, believed: bool) -> list[Hit]:
        """Hits of the line between these places of a text, with the line's offsets. Raises ScanError."""
        around = self.around
        if around is None:
            return self.lines(text[start:end])
        try:
            return around(text, start, end, believed)
        except ScanError:
            raise
        except Exception as error:
            raise ScanError("recogniser_failed") from error

    def lines(self, text: str) -> list[Hit]:
        """Hits of one line. Raises ScanError, whatever went wrong inside."""
        if self.hint and self.hint not in text:
            return []
        try:
            hits = self.find(text)
        except ScanError:
            raise
        except Exception as error:  # whatever it was, the text is not known to be clean
            raise ScanError("recogniser_failed") from error
        if self.unproven is None:
            return hits
        return [hit._replace(score=min(hit.score, self.unproven)) for hit in hits]


def wrapped(
    recogniser: Any,
    *,
    hint: str = "",
    unproven: float | None = None,
    forms: tuple[str, ...] = (),
    whole: bool = False,
) -> Recogniser:
    """Wrap a presidio recogniser.

    forms    what the prefilter looks for instead of the recogniser's own patterns
    """
    entity = recogniser.supported_entities[0]
    # A checksum may raise any of its patterns to a full score.
    proves = type(recogniser).validate_result is not PatternRecognizer.validate_result
    for pattern in recogniser.patterns:
        _compile(pattern, recogniser.global_regex_flags)
        if DOUBTED <= pattern.score < THRESHOLD:  # what presidio acts on is acted on, but for our own doubts
            pattern.score = THRESHOLD
    scores = [unproven if unproven is not None else 1.0 if proves else pattern.score for pattern in recogniser.patterns]
    expressions = forms or tuple(pattern.regex for pattern in recogniser.patterns)

    find = direct(recogniser) if type(recogniser).analyze is PatternRecognizer.analyze else asked(recogniser)
    pairs = tuple(zip(expressions, [max(scores)] * len(forms) if forms else scores, strict=True))
    caseless = bool(recogniser.global_regex_flags & regex.IGNORECASE)
    return Recogniser(recogniser.name, entity, pairs, find, hint, unproven, caseless, whole)


def asked(recogniser: Any) -> Callable[[str], list[Hit]]:
    """What a recogniser with a way of its own says."""
    entity = recogniser.supported_entities[0]

    def find(text: str) -> list[Hit]:
        return [_hit(entity, r.start, r.end, r.score) for r in recogniser.analyze(text, [entity])]

    return find


def direct(
    recogniser: Any,
    only: Iterable[int] | None = None,
    inside: Callable[[str], tuple[int, int] | None] = lambda _match: None,
) -> Callable[[str], list[Hit]]:
    """What `PatternRecognizer.analyze` says, without the explanations that it writes for each match.

    only    the numbers of the patterns that are tried; None: all
    inside  where in a match that is not valid a valid part stands
    """
    entity = recogniser.supported_entities[0]
    tried = recogniser.patterns if only is None else [recogniser.patterns[number] for number in only]
    patterns = [(p.compiled_regex.compiled.finditer, p.score, _is_bounded(p.regex)) for p in tried]

    is_shaped = all(_SHAPED.fullmatch(p.regex) for p in tried)

    @lru_cache(maxsize=_JUDGED)
    def judged(text: str) -> bool | None:
        valid = recogniser.validate_result(text)
        return False if recogniser.invalidate_result(text) else valid

    @lru_cache(maxsize=_SHAPES_KNOWN)
    def of_shape(shape: str) -> tuple[tuple[int, int, float], ...]:
        return tuple((*match.span(), of_form) for finditer, of_form, _ in patterns for match in finditer(shape))

    def find(text: str) -> list[Hit]:
        best: dict[tuple[int, int], float] = {}
        short = len(text) <= _SHORT
        if is_shaped and short and text.isascii():
            for start, end, of_form in of_shape(text.translate(_SHAPE)):
                valid = judged(text[start:end])
                if valid is None or valid:
                    best[start, end] = max(best.get((start, end), 0.0), 1.0 if valid else of_form)
            return _found(entity, best)
        try:
            for finditer, of_form, bounded in patterns:
                # A time-out takes twice as long as a search through a few characters.
                matches = finditer(text) if short and bounded else finditer(text, timeout=patience.seconds(SECONDS))
                for match in matches:
                    valid = judged(match[0]) if match[0] else False
                    span, score = match.span(), 1.0
                    if valid is None:
                        score = of_form
                    elif not valid:
                        part = inside(match[0])
                        if not part:
                            continue
                        span = (span[0] + part[0], span[0] + part[1])
                    if score > best.get(span, -1.0):
                        best[span] = score
        except TimeoutError as error:
            raise ScanError("scan_timed_out") from error
        return _found(entity, best)

    return find


def _found(entity: str, best: dict[tuple[int, int], float]) -> list[Hit]:
    hits = [_hit(entity, start, end, score) for (start, end), score in best.items()]
    return hits if len(hits) < 2 else without_contained(hits)


def _is_bounded(pattern: str) -> bool:
    """Nothing in it is repeated without an end, so it cannot take long over few characters."""
    return _ENDLESS.search(pattern) is None


_ENDLESS = re.compile(r"[*+]|,\}")
_SHORT = 128
"""Characters: a candidate with its neighbours, and a short line."""

_SHAPED = re.compile(r"(?:\\b|\\d|\[0-9\]|\[[-. ]+\]|\{[0-9]+(?:,[0-9]+)?\}|[-()| ])+")
"""A pattern of digits, marks and ends of words: where it matches depends on a text's shape, not on which digits."""
_SHAPE = str.maketrans({c: "0" if c.isdigit() else "a" for c in map(chr, range(128)) if c.isalnum() or c == "_"})
_SHAPES_KNOWN = 4096


def _hit(entity: str, start: int, end: int, score: float) -> Hit:
    return Hit(entity, start, end, score, CHECKSUM if score >= 1.0 else PATTERN)


def _compile(pattern: Any, flags: int) -> None:
    pattern.compiled_with_flags = flags
    pattern.compiled_regex = _StrictRegex(regex.compile(pattern.regex, flags=flags))
