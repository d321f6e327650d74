"""What a bee's configuration says of retries, budgets and breakers, in each of its dialects.

    limits: {rate, burst, breaker: {failures, cool_down, probes}}     the native form
    retry: {attempts, backoff, first, factor, step, most, jitter, on}
    maxRetries, retryConfig: {baseDelayMs, maxDelayMs, jitterRatio}   document 003
    retry_policy: {max_retries, backoff: {type, base_ms, multiplier, max_delay_ms}}, circuit_breaker   document 004

The documents' keys are kept in `extras` as they were written. What the native form says wins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from bees.core.resilience.breaker import BreakerPolicy
from bees.core.resilience.quota import Quota
from bees.core.resilience.retry import Kind, RetryPolicy

KINDS = get_args(Kind)
_JITTER = 0.25
_LONGEST = 86_400.0
_Block = Mapping[str, Any]


def quota_of(config: _Block) -> Quota | None:
    """The budget of the bee's credential; None: no bound but the source's own."""
    limits = config.get("limits") or {}
    return Quota.of(float(limits["rate"]), limits.get("burst")) if limits.get("rate") else None


def breaker_of(config: _Block) -> BreakerPolicy | None:
    """When the bee's source is left alone; None: never."""
    told = (config.get("limits") or {}).get("breaker")
    if told is not None:
        return BreakerPolicy(**told)
    written = _map(_map(config.get("extras")).get("circuit_breaker"))
    if not written:
        return None
    usual = BreakerPolicy()
    failures = max(1, int(_number(written.get("threshold"), usual.failures)))
    return BreakerPolicy(failures, max(0.001, _seconds(written.get("timeout_ms"), usual.cool_down)))


def retry_of(config: _Block, attempts: int) -> RetryPolicy:
    """How the bee's reading tasks are tried again; `attempts` are the hive's own, for a bee that says nothing."""
    told = {
        "attempts": attempts,
        "when": anything,
        **_written(_map(config.get("extras"))),
        **_native(config.get("retry") or {}),
    }
    codes = told.pop("on", None)
    if codes is not None:
        told["when"] = lambda error: getattr(error, "code", None) in codes
    return RetryPolicy(**told)


def anything(error: BaseException) -> bool:  # noqa: ARG001 - a predicate
    """Whatever is not final by itself is tried again."""
    return True


def _native(block: _Block) -> dict[str, Any]:
    names = {"backoff": "kind"}
    return {names.get(name, name): value for name, value in block.items() if value is not None}


def _written(extras: _Block) -> dict[str, Any]:
    """What the documents' keys say. `extras` may hold anything: what is no such key, or no number, says nothing."""
    told: dict[str, Any] = {}
    policy = _map(extras.get("retry_policy"))
    retries = _number(policy.get("max_retries", extras.get("maxRetries")), -1)
    if retries >= 0:
        told["attempts"] = 1 + int(retries)
    flat, steps = _map(extras.get("retryConfig")), _map(policy.get("backoff"))
    if flat:
        told |= {"first": _seconds(flat.get("baseDelayMs"), 1.0), "most": _seconds(flat.get("maxDelayMs"), 300.0)}
        told["jitter"] = min(1.0, _number(flat.get("jitterRatio"), _JITTER))
    if steps:
        kind = steps.get("type")
        told["kind"] = kind if kind in KINDS else "exponential"
        told["first"] = _seconds(steps.get("base_ms", steps.get("delay_ms")), 1.0)
        told["most"] = _seconds(steps.get("max_delay_ms"), 300.0)
        told["factor"] = min(100.0, _number(steps.get("multiplier"), 2.0))
        told["step"] = _seconds(steps["increment_ms"], 1.0) if "increment_ms" in steps else None
    spread = steps.get("jitter", policy.get("jitter"))
    if isinstance(spread, bool):
        told["jitter"] = _JITTER if spread else 0.0
    elif spread is not None:
        told["jitter"] = min(1.0, _number(spread, _JITTER))
    return told


def _map(value: Any) -> _Block:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any, otherwise: float) -> float:
    """A number that is none below zero, and not more than a day has milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return otherwise
    return float(min(value, 1000 * _LONGEST))


def _seconds(milliseconds: Any, otherwise: float) -> float:
    found = _number(milliseconds, -1.0)
    return otherwise if found < 0 else found / 1000
