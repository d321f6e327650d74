"""References inside options: `${NAME}` from the environment, `{{ vault.path.key }}` from the vault.

    {{ vault.google.client_id }}             the vault's path google/client_id: a dot for each "/"
    {{ vault:bees/sales-db.eu/password }}    the path as it stands, for segments that hold dots
    $${                                      the characters ${ themselves

Secrets of the hive itself are given to no bee: neither the vault's below hive/ nor HIVE_KEY and its like.

What a reference brings is put in as it is, never read for references again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, SecretBytes, SecretStr

from hive import masking
from hive.config.fields import fields_of, item_annotation, may_hold_secret, union_members
from hive.config.problems import did_you_mean
from hive.settings import Settings

_SPECIAL = re.compile(
    r"(?P<escape>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}"
    r"|\{\{\s*vault\.(?P<dotted>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\s*\}\}"
    r"|\{\{\s*vault:(?P<path>[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*)\s*\}\}"
    r"|(?P<broken>\$\{[^}]{0,80}\}?|\{\{\s*vault\b)"
)

RESERVED = "hive/"
RESERVED_VARIABLES = frozenset(
    f"{Settings.model_config.get('env_prefix', '')}{name}".upper()
    for name, field in Settings.model_fields.items()
    if name == "key_file" or SecretStr in union_members(field.annotation)
)
"""The hive's own secrets, and the file of its key. In capitals: the settings are read in any case."""


@dataclass(frozen=True, order=True)
class Reference:
    kind: Literal["environment", "vault"]
    name: str
    """The variable, or the path."""

    def __str__(self) -> str:
        if self.kind == "environment":
            return f"the environment variable {self.name}"
        return f"the vault's secret {self.name!r}"


class BadReference(ValueError):
    """A reference is written wrongly, or asks for what no bee may have. `field` says where."""

    def __init__(self, message: str, *, bee: str = "", field: str = "") -> None:
        self.bee, self.field, self.reason = bee, field, message
        where = ", ".join([f"{kind} {name!r}" for kind, name in (("bee", bee), ("field", field)) if name])
        super().__init__(f"{where}: {message}" if where else message)


class MissingReference(BadReference):
    """The variable or secret that a field refers to is not there."""

    def __init__(
        self, reference: Reference, *, bee: str = "", field: str = "", hint: str = "", empty: bool = False
    ) -> None:
        self.reference, self.hint = reference, hint
        verb = "set it" if reference.kind == "environment" else f"set it with `hive vault set {reference.name}`"
        super().__init__(f"{reference} is {'empty' if empty else 'missing'}: {verb}{hint}", bee=bee, field=field)


def references(value: Any) -> set[Reference]:
    """All that `value` refers to, at any depth. Raises BadReference."""
    return {part for _, text in strings(value) for part in _parts(text) if isinstance(part, Reference)}


def resolve(
    value: Any, *, environ: Mapping[str, str], vault: Callable[[str], str], bee: str = "", field: str = ""
) -> Any:
    """`value` with each reference replaced, at any depth; mappings and lists become dict and list.

    `vault` gives the text at a path or raises LookupError. Raises MissingReference or BadReference, which name the bee
    and the field and hold no value.
    """
    if isinstance(value, str):
        try:
            return "".join([_fetch(part, environ, vault, bee) for part in _parts(value)])
        except MissingReference as error:
            raise MissingReference(error.reference, bee=bee, field=field, hint=error.hint) from error
        except BadReference as error:
            raise BadReference(error.reason, bee=bee, field=field) from error
    if isinstance(value, Mapping):
        items = value.items()
        return {k: resolve(v, environ=environ, vault=vault, bee=bee, field=_below(field, k)) for k, v in items}
    if isinstance(value, list | tuple):
        return [resolve(v, environ=environ, vault=vault, bee=bee, field=_below(field, n)) for n, v in enumerate(value)]
    return value


def joined(pieces: Sequence[str]) -> str:
    """The pieces as one text, which says what they say one by one.

    Raises BadReference where it would not: `{` and `{ vault.a }}` are two plain texts, and a reference side by side.
    """
    text = "".join(pieces)
    expected: list[str | Reference] = []
    for part in (part for piece in pieces for part in _parts(piece)):
        if isinstance(part, str) and expected and isinstance(expected[-1], str):
            expected[-1] += part
        else:
            expected.append(part)
    if _parts(text) != expected:
        raise BadReference("its parts make or unmake a reference where they meet")
    return text


def lift_secrets(
    bee: str, options_model: type[BaseModel], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Move literal secrets out: (options with references in their place, {vault path: value}).

    What is secret is what `options_model` types as SecretStr or SecretBytes, at any depth. References stay; of text
    that mixes both, the literal parts move. Lifting twice changes nothing. The values may be short: the owner of the
    vault decides about that.
    """
    lifted: dict[str, str] = {}
    return _lift(options_model, options, f"bees/{bee}", lifted), lifted


def has_literal(text: str) -> bool:
    """Whether `text` holds anything beside references."""
    try:
        return any(isinstance(part, str) for part in _parts(text))
    except BadReference:
        return True


def secret_texts(
    options_model: Any, value: Any, place: tuple[object, ...] = ()
) -> Iterator[tuple[tuple[object, ...], str]]:
    """(place, text) of what `options_model` types as secret, at any depth."""
    members = union_members(options_model)
    if isinstance(value, str):
        if any(isinstance(m, type) and issubclass(m, SecretStr | SecretBytes) for m in members):
            yield place, value
        return
    for member in members:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from secret_texts(_annotation_of(member, key), item, (*place, key))
        elif isinstance(value, list | tuple):
            for n, item in enumerate(value):
                yield from secret_texts(item_annotation(member, n), item, (*place, n))


def strings(value: Any, place: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], str]]:
    """(place, text) of every string inside."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings(item, (*place, key))
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from strings(item, (*place, n))


def _parts(text: str) -> list[str | Reference]:
    """Literal text, escapes undone, and references, in order; no two literals side by side."""
    parts: list[str | Reference] = []
    literal, end = "", 0
    for found in _SPECIAL.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        if found["escape"]:
            literal += "${"
            continue
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_reference(found))
    literal += text[end:]
    return [*parts, literal] if literal else parts


def _reference(found: re.Match[str]) -> Reference:
    if found["broken"]:
        raise BadReference(
            "holds what is no reference: write ${NAME}, {{ vault.path.key }} or {{ vault:path/key }}; "
            "$${ stands for the characters ${ themselves"
        )
    if found["name"]:
        if found["name"].upper() in RESERVED_VARIABLES:
            raise BadReference(f"refers to the environment variable {found['name']}: it belongs to the hive itself")
        return Reference("environment", found["name"])
    path = found["path"] or found["dotted"].replace(".", "/")
    if path.startswith(RESERVED):
        raise BadReference(f"refers to {path!r}: secrets under {RESERVED!r} belong to the hive itself")
    return Reference("vault", path)


def _fetch(part: str | Reference, environ: Mapping[str, str], vault: Callable[[str], str], bee: str) -> str:
    if isinstance(part, str):
        return part
    if part.kind == "environment":
        if part.name not in environ:
            raise MissingReference(part, hint=did_you_mean(part.name, environ))
        if masking.is_secret_name(part.name):
            masking.remember(environ[part.name])
        return environ[part.name]
    if bee and part.name.startswith("bees/") and not part.name.startswith(f"bees/{bee}/"):
        # A bee with an address of its own choice would else carry another bee's password there.
        raise BadReference(f"refers to {part.name!r}, which belongs to another bee")
    try:
        found = vault(part.name)
        masking.remember(found)
        return found  # noqa: TRY300 - what it raises is looked at below
    except LookupError as error:
        raise MissingReference(part, hint=str(getattr(error, "hint", ""))) from error


def _below(field: str, key: object) -> str:
    return f"{field}.{key}" if field else str(key)


def _lift(annotation: Any, value: Any, path: str, lifted: dict[str, str]) -> Any:
    if not may_hold_secret(annotation):
        return value
    members = union_members(annotation)
    if isinstance(value, str):
        secret = any(isinstance(m, type) and issubclass(m, SecretStr | SecretBytes) for m in members)
        return _lift_text(value, path, lifted) if secret else value
    for member in members:
        if isinstance(value, Mapping):
            value = {k: _lift(_annotation_of(member, k), v, _segment(path, k), lifted) for k, v in value.items()}
        elif isinstance(value, list | tuple):
            value = [_lift(item_annotation(member, n), v, _segment(path, n), lifted) for n, v in enumerate(value)]
    return value


def _annotation_of(member: Any, key: object) -> Any:
    fields = fields_of(member)
    if not fields:
        return item_annotation(member, key)
    return fields[str(key)].annotation if str(key) in fields else None


def _lift_text(text: str, path: str, lifted: dict[str, str]) -> str:
    parts = _parts(text)
    literals = [part for part in parts if isinstance(part, str)]
    if not literals:
        return text
    written: list[str] = []
    for part in parts:
        if isinstance(part, str):
            place = path if len(parts) == 1 else f"{path}/{len(written)}"
            lifted[place] = part
            written.append(f"{{{{ vault:{place} }}}}")
        elif part.kind == "environment":
            written.append(f"${{{part.name}}}")
        else:
            written.append(f"{{{{ vault:{part.name} }}}}")
    return "".join(written)


def _segment(path: str, key: object) -> str:
    """Field names that the vault's paths cannot hold are spelled in hex; a plain name never starts so."""
    word = str(key)
    plain = re.fullmatch(r"[A-Za-z0-9_.-]+", word) and not word.startswith("x.")
    return f"{path}/{word if plain else 'x.' + word.encode().hex()}"
