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
    gone = "names are case-sensitive; `hive schema` lists what is there"
    gone += f", and where it was dropped or renamed at the source, change `{where}`"
    hint = f"did you mean {near[0]!r}?" if near else gone
    return GiveUp(f"no {kind} is named {name!r}", code=f"no_{kind}", where=where, advice=hint)


def replaced(stream: str, where: str) -> GiveUp:
    """The error for a followed table whose name another one has by now."""
    return GiveUp(
        f"the table of the stream {stream!r} was dropped or renamed, and another one has its name",
        code="table_replaced",
        where=where,
        advice="fly the bee with --full-refresh: the log does not tell which rows the new one began with",
    )


def readings(name: str, default: str, quote: str) -> list[tuple[str, str]]:
    """The (schema, table) pairs that a name may mean, the likeliest first: a dot and a quote may be part of a name.

    default  the schema of names without one
    quote    the sign that the server puts around a name
    """
    found, inside = [(default, name)], False
    for place, sign in enumerate(name):
        inside ^= sign == quote
        if sign == "." and not inside and 0 < place < len(name) - 1:
            found.append((_unquoted(name[:place], quote), _unquoted(name[place + 1 :], quote)))
    return [*found, (default, _unquoted(name, quote))]


def written(schema: str, table: str, quote: str) -> str:
    """`schema.table` as `readings` takes it, each part quoted where a dot or a quote stands in it."""
    parts = (quote + p.replace(quote, 2 * quote) + quote if "." in p or quote in p else p for p in (schema, table))
    return ".".join(parts)


def _unquoted(part: str, quote: str) -> str:
    bare = part.startswith(quote) and part.endswith(quote) and len(part) > 2
    return part[1:-1].replace(2 * quote, quote) if bare else part
