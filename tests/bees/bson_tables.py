"""The table that the thorough way makes of documents, for those who make it in a quicker way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bson

from bees.core.mongo.values import CODEC, decode, tables

if TYPE_CHECKING:
    import pyarrow as pa


def is_the_same(found: tuple[pa.Table, bytes] | None, raw: bytes, *, plain: bool = False) -> bool:
    """Whether a quicker way was taken; then it gave the same table and the last document."""
    if found is None:
        return False
    documents, rejects = decode(raw, "items")
    assert not rejects
    ((number, table),) = tables(documents, plain_text_ids=plain)
    assert number == found[0].num_rows
    assert found[0].schema.equals(table.schema, check_metadata=True)
    # NaN equals nothing, so the columns are compared as they are written.
    assert str(found[0].to_pydict()) == str(table.to_pydict())
    assert bson.encode(bson.decode(found[1], CODEC)) == bson.encode(documents[-1])
    return True
