"""Names of fields are data too, where a source makes them of what it knows of people."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from nectar.encode import encode
from nectar.jsonrows import table as table_of
from nectar.keys import InMemoryKeys
from nectar.pipeline import refine
from nectar.scrub import DataScrubber

JANE, BOB = "jane@example.com", "bob@example.com"


def scrubber(**config):
    return DataScrubber({"profile_id": "gdpr_compliant", **config}, InMemoryKeys())


def refined(rows, made=None):
    return refine(table_of(rows), made or scrubber(), document=False, value_limit=1 << 20)


@pytest.mark.parametrize(
    ("name", "entity"),
    [
        (JANE, "EMAIL_ADDRESS"), (f"mail of {JANE}", "EMAIL_ADDRESS"), ("call +1 202-555-0143", "PHONE_NUMBER"),
        ("4111 1111 1111 1111", "CREDIT_CARD"), ("ssn 078-05-1121", "US_SSN"),
    ],
)  # fmt: skip
def test_a_column_named_for_a_person_gets_the_name_of_what_it_was(name, entity):
    table = refined([{"id": 1, name: "x"}]).table

    assert table.column_names == ["id", f"<{entity}>1"]
    assert table[f"<{entity}>1"].to_pylist() == ["x"]


def test_several_are_numbered_and_meet_no_other():
    table = refined([{JANE: 1, BOB: 2, "<EMAIL_ADDRESS>1": 3}]).table

    assert table.to_pylist() == [{"<EMAIL_ADDRESS>2": 1, "<EMAIL_ADDRESS>3": 2, "<EMAIL_ADDRESS>1": 3}]


@pytest.mark.parametrize(
    "name", ["id", "email", "phone_number_2025550143", "Straße 7", "a.b", "2026-11-21", "über", "Q1 2026", "order no."]
)
def test_ordinary_names_stay(name):
    assert refined([{name: 1}]).table.column_names == [name]


def test_without_a_profile_names_stay():
    assert refined([{JANE: 1}], DataScrubber({"custom_rules": []})).table.column_names == [JANE]


def test_a_rule_for_the_sources_own_name_still_holds():
    made = scrubber(custom_rules=[{"field": JANE, "action": "replace"}])

    assert refined([{JANE: "secret"}], made).table.to_pylist() == [{"<EMAIL_ADDRESS>1": "<REDACTED>"}]


def test_neither_names_nor_marks_tell_at_any_depth():
    rows = [{"people": {JANE: {"note": f"ask {BOB}", BOB: 1}, BOB: {"note": "", BOB: 2}}, JANE: BOB}]
    found = refined(rows)
    texts, _ = encode(found.table)

    for said in (texts[0], json.dumps(found.removed.to_pylist()), str(found.table.schema)):
        assert "jane" not in said
        assert "bob" not in said


def test_an_object_is_scrubbed_alike_as_a_struct_and_as_json_text():
    """Which of the two it is depends on the other rows of the batch."""
    made = scrubber()
    person = {"id": 1, "people": {JANE: 1, BOB: {"note": f"ask {JANE}"}, "plain": None}}
    alone, _ = encode(refined([person], made).table)
    beside = refined([person, {"id": 2, "people": 7}], made).table
    texts, _ = encode(beside)

    assert pa.types.is_string(beside.schema.field("people").type)
    assert json.loads(alone[0]) == json.loads(texts[0])


def test_equal_names_are_told_apart_in_a_struct():
    pair = {"call 202-555-0143": 1, "call 202-555-0199": 2}
    (row,) = refined([{"people": pair}]).table.to_pylist()

    assert sorted(row["people"].values()) == [1, 2]
