"""What is asked in a way that would find nothing is refused, or taken as it is meant; never obeyed in silence."""

from __future__ import annotations

import pytest

from nectar.errors import BadProfile
from nectar.scrub import DataScrubber, detect

SSN = "536904399"


def kinds(found):
    return [[finding.entity_type for finding in findings] for findings in found]


def test_texts_may_come_one_by_one():
    assert kinds(detect((text for text in ["bob@example.com", "none"]), ["EMAIL_ADDRESS"])) == [["EMAIL_ADDRESS"], []]


@pytest.mark.parametrize("given", ["bob@example.com", b"bob@example.com", None, 5])
def test_what_is_no_list_of_texts_is_refused(given):
    with pytest.raises(TypeError, match=r"detect takes a list of texts, not \w+: detect\(\[text\]\)"):
        detect(given)


def test_the_one_that_is_no_text_is_named_by_its_place():
    with pytest.raises(TypeError, match="number 1 is NoneType"):
        detect(["a", None])


def test_one_word_stands_for_itself():
    assert kinds(detect([SSN], ["US_SSN"], context="ssn")) == [["US_SSN"]]
    assert kinds(detect([SSN], "US_SSN", context=["ssn"])) == [["US_SSN"]]
    assert kinds(detect(["044 668 18 00"], "PHONE_NUMBER", regions="CH")) == [["PHONE_NUMBER"]]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"threshold": 35}, "threshold must be a number from 0 to 1"),
        ({"threshold": -0.1}, "threshold must be a number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold must be a number from 0 to 1"),
        ({"regions": ["UK"]}, "did you mean 'GB'"),
        ({"regions": ["ch"]}, "did you mean 'CH'"),
        ({"regions": ["Switzerland"]}, "a code of ISO 3166 such as 'CH'"),
        ({"entities": ["EMAIL"]}, "did you mean 'EMAIL_ADDRESS'"),
        ({"entities": ["PHONE_NUMBR"]}, "did you mean 'PHONE_NUMBER'"),
    ],
)
def test_what_there_is_not_is_named_with_what_was_meant(asked, message):
    with pytest.raises(ValueError, match=message):
        detect(["a"], **asked)


@pytest.mark.parametrize("definition", [{}, {"pii_detection": []}, {"default_action": "remove"}])
def test_a_profile_that_looks_for_nothing_is_refused(definition):
    with pytest.raises(BadProfile, match="'mine' looks for nothing"):
        DataScrubber({"profile": "mine", "profiles": {"mine": definition}})


def test_a_profile_of_rules_alone_is_one():
    own = {"custom_rules": [{"field": "a", "action": "remove"}]}

    assert DataScrubber({"profile": "mine", "profiles": {"mine": own}}).process({"a": 1, "b": 2}) == {"a": None, "b": 2}


@pytest.mark.parametrize("enabled", ["nope", "false", 0, None])
def test_scrubbing_is_on_or_off(enabled):
    with pytest.raises(BadProfile, match="enabled must be true or false"):
        DataScrubber({"profile": "ccpa", "enabled": enabled})


@pytest.mark.parametrize("field", ["users[*].email", "$.users[*].email", "users['email']"])
def test_a_path_needs_no_dollar(field):
    scrubber = DataScrubber({"custom_rules": [{"field": field, "action": "remove"}]})

    assert scrubber.process({"users": [{"email": "x", "a": 1}]}) == {"users": [{"email": None, "a": 1}]}


def test_a_place_in_a_list_is_refused_without_a_dollar_too():
    with pytest.raises(BadProfile, match="places in a list are not told apart"):
        DataScrubber({"custom_rules": [{"field": "users[0].email", "action": "remove"}]})


def test_a_name_with_brackets_is_a_name():
    scrubber = DataScrubber({"custom_rules": [{"field": "size [cm]", "action": "remove"}]})

    assert scrubber.process({"size [cm]": 5}) == {"size [cm]": None}
