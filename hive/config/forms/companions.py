"""What stands beside bees: scrubbing profiles, providers of identity, limits of connections, organizations.

    scrubbing_profiles: {gdpr_compliant: {pii_detection: [email_addresses], actions: {email_addresses: remove}}}
    identity_hive: {primary_provider: azure_ad, providers: {...}, passkey_config: {...}, group_mappings: {...}}
    hive_connection_pool: {global_settings: {...}, per_source_limits: {...}, health_checks: {...}}
    organizations: {default_organization_id: ..., create_missing_organizations: true}

Each is kept as it is written, once its shape is found to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hive.config.problems import Problem, closest
from hive.config.profiles import profile_problems

if TYPE_CHECKING:
    from hive.config.document import Document
    from hive.config.forms.draft import Place

NAMES = ("scrubbing_profiles", "identity_hive", "hive_connection_pool", "organizations")
PROVIDERS = ("active_directory", "okta", "azure_ad")

Shape = Mapping[str, Any] | type | tuple[type, ...]
"""A map of shapes by key, "*" for any key; else the type of what stands there, a list of texts for `list`."""

_NUMBER = (int, float)
_LIMITS = {"max_connections": int, "min_connections": int}
_SHAPES: dict[str, Shape] = {
    "identity_hive": {
        "primary_provider": str,
        "providers": {"*": dict},
        "passkey_config": {"enabled": bool, "attestation": str, "user_verification": str, "backup_eligible": bool},
        "group_mappings": {"*": list},
    },
    "hive_connection_pool": {
        "global_settings": {"max_total_connections": int, "connection_timeout": _NUMBER, "idle_timeout": _NUMBER},
        "per_source_limits": {"*": _LIMITS},
        "health_checks": {"interval": _NUMBER, "timeout": _NUMBER, "failure_threshold": int},
    },
    "organizations": {"default_organization_id": (str, int), "create_missing_organizations": bool},
}
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list of texts"}


def companion(document: Document, name: str, value: Any) -> dict[str, Any]:
    """The companion, as far as it is a map; what is wrong with it is reported."""
    if not isinstance(value, Mapping):
        _report(document, (name,), "must be a map")
        return {}
    if name == "scrubbing_profiles":
        return _profiles(document, value)
    _check(document, (name,), value, _SHAPES[name])
    if name == "identity_hive":
        _providers(document, value)
    return dict(value)


def check_profiles(own: Mapping[str, Any], document_of: Callable[[str], Document]) -> None:
    """Report what is wrong with profiles, of whatever files: one may extend one of another file."""
    for name in own:
        for told in profile_problems(name, own):
            _report(document_of(name), ("scrubbing_profiles", name), told)


def _profiles(document: Document, value: Mapping[str, Any]) -> dict[str, Any]:
    for name, definition in value.items():
        if not isinstance(definition, Mapping):
            _report(document, ("scrubbing_profiles", name), f"profile {str(name)!r}: must be a map")
    return {str(name): definition for name, definition in value.items() if isinstance(definition, Mapping)}


def _providers(document: Document, identity: Mapping[str, Any]) -> None:
    given = identity.get("providers")
    named = given if isinstance(given, Mapping) else {}
    for name in named:
        if name not in PROVIDERS:
            _unknown(document, ("identity_hive", "providers", name), name, PROVIDERS, "no known provider of identity")
    primary = identity.get("primary_provider")
    if isinstance(primary, str) and primary not in named:
        place = ("identity_hive", "primary_provider")
        _unknown(document, place, primary, list(map(str, named)), "none of the providers")


def _check(document: Document, place: Place, value: Any, shape: Shape) -> None:
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            _report(document, place, "must be a map")
            return
        for key, item in value.items():
            inner = shape.get(str(key), shape.get("*"))
            if inner is None:
                _unknown(document, (*place, key), key, list(shape), "no known key")
            else:
                _check(document, (*place, key), item, inner)
        return
    kinds = shape if isinstance(shape, tuple) else (shape,)
    fits = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    if fits and isinstance(value, list):
        fits = all(isinstance(item, str) for item in value)
    if not fits:
        _report(document, place, f"should be {' or '.join(_WORDS.get(kind, 'a map') for kind in kinds)}")
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        _report(document, place, "should not be negative")


def _unknown(document: Document, place: Place, name: object, known: Sequence[str], what: str) -> None:
    near = closest(str(name), known)
    _report(
        document,
        place,
        f"is {what}",
        expected="" if near else f"one of {', '.join(sorted(known))}",
        suggestion=near,
    )


def _report(document: Document, place: Place, message: str, *, expected: str = "", suggestion: str = "") -> None:
    document.problems.append(
        Problem(
            message,
            file=document.name,
            line=document.line(place),
            field=".".join(map(str, place)),
            expected=expected,
            suggestion=suggestion,
        )
    )
