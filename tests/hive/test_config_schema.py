"""The schema for editors says yes to what loads, and no to what does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from hive.config.schema import schema

SCHEMA = schema()
KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip
LOOKED_AT = {
    "$ref", "type", "enum", "const", "pattern", "minimum", "exclusiveMinimum", "maximum", "properties", "required",
    "additionalProperties", "propertyNames", "items", "anyOf", "oneOf", "allOf", "if", "then",
}  # fmt: skip
ONLY_TOLD = {
    "$schema", "$defs", "title", "description", "default", "examples", "format", "writeOnly", "discriminator",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "prefixItems", "exclusiveMaximum",
}  # fmt: skip


def wrong(value: Any, rule: Any, place: str = "") -> Iterator[str]:
    """Places that a schema refuses: as much of JSON Schema as ours uses."""
    if rule is True or rule is False:
        yield from () if rule else (place,)
        return
    assert set(rule) <= LOOKED_AT | ONLY_TOLD, set(rule) - LOOKED_AT - ONLY_TOLD
    if "$ref" in rule:
        yield from wrong(value, SCHEMA["$defs"][rule["$ref"].removeprefix("#/$defs/")], place)
    for part in rule.get("allOf", ()):
        yield from wrong(value, part, place)
    if "if" in rule and not list(wrong(value, rule["if"])):
        yield from wrong(value, rule["then"], place)
    for word in ("anyOf", "oneOf"):
        if word in rule and not any(not list(wrong(value, part)) for part in rule[word]):
            yield place
    if "type" in rule:
        kinds = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
        if not any(isinstance(value, KINDS[k]) and (not isinstance(value, bool) or k == "boolean") for k in kinds):
            yield place
            return
    if ("enum" in rule and value not in rule["enum"]) or ("const" in rule and value != rule["const"]):
        yield place
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        yield place
    if isinstance(value, int | float) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        yield place
    if isinstance(value, list) and "items" in rule:
        for n, item in enumerate(value):
            yield from wrong(item, rule["items"], f"{place}.{n}")
    if isinstance(value, dict):
        yield from (f"{place}.{key}" for key in rule.get("required", ()) if key not in value)
        for key, item in value.items():
            at = f"{place}.{key}"
            if list(wrong(key, rule.get("propertyNames", True))):
                yield at
            inner = rule.get("properties", {}).get(key, rule.get("additionalProperties", True))
            yield from wrong(item, inner, at)


GOOD = """
bees:
  desk:
    type: rest
    every: 5m
    source:
      base_url: https://desk.example.com/api
      timeout: "${TIMEOUT}"
      auth: {method: bearer, token: "${TOKEN}"}
    streams: {tickets: {path: /tickets, key: id, cursor: updated_at, cursor_param: since}}
    scrubbing: {profile: gdpr_compliant, custom_rules: [{field: notes, action: replace}]}
    honey_jar: {name: desk, tags: [a]}
  sales:
    type: postgresql
    schedules: {nightly: {cron: "0 2 * * *"}, often: {every: 60}}
    source: {host: db, port: 5432, database: sales, user: hive, password: "${PASSWORD}", schema: crm}
    streams: {orders: , customers: {cursor: updated_at}}
  files: {type: local, schedule: "@daily", timezone: Europe/Berlin, source: {path: /x, patterns: "*.csv"}}
  later: {type: kafka, source: {topic: t}, extras: {maxRetries: 3}}
scrubbing_profiles: {mine: {pii_detection: [email_addresses], actions: {email_addresses: remove}}}
"""


def test_what_is_right_passes():
    assert list(wrong(yaml.safe_load(GOOD), SCHEMA)) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("bee: {}", ".bee"),
        ("bees: [a]", ".bees"),
        ("bees: {a b: {type: local}}", ".bees.a b"),
        ("bees: {a: {source: {}}}", ".bees.a.type"),
        ("bees: {a: {type: local, evry: 5m}}", ".bees.a.evry"),
        ("bees: {a: {type: local, enabled: 1}}", ".bees.a.enabled"),
        ("bees: {a: {type: local, overlap: both}}", ".bees.a.overlap"),
        ("bees: {a: {type: local, missing: []}}", ".bees.a.missing"),
        ("bees: {a: {type: local, source: {pat: /x}}}", ".bees.a.source.pat"),
        ("bees: {a: {type: postgresql, source: {port: many}}}", ".bees.a.source.port"),
        ("bees: {a: {type: postgresql, source: {ssl_mode: on}}}", ".bees.a.source.ssl_mode"),
        ("bees: {a: {type: rest, streams: {x: {path: /x, kee: id}}}}", ".bees.a.streams.x"),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(text, place):
    assert list(wrong(yaml.safe_load(text), SCHEMA)) == [place]


def test_each_option_is_explained():
    silent = [name for name, rule in SCHEMA["$defs"]["bee"]["properties"].items() if not rule.get("description")]

    assert [name for name in silent if "$ref" not in SCHEMA["$defs"]["bee"]["properties"][name]] == []
