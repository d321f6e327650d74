"""`connectors`, a list, in two dialects that may stand side by side.

    {"connectors": [{                                     connectors:
      "name": "weather-noaa", "type": "NOAA_WEATHER",       - name: api
      "pollIntervalMs": 60000,                                connector_type: rest
      "requestTimeoutMs": 10000,                              timeout_ms: 5000
      "providerConfig": {"baseUrl": "https://..."}            retry_policy: {max_retries: 3, backoff: {...}}
    }]}                                                       config_data: {base_url: "https://..."}

Times are milliseconds. Options of the connector are spelt as the connector spells them: baseUrl is base_url.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hive.config.forms.draft import Draft, Place, Writer, seconds_of_ms
from hive.config.forms.names import connector_named, snake
from hive.config.forms.options import timeout_option
from hive.config.forms.workers import BESIDE
from hive.limits.policies import KINDS

if TYPE_CHECKING:
    from hive.config.document import Document

_NUMBERS = ("maxRetries", "leaseTtlSeconds")
_RETRY = ("baseDelayMs", "maxDelayMs", "jitterRatio")
_POLICY = ("max_retries", "backoff")
_BACKOFF = ("base_ms", "multiplier", "max_delay_ms", "delay_ms", "increment_ms")
_BREAKER = ("threshold", "timeout_ms")


def connectors(document: Document, entries: Any, place: Place) -> list[Draft]:
    if not isinstance(entries, list):
        document.report("`connectors` must be a list", document.line(place))
        return []
    return [_entry(document, entry, (*place, n)) for n, entry in enumerate(entries)]


def _entry(document: Document, entry: Any, place: Place) -> Draft:
    if not isinstance(entry, Mapping):
        return Draft(f"number {place[-1]}", entry, place)
    of = Writer(document, entry.get("name"), place, dict(entry))
    of.take("name")
    if of.name is None:
        of.report(None, "has no `name`")
    factory = "connector_type" in entry or "config_data" in entry
    (factory_fields if factory else polling_fields)(of)
    for key in BESIDE:
        of.move(key, key)
    of.keep("description", "metadata", "tags")
    of.refuse_rest()
    return of.draft()


def polling_fields(of: Writer) -> None:
    """The dialect of pollIntervalMs and providerConfig."""
    of.move("type", "type", convert=_kind)
    of.move("pollIntervalMs", "every", convert=seconds_of_ms)
    _timeout(of, "requestTimeoutMs")
    of.numbers(*_NUMBERS)
    of.keep(*_NUMBERS, "outputStream")
    _numbers_kept(of, "retryConfig", _RETRY)
    of.within("providerConfig").options(snake)


def factory_fields(of: Writer) -> None:
    """The dialect of connector_type and config_data."""
    of.move("connector_type", "type", convert=_kind)
    _timeout(of, "timeout_ms")
    _numbers_kept(of, "circuit_breaker", _BREAKER)
    policy = of.given.get("retry_policy")
    if isinstance(policy, Mapping):
        inside = of.within("retry_policy")
        inside.numbers("max_retries")
        steps = policy.get("backoff")
        if isinstance(steps, Mapping) and "type" in steps and steps["type"] not in KINDS:
            inside.report("backoff", "is of no known type", expected=f"type: {', '.join(KINDS)}")
        _numbers_kept(inside, "backoff", _BACKOFF, others=("type", "jitter"))
        inside.keep("max_retries", "jitter")
        inside.refuse_rest()
    else:
        of.within("retry_policy")
    of.within("config_data").options(snake)


def _kind(value: Any) -> Any:
    return connector_named(value) if isinstance(value, str) else value


def _timeout(of: Writer, key: str) -> None:
    option = timeout_option(str(of.block.get("type")))
    if option:
        of.move(key, "source", option, convert=seconds_of_ms)
    else:
        of.numbers(key)
        of.keep(key)


def _numbers_kept(of: Writer, key: str, names: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    inside = of.within(key)
    inside.numbers(*names)
    inside.keep(*names, *others)
    inside.refuse_rest()
