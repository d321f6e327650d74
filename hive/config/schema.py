"""JSON Schema of the native form, for editors: each connector's options where its `type` is named."""

from __future__ import annotations

from typing import Any

from hive.config.check import Unbuilt, options_of
from hive.config.forms.names import PLANNED
from hive.config.model import NAME_PATTERN, BeeConfig, FleetConfig
from hive.registry import connectors

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHORT: dict[str, Any] = {
    "schedule": {
        "description": "a cron expression, or {cron or every, timezone, ...}",
        "anyOf": [{"type": "string"}, {"type": "object"}],
    },
    "every": {"description": "an interval such as 5m, or seconds", "type": ["string", "number"]},
    "jitter": {
        "description": BeeConfig.model_fields["jitter"].description or "",
        "type": ["string", "number"],
        "default": 0.0,
    },
}
_OPEN = ("schedules", "blackout", "after", "on", "transform", "streams", "source", "debounce", "leg", "honey_jar")
"""What may be written in several ways: an editor tells what it is for, and `hive config check` whether it is right."""


def schema() -> dict[str, Any]:
    """The schema of a file in the native form."""
    definitions: dict[str, Any] = {}
    bee = _bee(definitions)
    for name in sorted(connectors()):
        model = options_of(name)
        if not isinstance(model, Unbuilt):
            bee["allOf"].append(_options(name, model.model_json_schema(ref_template=_ref(name)), definitions))
    definitions["bee"] = bee
    properties: dict[str, Any] = {
        name: {"type": "object", "description": field.description or "bees by name"}
        for name, field in FleetConfig.model_fields.items()
    }
    properties["bees"] |= {
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"$ref": "#/$defs/bee"},
    }
    return {
        "$schema": DIALECT,
        "title": "Worker Bees",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _bee(definitions: dict[str, Any]) -> dict[str, Any]:
    block = BeeConfig.model_json_schema(ref_template=_ref("bee"))
    definitions |= {f"bee.{name}": part for name, part in block.pop("$defs", {}).items()}
    properties = {**block["properties"], **_SHORT}
    del properties["missing"]
    for name in _OPEN:
        properties[name] = {"description": properties[name].get("description", "")}
    properties["source"]["type"] = properties["streams"]["type"] = ["object", "null"]
    known = sorted({*connectors(), *PLANNED})
    properties["type"] = {"description": properties["type"]["description"], "type": "string", "examples": known}
    return {
        "type": "object",
        "properties": properties,
        "required": ["type"],
        "additionalProperties": False,
        "allOf": [],
    }


def _options(name: str, found: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What holds for a bee of this connector: `source` without `streams`, which stand beside it or in it.

    What is required is left to the check: a bee that is a draft may lack it.
    """
    inner = found.pop("$defs", {})
    definitions |= {f"{name}.{part}": with_references(body) for part, body in inner.items()}
    properties = {key: with_references(value) for key, value in found["properties"].items()}
    streams = properties.get("streams", {"type": "object"})
    source = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    return {
        "if": {"properties": {"type": {"const": name}, "draft": {"const": False}}, "required": ["type"]},
        "then": {"properties": {"source": source, "streams": _nullable_values(streams)}},
    }


def with_references(value: Any) -> Any:
    """Where a number or a flag is expected, a reference such as ${PORT} may stand; one text may stand for a list."""
    if isinstance(value, list):
        return [with_references(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: with_references(item) for key, item in value.items()}
    if inner.get("type") in ("integer", "number", "boolean"):
        told = {key: inner.pop(key) for key in ("description", "default", "title") if key in inner}
        return {**told, "anyOf": [inner, {"type": "string", "pattern": r"\$\{|\{\{"}]}
    if inner.get("type") == "array":
        told = {key: inner.pop(key) for key in ("description", "default", "title") if key in inner}
        return {**told, "anyOf": [inner, {"type": ["string", "null"]}]}
    return inner


def _nullable_values(streams: dict[str, Any]) -> dict[str, Any]:
    """A stream that is named and told nothing has no options."""
    inner = streams.get("additionalProperties")
    if not isinstance(inner, dict):
        return {**streams, "type": ["object", "null"]}
    return {**streams, "type": ["object", "null"], "additionalProperties": {"anyOf": [inner, {"type": "null"}]}}


def _ref(name: str) -> str:
    return f"#/$defs/{name}.{{model}}"
