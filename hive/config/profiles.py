"""What is wrong with a scrubbing profile, all of it at once: its reader stops at the first mistake.

Each mistake is told and mended in a copy, which is read again, until nothing is wrong or nothing mends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nectar.errors import BadProfile
from nectar.scrub.profile.profiles import profile_named

_MOST = 20
_LISTS = ("pii_detection", "sensitive_patterns", "locales", "regions")
_ACTION = "remove"
_BASE = "gdpr_compliant"
_NO_ACTION = "is listed but has no action"
_FOLLOWS = ("looks for nothing", "are the same and have different actions")
"""What our own mending may bring about."""
_NOT_LISTED = "is not among what is looked for"


def profile_problems(name: str, own: Mapping[str, Any]) -> list[str]:
    """The reader's words for each mistake in one of these profiles; empty: it can be used."""
    told: list[str] = []
    mended = dict(own)
    for _ in range(_MOST):
        text = _refusal(name, mended)
        if not text:
            break
        unknown_base = told and _base(mended[name]) != _base(own[name])
        definition = mended[name]
        if not text.startswith(f"profile {name!r}"):  # of one that it extends, which is told by itself
            break
        follows = told and any(words in text for words in _FOLLOWS)
        if not (follows or (unknown_base and _NOT_LISTED in text)):  # a base that nobody knows may well list it
            told.append(text)
        if not isinstance(definition, Mapping):
            break
        better = next(
            (one for one in _mended(definition, text) if _is_better(name, {**mended, name: one}, [*told, text])), None
        )
        if better is None:
            break
        mended[name] = better
    return told


def _is_better(name: str, own: Mapping[str, Any], told: list[str]) -> bool:
    """Whether what was told is gone, and nothing came that the mending alone has brought about."""
    text = _refusal(name, own)
    return text not in told and (_NO_ACTION not in text or _NO_ACTION in told[-1])


def _base(definition: Any) -> Any:
    return definition.get("extends") if isinstance(definition, Mapping) else None


def _refusal(name: str, own: Mapping[str, Any]) -> str:
    try:
        profile_named(name, own)
    except BadProfile as error:
        return str(error)
    return ""


def _mended(definition: Mapping[str, Any], text: str) -> Iterator[dict[str, Any]]:
    """The profile without one of its parts: a key that the words name, then the smallest; places of rules stay."""
    for key in definition.keys() - {"extends", "actions", "custom_rules", *_LISTS[:2]}:
        if str(key) in text:
            yield _without(definition, key)
    given, listed = definition.get("actions"), definition.get("custom_rules")
    actions: Mapping[Any, Any] = given if isinstance(given, Mapping) else {}
    rules = listed if isinstance(listed, list) else []
    for kind in actions:
        yield {**definition, "actions": {**actions, kind: _ACTION}}
    for kind in actions:
        yield {**definition, "actions": _without(actions, kind)}
    for n in range(len(rules)):
        yield {**definition, "custom_rules": [*rules[:n], {"field": "x", "action": _ACTION}, *rules[n + 1 :]]}
    for key in _LISTS:
        names: Any = definition.get(key)
        for one in names if isinstance(names, list) else ():
            rest = {"actions": _without(actions, one)} if actions else {}
            yield {**definition, key: [other for other in names if other != one], **rest}
    if "extends" in definition:
        yield {**definition, "extends": _BASE}
    yield {**definition, "default_action": _ACTION}
    for key in definition:
        yield _without(definition, key)


def _without(given: Mapping[Any, Any], key: Any) -> dict[Any, Any]:
    return {other: value for other, value in given.items() if other != key}
