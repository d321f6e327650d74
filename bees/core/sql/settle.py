"""Streams that were settled from the catalog a moment ago, and whose tables may have changed since."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from bees.core.errors import GiveUp
from nectar.batch import Batch

_CHANGED = ("no_column", "no_table", "not_sortable", "wrong_query", "wrong_data", "collations")
"""What a server may say of a statement that was made before the table changed."""


def up_to_date(
    settled: dict[str, tuple[float, Any]], stream: str, leg: Callable[[], Generator[Batch]]
) -> Iterator[Batch]:
    """The batches of a leg. Begins it once more where what `settled` held of the stream was too old, and forgets that.

    `settled`: when each stream was settled, and its reading.
    """
    while True:
        begun, came = time.monotonic(), False
        try:
            with closing(leg()) as batches:
                for batch in batches:
                    came = True
                    yield batch
        except GiveUp as error:
            since, _ = settled.get(stream, (begun, None))
            if came or since >= begun or error.code not in _CHANGED:
                raise
            del settled[stream]
        else:
            return
