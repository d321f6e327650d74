"""The scrubber: a profile and rules, applied to text, objects, frames and tables by one path."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from nectar.batch import MARK, mark_of
from nectar.deadline import Deadline
from nectar.errors import BadProfile, MissingKey
from nectar.keys import PseudonymKeys
from nectar.scrub.find import names, patience
from nectar.scrub.find.engine import warm
from nectar.scrub.find.entities import JOINABLE, MODELLED
from nectar.scrub.profile.profiles import Profile, known_keys, profile_named
from nectar.scrub.profile.rules import Rules, parse_rules
from nectar.scrub.shapes.cells import Cells
from nectar.scrub.shapes.columns import Columns, Tally, retype
from nectar.scrub.shapes.frames import (
    is_pandas,
    is_polars,
    refuse,
    scrub_pandas,
    scrub_pandas_series,
    scrub_polars,
    scrubbed_copies,
)
from nectar.scrub.shapes.tree import scrub_trees

REVISION = 8
"""Raised when our own recognisers, context words or actions change what comes out."""

_ARROWS = (b"ARROW:", b"PARQUET:")
_DECIDERS = ("presidio-analyzer", "phonenumbers", "tldextract", "regex")


@dataclass(frozen=True)
class Scrubbed:
    """A scrubbed table.

    table    the same rows; every cell that failed is null
    removed  what was taken out: row, field, kind (an entity, or `rule`), count
    failed   rows that could not be scrubbed, with a stable reason; they must not land
    """

    table: pa.Table
    removed: pa.Table
    failed: Mapping[int, str]


class DataScrubber:
    """Takes personal data out, as a profile and custom rules say.

    config   `profile_id` (or `profile`): a name, or None for the rules alone; `custom_rules`: a list of
             `{field or pattern, action}`; `profiles`: definitions of one's own, in the form of the built-in ones;
             `enabled`: false leaves all data as it is
    keys     needed as soon as anything is hashed

    Raises BadProfile for what is not understood, MissingKey for a hash without keys. Equal values get equal results
    in every shape of data. A scrubber may be shared by threads and carried through a fork.

    A rule's field wins over detection, and `keep` is not scanned at all. A removed value is null (empty, where the
    text is all there is), a removed part of a longer text is cut out. A whole number that is personal data by its
    field's name or its check digit becomes null or text: an Arrow column of integers stays one if findings are only
    removed, else it becomes a column of text.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, keys: PseudonymKeys | None = None) -> None:
        given = {} if config is None else config
        if not isinstance(given, Mapping):
            raise BadProfile(
                f"scrubbing: expected a mapping such as {{'profile_id': 'gdpr_compliant'}}, not {type(given).__name__}"
            )
        known_keys(given, ("profile_id", "profile", "custom_rules", "profiles", "enabled"), "scrubbing")
        named = [given[key] for key in ("profile_id", "profile") if given.get(key) is not None]
        if len(set(map(str, named))) > 1:
            raise BadProfile("scrubbing: profile_id and profile name two profiles; give one")
        own = given.get("profiles") or {}
        if not isinstance(own, Mapping):
            raise BadProfile("scrubbing: profiles must map names to definitions")
        profile = profile_named(named[0] if named else None, own)
        rules = parse_rules(given.get("custom_rules"))
        rules = Rules(rules.fields + profile.rules.fields, rules.patterns + profile.rules.patterns)
        enabled = given.get("enabled", True)
        if not isinstance(enabled, bool):
            raise BadProfile(f"scrubbing: enabled must be true or false, not {enabled!r}")
        if not enabled:
            profile, rules = Profile(), Rules()
        names.require(entity for entity, _ in profile.treatments)
        keyed = _keyed_kinds(profile, rules)
        if keyed and keys is None:
            raise MissingKey(
                f"the scrubbing profile or a rule makes pseudonyms or tokens of {keyed[0]}, and no keys were given: "
                "pass keys=, or take the hive's with HiveManager().scrubber(profile)"
            )
        self._cells = Cells(profile, rules, keys)
        self._keyed = keyed

    def __repr__(self) -> str:
        return f"<DataScrubber {self._cells.profile.name or 'rules only'}>"

    @property
    def version(self) -> str:
        """Changes when another result is possible: profile, rules, recognisers and their versions, key ids."""
        profile, rules, keys = self._cells.profile, self._cells.rules, self._cells.keys
        said = {
            "revision": REVISION,
            "actions": [(entity, str(treatment)) for entity, treatment in profile.treatments],
            "asked": [profile.threshold, profile.regions],
            "rules": [(rule.field, str(rule.treatment)) for rule in rules.fields],
            "patterns": [(rule.pattern, str(rule.treatment)) for rule in rules.patterns],
            "libraries": [(name, _version(name)) for name in self._deciders()],
            "keys": [(kind, keys.pseudonym_key(kind)[0]) for kind in self._keyed] if keys is not None else [],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]

    def _deciders(self) -> tuple[str, ...]:
        if not self._cells.profile.treatments and not self._keyed:
            return ()
        modelled = any(entity in MODELLED for entity, _ in self._cells.profile.treatments)
        return (*_DECIDERS, "spacy", names.MODEL_PACKAGE) if modelled else _DECIDERS

    def action_of(self, field: str, kind: str) -> str:
        """What is done with a kind of `Scrubbed.removed` in this field; several actions where rules leave it open."""
        return self._cells.action_of(field, kind)

    def warm(self) -> None:
        """Compile what this scrubber needs now; a worker calls it after its start, so that no record waits."""
        if self._cells.entities:
            warm(self._cells.entities)

    def process(self, data: Any, deadline: Deadline | None = None) -> Any:
        """Scrub text, an object, a list, a pandas or polars frame or series, an Arrow table, batch or array.

        The same shape comes back, a copy; what holds no text stays as it is, and so do bytes. Labels and notes of a
        frame or table are data too: names of columns change as in `scrub`, notes with a finding go. Raises SkipRecord
        when something could not be scrubbed, or not be looked into (`unsupported_type`): nothing passes half done.
        `deadline`: a limit on the time for each value.
        """
        with patience.within(deadline):
            return self._process(data)

    def _process(self, data: Any) -> Any:
        if isinstance(data, pa.Table):
            tally = Tally()
            table = self._table(data, tally, skip_reserved=False)
            refuse(tally)
            return table
        if isinstance(data, pa.RecordBatch):
            return self._batch(data)
        if isinstance(data, pa.Array | pa.ChunkedArray):
            column = self._process(pa.table({"": data})).column(0)
            return _as_array(column) if isinstance(data, pa.Array) else column
        if is_pandas(data, "DataFrame"):
            return scrub_pandas(self._cells, data)
        if is_pandas(data, "Series"):
            return scrub_pandas_series(self._cells, data)
        if is_polars(data, "DataFrame"):
            return scrub_polars(self._cells, data)
        if is_polars(data, "Series"):
            return scrub_polars(self._cells, data.to_frame()).to_series()
        value = scrubbed_copies(self._cells, [data], "")[0].value
        return "" if value is None and isinstance(data, str) else value

    def scrub(self, table: pa.Table, deadline: Deadline | None = None) -> Scrubbed:
        """Scrub the records of a batch. Columns whose name starts with `_` and binary columns stay as they are.

        Text that is marked `json` is scrubbed in its strings and stays JSON; text marked `number` is a number. With a
        profile, a column whose name holds an address or a number of a person gets another name: `<EMAIL_ADDRESS>1`.
        `deadline`: a limit on the time for each value; a value that takes longer fails its row.
        """
        tally = Tally()
        with patience.within(deadline):
            result = self._table(table, tally, skip_reserved=True)
        return Scrubbed(result, tally.removed(), tally.failed)

    def _batch(self, data: pa.RecordBatch) -> pa.RecordBatch:
        table = self.process(pa.Table.from_batches([data]))
        if not table.num_columns:
            return data
        arrays = [column.combine_chunks() for column in table.columns]
        return pa.RecordBatch.from_arrays([_as_array(array) for array in arrays], schema=table.schema)

    def _table(self, table: pa.Table, tally: Tally, *, skip_reserved: bool) -> pa.Table:
        columns = Columns(self._cells, tally)
        rows = np.arange(table.num_rows)
        own, said = table.column_names, table.schema.metadata
        names = self._cells.column_names(own)
        if names != own:
            table = table.rename_columns(names)
        for place, given in enumerate(table.schema):
            if skip_reserved and given.name.startswith("_"):
                continue
            array = _as_array(table.column(place).combine_chunks())
            mark = mark_of(given)
            # A rule is written for the name that the source has.
            rule = None if given.name == own[place] else self._cells.rule_of(own[place])
            new = columns.scrub(array, given.name, mark, rule, rows)
            noted = self._notes(given.metadata)
            if new is not array or noted != given.metadata:
                field = retype(given, new).with_metadata(noted)
                if mark == "number" and new is not array:
                    field = _unmarked(field)
                table = table.set_column(place, field, new)
        return table.replace_schema_metadata(self._notes(said, renamed=names != own))

    def _notes(self, metadata: Mapping[bytes, bytes] | None, *, renamed: bool = False) -> dict[bytes, bytes] | None:
        """What a schema or field says beside its types, without notes that hold a finding.

        Arrow's own and ours stay; pandas' lists the columns' names, so it goes where one of them changed.
        """
        if not metadata:
            return None
        kept = {key: note for key, note in metadata.items() if key == MARK or key.startswith(_ARROWS)}
        others = {key: note for key, note in metadata.items() if key not in kept and not (renamed and key == b"pandas")}
        texts = [[part.decode("utf-8", "replace") for part in pair] for pair in others.items()]
        for key, copy in zip(others, scrub_trees(self._cells, texts), strict=True):
            if not copy.counts and not copy.failed:
                kept[key] = metadata[key]
        return {key: kept[key] for key in metadata if key in kept} or None


def _as_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _unmarked(field: pa.Field) -> pa.Field:
    """Text that stands for a number is plain text from here on."""
    others = {key: value for key, value in (field.metadata or {}).items() if key != MARK}
    return field.with_metadata(others)


def _keyed_kinds(profile: Profile, rules: Rules) -> tuple[str, ...]:
    """Every key domain that this scrubber may use, known before the first record: `version` names their keys."""
    kinds = [entity for entity, treatment in profile.treatments if treatment.keyed]
    fields = [f"field:{rule.field}" for rule in rules.fields if rule.treatment.keyed]
    patterns = [rule.kind for rule in rules.patterns if rule.treatment.keyed]
    if fields or patterns:
        kinds += [kind for kind in JOINABLE if kind not in kinds]
    return tuple(dict.fromkeys((*kinds, *fields, *patterns)))


@functools.cache
def _version(distribution: str) -> str:
    """Reading it from the disk takes a millisecond; a fleet of small bees has many scrubbers."""
    return version(distribution)
