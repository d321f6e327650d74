"""Numbers, times and states in words, for templates."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

STATE_WORDS = {
    "stuck": "stuck", "failing": "failing", "misconfigured": "misconfigured", "late": "late", "quiet": "quiet",
    "lagging": "lagging", "waiting": "waiting", "breaker_open": "breaker open", "rate_limited": "rate-limited",
    "paused": "paused", "flying": "flying", "healthy": "healthy", "new": "never flown", "disabled": "disabled",
}  # fmt: skip
STATE_MEANS = {
    "stuck": "a flight is open and does not get on",
    "failing": "the last flight failed, or an open one is tried again after an error",
    "misconfigured": "only another configuration or driver helps",
    "late": "a slot is due and no flight came of it",
    "quiet": "nothing was heard of an open flight for some seconds",
    "lagging": "flights end well, but slots are left out",
    "waiting": "no worker has taken the task of an open flight for some seconds",
    "breaker_open": "its source failed so often that it is left alone for a while",
    "rate_limited": "its source asked for patience",
    "paused": "somebody paused it",
    "flying": "a flight is open and gets on",
    "healthy": "the last flight was complete",
    "new": "no flight has ended yet",
    "disabled": "its configuration switches it off",
}
MARKS = {
    "stuck": "■", "failing": "✕", "misconfigured": "!", "late": "◷", "quiet": "◌", "lagging": "◶", "waiting": "…",
    "breaker_open": "◔", "rate_limited": "◔", "paused": "‖", "flying": "▸", "healthy": "✓", "new": "·",
    "disabled": "\N{EN DASH}", "complete": "✓", "failed": "✕", "cancelled": "\N{EN DASH}", "running": "▸",
    "queued": "…",
}  # fmt: skip
NOTHING = "\N{EN DASH}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SMALL = 10
_LONG = 2000


def count(number: float | None) -> str:
    """12 345 as people read it; nothing known is a dash."""
    return NOTHING if number is None else f"{round(number):,}".replace(",", _THIN)


def short(number: float | None) -> str:
    """1.2 k, 34 M."""
    if number is None:
        return NOTHING
    value = float(number)
    for unit in ("", "k", "M", "G"):
        if abs(value) < 1000 or unit == "G":
            digits = 1 if abs(value) < _SMALL and value != int(value) else 0
            return f"{value:.{digits}f}{_THIN + unit if unit else ''}"
        value /= 1000
    raise AssertionError


def size(number: float | None) -> str:
    """Bytes."""
    if number is None:
        return NOTHING
    value = float(number)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024:
            return f"{value:.{1 if unit != 'B' and value < _SMALL else 0}f}{_THIN}{unit}"
        value /= 1024
    return f"{value:.1f}{_THIN}TB"


def span(seconds: float | None) -> str:
    """A duration in its one or two largest units."""
    if seconds is None:
        return NOTHING
    left = max(0.0, float(seconds))
    if left < _SMALL:
        return f"{left:.1f}{_THIN}s"
    if left < _MINUTE:
        return f"{left:.0f}{_THIN}s"
    if left < _HOUR:
        return f"{left // _MINUTE:.0f}{_THIN}min"
    if left < _DAY:
        whole, rest = f"{left // _HOUR:.0f}{_THIN}h", left % _HOUR // _MINUTE
        return f"{whole} {rest:02.0f}{_THIN}min" if rest else whole
    whole, rest = f"{left // _DAY:.0f}{_THIN}d", left % _DAY // _HOUR
    return f"{whole} {rest:.0f}{_THIN}h" if rest else whole


def since(at: dt.datetime | None) -> str:
    """`3 min ago`, `in 2 h 05 min`, `now`."""
    if at is None:
        return NOTHING
    seconds = (dt.datetime.now(dt.UTC) - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(round(seconds))} ago" if seconds > 0 else f"in {span(round(-seconds))}"


def clock(at: dt.datetime | None) -> str:
    """In UTC, to the second."""
    return NOTHING if at is None else at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def stamp(at: dt.datetime | None) -> str:
    """For the attribute `datetime`."""
    return "" if at is None else at.astimezone(dt.UTC).isoformat(timespec="seconds")


def error_line(error: Mapping[str, Any] | None) -> str:
    """What happened and where, without the advice."""
    if not error:
        return ""
    said = str(error.get("message") or error.get("code") or "unknown")
    return f"{said} (at {error['place']})" if error.get("place") else said


def advice(error: Mapping[str, Any] | None) -> str:
    return str((error or {}).get("advice") or "")


def coded(text: object) -> Markup:
    """What stands between backticks is a command or a name of an option."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it is escaped


def plain(word: str) -> str:
    """`EMAIL_ADDRESS` and `wrong_key` as words."""
    return word.replace("_", " ").lower()


def schedule_line(spec: Mapping[str, Any]) -> str:
    """A schedule in one line."""
    if spec.get("cron"):
        zone = spec.get("timezone") or "UTC"
        return f"{spec['cron']} ({zone})"
    every = spec.get("every")
    return f"every {span(every) if isinstance(every, int | float) else re.sub(r'[^0-9A-Za-z. ]', '', str(every))}"


def value(told: Any) -> str:
    """A value of a record or of the audit, at a length that can be read."""
    text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False, default=str)
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({count(len(text))} characters)"


def marked(found: str) -> Markup:
    """A match as the search gives it: what it puts between <b> and </b> stands out, all else is text."""
    return Markup(str(escape(found)).replace("&lt;b&gt;", "<mark>").replace("&lt;/b&gt;", "</mark>"))  # noqa: S704


FILTERS = {
    "count": count, "short": short, "size": size, "span": span, "since": since, "clock": clock, "stamp": stamp,
    "error_line": error_line, "advice": advice, "plain": plain, "value": value, "marked": marked,
    "schedule_line": schedule_line, "coded": coded,
}  # fmt: skip
