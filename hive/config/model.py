"""The one model of what bees are told. Every form of configuration becomes this."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from bees.core.resilience.retry import Kind as RetryKind
from hive.config.problems import did_you_mean
from hive.config.schedule import (
    Blackouts,
    BlackoutThen,
    CatchUp,
    Interval,
    Jitter,
    Mode,
    Overlap,
    Schedule,
    Timezone,
    delay_of,
)
from hive.config.triggers import AfterConfig, AfterWritten, OnConfig, OnWritten, named_after, named_events

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
JAR_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,61}$"
NAME_WORDS = "a letter or digit, then letters, digits, '_', '.' and '-'"

BeeName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
JarName = Annotated[str, StringConstraints(pattern=JAR_PATTERN)]

RHYTHM = (
    "timezone", "catch_up", "catch_up_limit", "overlap", "jitter", "blackout", "blackout_then", "start", "end",
)  # fmt: skip
"""What may stand beside `schedule`, and then holds for each schedule that does not say otherwise."""


def _once(part: type[_Part]) -> Callable[[], Any]:
    """What makes the default of a part that is not there: one object for all bees, since none of them changes it."""
    return lru_cache(maxsize=1)(part)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


_RATE = re.compile(r"([1-9][0-9]{0,5}) ?/ ?(s|sec|second|min|minute|h|hour|d|day)")
_RATE_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _rate_of(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _RATE.fullmatch(value.strip())
    if found is None:
        raise ValueError("should be a number of requests per second, or text such as 100/min")
    return int(found[1]) / _RATE_SECONDS[found[2][0]]


Rate = Annotated[float, BeforeValidator(_rate_of, json_schema_input_type=float | str)]
Wait = Annotated[float, BeforeValidator(delay_of, json_schema_input_type=float | str), Field(ge=0, le=86_400)]


class ScrubbingConfig(_Part):
    """No profile means no detection: only the rules are applied."""

    profile: str | None = Field(None, description="name of a scrubbing profile, or null for rules only")
    custom_rules: tuple[dict[str, Any], ...] = Field((), description="rules such as {field: notes, action: replace}")
    profiles: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="profiles of one's own by name: {extends, pii_detection, actions, ...}"
    )


class TransformStep(_Part):
    """A function of the user's own; see nectar/transform."""

    use: str = Field(description='"module:function", importable by every worker')
    options: dict[str, Any] = Field(default_factory=dict, description="what the function is called with beside records")
    timeout: float | None = Field(None, gt=0, le=600, description="seconds for one batch; 60 if unset")


class JarConfig(_Part):
    name: JarName = Field(description=f"name of the jar: {NAME_WORDS}, 62 at most")
    type: str = Field("private", description="who the jar is for")
    description: str = Field("", description="what the jar holds, for people")
    owner: str = Field("", description="who answers for the jar")
    tags: tuple[str, ...] = Field((), description="words to find the jar by")
    metadata: dict[str, Any] = Field(default_factory=dict, description="anything else that shall be kept with the jar")


class BreakerConfig(_Part):
    """When a source that fails again and again is left alone, by all bees that read it."""

    failures: int = Field(5, ge=1, le=1000, description="failures in a row, of the whole fleet, that open it")
    cool_down: Wait = Field(30.0, gt=0, description="seconds for which nobody asks the source then")
    probes: int = Field(1, ge=1, le=100, description="tasks that try it at once after that")


class RetryConfig(_Part):
    """How a reading task that failed is tried again."""

    attempts: int | None = Field(None, ge=1, le=1000, description="tries in all; `max_attempts` of the hive if unset")
    backoff: RetryKind = Field("exponential", description="fixed, linear or exponential")
    first: Wait = Field(1.0, description="seconds before the second try")
    factor: float = Field(2.0, ge=1, le=100, description="exponential: how many times as long each wait is")
    step: Wait | None = Field(None, description="linear: seconds by which each wait is longer; unset: as `first`")
    most: Wait = Field(300.0, description="seconds that no wait is longer than")
    jitter: float = Field(0.25, ge=0, le=1, description="share by which a wait may be shorter or longer")
    on: tuple[str, ...] | None = Field(None, description="codes of errors that are worth another try; unset: all are")


class LimitsConfig(_Part):
    """Bounds on what all workers together ask of the source."""

    concurrency: int | None = Field(None, ge=1, le=1000, description="collect tasks that read the source at once")
    rate: Rate | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description='requests per second, or text such as "100/min": no more in any minute',
    )
    burst: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="requests that may come at once after a rest, and in any burst/rate seconds",
    )
    breaker: BreakerConfig | None = Field(None, description="{failures, cool_down, probes}; unset: none")
    max_deleted: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of a stream's records that a complete read may miss and delete, 0.3 if not given; "
        "where it misses more (and over 10), none is deleted and `hive doctor` says so",
    )

    @model_validator(mode="before")
    @classmethod
    def _burst_of_rate(cls, data: Any) -> Any:
        """Of `100/min` all may come at once."""
        if not isinstance(data, Mapping) or not isinstance(data.get("rate"), str):
            return data
        found = _RATE.fullmatch(data["rate"].strip())
        return data if found is None else {"burst": int(found[1]), **data}


def _used(value: Any) -> Any:
    return {"use": value} if isinstance(value, str) else value


def _named_jar(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _named_streams(value: Any) -> Any:
    """A stream that is named and told nothing (`orders:`) has no options."""
    if not isinstance(value, Mapping):
        return value
    return {name: {} if options is None else options for name, options in value.items()}


class BeeConfig(_Part):
    """One bee. `schedule`, `every` and `schedules` of the native form all become `schedules`.

    The repr leaves `source` and `streams` out: before `lift_secrets` they may hold secrets.
    """

    type: str = Field(description="a connector of `hive connectors`")
    enabled: bool = Field(True, description="whether the schedules fly")
    tenant: BeeName = Field("default", description="whose keys and secrets are used")
    schedules: tuple[Schedule, ...] = Field((), description="a list, or a map by name, of schedules")
    timezone: Timezone = Field("UTC", description="the time zone that cron expressions are read in")
    catch_up: CatchUp = Field("last", description="what is flown of missed slots: none, last or all")
    catch_up_limit: int = Field(100, ge=1, le=10_000, description="how many missed slots are flown at most")
    overlap: Overlap = Field("skip", description="what a slot does while a flight is open: skip, buffer_one or allow")
    jitter: Jitter = Field(0.0, description="seconds by which flights are spread after their slot")
    blackout: Blackouts = Field((), description='times without flights: [{from: "22:00", to: "06:00", days}]')
    blackout_then: BlackoutThen = Field("skip", description="slots of a blackout: skip, or run_after: one at its end")
    start: dt.datetime | None = Field(None, description="no slot comes before this instant")
    end: dt.datetime | None = Field(None, description="no slot comes at this instant or later")
    after: Annotated[AfterConfig, BeforeValidator(named_after, json_schema_input_type=AfterWritten)] | None = Field(
        None, description="bees after whose flights this one flies: [a, b], {all: [a, b]} or {any: [a, b]}"
    )
    on: Annotated[tuple[OnConfig, ...], BeforeValidator(named_events, json_schema_input_type=OnWritten)] = Field(
        (), description="events that make it fly: webhook, {jar: NAME}, {file: PATH}, or a list of such"
    )
    debounce: Interval | None = Field(None, description="how long no further event may come before it flies")
    source: dict[str, Any] = Field(default_factory=dict, repr=False, description="options of the connector")
    streams: Annotated[dict[str, dict[str, Any]], BeforeValidator(_named_streams)] = Field(
        default_factory=dict, repr=False, description="options of each stream, by its name"
    )
    scrubbing: ScrubbingConfig = Field(default_factory=_once(ScrubbingConfig), description="{profile, custom_rules}")
    transform: tuple[Annotated[TransformStep, BeforeValidator(_used)], ...] = Field(
        (), description='functions between extraction and scrubbing: "module:function", or {use, options, timeout}'
    )
    honey_jar: Annotated[JarConfig, BeforeValidator(_named_jar)] | None = Field(
        None, description="the jar's name, or {name, type, description, ...}"
    )
    limits: LimitsConfig = Field(default_factory=_once(LimitsConfig), description="{concurrency, rate, burst, breaker}")
    retry: RetryConfig = Field(
        default_factory=_once(RetryConfig), description="{attempts, backoff, first, most, jitter, on}"
    )
    leg: Interval | None = Field(None, description="seconds that one collect task reads before it hands over")
    connector_version: int | str = Field(
        1, description="version of the connector that the options were written for; unset in a file: the installed one"
    )
    draft: bool = Field(False, description="what the connector still needs keeps the bee on the ground, and no more")
    extras: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="what files of other systems say beyond this, kept as written"
    )
    missing: tuple[str, ...] = Field((), exclude=True, description="why the bee cannot fly; set by the check alone")

    @model_validator(mode="before")
    @classmethod
    def _read_schedules(cls, data: Any) -> Any:
        return with_schedules(data) if isinstance(data, Mapping) else data

    @property
    def options(self) -> dict[str, Any]:
        """The connector's options in one mapping, references unresolved."""
        return {**self.source, "streams": self.streams} if self.streams else dict(self.source)

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same bee with other `options`, such as `lift_secrets` returns."""
        source = dict(options)
        streams = source.pop("streams", {}) if self.streams else {}
        return self.model_copy(update={"source": source, "streams": streams})

    def new_schedule(
        self, *, cron: str | None = None, every: Any = None, name: str = "default", mode: Mode = "continuous"
    ) -> Schedule:
        """A schedule in this bee's rhythm. Raises pydantic's ValidationError."""
        rhythm: dict[str, Any] = {field: getattr(self, field) for field in RHYTHM}
        return Schedule.of({"name": name, "cron": cron, "every": every, "mode": mode, **rhythm})

    def block(self) -> dict[str, Any]:
        """The native block as JSON: `BeeConfig.model_validate` of it is equal."""
        block = self.model_dump(mode="json", exclude_defaults=True)
        if self.schedules:
            # Whole: a default that was left out would be taken from the bee's own rhythm when it is read again.
            block["schedules"] = [schedule.spec() for schedule in self.schedules]
        return block


class FleetConfig(_Part):
    """All bees, and what several of them share; the companions are kept as they are written."""

    bees: dict[BeeName, BeeConfig] = Field(default_factory=dict)
    scrubbing_profiles: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="scrubbing profiles by name, for `scrubbing.profile` of each bee"
    )
    identity_hive: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="providers of identity, passkeys and what groups may do"
    )
    hive_connection_pool: dict[str, Any] = Field(default_factory=dict, description="limits of connections")
    organizations: dict[str, Any] = Field(
        default_factory=dict, description="{default_organization_id, create_missing_organizations}"
    )

    def by_hand(self) -> list[str]:
        """Bees that no schedule and no event makes fly."""
        return [
            name for name, bee in self.bees.items()
            if bee.enabled and not (bee.missing or bee.schedules or bee.after or bee.on or bee.source.get("watch"))
        ]  # fmt: skip

    def flying(self) -> FleetConfig:
        """The same without the bees that cannot fly."""
        return self.model_copy(update={"bees": {name: bee for name, bee in self.bees.items() if not bee.missing}})

    def bee(self, name: str) -> BeeConfig:
        """Raises UnknownBee, with the name that was perhaps meant."""
        if name not in self.bees:
            raise UnknownBee(f"no bee is named {name!r}{did_you_mean(name, self.bees)}")
        return self.bees[name]


class UnknownBee(LookupError):
    """No bee has this name."""


class RemovedBee(UnknownBee):
    """A bee had this name, and nothing names it any more."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"bee {name!r} was removed and flies no more: what it landed stays. To bring it back name it in a "
            "configuration file and `hive reload`, or register it again"
        )


class GroundedBee(UnknownBee):
    """The configuration names this bee, and it cannot fly yet."""

    def __init__(self, name: str, reasons: Sequence[str]) -> None:
        super().__init__(f"bee {name!r} cannot fly yet: {'; '.join(reasons)}. Mend that, then `hive reload`")


def with_schedules(block: Mapping[str, Any]) -> dict[str, Any]:
    """`block` with `schedule` and `every` turned into a list `schedules`, each entry complete."""
    block = dict(block)
    loose: dict[Any, Any] = block
    if True in loose:
        loose.setdefault("on", loose.pop(True))  # YAML takes the word `on` for true
    short = {key: block.pop(key) for key in ("schedule", "every") if block.get(key) is not None}
    for key in ("schedule", "every"):
        block.pop(key, None)
    listed = block.get("schedules")
    entries: Any
    if short and listed:
        raise ValueError("has both `schedules` and `schedule` or `every`: write all of them under `schedules`")
    if isinstance(listed, Mapping):
        entries = [_named(entry, str(name)) for name, entry in listed.items()]
    elif listed is not None:
        entries = [_entry(entry) for entry in listed] if isinstance(listed, list | tuple) else listed
    else:
        entries = [_short_entry(short)] if short else []
    if isinstance(entries, list):
        rhythm = {field: block[field] for field in RHYTHM if field in block}
        entries = [{**rhythm, **entry} if isinstance(entry, dict) else entry for entry in entries]
        _check_names(entries)
    block["schedules"] = entries
    return block


def _entry(entry: Any) -> Any:
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        return {"cron": str(entry)}  # whose check knows what was meant
    return {"cron": entry} if isinstance(entry, str) else entry


def _named(entry: Any, name: str) -> Any:
    entry = _entry(entry)
    return {"name": name, **entry} if isinstance(entry, dict) else entry


def _short_entry(short: dict[str, Any]) -> Any:
    schedule = short.pop("schedule", None)
    entry = _entry(schedule) if schedule is not None else {}
    return {**entry, **short} if isinstance(entry, dict) else entry


def _check_names(entries: list[Any]) -> None:
    names = [str(entry.get("name", "default")) for entry in entries if isinstance(entry, dict)]
    if len(names) != len(set(names)):
        raise ValueError("has several schedules: each needs a `name` of its own, by which its slots are known")
