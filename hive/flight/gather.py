"""From the batches a bee likes to give to the batches we like to seal: joined when small, never kept waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pyarrow as pa

from nectar.batch import Batch


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
    seconds when the next one comes. Batches with other columns are not joined. A last batch may be without records:
    it carries the cursor at which the source ended. Nothing at all comes for a source that gave nothing. What a source
    gave before it failed comes before its error is raised.
    """
    held: list[Batch] = []
    since = 0.0
    failure: Exception | None = None
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - raised again, once what came before it is sealed
            failure = error
            break
        if held and not _alike(held[-1], batch):
            yield _join(held), False
            held = []
        since = since if held else clock()
        held.append(batch)
        if _bytes(held) >= most_bytes or _rows(held) >= most_rows or clock() - since >= wait:
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


def _alike(a: Batch, b: Batch) -> bool:
    return bool(
        b.table.num_rows == 0 or a.table.num_rows == 0 or a.table.schema.equals(b.table.schema, check_metadata=True)
    )


def _join(held: list[Batch]) -> Batch:
    if len(held) == 1:
        return held[0]
    last = held[-1]
    tables = [b.table for b in held if b.table.num_rows] or [last.table]
    rejects = tuple(r for b in held for r in b.rejects)
    return Batch(last.stream, pa.concat_tables(tables), last.cursor, last.slice, last.complete, rejects)
