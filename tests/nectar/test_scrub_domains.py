"""Which key domain the values of a field have: told by their form, it is what a scan of each would tell."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber
from nectar.scrub.shapes import domains as module
from nectar.scrub.shapes.domains import domains
from tests.bench.scrub_labelled import labelled

FIELDS = ("value", "phone", "email", "account_no", "txn_id", "swift", "ssn", "customer name", "ip")


@pytest.fixture(autouse=True, scope="module")
def few():
    """Values are given many at a time here."""


def values(seed):
    """What the labelled texts hold, words of them, and names."""
    texts, labels = labelled(120, seed)
    found = [text[a:b] for text, spans in zip(texts, labels, strict=True) for _, a, b in spans]
    names = ["Jane Roe", "José García", "O'Neil, Ann", "Zoë", "CUST-00000001", "a-b-c", "TXN-12345", "TX12345", "Tel 5"]
    words = random.Random(seed).sample([word for text in texts for word in text.split()], 250)
    odd = ["", " ", "bob@x.com ", "bob (at) example.com", "\uff11\uff12\uff13-45-6789", "DE 89 3704", "::1", "fe80::1"]
    return list(dict.fromkeys([*found, *names, *words, *odd, "DEUT DE FF", "DEUTDEFF", "a\ud800", "two\nlines"]))


def scanned(given_, field, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "_settled", lambda *_: {})
        return domains(given_, field, "field:x", ())


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("surrogates", [True, False])
def test_domains_are_what_a_scan_tells(field, surrogates, monkeypatch):
    given_ = [text for text in values(3) if surrogates or text.isascii() or "\ud800" not in text]

    assert domains(given_, field, "field:x", ()) == scanned(given_, field, monkeypatch)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("aB1 -@.+(:/é中\uff14\u200b", max_size=16), min_size=70, max_size=90, unique=True),
    st.sampled_from(FIELDS),
)
def test_domains_of_any_text_are_what_a_scan_tells(given_, field):
    with pytest.MonkeyPatch.context() as patch:
        assert domains(given_, field, "field:x", ()) == scanned(given_, field, patch)


def test_what_the_fields_name_speaks_for_comes_before_a_check_digit():
    number = "401 023 2137"  # valid with the NHS too
    keys = InMemoryKeys()
    rule = DataScrubber({"custom_rules": [{"field": "phone", "action": "hash_with_salt"}]}, keys)
    profile = {"pii_detection": ["phone_numbers"], "default_action": "hash_with_salt"}
    found = DataScrubber({"profile": "own", "profiles": {"own": profile}}, keys)

    assert rule.process({"phone": number}) == found.process({"phone": number})
    assert domains([number], "other", "field:x", ()) == {number: "UK_NHS"}
