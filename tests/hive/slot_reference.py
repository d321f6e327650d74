"""When a cron expression fires, told minute by minute: slow, plain, and made without the code it is held against."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def numbers(field: str, low: int, high: int) -> set[int]:
    """What a field of `*`, `*/n`, `a`, `a-b`, `a-b/n` and lists of these names."""
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        start, end = (low, high) if span == "*" else (int(first), int(last or first))
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def matcher(cron: str) -> Callable[[datetime], bool]:
    minute, hour, day, month, weekday = cron.split()
    minutes, hours, months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12)
    days, weekdays = numbers(day, 1, 31), {n % 7 for n in numbers(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")

    def matches(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        on_day, on_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return (on_day and on_weekday) if both else (on_day or on_weekday)

    return matches


def slots(cron: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """All slots after `start` and up to `end`, both whole minutes in UTC."""
    matches = matcher(cron)
    if any(field.startswith("*") for field in cron.split()[:2]):
        walk = (start + n * MINUTE for n in range(1, (end - start) // MINUTE + 1))
        return [at for at in walk if matches(at.astimezone(zone))]
    # Every time of day that the calendar has, and with it the first minute at which the clock shows it or, where it is
    # skipped, something later.
    wall = start.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
    at = start - timedelta(days=2)
    found = set()
    while at <= end:
        while at.astimezone(zone).replace(tzinfo=None) < wall:
            at += MINUTE
        if matches(wall):
            found.add(at)
        wall += MINUTE
    return sorted(at for at in found if start < at <= end)


def in_blackout(at: datetime, zone: ZoneInfo, blackouts: list[tuple[int, int, tuple[str, ...]]]) -> bool:
    """`blackouts` are (from, to, days) in minutes since midnight."""
    wall = at.astimezone(zone)
    minute, today = wall.hour * 60 + wall.minute, DAYS[wall.weekday()]
    yesterday = DAYS[(wall.weekday() + 6) % 7]
    for first, last, days in blackouts:
        if first < last:
            if today in days and first <= minute < last:
                return True
        elif (today in days and minute >= first) or (yesterday in days and minute < last):
            return True
    return False


def outside(
    times: list[datetime], zone: ZoneInfo, blackouts: list[tuple[int, int, tuple[str, ...]]], *, run_after: bool
) -> list[datetime]:
    """`times` without those in a blackout; with `run_after` the first minute after each that held some."""
    if not times:
        return []
    # From the end: a minute inside a blackout ends where the next one does.
    end_of: dict[datetime, datetime] = {}
    at = times[-1] + timedelta(days=8)
    end = at
    while at >= times[0]:
        end = end if in_blackout(at, zone, blackouts) else at
        end_of[at] = end
        at -= MINUTE
    return sorted({end_of[at] for at in times if run_after or end_of[at] == at})
