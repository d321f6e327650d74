"""Values made less exact: a date becomes its month or year, an address its network, a number its bucket.

What cannot be read gives None, and whoever asks must then write something that tells nothing.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import ROUND_FLOOR, Decimal, InvalidOperation

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_ISO = re.compile(r"\s*(\d{4})[-/.](\d{1,2})(?:[-/.]\d{1,2})?(?:[T\s].*)?", re.ASCII | re.DOTALL)
_COMPACT = re.compile(r"\s*((?:19|20)\d\d)(0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\s*", re.ASCII)
_NUMBERS = re.compile(r"\s*(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[T\s,].*)?", re.ASCII | re.DOTALL)
_YEAR = re.compile(r"(?<!\d)(?:1[6-9]|20|21)\d\d(?!\d)", re.ASCII)
_NAMED = re.compile(r"(?<![A-Za-z])(" + "|".join(_MONTHS) + r")[a-z]*", re.IGNORECASE | re.ASCII)
_LATEST_MONTH = 12
_LONGEST_NUMBER = 40


def coarser(text: str, to: str, size: int) -> str | None:
    """The value as a month, year, network, prefix or bucket; None where it is nothing of the kind."""
    if to == "month":
        return month(text)
    if to == "year":
        return year(text)
    if to == "network":
        return network(text)
    return prefix(text, size) if to == "prefix" else bucket(text, size)


def year(text: str) -> str | None:
    """`2024`. A date in which two numbers could be the year has none."""
    found = _of_date(text)
    if found:
        return found[0]
    years = set(_YEAR.findall(text))
    return years.pop() if len(years) == 1 else None


def month(text: str) -> str | None:
    """`2024-03` of `March 5, 2024`; only the year of `05/03/2024`, which is March or May by where it is written."""
    found = _of_date(text)
    if found is None:
        return year(text)
    return f"{found[0]}-{found[1]:02}" if found[1] else found[0]


def _of_date(text: str) -> tuple[str, int | None] | None:
    """(year, month or None where the order of day and month is not known)."""
    match = _ISO.fullmatch(text) or _COMPACT.fullmatch(text)
    if match:
        number = int(match[2])
        return (match[1], number) if 1 <= number <= _LATEST_MONTH else None
    match = _NUMBERS.fullmatch(text)
    if match:
        return match[4], _month_of(int(match[1]), int(match[3]), dotted=match[2] == ".")
    named = {name.lower() for name in _NAMED.findall(text)}
    years = set(_YEAR.findall(text))
    if len(named) == 1 and len(years) == 1:
        return years.pop(), _MONTHS[named.pop()]
    return None


def _month_of(first: int, second: int, *, dotted: bool) -> int | None:
    """Of two numbers before a year. Dots are written where the day comes first; otherwise both orders are in use."""
    if dotted or first > _LATEST_MONTH or first == second:
        return second if 1 <= second <= _LATEST_MONTH else None
    return first if second > _LATEST_MONTH and first else None


def network(text: str) -> str | None:
    """`192.0.2.0/24` or `2001:db8::/48`: a network of a company or of a neighbourhood, and of no single person."""
    try:
        address = ipaddress.ip_address(text.strip().partition("/")[0].partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def prefix(text: str, size: int) -> str | None:
    """The first `size` letters or digits, the others as `*`: `941**`. None where that would show all of them."""
    stripped = text.strip()
    if sum(map(str.isalnum, stripped)) <= size:
        return None
    shown = 0
    written = []
    for character in stripped:
        known = character.isalnum() and shown < size
        shown += known
        written.append(character if known or character in " -" else "*")
    return "".join(written)


def bucket(text: str, size: int) -> str | None:
    """`40-49` of 42 with size 10: from the lower bound to the last whole number below the next bucket."""
    if len(text) > _LONGEST_NUMBER:
        return None
    try:
        number = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
        return None
    low = int((number / size).to_integral_value(ROUND_FLOOR)) * size
    return f"{low}-{low + size - 1}" if low >= 0 else f"{low} to {low + size - 1}"
