"""Every kind of personal data: what has its form is found, what nearly has it is not, and presidio finds no more."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer import PatternRecognizer, RecognizerRegistry, predefined_recognizers

from nectar.scrub import detect
from nectar.scrub.find import context, engine, prefilter
from nectar.scrub.find import entities as e
from nectar.scrub.find.findings import DOUBTED
from nectar.scrub.find.locales import KINDS, LOCALES, entities_of_locale
from nectar.scrub.recognisers import recognisers
from tests.nectar.lines import every_line

DATA = Path(__file__).parents[1] / "data" / "pii"
TEXTS = [
    json.loads(line)["text"]
    for file in sorted(DATA.glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
PATTERNED = tuple(entity for entity in e.ALL if entity not in e.MODELLED)


def found(text, entity, **given):
    (findings,) = detect([text], [entity], **given)
    return [text[finding.start : finding.end] for finding in findings]


# entity, a text in which it stands, what stands there, a text in which it nearly stands
DEFAULT = [
    ("EMAIL_ADDRESS", "ask bob@example.com", "bob@example.com", "ask bob@example.nowhere"),
    ("PHONE_NUMBER", "call 202-555-0143", "202-555-0143", "lot 202-555"),
    ("CREDIT_CARD", "4111 1111 1111 1111", "4111 1111 1111 1111", "4111 1111 1111 1112"),
    ("CREDIT_CARD", "paid with 2223.0031.2200.3222", "2223.0031.2200.3222", "paid with 2223.0031.2200.3223"),
    ("CREDIT_CARD", "6243030000000001", "6243030000000001", "6243030000000002"),
    ("CREDIT_CARD", "622126 0000000000001", "622126 0000000000001", "622126 0000000000002"),
    ("CREDIT_CARD", "6011 0009 9013 9424", "6011 0009 9013 9424", "6011 0009 9013 9425"),
    ("CREDIT_CARD", "3056 930902 5904", "3056 930902 5904", "3056 930902 5905"),
    ("CREDIT_CARD", "3782 822463 10005", "3782 822463 10005", "3782 822463 10006"),
    ("CREDIT_CARD", "6759649826438453", "6759649826438453", "6759649826438454"),
    ("US_SSN", "536-90-4399", "536-90-4399", "000-90-4399"),
    ("US_ITIN", "912-70-1234", "912-70-1234", "812-70-1234"),
    ("US_ITIN", "itin 912701234", "912701234", "order 912701234"),
    ("US_PASSPORT", "passport 912803456", "912803456", "parcel 912803456"),
    ("US_DRIVER_LICENSE", "driver license D1234567", "D1234567", "room D1234567"),
    ("US_BANK_NUMBER", "bank 945456787654", "945456787654", "seen 945456787654"),
    ("UK_NHS", "943 476 5919", "943 476 5919", "943 476 5918"),
    ("MEDICAL_LICENSE", "DEA BB1388568", "BB1388568", "DEA BB1388567"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
    ("SWIFT_CODE", "our swift: DEUTDEFF500", "DEUTDEFF500", "our swift: DEUTXYFF500"),
    ("SWIFT_CODE", "BIC BOFA US 3N", "BOFA US 3N", "model BOFA US 3N"),
    ("SWIFT_CODE", "swift: BNPAFRPP, please", "BNPAFRPP", "swift customer service"),
    ("CRYPTO", "to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
     "to 1BoatSLRHtKNngkdXEeobR76b53LETtpyU"),
    ("IP_ADDRESS", "from 10.0.0.1", "10.0.0.1", "from 10.0.0.256"),
    ("MAC_ADDRESS", "00:1B:44:11:3A:B7", "00:1B:44:11:3A:B7", "00:1B:44:11:3A"),
    ("MAC_ADDRESS", "001b.4411.3ab7", "001b.4411.3ab7", "00:00:00:00:00:00"),
    ("UUID", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000",
     "123e4567-e89b-12d3-a456-42661417400"),
    ("URL", "see https://example.com/a", "https://example.com/a", "see https://example"),
    ("DATE_TIME", "on 02/28/1980 at noon", "02/28/1980", "on 42/28/1980 at noon"),
    ("DATE_TIME", "1980-02-28T10:11:12Z", "1980-02-28T10:11:12Z", "1980-42-28T10:11:12Z"),
]  # fmt: skip
LOCAL = [
    ("AU_ABN", "95 547 772 056", "95 547 772 056", "95 547 772 050"),
    ("AU_ACN", "692 159 550", "692 159 550", "692 159 551"),
    ("AU_MEDICARE", "3298 41834 8", "3298 41834 8", "3298 41830 8"),
    ("AU_TFN", "465 261 023", "465 261 023", "465 261 020"),
    ("CA_POSTAL_CODE", "postal code: J0V 7P0", "J0V 7P0", "J0V 7P0"),
    ("CA_SIN", "sin: 646474155", "646474155", "646474155"),
    ("DE_BSNR", "bsnr: 318880771", "318880771", "318880771"),
    ("DE_FUEHRERSCHEIN", "HH33184948H", "HH33184948H", "HH33184948"),
    ("DE_HANDELSREGISTER", "HRB 11", "HRB 11", "HRC 11"),
    ("DE_HEALTH_INSURANCE", "Q282642782", "Q282642782", "Q282642780"),
    ("DE_ID_CARD", "GJJFXZ531", "GJJFXZ531", "GJJFXZ530"),
    ("DE_KFZ", "kennzeichen: XZ B 4016", "XZ B 4016", "XZ B 4016"),
    ("DE_LANR", "283110516", "283110516", "283110016"),
    ("DE_PASSPORT", "P6HZFGX49", "P6HZFGX49", "P6HZFGX40"),
    ("DE_PLZ", "plz: 06057", "06057", "06057"),
    ("DE_SOCIAL_SECURITY", "72040664A183", "72040664A183", "72040664A180"),
    ("DE_TAX_ID", "29109287280", "29109287280", "29109287281"),
    ("DE_TAX_NUMBER", "1534455847527", "1534455847527", "1734455847527"),
    ("DE_VAT_ID", "DE216641534", "DE216641534", "DA216641534"),
    ("ES_NIE", "Z7233016G", "Z7233016G", "Z7233016A"),
    ("ES_NIF", "1605758J", "1605758J", "1605758A"),
    ("ES_PASSPORT", "pasaporte: QAT052319", "QAT052319", "QAT052319"),
    ("FI_PERSONAL_IDENTITY_CODE", "210279D2088", "210279D2088", "210279D2080"),
    ("IN_AADHAAR", "803590063622", "803590063622", "803590063620"),
    ("IN_GSTIN", "10qTY7K4459CVZo", "10qTY7K4459CVZo", "10qTY7K4459CVAo"),
    ("IN_PAN", "XusaG6850S", "XusaG6850S", "XusDG6850S"),
    ("IN_PASSPORT", "passport: S4514574", "S4514574", "S4514574"),
    ("IN_VEHICLE_REGISTRATION", "DL4ZP1973", "DL4ZP1973", "DL4ZP197"),
    ("IN_VOTER", "UbS0947828", "UbS0947828", "UES0947828"),
    ("IT_DRIVER_LICENSE", "patente: AB1234567C", "AB1234567C", "AB1234567C"),
    ("IT_FISCAL_CODE", "EXXAII7NB69D263G", "EXXAII7NB69D263G", "EXXAII7NB69D263A"),
    ("IT_IDENTITY_CARD", "carta: GM4258679", "GM4258679", "GM4258679"),
    ("IT_PASSPORT", "passaporto: UK7269345", "UK7269345", "UK7269345"),
    ("IT_VAT_CODE", "94643067674", "94643067674", "94643067670"),
    ("KR_BRN", "778-33-78351", "778-33-78351", "778-33-78350"),
    ("KR_DRIVER_LICENSE", "15 91 31552913", "15 91 31552913", "10 91 31552913"),
    ("KR_FRN", "560730-8442965", "560730-8442965", "560730-0442965"),
    ("KR_PASSPORT", "여권: R609s7318", "R609s7318", "R609s7318"),
    ("KR_RRN", "1811272566661", "1811272566661", "1811270566661"),
    ("NG_NIN", "21726886099", "21726886099", "21726886090"),
    ("NG_VEHICLE_REGISTRATION", "CON-234IB", "CON-234IB", "CON-234I"),
    ("PH_PASSPORT", "passport: P9351056S", "P9351056S", "P9351056S"),
    ("PH_TIN", "tin: 605-923-346-067", "605-923-346-067", "605-923-346-067"),
    ("PH_UMID", "7710-1807956-7", "7710-1807956-7", "7710-1807956-"),
    ("PL_PESEL", "63651082706", "63651082706", "63651082700"),
    ("SE_ORGANISATIONSNUMMER", "689801-1835", "689801-1835", "689801-1830"),
    ("SE_PERSONNUMMER", "450461+5081", "450461+5081", "450461+5080"),
    ("SG_NRIC_FIN", "S5270367E", "S5270367E", "A5270367E"),
    ("SG_UEN", "70666923A", "70666923A", "70666923B"),
    ("TH_TNIN", "6586115259597", "6586115259597", "6586115259590"),
    ("TR_LICENSE_PLATE", "05ZYC 40", "05ZYC 40", "05ZYQ 40"),
    ("TR_NATIONAL_ID", "50216838676", "50216838676", "50216838670"),
    ("UK_DRIVING_LICENCE", "QXSIK460190LYNEY", "QXSIK460190LYNEY", "QXSIK460390LYNEY"),
    ("UK_NINO", "xb 59 0211 B", "xb 59 0211 B", "xb 59 0211 E"),
    ("UK_PASSPORT", "passport: TF5703413", "TF5703413", "TF5703413"),
    ("UK_POSTCODE", "postcode: GIR 0AA", "GIR 0AA", "GIR 0AA"),
    ("UK_VEHICLE_REGISTRATION", "NF07OTO", "NF07OTO", "NF07OTQ"),
    ("US_HEALTH_INSURANCE_MEMBER_ID", "member: JAMZ-TIVUP4D", "JAMZ-TIVUP4D", "JAMZ-TIVUP4D"),
    ("US_PRIOR_AUTHORIZATION_NUMBER", "auth: PA099658727", "PA099658727", "PA099658727"),
    ("US_CLAIM_NUMBER", "claim: CLM5899912", "CLM5899912", "CLM5899912"),
    ("US_PRESCRIPTION_NUMBER", "prescription: RX-9508408", "RX-9508408", "RX-9508408"),
    ("US_REFERRAL_NUMBER", "referral: INF-65834636", "INF-65834636", "INF-65834636"),
    ("US_PROVIDER_TAX_ID", "tax: 80-9877603", "80-9877603", "80-9877603"),
    ("US_MBI", "7T21-CC9-VE00", "7T21-CC9-VE00", "7T21-CC9-VB00"),
    ("US_NPI", "1545573150", "1545573150", "1545573151"),
    ("ZA_COMPANY_REGISTRATION", "1996/122455/60", "1996/122455/60", "1096/122455/60"),
    ("ZA_DRIVER_LICENSE", "9917549892JLMO", "9917549892JLMO", "9917549892JLMO7"),
    ("ZA_ID_NUMBER", "8401300472091", "8401300472091", "8401300472090"),
    ("ZA_INCOME_TAX_NUMBER", "1906250812", "1906250812", "4906250812"),
    ("ZA_LICENSE_PLATE", "ANQ973NW", "ANQ973NW", "ANQ973NA"),
    ("ZA_PASSPORT", "T50044915", "T50044915", "B50044915"),
    ("ZA_MOBILE_NUMBER", "082 123 4567", "082 123 4567", "080 123 4567"),
    ("ZA_TELEPHONE_NUMBER", "021 123 4567", "021 123 4567", "020 123 4567"),
    ("ZA_TRAFFIC_REGISTER_NUMBER", "6828144892342", "6828144892342", "682814489234"),
    ("ZA_VAT_NUMBER", "4836214250", "4836214250", "0836214250"),
]  # fmt: skip


@pytest.mark.parametrize(("entity", "text", "span", "near_miss"), DEFAULT + LOCAL)
def test_what_has_the_form_is_found_and_what_nearly_has_it_is_not(entity, text, span, near_miss):
    assert found(text, entity) == [span]
    assert found(near_miss, entity) == []


def test_every_kind_has_an_example_and_context_words():
    told_elsewhere = {*e.SECRETS, e.ACCOUNT_NUMBER, e.ABA_ROUTING_NUMBER, e.TRANSACTION_ID}

    assert {entity for entity, *_ in DEFAULT + LOCAL} | told_elsewhere == set(PATTERNED)
    assert {entity for entity in e.ALL if entity not in context.WORDS} == {e.NRP}


def test_the_default_holds_all_that_presidio_finds_in_english():
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    by_pattern = {
        entity for r in registry.recognizers if r.name != "SpacyRecognizer" for entity in r.supported_entities
    }

    assert by_pattern <= set(e.DEFAULT)
    assert set(e.DEFAULT) <= set(e.ALL)


def test_every_name_of_a_profile_stands_for_kinds_that_there_are():
    assert {entity for kinds in e.PROFILE_NAMES.values() for entity in kinds} <= set(e.ALL)
    assert not set(e.PROFILE_NAMES) & set(e.ALL)


@pytest.mark.parametrize(
    "value", ["123e4567-e89b-12d3-a456-426614174000", "ch_3Abc12345", "pi_1Gszr2eZ", "PAY-1AB23456", "2024/00017", "42"]
)
def test_ids_of_payments_are_found_in_a_field_of_that_name(value):
    assert found(value, "TRANSACTION_ID", context=["transaction_id"]) == [value]
    assert found(value, "TRANSACTION_ID", context=["order_id"]) == []


def test_what_has_to_be_asked_for_is_not_looked_for_otherwise():
    assert (
        detect(["Steuer-ID 29109287280, xb 59 0211 B"])[0]
        == detect(["Steuer-ID 29109287280, xb 59 0211 B"], e.DEFAULT)[0]
    )
    assert "UK_NINO" not in {finding.entity_type for finding in detect(["xb 59 0211 B"])[0]}


def _presidios(entity):
    """presidio's own recogniser of a kind, nothing around it."""
    if entity in KINDS:
        return getattr(predefined_recognizers, KINDS[entity].recogniser)()
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    return next(
        (r for r in registry.recognizers if entity in r.supported_entities and r.name != "SpacyRecognizer"), None
    )


@pytest.mark.parametrize("entity", [entity for entity in PATTERNED if _presidios(entity)])
def test_nothing_that_presidio_finds_is_missing(entity):
    recogniser = _presidios(entity)
    examples = [text for kind, text, _, _ in DEFAULT + LOCAL if kind == entity]
    texts = [*examples, *("\n".join(text.split(" ")) for text in examples), "x ".join(examples), *TEXTS[::7]]
    spans = [{(r.start, r.end) for r in recogniser.analyze(text, [entity], None) if r.score >= 0.35} for text in texts]

    ours = [{(f.start, f.end) for f in findings} for findings in detect(texts, [entity], DOUBTED)]

    whole_days = {number for number, text in enumerate(texts) if engine._INSTANT.fullmatch(text)}
    missing = [(number, a - b) for number, (a, b) in enumerate(zip(spans, ours, strict=True)) if a - b]
    assert [each for each in missing if each[0] not in whole_days] == []


PIECES = [text for _, text, _, _ in DEFAULT + LOCAL]
MIXED = st.lists(
    st.one_of(st.sampled_from(PIECES), st.text(alphabet="0123456789 -./:abAB\n", max_size=12)), max_size=4
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(MIXED)
def test_the_prefilter_misses_no_kind(text):
    engine.cache.clear()
    every = frozenset(PATTERNED)
    fast = engine._scan([text], every, frozenset(), 0.35)

    original = prefilter.look_up
    prefilter.look_up = every_line
    try:
        assert engine._scan([text], every, frozenset(), 0.35) == fast
    finally:
        prefilter.look_up = original


def test_compiling_takes_little_time():
    for entities, seconds in ((e.DEFAULT, 2.0), (PATTERNED, 10.0)):
        recognisers(entities)
        prefilter.prefilter.cache_clear()
        start = time.process_time()
        prefilter.prefilter(frozenset(entities), 0.35)
        assert time.process_time() - start < seconds


@pytest.mark.parametrize("name", ["uk", "UK", "gb", "en_GB", "en-gb"])
def test_a_locale_has_several_names(name):
    assert entities_of_locale(name) == LOCALES["uk"]
    assert "UK_NHS" in entities_of_locale(name)


def test_every_local_kind_is_presidios():
    for entity, kind in KINDS.items():
        recogniser = getattr(predefined_recognizers, kind.recogniser)()
        assert recogniser.supported_entities == [entity]
        assert isinstance(recogniser, PatternRecognizer) or entity.startswith("ZA_")


def test_an_unknown_locale_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'ukk'; did you mean 'uk'"):
        entities_of_locale("ukk")


@pytest.mark.parametrize(
    ("field", "value", "entity", "hit"),
    [
        ("swift_code", "deutdeff", "SWIFT_CODE", True),
        ("bank.bic", "DEUTDEFFXXX", "SWIFT_CODE", True),
        ("swift_code", "customer", "SWIFT_CODE", True),  # a field of that name says what its values are
        ("swift_code", "nonsense", "SWIFT_CODE", False),
        ("passport_no", "912803456", "US_PASSPORT", True),
        ("parcel_no", "912803456", "US_PASSPORT", False),
        ("driverLicense", "1234567", "US_DRIVER_LICENSE", True),
        ("public_id", "1234567", "US_DRIVER_LICENSE", False),
        ("national_insurance", "912803456", "UK_NINO", False),
        ("postal_code", "J0V 7P0", "CA_POSTAL_CODE", True),
        ("postal.zone", "J0V 7P0", "CA_POSTAL_CODE", False),
    ],
)
def test_names_of_fields(field, value, entity, hit):
    assert found(value, entity, context=[field]) == ([value] if hit else [])


@pytest.mark.parametrize("text", ["abcdefghij\n1234", "abcde1234f\nx"])
def test_a_pattern_that_looks_ahead_over_lines_sees_them(text):
    found = detect([text], ["IN_PAN"], threshold=0.01)

    assert [(f.start, f.end) for f in found[0]] == [
        (r.start, r.end) for r in predefined_recognizers.InPanRecognizer().analyze(text, ["IN_PAN"])
    ]


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("tax file number 465 261 024", False),
        ("my postal   code is J0V 7P0", True),
        ("the postal and code J0V 7P0", True),
        ("the code, postal: J0V 7P0", True),
        ("a code for mail J0V 7P0", False),
    ],
)
def test_several_words_count_together(text, hit):
    assert bool(found(text, "CA_POSTAL_CODE")) == hit
