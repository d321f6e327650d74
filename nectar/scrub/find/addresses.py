"""The address itself in what the pattern of e-mail addresses takes: `user=jane@acme.com` holds `jane@acme.com`.

RFC 5322 lets a name hold `/ ? = & | ~`, and people's names hold none of them; URLs, paths and lists of names and values
do. So what stands before the last of them is no part of the address, and the same person has the same pseudonym
whatever that is.
"""

from __future__ import annotations

import re
from functools import lru_cache

import regex

_MARKS = "/?=&|~:"
_ODD = re.compile(rf"[{re.escape(_MARKS)}]|[^\x00-\x7f]")
_NAME = re.compile(rf"[^{re.escape(_MARKS)}]+\Z")
_BEHIND_SCRIPT = regex.compile(r"(?<=\p{Lo})[^\p{Lo}]*[A-Za-z0-9][^\p{Lo}]*\Z")
"""What follows letters of a script without spaces or case, such as Chinese."""

_DOMAIN = re.compile(r"[A-Za-z0-9.-]*[A-Za-z0-9]")


def address_in(text: str) -> tuple[int, int] | None:
    """Where in a match of the pattern the address stands; None where there is none at all.

    What ends in no known suffix is cut where the domain leaves ASCII's letters (`jane@acme.com_`). A name that is
    another domain behind `=` is part of a mailing list's own address (`bounce+jane=acme.com@list.org`): it stays.
    """
    name, _, domain = text.rpartition("@")
    start, end = 0, len(text)
    if name.startswith('"'):
        return start, end
    if not _has_suffix(domain):
        match = _DOMAIN.match(domain)
        if match is None or match[0] == domain or not _has_suffix(match[0]):
            return None
        end = len(name) + 1 + match.end()
    if _ODD.search(name):
        behind = _NAME.search(name)
        if behind is None:
            return None
        start = behind.start()
        if start and name[start - 1] == "=" and "." in name[start:] and _has_suffix(name[start:]):
            start = 0
        plain = _BEHIND_SCRIPT.search(name, start)
        start = plain.start() if plain else start
    if end < len(text) and text[start] == text[end] and start + 1 < len(name):
        start += 1  # `_jane@acme.com_`: emphasis
    return start, end


def narrowed(text: str, start: int, end: int) -> tuple[int, int]:
    """The address between these places of a text; the places themselves where it is written in another way."""
    found = text[start:end]
    name, at, _ = found.rpartition("@")
    if not at or not _ODD.search(name):
        return start, end
    inside = address_in(found)
    return (start, end) if inside is None else (start + inside[0], start + inside[1])


@lru_cache(maxsize=4096)
def _has_suffix(domain: str) -> bool:
    from nectar.scrub.recognisers.emails import ends_in_suffix

    return ends_in_suffix("name@" + domain)
