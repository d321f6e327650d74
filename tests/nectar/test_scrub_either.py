"""Two versions of a scrubbing configuration at once: nothing passes that one of them would take out."""

from __future__ import annotations

import itertools

import pytest

from nectar.scrub import DataScrubber
from nectar.scrub.either import either

RECORD = {
    "name": "Ada Lovelace",
    "note": "mail ada@example.com, account 12345678901, project Nightjar",
    "secret": "the cake is a lie",
    "mail": "ada@example.com",
}


class Keys:
    def pseudonym_key(self, kind: str) -> tuple[str, bytes]:
        return "k1", b"k" * 32


CONFIGS = [
    None,
    {"profile": "gdpr_compliant"},
    {"profile": "financial_data"},
    {"profile": "gdpr_compliant", "custom_rules": [{"field": "mail", "action": "keep"}]},
    {"custom_rules": [{"field": "secret", "action": "remove"}]},
    {"custom_rules": [{"field": "secret", "action": "keep"}, {"pattern": "Nightjar", "action": "remove"}]},
    {"profile": "gdpr_compliant", "enabled": False, "custom_rules": [{"field": "name", "action": "remove"}]},
]


def words(config) -> set[str]:
    scrubbed = DataScrubber(config, keys=Keys()).process(RECORD)
    return {word for value in scrubbed.values() if value for word in value.replace(",", " ").split()}


@pytest.mark.parametrize(("old", "new"), [*itertools.product(CONFIGS, CONFIGS)])
def test_what_passes_both_is_all_that_passes(old, new):
    passed = words(either(old, new)) & words(None)

    assert passed <= words(old)
    assert passed <= words(new)


def test_where_both_say_something_the_new_one_decides_how():
    old = {"custom_rules": [{"field": "secret", "action": "remove"}]}
    new = {"custom_rules": [{"field": "secret", "action": "replace"}]}

    assert DataScrubber(either(old, new), keys=Keys()).process(RECORD)["secret"] == "<REDACTED>"


@pytest.mark.parametrize("config", CONFIGS)
def test_the_same_twice_is_what_it_was(config):
    scrubbers = [DataScrubber(c, keys=Keys()) for c in (config, either(config, config))]

    assert len({scrubber.version for scrubber in scrubbers}) == 1
