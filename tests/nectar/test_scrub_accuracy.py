"""What share of labelled personal data is found, and in how many ways it may be written."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from nectar.scrub import detect
from nectar.scrub.recognisers.wider import IBAN_LENGTHS
from tests.bench.scrub_labelled import labelled

DATA = Path(__file__).parents[1] / "data" / "pii"
ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS")


@pytest.fixture(autouse=True, scope="module")
def few():
    """Nothing here is about columns, so once is enough."""


def covered(start, end, spans):
    return set(range(start, end)) <= {place for a, b in spans for place in range(a, b)}


def judged(texts, labels):
    """How many labels are found and missed, and how many findings are wrong, by kind."""
    found, missed, wrong = Counter(), Counter(), Counter()
    for wanted, findings in zip(labels, detect(texts, ENTITIES), strict=True):
        for kind in ENTITIES:
            places = [(start, end) for entity, start, end in wanted if entity == kind]
            spans = [(f.start, f.end) for f in findings if f.entity_type == kind]
            for start, end in places:
                (found if covered(start, end, spans) else missed)[kind] += 1
            wrong[kind] += sum(not any(a < end and start < b for start, end in places) for a, b in spans)
    return found, missed, wrong


def test_labelled_texts_are_found_and_little_else():
    lines = (DATA / "presidio_research_synth_v2.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    spans = [[(s["entity_type"], s["start"], s["end"]) for s in each["spans"]] for each in told]
    found, missed, wrong = judged([each["text"] for each in told], spans)

    assert found.total() / (found + missed).total() >= 0.98
    assert found.total() / (found + wrong).total() >= 0.97
    assert all(found[kind] / (found[kind] + missed[kind]) >= 0.95 for kind in ENTITIES)


def test_texts_of_ten_languages_full_of_what_only_looks_like_personal_data_are_judged_well():
    found, missed, wrong = judged(*labelled(2_000, 11))

    assert found.total() / (found + missed).total() >= 0.98
    assert found.total() / (found + wrong).total() >= 0.93
    assert all(found[kind] / (found[kind] + missed[kind]) >= 0.95 for kind in ENTITIES)


def luhn(body):
    doubled = [int(d) * (2 if n % 2 == 0 else 1) for n, d in enumerate(reversed(body))]
    return body + str(-sum(v - 9 if v > 9 else v for v in doubled) % 10)


def iban(pick, country):
    """With letters only where most registries allow them: at the front of the account."""
    size = IBAN_LENGTHS[country] - 4
    body = "".join(pick.choices("ABCDEFGH", k=4)) + "".join(pick.choices("0123456789", k=size - 4))
    check = 98 - int("".join(str(int(c, 36)) for c in f"{body}{country}00")) % 97
    return f"{country}{check:02}{body}"


def fours(text, separator):
    return separator.join(text[n : n + 4] for n in range(0, len(text), 4))


WRAPS = ("{}", "is {}.", "({})", "pay {}, thanks", '"{}"', "a {} b", "no={};")


def test_ibans_of_every_country_however_they_are_written():
    texts, sizes, wrong = [], [], []
    for country in IBAN_LENGTHS:
        code = iban(random.Random(country), country)
        forms = [fours(code, separator) for separator in (" ", "-", ".", "")]
        forms += [code.lower(), fours(code, " ").lower(), "IBAN" + code]
        texts += [wrap.format(form) for form in forms for wrap in WRAPS]
        sizes += [len(form.removeprefix("IBAN")) for form in forms for _ in WRAPS]
        wrong += [code[:-1] + str((int(code[-1]) + 1) % 10), code[:-1]]

    for text, size, findings in zip(texts, sizes, detect(texts, ["IBAN_CODE"]), strict=True):
        assert [f.end - f.start for f in findings] == [size], text
    assert not any(detect(wrong, ["IBAN_CODE"]))


STARTS = ("4", "51", "55", "2221", "2720", "6011", "65", "3530", "622126", "6304", "36", "305", "34", "37")


def test_cards_of_the_schemes_however_they_are_written():
    texts, sizes = [], []
    for start in STARTS:
        size = {"36": 14, "305": 14, "34": 15, "37": 15}.get(start, 16)
        card = luhn(start + "".join(random.Random(start).choices("0123456789", k=size - 1 - len(start))))
        forms = [fours(card, separator) for separator in ("", " ", "-", ".")]
        texts += [wrap.format(form) for form in forms for wrap in WRAPS]
        sizes += [size] * len(forms) * len(WRAPS)

    for text, size, findings in zip(texts, sizes, detect(texts, ["CREDIT_CARD"]), strict=True):
        assert [sum(map(str.isdigit, text[f.start : f.end])) for f in findings] == [size], text


@pytest.mark.parametrize(
    "address",
    [
        "bob@example.com", "bob+news@mail.example.co.uk", '"bob smith"@example.com', "bob@müller.de",
        "jürgen@example.de",
        "bob@xn--mller-kva.de", "BOB@EXAMPLE.COM", "bob@[192.168.2.1]", "bob@[IPv6:2001:db8::1]", "bob@server.local",
        "bob@mail.acme.example", "bob@test.invalid", "o'neil@example.com", "bob (at) example.com",
        "bob[at]example[dot]com",
        "bob%40example.com",
    ],
)  # fmt: skip
def test_addresses_however_they_are_written(address):
    for wrap in (*WRAPS, "<{}>", "mailto:{}", "see {}?", "{}, {}"):
        text = wrap.format(address, address)
        if address[0] == '"' and wrap == '"{}"':
            continue
        findings = detect([text], ["EMAIL_ADDRESS"])[0]
        start = text.index(address)
        assert covered(start, start + len(address), [(f.start, f.end) for f in findings]), text


@pytest.mark.parametrize(
    "text",
    [
        "bob@server",
        "bob@[not.an.address]",
        "meet at example.com",
        "50%40 off",
        "git@local",
        "a.local@b",
        "look at (at) this",
    ],
)
def test_what_only_looks_like_an_address_is_none(text):
    assert detect([text], ["EMAIL_ADDRESS"]) == [[]]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.1.2.3:8080", "10.1.2.3"), ("from 10.1.2.3/24", "10.1.2.3/24"), ("http://10.1.2.3/x", "10.1.2.3"),
        ("[2001:db8::1]:443", "2001:db8::1"), ("2001:DB8:0:0:8:800:200C:417A", "2001:DB8:0:0:8:800:200C:417A"),
        ("fe80::1%eth0", "fe80::1%eth0"), ("::ffff:10.1.2.3", "::ffff:10.1.2.3"), ("10.1.2.3-10.1.2.9", "10.1.2.9"),
        ("root@10.1.2.3", "10.1.2.3"),
    ],
)  # fmt: skip
def test_ip_addresses_with_what_stands_beside_them(text, address):
    start = text.index(address)
    findings = detect([text], ["IP_ADDRESS"])[0]
    assert covered(start, start + len(address), [(f.start, f.end) for f in findings])


@pytest.mark.parametrize(
    "text",
    [
        "457-55-5462",
        "457 55 5462",
        "457.55.5462",
        "SSN 457555462",
        "social security no. is 457555462",
        "SSN: 457-555462",
    ],
)
def test_social_security_numbers_however_they_are_written(text):
    assert len(detect([text], ["US_SSN"])[0]) == 1
