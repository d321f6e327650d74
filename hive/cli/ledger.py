"""The ledger as a command needs it: open while the command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hive.runtime import Runtime


@contextmanager
def ledger() -> Iterator[Runtime]:
    """A runtime that tells no broker. Raises NotRunning or MissingHiveKey with what to do."""
    from hive.runtime import open_runtime

    rt = open_runtime()
    try:
        yield rt
    finally:
        rt.close()
