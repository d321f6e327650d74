"""Whether the columns that identify a stream's records are there: a misspelt one would set every record aside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from hive.config.problems import Problem, closest

if TYPE_CHECKING:
    from collections.abc import Generator

    from bees.core.bee import WorkerBee
    from nectar.batch import Batch
    from nectar.pollen import Stream

_BATCHES = 3
"""Batches that are read of a source that cannot tell its columns before; most give records in the first."""
_NAMED = 20


def key_problems(name: str, bee: WorkerBee, streams: Sequence[Stream]) -> list[Problem]:
    """What is wrong with the keys of these streams. Reads the beginning of those whose columns nobody knows.

    Raises SourceError.
    """
    found = []
    for stream in streams:
        if not stream.key or stream.document:
            continue
        columns = [column.name for column in stream.columns] or _seen(bee, stream.name)
        missing = [column for column in stream.key if column not in columns]
        for column in missing if columns else ():
            near = closest(column, columns)
            more = ", ..." if len(columns) > _NAMED else ""
            found.append(
                Problem(
                    f"the source has no column {column!r}, so no record has a key and all of them would be set aside",
                    bee=name, field=f"streams.{stream.name}.key",
                    expected="" if near else f"some of {', '.join(columns[:_NAMED])}{more}", suggestion=near,
                )
            )  # fmt: skip
    return found


def _seen(bee: WorkerBee, stream: str) -> list[str]:
    """Columns of the first records; none where there are no records, or where they cannot be read without a key."""
    chosen: dict[str, Any] = dict(getattr(bee.options, "streams", None) or {})
    if not getattr(chosen.get(stream), "key", ()):
        return []
    chosen[stream] = chosen[stream].model_copy(update={"key": ()})
    with type(bee)(bee.options.model_copy(update={"streams": chosen})) as plain:
        part = next(iter(plain.slices(stream, None)), None)
        with closing(cast("Generator[Batch]", plain.collect_nectar(stream, None, part))) as batches:
            for batch, _ in zip(batches, range(_BATCHES), strict=False):
                if batch.table.num_rows:
                    return list(batch.table.column_names)
    return []
