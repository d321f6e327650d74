"""`hive scrub`: what is found in a text, and what scrubbing would do to a source before anything lands."""

from __future__ import annotations

import json

import pytest

from hive.preview import shape
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest, write

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

TEXT = "write to ada@example.com or call 202-555-0143"
PEOPLE = [
    {
        "id": n,
        "mail": f"person{n}@example.com",
        "full_name": ("Ada", "Ben", "Cleo")[n % 3],
        "host": f"10.20.{n % 250}.7",
        "order_no": 2025550000 + n * 7919 if n % 4 else 2125550100 + n,
        "account_number": f"{77000000 + n * 13}",
        "note": f"Please ask our person at desk {n % 9} in the hall" if n % 2 else "reach me at 202-555-0143 today",
        "address": {"city": "Bern", "phones": [f"202-555-01{n % 90 + 10}"]},
        "contact": {"ip": f"10.0.0.{n % 9 + 1}"},
        "blank": "",
        "status": "open",
    }
    for n in range(1, 61)
]
SECRETS = ("person1", "ada@", "Ada", "202-555", "10.20", "Cleo", "7700")


class TestText:
    def test_everything_is_looked_for_and_replaced_where_nothing_is_asked(self, bare_hive):
        said = bare_hive("scrub", "text", TEXT)

        assert said.code == 0
        assert said.out.splitlines()[0] == "write to <EMAIL_ADDRESS> or call <PHONE_NUMBER>"

    def test_findings_have_kind_place_score_and_action(self, bare_hive):
        found = bare_hive("scrub", "text", TEXT, "--profile", "gdpr_compliant", "--json").json

        assert [(f["kind"], TEXT[f["start"] : f["end"]], f["action"]) for f in found["findings"]] == [
            ("EMAIL_ADDRESS", "ada@example.com", "hash_with_salt"),
            ("PHONE_NUMBER", "202-555-0143", "remove"),
        ]
        assert all(0.35 <= f["score"] <= 1 for f in found["findings"])
        assert "ada@" not in found["text"]

    def test_only_the_kinds_that_are_named_are_taken_out(self, bare_hive):
        said = bare_hive("scrub", "text", TEXT, "--entities", "PHONE_NUMBER")

        assert said.out.splitlines()[0] == "write to ada@example.com or call <PHONE_NUMBER>"

    def test_the_text_may_come_from_standard_input(self, bare_hive):
        assert bare_hive("scrub", "text", "-", stdin=TEXT).out == bare_hive("scrub", "text", TEXT).out

    def test_the_name_of_the_field_counts_as_a_word_near(self, bare_hive):
        alone, named = (
            bare_hive("scrub", "text", "021000021", "--profile", "financial_data", "--field", field, "--json").json
            for field in ("n", "routing_number")
        )

        assert alone["findings"] == []
        assert [f["kind"] for f in named["findings"]] == ["ABA_ROUTING_NUMBER"]

    def test_a_text_that_is_taken_out_as_a_whole_is_empty(self, bare_hive):
        said = bare_hive("scrub", "text", "202-555-0143", "--profile", "gdpr_compliant")

        assert said.code == 0
        assert said.out.splitlines()[0] == ""

    def test_a_profile_of_ones_own_comes_from_a_file(self, bare_hive, tmp_path):
        own = {"mails": {"pii_detection": ["email_addresses"], "actions": {"email_addresses": "replace"}}}
        (tmp_path / "own.yaml").write_text(json.dumps({"bees": {}, "scrubbing_profiles": own}))

        said = bare_hive("scrub", "text", TEXT, "--profile", "mails", "--config", "own.yaml")

        assert said.out.splitlines()[0] == "write to <EMAIL_ADDRESS> or call 202-555-0143"

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--profile", "gdprr"], "no scrubbing profile is named 'gdprr'"),
            (["--entities", "EMAIL_ADRESS"], "did you mean 'EMAIL_ADDRESS'?"),
            (["--entities", "URL", "--profile", "gdpr_compliant"], "give either --profile or --entities"),
        ],
    )
    def test_wrong_use_is_told_in_words(self, bare_hive, arguments, told):
        said = bare_hive("scrub", "text", TEXT, *arguments)

        assert said.code == 2
        assert told in said.err
        assert "Traceback" not in said.err


class TestPreview:
    @pytest.fixture
    def people(self, nest):
        write(nest.register(scrubbing={"profile": "gdpr_compliant"}) / "a.jsonl", PEOPLE)
        return nest

    @pytest.fixture
    def found(self, people, hive):
        return {
            (line["field"], line["kind"]): line for line in hive("scrub", "preview", "people", "--json").json["fields"]
        }

    def test_each_field_and_kind_is_counted_with_its_action(self, found):
        mail = found["mail", "EMAIL_ADDRESS"]

        assert (mail["values"], mail["found"], mail["count"], mail["action"]) == (60, 60, 60, "hash_with_salt")
        assert mail["example"] == "xxxxxx9@xxxxxxx.xxx"
        assert found["note", "PHONE_NUMBER"]["found"] == 30
        assert found["note", "PHONE_NUMBER"]["action"] == "remove"

    def test_a_field_inside_another_has_its_path(self, found):
        phones = found["address.phones", "PHONE_NUMBER"]

        assert (phones["values"], phones["found"], phones["example"]) == (60, 60, "999-999-9999")

    def test_what_the_profile_does_not_ask_for_is_said(self, found):
        host = found["host", "IP_ADDRESS"]

        assert host["action"] == ""
        assert "the profile 'gdpr_compliant' does not ask for IP_ADDRESS" in host["hint"]
        assert "ACCOUNT_NUMBER" in found["account_number", ""]["hint"]
        assert "for names" in found["full_name", ""]["hint"]
        assert "free text may hold names" in found["note", ""]["hint"]
        assert (found["contact.ip", "IP_ADDRESS"]["example"], found["contact.ip", "IP_ADDRESS"]["found"]) == (
            "10.0.0.9".replace("10", "99").replace("0", "9"), 60
        )  # fmt: skip

    def test_a_rule_for_a_field_answers_the_hint_and_a_rule_for_a_pattern_does_not(self, nest, hive):
        rules = [{"field": "full_name", "action": "replace"}, {"pattern": "K-[0-9]{4}", "action": "remove"}]
        write(nest.register(scrubbing={"profile": "gdpr_compliant", "custom_rules": rules}) / "a.jsonl", PEOPLE)

        lines = hive("scrub", "preview", "people", "--json").json["fields"]

        found = {(line["field"], line["kind"]): line for line in lines}
        assert found["full_name", "rule"]["action"] == "replace"
        assert ("full_name", "") not in found
        assert "ACCOUNT_NUMBER" in found["account_number", ""]["hint"]

    def test_a_field_with_nothing_personal_is_not_shown(self, found):
        assert not [name for name, _ in found if name in ("id", "status", "blank", "address", "contact")]

    def test_numbers_of_another_kind_are_pointed_out(self, nest, hive):
        orders = [{"id": n, "order_no": f"{1000000000 + n * 7919 * 2777}"} for n in range(200)]
        write(nest.register(scrubbing={"profile": "gdpr_compliant"}) / "a.jsonl", orders)

        (line,) = [x for x in hive("scrub", "preview", "people", "--json").json["fields"] if x["field"] == "order_no"]

        assert line["kind"] == "PHONE_NUMBER"
        assert 0 < line["found"] < 190
        assert "looks like numbers of another kind" in line["hint"]
        assert "{field: order_no, action: keep}" in line["hint"]

    def test_a_rule_that_keeps_a_field_takes_the_hint_away(self, nest, hive):
        orders = [{"id": n, "order_no": f"{1000000000 + n * 7919 * 2777}"} for n in range(200)]
        rules = [{"field": "order_no", "action": "keep"}]
        scrubbing = {"profile": "gdpr_compliant", "custom_rules": rules}
        write(nest.register(scrubbing=scrubbing) / "a.jsonl", orders)

        kinds = [x["action"] for x in hive("scrub", "preview", "people", "--json").json["fields"]]

        assert "remove" not in kinds

    @pytest.mark.parametrize("action", ["mask_partial", "keep"])
    def test_a_field_with_a_rule_is_not_said_to_land_as_it_is(self, nest, hive, action):
        rules = [{"field": "host", "action": action}]
        hosts = [{"id": n, "host": f"192.168.7.{n}"} for n in range(20)]
        write(nest.register(scrubbing={"profile": "gdpr_compliant", "custom_rules": rules}) / "a.jsonl", hosts)

        lines = hive("scrub", "preview", "people", "--json").json["fields"]

        assert not [line for line in lines if "lands as it is" in line["hint"]]

    def test_no_value_is_shown_and_nothing_lands(self, people, hive):
        said = hive("scrub", "preview", "people")
        told = hive("scrub", "preview", "people", "--json")

        assert said.code == told.code == 0
        assert not [secret for secret in SECRETS if secret in said.out + said.err + told.out + told.err]
        assert people.jar() == {}
        assert people.rows("SELECT * FROM hive.flight") == []

    def test_no_more_than_the_sample_is_read(self, people, hive):
        found = hive("scrub", "preview", "people", "--rows", "7", "--json").json

        assert found["rows"] == 7
        assert {line["values"] for line in found["fields"]} == {7}

    def test_another_profile_can_be_tried(self, people, hive):
        found = hive("scrub", "preview", "people", "--profile", "financial_data", "--json").json["fields"]

        kinds = {(line["field"], line["action"]) for line in found if line["kind"]}
        assert ("account_number", "mask_partial") in kinds
        assert ("mail", "") in kinds

    def test_a_bee_without_scrubbing_is_told_so(self, nest, hive):
        write(nest.register() / "a.jsonl", PEOPLE[:3])

        said = hive("scrub", "preview", "people")

        assert "no `scrubbing`" in said.err
        assert "no profile asks for EMAIL_ADDRESS" in said.out

    def test_records_that_would_be_refused_are_counted(self, nest, hive):
        folder = nest.register(scrubbing={"profile": "gdpr_compliant"}, transform=["tests.hive.test_cli_scrub:stumble"])
        write(folder / "a.jsonl", PEOPLE[:4])

        found = hive("scrub", "preview", "people", "--json").json

        assert found["refused"] == {"transform_failed": 1}
        assert {line["values"] for line in found["fields"]} == {3}

    def test_the_bee_may_come_from_a_file_without_a_hive(self, bare_hive, tmp_path):
        write(tmp_path / "a.jsonl", PEOPLE)
        rows = {"patterns": "*.jsonl", "key": "id"}
        bee = {
            "type": "local",
            "source": {"path": str(tmp_path)},
            "streams": {"rows": rows},
            "scrubbing": {"profile": "gdpr_compliant"},
        }
        (tmp_path / "bees.yaml").write_text(json.dumps({"bees": {"people": bee}}))

        found = bare_hive("scrub", "preview", "people", "--config", "bees.yaml", "--json").json

        assert {line["field"] for line in found["fields"]} >= {"mail", "note"}

    @pytest.mark.parametrize(
        ("arguments", "told"), [(["peeple"], "did you mean 'people'?"), (["people", "--profile", "gdprr"], "'gdprr'")]
    )
    def test_wrong_use_is_told_in_words(self, people, hive, arguments, told):
        said = hive("scrub", "preview", *arguments)

        assert said.code == 2
        assert told in said.err


def stumble(table):
    """A step that cannot take one of the records."""
    if 2 in table["id"].to_pylist():
        raise ValueError("canary")
    return table


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Ada-12 @x", "Xxx-99 @x"), ("É٣ß", "X9x"), ("a\tb\x00", "x x?"), ("“q”", "?x?"), ("", "")],
)
def test_a_shape_says_nothing_of_the_value(text, shown):
    assert shape(text) == shown
