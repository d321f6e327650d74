"""Names that are not there, or mean something else by now, in messages of the database bees."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from bees.core.errors import GiveUp

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> GiveUp:
    """The error for a name that is not there, with what was probably meant."""
    near = difflib.get_close_matches(name, list(known), n=1)
    if not near:
        near = [k for k in known if k.lower() == name.lower()]
    hint = f"did you mean {near[0]!r}?" if near else "names are case-sensitive; `hive schema` lists what is there"
    return GiveUp(f"no {kind} is named {name!r}", code=f"no_{kind}", where=where, advice=hint)


def replaced(stream: str, where: str) -> GiveUp:
    """The error for a followed table whose name another one has by now."""
    return GiveUp(
        f"the table of the stream {stream!r} was dropped or renamed, and another one has its name",
        code="table_replaced",
        where=where,
        advice="fly the bee with --full-refresh: the log does not tell which rows the new one began with",
    )
