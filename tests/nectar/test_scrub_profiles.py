"""Profiles as people write them: those that come along, one's own, and rules for fields and patterns."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import yaml

from nectar.batch import marked
from nectar.deadline import Deadline
from nectar.errors import BadProfile, MissingKey, SkipRecord
from nectar.keys import InMemoryKeys
from nectar.pipeline import refine
from nectar.scrub import DataScrubber
from nectar.scrub.find.entities import ALL
from nectar.scrub.find.findings import CHECKSUM, CONTEXT, PATTERN, RULE, Hit, ScanError
from nectar.scrub.find.spans import by_worth
from nectar.scrub.profile import rules as rules_module
from nectar.scrub.profile.built_in import BUILT_IN
from nectar.scrub.profile.profiles import bases, profile_named
from nectar.scrub.profile.rules import parse_rules
from nectar.scrub.treat.treatment import treatment_of

KEYS = InMemoryKeys()
DOCUMENT = Path(__file__).parents[1] / "data" / "documents" / "001-worker-bees-architecture.md"


def said(name: str, **own) -> dict[str, str]:
    return {entity: str(treatment) for entity, treatment in profile_named(name, own).treatments}


def scrub(data, profile=None, *rules, **own):
    return DataScrubber({"profile": profile, "profiles": own, "custom_rules": list(rules)}, KEYS).process(data)


class TestBuiltIn:
    def test_the_documents_profiles_are_as_written_there(self):
        block = re.search(r"```yaml\n(# scrubbing_rules.yml\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
        assert block
        written = yaml.safe_load(block[1])["scrubbing_profiles"]
        assert {name: BUILT_IN[name] for name in written} == written
        for name, definition in written.items():
            assert profile_named(name, {name: definition}).treatments == profile_named(name, {}).treatments

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_each_can_be_used_and_needs_no_language_model(self, name):
        scrubber = DataScrubber({"profile_id": name}, KEYS)
        assert scrubber.process({"a": "nothing here", "n": 7}) == {"a": "nothing here", "n": 7}
        assert not {"PERSON", "LOCATION", "ORGANIZATION"} & said(name).keys()

    @pytest.mark.parametrize(
        ("name", "record", "expected"),
        [
            (
                "gdpr_compliant",
                {"note": "call 202-555-0143 or pay 4111 1111 1111 1111", "ssn": "219-09-9999"},
                {"note": "call  or pay ", "ssn": None},
            ),
            (
                "financial_data",
                {"account_number": "123456789012", "routing_number": "011000015"},
                {"account_number": "********9012", "routing_number": None},
            ),
            (
                "pci_dss",
                {"pan": "4111 1111 1111 1111", "cvv": "123", "swipe": "%B4111111111111111^DOE/JO^29011010000?", "a": 1},
                {"pan": "**** **** **** 1111", "cvv": None, "swipe": None, "a": 1},
            ),
            (
                "hipaa",
                {"mrn": "A-77", "dob": "1987-05-04", "zip": "94103", "seen": "on 03/25/2024", "ip": "192.168.100.200"},
                {"mrn": None, "dob": "1987", "zip": None, "seen": "on 2024", "ip": "<IP_ADDRESS>"},
            ),
            (
                "soc2",
                {"ip": "192.168.100.200", "phone": "202-555-0143"},
                {"ip": "192.168.100.0/24", "phone": "***-***-*143"},
            ),
            ("ccpa", {"ip": "192.168.100.200", "ssn": "219-09-9999"}, {"ip": "192.168.100.0/24", "ssn": None}),
        ],
    )
    def test_what_they_do(self, name, record, expected):
        assert scrub(record, name) == expected

    @pytest.mark.parametrize(
        ("action", "kept"),
        [("generalise:month", "2024-03"), ("remove", None), ("replace", "<DATE_TIME>"), ("keep", "2024-03-05")],
    )
    def test_dates_are_dates_whether_they_are_text_or_typed(self, action, kept):
        own = {"pii_detection": ["dates"], "actions": {"dates": action}}
        scrubber = DataScrubber({"profile": "p", "profiles": {"p": own}}, KEYS)
        rows = [{"text": "2024-03-05", "day": dt.date(2024, 3, 5), "at": dt.time(1, 2), "n": 1}]
        expected = [{**rows[0], "text": kept, "day": rows[0]["day"] if action == "keep" else kept}]
        assert scrubber.process(rows) == expected
        assert scrubber.process(pa.Table.from_pylist(rows)).to_pylist() == expected
        assert scrubber.process(pl.DataFrame(rows)).to_dicts() == expected
        scrubbed = scrubber.scrub(pa.Table.from_pylist(rows))
        counts = {line["field"]: line["kind"] for line in scrubbed.removed.to_pylist()}
        assert counts == ({} if action == "keep" else {"text": "DATE_TIME", "day": "DATE_TIME"})
        assert scrubber.action_of("day", "DATE_TIME") == action

    def test_a_rule_for_a_field_of_dates_wins(self):
        own = {"pii_detection": ["dates"], "actions": {"dates": "remove"}}
        assert scrub({"day": dt.date(2024, 3, 5)}, "p", {"field": "day", "action": "keep"}, p=own) == {
            "day": dt.date(2024, 3, 5)
        }

    def test_a_card_never_shows_more_than_four_digits(self):
        found = scrub("paid with 4111-1111-1111-1111 and 378282246310005", "pci_dss")
        assert [len(re.sub(r"\D", "", part)) for part in found.split(" and ")] == [4, 4]

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("GDPR", "gdpr_compliant"), ("gdpr", "gdpr_compliant"), ("CCPA", "ccpa"), ("HIPAA", "hipaa"),
            ("PCI-DSS", "pci_dss"), ("pci dss", "pci_dss"), ("SOC2", "soc2"), ("SOC 2", "soc2"),
        ],
    )  # fmt: skip
    def test_they_answer_to_the_names_of_the_rules(self, said, meant):
        assert profile_named(said, {}) == profile_named(meant, {})
        assert profile_named("mine", {"mine": {"extends": said}}).treatments == profile_named(meant, {}).treatments

    def test_ones_own_profile_of_such_a_name_comes_first(self):
        own = {"GDPR": {"pii_detection": ["urls"], "actions": {"urls": "remove"}}}

        assert [kind for kind, _ in profile_named("GDPR", own).treatments] == ["URL"]
        assert bases("gdpr", own) == []
        assert bases("GDPR", own) == ["GDPR"]

    @pytest.mark.parametrize(
        ("word", "action"),
        [
            ("encryption", "tokenize"), ("tokenization", "tokenize"), ("masking", "mask_partial"),
            ("hashing", "hash_with_salt"), ("removal", "remove"), ("redaction", "mask_partial"),
        ],
    )  # fmt: skip
    def test_the_strategies_of_honey_combs_are_actions(self, word, action):
        assert treatment_of(word, "here") == treatment_of(action, "here")
        assert treatment_of("generalization:month", "here") == treatment_of("generalise:month", "here")


class TestOwn:
    def test_a_profile_built_on_another_adds_and_changes(self):
        own = {
            "extends": "gdpr_compliant",
            "pii_detection": ["ip_addresses"],
            "actions": {"ip_addresses": "generalise", "email_addresses": {"action": "tokenize"}},
        }
        assert said("mine", mine=own) == {
            "EMAIL_ADDRESS": "tokenize",
            "PHONE_NUMBER": "remove",
            "CREDIT_CARD": "remove",
            "US_SSN": "remove",
            "IP_ADDRESS": "generalise:network",
        }

    def test_ones_own_form_of_a_built_in_profile_may_extend_it(self):
        own = {"extends": "gdpr_compliant", "actions": {"phone_numbers": "mask_partial"}}
        assert said("gdpr_compliant", gdpr_compliant=own)["PHONE_NUMBER"] == "mask_partial"
        assert said("gdpr_compliant", gdpr_compliant=own)["EMAIL_ADDRESS"] == "hash_with_salt"

    def test_a_chain_keeps_rules_threshold_regions_and_default(self):
        own = {
            "a": {
                "threshold": 0.5, "regions": ["CH"], "default_action": "replace",
                "custom_rules": [{"field": "x", "action": "remove"}],
            },
            "b": {"extends": "a", "pii_detection": ["urls"], "regions": ["AT"]},
            "c": {"extends": "b", "threshold": 0.6, "custom_rules": [{"field": "x", "action": "replace"}]},
        }  # fmt: skip
        profile = profile_named("c", own)
        assert (profile.threshold, profile.regions) == (0.6, ("CH", "AT"))
        assert [(entity, str(t)) for entity, t in profile.treatments] == [("URL", "replace")]
        assert [rule.action for rule in profile.rules.fields] == ["replace", "remove"]
        assert bases("c", own) == ["c", "b", "a"]
        assert bases("gdpr_compliant", own) == []

    def test_the_rules_of_whoever_uses_a_profile_come_before_its_own(self):
        own = {"custom_rules": [{"field": "x", "action": "remove"}, {"field": "y", "action": "remove"}]}
        assert scrub({"x": "a", "y": "b"}, "p", {"field": "x", "action": "keep"}, p=own) == {"x": "a", "y": None}

    def test_the_name_that_means_fewer_counts(self):
        own = {"pii_detection": ["secrets", "API_KEY"], "actions": {"secrets": "remove", "API_KEY": "replace"}}
        assert said("p", p=own)["API_KEY"] == "replace"
        assert said("p", p=own)["JWT"] == "remove"
        turned = {**own, "pii_detection": ["API_KEY", "secrets"]}
        assert said("p", p=turned)["API_KEY"] == "replace"

    def test_locales_bring_kinds_and_regions(self):
        profile = profile_named("p", {"p": {"locales": ["uk", "de_AT"[:2]], "default_action": "replace"}})
        assert "UK_NINO" in dict(profile.treatments)
        assert profile.regions == ("GB", "DE")
        assert set(dict(profile.treatments)) <= set(ALL)

    def test_what_is_not_scanned_below_the_threshold_stays(self):
        own = {"pii_detection": ["phone_numbers"], "actions": {"phone_numbers": "remove"}, "threshold": 0.9}
        assert scrub("202-555-0143", "p", p=own) == "202-555-0143"
        assert scrub("202-555-0143", "p", p={**own, "threshold": 0.4}) == ""

    @pytest.mark.parametrize(
        ("own", "told"),
        [
            ({"extends": "gdprr"}, "profile 'p', extends: no scrubbing profile is named 'gdprr'; there are"),
            ({"extends": "q"}, "profile 'p' extends itself: p -> q -> p"),
            ({"extend": "q"}, "did you mean 'extends'"),
            ({"threshold": 2}, "threshold must be a number above 0 and up to 1"),
            ({"threshold": "high"}, "threshold must be a number"),
            ({"threshold": True}, "threshold must be a number"),
            ({"regions": ["UK"]}, "region 'UK'; did you mean 'GB'"),
            ({"regions": ["ch"]}, "did you mean 'CH'"),
            ({"regions": "CH"}, "regions must be a list of names"),
            ({"locales": ["ukk"], "default_action": "remove"}, "profile 'p', locales: no locale is named 'ukk'"),
            ({"locales": ["uk"]}, "'uk' is listed but has no action"),
            ({"default_action": "remov"}, "default_action: no action is named 'remov'; did you mean 'remove'"),
            ({"pii_detection": ["email_adresses"]}, "did you mean 'email_addresses'"),
            ({"pii_detection": ["urls"], "actions": {"url": "keep"}}, "did you mean 'urls'"),
            ({"pii_detection": ["urls"], "actions": {"urls": "generalise"}}, "urls: say what to generalise"),
            ({"pii_detection": ["urls"], "actions": ["keep"]}, "actions must map names to actions"),
            (
                {"pii_detection": ["emails", "email_addresses"],
                 "actions": {"emails": "keep", "email_addresses": "remove"}},
                "'emails' and 'email_addresses' are the same and have different actions",
            ),
            ({"custom_rules": [{"field": "x"}]}, "profile 'p', custom rule 1: the action is missing"),
        ],
    )  # fmt: skip
    def test_a_malformed_one_names_the_field_and_what_is_allowed(self, own, told):
        with pytest.raises(BadProfile, match=re.escape(told)):
            profile_named("p", {"p": own, "q": {"extends": "p"}})

    def test_hashing_by_a_base_or_a_rule_of_the_profile_needs_keys(self):
        for own in (
            {"extends": "gdpr_compliant"},
            {"custom_rules": [{"field": "x", "action": "hash_with_salt"}]},
            {"custom_rules": [{"pattern": "x+y", "action": "tokenize"}]},
        ):
            with pytest.raises(MissingKey, match="no keys were given"):
                DataScrubber({"profile": "p", "profiles": {"p": own}})

    def test_the_version_follows_everything_that_a_profile_says(self):
        base = {"pii_detection": ["dates"], "actions": {"dates": "generalise:year"}}
        others = [
            base,
            {**base, "actions": {"dates": "generalise:month"}},
            {**base, "threshold": 0.5},
            {**base, "regions": ["CH"]},
            {**base, "custom_rules": [{"field": "x", "action": "generalise:prefix:3"}]},
            {**base, "custom_rules": [{"field": "x", "action": "generalise:prefix:2"}]},
        ]
        versions = {DataScrubber({"profile": "p", "profiles": {"p": own}}).version for own in others}
        assert len(versions) == len(others)


USERS = {"users": [{"email": "a", "Name": {"email": "b"}}], "email": "c", "odd.name": {"email": "d"}, "none": None}


class TestJsonPaths:
    @pytest.mark.parametrize(
        ("path", "gone"),
        [
            ("$.users[*].email", "a"),
            ("$['users'][*]['email']", "a"),
            ('$["users"].email', "a"),
            ("$.USERS[*].EMAIL", "a"),
            ("$.email", "c"),
            ("$[*].email", "c"),
            ("$..email", "abcd"),
            ("$..*..email", "abd"),
            ("$.users..email", "ab"),
            ("$.*.email", "a"),
            ("$.users[*].*.email", "b"),
            ("$['odd.name'].email", "d"),
            ("$..name.email", "b"),
            ("$.nobody", ""),
        ],
    )
    def test_they_begin_at_the_record_in_every_shape_of_data(self, path, gone):
        if path == "$..name.email":
            gone = "bd"  # the dot in `odd.name` reads as a step, so more is taken than was meant
        rule = {"field": path, "action": "remove"}
        expected = {
            "users": [{"email": None if "a" in gone else "a", "Name": {"email": None if "b" in gone else "b"}}],
            "email": None if "c" in gone else "c",
            "odd.name": {"email": None if "d" in gone else "d"},
            "none": None,
        }
        assert scrub(USERS, None, rule) == expected
        assert scrub(pa.Table.from_pylist([USERS]), None, rule).to_pylist() == [expected]
        assert scrub(pl.DataFrame([USERS]), None, rule).to_dicts() == [expected]

    def test_inside_a_json_column_the_record_is_still_the_root(self):
        table = pa.table({"payload": [json.dumps(USERS)]}, schema=pa.schema([marked("payload", pa.string(), "json")]))
        rule = {"field": "$.payload.users[*].email", "action": "remove"}
        scrubbed = DataScrubber({"custom_rules": [rule]}).scrub(table).table
        assert json.loads(scrubbed["payload"][0].as_py()) == {
            **USERS,
            "users": [{"email": None, "Name": {"email": "b"}}],
        }

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("$.users[0].email", "places in a list are not told apart; write [*]"),
            ("$.users[-1]", "places in a list are not told apart"),
            ("$.users[?(@.a)].email", "is no path that is understood from '[?(@.a)].email' on"),
            ("$", "names no field"),
            ("$[*]", "names no field"),
            ("$.a..", "is no path that is understood"),
            ("$.a.", "is no path that is understood"),
            ("$users", "is no path that is understood from 'users' on"),
            ("$.a[b]", "is no path that is understood from '[b]' on"),
        ],
    )
    def test_others_are_refused(self, path, told):
        with pytest.raises(BadProfile, match=re.escape(told)) as caught:
            parse_rules([{"field": "x", "action": "keep"}, {"field": path, "action": "remove"}])
        assert str(caught.value).startswith("custom rule 2: ")


class TestPatterns:
    @pytest.mark.parametrize("pattern", ["x*", "", "(?:)", "a?|b", "$", "^"])
    def test_one_that_matches_the_empty_text_is_refused(self, pattern):
        with pytest.raises(BadProfile, match=r"empty text|must be text"):
            parse_rules([{"pattern": pattern, "action": "remove"}])

    @pytest.mark.parametrize("pattern", [".+", r"[\s\S]+", r"(?s).+", r"\S.*"])
    def test_keep_may_not_protect_every_text(self, pattern):
        with pytest.raises(BadProfile, match="would switch the profile off"):
            parse_rules([{"pattern": pattern, "action": "keep"}])
        parse_rules([{"pattern": pattern, "action": "remove"}])

    def test_one_that_takes_too_long_fails_with_its_name_and_without_the_text(self, monkeypatch):
        monkeypatch.setattr(rules_module, "SECONDS", 0.05)
        own = {"custom_rules": [{"field": "x", "action": "keep"}, {"pattern": r"(?:a|aa)+$", "action": "remove"}]}
        (rule,) = profile_named("p", {"p": own}).rules.patterns
        with pytest.raises(ScanError) as caught:
            rule.hits("a" * 60 + "!")
        assert (caught.value.code, caught.value.rule) == ("rule_timed_out", "profile 'p', custom rule 2")
        assert "aaa" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_record_on_which_one_takes_too_long_is_set_aside_with_the_rules_name(self, monkeypatch):
        monkeypatch.setattr(rules_module, "SECONDS", 0.05)
        slow = {"pattern": r"(?:a|aa)+$", "action": "remove"}
        scrubber = DataScrubber({"custom_rules": [slow]})
        bad = "a" * 60 + "!"
        table = pa.table({"x": ["fine", bad, "b"], "y": [[{"z": "c"}], [{"z": bad}], None]})

        refined = refine(table, scrubber, document=False, value_limit=1 << 20)

        assert refined.table.column("x").to_pylist() == ["fine", "b"]
        assert refined.failed == {1: "rule_timed_out"}
        assert refined.reasons == {1: "rule timed out: custom rule 1"}
        for data in (bad, {"x": [bad]}, table, pl.from_arrow(table)):
            with pytest.raises(SkipRecord, match=r"^a value could not be scrubbed: rule_timed_out \(custom rule 1\)$"):
                scrubber.process(data)

    def test_a_deadline_limits_patterns_too(self):
        scrubber = DataScrubber({"custom_rules": [{"pattern": r"(?:a|aa)+$", "action": "remove"}]})
        start = time.process_time()
        with pytest.raises(SkipRecord, match="rule_timed_out"):
            scrubber.process("a" * 60 + "!", deadline=Deadline(0.05, time.monotonic))
        assert time.process_time() - start < rules_module.SECONDS / 2

    def test_actions_take_options_in_both_forms(self):
        beside = {"pattern": r"\d{4}-\d\d-\d\d", "action": "generalise", "to": "month"}
        short = {"pattern": r"\d{4}-\d\d-\d\d", "action": "generalise:month"}
        assert scrub("on 2024-03-05.", None, beside) == scrub("on 2024-03-05.", None, short) == "on 2024-03."
        with pytest.raises(BadProfile, match="did you mean 'month'"):
            parse_rules([{**beside, "to": "months"}])


def test_worth_is_reason_then_length_then_the_profiles_order():
    order = {"A": 0, "B": 1}
    hits = [
        Hit("B", 0, 4, 0.1, RULE),
        Hit("B", 0, 4, 1.0, CHECKSUM),
        Hit("B", 0, 4, 1.0, CONTEXT),
        Hit("A", 0, 9, 1.0, PATTERN),
        Hit("A", 0, 4, 0.1, PATTERN),
        Hit("B", 0, 4, 1.0, PATTERN),
    ]
    assert sorted(set(hits), key=lambda hit: by_worth(hit, order)) == hits


@pytest.mark.parametrize("config", ["gdpr_compliant", ["gdpr_compliant"], 1])
def test_a_configuration_that_is_no_mapping_is_told_so(config):
    with pytest.raises(BadProfile, match=r"expected a mapping such as .*profile_id"):
        DataScrubber(config)
