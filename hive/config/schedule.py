"""When a bee flies. Pure: every instant comes in as an argument and leaves as UTC.

A slot is an instant at which a flight is due. Cron expressions are read in their own time zone by Debian's rules: a job
at a time of day that the clocks skip runs once, right after the gap; at one that comes twice it runs once, the first
time; expressions with `*` in minute or hour follow real time. The same holds with a field for seconds in front.
Intervals are aligned on the epoch, so that a restart or a second beat computes the same slots.

`hive/config/blackout.py` says what a blackout leaves out.
"""

from __future__ import annotations

import functools
import hashlib
import re
import zoneinfo
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from hive.config.blackout import FOREVER, Blackout, blackout_around, one_or_more
from hive.config.problems import closest, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["continuous", "snapshot"]
CatchUp = Literal["none", "last", "all"]
Blackouts = Annotated[
    tuple[Blackout, ...], BeforeValidator(one_or_more, json_schema_input_type=Blackout | list[Blackout])
]
Overlap = Literal["skip", "buffer_one", "allow"]
BlackoutThen = Literal["skip", "run_after"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 366 * 86400.0
SHORTEST = 1.0
"""Seconds between two slots: more flights than that would only wait for each other."""
_NUMBER = r"(\d+(?:\.\d+)?)"
_INTERVAL = re.compile(rf"(?=.)(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0)


def seconds_of(value: Any) -> float:
    """Seconds of `5m`, `30s`, `1h30m`, or of a number. Raises ValueError unless above 0 and at most a year."""
    expected = "such as 30s, 5m, 1h30m, or a number of seconds, above 0 and at most a year"
    seconds = 0.0
    if isinstance(value, str):
        seconds = _written_seconds(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if not 0.001 <= seconds <= LONGEST:  # also refuses NaN
        raise ValueError(f"is no interval: write one {expected}")
    return seconds


@functools.lru_cache(maxsize=1024)
def _written_seconds(text: str) -> float:
    """0 for what is no interval."""
    text = text.replace(" ", "").lower()
    match = _INTERVAL.fullmatch(f"{text}s" if re.fullmatch(_NUMBER, text) else text)
    numbers = match.groups(default="0") if match else ()
    return sum((float(number) * unit for number, unit in zip(numbers, _UNITS, strict=False)), 0.0)


def rhythm_of(value: Any) -> float:
    """As `seconds_of`, for slots. Raises ValueError also for what is shorter than `SHORTEST`."""
    seconds = seconds_of(value)
    if seconds < SHORTEST:
        raise ValueError(f"is too short: the shortest interval between flights is {SHORTEST:g}s")
    return seconds


def delay_of(value: Any) -> float:
    """As `seconds_of`, where 0 is none."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    try:
        return seconds_of(value)
    except ValueError:
        raise ValueError("should be a number of seconds such as 30, or 5m") from None


NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@functools.lru_cache(maxsize=16_384)
def check_cron(text: str) -> str:
    """`text` if it is a cron expression that some day matches. Raises ValueError."""
    if text.startswith("@") and text.lower() not in NICKNAMES:
        near = closest(text, NICKNAMES)
        meant = f"; did you mean {near!r}?" if near else f": there are {', '.join(NICKNAMES)}"
        raise ValueError(f"is no cron expression{meant}")
    expression = _expression(text)
    try:
        next(CronSim(expression, EPOCH))
    except CronSimError as error:
        if _is_well_formed(expression):
            raise ValueError(_NEVER) from error
        if _is_interval(text):
            raise ValueError(f"is an interval and no cron expression: write `every: {text}`") from error
        raise ValueError(
            f"is no cron expression ({str(error).lower()}): write minute, hour, day of month, month, day of week, "
            "such as '0 */6 * * *', with seconds in front if need be"
        ) from error
    except StopIteration as error:
        raise ValueError(_NEVER) from error
    return text


_NEVER = "is a cron expression that never fires: no day of the calendar ever matches it"


def _expression(text: str) -> str:
    return NICKNAMES.get(text.lower(), text)


def _is_interval(text: str) -> bool:
    try:
        return " " not in text.strip() and seconds_of(text) > 0
    except ValueError:
        return False


def _is_well_formed(expression: str) -> bool:
    """Whether each field is right by itself: then it is a date such as 31 February that never comes."""
    fields = expression.split()
    if len(fields) not in (5, 6):
        return False
    fields[-2] = "*"
    try:
        CronSim(" ".join(fields), EPOCH)
    except CronSimError:
        return False
    return True


def check_timezone(name: str) -> str:
    """`name` if it is an IANA time zone. Raises ValueError."""
    known = _timezones()
    if name not in known:
        raise ValueError(f"is no time zone of the IANA list, such as 'Europe/Berlin'{did_you_mean(name, known)}")
    return name


@functools.cache
def _timezones() -> frozenset[str]:
    # Each machine has a zone "localtime" of its own.
    return frozenset(zoneinfo.available_timezones()) - {"localtime", "Factory"}


Interval = Annotated[float, BeforeValidator(seconds_of)]
Rhythm = Annotated[float, BeforeValidator(rhythm_of)]
Jitter = Annotated[float, BeforeValidator(delay_of), Field(ge=0, le=86400)]
Cron = Annotated[str, AfterValidator(check_cron)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
ScheduleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Schedule:
    """One rhythm of a bee: either `cron`, read in `timezone`, or `every` so many seconds.

    catch_up   what of the slots missed while no beat ran is flown: none, the last one, or all up to `catch_up_limit`
    overlap    a slot that comes while a flight is open: skip it, keep one back until the flight ends, or allow both
    jitter     flights start up to so many seconds after their slot, each slot always by the same delay
    blackout   times at which no slot comes; `blackout_then: run_after` puts one slot at the end of each that held some
    start      no slot before this instant; end: none at it or later. Without a zone they are read in `timezone`
    """

    name: ScheduleName = "default"
    cron: Cron | None = None
    every: Rhythm | None = None
    timezone: Timezone = "UTC"
    mode: Mode = "continuous"
    catch_up: CatchUp = "last"
    catch_up_limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    overlap: Overlap = "skip"
    jitter: Jitter = 0.0
    blackout: Blackouts = ()
    blackout_then: BlackoutThen = "skip"
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ValueError("needs either `cron` or `every`, and not both")
        for name in ("start", "end"):
            object.__setattr__(self, name, self._instant(getattr(self, name)))
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("has an `end` that is not later than its `start`")
        self._check_fires()

    def _instant(self, given: datetime | None) -> datetime | None:
        if given is not None and given.tzinfo is None:
            given = given.replace(tzinfo=zoneinfo.ZoneInfo(self.timezone))
        return given and given.astimezone(UTC)

    def _check_fires(self) -> None:
        """Raises ValueError where there is no slot at all, from `start` or the epoch on."""
        if not self.blackout and not (self.start and self.end):
            return
        if next_slot(self, (self.start or EPOCH) - timedelta(microseconds=1)) is None:
            reason = "no slot lies between its `start` and `end`" if self.start and self.end else ""
            covered = "its `blackout` covers every slot" if self.blackout else ""
            raise ValueError(f"never fires: {' or '.join(filter(None, (covered, reason)))}")

    def spec(self) -> dict[str, Any]:
        """As JSON, for the ledger; `Schedule` of it is equal."""
        spec: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return spec

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Schedule:
        """What `spec` gave. Raises pydantic's ValidationError."""
        return _ADAPTER.validate_python(dict(spec))


_ADAPTER = TypeAdapter(Schedule)

_MOST_BLACKOUTS = 1500
"""So many blackouts in a row with all slots of their time inside: no slot ever comes outside."""
_TICK = timedelta(microseconds=1)


def next_slot(schedule: Schedule, after: datetime) -> datetime | None:
    """The first slot later than `after`, in UTC; None: there is none any more. `after` needs a time zone."""
    if after.tzinfo is None:
        raise ValueError("an instant without a time zone is no instant")
    after = after.astimezone(UTC)
    if schedule.start is not None:
        after = max(after, schedule.start - _TICK)
    slot = _outside(schedule, after) if schedule.blackout else plain_slot(schedule, after)
    return slot if slot is None or schedule.end is None or slot < schedule.end else None


def plain_slot(schedule: Schedule, after: datetime) -> datetime | None:
    """The first time of the rhythm alone later than `after` (UTC): blackouts, start and end do not count."""
    if schedule.every is not None:
        every = timedelta(seconds=schedule.every)
        return EPOCH + ((after - EPOCH) // every + 1) * every
    assert schedule.cron is not None
    return _cron_slot(schedule.cron, schedule.timezone, after)


@functools.lru_cache(maxsize=20_000)  # many bees fly by the same clock
def _cron_slot(cron: str, timezone: str, after: datetime) -> datetime | None:
    expression, zone = _expression(cron), _zone(timezone)
    fields = expression.split()
    if fields[-5].startswith("*") or fields[-4].startswith("*"):
        return _in_real_time(expression, zone, after)
    for local in _by_the_calendar(expression, after.astimezone(zone)):
        slot: datetime = local.astimezone(UTC)
        # Within the hour that the clocks repeat, a job of the first pass is found again: it has run.
        if slot > after:
            return slot
    return None


_zone = functools.lru_cache(maxsize=1000)(zoneinfo.ZoneInfo)
_STRIDE = timedelta(days=5)
"""No zone changes its clocks there and back within so many days."""


def _in_real_time(expression: str, zone: zoneinfo.ZoneInfo, after: datetime) -> datetime | None:
    """The first instant later than `after` at which the clock on the wall shows a time that matches.

    CronSim walks without a zone, from one change of the clocks to the next: with one it loses its way where a change
    is no whole hour.
    """
    offset = _offset(zone, after)
    while True:
        wall = next(CronSim(expression, (after + offset).replace(tzinfo=None)), None)
        if wall is None:
            return None
        slot: datetime = wall.replace(tzinfo=UTC) - offset
        start, same = after, True
        while same and start < slot:
            end = min(slot, start + _STRIDE)
            same = _offset(zone, end) == offset
            start = end if same else start
        if same:
            return slot
        change = _change_between(zone, start, end)
        if slot < change:
            return slot
        after, offset = change - timedelta(seconds=1), _offset(zone, change)


def _offset(zone: zoneinfo.ZoneInfo, at: datetime) -> timedelta:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found


def _change_between(zone: zoneinfo.ZoneInfo, start: datetime, end: datetime) -> datetime:
    """The whole second after `start`, and not after `end`, from which on the offset is that of `end`."""
    start = start.replace(microsecond=0)
    end = end.replace(microsecond=0)
    late = _offset(zone, end)
    while end - start > timedelta(seconds=1):
        middle = (start + (end - start) / 2).replace(microsecond=0)
        start, end = (start, middle) if _offset(zone, middle) == late else (middle, end)
    return end


def _by_the_calendar(expression: str, after: datetime) -> CronSim:
    """Matching times later than `after`, in its zone: each day of the calendar has its own, whatever the clocks do."""
    times = CronSim(expression, after)
    if len(expression.split()) == 6 and after.tzinfo is not UTC:
        # CronSim keeps these rules to five fields. Else a daily job with a field for seconds would be left out on one
        # day of the year, and come twice on another.
        times.fixup_tz = after.tzinfo
        times.dt = times.dt.replace(tzinfo=None)
    return times


def _outside(schedule: Schedule, after: datetime) -> datetime | None:
    """The first slot later than `after` that is in no blackout, or the end of one that held some."""
    run_after = schedule.blackout_then == "run_after"
    zone = _zone(schedule.timezone)
    around = blackout_around(schedule.blackout, zone, after)
    if around is not None:
        if around.end >= FOREVER:
            return None
        held = plain_slot(schedule, around.start - _TICK)
        if run_after and held is not None and held < around.end:
            return around.end
        after = around.end - _TICK
    for _ in range(_MOST_BLACKOUTS):
        slot = plain_slot(schedule, after)
        around = None if slot is None else blackout_around(schedule.blackout, zone, slot)
        if slot is None or around is None:
            return slot
        if run_after:
            return around.end if around.end < FOREVER else None
        after = around.end - _TICK
    return None


def blacked_out(schedule: Schedule, since: datetime, now: datetime, limit: int) -> list[datetime]:
    """The latest times after `since` and up to `now` that a blackout takes, oldest first: at most `limit` of them."""
    if not schedule.blackout or limit < 1:
        return []
    zone = _zone(schedule.timezone)
    bare = replace(schedule, blackout=())
    # A blackout takes no more of them than the rhythm gives: a bound on the work, however long ago `since` is.
    return [t for t in due(bare, since, now, 20 * limit) if blackout_around(schedule.blackout, zone, t)][-limit:]


def due(schedule: Schedule, since: datetime, now: datetime, limit: int | None = None) -> list[datetime]:
    """The latest slots after `since` and up to `now`, oldest first: at most `limit` of them (else `catch_up_limit`).

    The cost is bounded too, however long ago `since` is and however dense the slots are.
    """
    limit = schedule.catch_up_limit if limit is None else limit
    if limit < 1 or now <= since:
        return []
    if schedule.every is not None and not schedule.blackout and schedule.end is None:
        # The first slot that may be among the last `limit` ones is found by arithmetic.
        newest = next_slot(schedule, now)
        assert newest is not None
        since = max(since, newest - (limit + 1) * timedelta(seconds=schedule.every))
        return _slots(schedule, since, now)
    if schedule.end is not None:
        now = min(now, schedule.end)
    slots = _slots(schedule, since, now, limit + 1)
    if len(slots) <= limit:
        return slots
    span = timedelta(seconds=schedule.every * limit) if schedule.every is not None else timedelta(hours=1)
    while True:
        start = max(since, now - span)
        slots = _slots(schedule, start, now)
        if len(slots) >= limit or start == since:
            return slots[-limit:]
        span *= 4


def _slots(schedule: Schedule, since: datetime, now: datetime, most: int | None = None) -> list[datetime]:
    """All slots in order, or the first `most` of them."""
    slots: list[datetime] = []
    slot = next_slot(schedule, since)
    while slot is not None and slot <= now and (most is None or len(slots) < most):
        slots.append(slot)
        slot = next_slot(schedule, slot)
    return slots


def jitter_of(schedule: Schedule, bee: str, slot: datetime) -> float:
    """Seconds that the flight of this slot waits: from 0 up to `jitter`, the same on every machine."""
    word = f"{bee}|{schedule.name}|{slot.astimezone(UTC).isoformat()}".encode()
    share = int.from_bytes(hashlib.sha256(word).digest()[:8]) / 2**64
    return share * schedule.jitter
