"""Forms of other systems: what becomes of their keys, how their mistakes are told, and that nothing gets lost."""

# ruff: noqa: E501, ISC004 - whole lines of messages are compared

from __future__ import annotations

import json
import textwrap
import time
from typing import ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hive.config.convert import converted, native_text, shown
from hive.config.forms.comb import comb_block
from hive.config.forms.names import camel, connector_named, snake
from hive.config.load import examine, from_mapping, load
from hive.config.model import BeeConfig
from hive.config.problems import ConfigProblems
from hive.config.secrets import is_secret_name

SECRET = "canary-7d1e"
COMB = {
    "id": "prod_db", "name": "Production", "description": "All of it", "type": "database", "subtype": "postgresql",
    "connection": {"vault_path": "data-sources/prod_db", "host": "db.internal", "database": "prod"},
    "extraction": {"default_mode": "query_based", "available_modes": ["full_dump"], "query_template": "select 1 as a"},
    "scrubbing": {"enabled": True, "profile": "gdpr_compliant", "custom_rules": [{"field": "x", "action": "remove"}]},
    "scheduling": {
        "continuous_flow": {"enabled": True, "interval": "5m"},
        "snapshot_generation": {"enabled": True, "cron": "0 2 * * *"},
    },
    "access_control": {"required_permissions": ["comb:read:prod_db"], "data_classification": "confidential"},
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def one(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text if isinstance(text, str) else json.dumps(text))
        return file

    def written(**files):
        return [one(name.replace("__", "."), text) for name, text in files.items()]

    return written


def told(paths, **known):
    """Problems without their folder."""
    found = examine(paths, **known)
    return [str(p).replace(f"{p.file}", p.file.rsplit("/", 1)[-1], 1) for p in found.problems]


class TestCombs:
    def test_a_comb_becomes_a_bee(self):
        name, block = comb_block(COMB)
        bee = from_mapping(name, block)

        assert name == "prod_db"
        assert bee.source == {
            "host": "db.internal", "database": "prod", "user": "{{ vault:data-sources/prod_db/user }}",
            "password": "{{ vault:data-sources/prod_db/password }}",
        }  # fmt: skip
        assert bee.streams == {"prod_db": {"query": "select 1 as a"}}
        assert [(s.name, s.every, s.cron, s.mode) for s in bee.schedules] == [
            ("continuous_flow", 300.0, None, "continuous"), ("snapshot_generation", None, "0 2 * * *", "snapshot"),
        ]  # fmt: skip
        assert bee.scrubbing.profile == "gdpr_compliant"
        assert bee.extras["access_control"] == COMB["access_control"]
        assert bee.honey_jar is not None
        assert bee.honey_jar.metadata == {"source_comb": "prod_db"}

    @pytest.mark.parametrize("shape", [lambda c: c, lambda c: [c], lambda c: {"combs": [c]}])
    def test_a_file_may_hold_one_or_several(self, write, shape):
        assert list(load(write(a__json=shape(COMB))).bees) == ["prod_db"]

    def test_what_is_wrong_is_told_where_the_comb_has_it(self, write):
        wrong = {**COMB, "scheduling": {"continuous_flow": {"enabled": True, "intervall": "5m"}}, "extracton": {}}

        assert told(write(a__json=json.dumps(wrong, indent=1))) == [
            "a.json:30: bee 'prod_db', field 'scheduling.continuous_flow.interval': is missing: when shall it fly?",
            "a.json:32: bee 'prod_db', field 'scheduling.continuous_flow.intervall': is no known key; "
            "did you mean 'interval'?",
            "a.json:41: bee 'prod_db', field 'extracton': is no known key; did you mean 'extraction'?",
        ]

    def test_a_comb_without_a_subtype_is_none(self):
        with pytest.raises(ConfigProblems, match="'subtype': is missing"):
            comb_block({key: value for key, value in COMB.items() if key != "subtype"})


class TestMistakes:
    def test_places_are_those_of_the_form(self, write):
        files = write(
            a__yml=textwrap.dedent("""\
                worker_bees:
                  one:
                    type: api_workr
                    config: {base_url: "https://x.example", endpoints: {data: [/a]}}
                    procesing: {}
                  two:
                    type: file_worker
                    schedule: "61 * * * *"
                    config: {type: local, source_path: /x, pattern: ["*"]}
                    processing: {scrubbing_profile: nosuch, target_honey_jar: "a b"}
                """),
            b__json=textwrap.dedent("""\
                {"connectors": [
                  {"name": "three", "type": "JIRRA",
                   "pollIntervalMs": 0,
                   "maxRetries": "3",
                   "providerConfg": {}},
                  {"name": "four", "connector_type": "rest",
                   "timeout_ms": -1,
                   "retry_policy": {"backof": {}},
                   "config_data": {"base_url": "https://x.example", "endpoints": {"data": ["/a"]}}}
                ]}
                """),
        )

        assert told(files) == [
            "a.yml:3: bee 'one', field 'type': no connector is named 'api_workr'; did you mean 'api_worker'?",
            "a.yml:5: bee 'one', field 'procesing': is no known key; did you mean 'processing'?",
            "a.yml:8: bee 'two', field 'schedule': is no cron expression (bad minute): write minute, hour, day of month, month, "
            "day of week, such as '0 */6 * * *', with seconds in front if need be",
            "a.yml:9: bee 'two', field 'config.pattern': is no known option; did you mean 'patterns'?",
            "a.yml:10: bee 'two', field 'processing.target_honey_jar': is too long or holds a character that is not "
            "allowed, expected a letter or digit, then letters, digits, '_', '.' and '-', 62 at most",
            "a.yml:10: bee 'two', field 'processing.scrubbing_profile': no profile is named 'nosuch', "
            "expected one of gdpr_compliant, financial_data, ccpa, hipaa, pci_dss, soc2",
            "b.json:2: bee 'three', field 'type': no connector is named 'jirra'; did you mean 'jira'?",
            "b.json:3: bee 'three', field 'pollIntervalMs': should be above 0: milliseconds",
            "b.json:4: bee 'three', field 'maxRetries': should be a number, written without quotes",
            "b.json:5: bee 'three', field 'providerConfg': is no known key; did you mean 'providerConfig'?",
            "b.json:7: bee 'four', field 'timeout_ms': should be above 0: milliseconds",
            "b.json:8: bee 'four', field 'retry_policy.backof': is no known key; did you mean 'backoff'?",
        ]

    def test_one_name_in_two_files_is_told_with_both_places(self, write, tmp_path):
        block = "bees:\n  a: {type: local, source: {path: /x}}\n"
        write(one__yaml=block, two__yml="# second\n" + block)

        assert told(tmp_path) == [
            f"two.yml:3: bee 'a': is named twice, first in {tmp_path}/one.yaml:2, expected a name of its own"
        ]

    def test_companions_are_looked_at(self, write):
        files = write(
            a__yml=textwrap.dedent("""\
                identity_hive:
                  primary_provider: azur_ad
                  providers: {azure_ad: {}, oktta: {}}
                  passkey_config: {enabled: "yes"}
                hive_connection_pool:
                  global_settings: {max_total_connections: -5, idle_timout: 3}
                scrubbing_profiles:
                  mine: {pii_detection: [email_adresses], actions: {}}
                """)
        )

        assert [line.partition(" field ")[2] for line in told(files)] == [
            "'identity_hive.primary_provider': is none of the providers; did you mean 'azure_ad'?",
            "'identity_hive.providers.oktta': is no known provider of identity; did you mean 'okta'?",
            "'identity_hive.passkey_config.enabled': should be true or false",
            "'hive_connection_pool.global_settings.max_total_connections': should not be negative",
            "'hive_connection_pool.global_settings.idle_timout': is no known key; did you mean 'idle_timeout'?",
            "'scrubbing_profiles.mine': profile 'mine': nothing can be found under 'email_adresses'; did you mean "
            "'email_addresses'?",
        ]

    def test_variables_are_told_by_name(self, write):
        files = write(
            a__env="ENABLED_CONNECTORS=x\nCONNECTOR_X_TYPE=rest\nCONNECTOR_X_POLL_INTERVAL_MS=soon\n"
            "AWS_ENABLED=maybe\nAWS_ENABLED=true\nCONNECTOR_X_BASE_URL=https://x.example\nwhat\n"
        )

        assert told(files) == [
            "a.env:3: field 'CONNECTOR_X_POLL_INTERVAL_MS': should be a whole number",
            "a.env:5: the variable 'AWS_ENABLED' is set twice, first in line 4",
            "a.env:7: is no line of an environment, expected NAME=value",
        ]


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("bees:\n\ta: {}", "a.yaml:2: is not YAML: a tab indents this line, expected spaces"),
            ("bees: {a: {type: local, type: rest}}", "the key 'type' is written twice"),
            ("a: &a [x]\n" + "".join(f"{n}: &{n} [{f'*{p}, ' * 9}]\n" for p, n in zip("abcdefg", "bcdefgh", strict=True)),
             "grows too large when its aliases are written out"),
            ("[" * 100_000 + "]" * 100_000, "is nested too deeply"),
            ("bees: {a: {type: local, sorce: {path: /x}}}", "is no known option; did you mean 'source'?"),
            ("bees: {a: {type: local, source: {path: 7}}}", "field 'source.path': should be text"),
            ("bees: {a: {type: local, source: {path: /x, max_files: '7'}}}", "field 'source.max_files': is text, expe"),
            ("bees: {a: {type: local, enabled: 'yes', source: {path: /x}}}", "field 'enabled': is text, expected a numb"),
            ("bees: {a: {type: local, timezone: Mars/Base, source: {path: /x}}}", "is no time zone of the IANA list"),
            ("bees: {a: {type: local, schedule: '0 0 31 2 *', source: {path: /x}}}", "field 'schedule': is a cron expression that never fires"),
            ("bees: {a: {type: local, schedule: '0 0 30 2 *', source: {path: /x}}}", "field 'schedule': is a cron expression that never fires"),
            ("bees: {a: {type: local, every: 0, source: {path: /x}}}", "field 'every': is no interval"),
            ("bees: {a: {type: local, source: {path: '${NONE}'}}}", "the environment variable NONE is missing"),
            ("bees: {a: {type: local, source: {path: '${EMPTY}'}}}", "the environment variable EMPTY is empty: set it"),
            ("bees: {a: {type: local, source: {path: '{{ vault.a.b }}'}}}", "the vault's secret 'a/b' is missing"),
            ("bees: {a b: {type: local, source: {path: /x}}}", "is no name for a bee"),
            (f"bees: {{{'a' * 300}: {{type: local, source: {{path: /x}}}}}}", "is no name for a bee"),
            ("bees: {a: {type: postgresq, source: {}}}", "did you mean 'postgresql'?"),
            ("bees: {a: {type: local, missing: [x], source: {path: /x}}}", "field 'missing': is no known option"),
        ],
    )  # fmt: skip
    def test_is_named_precisely(self, write, text, message):
        found = told(write(a__yaml=text), environ={"EMPTY": ""}, vault={}.__getitem__)

        assert len(found) >= 1
        assert message in found[0]
        assert all(len(line) < 700 for line in found)

    def test_a_hundred_megabytes_are_refused_unread(self, tmp_path):
        file = tmp_path / "a.yaml"
        with file.open("wb") as big:
            big.truncate(100 << 20)
        begun = time.monotonic()

        assert "the file is larger than 16 MB" in told(file)[0]
        assert time.monotonic() - begun < 1

    def test_all_files_are_told_at_once(self, write, tmp_path):
        write(a__yaml="bees: [", b__yaml="bees:\n\ta: 1", c__json="{", d__yaml="bees: {x: {type: local}}")

        assert [line.partition(":")[0] for line in told([tmp_path, tmp_path / "no.yaml"])] == [
            "a.yaml", "b.yaml", "c.json", "d.yaml", "no.yaml",
        ]  # fmt: skip

    def test_a_folder_without_configuration_is_told(self, tmp_path):
        assert "the folder holds no configuration" in told(tmp_path)[0]

    @pytest.mark.parametrize("text", ["pa$NAME", "a {{ x.y }}"])
    def test_what_looks_like_a_reference_is_doubted(self, write, text):
        found = examine(write(a__json={"bees": {"a": {"type": "local", "source": {"path": text}}}}))

        assert not found.problems
        assert [w.field for w in found.warnings] == ["source.path"]
        assert text not in str(found.warnings[0])

    def test_a_name_of_ten_thousand_bees_takes_seconds(self, write):
        block = "{type: local, every: 5m, source: {path: /x}, scrubbing: {profile: gdpr_compliant}}"
        files = write(a__yaml="bees:\n" + "".join(f"  bee-{n}: {block}\n" for n in range(10_000)))
        begun = time.process_time()

        assert len(load(files, environ={}).bees) == 10_000
        assert time.process_time() - begun < 6


class TestProfiles:
    def test_a_profile_of_the_files_is_the_bees_own(self, write):
        profile = {"pii_detection": ["email_addresses"], "actions": {"email_addresses": "remove"}}
        bee = {"type": "local", "source": {"path": "/x"}, "scrubbing": {"profile": "mine"}}
        fleet = load(write(a__json={"scrubbing_profiles": {"mine": profile}}, b__json={"bees": {"a": bee}}))

        from nectar.scrub import DataScrubber

        assert fleet.bee("a").scrubbing.profiles == {"mine": profile}
        scrubber = DataScrubber(fleet.bee("a").block()["scrubbing"])
        assert scrubber.process("mail to ann@example.com now") == "mail to  now"


class TestNative:
    FILES: ClassVar = {
        "bees": {
            "a": {
                "type": "rest", "every": "5m", "honey_jar": "j", "timezone": "Europe/Berlin",
                "source": {
                    "base_url": "https://x.example", "endpoints": {"data": ["/a"]},
                    "auth": {"method": "bearer", "token": SECRET}, "headers": {"X-A": "${HEADER}"},
                },
            },
            "b": {"type": "kafka", "source": {"api_key": SECRET, "topic": "t"}},
        },
        "identity_hive": {"providers": {"okta": {"client_secret": SECRET}}},
    }  # fmt: skip

    def test_show_holds_no_secret_and_says_where_from(self, write):
        found = examine(write(a__json=self.FILES))
        text = native_text(shown(found.fleet), lambda place: ".".join(map(str, place)))

        assert SECRET not in text
        assert "token: '********'  # bees.a.source.auth.token" in text
        assert "X-A: ${HEADER}  # bees.a" in text

    def test_convert_names_the_variables_to_set(self, write):
        document, variables = converted(load(write(a__json=self.FILES)))

        assert SECRET not in native_text(document)
        assert variables == {
            "A_AUTH_TOKEN": "a.source.auth.token", "B_API_KEY": "b.source.api_key",
            "IDENTITY_HIVE_PROVIDERS_OKTA_CLIENT_SECRET": "identity_hive.providers.okta.client_secret",
        }  # fmt: skip
        assert document["bees"]["a"]["source"]["auth"]["token"] == "${A_AUTH_TOKEN}"

    def test_a_bee_that_cannot_fly_is_no_part_of_what_flies(self, write):
        fleet = load(write(a__json=self.FILES))

        assert (list(fleet.bees), list(fleet.flying().bees)) == (["a", "b"], ["a"])

    def test_from_python_it_is_refused(self):
        with pytest.raises(ConfigProblems, match="cannot fly: connector 'kafka' is not built"):
            from_mapping("k", {"topic": "t"}, connector="kafka")


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: "$" not in text and "{{" not in text and text.strip()
)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)
millis = st.integers(1, 10**9)
profiles = st.sampled_from(["gdpr_compliant", "financial_data"])
workers = st.fixed_dictionaries(
    {"type": st.sampled_from(["file_worker", "local"]), "config": st.fixed_dictionaries({"source_path": texts})},
    optional={
        "enabled": st.booleans(),
        "schedule": st.sampled_from(["0 */6 * * *", "@daily", "*/5 * * * *"]),
        "processing": st.fixed_dictionaries(
            {}, optional={"scrubbing_profile": profiles, "target_honey_jar": names, "auto_categorize": st.booleans()}
        ),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "permissions": st.lists(texts, max_size=2),
    },
)
polled = st.fixed_dictionaries(
    {"type": st.sampled_from(["DATADOG", "KAFKA", "rest"]), "pollIntervalMs": st.integers(1000, 31_536_000_000)},
    optional={
        "requestTimeoutMs": st.integers(1, 86_400_000), "maxRetries": st.integers(0, 9), "outputStream": texts,
        "enabled": st.booleans(), "retryConfig": st.fixed_dictionaries({"baseDelayMs": millis}),
        "providerConfig": st.just({"baseUrl": "https://x.example", "endpoints": {"data": ["/a"]}}),
    },
)  # fmt: skip
built = st.fixed_dictionaries(
    {"connector_type": st.sampled_from(["rest", "oracle"])},
    optional={
        "timeout_ms": st.integers(1, 86_400_000), "circuit_breaker": st.fixed_dictionaries({"threshold": millis}),
        "config_data": st.fixed_dictionaries({"base_url": st.just("https://x.example")}),
        "retry_policy": st.just({"max_retries": 3, "backoff": {"type": "fixed", "base_ms": 5}}),
    },
)  # fmt: skip


def listed(strategy, key):
    entries = st.dictionaries(names, strategy, max_size=3)
    return entries.map(lambda found: [{key: name, **entry} for name, entry in found.items()])


forms = st.one_of(
    st.fixed_dictionaries({"worker_bees": st.dictionaries(names, workers, max_size=3)}),
    st.fixed_dictionaries({"worker_bees": listed(workers, "id")}),
    st.fixed_dictionaries({"connectors": listed(polled, "name")}),
    st.fixed_dictionaries({"connectors": listed(built, "name")}),
    st.just({"combs": [COMB]}),
)


class TestRoundTrip:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(forms)
    def test_every_form_survives_the_model_and_the_native_form(self, tmp_path, form):
        file, again = tmp_path / "form.json", tmp_path / "native.yaml"
        file.write_text(json.dumps(form))
        fleet = load(file)

        for name, bee in fleet.bees.items():
            back = BeeConfig.model_validate(json.loads(json.dumps(bee.block())))
            assert back == bee.model_copy(update={"missing": ()}), name
        document, variables = converted(fleet)
        again.write_text(native_text(document))
        assert not variables
        assert yaml.safe_load(again.read_text()) == json.loads(json.dumps(document))
        assert load(again) == fleet

    def test_the_environment_survives_the_native_form(self, write, tmp_path):
        files = write(
            a__env="export ENABLED_CONNECTORS=x\nCONNECTOR_X_TYPE=NOAA_WEATHER # the weather\n"
            "CONNECTOR_X_POLL_INTERVAL_MS=1500\nCONNECTOR_X_AREA='CA,OR'\nLDAP_ENABLED=1\nLDAP_SYNC_INTERVAL=60\n"
            "LDAP_HOST=ldap.example\nDEFAULT_ORGANIZATION_ID=42\nCREATE_MISSING_ORGANIZATIONS=no\n",
            b__json={"identity_hive": {"group_mappings": {"Admins": ["admin:all"]}}},
        )
        fleet = load(files)
        again = tmp_path / "native.yaml"
        again.write_text(native_text(converted(fleet)[0]))

        assert load(again) == fleet
        assert fleet.bee("x").source == {"area": "CA,OR"}
        assert (fleet.bee("x").schedules[0].every, fleet.bee("ldap").schedules[0].every) == (1.5, 60)
        assert fleet.bee("ldap").source == {"host": "ldap.example"}
        assert fleet.organizations == {"default_organization_id": "42", "create_missing_organizations": False}

    @given(st.from_regex(r"[a-z]{2,9}(_[a-z]{2,9}){0,3}", fullmatch=True))
    def test_snake_and_camel_are_each_others_way_back(self, word):
        assert snake(camel(word)) == word


KEYS = st.sampled_from(
    ["name", "id", "type", "subtype", "config", "source", "streams", "schedule", "schedules", "every", "processing",
     "security", "providerConfig", "retryConfig", "retry_policy", "config_data", "connector_type", "connection",
     "extraction", "scheduling", "scrubbing", "profile", "profiles", "custom_rules", "honey_jar", "extras", "on",
     "after", "limits", "providers", "primary_provider", "x"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False)
    | st.sampled_from(["rest", "local", "kafka", "x", "", "${X}", "{{ vault.a.b }}", "{{ x", "gdpr_compliant", "5m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
BLOCKS = st.dictionaries(KEYS, VALUES, max_size=5)
TOPS = ["bees", "worker_bees", "connectors", "combs", "scrubbing_profiles", "identity_hive", "hive_connection_pool",
        "organizations", "hive_config", "kind"]  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(TOPS), VALUES | st.lists(BLOCKS, max_size=2) | st.dictionaries(KEYS, BLOCKS, max_size=2)
    )
)
def test_whatever_a_file_holds_it_is_told_and_never_a_crash(tmp_path, data):
    file = tmp_path / "any.json"
    file.write_text(json.dumps(data))

    found = examine(file, environ={})

    assert all(str(problem) for problem in found.problems)
    if not found.problems:
        native_text(shown(found.fleet), str)
        converted(found.fleet)


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("NOAA_WEATHER", "noaa_weather"),
        ("api_worker", "rest"),
        ("Azure Blob", "azure_blob"),
        ("PostgreSQL", "postgresql"),
    ],
)
def test_other_systems_words_for_our_connectors(word, ours):
    assert connector_named(word) == ours


@pytest.mark.parametrize(
    ("name", "secret"),
    [("apiToken", True), ("LDAP_BIND_PASSWORD", True), ("private_key", True), ("X-Api-Key", True), ("tokenUrl", False),
     ("key", False), ("client_id", False), ("cursor", False)],
)  # fmt: skip
def test_what_looks_like_a_secret(name, secret):
    assert is_secret_name(name) is secret

    def test_a_profile_brings_along_those_that_it_extends(self, write):
        profiles = {
            "ours": {"extends": "gdpr_compliant", "actions": {"email_addresses": "remove"}},
            "theirs": {"extends": "ours", "pii_detection": ["urls"], "default_action": "replace"},
            "other": {"pii_detection": ["urls"], "default_action": "remove"},
        }
        mine = {"extends": "ours", "custom_rules": [{"field": "$.people[*].note", "action": "remove"}]}
        bees = {
            "a": {"type": "local", "source": {"path": "/x"}, "scrubbing": {"profile": "theirs"}},
            "b": {
                "type": "local", "source": {"path": "/x"}, "scrubbing": {"profile": "mine", "profiles": {"mine": mine}}
            },
        }  # fmt: skip
        other = {"scrubbing_profiles": {"ours": profiles.pop("ours")}}
        fleet = load(write(a__json={"scrubbing_profiles": profiles}, b__json={"bees": bees}, c__json=other))

        assert set(fleet.bee("a").scrubbing.profiles) == {"theirs", "ours"}
        assert set(fleet.bee("b").scrubbing.profiles) == {"mine", "ours"}
        from nectar.scrub import DataScrubber

        for one in ("a", "b"):
            record = {"people": [{"note": "x"}], "mail": "ann@example.com"}
            scrubbed = DataScrubber(fleet.bee(one).block()["scrubbing"]).process(record)
            assert scrubbed == {"people": [{"note": "x" if one == "a" else None}], "mail": None}

    def test_a_profile_that_extends_nothing_there_is_named_with_its_place(self, write):
        files = write(
            a__yaml=textwrap.dedent("""\
                scrubbing_profiles:
                  ours: {extends: gdpr_complaint}
                bees:
                  a: {type: local, source: {path: /x}, scrubbing: {profile: p, profiles: {p: {extends: owrs}}}}
                """)
        )

        assert told(files) == [
            "a.yaml:2: field 'scrubbing_profiles.ours': profile 'ours', extends: no scrubbing profile is named "
            "'gdpr_complaint'; did you mean 'gdpr_compliant'?",
            "a.yaml:4: bee 'a', field 'scrubbing.profiles.p': profile 'p', extends: no scrubbing profile is named "
            "'owrs'; did you mean 'ours'?",
        ]
