"""Records of a query that names no key: each is known by what stands in it.

`row_hash` is a hash of the row under a salt of the stream's own, which travels in the sealed cursor: nobody who reads a
jar can try values against it. Rows that are equal are numbered by `row_copy`. So reading can be resumed after any row,
a row that did not change keeps its place in the jar, and one that did is a new record: what a complete read gave is
all that the jar then shows.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

from bees.core.errors import GiveUp

HASH, COPY = "row_hash", "row_copy"


def new_salt() -> str:
    return secrets.token_hex(16)


def refuse_taken(columns: Collection[str], where: str) -> None:
    """Raises GiveUp where the query itself has a column of one of these names."""
    taken = sorted({HASH, COPY} & set(columns))
    if taken:
        raise GiveUp(
            f"the query has a column {taken[0]!r}, which is what rows without a key are known by",
            code="no_key",
            where=where,
            advice=f"set `{where}.key` to the columns that identify a record, or name that column otherwise",
        )
