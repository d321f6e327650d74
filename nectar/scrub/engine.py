"""Detection: many texts in, the personal data in each out.

Distinct texts only. The prefilter names candidate lines, the recognisers judge them, words near a hit and the field's
name lift what is weak. What was found is remembered for short texts, because values come again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock

from nectar.errors import SkipRecord
from nectar.scrub import context as words
from nectar.scrub.entities import ENTITIES
from nectar.scrub.findings import CONTEXT, Finding, Hit, ScanError, without_contained

THRESHOLD = 0.35
Scan = tuple[Hit, ...] | ScanError
"""What one text holds, or why that is not known."""

_INSTANT = re.compile(
    r"(?:[12]\d{3}|0001|9999)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[Tt ](?:[01]\d|2[0-4]):[0-5]\d(?::[0-6]\d(?:[.,]\d{1,9})?)?"
    r"(?: ?(?:[Zz]|[+-]\d\d(?::?\d\d(?::?\d\d)?)?))?)?",
    re.ASCII,
)
"""A date or an instant in ISO's form, and nothing else: what a typed column looks like once it is text.

Presidio takes the fraction of a second for a phone number in one of six (`16.444721` is one in Germany). A
value that is an instant as a whole holds no personal data; inside a longer text presidio's judgement stands. This is
the one place where our findings are meant to differ.
"""

_CACHED_TEXTS = 50_000
_CACHED_LENGTH = 256
"""Longer texts seldom come twice, and memory must stay bounded (about 50 MB at worst)."""


class _Cache:
    """Least recently used scans. Lives in this process's memory only and is never printed."""

    def __init__(self) -> None:
        self._scans: OrderedDict[tuple[str, object], Scan] = OrderedDict()
        self._lock = Lock()

    def get(self, text: str, question: object) -> Scan | None:
        with self._lock:
            scan = self._scans.get((text, question))
            if scan is not None:
                self._scans.move_to_end((text, question))
            return scan

    def put(self, text: str, question: object, scan: Scan) -> None:
        if len(text) > _CACHED_LENGTH or isinstance(scan, ScanError):
            return
        with self._lock:
            self._scans[text, question] = scan
            if len(self._scans) > _CACHED_TEXTS:
                self._scans.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._scans.clear()


cache = _Cache()


def scan_texts(
    texts: Iterable[str], entities: frozenset[str], lifted: frozenset[str] = frozenset(), threshold: float = THRESHOLD
) -> dict[str, Scan]:
    """Scan each distinct text once. `lifted`: entities that the field's name makes believable.

    A recogniser that raises or takes too long spoils its text only: the scan is then the reason.
    """
    lifted &= entities
    question = (entities, lifted, threshold)
    found: dict[str, Scan] = {}
    unknown: list[str] = []
    for text in dict.fromkeys(texts):
        known = () if _INSTANT.fullmatch(text) else cache.get(text, question)
        if known is None:
            unknown.append(text)
        else:
            found[text] = known
    for text, scan in zip(unknown, _scan(unknown, entities, lifted, threshold), strict=True):
        found[text] = scan
        cache.put(text, question, scan)
    return found


def _scan(texts: Sequence[str], entities: frozenset[str], lifted: frozenset[str], threshold: float) -> list[Scan]:
    from nectar.scrub.prefilter import chosen, look_up

    found: list[list[Hit] | ScanError] = [[] for _ in texts]
    who = chosen(entities)
    for i, start, end, number, strong in look_up(texts, entities, threshold):
        hits, text, recogniser = found[i], texts[i], who[number]
        if isinstance(hits, ScanError):
            continue
        if not (strong or recogniser.entity in lifted or words.may_help(recogniser.entity, text, start, end)):
            continue
        try:
            raw = recogniser.lines(text[start:end])
        except ScanError as failure:
            found[i] = failure
            continue
        for entity, first, last, score, strength in raw:
            hit = _lift(Hit(entity, first + start, last + start, score, strength), text, lifted)
            if hit.score >= threshold:
                hits.append(hit)
    return [hits if isinstance(hits, ScanError) else tuple(without_contained(hits)) for hits in found]


def _lift(hit: Hit, text: str, lifted: frozenset[str]) -> Hit:
    """The hit with what the field's name or a word before it adds: +0.35, at least 0.4, at most 1."""
    if hit.entity in lifted or words.stands_before(hit.entity, text, hit.start):
        return hit._replace(score=min(1.0, max(0.4, hit.score + 0.35)), strength=max(hit.strength, CONTEXT))
    return hit


def detect(
    texts: Sequence[str],
    entities: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    context: Sequence[str] = (),
) -> list[list[Finding]]:
    """Find personal data: for each text its findings, in the order of the text; those of different kinds may overlap.

    entities   presidio's names (None: all of `ENTITIES`); ValueError for a name that is not among them
    threshold  findings with a lower score are left out
    context    words that stand for all texts, such as the name of the field they come from

    Raises SkipRecord when a text could not be scanned to its end.
    """
    wanted = frozenset(ENTITIES if entities is None else entities)
    unknown = wanted.difference(ENTITIES)
    if unknown:
        raise ValueError(f"no entity is named {', '.join(sorted(unknown))}; there are {', '.join(ENTITIES)}")
    lifted = frozenset().union(*(words.lifted(word) for word in context))
    scans = scan_texts(texts, wanted, lifted, threshold)
    results = []
    for text in texts:
        scan = scans[text]
        if isinstance(scan, ScanError):
            raise SkipRecord("a text could not be scanned for personal data", code=scan.code)
        results.append([Finding(hit.entity, hit.start, hit.end, hit.score) for hit in scan])
    return results


def warm(entities: Iterable[str] = ENTITIES) -> None:
    """Import and compile everything now, so that the first record does not wait. Call it after a fork."""
    # The second number is none, so every region's numbering plan is asked for it, and thereby read.
    scan_texts(["warm@example.com 202-555-0143 99-99-9999"], frozenset(entities))
