"""Custom rules: what a person says about a field, or about a pattern in any text. They win over detection."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import regex

from nectar.errors import BadProfile
from nectar.scrub.find import patience
from nectar.scrub.find.findings import RULE, Hit, ScanError
from nectar.scrub.profile.paths import pattern_of
from nectar.scrub.treat.treatment import REDACTED, Action, Treatment, known_keys, treatment_of

SECONDS = 5.0
"""Longest time for one rule's pattern on one text; beyond it the text counts as not scanned."""

_PROBES = ("a", "Zq", "7", "4 2", "-", "no-one@nowhere.example", "Lorem ipsum, dolor: 12.")
_ESCAPED = re.compile(r"(?:(?<=\.)|^)underscore(?=_|underscore|\.|$)")


@dataclass(frozen=True)
class FieldRule:
    """`field` is a name at any depth (`email`), a dotted path (`address.city`), a glob of either (`*_email`), or a
    JSON path (`$.users[*].email`).

    Upper and lower case count as equal; places in a list are not part of a path (`items.email`).

    kind  the entity, where it is no person's rule but what the profile does with values that are dates by their type
    """

    field: str
    treatment: Treatment
    kind: str = ""

    @property
    def counted(self) -> str:
        """Under what its deeds are counted."""
        return self.kind or "rule"

    @property
    def label(self) -> str:
        """What `replace` writes."""
        return f"<{self.kind}>" if self.kind else REDACTED

    @property
    def action(self) -> Action:
        return self.treatment.action

    def fits(self, path: str) -> bool:
        """The rule means the field at this path (not those below it: whoever walks down carries the rule along).

        A field that its source calls `_ssn` is the column `underscore_ssn` (nectar/jsonrows.py): both names mean it.
        """
        pattern, name = pattern_of(self.field), path.casefold()
        if pattern.fullmatch(name) is not None:
            return True
        return "underscore" in name and pattern.fullmatch(_ESCAPED.sub("", name)) is not None


@dataclass(frozen=True)
class PatternRule:
    """What the pattern matches, wherever it stands. `keep` protects what it covers from detection.

    name  says which rule it is: `custom rule 2`
    """

    pattern: str
    treatment: Treatment
    compiled: Any
    name: str

    @property
    def action(self) -> Action:
        return self.treatment.action

    @cached_property
    def kind(self) -> str:
        """The key domain of its pseudonyms."""
        return "pattern:" + hashlib.sha256(self.pattern.encode()).hexdigest()[:16]

    def hits(self, text: str) -> list[Hit]:
        """Where it matches. Raises ScanError with the rule's name, and nothing of the text."""
        asked = patience.asked()
        limit = SECONDS if asked is None else min(SECONDS, asked.seconds)
        try:
            matches = [match.span() for match in self.compiled.finditer(text, timeout=limit)]
        except TimeoutError:
            raise ScanError("rule_timed_out", self.name) from None
        except (regex.error, MemoryError, RecursionError):
            raise ScanError("rule_failed", self.name) from None
        return [Hit(self.kind, start, end, 1.0, RULE) for start, end in matches if end > start]


@dataclass(frozen=True)
class Rules:
    fields: tuple[FieldRule, ...] = ()
    patterns: tuple[PatternRule, ...] = ()

    def of(self, path: str) -> FieldRule | None:
        """The first rule that means this field."""
        return self._first(path) if self.fields else None

    @cached_property
    def _first(self) -> Callable[[str], FieldRule | None]:
        """Remembers the paths, which are few beside the values at them."""
        return lru_cache(maxsize=4096)(lambda path: next((rule for rule in self.fields if rule.fits(path)), None))


def parse_rules(given: object, of: str = "") -> Rules:
    """Check the list `custom_rules`, of the profile `of` if it is one's. Raises BadProfile with the rule's number."""
    before = f"{of}, " if of else ""
    if given is None:
        return Rules()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise BadProfile(f"{before}custom_rules must be a list of rules")
    fields: list[FieldRule] = []
    patterns: list[PatternRule] = []
    for number, rule in enumerate(given, 1):
        where = f"{before}custom rule {number}"
        if not isinstance(rule, Mapping):
            raise BadProfile(f"{where}: expected field or pattern, and action")
        known_keys(rule, ("field", "pattern", "action", "to", "size"), where)
        if ("field" in rule) == ("pattern" in rule):
            raise BadProfile(f"{where}: give either field or pattern")
        if "action" not in rule:
            raise BadProfile(f"{where}: the action is missing")
        treatment = treatment_of(_action(rule), where)
        subject = rule["field"] if "field" in rule else rule["pattern"]
        if not isinstance(subject, str) or not subject:
            raise BadProfile(f"{where}: field or pattern must be text")
        if "field" in rule:
            fields.append(FieldRule(_field(subject, where), treatment))
        else:
            patterns.append(PatternRule(subject, treatment, _compile(subject, treatment, where), where))
    return Rules(tuple(fields), tuple(patterns))


def _action(rule: Mapping[str, Any]) -> object:
    """The options may stand beside the action or in it."""
    options = {key: rule[key] for key in ("to", "size") if key in rule}
    return {"action": rule["action"], **options} if options else rule["action"]


def _field(name: str, where: str) -> str:
    try:
        pattern_of(name)
    except BadProfile as error:
        raise BadProfile(f"{where}: {error}") from None
    return name


def _compile(pattern: str, treatment: Treatment, where: str) -> Any:
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise BadProfile(f"{where}: the pattern is no regular expression ({error})") from error
    try:
        if compiled.fullmatch("", timeout=SECONDS):
            raise BadProfile(f"{where}: the pattern matches the empty text, so it would match everywhere")
        everything = all(compiled.fullmatch(probe, timeout=SECONDS) for probe in _PROBES)
    except TimeoutError:
        raise BadProfile(f"{where}: the pattern takes too long on short texts") from None
    if everything and treatment.action is Action.KEEP:
        raise BadProfile(f"{where}: the pattern matches every text, so keep would switch the profile off")
    return compiled
