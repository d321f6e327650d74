"""A look at what scrubbing would do to a source, before anything lands: counts, shapes and hints, never a value."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from bees.core.errors import SourceError
from bees.core.sandbox.documents import Extractor
from nectar.batch import mark_of
from nectar.pipeline import Refined, refine
from nectar.scrub.find import context
from nectar.scrub.find import entities as e
from nectar.scrub.scrubber import DataScrubber, Scrubbed

if TYPE_CHECKING:
    from bees.core.bee import WorkerBee
    from nectar.deadline import Deadline
    from nectar.keys import PseudonymKeys
    from nectar.pollen import Stream
    from nectar.transform import Transform

WIDTH = 40
"""Characters of an example's shape."""
_CLEAR = (
    e.EMAIL_ADDRESS, e.PHONE_NUMBER, e.CREDIT_CARD, e.US_SSN, e.IBAN_CODE, e.IP_ADDRESS, e.MAC_ADDRESS, e.CRYPTO,
    *e.SECRETS,
)  # fmt: skip
"""Kinds that say what they are; a weaker one without a word near it is no reason for a hint."""
_NUMBERS = (e.PHONE_NUMBER, e.CREDIT_CARD, e.US_SSN, e.US_BANK_NUMBER, e.ABA_ROUTING_NUMBER)
"""Kinds that other numbers are taken for."""
_NAMES = re.compile(r"(?:first|last|middle|full|sur|family|given|customer|user|contact)?_?names?", re.IGNORECASE)
_FEW, _SHARE, _WORDS = 5, 0.2, 5


@dataclass(frozen=True)
class Line:
    """One kind of finding in one field. `found` of `values` (those that are there) held it, `count` pieces in all.

    `action` is empty for what lands as it is; `kind` is empty for a hint about the field alone. `example` is a shape:
    letters are `x`, digits `9`.
    """

    stream: str
    field: str
    kind: str
    values: int
    found: int
    count: int
    action: str
    example: str
    hint: str

    def json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass
class Preview:
    """`rows`: records that were looked at; `refused`: reason -> how many would go to quarantine.

    `troubles`: stream -> why it could not be read, or not as far as was wanted.
    """

    rows: int = 0
    lines: list[Line] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    troubles: dict[str, SourceError] = field(default_factory=dict)


@dataclass
class _Field:
    """What was seen of one field of a stream."""

    values: list[Any] = field(default_factory=list)
    found: dict[str, set[int]] = field(default_factory=dict)
    """kind -> places in `values` that hold it"""
    counts: Counter[str] = field(default_factory=Counter)
    unasked: dict[str, set[int]] = field(default_factory=dict)
    """The same of kinds that nothing asks for."""
    shown: dict[str, str] = field(default_factory=dict)
    """kind -> shape of the first value with it"""


def preview(
    bee: WorkerBee, scrubbing: Mapping[str, Any], keys: PseudonymKeys, *, rows: int, steps: Sequence[Any] = ()
) -> Preview:
    """Read up to `rows` records of each stream and scrub them; nothing is kept. A stream in trouble stops no other.

    scrubbing  as a bee's block has it: profile, custom_rules, profiles
    steps      the bee's `transform`

    Raises SourceError where no stream can be read, BadProfile, BadTransform.
    """
    rules = [rule for rule in scrubbing.get("custom_rules") or () if "pattern" not in rule]
    ruled = DataScrubber({"custom_rules": rules}, keys)
    asked = _Asked(DataScrubber(scrubbing, keys), ruled, scrubbing.get("profile"))
    transform = None
    if steps:
        from nectar.transform import Transform

        transform = Transform.of(steps)
    told = Preview()
    with contextlib.closing(Extractor()) as extractor:  # files are read behind the wall, as in a flight
        streams = bee.get_pollen_schema()
        for stream in streams:
            _look(told, bee, stream, asked, rows=rows, transform=transform, extractor=extractor)
    if streams and len(told.troubles) == len(streams) and not told.rows:
        raise next(iter(told.troubles.values()))
    return told


def shape(text: str) -> str:
    """Letters as `x` or `X`, digits as `9`; spaces and ASCII punctuation stay, all else is `?`."""
    return "".join(map(_sign, text))


def _sign(character: str) -> str:
    if character.isalpha():
        return "X" if character.isupper() else "x"
    if character.isdigit():
        return "9"
    if character.isspace():
        return " "
    return character if character.isascii() and character.isprintable() else "?"


@dataclass(frozen=True)
class _Asked:
    """What the bee's scrubbing asks for."""

    scrubber: DataScrubber
    ruled: DataScrubber
    """Its rules of fields alone."""
    profile: str | None

    def has_rule(self, name: str) -> bool:
        return bool(self.ruled.action_of(name, "rule"))

    def action_of(self, name: str, kind: str) -> str:
        return self.scrubber.action_of(name, kind)

    def __str__(self) -> str:
        return f"the profile {self.profile!r} does not ask" if self.profile else "no profile asks"


class _Watched:
    """A scrubber that remembers what it was given first and what it gave; names of files come once more, in parts."""

    def __init__(self, scrubber: DataScrubber) -> None:
        self._scrubber = scrubber
        self.given: pa.Table | None = None
        self.gave: Scrubbed

    def scrub(self, table: pa.Table, deadline: Deadline | None = None) -> Scrubbed:
        made = self._scrubber.scrub(table, deadline)
        if self.given is None:
            self.given, self.gave = table, made
        return made


def _look(
    told: Preview,
    bee: WorkerBee,
    stream: Stream,
    asked: _Asked,
    *,
    rows: int,
    transform: Transform | None,
    extractor: Extractor,
) -> None:
    fields: dict[str, _Field] = {}
    every = DataScrubber(_EVERYTHING)
    for table in _without(told.troubles, stream, _sample(bee, stream.name, rows)):
        watched = _Watched(asked.scrubber)
        refined = refine(
            table, watched, document=stream.document, value_limit=_LARGEST, transform=transform, key=stream.key,
            extractor=extractor,
        )  # fmt: skip
        told.rows += table.num_rows
        told.refused.update(refined.failed.values())
        before = watched.given
        if before is None or not before.num_rows:
            continue
        others = every.scrub(before)
        # Names of files are looked at twice; where a record failed, the rows of the whole have other numbers.
        gave = refined if refined.table.num_rows == before.num_rows else watched.gave
        paths = [*gave.removed["field"].to_pylist(), *others.removed["field"].to_pylist()]
        first = _columns(fields, before, paths)
        seen = set()
        for row, name, kind, count in _removed(gave):
            at = fields[name]
            place = first[name] + row
            at.found.setdefault(kind, set()).add(place)
            at.counts[kind] += count
            seen.add((name, kind))
            if kind not in at.shown:
                new = _value(gave.table, name, row)
                at.shown[kind] = _window(at.values[place], new)
        _unasked(fields, first, others, seen)
    for name, at in fields.items():
        told.lines += _lines(stream.name, name, at, asked)


def _without(troubles: dict[str, SourceError], stream: Stream, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The tables until the stream is in trouble, which is noted."""
    try:
        if stream.trouble:
            raise stream.trouble
        yield from tables
    except SourceError as error:
        troubles[stream.name] = error


def _sample(bee: WorkerBee, stream: str, rows: int) -> Iterator[pa.Table]:
    """The first records of a stream, without deletes."""
    left = rows
    for part in bee.slices(stream, None) or (None,):
        batches = bee.collect_nectar(stream, None, part)
        for batch in batches:
            table = batch.table.slice(0, min(left, batch.table.num_rows))  # Arrow gives rows of no columns any length
            if "_op" in table.column_names:
                kept = [place for place, op in enumerate(table["_op"].to_pylist()) if op == "upsert" or op is None]
                table = table.take(pa.array(kept, pa.int64()))
            left -= table.num_rows
            if table.num_rows:
                yield table
            if left <= 0:
                _close(batches)
                return


def _close(batches: Any) -> None:
    """What a bee has open for a stream, it closes when its generator ends."""
    if hasattr(batches, "close"):
        batches.close()


def _columns(fields: dict[str, _Field], table: pa.Table, found: Sequence[str]) -> dict[str, int]:
    """Add the values of each column, and of each path below one at which something was found.

    Gives where this table's rows begin in each field.
    """
    names = [name for name in table.column_names if not name.startswith("_")]
    first = {}
    for name in dict.fromkeys([*names, *found]):
        at = fields.setdefault(name, _Field())
        first[name] = len(at.values)
        at.values += [_value(table, name, row) for row in range(table.num_rows)]
    return first


def _removed(scrubbed: Scrubbed | Refined) -> Iterator[tuple[int, str, str, int]]:
    return zip(*[scrubbed.removed[c].to_pylist() for c in ("row", "field", "kind", "count")], strict=True)


def _unasked(
    fields: dict[str, _Field], first: Mapping[str, int], scrubbed: Scrubbed, seen: set[tuple[str, str]]
) -> None:
    """Note what nothing asks for."""
    for row, name, kind, _ in _removed(scrubbed):
        if (name, kind) not in seen:
            fields[name].unasked.setdefault(kind, set()).add(first[name] + row)


def _lines(stream: str, name: str, at: _Field, asked: _Asked) -> Iterator[Line]:
    there = {place for place, value in enumerate(at.values) if value not in (None, "")}
    for kind in sorted(at.found):
        found = at.found[kind] & there or at.found[kind]
        yield Line(
            stream, name, kind, max(len(there), len(found)), len(found), at.counts[kind],
            asked.action_of(name, kind) or "rule", at.shown.get(kind, ""), _uneven(name, kind, at, there, found),
        )  # fmt: skip
    for kind in () if asked.has_rule(name) else sorted(at.unasked):
        found = at.unasked[kind]
        if len(found) >= max(1, _SHARE * len(there)):
            hint = f"lands as it is: {asked} for {kind}"
            shown = _window(at.values[min(found)], None)
            yield Line(stream, name, kind, len(there), len(found), len(found), "", shown, hint)
    values = [at.values[place] for place in sorted(there)]
    if values:
        hint = _text(values, name, asked) if at.found or at.unasked else _about(values, name, asked)
        if hint:
            yield Line(stream, name, "", len(there), 0, 0, "", "", hint)


def _uneven(name: str, kind: str, at: _Field, there: set[int], found: set[int]) -> str:
    """A word on numbers of one form of which only some are taken for personal data."""
    if kind not in _NUMBERS or len(there) < 4 * _FEW or kind in context.lifted(name):
        return ""
    forms = {_form(at.values[place]) for place in found}
    # Of bare numbers with ten digits, 87 % could be somebody's phone number; of real ones, nearly all.
    bare = kind != e.CREDIT_CARD and forms.issubset({"9" * n for n in range(WIDTH)})
    if len(found) > len(there) * (0.95 if bare else 0.5):
        return ""
    alike = sum(_form(at.values[place]) in forms for place in there)
    if None in forms or alike < 0.8 * len(there):
        return ""
    chance = "a tenth of any numbers pass the check digit" if kind == e.CREDIT_CARD else "no check digit, no word near"
    rule = f"a rule leaves them: {{field: {name}, action: keep}}"
    return f"{len(found)} of {len(there)} values of one form: looks like numbers of another kind ({chance}); {rule}"


def _form(value: Any) -> str | None:
    """The shape of a value that is one number; None for a text."""
    text = str(value)
    digits = sum(character.isdigit() for character in text)
    return shape(text) if digits and digits >= len(text) - 4 and len(text) <= WIDTH else None


def _about(values: Sequence[Any], name: str, asked: _Asked) -> str:
    """A word on a field in which nothing is found."""
    if asked.has_rule(name):
        return ""
    texts = [str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)]
    says = context.lifted(name) & frozenset(e.JOINABLE) - {e.UUID}
    if not context.names_phone(name):
        says -= {e.PHONE_NUMBER}
    told = sorted(kind for kind in says if not asked.action_of(name, kind))
    numbers = sum(sum(c.isdigit() for c in text) >= _FEW for text in texts)
    if told and len(told) == len(says) and numbers > len(texts) / 2:
        return f"the field's name says {' or '.join(told)}, and {asked} for that"
    if texts and _NAMES.fullmatch(name.rpartition(".")[2]) and not numbers and not asked.action_of(name, e.PERSON):
        return f"the field's name says a name, and {asked} for names; a rule: {{field: {name}, action: replace}}"
    return _text(values, name, asked)


def _text(values: Sequence[Any], name: str, asked: _Asked) -> str:
    """A word on free text, in which only a language model finds names."""
    if asked.action_of(name, e.PERSON) or asked.has_rule(name):
        return ""
    long = sum(isinstance(value, str) and len(value.split()) >= _WORDS for value in values)
    return f"free text may hold names, and {asked} for names" if long > _SHARE * len(values) else ""


def _value(table: pa.Table, path: str, row: int) -> Any:
    """What stands at a path in a row: the column of that name, or what lies below the column that the path begins with.

    Of a list, its first item with something there.
    """
    names = [name for name in table.column_names if path == name or path.startswith(f"{name}.")]
    if not names:
        return None
    name = max(names, key=len)
    value = table[name][row].as_py()
    if mark_of(table.schema.field(name)) == "json" and path != name:
        try:
            value = orjson.loads(value)
        except (orjson.JSONDecodeError, TypeError):
            return None
    return _below(value, path[len(name) + 1 :])


def _below(value: Any, path: str) -> Any:
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
            value = dict(value)  # a map
        else:
            return next((found for item in value if (found := _below(item, path)) is not None), None)
    if not path:
        return value
    if not isinstance(value, dict):
        return None
    name = max((n for n in value if path == n or path.startswith(f"{n}.")), key=len, default=None)
    return None if name is None else _below(value[name], path[len(name) + 1 :])


def _window(old: Any, new: Any) -> str:
    """The shape of the old value about the place where the new one begins to differ."""
    if old is None or isinstance(old, dict | list | bytes):
        return ""
    text, other = str(old), "" if new is None else str(new)
    start = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    low = max(0, start - WIDTH // 4) if len(text) > WIDTH else 0
    cut = shape(text[low : low + WIDTH])
    return f"{'...' if low else ''}{cut}{'...' if low + WIDTH < len(text) else ''}"


_LARGEST = 64 * 1024 * 1024
_EVERYTHING = {
    "profile": "everything",
    "profiles": {"everything": {"pii_detection": list(_CLEAR), "actions": dict.fromkeys(_CLEAR, "replace")}},
}
