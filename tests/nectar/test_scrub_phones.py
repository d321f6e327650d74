"""Telephone numbers: the short cuts say what phonenumbers says, and what is presented as a number to dial is one."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import uuid
from itertools import pairwise

import phonenumbers
import pyarrow as pa
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberMatcher, PhoneNumberType
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from nectar.scrub import DataScrubber, detect
from nectar.scrub.find import doubts, engine
from nectar.scrub.find.entities import PHONE_NUMBER
from nectar.scrub.find.findings import DOUBTED, without_contained
from nectar.scrub.phones import many
from nectar.scrub.phones.numbering import verdict, verdict_abroad
from nectar.scrub.phones.phones import REGIONS, SCORE, e164, phone_hits, phones_in
from nectar.scrub.treat.pseudonyms import _message, _messages

EVERYWHERE = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = [
    PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE, PhoneNumberType.TOLL_FREE, PhoneNumberType.VOIP,
    PhoneNumberType.PREMIUM_RATE, PhoneNumberType.UAN,
]  # fmt: skip
FORMS = [PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164]


@pytest.fixture(autouse=True, scope="module")
def few():
    """Nothing here is about columns, so once is enough."""


@pytest.fixture(autouse=True)
def empty_cache():
    engine.cache.clear()


def found(text, **given):
    (findings,) = detect([text], ["PHONE_NUMBER"], **given)
    return [text[finding.start : finding.end] for finding in findings]


class Draw:
    """Numbers that are valid, nearly valid, or none, as they may be written."""

    def __init__(self, seed):
        self.pick = random.Random(seed)

    def digits(self, count):
        return "".join(self.pick.choices("0123456789", k=count))

    def national(self, region):
        """(digits, country code), with the last few digits at random."""
        kind = self.pick.choice(KINDS)
        number = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
        digits, changed = phonenumbers.national_significant_number(number), self.pick.randrange(4)
        return digits[: len(digits) - changed] + self.digits(changed), str(number.country_code)

    def prefixed(self, region):
        digits, code = self.national(region)
        return self.pick.choice([
            digits, code + digits, "0" + digits, "1" + digits, code + "0" + digits,
            self.digits(self.pick.randrange(3, 15)),
            self.pick.choice(["00", "011", "0", "9", "8"]) + code + self.pick.choice(["0", "", "1"]) + digits,
        ])  # fmt: skip

    def written(self):
        region = self.pick.choice(REGIONS if self.pick.random() < 0.6 else EVERYWHERE)
        text = phonenumbers.format_number(phonenumbers.example_number(region), self.pick.choice(FORMS))
        if self.pick.random() < 0.6:
            changed = self.pick.randrange(1, 7)
            text = text[:-changed] + "".join(self.digits(1) if c.isdigit() else c for c in text[-changed:])
        if self.pick.random() < 0.4:
            text = "".join(self.pick.choice([" ", "-", ".", "", "/", ") ", " ("]) if c in " -" else c for c in text)
        if self.pick.random() < 0.15:
            text = text.replace(" ", " (0)", 1)
        if self.pick.random() < 0.2:
            text += self.pick.choice(
                ["x", "ext ", " ext. ", " x", "#", ";ext=", " extension ", ",", "-"]
            ) + self.digits(3)
        return text

    def text(self):
        odd = [
            ":20",
            "/",
            "(",
            ")",
            "+",
            "$",
            "%",
            "x",
            "é",
            "Tel:",
            "12/11/2010",
            "(0)",
            "٣٤",
            "\uff15\uff15",
            "211-227 (2003)",
            "€",
        ]
        parts = [
            self.pick.choice(
                [self.written(), self.written(), self.digits(self.pick.randrange(1, 16)), self.pick.choice(odd)]
            )
            for _ in range(self.pick.randrange(1, 4))
        ]
        return self.pick.choice(["", " ", " "]).join(parts)

    def noise(self):
        return "".join(self.pick.choices("0123456789 -./()+x#,;~[]٣\uff15é:", k=self.pick.randrange(5, 50)))


def test_verdicts_are_the_librarys_in_every_region():
    draw, settled = Draw(1), 0
    for _ in range(2_000):
        region = draw.pick.choice(REGIONS if draw.pick.random() < 0.6 else EVERYWHERE)
        for text, answer in ((t := draw.prefixed(region), verdict(t, region)), ("+" + t, verdict_abroad(t))):
            settled += answer is not None
            said = PhoneNumberMatcher(text, region)._parse_and_verify(text, 0) is not None
            assert answer in {None, said}, (text, region)
    assert settled > 3_000


def test_the_written_form_is_the_librarys():
    draw, valid = Draw(5), 0
    for _ in range(1_500):
        region = draw.pick.choice(EVERYWHERE)
        text = draw.pick.choice([draw.written(), "+" + draw.prefixed(region)])
        said = None
        for each in REGIONS:
            try:
                number = phonenumbers.parse(text, each)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number):
                said = phonenumbers.format_number(number, PhoneNumberFormat.E164)
                break
        valid += said is not None
        assert e164(text) == said, text
    assert valid > 400


@pytest.mark.parametrize("make", [Draw.text, Draw.noise])
def test_spans_are_those_of_presidios_recogniser(make):
    draw, recogniser = Draw(2), PhoneRecognizer()
    for text in (make(draw) for _ in range(700)):
        spans = {(r.start, r.end) for r in recogniser.analyze(text, ["PHONE_NUMBER"])}
        assert {(h.start, h.end) for h in without_contained(phone_hits(text))} == spans, text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Phone: 78 651 450", "78 651 450"),
        ("Phone:\n60-56-85-91\n", "60-56-85-91"),
        ("Can someone call me on 21 212 133 2727?", "21 212 133 2727"),
        ("they are not answering at 374 780 163", "374 780 163"),
        ("(37) 788-063 -Office", "(37) 788-063"),
        ("467 3395 fax\nBerlin", "467 3395"),
        ("Mobil: 0999/123 456", "0999/123 456"),
        ("tel. no. 99668472.", "99668472"),
        ("my number is 467 3395", "467 3395"),
        ("M: 079 999 99 99", "079 999 99 99"),
        ("write to +1-903-140-4508x769, please", "+1-903-140-4508x769"),
        ("+41 (0)96 471 07 95", "+41 (0)96 471 07 95"),
        ("(+44) 7700 921 916", "(+44) 7700 921 916"),
        ("001-420-335-7509", "001-420-335-7509"),
        ("(555) 123-4567", "(555) 123-4567"),
        ("Jane Roe, 555-123-4567 x89, Berlin", "555-123-4567 x89"),
        ("1-555-123-4567", "1-555-123-4567"),
        ("555.123.4567", "555.123.4567"),
        ("Jane Roe 07700 900 123", "07700 900 123"),
        ("(0161) 496 0000", "(0161) 496 0000"),
        ("contact 555-0123", "555-0123"),
        ("0041 96 471 07 95", "0041 96 471 07 95"),
    ],
)
def test_what_is_presented_as_a_number_to_dial_is_found(text, number):
    assert number in found(text)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("policy number is 2025550143", DOUBTED),
        ("account number 2025550143", DOUBTED),
        ("my number is 2025550143", 0.75),
        ("account phone number: 2025550143", 0.75),
        ("call about order number 5: 2025550143", 0.75),
    ],
)
def test_a_word_that_says_which_number_it_is_takes_the_lift_of_number_alone(text, score):
    ((finding,),) = detect([text], ["PHONE_NUMBER"], DOUBTED)

    assert finding.score == score


def test_an_account_number_is_one_and_no_phone():
    own = {"pii_detection": ["PHONE_NUMBER", "ACCOUNT_NUMBER"], "default_action": "replace"}
    scrubber = DataScrubber({"profile": "mine", "profiles": {"mine": own}})

    assert scrubber.process("account number 021000021") == "account number <ACCOUNT_NUMBER>"


@pytest.mark.parametrize(
    "text",
    [
        "order 555-123-4567", "555-123-456", "5555-123-4567", "id_555-123-4567", "555 123 4567", "order 1234-5678",
        "called about order 9999-1234", "call at 12:30 on 12.11.2019", "message of 12 11 2019",
        "phone 1.2345678", "phones sold: 12", "call 1234 56789012 3456", "number 99668472", "order number: 99 668 472",
        "called from 10.20.30.40", "invoice 99 668 472 by phone", "x+4196471079", "+49", "+1.234567890",
        "+0 123 456 789",
        "0012345678901", "99 668 472", "phone $99 668 472", "fax id_99 668 472",
    ],
)  # fmt: skip
def test_what_is_not_presented_is_left_to_presidios_judgement(text):
    assert all(finding.score >= SCORE for finding in detect([text], ["PHONE_NUMBER"])[0])


def test_a_field_of_phone_numbers_holds_phone_numbers():
    assert found("99 668 472") == found("99 668 472", context=["order_number"]) == []
    assert found("99 668 472", context=["mobile_phone"]) == ["99 668 472"]
    assert found("2019-11-12", context=["mobile_phone"]) == []


def test_numbers_of_more_regions_are_found_when_asked_for():
    assert found("22 12 34 56 or 2212 3456") == []
    assert found("22 12 34 56 or 2212 3456", regions=["NO"]) == ["22 12 34 56", "2212 3456"]
    definition = {"pii_detection": ["phone_numbers"], "actions": {"phone_numbers": "replace"}, "regions": ["NO"]}
    scrubber = DataScrubber({"profile_id": "own", "profiles": {"own": definition}})
    assert scrubber.process({"a": "or 22 12 34 56"}) == {"a": "or <PHONE_NUMBER>"}
    assert scrubber.process(pa.table({"a": ["22 12 34 56"] * 40}))["a"].to_pylist() == ["<PHONE_NUMBER>"] * 40


def negatives(draw):
    """What data is full of and nobody dials, by kind."""
    moment = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=draw.pick.randrange(10**8))
    n, pick = draw.digits, draw.pick.choice
    return {
        "order": pick(["ORD-%s", "order %s", "Order no. %s", "order #%s", "order number %s", "PO %s"])
        % pick([n(8), f"{n(4)}-{n(4)}", f"{n(3)}-{n(7)}-{n(7)}", n(10)]),
        "price": pick(["%s EUR", "$%s", "USD %s", "%s", "total: %s"])
        % pick([f"{n(6)}.{n(2)}", f"{n(2)} {n(3)} {n(3)}", f"{n(2)},{n(3)}.{n(2)}", f"+{n(5)}.{n(2)}"]),
        "date": moment.strftime(pick([
            "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%Y/%m/%d %H:%M", "call on %d.%m.%Y", "called %Y-%m-%d %H:%M",
            "message of %d %m %Y",
        ])),
        "version": f"{pick(['v', 'version ', 'Chrome/', ''])}{n(2)}.{n(2)}.{n(4)}{pick(['', '.' + n(3), '-' + n(2)])}",
        "uuid": str(uuid.UUID(int=draw.pick.getrandbits(128))),
        "hash": hashlib.sha256(n(9).encode()).hexdigest(),
        "instant": pick([str(int(moment.timestamp())), str(int(moment.timestamp() * 1000)), moment.isoformat()]),
        "isbn": pick(["ISBN %s", "%s"])
        % pick([f"978-{n(1)}-{n(4)}-{n(4)}-{n(1)}", f"978{n(10)}", f"{n(1)}-{n(3)}-{n(5)}-{n(1)}"]),
        "place": f"{draw.pick.uniform(-90, 90):.6f}{pick([', ', ' ', '/'])}{draw.pick.uniform(-180, 180):.6f}",
        "address": pick([n(5), f"{n(5)}-{n(4)}", f"{n(4)} Main Street", f"{n(4)} {n(2)} Main Street"]),
        "id": pick([n(7), n(9), n(11), n(14), f"{n(6)} {n(6)}", f"{n(3)} {n(3)} {n(3)}", f"id {n(9)}", f"case {n(8)}"]),
        "measure": pick([f"{n(3)} {n(3)} km", f"+{n(2)} {n(3)} points", f"{n(4)} - {n(4)}", f"{n(1)}x{n(3)}x{n(3)}"]),
        "called": f"called about {pick(['order', 'invoice', 'ticket', 'parcel'])} {pick([n(8), n(4) + '-' + n(4)])}",
        "sentence": f"{n(2)} messages in 2019-2021, {n(3)} {n(3)} visits, {n(1)} calls at {n(2)}:{n(2)}",
    }  # fmt: skip


def test_numbers_that_nobody_dials_are_found_no_more_often_than_by_presidio():
    draw, recogniser = Draw(3), PhoneRecognizer()
    tables = [negatives(draw) for _ in range(150)]
    for kind in tables[0]:
        texts = [table[kind] for table in tables]
        theirs = [{(r.start, r.end) for r in recogniser.analyze(text, ["PHONE_NUMBER"])} for text in texts]
        ours = [{(f.start, f.end) for f in found} for found in detect(texts, ["PHONE_NUMBER"], DOUBTED)]
        if kind == "instant":  # a value that is one as a whole holds no number
            assert all(a <= b for a, b in zip(ours, theirs, strict=True))
        else:
            assert ours == theirs, kind


def test_the_search_through_many_texts_misses_nothing_that_a_look_at_each_line_finds():
    draw = Draw(4)
    words = ["call", "Phone:", "my number is", "fax", "- office", "order", "x", "1", "(", "+", "id_", "Desk: ", "."]
    formed = [
        "555-123-4567",
        "(555) 123-4567",
        "07700 900 123",
        "12 345 678",
        "9999 1234",
        "99668472",
        "+41 (0)96 471 07 95",
    ]
    texts = []
    for _ in range(1_500):
        parts = [
            draw.pick.choice([*words, *formed, draw.written(), draw.digits(5)])
            for _ in range(draw.pick.randrange(1, 5))
        ]
        texts.append(draw.pick.choice([" ", " ", "\n", ""]).join(parts))

    for text, findings in zip(texts, detect(texts, ["PHONE_NUMBER"], DOUBTED), strict=True):
        starts = [0, *(n + 1 for n, character in enumerate(text) if character == "\n"), len(text) + 1]
        lines = [(a, b - 1) for a, b in pairwise(starts)]
        hits = [hit._replace(start=hit.start + a, end=hit.end + a) for a, b in lines for hit in phones_in(text, a, b)]
        hits = [doubts.weighed(engine._lift(hit, text, frozenset()), text) for hit in hits]
        assert [(f.start, f.end) for f in findings] == [(h.start, h.end) for h in without_contained(hits)], text


def test_many_numbers_at_once_have_the_form_that_each_has_alone():
    rng = random.Random(8)
    regions = ("US", "CA", "JM", "GB", "DE", "FR", "IT", "PT", "BR", "IN", "JP", "AU", "CH", "AR", "MX")
    given = []
    for region in regions:
        code = phonenumbers.country_code_for_region(region)
        example = str(phonenumbers.example_number(region).national_number)
        for _ in range(many.FEWEST * 2):
            kept = rng.randrange(1, len(example))
            national = example[:kept] + "".join(rng.choices("0123456789", k=len(example) - kept))
            given += [
                f"+{code} {rng.choice(['', '', '0', '(0)', '8'])}{national}",
                f"+{code}-{national[:3]} {national[3:]}",
            ]
            given += [national, f"0{national}", f"({national[:3]}) {national[3:6]}-{national[6:]}", f"{national} x12"]
    given += ["(212) 555-0143", "\u00a0+1 212 555 0143", "+", "", "+999 1234567", "+800 1234 5678", "\ud800"]
    rng.shuffle(given)

    assert _messages(given, PHONE_NUMBER) == [_message(text, PHONE_NUMBER) for text in given]
    plain = [text for text in given if text != "\ud800"]
    settled = many.written_alike(plain)
    assert sum(form is not None for form in settled) > len(given) / 5
    assert _messages(plain, PHONE_NUMBER) == [_message(text, PHONE_NUMBER) for text in plain]
