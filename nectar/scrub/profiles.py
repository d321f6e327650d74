"""Profiles: which kinds of personal data are looked for, and what is done with each.

A profile has the form of the documents: names under `pii_detection` or `sensitive_patterns`, an action for each.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nectar.errors import BadProfile
from nectar.scrub.entities import ENTITIES, PROFILE_NAMES


class Action(StrEnum):
    """What is done with a value: see `nectar.scrub.actions`."""

    REMOVE = "remove"
    REPLACE = "replace"
    MASK_PARTIAL = "mask_partial"
    HASH_WITH_SALT = "hash_with_salt"
    KEEP = "keep"


_SYNONYMS = {"redaction": Action.MASK_PARTIAL, "removal": Action.REMOVE}

BUILT_IN: dict[str, Mapping[str, Any]] = {
    "gdpr_compliant": {
        "pii_detection": ["email_addresses", "phone_numbers", "credit_cards", "social_security_numbers"],
        "actions": {
            "email_addresses": "hash_with_salt",
            "phone_numbers": "remove",
            "credit_cards": "remove",
            "social_security_numbers": "remove",
        },
    },
    "financial_data": {
        "sensitive_patterns": ["account_numbers", "routing_numbers", "transaction_ids"],
        "actions": {
            "account_numbers": "mask_partial",
            "routing_numbers": "remove",
            "transaction_ids": "hash_with_salt",
        },
    },
}


@dataclass(frozen=True)
class Profile:
    """Actions by entity, in the profile's order, which settles ties between findings."""

    name: str = ""
    actions: tuple[tuple[str, Action], ...] = ()


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest one, or all there are."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"


def action_of(name: object, where: str) -> Action:
    """The action of that name or synonym. Raises BadProfile that names the place."""
    if isinstance(name, str):
        if name in _SYNONYMS:
            return _SYNONYMS[name]
        if name in set(Action):
            return Action(name)
    raise BadProfile(f"{where}: no action is named {name!r}; {did_you_mean(name, [*Action, *_SYNONYMS])}")


def known_keys(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse a key nobody would read: a misspelt one must not leave data unscrubbed."""
    names = set(known)
    for key in given:
        if key not in names:
            raise BadProfile(f"{where}: nothing is called {key!r} here; {did_you_mean(key, names)}")


def profile_named(name: object, own: Mapping[str, Any]) -> Profile:
    """The profile of that name among one's own and those that are built in; None is the empty profile."""
    if name is None:
        return Profile()
    definitions = {**BUILT_IN, **own}
    if not isinstance(name, str) or name not in definitions:
        raise BadProfile(f"no scrubbing profile is named {name!r}; {did_you_mean(name, definitions)}")
    return _parse(name, definitions[name])


def _parse(name: str, definition: object) -> Profile:
    where = f"profile {name!r}"
    if not isinstance(definition, Mapping):
        raise BadProfile(f"{where}: expected a mapping with pii_detection or sensitive_patterns, and actions")
    known_keys(definition, ("pii_detection", "sensitive_patterns", "actions"), where)
    given = definition.get("actions") or {}
    if not isinstance(given, Mapping):
        raise BadProfile(f"{where}: actions must map names to actions")
    listed = _names(definition, "pii_detection", where) + _names(definition, "sensitive_patterns", where)
    known_keys(given, listed, f"{where}, actions")
    actions: dict[str, Action] = {}
    for kind in listed:
        if kind not in given:
            raise BadProfile(f"{where}: {kind!r} is listed but has no action")
        action = action_of(given[kind], f"{where}, {kind}")
        for entity in _entities(kind, where):
            actions.setdefault(entity, action)
    return Profile(name, tuple(actions.items()))


def _names(definition: Mapping[str, Any], key: str, where: str) -> list[str]:
    names = definition.get(key) or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise BadProfile(f"{where}: {key} must be a list of names")
    return list(names)


def _entities(kind: str, where: str) -> tuple[str, ...]:
    if kind in ENTITIES:
        return (kind,)
    if kind in PROFILE_NAMES:
        return PROFILE_NAMES[kind]
    raise BadProfile(f"{where}: nothing can be found under {kind!r}; {did_you_mean(kind, [*PROFILE_NAMES, *ENTITIES])}")
