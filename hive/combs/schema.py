"""JSON Schema of a comb's file, for editors: options of the connector that `subtype` names."""

from __future__ import annotations

from typing import Any

from hive.combs.comb import Comb
from hive.config.check import Unbuilt, options_of
from hive.config.schema import DIALECT, with_references
from hive.registry import connectors


def schema() -> dict[str, Any]:
    """The schema of a file that holds one comb."""
    told = Comb.model_json_schema(ref_template="#/$defs/comb.{model}")
    definitions = {f"comb.{name}": part for name, part in told.pop("$defs", {}).items()}
    branches = []
    for name in sorted(connectors()):
        model = options_of(name)
        if not isinstance(model, Unbuilt):
            found = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
            branches.append(_branch(name, found, definitions))
    told["properties"]["subtype"]["examples"] = sorted(connectors())
    # A list of parameters, each with its name, is as good as a map of them.
    told["properties"]["parameters"] = {
        "description": told["properties"]["parameters"].get("description", ""),
        "anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object", "required": ["name"]}}],
    }
    return {"$schema": DIALECT, **told, "title": "Honey Comb", "allOf": branches, "$defs": definitions}


def _branch(name: str, found: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What holds for combs of one connector. What is required is left to the check: the vault may have it."""
    inner = found.pop("$defs", {})
    definitions |= {f"{name}.{part}": with_references(body) for part, body in inner.items()}
    properties = {key: with_references(value) for key, value in found["properties"].items()}
    streams = properties.pop("streams", {"type": "object"})
    connection = {"vault_path": {"type": "string", "description": "folder in the vault"}, **properties}
    return {
        "if": {"properties": {"subtype": {"const": name}}, "required": ["subtype"]},
        "then": {
            "properties": {
                "connection": {"type": "object", "properties": connection, "additionalProperties": False},
                "extraction": {"type": "object", "properties": {"streams": streams}},
            }
        },
    }
