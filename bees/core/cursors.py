"""Values of cursors: which of two is the higher one, which instant one names, and what lies so far before it.

A cursor is text or a number, as its source spells it; it is compared as a number or an instant where it is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

_EPOCHS = (10**9, 10**12, 10**15)
"""Unix time from 2001 on, in seconds, milliseconds and microseconds."""
_ZONED = re.compile(r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2}|\b[A-Z]{3})$")
_FURTHEST_ZONE = timedelta(hours=12)
"""How far behind UTC a clock may be set."""
_FIRST_ZONE = timedelta(hours=14)
"""How far ahead of UTC."""
_CLOCKS = timedelta(minutes=5)
"""By how much the clocks of one source may differ."""
_NEVER = re.compile(r"(?:253402300799|253402214400|4102444800|410235\d{4}|4070908800|32503680000)(?:000|999)?|9{10,19}")
"""Unix times that stand for `never`: 9999-12-31, 2100-01-01, 2099-12-31, 2099-01-01, 3000-01-01."""


def highest(start: Any, values: Iterable[Any]) -> Any:
    """The highest of a cursor's values, as plain JSON: text or an integer."""
    for value in values:
        if isinstance(value, str | int) and not isinstance(value, bool):
            start = higher(start, value)
        elif isinstance(value, float | Decimal):
            start = higher(start, str(value))
    return start


def higher(old: Any, new: Any) -> Any:
    """The later of two cursor values. One that cannot be compared changes nothing: a cursor never goes back."""
    if old is None or new is None:
        return new if old is None else old
    (old_kind, old_rank), (new_kind, new_rank) = _rank(old), _rank(new)
    return new if old_kind == new_kind and new_rank > old_rank else old


def _rank(value: Any) -> tuple[str, Any]:
    """Numbers, also in text, by size; ISO dates by time, whatever their zone; other text by its characters."""
    text = str(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        pass
    else:
        if number.is_finite():
            return "number", number
    then = _dated(text)
    return ("text", text) if then is None else ("time", then)


def _dated(text: str) -> datetime | None:
    """ISO 8601 (also 2026/01/02), or the dates of mail and HTTP. Without a zone it is UTC."""
    try:
        if re.match(r"[A-Z][a-z]{2}, +[0-9]", text):
            then = parsedate_to_datetime(text)
        else:
            then = datetime.fromisoformat(re.sub(r"^([0-9]{4})/([0-9]{2})/([0-9]{2})", r"\1-\2-\3", text))
    except (ValueError, OverflowError):
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)


def instant(value: Any) -> datetime | None:
    """The instant that a value names: a date, or Unix time in seconds, milliseconds or microseconds."""
    kind, rank = _rank(value)
    if kind == "time":
        return rank if isinstance(rank, datetime) else None
    if kind != "number" or rank < 0:
        return None
    number = rank
    for _ in range(2):
        number = number / 1000 if number > 10**11 else number
    return datetime.fromtimestamp(float(number), UTC) if number <= 10**11 else None


def kind_of(value: Any) -> str:
    """What a cursor's values are: time (an instant, also in Unix time), local (a time without a zone), or other."""
    kind, rank = _rank(value)
    if kind == "time":
        return "time" if _ZONED.search(str(value)) else "local"
    return "time" if kind == "number" and any(low <= rank < 4 * low for low in _EPOCHS) else "other"


def is_later(value: Any, clock: str) -> bool:
    """Whether a time is, or may be, later than the instant `clock`; nothing that is no time is."""
    then, now, kind = instant(value), _dated(clock), kind_of(value)
    if then is None or now is None or kind == "other":
        return False
    return then > (now if kind == "time" else now - _FURTHEST_ZONE)


def is_ahead(value: Any, clock: str) -> bool:
    """Whether a time is further ahead of the instant `clock` than clocks and zones differ."""
    if is_number(value) and _NEVER.fullmatch(str(value)):
        return True
    then, now, kind = instant(value), _dated(clock), kind_of(value)
    if then is None or now is None or kind == "other":
        return False
    return then > now + _CLOCKS + (_FIRST_ZONE if kind == "local" else timedelta())


def is_number(value: Any) -> bool:
    return _rank(value)[0] == "number"


def direction(so_far: str, before: Any, values: Sequence[Any]) -> str:
    """Where values lead: up, down, - for neither, empty while they stay as they are. `before`: the last ones' last."""
    ranks = [_rank(value) for value in ([] if before is None else [before]) + list(values)]
    for old, new in pairwise(ranks):
        if old[0] != new[0]:
            return "-"
        step = "" if old[1] == new[1] else "up" if new[1] > old[1] else "down"
        if step and so_far not in ("", step):
            return "-"
        so_far = so_far or step
    return so_far


def less(since: Any, lookback: float) -> Any:
    """A cursor's value less the look-back, spelled like the value: numbers by steps, instants by seconds.

    Other text, and what cannot be lessened, stays as it is.
    """
    if not lookback:
        return since
    kind, rank = _rank(since)
    if kind == "number":
        lower = rank - Decimal(str(lookback))
        lower = max(lower, Decimal(0)) if rank >= 0 else lower
        return f"{lower.to_integral_value(ROUND_FLOOR) if rank == rank.to_integral_value() else lower:f}"
    return _earlier(str(since), lookback) if kind == "time" else since


def _earlier(text: str, seconds: float) -> str:
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return _earlier(f"{text}T00:00:00", math.ceil(seconds / 86_400) * 86_400)[:10]
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return text  # a date of mail, or with slashes: it is asked for in another form, if at all
    fraction = re.search(r"[.,]([0-9]+)", text)
    digits = len(fraction[1]) if fraction else 0
    spec = "seconds" if not digits else "milliseconds" if digits <= 3 else "microseconds"
    try:
        then = datetime.fromisoformat(text) - timedelta(seconds=seconds if digits else math.ceil(seconds))
    except OverflowError:
        return text
    made = then.isoformat(" " if " " in text else "T", spec)
    return made.removesuffix("+00:00") + text[-1] if text[-1] in "Zz" else made
