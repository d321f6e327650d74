"""Two scrubbing configurations as one that removes what either of them removes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nectar.scrub.profiles import BUILT_IN, Action

_BOTH = "both versions"


def either(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a flight that began under `old` does once `new` holds.

    Where both say something of a kind or a field, the new one decides how it is done; `keep`, which takes back what
    a profile does, needs both. Raises nothing: what is wrong in one of them shows where it is used.
    """
    one, other = _seen(old), _seen(new)
    if one == other:
        return other
    return {**_profile(one, other), "custom_rules": _rules(one["custom_rules"], other["custom_rules"])}


def _seen(config: Mapping[str, Any] | None) -> dict[str, Any]:
    given = config or {}
    on = given.get("enabled", True) is not False
    return {
        "profile": (given.get("profile") or given.get("profile_id")) if on else None,
        "profiles": dict(given.get("profiles") or {}),
        "custom_rules": list(given.get("custom_rules") or ()) if on else [],
    }


def _profile(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    definitions = [
        {**BUILT_IN, **side["profiles"]}.get(side["profile"], {}) if side["profile"] else {} for side in (old, new)
    ]
    if not definitions[0] or definitions[0] == definitions[1]:
        return {"profile": new["profile"], "profiles": new["profiles"]}
    if not definitions[1]:
        return {"profile": old["profile"], "profiles": {**new["profiles"], **old["profiles"]}}
    actions: dict[str, Any] = {}
    for definition in definitions:
        actions |= definition.get("actions") or {}
    joined = {
        key: list(dict.fromkeys([*(definitions[0].get(key) or ()), *(definitions[1].get(key) or ())]))
        for key in ("pii_detection", "sensitive_patterns")
    }
    return {"profile": _BOTH, "profiles": {_BOTH: {**joined, "actions": actions}}}


def _rules(old: list[Any], new: list[Any]) -> list[Any]:
    before, now = {_subject(rule): rule for rule in old}, {_subject(rule): rule for rule in new}
    found = []
    for subject, rule in now.items():
        if not _keeps(rule):
            found.append(rule)
        elif subject in before:  # the new version keeps it: until the flight ends, the old one decides
            found.append(before[subject])
    return found + [rule for subject, rule in before.items() if subject not in now and not _keeps(rule)]


def _subject(rule: Mapping[str, Any]) -> tuple[Any, Any]:
    return rule.get("field"), rule.get("pattern")


def _keeps(rule: Mapping[str, Any]) -> bool:
    return rule.get("action") == Action.KEEP
