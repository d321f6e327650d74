"""Plain findings in free text are told by tests over the column, and are what a scan of each text finds."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber
from nectar.scrub.find import entities as e
from nectar.scrub.find.context import WORDS
from nectar.scrub.shapes import cells, prose
from nectar.scrub.shapes.kinds import Question

ORDER = (e.EMAIL_ADDRESS, e.PHONE_NUMBER, e.CREDIT_CARD, e.US_SSN)
ASKED = Question(ORDER, frozenset(), 0.37)
KEYS = InMemoryKeys()
FILLING = [f"nothing is said here, {'and again ' * n}" for n in range(100)]
"""So many that a column is worth the tests."""

WORDED = [
    *(word for words in WORDS.values() for word in words),
    "order", "no", "number", "x", "ext", "Ext", "int", "anexo", "Tel:", "Phone:", "at", "on", "to", "is", "my", "hours",
    "bytes", "EUR", "kg", "version", "and", "a", "I", "e", "O",
    "call me at", "order no.", "SSN:", "- office", "member of", "reach him on", "'tis", '"quoted"', "well-known", "?!",
]  # fmt: skip
NAMES = ("bob", "a.b", "j_doe", "x-y", "n1", "55", "2025550143", "t", "0kofi.d6", "123-45-6789", "4111111111111111")
DOMAINS = ("example.com", "test.net", "x.de", "a-b.co.uk", "no.invalidtld", "55.com", "net.net", "sub.1x.org", "aaa")
KNOWN = ("202-555-0143", "078-05-1120", "219-09-9999", "4111111111111111", "5555-5555-5555-4444", "1-202-555-0143")


def told(*texts: str) -> dict[str, list[tuple[str, str]]]:
    """Of those of the texts that are told, what is found in them."""
    found = prose.findings(pa.array([*texts, *FILLING], pa.large_string()), ASKED)
    assert found is not None
    of = {n: texts[at] for n, at in enumerate(found.at.tolist()) if at < len(texts) and found.told[n]}
    spans = dict.fromkeys(of.values(), ())
    for span, owner, kind in zip(found.pieces[1::2], found.owners.tolist(), found.kinds.tolist(), strict=True):
        if owner in of:
            spans[of[owner]] += ((ORDER[kind], span),)
    return {text: list(held) for text, held in spans.items()}


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Asked to be called at 202-555-0143 before noon.", [(e.PHONE_NUMBER, "202-555-0143")]),
        ("219-09-9999", [(e.US_SSN, "219-09-9999")]),
        (
            "Paid with 4111111111111111, wants it at ann.b@example.com. (5)",
            [(e.CREDIT_CARD, "4111111111111111"), (e.EMAIL_ADDRESS, "ann.b@example.com")],
        ),
        (
            "Sent: j_doe@example.org, 212-555-0199 for 12 friends",
            [(e.EMAIL_ADDRESS, "j_doe@example.org"), (e.PHONE_NUMBER, "212-555-0199")],
        ),
        ("It's a loyal customer, since 12 friends!", []),
    ],
)
def test_what_is_plain_is_told(text, held):
    assert told(text) == {text: held}


@pytest.mark.parametrize(
    "text",
    [
        "call +1 202-555-0143",  # a sign before it
        "call (202-555-0143",
        "call 202-555-0143 x12",  # an extension
        "call 202-555-0143, ext. 12",
        "call 202-555-0143 5551234567",  # digits beside it
        "took 202-555-0143 minutes",  # a unit
        "order 0842496871489872 came",  # a number by a plan of some country, in another form
        "the ssn of 202-555-0143",  # a word that speaks for a weak form of another kind
        "999-99-9999 was never given out",
        "written by bob@example.invalidtld",
        "on 2024-01-02 she came",
        "call\n202-555-0143",
        "caf\u00e9 202-555-0143",
        "user=bob@example.com",
        "bob+x@example.com",
        "see 202-555-0143!",
        "for bob@example.com/path",
        "word " * 60 + "202-555-0143",
    ],
)
def test_what_is_not_plain_is_left_to_the_scan(text):
    assert told(text) == {}


def test_other_kinds_are_left_to_the_scan():
    assert prose.findings(pa.array(FILLING), Question((*ORDER, e.IP_ADDRESS), frozenset(), 0.37)) is None


@pytest.mark.parametrize(
    "asked",
    [
        Question(ORDER, frozenset({e.US_SSN}), 0.37),
        Question(ORDER, frozenset(), 0.37, more_regions=True),
        Question(ORDER, frozenset(), 0.35),
        Question(ORDER, frozenset(), 0.5),
    ],
)
def test_so_are_fields_whose_name_speaks_other_regions_and_other_thresholds(asked):
    assert prose.findings(pa.array(FILLING), asked) is None


def test_columns_with_little_of_that_kind_and_short_ones_are_not_tried():
    assert prose.findings(pa.array([f"{n}/{n}" for n in range(1000)]), ASKED) is None
    assert prose.findings(pa.array(FILLING[:10]), ASKED) is None


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices("0123456789", k=count))


def number(chance: random.Random) -> str:
    area = chance.choice(["202", "212", "800", "911", "123", "033", digits(chance, 3)])
    return chance.choice(
        [
            f"{chance.choice(NAMES)}@{chance.choice(DOMAINS)}", f"{area}-{digits(chance, 3)}-{digits(chance, 4)}",
            f"{digits(chance, 3)}-{digits(chance, 2)}-{digits(chance, 4)}", digits(chance, 16),
            f"({digits(chance, chance.randint(1, 3))})", digits(chance, chance.randint(1, 3)), chance.choice(KNOWN),
        ]
    )  # fmt: skip


def sentence(chance: random.Random) -> str:
    parts = []
    for _ in range(chance.randint(1, 6)):
        few = chance.randint(1, 3)
        part = number(chance) if chance.random() < 0.45 else " ".join(chance.choices(WORDED, k=few))
        parts.append(part + chance.choice(["", "", "", "", ".", ",", ";", ":", "!"]))
    return chance.choice([" ", " ", "  "]).join(parts)


@pytest.mark.parametrize("seed", range(12))
def test_a_column_comes_out_as_if_each_text_were_scanned(seed, monkeypatch):
    chance = random.Random(seed)
    some = chance.sample(ORDER, chance.randint(1, 4))
    actions = {kind: chance.choice(["replace", "remove", "mask_partial", "hash_with_salt"]) for kind in some}
    profile = {"profile": "own", "profiles": {"own": {"pii_detection": some, "actions": actions}}}
    field = chance.choice(["notes", "comment", "ssn", "phone_note", "number"])
    table = pa.table({field: [*(sentence(chance) for _ in range(3000)), None, *FILLING]})
    scrubber = DataScrubber(profile if seed % 3 else {"profile_id": "gdpr_compliant"}, KEYS)

    together = scrubber.scrub(table)
    monkeypatch.setattr(cells, "findings", lambda _texts, _question: None)
    each = scrubber.scrub(table)

    assert together.table.equals(each.table)
    assert together.removed.equals(each.removed)
    assert together.failed == each.failed


def test_a_text_of_which_nothing_is_left_becomes_null():
    profile = {"profile": "own", "profiles": {"own": {"pii_detection": ["US_SSN"], "default_action": "remove"}}}
    table = pa.table({"notes": [" 219-09-9999", *FILLING, "it is 219-09-9999."]})

    scrubbed = DataScrubber(profile, KEYS).scrub(table)

    assert scrubbed.table["notes"][0].as_py() is None
    assert scrubbed.table["notes"][-1].as_py() == "it is ."
    assert scrubbed.removed.to_pylist() == [
        {"row": row, "field": "notes", "kind": e.US_SSN, "count": 1} for row in (0, len(FILLING) + 1)
    ]
