"""Whether anything is to be sent, found out without OpenTelemetry itself."""

from __future__ import annotations

import functools
import sys
from typing import Literal

from hive.settings import environment

Signal = Literal["traces", "metrics"]


@functools.cache
def on(signal: Signal) -> bool:
    """Whether an endpoint is set for it, and nothing switches it off. Asked once for each process."""
    if environment().get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment().get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").strip() not in ("", "otlp"):
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    return any(environment().get(name, "").strip() for name in names)


def keep_redis_from_it() -> None:
    """To be called before `redis` is imported: its client loads OpenTelemetry where that is installed, for metrics that
    nobody asks it for. That takes 70 ms and 2 MB of each process.
    """
    if "redis" in sys.modules or "opentelemetry" in sys.modules:
        return
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import redis.observability.providers  # noqa: F401
    finally:
        del sys.modules["opentelemetry"]
