"""Detection finds what presidio's own recognisers find, and what they leave out."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UsSsnRecognizer,
)

from nectar.errors import SkipRecord
from nectar.scrub import Finding, detect, recognisers
from nectar.scrub.find import engine, prefilter
from nectar.scrub.find.entities import DEFAULT
from nectar.scrub.find.findings import DOUBTED
from nectar.scrub.recognisers import recogniser
from tests.nectar.lines import every_line

DATA = Path(__file__).parents[1] / "data" / "pii"


def lines_of(file):
    return file.read_text(encoding="utf-8").splitlines()


TEXTS = [json.loads(line)["text"] for file in sorted(DATA.glob("*.jsonl")) for line in lines_of(file)]
DIRECT = {
    "EMAIL_ADDRESS": recognisers.OfflineEmailRecognizer,  # presidio's, without its look at the network
    "CREDIT_CARD": CreditCardRecognizer,
    "US_SSN": UsSsnRecognizer,
    "IBAN_CODE": IbanRecognizer,
    "IP_ADDRESS": IpRecognizer,
    "PHONE_NUMBER": PhoneRecognizer,
}


@pytest.fixture(autouse=True)
def empty_cache():
    engine.cache.clear()


@pytest.fixture
def without_hyperscan(monkeypatch):
    monkeypatch.setattr(prefilter, "hyperscan", None)
    prefilter.prefilter.cache_clear()
    yield
    prefilter.prefilter.cache_clear()


def found(text, entity, **given):
    (findings,) = detect([text], [entity], **given)
    return [text[finding.start : finding.end] for finding in findings]


@pytest.mark.parametrize("entity", DIRECT)
def test_every_span_of_presidios_recogniser_is_found_in_the_labelled_texts(entity):
    recogniser = DIRECT[entity]()
    spans = [{(r.start, r.end) for r in recogniser.analyze(text, [entity]) if r.score >= 0.35} for text in TEXTS]

    ours = [{(f.start, f.end) for f in findings} for findings in detect(TEXTS, [entity], DOUBTED)]

    missing = [(number, a - b) for number, (a, b) in enumerate(zip(spans, ours, strict=True)) if a - b]
    assert missing == []
    assert sum(map(len, spans)) > 0
    if entity == "EMAIL_ADDRESS":  # no weak patterns, so no context can add any, and none of ours
        assert spans == ours


def test_labelled_cards_outside_presidios_pattern_are_found():
    labelled = [json.loads(line) for line in lines_of(DATA / "presidio_research_synth_v2.jsonl")]
    cards = [
        (d["text"], s["start"], s["end"]) for d in labelled for s in d["spans"] if s["entity_type"] == "CREDIT_CARD"
    ]

    findings = detect([text for text, _, _ in cards], ["CREDIT_CARD"])

    found_cards = [
        any(f.start <= a and b <= f.end for f in each) for each, (_, a, b) in zip(findings, cards, strict=True)
    ]
    assert all(found_cards)


def test_without_hyperscan_the_findings_are_the_same(monkeypatch, request):
    texts = TEXTS[::3]
    with_it = detect(texts)

    request.getfixturevalue("without_hyperscan")
    engine.cache.clear()

    assert detect(texts) == with_it


ALPHABET = st.text(alphabet="0123456789 -./:()+x@#,\n\tabAB", max_size=60)


@settings(max_examples=150, deadline=None)
@given(ALPHABET)
def test_the_prefilter_misses_nothing_in_random_strings(text):
    engine.cache.clear()
    entities = frozenset(DEFAULT)
    fast = engine._scan([text], entities, frozenset(), 0.35)

    original = prefilter.look_up
    prefilter.look_up = every_line
    try:
        assert engine._scan([text], entities, frozenset(), 0.35) == fast
    finally:
        prefilter.look_up = original


@settings(max_examples=150, deadline=None)
@given(ALPHABET)
def test_phone_candidates_give_the_spans_of_the_whole_text(text):
    direct = {(r.start, r.end) for r in PhoneRecognizer().analyze(text, ["PHONE_NUMBER"])}

    assert {(f.start, f.end) for f in detect([text], ["PHONE_NUMBER"], threshold=0.35)[0]} == direct


@pytest.mark.parametrize(
    ("text", "entity", "spans"),
    [
        ("call 202-555-0143", "PHONE_NUMBER", ["202-555-0143"]),
        ("card 2221 0000 0000 0009.", "CREDIT_CARD", ["2221 0000 0000 0009"]),
        ("4000000000000000006", "CREDIT_CARD", ["4000000000000000006"]),
        ("3530111333300000", "CREDIT_CARD", ["3530111333300000"]),
        ("4111111111111112", "CREDIT_CARD", []),
        ("my ssn: 123456788", "US_SSN", ["123456788"]),
        ("order 123456788", "US_SSN", []),
        ("SSN\n123456788", "US_SSN", ["123456788"]),
        ("account number is 00123456", "ACCOUNT_NUMBER", ["00123456"]),
        ("my acct 1234 5678 9012", "ACCOUNT_NUMBER", ["1234 5678 9012"]),
        ("weight 00123456", "ACCOUNT_NUMBER", []),
        ("routing 021000021", "ABA_ROUTING_NUMBER", ["021000021"]),
        ("routing 021000022", "ABA_ROUTING_NUMBER", []),
        ("just 021000021", "ABA_ROUTING_NUMBER", []),
        ("see TXN-2024-00017 now", "TRANSACTION_ID", ["TXN-2024-00017"]),
        ("transaction 9f8e7d6c5b", "TRANSACTION_ID", ["9f8e7d6c5b"]),
        ("transaction on 2024-01-02", "TRANSACTION_ID", []),
        ("Überweisung DE89370400440532013000", "IBAN_CODE", ["DE89370400440532013000"]),
        ("from 10.0.0.1 and ::1", "IP_ADDRESS", ["10.0.0.1", "::1"]),
        ("see https://example.com/a", "URL", ["https://example.com/a"]),
        ("größe 😀 a@b.com", "EMAIL_ADDRESS", ["a@b.com"]),
        ("line one\nbob@example.com\nline three", "EMAIL_ADDRESS", ["bob@example.com"]),
    ],
)
def test_examples(text, entity, spans):
    assert found(text, entity) == spans


@pytest.mark.parametrize(
    ("name", "value", "entity", "hit"),
    [
        ("ssn", "123456788", "US_SSN", True),
        ("customer.ssnNumber", "123456788", "US_SSN", True),
        ("accountNumber", "12345678", "ACCOUNT_NUMBER", True),
        ("account.number", "12345678", "ACCOUNT_NUMBER", True),
        ("account.zip", "12345678", "ACCOUNT_NUMBER", False),
        ("account_balance", "12345678", "ACCOUNT_NUMBER", False),
        ("routing_no", "021000021", "ABA_ROUTING_NUMBER", True),
        ("transaction_id", "42", "TRANSACTION_ID", True),
        ("transaction_amount", "1234567", "TRANSACTION_ID", False),
        ("database", "021000021", "ABA_ROUTING_NUMBER", False),
    ],
)
def test_a_fields_name_makes_weak_patterns_believable(name, value, entity, hit):
    assert found(value, entity, context=[name]) == ([value] if hit else [])


def test_a_lower_threshold_shows_weak_findings():
    assert detect(["123456788"], ["US_SSN"], threshold=0.01) == [[Finding("US_SSN", 0, 9, 0.05)]]


def test_an_unknown_entity_is_refused():
    with pytest.raises(ValueError, match="PERSONALITY"):
        detect(["x"], ["PERSONALITY"])


def test_offsets_are_code_points():
    (finding,) = detect(["😀😀 bob@example.com"], ["EMAIL_ADDRESS"])[0]
    assert (finding.start, finding.end) == (3, 18)


def test_threads_share_one_database():
    texts = [f"mail user{i}@example.com or 202-555-01{i % 90 + 10}" for i in range(400)]
    expected = detect(texts)
    engine.cache.clear()
    results = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: detect(texts[n::4])})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[n] == expected[n::4] for n in range(4))


def test_a_pattern_that_takes_too_long_fails_the_text(monkeypatch):
    monkeypatch.setattr(recogniser, "SECONDS", 0.001)
    with pytest.raises(SkipRecord) as caught:
        detect(["a-" * 20_000 + "@b"], ["EMAIL_ADDRESS"])
    assert caught.value.code == "scan_timed_out"
    assert "EmailRecognizer" in str(caught.value)


def test_long_random_documents_agree_with_presidio_line_by_line():
    random.seed(7)
    lines = [
        " ".join(random.choices(["call", "202-555-0143", "+44 20 7946 0958", "x", "12.5", "4111111111111111"], k=9))
        for _ in range(60)
    ]
    document = "\n".join(lines)
    direct = {(r.start, r.end) for r in PhoneRecognizer().analyze(document, ["PHONE_NUMBER"])}
    (findings,) = detect([document], ["PHONE_NUMBER"])

    # What the text presents as a number may be longer than what presidio takes for one.
    assert [(a, b) for a, b in direct if not any(f.start <= a and b <= f.end for f in findings)] == []


def test_importing_the_package_and_field_rules_import_no_recogniser():
    code = (
        "import sys; from nectar.scrub import DataScrubber\n"
        "DataScrubber({'custom_rules': [{'field': 'a', 'action': 'remove'}]}).process({'a': 'b', 'c': 'd@e.com'})\n"
        "assert not {'presidio_analyzer', 'phonenumbers', 'spacy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_no_recogniser_opens_a_connection():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from nectar.scrub import detect\n"
        "assert detect(['bob@example.co.uk'], ['EMAIL_ADDRESS'])[0]"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_presidio_logs_nothing_of_a_text(caplog, capfd):
    with caplog.at_level("DEBUG"):
        detect(["GB12ÅÅÅÅ iban DE89370400440532013000 a@b.com"])
    assert "DE8937" not in caplog.text + "".join(capfd.readouterr())


def test_email_recogniser_is_presidios_own_but_offline():
    assert recognisers.OfflineEmailRecognizer().patterns[0].regex == EmailRecognizer.PATTERNS[0].regex
