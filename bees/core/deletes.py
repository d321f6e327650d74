"""Records that tell of themselves that they are no more: a field beside their key says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def is_gone(told: Any) -> bool:
    """What such a field holds: anything but null, false and empty text, such as the time of the deletion."""
    return told is not None and told is not False and told != ""


def with_deletes(made: pa.Table, gone: Sequence[bool]) -> pa.Table:
    """The table, of whose rows those that are `gone` are deletes of their key."""
    if not any(gone):
        return made
    return made.append_column("_op", pa.array(["delete" if one else "upsert" for one in gone], pa.string()))
