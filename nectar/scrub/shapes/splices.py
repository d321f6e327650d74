"""Texts with what was found in them rewritten, and what is told of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from nectar.keys import PseudonymKeys
from nectar.scrub.find.findings import RULE, Hit, ScanError
from nectar.scrub.find.spans import Piece
from nectar.scrub.shapes.domains import domains
from nectar.scrub.treat import actions
from nectar.scrub.treat.treatment import Action, Treatment


class Outcome(NamedTuple):
    """What stands in place of a value. `failed` is a reason: the value could not be scrubbed and must not pass."""

    value: str | None
    counts: tuple[tuple[str, str, int], ...] = ()
    """(field, kind, how many)"""
    failed: str | None = None


def spliced(
    path: str,
    parts: Mapping[str, Sequence[Piece]],
    treatments: Mapping[str, Treatment],
    keys: PseudonymKeys | None,
    regions: Sequence[str],
    *,
    is_key: bool = False,
) -> Iterator[tuple[str, Outcome]]:
    """Each text with its pieces rewritten. Those of one kind are rewritten together, which takes a fraction."""
    spans: dict[str, dict[str, str]] = {}
    for text, shared in parts.items():
        for start, end, hit, whole in shared:
            if whole and hit.strength != RULE:
                spans.setdefault(hit.entity, {})[text[start:end]] = ""
    for kind, alike in spans.items():
        treatment = treatments[kind]
        new = actions.apply_to_all(treatment, list(alike), kind=kind, label=f"<{kind}>", keys=keys)
        spans[kind] = dict(zip(alike, new, strict=True))

    for text, shared in parts.items():
        if len(shared) == 1:  # most texts that hold anything hold one
            start, end, hit, whole = shared[0]
            if whole and hit.strength != RULE:
                alone: str | None = text[:start] + spans[hit.entity][text[start:end]] + text[end:]
                if not alone or alone.isspace():
                    alone = label_of(hit) if is_key else None
                yield text, Outcome(alone, _counts(path, (hit.entity,)))
                continue
        written: list[str] = []
        kinds: list[str] = []
        at = 0
        try:
            for piece in shared:
                start, end, hit, whole = piece
                span, of_rule = text[start:end], hit.strength == RULE
                if whole and not of_rule:
                    new_one = spans[hit.entity][span]
                else:
                    new_one = _alone(span, piece, treatments, keys, regions)
                if whole:
                    kinds.append("rule" if of_rule else hit.entity)
                written += (text[at:start], new_one)
                at = end
        except ScanError as failure:
            yield text, Outcome(None, failed=failure.code)
            continue
        written.append(text[at:])
        result: str | None = "".join(written)
        if not result or result.isspace():
            result = label_of(shared[0].hit) if is_key else None
        yield text, Outcome(result, _counts(path, tuple(kinds)))


def _alone(
    span: str,
    piece: Piece,
    treatments: Mapping[str, Treatment],
    keys: PseudonymKeys | None,
    regions: Sequence[str],
) -> str:
    """What stands for a fragment, or for what a rule found."""
    hit, treatment = piece.hit, treatments[piece.hit.entity]
    if not piece.whole and (treatment.keyed or treatment.action is Action.GENERALISE):
        return label_of(hit)  # the pseudonym of a fragment would join with nobody
    kind = hit.entity
    if treatment.keyed and hit.strength == RULE:
        found = domains([span], "", hit.entity, regions)[span]
        if isinstance(found, ScanError):
            raise found
        kind = found
    return actions.apply(treatment, span, kind=kind, label=label_of(hit), keys=keys)


@lru_cache(maxsize=4096)
def _counts(path: str, kinds: tuple[str, ...]) -> tuple[tuple[str, str, int], ...]:
    """One object for all values in which the same was found, of which there are many."""
    return tuple((path, kind, count) for kind, count in Counter(kinds).items())


def label_of(hit: Hit) -> str:
    """What `replace` writes in its place."""
    return actions.REDACTED if hit.strength == RULE else f"<{hit.entity}>"
