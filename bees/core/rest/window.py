"""Instants as APIs spell them, and the windows in which a long time is read piece by piece."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bees.core.cursors import instant

_FORMATS = ("as_is", "iso", "date", "epoch", "epoch_ms")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def checked_format(value: str) -> str:
    """The name of a format, or a pattern of strftime. Raises ValueError."""
    if value not in _FORMATS and "%" not in value:
        raise ValueError(f"one of {', '.join(_FORMATS)}, or a pattern such as %Y-%m-%d %H:%M")
    return value


def seconds(value: Any) -> Any:
    """`15m`, `6h`, `1d` as seconds; a number as it is. Raises ValueError."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)", value.strip())
    if not found:
        raise ValueError("a length of time is written as 15m, 6h, 1d or in seconds")
    return float(found[1]) * _UNITS[found[2] or "s"]


def spelled(value: Any, form: str) -> Any:
    """A cursor's value as the source wants to be asked; what is no instant stays as it is."""
    if form == "as_is":
        return value
    then = instant(value)
    if then is None:
        return value
    then = then.astimezone(UTC)
    if form == "iso":
        return _iso(then)
    if form == "date":
        return then.date().isoformat()
    if form == "epoch":
        return int(then.timestamp())
    if form == "epoch_ms":
        return int(Decimal(str(then.timestamp())) * 1000)
    return then.strftime(form)


def window_end(since: Any, step: float, latest: float) -> tuple[str, bool]:
    """Where the window ends that begins at `since`, as text; and whether it is the last one.

    `latest` is the instant, in Unix time, up to which the source is complete. Whole seconds: some sources know no
    smaller ones, and a window's end is the next one's beginning.
    """
    final = datetime.fromtimestamp(int(latest), UTC)
    begins = instant(since)
    if begins is None or begins >= final or not step:
        return _iso(max(final, begins) if begins else final), True
    ends = (begins + timedelta(seconds=max(step, 1.0))).replace(microsecond=0)
    return _iso(min(ends, final)), ends >= final


def window_mark(since: Any, until: Any, clock: str, lag: float) -> Any:
    """Where the mark stands behind the newest window: its end, or the source's time of the first request, less `lag`.

    Our clock may be ahead of the source's: what the source makes up to the window's end was not there to be read.
    """
    begins, ends, sure = instant(since), instant(until), instant(clock)
    if ends is None or sure is None or ends <= (sure := sure.replace(microsecond=0) - timedelta(seconds=lag)):
        return until
    return since if begins is not None and begins >= sure else _iso(sure)


def _iso(then: datetime) -> str:
    text = then.astimezone(UTC).isoformat(timespec="milliseconds" if then.microsecond else "seconds")
    return text.replace("+00:00", "Z")
