"""What a text presents as somebody's number is believed, in the words of several languages and as data names it."""

from __future__ import annotations

import pytest

from nectar.scrub import detect
from nectar.scrub.find import engine

ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS")


@pytest.fixture(autouse=True)
def empty_cache():
    engine.cache.clear()


def found(text, entities=ENTITIES):
    return [text[finding.start : finding.end] for finding in detect([text], entities)[0]]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("New contact no is 916632935, he also wants", "916632935"),
        ('{"name": "X", "tel": "94486834"}', "94486834"),
        ('{"homePhone": 94486834}', "94486834"),
        ("id=7&mobile_no=94486834&x=1", "94486834"),
        ("Bel me op 202551352, of stuur een mailtje", "202551352"),
        ("Rufen Sie mich bitte unter 1116964913 zurück", "1116964913"),
        ("Sie erreichen uns telefonisch unter der Rufnummer 4472930", "4472930"),
        ("Appelez-moi au 78651450 demain", "78651450"),
        ("Mi teléfono es 2000116 y mi correo", "2000116"),
        ("Llámame al 22001167", "22001167"),
        ("Il mio cellulare è 2662802032, ordine", "2662802032"),
        ("Zadzwoń pod 788 768 667 w sprawie", "788 768 667"),
        ("Ring mig på 44372309, tack", "44372309"),
        ("Ligue para 22001167", "22001167"),
        ("Mon numéro : 78651450", "78651450"),
        ("her number changed from 511 337 063 to", "511 337 063"),
        ("call me back at 78651450", "78651450"),
        ("(351) 932 281 902", "(351) 932 281 902"),
        ("hey ur number? mine's (351) 231742461 lol", "(351) 231742461"),
    ],
)
def test_numbers_of_any_country_are_found_where_the_text_presents_them(text, number):
    assert found(text, ("PHONE_NUMBER",)) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "hotel=94486834", '{"cancelled": 94486834}', '{"phone_calls": 94486834}', "automobile 94486834",
        "phoneId=94486834", "unter 94486834 Einträgen", "(351) 932", "(999) 932 281 902 11", "public link 94486834",
    ],
)  # fmt: skip
def test_words_that_only_hold_such_a_word_present_nothing(text):
    assert found(text, ("PHONE_NUMBER",)) == []


@pytest.mark.parametrize(
    ("text", "iban"),
    [
        ("pay to GB65NJCA6784022917588 by Monday", "GB65NJCA6784022917588"),  # one digit too few, proven even so
        ("account GB41 MMRY 5025 7345 2368 6, for", "GB41 MMRY 5025 7345 2368 6"),
    ],
)
def test_accounts_of_another_length_than_their_countrys_are_proven_by_their_check_digits(text, iban):
    assert found(text) == [iban]
    wrong = text.replace("GB65", "GB66").replace("GB41", "GB42")
    assert found(wrong, ("IBAN_CODE",)) == []


@pytest.mark.parametrize("text", ["GB41MMRYABCDEFGHIJKLM", "XX65NJCA6784022917588", "gb65njca6784022917588"])
def test_other_codes_are_no_accounts(text):
    assert found(text, ("IBAN_CODE",)) == []


@pytest.mark.parametrize(
    "text",
    [
        "34984266-6\u2028231-1022-6668-232383957408", "60644424963\u20286483347", "1\u2003202\u2003555\u20030143",
        "ABCDUS33XXX/8545 3014/\u20ac/gb74 nwbk 4773 3133 1388 85",
    ],
)  # fmt: skip
@pytest.mark.parametrize("context", ["", "customer_mobile"])
def test_a_text_alone_holds_what_it_holds_among_others(text, context):
    among = [text, *(f"filler {n} " * 40 for n in range(30))]
    alone = detect([text], ENTITIES, context=context)[0]
    engine.cache.clear()
    assert detect(among, ENTITIES, context=context)[0] == alone
