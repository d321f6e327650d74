"""What a tap offers: its catalog, as `--discover` prints it, and the one that is given back with a stream selected.

https://github.com/singer-io/getting-started/blob/master/docs/DISCOVERY_MODE.md
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from bees.core.errors import GiveUp
from nectar import pollen
from nectar.jsonrows import escape

Entry = dict[str, Any]

_KINDS: dict[str, pollen.Kind] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "json",
    "array": "json",
}
_FORMATS: dict[str, pollen.Kind] = {"date-time": "timestamptz", "date": "date", "time": "time", "uuid": "uuid"}


def entries(catalog: Any) -> dict[str, Entry]:
    """The catalog's streams by id. Raises GiveUp for what is no catalog."""
    found = catalog.get("streams") if isinstance(catalog, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(e, dict) and name_of(e) for e in found):
        message = 'what stands for a catalog is none: expected {"streams": [{"tap_stream_id": ...}]}'
        raise GiveUp(message, code="no_catalog", where="catalog", advice="check the tap's --discover, or the file")
    return {name_of(entry): entry for entry in found}


def name_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("tap_stream_id") or entry.get("stream") or "")


def said(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of the stream itself."""
    for one in entry.get("metadata") or ():
        if not one.get("breadcrumb"):
            return dict(one.get("metadata") or {})
    return {}


def key_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    told = said(entry)
    for found in (entry.get("key_properties"), told.get("table-key-properties"), told.get("view-key-properties")):
        if found:
            return tuple(map(str, found))
    return ()


def cursor_of(entry: Mapping[str, Any]) -> str | None:
    told = said(entry)
    chosen = told.get("replication-key") or entry.get("replication_key")
    return str(chosen) if chosen and method_of(entry) != "FULL_TABLE" else None


def method_of(entry: Mapping[str, Any]) -> str:
    told = said(entry)
    return str(
        told.get("replication-method")
        or told.get("forced-replication-method")
        or entry.get("replication_method")
        or ("INCREMENTAL" if told.get("replication-key") or entry.get("replication_key") else "FULL_TABLE")
    )


def is_offered(entry: Mapping[str, Any]) -> bool:
    """Whether a tap means the stream to be read where nobody chooses."""
    told = said(entry)
    return bool(told.get("selected", told.get("selected-by-default", told.get("inclusion") != "unsupported")))


def selected(
    catalog: Mapping[str, Any], stream: str, fields: Sequence[str], method: str | None, replication_key: str | None
) -> dict[str, Any]:
    """The catalog with this stream alone selected, and of it these fields, or those that the tap means."""
    chosen: dict[str, Any] = copy.deepcopy(dict(catalog))
    for entry in chosen["streams"]:
        mine = name_of(entry) == stream
        own = _own_metadata(entry)
        own["selected"] = mine
        if isinstance(entry.get("schema"), dict):
            entry["schema"]["selected"] = mine  # how older taps ask
        if not mine:
            continue
        if method is not None:
            own["replication-method"] = entry["replication_method"] = method
        if replication_key is not None:
            own["replication-key"] = entry["replication_key"] = replication_key
        if fields:
            _select_fields(entry, fields)
    return chosen


def _own_metadata(entry: Entry) -> dict[str, Any]:
    for one in entry.setdefault("metadata", []):
        if not one.get("breadcrumb"):
            found: dict[str, Any] = one.setdefault("metadata", {})
            return found
    made: dict[str, Any] = {}
    entry["metadata"].append({"breadcrumb": [], "metadata": made})
    return made


def _select_fields(entry: Entry, fields: Sequence[str]) -> None:
    known = list((entry.get("schema") or {}).get("properties") or {})
    if strange := [field for field in fields if field not in known]:
        message = f"the stream {name_of(entry)!r} has no field {strange[0]!r}"
        advice = f"there are: {', '.join(known[:50])}"
        raise GiveUp(message, code="no_field", where=f"streams.{name_of(entry)}.fields", advice=advice)
    wanted = {*fields, *key_of(entry)}
    told = {tuple(one.get("breadcrumb") or ()): one for one in entry["metadata"]}
    for name in known:
        place = ("properties", name)
        if place not in told:
            entry["metadata"].append(one := {"breadcrumb": list(place), "metadata": {}})
            told[place] = one
        about = told[place].setdefault("metadata", {})
        about["selected"] = name in wanted or about.get("inclusion") == "automatic"


def columns(schema: Any) -> tuple[pollen.Column, ...]:
    """The columns that a JSON schema describes."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return tuple(_column(str(name), about) for name, about in (properties or {}).items())


def _column(name: str, about: Any) -> pollen.Column:
    told = about if isinstance(about, Mapping) else {}
    variants = [told, *(v for way in ("anyOf", "oneOf") for v in told.get(way) or () if isinstance(v, Mapping))]
    types: list[str] = []
    for variant in variants:
        listed = variant.get("type") or []
        types += [listed] if isinstance(listed, str) else list(listed)
    real = sorted(set(types) - {"null"})
    form = next((v["format"] for v in variants if v.get("format") in _FORMATS), None)
    kind: pollen.Kind = "json"
    if len(real) == 1:
        kind = _FORMATS[form] if real == ["string"] and form else _KINDS.get(real[0], "json")
    elif real == ["integer", "number"]:
        kind = "number"
    return pollen.Column(escape(name), kind, "null" in types or not types, source_type="|".join(types))
