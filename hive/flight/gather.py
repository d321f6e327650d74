"""From the batches a bee likes to give to the batches we like to seal: joined when small, never kept waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa

from nectar.batch import Batch, Distinct, Section


def gather(
    batches: Iterator[Batch],
    *,
    most_bytes: int,
    most_rows: int,
    wait: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[Batch, bool]]:
    """(batch, whether it is the last) for each batch to seal.

    Neighbours are joined until `most_bytes` (uncompressed) or `most_rows`, or until the first has waited `wait`
    seconds when the next one comes. One that took as long itself waits for none: the next would take as long. Batches
    with other columns are not joined, nor those of two readings of everything. A last batch may be without records: it
    carries the cursor at which the source ended. Nothing at all comes for a source that gave nothing. What a source
    gave before it failed comes before its error is raised.
    """
    held: list[Batch] = []
    since = 0.0
    failure: Exception | None = None
    while True:
        asked = clock()
        try:
            batch = next(batches)
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - raised again, once what came before it is sealed
            failure = error
            break
        if held and (held[-1].complete or batch.begins or not _alike(held, batch)):
            yield _join(held), False
            held = []
        now = clock()
        since = since if held else now
        held.append(batch)
        late = now - since >= wait or now - asked >= wait
        if late or _bytes(held) >= most_bytes or _rows(held) >= most_rows:
            yield _join(held), False
            held = []
    if held:
        yield _join(held), failure is None
    if failure is not None:
        raise failure


def _bytes(held: list[Batch]) -> int:
    return sum(b.table.nbytes + sum(len(r.raw) for r in b.rejects) for b in held)


def _rows(held: list[Batch]) -> int:
    return sum(b.table.num_rows + len(b.rejects) for b in held)


def _alike(held: list[Batch], batch: Batch) -> bool:
    """Whether their rows fit together; those without rows fit to any."""
    there = next((one for one in reversed(held) if one.table.num_rows), None)
    if there is None or not batch.table.num_rows:
        return True
    return bool(there.table.schema.equals(batch.table.schema, check_metadata=True))


def _join(held: list[Batch]) -> Batch:
    if len(held) == 1:
        return held[0]
    last = held[-1]
    tables = [b.table for b in held if b.table.num_rows] or [last.table]
    rejects = tuple(r for b in held for r in b.rejects)
    return Batch(
        last.stream, pa.concat_tables(tables), last.cursor, last.slice, last.complete, rejects, held[0].begins,
        tuple(_moved(held)), last.ends, last.pauses, _joined_runs(held),
    )  # fmt: skip


def _joined_runs(held: list[Batch]) -> Distinct:
    """The run of all of them, if it is one."""
    return held[0].distinct if all(b.distinct == "more" for b in held[1:]) else ""


def _moved(held: list[Batch]) -> Iterator[Section]:
    """The sections of all of them, by their rows in the joined one."""
    before = 0
    for batch in held:
        for section in batch.sections:
            yield replace(section, start=section.start + before, stop=section.stop + before)
        before += batch.table.num_rows
