"""Detection: many texts in, the personal data in each out.

Distinct texts only. The prefilter names stretches, the recognisers judge them, words near a hit and the field's name
lift what is weak. A text that reads otherwise than it is written is scanned both ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from nectar.deadline import Deadline
from nectar.errors import NectarError, SkipRecord
from nectar.scrub.find import context as words
from nectar.scrub.find import doubts, names, patience
from nectar.scrub.find.entities import ALL, DATE_TIME, DEFAULT, MODELLED, PHONE_NUMBER, phones_of
from nectar.scrub.find.findings import (
    CONTEXT,
    DOUBTED,
    THRESHOLD,
    Finding,
    Hit,
    ScanError,
    are_apart,
    without_contained,
)
from nectar.scrub.find.remembered import Remembered
from nectar.scrub.find.view import View, plain
from nectar.scrub.treat.treatment import did_you_mean

if TYPE_CHECKING:
    from nectar.scrub.recognisers import Recogniser

Scan = tuple[Hit, ...] | ScanError
"""What one text holds, or why that is not known."""

_CENTURIES = frozenset("0129")
_INSTANT = re.compile(
    r"(?:[12]\d{3}|0001|9999)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[Tt ](?:[01]\d|2[0-4]):[0-5]\d(?::[0-6]\d(?:[.,]\d{1,9})?)?"
    r"(?: ?(?:[Zz]|[+-]\d\d(?::?\d\d(?::?\d\d)?)?))?)?",
    re.ASCII,
)
"""A date or an instant in ISO's form, and nothing else: what a typed column looks like once it is text.

Presidio takes the fraction of a second for a phone number in one of six (`16.444721` is one in Germany). A
value that is an instant as a whole holds no personal data but its date; inside a longer text presidio's judgement
stands. This is the one place where our findings are meant to differ.
"""
_DATED = 0.8
"""presidio's score for an instant."""

LONGEST = 1 << 24
"""Characters. A longer text is not scanned, and counts as that: memory and time must have an end."""

cache = Remembered()


def scan_texts(
    texts: Iterable[str],
    entities: frozenset[str],
    lifted: frozenset[str] = frozenset(),
    threshold: float = THRESHOLD,
    deadline: Deadline | None = None,
) -> dict[str, Scan]:
    """Scan each distinct text once. `lifted`: entities that the field's name makes believable.

    A recogniser that raises or takes too long, or more than LONGEST characters, spoil their text only: the scan is then
    the reason. `deadline`: for each text; None leaves the one of `patience.within`, if there is any.
    """
    lifted &= entities
    question = (entities, lifted, threshold)
    found: dict[str, Scan] = dict.fromkeys(texts, ())
    dated = DATE_TIME in entities and threshold <= _DATED
    unknown: list[str] = []
    keys: list[bytes | None] = []
    for text in found:
        if text[:1] in _CENTURIES and _INSTANT.fullmatch(text):
            found[text] = (Hit(DATE_TIME, 0, len(text), _DATED),) if dated else ()
            continue
        key = cache.key(text, question)
        known = None if key is None else cache.get(key)
        if known is None:
            unknown.append(text)
            keys.append(key)
        else:
            found[text] = known
    asked = (entities, lifted, threshold, deadline)
    for text, key, scan in zip(unknown, keys, _scan_each(unknown, *asked), strict=True):
        found[text] = scan
        if key is not None and not isinstance(scan, ScanError):
            cache.put(key, scan)
    return found


def _scan_each(
    texts: Sequence[str],
    entities: frozenset[str],
    lifted: frozenset[str],
    threshold: float,
    deadline: Deadline | None,
) -> list[Scan]:
    """As `_scan`, where whatever goes wrong costs no text but those that it goes wrong with."""
    try:
        return _scan(texts, entities, lifted, threshold, deadline)
    except NectarError:
        raise  # somebody's profile asks for what is not there
    except Exception:  # noqa: BLE001  whatever it was, these texts are not known to be clean
        if len(texts) == 1:
            return [ScanError("scan_failed")]
        half = len(texts) // 2
        asked = (entities, lifted, threshold, deadline)
        return [*_scan_each(texts[:half], *asked), *_scan_each(texts[half:], *asked)]


def _scan(
    texts: Sequence[str],
    entities: frozenset[str],
    lifted: frozenset[str],
    threshold: float,
    deadline: Deadline | None = None,
) -> list[Scan]:
    from nectar.scrub.find.prefilter import look_up, whole_values

    deadline = deadline or patience.asked()
    spent = None if deadline is None else patience.Spent(deadline)
    found: dict[int, list[Hit] | ScanError] = {}
    written, views = _as_they_read(texts, found)
    asked = _asked(entities, lifted)
    candidates = chain(look_up(written, entities, threshold, lifted), whole_values(written, entities, lifted))
    for i, start, end, number, strong in candidates:
        text, (recogniser, believed, regional) = written[i], asked[number]
        if not (strong or believed or _may_help(recogniser.entity, text, start, end, threshold)):
            continue
        view = views.get(i) if views else None
        place = i if view is None else view[0]
        hits = found.get(place)
        if isinstance(hits, ScanError):
            continue
        try:
            if spent is None:
                raw = recogniser.judge(text, start, end, believed=believed)
            else:
                spent.begin(place)
                try:
                    raw = recogniser.judge(text, start, end, believed=believed)
                finally:
                    spent.end()
        except ScanError as failure:
            found[place] = ScanError(failure.code, failure.rule or recogniser.name)
            continue
        for entity, first, last, score, strength in raw:
            hit = Hit(entity, first + start, last + start, score, strength)
            if score < 1.0:
                hit = _lift(hit, text, lifted)
            if hit.score < threshold <= DOUBTED and words.stands_about(entity, text, hit.start):
                hit = hit._replace(score=DOUBTED)
            if entity in doubts.KINDS:
                hit = doubts.weighed(hit, text, named=entity in lifted, regional=regional)
            if hit.score < threshold:
                continue
            if view is not None:
                a, b = view[1].back(hit.start, hit.end)
                hit = hit._replace(start=a, end=b)
            if hits is None:
                found[place] = hits = [hit]
            else:
                hits.append(hit)
    modelled = entities.intersection(MODELLED)
    if modelled and threshold <= names.SCORE:
        for i, hits in enumerate(names.find(written[: len(texts)], modelled, deadline)):
            so_far = found.get(i)
            if hits and not isinstance(so_far, ScanError):
                found[i] = hits if isinstance(hits, ScanError) else [*(so_far or ()), *hits]
    return [_settled(found.get(i), threshold) for i in range(len(texts))]


@lru_cache(maxsize=256)
def _asked(entities: frozenset[str], lifted: frozenset[str]) -> list[tuple[Recogniser, bool, bool]]:
    """The recognisers, whether the field's name speaks for each, and whether it is one of a region's numbers."""
    from nectar.scrub.find.prefilter import chosen
    from nectar.scrub.recognisers import of_whole_values

    who = (*chosen(entities), *of_whole_values(lifted))
    return [(r, r.entity in lifted, r.name.startswith(phones_of(""))) for r in who]


def _may_help(entity: str, text: str, start: int, end: int, threshold: float) -> bool:
    """Words near these places may make a weak hit believable."""
    if entity == PHONE_NUMBER:
        from nectar.scrub.phones.likely import may_be_presented

        return may_be_presented(text, start, end)
    return words.may_help(entity, text, start, end, loosely=threshold <= DOUBTED)


def _settled(hits: list[Hit] | ScanError | None, threshold: float) -> Scan:
    if not hits:
        return ()
    if isinstance(hits, ScanError):
        return hits
    if len(hits) == 1:
        return tuple(hits) if hits[0].score >= threshold else ()
    hits.sort(key=_BEGIN)
    if not are_apart(hits):
        hits = without_contained(doubts.within_proven(hits))
    return tuple([hit for hit in hits if hit.score >= threshold])


_BEGIN = attrgetter("start")


def _as_they_read(
    texts: Sequence[str], found: dict[int, list[Hit] | ScanError]
) -> tuple[list[str], dict[int, tuple[int, View]]]:
    """The texts, and behind them the views of those that read otherwise: (all, number of a view -> (text, view)).

    Texts that are too long are left out, and their reason noted in `found`.
    """
    written = list(texts)
    views: dict[int, tuple[int, View]] = {}
    for i, text in enumerate(texts):
        if len(text) > LONGEST:
            found[i] = ScanError("text_too_long")
            written[i] = ""
        elif not text.isascii() and (view := plain(text)) is not None:
            if len(view.text) > LONGEST:
                found[i] = ScanError("text_too_long")
                continue
            views[len(written)] = (i, view)
            written.append(view.text)
    return written, views


def _lift(hit: Hit, text: str, lifted: frozenset[str]) -> Hit:
    """The hit, below 1, with what the field's name or a word before it adds: +0.35, at least 0.4, at most 1."""
    entity, start, end, score, strength = hit
    if entity in lifted or words.stands_before(entity, text, start):
        return Hit(entity, start, end, min(1.0, max(0.4, score + 0.35)), max(strength, CONTEXT))
    return hit


def detect(
    texts: Iterable[str],
    entities: Iterable[str] | None = None,
    threshold: float = THRESHOLD,
    context: Iterable[str] = (),
    deadline: Deadline | None = None,
    regions: Iterable[str] = (),
) -> list[list[Finding]]:
    """Find personal data: for each text its findings, in the order of the text; those of different kinds may overlap.

    entities   names out of `entities.ALL` (None: `entities.DEFAULT`)
    threshold  findings with a lower score are left out; from 0 to 1. At 0.35, presidio's own, nothing is missing that
               presidio finds; the default leaves out what is doubted (`doubts`)
    context    words that stand for all texts, such as the name of the field they come from
    deadline   a limit on the time for each text
    regions    ISO codes of countries whose phone numbers are known without a country code, beyond `phones.REGIONS`

    Of `entities`, `context` and `regions` a text alone counts as one of its kind.

    Raises SkipRecord when a text could not be scanned to its end; TypeError for what is no list of texts, and
    ValueError for an entity, region or threshold that there is not.
    """
    texts = _texts(texts)
    wanted = frozenset(DEFAULT if entities is None else _several(entities))
    for name in sorted(map(str, wanted.difference(ALL))):
        raise ValueError(f"no entity is named {name!r}; {did_you_mean(name, ALL)}")
    if isinstance(threshold, bool) or not 0 <= threshold <= 1:
        raise ValueError(f"the threshold must be a number from 0 to 1, such as {THRESHOLD}, not {threshold!r}")
    regions = _several(regions)
    if regions:
        from nectar.scrub.phones.phones import checked_regions

        checked_regions(regions)
    if PHONE_NUMBER in wanted:
        wanted |= {phones_of(region) for region in regions}
    lifted = frozenset().union(*(words.lifted(word) for word in _several(context)))
    scans = scan_texts(texts, wanted, lifted, threshold, deadline)
    results = []
    for text in texts:
        scan = scans[text]
        if isinstance(scan, ScanError):
            by = f" ({scan.rule})" if scan.rule else ""
            raise SkipRecord(f"a text could not be scanned for personal data{by}: {scan.code}", code=scan.code)
        results.append([Finding(hit.entity, hit.start, hit.end, hit.score) for hit in scan])
    return results


def _texts(given: Iterable[str]) -> list[str]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"detect takes a list of texts, not {type(given).__name__}: detect([text])")
    texts = list(given)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"detect takes a list of texts; number {place} is {type(text).__name__}")
    return texts


def _several(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def warm(entities: Iterable[str] = DEFAULT) -> None:
    """Import and compile everything now, so that the first record does not wait. It starts no thread."""
    # The second number is none, so every region's numbering plan is asked for it, and thereby read.
    # The letters that are not ASCII make the tables of `view`.
    wanted = frozenset(entities)
    texts = ["warm@example.com 202-555-0143 99-99-9999", "4111 1111 1111 1111", "w\u00e4rm \uff14", "two words"]
    scan_texts(texts, wanted)
    if PHONE_NUMBER in wanted:
        from nectar.scrub.phones import numbering, phones

        numbering.learn(phones.REGIONS)
