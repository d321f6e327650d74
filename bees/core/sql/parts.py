"""Parts of a large table that several workers read at once, whatever its server speaks.

A table that is read whole falls into parts in each flight. One with a cursor does so in its first reading alone: the
parts are read by key, and the greatest cursor value there was *before* they were cut is where the next flight begins,
less the look-back. What changes meanwhile has a greater one, and comes again then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from bees.core.sql.options import ServerOptions
from bees.core.sql.ordered import Ordered
from bees.core.sql.span import Span, heard, span_of
from nectar.batch import Cursor

O = TypeVar("O", bound=Ordered[Any, Any])  # noqa: E741


class Cut(Protocol):
    """What one server knows of a large table."""

    def newest(self) -> str | None:
        """The greatest cursor value of all rows, as a mark; None where no row may move the mark."""

    def reached(self) -> str | None:
        """How far the server has come by now; None where it does not say."""

    def spans(self, parts: int) -> Sequence[Span]:
        """Ranges of the key with about as many rows in each."""


def begins_in_parts(options: ServerOptions, stream: str, cursor: Cursor | None) -> bool:
    """Whether a reading of the stream from `cursor` on may be cut."""
    return options.may_cut(stream) and not (cursor and options.chosen(stream).cursor)


def parts_of(reading: Ordered[Any, Any], table: Cut, parts: int) -> list[str]:
    """What the parts are called."""
    then = seen = None
    if reading.cursor is not None:
        newest = table.newest()
        then = replace(reading.first_place(), phase="rows", high=newest, done=True).cursor()
        # A replica that is behind may answer who reads a part, and what it does not have yet stands below the mark.
        seen = table.reached() if newest is not None else None
    types = reading.by_key().first_place().types
    return [replace(span, then=then, seen=seen, types=types).told() for span in table.spans(parts)]


def part_of(told: str | None, reading: O, stream: str) -> tuple[O, Span | None]:
    """The part of a stream that a slice's text means, and how it is read. Raises GiveUp for no part of this stream."""
    span = heard(told) if told is not None else None
    if span is not None and span.then:
        reading = reading.by_key()
    return reading, span_of(told, reading.first_place(), stream)


def after_parts(told: Sequence[str]) -> Cursor | None:
    """Where the next flight begins once all of these parts were read; None: at the beginning."""
    spans = [heard(one) for one in told]
    return spans[0].then if spans and spans[0] else None
