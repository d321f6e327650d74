"""E-mail addresses inside URLs, paths and lists: found, treated alone, and one pseudonym for one person."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber, detect
from nectar.scrub.find.addresses import address_in
from nectar.scrub.treat.pseudonyms import normalise, pseudonyms

JANE = "jane@acme.com"
HASHED = {"profiles": {"p": {"pii_detection": ["EMAIL_ADDRESS"], "default_action": "hash_with_salt"}}, "profile": "p"}
REMOVED = {"profiles": {"p": {"pii_detection": ["EMAIL_ADDRESS"], "default_action": "replace"}}, "profile": "p"}


def found(text):
    return [text[f.start : f.end] for f in detect([text], ["EMAIL_ADDRESS"])[0]]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("GET /api/users?email=jane.roe@acme.com HTTP/1.1", ["jane.roe@acme.com"]),
        ("user/jane@acme.com", [JANE]),
        ("http://10.0.0.5/u?m=jane@acme.com", [JANE]),
        ("https://intranet/login?user=jane@acme.com&next=/", [JANE]),
        ("jane@acme.com/john@acme.com", [JANE, "john@acme.com"]),
        ("邮箱jane@acme.com是", [JANE]),
        ("_jane@acme.com_", [JANE]),
        ("next?email%3Djane%40acme.com&x", ["jane%40acme.com"]),
        ("müller@acme.com", ["müller@acme.com"]),
        ("user/jane@acme", []),
        ("a/@acme.com", []),
    ],
)
def test_an_address_in_a_url_or_a_path_is_found(text, addresses):
    assert found(text) == addresses


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("email=jane@acme.com", "email={}"),
        ("a|jane@acme.com|b", "a|{}|b"),
        ("name~jane@acme.com", "name~{}"),
        ("mail=jane%40acme.com", "mail={}"),
        ("jane [at] acme [dot] com", "{}"),
        ("jane\u200b@acme.com", "{}"),
        ("to Jane@ACME.com, please", "to {}, please"),
        ("邮箱jane@acme.com是", "邮箱{}是"),
        ("_jane@acme.com_", "_{}_"),
        ("/u/jane@acme.com/jane@acme.com", "/u/{0}/{0}"),
    ],
)
def test_one_person_has_one_pseudonym_whatever_stands_before_the_address(text, left):
    scrubber = DataScrubber(HASHED, InMemoryKeys())
    token = scrubber.process(JANE)

    assert scrubber.process(text) == left.format(token)
    assert scrubber.process({"note": text}) == {"note": left.format(token)}
    assert DataScrubber(REMOVED).process(text) == left.format("<EMAIL_ADDRESS>")


def test_a_mailing_lists_own_address_is_taken_whole():
    assert DataScrubber(REMOVED).process("bounce+jane=acme.com@list.org") == "<EMAIL_ADDRESS>"


def test_a_rule_for_a_field_gives_the_same_pseudonym():
    scrubber = DataScrubber({"custom_rules": [{"field": "email", "action": "hash_with_salt"}]}, InMemoryKeys())
    written = [JANE, "email=jane@acme.com", "jane%40acme.com", "JANE@acme.com", "jane(at)acme.com"]

    assert len({scrubber.process({"email": text})["email"] for text in written}) == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab.@=/%40[]( t", max_size=8).map(str.strip), min_size=1, max_size=4))
def test_many_addresses_have_the_pseudonyms_that_each_has(texts):
    keys = InMemoryKeys()

    assert pseudonyms(texts, "EMAIL_ADDRESS", keys) == [pseudonyms([t], "EMAIL_ADDRESS", keys)[0] for t in texts]
    assert all(normalise(normalise(t, "EMAIL_ADDRESS"), "EMAIL_ADDRESS") for t in texts if t)


@settings(max_examples=200, deadline=None)
@given(st.text("aé中=/|_.", min_size=1, max_size=8), st.sampled_from(["acme.com", "acme.com_", "acme.com是", "acme"]))
def test_what_is_cut_out_is_an_address(name, domain):
    text = f"{name}@{domain}"
    inside = address_in(text)

    if inside is not None:
        start, end = inside
        assert 0 <= start < text.index("@")
        assert text[text.index("@") : end] == "@acme.com"
