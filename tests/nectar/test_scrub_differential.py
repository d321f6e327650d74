"""Everything that presidio's own recognisers find in a text is found, whatever was done to be faster."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer import RecognizerRegistry
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from nectar.scrub import detect
from nectar.scrub.find import digits, engine, prefilter, view
from nectar.scrub.find.entities import DEFAULT
from nectar.scrub.phones import numbering, phones
from nectar.scrub.phones.phones import REGIONS, phones_in
from nectar.scrub.recognisers import OfflineEmailRecognizer
from tests.nectar.lines import every_line

DATA = Path(__file__).parents[1] / "data" / "pii"
TEXTS = [
    json.loads(line)["text"]
    for file in sorted(DATA.glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
THRESHOLD = 0.35


@pytest.fixture(autouse=True)
def empty_cache():
    engine.cache.clear()


@cache
def presidios():
    """presidio's recognisers by pattern, as its English default has them: no model, no words of context."""
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    found = {}
    for recogniser in registry.recognizers:
        # presidio's own for addresses, without its look at the network.
        asked = OfflineEmailRecognizer() if type(recogniser).__name__ == "EmailRecognizer" else recogniser
        for entity in recogniser.supported_entities:
            if entity in DEFAULT and "Spacy" not in type(recogniser).__name__:
                found.setdefault(entity, []).append(asked)
    return found


ENTITIES = [entity for entity in DEFAULT if entity in presidios()]


def theirs(text, entity):
    results = [r for recogniser in presidios()[entity] for r in recogniser.analyze(text, [entity])]
    return {(r.start, r.end) for r in results if r.score >= THRESHOLD}


def missing(texts, entity):
    """What presidio finds and we do not cover, for each text in which there is any."""
    found = detect(texts, [entity], THRESHOLD)
    gone = []
    for text, findings in zip(texts, found, strict=True):
        ours = [(f.start, f.end) for f in findings]
        lost = [(a, b) for a, b in theirs(text, entity) if not any(x <= a and b <= y for x, y in ours)]
        if lost and not (engine._INSTANT.fullmatch(text) and entity != "DATE_TIME"):
            gone.append((text, lost))
    return gone


def test_the_entities_are_those_of_presidios_english_default():
    assert len(ENTITIES) >= 15
    assert {"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS", "URL"} <= set(ENTITIES)


@pytest.mark.parametrize("entity", ENTITIES)
def test_nothing_is_missed_in_the_labelled_texts(entity):
    assert missing(TEXTS, entity) == []


PIECES = st.one_of(
    st.sampled_from(
        [
            "bob@example.com", "a.b-c+d@sub.example.co.uk", "@", "x@y", "202-555-0143", "(202) 555-0143",
            "+1 202 555 0143",
            "+44 20 7946 0958", "030 123456", "06221 1234 ext 5", "x123", "#12", "ext. 77", "4111 1111 1111 1111",
            "4111111111111111", "378282246310005", "5555-5555-5555-4444", "536-90-4399", "536 90 4399", "53690-4399",
            "536904399",
            "DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "10.0.0.1", "192.168.1.20/24",
            "::1",
            "2001:db8::ff00:42:8329", "https://example.com/a?b=c", "www.example.org",
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
            "00:1A:2B:3C:4D:5E", "912-93-1234", "912931234", "AB1234567", "C1234567", "943 476 5919", "2024-01-02",
            "01/02/2024", "May 5, 2024", "B1234567890", "BB1388568", "12345678", "021000021", "äöü",
            "中文", "é", "😀", "x", "415-555-0132\u2013415-555-0139", "202\u2010555\u20100143",
            "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2015", "\u2212", "\u00a0", "\u2003", "\u202f",
            "\u3000", "\u2028", "\u200b", "\u00ad", "\uff0d", "\uff0f", "\uff08", "\uff09", "\uff5e",
            "-", ".", ",", "/", "(", "[", "+", "a", "_", "'", '"', "=", ":", "1", "12", "2024", "00", "0",
        ]
    ),
    st.text(alphabet="0123456789 -./:()+x@#,abAB_", max_size=12),
    st.text(alphabet="0123456789 -.@\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00a0\u2003\u3000", max_size=14),
    st.text(max_size=3),
)  # fmt: skip
RANDOM = st.lists(st.tuples(PIECES, st.sampled_from(["", " ", " ", "  ", "\n", "-", ", "])), max_size=12).map(
    lambda parts: "".join(piece + joint for piece, joint in parts)
)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(RANDOM, min_size=1, max_size=6))
@pytest.mark.parametrize("entity", ENTITIES)
def test_nothing_is_missed_in_random_strings(entity, texts):
    assert missing([line for text in texts for line in text.split("\n")], entity) == []


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(RANDOM, min_size=1, max_size=6))
def test_the_prefilter_names_every_stretch_in_which_something_is_found(texts):
    entities = frozenset(DEFAULT)
    fast = engine._scan(texts, entities, frozenset(), THRESHOLD)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefilter, "look_up", every_line)
        assert engine._scan(texts, entities, frozenset(), THRESHOLD) == fast


@pytest.mark.parametrize("entity", ["PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "EMAIL_ADDRESS"])
def test_a_stretch_gives_what_its_whole_line_gives(entity):
    rng = random.Random(entity)
    joints = [" ", ", ", "; ", "\t", " - ", "/", " ext ", " x", "\n"]
    texts = ["".join(t + rng.choice(joints) for t in rng.choices(TEXTS[::3], k=4)) for _ in range(120)]
    entities = frozenset([entity])
    fast = engine._scan(texts, entities, frozenset(), THRESHOLD)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefilter, "look_up", every_line)
        assert engine._scan(texts, entities, frozenset(), THRESHOLD) == fast


DIGITS = st.text("0123456789", min_size=1, max_size=9)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(DIGITS, st.sampled_from(["-", " ", ".", "/", " - ", ") ", "x", " ext ", "a", "_", ", ", "#"])))
)
def test_the_screen_lets_every_phone_through(parts):
    text = "".join(run + joint for run, joint in parts)
    hits = {(hit.start, hit.end) for hit in phones_in(text, 0, len(text))}
    found = prefilter.look_up([text], frozenset(["PHONE_NUMBER"]), THRESHOLD)

    stretches = [(start, end) for _, start, end, _, _ in found]

    assert all(any(start <= a < end for start, end in stretches) for a, _ in hits)
    direct = {(r.start, r.end) for r in PhoneRecognizer().analyze(text, ["PHONE_NUMBER"])}
    assert all(any(start <= a < end for start, end in stretches) for a, _ in direct)


@pytest.mark.parametrize("many", [1, 3000])
def test_no_digits_that_a_numbering_plan_may_take_are_screened_out(many):
    rng = random.Random(many)
    starts = ["", "", "0", "00", "1", "011", "44", "49", "091", "55", "972", "2025", "9", "014"]
    given_ = ["".join([rng.choice(starts), *rng.choices("0123456789", k=rng.randrange(3, 13))]) for _ in range(3000)]
    given_ = [digits_ for digits_ in given_ if len(digits_) >= 4]
    maybe = [any(numbering.verdict(each, region) is not False for region in REGIONS) for each in given_]
    screen = digits.phones(REGIONS)
    passed = []
    for at in range(0, len(given_), many):
        runs = digits.runs_in(prefilter.np.frombuffer(",".join(given_[at : at + many]).encode(), dtype="u1"))
        passed += screen(runs)[0].tolist()

    assert [each for each, may, let in zip(given_, maybe, passed, strict=True) if may and not let] == []
    if many > 1:
        assert sum(passed) < len(passed)


def test_phones_regions_are_the_ones_that_are_screened():
    assert phones.REGIONS == REGIONS


@pytest.mark.parametrize("dash", "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d")
def test_two_phones_with_a_wide_dash_between_them_are_two(dash):
    texts = [f"415-555-0132{dash}415-555-0139", f"(202) 555-0143{dash}202-555-0144"]

    assert missing(texts, "PHONE_NUMBER") == []
    divides = dash in "\u2012\u2013\u2014\u2015\uff0d"
    assert [len(found) for found in detect(texts, ["PHONE_NUMBER"])] == [2 * divides] * 2


# Text that reads otherwise than it is written

SECRETS = {
    "EMAIL_ADDRESS": "bob@example.com",
    "PHONE_NUMBER": "202-555-0143",
    "CREDIT_CARD": "4111-1111-1111-1111",
    "US_SSN": "536-90-4399",
    "IBAN_CODE": "DE89370400440532013000",
    "IP_ADDRESS": "192.168.17.20",
    "URL": "https://example.com/a",
    "MAC_ADDRESS": "00:1A:2B:3C:4D:5E",
    "CRYPTO": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
}
WIDE = {chr(point): chr(point + 0xFEE0) for point in range(0x21, 0x7F)}
HIDDEN = {
    "full width": lambda s: "".join(WIDE.get(c, c) for c in s),
    "zero-width space": "\u200b".join,
    "zero-width joiner": "\u200d".join,
    "zero-width non-joiner": lambda s: s[:3] + "\u200c" + s[3:],
    "word joiner": lambda s: s[:2] + "\u2060" + s[2:-2] + "\u2060" + s[-2:],
    "byte order mark": lambda s: s[:4] + "\ufeff" + s[4:],
    "soft hyphen": lambda s: s[:5] + "\u00ad" + s[5:],
    "variation selector": lambda s: s[:6] + "\ufe0f" + s[6:],
    "marks of direction": lambda s: "\u202d" + s[:3] + "\u200e" + s[3:] + "\u202c",
    "combining marks": "\u0335".join,
    "tags": lambda s: s[:3] + "\U000e0041" + s[3:],
    "mathematical digits": lambda s: "".join(chr(0x1D7CE + int(c)) if c.isdigit() else c for c in s),
    "Arabic-Indic digits": lambda s: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in s),
    "Devanagari digits": lambda s: "".join(chr(0x966 + int(c)) if c.isdigit() else c for c in s),
    "en dashes": lambda s: s.replace("-", "\u2013"),
    "non-breaking hyphens": lambda s: s.replace("-", "\u2011"),
    "minus signs": lambda s: s.replace("-", "\u2212"),
    "no-break spaces": lambda s: s.replace("-", "\u00a0"),
    "small at": lambda s: s.replace("@", "\ufe6b"),
    "ideographic full stop": lambda s: s.replace(".", "\u3002"),
}


@pytest.mark.parametrize("how", HIDDEN)
@pytest.mark.parametrize("entity", SECRETS)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("größe: ", " 中文"), ("see ", ".")])
def test_no_disguise_hides_personal_data(entity, how, before, after):
    plain = SECRETS[entity]
    if entity == "MAC_ADDRESS" and entity not in DEFAULT:
        pytest.skip("not looked for")
    hidden = HIDDEN[how](plain)
    if how == "no-break spaces" and entity == "MAC_ADDRESS":
        return
    text = before + hidden + after

    (findings,) = detect([text], [entity])

    spans = [text[f.start : f.end] for f in findings]
    wanted = hidden.strip("\u202d\u202c")
    assert any(wanted in span or (span in wanted and len(span) >= len(wanted) - 1) for span in spans), spans


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        alphabet="aB1 -@.äé\uff14\uff20\u200b\u00ad\u0301\ufb01½①\u2013\u3000😀\U0001d7d2\u0663中\ud800\x00\n",
        max_size=40,
    )
)
def test_a_view_knows_where_its_characters_come_from(text):
    found = view.plain(text)
    if found is None:
        assert text.isascii() or all(view._written(c) == c for c in text)
        return
    origins = [found.back(i, i + 1) for i in range(len(found.text))]

    assert found.text == "".join(map(view._written, text))
    assert [text[a:b] for a, b in origins] == [c for c in text for _ in view._written(c)]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_the_stand_in_has_a_character_for_each(text):
    assert len(view.as_ascii(text)) == len(text)


@pytest.mark.parametrize("text", ["Zürich kostet 12 Franken", "naïve café", "中文文字", "Привет, мир", "😀 fine"])
def test_ordinary_text_has_no_view(text):
    assert view.plain(text) is None


# Without hyperscan


def test_with_re2_instead_of_hyperscan_the_findings_are_the_same(monkeypatch):
    texts = [*TEXTS[::4], *map(HIDDEN["full width"], SECRETS.values()), "größe DE89370400440532013000"]
    with_it = detect(texts)
    engine.cache.clear()

    monkeypatch.setattr(prefilter, "hyperscan", None)
    prefilter.prefilter.cache_clear()
    try:
        assert prefilter.prefilter(frozenset(DEFAULT), THRESHOLD).patterns.database is None
        assert detect(texts) == with_it
    finally:
        prefilter.prefilter.cache_clear()
    assert any(with_it)
