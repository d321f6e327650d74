"""References in options, and secrets that move out of them."""

# ruff: noqa: F811 - fixtures are imported, then asked for by name

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from bees.core.errors import GiveUp
from hive.config.load import from_mapping
from hive.config.problems import ConfigProblems
from hive.config.references import BadReference, MissingReference, Reference, joined, lift_secrets, references, resolve
from hive.flight.bees import make_bee
from tests.hive.village import CANARY, VillageOptions, only_the_village, read  # noqa: F401


class TestReferences:
    ENVIRON: ClassVar = {"NAME": "n${X}", "PORT": "5"}
    VAULT: ClassVar = {"google/client_id": "id {{ vault.a }}", "bees/a.b-c/password": "p"}

    def resolve(self, value, bee=""):
        return resolve(value, environ=self.ENVIRON, vault=self.VAULT.__getitem__, bee=bee)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("plain", "plain"),
            ("a ${NAME} b", "a n${X} b"),
            ("{{ vault.google.client_id }}", "id {{ vault.a }}"),
            ("{{vault.google.client_id}}${PORT}", "id {{ vault.a }}5"),
            ("{{ vault:bees/a.b-c/password }}", "p"),
            ("$${NAME} $$ $5 $", "${NAME} $$ $5 $"),
            ("{{ other.thing }} {{ vaulted }}", "{{ other.thing }} {{ vaulted }}"),
        ],
    )
    def test_are_replaced_once_and_what_they_bring_is_left_alone(self, text, value):
        assert self.resolve(text, bee="a.b-c") == value

    def test_are_found_at_any_depth(self):
        value = {"a": ["${NAME}", {"b": "{{ vault.x.y }}"}], "c": 5}

        assert references(value) == {Reference("environment", "NAME"), Reference("vault", "x/y")}
        assert self.resolve({"a": ({"b": "${PORT}"}, 5, None)}) == {"a": [{"b": "5"}, 5, None]}

    @pytest.mark.parametrize(("text", "name"), [("${NONE}", "NONE"), ("{{ vault.google.none }}", "google/none")])
    def test_one_that_is_missing_names_bee_field_and_itself(self, text, name):
        with pytest.raises(MissingReference, match=f"bee 'post', field 'a.0': .*{name}") as caught:
            resolve({"a": [text]}, environ={}, vault={}.__getitem__, bee="post")

        assert (caught.value.bee, caught.value.field, caught.value.reference.name) == ("post", "a.0", name)

    @pytest.mark.parametrize(
        "text", ["${", "${a-b}", "${}", "{{ vault }}", "{{ vault.a b }}", "{{ vault.a", "{{ vault:/a }}"]
    )
    def test_one_that_is_written_wrongly_is_an_error_not_a_literal(self, text):
        with pytest.raises(BadReference, match="no reference"):
            references(text)

    @pytest.mark.parametrize("text", ["{{ vault.hive.keys.default.record }}", "{{ vault:hive/keys/default/record }}"])
    def test_the_hives_own_keys_cannot_be_asked_for(self, text):
        with pytest.raises(BadReference, match="belong to the hive"):
            self.resolve(text)

    @pytest.mark.parametrize(
        "name",
        ["HIVE_KEY", "HIVE_KEY_FILE", "HIVE_DATABASE_URL", "HIVE_REDIS_URL", "HIVE_FLOWER_LOGIN", "hive_key"],
    )
    def test_nor_can_the_hives_own_secrets_in_the_environment(self, name):
        for look in (references, lambda text: resolve(text, environ={name: CANARY}, vault={}.__getitem__)):
            with pytest.raises(BadReference, match=f"{name}: it belongs to the hive itself") as caught:
                look(f"a ${{{name}}}")

            assert CANARY not in str(caught.value)

    def test_other_variables_of_the_hive_can(self):
        assert resolve("${HIVE_DATA_DIR}/x", environ={"HIVE_DATA_DIR": "/d"}, vault={}.__getitem__) == "/d/x"
        assert references("$${HIVE_KEY} ${HIVE_KEYS}") == {Reference("environment", "HIVE_KEYS")}

    def test_a_bee_that_asks_for_a_secret_of_the_hive_is_refused_when_it_is_read(self, read):
        with pytest.raises(ConfigProblems, match="HIVE_KEY: it belongs to the hive itself"):
            read('bees: {a: {type: village, source: {host: "${HIVE_KEY}"}}}', environ={"HIVE_KEY": CANARY})

    def test_the_secrets_of_another_bee_cannot_be_asked_for(self):
        with pytest.raises(BadReference, match="belongs to another bee"):
            self.resolve("{{ vault:bees/a.b-c/password }}", bee="thief")

    def test_a_disabled_bee_may_lack_its_secrets(self, read):
        text = 'bees: {a: {type: village, enabled: ENABLED, source: {host: "${NOPE}"}}}'

        read(text.replace("ENABLED", "false"), environ={})
        with pytest.raises(ConfigProblems, match="NOPE is missing"):
            read(text.replace("ENABLED", "true"), environ={})


class TestJoined:
    @pytest.mark.parametrize(
        "pieces",
        [
            ["{", "{ vault:shared/db }}"], ["$", "{HOME}"], ["{{ vault:", "a/b }}"], ["$", "${HOME}"], ["$$", "{a}"],
            ["$", "{"], ["{{ ", "vault"],
        ],
    )  # fmt: skip
    def test_what_makes_or_unmakes_a_reference_is_refused(self, pieces):
        with pytest.raises(BadReference):
            joined(pieces)

    @pytest.mark.parametrize(
        "pieces",
        [["a ", "b"], ["$", "5"], ["$", "$${x}"], ["${A}", "${A}"], ["{", "{{ vault.a }}", "}"], ["{", "{ x }}"], []],
    )
    def test_all_else_is_the_pieces_side_by_side(self, pieces):
        assert joined(pieces) == "".join(pieces)


class TestLiftSecrets:
    def lift(self, options, bee="sales.db-bee"):
        return lift_secrets(bee, VillageOptions, options)

    def test_literal_secrets_move_to_the_vault_and_come_back(self):
        options = {
            "host": "h", "password": CANARY, "headers": {"X-Key": CANARY, "a/b": CANARY},
            "logins": [{"user": "u", "password": CANARY}], "auth": {"kind": "token", "token": CANARY},
        }  # fmt: skip

        lifted, secrets = self.lift(options)

        assert CANARY not in repr(lifted)
        assert lifted["password"] == "{{ vault:bees/sales.db-bee/password }}"
        assert sorted(secrets) == [
            f"bees/sales.db-bee/{field}"
            for field in ("auth/token", "headers/X-Key", "headers/x.612f62", "logins/0/password", "password")
        ]
        assert resolve(lifted, environ={}, vault=secrets.__getitem__, bee="sales.db-bee") == options
        assert self.lift(lifted) == (lifted, {})

    def test_references_stay(self):
        options = {"host": "h", "password": "${PASSWORD}", "headers": {"a": "{{ vault.x.y }}"}}

        assert self.lift(options) == (options, {})

    def test_of_mixed_text_the_literal_parts_move(self):
        lifted, secrets = self.lift({"password": f"{CANARY}${{NAME}}$${{x"})

        assert lifted["password"] == (
            "{{ vault:bees/sales.db-bee/password/0 }}${NAME}{{ vault:bees/sales.db-bee/password/2 }}"
        )
        assert list(secrets.values()) == [CANARY, "${x"]

    def test_names_of_bees_never_share_a_path(self):
        names = ["a", "a.b", "a-b", "a_b", "A"]

        paths = [tuple(self.lift({"password": CANARY}, bee=name)[1]) for name in names]

        assert len(set(paths)) == len(names)

    def test_what_is_no_secret_or_empty_stays(self):
        assert self.lift({"host": "h", "port": 5, "password": "", "unknown": "x"})[1] == {}

    def test_the_bee_takes_the_lifted_options(self):
        bee = from_mapping("a", {"host": "h", "password": CANARY, "streams": {"x": {"key": "k"}}}, connector="village")

        lifted = bee.with_options(lift_secrets("a", VillageOptions, bee.options)[0])

        assert CANARY not in json.dumps(lifted.block())
        assert lifted.streams == bee.streams
        assert lifted.source["host"] == "h"


def test_a_variable_that_a_process_lacks_is_said_to_be_its_own(monkeypatch):
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    config = {"source": {"path": "${NO_SUCH_TOKEN}"}, "streams": {"a": {}}}
    with pytest.raises(GiveUp, match=r"environment variable NO_SUCH_TOKEN is missing.*start it again there") as caught:
        make_bee("post", "local", config, lambda _: "")
    assert (caught.value.code, caught.value.where) == ("missing_reference", "source.path")
