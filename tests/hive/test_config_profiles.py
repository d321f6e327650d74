"""All that is wrong with a scrubbing profile is told at once."""

from __future__ import annotations

import pytest

from hive.config.profiles import profile_problems
from nectar.scrub.profile.profiles import BUILT_IN

FINE = {"sensitive_patterns": ["email_addresses"], "actions": {"email_addresses": "remove"}}
WRONG = {
    "threshold": 7,
    "extendz": "x",
    "actions": {"email_addresses": "vanish", "NOPE": "remove", "phone_numbers": "explode"},
    "custom_rules": [
        {"field": "a", "action": "nothing"},
        {"field": "b", "action": "remove"},
        {"pattern": "(", "action": "keep"},
    ],
    "sensitive_patterns": ["what", "email_addresses", "phone_numbers"],
    "locales": ["xx_YY"],
    "regions": ["QQ"],
}


def test_each_mistake_is_told_once_and_nothing_that_only_follows_from_it():
    told = profile_problems("strange", {"strange": WRONG, "other": FINE})

    for words in (
        "'extendz'", "'what'", "'xx_YY'", "custom rule 1", "custom rule 3", "'NOPE'", "'vanish'", "'explode'",
        "threshold", "'QQ'",
    ):  # fmt: skip
        assert sum(words in one for one in told) == 1, (words, told)
    assert len(told) == 10
    assert WRONG["actions"]["email_addresses"] == "vanish"


def test_what_an_unknown_base_may_have_is_no_mistake():
    definition = {"extends": "nobody", "actions": {"email_addresses": "vanish", "us_secrets": "remove"}}

    told = profile_problems("a", {"a": definition})

    assert len(told) == 2, told
    assert "'nobody'" in told[0]
    assert "'vanish'" in told[1]


def test_mistakes_of_a_base_are_told_there():
    own = {"base": {**FINE, "threshold": 9}, "a": {"extends": "base", "regions": ["QQ"]}}

    assert [one for one in profile_problems("base", own) if "threshold" not in one] == []
    assert profile_problems("a", own) == []


@pytest.mark.parametrize(
    "definition", [{}, [], None, {"extends": "a"}, {1: 2}, {"custom_rules": {"a": 1}}, {"actions": [1]}, {"locales": 3}]
)
def test_whatever_it_is_something_is_told(definition):
    assert profile_problems("a", {"a": definition})


@pytest.mark.parametrize("name", BUILT_IN)
def test_there_is_nothing_wrong_with_those_that_are_built_in(name):
    assert profile_problems(name, BUILT_IN) == []
    assert profile_problems("mine", {"mine": {"extends": name, "threshold": 0.5}}) == []
