"""What makes detection fast changes nothing in what it finds: every short cut is held against the long way."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberMatcher
from presidio_analyzer.predefined_recognizers import (
    AbaRoutingRecognizer,
    CreditCardRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UrlRecognizer,
    UsBankRecognizer,
    UsSsnRecognizer,
)

from nectar.keys import InMemoryKeys
from nectar.pipeline import refine
from nectar.scrub import DataScrubber, detect, recognisers
from nectar.scrub.find import context, engine, prefilter, spans
from nectar.scrub.find.entities import DEFAULT
from nectar.scrub.find.findings import DOUBTED, THRESHOLD, Hit, are_apart, without_contained
from nectar.scrub.find.helped import Helped
from nectar.scrub.find.spans import Piece, by_worth, pieces
from nectar.scrub.phones.numbering import verdict
from nectar.scrub.phones.phones import REGIONS, phone_hits
from nectar.scrub.recognisers import bank, cards, emails, recogniser, urls
from nectar.scrub.shapes import cells as cells_module

DATA = Path(__file__).parents[1] / "data" / "pii"
TEXTS = [
    json.loads(line)["text"]
    for file in sorted(DATA.glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
EVERYTHING = frozenset(DEFAULT)


@pytest.fixture(autouse=True)
def empty_cache():
    engine.cache.clear()


def scrubber(profile="gdpr_compliant"):
    return DataScrubber({"profile_id": profile}, InMemoryKeys())


# Context


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("ssn 123456788", ["123456788"]),
        ("ssn\n\n123456788", ["123456788"]),
        ("123456788 is the ssn", []),
        ("ssn red blue green white 123456788", ["123456788"]),
        ("ssn red blue green white black 123456788", []),
        ("ssn one which I do not have 123456788", ["123456788"]),
        ("ssn" + "." * 220 + "123456788", ["123456788"]),
        ("ssn" + "." * 260 + "123456788", []),
        ("123456788 " + "x" * 300 + " ssn: 234567899", ["234567899"]),
        ("größe\nSSN\n123456788 und 234567899", ["123456788", "234567899"]),
    ],
)
def test_a_context_word_lifts_what_stands_near_behind_it(text, spans):
    assert [text[f.start : f.end] for f in detect([text], ["US_SSN"])[0]] == spans


WORDY = st.lists(
    st.sampled_from(
        ["ssn", "account", "Bank:", "routing", "transaction", "iban", "the", "x" * 120, "\n", "123456788", "021000021",
         "12345678", "A1B2C3", "4111 1111 1111 1111", "202-555-0143", "ß"]
    ),
    max_size=25,
).map(" ".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(WORDY)
def test_words_out_of_reach_are_left_out_without_a_difference(text):
    fast = engine._scan([text], EVERYTHING, frozenset(), 0.35)

    original = context.may_help
    context.may_help = lambda *_given, **_options: True  # judge every weak candidate
    try:
        assert engine._scan([text], EVERYTHING, frozenset(), 0.35) == fast
    finally:
        context.may_help = original


# Lines


def test_ascii_lines_among_others_are_judged_as_before():
    rng = random.Random(5)
    texts = [
        "\n".join(rng.choices([*TEXTS[::7], "Überweisung DE89370400440532013000", "größe", ""], k=9)) for _ in "x" * 40
    ]
    fast = engine._scan(texts, EVERYTHING, frozenset(), 0.35)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefilter, "hyperscan", None)
        prefilter.prefilter.cache_clear()
        assert engine._scan(texts, EVERYTHING, frozenset(), 0.35) == fast
    prefilter.prefilter.cache_clear()
    assert any(fast)


@pytest.mark.parametrize("threshold", [DOUBTED, THRESHOLD])
def test_weak_stretches_that_no_word_may_help_are_left_out_and_no_others(monkeypatch, threshold):
    lifted = frozenset({"US_SSN"})
    who = prefilter.chosen(EVERYTHING)

    def hopeful(candidates):
        return {
            one
            for one in candidates
            if one[4] or who[one[3]].entity in lifted
            or engine._may_help(who[one[3]].entity, TEXTS[one[0]], one[1], one[2], threshold)
        }  # fmt: skip

    given = list(prefilter.look_up(TEXTS, EVERYTHING, threshold, lifted))
    monkeypatch.setattr(Helped, "may_help", lambda *_: True)
    every = list(prefilter.look_up(TEXTS, EVERYTHING, threshold, lifted))

    assert hopeful(given) == hopeful(every)
    assert len(given) < 0.8 * len(every)


# Recognisers


@pytest.mark.parametrize(
    "maker",
    [
        AbaRoutingRecognizer, CreditCardRecognizer, IpRecognizer, UrlRecognizer, UsBankRecognizer, UsSsnRecognizer,
        recognisers.OfflineEmailRecognizer, bank.AccountRecognizer, bank.TransactionRecognizer,
    ],
)  # fmt: skip
def test_patterns_give_spans_and_scores_of_presidios_own_loop(maker):
    asked = maker()
    (entity,) = asked.supported_entities
    direct = recogniser.wrapped(maker())
    lines = [line for text in TEXTS[::2] for line in text.split("\n")]

    for line in lines:
        theirs = sorted((r.start, r.end, r.score) for r in asked.analyze(line, [entity]))
        assert [(h.start, h.end, h.score) for h in direct.find(line)] == theirs


def test_names_of_hosts_are_those_of_presidios_pattern():
    rng = random.Random(5)
    asked = UrlRecognizer()
    suffixes = urls._SUFFIX.findall(asked.patterns[0].regex)
    parts = [
        *suffixes[:40], *suffixes[-40:], "www", "www1", "a", "santos", "x-y", ".", "..", "@", "_", "+", ",", ";", ":",
        "(", ">", " ", "\t", "COM", "Uk", "comx", "com.", "://", "/", '"', "\u212a", "\u0131n",
    ]  # fmt: skip
    recogniser.wrapped(asked)
    whole, ours = recogniser.direct(asked), urls.url()
    texts = [
        "".join(rng.choice(parts) + rng.choice(["", ".", ".", "@"]) for _ in range(rng.randint(1, 7)))
        for _ in range(4000)
    ]
    texts += ["a" * 249 + ".com", "a" * 260 + ".com", "x@" + "b." * 130 + "org"]

    assert [sorted(ours.find(text)) for text in texts] == [sorted(whole(text)) for text in texts]
    assert sum(len(whole(text)) for text in texts) > 1000


@pytest.mark.parametrize(
    ("address", "valid"),
    [
        ("bob@example.com", True),
        ("bob@example.nosuchsuffix", False),
        ("a/b@example.com", False),  # tldextract reads an address up to its first slash
        ("bob+x@example.co.uk", True),
        ("bob@co.uk", False),
    ],
)
def test_a_remembered_domain_answers_as_the_whole_address_does(address, valid):
    for _ in range(2):
        assert recognisers.OfflineEmailRecognizer().validate_result(address) is valid
        assert bool(emails._SUFFIXES(address).fqdn) is valid


# Phones


@pytest.mark.parametrize("region", REGIONS)
def test_a_certain_verdict_on_digits_is_the_librarys(region):
    rng = random.Random(region)
    starts = ["", "", "", "0", "00", "1", "011", "0800", "44", "49", "33", "91", "55", "972", "2025", "7", "16", "9"]
    given_ = ["".join([rng.choice(starts), *rng.choices("0123456789", k=rng.randrange(2, 13))]) for _ in range(4000)]
    verdicts = {digits: verdict(digits, region) for digits in given_}

    wrong = [
        (digits, said)
        for digits, said in verdicts.items()
        if said is not None and said != any(m.raw_string == digits for m in PhoneNumberMatcher(digits, region))
    ]

    assert wrong == []
    assert set(verdicts.values()) >= {True, False}


CANDIDATES = st.one_of(
    st.sampled_from(
        ["202-555-0143", "(202) 555-0143", "+1 202 555 0143", "020 7946 0958", "030 12345678", "98765 43210",
         "052-123-4567", "01 42 68 53 00", "2024-01-02 08:15", "12/03/2024", "123-45-6788", "4111111111111111"]
    ),
    st.lists(st.text("0123456789", min_size=1, max_size=8), min_size=1, max_size=4).flatmap(
        lambda blocks: st.sampled_from(["-", " ", ".", "", "/", " - "]).map(lambda joint: joint.join(blocks))
    ),
)  # fmt: skip
EDGES = st.sampled_from(["", " ", "a", "$", "%", "(", "[", "+", "é", ":", "_", ".", "-", "€", ":20", "=", ")", ", "])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(EDGES, CANDIDATES, EDGES), min_size=1, max_size=3))
def test_phones_at_a_glance_are_those_of_presidio(parts):
    text = " ".join("".join(part) for part in parts)
    direct = sorted((r.start, r.end) for r in PhoneRecognizer().analyze(text, ["PHONE_NUMBER"]))

    assert [(hit.start, hit.end) for hit in without_contained(phone_hits(text))] == direct


# Instants and typed columns

INSTANTS = [
    "2025-01-06",
    "2025-01-06 08:01:16.444721+00",
    "2025-01-06T08:01:16.444721Z",
    "2004-07-02 18:02:48.342468+00",
    "2037-09-13T10:48:05.885154",
    "2058-01-28 01:47:30.076703+05:30",
    "9999-12-31 23:59:59",
]


@pytest.mark.parametrize("text", INSTANTS)
def test_a_value_that_is_an_instant_holds_no_number(text):
    assert detect([text], [entity for entity in DEFAULT if entity != "DATE_TIME"]) == [[]]
    for profile in ("gdpr_compliant", "financial_data"):
        row = {"updated_at": text, "phone": text, "account_number": text}
        assert scrubber(profile).process(row) == row


def test_presidio_alone_would_take_the_fraction_of_a_second_for_a_phone():
    assert [h[1:3] for h in phone_hits("2004-07-02 18:02:48.342468+00")] == [(20, 26)]


@pytest.mark.parametrize(
    "text",
    ["at 2004-07-02 18:02:48.342468+00", "2004-13-02 18:02:48.342468+00", "2004-07-02 18:02:48.342468+00\n"],
)
def test_inside_a_text_presidios_judgement_stands(text):
    direct = {(r.start, r.end) for r in PhoneRecognizer().analyze(text, ["PHONE_NUMBER"])}

    assert {(f.start, f.end) for f in detect([text], ["PHONE_NUMBER"], 0.35)[0]} == direct


def test_temporal_columns_stay_and_integers_are_still_looked_at():
    at = dt.datetime(2004, 7, 2, 18, 2, 48, 342468, tzinfo=dt.UTC)
    table = pa.table(
        {
            "at": pa.array([at], pa.timestamp("us", "UTC")),
            "day": pa.array([at.date()]),
            "time": pa.array([at.time()]),
            "took": pa.array([dt.timedelta(seconds=2025550143)]),
            "both": pa.array([{"at": at.replace(tzinfo=None), "phone": "202-555-0143"}]),
            "card": pa.array([4111111111111111]),
            "phone": pa.array([2025550143]),
        }
    )

    clean = refine(table, scrubber(), document=False, value_limit=1 << 20)

    assert clean.failed == {}
    assert clean.table.select(["at", "day", "time", "took"]).equals(table.select(["at", "day", "time", "took"]))
    assert clean.table["both"].to_pylist() == [{"at": at.replace(tzinfo=None), "phone": None}]
    assert clean.table.select(["card", "phone"]).to_pylist() == [{"card": None, "phone": None}]


# Many findings


HITS = st.lists(
    st.builds(
        lambda entity, start, size, score, strength: Hit(entity, start, start + size, score, strength),
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, 30),
        st.integers(1, 9),
        st.sampled_from([0.1, 0.4, 1.0]),
        st.integers(0, 3),
    ),
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(HITS)
def test_contained_findings_go_as_if_each_were_compared_with_each(hits):
    kept = []
    for hit in sorted(set(hits), key=lambda h: (h.start, -h.end, -h.score, -h.strength, h.entity)):
        inside = [k for k in kept if k.entity == hit.entity and k.start <= hit.start and hit.end <= k.end]
        if not any(hit.score <= k.score for k in inside):
            kept.append(hit)

    assert without_contained(hits) == kept


@settings(max_examples=300, deadline=None)
@given(HITS)
def test_pieces_are_shared_out_character_by_character(hits):
    order = {"A": 0, "B": 1, "C": 2}
    owners = [None] * 50
    for hit in sorted(hits, key=lambda h: by_worth(h, order)):
        for place in range(hit.start, hit.end):
            owners[place] = owners[place] or hit

    shared = pieces(hits, order)

    written = np.full(50, None, dtype=object)
    for piece in shared:
        assert all(owner is None for owner in written[piece.start : piece.end])
        written[piece.start : piece.end] = [piece.hit] * (piece.end - piece.start)
        assert piece.whole == ((piece.start, piece.end) == (piece.hit.start, piece.hit.end))
    assert list(written) == owners
    assert shared == sorted(shared, key=lambda piece: piece.start)
    assert all(isinstance(piece, Piece) for piece in shared)


@pytest.mark.parametrize("joint", ["\n", "; "])
def test_every_finding_of_a_long_document_is_found(joint):
    values = [(f"user{i}@example.com", f"202-555-{i:04d}", f"{100 + i % 500}-12-{1000 + i}") for i in range(100, 1500)]
    document = joint.join(", ".join(row) for row in values)

    (findings,) = detect([document], ["EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN"])

    expected = [value for row in values for value in row]
    found = [document[f.start : f.end] for f in findings]
    assert sorted({*found}) == sorted(expected)


# Many texts at once


PARTS = [
    "paid with 4111 1111 1111 1111,", "bob@example.com", "user=jane@acme.com", "ssn 529-28-9858", "call 202-555-0143",
    "10.20.30.40", "https://x.org/a?mail=eve@example.net", "k-12", "Größe zoë@exämple.com", "a\nb@example.com", "",
    "k-77@acme.com", "DE89370400440532013000", "4532015112830366", "\ud800", "(202) 555-0143 x9", "plain words",
]  # fmt: skip
TREATMENTS = {
    "EMAIL_ADDRESS": "hash_with_salt",
    "CREDIT_CARD": "mask_partial",
    "US_SSN": "tokenize",
    "PHONE_NUMBER": "hash_with_salt",
    "IP_ADDRESS": "generalise:network",
    "URL": "replace",
    "IBAN_CODE": "remove",
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=5).map(" ".join), unique=True, max_size=12), st.booleans())
def test_texts_are_rewritten_together_as_one_by_one(texts, with_rule):
    rules = [{"pattern": r"k-\d+", "action": "hash_with_salt"}, {"pattern": r"bob@example\.com", "action": "keep"}]
    own = {"p": {"pii_detection": list(TREATMENTS), "actions": TREATMENTS}}
    config = {"profile": "p", "profiles": own, "custom_rules": rules if with_rule else []}
    cells = DataScrubber(config, InMemoryKeys())._cells

    together = cells.scanned("note", texts)

    assert together == {text: new for each in texts for text, new in cells.scanned("note", [each]).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells_module, "_AT_ONCE", 3)
        assert cells.scanned("note", texts) == together


@given(st.sets(st.integers(0, 50), max_size=12).map(sorted))
def test_hits_that_are_apart_are_pieces_as_they_are(ends):
    hits = [Hit("A", a, b, 1.0) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    assert are_apart(hits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "are_apart", lambda _: False)
        assert pieces(hits, {}) == [Piece(hit.start, hit.end, hit, whole=True) for hit in hits]


OVERLAPPING = st.builds(
    lambda kind, start, long, strength: Hit(kind, start, start + long, 0.5, strength),
    st.sampled_from("ABC"), st.integers(0, 12), st.integers(1, 9), st.integers(0, 4),
)  # fmt: skip


@given(st.lists(OVERLAPPING, max_size=7).map(lambda hits: sorted(hits, key=lambda hit: hit.start)))
def test_hits_within_stronger_ones_get_nothing_also_where_they_are_not_left_out(hits):
    order = {"A": 0, "B": 1, "C": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_not_within_stronger", lambda given: given)
        shared = pieces(hits, order)
    assert pieces(hits, order) == shared


HITS = st.builds(Hit, st.sampled_from("AB"), st.integers(0, 9), st.integers(10, 19), st.sampled_from([0.4, 1.0]))


@given(st.lists(HITS, max_size=6))
def test_hits_that_are_apart_are_settled_as_they_are(hits):
    moved = [hit._replace(start=hit.start + 20 * n, end=hit.end + 20 * n) for n, hit in enumerate(hits)]
    some = [*moved, *hits[:2]]
    assert engine._settled(list(some), 0.37) == tuple(without_contained(some))
    assert engine._settled(list(moved), 0.37) == tuple(without_contained(moved))


@given(st.from_regex(r"[0-9](?:[- ]?[0-9]){0,22}", fullmatch=True))
def test_the_check_digit_of_cards_is_presidios(text):
    assert cards.CardRecognizer().validate_result(text) == CreditCardRecognizer().validate_result(text)


@pytest.mark.parametrize("line", ["529-28-9858", "ssn 529289858, 529 28 9858", "52928-9858 x" * 20, "000-00-0000", ""])
def test_patterns_without_a_time_out_find_the_same(line, monkeypatch):
    quick = recogniser.wrapped(UsSsnRecognizer()).find(line)
    monkeypatch.setattr(recogniser, "_SHORT", -1)
    assert recogniser.wrapped(UsSsnRecognizer()).find(line) == quick


def test_only_what_is_repeated_without_an_end_has_a_time_out():
    assert all(recogniser._is_bounded(pattern.regex) for pattern in UsSsnRecognizer.PATTERNS)
    assert not any(map(recogniser._is_bounded, ["a+b", "a*", "(a{2,})b", "(?:a|b){1,3}+"]))


LOGGED = [
    "2026-08-25T23:11:04Z", "2026-08-25T23:11:04.120+02:00", "2026-08-25 23:11:04,120", "[2026-08-25 23:11:04.120]",
    "(2026-08-25)", "25.08.2026", "25/08/2026 ", "10.20.130.140:8080", "took 12.75 ms for 480 rows, 3 of 7 (x 12)",
]  # fmt: skip


@pytest.mark.parametrize("text", LOGGED)
def test_times_dates_and_addresses_of_machines_cost_no_recogniser_a_call(text):
    line = f"{text} worker 7 starts anew\n"
    looked_at = list(prefilter.look_up([line * 40], frozenset({"PHONE_NUMBER", "CREDIT_CARD", "US_SSN"}), 0.35))

    assert looked_at == []


@pytest.mark.parametrize("text", ["(516) 274-0970 ext 7", "+1 516 274 0970", "516-274-0970 x12", "+495161234567 T 12"])
def test_small_numbers_about_a_number_hide_nothing_of_it(text):
    line = f"12:04 7 of 9, 3.5 {text} 10:30, 5 "
    entities = frozenset({"PHONE_NUMBER"})

    assert found(line * 40, entities) == [
        hit for place in range(40) for hit in found(line, entities, place * len(line))
    ]


def found(text, entities, moved=0):
    return [(hit.entity, hit.start + moved, hit.end + moved) for hit in engine.scan_texts([text], entities)[text]]


def dated(rng):
    """What stands in logs and tables beside telephone numbers, with the marks that make a number of it or none."""
    year, month, day, hour = (
        f"{rng.choice((19, 20))}{rng.randrange(100):02}",
        *(f"{rng.randrange(40):02}" for _ in "mdh"),
    )
    mark, minute = rng.choice("-/. :"), f"{rng.randrange(100):02}"
    return rng.choice([
        f"{year}{mark}{month}{mark}{day}", f"{day}{mark}{month}{mark}{year}", f"{year}-{month}-{day} {hour}:{minute}",
        f"{year}/{month}/{day} {hour}:{minute[0]}", f"{year}-{month}-{day}T{hour}:{minute}", f"{hour}:{minute}:{day}",
        f"10.{month}.{day}.{minute}", f"{minute}.{day}", str(rng.randrange(10 ** rng.randint(1, 12))),
        "(516) 274-0970", "516-274-0970", "+49 30 123456", "078-05-1120", "x", "T", "ext.", "int", "#", "~", "+", "(",
        "[", "]", ")", "_", "\u00e9", "call", "phone:", "worker", "; ",
    ])  # fmt: skip


@pytest.mark.parametrize("lifted", [frozenset(), frozenset({"PHONE_NUMBER"})])
def test_numbers_among_dates_and_times_are_the_same_alone_and_among_others(monkeypatch, lifted):
    rng, marks = random.Random(20), ["", " ", "  ", ", ", "-", "(", "[", "+", "\n", "x", "T"]
    texts = [
        "".join(dated(rng) + rng.choice(marks) for _ in range(rng.randint(1, 6)))
        for _ in range(800)
    ]  # fmt: skip
    entities = frozenset({"PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "US_BANK_NUMBER"})

    def scans(few):
        monkeypatch.setattr(prefilter.few, "CHARACTERS", few)
        engine.cache.clear()
        return engine.scan_texts(texts, entities, lifted, 0.35)

    assert scans(10**9) == scans(-1)


@pytest.mark.parametrize(
    "text", ["2026-08-25\xa023:11", "2026\u201008\u201025 23:11", "\uff12026-08-25 23:11", "2026-08-25 23:\uff15\uff15"]
)
def test_times_in_other_characters_are_what_the_library_makes_of_them(text):
    line = f"at {text} it began; "
    [scan] = engine.scan_texts([line * 40], frozenset({"PHONE_NUMBER"}), threshold=0.35).values()
    theirs = {(match.start, match.end) for match in PhoneNumberMatcher(line, "US")}

    assert {(hit.start, hit.end) for hit in scan if hit.start < len(line)} == theirs
    assert theirs
