"""When a bee flies. Pure: every instant comes in as an argument and leaves as UTC.

A slot is an instant at which a flight is due. Cron expressions are read in their own time zone by Debian's rules: a job
at a time of day that the clocks skip runs once, right after the gap; at one that comes twice it runs once, the first
time; expressions with `*` in minute or hour follow real time. Intervals are aligned on the epoch, so that a restart or
a second beat computes the same slots.
"""

from __future__ import annotations

import functools
import hashlib
import re
import zoneinfo
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from hive.config.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["continuous", "snapshot"]
CatchUp = Literal["none", "last", "all"]
Overlap = Literal["skip", "buffer_one", "allow"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 366 * 86400.0
_NUMBER = r"(\d+(?:\.\d+)?)"
_INTERVAL = re.compile(rf"(?=.)(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0)


def seconds_of(value: Any) -> float:
    """Seconds of `5m`, `30s`, `1h30m`, or of a number. Raises ValueError unless above 0 and at most a year."""
    expected = "such as 30s, 5m, 1h30m, or a number of seconds, above 0 and at most a year"
    seconds = 0.0
    if isinstance(value, str):
        text = value.replace(" ", "").lower()
        match = _INTERVAL.fullmatch(f"{text}s" if re.fullmatch(_NUMBER, text) else text)
        numbers = match.groups(default="0") if match else ()
        seconds = sum(float(number) * unit for number, unit in zip(numbers, _UNITS, strict=False))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if not 0.001 <= seconds <= LONGEST:  # also refuses NaN
        raise ValueError(f"is no interval: write one {expected}")
    return seconds


def check_cron(text: str) -> str:
    """`text` if it is a cron expression that some day matches. Raises ValueError."""
    try:
        next(CronSim(text, EPOCH))
    except CronSimError as error:
        raise ValueError(
            f"is no cron expression ({str(error).lower()}): write minute, hour, day of month, month, day of week, "
            "such as '0 */6 * * *'"
        ) from error
    except StopIteration as error:
        raise ValueError("is a cron expression that no day ever matches") from error
    return text


def check_timezone(name: str) -> str:
    """`name` if it is an IANA time zone. Raises ValueError."""
    known = _timezones()
    if name not in known:
        raise ValueError(f"is no time zone of the IANA list, such as 'Europe/Berlin'{did_you_mean(name, known)}")
    return name


@functools.cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


Interval = Annotated[float, BeforeValidator(seconds_of)]
Cron = Annotated[str, AfterValidator(check_cron)]
Timezone = Annotated[str, AfterValidator(check_timezone)]
ScheduleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Schedule:
    """One rhythm of a bee: either `cron`, read in `timezone`, or `every` so many seconds.

    catch_up   what of the slots missed while no beat ran is flown: none, the last one, or all up to `catch_up_limit`
    overlap    a slot that comes while a flight is open: skip it, keep one back until the flight ends, or allow both
    jitter     flights start up to so many seconds after their slot, each slot always by the same delay
    """

    name: ScheduleName = "default"
    cron: Cron | None = None
    every: Interval | None = None
    timezone: Timezone = "UTC"
    mode: Mode = "continuous"
    catch_up: CatchUp = "last"
    catch_up_limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    overlap: Overlap = "skip"
    jitter: Annotated[float, Field(ge=0, le=86400)] = 0.0

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ValueError("needs either `cron` or `every`, and not both")

    def spec(self) -> dict[str, Any]:
        """As JSON, for the ledger; `Schedule` of it is equal."""
        return asdict(self)

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Schedule:
        """What `spec` gave. Raises pydantic's ValidationError."""
        return _ADAPTER.validate_python(dict(spec))


_ADAPTER = TypeAdapter(Schedule)


def next_slot(schedule: Schedule, after: datetime) -> datetime:
    """The first slot later than `after`, in UTC. `after` needs a time zone."""
    if after.tzinfo is None:
        raise ValueError("an instant without a time zone is no instant")
    after = after.astimezone(UTC)
    if schedule.every is not None:
        every = timedelta(seconds=schedule.every)
        return EPOCH + ((after - EPOCH) // every + 1) * every
    assert schedule.cron is not None
    for local in CronSim(schedule.cron, after.astimezone(zoneinfo.ZoneInfo(schedule.timezone))):
        slot: datetime = local.astimezone(UTC)
        # Within the hour that the clocks repeat, a job of the first pass is found again: it has run.
        if slot > after:
            return slot
    raise ValueError("no slot is left")


def due(schedule: Schedule, since: datetime, now: datetime, limit: int | None = None) -> list[datetime]:
    """The latest slots after `since` and up to `now`, oldest first: at most `limit` of them (else `catch_up_limit`).

    The cost is bounded too, however long ago `since` is and however dense the slots are.
    """
    limit = schedule.catch_up_limit if limit is None else limit
    if limit < 1 or now <= since:
        return []
    if schedule.every is not None:
        # The first slot that may be among the last `limit` ones is found by arithmetic.
        since = max(since, next_slot(schedule, now) - (limit + 1) * timedelta(seconds=schedule.every))
        return _slots(schedule, since, now)
    span = timedelta(hours=1)
    while True:
        start = max(since, now - span)
        slots = _slots(schedule, start, now)
        if len(slots) >= limit or start == since:
            return slots[-limit:]
        span *= 4


def _slots(schedule: Schedule, since: datetime, now: datetime) -> list[datetime]:
    slots = []
    slot = next_slot(schedule, since)
    while slot <= now:
        slots.append(slot)
        slot = next_slot(schedule, slot)
    return slots


def jitter_of(schedule: Schedule, bee: str, slot: datetime) -> float:
    """Seconds that the flight of this slot waits: from 0 up to `jitter`, the same on every machine."""
    word = f"{bee}|{schedule.name}|{slot.astimezone(UTC).isoformat()}".encode()
    share = int.from_bytes(hashlib.sha256(word).digest()[:8]) / 2**64
    return share * schedule.jitter
