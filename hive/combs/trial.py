"""A comb tried out: one page of each stream, scrubbed as its bee would do it, and shown as shapes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hive.combs.comb import Comb
from hive.combs.plan import plan
from hive.config.load import from_mapping
from hive.flight.bees import make_bee
from hive.preview import shape
from hive.settings import environment
from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber

if TYPE_CHECKING:
    from bees.core.bee import WorkerBee
    from nectar.pollen import Stream

WIDTH = 60
"""Characters of a value's shape."""


@dataclass
class Tried:
    """One stream's first page.

    records   shapes by field: letters are `x`, digits `9`, long ones cut
    rejects   items that are no records: code -> how many
    missing   fields of the key or the cursor that no record has
    """

    stream: str
    rows: int = 0
    key: tuple[str, ...] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    rejects: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def trial(
    comb: Comb, values: Mapping[str, Any], vault: Callable[[str], str], *, mode: str | None = None, rows: int = 3
) -> list[Tried]:
    """Read a page of each stream; nothing is kept. Raises ConfigProblems, UnknownConnector or SourceError."""
    made = plan(comb, values, name=comb.id, mode=mode)
    there = made.vault(vault)
    bee = from_mapping(comb.id, made.block, connector=made.connector, environ=environment(), vault=there)
    scrubbing = bee.block().get("scrubbing") or {}
    with closing(make_bee(comb.id, made.connector, made.block, there)) as opened:
        opened.validate_flight_path()
        return [_tried(opened, stream, scrubbing, rows) for stream in opened.get_pollen_schema()]


def _tried(bee: WorkerBee, stream: Stream, scrubbing: Mapping[str, Any], rows: int) -> Tried:
    part = next(iter(bee.slices(stream.name, None)), None)
    batches = bee.collect_nectar(stream.name, None, part)
    batch = next(iter(batches), None)
    batches.close()  # type: ignore[attr-defined]
    if batch is None:
        return Tried(stream.name, key=stream.key)
    table = batch.table
    wanted = [name.partition(".")[0] for name in (*stream.key, *([stream.cursor] if stream.cursor else []))]
    missing = tuple(dict.fromkeys(name for name in wanted if table.num_rows and name not in table.column_names))
    scrubbed = DataScrubber(scrubbing, InMemoryKeys()).scrub(table.slice(0, min(rows, table.num_rows))).table
    shown = [{name: _shown(value) for name, value in row.items() if value is not None} for row in scrubbed.to_pylist()]
    rejects = Counter(reject.code for reject in batch.rejects)
    return Tried(stream.name, table.num_rows, stream.key, shown, dict(rejects), missing)


def _shown(value: Any) -> Any:
    """A value as a shape; names of fields inside of it are shown as they are."""
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {str(key): _shown(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_shown(item) for item in value[:3]]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = shape(str(value)[: WIDTH + 1])
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
