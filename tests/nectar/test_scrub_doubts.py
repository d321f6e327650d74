"""What presidio reports and is nearly always something else: it stays a finding, and is not acted on."""

from __future__ import annotations

import pytest

from nectar.scrub import DataScrubber, detect
from nectar.scrub.find.findings import DOUBTED, THRESHOLD
from tests.bench.scrub_labelled import labelled

ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS")


@pytest.fixture(autouse=True, scope="module")
def few():
    """Nothing here is about columns, so once is enough."""


def kinds(text, threshold=THRESHOLD):
    return sorted({finding.entity_type for finding in detect([text], ENTITIES, threshold)[0]})


@pytest.mark.parametrize(
    "text",
    [
        "05.03.2024 14:22 Uhr", "termin am 30.06.2024", "Meeting on 04.24.2023 at 04:26", "call me on 05.03.2024",
        "costs 3767.37 in all", "POINT(-122.4194155 37.7749295)", "val 0.8812 0.9123 0.7741",
        "12 34 56 78 90", "ZIP WA 16469", "16 48 rue Descartes", "Invoice INV-2024-000812",
        "https://x.example/orders/7745123099",
        "total 2125550147 bytes", "weighs 2125550147 kg", "$ 2125550147", "AB-2125550147", "100-2345678-9912345",
        "Your order number is 7745123099.", "Bestellung: 7745123099", "n° de commande 0612345678", "pedido 912345678",
        "isbn:0306406152", "AWB 020-12345675", "ins. no 5802603995", "refund id 3834701746", "customer no. 7745123099",
        '{"order_id": "7745123099"}', "user=7745123099", '{"created": 7745123099}', "bytes=494099222",
        "1725745668", "seen at 1725745668123 by him", "Klantnr 7570354842", "Employee no. 7570354842",
        "height 2949778862",
    ],
)  # fmt: skip
def test_numbers_that_are_no_telephone_number_are_doubted(text):
    assert kinds(text) == []
    assert set(kinds(text, DOUBTED)) <= {"PHONE_NUMBER"}


@pytest.mark.parametrize(
    "text",
    [
        "Jim 3125550199", "3125550199", "312-555-0199", "order 312-555-0199", "call 12 34 56 78 90", "Tel. 16469001",
        "order by phone 3125550199", "0171-4459920 ist meine Nummer", "+49 30 12345678 order", "06 12 34 56 78",
        '{"mobile": "3125550199"}', "from=3125550199", "Caller ID 3125550199", "contact no 3125550199",
        "a,3125550199,b", "ask for the parcel at 3125550199", "(312) 555-0199", '{"to": "3125550199"}',
        '{"kontakt": 3125550199}', "mobile 1725745668",
    ],
)  # fmt: skip
def test_numbers_that_may_be_dialled_are_not(text):
    assert kinds(text) == ["PHONE_NUMBER"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("from 192.168.44.12 port", "IP_ADDRESS"),
        ("netstat 10.1.2.3:22 203.0.113.9:51234", "IP_ADDRESS"),
        ("the applicant's number (078-31-4450)", "US_SSN"),
        ("Card on file: 4929-0374-2447-9782 exp", "CREDIT_CARD"),
        ("UnionPay 6221 4099 1692 0617", "CREDIT_CARD"),
        ("PL04 4057 0933 0884 2748 1312 9052", "IBAN_CODE"),
        ("IE45 AIBK 0328 6383 1511 82", "IBAN_CODE"),
    ],
)
def test_a_part_of_something_better_known_is_no_number_of_its_own(text, kind):
    assert set(kinds(text)) <= {kind}


@pytest.mark.parametrize(
    "text",
    [
        "version 3.2.1.4", "see clause 5.1.2.3", "OID 1.3.6.1.4.1.311.21.20", "upgrade from 2.10.1.4-beta",
        "10::20 slice",
        "upgraded libfoo from 7.29.12.21 to 8.1.1", "Abschnitt 3.2.1.4", "bump lib to 1.21.26.10", "fw 24.9.20.13",
        "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.60.71 Safari/537.36",
    ],
)  # fmt: skip
def test_outlines_and_versions_are_no_addresses(text):
    assert kinds(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1", "IP 10.1.2.3.443 > 10.0.0.2.5555", "upgraded host 10.0.0.5", "fe80::1", "GET /hosts/10.1.2.3",
        "peer=/10.1.2.3:80", "http://10.1.2.3/",
    ],
)  # fmt: skip
def test_addresses_are(text):
    assert kinds(text) == ["IP_ADDRESS"]


@pytest.mark.parametrize("text", ["JE-0661\t4027684228199", "Aktenzeichen 696975070199"])
def test_articles_and_short_numbers_with_a_cards_check_digit_are_no_cards(text):
    assert "CREDIT_CARD" not in kinds(text)
    assert kinds("card " + text.split()[-1]) == ["CREDIT_CARD"]


@pytest.mark.parametrize("card", ["503870215152", "676188888884", "2131 892563 28349", "213189256328349"])
def test_cards_of_few_digits_are_believed_where_their_issuers_range_says_so(card):
    assert kinds(f"it was {card} that failed") == ["CREDIT_CARD"]


def test_a_field_of_telephone_numbers_is_believed_and_a_profile_may_ask_for_all():
    number = "7745123099"
    profile = {"pii_detection": ["phone_numbers"], "default_action": "replace"}
    plain = DataScrubber({"profile": "own", "profiles": {"own": profile}})
    strict = DataScrubber({"profile": "own", "profiles": {"own": profile | {"threshold": DOUBTED}}})

    assert plain.process({"phone": f"order {number}"}) == {"phone": "order <PHONE_NUMBER>"}
    assert plain.process({"text": f"order {number}"}) == {"text": f"order {number}"}
    assert strict.process({"text": f"order {number}"}) == {"text": "order <PHONE_NUMBER>"}


def test_what_is_doubted_is_all_that_the_default_leaves_out():
    texts, _ = labelled(1_000, 5)
    every, acted = detect(texts, ENTITIES, DOUBTED), detect(texts, ENTITIES)

    for text, all_, some in zip(texts, every, acted, strict=True):
        assert set(some) <= set(all_), text
        assert {finding.score for finding in set(all_) - set(some)} <= {DOUBTED}, text
