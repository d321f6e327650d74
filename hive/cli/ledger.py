"""The ledger as a command needs it: open while the command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hive.runtime import Runtime


@contextmanager
def ledger(*, answer_limit: float | None = None) -> Iterator[Runtime]:
    """A runtime that tells no broker. Raises NotRunning or MissingHiveKey with what to do.

    `answer_limit`: seconds after which a database that says nothing counts as away.
    """
    from hive.runtime import open_runtime

    rt = open_runtime(answer_limit=answer_limit)
    try:
        yield rt
    finally:
        rt.close()
