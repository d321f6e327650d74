"""Profiles, rules and actions: what a person writes, and what becomes of a value."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nectar.errors import BadProfile, MissingKey
from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber
from nectar.scrub.find.findings import CHECKSUM, CONTEXT, PATTERN, Hit
from nectar.scrub.find.spans import pieces
from nectar.scrub.treat.actions import mask, normalise

KEYS = InMemoryKeys()


def rules(*given, profile=None, keys=KEYS):
    return DataScrubber({"profile": profile, "custom_rules": list(given)}, keys)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"profile_id": "gdpr_complaint"}, "did you mean 'gdpr_compliant'"),
        ({"profil_id": "gdpr_compliant"}, "did you mean 'profile_id'"),
        ({"profile_id": "a", "profile": "b"}, "two profiles"),
        ({"custom_rules": [{"field": "x", "action": "masc_partial"}]}, "did you mean 'mask_partial'"),
        ({"custom_rules": [{"feild": "x", "action": "remove"}]}, "did you mean 'field'"),
        ({"custom_rules": [{"field": "x"}]}, "custom rule 1: the action is missing"),
        ({"custom_rules": [{"field": "x", "pattern": "y", "action": "remove"}]}, "either field or pattern"),
        ({"custom_rules": [{"pattern": "(", "action": "remove"}]}, "no regular expression"),
        ({"custom_rules": {"field": "x"}}, "must be a list"),
        ({"custom_rules": ["x"]}, "expected field or pattern"),
        (
            {"profile_id": "p", "profiles": {"p": {"pii_detection": ["emailz"], "actions": {"emailz": "remove"}}}},
            "did you mean 'emails'",
        ),
        (
            {"profile_id": "p", "profiles": {"p": {"pii_detection": ["urls"], "actions": {}}}},
            "'urls' is listed but has no action",
        ),
        (
            {"profile_id": "p", "profiles": {"p": {"pii_detection": ["urls"], "actions": {"url": "keep"}}}},
            "did you mean 'urls'",
        ),
        ({"profile_id": "p", "profiles": {"p": ["urls"]}}, "expected a mapping"),
    ],
)
def test_a_wrong_config_is_refused_with_a_hint(config, says):
    with pytest.raises(BadProfile, match=says):
        DataScrubber(config, KEYS)


def test_hashing_without_keys_is_refused_when_the_scrubber_is_made():
    for config in ({"profile_id": "gdpr_compliant"}, {"custom_rules": [{"field": "x", "action": "hash_with_salt"}]}):
        with pytest.raises(MissingKey):
            DataScrubber(config)
    DataScrubber({"custom_rules": [{"field": "x", "action": "remove"}]})


def test_no_profile_means_the_rules_alone():
    data = {"a": "bob@example.com", "b": "x"}
    assert DataScrubber({}).process(data) == data
    assert DataScrubber({"profile_id": "gdpr_compliant", "enabled": False}).process(data) == data
    assert rules({"field": "b", "action": "remove"}).process(data) == {"a": "bob@example.com", "b": None}


def test_ones_own_profile_has_the_documents_form():
    own = {
        "pii_detection": ["email_addresses", "IP_ADDRESS"],
        "actions": {"email_addresses": "replace", "IP_ADDRESS": "redaction"},
    }
    scrubber = DataScrubber({"profile_id": "mine", "profiles": {"mine": own}})
    assert scrubber.process("a@b.com at 192.168.100.200") == "<EMAIL_ADDRESS> at ***.***.**0.200"


@pytest.mark.parametrize(
    ("action", "result"),
    [
        ("remove", None),
        ("removal", None),
        ("replace", "<REDACTED>"),
        ("mask_partial", "***** ****lace"),
        ("redaction", "***** ****lace"),
        ("keep", "Seven Oakplace"),
    ],
)
def test_field_actions(action, result):
    assert rules({"field": "a", "action": action}).process({"a": "Seven Oakplace"}) == {"a": result}


@pytest.mark.parametrize("name", ["city", "address.city", "*city", "CITY", "address.*", "*.city"])
def test_fields_are_named_by_leaf_path_or_glob(name):
    scrubber = rules({"field": name, "action": "replace"})
    rows = [{"address": {"city": "Ulm"}, "town": "Bonn"}]
    expected = [{"address": {"city": "<REDACTED>"}, "town": "Bonn"}]
    assert scrubber.process(rows) == expected
    assert scrubber.process(pa.Table.from_pylist(rows)).to_pylist() == expected
    assert scrubber.process(pl.DataFrame(rows)).to_dicts() == expected
    assert scrubber.process(pd.DataFrame(rows)).to_dict("records") == expected


@pytest.mark.parametrize("name", ["_ssn", "underscore_ssn", "_*", "a._ssn", "$.a._ssn"])
def test_a_reserved_name_means_the_column_that_it_became(name):
    rows = [{"a": {"underscore_ssn": "1"}, "underscores": "2"}]
    assert rules({"field": name, "action": "remove"}).process(rows) == [
        {"a": {"underscore_ssn": None}, "underscores": "2"}
    ]


@pytest.mark.parametrize(
    "name", ["size [cm]", "Straße", "STRASSE", "$['strasse']", "$['STRAßE']", "what?", "a.b [c]", "[x]*"]
)
def test_names_of_any_characters_are_meant_as_written(name):
    rule = {"field": name, "action": "remove"}
    names = ("Size [cm]", "STRASSE", "what?", "a.b [c]", "[x]*")
    gone = [n for n in names if rules(rule).process({n: "v"}) == {n: None}]
    assert len(gone) == 1
    assert rules(rule).process({"other": "v", "b [c]": "v"}) == {"other": "v", "b [c]": "v"}


@pytest.mark.parametrize("action", ["remove", "replace", "mask_partial", "hash_with_salt", "keep"])
def test_a_rule_takes_fields_of_any_type_and_all_shapes_agree(action):
    scrubber = rules({"field": "x", "action": action})
    for value in (12, 1.5, True, dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 3), b"ab", ["p", "q"], {"y": "z"}):  # noqa: DTZ001
        row = {"x": value, "other": "o"}
        expected = scrubber.process(row)
        assert scrubber.process(pa.Table.from_pylist([row, {"x": None, "other": "o"}])).to_pylist()[0] == expected
        assert scrubber.process(pl.DataFrame([row], strict=False)).to_dicts() == [expected]
        if action != "keep":
            assert expected["x"] != value


def test_a_field_rule_wins_over_detection_and_keep_is_not_scanned():
    scrubber = rules(
        {"field": "contact", "action": "keep"}, {"field": "b", "action": "replace"}, profile="gdpr_compliant"
    )
    data = {"contact": "bob@example.com", "b": "bob@example.com"}
    assert scrubber.process(data) == {"contact": "bob@example.com", "b": "<REDACTED>"}


def test_patterns_act_in_any_text_and_keep_protects():
    scrubber = rules(
        {"pattern": r"EMP-\d+", "action": "replace"},
        {"pattern": r"help@example\.com", "action": "keep"},
        profile="gdpr_compliant",
    )
    result = scrubber.process({"a": "EMP-17 wrote help@example.com", "b": "xhelp@example.com"})
    assert result["a"] == "<REDACTED> wrote help@example.com"
    assert "xhelp" not in result["b"]


def test_the_same_value_joins_across_tables_scrubbers_and_ways_of_writing():
    gdpr, own = rules(profile="gdpr_compliant"), rules({"field": "mail", "action": "hash_with_salt"})
    token = gdpr.process({"e": "bob@example.com"})["e"]
    assert own.process(pa.table({"mail": ["BOB@Example.com "]}))["mail"][0].as_py() == token
    assert rules(profile="gdpr_compliant").process("see bob@example.com") == f"see {token}"
    assert rules(profile="gdpr_compliant", keys=InMemoryKeys()).process("bob@example.com") != token
    phone = rules({"field": "p", "action": "hash_with_salt"})
    forms = ["202-555-0143", "+1 (202) 555-0143", "2025550143"]
    assert len({phone.process({"p": form})["p"] for form in forms}) == 1
    assert own.process({"mail": "nobody"})["mail"].split(":")[0] == KEYS.made["field:mail"][0]


def test_normal_forms():
    assert normalise(" Straße@X.com", "EMAIL_ADDRESS") == "strasse@x.com"
    assert normalise("de89 3704-0044", "IBAN_CODE") == "DE8937040044"
    assert normalise("1-202-555-0143", "PHONE_NUMBER") == "+12025550143"
    assert normalise(" é ", "field:x") == "é"


def test_version_changes_with_everything_that_decides():
    base = rules(profile="gdpr_compliant").version
    assert base == rules(profile="gdpr_compliant").version
    others = {
        rules(profile="financial_data").version,
        rules({"field": "a", "action": "keep"}, profile="gdpr_compliant").version,
        rules(profile="gdpr_compliant", keys=InMemoryKeys()).version,
        rules().version,
    }
    assert base not in others
    assert len(others) == 4


def test_repr_shows_the_profiles_name_only():
    assert (
        repr(rules({"pattern": "secret", "action": "remove"}, profile="gdpr_compliant"))
        == "<DataScrubber gdpr_compliant>"
    )


@given(st.text())
def test_a_mask_never_shows_more_than_a_third(text):
    masked = mask(text)
    assert len(masked) == len(text)
    shown = sum(a == b and a.isalnum() for a, b in zip(text, masked, strict=True))
    assert shown <= min(4, sum(c.isalnum() for c in text) / 3)


@pytest.mark.parametrize(
    ("text", "masked"),
    [("4111-1111-1111-1234", "****-****-****-1234"), ("ab", "**"), ("abc", "**c"), ("é-é", "*-*"), ("", "")],
)
def test_masks(text, masked):
    assert mask(text) == masked


def test_overlaps_go_to_the_best_and_the_rest_stays_covered():
    order = {"A": 0, "B": 1}
    won = pieces([Hit("A", 0, 20, 0.5, PATTERN), Hit("B", 5, 10, 1.0, CHECKSUM)], order)
    assert [(p.start, p.end, p.hit.entity, p.whole) for p in won] == [
        (0, 5, "A", False),
        (5, 10, "B", True),
        (10, 20, "A", False),
    ]
    assert [p.hit.entity for p in pieces([Hit("A", 0, 9, 0.5, PATTERN), Hit("B", 0, 9, 0.4, CONTEXT)], order)] == ["B"]
    assert [p.hit.entity for p in pieces([Hit("B", 0, 9, 0.5, PATTERN), Hit("A", 0, 9, 0.5, PATTERN)], order)] == ["A"]
