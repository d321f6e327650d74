"""Walk the annotations of a model beside a plain value: which model stands where, which fields it has."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from typing_extensions import TypeAliasType

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def union_members(annotation: Any) -> list[Any]:
    """What `annotation` may be: the members of a union, else itself; None and metadata left out."""
    if isinstance(annotation, TypeAliasType):
        return union_members(annotation.__value__)
    origin = get_origin(annotation)
    if origin is Annotated:
        return union_members(get_args(annotation)[0])
    if origin is Union or isinstance(annotation, types.UnionType):
        return [member for part in get_args(annotation) for member in union_members(part)]
    return [] if annotation in (None, types.NoneType) else [annotation]


def item_annotation(annotation: Any, key: object) -> Any:
    """What stands at `key` of a dict, list or tuple that is annotated so; None where that is not known."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not isinstance(origin, type) or not arguments:
        return None
    if issubclass(origin, Mapping):
        return arguments[1]
    if issubclass(origin, tuple) and Ellipsis not in arguments:
        return arguments[key] if isinstance(key, int) and key < len(arguments) else None
    if issubclass(origin, Sequence | set | frozenset):
        return arguments[0]
    return None


def fields_of(annotation: Any) -> dict[str, FieldInfo]:
    """Fields by the name that a configuration writes; empty for what is no model."""
    found: Any = None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found = annotation.model_fields
    elif dataclasses.is_dataclass(annotation):
        found = getattr(annotation, "__pydantic_fields__", None)
    return {word: field for name, field in (found or {}).items() for word in _written(name, field)}


def _written(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias] if isinstance(alias, str) else [name]


def models_at(annotation: Any, place: Sequence[object]) -> Iterator[dict[str, FieldInfo]]:
    """Fields of each model that may stand at `place`, as pydantic's errors give places.

    Those name the member of a union among the keys, so a step that fits none of the members may be skipped there.
    """
    members = union_members(annotation)
    for member in members:
        fields = fields_of(member)
        if not place:
            if fields:
                yield fields
        elif fields and str(place[0]) in fields:
            yield from models_at(fields[str(place[0])].annotation, place[1:])
        elif (item := item_annotation(member, place[0])) is not None:
            yield from models_at(item, place[1:])
        elif len(members) > 1:
            yield from models_at(member, place[1:])


def names_at(annotation: Any, place: Sequence[object]) -> list[str]:
    """Options that are known at `place`."""
    return sorted({name for fields in models_at(annotation, place) for name in fields})


def description_at(annotation: Any, place: Sequence[object]) -> str:
    """The help of the option at `place`; empty where it has none."""
    if not place:
        return ""
    for fields in models_at(annotation, place[:-1]):
        field = fields.get(str(place[-1]))
        if field is not None and field.description:
            return field.description
    return ""
