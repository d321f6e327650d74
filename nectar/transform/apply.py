"""Running the steps on a batch: the record that a function stumbles over fails alone, the others go on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pyarrow as pa

from nectar.batch import MARK
from nectar.jsonrows import clean_name
from nectar.transform.deadline import Overdue, within
from nectar.transform.rows import fault, to_records, to_table
from nectar.transform.steps import BadTransform, Step, load, version_of

_PATIENCE = 3
"""Times a step's timeout, for all that is tried of one batch together."""
_SHORTEST = 0.05
"""Seconds that a part of a batch gets at least."""
_CERTAIN = 32
"""After so many records that a function gives nothing usable for, and none that it does, it is the function."""


@dataclass(frozen=True)
class Transformed:
    """table    rows to be scrubbed, in the order of `rows`
    rows     their places in the table that came in
    dropped  places of records that a step left out on purpose
    failed   place -> why, in words without a value
    """

    table: pa.Table
    rows: list[int]
    dropped: list[int] = field(default_factory=list)
    failed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Transform:
    """A bee's steps, in their order. `version` changes with them."""

    steps: tuple[Step, ...]
    version: str

    @classmethod
    def of(cls, steps: Sequence[Any]) -> Self:
        """From the list of a configuration. Raises BadTransform."""
        return cls(load(steps), version_of(steps))

    @property
    def longest(self) -> float:
        """Seconds after which `apply` has ended by itself, but for C code that does not come back."""
        return sum((_PATIENCE + 1) * step.timeout for step in self.steps)

    def apply(self, table: pa.Table, key: Sequence[str]) -> Transformed:
        """Run all steps on records whose `key` columns are unique and not null.

        Raises BadTransform for a function that gives no records of the same key, or works too long.
        """
        rows, dropped = list(range(table.num_rows)), []
        failed: dict[int, str] = {}
        for step in self.steps:
            if not rows:
                break
            did = _Run(step, tuple(key)).run(table)
            failed |= {rows[at]: why for at, why in did.failed.items()}
            dropped += [rows[at] for at in did.dropped]
            table, rows = did.table, [rows[at] for at in did.rows]
        return Transformed(table, rows, dropped, failed)


@dataclass
class _Run:
    """One step on one batch."""

    step: Step
    key: tuple[str, ...]
    parts: list[tuple[pa.Table, list[int]]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    unusable: dict[int, BadTransform] = field(default_factory=dict)
    """Places of records for which the function gives what is no such record."""

    def run(self, table: pa.Table) -> Transformed:
        """The batch as a whole; where that fails in halves, and in halves of those."""
        began = time.monotonic()
        todo = [(0, table.num_rows)]
        while todo:
            first, count = todo.pop()
            if time.monotonic() - began > _PATIENCE * self.step.timeout:
                raise self._too_slow(table.num_rows)
            why = self._try(table.slice(first, count), first, self.step.timeout * count / table.num_rows)
            if why and count == 1:
                self.failed[first] = why
            elif why:
                half = count // 2
                todo += [(first + half, count - half), (first, half)]
        if len(self.unusable) == table.num_rows:
            raise next(iter(self.unusable.values()))
        return self._joined(table)

    def _try(self, part: pa.Table, first: int, seconds: float) -> str:
        """Why the part did not go through; empty if it did, and all that became of it is noted."""
        try:
            with within(max(_SHORTEST, seconds)):
                made, rows, failed, unusable = self._call(part)
        except Overdue:
            return f"the transformer {self.step.use!r} did not end in time"
        except BadTransform as error:
            if part.num_rows == 1:
                self.unusable[first] = error
                if len(self.unusable) >= _CERTAIN and not self.parts:
                    raise
            return str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's function raises
            return self._raised(error)
        gone = {*range(part.num_rows)} - {*rows} - failed.keys()
        self.failed |= {first + at: why for at, why in failed.items()}
        self.unusable |= {first + at: BadTransform(failed[at]) for at in unusable}
        self.dropped += [first + at for at in sorted(gone)]
        if rows:
            self.parts.append((made, [first + at for at in rows]))
        return ""

    def _call(self, part: pa.Table) -> tuple[pa.Table, list[int], dict[int, str], list[int]]:
        """(table, places of its rows, reasons of records that failed, those of them with an unusable answer)."""
        if self.step.by_record:
            return self._by_record(part)
        plain = part.select([name for name in part.column_names if not name.startswith("_")])
        made = self._checked(self.step.function(plain, **self.step.options), plain)
        rows = self._places(made, plain)
        for name in self.key:  # the very values and types they had
            made = made.set_column(
                made.column_names.index(name), plain.schema.field(name), plain[name].take(pa.array(rows, pa.int64()))
            )
        return made, rows, {}, []

    def _by_record(self, part: pa.Table) -> tuple[pa.Table, list[int], dict[int, str], list[int]]:
        plain = part.select([name for name in part.column_names if not name.startswith("_")])
        kept, rows, unusable = [], [], []
        failed: dict[int, str] = {}
        for at, before in enumerate(to_records(plain)):
            try:
                after = self.step.function(dict(before), **self.step.options)
            except (Exception, SystemExit) as error:  # noqa: BLE001
                failed[at] = self._raised(error)
                continue
            if after is None:
                continue
            if why := self._refused(after, before):
                failed[at] = f"the transformer {self.step.use!r} {why}"
                unusable.append(at)
                continue
            kept.append(after)
            rows.append(at)
        return to_table(kept, plain.take(pa.array(rows, pa.int64()))), rows, failed, unusable

    def _refused(self, after: Any, before: Mapping[str, Any]) -> str:
        if not isinstance(after, dict):
            return f"gave a {type(after).__name__} for a record, expected a dict, or None to drop it"
        for name in self.key:
            if name not in after:
                return f"lost the field {name!r}, which is of the record's key"
            now, was = after[name], before[name]
            if now is not was and (type(now) is not type(was) or now != was):
                return f"changed the field {name!r}, which is of the record's key"
        return fault(before, after)

    def _checked(self, made: Any, part: pa.Table) -> pa.Table:
        """What a function gave, if it is a table of such records."""
        use = f"the transformer {self.step.use!r}"
        if not isinstance(made, pa.Table):
            raise BadTransform(f"{use} gave a {type(made).__name__}, expected a pyarrow Table")
        names = made.column_names
        if len(set(names)) < len(names):
            raise BadTransform(f"{use} gave several columns of one name")
        if any(_bad_name(name) for name in names if name not in part.column_names):
            raise BadTransform(
                f'{use} gave a column whose name begins with "_", is empty, too long, or has control characters'
            )
        if lost := [name for name in self.key if name not in names]:
            raise BadTransform(f"{use} lost the column {lost[0]!r}, which is of the record's key")
        if made.num_rows > part.num_rows:
            raise BadTransform(f"{use} gave more records than it got: one record becomes one, or none")
        return pa.table([_plain(c) for c in made.columns], schema=pa.schema([_plain_field(f) for f in made.schema]))

    def _places(self, made: pa.Table, part: pa.Table) -> list[int]:
        """Which record each row is, by its key."""
        if made.num_rows == part.num_rows and all(made[n].equals(part[n]) for n in self.key):
            return list(range(part.num_rows))
        places = {key: at for at, key in enumerate(zip(*[part[n].to_pylist() for n in self.key], strict=True))}
        rows = [places.get(key) for key in zip(*[made[n].to_pylist() for n in self.key], strict=True)]
        found = [at for at in rows if at is not None]
        if len(found) < len(rows):
            raise BadTransform(f"the transformer {self.step.use!r} changed a record's key ({', '.join(self.key)})")
        if len(set(found)) < len(found):
            raise BadTransform(f"the transformer {self.step.use!r} gave a record twice")
        return found

    def _joined(self, table: pa.Table) -> Transformed:
        if not self.parts:
            return Transformed(table.slice(0, 0), [], sorted(self.dropped), self.failed)
        rows = [at for _, part in self.parts for at in part]
        tables = [made for made, _ in self.parts]
        return Transformed(tables[0] if len(tables) == 1 else self._concat(tables), rows, self.dropped, self.failed)

    def _concat(self, tables: list[pa.Table]) -> pa.Table:
        """Parts of one batch side by side, whose columns may differ in what nulls and empty lists leave open."""
        marks: dict[str, set[Any]] = {}
        for field_ in (f for made in tables for f in made.schema if not pa.types.is_null(f.type)):
            marks.setdefault(field_.name, set()).add((field_.metadata or {}).get(MARK))
        try:
            if all(len(found) == 1 for found in marks.values()):
                return pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException:
            pass
        if self.step.by_record:
            found = [record for made in tables for record in to_records(made)]
            return to_table(found, pa.table({}))
        raise BadTransform(f"the transformer {self.step.use!r} gives a column in other types for other records")

    def _raised(self, error: BaseException) -> str:
        """A reason without the error's text, which may hold a value."""
        return f"the transformer {self.step.use!r} raised {type(error).__name__}"

    def _too_slow(self, rows: int) -> BadTransform:
        return BadTransform(
            f"the transformer {self.step.use!r} needs longer than its timeout of {self.step.timeout:g} seconds for "
            f"{rows} records: make it quicker, or give it a longer `timeout`",
            code="transform_timeout",
        )


def _bad_name(name: str) -> bool:
    return not name or name.startswith("_") or clean_name(name) != name


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Encoded columns as their values: one form of text for all that comes after."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    return column.cast(pa.string()) if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else column


def _plain_field(field_: pa.Field) -> pa.Field:
    kind = field_.type
    if pa.types.is_dictionary(kind):
        return _plain_field(field_.with_type(kind.value_type))
    text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return field_.with_type(pa.string()).with_nullable(True) if text else field_.with_nullable(True)
