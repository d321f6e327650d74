"""What a collection holds, as a sample of it shows: MongoDB keeps no schema."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from bees.core.mongo.queries import KINDS, type_of
from bees.core.mongo.values import ID, ID_COLUMN
from nectar import pollen
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from bees.core.mongo.read import Reading

_HALF = 100
_SIMPLE: dict[frozenset[str], pollen.Kind] = {
    frozenset({"string"}): "text",
    frozenset({"objectId"}): "text",
    frozenset({"bool"}): "boolean",
    frozenset({"int"}): "integer",
    frozenset({"long"}): "integer",
    frozenset({"int", "long"}): "integer",
    frozenset({"double"}): "float",
    frozenset({"date"}): "timestamptz",
    frozenset({"uuid"}): "uuid",
    frozenset({"binData"}): "binary",
}


def sample(reading: Reading) -> list[dict[str, Any]]:
    """The first and the last documents by `_id`: both ends of an index, so no collection is too large for it."""
    most = int(reading.most_time * 1000)
    found: dict[Any, dict[str, Any]] = {}
    for way in (1, -1):
        if reading.pipeline:
            stages = [*reading.pipeline, {"$sort": {ID: way}}, {"$limit": _HALF}]
            documents: Any = reading.collection.aggregate(stages, maxTimeMS=most)
        else:
            documents = reading.collection.find(
                reading.filter, reading.projection or None, sort=[(ID, way)], limit=_HALF, max_time_ms=most
            )
        for document in documents:
            found.setdefault(repr(document.get(ID)), document)
    return list(found.values())


def columns(documents: list[dict[str, Any]]) -> tuple[pollen.Column, ...]:
    """Fields in the order of their first appearance, with every type that was seen."""
    seen: dict[str, Counter[str]] = {ID: Counter()}
    for document in documents:
        for name, value in document.items():
            seen.setdefault(name, Counter())[_type(value)] += 1
    return tuple(_column(name, types, len(documents)) for name, types in seen.items())


def cursors(documents: list[dict[str, Any]]) -> tuple[str, ...]:
    """Fields that incremental reading may follow: each sampled document holds a time, a number, an id or a text."""
    may = {name for names in KINDS.values() for name in names} - {"string"}
    fields = dict.fromkeys(name for document in documents for name in document)
    return tuple(f for f in fields if all(type_of(document.get(f)) in may for document in documents))


def _column(name: str, types: Counter[str], documents: int) -> pollen.Column:
    real = frozenset(types) - {"null"}
    kind = _SIMPLE.get(real) or ("number" if real <= set(KINDS["number"]) else "json")
    if name == ID and (kind not in ("integer", "text") or "null" in types):
        kind = "json"
    shown = ", ".join(kind for kind, _ in types.most_common())
    nullable = name != ID and (sum(types.values()) < documents or "null" in types)
    column = ID_COLUMN if name == ID else escape(name)
    return pollen.Column(column, kind if real else "text", nullable, source_type=shown)


def _type(value: Any) -> str:
    return "uuid" if getattr(value, "subtype", None) == 4 and len(value) == 16 else type_of(value)
