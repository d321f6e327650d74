"""presidio's recogniser of URLs, asked about words instead of lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import regex

from nectar.scrub.find.entities import URL
from nectar.scrub.find.findings import Hit
from nectar.scrub.recognisers.library import predefined_recognizers as presidio
from nectar.scrub.recognisers.recogniser import Recogniser, direct, wrapped


def url() -> Recogniser:
    """Nothing that it matches holds a space, so it judges words, and of its four patterns those that the word can fit.

    Its 6 kB list of suffixes takes seconds to compile: the first two letters of each let all through.
    """
    recogniser = presidio.UrlRecognizer()
    suffixes = _SUFFIX.findall(recogniser.patterns[0].regex)
    starts: dict[str, set[str]] = {}
    for suffix in suffixes:
        starts.setdefault(suffix[0], set()).add(suffix[1])
    letters = "|".join(f"{first}[{''.join(sorted(seconds))}]" for first, seconds in sorted(starts.items()))
    form = rf"[a-z0-9.\-]\.(?:{letters})"
    made = wrapped(recogniser, hint=".", forms=(form,))
    suffixed = re.compile(form, re.IGNORECASE)
    hosts = _Hosts(suffixes, next(p.score for p in recogniser.patterns if not p.regex.startswith("(?i)(?:http")))
    fitting = {
        (schemed, quoted): direct(
            recogniser, [n for n, fits in enumerate((schemed, True, schemed and quoted, quoted)) if fits]
        )
        for schemed in (False, True)
        for quoted in (False, True)
    }

    def find(text: str) -> list[Hit]:
        hits = []
        for match in (_WORDS if text.isascii() else _SPACELESS).finditer(text):
            word, start = match[0], match.start()
            if "." not in word or not suffixed.search(word):
                continue
            if _PLAIN.fullmatch(word):
                hits += [Hit(URL, start + first, start + last, hosts.score) for first, last in hosts.within(word)]
            else:
                patterns = fitting["://" in word, '"' in word or "'" in word]
                hits += [hit._replace(start=hit.start + start, end=hit.end + start) for hit in patterns(word)]
        return hits

    return replace(made, find=find)


class _Hosts:
    """What presidio's pattern without a scheme finds in words that are `_PLAIN`: an e-mail address has two names.

    In each run of a name's characters that is what reaches from its start to the last dot behind which a suffix begins,
    and that suffix; of several the first in presidio's list.
    """

    def __init__(self, suffixes: Iterable[str], score: float) -> None:
        self.score = score
        self._order = {suffix: place for place, suffix in reversed([*enumerate(suffixes)])}
        self._lengths = sorted({len(suffix) for suffix in suffixes})
        self._length = lru_cache(maxsize=4096)(self._length_of)

    def within(self, word: str) -> Iterator[tuple[int, int]]:
        """Start and end of each."""
        for run in _RUN.finditer(word):
            name, start = run[0], run.start()
            dot = name.rfind(".")
            while dot > 0:
                length = self._length(name[dot + 1 : dot + 1 + self._lengths[-1]].lower())
                if length:
                    yield start, start + dot + 1 + length
                    break
                dot = name.rfind(".", 0, dot)

    def _length_of(self, rest: str) -> int:
        """Characters of the suffix that begins here; 0 where none does."""
        found = [rest[:length] for length in self._lengths if rest[:length] in self._order]
        return len(min(found, key=self._order.__getitem__)) if found else 0


_PLAIN = re.compile(r"[A-Za-z0-9.\-@_+,;:!?()<>]{1,250}")
"""Words without a path, quotes or letters beyond ASCII, no longer than what the pattern takes for a name."""
_RUN = re.compile(r"[A-Za-z0-9.\-]+")
_SPACELESS = regex.compile(r"\S+")
_WORDS = re.compile(r"[^\t-\r ]+")
"""The same for ASCII, in half the time."""
_SUFFIX = re.compile(r"\(\?:([a-z0-9\-]{2,})\)")
