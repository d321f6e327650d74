"""The one place that decides what becomes of a value, whatever shape of data it came from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa

from nectar.keys import PseudonymKeys
from nectar.scrub.find import context
from nectar.scrub.find import entities as e
from nectar.scrub.find.addresses import narrowed
from nectar.scrub.find.engine import Scan, scan_texts
from nectar.scrub.find.findings import CHECKSUM, CONTEXT, RULE, Hit, ScanError
from nectar.scrub.find.spans import Piece, pieces
from nectar.scrub.profile.profiles import Profile
from nectar.scrub.profile.rules import FieldRule, Rules
from nectar.scrub.shapes.domains import domains
from nectar.scrub.shapes.kinds import FEWEST, NOTHING, UNKNOWN, Question, settle
from nectar.scrub.shapes.prose import Findings, findings
from nectar.scrub.shapes.splices import Outcome, label_of, spliced
from nectar.scrub.treat import actions
from nectar.scrub.treat.treatment import Action, Treatment

_INTEGER = re.compile(r"-?(\d{1,40})(?:\.0*)?", re.ASCII)
_POWER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?[eE]\+?\d{1,2}", re.ASCII)
_ISSUED = re.compile(
    r"1\d{14}"  # UATP, and the older JCB
    r"|2(?:131|014|149)\d{11}|220[0-4]\d{12,15}"  # JCB, enRoute, Mir
    r"|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|5[1-5]\d{14}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|095|[689]\d)\d{11,16}|35\d{14,17}"  # American Express, Diners Club, JCB
    r"|4\d{12}(?:\d{3}){0,2}"  # Visa
    r"|(?:50|5[678]|6\d)\d{10,17}",  # Maestro, Discover, UnionPay, RuPay
    re.ASCII,
)
"""First digits and lengths of payment cards (ISO/IEC 7812: 12 to 19 digits), by what the networks publish."""
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A plain identifier: a name that programs give, and no person's."""
_TELLING = frozenset({e.EMAIL_ADDRESS, e.US_SSN, e.CREDIT_CARD, e.PHONE_NUMBER})
_AT_ONCE = 1 << 12
"""Texts that are scanned together. With more, what stands between the steps outgrows the processor's caches."""
_NINE_DIGITS = (e.US_SSN, e.ABA_ROUTING_NUMBER)
"""Numbers with leading zeros, which an integer has lost."""


@dataclass(frozen=True)
class Cells:
    """Scrubs the values of one field at a time. Values that stay as they are have no outcome."""

    profile: Profile
    rules: Rules
    keys: PseudonymKeys | None

    @cached_property
    def entities(self) -> frozenset[str]:
        found = frozenset(entity for entity, _ in self.profile.treatments)
        return found.union(map(e.phones_of, self.profile.regions)) if e.PHONE_NUMBER in found else found

    @cached_property
    def _actions(self) -> dict[str, Treatment]:
        """What is done with each kind; the first of several rules with one pattern counts."""
        found = dict(self.profile.treatments)
        for rule in self.rules.patterns:
            found.setdefault(rule.kind, rule.treatment)
        return found

    @cached_property
    def _order(self) -> dict[str, int]:
        kinds = [entity for entity, _ in self.profile.treatments] + [rule.kind for rule in self.rules.patterns]
        return {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}

    @cached_property
    def dates(self) -> FieldRule | None:
        """What the profile does with dates, for values that are dates by their type."""
        treatment = dict(self.profile.treatments).get(e.DATE_TIME)
        return None if treatment is None else FieldRule("dates", treatment, e.DATE_TIME)

    def rule_of(self, path: str) -> FieldRule | None:
        """The rule that means the field at this path itself."""
        return self.rules.of(path) if path else None

    def action_of(self, path: str, kind: str) -> str:
        """What is done with this kind of finding at this path: its name, for people.

        `rule` is the nearest rule of a field on the way to the path, else those of all patterns. Empty: no action.
        """
        if kind != "rule":
            found = self._actions.get(kind)
            return "" if found is None else str(found)
        while path:
            rule = self.rule_of(path)
            if rule is not None:
                return str(rule.action)
            path = path.rpartition(".")[0]
        return ", ".join(sorted({str(rule.action) for rule in self.rules.patterns}))

    def looks_for_nothing(self, mark: str | None) -> bool:
        """Whether texts without a rule of their own stay as they are. What a document holds may have rules."""
        return not self.entities and not self.rules.patterns and not (mark == "json" and self.rules.fields)

    def texts(
        self, path: str, values: Iterable[str], rule: FieldRule | None, *, is_key: bool = False
    ) -> dict[str, Outcome]:
        """Scrub distinct texts of the field at `path`. A key of an object never becomes null or empty."""
        if rule is not None:
            return self._ruled(path, values, rule)
        given = list(values)
        settled = None if is_key or len(given) < FEWEST else self.settled(path, _as_array(given))
        if settled is None:
            return self.scanned(path, given, is_key=is_key)
        outcomes = self.scanned(path, [given[i] for i in np.flatnonzero(settled == UNKNOWN).tolist()])
        for place in np.unique(settled[settled >= 0]).tolist():
            texts = [given[i] for i in np.flatnonzero(settled == place).tolist()]
            outcomes.update(self._alike(path, self.kinds[place], texts, texts))
        return outcomes

    def scanned(self, path: str, given: Sequence[str], *, is_key: bool = False) -> dict[str, Outcome]:
        """The same, each text scanned for itself."""
        outcomes: dict[str, Outcome] = {}
        for first in range(0, len(given), _AT_ONCE):
            self._scan(path, given[first : first + _AT_ONCE], outcomes, is_key=is_key)
        return outcomes

    def _scan(self, path: str, given: Sequence[str], outcomes: dict[str, Outcome], *, is_key: bool) -> None:
        lifted = frozenset() if is_key else context.lifted(path)
        scans: Mapping[str, Scan] = (
            scan_texts(given, self.entities, lifted, self.profile.threshold) if self.entities else {}
        )
        parts: dict[str, list[Piece]] = {}
        for text in given:
            scan = scans.get(text, ())
            if not scan and not self.rules.patterns:
                continue
            try:
                found = self._parts(text, scan)
            except ScanError as failure:
                outcomes[text] = Outcome(None, failed=failure.code)
            else:
                if found:
                    parts[text] = found
        outcomes.update(spliced(path, parts, *self._writing, is_key=is_key))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """What is looked for, in the profile's order."""
        return tuple(kind for kind, _ in self.profile.treatments)

    def settled(self, path: str, distinct: pa.Array | None) -> Any | None:
        """What `kinds.settle` tells of distinct texts of the field at `path`, in places of `kinds`."""
        if self.rules.patterns or distinct is None:
            return None
        return settle(distinct, self._question(path))

    def _question(self, path: str) -> Question:
        profile = self.profile
        return Question(self.kinds, context.lifted(path), profile.threshold, bool(profile.regions))

    def told(self, path: str, texts: pa.Array) -> Findings | None:
        """What `prose.findings` tells of distinct texts of the field at `path`."""
        if self.rules.patterns or any(treatment.action is Action.KEEP for _, treatment in self.profile.treatments):
            return None
        return findings(texts, self._question(path))

    def rewritten(self, kind: str, texts: Sequence[str] | pa.Array) -> Sequence[str | None] | None:
        """What stands for texts that are findings of this kind as a whole; None: they stay."""
        treatment = dict(self.profile.treatments)[kind]
        if treatment.action is Action.KEEP:
            return None
        if treatment.action is Action.REMOVE:
            return [None] * len(texts)
        given = texts.to_pylist() if isinstance(texts, pa.Array) else texts
        new = actions.apply_to_all(treatment, given, kind=kind, label=f"<{kind}>", keys=self.keys)
        return [text if text.strip() else None for text in new]

    def _alike(
        self, path: str, kind: str, values: Sequence[str], texts: Sequence[str]
    ) -> Iterator[tuple[str, Outcome]]:
        """The outcomes of values whose texts are findings of one kind."""
        counts = ((path, kind, 1),)
        for value, new in zip(values, self.rewritten(kind, texts) or (), strict=False):
            yield value, Outcome(new, counts)

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
                label = actions.REDACTED if isinstance(scan, ScanError) else label_of(scan[0])
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

    def only_cards(self, path: str) -> bool:
        """Of a number of this field nothing but a card can be believed."""
        unnamed = self.wants_numbers(path) <= {e.CREDIT_CARD} and e.CREDIT_CARD not in context.lifted(path)
        return unnamed and not self.rules.patterns

    def numbers(self, path: str, values: Iterable[str], rule: FieldRule | None) -> dict[str, Outcome]:
        """Scrub distinct numbers, given as text. Only a number that is a finding as a whole has an outcome."""
        if rule is not None:
            return self._ruled(path, values, rule)
        wanted = self.wants_numbers(path)
        if not wanted and not self.rules.patterns:
            return {}
        digits = {text: number for text in values if (number := _digits(text))}
        if self.only_cards(path):
            digits = {text: number for text, number in digits.items() if _ISSUED.fullmatch(number)}
        outcomes = self._settled_numbers(path, wanted, digits)
        written = {form for number in digits.values() for form in _forms(number, wanted)}
        scans = scan_texts(written, wanted, context.lifted(path), self.profile.threshold) if wanted else {}
        parts: dict[str, list[Piece]] = {}
        forms: dict[str, str] = {}
        for text, number in digits.items():
            try:
                form, found = self._number(path, number, wanted, scans)
            except ScanError as failure:
                outcomes[text] = Outcome(None, failed=failure.code)
            else:
                if found:
                    forms[text], parts[form] = form, found
        new = dict(spliced(path, parts, *self._writing))
        outcomes.update((text, new[form]) for text, form in forms.items())
        return outcomes

    def _settled_numbers(self, path: str, wanted: frozenset[str], digits: dict[str, str]) -> dict[str, Outcome]:
        """The outcomes of numbers that their column's kind settles; those numbers are taken out of `digits`."""
        phones, lifted = e.PHONE_NUMBER in wanted, context.lifted(path)
        if len(digits) < FEWEST or phones or self.rules.patterns:
            return {}
        order = tuple(kind for kind in self.kinds if kind in wanted)
        settled = settle(pa.array(list(digits.values())), Question(order, lifted, self.profile.threshold))
        if settled is None:
            return {}
        outcomes: dict[str, Outcome] = {}
        values = np.array(list(digits), dtype=object)
        for place, kind in enumerate(order):
            numbers = [(text, digits[text]) for text in values[settled == place].tolist()]
            if kind == e.CREDIT_CARD and kind not in lifted:
                numbers = [(text, number) for text, number in numbers if _ISSUED.fullmatch(number)]
            outcomes.update(self._alike(path, kind, *zip(*numbers, strict=True)) if numbers else ())
            for text, _ in numbers:
                del digits[text]
        # Of a number that lost its zeros nothing is known yet.
        for text in values[settled == NOTHING].tolist():
            if len(_forms(digits[text], wanted)) == 1:
                del digits[text]
        return outcomes

    def _number(
        self, path: str, number: str, wanted: frozenset[str], scans: Mapping[str, Scan]
    ) -> tuple[str, list[Piece]]:
        """The form in which a number is a finding, and its pieces: none where it is no finding."""
        named = e.CREDIT_CARD in context.lifted(path)
        for form in _forms(number, wanted):
            scan = scans.get(form, ())
            if isinstance(scan, ScanError):
                raise scan
            whole = [hit for hit in scan if (hit.start, hit.end) == (0, len(form))]
            hits = [hit for hit in whole if _believed(hit, form, named=named)]
            if form != number:
                hits = [hit for hit in hits if hit.entity in _NINE_DIGITS]
            if e.PHONE_NUMBER in wanted and form == number and not hits:
                from nectar.scrub.phones.phones import e164, phone_of_digits

                if phone_of_digits(number):
                    form = number if e164(number) else "+" + number  # noqa: PLW2901
                    hits = [Hit(e.PHONE_NUMBER, 0, len(form), 0.4, CONTEXT)]
            hits += [hit for rule in self.rules.patterns for hit in rule.hits(form) if hit.end - hit.start == len(form)]
            if hits:
                return form, self._shared(form, hits)
        return number, []

    def _ruled(self, path: str, values: Iterable[str], rule: FieldRule) -> dict[str, Outcome]:
        given = list(values)
        counts = ((path, rule.counted, 1),)
        return {
            text: Outcome(None, failed=new.code) if isinstance(new, ScanError) else Outcome(new, counts)
            for text, new in zip(given, self.ruled(path, given, rule), strict=True)
            if rule.action is not Action.KEEP
        }

    def ruled(self, path: str, texts: Sequence[str], rule: FieldRule) -> Sequence[str | ScanError | None]:
        """What a field's rule makes of each of these distinct texts, in their order, or why it cannot."""
        if rule.action is Action.KEEP:
            return texts
        if rule.action is Action.REMOVE:
            return [None] * len(texts)
        treatment, label = rule.treatment, rule.label
        if not treatment.keyed or rule.kind:
            return actions.apply_to_all(treatment, texts, kind=rule.kind, label=label, keys=self.keys)
        kinds = domains(texts, path, f"field:{rule.field}", self.profile.regions)
        places: dict[str, list[int]] = {}
        new: list[str | ScanError | None] = [None] * len(texts)
        for place, text in enumerate(texts):
            kind = kinds[text]
            if isinstance(kind, ScanError):
                new[place] = kind
            else:
                places.setdefault(kind, []).append(place)
        for kind, at in places.items():
            alike = texts if len(at) == len(texts) else [texts[place] for place in at]
            written = actions.apply_to_all(treatment, alike, kind=kind, label=label, keys=self.keys)
            for place, text in zip(at, written, strict=True):
                new[place] = text
        return new

    def _parts(self, text: str, scan: Scan) -> list[Piece]:
        """The stretches of a text that are rewritten, in its order."""
        if isinstance(scan, ScanError):
            raise scan
        return self._shared(text, [*scan, *(hit for rule in self.rules.patterns for hit in rule.hits(text))])

    def _shared(self, text: str, hits: list[Hit]) -> list[Piece]:
        hits = [_narrowed(hit, text) if hit.entity == e.EMAIL_ADDRESS else hit for hit in hits]
        left = self._left
        if not left:
            return pieces(hits, self._order)
        kept = [hit for hit in hits if hit.strength == RULE and hit.entity in left]
        if kept:
            hits = [h for h in hits if h not in kept and not any(k.start <= h.start and h.end <= k.end for k in kept)]
        return [piece for piece in pieces(hits, self._order) if piece.hit.entity not in left]

    @cached_property
    def _writing(self) -> tuple[Mapping[str, Treatment], PseudonymKeys | None, Sequence[str]]:
        return self._actions, self.keys, self.profile.regions

    @cached_property
    def _left(self) -> frozenset[str]:
        """What is found and stays."""
        return frozenset(kind for kind, treatment in self._actions.items() if treatment.action is Action.KEEP)


def _narrowed(hit: Hit, text: str) -> Hit:
    """The hit of an e-mail address as it is treated: what stands before it stays (`user=jane@acme.com`)."""
    start, end = narrowed(text, hit.start, hit.end)
    return hit if (start, end) == (hit.start, hit.end) else hit._replace(start=start, end=end)


def _digits(text: str) -> str | None:
    """The digits of a whole number, which may be written as `-41.0` or `4.1e1`."""
    match = _INTEGER.fullmatch(text)
    if match is None and _POWER.fullmatch(text):
        match = _INTEGER.fullmatch(format(Decimal(text), "f"))
    return match[1] if match else None


def _as_array(texts: Sequence[str]) -> pa.Array | None:
    """None for texts that Arrow cannot hold: half of a surrogate pair has no UTF-8 form."""
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        return None


def _believed(hit: Hit, number: str, *, named: bool) -> bool:
    """A bare number is a finding by its check digits or its field's name; its form alone says nothing.

    One number in ten has a card's check digit by chance. So in a field whose name does not speak of cards, a number
    must also begin as cards do that are given out, and be of their length: moments in milli-, micro- or nanoseconds
    (13, 16 or 19 digits, from 1) and most ids are none, and no card is let through. How many numbers of the column pass
    is not asked: a card among ids would pass unseen, and the answer would depend on how records come together.
    """
    if hit.entity == e.CREDIT_CARD and hit.strength == CHECKSUM:
        return named or _ISSUED.fullmatch(number) is not None
    return hit.entity != e.CREDIT_CARD and hit.strength >= CONTEXT


@lru_cache(maxsize=4096)
def _forms(number: str, wanted: frozenset[str]) -> tuple[str, ...]:
    if 6 <= len(number) < 9 and wanted.intersection(_NINE_DIGITS):
        return (number, number.zfill(9))
    return (number,)
