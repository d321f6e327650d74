"""Walk the annotations of a model beside a plain value: which model stands where, which fields it has."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, BeforeValidator, SecretBytes, SecretStr
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


def may_hold_secret(annotation: Any) -> bool:
    """Whether a secret can stand anywhere in a value that is annotated so: most options hold none."""
    try:
        return _may_hold_secret(annotation)
    except TypeError:  # metadata that cannot be hashed
        return True


@functools.lru_cache(maxsize=4096)
def _may_hold_secret(annotation: Any) -> bool:
    seen: set[int] = set()

    def look(what: Any) -> bool:
        if id(what) in seen:
            return False
        seen.add(id(what))
        for member in union_members(what):
            if isinstance(member, type) and issubclass(member, SecretStr | SecretBytes):
                return True
            below = [field.annotation for field in fields_of(member).values()] or list(get_args(member))
            if any(look(each) for each in below):
                return True
        return False

    return look(annotation)


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
    return _fields_of(annotation) if isinstance(annotation, type) else {}


@functools.lru_cache(maxsize=512)
def _fields_of(annotation: type) -> dict[str, FieldInfo]:
    found: Any = None
    if issubclass(annotation, BaseModel):
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


_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*|true|false|yes|no|on|off", re.IGNORECASE)


def numbers_as_text(annotation: Any, value: Any) -> Iterator[tuple[object, ...]]:
    """Places where text stands that reads as a number or a flag, and nothing else is expected there."""
    if _holds_number(value):  # few do, and to walk the annotations takes its time
        yield from _numbers_as_text(annotation, value, ())


def _holds_number(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    if isinstance(value, Mapping):
        return any(map(_holds_number, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_number, value))


def _numbers_as_text(annotation: Any, value: Any, place: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
    if isinstance(value, str):
        if _NUMBER.fullmatch(value) and _takes_no_text(annotation):
            yield place
    elif isinstance(value, Mapping):
        for member in union_members(annotation):
            fields = fields_of(member)
            for key, item in value.items():
                field = fields.get(str(key))
                if field is None and fields:
                    continue
                if field is not None and any(isinstance(one, BeforeValidator) for one in field.metadata):
                    continue  # reads text in a way of its own
                inner = field.annotation if field is not None else item_annotation(member, key)
                if inner is not None:
                    yield from _numbers_as_text(inner, item, (*place, key))
    elif isinstance(value, list | tuple):
        for member in union_members(annotation):
            for n, item in enumerate(value):
                inner = item_annotation(member, n)
                if inner is not None:
                    yield from _numbers_as_text(inner, item, (*place, n))


def _takes_no_text(annotation: Any) -> bool:
    if _reads_itself(annotation):
        return False
    members = union_members(annotation)
    return bool(members) and all(member in (int, float, bool) for member in members)


def _reads_itself(annotation: Any) -> bool:
    """Whether a validator before the type takes text such as "5m"."""
    if get_origin(annotation) is Annotated:
        first, *metadata = get_args(annotation)
        return any(isinstance(one, BeforeValidator) for one in metadata) or _reads_itself(first)
    if get_origin(annotation) is Union or isinstance(annotation, types.UnionType):
        return any(map(_reads_itself, get_args(annotation)))
    return False
