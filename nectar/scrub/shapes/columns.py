"""Arrow columns: distinct values scrubbed once, nested ones leaf by leaf, with a record of what went from which row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nectar.batch import FEW, mark_of
from nectar.scrub.find.findings import ScanError
from nectar.scrub.profile.profiles import Action
from nectar.scrub.profile.rules import FieldRule
from nectar.scrub.shapes.cells import Cells
from nectar.scrub.shapes.documents import scrub_documents
from nectar.scrub.shapes.kinds import FEWEST, UNKNOWN, may_be_cards
from nectar.scrub.shapes.prose import Findings
from nectar.scrub.shapes.splices import Outcome
from nectar.scrub.shapes.tree import Members, number_text, scrub_trees

REMOVED = pa.schema([("row", pa.int32()), ("field", pa.string()), ("kind", pa.string()), ("count", pa.int32())])
Rows = Any
"""numpy array: the table's row of each value of an array."""


def summed(lines: pa.Table) -> pa.Table:
    """Lines of REMOVED with the same row, field and kind become one, in the order of the rows.

    `Table.group_by` would do, and imports Arrow's engine for queries: 12 MB of each process.
    """
    fields, kinds = (lines[name].combine_chunks().dictionary_encode() for name in ("field", "kind"))
    many = max(len(kinds.dictionary), 1)
    pairs = fields.indices.to_numpy().astype(np.int64) * many + kinds.indices.to_numpy()
    there, numbers = np.unique(pairs, return_inverse=True)
    paths, names = fields.dictionary.take(pa.array(there // many)), kinds.dictionary.take(pa.array(there % many))
    what = list(zip(paths.to_pylist(), names.to_pylist(), strict=True))
    return _in_order(lines["row"].to_numpy(), numbers, lines["count"].to_numpy(), what)


def _in_order(rows: Rows, numbers: Rows, counts: Rows, what: Sequence[tuple[str, str]]) -> pa.Table:
    """Lines of REMOVED by row, field and kind; `numbers`: of each line the place of its field and kind in `what`."""
    sorted_ = sorted(set(what))
    places = {one: place for place, one in enumerate(sorted_)}
    at = rows.astype(np.int64) * len(sorted_) + np.array([places[one] for one in what], dtype=np.int64)[numbers]
    order = np.argsort(at, kind="stable")
    at = at[order]
    firsts = np.flatnonzero(np.diff(at, prepend=-1))
    counts = np.add.reduceat(counts[order], firsts) if len(firsts) else counts
    at = at[firsts]
    which = pa.array(at % len(sorted_)) if sorted_ else pa.array([], pa.int64())
    names = [pa.array([one[part] for one in sorted_], pa.string()).take(which) for part in (0, 1)]
    row = pa.array(rows[order][firsts], pa.int32())
    return pa.table([row, *names, pa.array(counts, pa.int32())], schema=REMOVED)


@dataclass
class Tally:
    """What was taken out of which row, and which rows failed."""

    taken: dict[tuple[str, str], list[tuple[Rows, Rows]]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, path: str, kind: str, rows: Rows, counts: Rows) -> None:
        self.taken.setdefault((path, kind), []).append((rows, counts))

    def fail(self, rows: Rows, code: str) -> None:
        for row in rows.tolist():
            self.failed.setdefault(row, code)

    def removed(self) -> pa.Table:
        """One line for each row, field and kind, in the order of the rows."""
        if sum(len(rows) for parts in self.taken.values() for rows, _ in parts) <= FEW:
            return self._few_removed()
        parts = [(what, *part) for what, given in self.taken.items() for part in given]
        sizes = [len(rows) for _, rows, _ in parts]
        return _in_order(
            np.concatenate([rows for _, rows, _ in parts]),
            np.repeat(np.arange(len(parts)), sizes),
            np.concatenate([counts for *_, counts in parts]),
            [(_storable(path), kind) for (path, kind), *_ in parts],
        )

    def _few_removed(self) -> pa.Table:
        """The same without the machinery of tables, which takes longer than a batch of few records has to wait."""
        sums: dict[tuple[int, str, str], int] = {}
        for (path, kind), parts in self.taken.items():
            for rows, counts in parts:
                for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
                    at = (row, _storable(path), kind)
                    sums[at] = sums.get(at, 0) + count
        lines = [(*at, count) for at, count in sorted(sums.items())]
        columns = zip(*lines, strict=True) if lines else [()] * len(REMOVED)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, REMOVED, strict=True)], schema=REMOVED)


@dataclass
class _Changes:
    """What becomes of the distinct values of a column, each named by its place among them.

    places, new  parallel: the values at these places become these texts (None: null)
    counts       by (field, kind): for each value how many were taken out of it
    failed       why a value could not be scrubbed
    """

    many: int
    places: list[Rows] = field(default_factory=list)
    new: list[str | None] = field(default_factory=list)
    counts: dict[tuple[str, str], Rows] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def enter(self, values: Sequence[str | None], outcomes: Mapping[str, Outcome], places: Rows = None) -> None:
        """Outcomes of values that stand at these places (None: all there are)."""
        if not outcomes:
            return
        changed = []
        alike: dict[tuple[tuple[str, str, int], ...], list[int]] = {}
        for place, value in enumerate(values) if places is None else zip(places.tolist(), values, strict=True):
            outcome = outcomes.get(value) if value is not None else None
            if outcome is None:
                continue
            changed.append(place)
            self.new.append(outcome.value)
            if outcome.failed:
                self.failed[place] = outcome.failed
            if outcome.counts:
                alike.setdefault(outcome.counts, []).append(place)
        for counts, at in alike.items():
            for path, entity, count in counts:
                self._of(path, entity)[at] += count
        self.places.append(np.array(changed, dtype=np.int64))

    def take(self, places: Rows, new: Sequence[str | None], what: tuple[str, str]) -> None:
        """One finding in each of the values at these places, which takes all of it."""
        self.places.append(places)
        self.new += new
        self._of(*what)[places] += 1

    def replace(self, places: Rows, found: Findings, new: Sequence[str], kinds: Sequence[str], path: str) -> None:
        """Findings within the values at these places, with what stands for each."""
        known = found.kinds >= 0
        changed = np.unique(found.owners[known])
        if not len(changed):
            return
        texts = found.written(new)
        self.places.append(places[changed])
        self.new += [texts[number] for number in changed.tolist()]
        for place in np.unique(found.kinds[known]).tolist():
            counts = np.bincount(found.owners[found.kinds == place], minlength=len(places))
            self._of(path, kinds[place])[places] += counts.astype(np.int32)

    def _of(self, path: str, entity: str) -> Rows:
        if (path, entity) not in self.counts:
            self.counts[path, entity] = np.zeros(self.many, dtype=np.int32)
        return self.counts[path, entity]

    def written(self, distinct: pa.Array) -> pa.Array:
        """The distinct values after the changes."""
        places = np.concatenate(self.places)
        order = np.argsort(places)
        mask = np.zeros(self.many, dtype=bool)
        mask[places] = True
        new = pa.array(self.new, distinct.type).take(pa.array(order))
        return pc.replace_with_mask(distinct, pa.array(mask), new)


@dataclass(frozen=True)
class Columns:
    """Scrubs arrays. The array itself comes back when nothing in it changed."""

    cells: Cells
    tally: Tally

    def scrub(self, array: pa.Array, path: str, mark: str | None, rule: FieldRule | None, rows: Rows) -> pa.Array:
        """The array with personal data out. Its type changes only where a value no longer fits: then it is text."""
        rule = self.cells.rule_of(path) or rule
        kind = array.type
        if rule is None and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
            rule = self.cells.dates
        if (rule is not None and rule.action is Action.KEEP) or pa.types.is_null(kind):
            return array
        if rule is not None and rule.action in {Action.REMOVE, Action.REPLACE}:
            return self._whole(array, path, rule, rows)
        if isinstance(kind, pa.BaseExtensionType):
            inner = "json" if kind.extension_name == "arrow.json" else mark
            changed = self.scrub(array.storage, path, inner, rule, rows)
            return array if changed is array.storage or changed.equals(array.storage) else changed
        if pa.types.is_dictionary(kind):
            plain = array.cast(kind.value_type)
            changed = self.scrub(plain, path, mark, rule, rows)
            if changed is plain and not self._holds_unused(array, path, mark, rule):
                return array
            return _encoded(changed, kind)
        if pa.types.is_run_end_encoded(kind):
            return self.scrub(pc.run_end_decode(array), path, mark, rule, rows)
        if _is_text(kind):
            return self._text(array, path, mark, rule, rows)
        if pa.types.is_nested(kind):
            return self._nested(array, path, rule, rows)
        return self._scalars(array, path, rule, rows)

    def _holds_unused(self, array: pa.DictionaryArray, path: str, mark: str | None, rule: FieldRule | None) -> bool:
        """The dictionary holds what no row has, and some of that must not pass."""
        if pc.count_distinct(array.indices).as_py() == len(array.dictionary):
            return False
        aside = Columns(self.cells, Tally())
        kept = aside.scrub(array.dictionary, path, mark, rule, np.arange(len(array.dictionary)))
        return kept is not array.dictionary

    def _whole(self, array: pa.Array, path: str, rule: FieldRule, rows: Rows) -> pa.Array:
        """A field that a rule removes or replaces, whatever it holds."""
        there = pc.is_valid(array).to_numpy(zero_copy_only=False)
        self.tally.add(path, rule.counted, rows[there], np.ones(int(there.sum()), dtype=np.int32))
        if rule.action is Action.REMOVE:
            kind = array.type
            return pa.nulls(len(array), kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind)
        return pc.if_else(pc.is_valid(array), rule.label, pa.scalar(None, pa.string()))

    def _text(self, array: pa.Array, path: str, mark: str | None, rule: FieldRule | None, rows: Rows) -> pa.Array:
        if rule is None and self.cells.looks_for_nothing(mark):
            return array
        if rule is None and mark not in {"json", "number"} and len(array) < FEWEST:
            return self._few(array, path, rows)
        wide = array if not _is_view(array.type) else array.cast(pa.large_string())
        coded = wide.dictionary_encode()
        distinct = coded.dictionary
        changes = _Changes(len(distinct))
        if mark == "json":
            values = distinct.to_pylist()
            changes.enter(values, scrub_documents(self.cells, path, values, rule))
        elif mark == "number":
            values = distinct.to_pylist()
            changes.enter(values, self.cells.numbers(path, values, rule))
        elif rule is not None:
            self._ruled(distinct, path, rule, changes)
        else:
            self._detect(distinct, path, changes)
        return self._changed(coded, distinct, changes, rows).cast(array.type) if changes.places else array

    def _few(self, array: pa.Array, path: str, rows: Rows) -> pa.Array:
        """Texts so few that each is scanned before their column could be looked at as a whole."""
        values = array.to_pylist()
        outcomes = self.cells.scanned(path, list(dict.fromkeys(value for value in values if value is not None)))
        if not outcomes:
            return array
        new = list(values)
        for place, (row, value) in enumerate(zip(rows.tolist(), values, strict=True)):
            outcome = outcomes.get(value) if value is not None else None
            if outcome is None:
                continue
            new[place] = outcome.value
            if outcome.failed:
                self.tally.failed.setdefault(row, outcome.failed)
            for shown, kind, count in outcome.counts:
                self.tally.add(shown, kind, np.array([row]), np.array([count]))
        return pa.array(new, array.type)

    def _ruled(self, distinct: pa.Array, path: str, rule: FieldRule, changes: _Changes) -> None:
        """What a field's rule makes of distinct texts, of which none is null."""
        new = self.cells.ruled(path, distinct.to_pylist(), rule)
        changes.failed = {place: text.code for place, text in enumerate(new) if isinstance(text, ScanError)}
        failed = np.fromiter(changes.failed, dtype=np.int64, count=len(changes.failed))
        done = np.delete(np.arange(changes.many), failed)
        if len(failed):
            changes.places.append(failed)
            changes.new += [None] * len(failed)
            new = [text for text in new if not isinstance(text, ScanError)]
        changes.take(done, cast("Sequence[str | None]", new), (path, rule.counted))

    def _detect(self, distinct: pa.Array, path: str, changes: _Changes) -> None:
        """Scrub distinct texts: those that are settled by their column's kind at once, the others by a scan of each."""
        settled = self.cells.settled(path, distinct)
        if settled is None:
            self._read(distinct, path, np.arange(len(distinct)), changes)
            return
        self._read(distinct, path, np.flatnonzero(settled == UNKNOWN), changes)
        for place in np.unique(settled[settled >= 0]).tolist():
            at = np.flatnonzero(settled == place)
            kind = self.cells.kinds[place]
            new = self.cells.rewritten(kind, distinct.take(pa.array(at)))
            if new is not None:
                changes.take(at, new, (path, kind))

    def _read(self, distinct: pa.Array, path: str, places: Rows, changes: _Changes) -> None:
        """Scrub the distinct texts at these places by what stands in them: plain ones together, each other alone."""
        found = self.cells.told(path, distinct.take(pa.array(places)))
        if found is not None:
            kinds = self.cells.kinds
            new = np.array(found.pieces[1::2], dtype=object)
            for place in np.unique(found.kinds[found.kinds >= 0]).tolist():
                at = found.kinds == place
                new[at] = [text or "" for text in self.cells.rewritten(kinds[place], new[at].tolist()) or ()]
            changes.replace(places[found.at], found, new.tolist(), kinds, path)
            places = np.delete(places, found.at[found.told])
        values = distinct.take(pa.array(places)).to_pylist()
        changes.enter(values, self.cells.scanned(path, values), places)

    def _scalars(self, array: pa.Array, path: str, rule: FieldRule | None, rows: Rows) -> pa.Array:
        """Numbers, and under a rule anything. Without one, binary and temporal values stay as they are."""
        kind = array.type
        decimal = pa.types.is_decimal(kind)
        if rule is None and not (decimal or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return array
        if rule is None and not decimal and not self._may_find_numbers(array, path):
            return array
        coded = array.dictionary_encode()
        places = np.arange(len(coded.dictionary))
        if rule is None and not decimal and self.cells.only_cards(path):
            places = np.flatnonzero(may_be_cards(coded.dictionary))
        written = number_text if rule is None else _written
        texts = [written(value) for value in coded.dictionary.take(pa.array(places)).to_pylist()]
        outcomes = self.cells.numbers(path, dict.fromkeys(text for text in texts if text is not None), rule)
        if not outcomes:
            return array
        changes = _Changes(len(coded.dictionary))
        changes.enter(texts, outcomes, places)
        if all(outcome.value is None for outcome in outcomes.values()):
            keep = np.ones(len(coded.dictionary), dtype=bool)
            keep[np.concatenate(changes.places)] = False
            self._count(coded, changes, rows)
            return pc.if_else(pa.array(keep).take(coded.indices), array, pa.scalar(None, kind))
        plain = [written(value) or str(value) for value in coded.dictionary.to_pylist()]
        return self._changed(coded, pa.array(plain, pa.string()), changes, rows)

    def _may_find_numbers(self, array: pa.Array, path: str) -> bool:
        """False spares the look at every number: nothing but cards could be here, and none is long enough."""
        if not self.cells.only_cards(path):
            return bool(self.cells.rules.patterns) or bool(self.cells.wants_numbers(path))
        if not self.cells.wants_numbers(path) or pa.types.is_float16(array.type) or not len(array):
            return False
        least, most = pc.min_max(array).as_py().values()
        return most is not None and (most >= 10**11 or least <= -(10**11))

    def _changed(self, coded: pa.Array, distinct: pa.Array, changes: _Changes, rows: Rows) -> pa.Array:
        """Write the changes in place of the distinct values (texts), and enter them in the tally."""
        self._count(coded, changes, rows)
        return changes.written(distinct).take(coded.indices)

    def _count(self, coded: pa.Array, changes: _Changes, rows: Rows) -> None:
        """Enter the changes in the tally, for each row that has one of the values."""
        valid = pc.is_valid(coded.indices).to_numpy(zero_copy_only=False)
        index = pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)[valid]
        where = rows[valid]
        for (path, entity), by_value in changes.counts.items():
            by_row = by_value[index]
            self.tally.add(path, entity, where[by_row > 0], by_row[by_row > 0])
        if changes.failed:
            spoilt = np.zeros(changes.many, dtype=bool)
            spoilt[list(changes.failed)] = True
            for row, place in zip(where[spoilt[index]].tolist(), index[spoilt[index]].tolist(), strict=True):
                self.tally.failed.setdefault(row, changes.failed[place])

    def _nested(self, array: pa.Array, path: str, rule: FieldRule | None, rows: Rows) -> pa.Array:
        kind = array.type
        if pa.types.is_struct(kind):
            return self._struct(array, path, rule, rows)
        if pa.types.is_fixed_size_list(kind):
            plain = array.cast(pa.list_(kind.value_field))
            changed = self.scrub(plain, path, None, rule, rows)
            return array if changed is plain else changed.cast(pa.list_(changed.type.value_field, kind.list_size))
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return self._list(array, path, rule, rows)
        if pa.types.is_map(kind):
            return self._map(array, path, rule, rows)
        if pa.types.is_union(kind):  # Arrow cannot rebuild one, and nothing unread may pass
            self.tally.fail(rows, "unsupported_type")
            return pa.nulls(len(array))
        return self._copies(array, array.to_pylist(), path, rule, rows)

    def _struct(self, array: pa.Array, path: str, rule: FieldRule | None, rows: Rows) -> pa.Array:
        members = array.flatten()
        fields = [array.type.field(i) for i in range(array.type.num_fields)]
        names, taken, failed = self.cells.member_names(path, [f.name for f in fields])
        there = pc.is_valid(array).to_numpy(zero_copy_only=False)
        for kind, count in taken.items():
            self.tally.add(path, kind, rows[there], np.full(int(there.sum()), count, dtype=np.int32))
        if failed:
            self.tally.fail(rows[there], failed)
        changed = []
        for f, name, member in zip(fields, names, members, strict=True):
            below, shown = (f"{path}.{n}" if path else n for n in (f.name, name))
            # A rule is written for the name that the source has; nothing else may show that name any more.
            inner = rule if name == f.name else self.cells.rule_of(below) or rule
            changed.append(self.scrub(member, shown, mark_of(f), inner, rows))
        same = all(new is old for new, old in zip(changed, members, strict=True)) and not taken
        # What stands in a member under a null of the struct was not looked at.
        if same and all(array.field(i).null_count == member.null_count for i, member in enumerate(members)):
            return array
        fields = [f.with_name(name) for f, name in zip(fields, names, strict=True)]
        retyped = [retype(f, new) for f, new in zip(fields, changed, strict=True)]
        return pa.StructArray.from_arrays(changed, fields=retyped, mask=array.is_null())

    def _list(self, array: pa.Array, path: str, rule: FieldRule | None, rows: Rows) -> pa.Array:
        whole = array.take(pa.array(np.arange(len(array))))  # offsets from zero, nothing under a null
        parents = pc.list_parent_indices(whole).to_numpy(zero_copy_only=False)
        changed = self.scrub(whole.values, path, mark_of(array.type.value_field), rule, rows[parents])
        if changed is whole.values or changed.equals(whole.values):
            hidden = array.null_count and array.offsets[-1].as_py() - array.offsets[0].as_py() > len(whole.values)
            return whole if hidden else array
        maker = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
        of = pa.large_list if pa.types.is_large_list(array.type) else pa.list_
        kind = of(retype(array.type.value_field, changed))
        return maker.from_arrays(whole.offsets, changed, type=kind, mask=whole.is_null())

    def _map(self, array: pa.Array, path: str, rule: FieldRule | None, rows: Rows) -> pa.Array:
        """A map is an object: its keys are data too."""
        nodes = [None if entries is None else Members(entries) for entries in array.to_pylist()]
        return self._copies(array, nodes, path, rule, rows)

    def _copies(self, array: pa.Array, nodes: list[Any], path: str, rule: FieldRule | None, rows: Rows) -> pa.Array:
        """Rare types take the way of plain Python data."""
        copies = scrub_trees(self.cells, nodes, path, rule)
        for row, copy in zip(rows.tolist(), copies, strict=True):
            if copy.failed:
                self.tally.failed.setdefault(row, copy.failed)
            for (shown, kind), count in copy.counts.items():
                self.tally.add(shown, kind, np.array([row]), np.array([count]))
        if not any(copy.failed or copy.counts for copy in copies):
            return array
        try:
            return pa.array([copy.value for copy in copies], array.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            # A text that does not fit the type, such as a pseudonym among integers.
            changed = np.array([bool(copy.counts) for copy in copies], dtype=bool)
            self.tally.fail(rows[changed], "does_not_fit")
            return pc.if_else(pa.array(changed), pa.scalar(None, array.type), array)


def _storable(path: str) -> str:
    """A path that every database takes: names inside JSON documents hold anything."""
    return path.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _encoded(changed: pa.Array, kind: pa.DictionaryType) -> pa.Array:
    """A dictionary of the values that are there; of the type it was, where they are still of that type."""
    coded = changed.dictionary_encode()
    if changed.type != kind.value_type or len(coded.dictionary) >= 1 << (kind.index_type.bit_width - 1):
        return coded
    return pa.DictionaryArray.from_arrays(coded.indices.cast(kind.index_type), coded.dictionary, ordered=kind.ordered)


def retype(given: pa.Field, array: pa.Array) -> pa.Field:
    """The field that fits the scrubbed array: nullable where something was removed."""
    changed = given.with_type(array.type)
    if array.null_count and not given.nullable:
        changed = changed.with_nullable(True)
    return changed


def _written(value: Any) -> str | None:
    """A value as text, for rules that mask or hash fields of any type; the same in every shape of data."""
    if value is None or value != value:  # noqa: PLR0124  not-a-number is a null
        return None
    return number_text(value) or (value.hex() if isinstance(value, bytes) else str(value))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_view(kind))


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind))
