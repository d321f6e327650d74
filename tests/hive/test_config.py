"""What a configuration may say, and how all of its mistakes are told at once."""

# ruff: noqa: F811 - fixtures are imported, then asked for by name

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import traceback

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.dataclasses import dataclass

from hive.config.explain import explain
from hive.config.fields import names_at
from hive.config.load import from_mapping, load
from hive.config.model import BeeConfig, UnknownBee
from hive.config.problems import ConfigProblems, closest, did_you_mean
from hive.config.schedule import Schedule
from nectar.scrub.profile.profiles import BUILT_IN
from tests.hive.village import CANARY, VillageOptions, only_the_village, read  # noqa: F401


@pytest.fixture
def complaints(read, tmp_path):
    """The lines of what is wrong, without the folder."""

    def lines(text, suffix=".yaml", **known):
        with pytest.raises(ConfigProblems) as caught:
            read(text, suffix, **known)
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return lines


DATABASE = {"host": "h", "database": "d", "user": "u", "password": "${PASSWORD}"}
FULL = """
    bees:
      post:
        type: village
        schedule: "0 */6 * * *"
        timezone: Europe/Berlin
        catch_up: all
        source: {host: a.example, password: "${PASSWORD}", headers: {X-Key: "{{ vault.village.key }}"}}
        streams: {cards: {cursor: sent_at}, letters: }
        scrubbing: {profile: gdpr_compliant, custom_rules: [{field: notes, action: replace}]}
        honey_jar: sales
        limits: {concurrency: 2}
        leg: 2m
"""


class TestLoad:
    def test_the_native_form_becomes_the_model(self, read):
        bee = read(FULL, environ={"PASSWORD": "x"}, vault={"village/key": "y"}.__getitem__).bee("post")

        assert bee.schedules == (Schedule(cron="0 */6 * * *", timezone="Europe/Berlin", catch_up="all"),)
        assert (bee.type, bee.enabled, bee.tenant, bee.leg) == ("village", True, "default", 120.0)
        assert bee.honey_jar is not None
        assert bee.honey_jar.name == "sales"
        assert bee.scrubbing.profile == "gdpr_compliant"
        assert bee.options["streams"] == {"cards": {"cursor": "sent_at"}, "letters": {}}
        assert bee.options["password"] == "${PASSWORD}"

    def test_json_says_the_same_as_yaml(self, read):
        block = {"type": "village", "source": {"host": "a"}, "every": "5m"}

        fleet = read(json.dumps({"bees": {"post": block}}, indent="\t"), ".json")

        assert fleet == read(f"bees: {{post: {json.dumps(block)}}}")

    def test_a_block_survives_the_ledger(self, read):
        bee = read(FULL).bee("post")

        assert BeeConfig.model_validate(json.loads(json.dumps(bee.block()))) == bee

    def test_a_schedule_of_its_own_zone_survives_the_ledger(self):
        bee = from_mapping("a", {
            "type": "village", "source": {"host": "a"}, "timezone": "Europe/Berlin",
            "schedules": [{"cron": "0 1 * * *", "timezone": "UTC"}],
        })  # fmt: skip

        assert BeeConfig.model_validate(bee.block()).schedules[0].timezone == "UTC"

    def test_every_problem_of_a_file_is_told_at_once_with_its_line(self, complaints):
        found = complaints(
            """\
            bees:
              post:
                type: village
                schedule: "0 */6 * *"
                timezone: Europe/Berln
                catch_up: lst
                source:
                  hots: a.example
                  port: many
                  password: "${PASWORD}"
                streams: {cards: {cursr: sent_at}}
                honey_jar: "a/b'"
                limits: {concurency: 3}
                port: 5
              mail:
                type: vilage
                every: -5
            """,
            environ={"PASSWORD": CANARY},
        )

        assert [line.split(":")[1] for line in found] == [
            str(n) for n in (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17)
        ]
        text = "\n".join(found)
        for line in (
            "hive.yaml:4: bee 'post', field 'schedule': is no cron expression",
            "field 'timezone': is no time zone of the IANA list, such as 'Europe/Berlin'; did you mean 'Euro",
            "field 'catch_up': is none of the known words, expected 'none', 'last' or 'all'; did you mean 'last'?",
            "hive.yaml:7: bee 'post', field 'source.host': is missing, expected server name or address",
            "field 'source.hots': is no known option; did you mean 'host'?",
            "field 'source.port': should be a whole number",
            "field 'source.password': the environment variable PASWORD is missing: set it; did you mean 'PASSWORD'?",
            "field 'streams.cards.cursr': is no known option; did you mean 'cursor'?",
            "field 'honey_jar': is too long or holds a character that is not allowed, expected a letter or digit",
            "field 'limits.concurency': is no known option; did you mean 'concurrency'?",
            "field 'port': is no known option; did you mean 'source.port'?",
            "bee 'mail', field 'type': no connector is named 'vilage'; did you mean 'village'?",
            "bee 'mail', field 'every': is no interval",
        ):
            assert line in text

    @pytest.mark.parametrize("name", ["a b", "'a/b'", "-a", "'a\"b'", "5", "a" * 64, "'../a'", '"a\\n"'])
    def test_names_of_bees_hold_no_quotes_or_paths(self, complaints, name):
        assert "is no name for a bee" in complaints(f"bees: {{{name}: {{type: village, source: {{host: a}}}}}}")[0]

    @pytest.mark.parametrize("jar", ["a b", "a/b", "a'b", "a" * 63, "..", "", 'a\\"b', "a\\n"])
    def test_names_of_jars_hold_no_quotes_or_paths(self, complaints, jar):
        found = complaints(f'bees: {{a: {{type: village, source: {{host: a}}, honey_jar: "{jar}"}}}}')

        assert "field 'honey_jar'" in found[0]
        assert "62 at most" in found[0]

    def test_a_jar_may_be_described(self, read):
        bee = read("bees: {a: {type: village, source: {host: a}, honey_jar: {name: j, description: d}}}").bee("a")

        assert bee.honey_jar is not None
        assert (bee.honey_jar.name, bee.honey_jar.description) == ("j", "d")

    @pytest.mark.parametrize("scrubbing", ["", "scrubbing: {profile: null}", "scrubbing: {custom_rules: []}"])
    def test_no_profile_means_rules_only(self, read, scrubbing):
        bee = read(f"bees: {{a: {{type: village, source: {{host: a}}, {scrubbing}}}}}").bee("a")

        assert bee.scrubbing.profile is None

    def test_keys_written_twice_are_told_beside_the_rest(self, complaints):
        found = complaints("""\
            bees:
              a: {type: village, source: {hots: a}}
              a: {type: village, source: {host: a}, every: never}
        """)

        assert found[0] == "hive.yaml:3: the key 'a' is written twice, first in line 2"
        assert "field 'every'" in found[1]

    def test_keys_written_twice_in_json_are_told(self, complaints):
        found = complaints('{"bees": {"a": {"type": "village"},\n "a": {}}}', ".json")

        assert any("hive.json:2: the key 'a' is written twice" in line for line in found)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "names no bees"),
            ("bee: {}", "names no bees: a map `bees:` was expected, 'bee' was found"),
            ("- a", "names no bees"),
            ("bees: []", "`bees` must be a map"),
            ("bees: {}\nmore: 1", "hive.yaml:2: the key 'more' is not known here"),
            ("bees: {a: 1}", "must be a map with `type`"),
            ("bees: {a: {}}", "bee 'a', field 'type': is missing"),
            ("bees: {a: {type: 5}}", "field 'type': should be text"),
            ("bees: {a: {type: village, source: [x]}}", "field 'source': should be a map of names and values"),
            ("bees: {a: {type: village, source: {host: a}, streams: [x]}}", "field 'streams': should be a map"),
            ("bees: {a: {type: village, source: {host: a, streams: {x: {kee: 1}}}}}", "field 'source.streams.x.kee'"),
            (f"bees: {{a: *{CANARY}}}", "is not YAML: found undefined alias"),
            (f"bees: {{a: !{CANARY} x}}", "is not YAML: could not determine a constructor"),
            (f'bees: {{a: "{CANARY}', "is not YAML"),
            ("bees: &a [*a]", "is an alias inside of itself"),
            ("bees: {a: !!int x}", "is not YAML"),
            ("bees: {a: 2024-13-45}", "bee 'a': must be a map"),
            ("[" * 5000, "is nested too deeply"),
        ],
    )
    def test_what_is_no_configuration_is_told_by_line_and_never_quoted(self, complaints, text, message):
        assert message in complaints(text)[0]

    def test_aliases_cannot_fill_the_memory(self, complaints):
        levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

        assert any("grows too large" in line for line in complaints("\n".join(["a0: &a0 x", *levels])))

    def test_a_date_that_cannot_be_is_told_with_its_place_and_hides_nothing_else(self, complaints):
        found = complaints("""\
            bees:
              a: {type: village, source: {host: a}, every: 5m, start: 2026-02-31}
              b: {type: village, sorce: {host: a}}
        """)

        assert found == [
            "hive.yaml:2: bee 'a', field 'start': should be a date, or a date and time such as 2026-01-31T08:00:00Z",
            "hive.yaml:3: bee 'b', field 'sorce': is no known option; did you mean 'source'?",
            "hive.yaml:3: bee 'b', field 'source.host': is missing, expected server name or address",
        ]

    @pytest.mark.parametrize(
        ("name", "shown", "kind"),
        [("null", "null", "nothing (null)"), ("1", "1", "a number"), ("2026-02-03", "2026-02-03", "a date"),
         ("yes", "True", "true or false"), ("0x10", "16", "a number")],
    )  # fmt: skip
    def test_a_name_that_is_no_text_is_told_with_its_line_and_a_way_out(self, complaints, name, shown, kind):
        block = "{type: village, source: {host: a}}"
        found = complaints(f"bees:\n  a: {block}\n  {name}: {block}")

        told = f"is no name for a bee: YAML takes it for {kind}, put it between quotes"
        assert found == [f"hive.yaml:3: bee '{shown}': {told}"]

    @pytest.mark.parametrize(
        "block", ["schedule: 5m", "schedule: 300", "schedules: [5m]", "schedules: {a: {cron: 5m}}"]
    )
    def test_an_interval_where_a_cron_expression_belongs_is_told_how_to_write_it(self, complaints, block):
        (found,) = complaints(f"bees: {{a: {{type: village, source: {{host: a}}, {block}}}}}")

        assert "is an interval and no cron expression: write `every: " in found

    @pytest.mark.parametrize(
        ("block", "told"),
        [
            ("on: [webhok]", "field 'on': names no event; did you mean 'webhook'?"),
            ("on: soon", "field 'on': names no event: write webhook, {jar: NAME} or {file: PATH}"),
            ("on: {file: in/*.csv}", "field 'on.file': is a relative path, expected an absolute one"),
            ("on: [webhook, {file: in/a}]", "field 'on.1.file': is a relative path"),
            ("timezone: localtime", "field 'timezone': is no time zone of the IANA list"),
        ],
    )
    def test_what_makes_no_bee_fly_is_told(self, complaints, block, told):
        assert told in complaints(f"bees: {{a: {{type: village, source: {{host: a}}, every: 5m, {block}}}}}")[0]

    def test_a_second_document_in_a_file_is_told(self, complaints):
        found = complaints("bees: {a: {type: village, source: {host: a}}}\n---\nbees: {}\n")

        assert found == [
            "hive.yaml:2: holds several documents, expected one: put what follows `---` in a file of its own"
        ]

    def test_a_wrong_profile_or_rule_is_told_before_anything_flies(self, complaints):
        found = complaints("""\
            bees:
              a:
                type: village
                source: {host: a}
                scrubbing:
                  profile: gdpr_complaint
                  custom_rules:
                    - {field: x, action: explode}
                    - {field: "", action: remove}
                    - {pattern: "(", action: remove}
                    - {feild: x, action: remove}
                    - {field: x, action: removee}
                    - {field: x}
                    - {field: notes, action: replace}
              b: {type: village, source: {host: a}, scrubbing: {profile: nosuch}}
        """)

        form = "expected {field: NAME, action: ACTION} or {pattern: REGEX, action: ACTION}"
        actions = (
            "expected one of encryption, generalisation, generalise, generalization, generalize, hash_with_salt, "
            "hashing, keep, mask_partial, masking, redaction, removal, remove, replace, tokenisation, tokenise, "
            "tokenization, tokenize"
        )
        profiles = f"expected one of {', '.join(BUILT_IN)}"
        assert [line.partition(" field 'scrubbing.")[2] for line in found] == [
            "profile': no profile is named 'gdpr_complaint'; did you mean 'gdpr_compliant'?",
            f"custom_rules.0': no action is named 'explode', {actions}",
            f"custom_rules.1': field or pattern must be text, {form}",
            "custom_rules.2': the pattern is no regular expression (missing ) at position 1)",
            "custom_rules.3': nothing is called 'feild' here; did you mean 'field'?",
            "custom_rules.4': no action is named 'removee'; did you mean 'remove'?",
            f"custom_rules.5': the action is missing, {form}",
            f"profile': no profile is named 'nosuch', {profiles}",
        ]
        assert [line.partition("bee ")[2][:3] for line in found] == ["'a'"] * 7 + ["'b'"]
        assert [line.split(":")[1] for line in found] == [*"6", *map(str, range(8, 14)), "15"]

    def test_a_check_does_not_wait_for_the_recognisers(self):
        code = (
            "import sys; from hive.config.load import from_mapping;"
            "from_mapping('a', {'type': 'local', 'source': {'path': '/'}, 'scrubbing': {'profile': 'gdpr_compliant',"
            " 'custom_rules': [{'field': 'x', 'action': 'keep'}]}}); assert 'presidio_analyzer' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_an_errors_own_words_are_not_followed_by_the_options_help(self, complaints):
        found = complaints("bees: {a: {type: village, source: {host: a, port: many}, catch_up_limit: 0}}")

        assert [line.partition("field ")[2] for line in found] == [
            "'catch_up_limit': should be 1 or more",
            "'source.port': should be a whole number",
        ]

    def test_the_very_word_is_never_suggested(self):
        class Either(BaseModel, extra="forbid"):
            source_path: str = ""

        error = {"type": "extra_forbidden", "loc": ("source_path",), "msg": ""}

        assert explain(Either, error, None).suggestion == ""
        assert "no known option" not in explain(Either, error, None).message
        assert closest("HOST", ["HOST", "hosts"]) == "hosts"
        assert did_you_mean("host", ["HOST"]) == "; did you mean 'HOST'?"

    def test_merged_blocks_are_checked_where_they_are_used(self, complaints):
        found = complaints("""\
            bees:
              a: &base {type: village, source: {host: a}, every: 5m}
              b:
                <<: *base
                every: 5x
        """)

        assert found == [found[0]]
        assert found[0].startswith("hive.yaml:5: bee 'b', field 'every'")

    def test_a_file_that_cannot_be_read_is_told(self, tmp_path):
        with pytest.raises(ConfigProblems, match="cannot be read: No such file"):
            load(tmp_path / "none.yaml")
        (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\xfa")
        with pytest.raises(ConfigProblems, match="not UTF-8"):
            load(tmp_path / "bad.yaml")

    def test_broken_json_is_told_by_line(self, complaints):
        assert complaints('{"bees":\n oops}', ".json")[0].startswith("hive.json:2: is not JSON")

    def test_an_unknown_bee_suggests_the_near_one(self, read):
        with pytest.raises(UnknownBee, match="no bee is named 'psot'; did you mean 'post'"):
            read(FULL).bee("psot")

    def test_a_connector_that_quotes_a_secret_in_its_reason_is_not_repeated(self, complaints):
        found = complaints('bees: {a: {type: village, source: {host: a, shape: "${S}"}}}', environ={"S": CANARY})

        assert "source.shape" in found[0]

    def test_a_literal_secret_of_the_wrong_kind_is_not_repeated(self, complaints):
        found = complaints(f"bees: {{a: {{type: village, source: {{host: a, password: [{CANARY}]}}}}}}")

        assert "source.password" in found[0]

    def test_neither_a_bee_nor_a_fleet_shows_its_options(self, read):
        fleet = read(f"bees: {{a: {{type: village, source: {{host: a, password: {CANARY}}}}}}}")

        assert CANARY not in repr(fleet) + str(fleet.bee("a"))


class TestSchedulesInConfig:
    def bee(self, **block):
        return from_mapping("a", {"type": "village", "source": {"host": "a"}, **block})

    def test_several_are_named_in_a_map_or_a_list_and_share_the_rhythm(self):
        wanted = (
            Schedule(name="flow", every=300, overlap="allow"),
            Schedule(name="night", cron="0 1 * * *", mode="snapshot", overlap="skip"),
        )
        night = {"cron": "0 1 * * *", "mode": "snapshot", "overlap": "skip"}

        assert self.bee(overlap="allow", schedules={"flow": {"every": "5m"}, "night": night}).schedules == wanted
        assert self.bee(
            overlap="allow", schedules=[{"name": "flow", "every": "5m"}, {"name": "night", **night}]
        ).schedules == wanted  # fmt: skip

    @pytest.mark.parametrize(
        ("block", "message"),
        [
            ({"schedule": "* * * * *", "every": "5m"}, "field 'schedule': needs either `cron` or `every`"),
            ({"schedule": "* * * * *", "schedules": {"a": "0 1 * * *"}}, "has both"),
            ({"schedules": ["* * * * *", "0 1 * * *"]}, "each needs a `name`"),
            ({"schedules": {"a": {"cron": "x"}}}, "field 'schedules.a.cron': is no cron"),
            (
                {"schedules": {"a": {"evry": "5m", "every": 5}}},
                "field 'schedules.a.evry': is no known option; did you mean",
            ),
            ({"schedules": {"a": {"every": "5m"}}, "jitter": -1}, "field 'jitter'"),
            ({"schedules": {"a@b": {"every": "5m"}}}, "field 'schedules.a@b.name'"),
            ({"schedules": [{}]}, "field 'schedules.0': needs either"),
            ({"schedules": 5}, "field 'schedules': should be a list"),
            ({"schedule": {"cron": "x"}}, "field 'schedule.cron': is no cron"),
            ({"schedule": 5}, "field 'schedule'"),
            ({"every": True}, "field 'every': is no interval"),
            ({"catch_up_limit": 0, "every": 5}, "field 'catch_up_limit'"),
        ],
    )
    def test_what_is_wrong_is_told_at_the_place_it_was_written(self, block, message):
        with pytest.raises(ConfigProblems) as caught:
            self.bee(**block)

        assert message in str(caught.value)
        assert len(caught.value.problems) == 1

    def test_a_later_schedule_takes_the_bees_rhythm(self):
        bee = self.bee(timezone="Europe/Berlin", jitter=5)

        assert bee.new_schedule(cron="*/5 * * * *") == Schedule(cron="*/5 * * * *", timezone="Europe/Berlin", jitter=5)
        with pytest.raises(ValidationError):
            bee.new_schedule(cron="*/5 * * *")


class TestFromMapping:
    def test_flat_options_become_the_source(self):
        bee = from_mapping(
            "a", {"host": "h", "timezone": "theirs", "streams": {"x": {}}, "every": 60}, connector="village"
        )

        assert bee.options == {"host": "h", "timezone": "theirs", "streams": {"x": {}}}
        assert bee.schedules[0].every == 60
        assert bee.timezone == "UTC"

    def test_a_native_block_is_taken_as_it_is(self):
        assert from_mapping("a", {"type": "village", "source": {"host": "h"}}).source == {"host": "h"}

    def test_problems_name_the_bee_without_a_file(self):
        with pytest.raises(ConfigProblems) as caught:
            from_mapping("a", {"hots": "h"}, connector="village")

        assert str(caught.value).splitlines() == [
            "bee 'a', field 'source.host': is missing, expected server name or address",
            "bee 'a', field 'source.hots': is no known option; did you mean 'host'?",
        ]

    def test_an_unknown_connector_is_told(self):
        with pytest.raises(ConfigProblems, match="no connector is named 'vilage'; did you mean 'village'"):
            from_mapping("a", {"host": "h"}, connector="vilage")


def test_known_options_are_found_through_unions_tuples_and_maps():
    @dataclass
    class Plain:
        word: str = ""

    assert names_at(VillageOptions, ("auth", "Token")) == ["kind", "password", "token", "user"]
    assert names_at(VillageOptions, ("logins", 3)) == ["kind", "password", "user"]
    assert names_at(VillageOptions, ("streams", "any")) == ["cursor", "key"]
    assert names_at(dict[str, tuple[int, Plain]], ("x", 1)) == ["word"]
    assert list(itertools.chain(names_at(int, ()), names_at(VillageOptions, ("nothing", "here")))) == []


def test_suggestions_ignore_case_and_stay_silent_when_nothing_is_near():
    assert did_you_mean("Hots", ["HOST", "port"]) == "; did you mean 'HOST'?"
    assert did_you_mean("zzz", ["HOST", "port"]) == ""

    @pytest.mark.parametrize(
        ("kind", "config", "source"),
        [
            ("api_worker", {"base_url": "https://x.example", "endpoints": {"data": ["/a"]}}, "rest"),
            ("RESTAPIWorkerBee", {"base_url": "https://x.example", "endpoints": {"data": ["/a"]}}, "rest"),
            ("file_worker", {"source_path": "/in", "patterns": ["*.csv"], "recursive": True}, "local"),
            ("file_worker", {"type": "local", "source_path": "/in"}, "local"),
            ("FileWorker", {"config": {"type": "local", "source_path": "/in"}}, "local"),
            ("postgres", DATABASE, "postgresql"),
            ("database_worker_bee", DATABASE, "postgresql"),
            ("PostgreSQLWorkerBee", {"source": DATABASE}, "postgresql"),
        ],
    )
    def test_types_of_the_documents_are_taken_with_their_options(self, kind, config, source):
        bee = from_mapping("a", config, connector=kind)

        assert bee.type == source
        given = config.get("config") or config.get("source") or config
        renamed = {("path" if key == "source_path" else key): value for key, value in given.items() if key != "type"}
        assert bee.source == renamed

    def test_a_whole_block_of_the_documents_is_taken(self):
        block = {
            "schedule": "0 0 * * *", "config": {"base_url": "https://x.example", "endpoints": {"data": ["/a"]}},
            "processing": {"scrubbing_profile": "gdpr_compliant", "target_honey_jar": "sales"},
        }  # fmt: skip
        bee = from_mapping("a", block, connector="api_worker")
        sold = from_mapping("b", {"source": DATABASE, "security": {"timeout": 30}}, connector="postgresql")

        assert (bee.schedules[0].cron, bee.scrubbing.profile) == ("0 0 * * *", "gdpr_compliant")
        assert bee.honey_jar is not None
        assert bee.honey_jar.name == "sales"
        assert sold.source["statement_timeout"] == 30

    def test_mistakes_in_them_are_told_in_the_words_that_were_written(self):
        with pytest.raises(ConfigProblems, match="field 'source_pth': is no known option"):
            from_mapping("a", {"source_pth": "/in"}, connector="file_worker")
        with pytest.raises(ConfigProblems, match="cannot fly: connector 'dropbox' is not built"):
            from_mapping("a", {"type": "dropbox"}, connector="file_worker")


def test_a_profile_that_takes_a_model_is_refused_where_the_model_is_missing(read, monkeypatch):
    from nectar.scrub.find import names

    told = """
        scrubbing_profiles: {people: {pii_detection: [emails, names], default_action: replace}}
        bees: {shop: {type: village, source: {host: x}, scrubbing: {profile: people}}}
    """
    monkeypatch.setattr(names, "find_spec", lambda _: None)
    with pytest.raises(ConfigProblems, match=r"worker-bees\[names\]"):
        read(told)
    monkeypatch.undo()
