"""The one place that decides what becomes of a value, whatever shape of data it came from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count

from nectar.keys import PseudonymKeys
from nectar.scrub import actions, context
from nectar.scrub import entities as e
from nectar.scrub.engine import Scan, scan_texts
from nectar.scrub.findings import CHECKSUM, CONTEXT, PATTERN, RULE, Hit, ScanError
from nectar.scrub.profiles import Action, Profile
from nectar.scrub.rules import FieldRule, Rules
from nectar.scrub.spans import Piece, by_worth, pieces, splice

_ORDER = {entity: place for place, entity in enumerate(e.ENTITIES)}
_INTEGER = re.compile(r"-?(\d{1,40})(?:\.0*)?", re.ASCII)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A plain identifier: a name that programs give, and no person's."""
_TELLING = frozenset({e.EMAIL_ADDRESS, e.US_SSN, e.CREDIT_CARD, e.PHONE_NUMBER})
_NINE_DIGITS = (e.US_SSN, e.ABA_ROUTING_NUMBER)
"""Numbers with leading zeros, which an integer has lost."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What stands in place of a value. `failed` is a reason: the value could not be scrubbed and must not pass."""

    value: str | None
    counts: tuple[tuple[str, str, int], ...] = ()
    """(field, kind, how many)"""
    failed: str | None = None


@dataclass(frozen=True)
class Cells:
    """Scrubs the values of one field at a time. Values that stay as they are have no outcome."""

    profile: Profile
    rules: Rules
    keys: PseudonymKeys | None

    @cached_property
    def entities(self) -> frozenset[str]:
        return frozenset(entity for entity, _ in self.profile.actions)

    @cached_property
    def _actions(self) -> dict[str, Action]:
        return {**dict(self.profile.actions), **{rule.kind: rule.action for rule in self.rules.patterns}}

    @cached_property
    def _order(self) -> dict[str, int]:
        return {entity: place for place, (entity, _) in enumerate(self.profile.actions)}

    def rule_of(self, path: str) -> FieldRule | None:
        """The rule that means the field at this path itself."""
        return self.rules.of(path) if path else None

    def texts(
        self, path: str, values: Iterable[str], rule: FieldRule | None, *, is_key: bool = False
    ) -> dict[str, Outcome]:
        """Scrub distinct texts of the field at `path`. A key of an object never becomes null or empty."""
        if rule is not None:
            return self._ruled(path, values, rule)
        given = list(values)
        lifted = frozenset() if is_key else context.lifted(path)
        scans: Mapping[str, Scan] = scan_texts(given, self.entities, lifted) if self.entities else {}
        outcomes = {}
        for text in given:
            try:
                outcome = self._spliced(path, text, scans.get(text, ()), is_key=is_key)
            except ScanError as failure:
                outcome = Outcome(None, failed=failure.code)
            if outcome is not None:
                outcomes[text] = outcome
        return outcomes

    def member_names(self, path: str, names: Sequence[str]) -> tuple[list[str], Counter[str], str | None]:
        """Names of the members of an object at `path`: (scrubbed, how many of each kind were taken out, a failure).

        As keys of a JSON document are: one that came to equal another gets a number.
        """
        outcomes = self.texts(path, names, None, is_key=True)
        if not outcomes:
            return list(names), Counter(), None
        taken: Counter[str] = Counter()
        failed = None
        used = {name for name in names if name not in outcomes}
        found = []
        for name in names:
            outcome = outcomes.get(name)
            new = plain = name
            if outcome is not None:
                failed = failed or outcome.failed
                new = plain = outcome.value or actions.REDACTED
                taken.update({kind: number for _, kind, number in outcome.counts})
                same = 1
                while new in used:
                    same += 1
                    new = f"{plain}#{same}"
                used.add(new)
            found.append(new)
        return found, taken, failed

    def column_names(self, names: Sequence[str]) -> list[str]:
        """Names of a table's columns, those that tell of a person as `<EMAIL_ADDRESS>1`.

        A number and no pseudonym, for columns stay: in the view, in the pollen, in everybody's queries. They would
        become more with each person.
        """
        wanted = frozenset(entity for entity, action in self.profile.actions if action is not Action.KEEP) & _TELLING
        odd = [name for name in names if not name.startswith("_") and len(name) >= 5 and not _WORD.fullmatch(name)]
        scans: Mapping[str, Scan] = scan_texts(odd, wanted) if wanted and odd else {}
        used, found = set(names), []
        for name in names:
            scan = scans.get(name, ())
            new = name
            if isinstance(scan, ScanError) or scan:
                label = actions.REDACTED if isinstance(scan, ScanError) else _label(scan[0])
                new = next(free for n in count(1) if (free := f"{label}{n}") not in used)
                used.add(new)
            found.append(new)
        return found

    def wants_numbers(self, path: str) -> frozenset[str]:
        """Entities that an integer of this field can be: cards by their check digit, others by the field's name."""
        lifted = context.lifted(path) & self.entities
        if not context.names_phone(path):
            lifted -= {e.PHONE_NUMBER}
        return lifted | (self.entities & {e.CREDIT_CARD})

    def numbers(self, path: str, values: Iterable[str], rule: FieldRule | None) -> dict[str, Outcome]:
        """Scrub distinct numbers, given as text. Only a number that is a finding as a whole has an outcome."""
        if rule is not None:
            return self._ruled(path, values, rule)
        wanted = self.wants_numbers(path)
        if not wanted and not self.rules.patterns:
            return {}
        digits = {text: match[1] for text in values if (match := _INTEGER.fullmatch(text))}
        if wanted <= {e.CREDIT_CARD} and not self.rules.patterns:
            digits = {text: number for text, number in digits.items() if 12 <= len(number) <= 19}
        written = {form for number in digits.values() for form in _forms(number, wanted)}
        scans = scan_texts(written, wanted, context.lifted(path)) if wanted else {}
        outcomes = {}
        for text, number in digits.items():
            try:
                outcome = self._number(path, number, wanted, scans)
            except ScanError as failure:
                outcome = Outcome(None, failed=failure.code)
            if outcome is not None:
                outcomes[text] = outcome
        return outcomes

    def _number(self, path: str, number: str, wanted: frozenset[str], scans: Mapping[str, Scan]) -> Outcome | None:
        for form in _forms(number, wanted):
            scan = scans.get(form, ())
            if isinstance(scan, ScanError):
                raise scan
            hits = [hit for hit in scan if (hit.start, hit.end) == (0, len(form)) and _believed(hit)]
            if form != number:
                hits = [hit for hit in hits if hit.entity in _NINE_DIGITS]
            if e.PHONE_NUMBER in wanted and form == number and not hits:
                from nectar.scrub.phones import e164, phone_of_digits

                if phone_of_digits(number):
                    form = number if e164(number) else "+" + number  # noqa: PLW2901
                    hits = [Hit(e.PHONE_NUMBER, 0, len(form), 0.4, CONTEXT)]
            hits += [hit for rule in self.rules.patterns for hit in rule.hits(form) if hit.end - hit.start == len(form)]
            if hits:
                return self._spliced(path, form, tuple(hits), is_key=False, rules_seen=True)
        return None

    def _ruled(self, path: str, values: Iterable[str], rule: FieldRule) -> dict[str, Outcome]:
        if rule.action is Action.KEEP:
            return {}
        counts = ((path, "rule", 1),)
        if rule.action is Action.REMOVE:
            return dict.fromkeys(values, Outcome(None, counts))
        given = list(values)
        kinds = self._kinds(given, path, f"field:{rule.field}") if rule.action is Action.HASH_WITH_SALT else {}
        outcomes = {}
        for text in given:
            kind = kinds.get(text, "")
            if isinstance(kind, ScanError):
                outcomes[text] = Outcome(None, failed=kind.code)
            else:
                new = actions.apply(rule.action, text, kind=kind, label=actions.REDACTED, keys=self.keys)
                outcomes[text] = Outcome(new, counts)
        return outcomes

    def _kinds(self, values: list[str], path: str, otherwise: str) -> dict[str, str | ScanError]:
        """The key domain of each value: the entity that it is as a whole, so that it joins with detected ones."""
        kinds: dict[str, str | ScanError] = {}
        stripped = {text: text.strip() for text in values}
        scans = scan_texts(stripped.values(), frozenset(e.JOINABLE), context.lifted(path))
        for text, bare in stripped.items():
            scan = scans[bare]
            if isinstance(scan, ScanError):
                kinds[text] = scan
                continue
            whole = sorted((h for h in scan if (h.start, h.end) == (0, len(bare))), key=lambda h: by_worth(h, _ORDER))
            kinds[text] = whole[0].entity if whole else otherwise
        return kinds

    def _spliced(self, path: str, text: str, scan: Scan, *, is_key: bool, rules_seen: bool = False) -> Outcome | None:
        if isinstance(scan, ScanError):
            raise scan
        hits = list(scan)
        if not rules_seen:
            hits += [hit for rule in self.rules.patterns for hit in rule.hits(text)]
        if not hits:
            return None
        do = self._actions
        kept = [hit for hit in hits if hit.strength == RULE and do[hit.entity] is Action.KEEP]
        if kept:
            hits = [h for h in hits if h not in kept and not any(k.start <= h.start and h.end <= k.end for k in kept)]
        parts = [piece for piece in pieces(hits, self._order) if do[piece.hit.entity] is not Action.KEEP]
        if not parts:
            return None
        new: str | None = splice(text, parts, lambda piece: self._written(text, piece, do[piece.hit.entity]))
        if not (new or "").strip():
            new = _label(parts[0].hit) if is_key else None
        kinds = ["rule" if piece.hit.strength == RULE else piece.hit.entity for piece in parts if piece.whole]
        return Outcome(new, _counts(path, tuple(kinds)))

    def _written(self, text: str, piece: Piece, action: Action) -> str:
        hit, span = piece.hit, text[piece.start : piece.end]
        if action is Action.HASH_WITH_SALT and not piece.whole:
            return _label(hit)  # the pseudonym of a fragment would join with nobody
        kind = hit.entity
        if action is Action.HASH_WITH_SALT and hit.strength == RULE:
            found = self._kinds([span], "", hit.entity)[span]
            if isinstance(found, ScanError):
                raise found
            kind = found
        return actions.apply(action, span, kind=kind, label=_label(hit), keys=self.keys)


@lru_cache(maxsize=4096)
def _counts(path: str, kinds: tuple[str, ...]) -> tuple[tuple[str, str, int], ...]:
    """One object for all values in which the same was found, of which there are many."""
    return tuple((path, kind, count) for kind, count in Counter(kinds).items())


def _label(hit: Hit) -> str:
    return actions.REDACTED if hit.strength == RULE else f"<{hit.entity}>"


def _believed(hit: Hit) -> bool:
    """A bare number is a finding by its check digits or its field's name; its form alone says nothing."""
    needed = CHECKSUM if hit.entity == e.CREDIT_CARD else CONTEXT
    return hit.strength >= needed > PATTERN


@lru_cache(maxsize=4096)
def _forms(number: str, wanted: frozenset[str]) -> tuple[str, ...]:
    if 6 <= len(number) < 9 and wanted.intersection(_NINE_DIGITS):
        return (number, number.zfill(9))
    return (number,)
