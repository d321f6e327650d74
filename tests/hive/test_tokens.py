"""Pseudonyms and tokens of a fleet: keys that rotate while it works, and tokens that are read back, audited."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hive.vault import keyring
from hive.vault.audit import entries
from hive.vault.tokens import DetokenizeRefused, detokenize, rotate_pseudonyms
from nectar.errors import BadProfile
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import Nest, make_nest, nest

if TYPE_CHECKING:
    from nectar.errors import BadProfile
from tests.hive.command import Command

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

ADDRESS = "Ada.Canary@example.com"
SCRUBBING = {"custom_rules": [{"field": "mail", "action": "tokenize"}]}


@pytest.fixture
def allowed(make_nest) -> Nest:
    return make_nest(allow_detokenize=True)


@pytest.fixture(autouse=True)
def _allowed_on_this_machine(hive: Command) -> None:
    hive.set({"HIVE_ALLOW_DETOKENIZE": "true"})


def landed(of: Nest, column: str = "mail") -> list[str]:
    return [data[column] for (data,) in of.rows("SELECT data FROM hive.honey ORDER BY record_key")]


def write(of: Nest, scrubbing: dict, *records: dict) -> None:
    folder = of.register(scrubbing=scrubbing)
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_a_token_that_landed_is_read_back_and_the_audit_names_no_value(hive, allowed):
    write(allowed, SCRUBBING, {"id": 1, "mail": ADDRESS}, {"id": 2, "mail": ADDRESS})
    allowed.land()
    first, second = landed(allowed)
    assert first == second
    assert ADDRESS not in first

    said = hive("vault", "detokenize", first, second, "--reason", "ticket 17")

    assert (said.code, said.out, said.err) == (0, f"{ADDRESS}\n{ADDRESS}\n", "")
    entry = hive("vault", "audit", "--json").json[0]
    assert entry["action"] == "detokenize"
    assert entry["body"]["tokens"] == 2
    assert entry["body"]["kinds"] == {"EMAIL_ADDRESS": 2}
    assert entry["body"]["reason"] == "ticket 17"
    assert "@" in entry["who"]
    assert "canary" not in json.dumps(entry).lower()
    assert "ticket 17" in hive("vault", "audit").out


def test_without_the_permission_nothing_is_read_and_the_refusal_is_kept(hive, allowed):
    write(allowed, SCRUBBING, {"id": 1, "mail": ADDRESS})
    allowed.land()
    hive.set({"HIVE_ALLOW_DETOKENIZE": "false"})

    said = hive("vault", "detokenize", landed(allowed)[0], "--reason", "curious")

    assert (said.code, said.out) == (1, "")
    assert "HIVE_ALLOW_DETOKENIZE=true" in said.err
    assert [e.action for e in entries(allowed.rt.db.engine)] == ["detokenize:refused"]


def test_a_reason_must_be_given_and_a_wrong_token_is_named_by_its_place(hive, allowed):
    write(allowed, SCRUBBING, {"id": 1, "mail": ADDRESS})
    allowed.land()
    token = landed(allowed)[0]

    assert hive("vault", "detokenize", token).code == 2
    for tokens, told in (
        ([token, "nonsense"], "token 2: this is no token"),
        ([token[:-4] + "aaaa"], "token 1 does not open"),
        (["kvvvvvvvv~" + token.partition("~")[2]], "token 1 does not open"),
    ):
        with pytest.raises(DetokenizeRefused, match=told) as caught:
            detokenize(allowed.rt, tokens, reason="test")
        assert token not in str(caught.value)
    with pytest.raises(DetokenizeRefused, match="no reason"):
        detokenize(allowed.rt, [token], reason=" ")
    with pytest.raises(DetokenizeRefused, match="does not open"):
        detokenize(allowed.rt, [token], reason="test", tenant="other")
    assert entries(allowed.rt.db.engine) == []


def test_a_rotated_key_is_taken_by_a_process_that_works_and_old_tokens_are_still_read(hive, allowed, monkeypatch):
    write(allowed, SCRUBBING, {"id": 1, "mail": ADDRESS})
    allowed.land()
    old = landed(allowed)[0]
    monkeypatch.setattr(keyring, "_LOOK", 0.0)

    said = hive("vault", "rotate", "EMAIL_ADDRESS", "--json")
    allowed.land(full_refresh=True)

    new = landed(allowed)[0]
    assert new.startswith(said.json[0]["key_id"] + "~")
    assert not new.startswith(old.partition("~")[0])
    assert hive("vault", "detokenize", "-", "--reason", "check", stdin=f"{old}\n{new}\n").out == f"{ADDRESS}\n" * 2
    assert [e.action for e in entries(allowed.rt.db.engine)] == ["detokenize", "rotate"]


def test_rotate_names_the_kinds_there_are(hive, allowed):
    assert "no key for pseudonyms" in hive("vault", "rotate", "--all").err
    allowed.rt.keyring().pseudonym_key("EMAIL_ADDRESS")

    assert hive("vault", "rotate").code == 2
    wrong = hive("vault", "rotate", "EMAIL_ADRESS")
    assert (wrong.code, wrong.out) == (2, "")
    assert "did you mean 'EMAIL_ADDRESS'" in wrong.err
    assert list(rotate_pseudonyms(allowed.rt, None)) == ["EMAIL_ADDRESS"]


def test_the_manager_scrubs_by_the_profile_of_a_bee_and_its_pseudonyms_join_the_jar(allowed):
    own = {"extends": "gdpr_compliant", "pii_detection": ["urls"], "default_action": "replace"}
    write(allowed, {"profile": "ours", "profiles": {"ours": own}}, {"id": 1, "mail": ADDRESS})
    allowed.land()

    scrubbed = allowed.hive.scrubber("ours").process({"to": ADDRESS.upper(), "at": "see https://example.com/x"})

    assert scrubbed == {"to": landed(allowed)[0], "at": "see <URL>"}
    with pytest.raises(BadProfile, match="did you mean 'gdpr_compliant'"):
        allowed.hive.scrubber("gdpr_compiant")
    with pytest.raises(BadProfile):
        allowed.hive.scrubber("ours", tenant="other")
    allowed.register("second", scrubbing={"profile": "ours", "profiles": {"ours": {**own, "default_action": "keep"}}})
    with pytest.raises(BadProfile, match="different profiles named 'ours'"):
        allowed.hive.scrubber("ours")
    assert allowed.hive.scrubber("ours", profiles={"ours": own}).process(ADDRESS) == scrubbed["to"]
    given = {"profile_id": "ours", "profiles": {"ours": own}, "custom_rules": [{"field": "n", "action": "remove"}]}
    assert allowed.hive.scrubber(given).process({"to": ADDRESS, "n": "x"}) == {"to": scrubbed["to"], "n": None}


def test_the_manager_knows_a_bees_own_form_of_a_rule_by_the_rules_name(allowed):
    own = {"pii_detection": ["urls"], "actions": {"urls": "replace"}}
    allowed.register("first", scrubbing={"profile": "GDPR", "profiles": {"gdpr_compliant": own}})

    assert allowed.hive.scrubber("GDPR").process("see https://example.com/x") == "see <URL>"
