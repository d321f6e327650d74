"""A part of a table that one worker reads while others read the rest: the rows between two keys.

    by      the order columns that the bounds belong to
    types   what each of them is sorted as: bees/core/sql/place.py
    after   exact texts of the key behind which the part begins; empty: at the first row
    upto    exact texts of its last key; empty: at the last row
    then    the place at which the next flight begins once all parts were read: of a stream with a cursor, whose first
            reading alone falls into parts, by key
    seen    how far the server had come that gave `then`: whoever reads the part must have come as far

Parts of one reading meet without a gap and without a row in two of them: the end of one is the beginning of the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bees.core.errors import GiveUp

if TYPE_CHECKING:
    from bees.core.sql.place import Place
    from nectar.batch import Cursor

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Span:
    by: Texts
    after: Texts = ()
    upto: Texts = ()
    then: Cursor | None = None
    seen: str | None = None
    types: Texts = ()

    def told(self) -> str:
        bounds: dict[str, Any] = {"by": self.by, "after": self.after, "upto": self.upto}
        more = {"then": self.then, "seen": self.seen, "types": self.types}
        return json.dumps(bounds | {name: value for name, value in more.items() if value}, ensure_ascii=False)


def heard(told: str) -> Span | None:
    """The part that a slice's text means; None for another text."""
    try:
        found = json.loads(told)
        by, after, upto = (tuple(map(str, found[name])) for name in ("by", "after", "upto"))
        then, seen = found.get("then"), found.get("seen")
        types = tuple(map(str, found.get("types") or ()))
        return Span(by, after, upto, dict(then) if then else None, str(seen) if seen else None, types)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def span_of(told: str | None, first: Place, stream: str) -> Span | None:
    """The part that a slice's text means. Raises GiveUp for one that this stream is not, or no longer, cut into.

    `first`: the first place of the stream, as it is read now.
    """
    if told is None:
        return None
    span = heard(told) or Span(())
    whole = all(len(bound) in (0, len(first.by)) for bound in (span.after, span.upto))
    if span.by != first.by or span.types not in ((), first.types) or not whole:
        raise GiveUp(
            f"the stream {stream!r} is not cut into such parts: its key is another one",
            code="wrong_slice",
            where=f"streams.{stream}",
            advice="fly the bee with --full-refresh",
        )
    return span


def spans(by: Texts, sample: Sequence[Texts], parts: int) -> list[Span]:
    """`parts` spans, or fewer, with about as much of a sample in each. `sample`: keys in the server's own order."""
    steps = [sample[len(sample) * n // parts] for n in range(1, parts)] if sample else []
    bounds = list(dict.fromkeys(steps))
    return [Span(by, after, upto) for after, upto in zip([(), *bounds], [*bounds, ()], strict=True)]
