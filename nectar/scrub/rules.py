"""Custom rules: what a person says about a field, or about a pattern in any text. They win over detection."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import regex

from nectar.errors import BadProfile
from nectar.scrub.findings import RULE, Hit, ScanError
from nectar.scrub.profiles import Action, action_of, known_keys

SECONDS = 5.0
"""Longest time for one rule's pattern on one text; beyond it the text counts as not scanned."""


@dataclass(frozen=True)
class FieldRule:
    """`field` is a name at any depth (`email`), a dotted path (`address.city`) or a glob of either (`*_email`).

    Upper and lower case count as equal; places in a list are not part of a path (`items.email`).
    """

    field: str
    action: Action

    def fits(self, path: str) -> bool:
        """The rule means the field at this path (not those below it: whoever walks down carries the rule along)."""
        name, given = self.field.casefold(), path.casefold()
        if given == name or fnmatchcase(given, name):
            return True
        leaf = given.rpartition(".")[2]
        return "." not in name and (leaf == name or fnmatchcase(leaf, name))


@dataclass(frozen=True)
class PatternRule:
    """What the pattern matches, wherever it stands. `keep` protects what it covers from detection."""

    pattern: str
    action: Action
    compiled: Any

    @property
    def kind(self) -> str:
        """The key domain of its pseudonyms."""
        return "pattern:" + hashlib.sha256(self.pattern.encode()).hexdigest()[:16]

    def hits(self, text: str) -> list[Hit]:
        try:
            matches = [match.span() for match in self.compiled.finditer(text, timeout=SECONDS)]
        except TimeoutError as error:
            raise ScanError("rule_timed_out") from error
        return [Hit(self.kind, start, end, 1.0, RULE) for start, end in matches if end > start]


@dataclass(frozen=True)
class Rules:
    fields: tuple[FieldRule, ...] = ()
    patterns: tuple[PatternRule, ...] = ()

    def of(self, path: str) -> FieldRule | None:
        """The first rule that means this field."""
        return next((rule for rule in self.fields if rule.fits(path)), None)


def parse_rules(given: object) -> Rules:
    """Check the list `custom_rules`. Raises BadProfile with the number of the rule that is wrong."""
    if given is None:
        return Rules()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise BadProfile("custom_rules must be a list of rules")
    fields: list[FieldRule] = []
    patterns: list[PatternRule] = []
    for number, rule in enumerate(given, 1):
        where = f"custom rule {number}"
        if not isinstance(rule, Mapping):
            raise BadProfile(f"{where}: expected field or pattern, and action")
        known_keys(rule, ("field", "pattern", "action"), where)
        if ("field" in rule) == ("pattern" in rule):
            raise BadProfile(f"{where}: give either field or pattern")
        if "action" not in rule:
            raise BadProfile(f"{where}: the action is missing")
        action = action_of(rule["action"], where)
        subject = rule["field"] if "field" in rule else rule["pattern"]
        if not isinstance(subject, str) or not subject:
            raise BadProfile(f"{where}: field or pattern must be text")
        if "field" in rule:
            fields.append(FieldRule(subject, action))
        else:
            patterns.append(PatternRule(subject, action, _compile(subject, where)))
    return Rules(tuple(fields), tuple(patterns))


def _compile(pattern: str, where: str) -> Any:
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise BadProfile(f"{where}: the pattern is no regular expression ({error})") from error
