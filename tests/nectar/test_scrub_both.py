"""Two scrubbers at once: nothing passes that one of them would take out."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest

from nectar.scrub import DataScrubber
from nectar.scrub.both import Both

RECORD = {
    "name": "Ada Lovelace",
    "note": "mail ada@example.com, account 12345678901, project Nightjar",
    "secret": "the cake is a lie",
    "mail": "ada@example.com",
}
MAILS = "pii_detection"


class Keys:
    def pseudonym_key(self, kind: str) -> tuple[str, bytes]:
        return "k1", b"k" * 32


def own(**actions: str) -> dict[str, object]:
    return {"profile": "own", "profiles": {"own": {MAILS: list(actions), "actions": actions}}}


CONFIGS = [
    None,
    {"profile": "gdpr_compliant"},
    {"profile": "financial_data"},
    {"profile": "gdpr_compliant", "custom_rules": [{"field": "mail", "action": "keep"}]},
    {"custom_rules": [{"field": "secret", "action": "remove"}]},
    {"custom_rules": [{"field": "secret", "action": "keep"}, {"pattern": "Nightjar", "action": "remove"}]},
    {"custom_rules": [{"field": "*", "action": "keep"}]},
    {"custom_rules": [{"field": "mail", "action": "remove"}, {"field": "*", "action": "keep"}]},
    {"profile": "gdpr_compliant", "enabled": False, "custom_rules": [{"field": "name", "action": "remove"}]},
    own(email_addresses="keep"),
    own(EMAIL_ADDRESS="remove"),
    own(email_addresses="mask_partial"),
]


def words(*configs) -> set[str]:
    scrubbers = [DataScrubber(config, keys=Keys()) for config in configs]
    scrubber = scrubbers[0] if len(scrubbers) == 1 else Both(*scrubbers)
    [scrubbed] = scrubber.scrub(pa.Table.from_pylist([RECORD])).table.to_pylist()
    return {word for value in scrubbed.values() if value for word in value.replace(",", " ").split()}


@pytest.mark.parametrize(("old", "new"), [*itertools.product(CONFIGS, CONFIGS)])
def test_what_passes_both_is_all_that_passes(old, new):
    passed = words(old, new) & words(None)

    assert passed <= words(old)
    assert passed <= words(new)


def test_what_was_removed_and_what_failed_is_told_of_both():
    table = pa.Table.from_pylist([RECORD, {**RECORD, "note": "x"}])
    first = DataScrubber({"custom_rules": [{"field": "secret", "action": "remove"}]})
    second = DataScrubber(own(EMAIL_ADDRESS="remove"))

    removed = Both(first, second).scrub(table).removed.to_pylist()

    assert [(line["row"], line["field"], line["count"]) for line in removed] == [
        (0, "mail", 1), (0, "note", 1), (0, "secret", 1), (1, "mail", 1), (1, "secret", 1),
    ]  # fmt: skip


def test_its_version_changes_with_either():
    made = [DataScrubber(config, keys=Keys()) for config in CONFIGS]

    assert len({Both(one, two).version for one, two in itertools.permutations(made, 2)}) > len(made)
