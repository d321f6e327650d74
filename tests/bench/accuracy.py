"""How much of labelled personal data is found, and how much is found that is none? Ours beside presidio's own engine.

A label is found where findings of its kind cover all of it. A finding is wrong where no label of its kind overlaps it.
Kinds are those of the goal; what counts is what is acted on where nothing else is said, and of presidio its default
threshold. The texts are those under tests/data/pii (see the README there), and those of `scrub_labelled`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from report import Figure
from scrub_labelled import labelled

DATA = Path(__file__).parents[1] / "data" / "pii"
ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS")
THRESHOLD = 0.35
SEED = 20_261
Span = tuple[str, int, int]
"""Kind, start and end in code points."""


@dataclass
class Score:
    """Counts of labels found, labels missed and wrong findings, by kind."""

    found: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def recall(self, *kinds: str) -> float:
        found = sum(self.found[kind] for kind in kinds)
        return _share(found, found + sum(self.missed[kind] for kind in kinds))

    def precision(self, *kinds: str) -> float:
        """Found labels against wrong findings: several findings that cover one label count once."""
        found = sum(self.found[kind] for kind in kinds)
        return _share(found, found + sum(self.wrong[kind] for kind in kinds))

    def f2(self, *kinds: str) -> float:
        """F-beta with beta 2: recall counts four times as much as precision."""
        precision, recall = self.precision(*kinds), self.recall(*kinds)
        return _share(5 * precision * recall, 4 * precision + recall)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def measure(*, quick: bool) -> list[Figure]:
    figures = []
    for name_of, (texts, labels) in _sets(quick=quick).items():
        ours, theirs = score(labels, our_spans(texts)), score(labels, presidio_spans(texts))
        for kind in (*ENTITIES, "all six"):
            kinds = ENTITIES if kind == "all six" else (kind,)
            labelled = sum(ours.found[k] + ours.missed[k] for k in kinds)
            goal = len(kinds) > 1 and labelled >= 100
            name = f"{name_of}: {kind} ({labelled} labels)"
            figures += [
                Figure(
                    f"{name}, recall" + " (aim .98)" * goal, "", [ours.recall(*kinds)], at_least=0.95 if goal else None
                ),
                Figure(f"{name}, precision", "", [ours.precision(*kinds)], at_least=0.93 if goal else None),
                Figure(f"{name}, F2", "", [ours.f2(*kinds)]),
                Figure(f"{name}, presidio's recall", "", [theirs.recall(*kinds)]),
                Figure(f"{name}, presidio's precision", "", [theirs.precision(*kinds)]),
                Figure(f"{name}, presidio's F2", "", [theirs.f2(*kinds)]),
            ]
    return figures


def _sets(*, quick: bool) -> dict[str, tuple[list[str], list[list[Span]]]]:
    at_most = 300 if quick else None
    files = sorted(DATA.glob("*.jsonl"))
    found = {file.stem.removeprefix("presidio_research_"): read(file, at_most) for file in files}
    # presidio's default engine takes a minute for each thousand.
    return found | {"made, ten languages": labelled(at_most or 1_500, SEED)}


def read(file: Path, at_most: int | None = None) -> tuple[list[str], list[list[Span]]]:
    """Texts and their labels of the six kinds."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()][:at_most]
    labels = [
        [(s["entity_type"], s["start"], s["end"]) for s in d["spans"] if s["entity_type"] in ENTITIES] for d in lines
    ]
    return [d["text"] for d in lines], labels


def our_spans(texts: Sequence[str]) -> list[list[Span]]:
    from nectar.scrub import detect

    return [[(f.entity_type, f.start, f.end) for f in found] for found in detect(texts, ENTITIES)]


def presidio_spans(texts: Iterable[str]) -> list[list[Span]]:
    """What presidio's default engine finds, with the small English model and without the network."""
    from plain_presidio import engine as plain

    engine = plain()
    return [
        [
            (r.entity_type, r.start, r.end)
            for r in engine.analyze(t, "en", entities=list(ENTITIES), score_threshold=THRESHOLD)
        ]
        for t in texts
    ]


def score(labels: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> Score:
    total = Score()
    for wanted, spans in zip(labels, found, strict=True):
        for label in wanted:
            (total.found if _covered(label, spans) else total.missed)[label[0]] += 1
        for span in spans:
            if not any(_overlap(span, label) for label in wanted):
                total.wrong[span[0]] += 1
    return total


def missed_and_wrong(
    texts: Sequence[str], labels: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]
) -> Iterable[str]:
    """One line for each miss and each wrong finding, to read while developing: the data are made up."""
    for text, wanted, spans in zip(texts, labels, found, strict=True):
        for kind, start, end in wanted:
            if not _covered((kind, start, end), spans):
                yield f"missed {kind}: {text[max(0, start - 30) : start]}[{text[start:end]}]{text[end : end + 20]}"
        for span in spans:
            if not any(_overlap(span, label) for label in wanted):
                kind, start, end = span
                yield f"wrong {kind}: {text[max(0, start - 30) : start]}[{text[start:end]}]{text[end : end + 20]}"


def _covered(label: Span, spans: Sequence[Span]) -> bool:
    kind, start, end = label
    covered = {place for k, a, b in spans if k == kind for place in range(max(a, start), min(b, end))}
    return len(covered) == end - start


def _overlap(a: Span, b: Span) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def main() -> int:
    """Print what is missed and what is wrong, for each file."""
    for name, (texts, labels) in _sets(quick=False).items():
        for line in missed_and_wrong(texts, labels, our_spans(texts)):
            print(f"{name}: {line!r}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.exit(main())
