"""Times of the week at which no bee flies. Pure: instants in, instants out.

    blackout: [{from: "22:00", to: "06:00", days: [mon-fri]}]

A blackout is told by what the clock on the wall shows in the schedule's zone: it holds from `from` on and ends before
`to`. One that ends earlier in the day than it begins goes over midnight, and `days` are those on which it begins.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WORDS = {
    word: n
    for n, name in enumerate(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
    for word in (name, name[:3])
}
_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_LONGEST = 16
"""Blackouts that follow each other without a gap; more of them cover the whole week, several times over."""
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


def _minute(value: Any) -> int:
    """Minutes since midnight of `06:00`; of a number as YAML reads an unquoted 22:00 (1320), the same."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1440:
        return value
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    minute = int(found[1]) * 60 + int(found[2]) if found else 1441
    if minute > 1440:
        raise ValueError('is no time of day: write one such as "06:00", from "00:00" to "24:00"')
    return minute


def _weekdays(value: Any) -> tuple[str, ...]:
    """`mon-fri`, `sat`, or a list of such; in the order of the week, each once."""
    given = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
    found: set[int] = set()
    for word in given if isinstance(given, list | tuple) else ("?",):
        first, _, last = str(word).lower().partition("-")
        try:
            start, end = _WORDS[first], _WORDS[last or first]
        except KeyError:
            raise ValueError("holds what is no day: write a list such as [mon-fri] or [sat, sun]") from None
        found |= {(start + n) % 7 for n in range((end - start) % 7 + 1)}
    if not found:
        raise ValueError("holds no day: write a list such as [mon-fri], or leave it out for every day")
    return tuple(DAYS[n] for n in sorted(found))


def one_or_more(value: Any) -> Any:
    """One blackout may stand without a list."""
    return [value] if isinstance(value, Mapping) else value


def _written(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


TimeOfDay = Annotated[int, BeforeValidator(_minute, json_schema_input_type=str | int), PlainSerializer(_written)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True, serialize_by_alias=True))
class Blackout:
    """Times are minutes since midnight."""

    since: Annotated[TimeOfDay, Field(validation_alias="from", serialization_alias="from")] = 0
    to: TimeOfDay = 1440
    days: Annotated[tuple[str, ...], BeforeValidator(_weekdays, json_schema_input_type=str | list[str])] = DAYS

    def holds(self, wall: datetime) -> bool:
        """Whether the clock on the wall shows a time inside."""
        minute = wall.hour * 60 + wall.minute
        today, yesterday = DAYS[wall.weekday()], DAYS[wall.weekday() - 1]
        if self.since < self.to:
            return today in self.days and self.since <= minute < self.to
        return (today in self.days and minute >= self.since) or (yesterday in self.days and minute < self.to)


class Span(NamedTuple):
    start: datetime
    end: datetime


@functools.lru_cache(maxsize=10_000)  # many bees keep the same hours
def blackout_around(blackouts: tuple[Blackout, ...], zone: zoneinfo.ZoneInfo, at: datetime) -> Span | None:
    """The time around an instant in which no slot comes, joined blackouts as one, in UTC; None: it is in none."""
    if not _inside(blackouts, zone, at):
        return None
    return Span(_edge(blackouts, zone, at, -1), _edge(blackouts, zone, at, +1))


def _inside(blackouts: tuple[Blackout, ...], zone: zoneinfo.ZoneInfo, at: datetime) -> bool:
    wall = at.astimezone(zone)
    return any(blackout.holds(wall) for blackout in blackouts)


def _edge(blackouts: tuple[Blackout, ...], zone: zoneinfo.ZoneInfo, at: datetime, step: int) -> datetime:
    """Where the blackout around `at` ends (step 1: its first instant outside), or begins (step -1)."""
    minutes = {m % 1440 for one in blackouts for m in (one.since, one.to)}
    found = at
    if step < 0 and not _inside(blackouts, zone, at - timedelta(microseconds=1)):
        return at
    for _ in range(_LONGEST * len(minutes)):
        found = _next_edge(found, zone, minutes, step)
        if not _inside(blackouts, zone, found if step > 0 else found - timedelta(microseconds=1)):
            return found
    return FOREVER if step > 0 else datetime(1, 1, 2, tzinfo=UTC)


def _next_edge(at: datetime, zone: zoneinfo.ZoneInfo, minutes: set[int], step: int) -> datetime:
    """The nearest instant on one side of `at` at which a blackout may begin or end.

    That is where the wall shows one of these minutes, midnight, or where the clocks are changed.
    """
    day = at.astimezone(zone).date()
    near: list[datetime] = []
    for offset in (-1, 0, 1):
        if not date.min < day + timedelta(days=offset) < date.max:
            continue
        midnight = datetime.combine(day + timedelta(days=offset), datetime.min.time())
        for minute in minutes | {0}:
            for fold in (0, 1):
                wall = (midnight + timedelta(minutes=minute)).replace(tzinfo=zone, fold=fold)
                near.append(wall.astimezone(UTC))
        near += _changes(zone, midnight)
    ahead = [edge for edge in near if (edge > at if step > 0 else edge < at)]
    return min(ahead) if step > 0 else max(ahead)


def _changes(zone: zoneinfo.ZoneInfo, midnight: datetime) -> list[datetime]:
    """When the clocks are changed on this day, if they are."""
    start = midnight.replace(tzinfo=UTC) - timedelta(hours=15)
    end = start + timedelta(hours=30)
    if start.astimezone(zone).utcoffset() == end.astimezone(zone).utcoffset():
        return []
    while end - start > timedelta(seconds=1):
        middle = start + (end - start) / 2
        same = middle.astimezone(zone).utcoffset() == start.astimezone(zone).utcoffset()
        start, end = (middle, end) if same else (start, middle)
    return [end.replace(microsecond=0)]
