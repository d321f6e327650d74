"""What is to be done with a kind of value, as people write it: `remove`, `generalise:month`, `{action: replace}`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nectar.errors import BadProfile
from nectar.scrub.find import entities as e

REDACTED = "<REDACTED>"
"""Stands for what a rule took out."""


class Action(StrEnum):
    """What is done with a value: see `nectar.scrub.treat.actions`."""

    REMOVE = "remove"
    REPLACE = "replace"
    MASK_PARTIAL = "mask_partial"
    HASH_WITH_SALT = "hash_with_salt"
    TOKENIZE = "tokenize"
    GENERALISE = "generalise"
    KEEP = "keep"


SYNONYMS = {
    "redaction": Action.MASK_PARTIAL,
    "masking": Action.MASK_PARTIAL,
    "removal": Action.REMOVE,
    "hashing": Action.HASH_WITH_SALT,
    "tokenise": Action.TOKENIZE,
    "tokenization": Action.TOKENIZE,
    "tokenisation": Action.TOKENIZE,
    "encryption": Action.TOKENIZE,
    "generalize": Action.GENERALISE,
    "generalization": Action.GENERALISE,
    "generalisation": Action.GENERALISE,
}
"""Words of Honey Combs, and of American English."""

COARSER = {"month": 0, "year": 0, "network": 0, "prefix": 3, "bucket": 10}
"""What `generalise` can make of a value, with the size that is taken where none is given (0: it has none)."""

LARGEST = 10**12
_OF_ITSELF = {e.DATE_TIME: "year", e.IP_ADDRESS: "network"}
"""Kinds that say themselves what they are generalised to, where nobody else does."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """An action with its options, which only `generalise` has.

    to    `month`, `year`, `network` (/24, /48), `prefix` (of a postal code) or `bucket` (of numbers)
    size  characters of a prefix, width of a bucket
    """

    action: Action
    to: str = ""
    size: int = 0

    @property
    def keyed(self) -> bool:
        """It needs a key, and its result joins only where values are taken as a whole."""
        return self.action in {Action.HASH_WITH_SALT, Action.TOKENIZE}

    def __str__(self) -> str:
        """The short form, which `treatment_of` reads."""
        return ":".join(filter(None, (self.action, self.to, str(self.size or ""))))


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest one, or all there are."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(str(name), names, n=1) or [n for n in names if name and n.startswith(str(name))]
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"


def known_keys(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse a key nobody would read: a misspelt one must not leave data unscrubbed."""
    names = set(known)
    for key in given:
        if key not in names:
            raise BadProfile(f"{where}: nothing is called {key!r} here; {did_you_mean(key, names)}")


def treatment_of(given: object, where: str, kind: str = "") -> Treatment:
    """Read an action: its name, `generalise:TO`, `generalise:TO:SIZE`, or `{action, to, size}`.

    kind  the entity that it is for, where one is known: dates are generalised to the year, addresses to the network

    Raises BadProfile that names the place.
    """
    if isinstance(given, Mapping):
        known_keys(given, ("action", "to", "size"), where)
        if "action" not in given:
            raise BadProfile(f"{where}: the action is missing")
        name, to, size = given["action"], given.get("to"), given.get("size")
    else:
        name, to, size = _short(given)
    action = _action(name, where)
    if action is not Action.GENERALISE:
        if to is not None or size is not None:
            raise BadProfile(f"{where}: only generalise has options, {action} has none")
        return Treatment(action)
    return _generalise(_OF_ITSELF.get(kind) if to is None else to, size, where)


def _short(given: object) -> tuple[object, object, object]:
    if not isinstance(given, str):
        return given, None, None
    name, *options = given.split(":", maxsplit=2)
    to, size = [*options, None, None][:2]
    return name, to, int(size) if size is not None and size.isascii() and size.isdigit() else size


def _action(name: object, where: str) -> Action:
    if isinstance(name, str):
        if name in SYNONYMS:
            return SYNONYMS[name]
        if name in set(Action):
            return Action(name)
    raise BadProfile(f"{where}: no action is named {name!r}; {did_you_mean(name, [*Action, *SYNONYMS])}")


def _generalise(to: object, size: object, where: str) -> Treatment:
    if to is None:
        raise BadProfile(f"{where}: say what to generalise to, such as 'generalise:month'; one of {', '.join(COARSER)}")
    if not isinstance(to, str) or to not in COARSER:
        raise BadProfile(f"{where}: nothing is generalised to {to!r}; {did_you_mean(to, COARSER)}")
    usual = COARSER[to]
    if size is None:
        return Treatment(Action.GENERALISE, to, usual)
    if not usual:
        raise BadProfile(f"{where}: only prefix and bucket have a size, {to} has none")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= LARGEST:
        raise BadProfile(f"{where}: the size of a {to} must be a whole number of 1 or more")
    return Treatment(Action.GENERALISE, to, size)
